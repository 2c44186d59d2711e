//! Git's smart HTTP protocol over a bare repository: what `git http-backend` does, without the CGI
//! in between. Takes and gives plain `http` types and streams both ways, so any HTTP framework can
//! mount it. Who may ask is the caller's business; what a push may change is decided here, twice:
//! on the command list before git sees it, and by git itself (`hideRefs`, `denyDeletes`,
//! `denyNonFastForwards`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::command::{Running, read_tail};
use crate::receive::{self, Head, RefRules};
use crate::{Error, Repository};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a client wants from a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Fetching.
    UploadPack,
    /// Pushing.
    ReceivePack,
}

impl Service {
    /// Git's name of the service.
    pub fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Service::UploadPack),
            "git-receive-pack" => Some(Service::ReceivePack),
            _ => None,
        }
    }
}

/// One of the four requests of the smart protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET .../info/refs?service=...`: what is there.
    Advertise(Service),
    /// `POST .../git-upload-pack` or `.../git-receive-pack`.
    Call(Service),
}

impl Endpoint {
    /// The service that the request is for; what a permission is asked about.
    pub fn service(self) -> Service {
        match self {
            Endpoint::Advertise(service) | Endpoint::Call(service) => service,
        }
    }
}

/// Splits a request for `/acme/api.git/info/refs?service=git-upload-pack` into `/acme/api.git` and
/// the endpoint. `None` is not ours: answer 404 (that includes the old protocol of plain files,
/// which would show everything).
pub fn route<'a>(
    method: &Method,
    path: &'a str,
    query: Option<&str>,
) -> Option<(&'a str, Endpoint)> {
    if let Some(repository) = path.strip_suffix("/info/refs") {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        let mut services =
            query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("service="));
        let service = Service::from_name(services.next()?)?;
        return (is_read && services.next().is_none())
            .then_some((repository, Endpoint::Advertise(service)));
    }
    let (repository, name) = path.rsplit_once('/')?;
    let service = Service::from_name(name)?;
    (*method == Method::POST).then_some((repository, Endpoint::Call(service)))
}

/// What one client may see and change in one repository.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// References that do not exist for this client, as `hideRefs` patterns in order (a later one
    /// wins, `!` shows again): `["refs/windlass", "!refs/windlass/job-1"]`.
    pub hidden: Vec<String>,
    /// What it may push; the default is nothing.
    pub push: RefRules,
}

/// Bounds on serving.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most git processes at once; more requests wait.
    pub concurrent: usize,
    /// The longest that one request may take.
    pub time: Duration,
    /// The most bytes that a push may bring.
    pub push_bytes: u64,
    /// The most bytes that a fetch may ask with.
    pub fetch_request_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            concurrent: 32,
            time: Duration::from_secs(3600),
            push_bytes: 4 << 30,
            fetch_request_bytes: 64 << 20,
        }
    }
}

/// Serves repositories. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend {
    limits: Arc<Limits>,
    slots: Arc<Semaphore>,
}

/// The end of a push, told after git has ended. The references are to be looked at afresh: git may
/// have refused some of the commands.
#[derive(Debug)]
pub struct PushEnded {
    /// What was asked for.
    pub head: Head,
    /// Whether git ended well.
    pub succeeded: bool,
}

