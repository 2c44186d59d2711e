//! Images that are made from images: once, whole or not at all, as root and as an ordinary user.

use std::{
    any::Any,
    path::{Path, PathBuf},
};

use windlass_image::Artifacts;
use windlass_sandbox::{
    Backend as _, DoorListener, EnvironmentId, Exec, OperationId, Plan, Prepared, User,
    backend::{
        Recipe,
        recipe::{Addition, Change, Origin},
    },
};
use windlass_testkit::{docker, registry::Registry};

use super::{
    environments::{ImageStage, for_an_ordinary_user},
    layer, listed, options, skip,
    suite::{Stage as _, wait_for},
};

fn serve(_: Vec<DoorListener>) -> Result<Box<dyn Any + Send>, String> {
    Ok(Box::new(()))
}

fn run(line: &str, files: Option<&Path>, user: Option<&str>) -> Change {
    Change::Run {
        command: ["/bin/sh", "-c", line].map(str::to_owned).into(),
        variables: vec![("GIVEN".to_owned(), "this once".to_owned())],
        folder: None,
        user: user.map(str::to_owned),
        files: files.map(Path::to_owned),
        caches: Vec::new(),
    }
}

fn addition(name: &str, changes: Vec<Change>) -> Addition {
    Addition { name: name.to_owned(), changes }
}

