//! Changing files of an environment that runs: written as a whole over what was seen, made, renamed,
//! removed. Done inside, as its user; each change is an entry in its journal and in the audit log.

use windlass_run::environment::{Command, Edit, Limits};
use windlass_store::environments::EnvironmentRow;
use windlass_wire::{
    api::file::{Changed, FileState, NewFolder, RemoveQuery, Rename},
    files::{Ask, Told, When},
};

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    views::{
        environments::find_to_use,
        files::{named, strange},
    },
    ways::files::ask,
};

/// Writes a file. True if it is new.
///
/// # Errors
/// It is not what was seen; somebody else's environment, or one that does not run; what stands in the way
/// inside.
pub async fn write(
    app: &AppState,
    principal: &Principal,
    name: &str,
    path: String,
    when: When,
    content: &[u8],
) -> Result<(FileState, bool), Problem> {
    let row = find_to_use(app, principal, name).await?;
    let write = Ask::Write { path: named(path, "path")?, length: content.len() as u64, when };
    match ask(app, principal, &row, &write, content).await?.told {
        Told::Written { file, is_new } => {
            let path = file.path.clone();
            let edit = if is_new { Edit::Made { path } } else { Edit::Wrote { path } };
            note(app, principal, &row, edit).await?;
            Ok((file, is_new))
        }
        _ => Err(strange()),
    }
}

/// Makes a folder, with those above it.
///
/// # Errors
/// As [`write`].
pub async fn make_folder(
    app: &AppState,
    principal: &Principal,
    name: &str,
    new: NewFolder,
) -> Result<Changed, Problem> {
    let make = Ask::MakeFolder { path: named(new.path, "path")? };
    change(app, principal, name, make, |path| Edit::MadeFolder { path }).await
}

/// Gives something another name or place, where nothing is yet.
///
/// # Errors
/// As [`write`].
pub async fn rename(
    app: &AppState,
    principal: &Principal,
    name: &str,
    rename: Rename,
) -> Result<Changed, Problem> {
    let (from, to) = (named(rename.from, "from")?, named(rename.to, "to")?);
    let wanted = Ask::Rename { from: from.clone(), to };
    change(app, principal, name, wanted, |path| Edit::Renamed { from, path }).await
}

/// Removes something: of a file only what was seen.
///
/// # Errors
/// As [`write`].
pub async fn remove(
    app: &AppState,
    principal: &Principal,
    name: &str,
    query: RemoveQuery,
    tag: Option<String>,
) -> Result<Changed, Problem> {
    let path = named(query.path, "path")?;
    let remove = Ask::Remove { path, tag, recursive: query.recursive };
    change(app, principal, name, remove, |path| Edit::Removed { path }).await
}

async fn change(
    app: &AppState,
    principal: &Principal,
    name: &str,
    wanted: Ask,
    edit: impl FnOnce(String) -> Edit,
) -> Result<Changed, Problem> {
    let row = find_to_use(app, principal, name).await?;
    match ask(app, principal, &row, &wanted, &[]).await?.told {
        Told::Changed { path } => {
            note(app, principal, &row, edit(path.clone())).await?;
            Ok(Changed { path })
        }
        _ => Err(strange()),
    }
}

/// Writes down what was done. It was: that the environment stops in the same moment is no reason to say
/// nothing of it, and is in the journal itself.
async fn note(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
    edit: Edit,
) -> Result<(), Problem> {
    tracing::info!(environment = %row.id, by = ?principal.actor, ?edit, "files of an environment were changed");
    let noted = app.store().command_environment(
        principal.by(),
        row.organisation_id.clone(),
        row.id.clone(),
        Command::Edit { edit },
        Limits::default(),
        app.now(),
    );
    match noted.await {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = "it was changed, but that could not be written into the journal";
            Err(Problem::new(Code::Internal, why).because(error))
        }
    }
}
