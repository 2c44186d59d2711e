//! `windlass key`: public keys for SSH into environments.

use anyhow::{Context as _, Result};
use windlass_wire::api::account::{Key, NewKey};

use crate::{arguments, client::Client, exit::Exit, settings::Settings, terminal};

pub(crate) async fn run(settings: &Settings, verb: arguments::Key) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        arguments::Key::Add { file, name } => {
            let file = match file {
                Some(file) => file,
                None => super::home()?.join(".ssh/id_ed25519.pub"),
            };
            let public_key = std::fs::read_to_string(&file).with_context(|| {
                format!("failed to read {}: `ssh-keygen -t ed25519` makes a key", file.display())
            })?;
            if public_key.contains("PRIVATE KEY") {
                let why = "that is a private key, which nobody else may see: name the file that ends in .pub";
                return Err(Exit::Failure.error(why));
            }
            let added: Key = client.post("/api/v1/keys", &NewKey { public_key, name }).await?;
            if settings.json {
                super::print_json(&added)?;
            } else {
                println!("{}", added.id);
            }
        }
        arguments::Key::List => {
            let keys: Vec<Key> = client.get("/api/v1/keys").await?;
            if settings.json {
                super::print_json(&keys)?;
                return Ok(Exit::Success);
            }
            let rows = keys.iter().map(|key| {
                let kind = key.public_key.split(' ').next().unwrap_or_default();
                vec![
                    key.id.clone(),
                    terminal::one_line(kind, 40),
                    terminal::one_line(&key.name, 64),
                ]
            });
            terminal::table(&["key", "kind", "name"], &rows.collect::<Vec<_>>());
        }
        arguments::Key::Remove { id } => {
            let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_id {
                let why = "a key is named by its id: see `windlass key list`";
                return Err(Exit::Failure.error(why));
            }
            client.command(reqwest::Method::DELETE, &format!("/api/v1/keys/{id}")).await?;
        }
    }
    Ok(Exit::Success)
}
