//! A fresh work tree with a repository of its own for an agent to use. Made by the host before any
//! agent sees it; afterwards the host never opens that repository again (see [`crate::snapshot`]).

use std::path::{Path, PathBuf};

use crate::object::Signature;
use crate::repository::{check_absolute, short};
use crate::{Error, Oid, RefName, Repository, Result};

/// How the new repository gets its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// A copy of all of them: the tree stands by itself. Shares blocks where the file system can.
    Copied,
    /// None are copied; they are read from `place_inside`, where the environment shows the objects
    /// directory of the source, read-only. By far the cheapest for a large repository.
    Borrowed {
        /// The path at which the agent's git finds the objects.
        place_inside: PathBuf,
    },
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The commit.
    pub commit: Oid,
    /// The branch to be on; `None` leaves `HEAD` detached.
    pub branch: Option<RefName>,
    /// Where the objects come from.
    pub objects: Objects,
    /// References to show as `refs/remotes/origin/...`, by branch.
    pub remote_branches: Vec<(RefName, Oid)>,
    /// The address that `origin` has inside, such as that of a git door. It carries no credential.
    pub origin: Option<String>,
    /// Who commits made inside are by, if the agent makes any.
    pub identity: Option<Signature>,
    /// Where to put a copy of the index, for [`crate::snapshot::WorkTree::index`]: the first
    /// snapshot then reads only what changed.
    pub index_copy: Option<PathBuf>,
}

impl Options {
    /// A detached tree of `commit` with copied objects.
    pub fn detached(commit: Oid) -> Self {
        Options {
            commit,
            branch: None,
            objects: Objects::Copied,
            remote_branches: Vec::new(),
            origin: None,
            identity: None,
            index_copy: None,
        }
    }
}

impl Repository {
    /// Makes a work tree at `tree`, which must not exist or be empty. On an error the directory may
    /// be left half made; the caller owns it and removes it.
    pub async fn checkout(&self, tree: &Path, options: &Options) -> Result<()> {
        check_absolute(tree)?;
        make_empty(tree).await?;
        let inner = tree.join(".git");
        self.git()
            .call(format!("make a repository at {}", tree.display()))
            .env("GIT_DIR", &inner)
            .env("GIT_WORK_TREE", tree)
            .args(["init", "--quiet", "--template=", "--initial-branch=main"])
            .run()
            .await?;
        // Our own settings go into the file: the agent's git does not have our environment.
        self.write_config(&inner, options).await?;
        let chain = self.object_directories().await?;
        match &options.objects {
            Objects::Copied => copy_objects(chain, inner.join("objects")).await?,
            Objects::Borrowed { .. } => write_alternates(&inner, &chain).await?,
        }
        self.set_references(&inner, options).await?;
        self.inside(&inner, tree, "check out the files")
            .config("checkout.workers", "0")
            .args(["read-tree", "--reset", "-u", "--no-recurse-submodules"])
            .arg(options.commit.as_str())
            .limit(self.git().options().transfer_limit)
            .run()
            .await?;
        if let Some(copy) = &options.index_copy {
            if let Some(dir) = copy.parent() {
                tokio::fs::create_dir_all(dir)
                    .await
                    .map_err(|error| Error::io(format!("make {}", dir.display()), error))?;
            }
            tokio::fs::copy(inner.join("index"), copy).await.map_err(|error| {
                Error::io(format!("copy the index to {}", copy.display()), error)
            })?;
        }
        if let Objects::Borrowed { place_inside } = &options.objects {
            write_alternates(&inner, std::slice::from_ref(place_inside)).await?;
        }
        Ok(())
    }

    fn inside(&self, inner: &Path, tree: &Path, what: &str) -> crate::command::Call {
        self.git()
            .call(format!("{what} in {}", tree.display()))
            .git_dir(inner)
            .env("GIT_WORK_TREE", tree)
            .current_dir(tree)
    }

    async fn write_config(&self, inner: &Path, options: &Options) -> Result<()> {
        let mut settings = vec![("gc.auto", "0".to_owned())];
        if let Some(identity) = &options.identity {
            identity.check()?;
            settings.push(("user.name", identity.name.clone()));
            settings.push(("user.email", identity.email.clone()));
        }
        if let Some(origin) = &options.origin {
            crate::Address::parse(origin)?;
            settings.push(("remote.origin.url", origin.clone()));
            settings
                .push(("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*".to_owned()));
        }
        for (key, value) in settings {
            self.git()
                .call("configure the work tree")
                .args(["config", "--file"])
                .arg(inner.join("config"))
                .args([key, &value])
                .run()
                .await?;
        }
        Ok(())
    }

