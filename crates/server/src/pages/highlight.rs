//! Syntax colours for lines of code: one small scanner for all languages, driven by a table of what
//! each language calls a comment, a string and a keyword. It is linear in the line, needs no grammar
//! and can't be led astray by hostile text: what it does not know stays plain. It classifies ranges and
//! writes no markup itself, apart from [`code`], which joins ranges and escapes.

mod languages;

use std::ops::Range;

use super::text::{Html, cut, push_escaped};
pub(crate) use languages::Language;

/// What a range of a line is. The names are those of the style sheet's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Comment,
    Text,
    Number,
    Keyword,
    Type,
    Function,
    Attribute,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Comment => "hc",
            Self::Text => "hs",
            Self::Number => "hn",
            Self::Keyword => "hk",
            Self::Type => "ht",
            Self::Function => "hf",
            Self::Attribute => "ha",
        }
    }
}

/// What a line leaves open for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    #[default]
    Plain,
    /// A comment, so many levels deep.
    Comment(u8),
    /// A string that ends with this.
    Text(&'static str),
}

/// The longest line that is coloured, in bytes; longer ones are plain and cut.
const LINE_MAX: usize = 2 * 1024;

/// One line of code as HTML, with what changed within the line emphasised.
pub(crate) fn code(
    line: &str,
    language: Option<&'static Language>,
    state: &mut State,
    emphasis: Option<Range<usize>>,
) -> Html {
    let (line, left_out) = cut(line, LINE_MAX);
    let classes = match language {
        Some(language) if left_out == 0 => scan(language, line, state),
        Some(_) | None => Vec::new(),
    };
    let mut html = String::with_capacity(line.len() * 2);
    let mut at = 0;
    for (range, class) in classes {
        push_range(&mut html, line, at..range.start, None, emphasis.as_ref());
        push_range(&mut html, line, range.clone(), Some(class), emphasis.as_ref());
        at = range.end;
    }
    push_range(&mut html, line, at..line.len(), None, emphasis.as_ref());
    if left_out > 0 {
        html.push_str(&format!("<span class=\"left-out\"> … {left_out} more bytes</span>"));
    }
    Html::finished(html)
}

/// Appends a range of one class, cut where the emphasis begins and ends.
fn push_range(
    html: &mut String,
    line: &str,
    range: Range<usize>,
    class: Option<Class>,
    emphasis: Option<&Range<usize>>,
) {
    let mut edges = vec![range.start];
    if let Some(emphasis) = emphasis {
        for edge in [emphasis.start, emphasis.end] {
            if edge > range.start && edge < range.end && line.is_char_boundary(edge) {
                edges.push(edge);
            }
        }
    }
    edges.push(range.end);
    for pair in edges.windows(2) {
        let part = pair[0]..pair[1];
        if part.is_empty() {
            continue;
        }
        let is_emphasised = emphasis
            .is_some_and(|emphasis| emphasis.start <= part.start && part.end <= emphasis.end);
        let name = class.map_or("", Class::name);
        match (name, is_emphasised) {
            ("", false) => push_escaped(html, &line[part]),
            ("", true) => push_span(html, "em", &line[part]),
            (name, false) => push_span(html, name, &line[part]),
            (name, true) => push_span(html, &format!("{name} em"), &line[part]),
        }
    }
}

fn push_span(html: &mut String, class: &str, text: &str) {
    html.push_str("<span class=\"");
    html.push_str(class);
    html.push_str("\">");
    push_escaped(html, text);
    html.push_str("</span>");
}

/// The classified ranges of a line, in order and apart from each other.
pub(crate) fn scan(
    language: &'static Language,
    line: &str,
    state: &mut State,
) -> Vec<(Range<usize>, Class)> {
    let mut scanner = Scanner { language, line, at: 0, found: Vec::new() };
    scanner.resume(state);
    while scanner.at < line.len() {
        scanner.step(state);
    }
    scanner.found
}

