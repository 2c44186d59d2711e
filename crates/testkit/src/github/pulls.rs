//! Pull requests and what hangs on them, as the model keeps them. What git knows is asked of the
//! real repository each time.

use serde_json::json;
use windlass_git::merge::{Merge, Merged, Method};
use windlass_git::repository::Expected;
use windlass_git::{Oid, RefName, Signature};

use super::objects::{self, Facts};
use super::rest::{Asked, Reply, complaint, invalid, reply};
use super::{Pull, World};

pub(super) async fn list(world: &World, asked: &Asked, key: &str) -> Reply {
    let state = asked.query("state").unwrap_or("open");
    let owner = &world.repositories[key].owner;
    let wanted = |pull: &&Pull| {
        let state_fits = state == "all" || (state == "open") == pull.open;
        // A filter without the owner is ignored by GitHub.
        let head = asked.query("head").and_then(|head| head.split_once(':'));
        let head_fits =
            head.is_none_or(|(of, head)| of.eq_ignore_ascii_case(owner) && head == pull.head);
        state_fits && head_fits && asked.query("base").is_none_or(|base| base == pull.base)
    };
    let mut found: Vec<&Pull> = world.repositories[key].pulls.iter().filter(wanted).collect();
    if asked.query("direction") != Some("asc") {
        found.reverse();
    }
    let mut answers = Vec::new();
    for pull in found {
        answers.push(objects::pull_simple(world, key, pull, &facts(world, key, pull).await));
    }
    reply(200, answers.into())
}

pub(super) async fn get(world: &World, key: &str, number: &str) -> Reply {
    match find(world, key, number) {
        Some(pull) => reply(200, objects::pull(world, key, pull, &facts(world, key, pull).await)),
        None => complaint(404, "Not Found"),
    }
}

pub(super) async fn open(world: &mut World, asked: &Asked, key: &str) -> Reply {
    let field = |field: &str, code: &str| {
        invalid(json!([{ "resource": "PullRequest", "field": field, "code": code }]))
    };
    let custom = |message: String| {
        invalid(json!([{ "resource": "PullRequest", "code": "custom", "message": message }]))
    };
    let (Some(title), Some(head), Some(base)) =
        (asked.text("title"), asked.text("head"), asked.text("base"))
    else {
        return field("title", "missing_field");
    };
    let owner = world.repositories[key].owner.clone();
    let head = head.strip_prefix(&format!("{owner}:")).unwrap_or(head);
    let Some(base_sha) = tip(world, key, base).await else { return field("base", "invalid") };
    let Some(head_sha) = tip(world, key, head).await else { return field("head", "invalid") };
    if world.repositories[key]
        .pulls
        .iter()
        .any(|pull| pull.open && pull.head == head && pull.base == base)
    {
        return custom(format!("A pull request already exists for {owner}:{head}."));
    }
    if bare(world, key).is_ancestor(&head_sha, &base_sha).await.unwrap_or(true) {
        return custom(format!("No commits between {base} and {head}"));
    }
    let (id, now) = (world.id(), world.now);
    let Some(repository) = world.repositories.get_mut(key) else {
        return complaint(404, "Not Found");
    };
    let number = repository.next_number;
    repository.next_number += 1;
    repository.pulls.push(Pull {
        id,
        number,
        title: title.to_owned(),
        body: asked.text("body").map(str::to_owned),
        draft: asked.body["draft"].as_bool().unwrap_or(false),
        open: true,
        author: asked.login.clone(),
        base: base.to_owned(),
        head: head.to_owned(),
        last_head: head_sha.to_string(),
        base_sha: base_sha.to_string(),
        merged: None,
        labels: Vec::new(),
        comments: Vec::new(),
        reviews: Vec::new(),
        created: now,
        updated: now,
        closed: None,
    });
    Reply { status: 201, ..get(world, key, &number.to_string()).await }
}

pub(super) async fn change(world: &mut World, asked: &Asked, key: &str, number: &str) -> Reply {
    let now = world.now;
    let head_sha = match find(world, key, number) {
        Some(pull) => facts(world, key, pull).await.head_sha,
        None => return complaint(404, "Not Found"),
    };
    let Some(pull) = find_mut(world, key, number) else { return complaint(404, "Not Found") };
    if let Some(title) = asked.text("title") {
        if title.is_empty() {
            return invalid(
                json!([{ "resource": "PullRequest", "field": "title", "code": "missing_field" }]),
            );
        }
        pull.title = title.to_owned();
    }
    if let Some(body) = asked.text("body") {
        pull.body = Some(body.to_owned());
    }
    if let Some(base) = asked.text("base") {
        pull.base = base.to_owned();
    }
    match asked.text("state") {
        Some("closed") if pull.open => {
            pull.open = false;
            pull.last_head = head_sha;
            pull.closed = Some(now);
        }
        Some("open") if pull.merged.is_some() => {
            return invalid(
                json!([{ "resource": "PullRequest", "code": "custom", "field": "state", "message": "state cannot be changed. The pull request is merged." }]),
            );
        }
        Some("open") => {
            pull.open = true;
            pull.closed = None;
        }
        Some("closed") | None => {}
        Some(_) => {
            return invalid(
                json!([{ "resource": "PullRequest", "field": "state", "code": "invalid" }]),
            );
        }
    }
    pull.updated = now;
    get(world, key, number).await
}

