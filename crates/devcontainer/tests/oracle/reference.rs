//! The reference tool: installed once from npm, run with a stand-in for Docker that answers from files.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

const PACKAGE: &str = "@devcontainers/cli@0.89.0";

/// Answers `ps` and `inspect` from files beside it, and notes which image was asked for.
const STAND_IN: &str = r#"#!/bin/sh
kind=
case "$1" in
ps) cat "$STAND_IN/ps" ;;
inspect)
    kind=$3
    for last; do :; done
    if [ "$kind" = image ]; then printf '%s\n' "$last" >>"$STAND_IN/asked"; fi
    cat "$STAND_IN/$kind.json"
    ;;
esac
"#;

pub(crate) struct Tool {
    folder: PathBuf,
    stand_in: PathBuf,
}

impl Tool {
    /// Installs it below the target folder, where the next test finds it again.
    pub(crate) fn install() -> Result<Self, String> {
        let is_on = |name: &str| std::env::var(name).as_deref() == Ok("1");
        if !is_on("WINDLASS_TEST_NPM") && !is_on("WINDLASS_TEST_ALL") {
            return Err("it wasn't asked for".to_owned());
        }
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = target.join("devcontainers-cli-0.89.0");
        if !folder.join("done").exists() {
            install(&target, &folder)?;
        }
        let stand_in = folder.join("docker");
        Ok(Self { folder, stand_in })
    }

    /// What it prints for a project, or its last words.
    pub(crate) fn read(
        &self,
        project: &Path,
        answers: &Path,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Result<Value, String> {
        let output = Command::new("node")
            .arg(self.folder.join("node_modules/@devcontainers/cli/devcontainer.js"))
            .args(["read-configuration", "--workspace-folder"])
            .arg(project)
            .arg("--docker-path")
            .arg(&self.stand_in)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .env("STAND_IN", answers)
            .stdin(Stdio::null())
            .output()
            .expect("node starts");
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).expect("it prints JSON"));
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(said.lines().rev().take(8).collect::<Vec<_>>().join(" | "))
    }
}

fn install(target: &Path, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(target).map_err(|error| error.to_string())?;
    let made = tempfile::tempdir_in(target).map_err(|error| error.to_string())?;
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(made.path())
        .arg(PACKAGE)
        .env("HOME", made.path())
        .env("npm_config_cache", target.join("npm-cache"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        return Err(format!("{PACKAGE}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let stand_in = made.path().join("docker");
    fs::write(&stand_in, STAND_IN).map_err(|error| error.to_string())?;
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    fs::write(made.path().join("done"), "").map_err(|error| error.to_string())?;
    let made = made.keep();
    let _ = fs::remove_dir_all(folder);
    fs::rename(&made, folder).or_else(|error| {
        // Another test may have been faster.
        if folder.join("done").exists() { Ok(()) } else { Err(error.to_string()) }
    })
}