struct Scanner<'a> {
    language: &'static Language,
    line: &'a str,
    at: usize,
    found: Vec<(Range<usize>, Class)>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.line[self.at..]
    }

    fn take(&mut self, length: usize, class: Class) {
        self.found.push((self.at..self.at + length, class));
        self.at += length;
    }

    /// Ends what the line before left open.
    fn resume(&mut self, state: &mut State) {
        match *state {
            State::Plain => {}
            State::Comment(depth) => self.block_comment(0, depth, state),
            State::Text(end) => self.long_text(0, end, state),
        }
    }

    fn step(&mut self, state: &mut State) {
        let language = self.language;
        if let Some((open, _)) = language.block_comment
            && self.rest().starts_with(open)
        {
            return self.block_comment(open.len(), 1, state);
        }
        if self.starts_line_comment() {
            let length = self.rest().len();
            return self.take(length, Class::Comment);
        }
        for (open, end) in language.long_texts {
            if self.rest().starts_with(open) {
                return self.long_text(open.len(), end, state);
            }
        }
        let Some(character) = self.rest().chars().next() else { return };
        if language.quotes.contains(character) {
            return self.quoted(character);
        }
        if character.is_ascii_digit() {
            let length = number_length(self.rest());
            return self.take(length, Class::Number);
        }
        if is_word_start(character) {
            return self.word();
        }
        if language.attribute_marks.contains(character) {
            let length = attribute_length(self.rest());
            if length > 1 {
                return self.take(length, Class::Attribute);
            }
        }
        self.at += character.len_utf8();
    }

    fn starts_line_comment(&self) -> bool {
        let mark = self.language.line_comments.iter().find(|mark| self.rest().starts_with(**mark));
        match mark {
            // In shells and the like, `a#b` is a word, not a comment.
            Some(&"#") => self.line[..self.at].chars().next_back().is_none_or(char::is_whitespace),
            Some(_) => true,
            None => false,
        }
    }

    fn block_comment(&mut self, skip: usize, mut depth: u8, state: &mut State) {
        let Some((open, close)) = self.language.block_comment else {
            *state = State::Plain;
            return;
        };
        let mut length = skip;
        loop {
            let rest = &self.rest()[length..];
            let to_close = rest.find(close);
            let to_open = if self.language.nests { rest.find(open) } else { None };
            match (to_close, to_open) {
                (close_at, Some(open_at)) if close_at.is_none_or(|close_at| open_at < close_at) => {
                    depth = depth.saturating_add(1);
                    length += open_at + open.len();
                }
                (Some(close_at), _) => {
                    depth -= 1;
                    length += close_at + close.len();
                    if depth == 0 {
                        *state = State::Plain;
                        return self.take(length, Class::Comment);
                    }
                }
                (None, _) => {
                    *state = State::Comment(depth);
                    let length = self.rest().len();
                    return self.take(length, Class::Comment);
                }
            }
        }
    }

    fn long_text(&mut self, skip: usize, end: &'static str, state: &mut State) {
        match find_unescaped(&self.rest()[skip..], end) {
            Some(at) => {
                *state = State::Plain;
                self.take(skip + at + end.len(), Class::Text);
            }
            None => {
                *state = State::Text(end);
                let length = self.rest().len();
                self.take(length, Class::Text);
            }
        }
    }

    fn quoted(&mut self, quote: char) {
        let inside = &self.rest()[1..];
        let mut end = [0; 4];
        let Some(close) = find_unescaped(inside, quote.encode_utf8(&mut end)) else {
            // A Rust lifetime, an apostrophe: not a text after all.
            self.at += 1;
            return;
        };
        let is_lifetime = quote == '\'' && self.language.has_lifetimes && {
            let between = &inside[..close];
            !between.starts_with('\\') && between.chars().count() != 1
        };
        if is_lifetime {
            self.at += 1;
            return;
        }
        self.take(close + 2, Class::Text);
        let is_key = self.language.keys_before_colon && self.rest().trim_start().starts_with(':');
        if is_key && let Some(last) = self.found.last_mut() {
            last.1 = Class::Attribute;
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let length = rest.find(|c: char| !is_word(c, self.language)).unwrap_or(rest.len());
        let word = &rest[..length];
        let after = rest[length..].trim_start();
        let folded;
        let keyword = if self.language.ignores_case {
            folded = word.to_ascii_lowercase();
            folded.as_str()
        } else {
            word
        };
        if self.language.is_keyword(keyword) {
            self.take(length, Class::Keyword);
        } else if self.language.is_constant(keyword) {
            self.take(length, Class::Number);
        } else if self.language.is_type(keyword) {
            self.take(length, Class::Type);
        } else if self.is_key(after) {
            self.take(length, Class::Attribute);
        } else if self.language.calls
            && (after.starts_with('(') || rest[length..].starts_with("!("))
        {
            self.take(length, Class::Function);
        } else if self.language.capital_types && word.starts_with(|c: char| c.is_ascii_uppercase())
        {
            self.take(length, Class::Type);
        } else {
            self.at += length;
        }
    }

    /// In YAML, TOML and the like, the first word of a line before `:` or `=` is a key.
    fn is_key(&self, after: &str) -> bool {
        let before = self.line[..self.at].trim_start_matches([' ', '\t', '-', '{', ',']);
        self.language.keys.is_some_and(|mark| before.is_empty() && after.starts_with(mark))
    }
}

/// Where `end` stands first without a backslash before it.
fn find_unescaped(text: &str, end: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find(end).map(|at| at + from) {
        let backslashes = text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(at);
        }
        from = at + end.len();
    }
    None
}

fn is_word_start(character: char) -> bool {
    character.is_alphabetic() || character == '_' || character == '$'
}

fn is_word(character: char, language: &Language) -> bool {
    character.is_alphanumeric()
        || matches!(character, '_' | '$')
        || (character == '-' && language.dashes_in_words)
}

