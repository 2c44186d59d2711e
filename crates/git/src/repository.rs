//! A bare repository that belongs to the platform: its references and objects. Everything else in
//! this crate works on one of these. No environment may ever be given its directory to write.

use std::path::{Path, PathBuf};

use crate::command::{Call, Overflow};
use crate::{Error, Git, Oid, RefName, RepoPath, Result};

/// A bare repository on this machine. Cheap to clone; holds nothing open.
#[derive(Clone, Debug)]
pub struct Repository {
    git: Git,
    dir: PathBuf,
}

/// A reference and the object it names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reference {
    /// The full name.
    pub name: RefName,
    /// The object; for an annotated tag the tag object.
    pub target: Oid,
}

/// One change in a transaction over references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full name.
    pub name: RefName,
    /// The new value; `None` deletes.
    pub new: Option<Oid>,
    /// The value that must be there now.
    pub expected: Expected,
}

/// What a reference must be for an update to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It must not exist.
    Absent,
    /// It must be exactly this.
    Is(Oid),
    /// It may be anything.
    Anything,
}

/// One entry of a directory at a commit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TreeEntry {
    /// The path from the root of the repository.
    pub path: RepoPath,
    /// The mode: 0o100644, 0o100755, 0o120000 (symbolic link), 0o160000 (submodule), 0o40000.
    pub mode: u32,
    /// The object.
    pub id: Oid,
    /// Its size in bytes, if it is a file.
    pub size: Option<u64>,
}

impl Git {
    /// Makes a bare repository at `dir`, which may exist already as one (then nothing changes).
    pub async fn init(&self, dir: &Path) -> Result<Repository> {
        check_absolute(dir)?;
        self.call(format!("make a repository at {}", dir.display()))
            .args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main"])
            .arg(dir)
            .run()
            .await?;
        Ok(Repository { git: self.clone(), dir: dir.to_owned() })
    }

    /// Makes a bare repository that reads objects of `lender` as well, without a copy. The lender
    /// must outlive it and must never drop objects ([`crate::Mirror`] never does). What a killed git left
    /// of an earlier making is finished: call it only while nothing else works on it.
    pub async fn init_borrowing(&self, dir: &Path, lender: &Repository) -> Result<Repository> {
        if dir.is_dir() {
            // A lock that a killed git holds on its configuration would refuse this one for good.
            Repository { git: self.clone(), dir: dir.to_owned() }.remove_stale_locks().await?;
        }
        let repository = self.init(dir).await?;
        let alternates = dir.join("objects/info/alternates");
        let line = lender.dir.join("objects");
        if line.as_os_str().as_encoded_bytes().contains(&b'\n') {
            return Err(Error::invalid(
                line.display(),
                "contains a line break, which git cannot borrow from",
            ));
        }
        let mut bytes = line.as_os_str().as_encoded_bytes().to_vec();
        bytes.push(b'\n');
        let write = async {
            tokio::fs::create_dir_all(dir.join("objects/info")).await?;
            tokio::fs::write(&alternates, bytes).await
        };
        write.await.map_err(|error| Error::io(format!("write {}", alternates.display()), error))?;
        Ok(repository)
    }

    /// A bare repository that exists at `dir`.
    pub fn open(&self, dir: &Path) -> Result<Repository> {
        check_absolute(dir)?;
        let there =
            dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir();
        if there {
            Ok(Repository { git: self.clone(), dir: dir.to_owned() })
        } else {
            Err(Error::NotARepository { place: dir.display().to_string() })
        }
    }
}

impl Repository {
    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The git that it is worked with.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Begins a command in this repository.
    pub(crate) fn call(&self, what: impl Into<String>) -> Call {
        self.git.call(what).git_dir(&self.dir)
    }

    pub(crate) fn place(&self) -> String {
        self.dir.display().to_string()
    }

    /// All references that begin with `prefix` (such as `refs/heads/`), by name.
    pub async fn references(&self, prefix: &str) -> Result<Vec<Reference>> {
        let output = self
            .call("list references")
            .args(["for-each-ref", "--format=%(objectname) %(refname)"])
            .args((!prefix.is_empty()).then_some(prefix))
            .run()
            .await?;
        parse_references(&output.text())
    }

    /// What a reference names, if it exists.
    pub async fn reference(&self, name: &RefName) -> Result<Option<Oid>> {
        let output = self
            .call(format!("read {name}"))
            .args(["show-ref", "--verify", "--hash"])
            .arg(name.as_str())
            .run_any()
            .await?;
        if output.status == 0 { Oid::parse(output.text().trim()).map(Some) } else { Ok(None) }
    }

