//! Beside engines of other languages: npm's `cron-parser` and PyPI's `croniter`. Each is installed once, in
//! a fixed version, below the target folder, and answers all cases in one process. Where their rules for changes
//! of the clock are others, answers are compared if no clock is changed nearby; how often they agree near changes
//! is printed.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    Case, brute, cases,
    generate::{Dialect, Dice, Expression, Item, Wish},
    is_near_a_change, seconds, time, zone,
};

const WISH: Wish = Wish { seconds: true, working_days: false, counted_days: true, mixed: false };

#[test]
fn cron_parser_fires_at_the_same_moments() {
    compare(&CRON_PARSER, "cron_parser_fires_at_the_same_moments", 3);
}

#[test]
fn croniter_fires_at_the_same_moments() {
    compare(&CRONITER, "croniter_fires_at_the_same_moments", 4);
}

/// An engine of another language.
struct Engine {
    /// With its version.
    package: &'static str,
    install: fn(&Path, &str) -> Command,
    program: &'static str,
    /// Reads cases as JSON, writes an answer for each: seconds since 1970, or null.
    script: (&'static str, &'static str),
    dialect: Dialect,
    /// What it reads as we do.
    understands: fn(&Expression) -> bool,
    /// With which words it refuses what we don't.
    refuses: &'static str,
    /// For which expressions it has another rule when clocks change.
    differs_at_changes: fn(&Expression) -> bool,
    /// Up to when its rules of zones are known to be ours.
    until: i64,
}

const CRON_PARSER: Engine = Engine {
    package: "cron-parser@5.10.5",
    install: |folder, package| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        npm.arg(folder).arg(package).env("npm_config_cache", folder.join("cache"));
        npm
    },
    program: "node",
    script: (
        "ask.mjs",
        r#"
import { readFileSync } from "node:fs";
import { CronExpressionParser } from "cron-parser";
const answers = JSON.parse(readFileSync(0, "utf8")).map(({ cron, zone, from }) => {
    try {
        const schedule = CronExpressionParser.parse(cron, { currentDate: new Date(from * 1000), tz: zone });
        return Math.round(schedule.next().getTime() / 1000);
    } catch (error) {
        return String(error);
    }
});
process.stdout.write(JSON.stringify(answers));
"#,
    ),
    dialect: Dialect::Ours,
    // FRI-SUN goes backwards for it.
    understands: |expression| {
        let ends_with_sunday = |item| matches!(item, Item::Range { to: 7, .. });
        !(expression.has_names && expression.has(ends_with_sunday))
    },
    refuses: "duplicate values found",
    // It moves what is skipped by as much as the clock was put forward, and has its bounds when that is long.
    differs_at_changes: |_| true,
    // Node brings its own rules, which may be older: 1 January 2025.
    until: 1_735_689_600,
};

/// The edition that `jiff` has, 2026f. They are changed together.
const TZDATA: &str = "tzdata==2026.6";

const CRONITER: Engine = Engine {
    package: "croniter==7.0.0",
    install: |folder, package| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-cache-dir", "--root-user-action=ignore", "--target"]);
        pip.arg(folder).args([package, TZDATA]);
        pip
    },
    program: "python3",
    script: (
        "ask.py",
        r#"
import json, os, sys, zoneinfo
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# The zones that were installed beside this, not those of the system.
zoneinfo.reset_tzpath(to=[])
from datetime import datetime
from croniter import croniter

def answer(cron, zone, start):
    try:
        start = datetime.fromtimestamp(start, zoneinfo.ZoneInfo(zone))
        fires = croniter(cron, start, second_at_beginning=True, max_years_between_matches=60)
        return round(fires.get_next(float))
    except Exception as error:
        return repr(error)

cases = json.load(sys.stdin)
json.dump([answer(case["cron"], case["zone"], case["from"]) for case in cases], sys.stdout)
"#,
    ),
    dialect: Dialect::Croniter,
    // Steps from a weekday end on Saturday for it, and counted weekdays have to be days of the month, too.
    understands: |expression| {
        let is_other = |item: &Item| match item {
            Item::From { .. } => true,
            Item::Nth { .. } | Item::LastOf(_) => !expression.begins_with_star(3),
            _ => false,
        };
        !expression.fields[5].iter().any(is_other)
    },
    refuses: "nothing",
    // What repeats fires once, too, when the clock skips all of its times of a day: `*/20 2 * * *`. Seconds
    // are kept: what is skipped fires at 03:00:36.
    differs_at_changes: |expression| expression.repeats() || expression.has_seconds,
    until: i64::MAX,
};

