//! Users, service tokens and runners. One file per endpoint.

mod list_users;
mod invite;
mod list_tokens;
mod create_token;
mod revoke_token;
mod list_runners;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list_users::endpoint(),
        invite::endpoint(),
        list_tokens::endpoint(),
        create_token::endpoint(),
        revoke_token::endpoint(),
        list_runners::endpoint(),
    ]
}
