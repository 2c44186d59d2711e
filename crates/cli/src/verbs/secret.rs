//! `windlass secret` and `windlass variable`. A value is read from standard input, a terminal without
//! echo, or a file; it is never an argument, and never printed.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, Result};
use windlass_wire::api::{
    Page,
    secret::{
        Secret, SecretDoor, SecretForm, SecretGrants, SecretKind, SecretRegistry, SecretScope,
        SecretValue, SetSecret,
    },
};

use crate::{arguments, client::Client, exit::Exit, settings::Settings, terminal};

/// The most bytes that are read of a value: more than the server takes, so that it can say so.
const MOST: u64 = 1 << 20;

pub(crate) async fn run(
    settings: &Settings,
    kind: SecretKind,
    verb: arguments::Secret,
) -> Result<Exit> {
    match verb {
        arguments::Secret::Set(set) => self::set(settings, kind, *set).await,
        arguments::Secret::List { project, user } => list(settings, kind, project, user).await,
        arguments::Secret::Rm { name, project, user } => {
            remove(settings, kind, &name, project, user).await
        }
    }
}

async fn set(settings: &Settings, kind: SecretKind, set: arguments::SetSecret) -> Result<Exit> {
    // Before a value is typed in: is there anybody to take it?
    let client = Client::find(settings).await?;
    let form = match (set.file, set.door, set.env) {
        _ if set.registry.is_some() => {
            let (host, user) = (set.registry.unwrap_or_default(), set.login.unwrap_or_default());
            Some(SecretForm::Registry(SecretRegistry { host, user }))
        }
        (Some(path), ..) => Some(SecretForm::File { path, mode: set.mode }),
        (None, Some(url), _) => Some(SecretForm::Door(SecretDoor {
            url,
            header: set.header,
            template: set.template,
            user: set.basic,
            methods: match set.method.as_slice() {
                [] => ["GET", "HEAD"].map(str::to_owned).to_vec(),
                [..] => set.method.iter().map(|method| method.to_ascii_uppercase()).collect(),
            },
        })),
        (None, None, true) => Some(SecretForm::Environment),
        (None, None, false) => None,
    };
    let has_limits = set.everywhere
        || set.beside_agents
        || !(set.grant_project.is_empty() && set.branch.is_empty() && set.step.is_empty());
    let new = SetSecret {
        kind,
        value: SecretValue(value(&set.name, set.from_file.as_deref())?),
        name: set.name,
        scope: scope(set.project.as_deref(), set.user),
        project: set.project,
        form,
        grants: has_limits.then_some(SecretGrants {
            projects: set.grant_project,
            branches: set.branch,
            steps: set.step,
            beside_agents: set.beside_agents,
        }),
    };
    let secret: Secret = client.put("/api/v1/secrets", &new).await?;
    if settings.json {
        super::print_json(&secret)?;
    } else {
        let (name, version) = (terminal::one_line(&secret.name, 128), secret.version);
        println!("{} {name} is set, version {version}: {}", word(kind), seen_as(&secret));
    }
    Ok(Exit::Success)
}

async fn list(
    settings: &Settings,
    kind: SecretKind,
    project: Option<String>,
    user: bool,
) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let scope = (project.is_some() || user).then(|| scope(project.as_deref(), user));
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", "200".to_owned()), ("kind", word(kind).to_owned())];
        query.extend(scope.map(|scope| ("scope", scope_word(scope).to_owned())));
        query.extend(project.clone().map(|project| ("project", project)));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page<Secret> = client.query("/api/v1/secrets", &query).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if settings.json {
        super::print_json(&Page { items, next: None })?;
        return Ok(Exit::Success);
    }
    let rows = items.iter().map(|secret| {
        let mut row = vec![
            terminal::one_line(&secret.name, 64),
            owner(secret),
            format!("{}", secret.version),
            seen_as(secret),
            limits(&secret.grants),
        ];
        row.extend(secret.value.as_ref().map(|value| terminal::one_line(value, 60)));
        row
    });
    let mut head = vec!["name", "of", "version", "as", "where"];
    head.extend((kind == SecretKind::Variable).then_some("value"));
    terminal::table(&head, &rows.collect::<Vec<_>>());
    Ok(Exit::Success)
}

