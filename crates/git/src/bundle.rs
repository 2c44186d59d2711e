//! Bundles: a piece of history in one file. A thin bundle holds what one commit has and its base
//! has not; it is how a checkpoint leaves a runner. A bundle from elsewhere is checked like any
//! other transfer, and only the one reference that is expected is taken from it.

use std::path::Path;

use crate::repository::{Expected, check_absolute};
use crate::{Error, Oid, RefName, Repository, Result};

impl Repository {
    /// Writes what `reference` has and the commits in `without` have not to `file`. False, and no
    /// file, if there is nothing to write.
    pub async fn create_bundle(
        &self,
        file: &Path,
        reference: &RefName,
        without: &[Oid],
    ) -> Result<bool> {
        check_absolute(file)?;
        let tip = self
            .reference(reference)
            .await?
            .ok_or_else(|| Error::Missing { what: format!("reference {reference}") })?;
        if without.contains(&tip) {
            return Ok(false);
        }
        self.call(format!("bundle {reference}"))
            .args(["bundle", "create", "--quiet", "--version=2"])
            .arg(file)
            .arg(reference.as_str())
            .args(without.iter().map(|id| format!("^{id}")))
            .limit(self.git().options().transfer_limit)
            .run()
            .await?;
        Ok(true)
    }

    /// Takes `reference` out of a bundle, where it must be `tip`. The objects are checked, and what
    /// the bundle builds on must be here already.
    pub async fn apply_bundle(&self, file: &Path, reference: &RefName, tip: &Oid) -> Result<()> {
        check_absolute(file)?;
        if !file.is_file() {
            return Err(Error::Missing { what: format!("the bundle {}", file.display()) });
        }
        let heads =
            self.call("read a bundle").args(["bundle", "list-heads"]).arg(file).run().await?;
        let wanted = format!("{tip} {reference}");
        if !heads.text().lines().any(|line| line == wanted) {
            return Err(Error::Missing { what: format!("{reference} at {tip} in the bundle") });
        }
        // Fetched to no reference at first: what the reference may replace is decided by us.
        self.call(format!("take {reference} out of a bundle"))
            .config("protocol.file.allow", "always")
            .args([
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-auto-maintenance",
            ])
            .arg(file)
            .arg(reference.as_str())
            .limit(self.git().options().transfer_limit)
            .run()
            .await
            .map_err(|error| match error {
                Error::Failed { detail, .. } if detail.contains("lacks these prerequisite") => {
                    Error::Missing {
                        what: format!("a commit that the bundle builds on ({detail})"),
                    }
                }
                error => error,
            })?;
        self.update_reference(reference, tip, Expected::Anything).await
    }
}
