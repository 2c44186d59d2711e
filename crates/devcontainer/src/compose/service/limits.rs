//! What a service may use of the machine, in the words of two generations of Compose files.

use serde::Serialize;

use crate::{
    place::Findings,
    read::{self, Fields},
    tree::Node,
};

/// What a service may use of the machine. `None` is what the platform gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Time of processors, in thousandths of one.
    pub cpu_millis: Option<u32>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
}

/// Reads `mem_limit`, `cpus`, `pids_limit` and `deploy.resources.limits`; the latter counts more.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Limits {
    // What is reserved is not limited; how containers are weighed is the platform's.
    for key in ["mem_reservation", "memswap_limit", "cpu_shares", "cpu_count"] {
        fields.get(key);
    }
    let old = Limits {
        memory: fields.read("mem_limit", bytes),
        cpu_millis: fields.read("cpus", cpus),
        processes: fields.read("pids_limit", processes).flatten(),
    };
    let new = fields.read("deploy", deploy).unwrap_or_default();
    Limits {
        memory: new.memory.or(old.memory),
        cpu_millis: new.cpu_millis.or(old.cpu_millis),
        processes: new.processes.or(old.processes),
    }
}

fn deploy(node: &Node, name: &str, findings: &mut Findings) -> Option<Limits> {
    let mut fields = Fields::open(node, name, findings)?;
    if fields.read("replicas", read::whole).is_some_and(|replicas| replicas != 1) {
        let place = read::place_of(node, "replicas");
        fields.findings.refuse(place, "a service runs once here: set `replicas` to 1 or remove it");
    }
    // About clusters and their updates.
    for key in ["mode", "labels", "placement", "update_config", "rollback_config", "restart_policy"]
    {
        fields.get(key);
    }
    let limits = fields.read("resources", |node, name, findings| {
        let mut fields = Fields::open(node, name, findings)?;
        fields.get("reservations");
        let limits = fields.read("limits", limits);
        fields.finish_strictly("isn't supported in `resources` here: remove it", &[]);
        limits
    });
    fields.finish_strictly("isn't supported in `deploy` here: remove it", &[]);
    limits
}

fn limits(node: &Node, name: &str, findings: &mut Findings) -> Option<Limits> {
    let mut fields = Fields::open(node, name, findings)?;
    let limits = Limits {
        memory: fields.read("memory", bytes),
        cpu_millis: fields.read("cpus", cpus),
        processes: fields.read("pids", processes).flatten(),
    };
    fields.finish_strictly("isn't supported in `limits` here: remove it", &[]);
    Some(limits)
}

/// `512m`, `1gb`, a number of bytes.
pub(super) fn bytes(node: &Node, name: &str, findings: &mut Findings) -> Option<u64> {
    let text = node.scalar().map(|text| text.to_lowercase());
    let bytes = text.as_deref().and_then(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match &text[digits.len()..] {
            "" | "b" => 1,
            "k" | "kb" => 1 << 10,
            "m" | "mb" => 1 << 20,
            "g" | "gb" => 1 << 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(unit)
    });
    if bytes.is_none() {
        let what = format!("`{name}` can't be {}: write a size such as 512m or 1g", said(node));
        findings.refuse(&node.place, what);
    }
    bytes
}

fn cpus(node: &Node, name: &str, findings: &mut Findings) -> Option<u32> {
    let number = node.scalar().and_then(|text| text.parse::<f64>().ok());
    let millis = number.filter(|cpus| (0.001..=4096.0).contains(cpus));
    if millis.is_none() {
        let what = format!("`{name}` can't be {}: write a number such as 0.5", said(node));
        findings.refuse(&node.place, what);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    millis.map(|cpus| (cpus * 1000.0) as u32)
}

/// -1 is no limit.
fn processes(node: &Node, name: &str, findings: &mut Findings) -> Option<Option<u32>> {
    let text = node.scalar();
    let number = text.as_deref().and_then(|text| text.parse::<i64>().ok());
    let processes = match number {
        Some(-1) => return Some(None),
        number => number.and_then(|number| u32::try_from(number).ok()).filter(|it| *it > 0),
    };
    if processes.is_none() {
        let what = format!("`{name}` can't be {}: write how many processes", said(node));
        findings.refuse(&node.place, what);
    }
    processes.map(Some)
}

fn said(node: &Node) -> String {
    node.scalar().map_or_else(|| node.kind().to_owned(), |text| format!("`{text}`"))
}
