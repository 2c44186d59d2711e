//! The system calls that an environment is refused, as data with a reason on each line.
//!
//! A deny-list: developers' programs are too various for an allow-list. It is a second wall behind the
//! namespaces: most of these calls also need a capability that nobody inside has, and are refused here
//! so that a fault in their checks is out of reach.

use std::collections::BTreeMap;

use libc::{c_long, sock_filter};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Refused whatever the arguments: the call and why.
pub(crate) const REFUSED: &[(c_long, &str)] = &[
    (libc::SYS_mount, "changes what the environment sees of the host"),
    (libc::SYS_umount2, "uncovers what was masked"),
    (libc::SYS_pivot_root, "changes the root"),
    (libc::SYS_chroot, "changes the root"),
    (libc::SYS_open_tree, "the new way to mount"),
    (libc::SYS_move_mount, "the new way to mount"),
    (libc::SYS_fsopen, "the new way to mount"),
    (libc::SYS_fsconfig, "the new way to mount"),
    (libc::SYS_fsmount, "the new way to mount"),
    (libc::SYS_fspick, "the new way to mount"),
    (libc::SYS_mount_setattr, "makes mounts writable again"),
    (libc::SYS_setns, "enters another namespace"),
    (libc::SYS_bpf, "programs in the kernel: the largest attack surface there is"),
    (libc::SYS_perf_event_open, "measures other processes; a long history of faults"),
    (libc::SYS_userfaultfd, "stops the kernel at a chosen moment: a tool of exploits"),
    (libc::SYS_add_key, "keyrings are not in namespaces"),
    (libc::SYS_request_key, "keyrings are not in namespaces"),
    (libc::SYS_keyctl, "keyrings are not in namespaces"),
    (libc::SYS_kexec_load, "replaces the kernel"),
    (libc::SYS_kexec_file_load, "replaces the kernel"),
    (libc::SYS_init_module, "loads code into the kernel"),
    (libc::SYS_finit_module, "loads code into the kernel"),
    (libc::SYS_delete_module, "removes code from the kernel"),
    (libc::SYS_reboot, "stops the machine"),
    (libc::SYS_swapon, "changes the machine's memory"),
    (libc::SYS_swapoff, "changes the machine's memory"),
    (libc::SYS_acct, "writes a host file about every process"),
    (libc::SYS_quotactl, "changes limits of the file system"),
    (libc::SYS_quotactl_fd, "changes limits of the file system"),
    (libc::SYS_settimeofday, "changes the machine's time"),
    (libc::SYS_clock_settime, "changes the machine's time"),
    (libc::SYS_syslog, "reads the kernel's log with its addresses"),
    (libc::SYS_vhangup, "hangs up terminals"),
    (libc::SYS_open_by_handle_at, "opens files by number, past every mask"),
    (libc::SYS_name_to_handle_at, "half of opening files by number"),
    (libc::SYS_process_vm_writev, "writes another process's memory"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_iopl, "hardware ports"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_ioperm, "hardware ports"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_modify_ldt, "16-bit segments; a history of faults"),
];

/// Refused as if the kernel did not know them, so that programs take the older way.
pub(crate) const UNKNOWN: &[(c_long, &str)] = &[
    (libc::SYS_clone3, "its flags lie in memory, where a filter cannot see a new user namespace"),
    (libc::SYS_io_uring_setup, "carries out other calls past this filter"),
    (libc::SYS_io_uring_enter, "carries out other calls past this filter"),
    (libc::SYS_io_uring_register, "carries out other calls past this filter"),
];

/// New namespaces by `clone` and `unshare`: with one of these flags a program would hold every
/// capability in a world of its own.
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// Socket families that stay: local, IPv4, IPv6 and the kernel's interface list. Others, vsock above
/// all, are not held back by a network namespace.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Terminal requests that type into somebody's shell.
const TERMINAL_REQUESTS: [u64; 2] = [0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];

/// Attaching to a process that is not one's own child; refused unless the plan allows it.
const ATTACH: [u64; 2] = [16 /* PTRACE_ATTACH */, 0x4206 /* PTRACE_SEIZE */];

/// Answered with success and not carried out: the limit on core dumps stays as [`forbid_core_dumps`] set
/// it. Programs that keep secrets lower it to 0 and give up when they cannot; but 0 would let a crash
/// start the host's own handler (`core_pattern` with a pipe), as root and outside of the environment.
///
/// [`forbid_core_dumps`]: crate::keeper::forbid_core_dumps
const CORE_DUMPS: u64 = libc::RLIMIT_CORE as u64;

/// Answered with success and not carried out where an image is made: there is one user only, who owns
/// every file, and installers that give files or themselves to another one must be able to go on.
const PRETENDED_IN_BUILDS: &[c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
];

/// The compiled filters, to be installed in this order.
#[derive(Debug, Clone)]
pub(crate) struct Filters(Vec<Vec<sock_filter>>);

