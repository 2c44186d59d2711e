//! Roles as the store, the API and the policy spell them. The policy's is the one that decides.

use windlass_policy::permission::Role;
use windlass_store::identity::Role as Stored;
use windlass_wire::api::account::Role as Wire;

/// The policy's role of a stored one.
pub(crate) fn from_store(role: Stored) -> Role {
    match role {
        Stored::Viewer => Role::Viewer,
        Stored::Operator => Role::Operator,
        Stored::Reviewer => Role::Reviewer,
        Stored::Admin => Role::Admin,
        Stored::Runner => Role::Runner,
    }
}

/// The stored role of one that the API was given.
pub(crate) fn to_store(role: Wire) -> Stored {
    match role {
        Wire::Viewer => Stored::Viewer,
        Wire::Operator => Stored::Operator,
        Wire::Reviewer => Stored::Reviewer,
        Wire::Admin => Stored::Admin,
        Wire::Runner => Stored::Runner,
    }
}

/// The API's role of a stored one.
pub(crate) fn to_wire(role: Stored) -> Wire {
    match role {
        Stored::Viewer => Wire::Viewer,
        Stored::Operator => Wire::Operator,
        Stored::Reviewer => Wire::Reviewer,
        Stored::Admin => Wire::Admin,
        Stored::Runner => Wire::Runner,
    }
}