/// Extends on a runtime of its own; answers what was said too.
fn extend(
    stage: &ImageStage,
    below: &Prepared,
    additions: Vec<Addition>,
) -> (Result<Prepared, String>, String) {
    let recipe = Recipe { additions, ..Recipe::default() };
    let mut said = String::new();
    let mut tell = |progress| said.push_str(&format!("{progress:?}\n"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let made = runtime.block_on(stage.backend.extend(below, &recipe, &serve, &mut tell));
    (made.map_err(|error| error.to_string()), said)
}

/// Runs a line in an environment that is made from something, as a user of it.
fn look(stage: &ImageStage, prepared: &Prepared, user: Option<User>, line: &str) -> String {
    let tree = stage.trees.join("look");
    std::fs::create_dir_all(&tree).unwrap();
    let id = EnvironmentId::parse("look").unwrap();
    let mut plan = Plan::new(id.clone(), &tree, "/workspace/tree");
    plan.user = user;
    wait_for(stage.backend.create(&plan, prepared)).unwrap();
    let name = OperationId::parse("look").unwrap();
    let exec = Exec::capture(name.clone(), ["/bin/sh", "-c", line]).in_folder("/workspace/tree");
    wait_for(stage.backend.exec(&id, &exec.with_env("PATH", "/bin"))).unwrap();
    wait_for(stage.backend.wait(&id, &name)).unwrap();
    let output = wait_for(stage.backend.output(&id, &name, 0)).unwrap();
    wait_for(stage.backend.destroy(&id)).unwrap();
    let bytes: Vec<u8> = output.chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
    String::from_utf8(bytes).unwrap()
}

fn folder(stage: &ImageStage, files: &[(&str, &str)]) -> PathBuf {
    let folder = stage.base.path().join("feature");
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn what_is_added_to_an_image_is_made_once_by_root_of_an_environment_and_then_sealed() {
    let test = "what_is_added_to_an_image_is_made_once_by_root_of_an_environment_and_then_sealed";
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => return skip(test, &why),
    };
    let stage = ImageStage::new(&archive);
    let below =
        wait_for(stage.backend.prepare(&super::environments::image(), &mut |_| {})).unwrap();
    let files =
        folder(&stage, &[("install.sh", "echo \"$(id -u) $GIVEN $KIND\" > /etc/installed\n")]);
    let script = "set -e; cat /proc/self/status | grep CapEff; \
                  echo 'ada:x:1815:1815::/home/ada:/bin/sh' >> /etc/passwd; mkdir -p /home/ada /new/place; \
                  echo hers > /home/ada/file; chown -R ada /home/ada; chmod u+s /bin/busybox; \
                  sh ./install.sh; echo one > /new/place/one; touch /run/gone /tmp/gone";
    let set = Change::Set(vec![("PATH".to_owned(), "/new/place:${PATH}".to_owned())]);
    let first = addition("the first", vec![run(script, Some(&files), None), set]);
    let by_ada = run("id -un > /whose; test -w /etc/passwd", None, Some("ada"));
    let copied = Change::Copy {
        from: Origin::Folder(files.clone()),
        sources: vec!["*.sh".to_owned()],
        to: "/copied/".to_owned(),
        mode: None,
        unpack: false,
    };
    let second =
        addition("the second", vec![by_ada, Change::MakeFolder("/made/here".into()), copied]);
    let (made, said) = extend(&stage, &below, vec![first.clone(), second.clone()]);
    let made = made.unwrap_or_else(|why| panic!("{why}\n{said}"));
    assert!(said.contains("CapEff:\\t0000000000000000"), "{said}");
    let path = made.settings.variables.iter().find(|(name, _)| name == "PATH").unwrap();
    assert_eq!(path.1, "/new/place:");
    let seen = look(
        &stage,
        &made,
        None,
        "cat /etc/installed /new/place/one /home/ada/file /whose; ls /copied /made; ls /run /tmp; \
         ls -ln /bin/busybox | cut -c1-10; id -un; touch /new/x 2>&1",
    );
    let expected = "0 this once small\none\nhers\nada\n/copied:\ninstall.sh\n\n/made:\nhere\n\
                    /run:\n\n/tmp:\n-rwxr-xr-x\nagent\ntouch: /new/x: Read-only file system\n";
    assert_eq!(seen, expected);
    let ada = made.accounts.iter().find(|user| user.name == "ada").cloned();
    let seen = look(&stage, &made, ada, "id -u; echo $HOME $USER; echo x > ~/mine && ls ~");
    assert_eq!(seen, "1815\n/home/ada ada\nfile\nmine\n");
    let root = look(
        &stage,
        &made,
        Some(User::root()),
        "id -un; grep CapEff /proc/self/status; touch /etc/x 2>&1",
    );
    assert_eq!(root, "root\nCapEff:\t0000000000000000\ntouch: /etc/x: Read-only file system\n");
    // The same again is there already, also when less is wanted; other files are another image.
    let (again, said) = extend(&stage, &below, vec![first.clone(), second]);
    assert_eq!((again, said.as_str()), (Ok(made.clone()), ""));
    let (less, said) = extend(&stage, &below, vec![first.clone()]);
    assert!(less.is_ok_and(|less| less.name != made.name) && said.is_empty(), "{said}");
    std::fs::write(files.join("install.sh"), "echo other > /etc/installed\n").unwrap();
    let (other, said) = extend(&stage, &below, vec![first]);
    assert!(other.unwrap().name != made.name && said.contains("the first"), "{said}");
    assert_eq!(listed(stage.base.path(), "incoming"), [""; 0]);
    assert_eq!(stage.traces(), [""; 0]);
}

#[test]
fn what_is_added_to_an_image_is_the_same_for_an_ordinary_user() {
    if rustix::process::geteuid().is_root() {
        let test =
            "what_is_added_to_an_image_is_made_once_by_root_of_an_environment_and_then_sealed";
        for_an_ordinary_user(&format!("making::{test}"));
    }
}

#[test]
fn what_can_not_be_added_is_said_with_the_end_of_its_output_and_leaves_nothing() {
    let test = "what_can_not_be_added_is_said_with_the_end_of_its_output_and_leaves_nothing";
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => return skip(test, &why),
    };
    let stage = ImageStage::new(&archive);
    let below =
        wait_for(stage.backend.prepare(&super::environments::image(), &mut |_| {})).unwrap();
    let trees = listed(stage.base.path(), "trees");
    let refused = |changes| extend(&stage, &below, vec![addition("it", changes)]).0.unwrap_err();
    let said = refused(vec![run("echo the last word; exit 3", None, None)]);
    assert!(said.contains("ended with code 3") && said.ends_with("the last word"), "{said}");
    let said = refused(vec![run("true", None, Some("nobody-knows"))]);
    assert!(said.contains("has no user `nobody-knows`"), "{said}");
    let copy = |source: &str| Change::Copy {
        from: Origin::Folder(folder(&stage, &[("a", "1"), ("b", "2"), (".dockerignore", "b\n")])),
        sources: vec![source.to_owned()],
        to: "/".to_owned(),
        mode: None,
        unpack: false,
    };
    for source in ["gone", "b", "../images/index.json"] {
        let said = refused(vec![copy(source)]);
        assert!(said.contains(&format!("there is no `{source}` to copy")), "{said}");
    }
    let host = Prepared::default();
    let said = extend(&stage, &host, vec![addition("it", vec![copy("a")])]).0.unwrap_err();
    assert!(said.contains("name an `image`"), "{said}");
    assert_eq!(listed(stage.base.path(), "incoming"), [""; 0]);
    assert_eq!(listed(stage.base.path(), "trees"), trees);
    assert_eq!(stage.traces(), [""; 0]);
}

#[test]
fn what_is_given_up_halfway_is_removed_with_its_environment() {
    let test = "what_is_given_up_halfway_is_removed_with_its_environment";
    let archive = match docker::root_file_system() {
        Ok(archive) => archive,
        Err(why) => return skip(test, &why),
    };
    let stage = ImageStage::new(&archive);
    let below =
        wait_for(stage.backend.prepare(&super::environments::image(), &mut |_| {})).unwrap();
    let trees = listed(stage.base.path(), "trees");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let changes = vec![run("touch /half; echo it runs; sleep 1000", None, None)];
        let recipe = Recipe { additions: vec![addition("it", changes)], ..Recipe::default() };
        let runs = tokio::sync::Notify::new();
        let mut tell = |progress| {
            if format!("{progress:?}").contains("it runs") {
                runs.notify_one();
            }
        };
        tokio::select! {
            made = stage.backend.extend(&below, &recipe, &serve, &mut tell) => panic!("{made:?}"),
            () = runs.notified() => {}
        }
        // Nobody waits for it any more, and yet it is taken away.
        while !listed(stage.base.path(), "incoming").is_empty() {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(listed(stage.base.path(), "trees"), trees);
    assert_eq!(stage.traces(), [""; 0]);
}

const MANIFEST: &str = r#"{ "id": "tool", "version": "1.0.0" }"#;

#[tokio::test]
async fn a_feature_of_a_registry_is_pulled_once_and_only_if_it_is_the_one_that_is_wanted() {
    let base = tempfile::tempdir().unwrap();
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.unwrap();
    let archive = layer(&[("devcontainer-feature.json", MANIFEST), ("install.sh", "true\n")]);
    let (name, digest) = registry.hold_feature("acme/tool", "1", &archive);
    let login = |password: &str| {
        Some(windlass_sandbox::backend::Login {
            user: "ada".into(),
            password: password.into(),
            realm: String::new(),
        })
    };
    let artifacts = Artifacts::open(options(base.path(), Some(registry.host()))).unwrap();
    let pull = async |name: &str, wanted: Option<&str>, password: &str| {
        let pulled = artifacts.pull(name, wanted, login(password).as_ref()).await;
        pulled.map_err(|error| error.to_string())
    };
    let said = pull(&name, None, "wrong-wrong").await.unwrap_err();
    assert!(said.contains("doesn't let this runner in as `ada`"), "{said}");
    assert!(said.contains("get the Feature") && !said.contains("wrong-wrong"), "{said}");
    let other = format!("sha256:{}", "1".repeat(64));
    let said = pull(&name, Some(&other), "lovelace-1815").await.unwrap_err();
    assert!(said.contains("has no such image"), "{said}");
    let pulled = pull(&name, None, "lovelace-1815").await.unwrap();
    assert_eq!(pulled.digest, digest);
    assert_eq!(std::fs::read_to_string(pulled.folder.join("install.sh")).unwrap(), "true\n");
    let asked = registry.n_asked();
    // Nobody is asked again, with or without the digest, also after a restart.
    assert_eq!(pull(&name, Some(&digest), "wrong-wrong").await, Ok(pulled.clone()));
    let again = Artifacts::open(options(base.path(), None)).unwrap();
    assert_eq!(again.find(&name, None).unwrap(), Some(pulled));
    assert_eq!(registry.n_asked(), asked);
    let none = layer(&[("devcontainer-feature.json", MANIFEST)]);
    let (name, _) = registry.hold_feature("acme/none", "1", &none);
    let said = pull(&name, None, "lovelace-1815").await.unwrap_err();
    assert!(said.contains("there is no `install.sh` in it"), "{said}");
    let gone = "127.0.0.1:1/acme/tool:1".to_owned();
    let said = pull(&gone, None, "lovelace-1815").await.unwrap_err();
    assert!(said.contains("only the runner's operator may name"), "{said}");
    let said = artifacts.keep_archive("https://x/y.tgz", Some(&other), none).await.unwrap_err();
    assert!(said.to_string().contains("which the lock file demands"), "{said}");
    assert_eq!(listed(base.path(), "incoming"), [""; 0]);
    assert_eq!(listed(base.path(), "blobs/sha256"), [""; 0]);
}

#[test]
fn what_was_half_made_when_everything_ended_is_removed_by_the_next_start() {
    let base = tempfile::tempdir().unwrap();
    drop(super::store(base.path(), None));
    let half = base.path().join("images/incoming/half-1-0/root");
    std::fs::create_dir_all(&half).unwrap();
    let unnamed = base.path().join("images/trees").join("0".repeat(64)).join("root");
    std::fs::create_dir_all(&unnamed).unwrap();
    drop(super::store(base.path(), None));
    assert_eq!(listed(base.path(), "incoming"), [""; 0]);
    assert_eq!(listed(base.path(), "trees"), [""; 0]);
}
