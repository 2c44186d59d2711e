//! Reads a cron expression; says of each mistake where it is and what would do.

use super::{Cron, Field, InvalidCron, Numbers, days::MonthDays, days::WeekDays};

const ORDER: &str =
    "write `minute hour day month weekday`, with the second before them if it matters";

/// Names for whole expressions.
const NAMED: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

pub(super) fn parse(text: &str) -> Result<Cron, InvalidCron> {
    let mut cron = parse_fields(expanded(text)?)?;
    text.trim().clone_into(&mut cron.text);
    Ok(cron)
}

/// The expression that a name stands for, or itself.
fn expanded(text: &str) -> Result<&str, InvalidCron> {
    let trimmed = text.trim();
    if !trimmed.starts_with('@') {
        return Ok(text);
    }
    let named = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed));
    named.map(|(_, expression)| *expression).ok_or_else(|| {
        let known: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
        InvalidCron {
            field: None,
            at: 1 + text.chars().take_while(|c| c.is_whitespace()).count(),
            what: format!("{trimmed:?} is no known name"),
            remedy: format!("write one of {}", known.join(", ")),
        }
    })
}

fn parse_fields(text: &str) -> Result<Cron, InvalidCron> {
    let pieces = pieces(text);
    let wrong = |at: usize, what: String, remedy: &str| InvalidCron {
        field: None,
        at,
        what,
        remedy: remedy.to_owned(),
    };
    let (second, five) = match pieces.as_slice() {
        [] => return Err(wrong(1, "there is nothing".to_owned(), ORDER)),
        five @ [_, _, _, _, _] => (None, five),
        [second, five @ ..] if five.len() == 5 => (Some(*second), five),
        [_, _, _, _, _, _, more, ..] => {
            let what = format!("{} fields are too many", pieces.len());
            return Err(wrong(more.at, what, "write five, or six with the second first; no year"));
        }
        few => {
            let what = match few.len() {
                1 => "one field is too few".to_owned(),
                n => format!("{n} fields are too few"),
            };
            return Err(wrong(text.trim_end().chars().count() + 1, what, ORDER));
        }
    };
    let seconds = match second {
        Some(piece) => plain(Field::Second, piece)?,
        None => Numbers(1),
    };
    let [minute, hour, day, month, weekday] = five else {
        return Err(wrong(1, "there are not five fields".to_owned(), ORDER));
    };
    let cron = Cron {
        text: String::new(),
        seconds,
        minutes: plain(Field::Minute, *minute)?,
        hours: plain(Field::Hour, *hour)?,
        days: month_days(*day)?,
        months: plain(Field::Month, *month)?,
        weekdays: week_days(*weekday)?,
        both: day.begins_with_star() || weekday.begins_with_star(),
        repeats: minute.begins_with_star() || hour.begins_with_star(),
    };
    if cron.day_from(jiff::civil::date(2000, 1, 1)).is_none() {
        return Err(InvalidCron {
            field: Some(Field::Day),
            at: day.at,
            what: format!(
                "it never fires: no {} comes in month {}",
                if cron.both && !weekday.begins_with_star() {
                    format!("day {} that is also weekday {}", day.text, weekday.text)
                } else {
                    format!("day {}", day.text)
                },
                month.text
            ),
            remedy: "name a day that the month has; L is its last one".to_owned(),
        });
    }
    Ok(cron)
}

