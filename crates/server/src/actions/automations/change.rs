//! Which automations are in force: planned, applied, rolled back, removed. A plan is what an apply would do,
//! worked out by the same code; what is applied is applied as a whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use windlass_run::{OrganisationId, ProjectId, actor::By, automation::Automation};
use windlass_store::automations::{
    Automation as Stored, Change, NewVersion, Origin, Outcome, Version,
};
use windlass_wire::api::automation::{
    ApplyAutomations, AutomationFile, AutomationPlan, PlannedChange,
};

use super::{read, supported};
use crate::{
    auth::Principal,
    launch,
    problem::{Code, Problem},
    state::AppState,
    triggers, views,
};

/// How many lines around a change a diff shows.
const AROUND: usize = 3;

/// Whose files are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Somebody's who handed them in.
    Hand,
    /// A project's, read at a commit.
    Project {
        /// Which.
        project_id: ProjectId,
        /// The commit.
        commit: String,
    },
}

/// In whose name, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Whose {
    pub(crate) by: By,
    pub(crate) organisation_id: OrganisationId,
}

impl From<&Principal> for Whose {
    fn from(principal: &Principal) -> Self {
        Self { by: principal.by(), organisation_id: principal.organisation_id.clone() }
    }
}

/// What would be done, and what the store is asked for to do it.
pub(crate) struct Planned {
    pub(crate) plan: AutomationPlan,
    changes: Vec<Change>,
}

/// Says what applying files would do.
///
/// # Errors
/// Files that are refused, with everything that is wrong with all of them; the store's failures.
pub(crate) async fn plan(
    app: &AppState,
    principal: &Principal,
    asked: ApplyAutomations,
) -> Result<AutomationPlan, Problem> {
    Ok(planned(app, &principal.into(), &asked.files, asked.prune, &Of::Hand).await?.plan)
}

/// Applies files.
///
/// # Errors
/// As [`plan`]; something else would be done than was expected.
pub(crate) async fn apply(
    app: &AppState,
    principal: &Principal,
    asked: ApplyAutomations,
) -> Result<AutomationPlan, Problem> {
    let planned = planned(app, &principal.into(), &asked.files, asked.prune, &Of::Hand).await?;
    if asked.expects.is_some_and(|expects| expects != planned.plan.digest) {
        let why = "what is in force has changed since the plan was made: look at a new plan";
        return Err(Problem::new(Code::Conflict, why).at("expects"));
    }
    put(app, &principal.into(), planned, None).await
}

/// Puts the text of an earlier version in force again, as a new version.
///
/// # Errors
/// It is not there; this server can't keep to it any more; the store's failures.
pub(crate) async fn roll_back(
    app: &AppState,
    principal: &Principal,
    name: &str,
    version: u64,
) -> Result<AutomationPlan, Problem> {
    let organisation_id = &principal.organisation_id;
    let all = app.store().automations(organisation_id).await?;
    let then = app.store().automation_version(organisation_id, name, version).await?;
    let standing = all.iter().find(|one| one.name == name);
    let project_id = standing.and_then(|one| one.current.origin.project_id().cloned());
    let file = AutomationFile { name: then.file.clone(), text: then.text.clone() };
    let nothing = BTreeSet::new();
    let overlay = Overlay::of(&all, vec![parsed(&file)?], &nothing);
    overlay.hold()?;
    let change = Change {
        name: name.to_owned(),
        expected: standing.map_or(0, |one| one.current.version),
        to: Some(NewVersion {
            file: then.file,
            text: then.text,
            origin: Origin::Version { version, project_id },
        }),
    };
    let shown = shown(app, organisation_id, &overlay, &change, standing).await?;
    put(app, &principal.into(), Planned::of(vec![(change, shown)]), None).await
}

/// Removes an automation. Its versions and runs stay.
///
/// # Errors
/// It is not there; another one calls it; the store's failures.
pub(crate) async fn remove(
    app: &AppState,
    principal: &Principal,
    name: &str,
) -> Result<(), Problem> {
    let all = app.store().automations(&principal.organisation_id).await?;
    let Some(there) = all.iter().find(|one| one.name == name) else {
        return Err(Problem::not_found(format!("automation {name}")));
    };
    Overlay::of(&all, Vec::new(), &BTreeSet::from([name.to_owned()])).hold()?;
    let change = Change { name: name.to_owned(), expected: there.current.version, to: None };
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    app.store().apply_automations(by, organisation_id, vec![change], None, app.now()).await?;
    Ok(())
}

