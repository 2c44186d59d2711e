//! Files of an environment, from the command line, by the API, and by a person in a browser.

use crate::{
    env::tools,
    world::{Up, World},
};

const AUTOMATION: &str = "services: { web: { start: 'echo web serves; exec sleep 1000' } }\n\
    tasks: { count: { command: 'echo counting; echo 42', outputs: { n: integer } } }\n";

fn world() -> (World, Up) {
    let world = World::new();
    let files = [
        ("greeting.txt", "good day\n"),
        ("src/main.rs", "fn main() {}\n"),
        ("old.md", "a\nb\nc\nd\n"),
        (".windlass/environment.yaml", AUTOMATION),
    ];
    let repository = world.repository("api", &files);
    let up = world.up(&[]);
    let added = world.run(&["project", "add", repository.to_str().expect("UTF-8")]);
    assert_eq!(added.code, Some(0), "{added}");
    world.run(&["env", "create", "api", "--name", "one"]).says(0, &["running"]);
    (world, up)
}

/// An editor that does this to its file.
fn editor(world: &World, script: &str) -> String {
    let path = world.path("editor.sh");
    std::fs::write(&path, script).expect("written");
    format!("sh {}", path.display())
}

#[test]
fn files_are_listed_read_edited_and_compared() {
    let (world, _up) = world();
    let listed = world.json(&["--json", "env", "files", "one"]);
    let names: Vec<&str> = listed["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, [".git", ".windlass", "greeting.txt", "old.md", "src"]);
    world.run(&["env", "files", "one", "src"]).says(0, &["main.rs", "-rw-r--r--"]);
    world.run(&["env", "files", "one", "gone"]).says(1, &["there is no gone", "not-found"]);
    world.run(&["env", "files", "one", "greeting.txt"]).says(1, &["file-refused"]);
    let cat = world.run(&["env", "cat", "one", "greeting.txt"]);
    assert_eq!((cat.code, cat.out.as_str()), (Some(0), "good day\n"), "{cat}");
    world.run(&["env", "cat", "one", "src"]).says(1, &["src is a folder", "file-refused"]);

    let edit = |script: &str, path: &str| {
        let mut command = world.windlass(&["env", "edit", "one", path]);
        command.env("EDITOR", editor(&world, script)).env_remove("VISUAL");
        crate::world::Ended::of(command)
    };
    edit("echo hello >> \"$1\"", "greeting.txt").says(0, &["greeting.txt: 15 bytes written"]);
    edit("true", "greeting.txt").says(0, &["nothing was changed"]);
    edit("exit 3", "greeting.txt").says(1, &["the editor ended"]);
    edit("echo new > \"$1\"", "src/new.rs").says(0, &["src/new.rs: 4 bytes written"]);
    // Somebody else is faster than the editor.
    let binary = env!("CARGO_BIN_EXE_windlass");
    let other =
        format!("{binary} env exec one -- sh -c 'echo theirs > greeting.txt'; echo mine > \"$1\"");
    let refused = edit(&other, "greeting.txt");
    refused.says(1, &["changed meanwhile", "file-changed", "your version is"]);
    assert_eq!(world.run(&["env", "cat", "one", "greeting.txt"]).out, "theirs\n");

    world.run(&["env", "exec", "one", "--", "git", "mv", "old.md", "new.md"]).says(0, &[]);
    let stat = world.json(&["--json", "env", "diff", "one", "--stat"]);
    let files: Vec<_> = stat["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| (file["path"].as_str(), file["change"].as_str(), file["added"].as_u64()))
        .collect();
    let expected = [
        (Some("greeting.txt"), Some("changed"), Some(1)),
        (Some("new.md"), Some("renamed"), Some(0)),
        (Some("src/new.rs"), Some("new"), Some(1)),
    ];
    assert_eq!(files, expected, "{stat}");
    world.run(&["env", "diff", "one"]).says(0, &["-good day", "+theirs", "rename from old.md"]);
    let one = world.run(&["env", "diff", "one", "src", "--head"]);
    assert!(one.out.contains("+new") && !one.out.contains("theirs"), "{one}");
    let journal = world.run(&["env", "journal", "one"]);
    journal.says(
        0,
        &["looked at its files", "wrote the file greeting.txt", "made the file src/new.rs"],
    );
    assert_eq!(journal.out.matches("looked at its files").count(), 1, "{journal}");

    world.run(&["env", "stop", "one"]).says(0, &["stopped"]);
    world
        .run(&["env", "cat", "one", "greeting.txt"])
        .says(1, &["environment-state", "not running"]);
}

#[test]
fn a_folder_is_copied_in_and_out_again_as_it_was() {
    let (world, _up) = world();
    let folder = world.path("things");
    std::fs::create_dir_all(folder.join("deep/er")).expect("made");
    std::fs::write(folder.join("deep/er/file"), vec![7; 3 << 20]).expect("written");
    std::os::unix::fs::symlink("er/file", folder.join("deep/link")).expect("linked");
    let from = folder.to_str().expect("UTF-8");
    world.run(&["env", "cp", "-r", from, "one:src"]).says(0, &[]);
    world.run(&["env", "cp", "-r", from, "one:other"]).says(0, &[]);
    world.run(&["env", "exec", "one", "--", "test", "-L", "src/things/deep/link"]).says(0, &[]);
    let back = world.path("back");
    world.run(&["env", "cp", "-r", "one:other", back.to_str().expect("UTF-8")]).says(0, &[]);
    let content = std::fs::read(back.join("deep/link")).expect("followed");
    assert_eq!(content, vec![7; 3 << 20]);
    let refused = world.run(&["env", "cp", "-r", "one:greeting.txt", from]);
    refused.says(1, &["greeting.txt is no folder"]);
    world.run(&["env", "cp", "-r", "one:gone", from]).says(1, &["there is no gone"]);
}

#[test]
fn a_person_browses_edits_and_compares_in_a_page() {
    let test = "a_person_browses_edits_and_compares_in_a_page";
    let Some(tools) = tools::Tools::find(test) else { return };
    let (world, _up) = world();
    let told = world.json(&["--json", "user", "invite", "ada", "--role", "admin"]);
    let link = told["sign_in_link"].as_str().expect("a link").to_owned();
    let listed = world.json(&["--json", "env", "list"]);
    let id = listed["items"][0]["id"].as_str().expect("an id").to_owned();
    let mut script = tools.script("files.mjs");
    script.arg(link).arg(id).arg(env!("CARGO_BIN_EXE_windlass")).arg(world.path("data"));
    let output = script.output().expect("node starts");
    let (out, err) = (output.stdout, output.stderr);
    assert!(
        output.status.success(),
        "see {}:\n{}{}",
        tools.pictures().display(),
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&err)
    );
    let journal = world.run(&["env", "journal", "one"]);
    journal.says(
        0,
        &[
            "wrote the file greeting.txt",
            "made the folder notes",
            "removed notes",
            "restarted the service web",
        ],
    );
}
