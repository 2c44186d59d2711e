//! The page of a fleet: rings as bands of cells, what stands in its way, failures, burn-down, targets; and the
//! page of what its changes have in common.

use askama::Template;

use super::{
    Html, Moment, Shell, State, Text,
    shell::{Id, Who},
};

/// The page of a fleet.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "fleet.html")]
pub(crate) struct Fleet {
    pub(crate) shell: Shell,
    pub(crate) id: Id,
    /// Where it is.
    pub(crate) href: String,
    pub(crate) title: Text,
    pub(crate) state: &'static str,
    pub(crate) by: Who,
    pub(crate) created: Moment,
    /// Why nothing more is begun, and who said so.
    pub(crate) hold: Option<Hold>,
    /// Why no more is begun now.
    pub(crate) waits_for: Option<Text>,
    pub(crate) can: Can,
    pub(crate) legend: Vec<Count>,
    pub(crate) rings: Vec<Band>,
    pub(crate) failures: Vec<Failures>,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// A drawing, and the same as numbers.
    pub(crate) burn_down: Option<Html>,
    pub(crate) points: Vec<PointRow>,
    pub(crate) operations: Vec<OperationRow>,
    /// What is shown of the targets, in words.
    pub(crate) shown: Text,
    pub(crate) targets: Vec<TargetRow>,
    pub(crate) next: Option<String>,
    pub(crate) history: Vec<(Moment, Who, Text)>,
}

/// Why nothing more is begun.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hold {
    pub(crate) by: Option<Who>,
    pub(crate) reason: Text,
    pub(crate) since: Moment,
    pub(crate) is_final: bool,
}

/// What the person may do, and would do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Can {
    pub(crate) pause: bool,
    pub(crate) resume: bool,
    pub(crate) advance: bool,
    pub(crate) cancel: bool,
    pub(crate) retry: bool,
    pub(crate) merge: bool,
    pub(crate) close: bool,
    pub(crate) review: bool,
}

/// How many stand how, as a link to them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) name: &'static str,
    /// The class of its cells.
    pub(crate) class: &'static str,
    pub(crate) count: u32,
    pub(crate) href: String,
}

/// A ring.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) number: u16,
    pub(crate) name: Text,
    pub(crate) is_open: bool,
    /// How its targets stand, in words.
    pub(crate) says: String,
    pub(crate) unmet: Vec<Text>,
    pub(crate) cells: Html,
    pub(crate) href: String,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failures {
    pub(crate) kind: Text,
    pub(crate) what: String,
    pub(crate) trouble: String,
    pub(crate) targets: u32,
    pub(crate) href: String,
}

/// How it stood at the end of a minute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PointRow {
    pub(crate) at: Moment,
    pub(crate) left: u32,
    pub(crate) failed: u32,
    pub(crate) open: u32,
    pub(crate) merged: u32,
}

/// Something that was done to many changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OperationRow {
    pub(crate) what: String,
    pub(crate) says: String,
    pub(crate) by: Who,
    pub(crate) at: Moment,
    pub(crate) failures: Vec<(u32, Text)>,
}

/// A target in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetRow {
    pub(crate) number: u32,
    pub(crate) ring: u16,
    pub(crate) repository: Text,
    pub(crate) state: State,
    pub(crate) job: Option<String>,
    pub(crate) change: Option<(u64, String, String)>,
    pub(crate) reason: Option<Text>,
}

