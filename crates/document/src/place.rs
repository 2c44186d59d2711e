//! Where something stands, and what is to be said about it. No complaint leaves this crate without a
//! place and a word on what to do.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file as the caller named it, or a description such as `the label of debian:12`.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 for the line as a whole.
    pub column: u32,
}

impl Place {
    /// The file as a whole.
    pub fn whole(file: &str) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => formatter.write_str(&self.file),
            (line, 0) => write!(formatter, "{}:{line}", self.file),
            (line, column) => write!(formatter, "{}:{line}:{column}", self.file),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a finding means for the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing may start.
    Refuse,
    /// It starts, but something will be otherwise than written.
    Warn,
}

/// One thing to be said about a definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What it means for the start.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Refuse => "",
            Severity::Warn => "warning: ",
        };
        write!(formatter, "{}: {mark}{}", self.place, self.what)
    }
}

/// The findings of one reading, in the order in which they were met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Says something that forbids the start.
    pub fn refuse(&mut self, place: &Place, what: impl Into<String>) {
        self.add(Severity::Refuse, place, what.into());
    }

    /// Says something that the start survives.
    pub fn warn(&mut self, place: &Place, what: impl Into<String>) {
        self.add(Severity::Warn, place, what.into());
    }

    /// All of them.
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// Takes in what another reading found.
    pub fn extend(&mut self, others: Self) {
        for Finding { severity, place, what } in others.0 {
            self.add(severity, &place, what);
        }
    }

    /// The error, if anything forbids the start.
    ///
    /// # Errors
    /// [`Refused`] with all findings.
    pub fn verdict(&self) -> Result<(), Refused> {
        if self.0.iter().any(|finding| finding.severity == Severity::Refuse) {
            return Err(Refused { findings: self.clone() });
        }
        Ok(())
    }

    /// The same thing is said once, even if two passes meet it.
    fn add(&mut self, severity: Severity, place: &Place, what: String) {
        let finding = Finding { severity, place: place.clone(), what };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

/// A definition that can't be used as it is. Reads well after "failed to resolve the environment: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// Everything that was found, warnings too.
    pub findings: Findings,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusals =
            self.findings.all().iter().filter(|finding| finding.severity == Severity::Refuse);
        for (i, finding) in refusals.enumerate() {
            if i > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{finding}")?;
        }
        Ok(())
    }
}

/// Turns byte offsets into lines and columns.
pub struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    /// The offsets at which lines begin.
    lines: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of a text.
    pub fn new(file: &str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(i, _)| i + 1);
        Self { file: file.into(), text, lines: std::iter::once(0).chain(ends).collect() }
    }

    /// The place of a byte.
    pub fn at(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or("");
        Place {
            file: self.file.clone(),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }
}