/// Keeps an automation from starting anything by itself, or lets it again.
///
/// # Errors
/// It is not there; no reason; the store's failures.
pub(crate) async fn pause(
    app: &AppState,
    principal: &Principal,
    name: &str,
    reason: Option<String>,
) -> Result<(), Problem> {
    let reason = reason.map(|reason| reason.trim().to_owned());
    if reason.as_ref().is_some_and(|reason| reason.is_empty() || reason.len() > 1_000) {
        let why = "say why, in at most 1,000 bytes";
        return Err(Problem::new(Code::BadRequest, why).at("reason"));
    }
    let (by, organisation_id) = (principal.by(), principal.organisation_id.clone());
    app.store().pause_automation(by, organisation_id, name.to_owned(), reason, app.now()).await?;
    Ok(())
}

/// Works out what files would change.
pub(crate) async fn planned(
    app: &AppState,
    whose: &Whose,
    files: &[AutomationFile],
    prune: bool,
    of: &Of,
) -> Result<Planned, Problem> {
    let organisation_id = &whose.organisation_id;
    let all = app.store().automations(organisation_id).await?;
    let parsed = parsed_all(files)?;
    let there: BTreeMap<&str, &Stored> = all.iter().map(|one| (one.name.as_str(), one)).collect();
    let owner = match of {
        Of::Hand => None,
        Of::Project { project_id, .. } => Some(project_id),
    };
    for file in &parsed {
        let owned = there.get(file.name()).and_then(|one| one.current.origin.project_id());
        if let (Some(owned), Some(owner)) = (owned, owner)
            && owned != owner
        {
            let other = app.project_name(organisation_id, owned).await;
            let why = format!(
                "the automation `{}` is a file of the project {other} already: give one of them \
                 another name",
                file.name()
            );
            return Err(Problem::new(Code::Conflict, why));
        }
    }
    let named: BTreeSet<&str> = parsed.iter().map(Parsed::name).collect();
    let gone: BTreeSet<String> = all
        .iter()
        .filter(|one| prune && one.current.origin.project_id() == owner)
        .filter(|one| !named.contains(one.name.as_str()))
        .map(|one| one.name.clone())
        .collect();
    let mut changes: Vec<Change> = parsed
        .iter()
        .map(|file| Change {
            name: file.name().to_owned(),
            expected: there.get(file.name()).map_or(0, |one| one.current.version),
            to: Some(NewVersion {
                file: file.file.clone(),
                text: file.text.clone(),
                origin: match of {
                    Of::Hand => Origin::Hand,
                    Of::Project { project_id, commit } => {
                        Origin::Project { project_id: project_id.clone(), commit: commit.clone() }
                    }
                },
            }),
        })
        .chain(gone.iter().map(|name| Change {
            name: name.clone(),
            expected: there[name.as_str()].current.version,
            to: None,
        }))
        .collect();
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    let overlay = Overlay::of(&all, parsed, &gone);
    overlay.hold()?;
    let mut each = Vec::with_capacity(changes.len());
    for change in changes {
        let standing = there.get(change.name.as_str()).copied();
        let shown = shown(app, organisation_id, &overlay, &change, standing).await?;
        each.push((change, shown));
    }
    Ok(Planned::of(each))
}

/// Does what was planned.
pub(crate) async fn put(
    app: &AppState,
    whose: &Whose,
    planned: Planned,
    source: Option<(ProjectId, String)>,
) -> Result<AutomationPlan, Problem> {
    let Planned { plan, changes } = planned;
    let Whose { by, organisation_id } = whose.clone();
    let applied =
        app.store().apply_automations(by, organisation_id, changes, source, app.now()).await?;
    let mut plan = AutomationPlan { applied: true, ..plan };
    for (shown, applied) in plan.changes.iter_mut().zip(applied) {
        if applied.outcome != Outcome::Removed {
            shown.version = Some(applied.version);
        }
    }
    Ok(plan)
}

