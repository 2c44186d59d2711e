//! Server-sent events, cut out of a stream of bytes (WHATWG HTML, "server-sent events").

/// The longest event that is looked into. A longer one passes but is not read.
const MAX_EVENT: usize = 16 * 1024 * 1024;

/// Cuts a byte stream into events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    buffer: Vec<u8>,
    /// How far the buffer was searched for an end.
    searched: usize,
}

/// One event as it came, with the empty line that ends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) raw: Vec<u8>,
}

impl Event {
    /// The `data` lines, joined by line ends; `None` if there are none.
    pub(crate) fn data(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.raw);
        let mut data: Option<String> = None;
        for line in text.split(['\n', '\r']) {
            let Some(value) = line.strip_prefix("data:") else { continue };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut data {
                None => data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
        }
        data
    }
}

impl Events {
    /// Takes bytes and returns the events that they end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.end_of_event() {
            let raw = self.buffer.drain(..end).collect();
            self.searched = 0;
            events.push(Event { raw });
        }
        if self.buffer.len() > MAX_EVENT {
            let raw = std::mem::take(&mut self.buffer);
            self.searched = 0;
            events.push(Event { raw });
        }
        events
    }

    /// What is left: an event that was never ended.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.buffer)
    }

    /// The offset after the next empty line.
    fn end_of_event(&mut self) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) =
            self.buffer[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))
        {
            at += found;
            let rest = &self.buffer[at..];
            for end in [b"\n\n".as_slice(), b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"] {
                if rest.starts_with(end) {
                    return Some(at + end.len());
                }
            }
            at += 1;
        }
        // The last three bytes may be the beginning of an end.
        self.searched = self.buffer.len().saturating_sub(3);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_end_at_an_empty_line_whatever_the_line_ends() {
        let mut events = Events::default();
        let found =
            events.push(b"event: a\ndata: 1\ndata: 2\n\ndata:3\r\n\r\n: note\n\ndata: half");
        let data: Vec<_> = found.iter().map(Event::data).collect();
        assert_eq!(data, [Some("1\n2".to_owned()), Some("3".to_owned()), None]);
        assert_eq!(events.rest(), b"data: half");
    }

    proptest! {
        #[test]
        fn a_cut_stream_gives_the_same_events(text in "[d:\n\r]{0,60}", cut in 1usize..7) {
            let mut whole = Events::default();
            let expected = whole.push(text.as_bytes());
            let mut pieces = Events::default();
            let found: Vec<_> = text.as_bytes().chunks(cut).flat_map(|piece| pieces.push(piece)).collect();
            let joined = |events: &[Event]| events.iter().flat_map(|event| event.raw.clone()).collect::<Vec<_>>();
            // A carriage return at a cut may end an event one byte earlier; no byte is lost or moved.
            let mut left = joined(&expected);
            left.extend(whole.rest());
            let mut right = joined(&found);
            right.extend(pieces.rest());
            prop_assert_eq!(left, right);
        }
    }
}
