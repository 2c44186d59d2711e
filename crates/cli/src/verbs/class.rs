//! `windlass class`: what environments may use of their machines.

use anyhow::Result;
use windlass_run::class::Resource;
use windlass_wire::api::class::{ChangeClass, EnvironmentClass, NewClass};

use crate::{
    arguments::{self, Gives, OfBackend},
    client::Client,
    exit::Exit,
    settings::Settings,
    terminal::{self, Style},
};

pub(crate) async fn run(settings: &Settings, verb: arguments::Class) -> Result<Exit> {
    let client = Client::find(settings).await?;
    let class: EnvironmentClass = match verb {
        arguments::Class::List => return list(settings, &client).await,
        arguments::Class::Show { class } => client.get(&path(&class)?).await?,
        arguments::Class::Create { class, gives } => {
            let new = NewClass { name: class, gives: change(gives) };
            client.post("/api/v1/classes", &new).await?
        }
        arguments::Class::Set { class, gives } => {
            client.patch(&path(&class)?, &change(gives)).await?
        }
        arguments::Class::Remove { class } => {
            client.command(reqwest::Method::DELETE, &path(&class)?).await?;
            return Ok(Exit::Success);
        }
    };
    if settings.json {
        super::print_json(&class)?;
    } else {
        print(&class);
    }
    Ok(Exit::Success)
}

async fn list(settings: &Settings, client: &Client) -> Result<Exit> {
    let classes: Vec<EnvironmentClass> = client.get("/api/v1/classes").await?;
    if settings.json {
        super::print_json(&classes)?;
        return Ok(Exit::Success);
    }
    let rows = classes.iter().map(|class| {
        let told = |what: Resource, amount: Option<u64>| {
            amount.map(|amount| what.amount(amount)).unwrap_or_default()
        };
        vec![
            class.name.clone(),
            told(Resource::Cpu, class.cpu_millis.map(u64::from)),
            told(Resource::Memory, class.memory_mib.map(|mib| mib << 20)),
            told(Resource::Disk, class.disk_mib.map(|mib| mib << 20)),
            told(Resource::Processes, class.processes.map(u64::from)),
            class.needs.join(","),
            terminal::one_line(class.waits.as_deref().unwrap_or(&class.runners.join(", ")), 80),
        ]
    });
    let head = ["class", "cpu", "memory", "disk", "processes", "needs", "runners"];
    terminal::table(&head, &rows.collect::<Vec<_>>());
    Ok(Exit::Success)
}

fn print(class: &EnvironmentClass) {
    let style = Style::for_stdout();
    println!("{}", style.bold(&class.name));
    let line = |name: &str, value: &str| {
        println!("  {}  {}", style.dim(&format!("{name:<10}")), terminal::one_line(value, 400));
    };
    let operator = "what the runner's operator says".to_owned();
    let told = |what: Resource, amount: Option<u64>, otherwise: &str| {
        amount.map_or_else(|| otherwise.to_owned(), |amount| what.amount(amount))
    };
    line("cpu", &told(Resource::Cpu, class.cpu_millis.map(u64::from), &operator));
    line("memory", &told(Resource::Memory, class.memory_mib.map(|mib| mib << 20), &operator));
    line("disk", &told(Resource::Disk, class.disk_mib.map(|mib| mib << 20), "no limit"));
    line("processes", &told(Resource::Processes, class.processes.map(u64::from), &operator));
    if class.gpu {
        line("gpu", "asked for: a runner with the label `gpu`");
    }
    line("backend", &class.backend);
    if !class.needs.is_empty() {
        line("needs", &class.needs.join(", "));
    }
    match &class.waits {
        Some(why) => line("waits", why),
        None => line("runners", &class.runners.join(", ")),
    }
}

fn change(gives: Gives) -> ChangeClass {
    ChangeClass {
        cpu_millis: gives.cpus,
        memory_mib: gives.memory_mib,
        disk_mib: gives.disk_mib,
        processes: gives.processes,
        gpu: gives.gpu,
        backend: gives.backend.map(|backend| {
            match backend {
                OfBackend::Any => "any",
                OfBackend::Process => "process",
                OfBackend::Oci => "oci",
            }
            .to_owned()
        }),
        runs_on: match gives.runs_on.as_slice() {
            [] => None,
            [none] if none == "none" => Some(Vec::new()),
            _ => Some(gives.runs_on),
        },
    }
}

/// The address of a class. A name that could be none is refused here.
fn path(name: &str) -> Result<String> {
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match is_name {
        true => Ok(format!("/api/v1/classes/{name}")),
        false => {
            Err(Exit::Failure.error("a class is named by a-z, 0-9 and `-`: windlass class list"))
        }
    }
}
