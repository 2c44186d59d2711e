//! What browser tests need besides Rust: node, npm's playwright-core and axe-core, and a Chromium. The
//! packages are installed once, below the target folder. Whatever is missing is said loudly, and is a
//! failure where every test must run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The tools, ready.
pub(crate) struct Tools {
    folder: PathBuf,
    chromium: PathBuf,
}

impl Tools {
    /// Finds or installs them. `None`, and a line that says how to have them, if that can't be.
    pub(crate) fn find(test: &str) -> Option<Self> {
        match Self::try_find() {
            Ok(tools) => Some(tools),
            Err(missing) => {
                #[expect(clippy::disallowed_methods, reason = "a test may ask how it was called")]
                let is_needed = std::env::var_os("WINDLASS_TEST_ALL").is_some();
                assert!(!is_needed, "{test} needs {missing}");
                #[allow(clippy::print_stderr, reason = "a skip is said loudly")]
                {
                    eprintln!("SKIPPED {test}: needs {missing}");
                }
                None
            }
        }
    }

    fn try_find() -> Result<Self, String> {
        works("node", "--version").ok_or("node 20 or newer: apt-get install nodejs npm")?;
        works("npm", "--version").ok_or("npm: apt-get install npm")?;
        let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or("chromium: apt-get install chromium")?;
        Ok(Self { folder: install()?, chromium })
    }

    /// Where scripts leave their pictures: below the target folder.
    pub(crate) fn pictures(&self) -> PathBuf {
        self.folder.with_file_name("pictures")
    }

    /// A script of `tests/browser`, to be started. It gets the browser's path as its first argument
    /// and the folder for pictures as its second.
    pub(crate) fn script(&self, name: &str) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/tests/browser");
        // Node finds packages beside the script, so the scripts are copied beside the packages.
        for entry in fs::read_dir(&here).expect("tests/browser can be read") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "mjs") {
                let copy = self.folder.join(path.file_name().expect("a name"));
                fs::copy(&path, &copy).expect("the script is copied");
            }
        }
        let mut command = Command::new("node");
        command
            .arg(self.folder.join(name))
            .arg(&self.chromium)
            .arg(self.pictures())
            .env("HOME", &self.folder)
            .stdin(Stdio::null());
        command
    }
}

fn works(program: &str, argument: &str) -> Option<()> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(())
}

/// The folder with the packages: made apart and then moved, so that it is whole or not there.
fn install() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = program.ancestors().nth(2).ok_or("a target folder")?.join("tmp");
    let wanted = include_str!("package.json");
    let folder = target.join("browser-tools");
    let is_there = fs::read_to_string(folder.join("package.json")).is_ok_and(|text| text == wanted);
    if is_there {
        return Ok(folder);
    }
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let made = tempfile::tempdir_in(&target).map_err(|error| error.to_string())?;
    fs::write(made.path().join("package.json"), wanted).map_err(|error| error.to_string())?;
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"])
        .current_dir(made.path())
        .env("HOME", made.path())
        .env("npm_config_cache", target.join("npm-cache"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("playwright-core and axe-core from npm: {}", said.trim()));
    }
    let _ = fs::remove_dir_all(&folder);
    let made = made.keep();
    fs::rename(&made, &folder).or_else(|error| {
        // Another test may have been faster.
        if folder.join("node_modules").is_dir() { Ok(()) } else { Err(error.to_string()) }
    })?;
    Ok(folder)
}
