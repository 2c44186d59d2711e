//! Listening: the bind, TLS, and the loop that serves connections until it is told to stop. Knows
//! nothing of what is served.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::connect_info::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::secret;

/// How connections are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all. Only for a loopback address.
    #[default]
    Off,
    /// By a certificate that the server makes once and keeps in its data directory. Runners pin its
    /// fingerprint.
    SelfMade {
        /// Names and addresses that it is for, besides `localhost` and the address listened on.
        names: Vec<String>,
    },
    /// By this certificate.
    Files {
        /// The certificate chain, PEM.
        certificate: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
}

/// Why the server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error(
        "{address} is taken by another process: stop that one, or choose another port with --listen"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The address can be reached from other machines, and the connections would not be protected.
    #[error(
        "{address} can be reached from other machines, so it needs TLS: give --tls self-made or a \
         certificate, or listen on 127.0.0.1"
    )]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// The address can't be listened on.
    #[error("failed to listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key can't be used.
    #[error("the TLS certificate can't be used: {0}")]
    Certificate(String),
}

/// A bound address with what is needed to serve on it.
pub(crate) struct Bound {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    /// The address, with the port that the system chose where 0 was asked for.
    pub(crate) address: SocketAddr,
    /// The SHA-256 of the certificate as hexadecimal digits, under TLS.
    pub(crate) fingerprint: Option<String>,
}

/// Binds the address, under TLS where that is asked for.
pub(crate) async fn bind(
    address: SocketAddr,
    tls: &Tls,
    data_dir: &Path,
) -> Result<Bound, ListenError> {
    if *tls == Tls::Off && !address.ip().is_loopback() {
        return Err(ListenError::Unprotected { address });
    }
    let (acceptor, fingerprint) = match certificate(address, tls, data_dir)? {
        None => (None, None),
        Some((chain, key)) => {
            let fingerprint = fingerprint(&chain)?;
            (Some(acceptor(chain, key)?), Some(fingerprint))
        }
    };
    let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { address },
        _ => ListenError::Bind { address, source },
    })?;
    let address = listener.local_addr().map_err(|source| ListenError::Bind { address, source })?;
    Ok(Bound { listener, acceptor, address, fingerprint })
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(
    address: SocketAddr,
    tls: &Tls,
    data_dir: &Path,
) -> Result<Option<Identity>, ListenError> {
    match tls {
        Tls::Off => Ok(None),
        Tls::Files { certificate, key } => read_identity(certificate, key).map(Some),
        Tls::SelfMade { names } => {
            let (certificate, key) = (data_dir.join("tls.crt"), data_dir.join("tls.key"));
            if !certificate.exists() || !key.exists() {
                make_identity(address, names, &certificate, &key)?;
            }
            read_identity(&certificate, &key).map(Some)
        }
    }
}

fn make_identity(
    address: SocketAddr,
    names: &[String],
    certificate: &Path,
    key: &Path,
) -> Result<(), ListenError> {
    let refuse = |error: &dyn std::fmt::Display| ListenError::Certificate(error.to_string());
    let mut subjects = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if !address.ip().is_unspecified() {
        subjects.push(address.ip().to_string());
    }
    subjects.extend(names.iter().cloned());
    subjects.sort();
    subjects.dedup();
    let made = rcgen::generate_simple_self_signed(subjects).map_err(|error| refuse(&error))?;
    secret::write_private(key, made.signing_key.serialize_pem().as_bytes())
        .map_err(|error| refuse(&error))?;
    fs::write(certificate, made.cert.pem()).map_err(|error| refuse(&error))
}

fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, ListenError> {
    let refuse = |path: &Path, error: rustls::pki_types::pem::Error| {
        ListenError::Certificate(format!("{}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error))?;
    Ok((chain, key))
}

fn fingerprint(chain: &[CertificateDer<'_>]) -> Result<String, ListenError> {
    let first = chain
        .first()
        .ok_or_else(|| ListenError::Certificate("the file has no certificate in it".into()))?;
    Ok(secret::digest_of(&[first.as_ref()]))
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, ListenError> {
    let refuse = |error: rustls::Error| ListenError::Certificate(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refuse)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refuse)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How long a client may take for the TLS handshake or for the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long requests that are under way may take to end once the server is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until `stop`, then lets what is under way end.
pub(crate) async fn serve(bound: Bound, router: Router, stop: CancellationToken) {
    let Bound { listener, acceptor, .. } = bound;
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: what is open must end first.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let watcher = graceful.watcher();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => converse(stream, peer, router, watcher).await,
                Some(acceptor) => {
                    if let Some(stream) = handshake(&acceptor, stream).await {
                        converse(stream, peer, router, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::debug!("some connections did not end by themselves and were closed");
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn converse<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PATIENCE);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
