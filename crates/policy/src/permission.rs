//! Who may do what: one table of roles and actions. Every door of the product (API, pages, CLI,
//! runner protocol) asks [`allows`]; none keeps a rule of its own. The table is rendered into
//! `tests/permissions.golden`, so that a change of rights is seen in review.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a principal is within an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Starts and steers work.
    Operator,
    /// Judges and lands work, and can steer it.
    Reviewer,
    /// Everything a person can do.
    Admin,
    /// The service principal of a runner: leases work and reports on it, and nothing else. Never
    /// given to a person.
    Runner,
}

impl Role {
    /// All roles, in the table's order.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Operator, Self::Reviewer, Self::Admin, Self::Runner];

    /// The role's name as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Reviewer => "reviewer",
            Self::Admin => "admin",
            Self::Runner => "runner",
        }
    }

    /// The role of this name, where there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Defines [`Action`] with its names and the table in one place, so that an action without a row
/// cannot exist.
macro_rules! table {
    ($( $(#[doc = $doc:literal])+ $action:ident = $name:literal : $($role:ident)|+ ; )+) => {
        /// Something that a principal may or may not do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Action { $( $(#[doc = $doc])+ $action, )+ }

        impl Action {
            /// All actions, in the table's order.
            pub const ALL: &[Self] = &[ $( Self::$action, )+ ];

            /// The action's name as it is stored and shown.
            pub fn name(self) -> &'static str {
                match self { $( Self::$action => $name, )+ }
            }
        }

        const TABLE: &[(Action, &[Role])] = &[ $( (Action::$action, &[ $( Role::$role, )+ ]), )+ ];
    };
}

table! {
    /// Read projects, runs, jobs, sessions, logs, changes and evidence.
    View = "view": Viewer | Operator | Reviewer | Admin;
    /// Read settings that are not secret: policy, members, runners, tokens' names.
    ViewSettings = "view_settings": Operator | Reviewer | Admin;
    /// Read the audit log.
    ViewAudit = "view_audit": Reviewer | Admin;
    /// Start a run or a one-off task.
    StartRun = "start_run": Operator | Reviewer | Admin;
    /// Cancel a run or a job.
    CancelRun = "cancel_run": Operator | Reviewer | Admin;
    /// Let a fleet wait, go on, or begin its next ring.
    SteerFleet = "steer_fleet": Operator | Reviewer | Admin;
    /// Run an ended job again, or continue it.
    RetryRun = "retry_run": Operator | Reviewer | Admin;
    /// Answer what a waiting step asks of a person.
    AnswerStep = "answer_step": Operator | Reviewer | Admin;
    /// Send a follow-up prompt to an agent.
    SteerAgent = "steer_agent": Operator | Reviewer | Admin;
    /// Comment on a change.
    Comment = "comment": Operator | Reviewer | Admin;
    /// Approve a change. That nobody approves a change alone that they asked for is decided apart.
    Approve = "approve": Reviewer | Admin;
    /// Ask for another round of a change.
    RequestChanges = "request_changes": Operator | Reviewer | Admin;
    /// Merge a change.
    Merge = "merge": Reviewer | Admin;
    /// Close or reopen a change without merging it.
    CloseChange = "close_change": Operator | Reviewer | Admin;
    /// Create environments, and use, stop and delete one's own.
    UseEnvironments = "use_environments": Operator | Reviewer | Admin;
    /// Use, stop and delete other people's environments.
    ManageEnvironments = "manage_environments": Admin;
    /// Add, change or remove automations on the server.
    ManageAutomation = "manage_automation": Operator | Admin;
    /// Add, change or remove projects.
    ManageProject = "manage_project": Admin;
    /// Set or remove secrets and variables of the organisation and of projects. Nobody reads a
    /// secret back.
    ManageSecrets = "manage_secrets": Admin;
    /// Set or remove one's own secrets and variables: only jobs that one starts are given them.
    ManageOwnSecrets = "manage_own_secrets": Operator | Reviewer | Admin;
    /// Change the organisation's policy and budgets.
    ManagePolicy = "manage_policy": Admin;
    /// Connect, change or remove forges and model providers.
    ManageConnection = "manage_connection": Admin;
    /// Make and revoke service tokens.
    ManageTokens = "manage_tokens": Admin;
    /// Make and revoke one's own personal tokens, never with more rights than one has.
    ManageOwnTokens = "manage_own_tokens": Viewer | Operator | Reviewer | Admin;
    /// Invite, change or remove people.
    ManageUsers = "manage_users": Admin;
    /// Register, drain or remove runners.
    ManageRunner = "manage_runner": Admin;
    /// Stop everything.
    KillSwitch = "kill_switch": Operator | Reviewer | Admin;
    /// Start again after everything was stopped.
    ReleaseKillSwitch = "release_kill_switch": Admin;
    /// Lease jobs and renew the lease.
    Lease = "lease": Runner;
    /// Send the events, logs, blobs and checkpoints of a leased job.
    ReportJob = "report_job": Runner;
    /// Keep environments that live by themselves, and let their owners in.
    KeepEnvironments = "keep_environments": Runner;
    /// Receive the sealed secrets of a leased job.
    ReceiveSecrets = "receive_secrets": Runner;
    /// Fetch the target of a leased job from the local forge, and push that job's branches.
    UseJobRepository = "use_job_repository": Runner;
    /// Take a granted effect and record what became of it.
    ExecuteEffect = "execute_effect": Runner;
}

/// True if the role may do it. What is not in the table is refused.
pub fn allows(role: Role, action: Action) -> bool {
    TABLE.iter().any(|(row, roles)| *row == action && roles.contains(&role))
}

/// The whole table as text, one action a line, for people and for the golden file.
pub fn render() -> String {
    let mut text = format!("{:<22}", "action");
    for role in Role::ALL {
        text.push_str(&format!("{:<10}", role.name()));
    }
    let mut lines = vec![text.trim_end().to_owned()];
    for action in Action::ALL {
        let mut line = format!("{:<22}", action.name());
        for role in Role::ALL {
            line.push_str(&format!("{:<10}", if allows(role, *action) { "yes" } else { "-" }));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
