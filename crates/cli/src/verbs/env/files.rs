//! `windlass env files`, `cat`, `edit` and `diff`: files of an environment, by the API.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use windlass_wire::api::file::{
    Against, Diff, DiffQuery, Entry, FileQuery, FileState, Folder, FolderQuery, Kind,
};

use super::{Verb, path};
use crate::{
    exit::Exit,
    terminal::{self, Style},
};

impl Verb<'_> {
    pub(super) async fn files(&self, env: &str, folder: &str) -> Result<Exit> {
        let mut query = FolderQuery { path: folder.to_owned(), after: None, limit: Some(1000) };
        let address = format!("{}/files", path(env));
        let mut whole: Folder = self.client.query(&address, &query).await?;
        while let Some(next) = whole.next.take() {
            query.after = Some(next);
            let page: Folder = self.client.query(&address, &query).await?;
            whole.items.extend(page.items);
            whole.next = page.next;
        }
        if self.settings.json {
            super::super::print_json(&whole)?;
            return Ok(Exit::Success);
        }
        let rows = whole.items.iter().map(|entry| {
            vec![mode(entry), entry.size.to_string(), changed(entry.changed_at), name(entry)]
        });
        terminal::table(&["mode", "bytes", "changed", "name"], &rows.collect::<Vec<_>>());
        Ok(Exit::Success)
    }

    pub(super) async fn cat(&self, env: &str, file: &str) -> Result<Exit> {
        let query = FileQuery { path: file.to_owned() };
        let mut file = self.client.file(&format!("{}/file", path(env)), &query).await?;
        let mut output = std::io::stdout().lock();
        while let Some(piece) = file.pieces.next().await {
            output.write_all(&piece?).context("failed to write the output")?;
        }
        output.flush().context("failed to write the output")?;
        Ok(Exit::Success)
    }

    pub(super) async fn edit(&self, env: &str, file: &str) -> Result<Exit> {
        let query = FileQuery { path: file.to_owned() };
        let address = format!("{}/file", path(env));
        let (before, etag) = match self.client.file(&address, &query).await {
            Ok(mut found) => {
                let mut content = Vec::new();
                while let Some(piece) = found.pieces.next().await {
                    content.extend_from_slice(&piece?);
                    anyhow::ensure!(
                        content.len() as u64 <= windlass_wire::files::MOST,
                        "{file} is larger than what is edited at once: use `windlass env cp`"
                    );
                }
                (content, Some(found.etag))
            }
            Err(error) if error.to_string().ends_with("(not-found)") => {
                // The environment itself may be what is not there.
                self.get(env).await?;
                (Vec::new(), None)
            }
            Err(error) => return Err(error),
        };
        let copy = Copy::of(file, &before)?;
        copy.edit()?;
        let after = std::fs::read(&copy.path).context("failed to read what was edited")?;
        if after == before {
            println!("{file}: nothing was changed");
            return Ok(Exit::Success);
        }
        let condition = match &etag {
            Some(etag) => ("If-Match", etag.as_str()),
            None => ("If-None-Match", "*"),
        };
        let put = self.client.put_file(&address, &query, condition, after);
        let written: FileState = match put.await {
            Ok(written) => written,
            Err(error) => {
                let kept = copy.keep()?;
                let kept = kept.display();
                return Err(error.context(format!("it was not written; your version is {kept}")));
            }
        };
        if self.settings.json {
            super::super::print_json(&written)?;
        } else {
            println!("{}: {} bytes written", written.path, written.size);
        }
        Ok(Exit::Success)
    }

    pub(super) async fn diff(
        &self,
        env: &str,
        below: Option<String>,
        stat: bool,
        head: bool,
    ) -> Result<Exit> {
        let against = if head { Against::Head } else { Against::Base };
        let query = DiffQuery { against, path: below, stat };
        let diff: Diff = self.client.query(&format!("{}/diff", path(env)), &query).await?;
        if self.settings.json {
            super::super::print_json(&diff)?;
            return Ok(Exit::Success);
        }
        if let Some(patch) = &diff.patch {
            print!("{}", terminal::harmless(patch));
            if diff.cut {
                eprintln!("it goes on: name a path, or see --stat");
            }
            return Ok(Exit::Success);
        }
        let count = |lines: Option<u64>, sign: char| {
            lines.map_or_else(|| "-".to_owned(), |lines| format!("{sign}{lines}"))
        };
        let rows = diff.files.iter().map(|file| {
            let was = file.was.as_deref().map(|was| format!("{was} -> ")).unwrap_or_default();
            vec![
                file.change.clone(),
                count(file.added, '+'),
                count(file.removed, '-'),
                terminal::one_line(&format!("{was}{}", file.path), 400),
            ]
        });
        terminal::table(&["what", "added", "removed", "file"], &rows.collect::<Vec<_>>());
        if diff.total_files > diff.files.len() as u64 {
            println!("and {} more", diff.total_files - diff.files.len() as u64);
        }
        Ok(Exit::Success)
    }
}

/// A file for an editor, in a folder that nobody else can look into.
struct Copy {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Copy {
    fn of(file: &str, content: &[u8]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("windlass-edit-").tempdir();
        let folder = folder.context("failed to make a folder for the editor")?;
        // Under its own name, so that an editor knows the language.
        let name = Path::new(file).file_name().context("the path does not end with a name")?;
        let path = folder.path().join(name);
        std::fs::write(&path, content).context("failed to write a file for the editor")?;
        Ok(Self { folder, path })
    }

    fn edit(&self) -> Result<()> {
        let named = |name: &str| std::env::var(name).ok().filter(|editor| !editor.is_empty());
        let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        // An editor may be a command with arguments, as it is for git.
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.path);
        let status = command.status().context("failed to start the editor")?;
        if !status.success() {
            let why = format!("the editor ended with {status}: nothing was written");
            return Err(Exit::Failure.error(why));
        }
        Ok(())
    }

    /// Leaves it where it is.
    fn keep(self) -> Result<PathBuf> {
        let name = self.path.file_name().context("it has a name")?.to_owned();
        Ok(self.folder.keep().join(name))
    }
}

/// `drwxr-xr-x`.
fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
        Kind::Other => '?',
    };
    let bit = |n: u32, letter: char| if entry.mode & (1 << n) == 0 { '-' } else { letter };
    let bits = (0..9).rev().map(|n| bit(n, ['x', 'w', 'r'][n as usize % 3]));
    std::iter::once(kind).chain(bits).collect()
}

fn changed(at: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    format!("{} ago", terminal::span(now.saturating_sub(at).max(0)))
}

fn name(entry: &Entry) -> String {
    let style = Style::for_stdout();
    let shown = terminal::one_line(&entry.name, 200);
    match (entry.kind, &entry.target) {
        (Kind::Folder, _) => style.bold(&format!("{shown}/")),
        (Kind::Link, Some(target)) => format!("{shown} -> {}", terminal::one_line(target, 200)),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_written_as_ls_does() {
        let entry = |kind, mode| Entry {
            name: String::new(),
            nameless: false,
            kind,
            size: 0,
            mode,
            changed_at: 0,
            target: None,
            leads_to: None,
        };
        let modes = [(Kind::File, 0o640), (Kind::Folder, 0o755), (Kind::Link, 0o777)];
        let written = modes.map(|(kind, bits)| mode(&entry(kind, bits)));
        assert_eq!(written, ["-rw-r-----", "drwxr-xr-x", "lrwxrwxrwx"]);
    }
}
