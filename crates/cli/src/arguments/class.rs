//! `windlass class`.

use clap::{Args, Subcommand, ValueEnum};

/// `windlass class`
#[derive(Debug, Subcommand)]
pub(crate) enum Class {
    /// List them: what each gives, and which runners have it.
    List,
    /// Show one.
    Show {
        /// Its name.
        class: String,
    },
    /// Make one, for all projects.
    Create {
        /// Its name: a letter, then a-z, 0-9 and `-`.
        class: String,
        #[command(flatten)]
        gives: Gives,
    },
    /// Change what one gives to whatever is made from now on. `default` can be changed too.
    Set {
        /// Its name.
        class: String,
        #[command(flatten)]
        gives: Gives,
    },
    /// Remove one; `default` becomes what it was at first.
    Remove {
        /// Its name.
        class: String,
    },
}

/// What a class gives.
#[derive(Debug, Args)]
pub(crate) struct Gives {
    /// Processors, such as 2 or 0.5; 0: what the runner's operator says.
    #[arg(long, value_name = "N", value_parser = millis)]
    pub(crate) cpus: Option<u32>,
    /// Memory in MiB; 0: what the runner's operator says.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: Option<u64>,
    /// Disk for work tree, home folder and volumes, in MiB; 0: no limit.
    #[arg(long, value_name = "MIB")]
    pub(crate) disk_mib: Option<u64>,
    /// Processes and threads; 0: what the runner's operator says.
    #[arg(long, value_name = "N")]
    pub(crate) processes: Option<u32>,
    /// Whether the runner must have a graphics processor, by its label `gpu`.
    #[arg(long, value_name = "YES|NO", value_parser = super::yes_or_no)]
    pub(crate) gpu: Option<bool>,
    /// By which backend its environments are made.
    #[arg(long, value_enum, value_name = "BACKEND")]
    pub(crate) backend: Option<OfBackend>,
    /// A label that a runner must have; repeatable, in place of those before; `none` for none.
    #[arg(long = "runs-on", value_name = "LABEL")]
    pub(crate) runs_on: Vec<String>,
}

/// A backend that a class asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OfBackend {
    /// Any.
    Any,
    /// The kernel's own means, without a container engine.
    Process,
    /// A container engine.
    Oci,
}

/// Processors in thousandths.
fn millis(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no number of processors: write 2, 1.5 or 0.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 3 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1000).and_then(|millis| millis.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_may_be_parts_of_one() {
        assert_eq!(["2", "0.5", "1.25", "0", "0.001"].map(millis), [2000, 500, 1250, 0, 1].map(Ok));
        for wrong in ["", ".5", "1.", "1.2345", "-1", "two", "99999999"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }
}
