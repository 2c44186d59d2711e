//! The editor of a file: saved over what was seen and nothing else. Where somebody else was faster, both
//! versions are shown, and the text that was written stays in the form.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::files::When;

use super::{EDITED, Shown, Where, above, ends, tabs, text_of};
use crate::{
    actions::files as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    pages::{
        diff,
        frame::{Fields, Frame, form_problem, go, page_with},
        text::Text,
        view::{
            diff::{DiffView, Layout, Options, Talk},
            files::EditPage,
            home::FormProblem,
        },
    },
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let enter = Access::Allows(Action::UseEnvironments);
    vec![
        Endpoint::page(Method::GET, "/environments/{environment}/file/edit", enter, edit),
        Endpoint::page(Method::POST, "/environments/{environment}/file/save", enter, save),
    ]
}

/// A text in the editor.
#[derive(Default)]
struct Draft {
    path: String,
    text: String,
    /// The tag of what it replaces; empty for a new file.
    etag: String,
    is_crlf: bool,
    problem: Option<FormProblem>,
    conflict: Option<DiffView>,
}

impl Draft {
    fn page(self, place: &Where, frame: &Frame) -> EditPage {
        let is_new = self.etag.is_empty();
        EditPage {
            shell: place.shell(frame, "Files"),
            tabs: tabs(&place.here, "Files"),
            save: format!("{}/file/save", place.here),
            back: if is_new { place.folder(&above(&self.path)) } else { place.file(&self.path) },
            parts: place.parts(&self.path),
            path: Text::from(self.path),
            text: Text::from(self.text),
            etag: self.etag,
            is_crlf: self.is_crlf,
            problem: self.problem,
            conflict: self.conflict,
        }
    }
}

async fn edit(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Keys(shown): Keys<Shown>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let path = shown.path;
    let most = EDITED as u64 + 1;
    let draft = match views::files::beginning(&app, &principal, &name, path.clone(), most).await {
        Ok((file, content)) => {
            let refused = |why: &str| Problem::new(Code::FileRefused, format!("{path} {why}"));
            if file.size > EDITED as u64 {
                return Err(refused("is too long to be edited in a page: use `windlass env edit`"));
            }
            let text = text_of(&content, false).ok_or_else(|| refused("is not text"))?;
            let end = ends(text).ok_or_else(|| {
                refused(
                    "has lines that end in different ways, which a page would not keep: use \
                         `windlass env edit`",
                )
            })?;
            Draft {
                path: file.path,
                text: text.to_owned(),
                etag: file.etag,
                is_crlf: end == "\r\n",
                ..Draft::default()
            }
        }
        Err(problem) if problem.code == Code::NotFound => Draft { path, ..Draft::default() },
        Err(problem) => return Err(problem),
    };
    page_with(StatusCode::OK, &draft.page(&place, &frame))
}

#[derive(Deserialize)]
struct Saved {
    path: String,
    text: String,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    crlf: bool,
}

impl Saved {
    /// The text with its own line ends: a form has `\r\n` for all.
    fn content(&self) -> String {
        let plain = self.text.replace("\r\n", "\n");
        if self.crlf { plain.replace('\n', "\r\n") } else { plain }
    }
}

async fn save(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Fields(saved): Fields<Saved>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let content = saved.content();
    let when = match saved.etag.is_empty() {
        true => When::Absent,
        false => When::Is(vec![saved.etag.clone()]),
    };
    let path = saved.path.clone();
    let written =
        actions::write(&app, &principal, &name, path.clone(), when, content.as_bytes()).await;
    let problem = match written {
        Ok((file, _)) => return Ok(go(format!("{}&said=saved", place.file(&file.path)))),
        Err(problem) => problem,
    };
    let mut draft =
        Draft { path, text: content, etag: saved.etag, is_crlf: saved.crlf, ..Draft::default() };
    if problem.code == Code::FileChanged {
        let theirs = (app.clone(), principal.clone(), name.clone());
        draft.meet(theirs).await?;
    }
    let (status, mut problem) = form_problem(problem)?;
    if draft.conflict.is_some() {
        let why = "It changed since you opened it: somebody else wrote it, or a program inside. Nothing is \
                   saved yet.";
        problem.detail = Text::from(why);
    }
    draft.problem = Some(problem);
    page_with(status, &draft.page(&place, &frame))
}

impl Draft {
    /// Puts what is there now beside the draft: saving again goes over that.
    async fn meet(
        &mut self,
        (app, principal, name): (AppState, Principal, String),
    ) -> Result<(), Problem> {
        let most = EDITED as u64;
        let found = views::files::beginning(&app, &principal, &name, self.path.clone(), most).await;
        let (etag, theirs) = match found {
            Ok((file, content)) => {
                (file.etag, text_of(&content, true).map(str::to_owned).unwrap_or_default())
            }
            // It is gone: saving again makes it anew.
            Err(problem) if problem.code == Code::NotFound => (String::new(), String::new()),
            Err(problem) => return Err(problem),
        };
        self.etag = etag;
        self.conflict = Some(both(&self.path, &theirs, &self.text));
        Ok(())
    }
}

/// What is there now on the left, what somebody wants to save on the right.
fn both(path: &str, theirs: &str, yours: &str) -> DiffView {
    // A path is one line of a patch, whatever its name.
    let path: String = path.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let (old, new) = (format!("a/{path}"), format!("b/{path}"));
    let compared = similar::TextDiff::from_lines(theirs, yours);
    let unified = compared.unified_diff().context_radius(3).header(&old, &new).to_string();
    let patch = format!("diff --git {old} {new}\n{unified}");
    let patch = diff::parse(patch.as_bytes());
    let options = Options { layout: Layout::Split, ..Options::default() };
    DiffView::new(&patch, Talk::default(), &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_saved_with_the_line_ends_that_its_file_has() {
        let saved = |text: &str, crlf| Saved {
            path: String::new(),
            text: text.to_owned(),
            etag: String::new(),
            crlf,
        };
        assert_eq!(saved("a\r\nb\r\n", false).content(), "a\nb\n");
        assert_eq!(saved("a\r\nb\r\n", true).content(), "a\r\nb\r\n");
        assert_eq!(saved("", true).content(), "");
    }

    #[test]
    fn both_versions_of_a_conflict_are_shown_by_their_lines() {
        let shown = both("a b.txt", "one\ntwo\n", "one\nthree\n");
        assert_eq!((shown.files.len(), shown.added, shown.removed), (1, 1, 1));
        assert_eq!(shown.files[0].path, Text::from("a b.txt"));
    }
}
