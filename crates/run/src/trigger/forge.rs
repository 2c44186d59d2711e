//! Events of code hosts, as the crate `forge` writes them down: below the word for what they are about.

use serde_json::Value;

use crate::{
    automation::{CommentOn, Glob, On, Severity},
    event::Event,
};

/// What counts of a pull request where the file does not say.
const OF_PULL_REQUEST: [&str; 4] = ["opened", "reopened", "synchronize", "ready_for_review"];

pub(super) fn waits_for(on: &On, event: &Event) -> bool {
    let data = &event.data;
    let did = |actions: &[String], usual: &[&str]| {
        let done = event.action().unwrap_or_default();
        match actions.is_empty() {
            true => usual.contains(&done),
            false => actions.iter().any(|action| action == done),
        }
    };
    match on {
        On::Push { branches, paths } => {
            let push = &data["push"];
            let branch = text(&push["branch"]);
            let is_meant = match branches.is_empty() {
                true => push["default_branch"] == true,
                false => fits(branches, branch),
            };
            // A branch that was deleted is `push.deleted`.
            event.kind == "push" && is_meant && touches(paths, push)
        }
        On::Tag { names } => {
            event.kind == "tag" && (names.is_empty() || fits(names, text(&data["push"]["tag"])))
        }
        On::PullRequest { actions, branches, labels, drafts } => {
            let pull = &data["pull_request"];
            event.family() == "pull_request"
                && did(actions, &OF_PULL_REQUEST)
                && (branches.is_empty() || fits(branches, text(&pull["base"])))
                && has_one(labels, pull)
                && (*drafts || pull["draft"] != true)
        }
        On::Review { verdicts } => {
            let verdict = text(&data["review"]["verdict"]);
            let given = match verdict {
                "approve" | "approved" => "approved",
                "request_changes" | "changes_requested" => "changes_requested",
                other => other,
            };
            event.kind == "review.submitted"
                && (verdicts.is_empty() || verdicts.iter().any(|verdict| verdict == given))
        }
        On::Comment { command, under } => {
            let comment = &data["comment"];
            let on_pull_request = comment["on_pull_request"] == true;
            let is_under = match under {
                CommentOn::Any => true,
                CommentOn::PullRequest => on_pull_request,
                CommentOn::Issue => !on_pull_request && !comment["number"].is_null(),
            };
            // Somebody's edit of an old comment is no new command.
            event.kind == "comment.created"
                && is_under
                && command.as_ref().is_none_or(|word| {
                    let commands = comment["commands"].as_array();
                    commands.is_some_and(|all| all.iter().any(|one| text(&one["word"]) == word))
                })
        }
        On::Issue { actions, labels } => {
            event.family() == "issue"
                && did(actions, &["opened"])
                && has_one(labels, &data["issue"])
        }
        On::Check { outcomes, names } => {
            let check = &data["check"];
            let outcome = text(&check["outcome"]);
            let is_meant = match outcomes.is_empty() {
                true => outcome == "failure",
                false => outcomes.iter().any(|meant| meant == outcome),
            };
            event.kind == "check.completed"
                && is_meant
                && (names.is_empty() || fits(names, text(&check["name"])))
        }
        On::Release { actions } => event.family() == "release" && did(actions, &["published"]),
        _ => false,
    }
}

/// Whether an advisory is of what a trigger waits for.
pub(super) fn advisory(on: &On, event: &Event) -> bool {
    let On::Advisory { ecosystems, severity, packages } = on else { return false };
    let data = &event.data;
    let is: Severity = serde_json::from_value(data["severity"].clone()).unwrap_or_default();
    (ecosystems.is_empty() || ecosystems.iter().any(|name| name == text(&data["ecosystem"])))
        && is >= *severity
        && (packages.is_empty() || fits(packages, text(&data["package"])))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn fits(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.fits(name))
}

fn has_one(labels: &[String], of: &Value) -> bool {
    let has = of["labels"].as_array();
    labels.is_empty()
        || labels.iter().any(|label| has.is_some_and(|all| all.iter().any(|one| one == label)))
}

/// Hosts tell only some paths of a large push: what is not known is taken as touched.
fn touches(paths: &[Glob], push: &Value) -> bool {
    let told = push["paths"].as_array();
    paths.is_empty()
        || push["paths_complete"] == false
        || told.is_some_and(|told| told.iter().any(|path| fits(paths, text(path))))
}
