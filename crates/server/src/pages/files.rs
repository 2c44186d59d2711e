//! `/environments/{environment}/files`, `.../file`, `.../changes`: files of an environment that runs, to look
//! at, to change, and as the difference to a commit. All of it works without a script.

mod changes;
mod edit;

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::file::{
    Entry, FileState, Folder, FolderQuery, Kind, NewFolder, RemoveQuery, Rename,
};

use super::{
    frame::{Fields, Frame, filled, go, page},
    highlight::{self, Language},
    text::{Html, Text},
    view::{
        Crumb, Section, Shell,
        diff::percent_encoded,
        files::{FilePage, FileRow, FolderPage, Part, Tabs},
    },
};
use crate::{
    actions::files as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// The most bytes of a file that are shown.
const SHOWN: u64 = 1 << 20;
/// The most lines of a file that are shown.
const LINES: usize = 10_000;
/// The largest text that is edited in a page, in bytes: a form has at most 1 MiB, in which a byte may be
/// three.
const EDITED: usize = 256 * 1024;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let enter = Access::Allows(Action::UseEnvironments);
    let mut endpoints = vec![
        Endpoint::page(Method::GET, "/environments/{environment}/files", enter, folder),
        Endpoint::page(Method::GET, "/environments/{environment}/file", enter, file),
        Endpoint::page(
            Method::POST,
            "/environments/{environment}/files/folder",
            enter,
            make_folder,
        ),
        Endpoint::page(Method::POST, "/environments/{environment}/files/rename", enter, rename),
        Endpoint::page(Method::POST, "/environments/{environment}/files/remove", enter, remove),
        Endpoint::page(Method::GET, "/environments/{environment}/files/new", enter, new),
    ];
    endpoints.extend(edit::endpoints());
    endpoints.extend(changes::endpoints());
    endpoints
}

/// The pages of one environment.
pub(super) fn tabs(here: &str, current: &'static str) -> Tabs {
    let tab = |name: &'static str, href: String| (name, href, name == current);
    Tabs {
        tabs: vec![
            tab("Overview", here.to_owned()),
            tab("Files", format!("{here}/files")),
            tab("Changes", format!("{here}/changes")),
            tab("Services", format!("{here}/services")),
            tab("Terminal", format!("{here}/terminal")),
        ],
    }
}

/// An environment, and who looks at it.
pub(super) struct Where {
    name: String,
    here: String,
}

impl Where {
    pub(super) async fn find(
        app: &AppState,
        principal: &Principal,
        name: &str,
    ) -> Result<Self, Problem> {
        let row = views::environments::find_to_use(app, principal, name).await?;
        Ok(Self { name: row.state.spec.name.clone(), here: links::environment(&row.id) })
    }

    pub(super) fn shell(&self, frame: &Frame, last: &str) -> Shell {
        let crumbs = vec![
            Crumb::to("Environments", "/environments"),
            Crumb::to(self.name.as_str(), self.here.clone()),
            Crumb::here(last),
        ];
        frame.shell(Some(Section::Environments), format!("{last} of {}", self.name), crumbs)
    }

    /// The environment's page.
    pub(super) fn here(&self) -> &str {
        &self.here
    }

    fn folder(&self, path: &str) -> String {
        match path {
            "" => format!("{}/files", self.here),
            path => format!("{}/files?path={}", self.here, percent_encoded(path)),
        }
    }

    fn file(&self, path: &str) -> String {
        format!("{}/file?path={}", self.here, percent_encoded(path))
    }

    fn raw(&self, path: &str) -> String {
        format!("/api/v1{}/file?path={}", self.here, percent_encoded(path))
    }

    /// A path as its parts, each with the page of its folder.
    fn parts(&self, path: &str) -> Vec<Part> {
        let first = if path.starts_with('/') { "/" } else { "" };
        let word = if first.is_empty() { "work tree" } else { "/" };
        let mut parts = vec![Part { name: word.into(), href: Some(self.folder(first)) }];
        let mut at = first.to_owned();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = join(&at, name);
            parts.push(Part { name: name.into(), href: Some(self.folder(&at)) });
        }
        if let Some(last) = parts.last_mut() {
            last.href = None;
        }
        parts
    }
}

