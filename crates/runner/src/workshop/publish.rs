//! A `pull_request` step: the platform commits what the work tree came to, pushes it as the job's
//! branch, and has the server open the pull request. Every outward write is staged first, asked for,
//! looked for, done once, and recorded; an earlier lease's half-done one is taken up where it is.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use windlass_git::{Error, Oid, RefName, repository::Expected, snapshot::NewCommit};
use windlass_run::{
    EffectKey, Time,
    effect::{self, Effect, Outcome, Request},
    job::{Report, StepResult},
    spec::{Action, PullRequestAction},
    template::Text,
};

use super::{
    checkpoint::{self, platform},
    facts::{self, Change},
    place::{Attempt, Place},
    repository::with_causes,
};
use crate::{executor::Attempted, job::Granted};

/// How long to wait before the far side, or the server, is asked again.
const AGAIN: Duration = Duration::from_millis(300);
/// The largest change that is looked through for secrets.
const SCAN_BYTES: usize = 64 << 20;

/// Publishes the change; `Err` is an end as well, for `?`.
pub(super) async fn run(
    place: &mut Place,
    action: &PullRequestAction,
    attempt: &Attempt,
) -> Result<Attempted, Attempted> {
    let push = match place.job.effect_of(&attempt.step_id, "push") {
        Some(push) => push,
        None => match stage_push(place, action, attempt).await? {
            Some(push) => push,
            None => {
                let reason = "The work tree is as it was at the start: there is nothing to open a pull request for.";
                return Ok(Attempted::Ended(StepResult::NothingToDo { reason: reason.to_owned() }));
            }
        },
    };
    let Request::Push { branch, commit, expected } = push.request.clone() else {
        return Err(fail("internal", "an effect of another kind bears the name of a push"));
    };
    if !matches!(push.state, effect::State::Done(_)) {
        let commit = parse(&commit)?;
        let expected = expected.as_deref().map(parse).transpose()?;
        keep_commit(place, action, &commit).await?;
        let pushing = Pushing {
            place,
            stop: &attempt.stop,
            key: &push.key,
            branch: &branch,
            commit: &commit,
            expected: expected.as_ref(),
        };
        tokio::time::timeout(attempt.timeout, pushing.push()).await.map_err(|_| {
            fail("timeout", "the branch could not be pushed within the step's time limit")
        })??;
        note(attempt, &format!("pushed {branch} at {}", commit.short()));
    }
    open_pull_request(place, action, attempt, &branch, &commit).await
}

/// Commits the work and stages its push; `None` if there is nothing to push.
async fn stage_push(
    place: &mut Place,
    action: &PullRequestAction,
    attempt: &Attempt,
) -> Result<Option<Effect>, Attempted> {
    let repository = place.work.repository.clone();
    let git = |error: Error| checkpoint::of_git(&error);
    let tree = repository.tree_of(&place.work.tip).await.map_err(git)?;
    if tree == repository.tree_of(&place.work.base).await.map_err(git)? {
        return Ok(None);
    }
    let own = || format!("windlass/{}", place.job.job_id);
    let branch = action.branch.as_ref().map_or_else(own, |branch| branch.as_str().to_owned());
    let repository = place.job.repository.as_ref();
    let named = repository.is_some_and(|repository| repository.branches.contains(&branch));
    // One whose name was only known now; the server works it out as well, and asks for no less.
    let worked_out = place.job.look(|state| {
        state.index_of(&attempt.step_id).is_some_and(|index| {
            matches!(
                &state.definition(index).action,
                Action::PullRequest(PullRequestAction { branch: Some(Text::Template(_)), .. })
            )
        })
    });
    let is_own = named || worked_out && branch.starts_with("windlass/");
    if !is_own {
        return Err(fail(
            "branch_not_allowed",
            &format!("this job may not push the branch `{branch}`"),
        ));
    }
    refuse_secrets(place).await?;
    let commit = make_commit(place, action).await?;
    let expected = look(place, &branch).await?;
    if let Some(there) = &expected
        && *there != commit
        && !is_ours(place, there).await?
    {
        let why = format!(
            "the branch `{branch}` has work that is not Windlass's (it ends at {}); move or delete it, or name another branch",
            there.short()
        );
        return Err(fail("branch_taken", &why));
    }
    let request = Request::Push {
        branch: branch.clone(),
        commit: commit.to_string(),
        expected: expected.map(|oid| oid.to_string()),
    };
    let key = EffectKey::new(
        &place.job.job_id,
        &attempt.step_id,
        "push",
        &digest(&[&branch, commit.as_str()]),
    );
    stage(place, attempt, key, request).await.map(Some)
}

