//! The steps of a job as bars on one time axis. Only geometry: places and lengths in hundredths of a
//! percent of the axis, which the template writes as SVG, beside the same figures as text.

use windlass_run::{Duration, Time};

use super::{State, Text};
use crate::pages::when;

/// The steps of a job on one axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timeline {
    /// Marks of the axis, from left to right.
    pub(crate) ticks: Vec<Tick>,
    /// The rows, from top to bottom.
    pub(crate) rows: Vec<Row>,
    /// How long the whole axis is.
    pub(crate) total: String,
}

/// A mark of the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Where, as a percentage.
    pub(crate) x: String,
    /// Its time since the axis began.
    pub(crate) label: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: Text,
    /// What sort of step, in a word.
    pub(crate) kind: &'static str,
    pub(crate) state: State,
    /// Where the step is shown.
    pub(crate) href: String,
    pub(crate) is_selected: bool,
    /// How long it took or has taken; empty before it began.
    pub(crate) took: String,
    /// Attempts begun, where more than one.
    pub(crate) attempts: Option<u32>,
    /// Its bar: where it begins and how long it is, as percentages.
    pub(crate) bar: Option<(String, String)>,
}

/// A step before it is placed.
pub(crate) struct Step {
    pub(crate) name: Text,
    pub(crate) kind: &'static str,
    pub(crate) state: State,
    pub(crate) href: String,
    pub(crate) is_selected: bool,
    pub(crate) attempts: u32,
    pub(crate) started_at: Option<Time>,
    pub(crate) ended_at: Option<Time>,
}

impl Timeline {
    /// Places steps on an axis from `from` to `to`.
    pub(crate) fn new(from: Time, to: Time, steps: Vec<Step>) -> Self {
        let total = to.since(from).as_micros().max(1_000_000);
        let place = |micros: i64| percentage(micros, total);
        let rows = steps
            .into_iter()
            .map(|step| {
                // The clocks of a runner and the server may differ: a bar stays on the axis.
                let span = step.started_at.map(|start| {
                    let start = start.clamp(from, to.max(from));
                    let end = step.ended_at.unwrap_or(to).clamp(start, to.max(start));
                    (start.since(from).as_micros().min(total), end.since(start).as_micros())
                });
                Row {
                    took: span.map_or_else(String::new, |(_, length)| {
                        when::span(Duration::from_micros(length))
                    }),
                    // A bar is never too short to be seen.
                    bar: span.map(|(start, length)| {
                        let length = length.max(total / 150);
                        (
                            place(start.min(total - total / 150)),
                            place(length.min(total - start).max(total / 150)),
                        )
                    }),
                    kind: if is_same(&step.name, step.kind) { "" } else { step.kind },
                    name: step.name,
                    state: step.state,
                    href: step.href,
                    is_selected: step.is_selected,
                    attempts: (step.attempts > 1).then_some(step.attempts),
                }
            })
            .collect();
        let ticks = ticks(total)
            .into_iter()
            .map(|at| Tick { x: place(at), label: tick_label(at) })
            .collect();
        Self { ticks, rows, total: when::span(Duration::from_micros(total)) }
    }
}

/// True if a step's name says already what sort it is.
fn is_same(name: &Text, kind: &str) -> bool {
    name.raw().replace(['_', '-'], " ") == kind
}

/// The moments of three to six marks at round times.
fn ticks(total: i64) -> Vec<i64> {
    const SECOND: i64 = 1_000_000;
    const STEPS: [i64; 17] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];
    let step = STEPS.iter().map(|step| step * SECOND).find(|step| total / step <= 4);
    let step = step.unwrap_or(total / 4).max(1);
    (0..).map(|i| i * step).take_while(|at| *at <= total).collect()
}

fn tick_label(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0 => "0".to_owned(),
        1..=59 => format!("{seconds} s"),
        60..=3_599 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        60..=3_599 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn percentage(part: i64, whole: i64) -> String {
    let hundredths = i128::from(part) * 10_000 / i128::from(whole.max(1));
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, started: Option<i64>, ended: Option<i64>) -> Step {
        Step {
            name: name.into(),
            kind: "command",
            state: State::Succeeded,
            href: String::new(),
            is_selected: false,
            attempts: 1,
            started_at: started.map(|s| Time::from_micros(s * 1_000_000)),
            ended_at: ended.map(|s| Time::from_micros(s * 1_000_000)),
        }
    }

    #[test]
    fn steps_are_bars_on_one_axis_with_round_marks() {
        let steps =
            vec![step("a", Some(0), Some(25)), step("b", Some(25), None), step("c", None, None)];
        let timeline = Timeline::new(Time::from_micros(0), Time::from_micros(100_000_000), steps);
        let bars: Vec<_> =
            timeline.rows.iter().map(|row| (row.bar.clone(), row.took.as_str())).collect();
        let bar = |x: &str, width: &str| Some((x.to_owned(), width.to_owned()));
        assert_eq!(
            bars,
            [(bar("0.00%", "25.00%"), "25 s"), (bar("25.00%", "75.00%"), "1 min 15 s"), (None, "")]
        );
        let ticks: Vec<_> =
            timeline.ticks.iter().map(|tick| (tick.x.as_str(), tick.label.as_str())).collect();
        assert_eq!(
            ticks,
            [("0.00%", "0"), ("30.00%", "30 s"), ("60.00%", "1 min"), ("90.00%", "1:30")]
        );
    }

    #[test]
    fn the_shortest_step_is_still_seen_and_no_bar_leaves_the_axis() {
        let steps = vec![step("a", Some(99), Some(99)), step("b", Some(100), Some(100))];
        let timeline = Timeline::new(Time::from_micros(0), Time::from_micros(100_000_000), steps);
        for row in timeline.rows {
            let (x, width) = row.bar.expect("a bar");
            let number = |text: &str| text.trim_end_matches('%').parse::<f64>().expect("a number");
            assert!(number(&width) >= 0.6 && number(&x) + number(&width) <= 100.1, "{x} {width}");
        }
    }
}
