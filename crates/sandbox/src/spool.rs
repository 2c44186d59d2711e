//! The spool: a captured operation's output on disk, both streams in one file in the order they came.
//!
//! The file is a row of frames: one byte for the stream (1 output, 2 errors), the time in microseconds
//! since the Unix epoch (`i64`), the length (`u32`), both little-endian, then the bytes. Only whole
//! frames count, so a reader may follow a file that is being written and go on from an offset after a
//! crash. The environment cannot reach the file; its content is untrusted text all the same.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use crate::error::{Error, Result};

/// Bytes before each frame's content.
pub(crate) const FRAME_HEADER: usize = 13;
/// The longest frame that is ever written.
pub(crate) const MAX_FRAME: usize = 64 << 10;

/// Which stream a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Errors,
}

/// Some output of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written to.
    pub stream: Stream,
    /// When it was read, in microseconds since the Unix epoch.
    pub at_micros: i64,
    /// The bytes as they were written; not necessarily whole lines or whole characters.
    pub bytes: Vec<u8>,
}

/// Reads a spool file, from the start or from where an earlier reader stopped.
#[derive(Debug)]
pub struct Reader {
    file: File,
    offset: u64,
}

impl Reader {
    /// Opens a spool file at an offset that an earlier [`Reader::offset`] gave, or at 0.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn open(path: &Path, offset: u64) -> Result<Self> {
        let named = |error| Error::io(format!("open the spool {}", path.display()), error);
        let mut file = File::open(path).map_err(named)?;
        file.seek(SeekFrom::Start(offset)).map_err(named)?;
        Ok(Self { file, offset })
    }

    /// The next chunk; `None` when no further whole frame has been written yet.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or the offset is not at a frame.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let mut header = [0; FRAME_HEADER];
        if !self.read_whole(&mut header)? {
            return Ok(None);
        }
        let [stream, rest @ ..] = header;
        let stream = match stream {
            1 => Stream::Output,
            2 => Stream::Errors,
            other => {
                return Err(Error::io(
                    format!("read the spool at offset {}", self.offset),
                    format!("no frame starts here (stream {other})"),
                ));
            }
        };
        let [a, b, c, d, e, f, g, h, l0, l1, l2, l3] = rest;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_FRAME {
            return Err(Error::io(
                format!("read the spool at offset {}", self.offset),
                format!("a frame of {length} bytes is longer than any that is written"),
            ));
        }
        let mut bytes = vec![0; length];
        if !self.read_whole(&mut bytes)? {
            self.rewind()?;
            return Ok(None);
        }
        self.offset += (FRAME_HEADER + length) as u64;
        Ok(Some(Chunk { stream, at_micros: i64::from_le_bytes([a, b, c, d, e, f, g, h]), bytes }))
    }

    /// Where the next frame starts: what to keep in order to go on later.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills the buffer, or goes back to the frame's start when the file ends before.
    fn read_whole(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.rewind()?;
                Ok(false)
            }
            Err(error) => Err(Error::io("read the spool", error)),
        }
    }

    fn rewind(&mut self) -> Result<()> {
        self.file
            .seek(SeekFrom::Start(self.offset))
            .map(drop)
            .map_err(|error| Error::io("seek in the spool", error))
    }
}

/// Makes one frame.
pub(crate) fn encode(stream: Stream, at_micros: i64, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a frame is at most 64 KiB");
    let mut frame = Vec::with_capacity(FRAME_HEADER + bytes.len());
    frame.push(match stream {
        Stream::Output => 1,
        Stream::Errors => 2,
    });
    frame.extend_from_slice(&at_micros.to_le_bytes());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_reader_waits_for_a_whole_frame_and_goes_on_from_its_offset() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let first = encode(Stream::Output, 7, b"out");
        let second = encode(Stream::Errors, 8, b"err");
        file.write_all(&first).unwrap();
        file.write_all(&second[..9]).unwrap();
        let mut reader = Reader::open(file.path(), 0).unwrap();
        let chunk = Chunk { stream: Stream::Output, at_micros: 7, bytes: b"out".to_vec() };
        assert_eq!(reader.next_chunk().unwrap(), Some(chunk));
        assert_eq!(reader.next_chunk().unwrap(), None);
        file.write_all(&second[9..]).unwrap();
        let mut later = Reader::open(file.path(), reader.offset()).unwrap();
        let chunk = Chunk { stream: Stream::Errors, at_micros: 8, bytes: b"err".to_vec() };
        assert_eq!(later.next_chunk().unwrap(), Some(chunk));
        assert_eq!(later.next_chunk().unwrap(), None);
    }

    #[test]
    fn an_offset_inside_a_frame_is_an_error_and_never_garbage() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&encode(Stream::Output, 7, b"0123456789abcdef")).unwrap();
        let mut reader = Reader::open(file.path(), 13).unwrap();
        assert!(reader.next_chunk().is_err());
    }
}