/// The page of what a fleet's changes have in common.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "fleet_clusters.html")]
pub(crate) struct Clusters {
    pub(crate) shell: Shell,
    pub(crate) href: String,
    pub(crate) title: Text,
    pub(crate) can_approve: bool,
    pub(crate) can_send_back: bool,
    pub(crate) clusters: Vec<ClusterCard>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterCard {
    pub(crate) id: Text,
    pub(crate) by_hand: bool,
    pub(crate) says: String,
    /// How many of it can be approved.
    pub(crate) waits: u32,
    pub(crate) exemplar: (Text, String),
    pub(crate) spread: Vec<Text>,
    pub(crate) outliers: Vec<(Text, String, Vec<Text>)>,
    /// Its changes.
    pub(crate) all: String,
}

/// The kinds of cells, in the order of the legend: the state, what a person reads, the class.
pub(crate) const KINDS: [(&str, &str, &str); 8] = [
    ("merged", "Merged", "c-merged"),
    ("succeeded", "Ended well", "c-succeeded"),
    ("running", "Running", "c-running"),
    ("planned", "Not begun", "c-planned"),
    ("skipped", "Nothing to do", "c-skipped"),
    ("failed", "Failed", "c-failed"),
    ("gave_up", "Gave up", "c-gave-up"),
    ("cancelled", "Cancelled", "c-cancelled"),
];

/// So many cells stand in a row.
const ACROSS: usize = 100;

/// The distance from one cell to the next.
const PITCH: usize = 10;

/// Draws cells, of which each is the place of its kind in [`KINDS`]: one path for each kind, whatever their
/// number. Each kind has a shape of its own, so that colour is not needed to tell them apart.
pub(crate) fn cells(kinds: &[usize], says: &str) -> Html {
    let rows = kinds.len().div_ceil(ACROSS).max(1);
    let (width, height) = (kinds.len().clamp(1, ACROSS) * PITCH, rows * PITCH);
    let mut svg = format!(
        "<svg class=\"cells\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{says}\">"
    );
    for (kind, (_, name, class)) in KINDS.iter().enumerate() {
        let mut path = String::new();
        for (place, _) in kinds.iter().enumerate().filter(|(_, of)| **of == kind) {
            let (x, y) = (place % ACROSS * PITCH + 1, place / ACROSS * PITCH + 1);
            path.push_str(&format!("M{x} {y}{}", shape(class)));
        }
        if !path.is_empty() {
            svg.push_str(&format!(
                "<path class=\"{class}\" d=\"{path}\"><title>{name}</title></path>"
            ));
        }
    }
    svg.push_str("</svg>");
    Html::finished(svg)
}

/// The shape of a cell, drawn from its upper left corner, eight across.
pub(crate) fn shape(class: &str) -> &'static str {
    match class {
        "c-merged" => "h8v8h-8z",
        "c-succeeded" => "h8v8h-8zm2 2v4h4v-4z",
        "c-running" => "m0 4h8v4h-8z",
        "c-planned" => "m3 3h2v2h-2z",
        "c-skipped" => "m0 3h8v2h-8z",
        "c-failed" => "l4 3 4-3-3 4 3 4-4-3-4 3 3-4z",
        "c-gave-up" => "m4 0 4 4-4 4-4-4z",
        _ => "l8 8h-2l-6-6z",
    }
}

/// The size of the burn-down.
const WIDE: i64 = 640;
const HIGH: i64 = 160;

/// Draws how many targets were left to do and how many changes were merged, over time. Absent for less than two
/// points.
pub(crate) fn burn_down(points: &[(i64, u32, u32)], targets: u32) -> Option<Html> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    if points.len() < 2 || last <= first || targets == 0 {
        return None;
    }
    let x = |at: i64| (at - first) * WIDE / (last - first);
    let y = |count: u32| HIGH - i64::from(count.min(targets)) * HIGH / i64::from(targets);
    let line = |of: fn(&(i64, u32, u32)) -> u32| {
        let steps = points.iter().enumerate().map(|(n, point)| {
            let (x, y) = (x(point.0), y(of(point)));
            if n == 0 { format!("M{x} {y}") } else { format!("H{x}V{y}") }
        });
        steps.collect::<String>()
    };
    let (left, merged) = (line(|point| point.1), line(|point| point.2));
    Some(Html::finished(format!(
        "<svg class=\"burn\" viewBox=\"-34 -10 {} {}\" role=\"img\" aria-label=\"Targets left to do and changes \
         merged, over time\"><path class=\"axis\" d=\"M0 0V{HIGH}H{WIDE}\"/><text x=\"-6\" y=\"4\" \
         text-anchor=\"end\">{targets}</text><text x=\"-6\" y=\"{HIGH}\" text-anchor=\"end\">0</text>\
         <path class=\"left\" d=\"{left}\"/><path class=\"merged\" d=\"{merged}\"/></svg>",
        WIDE + 44,
        HIGH + 20,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_cells_are_a_few_paths_of_a_bounded_size() {
        let kinds: Vec<usize> = (0..10_000).map(|n| n % KINDS.len()).collect();
        let drawn = cells(&kinds, "10000 targets").to_string();
        assert_eq!(drawn.matches("<path").count(), KINDS.len());
        assert!(drawn.len() < 400_000, "{}", drawn.len());
        assert!(drawn.contains("viewBox=\"0 0 1000 1000\""));
    }

    #[test]
    fn a_burn_down_needs_two_moments() {
        assert_eq!(burn_down(&[(0, 10, 0)], 10), None);
        let drawn = burn_down(&[(0, 10, 0), (60, 5, 1), (120, 0, 8)], 10).expect("drawn");
        let drawn = drawn.to_string();
        assert!(drawn.contains("M0 0H320V80H640V160"), "{drawn}");
        assert!(drawn.contains("M0 160H320V144H640V32"), "{drawn}");
    }
}
