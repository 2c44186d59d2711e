//! An operation's keeper: starts the program, writes its output to the spool, tells how it ended, and
//! can kill everything that came from it.
//!
//! A small process inside the environment, between the first process and the program. It adopts every
//! process that the program loses (double forks, daemons), so nothing that an operation starts can
//! leave it. Programs cannot trace it. If they kill or stop it, the first process kills them.

mod program;
mod terminal;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    pipe::{PipeFlags, pipe_with},
};

pub(crate) use self::program::forbid_core_dumps;

use self::terminal::Terminal;

use crate::{
    frame::{self, Fill, Inbox, Outbox},
    kernel::{self, Ended},
    operation::{Exec, Io, State},
    plan::Limits,
    processes,
    protocol::{FromKeeper, ToKeeper},
    spool::{self, Stream},
};

/// Runs the keeper in a forked child. `descriptors` are its channel, then the spool file or three
/// pipe ends: the program's, or those of whoever sits before its terminal.
pub(crate) fn run(exec: &Exec, limits: &Limits, descriptors: Vec<OwnedFd>) -> ! {
    let result = catch_unwind(AssertUnwindSafe(|| keep(exec, limits, descriptors)));
    // Any code but 0 tells the first process that children may be left.
    kernel::exit_now(match result {
        Ok(Ok(())) => 0,
        Ok(Err(_)) => 1,
        Err(_) => 101,
    });
}

/// Tells the supervisor, over an operation's channel, that not even a keeper could be started.
pub(crate) fn report_not_started(descriptors: &[OwnedFd], error: &io::Error) {
    if let Some(channel) = descriptors.first() {
        let why = format!("no process could be made: {error}");
        let ended = FromKeeper::Ended(State::NotStarted { why });
        // When the supervisor is gone, the environment ends with it.
        let _sent = frame::send(channel.as_fd(), &ended, Vec::new());
    }
}

fn keep(exec: &Exec, limits: &Limits, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let mut descriptors = descriptors.into_iter();
    let channel = descriptors.next().ok_or(io::ErrorKind::InvalidInput)?;
    kernel::set_process_property(libc::PR_SET_CHILD_SUBREAPER, 1)?;
    let signals = kernel::signal_descriptor(&[libc::SIGCHLD])?;
    let standard = Standard::arrange(exec, descriptors)?;
    let program = match program::start(exec, limits, standard.given) {
        Ok(pid) => pid,
        Err(why) => {
            let ended = FromKeeper::Ended(State::NotStarted { why });
            return frame::send(channel.as_fd(), &ended, Vec::new());
        }
    };
    let mut keeper = Keeper {
        channel,
        signals,
        program,
        inbox: Inbox::default(),
        outbox: Outbox::default(),
        spool: standard.spool,
        output: standard.output,
        errors: standard.errors,
        terminal: standard.terminal,
        told: (0, 0),
        childless: false,
        ended: None,
    };
    keeper.run()
}

/// The program's three standard descriptors and our ends of them.
struct Standard {
    /// What the program gets.
    given: [OwnedFd; 3],
    spool: Option<Spool>,
    output: Option<File>,
    errors: Option<File>,
    terminal: Option<Terminal>,
}

impl Standard {
    fn arrange(exec: &Exec, mut descriptors: impl Iterator<Item = OwnedFd>) -> io::Result<Self> {
        let mut next = || descriptors.next().ok_or(io::ErrorKind::InvalidInput);
        match exec.io {
            Io::Pipes => Ok(Self {
                given: [next()?, next()?, next()?],
                spool: None,
                output: None,
                errors: None,
                terminal: None,
            }),
            Io::Terminal { size } => {
                let (terminal, given) = Terminal::open(size, next()?, next()?)?;
                Ok(Self {
                    given,
                    spool: None,
                    output: None,
                    errors: None,
                    terminal: Some(terminal),
                })
            }
            Io::Capture { limit_bytes } => {
                let spool =
                    Spool { file: next()?.into(), length: 0, left: limit_bytes, dropped: 0 };
                let null = File::open("/dev/null")?;
                let (output, given_output) = pipe_with(PipeFlags::CLOEXEC)?;
                let (errors, given_errors) = pipe_with(PipeFlags::CLOEXEC)?;
                for end in [&output, &errors] {
                    rustix::io::ioctl_fionbio(end, true)?;
                }
                Ok(Self {
                    given: [null.into(), given_output, given_errors],
                    spool: Some(spool),
                    output: Some(output.into()),
                    errors: Some(errors.into()),
                    terminal: None,
                })
            }
        }
    }
}

