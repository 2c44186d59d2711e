//! What every source file must open with and may not say.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::Finding;

/// The files that git tracks, plus the new ones that it doesn't ignore.
pub(super) fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to start git ls-files")?;
    anyhow::ensure!(output.status.success(), "git ls-files failed: is this a git checkout?");
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|file| root.join(file).is_file())
        .collect())
}

/// Module and crate names that would become the room where everything is put.
const NAMES: &[&str] = &["utils", "util", "common", "helpers", "misc", "core"];

/// Checks each file.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files {
        let text = match fs::read(root.join(file)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) => return Err(e).with_context(|| format!("failed to read {}", file.display())),
        };
        let mut say = |line: usize, what: &str| {
            findings.push(Finding { file: file.clone(), line, what: what.to_owned() });
        };
        if file.extension().is_some_and(|extension| extension == "rs") {
            rust(file, &text, &mut say);
        }
        unfinished(file, &text, &mut say);
    }
    Ok(findings)
}

fn rust(file: &Path, text: &str, say: &mut dyn FnMut(usize, &str)) {
    let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or("");
    if !first.starts_with("//!") {
        say(1, "open the file with `//!`: what it is for, what may never be done in it");
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if stem == "mod" {
        say(0, "`foo.rs` beside `foo/`, never `mod.rs`");
    }
    if NAMES.contains(&stem.as_ref()) {
        say(0, "a room with this name collects everything: put each thing with its owner");
    }
    // This crate has to name what it looks for.
    let in_sandbox = file.starts_with("crates/sandbox") || file.starts_with("crates/xtask");
    for (i, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        if !in_sandbox && (code.contains("unsafe {") || code.contains("unsafe fn")) {
            say(i + 1, "`unsafe` stands only in `sandbox`");
        }
    }
}

fn unfinished(file: &Path, text: &str, say: &mut dyn FnMut(usize, &str)) {
    // What looks for such marks has to name them: this file, the continuous-integration script, and the
    // automation that works them off.
    let names_them = ["crates/xtask", ".ci", "library/backlog-cleanup"];
    if names_them.iter().any(|folder| file.starts_with(folder)) {
        return;
    }
    for (i, line) in text.lines().enumerate() {
        for mark in ["todo!(", "unimplemented!(", "FIXME", "XXX:"] {
            if line.contains(mark) {
                say(i + 1, &format!("`{mark}` is unfinished work: finish it or file it"));
            }
        }
        let trimmed = line.trim_start_matches(['"', '\'', '`', '(', ' ']);
        for path in ["/work/main", "/tmp/bash_jobs", "/root/.cargo/registry"] {
            if trimmed.contains(path) {
                say(i + 1, "a path of one machine: it means nothing on another");
            }
        }
    }
}
