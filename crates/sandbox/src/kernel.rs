//! The few system calls that no crate offers safely, each behind a safe function.
//!
//! Everything `unsafe` of Windlass is in this file. Functions whose name starts with `try_` are attacks
//! for [`crate::canary`] and are expected to fail.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(i32),
}

/// Flags of the namespaces that [`clone_into`] can make.
pub(crate) mod namespace {
    pub(crate) const USER: i32 = libc::CLONE_NEWUSER;
    pub(crate) const MOUNT: i32 = libc::CLONE_NEWNS;
    pub(crate) const PID: i32 = libc::CLONE_NEWPID;
    pub(crate) const IPC: i32 = libc::CLONE_NEWIPC;
    pub(crate) const UTS: i32 = libc::CLONE_NEWUTS;
    pub(crate) const NETWORK: i32 = libc::CLONE_NEWNET;
}

/// Forks into new namespaces. The calling process must have exactly one thread.
pub(crate) fn clone_into(namespaces: i32) -> io::Result<Forked> {
    let flags = namespaces | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a stack this is a fork: the child gets a copy of this
    // process. There is one thread, so no lock is held by another one in the copy. Only the flags
    // matter; all other arguments are null, in whatever order the architecture has them.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_long, 0, 0, 0, 0) };
    forked(result as libc::c_int)
}

/// Forks. The calling process must have exactly one thread.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: there is one thread, so the child may do whatever the parent may.
    forked(unsafe { libc::fork() })
}

/// Ends the process without running anything more of it: what a forked child must do.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; takes no pointers.
    unsafe { libc::_exit(code) }
}

/// Replaces the program; returns only the reason why it could not.
pub(crate) fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists are arrays of NUL-terminated strings that end with a null pointer, and live
    // until the call returns, which it does only on failure.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// A descriptor that becomes readable when one of the signals arrives; they are blocked from now on.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set and outlives both calls.
    unsafe {
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()))?;
        let descriptor =
            check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Takes the next signal from a [`signal_descriptor`].
pub(crate) fn next_signal(descriptor: BorrowedFd<'_>) -> Option<i32> {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut buffer) {
        Ok(count) if count == buffer.len() => {
            let [a, b, c, d, ..] = buffer;
            i32::try_from(u32::from_ne_bytes([a, b, c, d])).ok()
        }
        _ => None,
    }
}

/// Gives every signal its default meaning again and unblocks all: the state that a program expects.
pub(crate) fn reset_signals() {
    let empty = signal_set(&[]);
    // SAFETY: setting a default disposition takes no handler; numbers that do not exist are refused
    // by the kernel. `empty` is an initialised set.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut());
    }
}

/// Ignores a signal.
pub(crate) fn ignore_signal(signal: i32) {
    // SAFETY: ignoring a signal takes no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Makes a mount with all mounts below it read-only or not, and dead for set-user-id programs and
/// devices or not.
pub(crate) fn restrict_mounts(
    mount: BorrowedFd<'_>,
    read_only: bool,
    no_devices: bool,
) -> io::Result<()> {
    let mut attributes = attribute::NO_SET_USER_ID;
    if read_only {
        attributes |= attribute::READ_ONLY;
    }
    if no_devices {
        attributes |= attribute::NO_DEVICES;
    }
    set_mount_attributes(mount, attributes, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

/// Makes one mount read-only, leaving those below it as they are.
pub(crate) fn make_mount_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_mount_attributes(mount, attribute::READ_ONLY, libc::AT_EMPTY_PATH)
}

/// `MOUNT_ATTR_*` of the kernel.
mod attribute {
    pub(super) const READ_ONLY: u64 = 0x1;
    pub(super) const NO_SET_USER_ID: u64 = 0x2;
    pub(super) const NO_DEVICES: u64 = 0x4;
}

fn set_mount_attributes(mount: BorrowedFd<'_>, set: u64, flags: libc::c_int) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is an empty NUL-terminated string (AT_EMPTY_PATH), the struct has the layout
    // and size that the kernel expects and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    check(result as libc::c_int).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn bring_loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is valid; the name is set below and stays NUL-terminated.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which `request` is and which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
        .map(drop)
}

/// Closes every descriptor from `first` on. The caller must not use any of them afterwards, nor run
/// the destructor of anything that holds one.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closing is memory-safe; the callers are children of a fork that never return to code
    // that owns those descriptors.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0)
    };
    check(result as libc::c_int).map(drop)
}

