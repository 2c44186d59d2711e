//! Bounds for untrusted text: how a long text is shortened before it is kept, and how a line that
//! somebody will read in a terminal is made harmless. Nothing here decides what is worth keeping.

/// `text` if it fits into `max` bytes, else its head and its tail with a line between them that says
/// how many bytes were left out. The tail gets the larger share: errors are printed last.
pub(crate) fn head_and_tail(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head_end = floor_boundary(text, max / 3);
    let tail_start = ceil_boundary(text, text.len() - (max - max / 3));
    let left_out = tail_start - head_end;
    format!("{}\n[... {left_out} bytes left out ...]\n{}", &text[..head_end], &text[tail_start..])
}

/// The last `max` bytes of `text`, or a little less, cut at a character.
pub(crate) fn tail(text: &str, max: usize) -> &str {
    &text[ceil_boundary(text, text.len().saturating_sub(max))..]
}

/// The first `max` bytes of `text`, or a little less, cut at a character.
pub(crate) fn head(text: &str, max: usize) -> &str {
    &text[..floor_boundary(text, max)]
}

/// Bytes as one printable line of at most about `max` bytes: control characters are escaped, and
/// what is not UTF-8 is shown as `\xNN`.
pub(crate) fn printable(bytes: &[u8], max: usize) -> String {
    let mut line = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if line.len() >= max {
                line.push('…');
                return line;
            }
            if character.is_control() || is_bidi_control(character) {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    line
}

fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_head_and_more_of_its_tail() {
        let text = format!("{}{}", "a".repeat(100), "z".repeat(100));
        assert_eq!(
            head_and_tail(&text, 30),
            format!("{}\n[... 170 bytes left out ...]\n{}", "a".repeat(10), "z".repeat(20))
        );
        assert_eq!(head_and_tail("short", 30), "short");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let text = "ä".repeat(50);
        for max in 0..100 {
            head_and_tail(&text, max);
            assert!(tail(&text, max).len() <= max);
            assert!(head(&text, max).len() <= max);
        }
    }

    #[test]
    fn a_printable_line_shows_control_characters_and_broken_bytes() {
        assert_eq!(printable(b"a\x1b[2Jb\xff\n", 100), "a\\u{1b}[2Jb\\xff\\n");
        assert_eq!(printable("\u{202e}x".as_bytes(), 100), "\\u{202e}x");
        assert_eq!(printable(&[b'a'; 50], 4), "aaaa…");
    }
}
