//! Who asks which registry: the `auths` of a file like Docker's own `config.json`. What else stands in such
//! a file (helpers that would be programs to start) is not done, and said.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use windlass_sandbox::backend::Login;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

/// Reads the file. Nothing of what it holds is in an error.
pub(crate) fn read(file: &Path) -> Result<BTreeMap<String, Option<Login>>> {
    let text = fs::read(file).with_context(|| {
        format!("failed to read the logins of registries in {}", file.display())
    })?;
    parse(&text).with_context(|| format!("failed to understand {}", file.display()))
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, Option<Login>>> {
    // The error of a parser would show what it stumbled over.
    let Ok(file) = serde_json::from_slice::<File>(text) else {
        bail!(
            "it isn't JSON like Docker's config.json: {{\"auths\": {{\"HOST\": {{\"auth\": \"BASE64\"}}}}}}"
        );
    };
    if file.creds_store.is_some() || !file.cred_helpers.is_empty() {
        bail!(
            "`credsStore` and `credHelpers` name programs, which are not started: put the login into `auths`"
        );
    }
    file.auths
        .into_iter()
        .map(|(host, auth)| {
            let login = login(&host, auth)?;
            Ok((plain(&host), login))
        })
        .collect()
}

fn login(host: &str, auth: Auth) -> Result<Option<Login>> {
    if let (Some(user), Some(password)) = (auth.username, auth.password) {
        return Ok(Some(Login { user, password, realm: String::new() }));
    }
    let Some(auth) = auth.auth.filter(|auth| !auth.is_empty()) else { return Ok(None) };
    let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => Ok(Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
            realm: String::new(),
        })),
        None => bail!("the `auth` of `{host}` isn't `user:password` in base 64"),
    }
}

/// The host of a key, which Docker writes as an address for its own registry.
fn plain(key: &str) -> String {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match host.split('/').next().unwrap_or(host) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_their_registry() {
        let text = r#"{ "auths": {
            "https://index.docker.io/v1/": { "auth": "YWRhOmxvdmU6bGFjZQ==" },
            "ghcr.io": { "username": "bob", "password": "builder" },
            "127.0.0.1:5000": {}
        } }"#;
        let login = |user: &str, password: &str| {
            Some(Login {
                user: user.to_owned(),
                password: password.to_owned(),
                realm: String::new(),
            })
        };
        let expected = [
            ("127.0.0.1:5000", None),
            ("docker.io", login("ada", "love:lace")),
            ("ghcr.io", login("bob", "builder")),
        ];
        let expected = expected.map(|(host, login)| (host.to_owned(), login));
        assert!(parse(text.as_bytes()).unwrap() == expected.into());
    }

    #[test]
    fn what_can_not_be_understood_is_refused_without_showing_it() {
        for text in [
            r#"{ "auths": { "a": { "auth": "c2VjcmV0" } } }"#,
            r#"{ "auths": { "a": { "auth": ["c2VjcmV0"] } } }"#,
            r#"{ "credsStore": "secretservice" }"#,
        ] {
            let said = format!("{:#}", parse(text.as_bytes()).err().unwrap());
            assert!(!said.contains("c2VjcmV0") && !said.contains("secretservice"), "{said}");
        }
    }
}
