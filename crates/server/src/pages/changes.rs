//! `/changes/{project}/{number}`: a change under review, and what can be done with it.

mod act;
mod evidence;

use std::collections::BTreeMap;

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::api::{
    project::{Project, Source},
    pull_request::{Comment, DiffQuery, PullRequest, Round, Side},
};

use super::{
    diff,
    frame::{Frame, page},
    markdown,
    text::Text,
    view::{
        Crumb, Section, State as Shown,
        change::{Act, ChangePage, CommentForm, CommitRow, RoundRow, Said, Thread},
        diff::{At, DiffView, FileBody, Layout, Options, Row, Talk, percent_encoded},
        runs::Verdict,
        shell::{Choice, Commit, Csrf, Who},
    },
};
use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::Problem,
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let view = Access::Allows(Action::View);
    let mut endpoints = vec![Endpoint::page(Method::GET, "/changes/{project}/{number}", view, one)];
    endpoints.extend(act::endpoints());
    endpoints
}

/// What of a change is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
struct Wanted {
    /// `split` or `unified`.
    view: Option<String>,
    /// The rounds that are compared.
    from: Option<u32>,
    to: Option<u32>,
    /// The file that is shown whole.
    whole: Option<String>,
    /// The line that a comment is begun at: the file's place on the page, `o` or `n`, the line.
    at: Option<String>,
}

impl Wanted {
    fn layout(&self) -> Layout {
        self.view.as_deref().map_or(Layout::Split, Layout::parse)
    }

    /// What of the query every form and link on the page keeps.
    fn kept(&self) -> Vec<(&'static str, String)> {
        let mut kept = Vec::new();
        if let Some(view) = &self.view {
            kept.push(("view", Layout::parse(view).name().to_owned()));
        }
        kept.extend(self.from.map(|from| ("from", from.to_string())));
        kept.extend(self.to.map(|to| ("to", to.to_string())));
        if let Some(whole) = &self.whole {
            kept.push(("whole", whole.clone()));
        }
        kept
    }

    /// The address of the page with these keys changed.
    fn address(&self, page: &str, changes: &[(&str, Option<&str>)]) -> String {
        let mut keys: BTreeMap<&str, String> = self.kept().into_iter().collect();
        for (key, value) in changes {
            match value {
                Some(value) => keys.insert(key, (*value).to_owned()),
                None => keys.remove(key),
            };
        }
        let mut address = format!("{page}?");
        for (key, value) in keys {
            address.push_str(&format!("{key}={}&", percent_encoded(&value)));
        }
        address
    }
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place((project, number)): Place<(String, u64)>,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    let change = views::pull_requests::one(&app, &principal, &project, number).await?;
    let query = DiffQuery { from_round: wanted.from, to_round: wanted.to };
    let diff = views::pull_requests::diff(&app, &principal, &project, number, query).await?;
    let project = views::projects::one(&app, &principal, &project).await?;
    let here = links::change(&project.name, number);
    let patch = diff::of_git(&diff);
    let page_of = Page { frame: &frame, change: &change, project: &project, wanted: &wanted, here };
    let evidence = evidence::gather(&app, &principal, &frame, &change, &patch).await?;
    page(&page_of.view(&patch, evidence))
}

/// What the page of a change is made of.
struct Page<'a> {
    frame: &'a Frame,
    change: &'a PullRequest,
    project: &'a Project,
    wanted: &'a Wanted,
    here: String,
}

