//! Limits by control groups, wherever this host has them: version 2, version 1, or both at once.
//!
//! Groups are made below the supervisor's own one, never beside it, so that limits set on Windlass hold
//! for its environments too. What cannot be enforced is said, with the way to have it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::plan::{Layer, Limits};

/// The host's control groups as far as this process may use them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchies {
    /// Our own group in version 2, if it has controllers.
    unified: Option<PathBuf>,
    /// Our own group per version 1 controller.
    separate: BTreeMap<&'static str, PathBuf>,
    /// Folders' prefix: one supervisor's groups never meet another's.
    tag: String,
}

/// The groups of one environment.
#[derive(Debug, Default)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
    /// The file that counts kills for want of memory.
    oom: Option<PathBuf>,
    seen_oom: u64,
    /// The file that counts processes that were refused.
    pids: Option<PathBuf>,
    seen_refused: u64,
    /// For each limit of the plan: how it is enforced, or why not and what to do.
    pub(crate) verdicts: BTreeMap<Layer, Result<String, Missing>>,
}

/// Why a limit is not enforced and how to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) why: String,
    pub(crate) remedy: String,
}

/// Version 1 controllers that carry our limits.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// The file that counts refused processes, in both versions.
const PIDS_EVENTS: &str = "pids.events";
const CPU_PERIOD_MICROS: u64 = 100_000;
const DELEGATE: &str =
    "systemd-run --user --scope -p Delegate=yes windlass up (or run windlass as root)";

