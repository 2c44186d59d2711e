//! The environment that a repository defines, in `run` steps.

use windlass_run::{StepId, job::Outcome, spec::Retry};
use windlass_wire::runner as wire;

use super::{whole::Stage, world::run_step};

#[tokio::test]
async fn a_step_that_is_tried_again_gets_the_environment_of_the_base_whatever_became_of_the_files()
{
    let definition =
        r#"{ "containerEnv": { "A": "base" }, "postCreateCommand": "echo made >> ~/made" }"#;
    let service =
        "services: { data: { start: touch ~/data && exec sleep 1000, ready: test -e ~/data } }";
    let files = [
        (".devcontainer/one/devcontainer.json", definition),
        (".windlass/environment.yaml", service),
    ];
    let stage = Stage::with(&files).await;
    let spoil = run_step(
        "spoil",
        "test -e ~/data; echo nonsense | tee .devcontainer/one/devcontainer.json > .windlass/environment.yaml",
    );
    let mut look = run_step("look", "echo \"A=$A $(cat ~/made) $(ls ~/data) $(pwd)\"; exit 3");
    look.retry = Retry { attempts: 2, ..Retry::default() };
    let (_, end) = stage.end(vec![spoil, look]).await;
    assert_eq!(end.code, "step_failed", "{}", end.reason);
    let expected = "A=base made /home/agent/data /workspaces/sums";
    assert!(end.reason.contains(expected), "{}", end.reason);
}

#[tokio::test]
async fn a_definition_that_leads_out_of_the_repository_is_not_followed() {
    let stage = Stage::with(&[]).await;
    stage.commit_link(".devcontainer.json", "/etc/hostname");
    let (_, end) = stage.end(vec![run_step("look", "true")]).await;
    assert_eq!(end.code, "environment", "{}", end.reason);
    assert!(end.reason.contains(".devcontainer.json: "), "{}", end.reason);
    assert!(end.reason.contains("leads out of the project"), "{}", end.reason);
}

#[tokio::test]
async fn services_that_were_beside_a_step_with_secrets_are_gone_before_the_next() {
    let service = "services: { data: { start: echo run >> ~/runs && exec sleep 1000, ready: test -e ~/runs } }";
    let stage = Stage::with(&[(".windlass/environment.yaml", service)]).await;
    let secret = wire::Secret {
        name: "TOKEN".to_owned(),
        value: "hunter2hunter2".to_owned(),
        is_secret: true,
        file: None,
        door: None,
        registry: None,
        steps: vec![StepId::parse("given").expect("a name")],
        in_setup: false,
    };
    stage.world().give(vec![vec![secret]]);
    let (_, end) = stage
        .end(vec![
            run_step("plain", "touch ~/here"),
            run_step("given", "test -e ~/here; test -n \"$TOKEN\""),
            run_step(
                "after",
                "test ! -e ~/here; test -z \"${TOKEN:-}\"; test \"$(cat ~/runs)\" = run",
            ),
        ])
        .await;
    assert_eq!(end.outcome, Outcome::Succeeded, "{}", end.reason);
}
