//! Terminal output as HTML: the colours and weights of SGR sequences become classed spans, every other
//! escape sequence is dropped, and what is left is escaped like any untrusted text. Nothing that a
//! program prints can move, erase or hide anything outside of its own line.

use super::text::{Html, cut, is_hidden, push_escaped, push_mark};

/// The longest line that is shown whole, in bytes.
const LINE_MAX: usize = 8 * 1024;

/// A terminal that remembers its colours from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    style: Style,
}

impl Terminal {
    /// One line, without its line break, as HTML. After a carriage return the line begins anew, as
    /// it does on a terminal; a return at the line's end does nothing.
    pub(crate) fn line(&mut self, line: &str) -> Html {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (line, left_out) = cut(line, LINE_MAX);
        let mut out = Output::default();
        let mut rest = line.chars();
        while let Some(character) = rest.next() {
            match character {
                '\u{1b}' => self.escape(&mut rest),
                '\u{9b}' => self.control_sequence(&mut rest),
                '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
                '\r' => out.restart(),
                '\u{7}' | '\u{8}' => {}
                _ => out.push(self.style, character),
            }
        }
        out.finish(left_out)
    }

    /// Many lines as HTML, joined by line breaks.
    pub(crate) fn lines(&mut self, text: &str) -> Html {
        let mut html = String::with_capacity(text.len() + text.len() / 8);
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                html.push('\n');
            }
            html.push_str(self.line(line).as_str());
        }
        Html::finished(html)
    }

    fn escape(&mut self, rest: &mut std::str::Chars<'_>) {
        match rest.next() {
            Some('[') => self.control_sequence(rest),
            Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
            // Further intermediate characters, then one final one: charset and the like.
            Some(' '..='/') => {
                let _ = rest.find(|character| !matches!(character, ' '..='/'));
            }
            Some(_) | None => {}
        }
    }

    /// `CSI parameters intermediates final`: only SGR (final `m`) means anything here.
    fn control_sequence(&mut self, rest: &mut std::str::Chars<'_>) {
        let mut parameters = String::new();
        for character in rest.by_ref() {
            match character {
                '0'..='9' | ';' | ':' if parameters.len() < 64 => parameters.push(character),
                ' '..='?' => {}
                'm' => return self.style.select(&parameters),
                _ => return,
            }
        }
    }
}

/// Drops the body of an OSC, DCS, SOS, PM or APC string up to its end (BEL or ST) or the line's.
fn skip_string(rest: &mut std::str::Chars<'_>) {
    let mut last = '\0';
    for character in rest.by_ref() {
        if character == '\u{7}' || character == '\u{9c}' || (last == '\u{1b}' && character == '\\')
        {
            return;
        }
        last = character;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    foreground: Option<u8>,
    background: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
    struck: bool,
}

impl Style {
    fn select(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 | 21 => self.underline = true,
                7 => self.inverse = true,
                9 => self.struck = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.struck = false,
                30..=37 => self.foreground = Some(colour(code - 30)),
                38 => self.foreground = extended(&mut codes).or(self.foreground),
                39 => self.foreground = None,
                40..=47 => self.background = Some(colour(code - 40)),
                48 => self.background = extended(&mut codes).or(self.background),
                49 => self.background = None,
                90..=97 => self.foreground = Some(colour(code - 90 + 8)),
                100..=107 => self.background = Some(colour(code - 100 + 8)),
                _ => {}
            }
        }
    }

    fn classes(self) -> String {
        let mut classes = String::new();
        let mut push = |class: &str| {
            if !classes.is_empty() {
                classes.push(' ');
            }
            classes.push_str(class);
        };
        if let Some(colour) = self.foreground {
            push(&format!("fg{colour}"));
        }
        if let Some(colour) = self.background {
            push(&format!("bg{colour}"));
        }
        let flags = [
            (self.bold, "tb"),
            (self.dim, "td"),
            (self.italic, "ti"),
            (self.underline, "tu"),
            (self.inverse, "tv"),
            (self.struck, "ts"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).for_each(|(_, class)| push(class));
        classes
    }
}

fn colour(code: u16) -> u8 {
    u8::try_from(code & 15).unwrap_or(0)
}

/// `5;N` (a palette of 256) or `2;R;G;B`, as the nearest of the sixteen colours that pages have.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match codes.next()? {
        5 => match codes.next()? {
            n @ 0..=15 => Some(colour(n)),
            n @ 16..=231 => {
                let level = |step: u16| if step == 0 { 0 } else { 55 + step * 40 };
                let cube = n - 16;
                Some(nearest(level(cube / 36), level(cube / 6 % 6), level(cube % 6)))
            }
            n @ 232..=255 => {
                Some(nearest(8 + (n - 232) * 10, 8 + (n - 232) * 10, 8 + (n - 232) * 10))
            }
            _ => None,
        },
        2 => Some(nearest(codes.next()?, codes.next()?, codes.next()?)),
        _ => None,
    }
}

