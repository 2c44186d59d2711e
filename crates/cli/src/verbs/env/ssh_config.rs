//! `windlass env ssh-config`: what OpenSSH needs to reach environments by their names.

use anyhow::{Context as _, Result};
use windlass_wire::api::{Page, account::Ssh, environment::Environment};

use crate::{client::Client, exit::Exit};

/// The name by which OpenSSH remembers the server's key.
const ALIAS: &str = "windlass";

pub(super) async fn run(client: &Client, write: bool) -> Result<Exit> {
    let ssh: Ssh = client.get("/api/v1/ssh").await?;
    let query = [("limit", "200".to_owned()), ("mine", "true".to_owned())];
    let page: Page<Environment> = client.query("/api/v1/environments", &query).await?;
    let names: Vec<&str> = page.items.iter().map(|env| env.name.as_str()).collect();
    let folder = super::super::home()?.join(".ssh/windlass");
    let known = folder.join("known_hosts");
    let known_text = known.to_str().context("the home folder's name is not UTF-8")?;
    let text = config(&ssh.address, &names, known_text).context("the server's address is none")?;
    let line = format!("{ALIAS} {}\n", ssh.host_key);
    if !write {
        print!("{text}# The server's key, for {known_text}:\n# {line}");
        return Ok(Exit::Success);
    }
    crate::settings::make_private(&folder)?;
    crate::settings::write_private(&known, line.as_bytes())?;
    crate::settings::write_private(&folder.join("config"), text.as_bytes())?;
    println!("{}", folder.join("config").display());
    eprintln!("Put `Include windlass/config` at the top of ~/.ssh/config. Then: ssh NAME.windlass");
    Ok(Exit::Success)
}

/// One block for each environment. Absent if the address is none.
fn config(address: &str, names: &[&str], known_hosts: &str) -> Option<String> {
    let address: std::net::SocketAddr = address.parse().ok()?;
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let port = address.port();
    let block = |name: &&str| {
        format!(
            "Host {name}.windlass\n  HostName {host}\n  Port {port}\n  User {name}\n  HostKeyAlias {ALIAS}\n  \
             UserKnownHostsFile \"{known_hosts}\"\n  StrictHostKeyChecking yes\n  ForwardAgent no\n\n"
        )
    };
    Some(names.iter().map(block).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_environment_has_a_block_that_trusts_only_the_servers_key() {
        let text = config("0.0.0.0:8422", &["one"], "/home/a b/known").expect("an address");
        let expected = "Host one.windlass\n  HostName 127.0.0.1\n  Port 8422\n  User one\n  \
                        HostKeyAlias windlass\n  UserKnownHostsFile \"/home/a b/known\"\n  \
                        StrictHostKeyChecking yes\n  ForwardAgent no\n\n";
        assert_eq!(text, expected);
        assert_eq!(config("nowhere", &[], ""), None);
    }
}