impl Backend {
    /// A server within these bounds.
    pub fn new(limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.concurrent.max(1)));
        Backend { limits: Arc::new(limits), slots }
    }

    /// Answers one request. `ended` hears of a push that git has taken up; it is dropped unsent for
    /// anything else. Never fails: what goes wrong is in the answer.
    pub async fn serve<B>(
        &self,
        repository: &Repository,
        endpoint: Endpoint,
        view: &View,
        request: Request<B>,
        ended: Option<oneshot::Sender<PushEnded>>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let Ok(permit) = self.slots.clone().acquire_owned().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the server is going away");
        };
        let (parts, body) = request.into_parts();
        let version = protocol_version(&parts.headers);
        match endpoint {
            Endpoint::Advertise(service) => {
                self.advertise(repository, service, view, version, permit).await
            }
            Endpoint::Call(service) => {
                let stream = body.into_data_stream().map_err(std::io::Error::other);
                match self.decoded(service, &parts.headers, stream) {
                    Ok(body) => {
                        self.call(repository, service, view, version, body, permit, ended).await
                    }
                    Err(response) => *response,
                }
            }
        }
    }

    async fn advertise(
        &self,
        repository: &Repository,
        service: Service,
        view: &View,
        version: Option<&'static str>,
        permit: OwnedSemaphorePermit,
    ) -> Response<Body> {
        let mut call = repository
            .call("advertise references")
            .arg(&service.name()[4..])
            .args(["--stateless-rpc", "--advertise-refs"])
            .arg(repository.dir());
        for pattern in &view.hidden {
            call = call.config("transfer.hideRefs", pattern);
        }
        if let Some(version) = version {
            call = call.env("GIT_PROTOCOL", version);
        }
        let result = call.limit(self.limits.time).run().await;
        drop(permit);
        match result {
            Ok(output) => {
                let mut body = Vec::with_capacity(output.stdout.len() + 64);
                // Protocol 2 has no service line; pushes do not know protocol 2.
                if version != Some("version=2") || service == Service::ReceivePack {
                    let line = format!("# service={}\n", service.name());
                    body.extend_from_slice(format!("{:04x}{line}0000", line.len() + 4).as_bytes());
                }
                body.extend_from_slice(&output.stdout);
                answer(&format!("application/x-{}-advertisement", service.name()), full(body))
            }
            Err(error) => failure(&error),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one private seam between reading a request and running git"
    )]
    async fn call(
        &self,
        repository: &Repository,
        service: Service,
        view: &View,
        version: Option<&'static str>,
        mut body: Input,
        permit: OwnedSemaphorePermit,
        ended: Option<oneshot::Sender<PushEnded>>,
    ) -> Response<Body> {
        let mut call = repository
            .call(service.name())
            .arg(&service.name()[4..])
            .arg("--stateless-rpc")
            .arg(repository.dir());
        let mut head = None;
        match service {
            Service::UploadPack => {
                for pattern in &view.hidden {
                    call = call.config("uploadpack.hideRefs", pattern);
                }
                if let Some(version) = version {
                    call = call.env("GIT_PROTOCOL", version);
                }
            }
            Service::ReceivePack => {
                let (read, seen) = match receive::read_head(&mut body).await {
                    Ok(read) => read,
                    Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
                };
                if let Err(denied) = view.push.decide(&read) {
                    // The rest of the pack is read and dropped, so that the client reads our answer
                    // instead of seeing its connection break.
                    while let Some(Ok(_)) = body.next().await {}
                    return match receive::denial_report(&read, &denied) {
                        Some(report) => {
                            answer("application/x-git-receive-pack-result", full(report))
                        }
                        None => plain(StatusCode::FORBIDDEN, &denied.to_string()),
                    };
                }
                body = Box::pin(futures::stream::once(async { Ok(seen) }).chain(body));
                call = push_rules(call, &view.push, self.limits.push_bytes);
                head = Some(read);
            }
        }
        let running = match call.spawn(true) {
            Ok(running) => running,
            Err(error) => return failure(&error),
        };
        let kind = format!("application/x-{}-result", service.name());
        stream_through(
            running,
            body,
            self.limits.time,
            permit,
            head.map(|head| (head, ended)),
            &kind,
        )
        .await
    }

    /// The body as git wants it: unpacked and bounded.
    fn decoded<S>(
        &self,
        service: Service,
        headers: &HeaderMap,
        stream: S,
    ) -> Result<Input, Box<Response<Body>>>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let wanted = format!("application/x-{}-request", service.name());
        if headers
            .get(header::CONTENT_TYPE)
            .is_none_or(|value| value.as_bytes() != wanted.as_bytes())
        {
            return Err(Box::new(plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this address speaks git's smart protocol only",
            )));
        }
        let bound = match service {
            Service::UploadPack => self.limits.fetch_request_bytes,
            Service::ReceivePack => self.limits.push_bytes,
        };
        let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        match encoding {
            None | Some(b"identity") => Ok(bounded(stream, bound)),
            Some(b"gzip" | b"x-gzip") => {
                let unpacked = async_compression::tokio::bufread::GzipDecoder::new(
                    StreamReader::new(Box::pin(stream)),
                );
                Ok(bounded(ReaderStream::with_capacity(unpacked, 32 << 10), bound))
            }
            Some(_) => Err(Box::new(plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "only gzip is understood as an encoding",
            ))),
        }
    }
}

