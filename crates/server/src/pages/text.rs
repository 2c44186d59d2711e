//! Untrusted text on its way into HTML. [`Text`] is how a view model holds what an agent, a model, a
//! repository or a person wrote: it can only be shown escaped, with every character that hides or
//! reorders others made visible. [`Html`] is markup that this crate's own renderers finished. Nothing
//! else may claim to be safe.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

/// Text that somebody else wrote. Shown escaped, hidden characters marked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(String);

impl Text {
    /// The text as it was written, for a form's field or a URL: whoever uses it escapes it.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }

    /// True if there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text without markup, for an attribute or a title: hidden characters as `[U+202E]`, line
    /// breaks as spaces. A template escapes it.
    pub(crate) fn plain(&self) -> String {
        let mut plain = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            match character {
                '\n' | '\t' => plain.push(' '),
                _ if is_hidden(character) => push_code_point(&mut plain, character),
                _ => plain.push(character),
            }
        }
        plain
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut html = String::with_capacity(self.0.len() + 16);
        push_escaped(&mut html, &self.0);
        f.write_str(&html)
    }
}

impl HtmlSafe for Text {}

/// Markup that one of this crate's renderers made from untrusted text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Html {
    /// Markup that is finished: all text in it went through [`push_escaped`] or a template.
    pub(crate) fn finished(html: String) -> Self {
        Self(html)
    }

    /// The markup.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// True if there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// Appends text as HTML: markup escaped, hidden characters marked.
pub(crate) fn push_escaped(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(character),
            _ if is_hidden(character) => push_mark(html, character),
            _ => html.push(character),
        }
    }
}

/// Appends the visible mark of a hidden character.
pub(crate) fn push_mark(html: &mut String, character: char) {
    html.push_str("<span class=\"hidden-char\" title=\"hidden character\">");
    let _ = write!(html, "U+{:04X}", u32::from(character));
    html.push_str("</span>");
}

/// True if the character shows nothing itself and changes what a reader sees or believes: controls,
/// bidirectional overrides, zero-width and filler characters, tags and variation selectors that can
/// carry a message (Unicode Technical Report 36, <https://www.unicode.org/reports/tr36/>).
pub(crate) fn is_hidden(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0E}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

fn push_code_point(text: &mut String, character: char) {
    let _ = write!(text, "[U+{:04X}]", u32::from(character));
}

/// The text, cut to at most `max` bytes at a character's edge, and how many bytes were left out.
pub(crate) fn cut(text: &str, max: usize) -> (&str, usize) {
    if text.len() <= max {
        return (text, 0);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_what_hides_is_shown() {
        let shown = Text::from("<b onclick='x'>\u{202E}a\u{200B}&\u{1b}[31m\n").to_string();
        assert_eq!(
            shown,
            "&lt;b onclick=&#39;x&#39;&gt;\
             <span class=\"hidden-char\" title=\"hidden character\">U+202E</span>a\
             <span class=\"hidden-char\" title=\"hidden character\">U+200B</span>&amp;\
             <span class=\"hidden-char\" title=\"hidden character\">U+001B</span>[31m\n"
        );
    }

    #[test]
    fn a_title_has_no_markup_and_nothing_hidden() {
        assert_eq!(Text::from("pay\u{2066}load\nnow").plain(), "pay[U+2066]load now");
    }

    #[test]
    fn ordinary_writing_in_any_script_stays_as_it_is() {
        for text in ["Grüße, 世界", "שלום", "naïve — “quotes”", "tick ✓ ❤\u{FE0F}"]
        {
            assert_eq!(Text::from(text).to_string(), text);
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aé世", 2), ("a", 5));
        assert_eq!(cut("aé世", 6), ("aé世", 0));
    }
}
