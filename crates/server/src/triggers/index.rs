//! The triggers of all automations that are in force, by the place at which each waits. In memory, brought up
//! to date when the store says that an automation was changed; only files that changed are read again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::sync::Mutex;
use windlass_run::{
    Time,
    actor::By,
    automation::{Automation, Trigger},
    event::Event,
    trigger,
};
use windlass_store::automations::{self as stored, Head};

use crate::{problem::Problem, state::AppState};

/// From how many changed files on all are read at once.
const ALL_AT_ONCE: usize = 20;

/// An automation that is in force.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) automation: Arc<Automation>,
    pub(crate) version: u64,
    pub(crate) digest: String,
    /// Who applied it.
    pub(crate) applied: By,
    pub(crate) is_paused: bool,
    /// When something about it last changed.
    pub(crate) changed_at: Time,
    /// The name of each of its triggers, and where it waits.
    triggers: Arc<Vec<(String, String)>>,
}

/// A trigger of one.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) known: Arc<Known>,
    n: usize,
}

/// All of them as they were at one moment.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// How often automations had changed.
    mark: Option<u64>,
    by_name: BTreeMap<String, Arc<Known>>,
    by_place: HashMap<String, Vec<Waiting>>,
}

/// See the room.
#[derive(Default)]
pub(crate) struct Registry {
    newest: Mutex<Arc<Index>>,
}

impl Waiting {
    /// The trigger.
    pub(crate) fn trigger(&self) -> &Trigger {
        &self.known.automation.triggers[self.n]
    }

    /// Its name.
    pub(crate) fn key(&self) -> &str {
        &self.known.triggers[self.n].0
    }
}

impl Known {
    pub(crate) fn new(automation: Automation, row: stored::Automation) -> Self {
        let name = &automation.name;
        let triggers = automation.triggers.iter().map(|one| {
            let key = trigger::key(name, &one.on);
            let place = trigger::waits_at(&one.on, &key);
            (key, place)
        });
        Self {
            triggers: Arc::new(triggers.collect()),
            automation: Arc::new(automation),
            version: row.current.version,
            digest: row.current.digest,
            applied: row.applied,
            is_paused: row.paused.is_some(),
            changed_at: row.changed_at,
        }
    }

    /// Its triggers.
    pub(crate) fn triggers(self: &Arc<Self>) -> impl Iterator<Item = Waiting> {
        (0..self.triggers.len()).map(|n| Waiting { known: self.clone(), n })
    }
}

impl Index {
    /// How often automations had changed when it was made.
    pub(crate) fn mark(&self) -> Option<u64> {
        self.mark
    }

    /// The triggers that could wait for an event.
    pub(crate) fn waiting_for(&self, event: &Event) -> &[Waiting] {
        self.by_place.get(&trigger::arrives_at(event)).map_or(&[], Vec::as_slice)
    }

    /// An automation by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Known>> {
        self.by_name.get(name)
    }

    /// All automations, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Known>> {
        self.by_name.values()
    }

    pub(crate) fn of(known: impl IntoIterator<Item = Arc<Known>>, mark: Option<u64>) -> Self {
        let mut index = Self { mark, ..Self::default() };
        for known in known {
            for waiting in known.triggers() {
                let place = known.triggers[waiting.n].1.clone();
                let there = index.by_place.entry(place).or_default();
                // Two entries that wait for the same are one trigger.
                if !there.iter().any(|other| other.key() == waiting.key()) {
                    there.push(waiting);
                }
            }
            index.by_name.insert(known.automation.name.to_string(), known);
        }
        index
    }
}

/// The index as things are now: whatever was applied before this is called is in it.
///
/// # Errors
/// The store's failures.
pub(crate) async fn newest(app: &AppState) -> Result<Arc<Index>, Problem> {
    let mut newest = app.triggers().newest.lock().await;
    let mark = app.store().subscribe().borrow().automations;
    if newest.mark != Some(mark) {
        *newest = Arc::new(read(app, &newest, mark).await?);
    }
    Ok(newest.clone())
}

async fn read(app: &AppState, before: &Index, mark: u64) -> Result<Index, Problem> {
    let heads = app.store().automation_heads(app.organisation_id()).await?;
    let is_same = |head: &Head| before.get(&head.name).filter(|it| it.version == head.version);
    let changed = heads.iter().filter(|head| is_same(head).is_none()).count();
    let mut texts = HashMap::new();
    if changed >= ALL_AT_ONCE {
        let all = app.store().automations(app.organisation_id()).await?;
        texts.extend(all.into_iter().map(|row| (row.name.clone(), row)));
    }
    let mut known = Vec::with_capacity(heads.len());
    for head in heads {
        if let Some(same) = is_same(&head) {
            known.push(match same.is_paused == head.is_paused {
                true => same.clone(),
                false => Arc::new(Known {
                    automation: same.automation.clone(),
                    triggers: same.triggers.clone(),
                    version: same.version,
                    digest: same.digest.clone(),
                    applied: same.applied.clone(),
                    is_paused: head.is_paused,
                    changed_at: head.changed_at,
                }),
            });
            continue;
        }
        let row = match texts.remove(&head.name) {
            Some(row) => row,
            None => match app.store().automation(app.organisation_id(), &head.name).await {
                Ok(row) => row,
                // Removed just now: the next look sees that too.
                Err(windlass_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            },
        };
        match Automation::read(&row.current.file, &row.current.text) {
            Ok(automation) => {
                tell_unwatched(app, &automation).await?;
                known.push(Arc::new(Known::new(automation, row)));
            }
            Err(refused) => {
                let why = format!(
                    "{} version {} can't be read by this version of Windlass, and starts nothing: \
                     {refused}",
                    head.name, head.version
                );
                app.notices().raise(app, super::REFUSED, &head.name, why).await?;
            }
        }
    }
    Ok(Index::of(known, Some(mark)))
}

/// Tells of a trigger that nothing will pull, so that nobody waits for it.
async fn tell_unwatched(app: &AppState, automation: &Automation) -> Result<(), Problem> {
    let name = automation.name.as_str();
    let Some(kind) = super::unwatched(automation) else {
        return app.notices().resolve(app, super::UNWATCHED, name).await;
    };
    let text = format!(
        "{name} has a `{kind}` trigger, and this version of Windlass raises no such events: it starts \
         nothing by that. Use a `schedule` and look in its first step."
    );
    app.notices().raise(app, super::UNWATCHED, name, text).await
}
