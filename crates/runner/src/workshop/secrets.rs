//! The secrets and variables of `run` steps, of the set-up and of what people execute: asked for before
//! each, given to its processes, and gone when they are. Values live in this process's memory and in
//! theirs, nowhere else: not in arguments, not on a disk, not in what a `verify:` command is started
//! with, nor an agent unless the job was announced as sensitive.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use tokio_util::sync::CancellationToken;
use windlass_run::StepId;
use windlass_sandbox::{Exec, OperationId, State, plan::SYSTEM_PATH};
use windlass_wire::runner as wire;

use super::{
    environment::{Access, Broken, Environment, Ran},
    place::Place,
};
use crate::{client, executor::Attempted, job::failed};

/// How long writing or removing the files may take.
const FILES: Duration = Duration::from_secs(30);

/// Makes one file of the value in `SECRET`. The first of a step begins with a folder of its own, whatever
/// an earlier program left in its place: a link there must not lead a secret elsewhere. Where several
/// programs of people run at once, each finds whole files.
const WRITE: &str = r#"umask 077
if [ "$1" = first ] || [ -L /run/secrets ] || [ ! -d /run/secrets ]; then
  rm -rf /run/secrets
  mkdir -m 0700 /run/secrets
fi
printf %s "$SECRET" > "$2.$$"
chmod "$3" "$2.$$"
mv -f "$2.$$" "$2""#;

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

    /// What the commands are given that make the environment ready.
    pub(crate) fn of_setup(&self) -> Given {
        Given::of_setup(&self.now)
    }

    /// What images are pulled with.
    pub(crate) fn registries(&self) -> Vec<wire::Secret> {
        registries(&self.now)
    }

    /// What must not be shown.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.seen.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// Those of them that images are pulled with.
pub(crate) fn registries(secrets: &[wire::Secret]) -> Vec<wire::Secret> {
    secrets.iter().filter(|secret| secret.registry.is_some()).cloned().collect()
}

/// Asks for the job's secrets as they are now, and redacts them from everything that follows.
pub(crate) async fn refresh(place: &mut Place, stop: &CancellationToken) -> Result<(), Attempted> {
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

/// What one step is given, or the set-up, or a program.
#[derive(Default)]
pub(crate) struct Given(Vec<wire::Secret>);

impl Given {
    /// All of these.
    pub(crate) fn all_of(secrets: &[wire::Secret]) -> Self {
        Self(secrets.to_vec())
    }

    /// Those that are for the commands that make an environment ready.
    pub(crate) fn of_setup(secrets: &[wire::Secret]) -> Self {
        Self(secrets.iter().filter(|secret| secret.in_setup).cloned().collect())
    }

    /// Whether there is nothing that would come inside.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|secret| secret.door.is_some())
    }

    /// The names of what comes inside.
    pub(crate) fn names(&self) -> Vec<&str> {
        let inside = self.0.iter().filter(|secret| secret.door.is_none());
        inside.map(|secret| secret.name.as_str()).collect()
    }

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
        environment: &Environment,
        exec: &mut Exec,
    ) -> Result<(), Broken> {
        self.set(exec);
        self.make_files(environment).await
    }

    /// The same beside steps that have files already.
    pub(crate) async fn enter_beside(
        &self,
        environment: &Environment,
        exec: &mut Exec,
    ) -> Result<(), Broken> {
        self.set(exec);
        for (secret, file) in self.files() {
            let exec = environment.exec("secrets", Vec::new())?;
            write(&environment.access(), exec, "next", secret, file).await?;
        }
        Ok(())
    }

    /// Adds the variables to what shall be executed.
    pub(crate) fn set(&self, exec: &mut Exec) {
        for secret in self.0.iter().filter(|secret| secret.file.is_none() && secret.door.is_none())
        {
            exec.env.retain(|(name, _)| *name != *secret.name);
            exec.env.push((secret.name.clone().into(), secret.value.clone().into()));
        }
    }

    /// Makes the files.
    pub(crate) async fn make_files(&self, environment: &Environment) -> Result<(), Broken> {
        for (n, (secret, file)) in self.files().enumerate() {
            let exec = environment.exec("secrets", Vec::new())?;
            let place = if n == 0 { "first" } else { "next" };
            write(&environment.access(), exec, place, secret, file).await?;
        }
        Ok(())
    }

    /// Makes the files for a program beside which others may run that need theirs. They stay.
    pub(crate) async fn make_shared_files(
        &self,
        access: &Access,
        operation: &OperationId,
    ) -> Result<(), Broken> {
        for (n, (secret, file)) in self.files().enumerate() {
            let own = OperationId::parse(&format!("secret-{n}-{operation}"))?;
            write(access, Exec::capture(own, Vec::<OsString>::new()), "next", secret, file).await?;
        }
        Ok(())
    }

    /// Removes the files. To be called whatever came of the step, and before anything else is
    /// executed; where it fails, the environment is not fit for anything else.
    pub(crate) async fn leave(&self, environment: &Environment) -> Result<(), Broken> {
        if self.files().next().is_none() {
            return Ok(());
        }
        let exec = script(environment.exec("secrets", Vec::new())?, REMOVE, &[]);
        let failed = || "the files of secrets can't be removed".to_owned();
        finish(&environment.access(), exec, failed).await
    }

    fn files(&self) -> impl Iterator<Item = (&wire::Secret, &wire::SecretFile)> {
        self.0.iter().filter_map(|secret| Some((secret, secret.file.as_ref()?)))
    }
}

async fn write(
    access: &Access,
    exec: Exec,
    place: &str,
    secret: &wire::Secret,
    file: &wire::SecretFile,
) -> Result<(), Broken> {
    let mode = format!("{:04o}", file.mode);
    let mut exec = script(exec, WRITE, &[place, &file.path, &mode]);
    exec.env.push(("SECRET".into(), secret.value.clone().into()));
    finish(access, exec, || format!("the file of {} can't be made", secret.name)).await
}

/// A script of ours, with nothing of the environment's own variables: only the host's programs, which
/// nobody inside can change.
fn script(mut exec: Exec, text: &str, words: &[&str]) -> Exec {
    let shell = ["/bin/sh", "-eu", "-c", text, "sh"];
    exec.argv = shell.iter().chain(words).map(OsString::from).collect();
    exec.env = vec![("PATH".into(), SYSTEM_PATH.into())];
    exec.cwd = "/".into();
    exec
}

async fn finish(
    access: &Access,
    exec: Exec,
    failed: impl FnOnce() -> String,
) -> Result<(), Broken> {
    // Not the step's own token: what was begun is cleaned up also when the step is stopped.
    let ran = access.run(exec, FILES, &CancellationToken::new(), |_| Ok(())).await?;
    if ran == Ran::Ended(State::Exited { code: 0 }) {
        return Ok(());
    }
    let why = format!("{} ({})", failed(), super::command::in_words(&ran));
    Err(Broken::Disk(std::io::Error::other(why)))
}
