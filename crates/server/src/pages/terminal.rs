//! `/environments/{environment}/terminal`: a terminal in a page, and the WebSocket behind it.
//!
//! On the socket, binary messages are what is typed and what is shown. Text messages are JSON: from the
//! page how large it is, from here how the program ended.

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, Method},
    response::Response,
};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::environment::Way;
use windlass_wire::attach::{FrameKind, Open, SHELL, Size};

use super::{
    frame::{Frame, page},
    text::Text,
    view::{Crumb, Section, environments::Terminal},
};
use crate::{
    auth::{Principal, cross_site},
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::{Code, Problem},
    state::AppState,
    views,
    ways::{self, Stream, frames},
};

/// The largest message that a page may send, in bytes: a long paste comes in pieces.
const MESSAGE: usize = 256 * 1024;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let enter = Access::Allows(Action::UseEnvironments);
    let stream = "/environments/{environment}/terminal/stream";
    vec![
        Endpoint::page(Method::GET, "/environments/{environment}/terminal", enter, show),
        Endpoint::page(Method::GET, stream, enter, open),
    ]
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(name): Place<String>,
) -> Result<Response, Problem> {
    let row = views::environments::find_to_use(&app, &principal, &name).await?;
    let (name, back) = (row.state.spec.name.as_str(), links::environment(&row.id));
    let crumbs = vec![
        Crumb::to("Environments", "/environments"),
        Crumb::to(name, back.clone()),
        Crumb::here("Terminal"),
    ];
    page(&Terminal {
        shell: frame.shell(Some(Section::Environments), format!("Terminal of {name}"), crumbs),
        name: Text::from(name),
        stream: format!("{back}/terminal/stream"),
        back,
    })
}

async fn open(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place(name): Place<String>,
    Keys(size): Keys<Size>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    // A socket does what a form does, and carries no token: only our own pages may open one.
    cross_site::check_origin(&headers)?;
    let refused = |rejection: WebSocketUpgradeRejection| {
        Problem::new(Code::BadRequest, format!("it is no WebSocket: {}", rejection.body_text()))
    };
    let upgrade = upgrade.map_err(refused)?;
    let row = views::environments::find_to_use(&app, &principal, &name).await?;
    let stream = ways::open(&app, &principal, &row, Way::Terminal).await?;
    Ok(upgrade.max_message_size(MESSAGE).on_upgrade(async move |socket| {
        let talk = async {
            if let Err(error) = talk(socket, stream, size).await {
                tracing::debug!(%error, "a terminal in a page broke off");
            }
        };
        ways::while_admitted(&app, &principal, &row.id, talk).await;
    }))
}

/// What a page says beside what is typed in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    size: Size,
}

/// Carries keys and what is shown until the program ends or the page is gone.
async fn talk(socket: WebSocket, stream: Stream, size: Size) -> std::io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let (mut page, mut said) = socket.split();
    let open = Open {
        argv: SHELL.map(str::to_owned).to_vec(),
        env: vec![("TERM".to_owned(), "xterm-256color".to_owned())],
        terminal: Some(size),
        ..Open::default()
    };
    frames::write_json(&mut to, FrameKind::Open, &open).await?;
    let shown = async {
        while let Some((kind, content)) = frames::read(&mut from).await? {
            let message = match kind {
                FrameKind::Output => Message::Binary(content.into()),
                FrameKind::End => Message::Text(String::from_utf8_lossy(&content).as_ref().into()),
                _ => continue,
            };
            page.send(message).await.map_err(std::io::Error::other)?;
            if kind == FrameKind::End {
                page.close().await.map_err(std::io::Error::other)?;
                break;
            }
        }
        Ok(())
    };
    let typed = async {
        while let Some(Ok(message)) = said.next().await {
            match message {
                Message::Binary(keys) if !keys.is_empty() => {
                    frames::write(&mut to, FrameKind::Input, &keys).await?;
                }
                Message::Text(text) => {
                    let said: Said = serde_json::from_str(&text).map_err(std::io::Error::other)?;
                    frames::write_json(&mut to, FrameKind::Size, &said.size).await?;
                }
                Message::Close(_) => break,
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = shown => ended,
        ended = typed => ended,
    }
}
