//! One data folder, one repository, and the binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// A folder of one test's own, gone at its end.
pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with this world's data folder, and nothing of the tester's environment that could
    /// change what it does.
    pub(crate) fn windlass(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_windlass"));
        command.args(arguments);
        command
    }

    /// Any program, as [`World::windlass`].
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            let of_a_client = ["ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "WINDLASS_"];
            if of_a_client.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.env("WINDLASS_DATA_DIR", self.path("data"));
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.windlass(arguments).output().expect("windlass can be started");
        Ended::new(arguments, &output)
    }

    /// Runs it and reads the JSON that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended}");
        ended.json()
    }

    /// A repository with one commit on `main`.
    pub(crate) fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("the folder can be made");
        git(&path, &["init", "--quiet", "--initial-branch=main"]);
        for (file, content) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().expect("it has one")).expect("it can be made");
            fs::write(file, content).expect("it can be written");
        }
        git(&path, &["add", "--all"]);
        git(&path, &["commit", "--quiet", "--allow-empty", "--message", "first"]);
        path
    }

    /// A session file for `--replay`.
    pub(crate) fn session(&self, name: &str, turns: &[Value]) -> PathBuf {
        let folder = self.path("sessions");
        fs::create_dir_all(&folder).expect("the folder can be made");
        let mut text = r#"{"windlass_session":1,"about":"a test","scripted":true}"#.to_owned();
        for turn in turns {
            text.push_str(&format!("\n{turn}"));
        }
        fs::write(folder.join(format!("{name}.jsonl")), text + "\n").expect("it can be written");
        folder
    }

    /// A server that stays until it is dropped.
    pub(crate) fn up(&self, arguments: &[&str]) -> Up {
        let all = [&["up", "--listen", "127.0.0.1:0"], arguments].concat();
        let log = fs::File::create(self.path("up.log")).expect("the log can be made");
        let child = self
            .windlass(&all)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("windlass can be started");
        let mut up = Up { child };
        for _ in 0..3000 {
            if self.run(&["--json", "version"]).json()["server"].is_string() {
                return up;
            }
            let ended = up.child.try_wait().expect("it can be asked");
            let log = fs::read_to_string(self.path("up.log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended at once: {log}");
        }
        panic!("the server did not come up");
    }
}

/// A server that ends in good order when it is dropped.
pub(crate) struct Up {
    child: Child,
}

impl Up {
    /// Ends it as a crash would: it gets no chance to do anything more.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How a call of the binary ended.
pub(crate) struct Ended {
    arguments: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn new(arguments: &[&str], output: &Output) -> Self {
        Self {
            arguments: arguments.join(" "),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs any command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().expect("the command can be started");
        Self::new(&[&format!("{command:?}")], &output)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("no JSON ({e}): {self}"))
    }

    /// Ended with this code, and says each of these.
    pub(crate) fn says(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self}");
        let all = format!("{}{}", self.out, self.err);
        for text in texts {
            assert!(all.contains(text), "nothing about {text:?} in {self}");
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "windlass {} ended with {:?}\n{}\n{}",
            self.arguments, self.code, self.out, self.err
        )
    }
}

/// Git, apart from whatever the tester has configured. Returns what it printed.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.org"])
        .args(["-c", "safe.directory=*"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?} failed: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
