//! Programs that people execute in an environment and ports that they reach, each on a stream of its
//! own. What a program starts ends with it; one whose client goes away is ended, unless the client gave
//! it a name.

use std::{ffi::OsString, fs::File, path::Path, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use windlass_sandbox::{Error, Exec, Io, OperationId, Pipes, State, spool};
use windlass_wire::attach::{Attach, Dial, End, FrameKind, Open, Size};

use super::{board, view::View};
use crate::{
    attach::{json, read, write, write_json},
    link::Link,
    options::Clock,
    workshop::{
        environment::{Entry, set},
        secrets::Given,
    },
};

/// The time between two signs of activity while a program runs.
const ALIVE: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a program may take to end once its terminal was hung up.
const HANG_UP: Duration = Duration::from_secs(2);
/// The most bytes of one program's output that are kept for another asking.
const OUTPUT: u64 = 64 << 20;

/// Dials a stream and serves it to its end.
pub(super) async fn serve(link: &Link, view: &View, clock: &Clock, attach: &Attach) {
    let stream = match link.client.dial(&attach.stream, &link.runner_id()).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, environment = %attach.environment_id, "a stream could not be dialled");
            return;
        }
    };
    let (mut from, mut to) = tokio::io::split(stream);
    let mut entries = view.entry();
    let entry = entries.borrow_and_update().clone();
    let end = match entry {
        None => Some(End::Lost { why: "the environment does not run any more".to_owned() }),
        Some(entry) => {
            let signs = Signs { view, clock };
            tokio::select! {
                end = wanted(&entry, attach, &signs, &mut from, &mut to) => end,
                _ = entries.changed() => {
                    Some(End::Lost { why: "the environment was stopped".to_owned() })
                }
            }
        }
    };
    view.active(clock());
    if let Some(end) = end {
        let _client_may_be_gone = write_json(&mut to, FrameKind::End, &end).await;
    }
    let _ = to.shutdown().await;
}

/// Tells that somebody uses the environment.
struct Signs<'a> {
    view: &'a View,
    clock: &'a Clock,
}

impl Signs<'_> {
    fn one(&self) {
        self.view.active((self.clock)());
    }

    /// Tells it for as long as the work takes.
    async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let alive = async {
            loop {
                self.one();
                tokio::time::sleep(ALIVE).await;
            }
        };
        tokio::select! {
            done = work => done,
            never = alive => never,
        }
    }
}

