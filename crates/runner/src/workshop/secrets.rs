//! The secrets and variables of `run` steps: asked for before each step, given to its processes, and
//! gone when they are. Values live in this process's memory and in that step's, nowhere else: not in
//! arguments, not on a disk, not in what an agent or a `verify:` command is started with.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use tokio_util::sync::CancellationToken;
use windlass_run::{StepId, spec::Action};
use windlass_sandbox::{Exec, State, plan::SYSTEM_PATH};
use windlass_wire::runner as wire;

use super::{
    environment::{Broken, Environment, Ran},
    place::Place,
};
use crate::{client, executor::Attempted, job::failed};

/// How long writing or removing the files may take.
const FILES: Duration = Duration::from_secs(30);

/// Makes one file of the value in `SECRET`. The first begins with a folder of its own, whatever an
/// earlier program left in its place: a link there must not lead a secret elsewhere.
const WRITE: &str = r#"umask 077
if [ "$1" = first ]; then rm -rf /run/secrets; mkdir -m 0700 /run/secrets; fi
printf %s "$SECRET" > "$2"
chmod "$3" "$2""#;

/// Overwrites the files and removes them with their folder.
const REMOVE: &str = r#"if [ -d /run/secrets ] && [ ! -L /run/secrets ]; then
  chmod -R u+rwX /run/secrets
  for file in /run/secrets/*; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then
      head -c "$(wc -c < "$file")" /dev/zero | dd of="$file" conv=notrunc 2> /dev/null
    fi
  done
fi
rm -rf /run/secrets
[ ! -e /run/secrets ] && [ ! -L /run/secrets ]"#;

/// What the job's steps may be given, and every secret that any of them was.
#[derive(Default)]
pub(crate) struct Secrets {
    now: Vec<wire::Secret>,
    /// Names and values that are redacted to the job's end, also those that were rotated away.
    seen: BTreeSet<(String, String)>,
}

impl Secrets {
    /// What a step is given.
    pub(crate) fn of(&self, step_id: &StepId) -> Given {
        let of_step = |secret: &&wire::Secret| secret.steps.contains(step_id);
        Given(self.now.iter().filter(of_step).cloned().collect())
    }

    /// What must not be shown.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.seen.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// Asks for the job's secrets as they are now, and redacts them from everything that follows.
pub(crate) async fn refresh(place: &mut Place, stop: &CancellationToken) -> Result<(), Attempted> {
    let may_ask = |action: &Action| matches!(action, Action::Run { .. } | Action::Agent(_));
    if !place.job.look(|state| state.spec.steps.iter().any(|step| may_ask(&step.action))) {
        return Ok(());
    }
    let asked = tokio::select! {
        asked = place.job.secrets() => asked,
        () = stop.cancelled() => return Err(Attempted::GiveBack("the step was stopped".to_owned())),
    };
    let heard = asked.map_err(|error| match error {
        client::Error::Refused(why) => Attempted::JobEnded(failed(
            "secrets",
            format!("The job's secrets can't be had, so nothing was started: {why}."),
        )),
        client::Error::Away(_) | client::Error::Token(_) | client::Error::Unknown(_) => {
            Attempted::GiveBack(format!("the job's secrets can't be had: {error}"))
        }
    })?;
    place.secrets.now = heard.secrets;
    let Place { secrets, workshop, job, redactor, .. } = place;
    let of_secrets = secrets.now.iter().filter(|secret| secret.is_secret);
    let fresh: Vec<_> = of_secrets
        .map(|secret| (secret.name.clone(), secret.value.clone()))
        .filter(|pair| !secrets.seen.contains(pair))
        .collect();
    if !fresh.is_empty() {
        secrets.seen.extend(fresh);
        *redactor = workshop.redactor(job, secrets);
    }
    Ok(())
}

/// What one step is given.
pub(crate) struct Given(Vec<wire::Secret>);

impl Given {
    /// Whether the step's own processes see any secret.
    pub(crate) fn has_secrets(&self) -> bool {
        self.0.iter().any(|given| given.is_secret && given.door.is_none())
    }

    /// All of it.
    pub(crate) fn all(&self) -> &[wire::Secret] {
        &self.0
    }

    /// Adds the variables to what shall be executed, and makes the files.
    pub(crate) async fn enter(
        &self,
        environment: &mut Environment,
        exec: &mut Exec,
    ) -> Result<(), Broken> {
        for secret in self.0.iter().filter(|secret| secret.file.is_none() && secret.door.is_none())
        {
            exec.env.retain(|(name, _)| *name != *secret.name);
            exec.env.push((secret.name.clone().into(), secret.value.clone().into()));
        }
        for (n, (secret, file)) in self.files().enumerate() {
            let place = if n == 0 { "first" } else { "next" };
            let mode = format!("{:04o}", file.mode);
            let mut exec = script(environment, WRITE, &[place, &file.path, &mode])?;
            exec.env.push(("SECRET".into(), secret.value.clone().into()));
            finish(environment, exec, || format!("the file of {} can't be made", secret.name))
                .await?;
        }
        Ok(())
    }

    /// Removes the files. To be called whatever came of the step, and before anything else is
    /// executed; where it fails, the environment is not fit for anything else.
    pub(crate) async fn leave(&self, environment: &mut Environment) -> Result<(), Broken> {
        if self.files().next().is_none() {
            return Ok(());
        }
        let exec = script(environment, REMOVE, &[])?;
        finish(environment, exec, || "the files of secrets can't be removed".to_owned()).await
    }

    fn files(&self) -> impl Iterator<Item = (&wire::Secret, &wire::SecretFile)> {
        self.0.iter().filter_map(|secret| Some((secret, secret.file.as_ref()?)))
    }
}

/// A script of ours, with nothing of the environment's own variables: only the host's programs, which
/// nobody inside can change.
fn script(environment: &mut Environment, text: &str, words: &[&str]) -> Result<Exec, Broken> {
    let shell = ["/bin/sh", "-eu", "-c", text, "sh"];
    let argv = shell.iter().chain(words).map(OsString::from).collect();
    let mut exec = environment.exec("secrets", argv)?;
    exec.env = vec![("PATH".into(), SYSTEM_PATH.into())];
    exec.cwd = "/".into();
    Ok(exec)
}

async fn finish(
    environment: &Environment,
    exec: Exec,
    failed: impl FnOnce() -> String,
) -> Result<(), Broken> {
    // Not the step's own token: what was begun is cleaned up also when the step is stopped.
    let ran = environment.run(exec, FILES, &CancellationToken::new(), |_| Ok(())).await?;
    if ran == Ran::Ended(State::Exited { code: 0 }) {
        return Ok(());
    }
    let why = format!("{} ({})", failed(), super::command::in_words(&ran));
    Err(Broken::Disk(std::io::Error::other(why)))
}
