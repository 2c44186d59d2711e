//! The first process of an environment: builds it, starts a keeper for each operation, reaps.
//!
//! A fork of the supervisor that never executes anything and never returns. When it ends, for whatever
//! reason, the kernel kills everything inside. It listens to the supervisor only; programs inside can
//! neither trace it nor signal it with effect.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, IntoRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, open},
};

use crate::{
    build::{self, Blueprint},
    canary::{self, Canary},
    error::Error,
    frame::{self, Fill, Frame, Inbox},
    keeper,
    kernel::{self, Ended, Fate, Forked},
    plan::Limits,
    processes,
    protocol::{FromInit, ToInit},
};

/// Where the channel to the supervisor is put; everything above is closed.
const CHANNEL: i32 = 3;

/// Runs the first process. `channel` is the supervisor's socket.
pub(crate) fn run(blueprint: &Blueprint<'_>, channel: OwnedFd) -> ! {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let Ok(channel) = settle(channel) else { return };
        let mut inbox = Inbox::default();
        match build::build(blueprint, channel.as_fd(), &mut inbox) {
            Ok(built) => {
                let ready = FromInit::Ready {
                    ports: built.ports,
                    proved: built.proved,
                    shared_files: built.shared_files,
                };
                // From here on no listening socket is left inside.
                if frame::send(channel.as_fd(), &ready, built.sockets).is_ok() {
                    serve(&channel, inbox, &blueprint.plan.limits);
                }
            }
            Err(error) => report(&channel, error),
        }
    }));
    kernel::exit_now(i32::from(result.is_err()));
}

/// Ties this process to its parent and closes every descriptor that it inherited but the channel.
fn settle(channel: OwnedFd) -> std::io::Result<OwnedFd> {
    kernel::set_process_property(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)?;
    kernel::place_descriptor(channel.as_fd(), CHANNEL, true)?;
    // The number is closed below, by number: its owner must not close it again.
    let _number = channel.into_raw_fd();
    let null = open(c"/dev/null", OFlags::RDWR, Mode::empty())?;
    for standard in 0..CHANNEL {
        kernel::place_descriptor(null.as_fd(), standard, false)?;
    }
    let _number = null.into_raw_fd();
    kernel::close_from(CHANNEL + 1)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(kernel::own_placed(CHANNEL))
}

fn report(channel: &OwnedFd, error: Error) {
    // When the supervisor is gone there is nobody to tell; this process ends either way.
    let _sent = frame::send(channel.as_fd(), &FromInit::Failed(error), Vec::new());
}

/// Serves the supervisor until it is gone.
fn serve(channel: &OwnedFd, mut inbox: Inbox, limits: &Limits) {
    let Ok(signals) = kernel::signal_descriptor(&[libc::SIGCHLD]) else { return };
    let mut keepers = BTreeSet::new();
    loop {
        let mut ready = [PollFd::new(channel, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        if poll(&mut ready, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        let [from_supervisor, from_children] = ready.map(|one| !one.revents().is_empty());
        if from_children {
            while kernel::next_signal(signals.as_fd()).is_some() {}
            if !reap(&mut keepers) {
                return;
            }
        }
        if from_supervisor {
            match inbox.fill(channel.as_fd()) {
                Ok(Fill::Some | Fill::WouldBlock) => {}
                Ok(Fill::End) | Err(_) => return,
            }
            while let Ok(Some(frame)) = inbox.take() {
                obey(frame, limits, &mut keepers);
            }
        }
    }
}

/// Takes note of ended children. A keeper that was killed leaves its program's processes to us: they
/// are killed at once. False when they cannot be, which must end the environment.
///
/// A keeper never stops by itself. One that was stopped from inside would hear no order any more, so it
/// is killed.
fn reap(keepers: &mut BTreeSet<i32>) -> bool {
    let mut orphaned = false;
    while let Ok(Some((pid, fate))) = kernel::hear_of_any() {
        match fate {
            Fate::Ended(how) => orphaned |= keepers.remove(&pid) && how != Ended::Exited(0),
            Fate::Stopped if keepers.contains(&pid) => {
                // Its end is heard of next.
                let _sent = kernel::send_signal(pid, libc::SIGKILL);
            }
            // A process that lost its parent may stop as it likes.
            Fate::Stopped => {}
        }
    }
    while std::mem::take(&mut orphaned) {
        let spared = keepers.clone();
        let all_killed = processes::kill_descendants(&spared, |pid, how| {
            orphaned |= keepers.remove(&pid) && how != Ended::Exited(0);
        });
        if !all_killed {
            return false;
        }
    }
    true
}

fn obey(frame: Frame, limits: &Limits, keepers: &mut BTreeSet<i32>) {
    match frame.parse() {
        Ok(ToInit::Exec(exec)) => match kernel::fork() {
            Ok(Forked::Child) => keeper::run(&exec, limits, frame.descriptors),
            Ok(Forked::Parent(pid)) => {
                keepers.insert(pid);
            }
            Err(error) => keeper::report_not_started(&frame.descriptors, &error),
        },
        Ok(ToInit::Probe(canary)) => probe(&canary, frame.descriptors),
        Ok(ToInit::Connect(port)) => connect(port, frame.descriptors),
        // Ids are mapped once; a message that cannot be read would be a fault of our own, and whoever
        // waits for its answer sees its descriptors close.
        Ok(ToInit::Mapped) | Err(_) => {}
    }
}

fn probe(canary: &Canary, mut descriptors: Vec<OwnedFd>) {
    let Some(answer) = descriptors.pop() else { return };
    if let Ok(Forked::Child) = kernel::fork() {
        let outcome = catch_unwind(|| canary::attempt(canary));
        if let Ok(outcome) = outcome {
            // Whoever asked may be gone.
            let _sent = frame::send(answer.as_fd(), &outcome, Vec::new());
        }
        kernel::exit_now(0);
    }
}

/// Connects in a process of its own, so that nothing waits for a program that does not answer.
fn connect(port: u16, mut descriptors: Vec<OwnedFd>) {
    let Some(answer) = descriptors.pop() else { return };
    if let Ok(Forked::Child) = kernel::fork() {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let places =
                [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
            let connected = std::net::TcpStream::connect(&places[..]);
            let (outcome, socket) = match connected {
                Ok(socket) => (Ok(()), vec![OwnedFd::from(socket)]),
                Err(error) => (Err(error.to_string()), Vec::new()),
            };
            // Whoever asked may be gone.
            let _sent = frame::send(answer.as_fd(), &outcome, socket);
        }));
        kernel::exit_now(i32::from(ended.is_err()));
    }
}