impl Planned {
    fn of(each: Vec<(Change, PlannedChange)>) -> Self {
        let mut hash = Sha256::new();
        for (change, _) in &each {
            let text = change.to.as_ref().map(|to| launch::digest(&to.text)).unwrap_or_default();
            hash.update(format!("{}\n{}\n{text}\n", change.name, change.expected));
        }
        let digest = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let (changes, shown) = each.into_iter().unzip();
        let plan = AutomationPlan { digest, applied: false, source: None, changes: shown };
        Self { plan, changes }
    }
}

/// A file that was read.
struct Parsed {
    file: String,
    text: String,
    automation: Arc<Automation>,
}

impl Parsed {
    fn name(&self) -> &str {
        self.automation.name.as_str()
    }
}

fn parsed(file: &AutomationFile) -> Result<Parsed, Problem> {
    let automation = read(file)?;
    supported(&automation)?;
    // One that something else starts too is told of by a notice.
    if let Some(kind) = triggers::unwatched(&automation).filter(|_| automation.triggers.len() == 1)
    {
        let why = format!(
            "{}: it has a `{kind}` trigger, and this version of Windlass raises no such events: use a \
             `schedule`, and look in its first step",
            file.name
        );
        return Err(Problem::new(Code::InvalidAutomation, why));
    }
    Ok(Parsed {
        file: file.name.clone(),
        text: file.text.clone(),
        automation: Arc::new(automation),
    })
}

/// All files, or everything that is wrong with any of them.
fn parsed_all(files: &[AutomationFile]) -> Result<Vec<Parsed>, Problem> {
    let mut all: Vec<Parsed> = Vec::with_capacity(files.len());
    let mut wrong = Vec::new();
    for file in files {
        match parsed(file) {
            Ok(one) => {
                if let Some(other) = all.iter().find(|other| other.name() == one.name()) {
                    wrong.push(format!(
                        "{}: another file has the name `{}`: {}",
                        one.file,
                        one.name(),
                        other.file
                    ));
                }
                all.push(one);
            }
            Err(problem) if problem.detail.starts_with(&file.name) => wrong.push(problem.detail),
            Err(problem) => wrong.push(format!("{}: {}", file.name, problem.detail)),
        }
    }
    if wrong.is_empty() {
        return Ok(all);
    }
    Err(Problem::new(Code::InvalidAutomation, wrong.join("\n")))
}

/// What would be in force.
struct Overlay<'a> {
    there: BTreeMap<&'a str, &'a Version>,
    new: BTreeMap<String, Parsed>,
    gone: &'a BTreeSet<String>,
}

impl<'a> Overlay<'a> {
    fn of(all: &'a [Stored], new: Vec<Parsed>, gone: &'a BTreeSet<String>) -> Self {
        Self {
            there: all.iter().map(|one| (one.name.as_str(), &one.current)).collect(),
            new: new.into_iter().map(|one| (one.name().to_owned(), one)).collect(),
            gone,
        }
    }