pub(super) async fn merge(world: &mut World, asked: &Asked, key: &str, number: &str) -> Reply {
    let Some(pull) = find(world, key, number) else { return complaint(404, "Not Found") };
    let facts = facts(world, key, pull).await;
    if !pull.open || pull.draft || facts.mergeable != Some(true) {
        return complaint(405, "Pull Request is not mergeable");
    }
    if asked.text("sha").is_some_and(|sha| sha != facts.head_sha) {
        return complaint(409, "Head branch was modified. Review and try the merge again.");
    }
    let method = match asked.text("merge_method").unwrap_or("merge") {
        "merge" => Method::Merge,
        "squash" => Method::Squash,
        "rebase" => Method::Rebase,
        _ => {
            return invalid(
                json!([{ "resource": "PullRequest", "field": "merge_method", "code": "invalid" }]),
            );
        }
    };
    let title = asked
        .text("commit_title")
        .map_or_else(|| format!("Merge pull request #{number} from {}", pull.head), str::to_owned);
    let who = Signature {
        name: asked.login.clone(),
        email: format!("{}@users.noreply.localhost", asked.login),
        at: world.now * 1_000_000,
    };
    let (Ok(base), Ok(head), Ok(branch)) =
        (Oid::parse(&facts.base_sha), Oid::parse(&facts.head_sha), RefName::branch(&pull.base))
    else {
        return complaint(404, "Not Found");
    };
    let message = format!("{title}\n\n{}", asked.text("commit_message").unwrap_or_default());
    let merge =
        Merge { base: base.clone(), head, method, message, author: who.clone(), committer: who };
    let repository = bare(world, key);
    let Ok(Merged::Clean { commit, .. }) = repository.merge(&merge).await else {
        return complaint(405, "Pull Request is not mergeable");
    };
    if repository.update_reference(&branch, &commit, Expected::Is(base)).await.is_err() {
        return complaint(409, "Base branch was modified. Review and try the merge again.");
    }
    let (now, login) = (world.now, asked.login.clone());
    if let Some(pull) = find_mut(world, key, number) {
        pull.open = false;
        pull.merged = Some((commit.to_string(), login));
        pull.last_head = facts.head_sha;
        pull.closed = Some(now);
        pull.updated = now;
    }
    reply(
        200,
        json!({ "sha": commit, "merged": true, "message": "Pull Request successfully merged" }),
    )
}

pub(super) fn comments(world: &World, key: &str, number: &str) -> Reply {
    find(world, key, number).map_or_else(
        || complaint(404, "Not Found"),
        |pull| reply(200, pull.comments.clone().into()),
    )
}

pub(super) fn comment(world: &mut World, asked: &Asked, key: &str, number: &str) -> Reply {
    let Some(body) = asked.text("body").filter(|body| !body.trim().is_empty()) else {
        return invalid(
            json!([{ "resource": "IssueComment", "field": "body", "code": "missing_field" }]),
        );
    };
    let Some(at) = find(world, key, number).map(|pull| pull.number) else {
        return complaint(404, "Not Found");
    };
    let id = world.id();
    let comment = objects::comment(world, key, at, id, &asked.login, body);
    if let Some(pull) = find_mut(world, key, number) {
        pull.comments.push(comment.clone());
    }
    reply(201, comment)
}

pub(super) fn reviews(world: &World, key: &str, number: &str) -> Reply {
    find(world, key, number)
        .map_or_else(|| complaint(404, "Not Found"), |pull| reply(200, pull.reviews.clone().into()))
}

