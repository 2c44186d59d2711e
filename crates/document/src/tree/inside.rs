//! Where a character of a string's value stands in the file: for what is written in the strings of a
//! file, such as templates and expressions.

use super::Node;
use crate::place::Place;

/// The place of a character (counted from 0) of a string's value, in the text of its YAML file. Exact
/// for strings on one line without escapes and for literal blocks (`|`); the beginning of the string
/// where the file's text was folded or escaped.
pub fn inside(source: &str, node: &Node, at: usize) -> Place {
    exact(source, node, at).unwrap_or_else(|| node.place.clone())
}

fn exact(source: &str, node: &Node, at: usize) -> Option<Place> {
    let value = node.text()?;
    let place = &node.place;
    let lines: Vec<&str> = source.strip_prefix('\u{feff}').unwrap_or(source).lines().collect();
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let spot = |line: usize, column: usize| {
        let line = u32::try_from(line + 1).ok()?;
        let column = u32::try_from(column + 1).ok()?;
        Some(Place { file: place.file.clone(), line, column })
    };
    if line > 0 && begins_block(lines.get(line - 1)?) {
        let before: String = value.chars().take(at).collect();
        let newlines = before.matches('\n').count();
        let within = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let shown: String = lines.get(line + newlines)?.chars().skip(column).collect();
        let meant = value.split('\n').nth(newlines)?;
        return (shown == meant).then(|| spot(line + newlines, column + within)).flatten();
    }
    let rest: String = lines.get(line)?.chars().skip(column).collect();
    let quote = usize::from(rest.starts_with(['"', '\'']));
    let shown: String = rest.chars().skip(quote).take(value.chars().count()).collect();
    (shown == value).then(|| spot(line, column + quote + at)).flatten()
}

/// Whether a literal block follows this line.
fn begins_block(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    let header = line.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
    header.ends_with('|')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse_yaml;

    fn find(source: &str, wanted: &str) -> String {
        let root = parse_yaml("f", source).expect("yaml");
        let node = root.get("a").expect("a value");
        let value = node.text().expect("a string");
        let at = value[..value.find(wanted).expect("it is there")].chars().count();
        inside(source, node, at).to_string()
    }

    #[test]
    fn a_character_of_a_value_is_found_in_its_file() {
        assert_eq!(find("a: one two", "two"), "f:1:8");
        assert_eq!(find("b: 1\na: 'öne two'", "two"), "f:2:9");
        assert_eq!(find("a: |\n  one\n    two é three\n", "three"), "f:3:11");
        assert_eq!(find("a: |-\n    one\n\n    two", "two"), "f:4:5");
    }

    #[test]
    fn where_the_text_was_changed_it_is_the_beginning() {
        assert_eq!(find("a: >\n  one\n  two\n", "two"), "f:2:3");
        assert_eq!(find("a: \"one\\ttwo\"", "two"), "f:1:4");
        assert_eq!(find("a: one\n  two", "two"), "f:1:4");
    }
}