/// Reports an effect and waits until the server has it.
async fn stage(
    place: &Place,
    attempt: &Attempt,
    key: EffectKey,
    request: Request,
) -> Result<Effect, Attempted> {
    let report = Report::EffectStaged {
        step_id: attempt.step_id.clone(),
        key: key.clone(),
        request: request.clone(),
    };
    let seq = place.job.report(report).map_err(|error| fail("internal", &error.to_string()))?;
    if !place.job.committed(seq).await {
        // The lease is over; the driver knows and drops this attempt.
        std::future::pending::<()>().await;
    }
    Ok(Effect { key, step_id: attempt.step_id.clone(), request, state: effect::State::Staged })
}

/// The platform's commit: the whole change on top of the base. The same in every lease.
async fn make_commit(place: &Place, action: &PullRequestAction) -> Result<Oid, Attempted> {
    let repository = &place.work.repository;
    let title = title(place, action);
    let (job_id, run_id) = (place.job.job_id.to_string(), place.job.run_id.to_string());
    let message = place.job.look(|state| facts::commit_message(&title, &job_id, &run_id, state));
    let who = platform(place.job.look(|state| state.created_at));
    let made = async {
        let tree = repository.tree_of(&place.work.tip).await?;
        let commit = NewCommit {
            tree,
            parents: vec![place.work.base.clone()],
            author: who.clone(),
            committer: who,
            message,
        };
        let made = repository.commit(&commit).await?;
        let reference = RefName::checkpoint(&job_id, "change")?;
        repository.update_reference(&reference, &made, Expected::Anything).await?;
        Ok(made)
    };
    made.await.map_err(|error| checkpoint::of_git(&error))
}

/// Sees to it that the commit that was staged is here, also when another lease made it.
async fn keep_commit(
    place: &Place,
    action: &PullRequestAction,
    commit: &Oid,
) -> Result<(), Attempted> {
    let here =
        place.work.repository.contains(commit).await.map_err(|error| checkpoint::of_git(&error))?;
    if here || make_commit(place, action).await? == *commit {
        return Ok(());
    }
    Err(fail(
        "checkpoint_lost",
        "the commit that an earlier runner was about to push can't be made again; start the task again",
    ))
}

/// A change that holds a credential of this runner never leaves it.
async fn refuse_secrets(place: &Place) -> Result<(), Attempted> {
    let patch =
        place.work.repository.patch_text(&place.work.base, &place.work.tip, SCAN_BYTES).await;
    let patch = patch.map_err(|error| checkpoint::of_git(&error))?;
    if place.redactor.redact(&patch) == patch {
        return Ok(());
    }
    Err(fail(
        "secret_in_change",
        "the change holds a credential of this runner and is not pushed; look at the diff, where it is marked",
    ))
}

/// What the branch is on the far side.
async fn look(place: &Place, branch: &str) -> Result<Option<Oid>, Attempted> {
    let mut tries = 0;
    loop {
        match place.work.repository.git().ls_remote(&place.work.remote).await {
            Ok(advertised) => {
                let name = RefName::branch(branch).map_err(|error| checkpoint::of_git(&error))?;
                let mut references = advertised.references.into_iter();
                return Ok(references
                    .find(|reference| reference.name == name)
                    .map(|reference| reference.target));
            }
            Err(error) if error.is_transient() && tries < 100 => {
                tries += 1;
                tokio::time::sleep(AGAIN * tries.min(10)).await;
            }
            Err(error) => {
                let why = format!(
                    "the repository could not be looked at before the push: {}",
                    with_causes(&error)
                );
                return Err(fail("repository", &why));
            }
        }
    }
}

