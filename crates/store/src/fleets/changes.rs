//! The changes of a fleet, what was read of their diffs, and what they were found to have in common. What a
//! summary or a cluster is, is for whoever makes them.

use serde_json::Value;
use windlass_run::{OrganisationId, ProjectId, RunId, Time, actor::By};

use crate::{
    Error, Store,
    database::Row,
    fleets::{FleetRow, command},
    writer::tx::{Tx, who},
};

/// A change of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeOf {
    /// The target.
    pub ordinal: u32,
    /// The project.
    pub project_id: ProjectId,
    /// What people call the repository.
    pub repository: String,
    /// The pull request.
    pub pull_number: u64,
    /// How it stands.
    pub review: String,
    /// The commit that it brings.
    pub head_commit: String,
    /// The cluster that it was in last.
    pub cluster: Option<String>,
    /// What was read of its diff, as JSON; absent if it was not read yet.
    pub summary: Option<String>,
}

/// What changes have in common, as it was found last.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// What people split off.
    pub splits: Value,
    /// What was found.
    pub clusters: Value,
    /// Of what it was found: the changes' heads, and what was split off.
    pub digest: String,
    /// When.
    pub at: Time,
}

impl Store {
    /// The changes of a fleet, in the order of its targets.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn changes_of(&self, fleet: &FleetRow) -> Result<Vec<ChangeOf>, Error> {
        let sql = "SELECT t.ordinal, t.project_id, t.repository, t.pull_number, t.review, \
                   p.head_commit, t.cluster, s.summary FROM targets t \
                   JOIN pulls p ON p.project_id = t.project_id AND p.number = t.pull_number \
                   LEFT JOIN change_summaries s ON s.project_id = t.project_id \
                   AND s.commit_id = p.head_commit \
                   WHERE t.run_number = $1 AND t.review IS NOT NULL ORDER BY t.ordinal";
        let rows = self.query(sql, vec![fleet.number.into()]).await?;
        let change = |mut row: Row| {
            Ok(ChangeOf {
                ordinal: row.small(0)?,
                project_id: row.parsed(1)?,
                repository: row.text(2)?,
                pull_number: row.natural(3)?,
                review: row.text(4)?,
                head_commit: row.text(5)?,
                cluster: row.maybe_text(6)?,
                summary: row.maybe_text(7)?,
            })
        };
        rows.into_iter().map(change).collect()
    }

    /// Keeps what was read of diffs: project, commit, and it as JSON.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn keep_summaries(
        &self,
        summaries: Vec<(ProjectId, String, String)>,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            for (project_id, commit, summary) in &summaries {
                tx.write(
                    "INSERT INTO change_summaries (project_id, commit_id, summary) \
                     VALUES ($1, $2, $3) ON CONFLICT (project_id, commit_id) DO NOTHING",
                    &[project_id.as_str().into(), commit.into(), summary.into()],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// What a fleet's changes were found to have in common; absent if nobody looked yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn clusters(&self, fleet: &FleetRow) -> Result<Option<Clusters>, Error> {
        let sql = "SELECT splits, clusters, digest, at FROM fleet_clusters WHERE run_number = $1";
        let mut rows = self.query(sql, vec![fleet.number.into()]).await?;
        let Some(row) = rows.first_mut() else { return Ok(None) };
        Ok(Some(Clusters {
            splits: row.json(0)?,
            clusters: row.json(1)?,
            digest: row.text(2)?,
            at: row.time(3)?,
        }))
    }

    /// Keeps what was found. `assigned` has the targets whose cluster is another one now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn keep_clusters(
        &self,
        fleet: &FleetRow,
        clusters: Clusters,
        assigned: Vec<(u32, String)>,
    ) -> Result<(), Error> {
        let number = fleet.number;
        self.command(move |tx| keep(tx, number, &clusters, &assigned)).await
    }

    /// Keeps what somebody split off. What the changes have in common is to be found anew.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn keep_splits(
        &self,
        by: By,
        organisation_id: OrganisationId,
        run_id: RunId,
        splits: Value,
        now: Time,
    ) -> Result<(), Error> {
        let by = who(&by);
        self.command(move |tx| {
            let fleet = command::own(tx, &organisation_id, &run_id)?;
            tx.write(
                "INSERT INTO fleet_clusters (run_number, splits, clusters, digest, at) \
                 VALUES ($1, $2, '[]', '', $3) ON CONFLICT (run_number) DO UPDATE SET \
                 splits = excluded.splits, digest = ''",
                &[fleet.run_number.into(), splits.to_string().into(), now.into()],
            )?;
            let subject = run_id.to_string();
            tx.audit(&by, &organisation_id, "fleet.split", subject, splits.to_string(), now);
            Ok(())
        })
        .await
    }
}

fn keep(
    tx: &mut Tx<'_>,
    run_number: u64,
    clusters: &Clusters,
    assigned: &[(u32, String)],
) -> Result<(), Error> {
    // What somebody split off meanwhile stays: whoever looks next finds another digest.
    tx.write(
        "INSERT INTO fleet_clusters (run_number, splits, clusters, digest, at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (run_number) DO UPDATE SET \
         clusters = excluded.clusters, digest = excluded.digest, at = excluded.at",
        &[
            run_number.into(),
            clusters.splits.to_string().into(),
            clusters.clusters.to_string().into(),
            (&clusters.digest).into(),
            clusters.at.into(),
        ],
    )?;
    for (ordinal, cluster) in assigned {
        tx.write(
            "UPDATE targets SET cluster = $1 WHERE run_number = $2 AND ordinal = $3",
            &[cluster.into(), run_number.into(), (*ordinal).into()],
        )?;
    }
    Ok(())
}
