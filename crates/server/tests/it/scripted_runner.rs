//! A runner that does what a test says, over the real protocol, with real pushes.

use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use windlass_run::{
    EffectKey, JobId, RunnerId, StepId, Time,
    effect::{Outcome, Request, State},
    job::{self, Report, StepResult},
};
use windlass_wire::{
    api::account::Role,
    runner::{
        GrantAnswer, GrantRequest, JobAnswer, JobReports, JobStatus, Lease, LeaseRequest, Leases,
        NumberedReport, PROTOCOL, RecordRequest, Register, Registered, ReportAnswer, ReportRequest,
    },
};

use super::house::{House, commit, expect, git};

/// A registered runner.
pub(crate) struct Runner<'a> {
    pub(crate) house: &'a House,
    pub(crate) token: String,
    pub(crate) id: RunnerId,
}

/// A job that the runner holds.
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) last: u64,
}

impl<'a> Runner<'a> {
    pub(crate) async fn register(house: &'a House) -> Self {
        let token = house.token(Role::Runner).await;
        let register = Register {
            name: "scripted".to_owned(),
            protocol: PROTOCOL,
            version: "1".to_owned(),
            previous: None,
            capacity: 4,
            environments: 0,
            labels: Default::default(),
        };
        let request = house.request_as(&token, Method::POST, "/api/v1/runner/register");
        let answer = expect(StatusCode::OK, request.json(&register)).await;
        let registered: Registered = serde_json::from_value(answer).expect("registered");
        Self { house, token, id: registered.runner_id }
    }

    pub(crate) async fn post(&self, call: &str, body: &impl serde::Serialize) -> Value {
        let path = format!("/api/v1/runner/{call}");
        let request = self.house.request_as(&self.token, Method::POST, &path).json(body);
        expect(StatusCode::OK, request).await
    }

    /// Waits for the next job.
    pub(crate) async fn lease(&self) -> Held {
        let leases = self.lease_within(10_000).await;
        let lease = leases.into_iter().next().expect("a job within ten seconds");
        Held { lease, last: 0 }
    }

    pub(crate) async fn lease_within(&self, wait_ms: u64) -> Vec<Lease> {
        let request = LeaseRequest {
            runner_id: self.id.clone(),
            max: 1,
            wait_ms,
            wish: Default::default(),
            health: Default::default(),
            pools: Vec::new(),
        };
        let leases: Leases =
            serde_json::from_value(self.post("lease", &request).await).expect("leases");
        leases.leases
    }

    pub(crate) async fn report(&self, held: &mut Held, reports: Vec<Report>) -> JobAnswer {
        let numbered: Vec<NumberedReport> = reports
            .into_iter()
            .map(|report| {
                held.last += 1;
                NumberedReport { seq: held.last, at: Time::from_micros(1), report }
            })
            .collect();
        self.send(held, numbered).await
    }

    pub(crate) async fn send(&self, held: &Held, reports: Vec<NumberedReport>) -> JobAnswer {
        let job = JobReports {
            job_id: held.lease.job_id.clone(),
            epoch: held.lease.epoch,
            reports,
            release: None,
        };
        let request = ReportRequest { runner_id: self.id.clone(), jobs: vec![job] };
        let answer: ReportAnswer =
            serde_json::from_value(self.post("report", &request).await).expect("an answer");
        answer.jobs.into_iter().next().expect("one answer")
    }

    pub(crate) async fn grant(&self, held: &Held, key: &EffectKey, looked: bool) -> GrantAnswer {
        let request = GrantRequest {
            runner_id: self.id.clone(),
            job_id: held.lease.job_id.clone(),
            epoch: held.lease.epoch,
            key: key.clone(),
            looked,
        };
        serde_json::from_value(self.post("grant", &request).await).expect("an answer")
    }

    pub(crate) async fn record(&self, held: &Held, key: &EffectKey, state: State) -> GrantAnswer {
        let request = RecordRequest {
            runner_id: self.id.clone(),
            job_id: held.lease.job_id.clone(),
            epoch: held.lease.epoch,
            key: key.clone(),
            state,
        };
        serde_json::from_value(self.post("record", &request).await).expect("an answer")
    }

    /// Clones the job's repository by its credential, at the commit to start from.
    pub(crate) fn clone(&self, held: &Held, folder: &Path) -> (PathBuf, String) {
        let tree = folder.join(held.lease.job_id.as_str());
        let url = credential_url(&held.lease);
        git(folder, &["clone", "--quiet", &url, tree.to_str().expect("UTF-8")]);
        let target = &held.lease.state.spec.target;
        let from = match &target.commit {
            Some(commit) => commit.clone(),
            None => git(&tree, &["rev-parse", &format!("origin/{}", target.base)]),
        };
        git(&tree, &["checkout", "--quiet", "--detach", &from]);
        (tree, from)
    }

