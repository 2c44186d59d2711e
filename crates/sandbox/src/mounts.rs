//! What an environment sees as its file system, put together by its first process.
//!
//! The root is a small memory file system of our own; the host's system folders, the plan's binds, the
//! home and the work tree are mounted onto it one by one. What is not named does not exist inside. All
//! of it lies in a mount namespace of its own: the host never sees a mount of ours. Mount points are
//! looked up without following links, since some of them lie in folders that programs wrote earlier.

mod image;
mod own;
mod place;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, open, openat, statat, symlinkat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
        mount_change, move_mount, open_tree, unmount,
    },
};

use crate::{
    error::{Error, Result},
    etc, kernel,
    plan::{Again, Plan, Scratch},
};

/// Host folders that hold programs and nothing personal. Where the host has a link (`/bin`), so has the
/// environment. `/opt` is not among them: whole applications with their secrets live there.
const SYSTEM: &[&str] =
    &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store", "gnu/store"];
/// Folders of the above that hold a machine's own configuration, and so perhaps secrets.
const HIDDEN: &[&str] = &["usr/local/etc"];
/// Devices that cannot do harm.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
/// What `/dev` has as links.
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Parts of `/proc` that reach the whole machine: made read-only.
const PROC_READ_ONLY: &[&str] = &["sys", "bus", "fs", "irq", "sysrq-trigger"];
/// Parts of `/proc` that tell about the whole machine: made empty.
const PROC_HIDDEN: &[&str] = &[
    "acpi",
    "cmdline",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "vmallocinfo",
];
/// How many CPUs and how much memory there is: language runtimes ask.
const SYS: &[&str] = &["sys/devices/system/cpu", "sys/devices/system/node"];

/// Where things are on the host.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    /// The environment's own folder; the new root is put together over it.
    pub(crate) environment: &'a Path,
    /// The home on disk.
    pub(crate) home: PathBuf,
    /// Folders on disk for `/tmp` and `/var/tmp`, when they are not in memory.
    pub(crate) scratch: Option<(PathBuf, PathBuf)>,
    /// Who shall own what is writable, when this process is root.
    pub(crate) owner: Option<(u32, u32)>,
    /// The ids inside, for the accounts.
    pub(crate) inside: (u32, u32),
}

/// Puts the file system together and moves this process into it. Answers how many files of the work
/// tree were left with their owner.
pub(crate) fn enter(plan: &Plan, places: &Places<'_>) -> Result<u64> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| Error::build("make mounts private", error))?;
    // What lies below the environment's folder must be had before the new root covers it.
    image::skeleton(plan, places)?;
    let home = Source::open(&places.home)?;
    let scratch = match &places.scratch {
        Some((tmp, var_tmp)) => Some((Source::open(tmp)?, Source::open(var_tmp)?)),
        None => None,
    };
    let volumes = (0..plan.volumes.len()).map(|n| Source::open(&places.volume(n)));
    let volumes = volumes.collect::<Result<Vec<_>>>()?;
    let root = Root::make(plan, places)?;
    let shared = root.fill(plan, places, Writable { home, scratch, volumes })?;
    root.pivot()?;
    Ok(shared)
}

/// The name of a volume's folder on disk.
pub(crate) fn volume_name(index: usize) -> String {
    format!("volume-{index}")
}

impl Places<'_> {
    fn volume(&self, index: usize) -> PathBuf {
        self.environment.join(volume_name(index))
    }
}

/// What lies in the environment's folder on disk, had before the new root covers it.
struct Writable {
    home: Source,
    scratch: Option<(Source, Source)>,
    volumes: Vec<Source>,
}