    /// Every call can be worked out: of the new, and of those that are there and call what changes.
    fn hold(&self) -> Result<(), Problem> {
        let mut wrong = Vec::new();
        for one in self.new.values() {
            if let Err(invalid) = one.automation.made(&|name| self.find(name)) {
                wrong.push(format!("{}: {invalid}", one.file));
            }
        }
        // Reading them all would be slow: one that never says the name does not call it.
        let touches = |text: &str| {
            text.contains("call")
                && self.gone.iter().chain(self.new.keys()).any(|name| text.contains(name.as_str()))
        };
        for (name, version) in &self.there {
            if self.new.contains_key(*name) || self.gone.contains(*name) || !touches(&version.text)
            {
                continue;
            }
            // One that can't be read any more is told where it is listed; it stands in nobody's way.
            let Some(automation) = self.find(name) else { continue };
            let before = automation.made(&|called| self.found_before(called));
            if before.is_ok()
                && let Err(invalid) = automation.made(&|called| self.find(called))
            {
                wrong.push(format!(
                    "`{name}`, which is in force, would not hold any more: {invalid}"
                ));
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Problem::new(Code::InvalidAutomation, wrong.join("\n"))),
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Automation>> {
        if let Some(new) = self.new.get(name) {
            return Some(new.automation.clone());
        }
        if self.gone.contains(name) {
            return None;
        }
        self.found_before(name)
    }

    fn found_before(&self, name: &str) -> Option<Arc<Automation>> {
        let version = self.there.get(name)?;
        Automation::read(&version.file, &version.text).ok().map(Arc::new)
    }
}

/// A change as a person looks at it.
async fn shown(
    app: &AppState,
    organisation_id: &OrganisationId,
    overlay: &Overlay<'_>,
    change: &Change,
    standing: Option<&Stored>,
) -> Result<PlannedChange, Problem> {
    let before = standing.map_or("", |one| one.current.text.as_str());
    let after = change.to.as_ref().map_or("", |to| to.text.as_str());
    let what = match (standing, &change.to) {
        (_, None) => "remove",
        (None, Some(_)) => "create",
        (Some(_), Some(_)) if before == after => "keep",
        (Some(_), Some(_)) => "change",
    };
    let mut shown = PlannedChange {
        name: change.name.clone(),
        what: what.to_owned(),
        version: standing.map(|one| one.current.version),
        diff: similar::TextDiff::from_lines(before, after)
            .unified_diff()
            .context_radius(AROUND)
            .to_string(),
        triggers: Vec::new(),
        fires: Vec::new(),
        targets: String::new(),
        history: views::automations::history(app, organisation_id, &change.name).await?,
        notes: Vec::new(),
    };
    if let Some(pause) = standing.and_then(|one| one.paused.as_ref()) {
        shown.notes.push(format!("it is paused: {}", pause.why));
    }
    if let Some(one) = standing
        && let Some(project_id) = one.current.origin.project_id()
        && !matches!(change.to.as_ref().map(|to| &to.origin), Some(Origin::Project { .. }))
    {
        let project = app.project_name(organisation_id, project_id).await;
        shown.notes.push(format!(
            "its file is in the project {project}: the next sync puts that text in force again"
        ));
    }
    let Some(parsed) = overlay.new.get(&change.name).filter(|_| change.to.is_some()) else {
        return Ok(shown);
    };
    let automation = &parsed.automation;
    shown.triggers = automation.triggers.iter().map(|one| one.on.to_string()).collect();
    shown.fires =
        automation.starts_after(app.now(), 5).iter().map(|time| time.as_micros()).collect();
    shown.targets = automation.targets.to_string();
    if !automation.enabled {
        shown.notes.push("its file switches it off".to_owned());
    }
    let by_the_clock = automation.triggers.iter().any(|one| one.on.schedule().is_some());
    if by_the_clock && automation.targets.is_from_trigger() {
        let note = "a schedule is of no project: list repositories or labels under `targets`, or its \
                    starts are refused";
        shown.notes.push(note.to_owned());
    }
    shown.notes.extend(unknown_projects(app, organisation_id, automation).await?);
    Ok(shown)
}

/// Projects that a file names and that are not there; a class that is not.
async fn unknown_projects(
    app: &AppState,
    organisation_id: &OrganisationId,
    automation: &Automation,
) -> Result<Vec<String>, Problem> {
    let mut notes = Vec::new();
    let named = &automation.targets.repositories;
    // More are looked at when it runs.
    for name in named.iter().take(50) {
        let found = match ProjectId::parse(name) {
            Ok(project_id) => app.store().project(organisation_id, &project_id).await,
            Err(_) => app.store().project_named(organisation_id, name).await,
        };
        match found {
            Ok(_) => {}
            Err(windlass_store::Error::NotFound { .. }) => {
                notes
                    .push(format!("there is no project {name}: its runs will fail until there is"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let class = automation.environment.class.as_deref();
    let labels = automation.environment.runs_on.to_string();
    let labels: Vec<String> =
        labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
    if let Err(problem) = views::classes::chosen(app, organisation_id, class, None, &labels).await {
        notes.push(format!("its environment can't be had: {}", problem.detail));
    }
    Ok(notes)
}