impl Hierarchies {
    /// What this process finds. `tag` names this supervisor.
    pub(crate) fn of_this_process(tag: String) -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::detect(&mountinfo, &groups, tag)
    }

    fn detect(mountinfo: &str, groups: &str, tag: String) -> Self {
        let mut found = Self { tag, ..Self::default() };
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            for group in groups.lines() {
                let mut fields = group.splitn(3, ':');
                let (Some(_), Some(controllers), Some(path)) =
                    (fields.next(), fields.next(), fields.next())
                else {
                    continue;
                };
                let Some(own) = mount.locate(path) else { continue };
                if mount.kind == "cgroup2" && controllers.is_empty() {
                    found.unified = Some(own);
                } else if mount.kind == "cgroup" {
                    for name in CONTROLLERS {
                        let listed = |list: &str| list.split(',').any(|item| item == name);
                        if listed(controllers) && listed(mount.options) {
                            found.separate.insert(name, own.clone());
                        }
                    }
                }
            }
        }
        found
    }

    /// Makes the groups of an environment, as far as its limits need any.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> Group {
        let mut group = Group::default();
        let wanted = [
            (Layer::MemoryLimit, "memory", limits.memory_bytes.is_some()),
            (Layer::CpuLimit, "cpu", limits.cpu_millis.is_some()),
            (Layer::ProcessLimit, "pids", limits.processes.is_some()),
        ];
        for (layer, controller, _) in wanted.into_iter().filter(|(_, _, wanted)| *wanted) {
            let verdict = self.limit(&mut group, name, controller, limits);
            group.verdicts.insert(layer, verdict);
        }
        group
    }

    /// The groups that this process is in already, made by a container engine: whether each limit is
    /// there, and where to see that memory ran out. They are not ours to remove.
    pub(crate) fn found(&self, limits: &Limits) -> Group {
        let mut group = Group::default();
        let wanted = [
            (Layer::MemoryLimit, "memory", limits.memory_bytes),
            (Layer::CpuLimit, "cpu", limits.cpu_millis.map(u64::from)),
            (Layer::ProcessLimit, "pids", limits.processes.map(u64::from)),
        ];
        for (layer, controller, limit) in wanted {
            let Some(limit) = limit else { continue };
            let verdict = self.find(&mut group, controller, limit).map_err(|why| Missing {
                why,
                remedy: "run the container engine on a host that gives it control groups"
                    .to_owned(),
            });
            group.verdicts.insert(layer, verdict);
        }
        group
    }

    fn find(&self, group: &mut Group, controller: &str, limit: u64) -> Result<String, String> {
        let (base, files, events) = match (self.separate.get(controller), &self.unified) {
            (Some(base), _) => {
                let files = match controller {
                    "memory" => &["memory.limit_in_bytes"][..],
                    "cpu" => &["cpu.cfs_quota_us", "cpu.cfs_period_us"],
                    _ => &["pids.max"],
                };
                (base, files, "memory.oom_control")
            }
            (None, Some(base)) => {
                let files = match controller {
                    "memory" => &["memory.max"][..],
                    "cpu" => &["cpu.max"],
                    _ => &["pids.max"],
                };
                (base, files, "memory.events")
            }
            (None, None) => return Err("no control groups can be seen in the container".to_owned()),
        };
        let mut values = Vec::new();
        for file in files {
            let path = base.join(file);
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            values.extend(text.split_whitespace().map(str::to_owned));
        }
        let in_force =
            match values.iter().map(|value| value.parse::<u64>().ok()).collect::<Vec<_>>()[..] {
                [Some(value)] => value <= limit,
                [Some(quota), Some(period)] if period > 0 => quota * 1000 / period <= limit,
                _ => false,
            };
        if !in_force {
            return Err(format!("the container's {controller} limit is {}", values.join(" ")));
        }
        if controller == "memory" {
            group.oom = Some(base.join(events));
            group.ran_out_of_memory();
        }
        if controller == "pids" {
            group.pids = Some(base.join(PIDS_EVENTS));
            group.ran_out_of_processes();
        }
        Ok(format!("the container's control group, {}", base.display()))
    }

    /// Removes groups that a supervisor with the same tag left behind, with whatever runs in them.
    pub(crate) fn sweep(&self) -> usize {
        let bases = self.separate.values().chain(self.unified.as_ref());
        let mut left: Vec<PathBuf> = bases
            .filter_map(|base| fs::read_dir(base).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with(&self.prefix()))
            })
            .collect();
        left.sort();
        left.dedup();
        let swept = left.len();
        let mut group = Group { folders: left, ..Group::default() };
        group.kill();
        group.remove();
        swept
    }

    fn prefix(&self) -> String {
        format!("windlass-{}-", self.tag)
    }

    fn limit(
        &self,
        group: &mut Group,
        name: &str,
        controller: &'static str,
        limits: &Limits,
    ) -> Result<String, Missing> {
        let folder_name = format!("{}{name}", self.prefix());
        if let Some(base) = self.separate.get(controller) {
            let folder = base.join(folder_name);
            make_folder(&folder)?;
            group.adopt(&folder);
            write_separate(&folder, controller, limits)
                .map_err(|error| unwritable(&folder, &error))?;
            match controller {
                "memory" => group.oom = Some(folder.join("memory.oom_control")),
                "pids" => group.pids = Some(folder.join(PIDS_EVENTS)),
                _ => {}
            }
            return Ok(format!("cgroup version 1, {}", folder.display()));
        }
        let Some(base) = &self.unified else {
            return Err(Missing {
                why: "this host has no control groups that this process can see".to_owned(),
                remedy: "mount -t cgroup2 none /sys/fs/cgroup".to_owned(),
            });
        };
        enable(base, controller)?;
        let folder = base.join(folder_name);
        make_folder(&folder)?;
        group.adopt(&folder);
        write_unified(&folder, controller, limits).map_err(|error| unwritable(&folder, &error))?;
        match controller {
            "memory" => group.oom = Some(folder.join("memory.events")),
            "pids" => group.pids = Some(folder.join(PIDS_EVENTS)),
            _ => {}
        }
        Ok(format!("cgroup version 2, {}", folder.display()))
    }
}