    async fn set_references(&self, inner: &Path, options: &Options) -> Result<()> {
        let mut input = Vec::new();
        let mut set = |name: &str, id: &Oid| {
            input.extend_from_slice(format!("update {name}\0{id}\0\0").as_bytes())
        };
        for (branch, id) in &options.remote_branches {
            set(&format!("refs/remotes/origin/{}", short(branch)), id);
        }
        if let Some(branch) = &options.branch {
            set(branch.as_str(), &options.commit);
        }
        let call = |what: &str| self.git().call(what).git_dir(inner);
        call("set references").args(["update-ref", "-z", "--stdin"]).stdin(input).run().await?;
        match &options.branch {
            Some(branch) => {
                call("set HEAD").args(["symbolic-ref", "HEAD", branch.as_str()]).run().await?
            }
            None => {
                call("set HEAD")
                    .args(["update-ref", "--no-deref", "HEAD", options.commit.as_str()])
                    .run()
                    .await?
            }
        };
        Ok(())
    }

    /// The objects directory of this repository and of all that it borrows from.
    pub async fn object_directories(&self) -> Result<Vec<PathBuf>> {
        let mut found = vec![self.dir().join("objects")];
        let mut next = 0;
        while let Some(dir) = found.get(next).cloned() {
            next += 1;
            let file = dir.join("info/alternates");
            let text = match tokio::fs::read(&file).await {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io(format!("read {}", file.display()), error)),
            };
            for line in text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/")) {
                use std::os::unix::ffi::OsStrExt;
                let lender = PathBuf::from(std::ffi::OsStr::from_bytes(line));
                if !found.contains(&lender) && found.len() < 16 {
                    found.push(lender);
                }
            }
        }
        Ok(found)
    }
}

async fn make_empty(tree: &Path) -> Result<()> {
    let what = || format!("make {}", tree.display());
    tokio::fs::create_dir_all(tree).await.map_err(|error| Error::io(what(), error))?;
    let mut entries = tokio::fs::read_dir(tree).await.map_err(|error| Error::io(what(), error))?;
    match entries.next_entry().await.map_err(|error| Error::io(what(), error))? {
        None => Ok(()),
        Some(_) => Err(Error::invalid(
            tree.display(),
            "is not empty: a work tree needs a directory of its own",
        )),
    }
}

async fn write_alternates(inner: &Path, directories: &[PathBuf]) -> Result<()> {
    let file = inner.join("objects/info/alternates");
    let mut bytes = Vec::new();
    for directory in directories {
        bytes.extend_from_slice(directory.as_os_str().as_encoded_bytes());
        bytes.push(b'\n');
    }
    let write = async {
        tokio::fs::create_dir_all(inner.join("objects/info")).await?;
        tokio::fs::write(&file, bytes).await
    };
    write.await.map_err(|error| Error::io(format!("write {}", file.display()), error))
}

/// Copies packs and loose objects. Never by hard link: an agent that owns the file's inode could
/// write into the source through it.
async fn copy_objects(from: Vec<PathBuf>, to: PathBuf) -> Result<()> {
    let what = format!("copy objects to {}", to.display());
    let copied = tokio::task::spawn_blocking(move || {
        from.iter().try_for_each(|from| copy_directory(from, &to))
    });
    copied
        .await
        .map_err(|error| Error::io(what.clone(), std::io::Error::other(error)))?
        .map_err(|error| Error::io(what, error))
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_fan_out = name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !entry.file_type()?.is_dir() || !(is_fan_out || name == "pack") {
            continue;
        }
        let into = to.join(entry.file_name());
        std::fs::create_dir_all(&into)?;
        for object in std::fs::read_dir(entry.path())? {
            let object = object?.path();
            let extension = object.extension().and_then(std::ffi::OsStr::to_str);
            if is_fan_out && extension.is_none() {
                copy_new(&object, &into)?;
            } else if extension == Some("idx") {
                // A pack counts from its index on, so the index is copied last.
                copy_new(&object.with_extension("pack"), &into)?;
                copy_new(&object, &into)?;
            }
        }
    }
    Ok(())
}

fn copy_new(file: &Path, into: &Path) -> std::io::Result<()> {
    let Some(name) = file.file_name().filter(|name| !name.as_encoded_bytes().starts_with(b"tmp_"))
    else {
        return Ok(());
    };
    let target = into.join(name);
    if !target.exists() {
        std::fs::copy(file, target)?;
    }
    Ok(())
}
