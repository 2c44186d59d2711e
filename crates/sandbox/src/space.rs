//! How much room a file system has.

use std::{io, path::Path};

use rustix::fs::statvfs;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// That whoever is not root can still write.
    pub free: u64,
    /// All of them.
    pub all: u64,
}

/// The room of the file system on which a file is.
///
/// # Errors
/// What the system answers.
pub fn of(path: &Path) -> io::Result<Space> {
    let seen = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    Ok(Space { free: bytes(seen.f_bavail), all: bytes(seen.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_room_than_it_has() {
        let space = of(&std::env::temp_dir()).expect("there is a temporary folder");
        assert!(space.free <= space.all && space.all > 0, "{space:?}");
        assert!(of(Path::new("/nowhere/at/all")).is_err());
    }
}
