//! One step of something that is done to many changes: one pull request, by the action that a person would take
//! on it, as the person who asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_policy::permission::Action;
use windlass_run::fleet::What;
use windlass_store::fleets::{FleetRow, Taken, TargetFilter};
use windlass_wire::api::pull_request::{Merge, MergeMethod, NewReview};

use crate::{
    actions::pull_requests as actions,
    problem::{Code, Problem},
    state::AppState,
};

/// What goes with an operation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Detail {
    /// What is said.
    pub(crate) body: String,
    /// How is merged.
    pub(crate) method: MergeMethod,
    /// The head of each change as it was when somebody asked: what came later, nobody has seen.
    pub(crate) heads: BTreeMap<u32, String>,
}

/// Does it to one change. What it refuses is that change's failure.
///
/// # Errors
/// What the server or a host can't do now; the same again later may go well.
pub(crate) async fn operate(
    app: &AppState,
    fleet: &FleetRow,
    taken: &Taken,
) -> Result<Result<(), String>, Problem> {
    match one(app, fleet, taken).await {
        Ok(()) => Ok(Ok(())),
        Err(problem) => match problem.code {
            Code::Busy | Code::RateLimited | Code::ForgeUnavailable => Err(problem),
            _ => Ok(Err(problem.detail)),
        },
    }
}

async fn one(app: &AppState, fleet: &FleetRow, taken: &Taken) -> Result<(), Problem> {
    let principal = app.principal_behind(&taken.by.actor).await?;
    if !principal.may(action(taken.what)?) {
        let why = format!("{} may not do that any more", principal.name);
        return Err(Problem::new(Code::Forbidden, why));
    }
    let detail: Detail = serde_json::from_value(taken.detail.clone())
        .map_err(|error| Problem::internal("read an operation", error))?;
    let within = Some((taken.ordinal, taken.ordinal + 1));
    let filter = TargetFilter { within, ..TargetFilter::default() };
    let target = app.store().targets(fleet, filter, 1).await?.into_iter().next();
    let target = target.ok_or_else(|| Problem::not_found(format!("target {}", taken.ordinal)))?;
    let number = target.pull_number.ok_or_else(|| {
        Problem::new(Code::Conflict, format!("{} has no change", target.repository))
    })?;
    let pull = app.store().pull(&fleet.organisation_id, &target.project_id, number).await?.columns;
    let commit = detail.heads.get(&taken.ordinal).cloned();
    let is_same_head = commit.as_ref() == Some(&pull.head_commit);
    if is_done(taken.what, (&pull.state, &pull.review), is_same_head) {
        return Ok(());
    }
    let (project, body) = (target.project_id.to_string(), detail.body);
    match taken.what {
        What::Approve => {
            let review = NewReview { body, commit };
            actions::approve(app, &principal, &project, number, review).await
        }
        What::SendBack => {
            let review = NewReview { body, commit };
            actions::request_changes(app, &principal, &project, number, review).await
        }
        What::Merge => {
            let merge = Merge { method: detail.method, commit, update_source: false };
            actions::merge(app, &principal, &project, number, merge).await.map(|_| ())
        }
        What::Close => actions::close(app, &principal, &project, number).await,
        What::Rebase | What::Regenerate => Err(unknown(taken.what)),
    }
}

/// Whether it was done before: by this operation before a crash, or by somebody else.
fn is_done(what: What, (state, review): (&str, &str), is_same_head: bool) -> bool {
    let stands = |wanted: &str| is_same_head && state == "open" && review == wanted;
    match what {
        What::Approve => state == "merged" || stands("approved"),
        What::SendBack => stands("changes_requested"),
        What::Merge => state == "merged",
        What::Close => state == "closed",
        What::Rebase | What::Regenerate => false,
    }
}

/// What somebody must be allowed for it.
fn action(what: What) -> Result<Action, Problem> {
    Ok(match what {
        What::Approve => Action::Approve,
        What::SendBack => Action::RequestChanges,
        What::Merge => Action::Merge,
        What::Close => Action::CloseChange,
        What::Rebase | What::Regenerate => return Err(unknown(what)),
    })
}

fn unknown(what: What) -> Problem {
    Problem::new(
        Code::Conflict,
        format!("this server does not know how to do {what:?} to a change"),
    )
}
