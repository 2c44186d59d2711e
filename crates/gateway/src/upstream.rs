//! How doors reach the world: certificates, time limits, and the operator's own HTTP proxy. Nothing
//! is taken from the process environment; what the operator set there is handed in.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::secret::{NotAHeader, Secret};

/// The operator's proxy, through which the doors themselves must go in some networks.
#[derive(Clone, Debug)]
pub struct Proxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// Why a proxy's address is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not `http://[user:password@]host:port`. The text is not repeated: it may hold a password.
    #[error("the proxy address is not of the form http://[user:password@]host:port")]
    Address,
    /// The password cannot be sent.
    #[error(transparent)]
    Credential(#[from] NotAHeader),
}

impl Proxy {
    /// Parses `http://[user:password@]host:port`, the form of `HTTPS_PROXY`. User and password may be
    /// percent-encoded.
    pub fn parse(address: &str) -> Result<Self, ProxyError> {
        let url = reqwest::Url::parse(address).map_err(|_| ProxyError::Address)?;
        let host = url.host_str().ok_or(ProxyError::Address)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or(ProxyError::Address)?;
        if url.scheme() != "http" || !matches!(url.path(), "" | "/") {
            return Err(ProxyError::Address);
        }
        let authorization = if url.username().is_empty() {
            None
        } else {
            let user = percent_decoded(url.username()).ok_or(ProxyError::Address)?;
            let password =
                percent_decoded(url.password().unwrap_or("")).ok_or(ProxyError::Address)?;
            let pair = Zeroizing::new([user.as_slice(), b":", &password].concat());
            Some(Secret::new(STANDARD.encode(&*pair)).header("Basic ")?)
        };
        Ok(Self { host, port, authorization })
    }

    /// The host to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// How a door's HTTPS client behaves.
#[derive(Clone, Default)]
pub struct Options {
    /// Certificates to trust beside the system's, in PEM: a company's own authority.
    pub certificates: Vec<u8>,
    /// The operator's proxy, where one is needed.
    pub proxy: Option<Proxy>,
    /// Hosts reached without the proxy, in the form of `NO_PROXY`; this machine always is.
    pub direct: String,
    /// How long a connection may take; 15 seconds when absent.
    pub connect_time: Option<Duration>,
    /// How long an answer may stand still; 10 minutes when absent, since models think long.
    pub idle: Option<Duration>,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// Why there is no HTTPS client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `rustls` has no cryptography yet.
    #[error(
        "no TLS provider is installed in this process; install one at its start, before any door is made"
    )]
    NoTlsProvider,
    /// The certificates, the proxy or the system's trust store cannot be used.
    #[error("the HTTPS client cannot be made: {0}")]
    Setup(#[source] reqwest::Error),
}

/// Makes an HTTPS client. It follows no redirect: a credential must not travel to a place that was
/// not configured.
pub fn client(options: &Options) -> Result<reqwest::Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(ClientError::NoTlsProvider);
    }
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_time.unwrap_or(Duration::from_secs(15)))
        .read_timeout(options.idle.unwrap_or(Duration::from_secs(600)))
        .tcp_nodelay(true)
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")));
    if !options.certificates.is_empty() {
        let certificates = reqwest::Certificate::from_pem_bundle(&options.certificates)
            .map_err(ClientError::Setup)?;
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(proxy) = &options.proxy {
        let host =
            if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
        let mut outer = reqwest::Proxy::all(format!("http://{host}:{}", proxy.port))
            .map_err(ClientError::Setup)?;
        if let Some(authorization) = &proxy.authorization {
            outer = outer.custom_http_auth(authorization.clone());
        }
        // This machine is never behind the proxy; the operator's own list comes on top.
        let direct = format!("localhost,127.0.0.0/8,::1,{}", options.direct);
        outer = outer.no_proxy(reqwest::NoProxy::from_string(&direct));
        builder = builder.proxy(outer);
    }
    builder.build().map_err(ClientError::Setup)
}

/// Makes a client that reaches the world through a web door and in no other way: what it may fetch, and
/// where it may be sent on to, is what the door's rules say. Only HTTPS.
///
/// # Errors
/// [`ClientError`] as for [`client`].
pub fn through_door(
    door: std::net::SocketAddr,
    certificates: &[u8],
) -> Result<reqwest::Client, ClientError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(ClientError::NoTlsProvider);
    }
    let proxy = reqwest::Proxy::all(format!("http://{door}")).map_err(ClientError::Setup)?;
    let mut builder = reqwest::Client::builder()
        .proxy(proxy)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::limited(5))
        .connect_timeout(Duration::from_secs(30))
        .read_timeout(Duration::from_secs(60))
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")));
    if !certificates.is_empty() {
        let certificates =
            reqwest::Certificate::from_pem_bundle(certificates).map_err(ClientError::Setup)?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(ClientError::Setup)
}

/// How TLS is checked where a door speaks it itself: by these certificates, in PEM, and no others.
///
/// # Errors
/// [`TlsError`] if there is none among them, or no cryptography.
pub fn tls(certificates: &[u8]) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let provider = rustls::crypto::CryptoProvider::get_default().ok_or(TlsError::NoTlsProvider)?;
    let mut roots = rustls::RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(
        rustls::pki_types::CertificateDer::pem_slice_iter(certificates).filter_map(Result::ok),
    );
    if taken == 0 {
        return Err(TlsError::NoCertificate);
    }
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why TLS can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `rustls` has no cryptography yet.
    #[error("no TLS provider is installed in this process; install one at its start")]
    NoTlsProvider,
    /// The bundle has no certificate.
    #[error("there is no certificate in the bundle of the system's authorities")]
    NoCertificate,
    /// The cryptography has no common version of TLS.
    #[error(transparent)]
    Setup(#[from] rustls::Error),
}

fn percent_decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(bytes)
}
