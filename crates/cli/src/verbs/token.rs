//! `windlass token`: service tokens.

use anyhow::Result;
use windlass_wire::api::{
    Page,
    account::{CreatedToken, NewToken, Role, Token},
};

use crate::{arguments, client::Client, exit::Exit, settings::Settings, terminal};

pub(crate) async fn run(settings: &Settings, verb: arguments::Token) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        arguments::Token::Create { name, role, days } => {
            let expires_in = days.map(|days| days * 86_400);
            let new = NewToken { name, role: role.into(), expires_in };
            let created: CreatedToken = client.post("/api/v1/tokens", &new).await?;
            if settings.json {
                super::print_json(&created)?;
            } else {
                println!("{}", created.secret);
                eprintln!("It is shown only this once. Keep it in a file that only you can read.");
            }
        }
        arguments::Token::List => {
            let page: Page<Token> = client.query("/api/v1/tokens", &[("limit", "200")]).await?;
            if settings.json {
                super::print_json(&page)?;
            } else {
                let rows = page.items.iter().map(|token| {
                    vec![
                        token.id.to_string(),
                        format!("{:?}", token.role).to_lowercase(),
                        terminal::one_line(&token.name, 64),
                    ]
                });
                terminal::table(&["token", "role", "for"], &rows.collect::<Vec<_>>());
            }
        }
        arguments::Token::Revoke { id } => {
            client.command(reqwest::Method::DELETE, &format!("/api/v1/tokens/{id}")).await?;
        }
    }
    Ok(Exit::Success)
}

impl From<arguments::Role> for Role {
    fn from(role: arguments::Role) -> Self {
        match role {
            arguments::Role::Viewer => Self::Viewer,
            arguments::Role::Operator => Self::Operator,
            arguments::Role::Reviewer => Self::Reviewer,
            arguments::Role::Admin => Self::Admin,
            arguments::Role::Runner => Self::Runner,
        }
    }
}
