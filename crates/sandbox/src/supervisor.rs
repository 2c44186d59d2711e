//! The supervisor (interface first; the loop follows).

use std::path::Path;

use crate::error::{Error, Result};

/// The socket's name in the state folder.
pub(crate) const SOCKET: &str = "supervisor.sock";

/// Makes the state folder, for its owner only.
pub(crate) fn prepare_state_dir(state_dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| Error::io(format!("make {}", state_dir.display()), error))
}
