//! One operation as the supervisor sees it: who waits for it, and the channel to its keeper.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::Ticket;
use crate::{
    error::{Error, Result},
    frame::{Fill, Inbox, Outbox},
    operation::{Exec, Io, State, Status},
    protocol::{FromKeeper, ToKeeper},
};

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// What was asked for, to recognise a repetition. Only a digest: variables may be secret.
    fingerprint: u64,
    pub(super) status: Status,
    pub(super) spool: Option<PathBuf>,
    /// The connection whose end ends the operation.
    pub(super) owner: Option<u64>,
    /// The keeper's channel, as long as anything of the operation lives.
    pub(super) channel: Option<OwnedFd>,
    inbox: Inbox,
    pub(super) outbox: Outbox,
    pub(super) waiting: Vec<Ticket>,
    pub(super) following: Vec<(Ticket, u64)>,
    pub(super) killing: Vec<Ticket>,
}

/// What an operation's keeper had to say.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The program ended.
    pub(super) ended: bool,
    /// It cannot be killed by its keeper.
    pub(super) stuck: bool,
    /// Nothing of it is left.
    pub(super) gone: bool,
    /// There was nothing to hear.
    pub(super) idle: bool,
}

/// Both sides of what a new operation needs.
pub(super) struct Ends {
    pub(super) operation: Operation,
    /// For the keeper.
    pub(super) inside: Vec<OwnedFd>,
    /// For the client.
    pub(super) outside: Vec<OwnedFd>,
}

/// Recognises the same request.
pub(super) fn fingerprint(exec: &Exec) -> u64 {
    let mut hasher = DefaultHasher::new();
    exec.argv.hash(&mut hasher);
    exec.env.hash(&mut hasher);
    exec.cwd.hash(&mut hasher);
    std::mem::discriminant(&exec.io).hash(&mut hasher);
    hasher.finish()
}

impl Operation {
    /// Makes the channel, the spool or the pipes of a new operation.
    pub(super) fn open(exec: &Exec, spool: PathBuf, connection: u64) -> Result<Ends> {
        let (channel, keeper) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| Error::io("make a channel", error))?;
        rustix::io::ioctl_fionbio(&channel, true)
            .map_err(|error| Error::io("prepare a channel", error))?;
        let mut operation = Self {
            fingerprint: fingerprint(exec),
            status: Status {
                state: State::Running,
                spool_bytes: 0,
                dropped_bytes: 0,
                out_of_processes: false,
            },
            spool: None,
            owner: None,
            channel: Some(channel),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            waiting: Vec::new(),
            following: Vec::new(),
            killing: Vec::new(),
        };
        let mut inside = vec![keeper];
        let mut outside = Vec::new();
        match exec.io {
            Io::Capture { .. } => {
                use std::os::unix::fs::OpenOptionsExt;
                let file = std::fs::OpenOptions::new()
                    .create_new(true)
                    .write(true)
                    .mode(0o600)
                    .open(&spool)
                    .map_err(|error| Error::io(format!("make {}", spool.display()), error))?;
                inside.push(file.into());
                operation.spool = Some(spool);
            }
            Io::Pipes | Io::Terminal { .. } => {
                let pipe = || {
                    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                        .map_err(|error| Error::io("make a pipe", error))
                };
                let (input, ours) = pipe()?;
                inside.push(input);
                outside.push(ours);
                for _ in 0..2 {
                    let (ours, output) = pipe()?;
                    inside.push(output);
                    outside.push(ours);
                }
                operation.owner = Some(connection);
            }
        }
        Ok(Ends { operation, inside, outside })
    }

    pub(super) fn is_same(&self, exec: &Exec) -> bool {
        self.fingerprint == fingerprint(exec)
    }

    /// Tells the keeper something; it hears it in the next round of the loop at the latest.
    pub(super) fn order(&mut self, order: &ToKeeper) {
        self.outbox.push(order, Vec::new());
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        if let Some(channel) = &self.channel {
            // A keeper that is gone is noticed by its channel's end.
            let _sent = self.outbox.flush(channel.as_fd());
        }
    }

    /// Hears the keeper.
    pub(super) fn hear(&mut self) -> News {
        let mut news = News::default();
        let Some(channel) = &self.channel else { return news };
        let end = match self.inbox.fill(channel.as_fd()) {
            Ok(Fill::Some) => false,
            Ok(Fill::WouldBlock) => {
                news.idle = true;
                false
            }
            Ok(Fill::End) | Err(_) => true,
        };
        while let Ok(Some(frame)) = self.inbox.take() {
            match frame.parse() {
                Ok(FromKeeper::Output { spool_bytes, dropped_bytes }) => {
                    self.status.spool_bytes = spool_bytes;
                    self.status.dropped_bytes = dropped_bytes;
                }
                Ok(FromKeeper::Ended(state)) => {
                    self.status.state = state;
                    news.ended = true;
                }
                Ok(FromKeeper::Stuck) => news.stuck = true,
                Err(_) => {}
            }
        }
        if end {
            news.gone = true;
            self.channel = None;
            if !self.status.state.has_ended() {
                self.lose("its keeper was killed from inside the environment");
                news.ended = true;
            }
        }
        news
    }

    /// Notes that the operation ended without its keeper telling how.
    pub(super) fn lose(&mut self, why: &str) {
        if !self.status.state.has_ended() {
            self.status.state = State::Lost { why: why.to_owned() };
        }
    }
}
