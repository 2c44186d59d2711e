//! Expressions as data, made from a seed. They are rendered for each engine and read by none of ours.

use std::fmt::Write as _;

/// Numbers that look random and are the same in each run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` to `to`, both included.
    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        from + (self.next() % (to - from + 1) as u64) as i64
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.within(1, n) == 1
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0, from.len() as i64 - 1) as usize]
    }
}

/// A part of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// `*`, `*/3`
    All { step: i64 },
    /// `?`
    Any,
    /// `5`
    One(i64),
    /// `5-9`, `5-9/2`
    Range { from: i64, to: i64, step: i64 },
    /// `5/20`
    From { from: i64, step: i64 },
    /// `L`, `L-3`
    BeforeLast(i64),
    /// `15W`
    Nearest(i64),
    /// `LW`
    LastWorkingDay,
    /// `2#3`
    Nth { weekday: i64, nth: i64 },
    /// `2L`
    LastOf(i64),
}

/// Least and largest number of: second, minute, hour, day, month, weekday.
pub(crate) const BOUNDS: [(i64, i64); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
const MONTHS: [&str; 12] =
    ["jan", "Feb", "MAR", "apr", "May", "JUN", "jul", "Aug", "SEP", "oct", "Nov", "DEC"];
const WEEKDAYS: [&str; 7] = ["sun", "Mon", "TUE", "wed", "Thu", "FRI", "sat"];

/// An expression; the first of six fields is the second.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) fields: [Vec<Item>; 6],
    pub(crate) has_seconds: bool,
    pub(crate) has_names: bool,
}

/// How to write what engines write differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Ours,
    /// The last Friday is `L5`.
    Croniter,
}

impl Expression {
    pub(crate) fn text(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        for (n, items) in self.fields.iter().enumerate().skip(usize::from(!self.has_seconds)) {
            if !text.is_empty() {
                text.push(' ');
            }
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                self.render(*item, n, dialect, &mut text);
            }
        }
        text
    }

    fn render(&self, item: Item, n: usize, dialect: Dialect, text: &mut String) {
        let value = |value: i64| match n {
            4 if self.has_names => MONTHS[value as usize - 1].to_owned(),
            // A name is 7 at the end of a range only.
            5 if self.has_names && value < 7 => WEEKDAYS[value as usize].to_owned(),
            _ => value.to_string(),
        };
        let with_step = |step: i64| if step > 1 { format!("/{step}") } else { String::new() };
        let _ = match item {
            Item::All { step } => write!(text, "*{}", with_step(step)),
            Item::Any => write!(text, "?"),
            Item::One(one) => write!(text, "{}", value(one)),
            Item::Range { from, to, step } => {
                let to = match (n, to) {
                    (5, 7) if self.has_names => "sUN".to_owned(),
                    (_, to) => value(to),
                };
                write!(text, "{}-{to}{}", value(from), with_step(step))
            }
            Item::From { from, step } => write!(text, "{}/{step}", value(from)),
            Item::BeforeLast(0) => write!(text, "L"),
            Item::BeforeLast(before) => write!(text, "L-{before}"),
            Item::Nearest(day) => write!(text, "{day}W"),
            Item::LastWorkingDay => write!(text, "LW"),
            Item::Nth { weekday, nth } => write!(text, "{}#{nth}", value(weekday)),
            Item::LastOf(weekday) if dialect == Dialect::Croniter => write!(text, "L{weekday}"),
            Item::LastOf(weekday) => write!(text, "{}L", value(weekday)),
        };
    }

    /// Whether some field has such a part.
    pub(crate) fn has(&self, is_such: impl Fn(Item) -> bool) -> bool {
        self.fields.iter().flatten().any(|item| is_such(*item))
    }

    /// The stated rule: it goes by time that passed if minute or hour begin with a star.
    pub(crate) fn repeats(&self) -> bool {
        self.begins_with_star(1) || self.begins_with_star(2)
    }

    /// The stated rule: a day must be in both fields if one of them begins with a star.
    pub(crate) fn needs_both(&self) -> bool {
        self.begins_with_star(3) || self.begins_with_star(5)
    }

    pub(crate) fn begins_with_star(&self, field: usize) -> bool {
        matches!(self.fields[field][0], Item::All { .. } | Item::Any)
    }
}

