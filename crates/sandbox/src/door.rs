//! The doors' inner side: an empty network with a loopback interface and listening sockets on it.
//!
//! The sockets are opened by the environment's first process and handed out; nothing inside keeps one.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::plan::Door;

/// Brings up the loopback interface of the current (new) network namespace.
pub(crate) fn bring_loopback_up() -> io::Result<()> {
    let control = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    crate::kernel::bring_loopback_up(control.as_fd())
}

/// Opens the doors on the loopback interface; answers each one's port and socket.
pub(crate) fn open(doors: &[Door]) -> io::Result<(Vec<u16>, Vec<OwnedFd>)> {
    let mut ports = Vec::new();
    let mut sockets = Vec::new();
    for door in doors {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, door.port)).map_err(|error| {
            io::Error::new(error.kind(), format!("door `{}`: {error}", door.name))
        })?;
        ports.push(listener.local_addr()?.port());
        sockets.push(listener.into());
    }
    Ok((ports, sockets))
}
