//! Reads parts of streams.

use windlass_run::{JobId, OrganisationId, StepId};

use crate::{
    Error, Store,
    database::Row,
    streams::{Kind, StreamId, StreamRow},
};

/// How many pieces one query takes.
const PIECES: u32 = 64;

/// How many bytes of entries one query takes at least, where there are so many.
const ENTRY_BYTES: usize = 1024 * 1024;

/// The pieces from the one that has place `$2` on.
const FROM_PLACE: &str = "SELECT start, stop, content, blob FROM stream_pieces \
    WHERE stream_id = $1 AND start >= COALESCE((SELECT MAX(start) FROM stream_pieces \
    WHERE stream_id = $1 AND start <= $2), 0) ORDER BY start LIMIT $3";

struct Piece {
    start: u64,
    stop: u64,
    bytes: Vec<u8>,
}

/// A stream of `step_id, attempt, kind, length, updated_at`.
pub(super) fn stream(job_id: &JobId, mut row: Row) -> Result<StreamRow, Error> {
    let invalid = |why: windlass_run::InvalidId| Error::Database { context: why.to_string() };
    let kind = match row.text(2)?.as_str() {
        "log" => Kind::Log,
        _ => Kind::Session,
    };
    Ok(StreamRow {
        stream: StreamId {
            job_id: job_id.clone(),
            step_id: StepId::parse(&row.text(0)?).map_err(invalid)?,
            attempt: row.small(1)?,
            kind,
        },
        length: row.natural(3)?,
        updated_at: row.time(4)?,
    })
}

impl Store {
    /// A stream's number and length; absent if it has not begun.
    pub(super) async fn find_stream(
        &self,
        organisation_id: &OrganisationId,
        stream: &StreamId,
    ) -> Result<Option<(u64, u64)>, Error> {
        let sql = "SELECT id, length, organisation_id FROM streams WHERE job_id = $1 \
                   AND step_id = $2 AND attempt = $3 AND kind = $4";
        let values = vec![
            stream.job_id.to_string().into(),
            stream.step_id.to_string().into(),
            stream.attempt.into(),
            stream.kind.as_str().into(),
        ];
        let Some(mut row) = self.query(sql, values).await?.into_iter().next() else {
            self.job_row(organisation_id, &stream.job_id).await?;
            return Ok(None);
        };
        if row.text(2)? != organisation_id.as_str() {
            return Err(Error::NotFound { what: "job", id: stream.job_id.to_string() });
        }
        Ok(Some((row.natural(0)?, row.natural(1)?)))
    }

    /// Bytes of a log.
    pub(super) async fn read_log(
        &self,
        stream_id: u64,
        offset: u64,
        max: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < max {
            let place = offset + bytes.len() as u64;
            let pieces = self.pieces(stream_id, place, max - bytes.len()).await?;
            let before = bytes.len();
            for piece in pieces {
                let place = offset + bytes.len() as u64;
                if piece.start > place || piece.stop <= place {
                    continue;
                }
                let skip = usize::try_from(place - piece.start).unwrap_or(usize::MAX);
                let rest = piece.bytes.get(skip..).unwrap_or_default();
                let take = rest.len().min(max - bytes.len());
                bytes.extend_from_slice(&rest[..take]);
            }
            if bytes.len() == before {
                break;
            }
        }
        Ok(bytes)
    }

    /// Entries of a session.
    pub(super) async fn read_entries(
        &self,
        stream_id: u64,
        after: u64,
        max: usize,
    ) -> Result<Vec<(u64, String)>, Error> {
        let mut entries = Vec::new();
        let mut last = after;
        while entries.len() < max {
            let pieces = self.pieces(stream_id, last, ENTRY_BYTES).await?;
            let before = last;
            for piece in pieces {
                let text = String::from_utf8(piece.bytes).map_err(|_| Error::Database {
                    context: format!("stream {stream_id} is not text at {}", piece.start),
                })?;
                for (number, entry) in (piece.start + 1..).zip(text.lines()) {
                    if number == last + 1 && entries.len() < max {
                        entries.push((number, entry.to_owned()));
                        last = number;
                    }
                }
            }
            if last == before {
                break;
            }
        }
        Ok(entries)
    }

    /// Pieces from a place on, until about `max` bytes are together.
    async fn pieces(&self, stream_id: u64, place: u64, max: usize) -> Result<Vec<Piece>, Error> {
        let values = vec![stream_id.into(), place.into(), PIECES.into()];
        let mut pieces = Vec::new();
        let mut total = 0;
        for mut row in self.query(FROM_PLACE, values).await? {
            if total > max.saturating_add(crate::streams::append::LOOSE_BYTES as usize) {
                break;
            }
            let (start, stop) = (row.natural(0)?, row.natural(1)?);
            let bytes = match (row.maybe_bytes(2)?, row.maybe_text(3)?) {
                (_, Some(hash)) => self.get_blob(hash).await?,
                (bytes, None) => bytes.unwrap_or_default(),
            };
            total += bytes.len();
            pieces.push(Piece { start, stop, bytes });
        }
        Ok(pieces)
    }
}