/// What may be in an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) seconds: bool,
    /// `W`, `L-3`
    pub(crate) working_days: bool,
    /// `L`, `#`
    pub(crate) counted_days: bool,
    /// Parts beside others in a list, where some engines allow one only.
    pub(crate) mixed: bool,
}

pub(crate) const EVERYTHING: Wish =
    Wish { seconds: false, working_days: true, counted_days: true, mixed: true };

/// Some expression. Hours between 0 and 3 come often: that is when clocks change.
pub(crate) fn expression(dice: &mut Dice, wish: Wish) -> Expression {
    let mut fields: [Vec<Item>; 6] = Default::default();
    fields[0] = if wish.seconds { plain(dice, 0) } else { vec![Item::One(0)] };
    fields[1] =
        if dice.one_in(2) { vec![Item::One(*dice.pick(&[0, 15, 30, 45]))] } else { plain(dice, 1) };
    fields[2] = match dice.within(0, 5) {
        0 => vec![Item::All { step: 1 }],
        1 => plain(dice, 2),
        2 => vec![Item::One(dice.within(0, 23))],
        3 => vec![Item::One(dice.within(0, 3)), Item::One(dice.within(4, 23))],
        _ => vec![Item::One(dice.within(0, 3))],
    };
    fields[3] = month_days(dice, wish);
    fields[4] = if dice.one_in(4) { plain(dice, 4) } else { vec![Item::All { step: 1 }] };
    fields[5] = week_days(dice, wish);
    Expression { fields, has_seconds: wish.seconds, has_names: dice.one_in(2) }
}

fn month_days(dice: &mut Dice, wish: Wish) -> Vec<Item> {
    let mut items = match dice.within(0, 7) {
        0 | 1 => plain(dice, 3),
        2 if wish.counted_days => vec![Item::BeforeLast(0)],
        3 if wish.working_days => match dice.within(0, 2) {
            0 => vec![Item::BeforeLast(dice.within(1, 30))],
            1 => vec![Item::LastWorkingDay],
            _ => vec![Item::Nearest(dice.within(1, 31))],
        },
        4 => vec![Item::Any],
        _ => vec![Item::All { step: 1 }],
    };
    if wish.mixed && dice.one_in(6) && items[0] != Item::Any {
        items.push(Item::Nearest(dice.within(1, 31)));
        items.push(Item::One(dice.within(1, 31)));
    }
    items
}

fn week_days(dice: &mut Dice, wish: Wish) -> Vec<Item> {
    let weekday = dice.within(0, 6);
    let mut items = match dice.within(0, 7) {
        0 | 1 => plain(dice, 5),
        2 if wish.counted_days => vec![Item::Nth { weekday, nth: dice.within(1, 5) }],
        3 if wish.counted_days => vec![Item::LastOf(weekday)],
        4 => vec![Item::Any],
        _ => vec![Item::All { step: 1 }],
    };
    if wish.mixed && dice.one_in(6) && items[0] != Item::Any {
        items.push(Item::LastOf(dice.within(0, 6)));
        items.push(Item::One(dice.within(0, 6)));
    }
    items
}

fn plain(dice: &mut Dice, field: usize) -> Vec<Item> {
    let (least, most) = BOUNDS[field];
    let longest = (most - least) / 2;
    let range = |dice: &mut Dice, step: i64| {
        let from = dice.within(least, most - 1);
        // From Sunday to Sunday would be one day by its name, and the week by its number.
        let most = if field == 5 && from == 0 { 6 } else { most };
        Item::Range { from, to: dice.within(from + 1, most), step }
    };
    match dice.within(0, 5) {
        0 => vec![Item::All { step: dice.within(1, longest) }],
        1 => {
            let step = dice.within(1, longest.max(2));
            vec![range(dice, step)]
        }
        2 => vec![Item::From { from: dice.within(least, most), step: dice.within(2, longest) }],
        3 => vec![Item::One(dice.within(least, most)), range(dice, 1)],
        _ => (0..dice.within(1, 3)).map(|_| Item::One(dice.within(least, most))).collect(),
    }
}
