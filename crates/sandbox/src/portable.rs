//! A program of the host as it can be shown to an image: with its loader and the libraries that it loads,
//! each as one read-only file, so that the image may have another C library, or none at all.
//!
//! Nothing of the image is looked at or executed here.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// A program with everything that it loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// Files of the host with their places inside. The first one is the program.
    pub files: Vec<(PathBuf, String)>,
    /// How to start it there.
    pub argv: Vec<String>,
}

impl Portable {
    /// Looks at what a program loads. Inside it will be `<folder>/<name>`, its libraries in `<folder>/lib`.
    ///
    /// # Errors
    /// [`Error::Io`] when the program can't be read or its loader can't say what it would load.
    pub fn of(program: &Path, folder: &str, name: &str) -> Result<Self> {
        let named =
            |why: String| Error::Io { doing: format!("look at {}", program.display()), why };
        let program = program.canonicalize().map_err(|error| named(error.to_string()))?;
        let place = |name: &str| format!("{folder}/lib/{name}");
        let inside = format!("{folder}/{name}");
        let mut files = vec![(program.clone(), inside.clone())];
        let bytes = beginning(&program).map_err(|error| named(error.to_string()))?;
        let Some(loader) = loader(&bytes) else {
            return Ok(Self { files, argv: vec![inside] });
        };
        // The program's own loader tells what it would load, and starts nothing.
        let listed = Command::new(&loader)
            .arg("--list")
            .arg(&program)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| named(error.to_string()))?;
        if !listed.status.success() {
            return Err(named(format!("{} could not list what it loads", loader.display())));
        }
        files.push((loader, place("loader")));
        for (name, path) in libraries(&String::from_utf8_lossy(&listed.stdout)) {
            files.push((path, place(&name)));
        }
        let argv = [place("loader"), "--library-path".to_owned(), place("."), inside];
        Ok(Self { files, argv: argv.into() })
    }
}

/// As much of a program as names its loader: linkers put that first.
fn beginning(program: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(program)?.take(64 << 10).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lines `name => path (address)` of a loader's list.
fn libraries(listed: &str) -> Vec<(String, PathBuf)> {
    listed
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .filter_map(|(name, rest)| {
            let path = rest.rsplit_once(" (").map_or(rest, |(path, _)| path);
            let name = Path::new(name).file_name()?.to_str()?.to_owned();
            path.starts_with('/').then(|| (name, PathBuf::from(path)))
        })
        .collect()
}

/// The loader that a 64-bit ELF program names (`PT_INTERP`); `None` when it needs none.
fn loader(program: &[u8]) -> Option<PathBuf> {
    const INTERPRETER: u32 = 3;
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = program.get(at..at.checked_add(length)?)?;
        let value = bytes
            .iter()
            .rev()
            .try_fold(0u64, |sum, byte| sum.checked_mul(256).map(|sum| sum + u64::from(*byte)))?;
        usize::try_from(value).ok()
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if number(at, 4)? != INTERPRETER as usize {
            return None;
        }
        let (start, length) = (number(at.checked_add(8)?, 8)?, number(at.checked_add(32)?, 8)?);
        let text = program.get(start..start.checked_add(length)?)?;
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        Some(PathBuf::from(std::str::from_utf8(text).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_loads_is_found_by_its_own_loader() {
        let own = std::env::current_exe().unwrap();
        let portable = Portable::of(&own, "/tools", "own").unwrap();
        assert_eq!(portable.files[0].0, own.canonicalize().unwrap());
        if portable.argv.len() > 1 {
            assert!(portable.files.iter().any(|(_, inside)| inside.contains("libc.so")));
            assert_eq!(portable.files[1].1, portable.argv[0]);
        }
    }

    #[test]
    fn a_file_that_is_no_program_has_no_loader() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01\0\0"] {
            assert_eq!(loader(bytes), None);
        }
    }

    #[test]
    fn only_libraries_with_a_path_are_taken() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/a b/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(
            libraries(listed),
            [("libc.so.6".to_owned(), PathBuf::from("/lib/a b/libc.so.6"))]
        );
    }
}