fn number_length(text: &str) -> usize {
    let mut last = '0';
    let end = text.find(|c: char| {
        let goes_on = c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_')
            || (matches!(c, '+' | '-') && matches!(last, 'e' | 'E'));
        last = c;
        !goes_on
    });
    let number = &text[..end.unwrap_or(text.len())];
    // `0..n` is a range, not a number with dots.
    number.find("..").unwrap_or(number.len()).max(1)
}

/// `#[name]`, `@name` or `@name.part`: the mark with what belongs to it.
fn attribute_length(text: &str) -> usize {
    if text.starts_with("#[") || text.starts_with("#![") {
        return text.find(']').map_or(text.len(), |end| end + 1);
    }
    let name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    text[1..].find(|c| !name(c)).map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(path: &str, text: &str) -> Vec<String> {
        let language = Language::of_path(path);
        let mut state = State::default();
        text.lines()
            .map(|line| code(line, language, &mut state, None).as_str().to_owned())
            .collect()
    }

    #[test]
    fn rust_is_coloured_with_its_lifetimes_and_nested_comments() {
        assert_eq!(
            shown("src/a.rs", "fn f<'a>(x: &'a str) -> Option<char> { 'x' } // done"),
            [
                "<span class=\"hk\">fn</span> f&lt;&#39;a&gt;(x: &amp;&#39;a <span class=\"ht\">str</span>) -&gt; \
              <span class=\"ht\">Option</span>&lt;<span class=\"ht\">char</span>&gt; \
              { <span class=\"hs\">&#39;x&#39;</span> } <span class=\"hc\">// done</span>"
            ]
        );
        assert_eq!(
            shown("a.rs", "/* a /* b */\nstill */ let x = 1.5;"),
            [
                "<span class=\"hc\">/* a /* b */</span>",
                "<span class=\"hc\">still */</span> <span class=\"hk\">let</span> x = \
                 <span class=\"hn\">1.5</span>;"
            ]
        );
    }

    #[test]
    fn texts_of_many_lines_last_until_they_end() {
        assert_eq!(
            shown("a.py", "x = \"\"\"one\ntwo\"\"\" + f(y)  # end"),
            [
                "x = <span class=\"hs\">&quot;&quot;&quot;one</span>",
                "<span class=\"hs\">two&quot;&quot;&quot;</span> + <span class=\"hf\">f</span>(y)  \
                 <span class=\"hc\"># end</span>"
            ]
        );
    }

    #[test]
    fn keys_of_data_files_stand_out() {
        assert_eq!(
            shown("a.json", "{\"a\": \"b\", \"n\": true}"),
            ["{<span class=\"ha\">&quot;a&quot;</span>: <span class=\"hs\">&quot;b&quot;</span>, \
              <span class=\"ha\">&quot;n&quot;</span>: <span class=\"hn\">true</span>}"]
        );
        assert_eq!(
            shown("Cargo.toml", "serde = { version = \"1\" } # why"),
            [
                "<span class=\"ha\">serde</span> = { version = <span class=\"hs\">&quot;1&quot;</span> } \
              <span class=\"hc\"># why</span>"
            ]
        );
    }

    #[test]
    fn what_changed_within_a_line_is_emphasised_inside_of_its_colour() {
        let mut state = State::default();
        let html = code("let abc = 1;", Language::of_path("a.rs"), &mut state, Some(1..6));
        assert_eq!(
            html.as_str(),
            "<span class=\"hk\">l</span><span class=\"hk em\">et</span><span class=\"em\"> ab</span>c = \
             <span class=\"hn\">1</span>;"
        );
    }

    proptest! {
        #[test]
        fn no_text_in_any_language_is_lost_or_left_unescaped(
            lines in proptest::collection::vec("(\\PC|[\"'`/*#<>&\\\\-]){0,40}", 0..6),
            path in proptest::sample::select(vec!["a.rs", "a.ts", "a.py", "a.html", "a.sh", "a.yaml", "a.sql", "a.css", "a.lua"]),
        ) {
            let language = Language::of_path(path);
            let mut state = State::default();
            for line in &lines {
                let before = state;
                let mut again = before;
                let html = code(line, language, &mut state, Some(2..7));
                let mut text = String::new();
                let mut rest = html.as_str();
                while let Some(at) = rest.find('<') {
                    text.push_str(&rest[..at]);
                    rest = &rest[at + rest[at..].find('>').expect("a tag ends") + 1..];
                }
                text.push_str(rest);
                let mut expected = Html::default().to_string();
                push_escaped(&mut expected, line);
                while let (Some(at), Some(end)) = (expected.find('<'), expected.find('>')) {
                    expected.replace_range(at..=end, "");
                }
                prop_assert_eq!(text, expected);
                if let Some(language) = language {
                    let ranges = scan(language, line, &mut again);
                    prop_assert!(ranges.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start));
                }
            }
        }
    }
}
