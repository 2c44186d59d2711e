//! A program's terminal, seen from its keeper: what is typed goes in, what is shown comes out, each by a
//! pipe of whoever sits before it.
//!
//! Nothing here waits. A program that reads no keys, or a person who takes nothing in, holds up only the
//! other one.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::event::{PollFd, PollFlags};

use crate::{kernel, operation::Size};

/// How many bytes of either direction are held at most before no more is taken.
const MOST: usize = 64 << 10;
/// How much may still be shown of what was written before the program's end. A terminal holds far less;
/// this is for what children go on writing.
const LAST: usize = 1 << 20;

/// A terminal in use.
pub(super) struct Terminal {
    /// The end of the screen and keys; absent once nobody is behind it.
    master: Option<File>,
    /// What is typed.
    keys: File,
    /// What is shown.
    screen: File,
    typed: Vec<u8>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Makes a terminal between these pipes; also gives the program's three standard descriptors.
    pub(super) fn open(
        size: Size,
        keys: OwnedFd,
        screen: OwnedFd,
    ) -> io::Result<(Self, [OwnedFd; 3])> {
        let (master, programs) = kernel::open_terminal()?;
        kernel::resize_terminal(master.as_fd(), size.columns, size.rows)?;
        for end in [&master, &keys, &screen] {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let given = [programs.try_clone()?, programs.try_clone()?, programs];
        let terminal = Self {
            master: Some(master.into()),
            keys: keys.into(),
            screen: screen.into(),
            typed: Vec::new(),
            shown: Vec::new(),
        };
        Ok((terminal, given))
    }

    /// Changes its size.
    pub(super) fn resize(&self, size: Size) {
        if let Some(master) = &self.master {
            // A size is a hint to programs: the old one does no harm.
            let _resized = kernel::resize_terminal(master.as_fd(), size.columns, size.rows);
        }
    }

    /// What there is to wait for.
    pub(super) fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.shown.len() < MOST);
        wanted.set(PollFlags::OUT, !self.typed.is_empty());
        let keys = self.typed.len() < MOST;
        let master = self.master.as_ref().filter(|_| !wanted.is_empty());
        [
            master.map(|file| PollFd::new(file, wanted)),
            keys.then(|| PollFd::new(&self.keys, PollFlags::IN)),
            (!self.shown.is_empty()).then(|| PollFd::new(&self.screen, PollFlags::OUT)),
        ]
        .into_iter()
        .flatten()
    }

    /// Carries what can be carried now. False if the terminal is of no use any more.
    pub(super) fn carry(&mut self) -> bool {
        if self.typed.len() < MOST {
            match take(&mut self.keys, &mut self.typed) {
                Taken::End => return false,
                Taken::Some | Taken::Nothing => {}
            }
        }
        if let Some(master) = &mut self.master {
            if give(master, &mut self.typed).is_err() {
                self.typed.clear();
            }
            if self.shown.len() < MOST && matches!(take(master, &mut self.shown), Taken::End) {
                self.master = None;
            }
        }
        give(&mut self.screen, &mut self.shown).is_ok()
            && (self.master.is_some() || !self.shown.is_empty())
    }

    /// The program has ended: takes what it had written, and hangs up on whatever it left behind.
    pub(super) fn finish(&mut self) {
        if let Some(mut master) = self.master.take() {
            let most = self.shown.len() + LAST;
            while self.shown.len() < most
                && matches!(take(&mut master, &mut self.shown), Taken::Some)
            {}
        }
    }

    /// Whether all that was shown has been taken in.
    pub(super) fn is_told(&self) -> bool {
        self.shown.is_empty()
    }
}

enum Taken {
    Some,
    Nothing,
    End,
}

/// Takes one piece.
fn take(from: &mut File, held: &mut Vec<u8>) -> Taken {
    let mut piece = [0; 16 << 10];
    match from.read(&mut piece) {
        Ok(0) => Taken::End,
        Ok(count) => {
            held.extend_from_slice(&piece[..count]);
            Taken::Some
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Nothing,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Taken::Nothing,
        // A terminal without programs answers with an error of its own.
        Err(_) => Taken::End,
    }
}

/// Gives as much as is taken.
fn give(to: &mut File, held: &mut Vec<u8>) -> io::Result<()> {
    while !held.is_empty() {
        match to.write(held) {
            Ok(count) => drop(held.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
