//! The end of a stream that is only kept to be quoted. Bounded; never interpreted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clip;

/// The last bytes of a stream, shared between whoever reads it and whoever quotes it.
#[derive(Clone)]
pub struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    max: usize,
    closed: Arc<watch::Sender<bool>>,
}

impl Tail {
    /// A tail that keeps at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { bytes: Arc::default(), max, closed: Arc::new(watch::Sender::new(false)) }
    }

    /// Adds bytes at the end.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes.lock().expect("nothing panics while it holds this lock");
        let bytes = &bytes[bytes.len().saturating_sub(self.max)..];
        let excess = (kept.len() + bytes.len()).saturating_sub(self.max);
        kept.drain(..excess);
        kept.extend(bytes);
    }

    /// Says that the stream ended. An error that quotes the tail waits a moment for this.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// What is kept, escaped for reading: lines stay lines, other control characters do not.
    pub fn text(&self) -> String {
        let kept: Vec<u8> = self
            .bytes
            .lock()
            .expect("nothing panics while it holds this lock")
            .iter()
            .copied()
            .collect();
        let lines: Vec<String> =
            kept.split(|byte| *byte == b'\n').map(|line| clip::printable(line, 2000)).collect();
        lines.join("\n").trim().to_owned()
    }

    /// Resolves when the stream ended.
    pub(super) async fn closed(&self) {
        // The sender is held by `self`, so the wait can't fail.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

impl Default for Tail {
    /// Keeps 8 KiB.
    fn default() -> Self {
        Self::new(8 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_bytes_are_kept_and_they_are_harmless() {
        let tail = Tail::new(8);
        tail.push(b"0123456789");
        tail.push(b"\x1bab\n");
        assert_eq!(tail.text(), "6789\\u{1b}ab");
        tail.push(&[b'x'; 100]);
        assert_eq!(tail.text(), "xxxxxxxx");
    }
}
