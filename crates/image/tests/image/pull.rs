//! A registry, asked well and answering badly.

use std::{fs, time::Duration};

use serde_json::json;
use windlass_image::{Store, Stored};
use windlass_sandbox::backend::{Login, Pull};
use windlass_testkit::registry::Registry;

use super::{layer, listed, options, store};

async fn get(store: &Store, name: &str, login: Option<&Login>) -> Result<Stored, String> {
    let got = store.get(name, Pull::Missing, login, &mut |_| {}).await;
    got.map_err(|error| error.to_string())
}

fn login(password: &str) -> Login {
    Login { user: "ada".to_owned(), password: password.to_owned(), realm: String::new() }
}

#[tokio::test]
async fn an_image_is_pulled_once_verified_and_lies_there_as_its_layers_say() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.unwrap();
    let layers =
        [layer(&[("etc/a", "1"), ("etc/b", "1")]), layer(&[("etc/.wh.a", ""), ("c", "2")])];
    let config = json!({ "Env": ["KIND=small"], "Labels": { "a": "b" }, "User": "me" });
    let name = registry.hold("base", "1", &layers, &config);
    let store = store(folder.path(), Some(registry.host()));
    let stored = get(&store, &name, Some(&login("lovelace-1815"))).await.unwrap();
    let settings = &stored.settings;
    assert_eq!(settings.variables, [("KIND".to_owned(), "small".to_owned())]);
    assert_eq!((settings.user.as_str(), settings.labels["a"].as_str()), ("me", "b"));
    let root = folder.path().join("images/trees").join(&stored.digest).join("root");
    assert_eq!(fs::read_to_string(root.join("c")).unwrap(), "2");
    assert!(root.join("etc/b").exists() && !root.join("etc/a").exists());
    let asked = registry.n_asked();
    assert_eq!(asked, 3);
    // Neither the registry nor a login is needed any more, also after a restart.
    drop(store);
    let store = super::store(folder.path(), None);
    assert_eq!(get(&store, &name, None).await.unwrap(), stored);
    assert_eq!((registry.n_asked(), store.names().unwrap()), (asked, vec![name]));
    assert_eq!(listed(folder.path(), "incoming"), [""; 0]);
}

