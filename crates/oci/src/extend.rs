//! What is added to an image, as a Dockerfile that the engine builds: Features. It has the network that the
//! engine gives to builds.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptions, DownloadFromContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use windlass_sandbox::{
    Error, Prepared, Result, User, accounts,
    backend::{
        Recipe, Tell,
        recipe::{Change, FILES},
    },
    unpack::{Limits, Unpacker},
};

use crate::{
    context,
    engine::{self, failed},
    image,
};

/// The largest file of accounts that is read.
const LARGEST: usize = 1 << 20;

/// Adds what a recipe says, unless that is there already.
pub(crate) async fn extend(
    docker: &Docker,
    below: &Prepared,
    recipe: &Recipe,
    tell: Tell<'_>,
) -> Result<Prepared> {
    let (below, recipe) = (below.clone(), recipe.clone());
    let name = recipe.additions.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join(", ");
    let written = crate::blocking(move || write(&below, &recipe)).await?;
    let digest: String =
        Sha256::digest(&written).iter().map(|byte| format!("{byte:02x}")).collect();
    let id = match image::built(docker, Some(&digest)).await?.into_iter().next() {
        Some((id, _)) => id,
        None => {
            let build = image::Build {
                step: name,
                dockerfile: "Dockerfile",
                arguments: &BTreeMap::new(),
                target: None,
                digest: &digest,
            };
            image::build_archive(docker, &build, written, tell).await?
        }
    };
    image::inspected(docker, &id).await
}

/// The whole context of the build: its Dockerfile, and the files of each program.
fn write(below: &Prepared, recipe: &Recipe) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut text = format!("FROM {}\nUSER root\n", below.name);
    let changes = recipe.additions.iter().flat_map(|addition| &addition.changes);
    for (n, change) in changes.enumerate() {
        match change {
            Change::Run { command, variables, folder: None, user: None, files, caches }
                if caches.is_empty() =>
            {
                if let Some(files) = files {
                    context::append(&mut archive, files, &format!("{n}/"))?;
                    // Writing to a text does not fail.
                    let _written = writeln!(text, "COPY {n} {FILES}/");
                }
                let _written = writeln!(text, "RUN {}", run(command, variables)?);
            }
            Change::Set(variables) => {
                for (name, value) in variables {
                    let _written = writeln!(text, "ENV {name}=\"{}\"", quoted(value)?);
                }
            }
            Change::Run { .. } | Change::Copy { .. } | Change::MakeFolder(_) => {
                return Err(Error::InvalidPlan {
                    why: "an engine builds Dockerfiles by itself; this adds Features only"
                        .to_owned(),
                });
            }
        }
    }
    let user = if below.settings.user.is_empty() { "root" } else { &below.settings.user };
    let _written = writeln!(text, "USER {user}");
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(text.len() as u64);
    let named = |error: std::io::Error| Error::Io {
        doing: "pack a build".to_owned(),
        why: error.to_string(),
    };
    archive.append_data(&mut header, "Dockerfile", text.as_bytes()).map_err(named)?;
    archive.into_inner().map_err(named)
}

/// A program with its variables, in its folder, which is gone afterwards.
fn run(command: &[String], variables: &[(String, String)]) -> Result<String> {
    let mut script = String::new();
    for (name, value) in variables {
        let _written = writeln!(script, "export {name}='{}'", value.replace('\'', r"'\''"));
    }
    let _written = write!(
        script,
        "mkdir -p {FILES} && cd {FILES} && \"$@\"\ncode=$?\ncd /\nrm -rf {FILES}\nexit $code"
    );
    let first = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
    let words: Vec<&String> = first.iter().chain(command).collect();
    serde_json::to_string(&words).map_err(|error| Error::InvalidPlan { why: error.to_string() })
}

/// A value between quotation marks, in which `${NAME}` still is a variable.
fn quoted(value: &str) -> Result<String> {
    if value.contains(['\n', '\r']) {
        return Err(Error::InvalidPlan {
            why: format!("the variable {value:?} of a Feature has several lines: write it in one"),
        });
    }
    Ok(value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The accounts of an image.
pub(crate) async fn accounts(docker: &Docker, id: &str) -> Result<Vec<User>> {
    let found = of_image(docker, id, Path::new("/etc/passwd"), LARGEST).await?;
    let Some(archive) = found else { return Ok(Vec::new()) };
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut text = String::new();
    for mut entry in archive.entries().into_iter().flatten().flatten() {
        // What is no text has no accounts.
        let _read = std::io::Read::read_to_string(&mut entry, &mut text);
    }
    Ok(accounts::parse(&text))
}

/// A path of an image as an archive, read from a container that never starts and has nothing mounted over
/// it; `None` if it isn't there.
async fn of_image(
    docker: &Docker,
    id: &str,
    path: &Path,
    largest: usize,
) -> Result<Option<Vec<u8>>> {
    let body = ContainerCreateBody {
        image: Some(id.to_owned()),
        entrypoint: Some(vec!["/never".to_owned()]),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body).await;
    let made = made.map_err(|error| failed("look into an image", &error))?;
    let found = files(docker, &made.id, path, largest).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let removed = docker.remove_container(&made.id, Some(options)).await;
    removed.map_err(|error| failed("remove a container", &error))?;
    found
}

/// A path of a container as an archive; `None` if it isn't there.
async fn files(
    docker: &Docker,
    container: &str,
    path: &Path,
    largest: usize,
) -> Result<Option<Vec<u8>>> {
    let options =
        DownloadFromContainerOptionsBuilder::default().path(&path.to_string_lossy()).build();
    let mut parts = docker.download_from_container(container, Some(options));
    let mut archive = Vec::new();
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => archive.extend_from_slice(&part),
            Err(error) if engine::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(failed("look into an image", &error)),
        }
        if archive.len() > largest {
            return Err(Error::Build {
                step: format!("read {} of the image", path.display()),
                why: format!("it holds more than {} MiB", largest >> 20),
            });
        }
    }
    Ok(Some(archive))
}

/// Fills a user's own home folder, which is empty, with what the image has there.
pub(crate) async fn home(docker: &Docker, image: &str, user: &User, folder: &Path) -> Result<()> {
    /// The most that a home folder of an image may hold.
    const HOME: usize = 1 << 30;
    let Some(base) = user.home.file_name().map(std::ffi::OsStr::to_owned) else { return Ok(()) };
    let Some(archive) = of_image(docker, image, &user.home, HOME).await? else { return Ok(()) };
    let folder = folder.to_owned();
    crate::blocking(move || {
        let beside = folder.with_file_name("unpacked");
        let named = |error: std::io::Error| Error::Io {
            doing: format!("fill {}", folder.display()),
            why: error.to_string(),
        };
        std::fs::create_dir(&beside).map_err(named)?;
        let limits = Limits { bytes: HOME as u64, entries: 1_000_000 };
        Unpacker::new(&beside, limits)?.layer(archive.as_slice())?;
        let unpacked = beside.join(base);
        if unpacked.symlink_metadata().is_ok_and(|it| it.is_dir()) {
            std::fs::remove_dir(&folder).map_err(named)?;
            std::fs::rename(&unpacked, &folder).map_err(named)?;
        }
        windlass_sandbox::remove_folder(&beside).map_err(named)
    })
    .await
}
