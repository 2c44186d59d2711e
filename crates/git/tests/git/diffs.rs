//! The model of a difference, beside what git itself says of it.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use windlass_git::diff::{Content, Diff, File, Hunk, Line, LineKind, Options, Status};
use windlass_git::{Oid, RepoPath, Repository};

use crate::fixture::{World, commit_all, git, head, write};

async fn compare(
    world: &World,
    dir: &Path,
    from: &Oid,
    to: &Oid,
    options: &Options,
) -> (Repository, Diff) {
    let repository = world.mirror(dir).await.repository().clone();
    let diff = repository.diff(from, to, options).await.unwrap();
    (repository, diff)
}

fn file<'a>(diff: &'a Diff, path: &str) -> &'a File {
    let path = RepoPath::parse(path).unwrap();
    diff.files
        .iter()
        .find(|file| *file.path() == path)
        .unwrap_or_else(|| panic!("{path} is not in the difference"))
}

#[tokio::test]
async fn a_change_of_a_few_lines_is_one_hunk_with_numbers_on_both_sides() {
    let world = World::new();
    let dir = world
        .project("project", &[("f.rs", "fn main() {\n    one();\n    two();\n    three();\n}\n")]);
    let from = head(&dir);
    write(&dir, &[("f.rs", "fn main() {\n    one();\n    TWO();\n    and();\n    three();\n}")]);
    let to = commit_all(&dir, "second");
    let (_, diff) =
        compare(&world, &dir, &from, &to, &Options { context: 1, ..Options::default() }).await;
    let line =
        |kind, old, new, text: &str| Line { kind, old, new, text: text.into(), no_newline: false };
    let first = Hunk {
        old_start: 2,
        old_lines: 4,
        new_start: 2,
        new_lines: 5,
        section: "fn main() {".into(),
        lines: vec![
            line(LineKind::Context, Some(2), Some(2), "    one();"),
            line(LineKind::Removed, Some(3), None, "    two();"),
            line(LineKind::Added, None, Some(3), "    TWO();"),
            line(LineKind::Added, None, Some(4), "    and();"),
            line(LineKind::Context, Some(4), Some(5), "    three();"),
            line(LineKind::Removed, Some(5), None, "}"),
            Line { no_newline: true, ..line(LineKind::Added, None, Some(6), "}") },
        ],
    };
    assert_eq!(file(&diff, "f.rs").content, Content::Text { hunks: vec![first], cut: false });
    assert_eq!((diff.files_changed, diff.added, diff.removed, diff.cut), (1, 3, 2, false));
}

