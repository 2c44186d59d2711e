//! Values to and from SQL. Three types do: 64-bit numbers, text, bytes; each may be absent.

use windlass_run::Time;

use crate::Error;

/// A value for a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Owned(String),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// Refuses what only one of the databases would take.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let text = match self {
            Self::Text(text) => text,
            Self::Owned(text) => text.as_str(),
            Self::Null | Self::Int(_) | Self::Bytes(_) => return Ok(()),
        };
        if text.as_bytes().contains(&0) {
            return Err(Error::Invalid { why: "a text has a NUL character in it".to_owned() });
        }
        Ok(())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        // Sequences, sizes and token counts: none gets near to this.
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Self::Int(i64::from(yes))
    }
}

impl From<Time> for Value<'_> {
    fn from(time: Time) -> Self {
        Self::Int(time.as_micros())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(maybe: Option<T>) -> Self {
        maybe.map_or(Self::Null, Into::into)
    }
}

/// A value of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row of an answer. Columns are asked for from the left.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub(crate) Vec<Cell>);

impl Row {
    fn cell(&mut self, column: usize) -> Cell {
        self.0.get_mut(column).map_or(Cell::Null, |cell| std::mem::replace(cell, Cell::Null))
    }

    fn unexpected(column: usize, wanted: &str, found: &Cell) -> Error {
        let found = match found {
            Cell::Null => "nothing",
            Cell::Int(_) => "a number",
            Cell::Text(_) => "text",
            Cell::Bytes(_) => "bytes",
        };
        Error::Database { context: format!("column {column} has {found} instead of {wanted}") }
    }

    /// A number.
    pub(crate) fn int(&mut self, column: usize) -> Result<i64, Error> {
        match self.cell(column) {
            Cell::Int(number) => Ok(number),
            other => Err(Self::unexpected(column, "a number", &other)),
        }
    }

    /// A number that is not negative.
    pub(crate) fn natural(&mut self, column: usize) -> Result<u64, Error> {
        Ok(u64::try_from(self.int(column)?).unwrap_or(0))
    }

    /// A number that is not negative and fits 32 bits.
    pub(crate) fn small(&mut self, column: usize) -> Result<u32, Error> {
        Ok(u32::try_from(self.int(column)?.max(0)).unwrap_or(u32::MAX))
    }

    /// A time.
    pub(crate) fn time(&mut self, column: usize) -> Result<Time, Error> {
        self.int(column).map(Time::from_micros)
    }

    /// A number, where there is one.
    pub(crate) fn maybe_int(&mut self, column: usize) -> Result<Option<i64>, Error> {
        match self.cell(column) {
            Cell::Int(number) => Ok(Some(number)),
            Cell::Null => Ok(None),
            other => Err(Self::unexpected(column, "a number", &other)),
        }
    }

    /// A time, where there is one.
    pub(crate) fn maybe_time(&mut self, column: usize) -> Result<Option<Time>, Error> {
        Ok(self.maybe_int(column)?.map(Time::from_micros))
    }

    /// A text.
    pub(crate) fn text(&mut self, column: usize) -> Result<String, Error> {
        match self.cell(column) {
            Cell::Text(text) => Ok(text),
            other => Err(Self::unexpected(column, "text", &other)),
        }
    }

    /// A text, where there is one.
    pub(crate) fn maybe_text(&mut self, column: usize) -> Result<Option<String>, Error> {
        match self.cell(column) {
            Cell::Text(text) => Ok(Some(text)),
            Cell::Null => Ok(None),
            other => Err(Self::unexpected(column, "text", &other)),
        }
    }

    /// Bytes, where there are some.
    pub(crate) fn maybe_bytes(&mut self, column: usize) -> Result<Option<Vec<u8>>, Error> {
        match self.cell(column) {
            Cell::Bytes(bytes) => Ok(Some(bytes)),
            Cell::Null => Ok(None),
            other => Err(Self::unexpected(column, "bytes", &other)),
        }
    }

    /// A text that is read as a typed id or the like.
    pub(crate) fn parsed<T>(&mut self, column: usize) -> Result<T, Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(column)?;
        text.parse().map_err(|why| Error::Database { context: format!("column {column}: {why}") })
    }

    /// As [`Row::parsed`], where there is one.
    pub(crate) fn maybe_parsed<T>(&mut self, column: usize) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.maybe_text(column)? else { return Ok(None) };
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|why| Error::Database { context: format!("column {column}: {why}") })
    }

    /// A text that is JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &mut self,
        column: usize,
    ) -> Result<T, Error> {
        let text = self.text(column)?;
        serde_json::from_str(&text)
            .map_err(|why| Error::Database { context: format!("column {column}: {why}") })
    }

    /// A text that is JSON, where there is one.
    pub(crate) fn maybe_json<T>(&mut self, column: usize) -> Result<Option<T>, Error>
    where
        T: serde::de::DeserializeOwned,
    {
        let Some(text) = self.maybe_text(column)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|why| Error::Database { context: format!("column {column}: {why}") })
    }
}
