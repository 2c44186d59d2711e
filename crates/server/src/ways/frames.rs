//! Frames of streams into environments, where the server itself is the client.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use windlass_wire::attach::{FrameKind, frames, head};

/// The next frame; absent at the end of the stream.
///
/// # Errors
/// What is no frame, or is cut off; the connection's failures.
pub(crate) async fn read(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(FrameKind, Vec<u8>)>> {
    let mut bytes = [0; 5];
    match from.read_exact(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (kind, length) =
        head(bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    let mut content = vec![0; length];
    from.read_exact(&mut content).await?;
    Ok(Some((kind, content)))
}

/// Writes content as frames of this kind.
///
/// # Errors
/// The connection's failures.
pub(crate) async fn write(
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
pub(crate) async fn write_json(
    to: &mut (impl AsyncWrite + Unpin),
    kind: FrameKind,
    value: &impl Serialize,
) -> io::Result<()> {
    write(to, kind, &serde_json::to_vec(value).map_err(io::Error::other)?).await
}
