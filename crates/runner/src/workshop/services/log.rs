//! The end of what a service or a task printed, for whoever wants to see it now. In memory: it goes with
//! its environment.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// How many bytes are kept.
const KEPT: usize = 1 << 20;

/// The end of an output.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    /// How many bytes there ever were, and whether there will be more.
    length: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// How many bytes there were before them.
    dropped: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { kept: Mutex::default(), length: watch::Sender::new((0, false)) }
    }
}

impl Log {
    /// Adds output.
    pub(crate) fn add(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut kept = self.kept();
        kept.bytes.extend(bytes);
        let excess = kept.bytes.len().saturating_sub(KEPT);
        kept.bytes.drain(..excess);
        kept.dropped += excess as u64;
        drop(kept);
        self.length.send_modify(|(length, _)| *length += bytes.len() as u64);
    }

    /// Says that there will be no more.
    pub(crate) fn finish(&self) {
        self.length.send_modify(|(_, is_over)| *is_over = true);
    }

    /// What is kept from a byte on, and the first byte of that: it is later where that one was dropped.
    pub(crate) fn from(&self, after: u64) -> (u64, Vec<u8>) {
        let kept = self.kept();
        let end = kept.dropped + kept.bytes.len() as u64;
        let from = after.clamp(kept.dropped, end);
        let skipped = usize::try_from(from - kept.dropped).unwrap_or(usize::MAX);
        (from, kept.bytes.iter().skip(skipped).copied().collect())
    }

    /// How long it is and whether that is all, as that changes.
    pub(crate) fn length(&self) -> watch::Receiver<(u64, bool)> {
        self.length.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_skipped_and_the_rest_keeps_its_place() {
        let log = Log::default();
        log.add(b"0123456789");
        assert_eq!(log.from(4), (4, b"456789".to_vec()));
        assert_eq!(log.from(99), (10, Vec::new()));
        log.add(&vec![7; KEPT - 4]);
        let (from, bytes) = log.from(0);
        assert_eq!((from, bytes.len(), &bytes[..5]), (6, KEPT, &b"6789\x07"[..]));
        log.finish();
        assert_eq!(*log.length().borrow(), (KEPT as u64 + 6, true));
    }
}
