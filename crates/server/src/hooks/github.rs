//! `POST /hooks/github/{project}`: a delivery of GitHub for a project. And what it means: see
//! [`handle`].

use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode},
};
use serde_json::json;
use windlass_forge::{
    event::{Comment, Event, Review, Subject},
    forge::Verdict,
    hosts::github::webhook,
    local::{Command, Place},
};
use windlass_git::RepoPath;
use windlass_run::{ProjectId, actor::By};
use windlass_store::{intake::Delivery, projects::Project};

use crate::{
    endpoint::{Access, Endpoint},
    extract::{Bytes, Place as At},
    local::pulls::Rows,
    problem::{Code, Problem},
    reconcile::prebuilds,
    remote::{self, GITHUB, pulls},
    state::AppState,
};

/// The largest delivery: GitHub sends at most 25 MB.
const LIMIT: usize = 26 << 20;

pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(Method::POST, "/hooks/github/{project}", Access::OwnCredential, handler)
        .body_limit(LIMIT)
}

async fn handler(
    State(app): State<AppState>,
    At(project): At<String>,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Result<StatusCode, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let project = find(&app, &project).await?;
    let secret = match &project {
        Some(project) => remote::secret(&app, project, remote::WEBHOOK).await?,
        None => None,
    };
    // A project that is not there is refused like a bad signature: nobody learns which ones exist.
    let (Some(project), Some(secret)) = (project, secret) else { return Err(refuse()) };
    webhook::verify(&[secret.expose().as_bytes()], text("x-hub-signature-256"), &body)
        .map_err(|_| refuse())?;
    let missing = |name: &str| {
        Problem::new(Code::BadRequest, format!("the header `{name}` is missing")).at(name)
    };
    let name = text("x-github-event").ok_or_else(|| missing("X-GitHub-Event"))?;
    let delivery_id = text("x-github-delivery").ok_or_else(|| missing("X-GitHub-Delivery"))?;
    let event = webhook::parse(name, &body).map_err(|error| {
        let why = format!("{error}: choose the content type application/json at GitHub");
        Problem::new(Code::BadRequest, why)
    })?;
    let delivery = Delivery {
        organisation_id: project.organisation_id.clone(),
        source: format!("{GITHUB}/{}", project.id),
        delivery_id: delivery_id.to_owned(),
        event: json!({ "project_id": project.id, "event": event }),
    };
    app.store().receive(delivery, app.now()).await?;
    app.nudge();
    Ok(StatusCode::ACCEPTED)
}

async fn find(app: &AppState, name: &str) -> Result<Option<Project>, Problem> {
    let organisation_id = app.organisation_id();
    let found = match ProjectId::parse(name) {
        Ok(project_id) => app.store().project(organisation_id, &project_id).await,
        Err(_) => app.store().project_named(organisation_id, name).await,
    };
    match found {
        Ok(project) if project.forge == GITHUB && project.archived_at.is_none() => {
            Ok(Some(project))
        }
        Ok(_) | Err(windlass_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn refuse() -> Problem {
    Problem::new(
        Code::NotSignedIn,
        "the delivery's signature is not that of this project's webhook",
    )
}

/// Takes in what a delivery says: a pull request that moved is looked at where it is; words of people
/// join the conversation. What concerns no pull request of ours is passed over. Gives one word on what
/// was done.
pub(crate) async fn handle(app: &AppState, delivery: &Delivery) -> Result<&'static str, Problem> {
    let project_id = delivery.event["project_id"].as_str().unwrap_or_default();
    let event = serde_json::from_value::<Event>(delivery.event["event"].clone());
    let (Ok(project_id), Ok(event)) = (ProjectId::parse(project_id), event) else {
        return Ok("unreadable");
    };
    let project = app.store().project(&delivery.organisation_id, &project_id).await?;
    if project.archived_at.is_some() {
        return Ok("removed");
    }
    if let Subject::Push(push) = &event.subject {
        return prebuilds::pushed(app, &project, push).await;
    }
    let number = match &event.subject {
        Subject::PullRequest(pull) => pull.number,
        Subject::Review(review) => review.number,
        Subject::Comment(comment) if comment.on_pull_request => match comment.number {
            Some(number) => number,
            None => return Ok("passed over"),
        },
        Subject::Ping {}
        | Subject::Push(_)
        | Subject::Reference(_)
        | Subject::Thread(_)
        | Subject::Comment(_)
        | Subject::Issue(_)
        | Subject::Check(_)
        | Subject::Release(_)
        | Subject::Other { .. } => return Ok("passed over"),
    };
    match app.store().pull(&delivery.organisation_id, &project_id, number).await {
        Ok(_) => {}
        Err(windlass_store::Error::NotFound { .. }) => return Ok("not ours"),
        Err(error) => return Err(error.into()),
    }
    pulls::sync(app, &delivery.organisation_id, &project, number).await?;
    let login = event.actor.as_ref().map_or("somebody", |actor| actor.login.as_str());
    let rows = Rows {
        app,
        organisation_id: delivery.organisation_id.clone(),
        by: By::own(pulls::stranger(login)),
    };
    let command = match event.subject {
        Subject::Comment(comment) if event.action.as_deref() == Some("created") => {
            said(&rows, &project, number, comment).await?
        }
        Subject::Review(Review { verdict, body, commit: Some(commit), .. })
            if event.action.as_deref() == Some("submitted") && !is_ours(&body) =>
        {
            match verdict {
                Some(verdict @ (Verdict::Approve | Verdict::RequestChanges)) => {
                    let body = if body.trim().is_empty() { "(no words)".to_owned() } else { body };
                    Some(Command::Review { verdict, body, commit })
                }
                Some(Verdict::Comment) | None => None,
            }
        }
        _ => None,
    };
    let Some(command) = command else { return Ok("synced") };
    match rows.execute(&project_id, number, &command).await {
        Ok(_) => Ok("taken in"),
        // The head moved on, or it is over: what was said of it then changes nothing now.
        Err(problem) if problem.code.status() < 500 => Ok("too late"),
        Err(problem) => Err(problem),
    }
}

async fn said(
    rows: &Rows<'_>,
    project: &Project,
    number: u64,
    comment: Comment,
) -> Result<Option<Command>, Problem> {
    if is_ours(&comment.body) || comment.body.trim().is_empty() {
        return Ok(None);
    }
    let head = rows.get(&project.id, number).await?.head_commit;
    let place = comment.place.and_then(|place| {
        let on_head = place.commit.as_ref() == Some(&head);
        let path = RepoPath::parse(&place.path).ok()?;
        let line = place.line.filter(|_| on_head)?;
        Some(Place { path, side: place.side, line, commit: head })
    });
    let id = format!("gh{}", comment.id);
    Ok(Some(Command::Comment { id, body: comment.body, place, answers: None }))
}

/// True for what this server wrote itself.
fn is_ours(body: &str) -> bool {
    body.contains("<!-- windlass:")
}
