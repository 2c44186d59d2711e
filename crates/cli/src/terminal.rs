//! Printing for people: colours only on a terminal, columns, and text of strangers made harmless.

use std::{fmt::Write as _, io::IsTerminal as _};

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    pub(crate) fn for_stdout() -> Self {
        Self { colours: std::io::stdout().is_terminal() && allowed() }
    }

    pub(crate) fn for_stderr() -> Self {
        Self { colours: std::io::stderr().is_terminal() && allowed() }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31;1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A state with its shape, so that colour is never the only sign.
    pub(crate) fn state(self, state: &str) -> String {
        let (shape, code) = match state {
            "running" | "in_progress" => ("◐", "36"),
            "succeeded" | "merged" | "done" | "approved" => ("✓", "32"),
            "gave_up" => ("◇", "33"),
            "failed" => ("✕", "31"),
            "cancelled" | "closed" => ("⊘", "2"),
            "open" | "waiting" => ("◆", "35"),
            _ => ("○", "2"),
        };
        self.paint(code, &format!("{shape} {state}"))
    }
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints rows in columns. Widths count characters, and a row's colours don't.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let style = Style::for_stdout();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = (String, usize)>| {
        let mut line = String::new();
        for (cell, width) in cells {
            let padding = width.saturating_sub(visible(&cell)) + 2;
            let _ = write!(line, "{cell}{:padding$}", "");
        }
        println!("{}", line.trim_end());
    };
    line(&mut head.iter().map(|cell| style.dim(cell)).zip(widths.iter().copied()));
    for row in rows {
        line(&mut row.iter().cloned().zip(widths.iter().copied()));
    }
}

fn visible(cell: &str) -> usize {
    let mut count = 0;
    let mut in_sequence = false;
    for c in cell.chars() {
        match (in_sequence, c) {
            (false, '\x1b') => in_sequence = true,
            (true, 'm') => in_sequence = false,
            (true, _) => {}
            (false, _) => count += 1,
        }
    }
    count
}

/// Text from a model, a tool or a repository, made harmless for a terminal: colours (SGR sequences)
/// may stay on a terminal, everything else that a terminal would obey is dropped, and characters that
/// change the reading order or hide text are shown as their code points.
pub(crate) fn harmless(text: &str) -> String {
    let keep_colours = std::io::stdout().is_terminal();
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                let sequence = escape_sequence(&mut rest);
                if keep_colours && is_colour(&sequence) {
                    out.push('\x1b');
                    out.push_str(&sequence);
                }
            }
            '\n' | '\t' => out.push(c),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            c if hides_or_reorders(c) => {
                let _ = write!(out, "<U+{:04X}>", u32::from(c));
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// One line of such text, cut to a width.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let line = harmless(text).replace(['\n', '\t'], " ");
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn escape_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut sequence = String::new();
    match rest.peek().copied() {
        Some('[') => {
            sequence.extend(rest.next());
            while let Some(c) = rest.next_if(|c| !c.is_control()) {
                sequence.push(c);
                if ('\x40'..='\x7e').contains(&c) {
                    break;
                }
            }
        }
        // Strings for the terminal (titles, links, device control) end with BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\x07' || (c == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(c) if !c.is_control() => {
            rest.next();
        }
        _ => {}
    }
    sequence
}

fn is_colour(sequence: &str) -> bool {
    sequence
        .strip_prefix('[')
        .and_then(|body| body.strip_suffix('m'))
        .is_some_and(|body| body.chars().all(|c| c.is_ascii_digit() || c == ';' || c == ':'))
}

fn hides_or_reorders(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}')
}

/// How long ago, or how long, in the two largest units.
pub(crate) fn span(micros: i64) -> String {
    let seconds = (micros / 1_000_000).max(0);
    match seconds {
        0 => format!("{} ms", (micros / 1_000).max(0)),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_a_stranger_wrote() {
        let text = "a\x1b]0;title\x07b\x1b[2Jc\x1b]8;;http://x\x1b\\d\x07\u{9b}31me\u{202e}f\r\ng";
        assert_eq!(harmless(text), "abcd31me<U+202E>f\ng");
    }

    #[test]
    fn a_cut_escape_sequence_swallows_no_more_than_itself() {
        assert_eq!(harmless("a\x1b[31\nb\x1b"), "a\nb");
    }

    #[test]
    fn a_long_line_is_cut_by_characters_not_bytes() {
        assert_eq!(one_line("ääää\nb", 4), "äää…");
    }
}