/// The names that may exist directly below the new root. Asked before it is the root: an image's folder
/// can't be seen from inside.
pub(crate) fn top_names(plan: &Plan) -> io::Result<BTreeSet<PathBuf>> {
    let first = |path: &Path| {
        path.components()
            .find(|part| matches!(part, Component::Normal(_)))
            .map(|part| PathBuf::from(part.as_os_str()))
    };
    let fixed = ["proc", "dev", "etc", "home", "tmp", "var", "run", "root", "sys"];
    let system: Vec<PathBuf> = match &plan.root {
        Some(root) => entries(root)?,
        None => SYSTEM.iter().map(PathBuf::from).collect(),
    };
    Ok(system
        .iter()
        .map(PathBuf::as_path)
        .chain(fixed.iter().map(Path::new))
        .chain(plan.binds.iter().map(|bind| bind.inside.as_path()))
        .chain(plan.volumes.iter().map(PathBuf::as_path))
        .chain(plan.again.iter().map(|again| again.inside.as_path()))
        .chain([plan.work_tree.inside.as_path()])
        .filter_map(first)
        .collect())
}

/// The host's system folders that are really mounted (not links), as paths inside.
pub(crate) fn system_folders() -> impl Iterator<Item = PathBuf> {
    SYSTEM
        .iter()
        .map(|path| Path::new("/").join(path))
        .filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()))
}

/// A part of the host, cut out and not yet mounted anywhere.
struct Source {
    mount: OwnedFd,
    is_folder: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        Self::find(path)?.ok_or_else(|| {
            Error::build(format!("find {} on the host", path.display()), "it does not exist")
        })
    }

    fn find(path: &Path) -> Result<Option<Self>> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let mount = match open_tree(CWD, path, flags) {
            Ok(mount) => mount,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => {
                return Err(Error::build(format!("open {} on the host", path.display()), error));
            }
        };
        let stat = rustix::fs::fstat(&mount)
            .map_err(|error| Error::build(format!("look at {}", path.display()), error))?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        Ok(Some(Self { mount, is_folder }))
    }
}

/// The new root while it is being filled. The working folder of this process is its top.
struct Root {
    top: OwnedFd,
    owner: Option<(u32, u32)>,
    /// The home folder, seen from the top.
    home: PathBuf,
    /// Whether all that is made here is the user's, not only what lies in the home folder.
    gives_all: bool,
}

/// How a mount may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    ReadOnly,
    Writable,
    Device,
}

impl Root {
    fn make(plan: &Plan, places: &Places<'_>) -> Result<Self> {
        if let Some(root) = plan.root.as_deref().filter(|_| plan.writable_root) {
            return Self::make_own(root, plan, places);
        }
        let bytes = match plan.scratch {
            Scratch::Memory { bytes } => bytes,
            // Shared memory and the like stay in memory; browsers need some.
            Scratch::Disk => 256 << 20,
        };
        // Empty files take no bytes, and yet the machine's memory.
        let files = (bytes / 4096).max(16_384);
        let options = std::ffi::CString::new(format!("mode=755,size={bytes},nr_inodes={files}"))
            .expect("a number holds no NUL");
        mount(
            "windlass",
            places.environment,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            options.as_c_str(),
        )
        .map_err(|error| Error::build("mount the root", error))?;
        Self::enter_top(plan, places, false)
    }

    /// Opens what was mounted over the environment's folder.
    fn enter_top(plan: &Plan, places: &Places<'_>, gives_all: bool) -> Result<Self> {
        let top = open(
            places.environment,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| Error::build("open the root", error))?;
        rustix::process::fchdir(&top).map_err(|error| Error::build("enter the root", error))?;
        let home = plan.home().strip_prefix("/").unwrap_or(plan.home()).to_path_buf();
        Ok(Self { top, owner: places.owner, home, gives_all })
    }

