//! Puts loose rows of a stream together into one blob. A crash in between leaves a blob to which
//! nothing refers, and the rows as they were.

use std::sync::Arc;

use crate::{Error, Store, writer::tx::Tx};

/// A compacted stretch of a stream.
struct Stretch {
    stream_id: u64,
    start: u64,
    stop: u64,
    rows: u64,
    hash: String,
    size: u64,
}

impl Store {
    /// Compacts the loose rows of a stream, as far as they follow one another.
    pub(super) async fn compact(&self, stream_id: u64) -> Result<(), Error> {
        let sql = "SELECT start, stop, content FROM stream_pieces WHERE stream_id = $1 \
                   AND blob IS NULL ORDER BY start LIMIT 4096";
        let rows = self.query(sql, vec![stream_id.into()]).await?;
        let mut bytes = Vec::new();
        let (mut first, mut stop, mut count) = (None, 0, 0);
        for mut row in rows {
            let start = row.natural(0)?;
            if first.is_some() && start != stop {
                break;
            }
            first.get_or_insert(start);
            stop = row.natural(1)?;
            bytes.extend(row.maybe_bytes(2)?.unwrap_or_default());
            count += 1;
        }
        let (Some(start), true) = (first, count > 1) else { return Ok(()) };
        let size = bytes.len() as u64;
        let hash = self.put_blob(bytes).await?;
        let stretch = Stretch { stream_id, start, stop, rows: count, hash, size };
        self.command(move |tx| swap(tx, &stretch)).await
    }

    /// Keeps bytes as a blob.
    pub(crate) async fn put_blob(&self, bytes: Vec<u8>) -> Result<String, Error> {
        let inner = self.inner.clone();
        let put = move || {
            let (hash, fsyncs) = inner.blobs.put(&bytes)?;
            inner.counted.add_fsyncs(fsyncs);
            Ok(hash)
        };
        self.off_thread(put).await
    }

    /// The bytes of a blob.
    pub(crate) async fn get_blob(&self, hash: String) -> Result<Vec<u8>, Error> {
        let inner = Arc::clone(&self.inner);
        self.off_thread(move || inner.blobs.get(&hash)).await
    }
}

/// One row with the blob in place of the loose ones, if they are still what was read.
fn swap(tx: &mut Tx<'_>, stretch: &Stretch) -> Result<(), Error> {
    let Stretch { stream_id, start, stop, rows, hash, size } = stretch;
    let still = "SELECT COUNT(*) FROM stream_pieces WHERE stream_id = $1 AND start >= $2 \
                 AND stop <= $3 AND blob IS NULL";
    let mut found = tx.read(still, &[(*stream_id).into(), (*start).into(), (*stop).into()])?;
    let found = found.first_mut().map_or(Ok(0), |row| row.natural(0))?;
    if found != *rows {
        // Somebody else was faster.
        return Ok(());
    }
    tx.refer_to_blob(hash, *size)?;
    tx.write(
        "DELETE FROM stream_pieces WHERE stream_id = $1 AND start >= $2 AND stop <= $3",
        &[(*stream_id).into(), (*start).into(), (*stop).into()],
    )?;
    tx.write(
        "INSERT INTO stream_pieces (stream_id, start, stop, blob) VALUES ($1, $2, $3, $4)",
        &[(*stream_id).into(), (*start).into(), (*stop).into(), hash.into()],
    )
}
