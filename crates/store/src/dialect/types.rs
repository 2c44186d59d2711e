//! Column types. The migrations are written with these words:
//!
//! | word | SQLite | PostgreSQL |
//! |---|---|---|
//! | `BIGINT` | as it is | as it is |
//! | `BIGINT PRIMARY KEY` | `INTEGER PRIMARY KEY` (the row's own number) | as it is |
//! | `TEXT` | as it is (byte order is its default) | `TEXT COLLATE "C"` |
//! | `BYTES` | `BLOB` | `BYTEA` |
//! | `) CLUSTERED;` | `) WITHOUT ROWID;` | `);` |
//! | `SEARCH name;` | a full-text index | a table with a `tsvector` |

use crate::dialect::{Dialect, search};

/// A migration as this database understands it.
pub(crate) fn translate(dialect: Dialect, migration: &str) -> String {
    let mut text = String::with_capacity(migration.len() * 2);
    for line in migration.lines() {
        if let Some(name) = line.strip_prefix("SEARCH ") {
            text.push_str(&search::create(dialect, name.trim_end_matches(';')));
        } else {
            text.push_str(&match dialect {
                Dialect::Sqlite => line
                    .replace(" BYTES", " BLOB")
                    .replace(") CLUSTERED;", ") WITHOUT ROWID;")
                    .replace(" BIGINT PRIMARY KEY", " INTEGER PRIMARY KEY"),
                Dialect::Postgres => line
                    .replace(" TEXT", " TEXT COLLATE \"C\"")
                    .replace(" BYTES", " BYTEA")
                    .replace(") CLUSTERED;", ");"),
            });
        }
        text.push('\n');
    }
    text
}
