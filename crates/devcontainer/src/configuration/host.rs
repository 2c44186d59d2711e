//! What the machine must have.

use serde::Serialize;

use crate::{
    place::Findings,
    read::{self, Fields},
    tree::{Node, Value},
};

/// What the machine must have. 0 asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRequirements {
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Disk in bytes.
    pub storage: u64,
    /// A graphics processor.
    pub gpu: Option<Gpu>,
}

/// A graphics processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Gpu {
    /// Used if there is one.
    Optional,
    /// Needed, with so much of it; 0 asks for nothing in particular.
    Required {
        /// Cores.
        cores: u64,
        /// Memory in bytes.
        memory: u64,
    },
}

pub(crate) fn read(node: &Node, name: &str, findings: &mut Findings) -> Option<HostRequirements> {
    let mut fields = Fields::open(node, name, findings)?;
    let requirements = HostRequirements {
        cpus: fields.read("cpus", read::whole).unwrap_or(0),
        memory: fields.read("memory", read_bytes).unwrap_or(0),
        storage: fields.read("storage", read_bytes).unwrap_or(0),
        gpu: fields.read("gpu", read_gpu).flatten(),
    };
    fields.finish();
    Some(requirements)
}

fn read_gpu(node: &Node, name: &str, findings: &mut Findings) -> Option<Option<Gpu>> {
    match &node.value {
        Value::Bool(false) => Some(None),
        Value::Bool(true) => Some(Some(Gpu::Required { cores: 0, memory: 0 })),
        Value::Text(text) if text == "optional" => Some(Some(Gpu::Optional)),
        Value::Object(_) => {
            let mut fields = Fields::open(node, name, findings)?;
            let cores = fields.read("cores", read::whole).unwrap_or(0);
            let memory = fields.read("memory", read_bytes).unwrap_or(0);
            fields.finish();
            Some(Some(Gpu::Required { cores, memory }))
        }
        Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            let wanted = "true, false, \"optional\" or an object with `cores` and `memory`";
            read::wrong_type(node, name, wanted, findings);
            None
        }
    }
}

fn read_bytes(node: &Node, name: &str, findings: &mut Findings) -> Option<u64> {
    // The merged configuration holds plain numbers of bytes, as text.
    let text = read::text(node, name, findings)?;
    if let Some(bytes) = bytes(&text) {
        return Some(bytes);
    }
    match bytes(&text.to_lowercase().replace(' ', "")) {
        Some(bytes) => {
            let what =
                format!("`{name}` is read as {bytes} bytes: write it in small letters, no blank");
            findings.warn(&node.place, what);
            Some(bytes)
        }
        None => {
            let what = format!("`{name}` can't be `{text}`: write a number with kb, mb, gb or tb");
            findings.refuse(&node.place, what);
            None
        }
    }
}

/// A size such as `8gb` (2^30 each) or a plain number, in bytes; `None` if it is neither or beyond 64
/// bits.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        "tb" => 1 << 40,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