#[tokio::test]
async fn what_somebodys_own_login_has_brought_is_there_for_them_only() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.unwrap();
    let name = registry.hold("base", "1", &[layer(&[("a", "1")])], &json!({}));
    let store = store(folder.path(), Some(registry.host()));
    let of = |realm: &str, password: &str| Login { realm: realm.to_owned(), ..login(password) };
    let stored = get(&store, &name, Some(&of("one", "lovelace-1815"))).await.unwrap();
    let asked = registry.n_asked();
    assert_eq!(get(&store, &name, Some(&of("one", "forgotten"))).await.unwrap(), stored);
    assert_eq!(registry.n_asked(), asked);
    for other in [None, Some(login("wrong-wrong")), Some(of("two", "wrong-wrong"))] {
        let said = get(&store, &name, other.as_ref()).await.unwrap_err();
        assert!(said.contains("doesn't let this runner in"), "{said}");
    }
    let said = get(&store, &format!("{name} for one"), None).await.unwrap_err();
    assert!(said.contains("names no image"), "{said}");
    // Whoever may have it as well asks for it once more, and what is there already is used.
    let again = get(&store, &name, Some(&of("two", "lovelace-1815"))).await.unwrap();
    assert_eq!(again.digest, stored.digest);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_registry_is_said_in_words_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.unwrap();
    let name = registry.hold("base", "1", &[layer(&[("a", "1")])], &json!({}));
    let host = registry.host().to_owned();
    let open = store(folder.path(), Some(&host));
    let said = get(&open, &name, Some(&login("wrong-wrong"))).await.unwrap_err();
    assert!(said.contains("doesn't let this runner in as `ada`"), "{said}");
    assert!(!said.contains("wrong-wrong"), "{said}");
    let said = get(&open, &name, None).await.unwrap_err();
    assert!(said.contains("doesn't let this runner in without a login"), "{said}");
    let right = login("lovelace-1815");
    let said = get(&open, &format!("{host}/other:1"), Some(&right)).await.unwrap_err();
    assert!(said.contains("has no such image"), "{said}");
    let said = get(&open, "NOT AN IMAGE", None).await.unwrap_err();
    assert!(said.contains("names no image"), "{said}");
    let never = open.get(&name, Pull::Never, None, &mut |_| {}).await.unwrap_err().to_string();
    assert!(never.contains("windlass image load"), "{never}");
    // Whoever writes a devcontainer.json can't make the runner call whom it likes.
    let closed = store(&folder.path().join("other"), None);
    for name in [&*name, "localhost:1/a:1", "10.0.0.1/a:1", "169.254.169.254:80/a"] {
        let said = get(&closed, name, Some(&right)).await.unwrap_err();
        assert!(said.contains("only the runner's operator may name"), "{name}: {said}");
    }
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let lonely = store(&folder.path().join("third"), Some(&nobody));
    let said = get(&lonely, &format!("{nobody}/a:1"), None).await.unwrap_err();
    assert!(said.contains("can't be reached") && said.contains("refused"), "{said}");
    registry.spoil();
    let said = get(&open, &name, Some(&right)).await.unwrap_err();
    assert!(said.contains("instead of sha256:") || said.contains("broke off"), "{said}");
    assert_eq!(listed(folder.path(), "trees"), [""; 0]);
    assert_eq!(listed(folder.path(), "incoming"), [""; 0]);
    assert_eq!(open.names().unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_image_that_climbs_out_or_is_too_large_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(None).await.unwrap();
    let climbing = {
        let mut archive = layer(&[("aa/escaped", "x")]);
        archive[..2].copy_from_slice(b"..");
        // The header's sum is over its bytes.
        let sum: u32 = 8 * 32
            + archive[..512]
                .iter()
                .enumerate()
                .filter(|(at, _)| !(148..156).contains(at))
                .map(|(_, byte)| u32::from(*byte))
                .sum::<u32>();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive
    };
    let climbing = registry.hold("climbing", "1", &[climbing], &json!({}));
    let large = registry.hold("large", "1", &[layer(&[("a", &"x".repeat(70 << 20))])], &json!({}));
    let store = store(folder.path(), Some(registry.host()));
    let said = get(&store, &climbing, None).await.unwrap_err();
    assert!(said.contains("climbs by `..`"), "{said}");
    let said = get(&store, &large, None).await.unwrap_err();
    assert!(said.contains("too many bytes"), "{said}");
    assert_eq!(listed(folder.path(), "trees"), [""; 0]);
    assert_eq!(listed(folder.path(), "incoming"), [""; 0]);
    assert!(!folder.path().join("escaped").exists());
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_never_used_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(None).await.unwrap();
    let name = registry.hold("base", "1", &[layer(&[("a", "1")])], &json!({}));
    let first = store(folder.path(), Some(registry.host()));
    let stored = get(&first, &name, None).await.unwrap();
    drop(first);
    let images = folder.path().join("images");
    // As after a crash: while unpacking, before the index was written, and while a layer came.
    fs::create_dir_all(images.join("incoming/1-1/root/etc")).unwrap();
    fs::create_dir_all(images.join("trees").join("f".repeat(64)).join("root")).unwrap();
    fs::write(images.join("incoming/1-2"), "half").unwrap();
    fs::write(images.join("blobs/sha256").join("e".repeat(64)), "of an image that is gone")
        .unwrap();
    let second = store(folder.path(), None);
    assert_eq!(listed(folder.path(), "incoming"), [""; 0]);
    assert_eq!(listed(folder.path(), "trees"), [stored.digest.as_str()]);
    assert_eq!(listed(folder.path(), "blobs/sha256").len(), 3);
    assert_eq!(get(&second, &name, None).await.unwrap(), stored);
    drop(second);
    // A tree that was lost is fetched again, not used as it is.
    fs::remove_dir_all(images.join("trees").join(&stored.digest)).unwrap();
    let third = store(folder.path(), Some(registry.host()));
    assert_eq!(third.names().unwrap(), [""; 0]);
    assert_eq!(get(&third, &name, None).await.unwrap(), stored);
}

#[tokio::test]
async fn the_image_that_was_used_longest_ago_goes_when_room_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(None).await.unwrap();
    // Bytes without a pattern, so that compression changes little.
    let noise = |seed: u32| {
        let mut state = seed;
        let bytes = (0..400_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'0' + (state >> 24) as u8 % 64)
        });
        layer(&[("noise", &bytes.collect::<String>())])
    };
    let names: Vec<String> =
        (1..=3).map(|n| registry.hold("noise", &n.to_string(), &[noise(n)], &json!({}))).collect();
    let mut small = options(folder.path(), Some(registry.host()));
    small.limit_bytes = 1_900_000;
    let store = Store::open(small).unwrap();
    let mut stored = Vec::new();
    for name in &names[..2] {
        stored.push(get(&store, name, None).await.unwrap());
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    for (n, stored) in stored.iter().enumerate() {
        let path = folder.path().join("images/trees").join(&stored.digest).join("bytes");
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(long_ago + Duration::from_secs(n as u64)).unwrap();
    }
    get(&store, &names[2], None).await.unwrap();
    assert_eq!(store.names().unwrap(), names[1..]);
    assert_eq!(listed(folder.path(), "trees").len(), 2);
    assert_eq!(listed(folder.path(), "blobs/sha256").len(), 6);
}
