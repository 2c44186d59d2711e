//! Appends a piece to a stream. Pieces are rows at first; a stream with many loose bytes is compacted
//! into a blob afterwards.

use windlass_run::{RunnerId, Time};

use crate::{
    Error,
    database::Value,
    streams::{Append, Appended, Content, Kind, StreamId},
    work::speaks_for,
    writer::{memory::Stream, tx::Tx},
};

/// From how many bytes in rows on a stream is compacted.
pub(super) const LOOSE_BYTES: u64 = 512 * 1024;

/// The longest row, in bytes.
const LONGEST_ROW: usize = 256 * 1024;

/// Appends a piece. Gives the stream's number too if it should be compacted.
pub(super) fn append(
    tx: &mut Tx<'_>,
    runner_id: &RunnerId,
    piece: &Append,
    now: Time,
) -> Result<(Appended, Option<u64>), Error> {
    let lost = Ok((Appended::Lost, None));
    let Some(job) = tx.job(&piece.stream.job_id)? else { return lost };
    // The report that brings a step's instance into being may come after what that prints: reports wait
    // for earlier output.
    let step_id = &piece.stream.step_id;
    let has_step = job.state.index_of(step_id).is_some() || job.state.spec.can_have(step_id);
    if !has_step || !speaks_for(tx, runner_id, &job, piece.epoch) {
        return lost;
    }
    check(piece)?;
    let organisation_id = job.organisation_id.clone();
    let (mut stream, is_new) = match find(tx, &piece.stream)? {
        Some(stream) => (stream, false),
        None => (Stream { id: 0, length: 0, loose: 0 }, true),
    };
    let have = |stream: &Stream| Appended::Have { length: stream.length };
    let Some(rows) = fresh(&piece.content, stream.length) else { return Ok((have(&stream), None)) };
    if is_new {
        stream.id = tx.number();
    }
    let stream_id = stream.id;
    for (start, stop, content) in rows {
        tx.write(
            "INSERT INTO stream_pieces (stream_id, start, stop, content) VALUES ($1, $2, $3, $4)",
            &[stream_id.into(), start.into(), stop.into(), Value::Bytes(&content)],
        )?;
        stream.length = stop;
        stream.loose += content.len() as u64;
    }
    tx.write(
        "INSERT INTO streams (id, organisation_id, job_id, step_id, attempt, kind, length, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (id) DO UPDATE SET length = excluded.length, updated_at = excluded.updated_at",
        &[
            stream_id.into(),
            organisation_id.as_str().into(),
            piece.stream.job_id.as_str().into(),
            piece.stream.step_id.as_str().into(),
            piece.stream.attempt.into(),
            piece.stream.kind.as_str().into(),
            stream.length.into(),
            now.into(),
        ],
    )?;
    let heavy = (stream.loose >= LOOSE_BYTES).then_some(stream_id);
    if heavy.is_some() {
        // Whoever gets this answer compacts it; until it has, nobody else is asked to.
        stream.loose = 0;
    }
    tx.keep_stream(&piece.stream, stream);
    Ok((have(&stream), heavy))
}

fn check(piece: &Append) -> Result<(), Error> {
    let invalid = |why: &str| Err(Error::Invalid { why: why.to_owned() });
    match (&piece.content, piece.stream.kind) {
        (Content::Log { .. }, Kind::Log) => Ok(()),
        (Content::Session { first: 0, .. }, Kind::Session) => {
            invalid("a session's entries are numbered from 1")
        }
        (Content::Session { entries, .. }, Kind::Session) => {
            match entries.iter().any(|entry| entry.contains('\n')) {
                true => invalid("a session's entry must not have a line break"),
                false => Ok(()),
            }
        }
        _ => invalid("the content does not fit the kind of stream"),
    }
}

type Rows = Vec<(u64, u64, Vec<u8>)>;

/// The rows for what the stream does not have yet; absent if there is nothing new, or a gap.
fn fresh(content: &Content, length: u64) -> Option<Rows> {
    let mut rows = Rows::new();
    match content {
        Content::Log { offset, bytes } => {
            let known = usize::try_from(length.checked_sub(*offset)?).ok()?;
            let mut start = length;
            for chunk in bytes.get(known..)?.chunks(LONGEST_ROW) {
                let stop = start + chunk.len() as u64;
                rows.push((start, stop, chunk.to_vec()));
                start = stop;
            }
        }
        Content::Session { first, entries } => {
            let known = usize::try_from((length + 1).checked_sub(*first)?).ok()?;
            let mut start = length;
            let (mut stop, mut chunk) = (start, Vec::new());
            for entry in entries.get(known..)? {
                if !chunk.is_empty() && chunk.len() + entry.len() > LONGEST_ROW {
                    rows.push((start, stop, std::mem::take(&mut chunk)));
                    start = stop;
                }
                chunk.extend_from_slice(entry.as_bytes());
                chunk.push(b'\n');
                stop += 1;
            }
            if !chunk.is_empty() {
                rows.push((start, stop, chunk));
            }
        }
    }
    (!rows.is_empty()).then_some(rows)
}

/// A stream that was begun before.
fn find(tx: &mut Tx<'_>, stream: &StreamId) -> Result<Option<Stream>, Error> {
    if let Some(found) = tx.memory.streams.get(stream) {
        return Ok(Some(found));
    }
    let sql = "SELECT s.id, s.length, (SELECT COALESCE(SUM(LENGTH(p.content)), 0) \
               FROM stream_pieces p WHERE p.stream_id = s.id AND p.blob IS NULL) FROM streams s \
               WHERE s.job_id = $1 AND s.step_id = $2 AND s.attempt = $3 AND s.kind = $4";
    let mut rows = tx.read(
        sql,
        &[
            stream.job_id.as_str().into(),
            stream.step_id.as_str().into(),
            stream.attempt.into(),
            stream.kind.as_str().into(),
        ],
    )?;
    let Some(row) = rows.first_mut() else { return Ok(None) };
    let found = Stream { id: row.natural(0)?, length: row.natural(1)?, loose: row.natural(2)? };
    tx.memory.streams.put(stream.clone(), found);
    Ok(Some(found))
}

impl Tx<'_> {
    /// Remembers a stream as it is now.
    pub(super) fn keep_stream(&mut self, id: &StreamId, stream: Stream) {
        self.group.streams_touched.insert(id.clone());
        self.memory.marks.streams += 1;
        self.memory.streams.put(id.clone(), stream);
    }

    /// Says that something refers to a blob.
    pub(crate) fn refer_to_blob(&mut self, hash: &str, size: u64) -> Result<(), Error> {
        self.write(
            "INSERT INTO blobs (hash, size) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
            &[hash.into(), size.into()],
        )
    }
}
