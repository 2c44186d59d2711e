//! The handshake: `initialize`, `session/new`, and the mode and the model that are set explicitly,
//! since agents start in modes of very different courage.

use std::path::Path;

use agent_client_protocol::Agent;
use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::{ConnectionTo, schema as acp};
use windlass_wire::session::Event;

use super::connection::Wires;
use super::{Error, Introduction, Model, Options};
use crate::clip;

/// The most bytes of a list of modes or models in an error.
const LISTED: usize = 2000;
/// The most bytes of a name that an agent gives itself or its modes.
const NAME: usize = 200;

pub(super) async fn within<T>(
    wires: &Wires,
    handshake: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = wires.limits.handshake;
    match tokio::time::timeout(limit, handshake).await {
        Ok(result) => result,
        Err(_) => {
            let began = match wires.ears.first_garbage() {
                Some(line) => format!("; its standard output began with: {line}"),
                None => String::new(),
            };
            let problem = format!("it was not finished within {} s{began}", limit.as_secs());
            Err(Error::Handshake(problem))
        }
    }
}

/// The handshake, the mode and the model.
pub(super) async fn begin(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    options: &Options,
) -> Result<acp::SessionId, Error> {
    let (introduction, session) = introduce(wires, connection, &options.cwd).await?;
    if let Some(mode) = &options.mode {
        set_mode(wires, connection, &session, mode).await?;
    }
    if let Some(Model::Select(model)) = &options.model {
        set_model(wires, connection, &session, model).await?;
    }
    wires.ears.session(&session.session_id);
    let mode = options.mode.clone().or(introduction.current_mode);
    wires.ears.desk.lock().await.translator.mode_set(mode.clone());
    wires
        .sender
        .send(Event::Started {
            agent: options.agent.clone(),
            version: introduction.version,
            mode,
            model: options.model.as_ref().map(|model| model.name().to_owned()),
            scripted: options.scripted,
        })
        .await?;
    Ok(session.session_id)
}

const IN_HANDSHAKE: &str = "before the handshake was done";

pub(super) async fn introduce(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    cwd: &Path,
) -> Result<(Introduction, acp::NewSessionResponse), Error> {
    let request = acp::InitializeRequest::new(ProtocolVersion::V1)
        .client_info(acp::Implementation::new("windlass", env!("CARGO_PKG_VERSION")));
    let hello = wires
        .answer("initialize", IN_HANDSHAKE, connection.send_request(request).block_task())
        .await?;
    let request = acp::NewSessionRequest::new(cwd);
    let session = wires
        .answer("session/new", IN_HANDSHAKE, connection.send_request(request).block_task())
        .await?;
    let modes = session.modes.as_ref();
    let configured = choices(&session, &acp::SessionConfigOptionCategory::Mode);
    let introduction = Introduction {
        name: hello.agent_info.as_ref().map(|info| clip::printable(info.name.as_bytes(), NAME)),
        version: hello
            .agent_info
            .as_ref()
            .map(|info| clip::printable(info.version.as_bytes(), NAME)),
        modes: match modes {
            Some(modes) => modes.available_modes.iter().map(|mode| mode.id.to_string()).collect(),
            None => configured.as_ref().map(|choice| choice.values.clone()).unwrap_or_default(),
        },
        current_mode: match modes {
            Some(modes) => Some(modes.current_mode_id.to_string()),
            None => configured.map(|choice| choice.current),
        },
        models: choices(&session, &acp::SessionConfigOptionCategory::Model)
            .map(|choice| choice.values)
            .unwrap_or_default(),
    };
    Ok((introduction, session))
}

async fn set_mode(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    mode: &str,
) -> Result<(), Error> {
    let offered: Vec<String> = match &session.modes {
        Some(modes) => modes.available_modes.iter().map(|mode| mode.id.to_string()).collect(),
        None => Vec::new(),
    };
    if offered.iter().any(|id| id == mode) {
        let request = acp::SetSessionModeRequest::new(session.session_id.clone(), mode.to_owned());
        let answer = connection.send_request(request).block_task();
        wires.answer("session/set_mode", IN_HANDSHAKE, answer).await?;
        return Ok(());
    }
    match choices(session, &acp::SessionConfigOptionCategory::Mode) {
        Some(choice) if choice.values.iter().any(|value| value == mode) => {
            choose(wires, connection, session, choice.id, mode).await
        }
        choice => {
            let mut all = offered;
            all.extend(choice.map(|choice| choice.values).unwrap_or_default());
            Err(Error::Mode { wanted: mode.to_owned(), offered: listed(&all) })
        }
    }
}

async fn set_model(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    model: &str,
) -> Result<(), Error> {
    match choices(session, &acp::SessionConfigOptionCategory::Model) {
        Some(choice) if choice.values.iter().any(|value| value == model) => {
            choose(wires, connection, session, choice.id, model).await
        }
        choice => {
            let all = choice.map(|choice| choice.values).unwrap_or_default();
            Err(Error::Model { wanted: model.to_owned(), offered: listed(&all) })
        }
    }
}

async fn choose(
    wires: &Wires,
    connection: &ConnectionTo<Agent>,
    session: &acp::NewSessionResponse,
    option: acp::SessionConfigId,
    value: &str,
) -> Result<(), Error> {
    let value = acp::SessionConfigValueId::new(value.to_owned());
    let request =
        acp::SetSessionConfigOptionRequest::new(session.session_id.clone(), option, value);
    let answer = connection.send_request(request).block_task();
    wires.answer("session/set_config_option", IN_HANDSHAKE, answer).await?;
    Ok(())
}

/// One of the session's options that is a choice between values.
struct Choice {
    id: acp::SessionConfigId,
    current: String,
    values: Vec<String>,
}

fn choices(
    session: &acp::NewSessionResponse,
    category: &acp::SessionConfigOptionCategory,
) -> Option<Choice> {
    let options = session.config_options.iter().flatten();
    let option = options.into_iter().find(|option| option.category.as_ref() == Some(category))?;
    let acp::SessionConfigKind::Select(select) = &option.kind else { return None };
    let values = match &select.options {
        acp::SessionConfigSelectOptions::Ungrouped(options) => {
            options.iter().map(|option| option.value.to_string()).collect()
        }
        acp::SessionConfigSelectOptions::Grouped(groups) => groups
            .iter()
            .flat_map(|group| &group.options)
            .map(|option| option.value.to_string())
            .collect(),
        _ => Vec::new(),
    };
    Some(Choice { id: option.id.clone(), current: select.current_value.to_string(), values })
}

fn listed(values: &[String]) -> String {
    if values.is_empty() {
        return "nothing".to_owned();
    }
    clip::printable(values.join(", ").as_bytes(), LISTED)
}
