//! `windlass file-server`: one question about files, answered on standard output (`wire::files`). It runs inside
//! of an environment, as its user: what it may do to files is what any program there may.
//!
//! Never done here: deciding who may ask, and following anything but what the file system follows.

pub(super) mod archive;
mod change;
mod content;
mod diff;
mod folder;

use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use windlass_wire::files::{Ask, Refusal, Told};

use crate::exit::Exit;

/// The most bytes of a question, without the content that follows it.
const QUESTION: u64 = 64 * 1024;

pub(crate) fn run() -> Result<Exit> {
    let base = std::env::var(windlass_wire::files::BASE).ok();
    let root = std::env::current_dir().and_then(std::fs::canonicalize);
    let root = root.context("failed to find the folder where programs begin")?;
    let place = Place { root, base };
    let output = io::stdout().lock();
    place.answer(io::stdin().lock(), output).context("failed to answer")?;
    Ok(Exit::Success)
}

/// Where questions are answered.
struct Place {
    /// What relative paths begin with, links followed.
    root: PathBuf,
    /// The commit that the work tree began with, if that is known.
    base: Option<String>,
}

/// Why a question has no better answer.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    why: String,
}

type Answer<T> = std::result::Result<T, Refused>;

impl Refused {
    fn in_the_way(why: impl Into<String>) -> Self {
        Self { refusal: Refusal::InTheWay, why: why.into() }
    }

    /// What the system says of this path.
    fn of(path: &str, error: &io::Error) -> Self {
        let refusal = match error.kind() {
            io::ErrorKind::NotFound => Refusal::NotFound,
            _ => Refusal::InTheWay,
        };
        let path = if path.is_empty() { "." } else { path };
        let why = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no {path} in the environment"),
            io::ErrorKind::PermissionDenied => {
                format!("{path}: the environment's user may not do that ({error})")
            }
            _ => format!("{path}: {error}"),
        };
        Self { refusal, why }
    }
}

impl Place {
    /// Answers one question.
    ///
    /// # Errors
    /// Whoever asked does not listen any more.
    fn answer(&self, input: impl Read, mut output: impl Write) -> io::Result<()> {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        input.by_ref().take(QUESTION).read_until(b'\n', &mut line)?;
        let not_understood = |error: serde_json::Error| Refused {
            refusal: Refusal::NotUnderstood,
            why: format!("`windlass` inside of the environment does not understand this: {error}"),
        };
        let told = match serde_json::from_slice::<Ask>(&line).map_err(not_understood) {
            Ok(Ask::Read { path, from, most }) => {
                return match self.read(&path, from, most) {
                    Ok(mut content) => {
                        say(&mut output, &content.told)?;
                        io::copy(&mut content.bytes, &mut output)?;
                        output.flush()
                    }
                    Err(refused) => say(&mut output, &refused.into()),
                };
            }
            Ok(Ask::Pack { path }) => {
                return match self.pack(&path) {
                    Ok(pack) => {
                        say(&mut output, &Told::Packed)?;
                        pack.write(output)
                    }
                    Err(refused) => say(&mut output, &refused.into()),
                };
            }
            Ok(ask) => self.change_or_tell(ask, input),
            Err(refused) => Err(refused),
        };
        say(&mut output, &told.unwrap_or_else(Told::from))
    }

    fn change_or_tell(&self, ask: Ask, input: impl Read) -> Answer<Told> {
        match ask {
            Ask::List { path, after, limit } => self
                .list(&path, after.as_deref(), limit as usize)
                .map(|folder| Told::Folder { folder }),
            Ask::Read { .. } | Ask::Pack { .. } => {
                Err(Refused::in_the_way("it is answered elsewhere"))
            }
            Ask::Unpack { path, name } => self.unpack(&path, &name, input),
            Ask::Write { path, length, when } => self.write(&path, length, &when, input),
            Ask::MakeFolder { path } => self.make_folder(&path),
            Ask::Rename { from, to } => self.rename(&from, &to),
            Ask::Remove { path, tag, recursive } => self.remove(&path, tag.as_deref(), recursive),
            Ask::Diff { against, path, patch } => {
                self.diff(against, path.as_deref(), patch).map(|diff| Told::Diff { diff })
            }
        }
    }

    /// The path as the system takes it.
    fn absolute(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The path with all links followed.
    fn real(&self, path: &str) -> Answer<PathBuf> {
        std::fs::canonicalize(self.absolute(path)).map_err(|error| Refused::of(path, &error))
    }

    /// The path whose last name is not followed, and may not be there.
    fn named(&self, path: &str) -> Answer<PathBuf> {
        let absolute = self.absolute(path);
        let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(Refused::in_the_way(format!("`{path}` does not end with a name")));
        };
        let name: OsString = name.to_owned();
        let above = std::fs::canonicalize(above).map_err(|error| {
            let shown = self.shown(above);
            Refused::of(&shown, &error)
        })?;
        Ok(above.join(name))
    }

    /// The path for whoever asked: relative where it is below the folder where programs begin.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

impl From<Refused> for Told {
    fn from(refused: Refused) -> Self {
        Self::Refused { refusal: refused.refusal, why: refused.why }
    }
}

fn say(output: &mut impl Write, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told).map_err(io::Error::other)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

#[cfg(test)]
mod tests;