    /// The branch that `HEAD` names, which exists.
    pub async fn default_branch(&self) -> Result<RefName> {
        let output = self.call("read HEAD").args(["symbolic-ref", "-q", "HEAD"]).run_any().await?;
        if output.status != 0 {
            return Err(Error::DetachedHead { place: self.place() });
        }
        let name = RefName::parse(output.text().trim())?;
        match self.reference(&name).await? {
            Some(_) => Ok(name),
            None if self.references("").await?.is_empty() => {
                Err(Error::EmptyRepository { place: self.place() })
            }
            None => Err(Error::BranchMissing { place: self.place(), branch: short(&name) }),
        }
    }

    /// Makes `HEAD` name a branch, which need not exist yet.
    pub async fn set_default_branch(&self, branch: &RefName) -> Result<()> {
        self.call(format!("set HEAD to {branch}"))
            .args(["symbolic-ref", "HEAD"])
            .arg(branch.as_str())
            .run()
            .await?;
        Ok(())
    }

    /// The commit that a person means: a branch, a tag, a full reference, a commit id (at least
    /// seven digits), or `HEAD`. Branches win over tags. No other revision syntax is read.
    pub async fn resolve(&self, text: &str) -> Result<Oid> {
        let missing = || Error::BranchMissing {
            place: self.place(),
            branch: text.escape_debug().to_string(),
        };
        let hexadecimal = text.len() >= 7
            && text.len() <= 64
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut candidates = Vec::new();
        if text == "HEAD" {
            candidates.push(self.default_branch().await?.as_str().to_owned());
        } else if text.starts_with("refs/") {
            candidates.push(RefName::parse(text)?.as_str().to_owned());
        } else {
            candidates.extend(RefName::branch(text).ok().map(|name| name.as_str().to_owned()));
            candidates.extend(
                RefName::parse(&format!("refs/tags/{text}"))
                    .ok()
                    .map(|name| name.as_str().to_owned()),
            );
            candidates.extend(hexadecimal.then(|| text.to_ascii_lowercase()));
        }
        for candidate in candidates {
            let output = self
                .call(format!("resolve {candidate}"))
                .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
                .arg(format!("{candidate}^{{commit}}"))
                .run_any()
                .await?;
            if output.status == 0 {
                return Oid::parse(output.text().trim());
            }
        }
        if self.references("").await?.is_empty() {
            return Err(Error::EmptyRepository { place: self.place() });
        }
        Err(missing())
    }

    /// Whether the object is here.
    pub async fn contains(&self, id: &Oid) -> Result<bool> {
        let output = self
            .call(format!("look for {id}"))
            .args(["cat-file", "-e"])
            .arg(id.as_str())
            .run_any()
            .await?;
        Ok(output.status == 0)
    }

    /// Changes references, all or none. A reference that is not as expected gives
    /// [`Error::Stale`], and nothing has changed.
    pub async fn update_references(&self, updates: &[RefUpdate]) -> Result<()> {
        let mut input = Vec::new();
        for update in updates {
            let null = || "0".repeat(update.new.as_ref().map_or(40, |id| id.as_str().len()));
            let expected = match &update.expected {
                Expected::Absent => null(),
                Expected::Is(id) => id.as_str().to_owned(),
                Expected::Anything => String::new(),
            };
            match &update.new {
                Some(new) => input.extend_from_slice(
                    format!("update {}\0{new}\0{expected}\0", update.name).as_bytes(),
                ),
                None => input
                    .extend_from_slice(format!("delete {}\0{expected}\0", update.name).as_bytes()),
            }
        }
        let output = self
            .call("update references")
            .config("core.filesRefLockTimeout", "5000")
            .config("core.packedRefsTimeout", "5000")
            .args(["update-ref", "-z", "--stdin"])
            .stdin(input)
            .run_any()
            .await?;
        if output.status == 0 {
            return Ok(());
        }
        Err(stale(updates, &output.stderr).unwrap_or_else(|| {
            crate::error::classify(
                "update references",
                &self.place(),
                output.status,
                &output.stderr,
            )
        }))
    }

    /// Sets one reference from an expected value.
    pub async fn update_reference(
        &self,
        name: &RefName,
        new: &Oid,
        expected: Expected,
    ) -> Result<()> {
        self.update_references(&[RefUpdate {
            name: name.clone(),
            new: Some(new.clone()),
            expected,
        }])
        .await
    }

    /// Deletes one reference at an expected value.
    pub async fn delete_reference(&self, name: &RefName, expected: Expected) -> Result<()> {
        self.update_references(&[RefUpdate { name: name.clone(), new: None, expected }]).await
    }