/// Makes `number` refer to what `descriptor` refers to. The caller must be a child of a fork that does
/// not use the old meaning of `number` any more.
pub(crate) fn place_descriptor(
    descriptor: BorrowedFd<'_>,
    number: RawFd,
    close_on_exec: bool,
) -> io::Result<()> {
    let (flag, dup_flag) = if close_on_exec { (libc::FD_CLOEXEC, libc::O_CLOEXEC) } else { (0, 0) };
    // SAFETY: both calls take plain numbers; whatever `number` was is closed by the kernel.
    let result = unsafe {
        if descriptor.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, flag)
        } else {
            libc::dup3(descriptor.as_raw_fd(), number, dup_flag)
        }
    };
    check(result).map(drop)
}

/// Owns a descriptor that [`place_descriptor`] put at `number`.
pub(crate) fn own_placed(number: RawFd) -> OwnedFd {
    // SAFETY: called once in a forked child, right after the descriptor was placed there, so it is
    // open and nothing else in this process owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Changes all user and group ids of this process (which has one thread) and drops other groups where
/// that is allowed.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: these take plain numbers.
    unsafe {
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

/// Leaves all supplementary groups. Needs root.
pub(crate) fn leave_groups() -> io::Result<()> {
    // SAFETY: zero groups are read from the null pointer.
    check(unsafe { libc::setgroups(0, ptr::null()) }).map(drop)
}

/// Empties the set of capabilities that could ever be had again. Needs privileges, so it comes before
/// they are given up; what could not be dropped is seen by whoever looks at the sets afterwards.
pub(crate) fn drop_bounding_set() {
    for capability in 0..=63 {
        // SAFETY: plain numbers; the kernel answers EINVAL past the last capability.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result != 0 {
            break;
        }
    }
}

/// Empties every capability set of this process.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    drop_bounding_set();
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    let header = Header { version: VERSION, pid: 0 };
    let data = [0u32; 6];
    // SAFETY: version 3 takes a header and two triples of u32, which both live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(result as libc::c_int).map(drop)
}

/// One of the process's on/off properties.
pub(crate) fn set_process_property(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: all options used by this crate (no-new-privileges, dumpable, parent-death signal, child
    // subreaper) take plain numbers.
    check(unsafe { libc::prctl(option, value as libc::c_ulong, 0, 0, 0) }).map(drop)
}

/// Reads one of the process's properties.
pub(crate) fn process_property(option: i32) -> io::Result<i32> {
    // SAFETY: the options used by this crate (no-new-privileges, dumpable, seccomp) return a number and
    // take no pointer.
    check(unsafe { libc::prctl(option, 0, 0, 0, 0) })
}

/// Installs a BPF program as system call filter for ever.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `header` describes `program`, which outlives the call; the kernel copies and checks it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const header, 0, 0)
    };
    check(result).map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Signalled(i32),
}

/// What was heard of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ended(Ended),
    /// It stands still until someone lets it go on. Only told by [`hear_of_any`].
    Stopped,
}

/// Takes note of one ended child; `Ok(None)` when none has ended yet.
///
/// # Errors
/// ECHILD when there is no child at all.
pub(crate) fn reap_any(wait: bool) -> io::Result<Option<(i32, Ended)>> {
    let flags = if wait { 0 } else { libc::WNOHANG };
    loop {
        match wait_any(flags)? {
            Some((pid, Fate::Ended(how))) => return Ok(Some((pid, how))),
            Some((_, Fate::Stopped)) => {}
            None => return Ok(None),
        }
    }
}

/// Takes note of one child that ended or was stopped; `Ok(None)` when there is no news.
///
/// # Errors
/// ECHILD when there is no child at all.
pub(crate) fn hear_of_any() -> io::Result<Option<(i32, Fate)>> {
    wait_any(libc::WNOHANG | libc::WUNTRACED)
}

