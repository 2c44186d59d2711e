//! Questions and wishes about services and tasks of an environment, each on a stream of its own. Only the
//! form of an answer is believed.

use tokio::io::{AsyncRead, ReadHalf};
use windlass_store::environments::EnvironmentRow;
use windlass_wire::{
    attach::{End, FrameKind},
    automation::{Ask, Told},
};

use super::{Stream, frames};
use crate::{
    problem::{Code, Problem},
    state::AppState,
};

/// How long an answer may take: what a service depends on may have to be ready first, and a task that is
/// needed has to end.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// The most bytes of an answer's line.
const LINE: usize = 8 << 20;

/// A log on its way.
pub(crate) struct Log {
    /// The first byte of what comes next, of all that it ever was.
    pub(crate) at: u64,
    from: ReadHalf<Stream>,
    /// Held to the end: the end of the stream would be the answer's.
    _to: tokio::io::WriteHalf<Stream>,
    first: Vec<u8>,
}

impl Log {
    /// The next piece; absent at the end.
    ///
    /// # Errors
    /// The connection's failures.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        loop {
            match frames::read(&mut self.from).await? {
                Some((FrameKind::Output, bytes)) if !bytes.is_empty() => return Ok(Some(bytes)),
                Some((FrameKind::End, _)) | None => return Ok(None),
                Some(_) => {}
            }
        }
    }
}

/// Asks about services and tasks of an environment that runs. The caller has seen that the principal may
/// use it, and has written down what there is to be written down.
///
/// # Errors
/// There is none of that name; it can't be done; it does not run; its runner does not dial.
pub(crate) async fn ask(
    app: &AppState,
    row: &EnvironmentRow,
    ask: &Ask,
) -> Result<(Told, Log), Problem> {
    let mut stream = super::dial(app, row).await?;
    frames::write_json(&mut stream, FrameKind::Ask, ask).await.map_err(broke)?;
    let (mut from, to) = tokio::io::split(stream);
    let answered = tokio::time::timeout(PATIENCE, answer(&mut from)).await;
    let (told, first) = answered.map_err(|_| {
        let why = "it is still on its way: see how the services stand";
        Problem::new(Code::Busy, why).retry_after(30)
    })??;
    match told {
        Told::Unknown { why } => Err(Problem::new(Code::NotFound, why)),
        Told::Refused { why } => Err(Problem::new(Code::EnvironmentState, why)),
        Told::Log { from: at } => Ok((Told::Log { from: at }, Log { at, from, _to: to, first })),
        told => Ok((told, Log { at: 0, from, _to: to, first })),
    }
}

/// Reads the line of an answer, and what came with it.
async fn answer(from: &mut (impl AsyncRead + Unpin)) -> Result<(Told, Vec<u8>), Problem> {
    let mut read = Vec::new();
    loop {
        match frames::read(from).await.map_err(broke)? {
            Some((FrameKind::Output, content)) => {
                let looked_at = read.len();
                read.extend_from_slice(&content);
                if let Some(end) = read[looked_at..].iter().position(|byte| *byte == b'\n') {
                    let rest = read.split_off(looked_at + end + 1);
                    let told = serde_json::from_slice(&read);
                    return told.map(|told| (told, rest)).map_err(|error| {
                        let why = format!("the runner's answer can't be read: {error}");
                        Problem::new(Code::EnvironmentState, why)
                    });
                }
                if read.len() > LINE {
                    let why = "the runner's answer is too long";
                    return Err(Problem::new(Code::EnvironmentState, why));
                }
            }
            Some((FrameKind::End, content)) => {
                let why = match serde_json::from_slice(&content) {
                    Ok(End::NotStarted { why } | End::Lost { why }) => why,
                    _ => "the runner gave no answer: it may be of an older version".to_owned(),
                };
                return Err(Problem::new(Code::EnvironmentState, why));
            }
            Some(_) => {}
            None => return Err(broke(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn broke(error: std::io::Error) -> Problem {
    let why = "the way to the environment broke off; try again";
    Problem::new(Code::Busy, why).retry_after(2).because(error)
}
