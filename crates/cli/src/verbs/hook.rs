//! `windlass hook`: named places that receive webhooks. Secrets come in by files and go out once.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, Result};
use windlass_wire::api::{
    Page, PageQuery,
    hook::{Hook, HookWithSecret, NewHook, RotateHook},
    secret::SecretValue,
};

use crate::{
    arguments::{self, CreateHook, OfScheme, OfTrust},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

/// The longest secret that a file may have, with room for what the server refuses.
const LONGEST_SECRET: u64 = 4_096;

pub(crate) async fn run(settings: &Settings, verb: arguments::Hook) -> Result<Exit> {
    // Before a secret is read: is there anybody to take it?
    let client = Client::find(settings).await?;
    match verb {
        arguments::Hook::Create(asked) => {
            let made: HookWithSecret = client.post("/api/v1/hooks", &new(asked)?).await?;
            print_secret(settings, &made)?;
        }
        arguments::Hook::List => list(settings, &client).await?,
        arguments::Hook::Show { hook } => {
            print(settings, &client.get(&path(&hook)?).await?)?;
        }
        arguments::Hook::Rotate(asked) if asked.finish => {
            let path = format!("{}/finish", path(&asked.hook)?);
            let hook: Hook = client.post(&path, &serde_json::json!({})).await?;
            print(settings, &hook)?;
        }
        arguments::Hook::Rotate(asked) => {
            let rotate = RotateHook {
                secret: secret(asked.secret_file.as_deref())?,
                keep_seconds: asked.keep_hours.map(|hours| hours.saturating_mul(3_600)),
            };
            let path = format!("{}/rotate", path(&asked.hook)?);
            let made: HookWithSecret = client.post(&path, &rotate).await?;
            print_secret(settings, &made)?;
        }
        arguments::Hook::Remove { hook } => {
            client.command(reqwest::Method::DELETE, &path(&hook)?).await?;
        }
    }
    Ok(Exit::Success)
}

fn new(asked: CreateHook) -> Result<NewHook> {
    let scheme = match asked.scheme {
        OfScheme::Standard => "standard",
        OfScheme::Github => "github",
        OfScheme::Bearer => "bearer",
    };
    let trust = match asked.trust {
        OfTrust::Member => "member",
        OfTrust::Known => "known",
        OfTrust::Public => "public",
    };
    Ok(NewHook {
        name: asked.hook,
        scheme: scheme.to_owned(),
        secret: secret(asked.secret_file.as_deref())?,
        trust: Some(trust.to_owned()),
        project: asked.project,
    })
}

/// A secret that the sender made. It is never on the command line, where others could see it.
fn secret(file: Option<&Path>) -> Result<Option<SecretValue>> {
    let Some(file) = file else { return Ok(None) };
    let read = || -> Result<String> {
        let source: Box<dyn Read> = match file == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => Box::new(File::open(file)?),
        };
        let mut text = String::new();
        source.take(LONGEST_SECRET).read_to_string(&mut text)?;
        Ok(text.trim().to_owned())
    };
    let text = read().with_context(|| format!("failed to read {}", file.display()))?;
    Ok(Some(SecretValue(text)))
}

async fn list(settings: &Settings, client: &Client) -> Result<()> {
    let mut hooks: Vec<Hook> = Vec::new();
    let mut cursor = None;
    loop {
        let query = PageQuery { cursor, limit: Some(200) };
        let page: Page<Hook> = client.query("/api/v1/hooks", &query).await?;
        hooks.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if settings.json {
        return super::print_json(&hooks);
    }
    let now = super::runner::now().as_micros();
    let rows = hooks.iter().map(|hook| {
        let received = hook.received_at.map_or("never".to_owned(), |at| terminal::span(now - at));
        let refused = hook.refused.as_ref();
        vec![
            hook.name.clone(),
            hook.scheme.clone(),
            hook.project.clone().unwrap_or_default(),
            received,
            refused.map(|refused| refused.count.to_string()).unwrap_or_default(),
            terminal::one_line(refused.map_or("", |refused| &refused.reason), 60),
        ]
    });
    let head = ["hook", "scheme", "project", "received", "refused", "why"];
    terminal::table(&head, &rows.collect::<Vec<_>>());
    Ok(())
}

fn print_secret(settings: &Settings, made: &HookWithSecret) -> Result<()> {
    if settings.json {
        return super::print_json(made);
    }
    print(settings, &made.hook)?;
    println!("{}", made.secret.0);
    eprintln!("The secret is shown only this once: give it to the sender.");
    Ok(())
}

fn print(settings: &Settings, hook: &Hook) -> Result<()> {
    if settings.json {
        return super::print_json(hook);
    }
    let (style, now) = (Style::for_stdout(), super::runner::now().as_micros());
    println!("{}", style.bold(&hook.name));
    let line = |name: &str, value: &str| {
        println!("  {}  {}", style.dim(&format!("{name:<8}")), terminal::one_line(value, 200));
    };
    line("url", &hook.url);
    line("scheme", &hook.scheme);
    line("trust", &hook.trust);
    if let Some(project) = &hook.project {
        line("project", project);
    }
    match hook.received_at {
        Some(at) => line("received", &format!("{} ago", terminal::span(now - at))),
        None => line("received", "nothing yet"),
    }
    if let Some(refused) = &hook.refused {
        let ago = terminal::span(now - refused.at);
        line("refused", &format!("{}, the last {ago} ago: {}", refused.count, refused.reason));
    }
    if let Some(until) = hook.before_until {
        line("before", &format!("its earlier secret is taken for {}", terminal::span(until - now)));
    }
    Ok(())
}

/// The address of a hook. A name that could be none is refused here.
fn path(name: &str) -> Result<String> {
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match is_name {
        true => Ok(format!("/api/v1/hooks/{name}")),
        false => {
            Err(Exit::Failure.error("a hook is named by a-z, 0-9 and `-`: windlass hook list"))
        }
    }
}
