//! Questions about files, asked as the server asks them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use windlass_wire::{
    api::file::{Against, DiffFile, Entry, Kind},
    files::{Ask, MOST, Refusal, Told, When},
};

use super::Place;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn root(&self) -> std::path::PathBuf {
        fs::canonicalize(self.folder.path()).expect("a folder")
    }

    /// The answer and what follows it.
    fn asked(&self, ask: &Ask, content: &[u8]) -> (Told, Vec<u8>) {
        self.asked_with(None, ask, content)
    }

    fn asked_with(&self, base: Option<&str>, ask: &Ask, content: &[u8]) -> (Told, Vec<u8>) {
        let place = Place { root: self.root(), base: base.map(str::to_owned) };
        let mut question = serde_json::to_vec(ask).expect("JSON");
        question.push(b'\n');
        question.extend_from_slice(content);
        let mut answer = Vec::new();
        place.answer(question.as_slice(), &mut answer).expect("answered");
        let end = answer.iter().position(|byte| *byte == b'\n').expect("a line");
        let told = serde_json::from_slice(&answer[..end]).expect("an answer");
        (told, answer[end + 1..].to_vec())
    }

    fn write(&self, path: &str, content: &[u8], when: When) -> Told {
        let ask = Ask::Write { path: path.to_owned(), length: content.len() as u64, when };
        self.asked(&ask, content).0
    }

    fn tag(&self, path: &str) -> String {
        match self.read(path, 0, Some(0)).0 {
            Told::Content { file, .. } => file.etag,
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, path: &str, from: u64, most: Option<u64>) -> (Told, Vec<u8>) {
        self.asked(&Ask::Read { path: path.to_owned(), from, most }, b"")
    }

    fn remove(&self, path: &str, tag: Option<&str>, recursive: bool) -> Told {
        let ask = Ask::Remove { path: path.to_owned(), tag: tag.map(str::to_owned), recursive };
        self.asked(&ask, b"").0
    }

    fn rename(&self, from: &str, to: &str) -> Told {
        self.asked(&Ask::Rename { from: from.to_owned(), to: to.to_owned() }, b"").0
    }

    /// The names that are there, hidden ones too.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).expect("read");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn refusal(told: &Told) -> (&Refusal, &str) {
    match told {
        Told::Refused { refusal, why } => (refusal, why),
        other => panic!("it was done: {other:?}"),
    }
}

