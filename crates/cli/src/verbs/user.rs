//! `windlass user`: local users and their sign-in links.

use anyhow::Result;
use windlass_wire::api::{
    Page,
    account::{Invited, NewUser, User},
};

use crate::{arguments, client::Client, exit::Exit, settings::Settings, terminal};

pub(crate) async fn run(settings: &Settings, verb: arguments::User) -> Result<Exit> {
    let client = Client::find(settings).await?;
    match verb {
        arguments::User::Invite { name, role } => {
            let new = NewUser { name, role: role.into() };
            let invited: Invited = client.post("/api/v1/users", &new).await?;
            if settings.json {
                super::print_json(&invited)?;
            } else {
                println!("{}", invited.sign_in_link);
                eprintln!("It signs {} in once.", terminal::one_line(&invited.user.name, 64));
            }
        }
        arguments::User::List => {
            let page: Page<User> = client.query("/api/v1/users", &[("limit", "200")]).await?;
            if settings.json {
                super::print_json(&page)?;
            } else {
                let rows = page.items.iter().map(|user| {
                    vec![
                        terminal::one_line(&user.name, 64),
                        format!("{:?}", user.role).to_lowercase(),
                    ]
                });
                terminal::table(&["user", "role"], &rows.collect::<Vec<_>>());
            }
        }
    }
    Ok(Exit::Success)
}
