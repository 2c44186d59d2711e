//! Making and destroying again and again leaves nothing behind, counted before and after.

use std::path::Path;

use windlass_sandbox::{EnvironmentId, Exec, OperationId, Plan};

use super::{process::ProcessStage, suite::Stage};

/// What the name of every environment here starts with: not what those of the suite start with, which
/// runs at the same time.
fn prefix() -> String {
    format!("y{}-", std::process::id())
}

/// What could leak, as numbers that may be compared.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Open files of the supervisor.
    descriptors: usize,
    /// Children of the supervisor, whatever their namespaces.
    children: usize,
    /// Namespaces that the supervisor and everything below it are in.
    namespaces: usize,
    /// Mounts of this process and of the supervisor.
    mounts: usize,
    /// Control groups of our environments.
    groups: usize,
    /// Files below the supervisor's folder and the work trees, with their sizes.
    files: Vec<(String, u64)>,
}

impl Held {
    fn by(stage: &ProcessStage) -> Self {
        let pid = stage.client.supervisor_pid();
        let count = |path: String| std::fs::read_dir(path).unwrap().count();
        let mounts = |of: &str| {
            std::fs::read_to_string(format!("/proc/{of}/mountinfo")).unwrap().lines().count()
        };
        let base = stage.folder().parent().unwrap();
        let mut files = Vec::new();
        gather(base, &mut files);
        files.sort();
        Self {
            descriptors: count(format!("/proc/{pid}/fd")),
            children: descendants(pid).len(),
            namespaces: namespaces(pid),
            mounts: mounts("self") + mounts(&pid.to_string()),
            groups: super::process::groups(&prefix()).len(),
            files,
        }
    }
}

fn gather(folder: &Path, files: &mut Vec<(String, u64)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            gather(&entry.path(), files);
        }
        let size = if metadata.is_file() { metadata.len() } else { 0 };
        files.push((entry.path().display().to_string(), size));
    }
}

/// Every process below one.
fn descendants(ancestor: u32) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = Vec::new();
    let mut open = vec![ancestor];
    while let Some(parent) = open.pop() {
        let children = pairs.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        let children: Vec<u32> = children.collect();
        found.extend(&children);
        open.extend(children);
    }
    found
}

/// The namespaces of a process and all below it.
fn namespaces(pid: u32) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for pid in descendants(pid).into_iter().chain([pid]) {
        for entry in std::fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten() {
            seen.extend(std::fs::read_link(entry.path()));
        }
    }
    seen.len()
}

/// How many objects of a kind the kernel holds, for everyone on this machine, where it tells.
/// Others on this machine make some as well, so only a growth by every cycle would be told from theirs.
fn kernel_objects(name: &str) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_thousand_environments_leave_nothing_behind() {
    let cycles = if std::env::var_os("WINDLASS_TEST_SOAK").is_some() { 1000 } else { 50 };
    let stage = ProcessStage::new();
    let cycle = |number: u32| {
        let tree = stage.folder().join("tree");
        std::fs::create_dir_all(&tree).unwrap();
        let id = EnvironmentId::parse(&format!("{}cycle-{number}", prefix())).unwrap();
        let mut plan = Plan::new(id.clone(), &tree, "/workspace/tree");
        plan.limits.processes = Some(200);
        plan.limits.memory_bytes = Some(256 << 20);
        plan.doors.push(windlass_sandbox::Door { name: "model".to_owned(), port: 0 });
        let created = stage.client.create(&plan).block().unwrap();
        let operation = OperationId::parse("work").unwrap();
        let script = "echo x > ~/file; echo y > /tmp/file; setsid sleep 1000 & echo done";
        let exec = Exec::capture(operation.clone(), ["sh", "-c", script]);
        stage.client.exec(&id, &exec).block().unwrap();
        assert!(stage.client.wait(&id, &operation).block().unwrap().state.is_success());
        drop(created);
        stage.client.destroy(&id).block().unwrap();
    };
    // What is loaded once is no leak.
    cycle(0);
    let before = Held::by(&stage);
    let objects = kernel_objects("net_namespace");
    for number in 1..=cycles {
        cycle(number);
    }
    assert_eq!(Held::by(&stage), before);
    if let (Some(before), Some(after)) = (objects, kernel_objects("net_namespace")) {
        // The kernel frees the last ones in the background.
        let grown = after.saturating_sub(before);
        assert!(grown < u64::from(cycles), "{grown} network namespaces for {cycles} cycles");
    }
}