#[test]
fn a_folder_is_listed_in_pages_with_links_and_hidden_files() {
    let world = World::new();
    let root = world.root();
    fs::write(root.join(".hidden"), "abc").expect("written");
    fs::set_permissions(root.join(".hidden"), fs::Permissions::from_mode(0o600)).expect("set");
    fs::create_dir(root.join("folder")).expect("made");
    fs::set_permissions(root.join("folder"), fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink("folder", root.join("link")).expect("linked");
    std::os::unix::fs::symlink("/no/such", root.join("nowhere")).expect("linked");
    let list = |after: Option<&str>, limit| {
        let ask = Ask::List { path: String::new(), after: after.map(str::to_owned), limit };
        match world.asked(&ask, b"").0 {
            Told::Folder { folder } => folder,
            other => panic!("{other:?}"),
        }
    };
    let entry = |name: &str, kind, mode| Entry {
        name: name.to_owned(),
        nameless: false,
        kind,
        size: 0,
        mode,
        changed_at: 0,
        target: None,
        leads_to: None,
    };
    let plain = |entries: Vec<Entry>| -> Vec<Entry> {
        let size = |entry: &Entry| if entry.kind == Kind::File { entry.size } else { 0 };
        entries
            .into_iter()
            .map(|entry| Entry { size: size(&entry), changed_at: 0, ..entry })
            .collect()
    };
    let first = list(None, 2);
    assert_eq!((first.path.as_str(), first.next.as_deref()), ("", Some("folder")));
    let hidden = Entry { size: 3, ..entry(".hidden", Kind::File, 0o600) };
    assert_eq!(plain(first.items), [hidden, entry("folder", Kind::Folder, 0o755)]);
    let second = list(Some("folder"), 2);
    let link = Entry {
        target: Some("folder".to_owned()),
        leads_to: Some(Kind::Folder),
        ..entry("link", Kind::Link, 0o777)
    };
    let nowhere =
        Entry { target: Some("/no/such".to_owned()), ..entry("nowhere", Kind::Link, 0o777) };
    assert_eq!((plain(second.items), second.next), (vec![link, nowhere], None));
    let gone = world.asked(&Ask::List { path: "gone".into(), after: None, limit: 1 }, b"").0;
    let expected = (&Refusal::NotFound, "there is no gone in the environment");
    assert_eq!(refusal(&gone), expected);
}

#[test]
fn a_file_is_read_whole_and_in_parts_and_nothing_else_is() {
    let world = World::new();
    fs::write(world.root().join("a.txt"), "0123456789").expect("written");
    let (told, bytes) = world.read("a.txt", 0, None);
    assert!(matches!(&told, Told::Content { from: 0, length: 10, file } if file.size == 10));
    assert_eq!(bytes, b"0123456789");
    assert_eq!(world.read("./a.txt", 3, Some(4)).1, b"3456");
    assert_eq!(world.read("a.txt", 8, Some(100)).1, b"89");
    assert_eq!(world.read("a.txt", 100, None).1, b"");
    let outside = world.root().join("a.txt");
    assert_eq!(world.read(outside.to_str().expect("UTF-8"), 9, None).1, b"9");
    assert_eq!(refusal(&world.read("", 0, None).0), (&Refusal::InTheWay, ". is a folder"));
    let made = Command::new("mkfifo").arg(world.root().join("pipe")).status().expect("mkfifo");
    assert!(made.success());
    let (told, _) = world.read("pipe", 0, None);
    let expected = (&Refusal::InTheWay, "pipe is a pipe, a socket or a device");
    assert_eq!(refusal(&told), expected);
}

#[test]
fn a_large_file_is_read_without_its_whole_content_being_looked_at() {
    let world = World::new();
    let file = fs::File::create(world.root().join("large")).expect("made");
    file.set_len(MOST + 5).expect("sparse");
    let (told, bytes) = world.read("large", MOST, None);
    let Told::Content { file, length: 5, .. } = told else { panic!("{told:?}") };
    assert!(file.etag.starts_with("W/\""), "{}", file.etag);
    assert_eq!((file.size, bytes), (MOST + 5, vec![0; 5]));
}

#[test]
fn a_file_is_written_only_over_what_was_seen_and_keeps_its_mode() {
    let world = World::new();
    let path = world.root().join("run.sh");
    let made = world.write("run.sh", b"one", When::Absent);
    assert!(matches!(made, Told::Written { is_new: true, .. }), "{made:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("set");
    let (before, stale) = (world.tag("run.sh"), "\"stale\"".to_owned());
    let told = world.write("run.sh", b"two", When::Is(vec![stale.clone()]));
    let why = format!("run.sh changed meanwhile: you have {stale}, it is {before}");
    assert_eq!(refusal(&told), (&Refusal::Changed { is: Some(before.clone()) }, why.as_str()));
    let told = world.write("run.sh", b"two", When::Is(vec![stale, before.clone()]));
    let Told::Written { file, is_new: false } = told else { panic!("{told:?}") };
    assert_eq!((file.mode, file.size, &file.etag), (0o750, 3, &world.tag("run.sh")));
    assert_eq!(fs::read(&path).expect("read"), b"two");
    let told = world.write("run.sh", b"three", When::Absent);
    assert_eq!(refusal(&told).0, &Refusal::Changed { is: Some(world.tag("run.sh")) });
    let told = world.write("gone", b"x", When::Is(vec![before]));
    assert_eq!(refusal(&told).0, &Refusal::Changed { is: None });
    let told = world.write("no/folder", b"x", When::Absent);
    assert_eq!(refusal(&told), (&Refusal::NotFound, "there is no no in the environment"));
    assert_eq!(world.names(), ["run.sh"], "nothing is left beside it");
}

#[test]
fn a_link_is_written_through_and_one_that_leads_nowhere_is_refused() {
    let world = World::new();
    fs::write(world.root().join("real"), "one").expect("written");
    std::os::unix::fs::symlink("real", world.root().join("link")).expect("linked");
    let told = world.write("link", b"two", When::Is(vec![world.tag("link")]));
    assert!(matches!(&told, Told::Written { file, .. } if file.path == "real"), "{told:?}");
    assert!(world.root().join("link").is_symlink());
    std::os::unix::fs::symlink("gone", world.root().join("broken")).expect("linked");
    let told = world.write("broken", b"x", When::Absent);
    assert!(refusal(&told).1.contains("leads nowhere"), "{told:?}");
}

#[test]
fn content_that_is_too_long_or_does_not_come_whole_is_not_written() {
    let world = World::new();
    let short = Ask::Write { path: "a".into(), length: 10, when: When::Absent };
    let told = world.asked(&short, b"123").0;
    assert_eq!(refusal(&told), (&Refusal::InTheWay, "a: its content did not come whole"));
    let long = Ask::Write { path: "a".into(), length: MOST + 1, when: When::Absent };
    assert_eq!(refusal(&world.asked(&long, b"").0).0, &Refusal::TooLarge);
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn a_read_only_file_stays_as_it_is() {
    let world = World::new();
    let path = world.root().join("fixed");
    fs::write(&path, "one").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("set");
    let told = world.write("fixed", b"two", When::Is(vec!["*".to_owned()]));
    assert!(refusal(&told).1.contains("it is read-only"), "{told:?}");
    assert_eq!(
        (fs::read(&path).expect("read"), world.names()),
        (b"one".to_vec(), vec!["fixed".to_owned()])
    );
}

#[test]
fn names_change_and_nothing_is_replaced() {
    let world = World::new();
    let root = world.root();
    fs::write(root.join("a"), "a").expect("written");
    fs::write(root.join("b"), "b").expect("written");
    let told = world.asked(&Ask::MakeFolder { path: "x/y".into() }, b"").0;
    assert_eq!(told, Told::Changed { path: "x/y".to_owned() });
    assert!(refusal(&world.rename("a", "b")).1.contains("nothing is replaced"));
    assert!(refusal(&world.rename("a", "x")).1.contains("nothing is replaced"));
    assert_eq!(world.rename("a", "x/c"), Told::Changed { path: "x/c".to_owned() });
    assert_eq!(world.rename("x", "z"), Told::Changed { path: "z".to_owned() });
    assert_eq!(refusal(&world.rename("gone", "b2")).0, &Refusal::NotFound);
    assert_eq!(fs::read(root.join("z/c")).expect("moved"), b"a");
    assert_eq!(world.names(), ["b", "z"]);
}

#[test]
fn only_what_was_seen_is_removed_and_never_the_work_tree() {
    let world = World::new();
    let root = world.root();
    fs::create_dir_all(root.join("x/y")).expect("made");
    fs::write(root.join("a"), "a").expect("written");
    std::os::unix::fs::symlink("a", root.join("link")).expect("linked");
    assert_eq!(
        refusal(&world.remove("a", None, false)).0,
        &Refusal::Changed { is: Some(world.tag("a")) }
    );
    assert!(refusal(&world.remove("x", None, false)).1.contains("recursive"));
    assert_eq!(world.remove("link", None, false), Told::Changed { path: "link".to_owned() });
    assert_eq!(world.remove("x", None, true), Told::Changed { path: "x".to_owned() });
    for path in ["", ".", "..", "x/..", root.to_str().expect("UTF-8"), "/"] {
        refusal(&world.remove(path, None, true));
        assert!(root.exists(), "{path}");
    }
    let tag = world.tag("a");
    assert_eq!(world.remove("a", Some(&tag), false), Told::Changed { path: "a".to_owned() });
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn a_question_of_another_version_is_answered_with_that() {
    let world = World::new();
    let place = Place { root: world.root(), base: None };
    let mut answer = Vec::new();
    place.answer(&b"{\"ask\":\"shred\"}\n"[..], &mut answer).expect("answered");
    let told: Told = serde_json::from_slice(&answer).expect("an answer");
    assert_eq!(refusal(&told).0, &Refusal::NotUnderstood);
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.org"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_work_tree_is_compared_with_its_base_and_with_its_head() {
    let world = World::new();
    let root = world.root();
    git(&root, &["init", "--quiet", "--initial-branch=main"]);
    let long = "one\ntwo\nthree\nfour\nfive\n";
    for (name, content) in [("kept", "kept\n"), ("old", long), ("gone", "gone\n")] {
        fs::write(root.join(name), content).expect("written");
    }
    git(&root, &["add", "--all"]);
    git(&root, &["commit", "--quiet", "--message", "first"]);
    let base = git(&root, &["rev-parse", "HEAD"]);
    fs::rename(root.join("old"), root.join("new")).expect("renamed");
    git(&root, &["add", "--all"]);
    git(&root, &["commit", "--quiet", "--message", "second"]);
    fs::remove_file(root.join("gone")).expect("removed");
    fs::write(root.join("fresh"), "a\nb\n").expect("written");
    fs::write(root.join("bytes"), [0, 1, 2]).expect("written");
    let index = fs::read(root.join(".git/index")).expect("an index");
    let diff = |against, path: Option<&str>, patch| {
        let ask = Ask::Diff { against, path: path.map(str::to_owned), patch };
        match world.asked_with(Some(&base), &ask, b"").0 {
            Told::Diff { diff } => diff,
            other => panic!("{other:?}"),
        }
    };
    let file = |path: &str, was: Option<&str>, change: &str, lines: Option<(u64, u64)>| DiffFile {
        path: path.to_owned(),
        was: was.map(str::to_owned),
        change: change.to_owned(),
        added: lines.map(|lines| lines.0),
        removed: lines.map(|lines| lines.1),
    };
    let (bytes, fresh) =
        (file("bytes", None, "new", None), file("fresh", None, "new", Some((2, 0))));
    let gone = file("gone", None, "removed", Some((0, 1)));
    let to_base = diff(Against::Base, None, false);
    let renamed = file("new", Some("old"), "renamed", Some((0, 0)));
    assert_eq!(to_base.files, [bytes.clone(), fresh.clone(), gone.clone(), renamed]);
    assert_eq!((to_base.total_files, to_base.patch, to_base.commit), (4, None, base.clone()));
    let to_head = diff(Against::Head, None, false);
    assert_eq!(to_head.files, [bytes, fresh.clone(), gone]);
    let one = diff(Against::Head, Some("fresh"), true);
    assert_eq!(one.files, [fresh]);
    let patch = one.patch.expect("a patch");
    assert!(
        patch.starts_with("diff --git a/fresh b/fresh\nnew file") && patch.ends_with("+a\n+b\n"),
        "{patch}"
    );
    assert_eq!(fs::read(root.join(".git/index")).expect("an index"), index, "it is not touched");
}

#[test]
fn a_folder_that_is_no_repository_says_so() {
    let world = World::new();
    let ask = Ask::Diff { against: Against::Head, path: None, patch: true };
    let told = world.asked(&ask, b"").0;
    assert!(refusal(&told).1.contains("not a git repository"), "{told:?}");
}