    fn fill(&self, plan: &Plan, places: &Places<'_>, writable: Writable) -> Result<u64> {
        match &plan.root {
            Some(_) if plan.writable_root => self.own_parts()?,
            Some(root) => self.image(root, plan, places)?,
            None => self.host(plan, places)?,
        }
        self.devices()?;
        for path in SYS {
            self.optional(Path::new("/").join(path).as_path(), Path::new(path))?;
        }
        if plan.writable_root {
            // The image's own home folders are a part of what is made.
            self.own_scratch(plan, writable.scratch)?;
        } else {
            self.scratch(writable.scratch)?;
            self.attach(writable.home, plan.home(), Use::Writable)?;
        }
        let work_tree = Source::open(&plan.work_tree.host)?;
        if !work_tree.is_folder {
            return Err(Error::build(
                format!("bind {}", plan.work_tree.host.display()),
                "the work tree is not a folder",
            ));
        }
        let shared = self.give_work_tree(&work_tree)?;
        self.attach(work_tree, &plan.work_tree.inside, Use::Writable)?;
        let mut volumes: Vec<_> = plan.volumes.iter().zip(writable.volumes).collect();
        volumes.sort_by_key(|(inside, _)| inside.components().count());
        for (inside, source) in volumes {
            self.attach(source, inside, Use::Writable)?;
        }
        plan.again.iter().try_for_each(|again| self.again(plan, again))?;
        self.binds(plan)?;
        self.proc()?;
        let hidden = if plan.root.is_some() { &[] } else { HIDDEN };
        for path in hidden.iter().map(Path::new).chain(plan.masks.iter().map(PathBuf::as_path)) {
            self.hide(path)?;
        }
        if !plan.writable_root {
            kernel::make_mount_read_only(self.top.as_fd())
                .map_err(|error| Error::build("make the root read-only", error))?;
        }
        Ok(shared)
    }

    /// The host's own system folders, and what belongs around them.
    fn host(&self, plan: &Plan, places: &Places<'_>) -> Result<()> {
        for path in SYSTEM {
            self.system(path)?;
        }
        self.etc(plan, places)?;
        for path in ["root", "var/lib", "var/cache"] {
            self.folder(Path::new(path))?;
        }
        for (name, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
            symlinkat(target, &self.top, name)
                .map_err(|error| Error::build(format!("link /{name}"), error))?;
        }
        Ok(())
    }

    /// A system folder as the host has it: a link stays a link.
    fn system(&self, path: &str) -> Result<()> {
        let host = Path::new("/").join(path);
        match host.read_link() {
            Ok(target) => symlinkat(&target, &self.top, path)
                .map_err(|error| Error::build(format!("link /{path}"), error)),
            Err(_) => self.optional(&host, Path::new(path)),
        }
    }

    fn etc(&self, plan: &Plan, places: &Places<'_>) -> Result<()> {
        self.folder(Path::new("etc"))?;
        let host = Path::new("/etc");
        for name in etc::FILES {
            self.copy(&host.join(name), &format!("etc/{name}"))?;
        }
        let versioned = host
            .read_dir()
            .into_iter()
            .flat_map(|entries| entries.flatten().map(|entry| entry.file_name()))
            .filter(|name| {
                name.to_str().is_some_and(|name| {
                    etc::VERSIONED.iter().any(|prefix| name.starts_with(prefix))
                })
            });
        for name in etc::FOLDERS.iter().map(|name| OsStr::new(*name).to_owned()).chain(versioned) {
            self.optional(&host.join(&name), &Path::new("etc").join(&name))?;
        }
        let (uid, gid) = places.inside;
        let host_name = host_name(plan);
        for (name, text) in [
            ("passwd", etc::passwd(plan, uid, gid)),
            ("group", etc::group(plan, gid)),
            ("hosts", etc::hosts(plan)),
            ("hostname", format!("{host_name}\n")),
            ("nsswitch.conf", etc::NSSWITCH.to_owned()),
            ("resolv.conf", "# There is no name server: doors resolve names.\n".to_owned()),
        ] {
            self.write(&format!("etc/{name}"), text.as_bytes())?;
        }
        Ok(())
    }

