//! SSH into an environment with the clients that people have: OpenSSH's `ssh`, `scp` and `sftp`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

use crate::world::{Ended, Up, World};

/// A server with SSH, an environment `one`, and a key that is registered.
struct Stage {
    world: World,
    _up: Up,
    key_id: String,
}

impl Stage {
    /// Absent, and said, where a client is missing.
    fn new(test: &str) -> Option<Self> {
        let missing = ["ssh", "scp", "sftp", "ssh-keygen"].into_iter().find(|name| !have(name));
        if let Some(name) = missing {
            eprintln!("SKIPPED {test}: needs {name}: apt install openssh-client");
            assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{test} needs {name}");
            return None;
        }
        let world = World::new();
        let repository = world.repository("api", &[("greeting.txt", "good day\n")]);
        let up = world.up(&["--ssh", "127.0.0.1:0"]);
        let added = world.run(&["project", "add", repository.to_str().expect("UTF-8")]);
        assert_eq!(added.code, Some(0), "{added}");
        world.json(&["--json", "env", "create", "api", "--name", "one"]);
        let stage = Self { key_id: String::new(), world, _up: up };
        for name in ["key", "strange"] {
            let key = stage.path(name);
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", "ada at home", "-f", &key];
            let made = Command::new("ssh-keygen").args(arguments).status().expect("started");
            assert!(made.success());
        }
        let public = format!("{}.pub", stage.path("key"));
        let key = stage.world.json(&["--json", "key", "add", &public]);
        assert_eq!(key["name"], "ada at home", "{key}");
        stage.world.run(&["key", "add", &public]).says(1, &["name-taken"]);
        stage.world.run(&["key", "add", &stage.path("key")]).says(1, &["private key"]);
        let written = stage.windlass(&["env", "ssh-config", "--write"]).output().expect("started");
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let key_id = key["id"].as_str().expect("an id").to_owned();
        Some(Self { key_id, ..stage })
    }