/// A part of the expression, and at which character it begins, from 1.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn begins_with_star(self) -> bool {
        self.text.starts_with(['*', '?'])
    }

    /// The parts between a character, which is one byte.
    fn split(self, separator: char) -> impl Iterator<Item = Piece<'a>> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let piece = Piece { text, at };
            at += text.chars().count() + 1;
            piece
        })
    }

    fn split_once(self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let (before, after) = self.text.split_once(separator)?;
        let at = self.at + before.chars().count() + 1;
        Some((Piece { text: before, at: self.at }, Piece { text: after, at }))
    }

    fn wrong(
        self,
        field: Field,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> InvalidCron {
        InvalidCron { field: Some(field), at: self.at, what: what.into(), remedy: remedy.into() }
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut begin = None;
    for (n, (i, c)) in text.char_indices().enumerate() {
        match (begin, c.is_whitespace()) {
            (None, false) => begin = Some((n, i)),
            (Some((at, from)), true) => {
                pieces.push(Piece { text: &text[from..i], at: at + 1 });
                begin = None;
            }
            (None, true) | (Some(_), false) => {}
        }
    }
    if let Some((at, from)) = begin {
        pieces.push(Piece { text: &text[from..], at: at + 1 });
    }
    pieces
}

/// A field of lists, ranges and steps only.
fn plain(field: Field, piece: Piece<'_>) -> Result<Numbers, InvalidCron> {
    let mut numbers = Numbers::default();
    for item in piece.split(',') {
        add_range(field, item, &mut numbers)?;
    }
    Ok(numbers)
}

fn month_days(piece: Piece<'_>) -> Result<MonthDays, InvalidCron> {
    const FIELD: Field = Field::Day;
    let mut days = MonthDays::default();
    if piece.text == "?" {
        add_range(FIELD, Piece { text: "*", ..piece }, &mut days.days)?;
        return Ok(days);
    }
    for item in piece.split(',') {
        let upper = item.text.to_ascii_uppercase();
        if upper == "L" {
            days.before_last.add(0);
        } else if upper == "LW" || upper == "WL" {
            days.last_working_day = true;
        } else if upper.starts_with("L-") {
            let (_, number) = item.split_once('-').unwrap_or((item, item));
            match number.text.parse::<u8>() {
                Ok(before @ 0..=30) if is_number(number.text) => days.before_last.add(before),
                _ => {
                    let what = format!("{:?} is no number from 0 to 30", number.text);
                    return Err(number.wrong(FIELD, what, "L-3 is the third day before the last"));
                }
            }
        } else if let Some(day) = upper.strip_suffix('W') {
            let day = Piece { text: &item.text[..day.len()], ..item };
            if day.text.contains(['-', '/', '*']) {
                let remedy = "write each day: 1W,2W,3W";
                return Err(day.wrong(FIELD, "W belongs to one day, not to several", remedy));
            }
            days.nearest.add(value(FIELD, day, "15W")?);
        } else {
            add_range(FIELD, item, &mut days.days)?;
        }
    }
    Ok(days)
}

fn week_days(piece: Piece<'_>) -> Result<WeekDays, InvalidCron> {
    const FIELD: Field = Field::Weekday;
    let mut days = WeekDays::default();
    if piece.text == "?" {
        add_range(FIELD, Piece { text: "*", ..piece }, &mut days.every)?;
        return Ok(days);
    }
    for item in piece.split(',') {
        if let Some((weekday, nth)) = item.split_once('#') {
            let weekday = value(FIELD, weekday, "MON#2")?;
            match nth.text.parse::<u8>() {
                Ok(nth @ 1..=5) => days.nth[usize::from(weekday % 7)].add(nth),
                _ => {
                    let what = format!("{:?} is no number from 1 to 5", nth.text);
                    let remedy = "MON#2 is the second Monday of the month, MONL the last one";
                    return Err(nth.wrong(FIELD, what, remedy));
                }
            }
        } else if item.text.ends_with(['L', 'l']) {
            let weekday = Piece { text: &item.text[..item.text.len() - 1], ..item };
            if weekday.text.is_empty() {
                let remedy = "write FRIL for the last Friday of the month, or SAT for Saturdays";
                return Err(item.wrong(FIELD, "L names no weekday", remedy));
            }
            days.last.add(value(FIELD, weekday, "FRIL")? % 7);
        } else {
            add_range(FIELD, item, &mut days.every)?;
        }
    }
    if days.every.has(7) {
        days.every.add(0);
        days.every.0 &= !(1 << 7);
    }
    Ok(days)
}

/// `*`, `5`, `1-5`, each also with `/2`.
fn add_range(field: Field, item: Piece<'_>, numbers: &mut Numbers) -> Result<(), InvalidCron> {
    let (range, step) = match item.split_once('/') {
        None => (item, None),
        Some((range, step)) => (range, Some(read_step(field, step)?)),
    };
    let (from, to) = if range.text == "*" {
        (field.bounds().0, field.end())
    } else if let Some((from, to)) = range.split_once('-') {
        read_range(field, from, to)?
    } else {
        let one = value(field, range, "")?;
        (one, if step.is_some() { field.bounds().1 } else { one })
    };
    for number in (from..=to).step_by(step.unwrap_or(1)) {
        numbers.add(number);
    }
    Ok(())
}

fn read_range(field: Field, from: Piece<'_>, to: Piece<'_>) -> Result<(u8, u8), InvalidCron> {
    let (begin, mut end) = (value(field, from, "")?, value(field, to, "")?);
    let is_named_sunday = field == Field::Weekday && !is_number(to.text) && end == 0;
    if is_named_sunday && begin > 0 {
        end = 7;
    }
    if begin <= end {
        return Ok((begin, end));
    }
    let (least, most) = (field.bounds().0, field.end());
    // As it was written: by name or by number.
    let shown = |number: u8| match field.names().get(usize::from(number - least)) {
        Some(name) if !is_number(from.text) => (*name).to_owned(),
        Some(_) | None => number.to_string(),
    };
    let part = |from: u8, to: u8| {
        if from == to { shown(from) } else { format!("{}-{}", shown(from), shown(to)) }
    };
    let what = format!("{}-{} goes backwards", from.text, to.text);
    Err(from.wrong(field, what, format!("write {},{}", part(begin, most), part(least, end))))
}

fn read_step(field: Field, step: Piece<'_>) -> Result<usize, InvalidCron> {
    let count = field.end() - field.bounds().0 + 1;
    match step.text.parse::<u8>() {
        Ok(number) if (1..=count).contains(&number) && is_number(step.text) => {
            Ok(usize::from(number))
        }
        _ => {
            let what = format!("{:?} is no step from 1 to {count}", step.text);
            let remedy = match field {
                Field::Second | Field::Minute => {
                    "steps begin anew with each round; longer ones need the next field"
                }
                Field::Hour | Field::Day | Field::Month | Field::Weekday => {
                    "steps begin anew with each round, so a longer one would mean nothing"
                }
            };
            Err(step.wrong(field, what, remedy))
        }
    }
}

/// One number or name. `like` shows how one is written where it has to stand alone.
fn value(field: Field, piece: Piece<'_>, like: &str) -> Result<u8, InvalidCron> {
    let (least, most) = field.bounds();
    let remedy = || {
        let values = field.values();
        if like.is_empty() {
            format!("write {values}")
        } else {
            format!("write {values}, as in {like}")
        }
    };
    if is_number(piece.text) {
        return match piece.text.parse::<u8>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            Ok(number) if number < least => {
                Err(piece.wrong(field, format!("{} is less than {least}", piece.text), remedy()))
            }
            _ => Err(piece.wrong(field, format!("{} is more than {most}", piece.text), remedy())),
        };
    }
    let named = field.names().iter().position(|name| name.eq_ignore_ascii_case(piece.text));
    if let Some(index) = named {
        return Ok(least + index as u8);
    }
    if piece.text.is_empty() {
        return Err(piece.wrong(field, "a value is missing", remedy()));
    }
    Err(unknown(field, piece, remedy()))
}

/// A text that is no value of the field: says why, if that can be guessed.
fn unknown(field: Field, piece: Piece<'_>, remedy: String) -> InvalidCron {
    let upper = piece.text.to_ascii_uppercase();
    let begins_with = |name: &&&str| upper.starts_with(**name);
    if let Some(name) = field.names().iter().find(begins_with)
        && upper.chars().all(|c| c.is_ascii_alphabetic())
    {
        let what = format!("{:?} is longer than names are", piece.text);
        return piece.wrong(field, what, format!("write {name}"));
    }
    let what = match upper.as_str() {
        "?" => "? has to be the whole field, for the day of the month or of the week only",
        "H" => "H (a value made up for each job) is not known; jitter spreads fires instead",
        "*" => "* can't be a part of a range",
        "L" | "LW" => "L stands alone, and only for days",
        _ => "",
    };
    if what.is_empty() {
        return piece.wrong(field, format!("{:?} is no value", piece.text), remedy);
    }
    piece.wrong(field, what, remedy)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
