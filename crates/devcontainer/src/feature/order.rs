//! In which order Features are installed: in rounds, each taking those whose dependencies are
//! satisfied, of these the ones with the highest priority, and of these all, by name.

mod collate;

use std::{cmp::Ordering, collections::BTreeMap};

use indexmap::IndexMap;
use serde::Serialize;

use super::{Manifest, OciReference, OptionValue, Options, Reference, reference};
use crate::{
    path,
    place::{Findings, Place},
    tree::Node,
};

/// A Feature that somebody fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The text of its `devcontainer-feature.json`.
    pub manifest: String,
    /// `sha256:` and the digest of its manifest in the registry, or of its archive.
    pub digest: String,
}

/// A Feature that will be installed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The reference as written.
    pub written: String,
    /// What it names.
    pub reference: Reference,
    /// The folder of a local one, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The digest of a fetched one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The variables with which its `install.sh` runs.
    pub environment: IndexMap<String, String>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Where it is asked for.
    pub place: Place,
    /// Its manifest with places.
    #[serde(skip)]
    pub node: Node,
    /// The options as given.
    #[serde(skip)]
    pub options: Options,
}

/// A Feature that is asked for, by a project or by another Feature.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub written: String,
    pub options: Options,
    pub place: Place,
}

/// Where manifests come from.
pub(crate) trait Manifests {
    /// The manifest of a local Feature with the path of its file, or of a fetched one with its digest;
    /// `None` if it isn't here, which has then been told or noted.
    fn find(
        &mut self,
        wanted: &Wanted,
        reference: &Reference,
        findings: &mut Findings,
    ) -> Option<Found>;
}

/// A manifest that was found.
pub(crate) struct Found {
    pub node: Node,
    pub folder: Option<String>,
    pub digest: Option<String>,
}

/// One Feature in the graph.
struct Entry {
    planned: Planned,
    /// What must go first.
    depends_on: Vec<Wanted>,
    /// What goes first if it is there.
    after: Vec<Reference>,
    priority: usize,
}

/// Works out the order of what is asked for and everything that it depends on.
pub(crate) fn plan(
    wanted: Vec<Wanted>,
    first: &[(String, Place)],
    manifests: &mut dyn Manifests,
    findings: &mut Findings,
) -> Vec<Planned> {
    let mut entries = graph(wanted, manifests, findings);
    for (i, (written, place)) in first.iter().enumerate() {
        match Reference::parse(written) {
            Ok(reference) => {
                let mut is_there = false;
                for entry in entries.iter_mut().filter(|entry| is_meant(&entry.planned, &reference))
                {
                    entry.priority = entry.priority.max(first.len() - i);
                    is_there = true;
                }
                if !is_there {
                    findings
                        .warn(place, format!("`{written}` isn't among the Features: remove it"));
                }
            }
            Err(error) => findings.refuse(place, error.to_string()),
        }
    }
    rounds(entries, findings)
}

/// Everything that is asked for, directly or not, each once.
fn graph(
    wanted: Vec<Wanted>,
    manifests: &mut dyn Manifests,
    findings: &mut Findings,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut queue: std::collections::VecDeque<Wanted> = modern(wanted, findings).into();
    while let Some(wanted) = queue.pop_front() {
        let reference = match Reference::parse(&wanted.written) {
            Ok(reference) => reference,
            Err(error) => {
                findings.refuse(&wanted.place, error.to_string());
                continue;
            }
        };
        let Some(found) = manifests.find(&wanted, &reference, findings) else { continue };
        let manifest = Manifest::read(&found.node, findings);
        let planned = Planned {
            environment: manifest.environment(&wanted.options, &wanted.place, findings),
            written: wanted.written,
            reference,
            folder: found.folder,
            digest: found.digest,
            place: wanted.place,
            options: wanted.options,
            node: found.node,
            manifest,
        };
        if entries.iter().any(|entry| is_same(&entry.planned, &planned)) {
            continue;
        }
        if planned.manifest.deprecated {
            let what =
                format!("the Feature `{}` is deprecated: look for its successor", planned.written);
            findings.warn(&planned.place, what);
        }
        let mut depends_on = Vec::new();
        for (written, options) in &planned.manifest.depends_on {
            let at = planned.node.get("dependsOn").and_then(|node| node.get(written));
            let place = at.map_or(&planned.place, |node| &node.place).clone();
            let wanted = Wanted { written: written.clone(), options: options.clone(), place };
            depends_on.push(wanted.clone());
            queue.push_back(wanted);
        }
        let after = &planned.manifest.installs_after;
        // What doesn't parse names nothing that could go first.
        let after = after.iter().filter_map(|written| Reference::parse(written).ok()).collect();
        entries.push(Entry { planned, depends_on, after, priority: 0 });
    }
    entries
}

