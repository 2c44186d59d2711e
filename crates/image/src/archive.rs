//! Images in one file: what `docker save` writes, and OCI layouts in a tar archive. Entries are taken by
//! what they hold, never by where they say they belong.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use windlass_sandbox::{Error, Result};

use crate::{
    layout::{self, Layout},
    manifest::{self, CONTAINERD_NAME, Descriptor, Digest, Index, MANIFEST, Manifest, NAME},
    registry,
};

/// The most entries of an archive: each layer has one to three.
const MOST_ENTRIES: usize = 4096;

/// What `docker save` says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// A file of the archive, unpacked beside.
struct Part {
    file: PathBuf,
    digest: Digest,
    size: u64,
}

/// Brings the archive's image into the layout. Answers its digest and its names.
pub(crate) fn load(
    archive: &Path,
    name: Option<&str>,
    layout: &Layout,
    limit: u64,
) -> Result<(Digest, Vec<String>)> {
    let beside = layout.incoming();
    let loaded = fs::create_dir(&beside)
        .map_err(|error| layout::failed("make", &beside, &error))
        .and_then(|()| {
            let parts = parts(archive, &beside, limit)?;
            let image = Loading { archive, layout, parts };
            image.load(name)
        });
    let removed = layout::remove(&beside);
    let loaded = loaded?;
    removed.map(|()| loaded)
}

/// Unpacks all files of the archive, under names of our own.
fn parts(archive: &Path, beside: &Path, limit: u64) -> Result<BTreeMap<String, Part>> {
    let read = |error: io::Error| layout::failed("read", archive, &error);
    let file = File::open(archive).map_err(read)?;
    let mut tar = tar::Archive::new(io::BufReader::with_capacity(1 << 16, file));
    let (mut parts, mut left) = (BTreeMap::new(), limit);
    for (n, entry) in tar.entries().map_err(read)?.enumerate() {
        let mut entry = entry.map_err(read)?;
        if n >= MOST_ENTRIES {
            return Err(bad(archive, "it has too many entries"));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        if entry.header().entry_type().is_dir() {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(bad(
                archive,
                &format!("`{path}` is no plain file: save it again with a newer docker"),
            ));
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| {
            bad(archive, "it is larger than all images may be: raise `--image-mib`")
        })?;
        let file = beside.join(n.to_string());
        let (digest, size) = copy(&mut entry, &file)?;
        parts.insert(path, Part { file, digest, size });
    }
    Ok(parts)
}

fn copy(from: &mut impl Read, file: &Path) -> Result<(Digest, u64)> {
    let failed = |error: io::Error| layout::failed("write", file, &error);
    let mut out = File::create_new(file).map_err(failed)?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 16]);
    loop {
        let n = from.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            out.sync_all().map_err(failed)?;
            return Ok((Digest::from_hash(&hash.finalize()), size));
        }
        hash.update(&buffer[..n]);
        size += n as u64;
        out.write_all(&buffer[..n]).map_err(failed)?;
    }
}

struct Loading<'a> {
    archive: &'a Path,
    layout: &'a Layout,
    parts: BTreeMap<String, Part>,
}

impl Loading<'_> {
    fn load(&self, name: Option<&str>) -> Result<(Digest, Vec<String>)> {
        let (digest, said) = match (self.parts.get("index.json"), self.parts.get("manifest.json")) {
            (Some(index), _) => self.of_layout(index)?,
            (None, Some(saved)) => self.of_docker(saved)?,
            (None, None) => {
                return Err(bad(
                    self.archive,
                    "it is neither an OCI layout nor what `docker save` writes",
                ));
            }
        };
        let names: Vec<String> = match name {
            Some(name) => vec![name.to_owned()],
            None => said
                .iter()
                .map(|name| registry::parse(name).map(|name| name.whole()))
                .collect::<Result<_>>()?,
        };
        match names.is_empty() {
            true => Err(bad(self.archive, "its image has no name: give it one with `--name`")),
            false => Ok((digest, names)),
        }
    }

    fn of_layout(&self, index: &Part) -> Result<(Digest, Vec<String>)> {
        let index: Index = self.parse(index)?;
        let [top] = index.manifests.as_slice() else {
            return Err(bad(self.archive, "it must hold exactly one image: save them one by one"));
        };
        let names = [CONTAINERD_NAME, NAME];
        let names = names.iter().find_map(|key| top.annotations.get(*key)).cloned();
        let part = self.part(&top.digest)?;
        // One name may stand for several machines.
        let manifest = match self.parse::<Index>(part) {
            Ok(several) => self.part(&several.choose()?.digest)?,
            Err(_) => part,
        };
        let bytes = self.bytes(manifest)?;
        let parsed = Manifest::parse(&bytes)?;
        for blob in parsed.layers.iter().chain([&parsed.config]) {
            self.keep(self.part(&blob.digest)?)?;
        }
        Ok((self.layout.keep(&bytes)?, names.into_iter().collect()))
    }

    fn of_docker(&self, saved: &Part) -> Result<(Digest, Vec<String>)> {
        let saved: Vec<Saved> = self.parse(saved)?;
        let [saved] = saved.as_slice() else {
            return Err(bad(self.archive, "it must hold exactly one image: save them one by one"));
        };
        let named = |path: &String| {
            self.parts
                .get(path)
                .ok_or_else(|| bad(self.archive, &format!("it names `{path}`, which isn't in it")))
        };
        let descriptor = |part: &Part, media_type: &str| Descriptor {
            media_type: media_type.to_owned(),
            digest: part.digest.clone(),
            size: part.size,
            platform: None,
            annotations: BTreeMap::new(),
        };
        let config = named(&saved.config)?;
        let layers = saved.layers.iter().map(named).collect::<Result<Vec<_>>>()?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: descriptor(config, "application/vnd.oci.image.config.v1+json"),
            layers: layers
                .iter()
                .map(|layer| descriptor(layer, "application/vnd.oci.image.layer.v1.tar"))
                .collect(),
        };
        let bytes =
            serde_json::to_vec(&manifest).map_err(|error| bad(self.archive, &error.to_string()))?;
        Manifest::parse(&bytes)?;
        for part in layers.iter().chain([&config]) {
            self.keep(part)?;
        }
        Ok((self.layout.keep(&bytes)?, saved.repo_tags.clone().unwrap_or_default()))
    }

    /// The part that holds what a digest names, wherever it lies.
    fn part(&self, digest: &Digest) -> Result<&Part> {
        let part = self.parts.values().find(|part| part.digest == *digest);
        part.ok_or_else(|| bad(self.archive, &format!("nothing in it is {digest}")))
    }

    fn keep(&self, part: &Part) -> Result<()> {
        match self.layout.has(&part.digest) {
            true => Ok(()),
            false => self.layout.adopt(&part.file, &part.digest),
        }
    }

    fn bytes(&self, part: &Part) -> Result<Vec<u8>> {
        match part.size <= layout::LARGEST {
            true => {
                fs::read(&part.file).map_err(|error| layout::failed("read", &part.file, &error))
            }
            false => Err(bad(self.archive, "one of its manifests is too large")),
        }
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, part: &Part) -> Result<T> {
        let bytes = self.bytes(part)?;
        serde_json::from_slice(&bytes).map_err(|error| bad(self.archive, &error.to_string()))
    }
}

fn bad(archive: &Path, why: &str) -> Error {
    Error::Build {
        step: format!("load an image for linux/{} from {}", manifest::own(), archive.display()),
        why: why.to_owned(),
    }
}
