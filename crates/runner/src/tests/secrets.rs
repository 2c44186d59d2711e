//! Secrets in real environments: a `run` step has them, whoever comes after it does not.

use windlass_run::{StepId, job::Outcome};
use windlass_testkit::acp_agent::{Script, Step as Do};
use windlass_wire::runner::{Secret, SecretFile};

use super::{
    whole::{Stage, with},
    world::run_step,
};

fn secret(name: &str, value: &str, file: Option<SecretFile>, steps: &[&str]) -> Secret {
    Secret {
        name: name.to_owned(),
        is_secret: true,
        file,
        door: None,
        registry: None,
        value: value.to_owned(),
        steps: steps.iter().map(|id| StepId::parse(id).expect("a step")).collect(),
        in_setup: false,
    }
}

fn file(name: &str, mode: u32) -> Option<SecretFile> {
    Some(SecretFile { path: format!("/run/secrets/{name}"), mode })
}

/// Fails if anything of a secret can be found: a variable, a file, a process that still has one.
const CLEAN: &str = "test -z \"${TOKEN:-}\"; test -z \"${SECRET:-}\"; test ! -e /run/secrets; \
    test -z \"$(cat /proc/[0-9]*/environ 2> /dev/null | grep -a hunter2 || true)\"";

#[tokio::test]
async fn a_secret_is_there_in_its_step_and_gone_for_the_next_step_and_the_agent() {
    let stage = Stage::new().await;
    stage.world.give(vec![vec![
        secret("TOKEN", "hunter2hunter2", None, &["use"]),
        secret("KEY", "line one of it\nline two of it\n", file("key", 0o400), &["use"]),
        secret("OTHER", "hunter2 of another step", file("other", 0o600), &["else"]),
    ]]);
    let script = Script::turns(vec![vec![Do::Say { text: "Nothing to do.".to_owned() }]]);
    let agent = with(stage.agent("fix", &script), |action| {
        action.verify = vec![CLEAN.into()];
        action.attempts = 1;
    });
    let using = "echo $TOKEN; printf %s \"$TOKEN\" | sha256sum; stat -c '%a %n' /run/secrets/*; \
        stat -f -c %T /run/secrets; cat /run/secrets/key; sleep 1000 & sha256sum < /run/secrets/key";
    let (job_id, end) =
        stage.end(vec![run_step("use", using), run_step("after", CLEAN), agent]).await;
    let log = |step: &str| stage.world.log(&job_id, step, 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{end:?} {} {}", log("use"), log("after"));
    // The digests are those of the values: the step had them as they were set.
    let digest = |value: &str| {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let expected = format!(
        "[redacted:TOKEN]\n{}  -\n400 /run/secrets/key\ntmpfs\n[redacted:KEY]{}  -\n",
        digest("hunter2hunter2"),
        digest("line one of it\nline two of it\n"),
    );
    assert_eq!(log("use"), expected);
}

#[tokio::test]
async fn a_failed_step_leaves_no_file_and_its_reason_has_no_value() {
    let stage = Stage::new().await;
    stage.world.give(vec![vec![
        secret("TOKEN", "hunter2hunter2", None, &["use"]),
        secret("KEY", "hunter2hunter2hunter2", file("key", 0o600), &["use"]),
    ]]);
    let mut using = run_step("use", "chmod 0 /run/secrets/key; echo $TOKEN; exit 3");
    using.continue_on_error = true;
    let (job_id, end) = stage.end(vec![using, run_step("after", CLEAN)]).await;
    assert_eq!(end.outcome, Outcome::Succeeded, "{end:?} {}", stage.world.log(&job_id, "after", 1));
    let journal = format!("{:?}", stage.world.journal(&job_id));
    assert!(journal.contains("[redacted:TOKEN]"), "{journal}");
    assert!(!journal.contains("hunter2hunter2"), "{journal}");
}

#[tokio::test]
async fn a_link_in_the_folders_place_leads_no_secret_elsewhere() {
    let stage = Stage::new().await;
    stage.world.give(vec![vec![secret("KEY", "hunter2hunter2", file("key", 0o600), &["use"])]]);
    let (job_id, end) = stage
        .end(vec![
            run_step("trap", "mkdir trap; ln -s \"$PWD/trap\" /run/secrets"),
            run_step("use", "test -d /run/secrets; test ! -L /run/secrets; ls trap; rm -r trap"),
        ])
        .await;
    let log = stage.world.log(&job_id, "use", 1);
    assert_eq!((end.outcome, log.as_str()), (Outcome::Succeeded, ""), "{end:?}");
}

#[tokio::test]
async fn a_rotated_secret_is_seen_by_the_next_step_and_both_values_are_redacted() {
    let stage = Stage::new().await;
    let both = ["one", "two"];
    stage.world.give(vec![
        vec![secret("TOKEN", "hunter2hunter2", None, &both)],
        vec![secret("TOKEN", "correct horse battery", None, &both)],
    ]);
    let (job_id, end) = stage
        .end(vec![
            run_step("one", "echo $TOKEN | tee kept"),
            run_step("two", "echo $TOKEN; cat kept; rm kept; echo ${#TOKEN}"),
        ])
        .await;
    let log = stage.world.log(&job_id, "two", 1);
    let expected = "[redacted:TOKEN]\n[redacted:TOKEN]\n21\n";
    assert_eq!((end.outcome, log.as_str()), (Outcome::Succeeded, expected), "{end:?}");
}

#[tokio::test]
async fn the_set_up_has_what_is_for_it_and_nothing_before_or_after_it_has() {
    let look = "echo \"${TOKEN:-none} $(cat /run/secrets/key 2> /dev/null || echo no file)\"";
    let definition = serde_json::json!({
        "onCreateCommand": format!("{look} >> ~/prebuild"),
        "postCreateCommand": {
            "one": format!("{look} | tee ~/one"),
            "two": format!("{look} > ~/two; sleep 1000 & echo $TOKEN"),
        },
        "postStartCommand": format!("{look} > ~/three"),
        "postAttachCommand": format!("{look} > ~/last"),
    });
    let service = format!(
        "services: {{ data: {{ start: '{look} > ~/service; exec sleep 1000', ready: test -s ~/service }} }}"
    );
    let stage = Stage::with(&[
        (".devcontainer.json", &definition.to_string()),
        (".windlass/environment.yaml", &service),
    ])
    .await;
    let in_setup = |secret: Secret| Secret { in_setup: true, ..secret };
    stage.world.give(vec![vec![
        in_setup(secret("TOKEN", "hunter2hunter2", None, &[])),
        in_setup(secret("KEY", "hunter2 in a file", file("key", 0o400), &[])),
        secret("OTHER", "hunter2 of a step", None, &["else"]),
    ]]);
    let after = format!(
        "for name in prebuild last service; do test \"$(cat ~/$name)\" = 'none no file'; done; \
         cat ~/one ~/two ~/three | sha256sum; {CLEAN}; rm ~/one ~/two ~/three"
    );
    let (job_id, end) = stage.end(vec![run_step("after", &after)]).await;
    let log = stage.world.log(&job_id, "after", 1);
    assert_eq!(end.outcome, Outcome::Succeeded, "{end:?} {log}");
    let digest = {
        use sha2::{Digest as _, Sha256};
        let had = "hunter2hunter2 hunter2 in a file\n".repeat(3);
        Sha256::digest(had).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for expected in
        ["environment: given TOKEN, KEY]", "[one] [redacted:TOKEN] [redacted:KEY]\n", &digest]
    {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}
