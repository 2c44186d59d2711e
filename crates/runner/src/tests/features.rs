//! Jobs whose environment has Features: installed over an image on both backends, and what goes wrong.

use std::{path::PathBuf, sync::LazyLock};

use windlass_run::job::Outcome;
use windlass_sandbox::backend::Login;
use windlass_testkit::{docker, registry::Registry};

use super::{images::skip, whole::Stage, world::run_step};
use crate::{Options, definition::BackendKind};

const ACCOUNTS: &str = r#"{ "id": "accounts", "version": "1.2.3" }"#;
const ACCOUNTS_INSTALL: &str = "#!/bin/sh\nset -e\n\
    echo 'ada:x:1815:1815::/home/ada:/bin/sh' >> /etc/passwd\n\
    echo 'ada:x:1815:' >> /etc/group\n\
    mkdir -p /home/ada\necho 'from the image' > /home/ada/kept\nchown -R ada /home/ada\n";
const TOOL: &str = r#"{
  "id": "tool", "version": "1.0.0",
  "options": { "greeting-word": { "type": "string", "default": "hi" } },
  "dependsOn": { "HOST/acme/accounts:1": {} },
  "containerEnv": { "TOOL_HOME": "/opt/tool", "PATH": "/opt/tool/bin:${PATH}" },
  "entrypoint": "/opt/tool/bin/tool > /tmp/started",
  "postCreateCommand": "tool > ~/created"
}"#;
const TOOL_INSTALL: &str = "#!/bin/sh\nset -e\n\
    test \"$TOOL_HOME\" = /opt/tool\n\
    test \"$_REMOTE_USER:$_REMOTE_USER_HOME\" = ada:/home/ada\n\
    mkdir -p $TOOL_HOME/bin\n\
    printf '#!/bin/sh\\necho \"%s from %s\"\\n' \"$GREETING_WORD\" \"$(id -un)\" > $TOOL_HOME/bin/tool\n\
    cp more/text $TOOL_HOME/text\nchmod +x $TOOL_HOME/bin/tool\n";
const DEFINITION: &str = r#"{
  "image": "IMAGE",
  "features": { "./tool": { "greeting-word": "hallo" } },
  "mounts": [
    "type=volume,source=cache,target=/var/cache/own",
    "type=bind,source=${localWorkspaceFolder}/.devcontainer/tool/more,target=/usr/share/more"
  ],
  "remoteUser": "ada"
}"#;
const LOOK: &str = "tool; cat /opt/tool/text ~/kept ~/created; id -un; echo $HOME $USER; \
    until test -s /tmp/started; do sleep 0.05; done; cat /tmp/started; \
    echo mine > ~/own; echo mine > /var/cache/own/x; \
    cat /usr/share/more/text; echo more > /usr/share/more/new; cat .devcontainer/tool/more/new; echo mine > of-ada; ! touch /opt/tool/x 2>/dev/null; pwd";
const SEEN: &str = "hallo from root\ntext\nfrom the image\nhallo from root\nada\n/home/ada ada\n\
    hallo from root\ntext\nmore\n/workspaces/sums\n";

fn first_process() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        windlass_testkit::program("windlass-oci", "windlass-first").expect("it is built")
    });
    BUILT.clone()
}

/// A tar archive of these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, path, text.as_bytes()).expect("it is written");
    }
    archive.into_inner().expect("it is written")
}

fn accounts() -> Vec<u8> {
    archive(&[("devcontainer-feature.json", ACCOUNTS), ("install.sh", ACCOUNTS_INSTALL)])
}

fn knows(registry: &Registry) -> impl Fn(Options) -> Options + use<> {
    let login = Login {
        user: "ada".to_owned(),
        password: "lovelace-1815".to_owned(),
        realm: String::new(),
    };
    let registries: std::collections::BTreeMap<_, _> =
        [(registry.host().to_owned(), Some(login))].into();
    move |options| Options { registries: registries.clone(), ..options }
}

async fn stage(image: &str, registry: &Registry, digest: &str, more: &[(&str, &str)]) -> Stage {
    let host = registry.host();
    let lock = format!(
        r#"{{ "features": {{ "{host}/acme/accounts:1": {{ "version": "1.2.3",
            "resolved": "{host}/acme/accounts@{digest}", "integrity": "{digest}" }} }} }}"#
    );
    let definition = DEFINITION.replace("IMAGE", image);
    let tool = TOOL.replace("HOST", host);
    let mut files = vec![
        (".devcontainer/devcontainer.json", &*definition),
        (".devcontainer/devcontainer-lock.json", &*lock),
        (".devcontainer/tool/devcontainer-feature.json", &*tool),
        (".devcontainer/tool/install.sh", TOOL_INSTALL),
        (".devcontainer/tool/more/text", "text\n"),
    ];
    for (path, text) in more {
        files.retain(|(known, _)| known != path);
        files.push((path, text));
    }
    Stage::with(&files).await
}

