//! A company's own certificate authority is trusted when the operator says so, and no credential is
//! in any log line, at any level, of anything that takes part in a call.

use std::{
    io::{self, Write},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::fmt::MakeWriter;
use windlass_gateway::{
    Secret, git,
    model::{self, Allotment, Credential, Options, Provider, Providers, Record, Source},
    upstream::{self, Proxy},
};
use windlass_git::receive::RefRules;

const KEY: &str = "sk-real-key-0123456789abcdef";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A provider over TLS that answers everything with one message, and the certificate of its
/// authority.
async fn provider() -> (u16, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
        .expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 64 * 1024];
            let mut length = 0;
            while !head[..length].windows(4).any(|window| window == b"\r\n\r\n") {
                length += stream.read(&mut head[length..]).await.expect("a request");
            }
            assert!(
                String::from_utf8_lossy(&head[..length]).contains("sk-real")
                    || head.starts_with(b"GET /a.git/")
            );
            let body = json!({ "usage": { "input_tokens": 3, "output_tokens": 2 } }).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
            stream.shutdown().await.expect("closed");
        }
    });
    (port, authority.pem())
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a loopback port")
}

#[tokio::test]
async fn a_call_over_tls_leaves_no_credential_in_any_log() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let without = upstream::client(&upstream::Options::default())
        .expect_err("no cryptography yet")
        .to_string();
    assert!(without.starts_with("no TLS provider is installed"), "{without}");
    rustls::crypto::ring::default_provider().install_default().expect("the first");
    let (port, authority) = provider().await;
    let plain = upstream::client(&upstream::Options::default()).expect("a client");

    let mut ends = Vec::new();
    for certificates in [String::new(), authority] {
        let options = upstream::Options {
            certificates: certificates.into_bytes(),
            proxy: Some(Proxy::parse(&format!("http://me:{KEY}@127.0.0.1:9")).expect("a proxy")),
            ..upstream::Options::default()
        };
        let client = upstream::client(&options).expect("a client");
        let base_url = format!("https://localhost:{port}").parse().expect("a URL");
        let source = Source::Providers(Box::new(Providers {
            client: client.clone(),
            anthropic: Some(Provider { base_url, credential: Credential::Key(Secret::new(KEY)) }),
            openai: None,
            gemini: None,
        }));
        let (sender, mut records) = tokio::sync::mpsc::unbounded_channel::<Record>();
        let sink = Arc::new(move |record| sender.send(record).expect("someone listens"));
        let options = Options::new(source, Arc::new(Allotment::new(1000)), sink, "job".to_owned());
        tracing::info!(source = ?options.source, "what a door was given");
        let door = model::serve(socket(), options).expect("a door");
        let body = json!({ "model": "m", "max_tokens": 5, "messages": [] });
        let url = format!("http://{}/anthropic/v1/messages", door.address());
        let answer = plain.post(url).json(&body).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        assert!(!text.contains(KEY), "{text}");
        let record = records.recv().await.expect("a record");
        tracing::info!(?record, "a record");
        ends.push((record.status, record.usage.total()));

        let options = git::Options {
            client,
            repository: format!("https://localhost:{port}/a.git").parse().expect("a URL"),
            credential: Some(("x-access-token".to_owned(), Secret::new(KEY))),
            push: RefRules::default(),
            records: Arc::new(|_| {}),
            limits: Default::default(),
            idle: std::time::Duration::from_secs(5),
        };
        let door = git::serve(socket(), options).expect("a door");
        // The provider is no forge; any answer will do.
        let url = format!("http://{}/a.git/info/refs?service=git-upload-pack", door.address());
        let _ = plain.get(url).send().await.expect("an answer").text().await;
    }
    assert_eq!(ends, [(502, 0), (200, 5)]);
    let log = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8_lossy(&log);
    assert!(
        log.contains("hyper") && log.contains("reqwest"),
        "nothing was logged, so this test shows nothing"
    );
    assert!(!log.contains(KEY), "a log line holds the key");
    assert!(!log.contains("c2stcmVhbC1rZXkt"), "a log line holds the key in base64");
}