fn wait_any(flags: libc::c_int) -> io::Result<Option<(i32, Fate)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place for the answer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match pid {
            0 => return Ok(None),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            pid if libc::WIFEXITED(status) => {
                let how = Ended::Exited(libc::WEXITSTATUS(status));
                return Ok(Some((pid, Fate::Ended(how))));
            }
            pid if libc::WIFSIGNALED(status) => {
                let how = Ended::Signalled(libc::WTERMSIG(status));
                return Ok(Some((pid, Fate::Ended(how))));
            }
            pid if libc::WIFSTOPPED(status) => return Ok(Some((pid, Fate::Stopped))),
            _ => {}
        }
    }
}

/// Sends a signal to a process, or to a process group when `pid` is negative.
pub(crate) fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Kills every other process that this one can see and may signal, and takes note of the end of all
/// that are or become its children. Only for the first process of a container.
pub(crate) fn kill_all_others() {
    // ESRCH says that nobody is left.
    while send_signal(-1, libc::SIGKILL).is_ok() {
        while let Ok(Some(_)) = reap_any(true) {}
    }
}

/// Who is at the other end of a local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) user_id: u32,
    /// 0 when the process is in no namespace that can be seen from here.
    pub(crate) pid: u32,
}

/// Asks the kernel who is at the other end of a local socket.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` is a valid place of `length` bytes for the answer.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    })?;
    Ok(Peer { user_id: found.uid, pid: u32::try_from(found.pid).unwrap_or(0) })
}

/// Tries to open a socket of a family.
pub(crate) fn try_socket(family: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; the descriptor is new and owned by nobody else.
    unsafe {
        let descriptor = check(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
            .or_else(|error| match error.raw_os_error() {
                // Some families have no stream sockets; the refusal of the family comes first.
                Some(libc::ESOCKTNOSUPPORT | libc::EPROTONOSUPPORT) => {
                    check(libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0))
                }
                _ => Err(error),
            })?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Tries to mount a memory file system on /tmp.
pub(crate) fn try_mount() -> io::Result<()> {
    rustix::mount::mount(c"none", c"/tmp", c"tmpfs", rustix::mount::MountFlags::empty(), None)
        .map_err(Into::into)
}

/// Tries to make a user namespace for this process.
pub(crate) fn try_unshare_user() -> io::Result<()> {
    // SAFETY: plain flags; this process has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Tries to fork into a user namespace.
pub(crate) fn try_clone_user() -> io::Result<()> {
    match clone_into(namespace::USER)? {
        Forked::Child => exit_now(0),
        Forked::Parent(_) => Ok(()),
    }
}

/// Tries to attach to a process.
pub(crate) fn try_attach(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SEIZE takes numbers and no pointers when data is 0.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_SEIZE, pid, ptr::null_mut::<u8>(), ptr::null_mut::<u8>())
    };
    check(result as libc::c_int).map(drop)
}

/// Tries to become root.
pub(crate) fn try_become_root() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::setresuid(0, 0, 0) }).map(drop)
}

/// Tries a system call with all arguments 0.
pub(crate) fn try_system_call(number: i64) -> io::Result<()> {
    // SAFETY: with null pointers and zero lengths the calls tried here (all of them on the deny-list)
    // cannot write to this process's memory; they are refused or answer EFAULT or EINVAL.
    let result = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A new terminal of this mount namespace: the end that stands for the screen and keys, and the end that
/// programs have. Neither becomes the terminal of this process.
pub(crate) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = open(c"/dev/ptmx", flags, Mode::empty())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int, which outlives the call. TIOCGPTPEER takes flags by value and
    // answers with a new descriptor, which nobody else owns.
    let programs = unsafe {
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        OwnedFd::from_raw_fd(check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?)
    };
    Ok((master, programs))
}

/// Says how large a terminal is; its foreground programs are told.
pub(crate) fn resize_terminal(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Makes the terminal at descriptor 0 that of this process's session, which must be new.
pub(crate) fn take_terminal() -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Tries to push a character into the input of the terminal at descriptor 0.
pub(crate) fn try_push_terminal_input() -> io::Result<()> {
    let character = b'x';
    let null =
        rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
    // SAFETY: TIOCSTI reads one byte, which outlives the call.
    check(unsafe { libc::ioctl(null.as_fd().as_raw_fd(), libc::TIOCSTI, &raw const character) })
        .map(drop)
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the zeroed set, sigaddset only changes it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

fn forked(result: libc::c_int) -> io::Result<Forked> {
    match check(result)? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