type Input = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Says the rules to git as well: everything but the allowed references is hidden, and git refuses
/// to update what is hidden.
fn push_rules(
    mut call: crate::command::Call,
    rules: &RefRules,
    push_bytes: u64,
) -> crate::command::Call {
    call = call.config("receive.hideRefs", "refs");
    for pattern in &rules.allowed {
        call = call.config("receive.hideRefs", format!("!{}", pattern.as_hide_pattern()));
    }
    call.config("receive.denyDeletes", if rules.deletes { "false" } else { "true" })
        .config("receive.denyNonFastForwards", if rules.rewrites { "false" } else { "true" })
        .config("receive.maxInputSize", push_bytes.to_string())
}

/// Runs git between two streams. The answer begins with git's first output, so that a git that
/// fails without a word becomes an error status and not a cut answer.
async fn stream_through(
    mut running: Running,
    body: Input,
    limit: Duration,
    permit: OwnedSemaphorePermit,
    push: Option<(Head, Option<oneshot::Sender<PushEnded>>)>,
    kind: &str,
) -> Response<Body> {
    let (Some(mut stdin), Some(mut stdout), stderr) =
        (running.child.stdin.take(), running.child.stdout.take(), running.child.stderr.take())
    else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "git has no streams");
    };
    let (output, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
    let is_push = push.is_some();
    let work = async move {
        let _permit = permit;
        let feed = async move {
            let mut body = body;
            while let Some(chunk) = body.next().await {
                if stdin.write_all(&chunk?).await.is_err() {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        let drain = async {
            let mut chunk = bytes::BytesMut::with_capacity(64 << 10);
            loop {
                chunk.reserve(32 << 10);
                match stdout.read_buf(&mut chunk).await {
                    Ok(0) => return Ok(()),
                    Ok(_) if output.send(Ok(chunk.split().freeze())).await.is_ok() || is_push => {
                        chunk.clear()
                    }
                    Ok(_) => return Err(std::io::Error::other("the client went away")),
                    Err(error) => return Err(error),
                }
            }
        };
        // Git may end its answer before it has read the whole request; that is its right.
        let exchange = async {
            let (mut feed, mut drain) = (Box::pin(feed), Box::pin(drain));
            let fed = tokio::select! {
                fed = &mut feed => fed,
                drained = &mut drain => return drained,
            };
            // Closing its input tells git that no more comes.
            drop(feed);
            match fed {
                Err(error) if !is_push => Err(error),
                // A push that broke off is left to fail by itself: a git that is killed leaves
                // locks behind, one that finds its pack cut short does not.
                Ok(()) | Err(_) => drain.await,
            }
        };
        let both = async { tokio::join!(exchange, read_tail(stderr)) };
        let gone = async {
            match is_push {
                true => std::future::pending().await,
                false => output.closed().await,
            }
        };
        let ended = tokio::select! {
            (exchanged, stderr) = both => exchanged.map(|()| stderr),
            () = gone => Err(std::io::Error::other("the client went away")),
            () = tokio::time::sleep(limit) => Err(std::io::Error::other("the request took too long")),
        };
        let status = match &ended {
            Ok(_) => running.wait().await.ok(),
            Err(_) => None,
        };
        let succeeded = status.is_some_and(|status| status.success());
        if !succeeded {
            let why =
                ended.as_ref().map_or_else(ToString::to_string, |stderr| stderr.trim().to_owned());
            tracing::debug!(%why, "git ended badly while serving");
            let _ = output.send(Err(std::io::Error::other("git ended badly"))).await;
        }
        drop(running);
        if let Some((head, Some(sender))) = push {
            let _ = sender.send(PushEnded { head, succeeded });
        }
    };
    // A push that git has begun must end and be told even if the client goes away.
    tokio::spawn(work);
    let mut stream = Box::pin(tokio_stream(receiver));
    match stream.next().await {
        Some(Ok(first)) => {
            let rest = futures::stream::once(async { Ok(first) })
                .chain(stream)
                .map_ok(http_body::Frame::data);
            answer(kind, BodyExt::boxed_unsync(StreamBody::new(rest)))
        }
        Some(Err(_)) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "git could not serve this request")
        }
        None => answer(kind, full(Bytes::new())),
    }
}

fn tokio_stream<T>(receiver: tokio::sync::mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

struct Bounded<S> {
    inner: S,
    left: u64,
}

fn bounded<S: Stream<Item = std::io::Result<Bytes>> + Send + 'static>(
    stream: S,
    bound: u64,
) -> Input {
    Box::pin(Bounded { inner: Box::pin(stream), left: bound })
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Stream for Bounded<S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.inner.poll_next_unpin(context));
        if let Some(Ok(bytes)) = &next {
            match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    return Poll::Ready(Some(Err(std::io::Error::other(
                        "the request is too large",
                    ))));
                }
            }
        }
        Poll::Ready(next)
    }
}

