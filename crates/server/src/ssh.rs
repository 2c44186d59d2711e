//! SSH into environments: `ssh ENVIRONMENT@host -p PORT`. Whoever has a registered key is its owner, the
//! user's name says into which environment, and nothing else is reached.
//!
//! Never done here: a password, a program on this machine, a connection to any other place than the
//! environment's own loopback, a listener for the client.

mod channel;

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use russh::{
    Channel, ChannelOpenFailure, Disconnect, MethodKind, MethodSet,
    keys::{PrivateKey, ssh_key::private::Ed25519Keypair},
    server::{
        Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Session,
        VerifiedPublicKey, run_stream,
    },
};
use tokio::net::{TcpListener, TcpStream};
use windlass_run::{EnvironmentId, environment::Way};
use windlass_wire::api::account::Ssh;

use crate::{actions::keys, auth::Principal, secret, state::AppState, views, ways};

/// How long a client may take to sign in.
const GRACE: Duration = Duration::from_secs(60);
/// How long a connection may be silent before it is asked whether it lives.
const ALIVE: Duration = Duration::from_secs(30);

/// A listener with the server's own key.
pub(crate) struct Bound {
    listener: TcpListener,
    key: PrivateKey,
    /// What clients need to know.
    pub(crate) shown: Ssh,
}

/// Binds the address; makes the server's key at the first time.
///
/// # Errors
/// The address or the key's file can't be used.
pub(crate) async fn bind(address: SocketAddr, data_dir: &Path) -> io::Result<Bound> {
    let key = host_key(&data_dir.join("ssh_host.seed"))?;
    let public_key = key.public_key().to_openssh().map_err(io::Error::other)?;
    let listener = TcpListener::bind(address).await?;
    let shown = Ssh { address: listener.local_addr()?.to_string(), host_key: public_key };
    Ok(Bound { listener, key, shown })
}

/// The server's key: 32 bytes of chance in a file that only the server's account can read.
fn host_key(path: &Path) -> io::Result<PrivateKey> {
    if !path.exists() {
        let seed =
            [secret::random_bits(), secret::random_bits()].map(|half| format!("{half:032x}"));
        secret::write_private(path, seed.concat().as_bytes())?;
    }
    let text = std::fs::read_to_string(path)?;
    let digits: Vec<u8> = text
        .trim()
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let seed: [u8; 32] = digits.try_into().map_err(|_| {
        let why = format!("{} is no key of 64 hexadecimal digits", path.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}

/// Serves until the server stops.
pub(crate) async fn serve(app: AppState, bound: Bound) {
    let config = Arc::new(Config {
        keys: vec![bound.key],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: None,
        keepalive_interval: Some(ALIVE),
        nodelay: true,
        ..Config::default()
    });
    let stop = app.stopping();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = bound.listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept an SSH connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (app, config) = (app.clone(), config.clone());
        tokio::spawn(async move {
            if let Err(error) = converse(app, config, stream).await {
                tracing::debug!(%error, %peer, "an SSH connection ended early");
            }
        });
    }
}

/// Serves one connection until it ends, or whoever opened it may not any more.
async fn converse(
    app: AppState,
    config: Arc<Config>,
    stream: TcpStream,
) -> Result<(), russh::Error> {
    let (signed_in, entered) = tokio::sync::watch::channel(None);
    let visit = Visit { app: app.clone(), visitor: None, signed_in };
    let running = tokio::time::timeout(GRACE, run_stream(config, stream, visit)).await;
    let running = running.map_err(|_| russh::Error::ConnectionTimeout)??;
    let handle = running.handle();
    tokio::select! {
        ended = running => ended,
        why = over(&app, entered) => {
            let _ = handle.disconnect(Disconnect::ByApplication, why.to_owned(), String::new()).await;
            Ok(())
        }
    }
}

/// Ends with the reason for which a connection must end.
async fn over(
    app: &AppState,
    mut entered: tokio::sync::watch::Receiver<Option<Visitor>>,
) -> &'static str {
    let visitor = match tokio::time::timeout(GRACE, first(&mut entered)).await {
        Ok(Some(visitor)) => visitor,
        // It ends by itself.
        Ok(None) => return std::future::pending().await,
        Err(_) => return "it took too long to sign in",
    };
    tokio::select! {
        () = ways::shut_out(app, &visitor.principal, &visitor.environment_id) => {
            "you may not use this environment any more"
        }
        () = app.stopping().cancelled_owned() => "the server stops",
    }
}

/// Whoever signs in; absent if the connection ends before that.
async fn first(entered: &mut tokio::sync::watch::Receiver<Option<Visitor>>) -> Option<Visitor> {
    loop {
        let found = entered.borrow_and_update().clone();
        if found.is_some() {
            return found;
        }
        entered.changed().await.ok()?;
    }
}

/// Who is connected, and to what.
#[derive(Clone)]
struct Visitor {
    principal: Principal,
    environment_id: EnvironmentId,
}

/// One connection.
struct Visit {
    app: AppState,
    visitor: Option<Visitor>,
    signed_in: tokio::sync::watch::Sender<Option<Visitor>>,
}

impl Visit {
    /// Who this key and name mean, if they may.
    async fn find(&self, user: &str, key: &russh::keys::PublicKey) -> Option<Visitor> {
        let principal = self.app.principal_of_key(&keys::id(key)).await.ok()?;
        let row = views::environments::find_to_use(&self.app, &principal, user).await.ok()?;
        Some(Visitor { principal, environment_id: row.id })
    }
}

impl Handler for Visit {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(match self.find(user, offer.public_key).await {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.visitor = self.find(user, key.public_key).await;
        Ok(if self.visitor.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        let Some(visitor) = &self.visitor else { return Err(russh::Error::NotAuthenticated) };
        let (app, id) = (&self.app, visitor.environment_id.as_str());
        if let Ok(row) = views::environments::find_to_use(app, &visitor.principal, id).await {
            // One that does not run is told when something is wanted of it.
            let _ = ways::enter(app, &visitor.principal, &row, Way::Ssh).await;
        }
        self.signed_in.send_replace(Some(visitor.clone()));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(visitor) = self.visitor.clone() else { return Ok(()) };
        reply.accept().await;
        let (app, handle) = (self.app.clone(), session.handle());
        tokio::spawn(async move { channel::session(&app, &visitor, channel, handle).await });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(visitor) = self.visitor.clone() else { return Ok(()) };
        let is_inside = matches!(host, "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "*");
        let port = u16::try_from(port).ok().filter(|port| is_inside && *port > 0);
        let Some(port) = port else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let app = self.app.clone();
        tokio::spawn(async move { channel::port(&app, &visitor, port, channel, reply).await });
        Ok(())
    }
}

/// Where a handle of a connection is wanted.
type Connection = Handle;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_key_is_made_once_and_half_a_key_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ssh_host.seed");
        let first = host_key(&path).expect("made");
        let again = host_key(&path).expect("read");
        assert_eq!(first.public_key(), again.public_key());
        std::fs::write(&path, "abc").expect("written");
        let error = host_key(&path).expect_err("half a key");
        assert!(error.to_string().contains("64 hexadecimal digits"), "{error}");
    }
}
