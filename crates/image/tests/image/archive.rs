//! Images in one file: as we write them, and as Docker does.

use serde_json::json;
use windlass_sandbox::backend::Pull;
use windlass_testkit::{docker, registry::digest};

use super::{layer, skip, store};

/// An OCI layout with one image, in a tar archive.
fn layout(annotations: &serde_json::Value, spoil: bool) -> Vec<u8> {
    let layer = layer(&[("hello", "world")]);
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "os": "linux", "architecture": machine, "rootfs": { "diff_ids": [digest(&layer)] }
    });
    let config = config.to_string().into_bytes();
    let named = |bytes: &[u8]| json!({ "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({ "config": named(&config), "layers": [named(&layer)] });
    let manifest = manifest.to_string().into_bytes();
    let mut top = named(&manifest);
    top["annotations"] = annotations.clone();
    let index = json!({ "schemaVersion": 2, "manifests": [top] }).to_string();
    let path = |bytes: &[u8]| format!("blobs/{}", digest(bytes).replace(':', "/"));
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    };
    add("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
    add("index.json", index.as_bytes());
    add(&path(&config), &config);
    add(&path(&manifest), &manifest);
    let sent = if spoil { self::layer(&[("hello", "there")]) } else { layer.clone() };
    add(&path(&layer), &sent);
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn an_archive_is_loaded_under_its_name_or_the_one_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), None);
    let file = folder.path().join("image.tar");
    let name = json!({ "org.opencontainers.image.ref.name": "acme/base:2" });
    std::fs::write(&file, layout(&name, false)).unwrap();
    assert_eq!(store.load(&file, None).unwrap(), ["docker.io/acme/base:2"]);
    assert_eq!(store.load(&file, Some("other")).unwrap(), ["docker.io/library/other:latest"]);
    for name in ["acme/base:2", "other"] {
        let stored = store.get(name, Pull::Never, None, &mut |_| {}).await.unwrap();
        let root = folder.path().join("images/trees").join(stored.digest).join("root");
        assert_eq!(std::fs::read_to_string(root.join("hello")).unwrap(), "world");
    }
}

#[test]
fn an_archive_that_is_none_or_holds_something_else_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), None);
    let file = folder.path().join("image.tar");
    let cases: [(&str, Vec<u8>); 4] = [
        ("neither an OCI layout nor", layer(&[("index.html", "")])),
        ("has no name", layout(&json!({}), false)),
        ("nothing in it is sha256:", layout(&json!({}), true)),
        ("image.tar", b"no archive at all".repeat(100)),
    ];
    for (why, bytes) in cases {
        std::fs::write(&file, bytes).unwrap();
        let said = store.load(&file, None).unwrap_err().to_string();
        assert!(said.contains(why), "{why}: {said}");
    }
    assert_eq!(super::listed(folder.path(), "trees"), [""; 0]);
    assert_eq!(super::listed(folder.path(), "incoming"), [""; 0]);
}

/// What Docker wrote is not ours: it says that we read what others mean.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_docker_saves_lies_there_as_docker_exports_it() {
    let test = "what_docker_saves_lies_there_as_docker_exports_it";
    let engine = match docker::Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    engine.import("windlass-test/base:1", &["ENV KIND=small"]).unwrap();
    let context = layer(&[(
        "Dockerfile",
        "FROM windlass-test/base:1\nRUN rm /bin/vi && mkdir -p /a/b && echo hi > /a/b/c && chmod 0750 /a/b && ln -s b /a/l && ln /a/b/c /a/h\nENV MORE=1\n",
    )]);
    engine
        .docker(&["build", "--quiet", "--network", "none", "--tag", "made:2", "-"], &context)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), None);
    let file = folder.path().join("saved.tar");
    std::fs::write(&file, engine.docker(&["save", "made:2"], b"").unwrap()).unwrap();
    assert_eq!(store.load(&file, None).unwrap(), ["docker.io/library/made:2"]);
    let stored = store.get("made:2", Pull::Never, None, &mut |_| {}).await.unwrap();
    let variables: Vec<&str> =
        stored.settings.variables.iter().map(|(name, _)| name.as_str()).collect();
    assert!(variables.contains(&"KIND") && variables.contains(&"MORE"), "{variables:?}");
    let id = engine.docker(&["create", "made:2", "true"], b"").unwrap();
    let exported = engine.docker(&["export", String::from_utf8_lossy(&id).trim()], b"").unwrap();
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let mut unpack = tar::Archive::new(exported.as_slice());
    unpack.set_preserve_permissions(true);
    unpack.unpack(&theirs).unwrap();
    let ours = folder.path().join("images/trees").join(stored.digest).join("root");
    let look = |root: &std::path::Path| {
        // Docker makes mount points of its own when a container is made.
        let list = "cd \"$0\" && find . \\( -path ./dev -o -path ./proc -o -path ./sys -o -path ./etc -o -name .dockerenv \\) -prune -o ! -name . -printf '%p %y %m %l %n\\n' | sort";
        let output =
            std::process::Command::new("sh").args(["-c", list]).arg(root).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(look(&ours), look(&theirs));
    assert!(look(&ours).contains("./a/h f 644  2\n"), "{}", look(&ours));
}
