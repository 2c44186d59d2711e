//! `windlass image`: the images that environments of the backend `process` are made from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use windlass_image::{Options, Store};

use crate::{
    arguments::{Image, LoadImage},
    exit::Exit,
    settings::{self, Settings},
    terminal,
};

pub(crate) fn run(settings: &Settings, verb: Image) -> Result<Exit> {
    let (names, said) = match verb {
        Image::List { state_dir } => {
            let store = open(settings, state_dir.as_deref(), u64::MAX >> 20)?;
            (store.names().context("failed to list images")?, "")
        }
        Image::Load(LoadImage { file, name, state_dir, image_mib }) => {
            let store = open(settings, state_dir.as_deref(), image_mib)?;
            let loaded = store.load(&file, name.as_deref());
            (loaded.with_context(|| format!("failed to load {}", file.display()))?, "loaded ")
        }
    };
    if settings.json {
        super::print_json(&serde_json::json!({ "images": names }))?;
    } else {
        for name in names {
            println!("{said}{}", terminal::harmless(&name));
        }
    }
    Ok(Exit::Success)
}

/// The images of a runner's folder.
fn open(settings: &Settings, state_dir: Option<&Path>, mib: u64) -> Result<Store> {
    let state_dir = match state_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => {
            settings.make_data_dir()?;
            settings.data_dir.join("runner")
        }
    };
    settings::make_private(&state_dir)?;
    let folder: PathBuf = state_dir.join("images");
    let options = Options {
        folder,
        limit_bytes: mib << 20,
        registries: Default::default(),
        certificates: Vec::new(),
    };
    Store::open(options).context("failed to open the images")
}
