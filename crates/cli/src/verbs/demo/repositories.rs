//! The demo's repositories: small, real, each with a bug that its own tests show.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// One repository and its task.
pub(super) struct Sample {
    /// The project's name.
    pub(super) name: &'static str,
    /// The run in one line.
    pub(super) title: &'static str,
    /// What the agent is asked to do.
    pub(super) task: &'static str,
    /// What must succeed before it may end.
    pub(super) verify: &'static str,
    /// The session that answers instead of a model.
    session: &'static str,
    /// The repository's files: name, content.
    files: &'static [(&'static str, &'static str)],
}

/// The three of them.
pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        name: "wordcount",
        title: "Count the last word of a file that ends without a newline",
        task: "wordcount misses the last word of an input that doesn't end with a newline. Find out \
               why, fix it, and keep `sh test.sh` green.",
        verify: "sh test.sh",
        session: include_str!("../../../demo/wordcount.session.jsonl"),
        files: &[
            ("README.md", include_str!("../../../demo/wordcount/README.md")),
            ("wordcount.c", include_str!("../../../demo/wordcount/wordcount.c")),
            ("test.sh", include_str!("../../../demo/wordcount/test.sh")),
        ],
    },
    Sample {
        name: "semver",
        title: "Compare version numbers by their parts",
        task: "semver.sh says that 1.9.0 is newer than 1.10.0. Compare versions part by part as \
               numbers, without tools beyond a POSIX shell and awk, and keep `sh test.sh` green.",
        verify: "sh test.sh",
        session: include_str!("../../../demo/semver.session.jsonl"),
        files: &[
            ("README.md", include_str!("../../../demo/semver/README.md")),
            ("semver.sh", include_str!("../../../demo/semver/semver.sh")),
            ("test.sh", include_str!("../../../demo/semver/test.sh")),
        ],
    },
    Sample {
        name: "slug",
        title: "One hyphen between words, none at the ends",
        task: "slug() puts a hyphen for every character that is not a letter or digit, so that titles \
               with punctuation get ugly addresses. Make the tests pass.",
        verify: "cargo test --offline --quiet",
        session: include_str!("../../../demo/slug.session.jsonl"),
        files: &[
            ("README.md", include_str!("../../../demo/slug/README.md")),
            ("Cargo.toml", include_str!("../../../demo/slug/Cargo.toml.demo")),
            ("src/lib.rs", include_str!("../../../demo/slug/src/lib.rs.demo")),
            (".gitignore", "/target\n/Cargo.lock\n"),
        ],
    },
];

/// Writes the session files that answer instead of a model.
pub(super) fn write_sessions(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for sample in SAMPLES {
        fs::write(folder.join(format!("{}.jsonl", sample.name)), sample.session)?;
    }
    Ok(())
}

impl Sample {
    /// Makes the bare repository with one commit and says where it is.
    pub(super) async fn make(&self, folder: &Path) -> Result<PathBuf> {
        let bare = folder.join(format!("{}.git", self.name));
        ensure!(!bare.exists(), "{} is there already: name another --dir", bare.display());
        let tree = folder.join(self.name);
        for (name, content) in self.files {
            let file = tree.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&tree))?;
            fs::write(&file, content)
                .with_context(|| format!("failed to write {}", file.display()))?;
        }
        git(&tree, &["init", "--quiet", "--initial-branch=main"]).await?;
        git(&tree, &["add", "--all"]).await?;
        git(&tree, &["commit", "--quiet", "--message", "A first version"]).await?;
        let bare_name = bare.to_string_lossy().into_owned();
        git(&tree, &["clone", "--quiet", "--bare", ".", &bare_name]).await?;
        fs::remove_dir_all(&tree).with_context(|| format!("failed to clear {}", tree.display()))?;
        Ok(bare)
    }
}

/// Git in a folder that we just made, apart from whatever this user has configured.
async fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(["-c", "user.name=Windlass demo", "-c", "user.email=demo@windlass.invalid"])
        .args(["-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .await
        .context("failed to start git: is it installed?")?;
    ensure!(
        output.status.success(),
        "git {} failed: {}",
        arguments[0],
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
