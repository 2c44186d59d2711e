//! The archive of files that a Dockerfile may copy from.
//!
//! What `.dockerignore` names stays out: it may be large, or secret. Symbolic links are packed as links
//! and never followed, so nothing outside of the folder gets in.

use std::path::Path;

use windlass_sandbox::{Error, Result, backend::Ignored};

/// Packs everything in a folder, with names that begin so. The same files make the same archive.
pub(crate) fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    folder: &Path,
    prefix: &str,
) -> Result<()> {
    let named = |error: std::io::Error| Error::Io {
        doing: format!("pack {}", folder.display()),
        why: error.to_string(),
    };
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Deterministic);
    let mut open = vec![String::new()];
    while let Some(parent) = open.pop() {
        let mut names: Vec<_> = std::fs::read_dir(folder.join(&parent))
            .map_err(named)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<std::io::Result<_>>()
            .map_err(named)?;
        names.sort();
        for name in names {
            let below = format!("{parent}{}", name.to_string_lossy());
            let path = folder.join(&parent).join(&name);
            let kind = path.symlink_metadata().map_err(named)?.file_type();
            if kind.is_dir() {
                open.push(format!("{below}/"));
            }
            if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                let inside = format!("{prefix}{below}");
                archive.append_path_with_name(&path, inside).map_err(named)?;
            }
        }
    }
    Ok(())
}

/// Packs a folder.
pub(crate) fn pack(folder: &Path, dockerfile: &str) -> Result<Vec<u8>> {
    let named = |error: std::io::Error| Error::Io {
        doing: format!("pack {}", folder.display()),
        why: error.to_string(),
    };
    let ignored = match std::fs::read_to_string(folder.join(".dockerignore")) {
        Ok(text) => Ignored::parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ignored::default(),
        Err(error) => return Err(named(error)),
    };
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Deterministic);
    let mut open = vec![String::new()];
    while let Some(parent) = open.pop() {
        for entry in std::fs::read_dir(folder.join(&parent)).map_err(named)? {
            let entry = entry.map_err(named)?;
            let name = entry.file_name().into_string().map_err(|name| Error::InvalidPlan {
                why: format!("{name:?} below {} is not plain text; rename it", folder.display()),
            })?;
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let kind = entry.file_type().map_err(named)?;
            if kind.is_dir() {
                // Something below may be wanted after all, so the folder is looked into either way.
                open.push(path.clone());
            }
            let needed = path == dockerfile || path == ".dockerignore";
            let packed = kind.is_dir() || kind.is_file() || kind.is_symlink();
            if packed && (needed || !ignored.matches(&path)) {
                archive.append_path_with_name(entry.path(), &path).map_err(named)?;
            }
        }
    }
    archive.into_inner().map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_holds_what_is_not_ignored_and_never_what_a_link_points_to() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), name).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["Dockerfile", "secret.key", "sub/file"] {
            write(name);
        }
        std::fs::write(folder.path().join(".dockerignore"), "*.key\nDockerfile\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let packed = pack(folder.path(), "Dockerfile").unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let mut seen: Vec<(String, u64)> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path().unwrap().display().to_string(), entry.size()))
            .collect();
        seen.sort();
        let expected =
            [(".dockerignore", 17), ("Dockerfile", 10), ("link", 0), ("sub", 0), ("sub/file", 8)];
        assert_eq!(seen, expected.map(|(name, size)| (name.to_owned(), size)));
    }
}
