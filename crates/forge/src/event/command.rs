//! Commands that people write into comments: a line `/word rest`. Parsed as data; what a command does,
//! and whether its author may give it, is decided elsewhere.

/// How many commands of one text count.
const MOST: usize = 16;

/// How long the word of a command may be, in characters.
const LONGEST_WORD: usize = 32;

/// How much of a line counts, in characters.
const LONGEST_LINE: usize = 4_000;

/// A command in a text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Command {
    /// The word after the slash, in lower case: `windlass` in `/windlass fix this`.
    pub word: String,
    /// The rest of the line without spaces around it: `fix this`. Untrusted text.
    pub rest: String,
}

/// The commands of a text, in order, at most sixteen. A command is a line of its own that begins with a
/// slash and a word, which a space or the end of the line follows; so `/usr/bin/true` is none. Lines in
/// quotes, in fenced code and in indented code are none either: they are somebody else's, or an example.
pub fn commands(text: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let plain = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| plain.starts_with(marker));
        match (fence, marker) {
            (None, Some(opened)) => fence = Some(opened),
            (Some(open), Some(closed)) if open == closed => fence = None,
            (Some(_), _) => {}
            (None, None) => commands.extend(command(line)),
        }
        if commands.len() == MOST {
            break;
        }
    }
    commands
}

fn command(line: &str) -> Option<Command> {
    let is_code = line.starts_with("    ") || line.starts_with('\t');
    let text = line.trim().strip_prefix('/').filter(|_| !is_code)?;
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let fits = begins && plain && word.len() <= LONGEST_WORD;
    fits.then(|| Command {
        word: word.to_ascii_lowercase(),
        rest: rest.trim().chars().take(LONGEST_LINE).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        commands(text).into_iter().map(|command| (command.word, command.rest)).collect()
    }

    fn pair(word: &str, rest: &str) -> (String, String) {
        (word.to_owned(), rest.to_owned())
    }

    #[test]
    fn commands_are_lines_of_their_own() {
        let text = "Thanks!\r\n/windlass fix  this \r\n  /Retry\n\n/label bug\n";
        let expected = [pair("windlass", "fix  this"), pair("retry", ""), pair("label", "bug")];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn quotes_code_and_paths_are_no_commands() {
        for text in [
            "> /windlass fix",
            "    /windlass fix",
            "\t/windlass fix",
            "```\n/windlass fix\n```",
            "~~~sh\n```\n/windlass fix",
            "run /windlass fix",
            "/usr/bin/true",
            "//windlass fix",
            "/ windlass",
            "/9lives",
            "/\u{fc}ber fix",
            "",
        ] {
            assert_eq!(pairs(text), [], "{text}");
        }
        assert_eq!(pairs("```\nx\n```\n/windlass fix"), [pair("windlass", "fix")]);
    }

    #[test]
    fn a_text_full_of_commands_gives_few() {
        assert_eq!(commands(&"/go\n".repeat(5_000)).len(), MOST);
        let long = format!("/go {}", "x".repeat(100_000));
        assert_eq!(commands(&long)[0].rest.len(), LONGEST_LINE);
        assert_eq!(pairs(&format!("/{}", "a".repeat(33))), []);
    }
}