    /// Plays a whole job whose agent writes `files`: from the lease to the end of the job.
    pub(crate) async fn play(&self, files: &[(&str, &str)]) -> Played {
        let mut held = self.lease().await;
        let folder = tempfile::tempdir().expect("tempdir");
        let (tree, base) = self.clone(&held, folder.path());
        let agent = StepId::parse("agent").expect("a step");
        for (path, text) in files {
            std::fs::write(tree.join(path), text).expect("written");
        }
        let head = commit(&tree, "The agent's work");
        self.report(
            &mut held,
            vec![
                Report::Base { commit: base.clone() },
                Report::StepStarted { step_id: agent.clone() },
                Report::StepEnded {
                    step_id: agent,
                    result: StepResult::succeeded(Some(head.clone())),
                },
            ],
        )
        .await;
        self.publish(&mut held, &tree, &head).await;
        Played { job_id: held.lease.job_id.to_string(), base, head, held }
    }

    /// Plays the `pull_request` step: push under a grant, then the pull request by the server.
    pub(crate) async fn publish(&self, held: &mut Held, tree: &Path, head: &str) {
        let step_id = StepId::parse("pull_request").expect("a step");
        let branch = held.lease.repository.as_ref().expect("a repository").branches[0].clone();
        let remote = git(tree, &["ls-remote", "origin", &format!("refs/heads/{branch}")]);
        let expected = remote.split_whitespace().next().map(str::to_owned);
        let push = Request::Push {
            branch: branch.clone(),
            commit: head.to_owned(),
            expected: expected.clone(),
        };
        let push_key = key(&held.lease.job_id, &step_id, "push", head);
        let staged =
            Report::EffectStaged { step_id: step_id.clone(), key: push_key.clone(), request: push };
        self.report(held, vec![Report::StepStarted { step_id: step_id.clone() }, staged]).await;
        let granted = self.grant(held, &push_key, false).await;
        assert!(
            matches!(granted, GrantAnswer::Effect { state: State::Granted { .. } }),
            "{granted:?}"
        );
        let lease = format!("--force-with-lease={branch}:{}", expected.unwrap_or_default());
        git(tree, &["push", "--quiet", &lease, "origin", &format!("{head}:refs/heads/{branch}")]);
        let pushed =
            State::Done(Outcome::Pushed { branch: branch.clone(), commit: head.to_owned() });
        self.record(held, &push_key, pushed).await;
        let spec = &held.lease.state.spec;
        let request = Request::PullRequest {
            base: spec.target.base.clone(),
            head: branch,
            commit: head.to_owned(),
            title: held.lease.title.clone(),
            body: "What the platform measured.".to_owned(),
            draft: false,
        };
        let pull_key = key(&held.lease.job_id, &step_id, "pull_request", head);
        let staged =
            Report::EffectStaged { step_id: step_id.clone(), key: pull_key.clone(), request };
        let answer = self.report(held, vec![staged]).await;
        assert_eq!((answer.status, answer.refused), (JobStatus::Held, None));
        let job_id = held.lease.job_id.to_string();
        let wanted = pull_key.as_str();
        self.house
            .wait_for(&job_id, |event| {
                event["event"] == "effect_changed"
                    && event["key"] == wanted
                    && event["state"]["state"] == "done"
            })
            .await;
        let ended = Report::StepEnded { step_id, result: StepResult::succeeded(None) };
        let answer = self.report(held, vec![ended]).await;
        assert_eq!((answer.status, answer.refused), (JobStatus::Ended, None));
    }
}

/// A job that was played to its end.
pub(crate) struct Played {
    pub(crate) job_id: String,
    pub(crate) base: String,
    pub(crate) head: String,
    pub(crate) held: Held,
}

pub(crate) fn key(job_id: &JobId, step_id: &StepId, kind: &str, digest: &str) -> EffectKey {
    EffectKey::new(job_id, step_id, kind, digest)
}

/// The repository's URL with its credential in it. Only for tests: a process list shows it.
pub(crate) fn credential_url(lease: &Lease) -> String {
    let repository = lease.repository.as_ref().expect("a repository");
    let (scheme, rest) = repository.url.split_once("://").expect("a URL");
    format!("{scheme}://{}:{}@{rest}", repository.username, repository.credential)
}

pub(crate) fn gave_up() -> Report {
    Report::Ended(job::End {
        outcome: job::Outcome::GaveUp,
        code: "agent_gave_up".to_owned(),
        reason: "It could not be done.".to_owned(),
        give_up: Some(job::GiveUp {
            tried: vec!["everything".to_owned()],
            stopped_because: "nothing worked".to_owned(),
            would_unblock: "a miracle".to_owned(),
        }),
    })
}