/// The spool file while it is being written.
struct Spool {
    file: File,
    /// Bytes of whole frames.
    length: u64,
    /// Bytes of output that are still kept.
    left: u64,
    dropped: u64,
}

impl Spool {
    /// Writes what fits; the rest, also what the disk refuses, is counted.
    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let (keep, drop) = bytes.split_at(kept);
        self.dropped += drop.len() as u64;
        if keep.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let frame = spool::encode(stream, i64::try_from(now.as_micros()).unwrap_or(0), keep);
        match self.file.write_all_at(&frame, self.length) {
            Ok(()) => {
                self.length += frame.len() as u64;
                self.left -= keep.len() as u64;
            }
            // The half of a frame that may have been written is overwritten by the next one, and cut
            // off so that readers see whole frames only.
            Err(_) => {
                self.dropped += keep.len() as u64;
                let _cut = self.file.set_len(self.length);
            }
        }
    }
}

struct Keeper {
    channel: OwnedFd,
    signals: OwnedFd,
    program: i32,
    inbox: Inbox,
    outbox: Outbox,
    spool: Option<Spool>,
    output: Option<File>,
    errors: Option<File>,
    terminal: Option<Terminal>,
    /// Bytes kept and dropped that the supervisor knows of.
    told: (u64, u64),
    childless: bool,
    ended: Option<Ended>,
}

