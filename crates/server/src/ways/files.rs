//! Questions about files of an environment. Each is answered inside, by `windlass file-server`, on a stream
//! of its own; here it is only put and its answer read, and content is handed on as it comes.
//!
//! Never done here: opening a path of an environment, and believing more of an answer than its form.

use axum::body::{Body, Bytes};
use tokio::sync::mpsc;
use windlass_run::{Duration, environment::Way};
use windlass_store::environments::EnvironmentRow;
use windlass_wire::{
    attach::{End, FrameKind, Open},
    files::{Ask, Refusal, Told},
};

use super::{Stream, frames};
use crate::{
    auth::Principal,
    problem::{Code, Problem},
    state::AppState,
};

/// How long an answer may take: a comparison reads every file of a work tree.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);
/// After what time it is written down again that somebody looks at files. Each change is written down.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// The most bytes of an answer's line: a patch of 4 MiB, escaped, and a list of files.
const LINE: usize = 32 << 20;
/// How many pieces of content wait for whoever reads them.
const WAITING: usize = 4;

/// An answer, and the content that follows it.
pub(crate) struct Answer {
    pub(crate) told: Told,
    content: Content,
}

/// Content that follows an answer.
struct Content {
    stream: Stream,
    /// What came with the answer's line.
    first: Vec<u8>,
}

/// Asks about files of an environment that runs. The caller has seen that the principal may use it.
///
/// # Errors
/// What stands in the way inside; it does not run; its runner does not dial; the store's failures.
pub(crate) async fn ask(
    app: &AppState,
    principal: &Principal,
    row: &EnvironmentRow,
    ask: &Ask,
    content: &[u8],
) -> Result<Answer, Problem> {
    let who = format!("{:?}", principal.actor);
    if app.environments().looks_again(&row.id, &who, app.now(), AGAIN) {
        super::enter(app, principal, row, Way::Files).await?;
    }
    let stream = super::dial(app, row).await?;
    let asked = tokio::time::timeout(PATIENCE, put(stream, ask, content));
    let answer = asked.await.map_err(|_| {
        let why = "the environment did not answer in time: it may be busy; try again";
        Problem::new(Code::Busy, why).retry_after(10)
    })??;
    match answer.told {
        Told::Refused { refusal, why } => Err(refused(refusal, why)),
        _ => Ok(answer),
    }
}

impl Answer {
    /// The content as a body, while whoever asked may see it.
    pub(crate) fn body(
        self,
        app: &AppState,
        principal: &Principal,
        row: &EnvironmentRow,
        length: u64,
    ) -> Body {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (app, principal, id) = (app.clone(), principal.clone(), row.id.clone());
        tokio::spawn(async move {
            let carry = self.content.carry(length, sender);
            super::while_admitted(&app, &principal, &id, carry).await;
        });
        let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Body::from_stream(pieces)
    }