/// The protocol version asked for, of those that exist: the header goes into an environment.
fn protocol_version(headers: &HeaderMap) -> Option<&'static str> {
    let asked = headers.get("git-protocol")?.to_str().ok()?;
    ["version=2", "version=1"]
        .into_iter()
        .find(|version| asked.split(':').any(|part| part == *version))
}

fn failure(error: &Error) -> Response<Body> {
    tracing::debug!(%error, "a git request failed");
    match error {
        Error::NotARepository { .. } => plain(StatusCode::NOT_FOUND, "no such repository"),
        _ => plain(StatusCode::INTERNAL_SERVER_ERROR, "git could not serve this request"),
    }
}

fn answer(kind: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = answer("text/plain; charset=utf-8", full(format!("{text}\n")));
    *response.status_mut() = status;
    response
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::RefPattern;
    use crate::snapshot::NewCommit;
    use crate::{Git, RefName, Signature};

    /// A pack without objects, with its checksum.
    const EMPTY_PACK: &[u8] = b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";

    #[tokio::test]
    async fn git_refuses_what_the_rules_refuse_even_if_nobody_looked_at_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Git::default().init(&dir.path().join("r.git")).await.unwrap();
        let tree =
            repository.call("make a tree").arg("mktree").stdin(Vec::new()).run().await.unwrap();
        let who = Signature { name: "n".into(), email: "e".into(), at: 0 };
        let tree = crate::Oid::parse(tree.text().trim()).unwrap();
        let commit = NewCommit {
            tree,
            parents: vec![],
            author: who.clone(),
            committer: who,
            message: "m".into(),
        };
        let commit = repository.commit(&commit).await.unwrap();
        let main = RefName::branch("main").unwrap();
        repository
            .update_reference(&main, &commit, crate::repository::Expected::Absent)
            .await
            .unwrap();
        let rules = RefRules {
            allowed: vec![RefPattern::parse("refs/heads/windlass/j/*").unwrap()],
            deletes: false,
            rewrites: true,
        };
        let null = "0".repeat(40);
        for (old, new, name, good) in [
            (null.as_str(), commit.as_str(), "refs/heads/windlass/j/x", true),
            (&null, commit.as_str(), "refs/heads/windlass/k/x", false),
            (&null, commit.as_str(), "refs/tags/v1", false),
            (commit.as_str(), &null, "refs/heads/main", false),
            (commit.as_str(), &null, "refs/heads/windlass/j/x", false),
        ] {
            let line = format!("{old} {new} {name}\0report-status delete-refs");
            let mut request = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
            request.extend_from_slice(EMPTY_PACK);
            let call = repository
                .call("receive")
                .args(["receive-pack", "--stateless-rpc"])
                .arg(repository.dir());
            let output = push_rules(call, &rules, 1 << 20).stdin(request).run_any().await.unwrap();
            assert_eq!(
                output.text().contains(&format!("ok {name}")),
                good,
                "{name}: {}",
                output.text()
            );
        }
        let names: Vec<String> = repository
            .references("")
            .await
            .unwrap()
            .into_iter()
            .map(|reference| reference.name.to_string())
            .collect();
        assert_eq!(names, ["refs/heads/main", "refs/heads/windlass/j/x"]);
    }
}