impl Group {
    /// Puts a process, and so everything it will start, into the groups.
    pub(crate) fn admit(&self, pid: i32) -> io::Result<()> {
        self.folders
            .iter()
            .try_for_each(|folder| fs::write(folder.join("cgroup.procs"), pid.to_string()))
    }

    /// Whether something was killed for want of memory since the last time this was asked.
    pub(crate) fn ran_out_of_memory(&mut self) -> bool {
        let Some(path) = &self.oom else { return false };
        let count = counted(path, "oom_kill ");
        std::mem::replace(&mut self.seen_oom, count) < count
    }

    /// Whether a process was refused for the limit since the last time this was asked. Where no group
    /// counts them, nobody knows.
    pub(crate) fn ran_out_of_processes(&mut self) -> bool {
        let Some(path) = &self.pids else { return false };
        let count = counted(path, "max ");
        std::mem::replace(&mut self.seen_refused, count) < count
    }

    /// Removes the groups. They must be empty; one that is not quite yet is tried again for a while.
    #[expect(clippy::disallowed_methods, reason = "version 1 tells nobody when a group is empty")]
    pub(crate) fn remove(&mut self) {
        for folder in self.folders.drain(..) {
            for _ in 0..100 {
                match fs::remove_dir(&folder) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }

    /// Kills whatever is in the groups: only for what a dead supervisor left.
    fn kill(&self) {
        for folder in &self.folders {
            let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines().filter_map(|line| line.parse::<i32>().ok()) {
                // It may have ended since it was listed.
                let _sent = crate::kernel::send_signal(pid, libc::SIGKILL);
            }
        }
    }

    fn adopt(&mut self, folder: &Path) {
        if !self.folders.iter().any(|known| known == folder) {
            self.folders.push(folder.to_path_buf());
        }
    }
}

/// A count in a file of events; 0 where there is none.
fn counted(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// One line of `/proc/self/mountinfo`.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, point) = (before.next()?, before.next()?);
        let kind = after.next()?;
        Some(Self { root, point, kind, options: after.nth(1)? })
    }

    /// The folder of the group `path`, if it can be seen through this mount.
    fn locate(&self, path: &str) -> Option<PathBuf> {
        let below = if self.root == "/" { path } else { path.strip_prefix(self.root)? };
        Some(Path::new(self.point).join(below.trim_start_matches('/')))
    }
}

fn make_folder(folder: &Path) -> Result<(), Missing> {
    match fs::create_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unwritable(folder, &error)),
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Missing {
    Missing { why: format!("{}: {error}", folder.display()), remedy: DELEGATE.to_owned() }
}

fn write_separate(folder: &Path, controller: &str, limits: &Limits) -> io::Result<()> {
    if controller == "memory"
        && let Some(bytes) = limits.memory_bytes
    {
        fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())?;
        // Only there where swap is counted; without it the limit is on memory alone.
        let with_swap = folder.join("memory.memsw.limit_in_bytes");
        if with_swap.exists() {
            fs::write(with_swap, bytes.to_string())?;
        }
    }
    if controller == "cpu"
        && let Some(millis) = limits.cpu_millis
    {
        fs::write(folder.join("cpu.cfs_period_us"), CPU_PERIOD_MICROS.to_string())?;
        fs::write(folder.join("cpu.cfs_quota_us"), quota(millis).to_string())?;
    }
    if controller == "pids"
        && let Some(count) = limits.processes
    {
        fs::write(folder.join("pids.max"), count.to_string())?;
    }
    Ok(())
}

fn write_unified(folder: &Path, controller: &str, limits: &Limits) -> io::Result<()> {
    if controller == "memory"
        && let Some(bytes) = limits.memory_bytes
    {
        fs::write(folder.join("memory.max"), bytes.to_string())?;
        let swap = folder.join("memory.swap.max");
        if swap.exists() {
            fs::write(swap, "0")?;
        }
    }
    if controller == "cpu"
        && let Some(millis) = limits.cpu_millis
    {
        fs::write(folder.join("cpu.max"), format!("{} {CPU_PERIOD_MICROS}", quota(millis)))?;
    }
    if controller == "pids"
        && let Some(count) = limits.processes
    {
        fs::write(folder.join("pids.max"), count.to_string())?;
    }
    Ok(())
}