async fn installed(stage: &Stage, with: &dyn Fn(Options) -> Options) {
    let (job_id, end) = stage.end_with(with, vec![run_step("look", LOOK)]).await;
    let log = stage.world().log(&job_id, "look", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
    assert!(log.ends_with(SEEN), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_installed_over_an_image_without_an_engine_once() {
    let test = "features_are_installed_over_an_image_without_an_engine_once";
    let root = match docker::root_file_system() {
        Ok(root) => root,
        Err(why) => return skip(test, &why),
    };
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.expect("a port");
    let config = serde_json::json!({ "Env": ["PATH=/bin:/usr/bin"] });
    let image = registry.hold("base", "1", &[root], &config);
    let (_, digest) = registry.hold_feature("acme/accounts", "1", &accounts());
    let of_project = stage(&image, &registry, &digest, &[]).await;
    let with = knows(&registry);
    installed(&of_project, &with).await;
    let asked = registry.n_asked();
    installed(&of_project, &with).await;
    assert_eq!(registry.n_asked(), asked);

    // Whatever is wrong is said before anything of a step, in words.
    let wrong = async |files: &[(&str, &str)]| {
        let stage = stage(&image, &registry, &digest, files).await;
        let (_, end) = stage.end_with(&with, vec![run_step("look", "true")]).await;
        assert_eq!(end.code, "environment", "{}", end.reason);
        end.reason
    };
    let tool = TOOL.replace("HOST", registry.host());
    let feature = ".devcontainer/tool/devcontainer-feature.json";
    let definition = ".devcontainer/devcontainer.json";
    let written = DEFINITION.replace("IMAGE", &image);
    let said = wrong(&[(".devcontainer/tool/install.sh", "echo the last word; exit 7\n")]).await;
    assert!(said.contains("the Features ") && said.contains("ended with code 7"), "{said}");
    assert!(said.contains("the last word"), "{said}");
    let outside = "http_proxy=$HTTP_PROXY wget -q -O- http://example.invalid/ 2>&1; exit 8\n";
    let said = wrong(&[(".devcontainer/tool/install.sh", outside)]).await;
    assert!(said.contains("403") && said.contains("ended with code 8"), "{said}");
    let said = wrong(&[(".devcontainer/devcontainer-lock.json", &format!(
        r#"{{ "features": {{ "{}/acme/accounts:1": {{ "version": "1", "resolved": "x", "integrity": "sha256:{}" }} }} }}"#,
        registry.host(), "1".repeat(64),
    ))]).await;
    assert!(said.contains("get the Feature") && said.contains("has no such image"), "{said}");
    let unknown = written.replace("\"ada\"", "\"nobody-knows\"").replace("./tool", "./plain");
    let plain = (".devcontainer/plain/devcontainer-feature.json", ACCOUNTS);
    let install = (".devcontainer/plain/install.sh", "true\n");
    let said = wrong(&[(definition, &unknown), plain, install]).await;
    assert!(said.contains("the image has no user `nobody-knows`"), "{said}");
    let gone = tool.replace(registry.host(), "127.0.0.1:1");
    let said = wrong(&[(feature, &gone)]).await;
    assert!(said.contains("only the runner's operator may name"), "{said}");
    let circle = tool.replace(&format!("{}/acme/accounts:1", registry.host()), "./tool");
    let said = wrong(&[
        (feature, &circle),
        (definition, &written.replace("{ \"greeting-word\": \"hallo\" }", "{}")),
    ])
    .await;
    assert!(said.contains("these Features wait for each other"), "{said}");
    let archive = "https://127.0.0.1:9/devcontainer-feature-x.tgz";
    let said = wrong(&[(definition, &written.replace("./tool", archive))]).await;
    assert!(
        said.contains("can't be fetched") && said.contains("127.0.0.1:9 was refused"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_installed_over_an_image_by_an_engine() {
    let test = "features_are_installed_over_an_image_by_an_engine";
    let engine = match docker::Engine::start() {
        Ok(engine) => engine,
        Err(why) => return skip(test, &why),
    };
    let image = "windlass-test/base:1";
    engine.import(image, &["ENV PATH=/bin:/usr/bin"]).expect("an image");
    let registry = Registry::start(Some(("ada", "lovelace-1815"))).await.expect("a port");
    let (_, digest) = registry.hold_feature("acme/accounts", "1", &accounts());
    let knows = knows(&registry);
    let socket = engine.socket();
    let with = move |options: Options| Options {
        backend: BackendKind::Oci,
        engine_socket: socket.clone(),
        windlass_exe: first_process(),
        ..knows(options)
    };
    installed(&stage(image, &registry, &digest, &[]).await, &with).await;
    let failing = [(".devcontainer/tool/install.sh", "echo the last word; exit 7\n")];
    let failing = stage(image, &registry, &digest, &failing).await;
    let (_, end) = failing.end_with(&with, vec![run_step("look", "true")]).await;
    assert_eq!(end.code, "environment", "{}", end.reason);
    assert!(
        end.reason.contains("code: 7") && end.reason.contains("the last word"),
        "{}",
        end.reason
    );
    let left = engine.docker(&["ps", "--all", "--quiet"], b"").expect("a list");
    assert_eq!(String::from_utf8_lossy(&left), "");
}
