//! Users and service tokens. One file per endpoint.

mod create_token;
mod invite;
mod list_tokens;
mod list_users;
mod revoke_token;

use crate::endpoint::Endpoint;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        list_users::endpoint(),
        invite::endpoint(),
        list_tokens::endpoint(),
        create_token::endpoint(),
        revoke_token::endpoint(),
    ]
}
