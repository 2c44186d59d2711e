//! `POST /hooks/github/{project}`: a delivery of GitHub for a project. And what it means: see
//! [`handle`].

use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode},
};
use serde_json::Value;
use windlass_forge::{
    RepositoryAddress,
    event::{Arrival, Comment, Event, Review, Subject},
    forge::Verdict,
    hosts::github::webhook,
    local::{Command, Place},
};
use windlass_git::RepoPath;
use windlass_run::{ProjectId, actor::By};
use windlass_store::{events::Kept, projects::Project};

use crate::{
    endpoint::{Access, Endpoint},
    extract::{Bytes, Place as At},
    hooks::registry,
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
    let hook = format!("{GITHUB}/{}", project.name);
    let signature = text("x-hub-signature-256");
    if webhook::verify(&[secret.expose().as_bytes()], signature, &body).is_err() {
        let why = "X-Hub-Signature-256 does not fit the secret of the project's webhook";
        registry::refuse(&app, &hook, why).await?;
        return Err(refuse());
    }
    registry::received(&app, &hook).await?;
    let missing = |name: &str| {
        Problem::new(Code::BadRequest, format!("the header `{name}` is missing")).at(name)
    };
    let name = text("x-github-event").ok_or_else(|| missing("X-GitHub-Event"))?;
    let delivery_id = text("x-github-delivery").ok_or_else(|| missing("X-GitHub-Delivery"))?;
    let event = webhook::parse(name, &body).map_err(|error| {
        let why = format!("{error}: choose the content type application/json at GitHub");
        Problem::new(Code::BadRequest, why)
    })?;
    let event = event.envelope(Arrival {
        id: app.event_id(),
        // As the project knows its repository: whoever holds the secret of one project can't speak for
        // another one by what stands in a payload.
        source: source(&project),
        delivery: delivery_id.to_owned(),
        at: app.now(),
        project_id: Some(project.id.clone()),
    });
    app.store().receive_event(project.organisation_id, event, app.now()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What the events of a project's repository have as their source.
fn source(project: &Project) -> String {
    let address = RepositoryAddress::parse(&project.source);
    let name = address.map_or(project.name.clone(), |address| address.repository.to_string());
    format!("{GITHUB}/{name}")
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

/// Takes in what an event of GitHub says: a pull request that moved is looked at where it is; words of
/// people join the conversation. What concerns no pull request of ours is passed over. Gives one word on
/// what was done.
pub(crate) async fn handle(app: &AppState, kept: &Kept) -> Result<&'static str, Problem> {
    let Some(project_id) = &kept.event.project_id else { return Ok("kept") };
    if !kept.event.source.starts_with("github/") {
        return Ok("kept");
    }
    let event = match kept.event.kind.as_str() {
        OLD => earlier(&kept.event.data),
        _ => serde_json::from_value::<Event>(kept.event.data.clone()).ok(),
    };
    let Some(event) = event else { return Ok("unreadable") };
    let project = app.store().project(&kept.organisation_id, project_id).await?;
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
    match app.store().pull(&kept.organisation_id, project_id, number).await {
        Ok(_) => {}
        Err(windlass_store::Error::NotFound { .. }) => return Ok("not ours"),
        Err(error) => return Err(error.into()),
    }
    pulls::sync(app, &kept.organisation_id, &project, number).await?;
    let login = event.actor.as_ref().map_or("somebody", |actor| actor.login.as_str());
    let rows = Rows {
        app,
        organisation_id: kept.organisation_id.clone(),
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
    match rows.execute(project_id, number, &command).await {
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

/// The kind of what was kept before there were events.
const OLD: &str = "github.delivery";

/// Reads an event in the form of that time, in which the subject had its own name inside. Only what is
/// handled here is looked for; it can still wait when a new version starts.
fn earlier(data: &Value) -> Option<Event> {
    let mut event = data.get("event")?.as_object()?.clone();
    let mut subject = event.remove("subject")?.as_object()?.clone();
    let kind = subject.remove("kind")?.as_str()?.to_owned();
    if kind == "review" {
        let number = subject.remove("pull_request")?.get("number")?.clone();
        subject.insert("number".to_owned(), number);
    }
    if let Some(actor) = event.get_mut("actor").filter(|actor| actor.is_object()) {
        actor["id"] = Value::String(actor["id"].to_string());
    }
    event.remove("repository");
    event.insert("forge".to_owned(), GITHUB.into());
    event.insert("event".to_owned(), event.get("name")?.clone());
    event.insert(kind, subject.into());
    serde_json::from_value(event.into()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_kept_before_there_were_events_is_still_understood() {
        let review = json!({ "project_id": "x", "event": {
            "name": "pull_request_review", "action": "submitted",
            "repository": { "owner": "acme", "name": "api" },
            "actor": { "login": "ann", "id": 7, "bot": false },
            "subject": { "kind": "review", "pull_request": { "number": 3 }, "verdict": "approve",
                "body": "good", "commit": "a".repeat(40) } } });
        let event = earlier(&review).expect("understood");
        let Subject::Review(review) = event.subject else { panic!("{event:?}") };
        assert_eq!((review.number, review.body.as_str()), (3, "good"));
        assert_eq!(event.actor.map(|actor| actor.id), Some("7".to_owned()));
        let comment = json!({ "event": { "name": "issue_comment", "action": "created",
            "subject": { "kind": "comment", "id": 9, "number": 3, "on_pull_request": true,
                "body": "hm", "place": null, "url": "" } } });
        let event = earlier(&comment).expect("understood");
        assert!(matches!(event.subject, Subject::Comment(Comment { number: Some(3), .. })));
        for none in [json!({}), json!({ "event": 1 }), json!({ "event": { "subject": {} } })] {
            assert_eq!(earlier(&none), None);
        }
    }
}
