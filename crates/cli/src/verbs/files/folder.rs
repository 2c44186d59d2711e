//! What is in a folder.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use windlass_wire::api::file::{Entry, Folder, Kind};

use super::{Answer, Place, Refused};

impl Place {
    /// A page of a folder, in the order of the names' bytes.
    pub(super) fn list(&self, path: &str, after: Option<&str>, limit: usize) -> Answer<Folder> {
        let real = self.real(path)?;
        let failed = |error| Refused::of(path, &error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&real).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let shown = name.to_string_lossy().into_owned();
            if after.is_none_or(|after| shown.as_str() > after) {
                found.push((shown, name));
            }
        }
        found.sort_unstable();
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(|(name, _)| name.clone());
        let items = found.into_iter().filter_map(|(name, raw)| {
            let place = real.join(&raw);
            // One that went away meanwhile is none.
            let metadata = fs::symlink_metadata(&place).ok()?;
            let is_link = metadata.is_symlink();
            let target = is_link.then(|| fs::read_link(&place).ok()).flatten();
            Some(Entry {
                nameless: raw.to_str().is_none(),
                name,
                kind: kind(&metadata),
                size: metadata.len(),
                mode: metadata.permissions().mode() & 0o7777,
                changed_at: changed_at(&metadata),
                target: target.map(|target| target.to_string_lossy().into_owned()),
                leads_to: is_link.then(|| fs::metadata(&place).ok()).flatten().map(|m| kind(&m)),
            })
        });
        Ok(Folder { items: items.collect(), path: self.shown(&real), next })
    }
}

/// When it changed last, in microseconds since the Unix epoch.
pub(super) fn changed_at(metadata: &fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000)
}

fn kind(metadata: &fs::Metadata) -> Kind {
    let kind = metadata.file_type();
    match (kind.is_symlink(), kind.is_dir(), kind.is_file()) {
        (true, _, _) => Kind::Link,
        (_, true, _) => Kind::Folder,
        (_, _, true) => Kind::File,
        _ => Kind::Other,
    }
}