/// Whether the platform made that commit, or the job starts from it.
async fn is_ours(place: &Place, there: &Oid) -> Result<bool, Attempted> {
    if *there == place.work.base {
        return Ok(true);
    }
    let git = |error: Error| checkpoint::of_git(&error);
    if !place.work.repository.contains(there).await.map_err(git)? {
        return Ok(false);
    }
    let commit = place.work.repository.commit_info(there).await.map_err(git)?;
    Ok(commit.committer.email == platform(place.job.look(|state| state.created_at)).email)
}

/// One push that was staged.
struct Pushing<'a> {
    place: &'a Place,
    stop: &'a CancellationToken,
    key: &'a EffectKey,
    branch: &'a str,
    commit: &'a Oid,
    expected: Option<&'a Oid>,
}

impl Pushing<'_> {
    /// Sees the push to its end, whoever began it.
    async fn push(&self) -> Result<(), Attempted> {
        let mut granted_until: Option<Time> = None;
        loop {
            if self.stop.is_cancelled() && granted_until.is_none() {
                return Err(fail("stopped", "the push was not begun"));
            }
            let there = look(self.place, self.branch).await?;
            if there.as_ref() == Some(self.commit) {
                return self.record_done().await;
            }
            if there.as_ref() != self.expected {
                let why =
                    format!("the branch `{}` was moved by somebody else meanwhile", self.branch);
                return self.record_failed("branch_moved", &why).await;
            }
            if granted_until.is_none_or(|until| self.place.job.now() >= until) {
                granted_until = self.ask().await?;
                if granted_until.is_none() {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
            self.try_once().await?;
        }
    }

    /// Asks to act; `None` means not yet.
    async fn ask(&self) -> Result<Option<Time>, Attempted> {
        match self.place.job.grant(self.key, true).await {
            Granted::Effect(effect::State::Granted { until, .. }) => Ok(Some(until)),
            Granted::Effect(
                effect::State::Failed { reason } | effect::State::Unknown { reason },
            ) => Err(fail("push", &reason)),
            Granted::Effect(effect::State::Done(_) | effect::State::Staged) => Ok(None),
            Granted::Refused(why) => {
                tracing::debug!(%why, key = %self.key, "a push waits for its grant");
                match self
                    .place
                    .job
                    .effect_of(&self.effect_step(), "push")
                    .map(|effect| effect.state)
                {
                    Some(effect::State::Failed { reason } | effect::State::Unknown { reason }) => {
                        Err(fail("push", &reason))
                    }
                    _ => Ok(None),
                }
            }
            Granted::Lost => std::future::pending().await,
        }
    }

    fn effect_step(&self) -> windlass_run::StepId {
        self.place.job.look(|state| {
            let found = state.effects.iter().find(|effect| effect.key == *self.key);
            found.map(|effect| effect.step_id.clone()).unwrap_or_else(|| state.steps[0].id.clone())
        })
    }

    /// Pushes under the grant. What came of it is seen by looking again. A long push may outlast its
    /// grant: nobody else is granted while the lease holds, and once it is lost this future is dropped
    /// and git with it.
    async fn try_once(&self) -> Result<(), Attempted> {
        let name = RefName::branch(self.branch).map_err(|error| checkpoint::of_git(&error))?;
        let push = self.place.work.repository.push(
            &self.place.work.remote,
            &name,
            self.commit,
            self.expected,
        );
        match push.await {
            Ok(_) | Err(Error::Stale { .. }) => Ok(()),
            Err(
                error @ (Error::Rejected { .. }
                | Error::AuthFailed { .. }
                | Error::RemoteMissing { .. }
                | Error::Moved { .. }),
            ) => self.record_failed("push_rejected", &with_causes(&error)).await,
            Err(error) => {
                tracing::debug!(%error, "a push failed and is tried again");
                tokio::time::sleep(AGAIN).await;
                Ok(())
            }
        }
    }

    async fn record_done(&self) -> Result<(), Attempted> {
        let outcome =
            Outcome::Pushed { branch: self.branch.to_owned(), commit: self.commit.to_string() };
        loop {
            match self.place.job.record(self.key, effect::State::Done(outcome.clone())).await {
                Granted::Effect(_) => return Ok(()),
                Granted::Refused(why) => {
                    tracing::debug!(%why, key = %self.key, "a push that was done can't be recorded yet");
                    tokio::time::sleep(AGAIN).await;
                }
                Granted::Lost => std::future::pending().await,
            }
        }
    }

    async fn record_failed(&self, code: &str, why: &str) -> Result<(), Attempted> {
        let state = effect::State::Failed { reason: why.to_owned() };
        match self.place.job.record(self.key, state).await {
            Granted::Effect(_) => Err(fail(code, why)),
            Granted::Refused(refusal) => {
                tracing::debug!(%refusal, key = %self.key, "a failed push can't be recorded yet");
                tokio::time::sleep(AGAIN).await;
                Ok(())
            }
            Granted::Lost => std::future::pending().await,
        }
    }
}

/// Has the server open the pull request and waits until it has.
async fn open_pull_request(
    place: &mut Place,
    action: &PullRequestAction,
    attempt: &Attempt,
    branch: &str,
    commit: &str,
) -> Result<Attempted, Attempted> {
    let staged = match place.job.effect_of(&attempt.step_id, "pull_request") {
        Some(staged) => staged,
        None => {
            let base = place.job.look(|state| state.spec.target.base.clone());
            let key = EffectKey::new(
                &place.job.job_id,
                &attempt.step_id,
                "pull_request",
                &digest(&[&base, branch, commit]),
            );
            let request = Request::PullRequest {
                base,
                head: branch.to_owned(),
                commit: commit.to_owned(),
                title: place.redactor.redact_text(&title(place, action)),
                body: place.redactor.redact_text(&body(place, action).await?),
                draft: action.draft,
            };
            stage(place, attempt, key, request).await?
        }
    };
    let settled = tokio::select! {
        settled = place.job.settled(&staged.key) => settled,
        () = attempt.stop.cancelled() => return Err(fail("stopped", "the pull request was not waited for")),
        () = tokio::time::sleep(attempt.timeout) => {
            return Err(fail("timeout", "the server did not open the pull request within the step's time limit"));
        }
    };
    match settled {
        Some(effect::State::Done(outcome)) => {
            if let Outcome::PullRequest { number, url } = &outcome {
                note(attempt, &format!("pull request #{number}: {url}"));
            }
            Ok(Attempted::Ended(StepResult::succeeded(None)))
        }
        Some(effect::State::Failed { reason }) => Err(fail("pull_request", &reason)),
        Some(effect::State::Unknown { reason }) => Err(fail("pull_request_unknown", &reason)),
        Some(effect::State::Staged | effect::State::Granted { .. }) | None => {
            std::future::pending().await
        }
    }
}

fn title(place: &Place, action: &PullRequestAction) -> String {
    facts::title(action.title.as_ref().map_or(&*place.job.title, |title| title.as_str()))
}

async fn body(place: &Place, action: &PullRequestAction) -> Result<String, Attempted> {
    let changed = place.work.repository.changed_paths(&place.work.base, &place.work.tip).await;
    let changed = changed.map_err(|error| checkpoint::of_git(&error))?;
    let (job_id, run_id) = (place.job.job_id.to_string(), place.job.run_id.to_string());
    let base = place.job.look(|state| state.spec.target.base.clone());
    let change = Change {
        job_id: &job_id,
        run_id: &run_id,
        base: &base,
        base_commit: place.work.base.as_str(),
        files: changed.len(),
        tokens: place.meter.total(),
        now: place.job.now(),
    };
    let facts = place.facts.body(&change);
    Ok(match &action.body {
        Some(body) => format!("{}\n\n{facts}", body.as_str().trim_end()),
        None => facts,
    })
}

fn note(attempt: &Attempt, text: &str) {
    // Also told by the effect itself; a log that can't be written is said at the step's end.
    let _ = attempt.log.append(format!("[windlass: {text}]\n").as_bytes());
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn parse(commit: &str) -> Result<Oid, Attempted> {
    Oid::parse(commit).map_err(|error| checkpoint::of_git(&error))
}

fn fail(code: &str, why: &str) -> Attempted {
    let mut reason: String = why.to_owned();
    if let Some(first) = reason.get(..1) {
        reason = format!("{}{}", first.to_uppercase(), &reason[1..]);
    }
    if !reason.ends_with(['.', '!', '?']) {
        reason.push('.');
    }
    Attempted::Ended(StepResult::Failed { code: code.to_owned(), reason })
}
