//! `/environments/{environment}/services`: services and tasks of an environment that runs, what is wished of
//! them, and what one of them prints.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_wire::{
    api::service::{Service, Task},
    automation::{Of, Wish as Wished},
};

use super::{
    files::{Where, tabs},
    frame::{Frame, go, page},
    text::Text,
    view::{
        diff::percent_encoded,
        environments::Wish,
        services::{LogView, ServiceRow, ServicesPage, Stand, TaskRow},
    },
};
use crate::{
    actions::automation as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    problem::Problem,
    state::AppState,
    views,
    ways::automation::Log,
};

/// The most bytes of an output that the page begins with.
const SHOWN: usize = 256 * 1024;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let enter = Access::Allows(Action::UseEnvironments);
    let wish = "/environments/{environment}/services/{service}/{wish}";
    let run = "/environments/{environment}/tasks/{task}/run";
    vec![
        Endpoint::page(Method::GET, "/environments/{environment}/services", enter, show),
        Endpoint::page(Method::POST, wish, enter, wish_service),
        Endpoint::page(Method::POST, run, enter, run_task),
    ]
}

#[derive(Deserialize)]
struct Shown {
    /// The output of this service is shown,
    service: Option<String>,
    /// or of this task.
    task: Option<String>,
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
    Keys(shown): Keys<Shown>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    let all = views::automation::automation(&app, &principal, &name).await?;
    let here = place.here();
    let log = match (shown.service, shown.task) {
        (Some(service), _) => Some(("service", "services", Of::Service(service.clone()), service)),
        (None, Some(task)) => Some(("task", "tasks", Of::Task(task.clone()), task)),
        (None, None) => None,
    };
    let log = match log {
        Some((kind, kinds, of, which)) => {
            let log = views::automation::log(&app, &principal, &name, of, 0, false).await?;
            let (text, end) = read(log).await;
            let stream =
                format!("/api/v1{here}/{kinds}/{}/log?after={end}", percent_encoded(&which));
            Some(LogView { kind, name: Text::from(which), text: Text::from(text), stream })
        }
        None => None,
    };
    page(&ServicesPage {
        shell: place.shell(&frame, "Services"),
        tabs: tabs(here, "Services"),
        services: all.services.iter().map(|service| row(&frame, here, service)).collect(),
        tasks: all.tasks.iter().map(|task| task_row(&frame, here, task)).collect(),
        log,
    })
}

/// The end of an output, without what would move a terminal's cursor, and the byte that follows it.
async fn read(mut log: Log) -> (String, u64) {
    let mut bytes = Vec::new();
    let mut end = log.at;
    while let Ok(Some(piece)) = log.next().await {
        end += piece.len() as u64;
        bytes.extend(piece);
    }
    let from = bytes.len().saturating_sub(SHOWN);
    (plain(&String::from_utf8_lossy(&bytes[from..])), end)
}

/// Text without the sequences by which a terminal is told colours.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                rest.next();
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            c => plain.push(c),
        }
    }
    plain
}

fn row(frame: &Frame, here: &str, service: &Service) -> ServiceRow {
    let name = service.name.as_str();
    let wish = |word, wish: &str, is_danger| Wish {
        word,
        action: format!("{here}/services/{name}/{wish}"),
        is_danger,
    };
    let wishes = match service.state.as_str() {
        "starting" | "ready" | "waiting" => {
            vec![wish("Restart", "restart", false), wish("Stop", "stop", true)]
        }
        _ => vec![wish("Start", "start", false)],
    };
    let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    ServiceRow {
        name: Text::from(name),
        description: service.description.as_deref().map(Text::from),
        state: Stand { word: service.state.clone() },
        since: service.since.map(|at| frame.moment(at)),
        restarts: service.restarts,
        ports: ports.join(", "),
        last_end: service.last_end.as_deref().map(Text::from),
        wishes,
        log: format!("{here}/services?service={}#log", percent_encoded(name)),
    }
}

fn task_row(frame: &Frame, here: &str, task: &Task) -> TaskRow {
    let last = task.last.as_ref();
    let mut came_to: Vec<Text> = Vec::new();
    if let Some(run) = last {
        let gave = run.outputs.iter().map(|(name, value)| Text::from(format!("{name} = {value}")));
        came_to.extend(gave);
        came_to.extend(run.why.as_deref().map(Text::from));
    }
    TaskRow {
        name: Text::from(task.name.as_str()),
        description: task.description.as_deref().map(Text::from),
        on: task.on.join(", ").replace('_', " "),
        last: last.map(|run| Stand { word: run.state.clone() }),
        ended: last.and_then(|run| run.ended_at).map(|at| frame.moment(at)),
        came_to,
        run: format!("{here}/tasks/{}/run", task.name),
        log: format!("{here}/services?task={}#log", percent_encoded(&task.name)),
    }
}

async fn wish_service(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, service, wish)): Place<(String, String, String)>,
) -> Result<Response, Problem> {
    let wished = match wish.as_str() {
        "start" => Wished::Start,
        "stop" => Wished::Stop,
        "restart" => Wished::Restart,
        _ => return Err(Problem::not_found("such a wish")),
    };
    let place = Where::find(&app, &principal, &name).await?;
    let service = actions::wish(&app, &principal, &name, &service, wished).await?;
    let which = percent_encoded(&service.name);
    Ok(go(format!("{}/services?service={which}", place.here())))
}

async fn run_task(
    State(app): State<AppState>,
    principal: Principal,
    Place((name, task)): Place<(String, String)>,
) -> Result<Response, Problem> {
    let place = Where::find(&app, &principal, &name).await?;
    actions::run(&app, &principal, &name, &task).await?;
    Ok(go(format!("{}/services?task={}#log", place.here(), percent_encoded(&task))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_a_terminal_are_left_out() {
        let text = "\u{1b}[1;31mred\u{1b}[0m\r\nplain \u{1b}[K end\u{1b}[";
        assert_eq!(plain(text), "red\nplain  end");
    }
}