pub(super) async fn review(world: &mut World, asked: &Asked, key: &str, number: &str) -> Reply {
    let simple = |message: &str| {
        reply(
            422,
            json!({
                "message": "Unprocessable Entity",
                "errors": [message],
                "documentation_url": "https://docs.github.com/rest",
                "status": "422",
            }),
        )
    };
    let Some(pull) = find(world, key, number) else { return complaint(404, "Not Found") };
    let (own, at) = (pull.author == asked.login, pull.number);
    let body = asked.text("body").unwrap_or_default();
    let state = match asked.text("event") {
        Some("APPROVE") if own => return simple("Can not approve your own pull request"),
        Some("REQUEST_CHANGES") if own => {
            return simple("Can not request changes on your own pull request");
        }
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES" | "COMMENT") if body.trim().is_empty() => {
            return simple("Body cannot be blank");
        }
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        Some(_) => return simple("Event is not valid"),
        None => "PENDING",
    };
    let head = facts(world, key, pull).await.head_sha;
    let lines = asked.body["comments"].as_array().cloned().unwrap_or_default();
    if lines.iter().any(|line| {
        !line["path"].is_string() || !line["line"].is_u64() || !line["body"].is_string()
    }) {
        return simple("Line could not be resolved");
    }
    let id = world.id();
    let commit = asked.text("commit_id").unwrap_or(&head);
    let said = objects::Said { login: &asked.login, state, body, commit };
    let review = objects::review(world, key, at, id, &said);
    if let Some(pull) = find_mut(world, key, number) {
        pull.reviews.push(review.clone());
    }
    reply(200, review)
}

pub(super) fn label(world: &mut World, asked: &Asked, key: &str, number: &str) -> Reply {
    let names: Vec<String> = asked.body["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    for name in names {
        let id = world.id();
        match find_mut(world, key, number) {
            Some(pull) if pull.labels.iter().all(|(_, known)| *known != name) => {
                pull.labels.push((id, name))
            }
            Some(_) => {}
            None => return complaint(404, "Not Found"),
        }
    }
    let repository = objects::repository(world, key);
    let labels = find(world, key, number).map(|pull| pull.labels.clone()).unwrap_or_default();
    reply(
        200,
        labels
            .iter()
            .map(|(id, name)| objects::label(&repository, *id, name))
            .collect::<Vec<_>>()
            .into(),
    )
}

pub(super) async fn status(world: &mut World, asked: &Asked, key: &str, commit: &str) -> Reply {
    let field =
        |name: &str| invalid(json!([{ "resource": "Status", "field": name, "code": "invalid" }]));
    if !matches!(asked.text("state"), Some("error" | "failure" | "pending" | "success")) {
        return field("state");
    }
    if asked.text("description").is_some_and(|text| text.chars().count() > 140) {
        return field("description");
    }
    let known = match Oid::parse(commit) {
        Ok(commit) => bare(world, key).contains(&commit).await.unwrap_or(false),
        Err(_) => false,
    };
    if !known {
        return complaint(422, &format!("No commit found for SHA: {commit}"));
    }
    let id = world.id();
    let status = objects::status(world, key, id, &asked.login, commit, &asked.body);
    if let Some(repository) = world.repositories.get_mut(key) {
        repository.statuses.push(status.clone());
    }
    reply(201, status)
}

async fn facts(world: &World, key: &str, pull: &Pull) -> Facts {
    let repository = bare(world, key);
    let head = if pull.open { tip(world, key, &pull.head).await } else { None };
    let head_sha = head.map_or_else(|| pull.last_head.clone(), |head| head.to_string());
    let base = if pull.merged.is_some() { None } else { tip(world, key, &pull.base).await };
    let base_sha = base.map_or_else(|| pull.base_sha.clone(), |base| base.to_string());
    let mut facts = Facts {
        base_sha,
        head_sha,
        mergeable: None,
        additions: 0,
        deletions: 0,
        files: 0,
        commits: 0,
    };
    let (Ok(base), Ok(head)) = (Oid::parse(&facts.base_sha), Oid::parse(&facts.head_sha)) else {
        return facts;
    };
    if pull.open {
        facts.mergeable =
            repository.merge_check(&base, &head).await.ok().map(|conflict| conflict.is_none());
    }
    let from = repository.merge_base(&base, &head).await.ok().flatten().unwrap_or(base);
    if let Ok(diff) = repository.diff(&from, &head, &windlass_git::diff::Options::default()).await {
        (facts.additions, facts.deletions, facts.files) =
            (diff.added, diff.removed, diff.files_changed);
    }
    facts.commits = repository.ahead_behind(&from, &head).await.map_or(0, |(ahead, _)| ahead);
    facts
}

fn bare(world: &World, key: &str) -> windlass_git::Repository {
    world.git.open(&world.repositories[key].dir).expect("the model made this repository")
}

async fn tip(world: &World, key: &str, branch: &str) -> Option<Oid> {
    let name = RefName::branch(branch).ok()?;
    bare(world, key).reference(&name).await.ok().flatten()
}

fn find<'a>(world: &'a World, key: &str, number: &str) -> Option<&'a Pull> {
    let number: u64 = number.parse().ok()?;
    world.repositories[key].pulls.iter().find(|pull| pull.number == number)
}

fn find_mut<'a>(world: &'a mut World, key: &str, number: &str) -> Option<&'a mut Pull> {
    let number: u64 = number.parse().ok()?;
    world.repositories.get_mut(key)?.pulls.iter_mut().find(|pull| pull.number == number)
}