    fn path(&self, name: &str) -> String {
        self.world.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// The binary of a person whose home folder is this world's.
    fn windlass(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.windlass(arguments);
        command.env("HOME", self.world.path("home"));
        command
    }

    /// A client with the person's configuration and key.
    fn client(&self, program: &str, key: &str, arguments: &[&str]) -> Command {
        let config = self.path("home/.ssh/windlass/config");
        let identity = format!("IdentityFile={}", self.path(key));
        let mut command = self.world.command(program);
        command.args(["-F", &config, "-o", &identity, "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "BatchMode=yes", "-o", "IdentityAgent=none"]).args(arguments);
        command.env("HOME", self.world.path("home"));
        command
    }

    fn ssh(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.client("ssh", "key", arguments))
    }
}

#[test]
fn programs_files_and_ports_are_reached_by_openssh() {
    let Some(stage) = Stage::new("programs_files_and_ports_are_reached_by_openssh") else { return };
    let ssh = |arguments: &[&str]| stage.ssh(&[&["one.windlass"], arguments].concat());

    ssh(&["cat greeting.txt; echo to-errors >&2; exit 7"]).says(7, &["good day", "to-errors"]);
    ssh(&["kill -TERM $$"]).says(255, &[]);
    let mut cat = stage.client("ssh", "key", &["one.windlass", "wc -c"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    cat.stdin.take().expect("piped").write_all(&vec![b'x'; 3_000_000]).expect("written");
    let mut counted = String::new();
    cat.stdout.take().expect("piped").read_to_string(&mut counted).expect("read");
    assert_eq!((counted.trim(), cat.wait().expect("ended").code()), ("3000000", Some(0)));

    // A terminal, as `ssh -t` asks for one.
    let terminal = stage.ssh(&["-tt", "one.windlass", "test -t 0 && tty; echo $TERM"]);
    terminal.says(0, &["/dev/pts/0"]);

    // Files: `scp` speaks SFTP too.
    let big: Vec<u8> = (0..2_000_000_u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
    std::fs::write(stage.world.path("big"), &big).expect("written");
    let big_file = stage.path("big");
    Ended::of(stage.client("scp", "key", &["-q", &big_file, "one.windlass:big file"])).says(0, &[]);
    let back = stage.path("back");
    Ended::of(stage.client("scp", "key", &["-q", "one.windlass:big file", &back])).says(0, &[]);
    assert_eq!(std::fs::read(&back).expect("copied"), big);
    let commands = "mkdir folder\nput greeting folder/greeting\nrename folder/greeting folder/hello\n\
                    chmod 600 folder/hello\nls -l folder\nln -s hello folder/link\nget folder/link got\n\
                    rm folder/link\n";
    std::fs::write(stage.world.path("greeting"), "hello\n").expect("written");
    std::fs::write(stage.world.path("batch"), commands).expect("written");
    let batch = stage.path("batch");
    let sftp = stage.client("sftp", "key", &["-b", &batch, "one.windlass"]);
    Ended::of(sftp).says(0, &["-rw-------", "hello"]);
    assert_eq!(std::fs::read_to_string(stage.world.path("got")).expect("copied"), "hello\n");
    ssh(&["cat folder/hello; test -e folder/link || echo is-gone"]).says(0, &["hello", "is-gone"]);

    // A port of the environment, and none of this machine.
    let listen = "exec perl -e 'use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; \
                  bind($s, sockaddr_in(0, INADDR_LOOPBACK)) or die; listen($s, 5) or die; $| = 1; \
                  print((sockaddr_in(getsockname($s)))[0], \"\\n\"); accept(my $c, $s) or die; \
                  print $c \"from inside\\n\"; close $c;'";
    let mut listener = stage.client("ssh", "key", &["one.windlass", listen]);
    let mut listener = listener.stdout(Stdio::piped()).spawn().expect("started");
    let mut port = String::new();
    let mut said = BufReader::new(listener.stdout.take().expect("piped"));
    said.read_line(&mut port).expect("a port");
    let port = port.trim();
    stage.ssh(&["-W", &format!("localhost:{port}"), "one.windlass"]).says(0, &["from inside"]);
    assert_eq!(listener.wait().expect("ended").code(), Some(0));
    let elsewhere = stage.ssh(&["-W", "192.0.2.1:80", "one.windlass"]);
    assert_ne!(elsewhere.code, Some(0), "{elsewhere}");

    let journal = stage.world.run(&["env", "journal", "one"]);
    journal.says(0, &["connected by SSH"]);
}

#[test]
fn a_stranger_is_refused_and_a_removed_key_cuts_what_it_opened() {
    let Some(stage) = Stage::new("a_stranger_is_refused") else { return };
    let strange = Ended::of(stage.client("ssh", "strange", &["one.windlass", "true"]));
    strange.says(255, &["Permission denied (publickey)"]);
    let elsewhere = stage.ssh(&["-l", "two", "one.windlass", "true"]);
    elsewhere.says(255, &["Permission denied (publickey)"]);

    let mut open = stage.client("ssh", "key", &["one.windlass", "echo ready; sleep 1000"]);
    let mut open = open.stdout(Stdio::piped()).spawn().expect("started");
    let mut said = BufReader::new(open.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    stage.world.run(&["key", "remove", &stage.key_id]).says(0, &[]);
    assert_eq!(open.wait().expect("cut").code(), Some(255));
    stage.ssh(&["one.windlass", "true"]).says(255, &["Permission denied (publickey)"]);
    stage.world.run(&["key", "remove", &stage.key_id]).says(1, &["not-found"]);
}

/// Whether a program is on this machine.
fn have(program: &str) -> bool {
    let look = ["-c", "command -v -- \"$1\"", "sh", program];
    Command::new("sh").args(look).output().is_ok_and(|found| found.status.success())
}
