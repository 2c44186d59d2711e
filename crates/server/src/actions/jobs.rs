//! Stopping jobs, and deciding on their steps.

use windlass_policy::permission::Role;
use windlass_run::{
    JobId, StepId,
    job::{Decision, StepPhase, Verdict},
    spec::{Action, Approver},
};
use windlass_wire::api::job::Decide;

use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// Asks a job to stop. A queued one ends at once, a leased one when its runner says so.
///
/// # Errors
/// It is not there or has ended; the store's failures.
pub async fn cancel(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    reason: String,
) -> Result<(), Problem> {
    let organisation_id = principal.organisation_id.clone();
    app.store()
        .cancel_job(principal.by(), organisation_id, job_id.clone(), reason, app.now())
        .await?;
    Ok(())
}

/// Decides on a step that asks.
///
/// # Errors
/// It is not there, has ended or asks for nothing; several steps ask and none is named; the role is not
/// enough; the store's failures.
pub async fn decide(
    app: &AppState,
    principal: &Principal,
    job_id: &JobId,
    asked: Decide,
) -> Result<StepId, Problem> {
    let organisation_id = principal.organisation_id.clone();
    let state = app.store().job(&organisation_id, job_id).await?.state;
    let open = |index: &usize| {
        let step = &state.steps[*index];
        matches!(step.phase, StepPhase::Asked { .. }) && step.decision.is_none()
    };
    let mut asking = (0..state.steps.len()).filter(open).filter(|index| {
        asked.step.as_deref().is_none_or(|step| state.steps[*index].id.as_str() == step)
    });
    let Some(index) = asking.next() else {
        let why = match &asked.step {
            Some(step) => format!("step `{step}` of this job asks for no decision"),
            None => "no step of this job asks for a decision".to_owned(),
        };
        return Err(Problem::new(Code::Conflict, why).at("step"));
    };
    if let Some(other) = asking.next() {
        let (one, other) = (&state.steps[index].id, &state.steps[other].id);
        let why = format!("several steps ask (`{one}`, `{other}`): name the one");
        return Err(Problem::new(Code::BadRequest, why).at("step"));
    }
    if let Action::Approve(approve) = &state.definition(index).action
        && !may_decide(principal.role, approve.by_role)
    {
        let needed = views::jobs::approver(approve.by_role);
        let why = format!("this step is for the role {needed} or above to decide on");
        return Err(Problem::new(Code::Forbidden, why));
    }
    let verdict = if asked.approve { Verdict::Approved } else { Verdict::Declined };
    let decision = Decision { verdict, by: principal.by(), note: asked.note, at: app.now() };
    let step_id = state.steps[index].id.clone();
    app.store().decide_job(organisation_id, job_id.clone(), step_id.clone(), decision).await?;
    Ok(step_id)
}

/// Whether a role may decide where that one is the least.
pub(crate) fn may_decide(role: Role, least: Approver) -> bool {
    let rank = match role {
        Role::Admin => Approver::Admin,
        Role::Reviewer => Approver::Reviewer,
        Role::Operator => Approver::Operator,
        Role::Viewer | Role::Runner => return false,
    };
    rank >= least
}
