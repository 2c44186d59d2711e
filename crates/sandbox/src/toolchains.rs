//! Toolchains that live in a person's home folder: which of their folders an environment may see.
//!
//! Homes are hidden from environments because they hold secrets. This is the allow-list of folders in
//! them that hold only programs; `.cargo/credentials.toml`, `.npmrc` and the like are never in it.

use std::path::{Path, PathBuf};

use crate::plan::Bind;

/// What to add to a plan and to the programs' variables so that home toolchains work inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// Read-only binds at the same path as on the host.
    pub binds: Vec<Bind>,
    /// Folders for the front of `PATH`.
    pub path: Vec<PathBuf>,
    /// Variables that the tools need, such as `RUSTUP_HOME`.
    pub env: Vec<(String, String)>,
}

/// One folder below a home that holds a toolchain.
struct Known {
    /// The folder below the home.
    folder: &'static str,
    /// The folder for `PATH`, if any.
    path: Option<&'static str>,
    /// A variable that must name the folder, if any.
    variable: Option<&'static str>,
}

/// Programs only; nothing with credentials. Caches that tools write to are left out: they are made anew
/// in the environment's own home.
const KNOWN: &[Known] = &[
    Known { folder: ".cargo/bin", path: Some(".cargo/bin"), variable: None },
    Known { folder: ".rustup", path: None, variable: Some("RUSTUP_HOME") },
    Known { folder: ".nvm/versions", path: None, variable: None },
    Known { folder: ".volta", path: Some(".volta/bin"), variable: Some("VOLTA_HOME") },
    Known { folder: ".bun/bin", path: Some(".bun/bin"), variable: None },
    Known { folder: ".deno/bin", path: Some(".deno/bin"), variable: None },
    Known { folder: ".pyenv", path: Some(".pyenv/shims"), variable: Some("PYENV_ROOT") },
    Known { folder: ".local/share/uv/python", path: None, variable: None },
    Known { folder: ".local/bin", path: Some(".local/bin"), variable: None },
    Known { folder: ".sdkman/candidates", path: None, variable: None },
    Known { folder: ".asdf", path: Some(".asdf/shims"), variable: Some("ASDF_DIR") },
    Known { folder: ".local/share/mise", path: Some(".local/share/mise/shims"), variable: None },
    Known { folder: ".rbenv", path: Some(".rbenv/shims"), variable: Some("RBENV_ROOT") },
    Known { folder: "go/bin", path: Some("go/bin"), variable: None },
];

/// The toolchains that exist below `home`.
///
/// As root all of them work. Without root a folder that the caller may read can also be read inside.
pub fn below(home: &Path) -> Toolchains {
    let mut found = Toolchains::default();
    for known in KNOWN {
        let folder = home.join(known.folder);
        if !folder.is_dir() {
            continue;
        }
        found.binds.push(Bind { host: folder.clone(), inside: folder.clone(), optional: true });
        if let Some(path) = known.path {
            found.path.push(home.join(path));
        }
        if let Some(variable) = known.variable {
            found.env.push((variable.to_owned(), folder.to_string_lossy().into_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_exist_are_named_and_credentials_never() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".cargo/bin")).unwrap();
        std::fs::write(home.path().join(".cargo/credentials.toml"), "secret").unwrap();
        let cargo = home.path().join(".cargo/bin");
        assert_eq!(
            below(home.path()),
            Toolchains {
                binds: vec![Bind { host: cargo.clone(), inside: cargo.clone(), optional: true }],
                path: vec![cargo],
                env: vec![],
            }
        );
    }
}
