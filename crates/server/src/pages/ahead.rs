//! The part of a project's page that shows what is kept ahead of demand: size, demand, hits and cost.

use windlass_wire::api::project::{Pool, Settings};

use super::{
    text::Text,
    view::ahead::{Ahead, AheadRow, AheadStart},
    when,
};

/// How many of the last starts are shown.
const STARTS: usize = 12;

/// What a project wants, and what its runners keep.
pub(super) fn ahead(settings: &Settings, pools: &[Pool]) -> Ahead {
    let wants = match (settings.pool_min, settings.pool_max) {
        (None, None) => "As many as demand wants, within what each runner keeps.".to_owned(),
        (min, None) => format!("At least {} on each runner.", min.unwrap_or(0)),
        (_, Some(0)) => "None, as the project says.".to_owned(),
        (min, Some(max)) => {
            format!("At least {}, at most {max} on each runner.", min.unwrap_or(0))
        }
    };
    Ahead { wants, rows: pools.iter().map(row).collect() }
}

fn row(pool: &Pool) -> AheadRow {
    let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
    let making = match pool.making {
        0 => String::new(),
        making => format!(", {making} being made"),
    };
    let demand = pool.gap_micros.zip(pool.refill_micros);
    let starts = pool.starts.iter().rev().take(STARTS);
    AheadRow {
        runner: Text::from(pool.runner.as_str()),
        size: format!("{} of {}{making}; at most {}", pool.ready, pool.wanted, pool.most),
        demand: demand.map(|(gap, refill)| {
            format!("one every {}, made in {}", when::micros(gap), when::micros(refill))
        }),
        cost: format!("{} of memory, {} of disk", mib(pool.memory_bytes), mib(pool.disk_bytes)),
        hits: (!pool.starts.is_empty())
            .then(|| format!("{} of the last {} starts", pool.hits, pool.starts.len())),
        starts: starts
            .map(|start| AheadStart { hit: start.hit, took: when::micros(start.micros) })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_project_wants_is_said_in_words() {
        let said = |min, max| {
            let settings = Settings { pool_min: min, pool_max: max, ..Settings::default() };
            ahead(&settings, &[]).wants
        };
        assert_eq!(said(None, None), "As many as demand wants, within what each runner keeps.");
        assert_eq!(said(Some(2), None), "At least 2 on each runner.");
        assert_eq!(said(Some(1), Some(3)), "At least 1, at most 3 on each runner.");
        assert_eq!(said(None, Some(0)), "None, as the project says.");
    }
}