/// CPU time in microseconds per period; the kernel takes no less than a millisecond.
fn quota(millis: u32) -> u64 {
    (u64::from(millis) * CPU_PERIOD_MICROS / 1000).max(1000)
}

/// Lets the group's children have a controller. A version 2 group with processes of its own can only
/// do so at the root, so this process steps into a group beside them first.
fn enable(base: &Path, controller: &str) -> Result<(), Missing> {
    let has = |file: &str| {
        fs::read_to_string(base.join(file))
            .unwrap_or_default()
            .split_whitespace()
            .any(|name| name == controller)
    };
    if !has("cgroup.controllers") {
        return Err(Missing {
            why: format!("the group {} is not given the {controller} controller", base.display()),
            remedy: DELEGATE.to_owned(),
        });
    }
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    let control = base.join("cgroup.subtree_control");
    let ask = || fs::write(&control, format!("+{controller}"));
    if ask().is_ok() {
        return Ok(());
    }
    let aside = base.join("windlass-supervisor");
    let step_aside = fs::create_dir_all(&aside)
        .and_then(|()| fs::write(aside.join("cgroup.procs"), std::process::id().to_string()));
    step_aside.and_then(|()| ask()).map_err(|error| Missing {
        why: format!(
            "the group {} cannot pass the {controller} controller on: {error}",
            base.display()
        ),
        remedy: DELEGATE.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrangement_of_control_groups_is_recognised() {
        let hybrid = "\
35 31 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let found = Hierarchies::detect(hybrid, "8:pids:/\n4:memory:/a/b\n0::/\n", "t".to_owned());
        assert_eq!(
            found.separate,
            BTreeMap::from([
                ("memory", PathBuf::from("/sys/fs/cgroup/memory/a/b")),
                ("pids", PathBuf::from("/sys/fs/cgroup/pids")),
            ])
        );
        assert_eq!(found.unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));

        let unified = "30 20 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::detect(unified, "0::/docker/x/y\n", "t".to_owned());
        assert_eq!(found.unified, Some(PathBuf::from("/sys/fs/cgroup/y")));

        let found = Hierarchies::detect("1 0 8:1 / / rw - ext4 /dev/a rw\n", "", "t".to_owned());
        assert!(found.unified.is_none() && found.separate.is_empty());
    }

    #[test]
    fn a_version_2_group_gets_every_limit_of_the_plan() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(base.path().join("cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        let found = Hierarchies {
            unified: Some(base.path().to_path_buf()),
            tag: "t".to_owned(),
            ..Hierarchies::default()
        };
        let limits = Limits {
            memory_bytes: Some(1 << 20),
            cpu_millis: Some(1500),
            processes: Some(9),
            ..Limits::default()
        };
        let group = found.make("env", &limits);
        let folder = base.path().join("windlass-t-env");
        let read = |file| fs::read_to_string(folder.join(file)).unwrap();
        assert!(group.verdicts.values().all(Result::is_ok), "{:?}", group.verdicts);
        assert_eq!(
            [read("memory.max"), read("cpu.max"), read("pids.max")],
            ["1048576".to_owned(), "150000 100000".to_owned(), "9".to_owned()]
        );
    }

    #[test]
    fn a_host_without_control_groups_says_so_with_a_remedy() {
        let limits = Limits { memory_bytes: Some(1), ..Limits::default() };
        let group = Hierarchies::default().make("env", &limits);
        assert!(group.verdicts[&Layer::MemoryLimit].is_err());
        assert_eq!(group.verdicts.len(), 1);
    }
}