/// Three short names of old are options of others today.
fn modern(mut wanted: Vec<Wanted>, findings: &mut Findings) -> Vec<Wanted> {
    let mut i = 0;
    while i < wanted.len() {
        let name = wanted[i].written.clone();
        let Some(today) = reference::of_short_name(&name) else {
            i += 1;
            continue;
        };
        findings.warn(&wanted[i].place, format!("`{name}` is a name of old: write `{today}`"));
        let Some(option) = reference::option_of_short_name(&name) else {
            i += 1;
            continue;
        };
        let old = wanted.remove(i);
        let resource = today.trim_end_matches(":1");
        let is_it = |other: &Wanted| {
            other.written == path::name(resource)
                || other.written == resource
                || other.written.strip_prefix(resource).is_some_and(|rest| rest.starts_with(':'))
        };
        let switched_on = (option.to_owned(), OptionValue::Truth(true));
        match wanted.iter_mut().find(|other| is_it(other)) {
            Some(other) => {
                let mut values = match std::mem::replace(&mut other.options, Options::Default(true))
                {
                    Options::Values(values) => values,
                    Options::Version(version) => {
                        IndexMap::from([("version".to_owned(), OptionValue::Text(version))])
                    }
                    Options::Default(_) => IndexMap::new(),
                };
                values.insert(switched_on.0, switched_on.1);
                other.options = Options::Values(values);
            }
            None => wanted.push(Wanted {
                written: today,
                options: Options::Values(IndexMap::from([switched_on])),
                place: old.place,
            }),
        }
    }
    wanted
}

fn rounds(mut waiting: Vec<Entry>, findings: &mut Findings) -> Vec<Planned> {
    let is_there = |reference: &Reference, waiting: &[Entry]| {
        waiting.iter().any(|entry| is_meant(&entry.planned, reference))
    };
    for i in 0..waiting.len() {
        let mut after = std::mem::take(&mut waiting[i].after);
        after.retain(|reference| is_there(reference, &waiting));
        waiting[i].after = after;
        // What couldn't be found was told already and would only look like a circle.
        let mut depends_on = std::mem::take(&mut waiting[i].depends_on);
        depends_on.retain(|wanted| satisfies(waiting.iter().map(|entry| &entry.planned), wanted));
        waiting[i].depends_on = depends_on;
    }
    let mut installed: Vec<Planned> = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |entry: &Entry| {
            entry.depends_on.iter().all(|wanted| satisfies(installed.iter(), wanted))
                && entry
                    .after
                    .iter()
                    .all(|reference| installed.iter().any(|done| is_meant(done, reference)))
        };
        let priority =
            waiting.iter().filter(|entry| is_ready(entry)).map(|entry| entry.priority).max();
        let Some(priority) = priority else {
            let names: Vec<&str> =
                waiting.iter().map(|entry| entry.planned.written.as_str()).collect();
            let what = format!(
                "these Features wait for each other: {}; remove one from `features`, or a \
                 `dependsOn` or `installsAfter` of theirs",
                names.join(", ")
            );
            findings.refuse(&waiting[0].planned.place, what);
            return installed;
        };
        let (mut round, rest): (Vec<Entry>, Vec<Entry>) =
            waiting.into_iter().partition(|entry| entry.priority == priority && is_ready(entry));
        waiting = rest;
        round.sort_by(|a, b| compare(&a.planned, &b.planned));
        installed.extend(round.into_iter().map(|entry| entry.planned));
    }
    installed
}

/// True if an exact dependency is among these.
fn satisfies<'a>(mut these: impl Iterator<Item = &'a Planned>, wanted: &Wanted) -> bool {
    let Ok(reference) = Reference::parse(&wanted.written) else { return false };
    these.any(|done| {
        done.options == wanted.options
            && match (&done.reference, &reference) {
                // Both are relative to the folder of the configuration.
                (Reference::Local(a), Reference::Local(b)) => path::tidy(a) == path::tidy(b),
                (a, b) => a == b || is_meant(done, b) && done.written == wanted.written,
            }
    })
}

