//! Layers that are as they should be, and layers that were made to do harm.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use tar::{EntryType, Header};

use super::{Limits, Unpacker};

const ROOM: Limits = Limits { bytes: 1 << 20, entries: 100 };

/// One entry: its path, kind, mode, and content or target.
type Made<'a> = (&'a str, EntryType, u32, &'a str);

/// An archive with paths exactly as given, which a well-behaved library would refuse to write.
fn archive(entries: &[Made<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, mode, text) in entries {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            fields.linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        let content = if is_link { "" } else { text };
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn unpack(into: &Path, layers: &[&[Made<'_>]]) -> Result<(), String> {
    let mut unpacker = Unpacker::new(into, ROOM).unwrap();
    for layer in layers {
        unpacker.layer(archive(layer).as_slice()).map_err(|error| error.to_string())?;
    }
    unpacker.finish().map(drop).map_err(|error| error.to_string())
}

/// Everything below a folder: what it is and what it holds.
fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_symlink() {
                format!("-> {}", path.read_link().unwrap().display())
            } else if metadata.is_dir() {
                open.push(path.clone());
                format!("{:o}", metadata.permissions().mode() & 0o7777)
            } else {
                let text = fs::read_to_string(&path).unwrap();
                format!("{:o} {text}", metadata.permissions().mode() & 0o7777)
            };
            all.insert(path.strip_prefix(root).unwrap().display().to_string(), what);
        }
    }
    all
}

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn layers_lie_over_each_other_with_modes_links_and_what_they_take_away() {
    let root = tempfile::tempdir().unwrap();
    let first: &[Made<'_>] = &[
        ("./", FOLDER, 0o755, ""),
        ("usr/bin/", FOLDER, 0o755, ""),
        ("bin", LINK, 0o777, "usr/bin"),
        ("/usr/bin/tool", FILE, 0o4755, "one"),
        ("usr/bin/same", HARD, 0o644, "usr/bin/tool"),
        ("etc/gone", FILE, 0o644, "gone"),
        ("etc/stays", FILE, 0o600, "stays"),
        ("var/cache/old", FILE, 0o644, "old"),
        ("tmp", FOLDER, 0o1777, ""),
        ("becomes/a/file", FILE, 0o644, ""),
    ];
    let second: &[Made<'_>] = &[
        ("bin/later", FILE, 0o755, "through the link"),
        ("etc/.wh.gone", FILE, 0o644, ""),
        ("etc/.wh.never", FILE, 0o644, ""),
        ("var/cache/new", FILE, 0o644, "new"),
        ("var/cache/.wh..wh..opq", FILE, 0o644, ""),
        ("becomes", FILE, 0o640, "file"),
        ("dev/null", EntryType::Char, 0o666, ""),
    ];
    unpack(root.path(), &[first, second]).unwrap();
    let expected = [
        ("becomes", "640 file"),
        ("bin", "-> usr/bin"),
        ("etc", "755"),
        ("etc/stays", "600 stays"),
        ("tmp", "1777"),
        ("usr", "755"),
        ("usr/bin", "755"),
        ("usr/bin/later", "755 through the link"),
        ("usr/bin/same", "755 one"),
        ("usr/bin/tool", "755 one"),
        ("var", "755"),
        ("var/cache", "755"),
        ("var/cache/new", "644 new"),
    ];
    assert_eq!(seen(root.path()), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    let [tool, same] = ["tool", "same"].map(|name| root.path().join("usr/bin").join(name));
    assert_eq!(tool.metadata().unwrap().ino(), same.metadata().unwrap().ino());
    assert_eq!(tool.metadata().unwrap().mtime(), 1_000_000_000);
}

#[test]
fn nothing_that_an_archive_says_reaches_out_of_the_folder() {
    let attacks: [(&str, &[Made<'_>]); 9] = [
        ("climbs by `..`", &[("../escaped", FILE, 0o644, "x")]),
        ("climbs by `..`", &[("a/../../escaped", FILE, 0o644, "x")]),
        ("", &[("out", LINK, 0o777, "OUTSIDE"), ("out/escaped", FILE, 0o644, "x")]),
        ("", &[("out", LINK, 0o777, "../.."), ("out/escaped", FILE, 0o644, "x")]),
        ("link to nothing", &[("in", HARD, 0o644, "OUTSIDE/secret")]),
        ("climbs by `..`", &[("in", HARD, 0o644, "../outside/secret")]),
        ("", &[("f", LINK, 0o777, "OUTSIDE/secret"), ("f", FILE, 0o644, "mine")]),
        ("link to nothing", &[("d", LINK, 0o777, "OUTSIDE"), ("in", HARD, 0o644, "d/secret")]),
        ("hides nothing", &[("a/.wh...", FILE, 0o644, "")]),
    ];
    for (why, attack) in attacks {
        let world = tempfile::tempdir().unwrap();
        let (root, outside) = (world.path().join("root"), world.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "hidden").unwrap();
        let texts: Vec<String> = attack
            .iter()
            .map(|(_, _, _, text)| text.replace("OUTSIDE", outside.to_str().unwrap()))
            .collect();
        let attack: Vec<Made<'_>> = attack
            .iter()
            .zip(&texts)
            .map(|((path, kind, mode, _), text)| (*path, *kind, *mode, text.as_str()))
            .collect();
        let unpacked = unpack(&root, &[&attack]);
        match why {
            "" => assert_eq!(unpacked, Ok(()), "{attack:?}"),
            why => {
                let said = unpacked.unwrap_err();
                assert!(said.contains(why), "{attack:?}: {said}");
            }
        }
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "hidden");
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
        let left: Vec<String> = ["", "outside"]
            .iter()
            .flat_map(|name| fs::read_dir(world.path().join(name)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left.len(), 3, "{attack:?}: {left:?}");
    }
}

#[test]
fn a_whiteout_through_a_link_takes_nothing_away_outside() {
    let world = tempfile::tempdir().unwrap();
    let (root, outside) = (world.path().join("root"), world.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("keep"), "").unwrap();
    symlink(&outside, root.join("out")).unwrap();
    unpack(&root, &[&[("out/.wh.keep", FILE, 0o644, ""), ("out/.wh..wh..opq", FILE, 0o644, "")]])
        .unwrap();
    assert!(outside.join("keep").exists());
}

#[test]
fn what_is_larger_than_allowed_or_cut_off_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let whole = archive(&[("file", FILE, 0o644, "0123456789"), ("more", FILE, 0o644, "x")]);
    let say = |limits: Limits, bytes: &[u8]| {
        let mut unpacker = Unpacker::new(root.path(), limits).unwrap();
        unpacker.layer(bytes).map_err(|error| error.to_string())
    };
    assert!(say(Limits { bytes: 9, ..ROOM }, &whole).unwrap_err().contains("too many bytes"));
    assert!(say(Limits { entries: 1, ..ROOM }, &whole).unwrap_err().contains("too many files"));
    assert!(say(ROOM, &whole[..515]).unwrap_err().contains("damaged"));
    assert!(say(ROOM, &[b'x'; 2048]).unwrap_err().contains("damaged"));
    assert_eq!(say(ROOM, &whole), Ok(()));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests may read the process environment")]
fn a_disk_that_is_full_is_told_as_such() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let root = tempfile::tempdir().unwrap();
    let options = c"size=64k";
    if mount("small", root.path(), "tmpfs", MountFlags::empty(), options).is_err() {
        let needs = "a_disk_that_is_full_is_told_as_such: needs root to mount a small disk";
        assert!(std::env::var_os("WINDLASS_TEST_ALL").is_none(), "{needs}");
        eprintln!("SKIPPED {needs}");
        return;
    }
    let large = "x".repeat(256 << 10);
    let said = unpack(root.path(), &[&[("large", FILE, 0o644, &large)]]);
    unmount(root.path(), UnmountFlags::DETACH).unwrap();
    let said = said.unwrap_err();
    assert!(said.contains("free space where the runner keeps images"), "{said}");
}
