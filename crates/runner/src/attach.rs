//! Frames of streams into environments, read and written. Both ends use this: the runner, and whoever
//! executes a program in an environment.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use windlass_wire::attach::{FrameKind, frames, head};

/// The next frame; absent at the end of the stream.
///
/// # Errors
/// A frame that is too long, of no kind that there is, or cut off; the connection's failures.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(FrameKind, Vec<u8>)>> {
    let length = match from.read_u32().await {
        Ok(length) => length.to_be_bytes(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let [a, b, c, d] = length;
    let kind = match u32::from_be_bytes(length) {
        // There may be nothing behind it.
        0 => 0,
        _ => from.read_u8().await?,
    };
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (kind, length) = head([a, b, c, d, kind]).map_err(invalid)?;
    let mut content = vec![0; length];
    from.read_exact(&mut content).await?;
    Ok(Some((kind, content)))
}

/// Writes content as frames of this kind: one at least, more if it is long.
///
/// # Errors
/// The connection's failures.
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    content: &[u8],
) -> io::Result<()> {
    to.write_all(&frames(kind, content)).await?;
    to.flush().await
}

/// Writes a value as one frame of JSON.
///
/// # Errors
/// The connection's failures.
pub async fn write_json(
    to: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    value: &impl Serialize,
) -> io::Result<()> {
    let json = serde_json::to_vec(value).map_err(io::Error::other)?;
    write(to, kind, &json).await
}

/// Reads a frame's JSON.
///
/// # Errors
/// What is not the JSON of such a value.
pub fn json<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    serde_json::from_slice(content).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use windlass_wire::attach::MOST;

    use super::*;

    #[tokio::test]
    async fn frames_come_as_they_went_and_long_ones_in_pieces() {
        let long = vec![7; MOST + 10];
        let mut wire = Vec::new();
        write(&mut wire, FrameKind::Input, b"").await.expect("written");
        write(&mut wire, FrameKind::Output, &long).await.expect("written");
        let mut from = wire.as_slice();
        assert_eq!(read(&mut from).await.expect("read"), Some((FrameKind::Input, vec![])));
        let (kind, first) = read(&mut from).await.expect("read").expect("a piece");
        let (_, second) = read(&mut from).await.expect("read").expect("another");
        assert_eq!((kind, [first, second].concat()), (FrameKind::Output, long));
        assert_eq!(read(&mut from).await.expect("the end"), None);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        for bad in [&[0, 0, 0, 0][..], &[255, 0, 0, 0, 1], &[0, 0, 0, 1, 99], &[0, 0, 0, 9, 2, 1]] {
            let mut from = bad;
            assert!(read(&mut from).await.is_err(), "{bad:?}");
        }
    }
}
