//! Git's packet lines: four hexadecimal digits of length, then the payload. Only framing: what a
//! payload means is not known here.

use bytes::{Bytes, BytesMut};

/// The longest packet that git's protocol allows, with its length digits.
pub const MAX_PACKET: usize = 65_520;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `0000`: the end of a section.
    Flush,
    /// `0001`: a delimiter inside a protocol version 2 request.
    Delimiter,
    /// `0002`: the end of a protocol version 2 response.
    ResponseEnd,
    /// A payload.
    Data(Bytes),
}

/// The bytes are not packet lines.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("malformed packet line at byte {at}")]
pub struct Malformed {
    /// Offset of the bad length.
    pub at: usize,
}

/// Reads the packet at the start of `bytes`: the packet and how many bytes it took, or `None` if
/// more bytes are needed.
pub fn decode(bytes: &[u8]) -> Result<Option<(Packet, usize)>, Malformed> {
    let Some(digits) = bytes.get(..4) else {
        // A wrong digit is refused at once: a peer that never completes it must not make us wait.
        return if bytes.iter().all(u8::is_ascii_hexdigit) {
            Ok(None)
        } else {
            Err(Malformed { at: 0 })
        };
    };
    let digits = std::str::from_utf8(digits).map_err(|_| Malformed { at: 0 })?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Malformed { at: 0 });
    }
    let length = usize::from_str_radix(digits, 16).map_err(|_| Malformed { at: 0 })?;
    match length {
        0 => Ok(Some((Packet::Flush, 4))),
        1 => Ok(Some((Packet::Delimiter, 4))),
        2 => Ok(Some((Packet::ResponseEnd, 4))),
        3 => Err(Malformed { at: 0 }),
        4..=MAX_PACKET => Ok(bytes
            .get(4..length)
            .map(|payload| (Packet::Data(Bytes::copy_from_slice(payload)), length))),
        _ => Err(Malformed { at: 0 }),
    }
}

/// Appends one payload as a packet. The payload must fit into [`MAX_PACKET`].
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    debug_assert!(payload.len() + 4 <= MAX_PACKET);
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// Appends a flush packet.
pub fn encode_flush(out: &mut BytesMut) {
    out.extend_from_slice(b"0000");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_went_in_and_wait_for_missing_bytes() {
        let mut out = BytesMut::new();
        encode(b"hello", &mut out);
        encode_flush(&mut out);
        assert_eq!(&out[..], b"0009hello0000");
        assert_eq!(decode(&out), Ok(Some((Packet::Data(Bytes::from_static(b"hello")), 9))));
        assert_eq!(decode(&out[9..]), Ok(Some((Packet::Flush, 4))));
        for end in 0..9 {
            assert_eq!(decode(&out[..end]), Ok(None));
        }
    }

    #[test]
    fn bytes_that_are_no_packet_are_refused() {
        for bad in [&b"zzzz"[..], b"0003", b"ffff", b"+009hello", b"x", b"\xff\xff\xff\xff"] {
            assert_eq!(decode(bad), Err(Malformed { at: 0 }), "{bad:?}");
        }
    }
}
