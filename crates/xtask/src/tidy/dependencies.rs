//! Edges between our crates, dependencies that belong to one crate only, bans and licences.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::Finding;

/// Which of our crates each crate may use, besides in tests. `ARCHITECTURE.md` says why.
const EDGES: &[(&str, &[&str])] = &[
    ("policy", &[]),
    ("document", &[]),
    ("run", &["policy", "document"]),
    ("readiness", &[]),
    ("review", &[]),
    ("wire", &["run", "readiness"]),
    ("store", &["run"]),
    ("git", &[]),
    ("devcontainer", &["document"]),
    ("sandbox", &["policy", "devcontainer"]),
    ("oci", &["sandbox"]),
    ("image", &["sandbox"]),
    ("gateway", &["policy", "git"]),
    ("agent", &["policy", "wire"]),
    ("forge", &["git", "run"]),
    ("server", &["store", "run", "review", "policy", "wire", "forge", "git"]),
    (
        "runner",
        &[
            "wire",
            "sandbox",
            "oci",
            "image",
            "devcontainer",
            "gateway",
            "agent",
            "forge",
            "git",
            "policy",
            "readiness",
            "run",
        ],
    ),
    (
        "cli",
        &[
            "server",
            "runner",
            "wire",
            "policy",
            "run",
            "forge",
            "devcontainer",
            "sandbox",
            "oci",
            "image",
            "agent",
            "store",
        ],
    ),
    ("testkit", &["*"]),
    ("xtask", &["*"]),
];

/// Dependencies that hide an outside thing, and the crates that may see it.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["server", "gateway", "testkit"]),
    ("rusqlite", &["store"]),
    ("tokio-postgres", &["store", "testkit"]),
    ("bollard", &["oci"]),
    ("oci-client", &["image"]),
    ("libc", &["sandbox"]),
    ("nix", &["sandbox"]),
    // Safe wrappers only: file locks and no-follow opens in `git`, process groups in `agent`.
    ("rustix", &["sandbox", "git", "agent", "testkit"]),
    ("seccompiler", &["sandbox"]),
    ("jsonc-parser", &["document"]),
    ("cel", &["run"]),
    ("parse-dockerfile", &["devcontainer"]),
    ("octocrab", &["forge"]),
    ("agent-client-protocol", &["agent", "testkit"]),
    ("askama", &["server"]),
    ("clap", &["cli", "xtask"]),
    // Ambient state: a true constant is a `const` or a `LazyLock` beside its use.
    ("lazy_static", &[]),
];

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
}

/// Checks each crate's manifest against the allowed edges and owners.
pub(super) fn edges(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("failed to list crates/")? {
        let folder = entry?.path();
        let manifest_path = folder.join("Cargo.toml");
        if !manifest_path.exists() {
            continue;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&manifest_path)?;
        let manifest: Manifest = toml::from_str(&text)
            .with_context(|| format!("failed to read {}", manifest_path.display()))?;
        let finding = |dependency: &str, what: String| Finding {
            file: manifest_path.strip_prefix(root).unwrap_or(&manifest_path).to_owned(),
            line: 1 + text.lines().position(|line| line.starts_with(dependency)).unwrap_or(0),
            what,
        };
        let Some((_, allowed)) = EDGES.iter().find(|(crate_name, _)| *crate_name == name) else {
            findings.push(finding("", format!("crate `{name}` has no row in xtask's EDGES")));
            continue;
        };
        for dependency in manifest.dependencies.keys() {
            if let Some(ours) = dependency.strip_prefix("windlass-")
                && !allowed.contains(&"*")
                && !allowed.contains(&ours)
            {
                findings.push(finding(
                    dependency,
                    format!("`{name}` may not use `{ours}`: see the code map in ARCHITECTURE.md"),
                ));
            }
            if let Some((_, owners)) = OWNERS.iter().find(|(owned, _)| owned == dependency)
                && !owners.contains(&name.as_str())
            {
                findings.push(finding(
                    dependency,
                    format!("`{dependency}` belongs to {owners:?}; ask them instead"),
                ));
            }
        }
    }
    Ok(findings)
}

#[derive(Deserialize)]
struct Deny {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

/// A package of another's that the build of this machine takes in.
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// Checks every package that the build takes in against `deny.toml`.
pub(super) fn bans_and_licences(root: &Path) -> Result<Vec<Finding>> {
    let deny: Deny = toml::from_str(&fs::read_to_string(root.join("deny.toml"))?)
        .context("failed to read deny.toml")?;
    let mut findings = Vec::new();
    let mut finding = |what| findings.push(Finding { file: "Cargo.lock".into(), line: 0, what });
    for package in packages(root)? {
        if !licence_is_allowed(&package.licence, &deny.licenses.allow) {
            finding(format!(
                "{} {} has the licence `{}`, which deny.toml doesn't allow",
                package.name, package.version, package.licence
            ));
        }
        for ban in deny.bans.deny.iter().filter(|ban| ban.name == package.name) {
            if !only_for(root, &package, &ban.wrappers)? {
                finding(format!("{} is banned: {}", package.name, ban.reason));
            }
        }
    }
    Ok(findings)
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let text = tree(root, &["--workspace", "--format", "{p}|{l}"])?;
    // Our own packages show their folder; a package that was shown before ends with a star.
    let ours = |line: &&str| line.contains("(/");
    let mut lines: Vec<&str> =
        text.lines().filter(|line| !ours(line)).map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    let package = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        let (name, version) = package.split_once(" v")?;
        let version = version.split(' ').next()?.to_owned();
        Some(Package { name: name.to_owned(), version, licence: licence.to_owned() })
    };
    Ok(lines.into_iter().filter_map(package).collect())
}

/// True if nothing uses the package directly but these.
fn only_for(root: &Path, package: &Package, wrappers: &[String]) -> Result<bool> {
    let exact = format!("{}@{}", package.name, package.version);
    let text = tree(root, &["--invert", &exact, "--depth", "1", "--format", "{p}"])?;
    let users = text.lines().filter_map(|line| line.split(" v").next());
    Ok(users.filter(|user| *user != package.name).all(|user| wrappers.iter().any(|w| w == user)))
}

fn tree(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", "normal,build,no-proc-macro"])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("failed to start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An SPDX expression is allowed if one side of an `OR`, and all sides of an `AND`, are. Parentheses
/// in the wild only group `OR`s within `AND`s, so a product of sums covers them.
fn licence_is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    !expression.trim().is_empty()
        && expression.split(" AND ").all(|part| {
            part.trim_matches(['(', ')', ' '])
                .split(" OR ")
                .any(|name| allowed.iter().any(|ok| ok == name.trim_matches(['(', ')', ' '])))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_passes_by_one_alternative_but_needs_every_part() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
        let verdicts = [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "MIT AND GPL-3.0",
            "",
        ]
        .map(|expression| licence_is_allowed(expression, &allowed));
        assert_eq!(verdicts, [true, true, true, true, false, false]);
    }
}
