//! `windlass fleet`

use clap::{Args, Subcommand};

/// `windlass fleet`
#[derive(Debug, Subcommand)]
pub(crate) enum Fleet {
    /// List fleets, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on after the page before: what that printed at its end.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one: rings, failures, what it waits for, what it spent, what was done.
    Show {
        /// The run.
        run: String,
    },
    /// Watch one until all its jobs have ended. Exits as the run ends.
    Watch {
        /// The run.
        run: String,
    },
    /// List targets, in the order in which they are begun.
    Targets(ListTargets),
    /// Begin nothing more until somebody says so. What runs goes on.
    Pause(Because),
    /// Go on. After a stop by a rule, the rules count anew.
    Resume {
        /// The run.
        run: String,
    },
    /// Stop for good, and tell what runs to stop.
    Cancel(Because),
    /// Open the next ring though something is unmet.
    Advance(Because),
    /// Plan failed targets again: all but those that somebody cancelled, unless one of these is named.
    Retry(Retry),
    /// Show what the changes have in common; with a cluster, its changes and a sample to look at.
    Clusters {
        /// The run.
        run: String,
        /// The cluster.
        cluster: Option<String>,
    },
    /// Split changes off their clusters.
    Split {
        /// The run.
        run: String,
        /// What the new cluster is called.
        name: String,
        /// The targets whose changes it has.
        #[arg(long = "target", value_name = "TARGET", required = true)]
        targets: Vec<u32>,
    },
    /// Approve the changes of a cluster, without its outliers, or of targets.
    Approve(Operate),
    /// Send changes back, with what is wrong.
    SendBack(Operate),
    /// Merge what is approved.
    Merge(Operate),
    /// Close what is open.
    Close(Operate),
}

/// A fleet, and why.
#[derive(Debug, Args)]
pub(crate) struct Because {
    /// The run.
    pub(crate) run: String,
    /// Why, for those who read it later.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

/// Which targets are listed.
#[derive(Debug, Args)]
pub(crate) struct ListTargets {
    /// The run.
    pub(crate) run: String,
    /// Only those of this ring, from 1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ring: Option<u16>,
    /// Only those that stand so: planned, running, succeeded, skipped, failed, gave_up, cancelled.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only those with this trouble: red, conflict, unreachable, gave_up, limit, platform, stopped, other.
    #[arg(long)]
    pub(crate) trouble: Option<String>,
    /// Only those whose failure is counted as this.
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only those whose change is in this cluster.
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Only those whose change stands so: open, sent_back, approved, merged, closed.
    #[arg(long)]
    pub(crate) change: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
    /// Go on after the page before: what that printed at its end.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// Which failed targets are planned again.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The run.
    pub(crate) run: String,
    /// Only those whose failure is counted as this.
    #[arg(long, conflicts_with = "trouble")]
    pub(crate) kind: Option<String>,
    /// Only those with this trouble: red, conflict, unreachable, gave_up, limit, platform, stopped, other.
    #[arg(long)]
    pub(crate) trouble: Option<String>,
    /// What the new jobs are told beside the old task.
    #[arg(long)]
    pub(crate) instruction: Option<String>,
}

/// To which changes something is done.
#[derive(Debug, Args)]
pub(crate) struct Operate {
    /// The run.
    pub(crate) run: String,
    /// Only the changes of this cluster.
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Only the change of this target. Can be given more than once.
    #[arg(long = "target", value_name = "TARGET")]
    pub(crate) targets: Vec<u32>,
    /// With a cluster: its outliers too.
    #[arg(long)]
    pub(crate) outliers: bool,
    /// What is said with it.
    #[arg(long, short = 'm', default_value = "")]
    pub(crate) message: String,
    /// How is merged: merge, squash or rebase.
    #[arg(long, default_value = "merge")]
    pub(crate) method: String,
    /// Return at once instead of waiting until all are through.
    #[arg(long)]
    pub(crate) detach: bool,
}
