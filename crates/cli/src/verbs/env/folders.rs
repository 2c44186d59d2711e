//! `windlass env cp -r`: folders into an environment and out of one, as a tar archive on a stream. On both
//! sides `verbs::files` packs and unpacks.

use std::{io::Read, path::Path};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, ReadHalf, WriteHalf},
    sync::mpsc,
};
use windlass_runner::attach::{self, read, write, write_json};
use windlass_wire::{
    attach::{End, FrameKind, Open},
    files::{Ask, Told},
};

use super::exec::{exit, inside};
use crate::{
    client::Client,
    exit::Exit,
    terminal,
    verbs::files::archive::{Pack, unpack},
};

/// How many pieces of an archive wait for the other side.
const WAITING: usize = 8;

/// Copies one folder.
pub(super) async fn copy(client: &Client, from: &str, to: &str) -> Result<Exit> {
    match (inside(from), inside(to)) {
        (Some((env, path)), None) => fetch(client, env, path, Path::new(to)).await,
        (None, Some((env, path))) => send(client, env, Path::new(from), path).await,
        (None, None) | (Some(_), Some(_)) => {
            Err(Exit::Failure.error("one of the two is in an environment: write ENV:PATH"))
        }
    }
}

async fn fetch(client: &Client, env: &str, path: &str, to: &Path) -> Result<Exit> {
    let target = match to.is_dir() {
        true => to.join(name(Path::new(path))?),
        false => to.to_owned(),
    };
    let (mut from, mut input) = open(client, env, &Ask::Pack { path: path.to_owned() }).await?;
    write(&mut input, FrameKind::Input, &[]).await.context("the stream broke off")?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (mut head, mut sender) = (Vec::new(), Some(sender));
    let shown = target.display().to_string();
    let mut unpacking = None;
    let mut receiver = Some(receiver);
    let end = loop {
        match read(&mut from).await.context("the stream broke off")? {
            Some((FrameKind::Output, mut bytes)) => {
                if unpacking.is_none() {
                    head.extend_from_slice(&bytes);
                    let Some(end) = head.iter().position(|byte| *byte == b'\n') else { continue };
                    bytes = head.split_off(end + 1);
                    packed(&head)?;
                    let pieces = Pieces { from: receiver.take(), piece: Vec::new(), at: 0 };
                    let target = target.clone();
                    unpacking = Some(tokio::task::spawn_blocking(move || unpack(pieces, &target)));
                }
                if let Some(to) = &sender
                    && to.send(bytes).await.is_err()
                {
                    // Why it does not unpack any more is its own answer.
                    sender = None;
                }
            }
            Some((FrameKind::Errors, bytes)) => {
                eprint!("{}", terminal::harmless(&String::from_utf8_lossy(&bytes)));
            }
            Some((FrameKind::End, content)) => {
                break attach::json(&content).context("the stream broke off")?;
            }
            Some(_) => {}
            None => break End::Lost { why: "the stream broke off".to_owned() },
        }
    };
    drop(sender);
    if let Some(unpacking) = unpacking {
        let unpacked = unpacking.await.context("failed to unpack")?;
        unpacked.with_context(|| format!("failed to unpack into {shown}"))?;
    }
    Ok(exit(end))
}

async fn send(client: &Client, env: &str, from: &Path, path: &str) -> Result<Exit> {
    if !from.is_dir() {
        let why = format!("{} is no folder: leave out -r", from.display());
        return Err(Exit::Failure.error(why));
    }
    let ask = Ask::Unpack { path: path.to_owned(), name: name(from)? };
    let (mut answers, mut input) = open(client, env, &ask).await?;
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let pack = Pack::of(from.to_owned());
    let packing = tokio::task::spawn_blocking(move || pack.write(Sender(sender)));
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            if write(&mut input, FrameKind::Input, &piece).await.is_err() {
                return;
            }
        }
    };
    // It may refuse before it has heard everything.
    let answer = heard(&mut answers);
    tokio::pin!(answer);
    let early = tokio::select! {
        heard = &mut answer => Some(heard?),
        () = sending => None,
    };
    let (end, told) = match early {
        Some(heard) => heard,
        None => {
            let packed = packing.await.context("failed to pack")?;
            packed.with_context(|| format!("failed to read {}", from.display()))?;
            write(&mut input, FrameKind::Input, &[]).await.context("the stream broke off")?;
            answer.await?
        }
    };
    if let Some(line) = told.split(|byte| *byte == b'\n').next().filter(|line| !line.is_empty()) {
        refused(line)?;
    }
    Ok(exit(end))
}

/// What is said, to its end.
async fn heard(answers: &mut (impl AsyncRead + Unpin)) -> Result<(End, Vec<u8>)> {
    let mut told = Vec::new();
    loop {
        match read(answers).await.context("the stream broke off")? {
            Some((FrameKind::Output, bytes)) => told.extend_from_slice(&bytes),
            Some((FrameKind::Errors, bytes)) => {
                eprint!("{}", terminal::harmless(&String::from_utf8_lossy(&bytes)));
            }
            Some((FrameKind::End, content)) => {
                let end = attach::json(&content).context("the stream broke off")?;
                return Ok((end, told));
            }
            Some(_) => {}
            None => return Ok((End::Lost { why: "the stream broke off".to_owned() }, told)),
        }
    }
}

/// Opens a stream on which `windlass` inside is asked.
async fn open(
    client: &Client,
    env: &str,
    ask: &Ask,
) -> Result<(ReadHalf<reqwest::Upgraded>, WriteHalf<reqwest::Upgraded>)> {
    let open = Open {
        argv: vec!["file-server".to_owned()],
        is_windlass: true,
        input: true,
        ..Open::default()
    };
    let stream = client.upgrade(&format!("{}/exec", super::path(env))).await?;
    let (from, mut to) = tokio::io::split(stream);
    let mut line = serde_json::to_vec(ask).context("failed to ask")?;
    line.push(b'\n');
    write_json(&mut to, FrameKind::Open, &open).await.context("the stream broke off")?;
    write(&mut to, FrameKind::Input, &line).await.context("the stream broke off")?;
    Ok((from, to))
}

fn packed(line: &[u8]) -> Result<()> {
    refused(line)?;
    match serde_json::from_slice(line).context("the answer can't be read")? {
        Told::Packed => Ok(()),
        _ => Err(Exit::Failure.error("the answer does not fit")),
    }
}

/// Fails if the answer is a refusal.
fn refused(line: &[u8]) -> Result<()> {
    match serde_json::from_slice(line).context("the answer can't be read")? {
        Told::Refused { why, .. } => Err(Exit::Failure.error(terminal::one_line(&why, 400))),
        _ => Ok(()),
    }
}

/// The last name of a path.
fn name(path: &Path) -> Result<String> {
    let whole = std::path::absolute(path).context("failed to read the path")?;
    let name = whole.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} does not end with a name", path.display()))
}

/// Writes pieces to whoever sends them on.
struct Sender(mpsc::Sender<Vec<u8>>);

impl std::io::Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(256 * 1024)];
        let sent = self.0.blocking_send(piece.to_vec());
        sent.map(|()| piece.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads pieces as they come.
struct Pieces {
    from: Option<mpsc::Receiver<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.piece.len() {
            match self.from.as_mut().and_then(mpsc::Receiver::blocking_recv) {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let n = to.len().min(self.piece.len() - self.at);
        to[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
