//! `windlass doctor`: what this machine can enforce, found out by trying.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result};
use windlass_sandbox::doctor::{self, Row};

use crate::{
    exit::Exit,
    settings::{self, Settings},
    terminal::{self, Style},
};

pub(crate) fn run(settings: &Settings) -> Result<Exit> {
    let scratch =
        std::env::temp_dir().join(format!("windlass-doctor-{:08x}", rand::random::<u32>()));
    settings::make_private(&scratch)?;
    let mut argv = supervisor_argv()?;
    argv.push(scratch.clone().into_os_string());
    let rows = doctor::examine(&scratch, &argv).context("failed to look");
    let _ = std::fs::remove_dir_all(&scratch);
    let mut rows = rows?;
    rows.push(engine());
    let healthy = rows.iter().all(|row| row.ok || !row.required);
    if settings.json {
        super::print_json(&rows)?;
    } else {
        print(&rows);
    }
    Ok(if healthy { Exit::Success } else { Exit::Found })
}

/// Whether the backend `oci` can be used here. The backend `process` is what all other rows are about.
fn engine() -> Row {
    let socket = std::env::var_os("WINDLASS_ENGINE_SOCKET");
    let socket = socket.map_or_else(|| PathBuf::from("/var/run/docker.sock"), PathBuf::from);
    let seen = super::wait(async { Ok(windlass_oci::engine::look(&socket).await?) });
    Row {
        check: "use the backend oci".to_owned(),
        ok: seen.is_ok(),
        required: false,
        remedy: seen.is_err().then(|| {
            "only needed for `--backend oci`: install Docker 20.10 or Podman 3, start it, and name its \
             socket with WINDLASS_ENGINE_SOCKET; images need no engine with `--backend process`"
                .to_owned()
        }),
        detail: seen.unwrap_or_else(|error| format!("{error:#}")),
    }
}

/// How a supervisor is started: the state folder follows as the last argument.
pub(crate) fn supervisor_argv() -> Result<Vec<OsString>> {
    let windlass = std::env::current_exe().context("failed to find this program's own file")?;
    Ok(vec![windlass.into_os_string(), "supervisor".into(), "--state-dir".into()])
}

fn print(rows: &[Row]) {
    let style = Style::for_stdout();
    let table = rows.iter().map(|row| {
        vec![
            style.state(if row.ok { "succeeded" } else { "failed" }),
            row.check.clone(),
            terminal::one_line(&row.detail, 90),
        ]
    });
    terminal::table(&["", "tried", "seen"], &table.collect::<Vec<_>>());
    for row in rows.iter().filter(|row| !row.ok) {
        if let Some(remedy) = &row.remedy {
            println!("\n{}:\n  {remedy}", row.check);
        }
    }
}