    fn devices(&self) -> Result<()> {
        self.folder(Path::new("dev/pts"))?;
        self.folder(Path::new("dev/.empty"))?;
        self.write("dev/.blank", b"")?;
        for name in DEVICES {
            let host = Path::new("/dev").join(name);
            if let Some(source) = Source::find(&host)? {
                self.attach(source, &Path::new("dev").join(name), Use::Device)?;
            }
        }
        for (name, target) in DEVICE_LINKS {
            symlinkat(*target, &self.top, format!("dev/{name}"))
                .map_err(|error| Error::build(format!("link /dev/{name}"), error))?;
        }
        mount(
            "devpts",
            "dev/pts",
            "devpts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            c"newinstance,ptmxmode=0666,mode=620,max=256",
        )
        .map_err(|error| Error::build("mount /dev/pts", error))
    }

    /// Scratch folders: parts of the root's own memory that stay writable, or folders on disk.
    fn scratch(&self, disk: Option<(Source, Source)>) -> Result<()> {
        for path in ["tmp", "var/tmp", "dev/shm", "run"] {
            self.folder(Path::new(path))?;
            rustix::fs::chmodat(&self.top, path, Mode::from_raw_mode(0o1777), AtFlags::empty())
                .map_err(|error| Error::build(format!("open /{path} to all"), error))?;
        }
        self.attach(self.part("dev/shm")?, Path::new("dev/shm"), Use::Writable)?;
        self.attach(self.part("run")?, Path::new("run"), Use::Writable)?;
        let (tmp, var_tmp) = match disk {
            Some(folders) => folders,
            None => (self.part("tmp")?, self.part("var/tmp")?),
        };
        self.attach(tmp, Path::new("tmp"), Use::Writable)?;
        self.attach(var_tmp, Path::new("var/tmp"), Use::Writable)
    }

    /// Shows a folder of the work tree a second time. No link of the tree is followed.
    fn again(&self, plan: &Plan, again: &Again) -> Result<()> {
        let failed = |why: &str| {
            Error::build(
                format!("show {} of the work tree", again.below.display()),
                format!("{why}: add the folder to the project, or leave the mount out"),
            )
        };
        let at = plan.work_tree.inside.join(&again.below);
        let (folder, name) = self.find(&at)?.ok_or_else(|| failed("it isn't there"))?;
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if !stat.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Directory) {
            return Err(failed("it is no folder"));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let mount = open_tree(&folder, name, flags).map_err(|error| failed(&error.to_string()))?;
        self.attach(
            Source { mount, is_folder: true },
            &again.inside,
            if again.read_only { Use::ReadOnly } else { Use::Writable },
        )
    }

    fn binds(&self, plan: &Plan) -> Result<()> {
        let mut binds: Vec<_> = plan.binds.iter().collect();
        // A folder is mounted before what lies in it.
        binds.sort_by_key(|bind| bind.inside.components().count());
        for bind in binds {
            match Source::find(&bind.host)? {
                Some(source) => self.attach(source, &bind.inside, Use::ReadOnly)?,
                None if bind.optional => {}
                None => {
                    return Err(Error::build(
                        format!("bind {} to {}", bind.host.display(), bind.inside.display()),
                        "it does not exist on the host; create it, or mark the bind as optional",
                    ));
                }
            }
        }
        Ok(())
    }

    fn proc(&self) -> Result<()> {
        self.folder(Path::new("proc"))?;
        mount(
            "proc",
            "proc",
            "proc",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            None,
        )
        .map_err(|error| {
            Error::build(
                "mount /proc",
                format!(
                    "{error}; in a container, run it with `--security-opt systempaths=unconfined`"
                ),
            )
        })?;
        for name in PROC_READ_ONLY {
            let path = Path::new("proc").join(name);
            if let Some(source) = Source::find(&path)? {
                self.attach(source, &path, Use::ReadOnly)?;
            }
        }
        PROC_HIDDEN.iter().try_for_each(|name| self.hide(&Path::new("proc").join(name)))
    }

