//! CONNECT: a tunnel of bytes to an allowed destination.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    time::{Instant, sleep, timeout},
};
use windlass_policy::network::Destination;

use super::{
    Options, bad_request, destination, hello,
    reach::{Stream, Unreached, Use, reach},
    record::{Outcome, Recording, Traffic},
    refused,
};
use crate::door::{self, Body, Visit};

pub(super) async fn answer(
    options: &Arc<Options>,
    request: Request<Incoming>,
    visit: Visit,
) -> Response<Body> {
    // The target must be spelled out whole: hyper has taken apart what we check here again.
    let target = request.uri().to_string();
    let authority = match request.uri().authority() {
        Some(authority) if authority.as_str() == target => authority.clone(),
        Some(_) | None => return bad_request("CONNECT needs host:port and nothing else"),
    };
    let Some(port) = authority.port_u16() else {
        return bad_request("CONNECT needs host:port, with a port from 1 to 65535");
    };
    if authority.as_str().contains('@') {
        return bad_request("CONNECT takes no user part");
    }
    let destination = match destination(options, &Method::CONNECT, authority.host(), port) {
        Ok(destination) => destination,
        Err(response) => return *response,
    };
    let mut recording =
        Recording::new(options.records.clone(), &Method::CONNECT, &destination.host(), port);
    let reached = match reach(options, &destination, Use::Tunnel, &mut recording).await {
        Ok(reached) => reached,
        Err(Unreached::Refused(why)) => return refused(&destination.to_string(), &why),
        Err(Unreached::Unreachable(status, why)) => {
            return door::plain(status, &format!("windlass web door: {why}"));
        }
    };
    let options = options.clone();
    tokio::spawn(async move {
        let stop = visit.stop.clone();
        // The place is given back when the tunnel ends, not when its request was answered.
        let _place = visit.place;
        tokio::select! {
            () = stop.cancelled() => recording.ended(Outcome::Cut),
            () = carry(&options, request, &destination, reached.stream, &mut recording) => {}
        }
    });
    let mut response = Response::new(door::full(""));
    *response.status_mut() = StatusCode::OK;
    response
}

async fn carry(
    options: &Options,
    request: Request<Incoming>,
    destination: &Destination,
    server: Stream,
    recording: &mut Recording,
) {
    recording.ended(Outcome::Cut);
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let mut client = TokioIo::new(upgraded);
    let mut server = Watched::new(server, recording.traffic.clone());
    if !options.raw_ports.contains(&destination.port()) {
        let first =
            match timeout(options.limits.head_time, hello::read(&mut client, destination)).await {
                Ok(Ok(first)) => first,
                Ok(Err(why)) => return recording.refuse(&why),
                Err(_) => return recording.ended(Outcome::TimedOut),
            };
        if server.write_all(&first).await.is_err() {
            return;
        }
    }
    let activity = server.activity.clone();
    let outcome = tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server) => {
            if copied.is_ok() { Outcome::Done } else { Outcome::Cut }
        }
        () = activity.stands_still(options.limits.idle) => Outcome::TimedOut,
    };
    recording.ended(outcome);
}

/// When something last moved.
struct Activity {
    since: Instant,
    /// Milliseconds after `since`.
    last: AtomicU64,
}

impl Activity {
    fn touch(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for so long.
    async fn stands_still(&self, limit: Duration) {
        loop {
            let last = self.since + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let still = last.elapsed();
            if still >= limit {
                return;
            }
            sleep(limit - still).await;
        }
    }
}

/// The far side of a tunnel, counting what passes.
struct Watched {
    inner: Stream,
    traffic: Arc<Traffic>,
    activity: Arc<Activity>,
}

impl Watched {
    fn new(inner: Stream, traffic: Arc<Traffic>) -> Self {
        Self {
            inner,
            traffic,
            activity: Arc::new(Activity { since: Instant::now(), last: AtomicU64::new(0) }),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            this.traffic.down.fetch_add(read as u64, Ordering::Relaxed);
            this.activity.touch();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            this.traffic.up.fetch_add(written as u64, Ordering::Relaxed);
            this.activity.touch();
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
