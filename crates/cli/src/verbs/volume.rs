//! `windlass volume`: the volumes in a runner's folder on this machine, whether or not the runner works.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use windlass_runner::volumes::{Volume as Kept, Volumes};
use windlass_sandbox::CopyBy;

use crate::{
    arguments::{RemoveVolume, Volume},
    exit::Exit,
    settings::Settings,
    terminal,
};

pub(crate) fn run(settings: &Settings, verb: Volume) -> Result<Exit> {
    let (volumes, said) = match verb {
        Volume::List { state_dir } => {
            let volumes = at(settings, state_dir.as_deref())?.list();
            (volumes.context("failed to list volumes")?, "")
        }
        Volume::Remove(RemoveVolume { project, name, all: _, state_dir }) => {
            let volumes = at(settings, state_dir.as_deref())?;
            let removed = volumes.remove(&project, name.as_deref());
            let removed = removed.context("failed to remove volumes")?;
            if removed.is_empty() {
                bail!(
                    "there is no such volume of the project `{project}`: `windlass volume list` shows those there are"
                );
            }
            (removed, "removed ")
        }
    };
    if settings.json {
        super::print_json(&serde_json::json!({ "volumes": volumes }))?;
    } else {
        for Kept { project, name, bytes, entries, .. } in &volumes {
            let (project, name) = (terminal::harmless(project), terminal::harmless(name));
            println!("{said}{project} {name}  {} in {entries} files", size(*bytes));
        }
    }
    Ok(Exit::Success)
}

/// The volumes of a runner's folder. Nothing is made or swept: the runner may be at work.
fn at(settings: &Settings, state_dir: Option<&Path>) -> Result<Volumes> {
    let state_dir = match state_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => settings.data_dir.join("runner"),
    };
    Ok(Volumes::at(&state_dir, CopyBy::Bytes))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes >> 20),
    }
}