/// A name in a folder.
fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder if folder.ends_with('/') => format!("{folder}{name}"),
        folder => format!("{folder}/{name}"),
    }
}

/// The folder of a path.
fn above(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((above, _)) => above.to_owned(),
        None => String::new(),
    }
}

/// A path, and after which name a folder goes on.
#[derive(Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    pub(super) path: String,
    after: Option<String>,
}

async fn folder(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Keys(shown): Keys<Shown>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let query = FolderQuery { path: shown.path, after: shown.after, limit: None };
    let folder = views::files::folder(&app, &principal, &name, query).await?;
    page(&place.folder_page(&frame, &folder))
}

impl Where {
    fn folder_page(&self, frame: &Frame, folder: &Folder) -> FolderPage {
        let mut entries: Vec<&Entry> = folder.items.iter().collect();
        let is_folder = |entry: &Entry| leads_to(entry) == Some(Kind::Folder);
        entries.sort_by_key(|entry| !is_folder(entry));
        let path = folder.path.as_str();
        let next = folder.next.as_deref().map(|next| {
            let (path, next) = (percent_encoded(path), percent_encoded(next));
            format!("{}/files?path={path}&after={next}", self.here)
        });
        FolderPage {
            shell: self.shell(frame, "Files"),
            tabs: tabs(&self.here, "Files"),
            here: self.here.clone(),
            path: Text::from(path),
            parts: self.parts(path),
            above: (!path.is_empty() && path != "/").then(|| self.folder(&above(path))),
            rows: entries.into_iter().map(|entry| self.row(frame, path, entry)).collect(),
            next,
        }
    }

    fn row(&self, frame: &Frame, folder: &str, entry: &Entry) -> FileRow {
        let path = join(folder, &entry.name);
        let href = match leads_to(entry) {
            _ if entry.nameless => None,
            Some(Kind::Folder) => Some(self.folder(&path)),
            Some(Kind::File) => Some(self.file(&path)),
            Some(Kind::Link | Kind::Other) | None => None,
        };
        FileRow {
            name: Text::from(entry.name.as_str()),
            kind: match entry.kind {
                Kind::File => "file",
                Kind::Folder => "folder",
                Kind::Link => "link",
                Kind::Other => "special",
            },
            href,
            target: entry.target.as_deref().map(Text::from),
            size: if entry.kind == Kind::File { bytes(entry.size) } else { String::new() },
            mode: format!("{:03o}", entry.mode),
            changed: frame.moment(entry.changed_at),
        }
    }

    fn file_page(&self, frame: &Frame, file: &FileState, content: &[u8]) -> FilePage {
        let path = file.path.as_str();
        let is_cut = (content.len() as u64) < file.size;
        let text = text_of(content, is_cut);
        let no_edit = match text {
            None => Some("It is not text."),
            Some(_) if file.size > EDITED as u64 => {
                Some("It is too long for a page: `windlass env edit` takes up to 10 MiB.")
            }
            Some(text) if ends(text).is_none() => Some(
                "Its lines end in different ways, which a page would not keep: use `windlass env edit`.",
            ),
            Some(_) => None,
        };
        let lines = text.map(|text| lines(path, text));
        let is_long = text.is_some_and(|text| text.lines().count() > LINES);
        let edit = format!("{}/file/edit?path={}", self.here, percent_encoded(path));
        FilePage {
            shell: self.shell(frame, "Files"),
            tabs: tabs(&self.here, "Files"),
            here: self.here.clone(),
            path: Text::from(path),
            parts: self.parts(path),
            size: bytes(file.size),
            mode: format!("{:03o}", file.mode),
            changed: frame.moment(file.changed_at),
            etag: file.etag.clone(),
            edit: no_edit.is_none().then_some(edit),
            no_edit,
            raw: self.raw(path),
            is_cut: lines.is_some() && (is_cut || is_long),
            lines,
        }
    }
}

/// What an entry is, or what a link leads to.
fn leads_to(entry: &Entry) -> Option<Kind> {
    match entry.kind {
        Kind::Link => entry.leads_to,
        kind => Some(kind),
    }
}

async fn file(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Keys(shown): Keys<Shown>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let (file, content) =
        views::files::beginning(&app, &principal, &name, shown.path, SHOWN).await?;
    page(&place.file_page(&frame, &file, &content))
}