#[tokio::test]
async fn every_kind_of_change_is_told_apart() {
    let world = World::new();
    let text: String = (0..50).map(|n| format!("line {n}\n")).collect();
    let dir = world.project(
        "project",
        &[
            ("moved", &text),
            ("same-moved", &text.replace("line", "row")),
            ("gone", "1\n"),
            ("mode", "m\n"),
            ("kind", "k\n"),
            ("bin", "\0\u{1}"),
            ("lines", "diff --git a/x b/x\n--- a\n"),
        ],
    );
    std::fs::write(dir.join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), b"caf\xe9\n").unwrap();
    let from = commit_all(&dir, "base");
    git(&dir, ["mv", "moved", "to"]);
    write(
        &dir,
        &[
            ("to", &text.replace("line 7\n", "line seven\n")),
            ("new\nline", "n\n"),
            ("empty", ""),
            ("bin", "\0\u{2}"),
            ("lines", "diff --git a/y b/y\n+++ b\n@@ -1 +1 @@\n"),
        ],
    );
    git(&dir, ["mv", "same-moved", "same-to"]);
    git(&dir, ["rm", "-q", "gone"]);
    std::fs::set_permissions(dir.join("mode"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_file(dir.join("kind")).unwrap();
    symlink("mode", dir.join("kind")).unwrap();
    std::fs::write(dir.join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), b"caf\xe8\n").unwrap();
    let to = commit_all(&dir, "all kinds");
    let (_, diff) = compare(&world, &dir, &from, &to, &Options::default()).await;
    let statuses: Vec<(String, Status)> =
        diff.files.iter().map(|file| (file.path().to_string(), file.status)).collect();
    let expected = [
        ("bin", Status::Modified),
        ("empty", Status::Added),
        ("gone", Status::Deleted),
        ("kind", Status::Retyped),
        ("\"latin-\\351\"", Status::Modified),
        ("lines", Status::Modified),
        ("mode", Status::Modified),
        ("new\nline", Status::Added),
        ("same-to", Status::Renamed(100)),
        ("to", Status::Renamed(97)),
    ];
    assert_eq!(
        statuses.iter().map(|(path, status)| (path.as_str(), *status)).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(file(&diff, "bin").content, Content::Binary);
    assert_eq!((file(&diff, "bin").added, file(&diff, "empty").added), (None, Some(0)));
    let modes = |path| {
        (
            file(&diff, path).old.as_ref().map(|side| side.mode),
            file(&diff, path).new.as_ref().map(|side| side.mode),
        )
    };
    assert_eq!(
        (modes("mode"), modes("kind")),
        ((Some(0o100_644), Some(0o100_755)), (Some(0o100_644), Some(0o120_000)))
    );
    let none = Content::Text { hunks: vec![], cut: false };
    assert_eq!((&file(&diff, "mode").content, &file(&diff, "same-to").content), (&none, &none));
    let Content::Text { hunks, .. } = &file(&diff, "kind").content else { panic!() };
    assert_eq!(
        hunks
            .iter()
            .flat_map(|hunk| &hunk.lines)
            .map(|line| line.text.as_str())
            .collect::<Vec<_>>(),
        ["k", "mode"]
    );
    let Content::Text { hunks, .. } = &file(&diff, "lines").content else { panic!() };
    assert_eq!(hunks[0].lines.len(), 5, "content that looks like a header is content");
    assert_eq!(file(&diff, "\"latin-\\351\"").added, Some(1));
    counts_are_gits(&dir, &from, &to, &diff);
}

fn counts_are_gits(dir: &Path, from: &Oid, to: &Oid, diff: &Diff) {
    let total = git(dir, ["diff", "--shortstat", "-M", from.as_str(), to.as_str()]);
    let numbers: Vec<u64> =
        total.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers, [diff.files_changed, diff.added, diff.removed]);
    for file in &diff.files {
        if let (Content::Text { hunks, cut: false }, Some(added), Some(removed)) =
            (&file.content, file.added, file.removed)
        {
            let count = |kind| {
                hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.kind == kind).count()
                    as u64
            };
            assert_eq!(
                (count(LineKind::Added), count(LineKind::Removed)),
                (added, removed),
                "{}",
                file.path()
            );
        }
    }
}

#[tokio::test]
async fn white_space_can_be_ignored_without_mixing_up_files() {
    let world = World::new();
    let dir =
        world.project("project", &[("a", "x\n"), ("b", "y y\n"), ("c", "z\n"), ("crlf", "1\n2\n")]);
    let from = head(&dir);
    write(&dir, &[("a", "X\n"), ("b", "y  y\n"), ("c", "Z\n"), ("crlf", "1\r\n2\r\n")]);
    let to = commit_all(&dir, "second");
    let (repository, diff) =
        compare(&world, &dir, &from, &to, &Options { ignore_space: true, ..Options::default() })
            .await;
    let lines = |path| match &file(&diff, path).content {
        Content::Text { hunks, .. } => hunks
            .iter()
            .flat_map(|hunk| &hunk.lines)
            .map(|line| line.text.clone())
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (lines("a"), lines("b"), lines("c"), lines("crlf")),
        (vec!["x".into(), "X".into()], vec![], vec!["z".into(), "Z".into()], vec![])
    );
    let whole = repository.diff(&from, &to, &Options::default()).await.unwrap();
    let Content::Text { hunks, .. } = &file(&whole, "crlf").content else { panic!() };
    assert_eq!(hunks[0].lines[2].text, "1\r", "a carriage return is shown for what it is");
}

