//! Connections to services inside: dialled through the environment's runner, kept for a moment for the same
//! visitor's next request, and cut as soon as that visitor would not be let in any more. One connection
//! belongs to one visitor: nothing is ever shared between two.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use windlass_run::EnvironmentId;
use windlass_wire::attach::{Dial, End, FrameKind};

use super::admission::{self, Entry};
use crate::{
    problem::{Code, Problem},
    state::AppState,
    ways::{self, Stream, frames},
};

/// The most connections that visitors have to one environment at once.
const MOST: usize = 128;
/// The most that one visitor's next requests may find open.
const IDLE: usize = 8;
/// How long one stays open for that. Services close what is idle after some seconds; this is before.
const KEPT: Duration = Duration::from_secs(2);
/// How long the service's machine may take to connect.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a service may go on once whoever asked has gone.
const FAREWELL: Duration = Duration::from_secs(5);
/// After what time whoever is in is asked again whether they may, where nobody said that something changed.
const LOOK: Duration = Duration::from_secs(10);
/// The largest head of an answer, in bytes.
const HEAD: usize = 64 * 1024;

/// A connection on which a service is asked.
pub(super) type Asker = SendRequest<Body>;

/// The connections of this process.
#[derive(Default)]
pub(super) struct Tunnels {
    open: Arc<Mutex<HashMap<EnvironmentId, usize>>>,
    idle: Mutex<HashMap<String, Vec<(u64, Asker)>>>,
    kept: std::sync::atomic::AtomicU64,
}

/// A place among the connections to an environment, given back when it is dropped.
struct Seat {
    open: Arc<Mutex<HashMap<EnvironmentId, usize>>>,
    environment_id: EnvironmentId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.environment_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.environment_id);
            }
        }
    }
}

impl Tunnels {
    fn seat(&self, environment_id: &EnvironmentId) -> Result<Seat, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(environment_id.clone()).or_default();
        if *count >= MOST {
            let why = format!(
                "{MOST} connections to this environment are open, and more can't be: close some pages"
            );
            return Err(Problem::new(Code::Busy, why).retry_after(2));
        }
        *count += 1;
        Ok(Seat { open: Arc::clone(&self.open), environment_id: environment_id.clone() })
    }

    /// A connection that this visitor's last request left open.
    pub(super) fn left_open(&self, entry: &Entry) -> Option<Asker> {
        let mut idle = self.idle();
        let left = idle.get_mut(&admission::key(entry))?;
        std::iter::from_fn(|| left.pop()).map(|(_, asker)| asker).find(Asker::is_ready)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<(u64, Asker)>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection for the visitor's next request, once the answer to this one was read.
pub(super) fn keep(app: &AppState, entry: &Entry, mut asker: Asker) {
    let (app, key) = (app.clone(), admission::key(entry));
    tokio::spawn(async move {
        if asker.ready().await.is_err() {
            return;
        }
        let tunnels = &app.ports().tunnels;
        let number = tunnels.kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        {
            let mut idle = tunnels.idle();
            let kept = idle.entry(key.clone()).or_default();
            if kept.len() >= IDLE {
                return;
            }
            kept.push((number, asker));
        }
        tokio::time::sleep(KEPT).await;
        let mut idle = tunnels.idle();
        if let Some(kept) = idle.get_mut(&key) {
            kept.retain(|(other, _)| *other != number);
            if kept.is_empty() {
                idle.remove(&key);
            }
        }
    });
}

/// Connects to the service. The connection lasts until one side ends it, or the visitor is shut out.
///
/// # Errors
/// The environment does not run, its runner does not dial, nothing listens, or there are too many.
pub(super) async fn connect(app: &AppState, entry: &Entry) -> Result<Asker, Problem> {
    let seat = app.ports().tunnels.seat(&entry.row.id)?;
    let mut stream = ways::dial(app, &entry.row).await?;
    let port = entry.address.port;
    let asked = async {
        frames::write_json(&mut stream, FrameKind::Dial, &Dial { port }).await?;
        frames::read(&mut stream).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Some((FrameKind::Output, _)))) => {}
        Ok(Ok(Some((FrameKind::End, content)))) => return Err(refused(port, &content)),
        Ok(Ok(_) | Err(_)) | Err(_) => {
            let why = "the environment's runner did not answer; try again";
            return Err(Problem::new(Code::Busy, why).retry_after(5));
        }
    }
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (guard, of) = (app.clone(), entry.clone());
    tokio::spawn(async move {
        let _seat = seat;
        tokio::select! {
            () = carry(stream, theirs) => {}
            () = shut_out(&guard, &of) => {
                tracing::info!(environment = %of.row.id, port, "a connection to a port is cut");
            }
            () = guard.stopping().cancelled_owned() => {}
        }
    });
    let speaks = |error: hyper::Error| {
        Problem::new(Code::PortSilent, format!("port {port} does not speak HTTP")).because(error)
    };
    let (asker, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(ours))
        .await
        .map_err(speaks)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a port ended early");
        }
    });
    Ok(asker)
}

fn refused(port: u16, content: &[u8]) -> Problem {
    match serde_json::from_slice(content) {
        Ok(End::Lost { why }) => Problem::new(Code::EnvironmentState, why),
        _ => {
            let why = format!(
                "nothing listens on port {port} of the environment: start the program that does. It may \
                 listen on 127.0.0.1 or on ::1"
            );
            Problem::new(Code::PortSilent, why)
        }
    }
}

/// Ends when the visitor would not be let in any more.
async fn shut_out(app: &AppState, entry: &Entry) {
    loop {
        let changed = app.admission_changed();
        if !entry.still_holds(app).await {
            return;
        }
        let _either = tokio::time::timeout(LOOK, changed).await;
    }
}

/// Carries bytes both ways until the service has ended, or has had its time after whoever asked has.
async fn carry(stream: Stream, theirs: DuplexStream) {
    let (mut from, mut to) = tokio::io::split(stream);
    let (mut questions, mut answers) = tokio::io::split(theirs);
    let outward = async {
        while let Ok(Some((FrameKind::Output, content))) = frames::read(&mut from).await {
            if answers.write_all(&content).await.is_err() {
                return;
            }
        }
        let _ = answers.shutdown().await;
    };
    let inward = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = questions.read(&mut buffer).await {
            if frames::write(&mut to, FrameKind::Input, &buffer[..n]).await.is_err() {
                return;
            }
        }
        let _ = frames::write(&mut to, FrameKind::Input, &[]).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}

#[cfg(test)]
mod tests {
    use windlass_run::Time;

    use super::*;

    #[test]
    fn one_environment_has_so_many_connections_and_another_has_its_own() {
        let tunnels = Tunnels::default();
        let id = |n| EnvironmentId::new(Time::from_micros(0), n);
        let mut seats: Vec<Seat> =
            (0..MOST).map(|_| tunnels.seat(&id(1)).expect("there is room")).collect();
        let code = |seat: Result<Seat, Problem>| seat.map(drop).map_err(|problem| problem.code);
        assert_eq!(code(tunnels.seat(&id(1))), Err(Code::Busy));
        assert_eq!(code(tunnels.seat(&id(2))), Ok(()));
        drop(seats.pop());
        assert_eq!(code(tunnels.seat(&id(1))), Ok(()));
        drop(seats);
        assert!(tunnels.open.lock().expect("nobody panicked").is_empty());
    }
}
