//! Files of an environment that runs, as its own user sees them: folders, content, and how the work tree
//! differs from a commit. To be seen by whoever may use the environment.

use axum::body::Body;
use windlass_wire::{
    api::file::{Diff, DiffQuery, FileState, Folder, FolderQuery},
    files::{Ask, Told},
};

use super::environments::find_to_use;
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    ways::files::{Answer, ask},
};

/// The most entries of a page of a folder.
const ENTRIES: u32 = 1_000;
/// The same, if nobody says.
const SOME: u32 = 500;
/// The most bytes of a path.
const PATH: usize = 4_096;

/// Part of a file.
pub struct Content {
    /// The file.
    pub file: FileState,
    /// The first byte.
    pub from: u64,
    /// How many bytes.
    pub length: u64,
    /// The bytes.
    pub body: Body,
}

/// A page of a folder.
///
/// # Errors
/// A query that can't be; somebody else's environment, or one that does not run; what stands in the way
/// inside.
pub async fn folder(
    app: &AppState,
    principal: &Principal,
    name: &str,
    query: FolderQuery,
) -> Result<Folder, Problem> {
    let limit = query.limit.unwrap_or(SOME);
    if limit == 0 || limit > ENTRIES {
        let why = format!("a page has 1 to {ENTRIES} entries");
        return Err(Problem::new(Code::BadRequest, why).at("limit"));
    }
    let path = place(query.path, "path")?;
    let row = find_to_use(app, principal, name).await?;
    let list = Ask::List { path, after: query.after, limit };
    match ask(app, principal, &row, &list, &[]).await?.told {
        Told::Folder { folder } => Ok(folder),
        _ => Err(strange()),
    }
}

/// A file's content: from a byte on, at most so many.
///
/// # Errors
/// As [`folder`].
pub async fn content(
    app: &AppState,
    principal: &Principal,
    name: &str,
    path: String,
    (from, most): (u64, Option<u64>),
) -> Result<Content, Problem> {
    let row = find_to_use(app, principal, name).await?;
    let read = Ask::Read { path: named(path, "path")?, from, most };
    let answer = ask(app, principal, &row, &read, &[]).await?;
    let (file, from, length) = content_of(&answer)?;
    let body = answer.body(app, principal, &row, length);
    Ok(Content { file, from, length, body })
}

/// A file's content as a whole, or the beginning of it, of so many bytes.
///
/// # Errors
/// As [`folder`].
pub(crate) async fn beginning(
    app: &AppState,
    principal: &Principal,
    name: &str,
    path: String,
    most: u64,
) -> Result<(FileState, Vec<u8>), Problem> {
    let row = find_to_use(app, principal, name).await?;
    let read = Ask::Read { path: named(path, "path")?, from: 0, most: Some(most) };
    let answer = ask(app, principal, &row, &read, &[]).await?;
    let (file, _, length) = content_of(&answer)?;
    // It was asked for so many; what the inside says is not believed beyond that.
    let bytes = answer.whole(length.min(most)).await?;
    Ok((file, bytes))
}

/// How the work tree differs from a commit.
///
/// # Errors
/// As [`folder`]; there is no git inside, or no repository.
pub async fn diff(
    app: &AppState,
    principal: &Principal,
    name: &str,
    query: DiffQuery,
) -> Result<Diff, Problem> {
    let row = find_to_use(app, principal, name).await?;
    let path = query.path.filter(|path| !path.is_empty());
    let path = path.map(|path| place(path, "path")).transpose()?;
    let wanted = Ask::Diff { against: query.against, path, patch: !query.stat };
    match ask(app, principal, &row, &wanted, &[]).await?.told {
        Told::Diff { diff } => Ok(diff),
        _ => Err(strange()),
    }
}

/// A path that can be asked for.
pub(crate) fn place(path: String, key: &'static str) -> Result<String, Problem> {
    if path.len() > PATH || path.contains('\0') {
        let why = format!("a path has at most {PATH} bytes, and no byte 0");
        return Err(Problem::new(Code::BadRequest, why).at(key));
    }
    Ok(path)
}

/// A path that names something.
pub(crate) fn named(path: String, key: &'static str) -> Result<String, Problem> {
    if path.is_empty() {
        return Err(Problem::new(Code::BadRequest, "say which path").at(key));
    }
    place(path, key)
}

/// The answer is of another kind than the question.
pub(crate) fn strange() -> Problem {
    let why = "the environment gave an answer that does not fit; start it again";
    Problem::new(Code::EnvironmentState, why)
}

fn content_of(answer: &Answer) -> Result<(FileState, u64, u64), Problem> {
    match &answer.told {
        Told::Content { file, from, length } => Ok((file.clone(), *from, *length)),
        _ => Err(strange()),
    }
}
