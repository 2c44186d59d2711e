//! A step's output as lines: each line is an element of its own, known by the byte it begins at, so
//! that a log that grows only ever adds lines or completes its last one.

use askama::{Template, filters::HtmlSafe};

use super::Html;
use crate::pages::{ansi::Terminal, when};

/// The end of a log, or all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Log {
    pub(crate) lines: Vec<Line>,
    /// How many bytes before the first line are not shown, and where they are.
    pub(crate) earlier: Option<Earlier>,
    /// Where the log is given as it is.
    pub(crate) whole: String,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// True if more may come.
    pub(crate) is_live: bool,
}

impl Log {
    /// Its length with a unit.
    pub(crate) fn size(&self) -> String {
        when::size(self.length)
    }
}

/// What stands before the part that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// How much it is, with a unit.
    pub(crate) size: String,
    /// Where the part before is shown.
    pub(crate) href: String,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(source = "<div class=\"l\" id=\"l{{ offset }}\">{{ html }}</div>", ext = "html")]
pub(crate) struct Line {
    /// Where it begins in the log, in bytes: its id on the page.
    pub(crate) offset: u64,
    pub(crate) html: Html,
}

impl HtmlSafe for Line {}

/// Cuts bytes that come in pieces into lines.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    terminal: Terminal,
    offset: u64,
    unfinished: Vec<u8>,
}

impl Reader {
    /// The longest unfinished line that is kept, in bytes: longer ones are ended.
    const LINE_MAX: usize = 64 * 1024;

    /// A reader of a log from this byte on.
    pub(crate) fn new(offset: u64) -> Self {
        Self { terminal: Terminal::default(), offset, unfinished: Vec::new() }
    }

    /// Where the next bytes begin.
    pub(crate) fn at(&self) -> u64 {
        self.offset + u64::try_from(self.unfinished.len()).unwrap_or(u64::MAX)
    }

    /// Takes more bytes and gives the lines that came or changed: the last one may be unfinished.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        self.unfinished.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut from = 0;
        while from < self.unfinished.len() {
            let rest = &self.unfinished[from..];
            let (length, taken) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) if end <= Self::LINE_MAX => (end, end + 1),
                _ if rest.len() > Self::LINE_MAX => (Self::LINE_MAX, Self::LINE_MAX),
                Some(_) | None => break,
            };
            let html = self.terminal.line(&String::from_utf8_lossy(&rest[..length]));
            lines.push(Line { offset: self.offset, html });
            self.offset += u64::try_from(taken).unwrap_or(0);
            from += taken;
        }
        self.unfinished.drain(..from);
        if !self.unfinished.is_empty() {
            let text = String::from_utf8_lossy(&self.unfinished);
            let html = self.terminal.clone().line(&text);
            lines.push(Line { offset: self.offset, html });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: Vec<Line>) -> Vec<(u64, String)> {
        lines.into_iter().map(|line| (line.offset, line.html.to_string())).collect()
    }

    #[test]
    fn an_unfinished_line_is_shown_again_when_it_grows() {
        let mut reader = Reader::new(100);
        let line = |offset, text: &str| (offset, text.to_owned());
        assert_eq!(shown(reader.push(b"one\ntw")), [line(100, "one"), line(104, "tw")]);
        assert_eq!(shown(reader.push(b"o\n")), [line(104, "two")]);
        assert_eq!(reader.at(), 108);
        assert_eq!(
            shown(reader.push(b"\x1b[31mred")),
            [line(108, "<span class=\"fg1\">red</span>")]
        );
        assert_eq!(
            shown(reader.push(b"\nstill\n")),
            [
                line(108, "<span class=\"fg1\">red</span>"),
                line(117, "<span class=\"fg1\">still</span>")
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_ended_for_it() {
        let mut reader = Reader::new(0);
        let lines = reader.push(&vec![b'x'; Reader::LINE_MAX * 2 + 1]);
        assert_eq!(lines.len(), 3);
        assert_eq!(reader.at(), u64::try_from(Reader::LINE_MAX).expect("small") * 2 + 1);
    }
}