fn compare(engine: &Engine, test: &str, seed: u64) {
    let script = match engine.install() {
        Ok(script) => script,
        Err(needs) => {
            let is_due = std::env::var("WINDLASS_TEST_ALL").as_deref() == Ok("1");
            assert!(!is_due, "{} is due: {needs}", engine.package);
            eprintln!(
                "SKIPPED {test}: needs {}, its registry and {}: set WINDLASS_TEST_NPM=1 ({needs})",
                engine.program, engine.package
            );
            return;
        }
    };
    let mut cases = cases(WISH, &mut Dice(seed));
    cases.retain(|case| {
        reads_days_alike(&case.expression) && (engine.understands)(&case.expression)
    });
    let answers = engine.ask(&script, &cases);
    let (mut compared, mut near, mut near_agreed, mut failures) = (0, 0, 0, Vec::new());
    for (case, answer) in cases.iter().zip(&answers) {
        let ours = case.ours.next_after(time(case.from)).map(seconds);
        let is_refused = answer.as_str().is_some_and(|error| error.contains(engine.refuses));
        if is_refused || ours.is_some_and(|fire| fire > engine.until) {
            continue;
        }
        let agrees = ours == answer.as_i64();
        let moments = [Some(case.from), ours, answer.as_i64()];
        let is_near = is_near_a_change(&zone(case.zone), &moments);
        near += i32::from(is_near);
        near_agreed += i32::from(is_near && agrees);
        // They don't know that a reading which comes again has fired already.
        let is_otherwise = (engine.differs_at_changes)(&case.expression) || is_shown_twice(case);
        if is_near && is_otherwise {
            continue;
        }
        compared += 1;
        if !agrees {
            let text = case.expression.text(engine.dialect);
            let Case { zone, from, .. } = case;
            failures.push(format!("{text} in {zone} after {from}: {ours:?}, not {answer}"));
        }
    }
    eprintln!(
        "{compared} fires are those of {}; near changes of the clock, {near_agreed} of {near} are",
        engine.package
    );
    let shown = &failures[..failures.len().min(20)];
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), shown.join("\n"));
    assert!(compared > 1_500 && near > 300, "{compared}, {near}");
}

/// Whether the clock shows the reading from which is asked twice.
fn is_shown_twice(case: &Case) -> bool {
    let zone = zone(case.zone);
    let changes = brute::changes(&zone, case.from - 86_400, case.from + 86_400);
    changes.iter().any(|(at, by)| *by < 0 && (case.from - at).abs() <= by.abs())
}

/// For them, `*/2` restricts a field of days like any list, and one that names all days doesn't.
fn reads_days_alike(expression: &Expression) -> bool {
    let is_plain_star =
        |field: usize| matches!(expression.fields[field][0], Item::All { step: 1 } | Item::Any);
    is_plain_star(3) || is_plain_star(5) || !expression.needs_both()
}

impl Engine {
    /// Installs it below the target folder, where the next test finds it again. Answers where the script is.
    fn install(&self) -> Result<PathBuf, String> {
        let is_on = |name: &str| std::env::var(name).as_deref() == Ok("1");
        if !is_on("WINDLASS_TEST_NPM") && !is_on("WINDLASS_TEST_ALL") {
            return Err("it wasn't asked for".to_owned());
        }
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = target.join(self.package.replace(['@', '='], "-"));
        if !folder.join("done").exists() {
            self.install_at(&target, &folder)?;
        }
        let script = folder.join(self.script.0);
        fs::write(&script, self.script.1).map_err(|error| error.to_string())?;
        Ok(script)
    }

    fn install_at(&self, target: &Path, folder: &Path) -> Result<(), String> {
        fs::create_dir_all(target).map_err(|error| error.to_string())?;
        let made = tempfile::tempdir_in(target).map_err(|error| error.to_string())?;
        let output = (self.install)(made.path(), self.package)
            .env("HOME", made.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("its installer: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        fs::write(made.path().join("done"), "").map_err(|error| error.to_string())?;
        let made = made.keep();
        let _ = fs::remove_dir_all(folder);
        fs::rename(&made, folder).or_else(|error| {
            // Another test may have been faster.
            if folder.join("done").exists() { Ok(()) } else { Err(error.to_string()) }
        })
    }

    fn ask(&self, script: &Path, cases: &[Case]) -> Vec<Value> {
        let asked: Vec<Value> = cases
            .iter()
            .map(|case| {
                let cron = case.expression.text(self.dialect);
                json!({ "cron": cron, "zone": case.zone, "from": case.from })
            })
            .collect();
        let mut engine = Command::new(self.program)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        engine.stdin.take().unwrap().write_all(&serde_json::to_vec(&asked).unwrap()).unwrap();
        let output = engine.wait_with_output().unwrap();
        assert!(output.status.success(), "{} ended with {}", self.package, output.status);
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), cases.len());
        answers
    }
}
