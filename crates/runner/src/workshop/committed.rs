//! The files of a project as they are in a commit: what a job began with, whatever its steps did to the
//! work tree since.

use tokio::runtime::Handle;
use windlass_devcontainer::Files;
use windlass_git::{Oid, RepoPath, Repository, repository::TreeEntry};

use crate::definition::{LARGEST, text};

/// The files of one commit. Only to be asked from a thread that may wait.
pub(super) struct Committed {
    pub(super) repository: Repository,
    pub(super) commit: Oid,
    /// What the project's folder is called.
    pub(super) root: String,
    pub(super) runtime: Handle,
}

const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o40_000;

impl Committed {
    fn path(&self, path: &str) -> Option<RepoPath> {
        RepoPath::parse(path.strip_prefix(&self.root)?.trim_start_matches('/')).ok()
    }

    fn entry(&self, path: &RepoPath) -> Result<Option<TreeEntry>, String> {
        let listed = self.runtime.block_on(self.repository.list(&self.commit, Some(path), false));
        let listed = listed.map_err(|error| format!("can't be read: {error}"))?;
        Ok(listed.into_iter().find(|entry| entry.path == *path))
    }
}

impl Files for Committed {
    fn read(&self, path: &str) -> Result<Option<String>, String> {
        let Some(path) = self.path(path) else { return Ok(None) };
        let Some(entry) = self.entry(&path)? else { return Ok(None) };
        if entry.mode == LINK {
            return Err("is a link: put the file itself here".to_owned());
        }
        let Some(size) = entry.size else { return Ok(None) };
        if size > LARGEST {
            return text(vec![0; LARGEST as usize + 1]).map(Some);
        }
        let limit = LARGEST as usize;
        let bytes = self.runtime.block_on(self.repository.read_file(&self.commit, &path, limit));
        text(bytes.map_err(|error| format!("can't be read: {error}"))?).map(Some)
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let below = path.strip_prefix(&self.root).map(|below| below.trim_matches('/'));
        let (Some(below), runtime) = (below, &self.runtime) else { return Vec::new() };
        // Git lists what is in a folder if its name ends with a slash.
        let folder = match below {
            "" => None,
            below => match RepoPath::parse(below) {
                Ok(_) => Some(RepoPath::from_bytes(format!("{below}/").into_bytes())),
                Err(_) => return Vec::new(),
            },
        };
        let listed = runtime.block_on(self.repository.list(&self.commit, folder.as_ref(), false));
        let entries = listed.unwrap_or_default().into_iter().filter(|entry| entry.mode == FOLDER);
        let name = |entry: TreeEntry| {
            let path = String::from_utf8(entry.path.as_bytes().to_vec()).ok()?;
            Some(path.rsplit('/').next()?.to_owned())
        };
        entries.filter_map(name).collect()
    }
}
