//! The subject: a server with many projects, hooks and automations, made before it is measured.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use windlass_run::{
    OrganisationId, ProjectId, Time, UserId,
    actor::{Actor, By},
};
use windlass_store::{
    Options, Store,
    automations::{Change, NewVersion, Origin},
    identity::{Organisation, Role, User},
    projects::Project,
};

use crate::{Arguments, load::Place};

/// How many hooks are made at once.
const AT_ONCE: usize = 16;

/// A running server.
pub(crate) struct Subject {
    folder: tempfile::TempDir,
    process: Child,
    places: Vec<Place>,
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Subject {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        furnish(arguments, folder.path()).await?;
        let windlass = arguments.windlass.as_ref().context("--windlass says what is measured")?;
        let mut process = Command::new(windlass)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["up", "--no-runner", "--listen", "127.0.0.1:0", "--database"])
            .arg(database(folder.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the server")?;
        let connection = folder.path().join("data/connection.json");
        let known = loop {
            if let Ok(bytes) = fs::read(&connection)
                && let Ok(known) = serde_json::from_slice::<Value>(&bytes)
            {
                break known;
            }
            anyhow::ensure!(process.try_wait()?.is_none(), "the server ended at once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let text = |key: &str| known[key].as_str().unwrap_or_default().to_owned();
        let mut subject = Self {
            folder,
            process,
            places: Vec::new(),
            http: reqwest::Client::builder().no_proxy().build()?,
            url: text("url"),
            token: text("token"),
        };
        subject.places = subject.hooks(arguments.projects).await?;
        Ok(subject)
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Makes a hook for each project.
    async fn hooks(&self, projects: usize) -> Result<Vec<Place>> {
        let mut places = Vec::with_capacity(projects);
        let mut next = 0;
        while next < projects {
            let some = (next..projects.min(next + AT_ONCE)).map(|n| self.hook(n));
            for place in futures::future::join_all(some).await {
                places.push(place?);
            }
            next += AT_ONCE;
        }
        Ok(places)
    }

    async fn hook(&self, n: usize) -> Result<Place> {
        let new =
            json!({ "name": format!("h{n}"), "scheme": "standard", "project": format!("p{n}") });
        let request = self.http.post(format!("{}/api/v1/hooks", self.url));
        let answer = request.bearer_auth(&self.token).json(&new).send().await?;
        let made: Value = answer.error_for_status()?.json().await?;
        let secret = made["secret"].as_str().context("a secret")?;
        let key = STANDARD.decode(secret.trim_start_matches("whsec_"))?;
        let url = made["url"].as_str().context("an address")?.to_owned();
        Ok(Place { url, key, status: 202 })
    }

    /// Waits until nothing waits to be handled.
    pub(crate) async fn wait_until_handled(&self) -> Result<()> {
        loop {
            let request =
                self.http.get(format!("{}/api/v1/events?handled=false&limit=1", self.url));
            let answer = request.bearer_auth(&self.token).send().await?;
            let page: Value = answer.error_for_status()?.json().await?;
            if page["items"].as_array().is_some_and(Vec::is_empty) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the server; counts what it kept, each once.
    pub(crate) async fn close_and_count(mut self) -> Result<usize> {
        Command::new("kill").args(["-s", "TERM", &self.process.id().to_string()]).status()?;
        let mut ended = false;
        for _ in 0..600 {
            ended = self.process.try_wait()?.is_some();
            if ended {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !ended {
            bail!("the server did not end within 12 s of SIGTERM");
        }
        let store = open(self.folder.path()).await?;
        let organisation = store.organisations().await?.pop().context("an organisation")?;
        let (mut after, mut count) = (0, 0);
        loop {
            let page = store.events_after(&organisation.id, after, 200).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            count += page.len();
        }
        store.close().await;
        Ok(count)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn database(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("bench.db").display())
}

async fn open(folder: &Path) -> Result<Store> {
    Ok(Store::open(&database(folder), Options::new(folder.join("blobs"), now()?)).await?)
}

fn now() -> Result<Time> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Time::from_micros(i64::try_from(since.as_micros())?))
}

/// An organisation with its projects and automations.
async fn furnish(arguments: &Arguments, folder: &Path) -> Result<()> {
    let (store, now) = (open(folder).await?, now()?);
    let organisation_id = OrganisationId::new(now, 1);
    let user_id = UserId::new(now, 1);
    let by = By::own(Actor::User(user_id.clone()));
    let organisation =
        Organisation { id: organisation_id.clone(), name: "bench".into(), created_at: now };
    store.create_organisation(by.clone(), organisation).await?;
    let user = User {
        id: user_id,
        organisation_id: organisation_id.clone(),
        name: "bench".into(),
        role: Role::Admin,
        password_hash: None,
        created_at: now,
        disabled_at: None,
    };
    store.create_user(by.clone(), user).await?;
    let mut changes = Vec::new();
    for n in 0..arguments.projects {
        let project = Project {
            id: ProjectId::new(now, n as u128),
            organisation_id: organisation_id.clone(),
            name: format!("p{n}"),
            forge: "local".into(),
            source: folder.join(format!("p{n}")).display().to_string(),
            default_branch: Some("main".into()),
            settings: json!({}),
            created_at: now,
            archived_at: None,
        };
        store.create_project(by.clone(), project).await?;
        for automation in 0..arguments.automations {
            changes.push(change(n, automation));
        }
    }
    store.apply_automations(by, organisation_id, changes, None, now).await?;
    store.close().await;
    Ok(())
}

/// One automation of a project: a quarter of them wait for its hook.
fn change(project: usize, automation: usize) -> Change {
    let name = format!("p{project}-a{automation}");
    let on = match automation % 4 {
        0 => format!("webhook: h{project}\n    filter: event.data.level == 'critical'"),
        1 => format!("push:\n      branches: [p{project}]"),
        2 => format!("comment: fix-{project}-{automation}"),
        _ => format!("schedule: \"{} 4 29 2 *\"", project % 60),
    };
    let text = format!(
        "name: {name}\non:\n  - {on}\ntargets:\n  repositories: [p{project}]\nsteps:\n  - id: \
         one\n    run: \"true\"\n"
    );
    let to = NewVersion { file: format!("{name}.yaml"), text, origin: Origin::Hand };
    Change { name, expected: 0, to: Some(to) }
}