#[derive(Deserialize)]
struct InFolder {
    #[serde(default)]
    folder: String,
    name: String,
}

impl InFolder {
    fn path(&self) -> Result<String, Problem> {
        let name = filled(&self.name);
        let name = name.ok_or_else(|| Problem::new(Code::BadRequest, "say its name").at("name"))?;
        Ok(join(&self.folder, &name))
    }
}

/// A new file begins in the editor.
async fn new(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Keys(wanted): Keys<InFolder>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let path = percent_encoded(&wanted.path()?);
    Ok(go(format!("{}/file/edit?path={path}", place.here)))
}

async fn make_folder(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Fields(wanted): Fields<InFolder>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let new = NewFolder { path: wanted.path()? };
    let made = actions::make_folder(&app, &principal, &name, new).await?;
    Ok(go(place.folder(&made.path)))
}

#[derive(Deserialize)]
struct Renamed {
    from: String,
    to: String,
    #[serde(default)]
    is_folder: bool,
}

async fn rename(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Fields(wanted): Fields<Renamed>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let rename = Rename { from: wanted.from, to: wanted.to };
    let changed = actions::rename(&app, &principal, &name, rename).await?;
    let shown = match wanted.is_folder {
        true => place.folder(&changed.path),
        false => place.file(&changed.path),
    };
    Ok(go(shown))
}

#[derive(Deserialize)]
struct Removed {
    path: String,
    /// The tag of what was seen; empty for a folder.
    #[serde(default)]
    etag: String,
    #[serde(default)]
    recursive: bool,
}

async fn remove(
    State(app): State<AppState>,
    principal: Principal,
    Place(name): Place<String>,
    Fields(wanted): Fields<Removed>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let query = RemoveQuery { path: wanted.path, recursive: wanted.recursive };
    let tag = filled(&wanted.etag);
    let gone = actions::remove(&app, &principal, &name, query, tag).await?;
    Ok(go(place.folder(&above(&gone.path))))
}

/// Content as text, if it is that. What was cut may end within a character.
fn text_of(content: &[u8], is_cut: bool) -> Option<&str> {
    if content.contains(&0) {
        return None;
    }
    match std::str::from_utf8(content) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&content[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// How the lines of a text end: `\n` or `\r\n`; absent if not all alike.
fn ends(text: &str) -> Option<&'static str> {
    let windows = text.matches("\r\n").count();
    let (returns, breaks) = (text.matches('\r').count(), text.matches('\n').count());
    match (windows, returns, breaks) {
        (0, 0, _) => Some("\n"),
        (windows, returns, breaks) if windows == returns && windows == breaks => Some("\r\n"),
        _ => None,
    }
}

/// Lines with their colours.
pub(super) fn lines(path: &str, text: &str) -> Vec<Html> {
    let language = Language::of_path(path);
    let mut state = highlight::State::default();
    let lines = text.lines().take(LINES);
    lines.map(|line| highlight::code(line, language, &mut state, None)).collect()
}

/// A size with its unit.
fn bytes(size: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let of = |unit: u64| format!("{:.1}", size as f64 / unit as f64);
    match size {
        0..1_024 => format!("{size} B"),
        1_024..1_048_576 => format!("{} KiB", of(1 << 10)),
        1_048_576..1_073_741_824 => format!("{} MiB", of(1 << 20)),
        _ => format!("{} GiB", of(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together_and_taken_apart_alike() {
        for (folder, name, path) in [
            ("", "a", "a"),
            ("a", "b", "a/b"),
            ("/", "etc", "/etc"),
            ("/etc", "hosts", "/etc/hosts"),
        ] {
            assert_eq!((join(folder, name).as_str(), above(path).as_str()), (path, folder));
        }
    }

    #[test]
    fn text_is_told_from_bytes_and_its_line_ends_are_known() {
        assert_eq!(text_of(b"a\0b", false), None);
        assert_eq!(text_of("€".as_bytes(), false), Some("€"));
        assert_eq!(
            (text_of(&"€".as_bytes()[..2], true), text_of(&[0xe2], false)),
            (Some(""), None)
        );
        let found = ["", "a\nb", "a\r\nb\r\n", "a\r\nb\n", "a\rb"].map(ends);
        assert_eq!(found, [Some("\n"), Some("\n"), Some("\r\n"), None, None]);
    }
}
