//! Messages with descriptors over a Unix stream socket.
//!
//! A frame is two little-endian `u32`, the length of the body and the number of descriptors, then the
//! body. Descriptors travel with a frame's first byte and are taken in order. A peer that announces
//! more than the limits here is cut off rather than served.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// The longest body: room for the largest argument list that Linux takes, as JSON.
const MAX_BODY: usize = 32 << 20;
/// The most descriptors in one frame.
pub(crate) const MAX_DESCRIPTORS: usize = 64;
const HEADER: usize = 8;

/// One message as it arrived.
#[derive(Debug)]
pub(crate) struct Frame {
    body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Frame {
    /// Reads the body as the expected kind of message.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// Collects what arrives until whole frames are there.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Some,
    WouldBlock,
    End,
}

impl Inbox {
    /// Reads once from the socket.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<Fill> {
        // Messages are short, and each first process and keeper pays for every page that it touches.
        let mut buffer = [0u8; 4 << 10];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Fill::WouldBlock),
                Err(Errno::CONNRESET) => return Ok(Fill::End),
                Err(error) => return Err(error.into()),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Ok(Fill::End);
        }
        self.bytes.extend_from_slice(&buffer[..received.bytes]);
        Ok(Fill::Some)
    }

    /// Takes the next whole frame, if there is one.
    pub(crate) fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let count = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if length > MAX_BODY || count > MAX_DESCRIPTORS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
        }
        if self.bytes.len() < HEADER + length {
            return Ok(None);
        }
        if self.descriptors.len() < count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame lost its descriptors"));
        }
        let body = self.bytes[HEADER..HEADER + length].to_vec();
        self.bytes.drain(..HEADER + length);
        Ok(Some(Frame { body, descriptors: self.descriptors.drain(..count).collect() }))
    }
}

/// Holds what could not be sent yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<(Vec<u8>, usize, Vec<OwnedFd>)>,
}

impl Outbox {
    /// Queues a message.
    pub(crate) fn push<T: Serialize>(&mut self, message: &T, descriptors: Vec<OwnedFd>) {
        self.queue.push_back((encode(message, descriptors.len()), 0, descriptors));
    }

    /// Sends as much as the socket takes now. A socket that is gone loses the rest.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while let Some((bytes, sent, descriptors)) = self.queue.front_mut() {
            match send_some(socket, &bytes[*sent..], descriptors, SendFlags::DONTWAIT) {
                Ok(count) => {
                    *sent += count;
                    descriptors.clear();
                    if *sent == bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => {
                    self.queue.clear();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Whether everything was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Sends one message, waiting as long as it takes.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    mut descriptors: Vec<OwnedFd>,
) -> io::Result<()> {
    let bytes = encode(message, descriptors.len());
    let mut sent = 0;
    while sent < bytes.len() {
        match send_some(socket, &bytes[sent..], &descriptors, SendFlags::empty()) {
            Ok(count) => {
                sent += count;
                descriptors.clear();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for one whole message; `None` when the peer is gone.
pub(crate) fn receive(socket: BorrowedFd<'_>, inbox: &mut Inbox) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = inbox.take()? {
            return Ok(Some(frame));
        }
        match inbox.fill(socket)? {
            Fill::Some => {}
            Fill::End => return Ok(None),
            Fill::WouldBlock => return Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn encode<T: Serialize>(message: &T, descriptors: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message).expect("our own messages always become JSON");
    let length = u32::try_from(bytes.len() - HEADER).expect("messages stay below 4 GiB");
    let count = u32::try_from(descriptors).expect("descriptors are few");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
    bytes
}

fn send_some(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[OwnedFd],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags | SendFlags::NOSIGNAL)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_and_their_descriptors_arrive_in_order_however_they_are_cut() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        let long = "x".repeat(600_000);
        outbox.push(&long, vec![]);
        outbox.push(&"with", vec![tempfile::tempfile().unwrap().into()]);
        outbox.push(&"without", vec![]);
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            outbox.flush(ours.as_fd()).unwrap();
            inbox.fill(theirs.as_fd()).unwrap();
            while let Some(frame) = inbox.take().unwrap() {
                seen.push((frame.parse::<String>().unwrap(), frame.descriptors.len()));
            }
        }
        assert_eq!(seen, vec![(long, 0), ("with".to_owned(), 1), ("without".to_owned(), 0)]);
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut ours, &[255; 8]).unwrap();
        let mut inbox = Inbox::default();
        inbox.fill(theirs.as_fd()).unwrap();
        assert_eq!(inbox.take().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
