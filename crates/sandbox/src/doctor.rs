//! The doctor: what this host can enforce, seen by trying and never read from a configuration.
//!
//! Makes a throw-away environment and attacks from inside. A row is `ok` only when the attack was
//! stopped. Leaves nothing behind.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    canary::Canary,
    client::{Client, Created},
    error::{Error, Result},
    operation::Exec,
    plan::{Demand, Door, EnvironmentId, Layer, Limits, OperationId, Plan},
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was tried.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether an environment with the default plan is refused without it.
    pub required: bool,
    /// What was seen.
    pub detail: String,
    /// What to do where it is not ok.
    pub remedy: Option<String>,
}

/// Examines this host with a supervisor of its own below `scratch_dir`, which is made and removed again.
///
/// # Errors
/// [`Error::Io`] when not even a supervisor can be started. That environments are impossible on this
/// host is not an error but a row.
pub fn examine(scratch_dir: &Path, supervisor_argv: &[OsString]) -> Result<Vec<Row>> {
    let client = Client::spawn_or_connect(scratch_dir, supervisor_argv)?;
    let rows = with_client(&client, scratch_dir);
    client.shutdown().block()?;
    rows
}

fn with_client(client: &Client, scratch_dir: &Path) -> Result<Vec<Row>> {
    let tree = TemporaryTree::make(scratch_dir)?;
    let id = EnvironmentId::parse("doctor")?;
    let mut plan = Plan::new(id.clone(), &tree.0, "/workspace/doctor");
    plan.doors = vec![Door { name: "doctor".to_owned(), port: 0 }];
    plan.limits = Limits {
        memory_bytes: Some(1 << 30),
        cpu_millis: Some(1000),
        processes: Some(512),
        open_files: Some(1024),
        file_bytes: Some(1 << 30),
        disk_bytes: None,
    };
    let created = match client.create(&plan).block() {
        Ok(created) => created,
        Err(Error::LayerMissing { layer, why, remedy }) => {
            return Ok(vec![Row {
                check: format!("layer {layer}"),
                ok: false,
                required: true,
                detail: why,
                remedy: Some(remedy),
            }]);
        }
        Err(error) => {
            return Ok(vec![Row {
                check: "make an environment".to_owned(),
                ok: false,
                required: true,
                detail: error.to_string(),
                remedy: None,
            }]);
        }
    };
    let mut rows = layers(&created);
    rows.extend(attacks(client, &id, scratch_dir)?);
    rows.push(door(client, &id, &created)?);
    client.destroy(&id).block()?;
    Ok(rows)
}

fn layers(created: &Created) -> Vec<Row> {
    created
        .report
        .layers
        .iter()
        .filter(|row| row.demand != Demand::Off && row.layer != Layer::DiskLimit)
        .map(|row| Row {
            check: format!("layer {}", row.layer),
            ok: row.in_force,
            required: row.demand == Demand::Required,
            detail: row.detail.clone(),
            remedy: row.remedy.clone(),
        })
        .collect()
}

fn attacks(client: &Client, id: &EnvironmentId, scratch_dir: &Path) -> Result<Vec<Row>> {
    // Something real to reach for: a socket of the host that would answer.
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| Error::io("listen on loopback", error))?;
    let host = host.local_addr().map_err(|error| Error::io("name a socket", error))?;
    let socket = scratch_dir.join(crate::supervisor::SOCKET);
    let path = PathBuf::from;
    let tries = [
        ("write to a system folder", Canary::Write(path("/usr/windlass-canary"))),
        ("write to the root", Canary::Write(path("/windlass-canary"))),
        ("read the password hashes", Canary::Read(path("/etc/shadow"))),
        ("read root's home", Canary::Read(path("/root"))),
        ("read the supervisor's folder", Canary::Read(scratch_dir.to_path_buf())),
        ("connect to the supervisor", Canary::ConnectUnix(socket)),
        ("connect to Docker", Canary::ConnectUnix(path("/var/run/docker.sock"))),
        ("connect to the host's loopback", Canary::Connect(host)),
        (
            "connect to the cloud's metadata",
            Canary::Connect(SocketAddr::from(([169, 254, 169, 254], 80))),
        ),
        ("see network interfaces", Canary::SeeInterfaces),
        ("see the host's processes", Canary::SeeProcesses),
        ("mount a file system", Canary::Mount),
        ("make a user namespace", Canary::UserNamespace),
        ("make a user namespace by clone", Canary::CloneUserNamespace),
        ("trace the first process", Canary::Trace),
        ("read the first process's memory", Canary::ReadMemory),
        ("become root", Canary::BecomeRoot),
        ("hold a capability", Canary::HoldCapability),
        ("open a vsock", Canary::SocketFamily(libc::AF_VSOCK)),
        ("open a packet socket", Canary::SocketFamily(libc::AF_PACKET)),
        ("load a BPF program", Canary::SystemCall(libc::SYS_bpf)),
        ("use io_uring", Canary::SystemCall(libc::SYS_io_uring_setup)),
        ("write a kernel setting", Canary::Write(path("/proc/sys/kernel/core_pattern"))),
    ];
    tries
        .into_iter()
        .map(|(check, canary)| {
            let outcome = client.probe(id, &canary).block()?;
            Ok(Row {
                check: check.to_owned(),
                ok: outcome.stopped,
                required: true,
                detail: outcome.detail,
                remedy: Some("this is a fault of Windlass; please report it".to_owned()),
            })
        })
        .collect()
}

/// The one thing that must work: reaching the door from inside.
fn door(client: &Client, id: &EnvironmentId, created: &Created) -> Result<Row> {
    let Some(door) = created.doors.first() else {
        return Err(Error::Protocol { why: "the doctor's door has no socket".to_owned() });
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, door.port));
    // The kernel completes the connection before anyone accepts it.
    let reached = client.probe(id, &Canary::Connect(address)).block()?;
    let operation = OperationId::parse("true")?;
    client.exec(id, &Exec::capture(operation.clone(), ["true"])).block()?;
    let status = client.wait(id, &operation).block()?;
    let ok = !reached.stopped && status.state.is_success();
    Ok(Row {
        check: "reach a door and run a program".to_owned(),
        ok,
        required: true,
        detail: format!("door: {}; program: {:?}", reached.detail, status.state),
        remedy: (!ok).then(|| "this is a fault of Windlass; please report it".to_owned()),
    })
}

/// A work tree beside the supervisor's folder, removed when it goes out of use.
struct TemporaryTree(PathBuf);

impl TemporaryTree {
    fn make(scratch_dir: &Path) -> Result<Self> {
        let name = scratch_dir.file_name().and_then(|name| name.to_str()).unwrap_or("windlass");
        let path = scratch_dir.with_file_name(format!("{name}.doctor-tree"));
        fs::create_dir_all(&path)
            .map_err(|error| Error::io(format!("make {}", path.display()), error))?;
        let path =
            path.canonicalize().map_err(|error| Error::io("resolve the work tree", error))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryTree {
    fn drop(&mut self) {
        // It is empty; what stays is one empty folder.
        let _removed = crate::tree::remove(&self.0);
    }
}
