//! What can go wrong with a database, as far as a caller can do something about it.

/// Why a command or a query failed. Each reads well after "failed to ...:".
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing in this organisation.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was looked for, as a person calls it.
        what: &'static str,
        /// Its id or name.
        id: String,
    },
    /// It contradicts what is there: a name is taken, a version moved on, an idempotency key was
    /// used for something else.
    #[error("{why}")]
    Conflict {
        /// What contradicts, for a person.
        why: String,
    },
    /// The command can't be carried out as given.
    #[error("{why}")]
    Invalid {
        /// What is wrong and what to do, for a person.
        why: String,
    },
    /// The job machine refused.
    #[error(transparent)]
    Refused(#[from] windlass_run::job::Refusal),
    /// Another process has the database open for writing.
    #[error(
        "the database {database} is locked by {holder}: stop that process first, or use another database"
    )]
    Locked {
        /// Which database, without a password.
        database: String,
        /// `process 4711`, where it is known.
        holder: String,
    },
    /// The database was made by a newer version of Windlass.
    #[error(
        "the database {database} was made by a newer windlass (its schema is {found}, this one knows up to {known}): update windlass, or restore a backup"
    )]
    Newer {
        /// Which database.
        database: String,
        /// The schema found.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// The database holds something else.
    #[error(
        "the database {database} is not one of windlass's ({found}): name an empty or a new one"
    )]
    Foreign {
        /// Which database.
        database: String,
        /// What was found in it.
        found: String,
    },
    /// The disk is full. Nothing of the command was kept.
    #[error("the disk is full ({context}): free some space; nothing of it was kept")]
    Full {
        /// What was being written.
        context: String,
    },
    /// The database can't be reached now, or was lost while the command was under way. Whether the
    /// command was kept is not known: repeat it.
    #[error("the database is not available: {context}")]
    Unavailable {
        /// What happened.
        context: String,
    },
    /// Something that should not happen. Nothing of the command was kept.
    #[error("the database failed: {context}")]
    Database {
        /// What was being done, and the database's own words.
        context: String,
    },
}