#[tokio::test]
async fn what_is_too_much_is_cut_and_says_so() {
    let world = World::new();
    let dir = world.project("project", &[("first", "1\n")]);
    let from = head(&dir);
    let long: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    write(
        &dir,
        &[
            ("a-long", &long),
            ("b-huge", &"x\n".repeat(50_000)),
            ("c-small", "c\n"),
            ("d-small", "d\n"),
        ],
    );
    let to = commit_all(&dir, "much");
    let options = Options { file_lines: 100, file_bytes: 50_000, ..Options::default() };
    let (repository, diff) = compare(&world, &dir, &from, &to, &options).await;
    let Content::Text { hunks, cut: true } = &file(&diff, "a-long").content else { panic!() };
    assert_eq!((hunks[0].lines.len(), hunks[0].new_lines), (100, 1000));
    assert_eq!(file(&diff, "b-huge").content, Content::TooLarge);
    assert!(diff.cut && matches!(file(&diff, "d-small").content, Content::Text { cut: false, .. }));
    let tiny = repository
        .diff(&from, &to, &Options { total_bytes: 4000, ..Options::default() })
        .await
        .unwrap();
    assert!(tiny.cut && tiny.files_changed == 4);
    assert!(matches!(file(&tiny, "a-long").content, Content::Text { cut: true, .. }));
    assert_eq!(file(&tiny, "d-small").content, Content::NotRead);
    let few =
        repository.diff(&from, &to, &Options { files: 2, ..Options::default() }).await.unwrap();
    assert_eq!((few.files.len(), few.files_changed, few.cut), (2, 4, true));
    let one = repository
        .diff(
            &from,
            &to,
            &Options { paths: vec![RepoPath::parse("c-small").unwrap()], ..Options::default() },
        )
        .await
        .unwrap();
    assert_eq!((one.files.len(), one.added), (1, 1));
}

#[tokio::test]
async fn the_model_holds_enough_to_make_the_new_text_from_the_old() {
    let world = World::new();
    let dir = world.project("project", &[("f", "")]);
    // A small generator of our own keeps the cases the same on every run.
    let mut seed = 7u32;
    let mut next = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let mut commits = vec![(head(&dir), String::new())];
    for round in 0..12 {
        let mut lines: Vec<String> =
            commits.last().unwrap().1.split_inclusive('\n').map(str::to_owned).collect();
        for _ in 0..next(9) {
            let at = next(lines.len() as u32 + 1) as usize;
            if next(3) == 0 && at < lines.len() {
                lines.remove(at)
            } else {
                lines.insert(at, format!("{}\n", next(5)));
                String::new()
            };
        }
        let mut text: String = lines.concat();
        if round % 3 == 2 {
            text.pop();
        }
        write(&dir, &[("f", &text)]);
        commits.push((commit_all(&dir, "round"), text));
    }
    let repository = world.mirror(&dir).await.repository().clone();
    for (from, old) in &commits {
        for (to, new) in &commits {
            let diff = repository.diff(from, to, &Options::default()).await.unwrap();
            assert_eq!(rebuilt(old, &diff), *new);
        }
    }
}

/// Applies the only file of a difference to a text.
fn rebuilt(old: &str, diff: &Diff) -> String {
    let Some(file) = diff.files.first() else { return old.to_owned() };
    let Content::Text { hunks, cut: false } = &file.content else { panic!() };
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut at) = (String::new(), 0);
    for hunk in hunks {
        let start = if hunk.old_lines == 0 { hunk.old_start } else { hunk.old_start - 1 } as usize;
        new.extend(old[at..start].iter().copied());
        for line in hunk.lines.iter().filter(|line| line.kind != LineKind::Removed) {
            new.push_str(&line.text);
            new.push_str(if line.no_newline { "" } else { "\n" });
        }
        at = start + hunk.old_lines as usize;
    }
    new.extend(old[at..].iter().copied());
    new
}