/// Does what the client wants. Absent if the client is gone.
async fn wanted(
    entry: &Entry,
    attach: &Attach,
    signs: &Signs<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Option<End> {
    let refused = |why: String| Some(End::NotStarted { why });
    match tokio::time::timeout(PATIENCE, read(from)).await {
        Ok(Ok(Some((FrameKind::Open, content)))) => match json(&content) {
            Ok(open) => signs.during(program(entry, attach, &open, from, to)).await,
            Err(error) => refused(format!("what to execute can't be read: {error}")),
        },
        Ok(Ok(Some((FrameKind::Dial, content)))) => match json::<Dial>(&content) {
            Ok(dial) => port(entry, dial.port, signs, from, to).await,
            Err(error) => refused(format!("what to reach can't be read: {error}")),
        },
        Ok(Ok(Some((FrameKind::Ask, content)))) => match json(&content) {
            Ok(ask) => {
                let gone = async { while let Ok(Some(_)) = read(from).await {} };
                tokio::select! {
                    end = board::serve(&entry.board, ask, to) => end,
                    () = gone => None,
                }
            }
            Err(error) => refused(format!("what is asked can't be read: {error}")),
        },
        Ok(Ok(Some(_))) => refused("the stream did not begin with what is wanted".into()),
        Ok(Ok(None) | Err(_)) | Err(_) => None,
    }
}

/// Connects to a port inside and carries bytes until one side has ended. What crosses is a sign of use; a
/// connection on which nothing does, such as that of a page that was forgotten, is none.
async fn port(
    entry: &Entry,
    port: u16,
    signs: &Signs<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Option<End> {
    let dialled = entry.access.backend.dial(&entry.access.id, port).await;
    let stream = dialled.map_err(|error| error.to_string()).and_then(|stream| {
        let ready = stream.set_nonblocking(true);
        ready.and_then(|()| tokio::net::TcpStream::from_std(stream)).map_err(|e| e.to_string())
    });
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(why) => return Some(End::NotStarted { why }),
    };
    let _ = stream.set_nodelay(true);
    let (mut answers, mut questions) = stream.split();
    write(to, FrameKind::Output, &[]).await.ok()?;
    let outward = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = answers.read(&mut buffer).await {
            signs.one();
            if write(to, FrameKind::Output, &buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    let inward = async {
        while let Ok(Some((kind, content))) = read(from).await {
            signs.one();
            match (kind, content.is_empty()) {
                (FrameKind::Input, false) if questions.write_all(&content).await.is_err() => return,
                // It says no more, and may still hear.
                (FrameKind::Input, true) => drop(questions.shutdown().await),
                _ => {}
            }
        }
    };
    tokio::select! {
        () = outward => Some(End::Exited { code: 0 }),
        () = inward => None,
    }
}

/// Executes what the client wants. Absent if the client is gone.
async fn program(
    entry: &Entry,
    attach: &Attach,
    open: &Open,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Option<End> {
    let mut exec = match exec(entry, attach, open) {
        Ok(exec) => exec,
        Err(why) => return Some(End::NotStarted { why }),
    };
    let given = Given::all_of(&attach.given);
    given.set(&mut exec);
    // What the client says itself counts.
    for (name, value) in &open.env {
        set(&mut exec.env, name, Some(value));
    }
    if let Err(error) = given.make_shared_files(&entry.access, &exec.operation).await {
        return Some(End::NotStarted { why: error.to_string() });
    }
    let operation = exec.operation.clone();
    let is_named = open.operation.is_some();
    let ran = run(entry, exec, from, to).await;
    let access = &entry.access;
    if !is_named || matches!(ran, Ok(Some(_))) {
        // Nothing that it started goes on without it.
        let _gone_already = access.backend.kill(&access.id, &operation).await;
    }
    if !is_named {
        let _gone_already = access.backend.forget(&access.id, &operation).await;
    }
    match ran {
        Ok(state) => state.map(end_of),
        Err(error) => Some(End::Lost { why: error.to_string() }),
    }
}

fn exec(entry: &Entry, attach: &Attach, open: &Open) -> Result<Exec, String> {
    if open.argv.is_empty() {
        return Err("name a program".to_owned());
    }
    if open.operation.is_some() && (open.input || open.terminal.is_some()) {
        return Err(
            "an operation with a name has no input and no terminal: it could not be given twice"
                .to_owned(),
        );
    }
    let has_nul = |text: &String| text.contains('\0');
    if open.argv.iter().any(has_nul) || open.env.iter().any(|(n, v)| has_nul(n) || has_nul(v)) {
        return Err("arguments and variables have no byte 0".to_owned());
    }
    let name = match &open.operation {
        Some(name) => format!("named-{name}"),
        None => attach.stream.chars().filter(char::is_ascii_alphanumeric).take(60).collect(),
    };
    let operation = OperationId::parse(&name).map_err(|error| error.to_string())?;
    let own = entry.windlass.iter().filter(|_| open.is_windlass).cloned();
    let argv = own.chain(open.argv.iter().map(OsString::from));
    let mut exec = Exec::capture(operation, argv);
    exec.io = match open.terminal {
        Some(size) => Io::Terminal { size: inside(size) },
        None if open.input => Io::Pipes,
        None => Io::Capture { limit_bytes: OUTPUT },
    };
    exec.env = entry.variables.clone();
    let cwd = open.cwd.as_deref().unwrap_or_default();
    Ok(exec.in_folder(entry.inside.join(Path::new(cwd))))
}

/// Runs it to its end, or until the client is gone.
async fn run(
    entry: &Entry,
    exec: Exec,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<State>, Error> {
    let access = &entry.access;
    let operation = exec.operation.clone();
    let started = access.backend.exec(&access.id, &exec).await?;
    match (started.pipes, started.spool) {
        (Some(pipes), _) => {
            let state = with_input(entry, &operation, pipes, from, to).await?;
            if state.is_none() && matches!(exec.io, Io::Terminal { .. }) {
                // It was hung up: a shell, for one, wants to keep its history.
                let ended = access.backend.wait(&access.id, &operation);
                let _either = tokio::time::timeout(HANG_UP, ended).await;
            }
            Ok(state)
        }
        (None, _) => {
            let gone = async { while let Ok(Some(_)) = read(from).await {} };
            tokio::select! {
                state = follow(entry, &operation, to) => state.map(Some),
                () = gone => Ok(None),
            }
        }
    }
}

/// Hands on what is captured, from the beginning.
async fn follow(
    entry: &Entry,
    operation: &OperationId,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<State, Error> {
    let access = &entry.access;
    let mut position = 0;
    loop {
        let new = access.backend.output(&access.id, operation, position).await?;
        let is_all = new.chunks.is_empty();
        position = new.next;
        for chunk in new.chunks {
            let kind = match chunk.stream {
                spool::Stream::Output => FrameKind::Output,
                spool::Stream::Errors => FrameKind::Errors,
            };
            // A client that is gone is seen by whoever reads from it.
            let _ = write(to, kind, &chunk.bytes).await;
        }
        if new.status.state.has_ended() && is_all {
            return Ok(new.status.state);
        }
    }
}

/// Carries input and output until the program ends. Absent if the client is gone before that.
async fn with_input(
    entry: &Entry,
    operation: &OperationId,
    pipes: Pipes,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Option<State>, Error> {
    let access = &entry.access;
    let file = |pipe| tokio::fs::File::from_std(File::from(pipe));
    let (stdin, stdout, stderr) = (file(pipes.stdin), file(pipes.stdout), file(pipes.stderr));
    let (sender, mut output) = tokio::sync::mpsc::channel(16);
    for (kind, pipe) in [(FrameKind::Output, stdout), (FrameKind::Errors, stderr)] {
        tokio::spawn(carry(kind, pipe, sender.clone()));
    }
    drop(sender);
    let ended = async {
        let status = access.backend.wait(&access.id, operation).await?;
        // What it left running would keep its output open.
        access.backend.kill(&access.id, operation).await?;
        Ok::<_, Error>(status.state)
    };
    let outward = async {
        while let Some((kind, bytes)) = output.recv().await {
            let _ = write(to, kind, &bytes).await;
        }
    };
    let inward = async {
        let mut stdin = Some(stdin);
        while let Ok(Some((kind, content))) = read(from).await {
            match (&mut stdin, kind, content.is_empty()) {
                (Some(pipe), FrameKind::Input, false) => {
                    // A program that does not read on is no reason to end.
                    let wrote = pipe.write_all(&content).await;
                    if wrote.is_err() || pipe.flush().await.is_err() {
                        stdin = None;
                    }
                }
                (_, FrameKind::Input, true) => stdin = None,
                (_, FrameKind::Size, _) => {
                    if let Ok(size) = json(&content) {
                        let resized = access.backend.resize(&access.id, operation, inside(size));
                        let _ended_already = resized.await;
                    }
                }
                (_, FrameKind::Signal, _) => {
                    if let Ok(signal @ 1..=64) = json(&content) {
                        let sent = access.backend.signal(&access.id, operation, signal);
                        let _ended_already = sent.await;
                    }
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        (state, ()) = async { tokio::join!(ended, outward) } => state.map(Some),
        () = inward => Ok(None),
    }
}

async fn carry(
    kind: FrameKind,
    mut pipe: tokio::fs::File,
    to: tokio::sync::mpsc::Sender<(FrameKind, Vec<u8>)>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        if to.send((kind, buffer[..n].to_vec())).await.is_err() {
            return;
        }
    }
}

fn inside(size: Size) -> windlass_sandbox::Size {
    windlass_sandbox::Size { columns: size.columns, rows: size.rows }
}

fn end_of(state: State) -> End {
    match state {
        State::Exited { code } => End::Exited { code },
        State::Signalled { signal, out_of_memory } => End::Signalled { signal, out_of_memory },
        State::NotStarted { why } => End::NotStarted { why },
        State::Lost { why } => End::Lost { why },
        State::Running => End::Lost { why: "it still runs".to_owned() },
    }
}
