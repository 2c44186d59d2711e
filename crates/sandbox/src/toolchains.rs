//! Toolchains that live in a person's home folder, or where variables say: which of their folders an
//! environment may see.
//!
//! Homes are hidden from environments because they hold secrets. This is the allow-list of folders in
//! them that hold only programs; `.cargo/credentials.toml`, `.npmrc` and the like are never in it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

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

/// A variable that says where a toolchain is, for those who keep it elsewhere than in a home.
struct Named {
    /// The variable.
    variable: &'static str,
    /// The folder below it that holds only programs; empty for all of it.
    folder: &'static str,
    /// The folder below it for `PATH`, if any.
    path: Option<&'static str>,
    /// Whether the tools need the variable inside.
    needed: bool,
}

const NAMED: &[Named] = &[
    Named { variable: "CARGO_HOME", folder: "bin", path: Some("bin"), needed: false },
    Named { variable: "RUSTUP_HOME", folder: "", path: None, needed: true },
    Named { variable: "VOLTA_HOME", folder: "", path: Some("bin"), needed: true },
    Named { variable: "PYENV_ROOT", folder: "", path: Some("shims"), needed: true },
    Named { variable: "RBENV_ROOT", folder: "", path: Some("shims"), needed: true },
    Named { variable: "GOROOT", folder: "", path: Some("bin"), needed: true },
    Named { variable: "JAVA_HOME", folder: "", path: Some("bin"), needed: true },
];

/// The toolchains that exist below `home`, and those that variables name, as `lookup` knows them; what a
/// variable names comes first. A variable that names no absolute path of a folder is passed over.
///
/// As root all of them work. Without root a folder that the caller may read can also be read inside.
pub fn find(home: Option<&Path>, lookup: impl Fn(&str) -> Option<OsString>) -> Toolchains {
    let mut found = Toolchains::default();
    for named in NAMED {
        let Some(root) = lookup(named.variable).map(PathBuf::from) else { continue };
        let folder = root.join(named.folder);
        if !root.is_absolute() || !folder.is_dir() || folder.parent().is_none() {
            continue;
        }
        // Joined with an empty name a path ends in a slash.
        let folder: PathBuf = folder.components().collect();
        found.path.extend(named.path.map(|path| root.join(path)));
        if named.needed {
            found.env.push((named.variable.to_owned(), folder.to_string_lossy().into_owned()));
        }
        found.binds.push(Bind { host: folder.clone(), inside: folder, optional: true });
    }
    let Some(home) = home else { return found };
    let below = below(home);
    for bind in below.binds {
        if found.binds.iter().all(|known| known.inside != bind.inside) {
            found.binds.push(bind);
        }
    }
    for path in below.path {
        if !found.path.contains(&path) {
            found.path.push(path);
        }
    }
    for (name, value) in below.env {
        if found.env.iter().all(|(known, _)| *known != name) {
            found.env.push((name, value));
        }
    }
    found
}

fn below(home: &Path) -> Toolchains {
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
            find(Some(home.path()), |_| None),
            Toolchains {
                binds: vec![Bind { host: cargo.clone(), inside: cargo.clone(), optional: true }],
                path: vec![cargo],
                env: vec![],
            }
        );
    }

    #[test]
    fn what_a_variable_names_comes_first_and_nonsense_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        for folder in [".rustup", ".cargo/bin"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        for folder in ["rustup", "cargo/bin"] {
            std::fs::create_dir_all(elsewhere.path().join(folder)).unwrap();
        }
        let at = |name: &str| Some(elsewhere.path().join(name).into_os_string());
        let found = find(Some(home.path()), |name| match name {
            "CARGO_HOME" => at("cargo"),
            "RUSTUP_HOME" => at("rustup"),
            "GOROOT" => Some("go".into()),
            "JAVA_HOME" => at("nowhere"),
            _ => None,
        });
        let bind = |folder: PathBuf| Bind { host: folder.clone(), inside: folder, optional: true };
        let (cargo, rustup) = (elsewhere.path().join("cargo/bin"), elsewhere.path().join("rustup"));
        assert_eq!(
            found,
            Toolchains {
                binds: vec![
                    bind(cargo.clone()),
                    bind(rustup.clone()),
                    bind(home.path().join(".cargo/bin")),
                    bind(home.path().join(".rustup")),
                ],
                path: vec![cargo, home.path().join(".cargo/bin")],
                env: vec![("RUSTUP_HOME".to_owned(), rustup.to_string_lossy().into_owned())],
            }
        );
    }
}
