//! Jobs whose environment is built from a Dockerfile of their repository, without an engine.

use windlass_run::job::Outcome;
use windlass_testkit::{docker, registry::Registry};

use super::{images::skip, whole::Stage, world::run_step};
use crate::Options;

const DEFINITION: &str = r#"{
  "build": { "dockerfile": "docker/Dockerfile", "context": ".", "args": { "WHO": "ada" } }
}"#;
const DOCKERFILE: &str = r#"# syntax=docker/dockerfile:1
FROM IMAGE AS build
ARG WHO=nobody
ENV GREETING="hello $WHO"
WORKDIR /src
COPY . .
RUN echo "$GREETING" > out \
 && test ! -e secret.key
RUN ["/bin/sh", "-c", "echo exec form > /src/exec"]

FROM IMAGE AS unused
RUN exit 1

FROM IMAGE
LABEL kind=test
COPY --from=build --chown=1000:1000 /src/out /src/exec /from/
COPY --chmod=755 docker/t*.sh /bin/
SHELL ["/bin/sh", "-ec"]
RUN echo 'node:x:1000:1000::/home/node:/bin/sh' >> /etc/passwd; mkdir -p /home/node
USER node
WORKDIR /home/node
RUN id -un > whose; chown -R node .
ENV PATH="/extra:$PATH"
EXPOSE 80
VOLUME /data
HEALTHCHECK CMD true
CMD ["sleep", "1"]
"#;
const LOOK: &str =
    "cat /from/out /from/exec ~/whose; tool.sh; id -un; echo $PATH; test ! -e /src; pwd";
const SEEN: &str =
    "hello ada\nexec form\nnode\nit runs\nnode\n/extra:/bin:/usr/bin\n/workspaces/sums\n";

async fn stage(dockerfile: &str) -> Stage {
    let files = [
        (".devcontainer.json", DEFINITION),
        ("docker/Dockerfile", dockerfile),
        ("docker/tool.sh", "#!/bin/sh\necho it runs\n"),
        ("secret.key", "never copied"),
        (".dockerignore", "*.key\n"),
    ];
    Stage::with(&files).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dockerfile_is_built_without_an_engine_and_each_step_only_once() {
    let test = "a_dockerfile_is_built_without_an_engine_and_each_step_only_once";
    let root = match docker::root_file_system() {
        Ok(root) => root,
        Err(why) => return skip(test, &why),
    };
    let registry = Registry::start(None).await.expect("a port");
    let config = serde_json::json!({ "Env": ["PATH=/bin:/usr/bin"] });
    let image = registry.hold("base", "1", &[root], &config);
    let host = registry.host().to_owned();
    let with = move |options: Options| {
        let registries = [(host.clone(), None)].into();
        Options { registries, ..options }
    };
    let dockerfile = DOCKERFILE.replace("IMAGE", &image);
    let of_project = stage(&dockerfile).await;
    let looked = async || {
        let (job_id, end) = of_project.end_with(&with, vec![run_step("look", LOOK)]).await;
        let log = of_project.world().log(&job_id, "look", 1);
        assert_eq!(end.outcome, Outcome::Succeeded, "{}\n{log}", end.reason);
        assert!(log.ends_with(SEEN), "{log}");
        let steps = log.lines().filter(|line| line.starts_with("[windlass: docker/Dockerfile:"));
        steps.map(str::to_owned).collect::<Vec<_>>()
    };
    let ran = |lines: &[u32]| -> Vec<String> {
        lines.iter().map(|line| format!("[windlass: docker/Dockerfile:{line}]")).collect()
    };
    assert_eq!(looked().await, ran(&[7, 9, 19, 22]));
    assert_eq!(looked().await, ran(&[]));
    // What comes after a change is made anew, what comes before is not.
    of_project.commit("docker/Dockerfile", dockerfile.replace("id -un > whose", "id -un >whose"));
    of_project.commit("secret.key", "other");
    assert_eq!(looked().await, ran(&[7, 9, 22]));

    let wrong = async |from: &str, to: &str| {
        let stage = stage(&dockerfile.replace(from, to)).await;
        let (_, end) = stage.end_with(&with, vec![run_step("look", "true")]).await;
        assert_eq!(end.code, "environment", "{}", end.reason);
        end.reason
    };
    let said = wrong("EXPOSE 80", "ONBUILD RUN true").await;
    assert!(said.contains("docker/Dockerfile:24:1: ONBUILD needs a container engine"), "{said}");
    let said = wrong("EXPOSE 80", "FETCH 80").await;
    assert!(said.contains("docker/Dockerfile:24:1"), "{said}");
    let said = wrong("RUN id -un > whose", "RUN echo the last word; exit 5").await;
    assert!(said.contains("docker/Dockerfile:22: `echo the last word; exit 5"), "{said}");
    assert!(said.contains("ended with code 5") && said.ends_with("the last word."), "{said}");
    let said = wrong("USER node", "USER gone").await;
    assert!(said.contains("has no user `gone`"), "{said}");
    let said = wrong("COPY . .", "COPY secret.key .").await;
    assert!(
        said.contains("docker/Dockerfile:6") && said.contains("there is no `secret.key`"),
        "{said}"
    );
}