impl Page<'_> {
    fn view(&self, patch: &diff::Patch, evidence: evidence::Evidence) -> ChangePage {
        let (change, frame) = (self.change, self.frame);
        let summary = &change.summary;
        let title = Text::from(summary.title.as_str());
        let crumbs = vec![
            Crumb::to(self.project.name.as_str(), links::project(&self.project.name)),
            Crumb::to("Review", "/review"),
            Crumb::here(format!("#{}", summary.number)),
        ];
        ChangePage {
            shell: frame.shell(Some(Section::Review), title.plain(), crumbs),
            project: Text::from(self.project.name.as_str()),
            number: summary.number,
            title,
            state: Shown::parse(&summary.state),
            verdict: Verdict::parse(&summary.review),
            base: Text::from(summary.base.as_str()),
            head: Text::from(summary.head.as_str()),
            head_commit: Commit(summary.head_commit.clone()),
            by: Who::from(&summary.opened_by),
            created: frame.moment(summary.created_at),
            request: evidence.request,
            is_scripted: evidence.is_scripted,
            facts: evidence.facts,
            claim: evidence.claim,
            body: markdown::render(&change.body),
            commits: change.commits.iter().map(|commit| self.commit(commit)).collect(),
            rounds: change.rounds.iter().map(|round| self.round(round)).collect(),
            comparing: self.comparing(),
            layouts: self.layouts(),
            diff: self.diff(patch),
            talk: self.talk(),
            unsent: self.unsent(),
            act: self.act(),
            keep: self.wanted.kept(),
        }
    }

    fn newest(&self) -> Option<&Round> {
        self.change.rounds.last()
    }

    /// True if the page shows the whole change as it is now: only there lines can be commented.
    fn is_present(&self) -> bool {
        let newest = self.newest().map(|round| round.number);
        self.wanted.from.is_none() && (self.wanted.to.is_none() || self.wanted.to == newest)
    }

    fn commit(&self, commit: &windlass_wire::api::pull_request::Commit) -> CommitRow {
        CommitRow {
            id: Commit(commit.id.clone()),
            title: Text::from(commit.title.as_str()),
            author: Text::from(commit.author.as_str()),
            at: self.frame.moment(commit.at),
        }
    }

    fn round(&self, round: &Round) -> RoundRow {
        let number = round.number.to_string();
        let before = (round.number > 1).then(|| (round.number - 1).to_string());
        let shown = self.wanted.to.or(self.newest().map(|newest| newest.number));
        let address = |from: Option<&str>| {
            let changes = [("from", from), ("to", Some(number.as_str())), ("whole", None)];
            self.wanted.address(&self.here, &changes)
        };
        RoundRow {
            number: round.number,
            commit: Commit(round.head_commit.clone()),
            at: self.frame.moment(round.at),
            job: round.job_id.as_ref().map(links::job),
            alone: address(before.as_deref()),
            whole: address(None),
            is_current: shown == Some(round.number),
        }
    }

    fn comparing(&self) -> String {
        let to = self.wanted.to.or(self.newest().map(|newest| newest.number)).unwrap_or(1);
        match self.wanted.from {
            Some(from) => format!("from round {from} to round {to}"),
            None if self.change.rounds.len() > 1 => format!("from the base to round {to}"),
            None => String::new(),
        }
    }

    fn layouts(&self) -> Vec<Choice> {
        let choice = |name, layout: Layout| Choice {
            name,
            href: self.wanted.address(&self.here, &[("view", Some(layout.name()))]),
            is_current: self.wanted.layout() == layout,
        };
        vec![choice("Side by side", Layout::Split), choice("One column", Layout::Unified)]
    }

    fn diff(&self, patch: &diff::Patch) -> DiffView {
        let is_open = self.change.summary.state == "open";
        let options = Options {
            layout: self.wanted.layout(),
            can_comment: is_open && self.frame.may().comment && self.is_present(),
            whole: self.wanted.whole.clone(),
            here: self.wanted.address(&self.here, &[("whole", None)]),
        };
        let threads = self.threads();
        let talk = Talk { threads: threads.clone(), form: None };
        let shown = DiffView::new(patch, talk, &options);
        // The line's file is named by its place on the page, which is known only now.
        let at = self.wanted.at.as_deref().filter(|_| options.can_comment);
        let Some(at) = at.and_then(|at| line_at(at, &shown, patch)) else { return shown };
        let form = CommentForm {
            action: format!("{}/comments", self.here),
            csrf: self.csrf(),
            at: at.clone(),
            commit: self.change.summary.head_commit.clone(),
            text: Text::default(),
            cancel: self.wanted.address(&self.here, &[]),
            keep: self.wanted.kept(),
        };
        DiffView::new(patch, Talk { threads, form: Some((at, form)) }, &options)
    }

    /// What was said at lines. Lines of another state of the change, and lines that are gone, are
    /// shown apart: a number alone would put them at the wrong place.
    fn threads(&self) -> Vec<(At, Thread)> {
        let mut threads: Vec<(At, Thread)> = Vec::new();
        for comment in &self.change.comments {
            let Some(place) = &comment.place else { continue };
            let is_gone = comment.is_outdated || !self.is_present();
            let at = At {
                path: place.path.clone(),
                is_old: place.side == Side::Old,
                line: place.line,
                is_gone,
            };
            let said = self.said(comment);
            match threads.iter_mut().find(|(other, _)| *other == at) {
                Some((_, thread)) => thread.said.push(said),
                None => threads.push((at, Thread { said: vec![said] })),
            }
        }
        threads
    }

    fn said(&self, comment: &Comment) -> Said {
        Said {
            id: Text::from(comment.id.as_str()),
            by: Who::from(&comment.by),
            at: self.frame.moment(comment.at),
            verdict: None,
            body: markdown::render(&comment.body),
            sent_to: comment.sent_to.as_ref().map(links::job),
        }
    }

    /// What was said of the change as a whole: comments without a place, and verdicts.
    fn talk(&self) -> Vec<Said> {
        let general = self.change.comments.iter().filter(|comment| comment.place.is_none());
        let mut talk: Vec<(i64, Said)> =
            general.map(|comment| (comment.at, self.said(comment))).collect();
        for (i, review) in self.change.reviews.iter().enumerate() {
            let said = Said {
                id: Text::from(format!("review-{i}")),
                by: Who::from(&review.by),
                at: self.frame.moment(review.at),
                verdict: Verdict::parse(&review.verdict),
                body: markdown::render(&review.body),
                sent_to: None,
            };
            talk.push((review.at, said));
        }
        talk.sort_by_key(|(at, _)| *at);
        talk.into_iter().map(|(_, said)| said).collect()
    }

    fn unsent(&self) -> u32 {
        let unsent =
            self.change.comments.iter().filter(|comment| comment.sent_to.is_none()).count();
        u32::try_from(unsent).unwrap_or(u32::MAX)
    }

    fn csrf(&self) -> Csrf {
        let csrf = self.frame.principal.as_ref().map(|principal| principal.csrf().to_owned());
        Csrf { value: csrf.unwrap_or_default() }
    }

    fn act(&self) -> Act {
        let may = self.frame.may();
        let state = Shown::parse(&self.change.summary.state);
        let is_open = state == Shown::Open;
        let address = |allowed: bool, word: &str| allowed.then(|| format!("{}/{word}", self.here));
        let mergeable = &self.change.mergeable;
        let has_job = self.change.rounds.iter().any(|round| round.job_id.is_some());
        Act {
            comment: address(is_open && may.comment, "comments"),
            send: address(is_open && may.steer && has_job && self.unsent() > 0, "send"),
            approve: address(is_open && may.approve, "approve"),
            request_changes: address(is_open && may.request_changes, "request-changes"),
            merge: address(is_open && may.merge && mergeable.can, "merge"),
            close: address(is_open && may.close, "close"),
            reopen: address(state == Shown::Closed && may.close, "reopen"),
            merge_blocked: mergeable
                .why_not
                .as_deref()
                .filter(|_| is_open && !mergeable.can)
                .map(Text::from),
            conflicts: mergeable.conflicts.iter().map(Text::from).collect(),
            commit: self.change.summary.head_commit.clone(),
            can_update_source: matches!(self.project.source, Source::Path { .. }),
            elsewhere: self.change.host_url.clone(),
        }
    }
}

