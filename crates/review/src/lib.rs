//! What many changes have in common: clusters of alike changes with one exemplar each, their spread in
//! words, outliers first, and how many of a cluster to look at. Pure: no IO, no clock, no chance; the same
//! changes in any order give the same answer.
//!
//! ```text
//! summary::read(diff) -> Summary                 once for each change; small, can be kept
//! cluster::cluster(&changes) -> Vec<Cluster>     whenever somebody looks
//! sample::size(n, bad, confidence)               how many of a cluster to look at, and
//! sample::choose(&cluster, count)                which
//! ```
//!
//! A diff was written by an agent or a stranger: whatever it holds, reading it is total.

pub mod cluster;
pub mod diff;
pub mod place;
pub mod sample;
pub mod split;
pub mod summary;

mod alike;
mod outlier;
mod spread;
mod token;

pub use cluster::{Change, Cluster, Clusters, cluster};
pub use outlier::Outlier;
pub use summary::Summary;
