//! Questions and wishes about services and tasks of an environment, each on a stream of its own.

use std::io;

use tokio::io::AsyncWrite;
use windlass_wire::{
    attach::{End, FrameKind},
    automation::{Ask, Told},
};

use crate::{
    attach::write,
    workshop::services::{
        board::{Board, Refused},
        log::Log,
    },
};

/// The most bytes of a log in one piece.
const PIECE: usize = 256 * 1024;

/// Answers. Absent if whoever asked is gone.
pub(super) async fn serve(
    board: &Board,
    ask: Ask,
    to: &mut (impl AsyncWrite + Unpin),
) -> Option<End> {
    let answered = match ask {
        Ask::Look => say(to, &Told::Automation { automation: board.look() }).await,
        Ask::Service { name, wish } => match board.wish(&name, wish).await {
            Ok(service) => say(to, &Told::Service { service }).await,
            Err(refused) => say(to, &refused.into()).await,
        },
        Ask::Run { task } => match board.run(&task).await {
            Ok(run) => say(to, &Told::Run { run }).await,
            Err(refused) => say(to, &refused.into()).await,
        },
        Ask::Log { of, after, follow } => match board.log(&of) {
            Ok(Some(log)) => tell(&log, after, follow, to).await,
            Ok(None) => say(to, &Told::Log { from: 0 }).await,
            Err(refused) => say(to, &refused.into()).await,
        },
    };
    answered.ok().map(|()| End::Exited { code: 0 })
}

impl From<Refused> for Told {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(why) => Self::Unknown { why },
            Refused::Why(why) => Self::Refused { why },
        }
    }
}

async fn say(to: &mut (impl AsyncWrite + Unpin), told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told).map_err(io::Error::other)?;
    line.push(b'\n');
    write(to, FrameKind::Output, &line).await
}

/// Tells what is kept and, if that is wanted, what comes, to the end.
async fn tell(
    log: &Log,
    after: u64,
    follow: bool,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut length = log.length();
    let (from, mut bytes) = log.from(after);
    say(to, &Told::Log { from }).await?;
    let mut at = from;
    loop {
        for piece in bytes.chunks(PIECE) {
            write(to, FrameKind::Output, piece).await?;
        }
        at += bytes.len() as u64;
        let (end, is_over) = *length.borrow_and_update();
        if end <= at && (is_over || !follow || length.changed().await.is_err()) {
            return Ok(());
        }
        let (next, more) = log.from(at);
        if next > at {
            // Whoever reads so slowly learns that something is missing.
            let lost = format!("\n[windlass: {} bytes are no longer kept]\n", next - at);
            write(to, FrameKind::Output, lost.as_bytes()).await?;
        }
        (at, bytes) = (next, more);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::attach::read;

    #[tokio::test]
    async fn a_log_is_told_from_a_byte_on_and_followed_to_its_end() {
        let log = Arc::<Log>::default();
        log.add(b"one two");
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        let told = log.clone();
        let telling = tokio::spawn(async move { tell(&told, 4, true, &mut theirs).await });
        let mut heard = Vec::new();
        let head = serde_json::to_string(&Told::Log { from: 4 }).expect("JSON") + "\n";
        let expected = format!("{head}two and three");
        let mut is_added = false;
        while let Some((kind, bytes)) = read(&mut ours).await.expect("a frame") {
            assert_eq!(kind, FrameKind::Output);
            heard.extend(bytes);
            if heard.ends_with(b"two") && !is_added {
                log.add(b" and three");
                log.finish();
                is_added = true;
            }
        }
        telling.await.expect("it ends").expect("told");
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
}
