//! `POST /api/v1/runner/report`: reports and heartbeats of many jobs.

use axum::{Json, extract::State, http::Method};
use windlass_policy::permission::Action;
use windlass_store::work;
use windlass_wire::runner::{JobAnswer, JobReports, JobStatus, ReportAnswer, ReportRequest};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    problem::Problem,
    state::AppState,
};

/// The largest call, in bytes.
const LIMIT: usize = 32 << 20;

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ReportJob);
    Endpoint::new(Method::POST, "/api/v1/runner/report", access, handler).body_limit(LIMIT)
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(request): Body<ReportRequest>,
) -> Result<Json<ReportAnswer>, Problem> {
    principal.is_runner(&request.runner_id)?;
    let jobs = request.jobs.into_iter().map(reports).collect();
    let answers = app.store().report(request.runner_id, jobs, app.lease_ttl(), app.now()).await?;
    Ok(Json(ReportAnswer { jobs: answers.into_iter().map(answer).collect() }))
}

fn reports(job: JobReports) -> work::JobReports {
    let report = |report: windlass_wire::runner::NumberedReport| work::NumberedReport {
        seq: report.seq,
        at: report.at,
        report: report.report,
    };
    work::JobReports {
        job_id: job.job_id,
        epoch: job.epoch,
        reports: job.reports.into_iter().map(report).collect(),
        release: job.release,
    }
}

fn answer(answer: work::JobAnswer) -> JobAnswer {
    JobAnswer {
        job_id: answer.job_id,
        status: match answer.hold {
            work::Hold::Held => JobStatus::Held,
            work::Hold::Lost => JobStatus::Lost,
            work::Hold::Ended => JobStatus::Ended,
        },
        accepted: answer.accepted,
        cancel: answer.cancel,
        effects: answer.effects,
        decisions: answer.decisions,
        refused: answer.refused,
    }
}