impl Filters {
    /// Compiles the deny-list for this machine.
    pub(crate) fn compile(allow_ptrace: bool) -> Result<Self, String> {
        let refused = program(refusals(allow_ptrace)?, libc::EPERM)?;
        let unknown =
            program(UNKNOWN.iter().map(|(call, _)| (*call, Vec::new())).collect(), libc::ENOSYS)?;
        let pretended = program(core_dumps()?, 0)?;
        let mut filters = vec![refused, unknown, pretended];
        filters.extend(other_calling_convention());
        Ok(Self(filters))
    }

    /// The same for an environment in which an image is made.
    pub(crate) fn compile_for_builds() -> Result<Self, String> {
        let mut filters = Self::compile(false)?;
        let rules = PRETENDED_IN_BUILDS.iter().map(|call| (*call, Vec::new())).collect();
        filters.0.push(program(rules, 0)?);
        Ok(filters)
    }

    /// Puts the filters in force for this process and everything it starts, for ever.
    pub(crate) fn install(&self) -> std::io::Result<()> {
        self.0.iter().try_for_each(|filter| crate::kernel::install_filter(filter))
    }
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn refusals(allow_ptrace: bool) -> Result<Rules, String> {
    let mut rules: Rules = REFUSED.iter().map(|(call, _)| (*call, Vec::new())).collect();
    // Each single flag is a rule: a masked comparison is true when all bits of the value are set.
    let flags: Vec<SeccompRule> = (0..u64::BITS)
        .map(|bit| 1u64 << bit)
        .filter(|flag| NAMESPACES & flag != 0)
        .map(|flag| rule(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag, true)?]))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_clone, flags.clone());
    rules.insert(libc::SYS_unshare, flags);
    let others = FAMILIES
        .iter()
        .map(|family| condition(0, SeccompCmpOp::Ne, *family as u64, false))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![rule(others)?]);
    rules.insert(libc::SYS_ioctl, one_of(1, &TERMINAL_REQUESTS)?);
    if !allow_ptrace {
        rules.insert(libc::SYS_ptrace, one_of(0, &ATTACH)?);
    }
    // Another process's limits: the keepers and the first process have the programs' own user, and this
    // right asks for nothing more.
    let of_others =
        vec![condition(0, SeccompCmpOp::Ne, 0, false)?, condition(2, SeccompCmpOp::Ne, 0, true)?];
    rules.insert(libc::SYS_prlimit64, vec![rule(of_others)?]);
    Ok(rules)
}

fn core_dumps() -> Result<Rules, String> {
    let resource = |argument| condition(argument, SeccompCmpOp::Eq, CORE_DUMPS, false);
    let is_set = condition(2, SeccompCmpOp::Ne, 0, true)?;
    Ok(BTreeMap::from([
        (libc::SYS_setrlimit, vec![rule(vec![resource(0)?])?]),
        (libc::SYS_prlimit64, vec![rule(vec![resource(1)?, is_set])?]),
    ]))
}

fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, String> {
    values
        .iter()
        .map(|value| rule(vec![condition(argument, SeccompCmpOp::Eq, *value, false)?]))
        .collect()
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
    wide: bool,
) -> Result<SeccompCondition, String> {
    let length = if wide { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
    SeccompCondition::new(argument, length, operator, value).map_err(|error| error.to_string())
}

fn program(rules: Rules, errno: i32) -> Result<Vec<sock_filter>, String> {
    let architecture =
        TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)
        .map_err(|error| error.to_string())?;
    let program = BpfProgram::try_from(filter).map_err(|error| error.to_string())?;
    Ok(program
        .iter()
        .map(|line| sock_filter { code: line.code, jt: line.jt, jf: line.jf, k: line.k })
        .collect())
}

/// x86-64 knows every call under a second number (x32), which a deny-list would miss: all refused.
#[cfg(target_arch = "x86_64")]
fn other_calling_convention() -> Option<Vec<sock_filter>> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let line = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    Some(vec![
        line(LOAD_WORD, 0, 0, 0),
        line(JUMP_IF_GREATER_OR_EQUAL, 0, 1, X32_BIT),
        line(RETURN, 0, 0, ERRNO | libc::ENOSYS.unsigned_abs()),
        line(RETURN, 0, 0, ALLOW),
    ])
}

/// Other machines have one number per call.
#[cfg(not(target_arch = "x86_64"))]
fn other_calling_convention() -> Option<Vec<sock_filter>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deny_list_compiles_and_names_no_call_twice() {
        let mut calls: Vec<c_long> = REFUSED.iter().chain(UNKNOWN).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        let named = calls.len();
        calls.dedup();
        assert_eq!(calls.len(), named);
        assert!(Filters::compile(false).is_ok());
        assert!(Filters::compile(true).is_ok());
        assert!(Filters::compile_for_builds().is_ok());
    }
}
