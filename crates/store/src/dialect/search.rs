//! Full-text search over titles. The index has a number per row, by which the rows are joined.

use crate::dialect::Dialect;

/// How many characters of a word count.
const LONGEST_WORD: usize = 64;

/// How many words of a query count.
const MOST_WORDS: usize = 16;

/// Makes an index.
pub(crate) fn create(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!(
            "CREATE VIRTUAL TABLE {name} USING fts5(words, content='', contentless_delete=1, \
             detail=none, tokenize='unicode61');"
        ),
        Dialect::Postgres => format!(
            "CREATE TABLE {name} (rowid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL);\n\
             CREATE INDEX {name}_words ON {name} USING gin (words);"
        ),
    }
}

/// Inserts a row: its number, and its text as [`text`] gives it.
pub(crate) fn insert(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("INSERT INTO {name} (rowid, words) VALUES ($1, $2)"),
        Dialect::Postgres => {
            format!("INSERT INTO {name} (rowid, words) VALUES ($1, CAST($2::text AS TSVECTOR))")
        }
    }
}

/// A title as the index takes it. Both databases get the same words, whatever their locale is.
pub(crate) fn text(dialect: Dialect, title: &str) -> String {
    let words = words(title).map(|word| match dialect {
        Dialect::Sqlite => word,
        Dialect::Postgres => format!("'{word}'"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(LONGEST_WORD).flat_map(char::to_lowercase).collect())
}

/// Removes a row by its number.
pub(crate) fn remove(name: &str) -> String {
    format!("DELETE FROM {name} WHERE rowid = $1")
}

/// A condition that holds for rows with all words of a query, which is the parameter `$n`.
pub(crate) fn matches(dialect: Dialect, name: &str, n: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("{name} MATCH ${n}"),
        Dialect::Postgres => format!("words @@ CAST(${n}::text AS TSQUERY)"),
    }
}

/// What a person typed, as a query for all of its words, the last one as a prefix. Absent if there
/// is no word in it.
pub(crate) fn query(dialect: Dialect, typed: &str) -> Option<String> {
    let words: Vec<String> = words(typed).take(MOST_WORDS).collect();
    if words.is_empty() {
        return None;
    }
    let last = words.len() - 1;
    let words = words.iter().enumerate().map(|(i, word)| match (dialect, i == last) {
        (Dialect::Sqlite, false) => format!("\"{word}\""),
        (Dialect::Sqlite, true) => format!("\"{word}\"*"),
        (Dialect::Postgres, false) => format!("'{word}'"),
        (Dialect::Postgres, true) => format!("'{word}':*"),
    });
    let and = match dialect {
        Dialect::Sqlite => " AND ",
        Dialect::Postgres => " & ",
    };
    Some(words.collect::<Vec<_>>().join(and))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_never_becomes_an_operator() {
        let typed = "fix: \"AND* (NOT) it's";
        let sqlite = query(Dialect::Sqlite, typed).expect("words");
        assert_eq!(sqlite, r#""fix" AND "and" AND "not" AND "it" AND "s"*"#);
        let postgres = query(Dialect::Postgres, typed).expect("words");
        assert_eq!(postgres, "'fix' & 'and' & 'not' & 'it' & 's':*");
        assert_eq!(query(Dialect::Sqlite, " -- '' "), None);
    }
}