/// The line that `3n12` means: line 12 after the change in the page's fourth file. Absent if there is
/// no such line on the page.
fn line_at(at: &str, shown: &DiffView, patch: &diff::Patch) -> Option<At> {
    let side = at.find(['o', 'n'])?;
    let index: usize = at[..side].parse().ok()?;
    let line: u32 = at[side + 1..].parse().ok()?;
    let is_old = at[side..].starts_with('o');
    let view = shown.files.get(index)?;
    let FileBody::Rows(rows) = &view.body else { return None };
    let has_line = rows.iter().any(|row| match row {
        Row::Pair { old, new, .. } => {
            let cell = if is_old { old } else { new };
            cell.as_ref().is_some_and(|cell| cell.line == line)
        }
        Row::One { old, new, .. } => (if is_old { *old } else { *new }) == Some(line),
        Row::Gap(_) | Row::Thread(_) | Row::Form(_) => false,
    });
    let file = patch.files.iter().find(|file| file.path() == view.path.raw())?;
    let path = if is_old { file.old_path.as_ref()? } else { file.new_path.as_ref()? };
    has_line.then(|| At { path: path.clone(), is_old, line, is_gone: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_by_its_place_on_the_page_and_must_be_there() {
        let patch = diff::parse(
            b"diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1,2 +1,2 @@\n keep\n-old\n+new\n",
        );
        let shown = DiffView::new(&patch, Talk::default(), &Options::default());
        let at =
            |path: &str, is_old, line| Some(At { path: path.into(), is_old, line, is_gone: false });
        assert_eq!(line_at("0n2", &shown, &patch), at("y", false, 2));
        assert_eq!(line_at("0o2", &shown, &patch), at("x", true, 2));
        for wrong in ["0n9", "1n1", "n2", "0x2", "", "0n", "0n-1", "0n2x"] {
            assert_eq!(line_at(wrong, &shown, &patch), None, "{wrong}");
        }
    }

    #[test]
    fn links_keep_what_the_page_shows_and_change_one_thing() {
        let wanted = Wanted {
            view: Some("unified".into()),
            from: Some(1),
            whole: Some("a b.rs".into()),
            ..Wanted::default()
        };
        assert_eq!(
            wanted.address("/c", &[("view", Some("split")), ("to", Some("3")), ("from", None)]),
            "/c?to=3&view=split&whole=a%20b.rs&"
        );
    }
}