    /// Covers a path with nothing; one that does not exist needs no cover.
    fn hide(&self, inside: &Path) -> Result<()> {
        let Some((folder, name)) = self.find(inside)? else { return Ok(()) };
        let stat = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(Error::build(format!("hide {}", inside.display()), error)),
        };
        let cover = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => "dev/.empty",
            FileType::Symlink => {
                return Err(Error::build(
                    format!("hide {}", inside.display()),
                    "it is a symbolic link; name what it points to",
                ));
            }
            _ => "dev/.blank",
        };
        self.attach(self.part(cover)?, inside, Use::ReadOnly)
    }

    fn optional(&self, host: &Path, inside: &Path) -> Result<()> {
        match Source::find(host)? {
            Some(source) => self.attach(source, inside, Use::ReadOnly),
            None => Ok(()),
        }
    }

    /// A part of the new root itself, to be mounted again with other rights.
    fn part(&self, path: &str) -> Result<Source> {
        Source::open(Path::new(path))
    }

    /// Mounts a source at a path inside, which is made if need be.
    fn attach(&self, source: Source, inside: &Path, how: Use) -> Result<()> {
        let step = || format!("bind to /{}", inside.strip_prefix("/").unwrap_or(inside).display());
        kernel::restrict_mounts(source.mount.as_fd(), how != Use::Writable, how != Use::Device)
            .map_err(|error| Error::build(step(), error))?;
        let (folder, name) = self.reach(inside, source.is_folder)?;
        let target =
            openat(&folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Error::build(step(), error))?;
        move_mount(
            &source.mount,
            c"",
            &target,
            c"",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .map_err(|error| Error::build(step(), error))
    }

    fn give_work_tree(&self, work_tree: &Source) -> Result<u64> {
        match self.owner {
            None => Ok(0),
            Some((uid, gid)) => crate::tree::give(work_tree.mount.as_fd(), uid, gid)
                .map_err(|error| Error::build("give the work tree to its user", error)),
        }
    }

    /// Copies a small host file that everyone may read; anything else is left out. A link is kept.
    fn copy(&self, host: &Path, inside: &str) -> Result<()> {
        if let Ok(target) = host.read_link() {
            return symlinkat(&target, &self.top, inside)
                .map_err(|error| Error::build(format!("link /{inside}"), error));
        }
        let readable = host.metadata().is_ok_and(|metadata| {
            use std::os::unix::fs::PermissionsExt;
            metadata.is_file()
                && metadata.len() <= 1 << 20
                && metadata.permissions().mode() & 0o004 != 0
        });
        if !readable {
            return Ok(());
        }
        match std::fs::read(host) {
            Ok(bytes) => self.write(inside, &bytes),
            Err(error) => Err(Error::build(format!("read {}", host.display()), error)),
        }
    }

    fn write(&self, inside: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.top, inside, flags, Mode::from_raw_mode(0o644))
            .map_err(io::Error::from)
            .map(std::fs::File::from);
        file.and_then(|mut file| io::Write::write_all(&mut file, bytes))
            .map_err(|error| Error::build(format!("write /{inside}"), error))
    }

    /// Makes the new root the root, and lets go of the old one.
    fn pivot(self) -> Result<()> {
        let step = |error| Error::build("change the root", error);
        rustix::process::fchdir(&self.top).map_err(step)?;
        rustix::process::pivot_root(c".", c".").map_err(step)?;
        // The old root now lies over the new one.
        unmount(c".", UnmountFlags::DETACH).map_err(step)?;
        rustix::process::chdir(c"/").map_err(step)
    }
}

/// The host name of an environment.
pub(crate) fn host_name(plan: &Plan) -> &str {
    if plan.host_name.is_empty() { "windlass" } else { &plan.host_name }
}

/// Whether a path is hidden from a plain look: for the proof that the root is what was planned.
pub(crate) fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|entry| {
            entry.map(|entry| PathBuf::from(OsStr::from_bytes(entry.file_name().as_bytes())))
        })
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
