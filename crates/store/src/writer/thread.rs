//! The thread that the writer lives on, and the way to it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Error,
    database::{Failure, Row, Value},
    writer::{Command, Core},
};

/// How many commands may wait for the writer.
const WAITING: usize = 8_192;

/// What travels to the thread.
pub(crate) enum Message {
    /// Run this.
    Command(Box<dyn Command>),
    /// Finish what has come so far, let go of the database, and say so.
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
pub(crate) enum Writer {
    /// It has a thread of its own.
    Thread(mpsc::Sender<Message>),
    /// It runs on whatever thread asks. Absent once closed.
    Inline(Box<Mutex<Option<Core>>>),
}

impl Writer {
    /// Moves the writer to a thread of its own.
    pub(crate) fn spawn(core: Core, group: usize) -> Result<Self, Error> {
        let (messages, waiting) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("windlass-writer".to_owned())
            .spawn(move || work(core, waiting, group.max(1)))
            .map_err(|e| Error::Unavailable {
                context: format!("no thread for the writer: {e}"),
            })?;
        Ok(Self::Thread(messages))
    }

    /// Keeps the writer on the callers' threads.
    pub(crate) fn inline(core: Core) -> Self {
        Self::Inline(Box::new(Mutex::new(Some(core))))
    }

    /// Hands a command over.
    pub(crate) async fn hand(&self, command: Box<dyn Command>) -> Result<(), Error> {
        match self {
            Self::Thread(messages) => {
                messages.send(Message::Command(command)).await.map_err(|_| closed())
            }
            Self::Inline(core) => {
                let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
                core.as_mut().ok_or_else(closed)?.run(vec![command]);
                Ok(())
            }
        }
    }

    /// Finishes and lets go of the database.
    pub(crate) async fn close(&self) {
        match self {
            Self::Thread(messages) => {
                let (done, finished) = oneshot::channel();
                if messages.send(Message::Close(done)).await.is_ok() {
                    let _gone = finished.await;
                }
            }
            Self::Inline(core) => {
                drop(core.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        }
    }

    /// Reads on the writer's own connection, where it is inline.
    pub(crate) fn read_inline(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Option<Result<Vec<Row>, Error>> {
        let Self::Inline(core) = self else { return None };
        let mut core = core.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match core.as_mut() {
            Some(core) => core.connection.read(sql, values).map_err(Failure::into_error),
            None => Err(closed()),
        })
    }
}

fn work(mut core: Core, mut waiting: mpsc::Receiver<Message>, group: usize) {
    let mut closing = None;
    while closing.is_none() {
        let Some(first) = waiting.blocking_recv() else { break };
        let mut commands = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Command(command) => commands.push(command),
                Message::Close(done) => closing = Some(done),
            }
            let full = commands.len() >= group || closing.is_some();
            next = if full { None } else { waiting.try_recv().ok() };
        }
        core.run(commands);
    }
    waiting.close();
    drop(core);
    if let Some(done) = closing {
        let _gone = done.send(());
    }
}

/// What is answered once nobody writes any more.
pub(crate) fn closed() -> Error {
    Error::Unavailable { context: "the store is closed".to_owned() }
}
