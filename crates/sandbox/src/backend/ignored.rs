//! Which files of a folder a Dockerfile may not copy, by the folder's `.dockerignore`.

/// The rules of a `.dockerignore`: the last one that matches a path or a folder above it decides.
#[derive(Debug, Clone, Default)]
pub struct Ignored(Vec<(bool, Vec<String>)>);

impl Ignored {
    /// Reads the file.
    pub fn parse(text: &str) -> Self {
        let rules =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            rules
                .map(|line| {
                    let (ignore, pattern) = match line.strip_prefix('!') {
                        Some(pattern) => (false, pattern),
                        None => (true, line),
                    };
                    let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
                    (ignore, parts.map(str::to_owned).collect())
                })
                .collect(),
        )
    }

    /// Whether a path of the folder, without `/` in front, stays out.
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let hit = |pattern: &[String]| {
            (1..=parts.len()).any(|length| matches_parts(pattern, &parts[..length]))
        };
        self.0.iter().rev().find(|(_, pattern)| hit(pattern)).is_some_and(|(ignore, _)| *ignore)
    }
}

fn matches_parts(pattern: &[String], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=parts.len()).any(|skipped| matches_parts(rest, &parts[skipped..]))
        }
        (Some((first, rest)), Some((part, below))) => {
            let (pattern, part): (Vec<char>, Vec<char>) =
                (first.chars().collect(), part.chars().collect());
            matches_name(&pattern, &part) && matches_parts(rest, below)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Whether a path matches a pattern of the same kind: `*` and `?` in each name, `**` for any names.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let split = |text: &str| -> Vec<String> {
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        parts.map(str::to_owned).collect()
    };
    let (pattern, path) = (split(pattern), split(path));
    matches_parts(&pattern, &path.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One name against a pattern with `*` and `?`.
fn matches_name(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            (0..=name.len()).any(|skipped| matches_name(rest, &name[skipped..]))
        }
        (Some(('?', rest)), Some((_, below))) => matches_name(rest, below),
        (Some((wanted, rest)), Some((seen, below))) => wanted == seen && matches_name(rest, below),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_matches_decides() {
        let ignored =
            Ignored::parse("# secrets\n*.key\nnode_modules\n**/target\n/logs/*\n!logs/keep\n");
        let seen: Vec<&str> = [
            "a.key",
            "sub/a.key",
            "node_modules/x/y",
            "deep/er/target/z",
            "target",
            "logs/a",
            "logs/keep",
            "src/main.rs",
            "logs",
        ]
        .into_iter()
        .filter(|path| ignored.matches(path))
        .collect();
        assert_eq!(seen, ["a.key", "node_modules/x/y", "deep/er/target/z", "target", "logs/a"]);
    }
}