/// Which of the sixteen colours comes nearest: three bits of hue, one of brightness.
fn nearest(red: u16, green: u16, blue: u16) -> u8 {
    let most = red.max(green).max(blue);
    let least = red.min(green).min(blue);
    if most.saturating_sub(least) < 32 {
        return match most {
            0..=63 => 0,
            64..=127 => 8,
            128..=211 => 7,
            _ => 15,
        };
    }
    let half = least + (most - least) / 2;
    let hue = u8::from(red > half) | u8::from(green > half) << 1 | u8::from(blue > half) << 2;
    if most > 191 { hue | 8 } else { hue }
}

#[derive(Default)]
struct Output {
    html: String,
    open: Style,
    is_span: bool,
    starts_anew: bool,
}

impl Output {
    /// What was written so far is overwritten by what follows, if something does.
    fn restart(&mut self) {
        self.starts_anew = true;
    }

    fn push(&mut self, style: Style, character: char) {
        if std::mem::take(&mut self.starts_anew) {
            *self = Self::default();
        }
        if style != self.open {
            self.close();
            if style != Style::default() {
                self.html.push_str("<span class=\"");
                self.html.push_str(&style.classes());
                self.html.push_str("\">");
                self.is_span = true;
            }
            self.open = style;
        }
        if is_hidden(character) {
            push_mark(&mut self.html, character);
        } else {
            push_escaped(&mut self.html, character.encode_utf8(&mut [0; 4]));
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_span) {
            self.html.push_str("</span>");
        }
    }

    fn finish(mut self, left_out: usize) -> Html {
        self.close();
        if left_out > 0 {
            self.html
                .push_str(&format!("<span class=\"left-out\"> … {left_out} more bytes</span>"));
        }
        Html::finished(self.html)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        Terminal::default().lines(text).as_str().to_owned()
    }

    #[test]
    fn colours_become_classes_and_last_over_line_breaks() {
        assert_eq!(
            shown("a\x1b[1;31mred\nstill\x1b[0m plain"),
            "a<span class=\"fg1 tb\">red</span>\n<span class=\"fg1 tb\">still</span> plain"
        );
        assert_eq!(shown("\x1b[38;5;196mx"), "<span class=\"fg9\">x</span>");
        assert_eq!(shown("\x1b[48;2;0;0;120mx"), "<span class=\"bg4\">x</span>");
        assert_eq!(shown("\x1b[38;5;250mx"), "<span class=\"fg7\">x</span>");
    }

    #[test]
    fn other_sequences_leave_no_trace() {
        assert_eq!(shown("\x1b[2J\x1b[1;1Hok\x1b[?25l"), "ok");
        assert_eq!(shown("\x1b]0;title\x07ok\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "oklink");
        assert_eq!(shown("\x1bP1$r\x1b\\ok\x1b(B\u{9b}31mred"), "ok<span class=\"fg1\">red</span>");
        assert_eq!(shown("ok\x1b"), "ok");
        assert_eq!(shown("ok\x1b[31"), "ok");
        assert_eq!(shown("ok\x1b]unfinished <b>\nnext"), "ok\nnext");
    }

    #[test]
    fn a_carriage_return_overwrites_the_line_as_a_terminal_does() {
        assert_eq!(shown("10%\r20%\r100%\r\nnext\r\n"), "100%\nnext\n");
    }

    #[test]
    fn markup_and_direction_tricks_are_shown_not_obeyed() {
        let html = shown("<script>\u{202e}\0");
        assert!(html.starts_with("&lt;script&gt;<span class=\"hidden-char\""), "{html}");
        assert!(html.contains("U+202E") && html.contains("U+0000"), "{html}");
    }

    #[test]
    fn an_endless_line_is_cut_with_a_word_about_it() {
        let html = shown(&"x".repeat(LINE_MAX + 5));
        assert!(html.ends_with("… 5 more bytes</span>"), "{}", &html[html.len() - 60..]);
    }

    /// What is left of HTML when the spans that we make are taken out.
    fn without_spans(html: &str) -> String {
        let mut rest = html;
        let mut left = String::new();
        while let Some(at) = rest.find('<') {
            left.push_str(&rest[..at]);
            let end = rest[at..].find('>').expect("a tag ends") + at + 1;
            let tag = &rest[at..end];
            assert!(tag == "</span>" || tag.starts_with("<span class=\""), "{tag}");
            rest = &rest[end..];
        }
        left.push_str(rest);
        left
    }

    proptest! {
        #[test]
        fn whatever_is_printed_no_markup_and_no_control_character_gets_through(
            text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f<>&\"']|\x1b\\[[0-9;:]{0,12}[a-zA-Z]|\x1b[\\]P_^X]|\r){0,200}"
        ) {
            let html = shown(&text);
            let left = without_spans(&html);
            prop_assert!(!left.contains(['<', '>', '"', '\'']));
            prop_assert!(!html.chars().any(|c| c != '\n' && c != '\t' && is_hidden(c)));
            prop_assert_eq!(html.matches("<span").count(), html.matches("</span>").count());
        }
    }
}