    /// The bytes of a file at a commit; `limit` bounds its size.
    pub async fn read_file(&self, commit: &Oid, path: &RepoPath, limit: usize) -> Result<Vec<u8>> {
        let missing = || Error::Missing { what: format!("`{path}` at {}", commit.short()) };
        let mut entries = self.list(commit, Some(path), false).await?;
        let entry = entries.pop().filter(|entry| entry.path == *path).ok_or_else(missing)?;
        if entry.size.is_none() {
            return Err(missing());
        }
        let output = self
            .call(format!("read {path}"))
            .args(["cat-file", "blob"])
            .arg(entry.id.as_str())
            .overflow(Overflow::Fail(limit))
            .run()
            .await?;
        Ok(output.stdout)
    }

    /// The entries of the tree of a commit: those of one path, or of the root; with `recursive`
    /// every file below, without the directories.
    pub async fn list(
        &self,
        commit: &Oid,
        path: Option<&RepoPath>,
        recursive: bool,
    ) -> Result<Vec<TreeEntry>> {
        let output = self
            .call("list files")
            .args(["ls-tree", "-z", "--long", "--full-tree"])
            .args(recursive.then_some("-r"))
            .arg(commit.as_str())
            .arg("--")
            .args(path.map(RepoPath::to_os))
            .run()
            .await?;
        output
            .stdout
            .split(|&byte| byte == 0)
            .filter(|entry| !entry.is_empty())
            .map(parse_tree_entry)
            .collect()
    }

    /// Removes lock files that a killed git left behind. Call it only while nothing else works on
    /// this repository, such as when its owner starts.
    pub async fn remove_stale_locks(&self) -> Result<usize> {
        let dir = self.dir.clone();
        let what = format!("remove stale locks in {}", dir.display());
        let removed = tokio::task::spawn_blocking(move || {
            let mut removed = 0;
            for place in ["", "refs", "objects/info", "objects/pack", "objects"] {
                removed += remove_locks(&dir.join(place), place == "refs", 0)?;
            }
            Ok(removed)
        });
        removed
            .await
            .map_err(|error| Error::io(what.clone(), std::io::Error::other(error)))?
            .map_err(|error| Error::io(what, error))
    }
}

pub(crate) fn short(name: &RefName) -> String {
    name.short_branch().unwrap_or(name.as_str()).to_owned()
}

pub(crate) fn check_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(Error::invalid(path.display(), "must be an absolute path"))
    }
}

pub(crate) fn parse_references(text: &str) -> Result<Vec<Reference>> {
    text.lines()
        .filter_map(|line| line.split_once([' ', '\t']))
        // A name that we would refuse to handle is passed over, not made fatal for all others.
        .filter_map(|(target, name)| RefName::parse(name.trim()).ok().map(|name| (target, name)))
        .map(|(target, name)| Ok(Reference { name, target: Oid::parse(target)? }))
        .collect()
}

fn parse_tree_entry(entry: &[u8]) -> Result<TreeEntry> {
    let odd = || Error::Corrupt {
        what: "list files".to_owned(),
        detail: "git printed an entry that cannot be read".to_owned(),
    };
    let tab = entry.iter().position(|&byte| byte == b'\t').ok_or_else(odd)?;
    let head = std::str::from_utf8(&entry[..tab]).map_err(|_| odd())?;
    let fields: Vec<&str> = head.split_ascii_whitespace().collect();
    let [mode, _kind, id, size] = fields[..] else { return Err(odd()) };
    Ok(TreeEntry {
        path: RepoPath::from_bytes(&entry[tab + 1..]),
        mode: u32::from_str_radix(mode, 8).map_err(|_| odd())?,
        id: Oid::parse(id)?,
        size: size.parse().ok(),
    })
}

/// The stale reference among `updates`, if that is what `update-ref` complained of.
fn stale(updates: &[RefUpdate], stderr: &str) -> Option<Error> {
    let reasons = [
        "but expected",
        "reference already exists",
        "unable to resolve reference",
        "reference is missing but expected",
    ];
    let line = stderr.lines().find(|line| reasons.iter().any(|reason| line.contains(reason)))?;
    let update = updates.iter().find(|update| line.contains(&format!("'{}'", update.name)))?;
    let expected = match &update.expected {
        Expected::Is(id) => Some(id.clone()),
        Expected::Absent | Expected::Anything => None,
    };
    let detail = line.rsplit("': ").next().unwrap_or(line).to_owned();
    Some(Error::Stale { reference: update.name.to_string(), expected, detail })
}

fn remove_locks(dir: &Path, recursive: bool, depth: usize) -> std::io::Result<usize> {
    let mut removed = 0;
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && recursive && depth < 64 {
            removed += remove_locks(&entry.path(), true, depth + 1)?;
        } else if kind.is_file()
            && entry.path().extension().is_some_and(|extension| extension == "lock")
        {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