impl Keeper {
    fn run(&mut self) -> io::Result<()> {
        while !self.is_done() {
            let [from_supervisor, from_children, output, errors] = self.wait()?;
            if output {
                self.pump(Stream::Output);
            }
            if errors {
                self.pump(Stream::Errors);
            }
            if self.terminal.as_mut().is_some_and(|terminal| !terminal.carry()) {
                // Hangs up: whoever sits before it has left, or nobody is behind it any more.
                self.terminal = None;
            }
            if from_children {
                while kernel::next_signal(self.signals.as_fd()).is_some() {}
                self.reap();
            }
            if from_supervisor && !self.obey()? {
                // What is left of the operation is the first process's to kill.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.outbox.flush(self.channel.as_fd())?;
            if self.outbox.is_empty() {
                self.tell();
                self.outbox.flush(self.channel.as_fd())?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let all_told =
            self.spool.as_ref().is_none_or(|spool| self.told == (spool.length, spool.dropped));
        let silent = self.output.is_none()
            && self.errors.is_none()
            && self.terminal.as_ref().is_none_or(Terminal::is_told);
        self.childless && silent && all_told && self.outbox.is_empty()
    }

    fn wait(&self) -> io::Result<[bool; 4]> {
        let mut channel = PollFlags::IN;
        if !self.outbox.is_empty() {
            channel |= PollFlags::OUT;
        }
        let mut polled =
            vec![PollFd::new(&self.channel, channel), PollFd::new(&self.signals, PollFlags::IN)];
        polled.extend(self.output.iter().map(|file| PollFd::new(file, PollFlags::IN)));
        polled.extend(self.errors.iter().map(|file| PollFd::new(file, PollFlags::IN)));
        polled.extend(self.terminal.iter().flat_map(Terminal::polled));
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |descriptor: i32| {
            polled
                .iter()
                .any(|one| one.as_fd().as_raw_fd() == descriptor && !one.revents().is_empty())
        };
        Ok([
            is_ready(self.channel.as_raw_fd()),
            is_ready(self.signals.as_raw_fd()),
            self.output.as_ref().is_some_and(|file| is_ready(file.as_raw_fd())),
            self.errors.as_ref().is_some_and(|file| is_ready(file.as_raw_fd())),
        ])
    }

    /// Reads one stream as far as it goes, up to a megabyte at a time so that orders are heard.
    fn pump(&mut self, stream: Stream) {
        let file = match stream {
            Stream::Output => &mut self.output,
            Stream::Errors => &mut self.errors,
        };
        let mut buffer = Vec::new();
        for _ in 0..16 {
            let Some(source) = file else { return };
            // As much as waits there: most programs write little, and the end of a stream needs no room.
            let waiting = rustix::io::ioctl_fionread(&*source).unwrap_or(u64::MAX);
            let room = usize::try_from(waiting).unwrap_or(usize::MAX).clamp(1, spool::MAX_FRAME);
            buffer.resize(room, 0);
            match source.read(&mut buffer[..room]) {
                Ok(0) => *file = None,
                Ok(count) => {
                    if let Some(spool) = &mut self.spool {
                        spool.add(stream, &buffer[..count]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => *file = None,
            }
        }
    }

    fn reap(&mut self) {
        loop {
            match kernel::reap_any(false) {
                Ok(Some((pid, how))) => self.note(pid, how),
                Ok(None) => return,
                Err(_) => {
                    self.childless = true;
                    self.close_streams();
                    return;
                }
            }
        }
    }

    /// Takes what is left in the pipes and closes them. Once all of the operation's processes are gone,
    /// whoever still holds the other ends (opened through `/proc` by another operation's process) may
    /// neither add to the output nor keep the operation from being over.
    fn close_streams(&mut self) {
        self.drain();
        self.output = None;
        self.errors = None;
    }

    fn drain(&mut self) {
        while self.has_output() {
            self.pump(Stream::Output);
            self.pump(Stream::Errors);
        }
    }

    /// The program's own end is told at once, after all that it had written until then.
    fn note(&mut self, pid: i32, how: Ended) {
        if pid != self.program || self.ended.is_some() {
            return;
        }
        self.ended = Some(how);
        self.drain();
        if let Some(terminal) = &mut self.terminal {
            terminal.finish();
        }
        self.tell();
        let state = match how {
            Ended::Exited(code) => State::Exited { code },
            Ended::Signalled(signal) => State::Signalled { signal, out_of_memory: false },
        };
        self.outbox.push(&FromKeeper::Ended(state), Vec::new());
    }

    /// Whether something written before the program's end still waits in a pipe. A pipe holds little,
    /// and a child that goes on writing is not waited for more than that.
    fn has_output(&self) -> bool {
        let Some(spool) = &self.spool else { return false };
        let seen = spool.length + spool.dropped;
        let waiting = self
            .output
            .iter()
            .chain(&self.errors)
            .any(|file| rustix::io::ioctl_fionread(file).is_ok_and(|count| count > 0));
        waiting && seen < self.told.0 + self.told.1 + (8 << 20)
    }

    /// Carries out orders; false when the supervisor is gone.
    fn obey(&mut self) -> io::Result<bool> {
        match self.inbox.fill(self.channel.as_fd())? {
            Fill::End => return Ok(false),
            Fill::Some | Fill::WouldBlock => {}
        }
        while let Some(frame) = self.inbox.take()? {
            match frame.parse()? {
                // The group may be gone already; its end is told on its own.
                ToKeeper::Signal(signal) => drop(kernel::send_signal(-self.program, signal)),
                ToKeeper::Resize(size) => {
                    if let Some(terminal) = &self.terminal {
                        terminal.resize(size);
                    }
                }
                ToKeeper::Kill => self.kill(),
            }
        }
        Ok(true)
    }

    fn kill(&mut self) {
        let mut ended = Vec::new();
        if !processes::kill_descendants(&BTreeSet::new(), |pid, how| ended.push((pid, how))) {
            self.outbox.push(&FromKeeper::Stuck, Vec::new());
        }
        for (pid, how) in ended {
            self.note(pid, how);
        }
        self.reap();
    }

    /// Tells how long the spool is, if that is news.
    fn tell(&mut self) {
        let Some(spool) = &self.spool else { return };
        let now = (spool.length, spool.dropped);
        if now != self.told {
            self.told = now;
            let (spool_bytes, dropped_bytes) = now;
            self.outbox.push(&FromKeeper::Output { spool_bytes, dropped_bytes }, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_the_disk_refuses_is_counted_and_not_an_end() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut spool = Spool { file, length: 0, left: 100, dropped: 0 };
        spool.add(Stream::Output, b"lost");
        spool.add(Stream::Errors, b"too");
        assert_eq!((spool.length, spool.left, spool.dropped), (0, 100, 7));
    }
}
