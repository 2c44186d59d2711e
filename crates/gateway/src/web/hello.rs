//! The first bytes of a tunnel must be a TLS ClientHello that names the host of the CONNECT request.
//! Otherwise a tunnel to an allowed host could carry any protocol, or a handshake for another host
//! that is served from the same addresses.

use std::io::Cursor;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};
use windlass_policy::network::Destination;

/// A ClientHello with key shares of every kind fits several times.
const MAX_HELLO: usize = 64 * 1024;

/// Reads a ClientHello for the destination and returns its bytes, to be sent on as they came; or
/// says why the tunnel is refused.
pub(super) async fn read(
    client: &mut (impl AsyncRead + Unpin),
    destination: &Destination,
) -> Result<Vec<u8>, String> {
    let mut acceptor = Acceptor::default();
    let mut seen = Vec::new();
    loop {
        let start = seen.len();
        let read = client
            .read_buf(&mut seen)
            .await
            .map_err(|error| format!("the client broke off: {error}"))?;
        if read == 0 {
            return Err("the client left before its TLS handshake".to_owned());
        }
        let mut fresh = Cursor::new(&seen[start..]);
        while (fresh.position() as usize) < read {
            acceptor.read_tls(&mut fresh).map_err(|error| not_tls(&error.to_string()))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return match named(accepted.client_hello().server_name(), destination) {
                        Ok(()) => Ok(seen),
                        Err(why) => Err(why),
                    };
                }
                Err((error, _)) => return Err(not_tls(&error.to_string())),
            }
        }
        if seen.len() > MAX_HELLO {
            return Err(not_tls("its first message is too long"));
        }
    }
}

fn not_tls(problem: &str) -> String {
    format!(
        "the tunnel does not begin with a TLS handshake ({problem}); an operator may list the port as one for raw tunnels"
    )
}

fn named(server_name: Option<&str>, destination: &Destination) -> Result<(), String> {
    match (server_name, destination.address()) {
        (None, Some(_)) => Ok(()),
        (Some(name), None)
            if name.trim_end_matches('.').eq_ignore_ascii_case(&destination.host()) =>
        {
            Ok(())
        }
        (Some(name), _) => Err(format!(
            "the TLS handshake names `{}` in a tunnel to `{}`; both must be the same",
            name.escape_default(),
            destination.host()
        )),
        (None, None) => Err(format!(
            "the TLS handshake names no host in a tunnel to `{}`; it must name it",
            destination.host()
        )),
    }
}