    /// The content as a whole. The caller has seen that it is short.
    ///
    /// # Errors
    /// It breaks off.
    pub(crate) async fn whole(self, length: u64) -> Result<Vec<u8>, Problem> {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        let carry = self.content.carry(length, sender);
        let mut whole = Vec::new();
        let read = async {
            while let Some(piece) = receiver.recv().await {
                whole.extend_from_slice(&piece.map_err(broke)?);
            }
            Ok(())
        };
        let read = async { tokio::join!(carry, read).1 };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(read) => read.map(|()| whole),
            Err(_) => Err(broke(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Content {
    /// Hands on so many bytes, and fails if there are fewer: what is cut off must not look whole.
    async fn carry(self, length: u64, to: mpsc::Sender<std::io::Result<Bytes>>) {
        let Self { mut stream, first } = self;
        let mut left = length;
        let mut piece = first;
        loop {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            piece.truncate(most);
            left -= piece.len() as u64;
            if !piece.is_empty() && to.send(Ok(piece.into())).await.is_err() {
                return;
            }
            if left == 0 {
                return;
            }
            piece = match frames::read(&mut stream).await {
                Ok(Some((FrameKind::Output, content))) => content,
                Ok(Some((FrameKind::Errors, _))) => Vec::new(),
                Ok(Some(_) | None) => {
                    let cut = std::io::ErrorKind::UnexpectedEof.into();
                    return drop(to.send(Err(cut)).await);
                }
                Err(error) => return drop(to.send(Err(error)).await),
            };
        }
    }
}

/// Puts a question, with the content that belongs to it, and reads the answer's line.
async fn put(mut stream: Stream, ask: &Ask, content: &[u8]) -> Result<Answer, Problem> {
    let open = Open {
        argv: vec!["file-server".to_owned()],
        is_windlass: true,
        input: true,
        ..Open::default()
    };
    let mut line =
        serde_json::to_vec(ask).map_err(|error| Problem::internal("ask about a file", error))?;
    line.push(b'\n');
    frames::write_json(&mut stream, FrameKind::Open, &open).await.map_err(broke)?;
    let (mut from, mut to) = tokio::io::split(stream);
    let asking = async {
        for piece in [line.as_slice(), content] {
            if !piece.is_empty() {
                frames::write(&mut to, FrameKind::Input, piece).await?;
            }
        }
        frames::write(&mut to, FrameKind::Input, &[]).await
    };
    let read = tokio::select! {
        read = answer(&mut from) => read,
        // It may answer before it has heard everything: only its answer counts.
        never = async { drop(asking.await); std::future::pending().await } => never,
    };
    let (told, first) = read?;
    Ok(Answer { told, content: Content { stream: from.unsplit(to), first } })
}

/// Reads the line of an answer, and what came with it.
async fn answer(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
) -> Result<(Told, Vec<u8>), Problem> {
    let (mut read, mut said) = (Vec::new(), Vec::new());
    loop {
        match frames::read(from).await.map_err(broke)? {
            Some((FrameKind::Output, content)) => {
                let looked_at = read.len();
                read.extend_from_slice(&content);
                if let Some(end) = read[looked_at..].iter().position(|byte| *byte == b'\n') {
                    let rest = read.split_off(looked_at + end + 1);
                    let told = serde_json::from_slice(&read)
                        .map_err(|error| strange(&format!("its answer can't be read: {error}")))?;
                    return Ok((told, rest));
                }
                if read.len() > LINE {
                    return Err(strange("its answer is too long"));
                }
            }
            Some((FrameKind::Errors, content)) => said.extend(content.into_iter().take(2_000)),
            Some((FrameKind::End, content)) => {
                let end =
                    serde_json::from_slice(&content).unwrap_or(End::Lost { why: String::new() });
                return Err(no_answer(&end, &String::from_utf8_lossy(&said)));
            }
            Some(_) => {}
            None => return Err(broke(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// It ended without an answer.
fn no_answer(end: &End, said: &str) -> Problem {
    let why = match end {
        End::NotStarted { why } | End::Lost { why } => why.clone(),
        End::Signalled { out_of_memory: true, .. } => "its memory is used up".to_owned(),
        End::Exited { .. } | End::Signalled { .. } => {
            let line: String =
                said.lines().next_back().unwrap_or_default().chars().take(300).collect();
            format!("`windlass` ended inside without an answer: {line}")
        }
    };
    Problem::new(Code::EnvironmentState, format!("the environment can't show its files: {why}"))
}

fn strange(why: &str) -> Problem {
    Problem::new(Code::EnvironmentState, format!("the environment can't show its files: {why}"))
}

fn broke(error: std::io::Error) -> Problem {
    let why = "the way into the environment broke off; try again";
    Problem::new(Code::Busy, why).retry_after(2).because(error)
}

fn refused(refusal: Refusal, why: String) -> Problem {
    match refusal {
        Refusal::NotFound => Problem::new(Code::NotFound, why),
        Refusal::Changed { is } => Problem::new(Code::FileChanged, why).now(is),
        Refusal::TooLarge => Problem::new(Code::TooLarge, why),
        Refusal::InTheWay => Problem::new(Code::FileRefused, why),
        Refusal::NotUnderstood => {
            let why =
                format!("{why}: start the environment again, so that its runner brings its own");
            Problem::new(Code::EnvironmentState, why)
        }
    }
}