async fn remove(
    settings: &Settings,
    kind: SecretKind,
    name: &str,
    project: Option<String>,
    user: bool,
) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let scope = scope(project.as_deref(), user);
    let mut query =
        vec![("kind", word(kind)), ("name", name), ("scope", scope_word(scope)), ("limit", "200")];
    query.extend(project.as_deref().map(|project| ("project", project)));
    let page: Page<Secret> = client.query("/api/v1/secrets", &query).await?;
    match page.items.as_slice() {
        [secret] => {
            let path = format!("/api/v1/secrets/{}", secret.id);
            client.command(reqwest::Method::DELETE, &path).await?;
            Ok(Exit::Success)
        }
        [] => {
            let whose = scope_word(scope);
            let why = format!("there is no {} {name} of the {whose}", word(kind));
            Err(Exit::Failure.error(format!("{why}: see `windlass {} list`", word(kind))))
        }
        [..] => Err(Exit::Failure.error(format!(
            "several users have a {} {name}: remove it by its id, as DELETE /api/v1/secrets/ID",
            word(kind)
        ))),
    }
}

/// The value, from wherever it comes.
fn value(name: &str, from_file: Option<&std::path::Path>) -> Result<String> {
    if let Some(path) = from_file {
        let file = std::fs::File::open(path)
            .with_context(|| format!("failed to open {}", path.display()))?;
        return text(file, &path.display().to_string());
    }
    if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(format!("{name}: "));
        return typed.context("failed to read from the terminal");
    }
    let mut value = text(std::io::stdin(), "standard input")?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

fn text(from: impl std::io::Read, place: &str) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST).read_to_end(&mut bytes).with_context(|| format!("failed to read {place}"))?;
    // The bytes are not told: they are the secret.
    String::from_utf8(bytes).map_err(|_| {
        Exit::Failure.error(format!("{place} is not UTF-8 text: encode bytes as base64"))
    })
}

fn scope(project: Option<&str>, user: bool) -> SecretScope {
    match (project, user) {
        (Some(_), _) => SecretScope::Project,
        (None, true) => SecretScope::User,
        (None, false) => SecretScope::Organisation,
    }
}

fn scope_word(scope: SecretScope) -> &'static str {
    match scope {
        SecretScope::Organisation => "organisation",
        SecretScope::Project => "project",
        SecretScope::User => "user",
    }
}

fn word(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Secret => "secret",
        SecretKind::Variable => "variable",
    }
}

fn owner(secret: &Secret) -> String {
    match (&secret.project, &secret.user) {
        (Some(project), _) => format!("project {}", terminal::one_line(project, 64)),
        (None, Some(user)) => format!("user {}", terminal::one_line(&user.name, 64)),
        (None, None) => "organisation".to_owned(),
    }
}

fn seen_as(secret: &Secret) -> String {
    match &secret.form {
        SecretForm::Environment => format!("${}", terminal::one_line(&secret.name, 64)),
        SecretForm::File { path, mode } => format!("{} {mode}", terminal::one_line(path, 96)),
        SecretForm::Registry(login) => format!(
            "login of {} as {}",
            terminal::one_line(&login.host, 96),
            terminal::one_line(&login.user, 60)
        ),
        SecretForm::Door(door) => format!(
            "door to {} ({})",
            terminal::one_line(&door.url, 96),
            terminal::one_line(&door.methods.join(", "), 60)
        ),
    }
}

fn limits(grants: &SecretGrants) -> String {
    let lists =
        [("projects", &grants.projects), ("branches", &grants.branches), ("steps", &grants.steps)];
    let mut parts: Vec<String> = lists
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("{what} {}", terminal::one_line(&list.join(", "), 60)))
        .collect();
    parts.extend(grants.beside_agents.then(|| "agents may read it".to_owned()));
    if parts.is_empty() { "everywhere".to_owned() } else { parts.join("; ") }
}
