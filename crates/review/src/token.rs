//! Lines cut into tokens, with what changes from one repository to the next taken out: versions, hashes,
//! dates. Whitespace is gone.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token<'a> {
    /// A name of a program, or a word.
    Name(&'a str),
    /// A word that a language or a format gives a meaning: the same everywhere.
    Keyword(&'a str),
    /// A number that is no version.
    Number(&'a str),
    /// A version.
    Version(&'a str),
    /// A hash, a digest, a key.
    Hash,
    /// A date.
    Date,
    /// Any other character.
    Mark(char),
}

/// Words that mean the same in most languages that have them.
const KEYWORDS: &[&str] = &[
    "abstract",
    "as",
    "async",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "def",
    "default",
    "del",
    "do",
    "elif",
    "else",
    "enum",
    "except",
    "export",
    "extends",
    "extern",
    "false",
    "finally",
    "fn",
    "for",
    "from",
    "func",
    "function",
    "go",
    "if",
    "impl",
    "import",
    "in",
    "include",
    "interface",
    "is",
    "lambda",
    "let",
    "loop",
    "match",
    "mod",
    "mut",
    "new",
    "nil",
    "none",
    "not",
    "null",
    "or",
    "package",
    "pass",
    "private",
    "protected",
    "pub",
    "public",
    "raise",
    "require",
    "return",
    "self",
    "static",
    "struct",
    "super",
    "switch",
    "this",
    "throw",
    "trait",
    "true",
    "try",
    "type",
    "use",
    "var",
    "void",
    "where",
    "while",
    "with",
    "yield",
];
/// So many characters of a line are looked at: longer ones were written by programs.
const LONGEST_LINE: usize = 2_000;

/// Cuts a line. `versions` says whether a bare number is taken for a version.
pub(crate) fn tokens(line: &str, versions: bool) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let end = line.char_indices().nth(LONGEST_LINE).map_or(line.len(), |(end, _)| end);
    let mut rest = &line[..end];
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_digit() {
            number(rest)
        } else if is_word(first) {
            word(rest)
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        rest = after;
        if !first.is_whitespace() {
            tokens.push(name(text, first, versions));
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the word is that the text begins with. A `v` in front of a number belongs to the number.
fn word(text: &str) -> usize {
    if let Some(rest) = text.strip_prefix(['v', 'V'])
        && rest.starts_with(|c: char| c.is_ascii_digit())
    {
        return 1 + number(rest);
    }
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// How long the number is that the text begins with, with dots between its parts and what a version may
/// have behind: `1.2.3-rc.1+build`, `2024-01-31`.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut has_dot = false;
    let mut at = 0;
    let follows = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let is_date = is_date(text.get(..10).unwrap_or_default());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'.' if follows(at + 1) => has_dot = true,
            b'-' | b'+' if has_dot && follows(at + 1) => {}
            b'-' if is_date && at < 10 => {}
            b'_' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        at += 1;
    }
    at
}

fn name(text: &str, first: char, versions: bool) -> Token<'_> {
    if !is_word(first) {
        return Token::Mark(first);
    }
    if is_date(text.get(..10).unwrap_or_default()) {
        return Token::Date;
    }
    if is_hash(text) {
        return Token::Hash;
    }
    let digits = text.strip_prefix(['v', 'V']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        let is_dotted = digits.split(['-', '+']).next().is_some_and(|core| {
            core.contains('.')
                && core.split('.').all(|part| {
                    part.starts_with(|c: char| c.is_ascii_digit()) || matches!(part, "x" | "X")
                })
        });
        let is_bare = digits.bytes().all(|byte| byte.is_ascii_digit());
        return match is_dotted || (is_bare && (versions || digits.len() < text.len())) {
            true => Token::Version(text),
            false => Token::Number(text),
        };
    }
    let is_keyword =
        text.len() < 12 && KEYWORDS.binary_search(&text.to_lowercase().as_str()).is_ok();
    if is_keyword { Token::Keyword(text) } else { Token::Name(text) }
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(n, byte)| match n {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Hexadecimal with digits and letters, at least as long as git's short ones; or longer than any word.
fn is_hash(text: &str) -> bool {
    let has = |fits: fn(&u8) -> bool| text.as_bytes().iter().any(fits);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    (is_hex && is_mixed && text.len() >= 7)
        || (is_mixed && text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_hashes_and_dates_are_known_where_they_stand() {
        use Token::{Date, Hash, Keyword, Mark, Name, Number, Version};
        let of = |line| tokens(line, false);
        assert_eq!(of("a == 12"), [Name("a"), Mark('='), Mark('='), Number("12")]);
        assert_eq!(
            of("uses: x@v4"),
            [Name("uses"), Mark(':'), Name("x"), Mark('@'), Version("v4")]
        );
        assert_eq!(
            of("\"^1.2.3-rc.1\","),
            [Mark('"'), Mark('^'), Version("1.2.3-rc.1"), Mark('"'), Mark(',')]
        );
        assert_eq!(of("if 2024-01-31 3f2a9bc"), [Keyword("if"), Date, Hash]);
        assert_eq!(of("0x1f 1.x"), [Number("0x1f"), Version("1.x")]);
        assert_eq!(tokens("node: 18", true)[2], Version("18"));
        assert_eq!(of("end. 1."), [Name("end"), Mark('.'), Number("1"), Mark('.')]);
        assert_eq!(of("größe_2"), [Name("größe_2")]);
    }

    #[test]
    fn keywords_are_in_order_so_that_they_are_found() {
        assert!(KEYWORDS.is_sorted());
    }
}
