//! `windlass review`: everything about a pull request that the pages can do.

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use windlass_wire::api::{
    Page,
    pull_request::{
        Comment, FollowUp, FollowUpStarted, Merge, MergeMethod, Merged, NewComment, NewReview,
        Place, Published, PullRequest, PullRequestSummary, PullRequestsQuery, Side,
    },
};

use super::find;
use crate::{
    arguments,
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, verb: arguments::Review) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let say = |text: String| {
        if !settings.json {
            println!("{text}");
        }
    };
    match verb {
        arguments::Review::List { state, project } => {
            list(settings, &client, state, project).await?
        }
        arguments::Review::Show(change) => {
            let pull: PullRequest = client.get(&find::pull_request(&change.change)?).await?;
            if settings.json {
                super::print_json(&pull)?;
            } else {
                print(&pull);
            }
        }
        arguments::Review::Diff(change) => {
            let path = format!("{}/diff.patch", find::pull_request(&change.change)?);
            print!("{}", terminal::harmless(&client.text(&path).await?));
        }
        arguments::Review::Comment { change, body, at, send } => {
            let path = find::pull_request(&change.change)?;
            let place = at.as_deref().map(parse_place).transpose()?;
            let new = NewComment { body, place };
            let comment: Comment = client.post(&format!("{path}/comments"), &new).await?;
            if send {
                let follow_up = FollowUp { comments: vec![comment.id], note: None };
                start(settings, &client, &path, &follow_up).await?;
            } else if settings.json {
                super::print_json(&comment)?;
            } else {
                say(format!(
                    "commented. Send it to the agent: windlass review send {}",
                    change.change
                ));
            }
        }
        arguments::Review::Send { change, note } => {
            let path = find::pull_request(&change.change)?;
            start(settings, &client, &path, &FollowUp { comments: Vec::new(), note }).await?;
        }
        arguments::Review::Approve { change, body } => {
            let path = find::pull_request(&change.change)?;
            let review = NewReview { body, commit: Some(head(&client, &path).await?) };
            let _: serde_json::Value = client.post(&format!("{path}/approve"), &review).await?;
            say(format!("{} is approved", change.change));
        }
        arguments::Review::RequestChanges { change, body } => {
            let path = find::pull_request(&change.change)?;
            let review = NewReview { body, commit: Some(head(&client, &path).await?) };
            let _: serde_json::Value =
                client.post(&format!("{path}/request-changes"), &review).await?;
            say(format!("changes were asked for on {}", change.change));
        }
        arguments::Review::Merge { change, method, update_source } => {
            let path = find::pull_request(&change.change)?;
            let method = match method {
                arguments::Method::Merge => MergeMethod::Merge,
                arguments::Method::Squash => MergeMethod::Squash,
                arguments::Method::Rebase => MergeMethod::Rebase,
            };
            let commit = Some(head(&client, &path).await?);
            let merge = Merge { method, commit, update_source };
            let merged: Merged = client.post(&format!("{path}/merge"), &merge).await?;
            if settings.json {
                super::print_json(&merged)?;
            }
            say(format!("{} is merged as {}", change.change, merged.commit));
            merged.notes.iter().for_each(|note| say(terminal::harmless(note)));
        }
        arguments::Review::Close(change) => {
            let path = format!("{}/close", find::pull_request(&change.change)?);
            client.command(Method::POST, &path).await?;
            say(format!("{} is closed", change.change));
        }
        arguments::Review::Reopen(change) => {
            let path = format!("{}/reopen", find::pull_request(&change.change)?);
            client.command(Method::POST, &path).await?;
            say(format!("{} is open again", change.change));
        }
        arguments::Review::Publish(change) => {
            let path = format!("{}/publish", find::pull_request(&change.change)?);
            let published: Published = client.post(&path, &serde_json::json!({})).await?;
            say(format!("{} is now the branch {}", change.change, published.branch));
        }
    }
    Ok(Exit::Success)
}

async fn list(
    settings: &Settings,
    client: &Client,
    state: String,
    project: Option<String>,
) -> Result<()> {
    let query =
        PullRequestsQuery { cursor: None, limit: Some(100), project, state: Some(state.clone()) };
    let page: Page<PullRequestSummary> = client.query("/api/v1/pull-requests", &query).await?;
    if settings.json {
        return super::print_json(&page);
    }
    if page.items.is_empty() {
        println!("No {state} pull requests.");
        return Ok(());
    }
    let style = Style::for_stdout();
    let rows = page.items.iter().map(|pull| {
        vec![
            format!("{}#{}", pull.project, pull.number),
            style.state(&pull.state),
            pull.review.replace('_', " "),
            terminal::one_line(&pull.title, 70),
        ]
    });
    terminal::table(&["change", "state", "review", "title"], &rows.collect::<Vec<_>>());
    Ok(())
}

fn print(pull: &PullRequest) {
    let style = Style::for_stdout();
    let summary = &pull.summary;
    println!("{}", style.bold(&terminal::one_line(&summary.title, 100)));
    println!(
        "{}#{}  {}  {} → {}",
        summary.project,
        summary.number,
        style.state(&summary.state),
        summary.head,
        summary.base
    );
    if let Some(why) = &pull.mergeable.why_not {
        println!("can't be merged now: {}", terminal::harmless(why));
    }
    println!("\n{}", terminal::harmless(&pull.body));
    for comment in &pull.comments {
        let place =
            comment.place.as_ref().map(|place| format!(" at {}:{}", place.path, place.line));
        println!(
            "\n{}{}\n{}",
            style.bold(&terminal::one_line(&comment.by.name, 60)),
            terminal::one_line(&place.unwrap_or_default(), 100),
            terminal::harmless(&comment.body)
        );
    }
    println!("\n{}", style.dim(&summary.url));
}

async fn head(client: &Client, path: &str) -> Result<String> {
    let pull: PullRequest = client.get(path).await?;
    Ok(pull.summary.head_commit)
}

async fn start(
    settings: &Settings,
    client: &Client,
    path: &str,
    follow_up: &FollowUp,
) -> Result<()> {
    let started: FollowUpStarted = client.post(&format!("{path}/follow-up"), follow_up).await?;
    if settings.json {
        return super::print_json(&started);
    }
    println!(
        "{} comments went to the agent: windlass job show {} --follow",
        started.comments, started.job_id
    );
    Ok(())
}

fn parse_place(text: &str) -> Result<Place> {
    let (path, line) =
        text.rsplit_once(':').with_context(|| format!("`{text}` isn't PATH:LINE"))?;
    let line = line.parse().with_context(|| format!("`{line}` isn't a line number"))?;
    if line == 0 || path.is_empty() {
        bail!("`{text}` isn't PATH:LINE: lines count from 1");
    }
    Ok(Place { path: path.to_owned(), side: Side::New, line, commit: None })
}