/// True if a reference without version means this Feature, by its name of today or of old.
fn is_meant(planned: &Planned, reference: &Reference) -> bool {
    match (&planned.reference, reference) {
        (Reference::Local(a), Reference::Local(b)) => path::tidy(a) == path::tidy(b),
        (Reference::Tarball { url: a, .. }, Reference::Tarball { url: b, .. }) => a == b,
        (Reference::Oci(a), Reference::Oci(b)) => {
            a.resource() == b.resource()
                || (a.registry == b.registry
                    && a.namespace == b.namespace
                    && planned.manifest.names().any(|name| name == b.id))
        }
        (Reference::Local(_) | Reference::Tarball { .. } | Reference::Oci(_), _) => false,
    }
}

impl Manifest {
    /// Its name of today and those of old.
    fn names(&self) -> impl Iterator<Item = &str> {
        let today = self.current_id.as_deref().unwrap_or(&self.id);
        std::iter::once(today).chain(self.legacy_ids.iter().map(String::as_str))
    }
}

/// True if two are the same contents with the same options: installing one is enough.
fn is_same(a: &Planned, b: &Planned) -> bool {
    match (&a.reference, &b.reference) {
        (Reference::Oci(_), Reference::Oci(_))
            if a.digest.is_some() && a.digest == b.digest && a.options == b.options =>
        {
            true
        }
        (Reference::Oci(x), Reference::Oci(y)) => {
            x.tag == y.tag && a.digest == b.digest && compare(a, b) == Ordering::Equal
        }
        (Reference::Local(_), Reference::Local(_))
        | (Reference::Tarball { .. }, Reference::Tarball { .. }) => {
            compare(a, b) == Ordering::Equal
        }
        (Reference::Local(_) | Reference::Tarball { .. } | Reference::Oci(_), _) => false,
    }
}

/// The order within a round.
fn compare(a: &Planned, b: &Planned) -> Ordering {
    let options = || compare_options(&a.options, &b.options);
    match (&a.reference, &b.reference) {
        (Reference::Local(_), Reference::Local(_)) => {
            let folder = |planned: &Planned| planned.folder.clone().unwrap_or_default();
            collate::compare(&folder(a), &folder(b)).then_with(options)
        }
        (Reference::Tarball { url: x, .. }, Reference::Tarball { url: y, .. }) => {
            collate::compare(x, y).then_with(options)
        }
        (Reference::Oci(x), Reference::Oci(y)) => compare_names(a, x, b, y)
            .then_with(|| match (&x.tag, &y.tag) {
                (Some(x), Some(y)) => collate::compare(x, y),
                (Some(_) | None, _) => Ordering::Equal,
            })
            .then_with(options)
            .then_with(|| a.digest.cmp(&b.digest)),
        (Reference::Local(_) | Reference::Tarball { .. } | Reference::Oci(_), _) => {
            collate::compare(&a.written, &b.written)
        }
    }
}

fn compare_names(a: &Planned, x: &OciReference, b: &Planned, y: &OciReference) -> Ordering {
    let place =
        |reference: &OciReference| format!("{}/{}", reference.registry, reference.namespace);
    collate::compare(&place(x), &place(y)).then_with(|| {
        let is_renamed =
            a.manifest.names().any(|name| b.manifest.names().any(|other| name == other));
        if is_renamed { Ordering::Equal } else { collate::compare(&x.id, &y.id) }
    })
}

/// Fewer options go first; then by name, then by value.
fn compare_options(a: &Options, b: &Options) -> Ordering {
    match (a, b) {
        (Options::Version(a), Options::Version(b)) => collate::compare(a, b),
        (Options::Default(a), Options::Default(b)) => a.cmp(b),
        (Options::Values(a), Options::Values(b)) => {
            let sorted = |values: &IndexMap<String, OptionValue>| -> BTreeMap<String, OptionValue> {
                values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
            };
            a.len().cmp(&b.len()).then_with(|| sorted(a).cmp(&sorted(b)))
        }
        (Options::Default(_) | Options::Version(_) | Options::Values(_), _) => {
            let kind = |options: &Options| match options {
                Options::Default(_) => 0,
                Options::Values(_) => 1,
                Options::Version(_) => 2,
            };
            kind(a).cmp(&kind(b))
        }
    }
}
