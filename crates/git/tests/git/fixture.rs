//! A place for one test: a temporary directory, a plain git as a user has it (but hermetic), and
//! short ways to make repositories and trees.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use windlass_git::{Git, Mirror, Oid, Remote, Repository, Signature, snapshot};

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) git: Git,
}

impl World {
    pub(crate) fn new() -> Self {
        World { dir: tempfile::tempdir().unwrap(), git: Git::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A user's repository with a work tree and one commit on `main`.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        git(&dir, ["init", "-q", "-b", "main"]);
        write(&dir, files);
        commit_all(&dir, "first");
        dir
    }

    pub(crate) async fn mirror(&self, of: &Path) -> Mirror {
        let mirror = Mirror::open(&self.git, &self.path("mirror.git")).await.unwrap();
        mirror.refresh(&local(of)).await.unwrap();
        mirror
    }

    /// A mirror of a project with these files, a repository for a job that borrows from it, and a
    /// fresh tree at its head.
    pub(crate) async fn job(&self, files: &[(&str, &str)]) -> Job {
        let project = self.project("project", files);
        self.job_on(&project).await
    }

    pub(crate) async fn job_on(&self, project: &Path) -> Job {
        let mirror = self.mirror(project).await;
        let repository =
            self.git.init_borrowing(&self.path("job.git"), mirror.repository()).await.unwrap();
        let base = mirror.repository().resolve("main").await.unwrap();
        let tree = snapshot::WorkTree { path: self.path("tree"), index: self.path("state/index") };
        let mut options = windlass_git::checkout::Options::detached(base.clone());
        options.index_copy = Some(tree.index.clone());
        repository.checkout(&tree.path, &options).await.unwrap();
        Job { repository, tree, base }
    }
}

pub(crate) struct Job {
    pub(crate) repository: Repository,
    pub(crate) tree: snapshot::WorkTree,
    pub(crate) base: Oid,
}

impl Job {
    pub(crate) async fn snapshot(&self) -> snapshot::Snapshot {
        self.repository
            .snapshot(&self.tree, &self.base, &snapshot::Options::default())
            .await
            .unwrap()
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        write(&self.tree.path, files);
    }

    pub(crate) async fn read(&self, tree: &Oid, path: &str) -> Vec<u8> {
        let commit = self.commit(tree).await;
        self.repository
            .read_file(&commit, &windlass_git::RepoPath::parse(path).unwrap(), 1 << 20)
            .await
            .unwrap()
    }

    pub(crate) async fn commit(&self, tree: &Oid) -> Oid {
        let commit = snapshot::NewCommit {
            tree: tree.clone(),
            parents: vec![self.base.clone()],
            author: who(1),
            committer: who(1),
            message: "work".into(),
        };
        self.repository.commit(&commit).await.unwrap()
    }
}

pub(crate) fn local(path: &Path) -> Remote {
    Remote::open(windlass_git::Address::Path(path.to_owned()))
}

pub(crate) fn who(seconds: i64) -> Signature {
    Signature {
        name: "Windlass".into(),
        email: "windlass@localhost".into(),
        at: seconds * 1_000_000,
    }
}

pub(crate) fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

pub(crate) fn commit_all(dir: &Path, message: &str) -> Oid {
    git(dir, ["add", "-A"]);
    git(dir, ["commit", "-q", "--allow-empty", "-m", message]);
    head(dir)
}

pub(crate) fn head(dir: &Path) -> Oid {
    Oid::parse(&git(dir, ["rev-parse", "HEAD"])).unwrap()
}

/// Runs a plain git as a user would; panics with its words if it fails.
pub(crate) fn git<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(dir: &Path, args: I) -> String {
    let (ok, text) = try_git(dir, args);
    assert!(ok, "{text}");
    text
}

/// Runs a plain git; gives whether it succeeded, and what it printed.
pub(crate) fn try_git<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
    dir: &Path,
    args: I,
) -> (bool, String) {
    let output = user_git(dir).args(args).output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), text.trim_end().to_owned())
}

pub(crate) fn user_git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "User")
            .env(format!("GIT_{role}_EMAIL"), "user@localhost");
        command.env(format!("GIT_{role}_DATE"), "@1700000000 +0000");
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", "file:http:https");
    command
}

/// Whether the test runs as root, who may read and mount everything.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata))
        .unwrap()
        == 0
}

/// Runs one test of this program again as nobody, from a copy that nobody can reach: root may read
/// everything, so some refusals can't be seen as root.
pub(crate) fn again_as_an_ordinary_user(test: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("again");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    for path in [folder.path(), &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", test])
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{test} as nobody: {text}");
}

/// Says loudly that a test could not run, and fails if everything must.
pub(crate) fn skipped(test: &str, needs: &str) {
    eprintln!("SKIPPED {test}: needs {needs}");
    assert!(
        std::env::var_os("WINDLASS_TEST_ALL").is_none_or(|value| value != "1"),
        "{test} must not be skipped"
    );
}
