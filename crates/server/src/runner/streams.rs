//! `POST /api/v1/runner/streams`: pieces of logs and sessions of many jobs.

use axum::{Json, extract::State, http::Method};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use windlass_policy::permission::Action;
use windlass_store::streams::{self, Append, Appended, Kind, StreamId};
use windlass_wire::runner::{Content, Piece, PieceAnswer, StreamAnswer, StreamRequest};

use crate::{
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Body,
    problem::{Code, Problem},
    state::AppState,
};

/// The largest call, in bytes.
const LIMIT: usize = 32 << 20;

pub(super) fn endpoint() -> Endpoint {
    let access = Access::Allows(Action::ReportJob);
    Endpoint::new(Method::POST, "/api/v1/runner/streams", access, handler).body_limit(LIMIT)
}

async fn handler(
    State(app): State<AppState>,
    principal: Principal,
    Body(request): Body<StreamRequest>,
) -> Result<Json<StreamAnswer>, Problem> {
    principal.is_runner(&request.runner_id)?;
    let pieces = request
        .pieces
        .into_iter()
        .enumerate()
        .map(|(index, piece)| append(piece).map_err(|why| unreadable(index, &why)))
        .collect::<Result<Vec<_>, _>>()?;
    let answers = app.store().append(request.runner_id, pieces, app.now()).await?;
    let answer = |answer| match answer {
        Appended::Have { length } => PieceAnswer::Have { length },
        Appended::Lost => PieceAnswer::Lost,
    };
    Ok(Json(StreamAnswer { pieces: answers.into_iter().map(answer).collect() }))
}

fn append(piece: Piece) -> Result<Append, String> {
    let (kind, content) = match piece.content {
        Content::Log { offset, base64 } => {
            let bytes = STANDARD.decode(base64).map_err(|error| error.to_string())?;
            (Kind::Log, streams::Content::Log { offset, bytes })
        }
        Content::Session { entries } => {
            let first = entries.first().map_or(1, |entry| entry.seq);
            if entries.iter().zip(first..).any(|(entry, seq)| entry.seq != seq) {
                return Err("the entries are not numbered without gaps".to_owned());
            }
            let entries: Result<Vec<String>, _> =
                entries.iter().map(serde_json::to_string).collect();
            let entries = entries.map_err(|error| error.to_string())?;
            (Kind::Session, streams::Content::Session { first, entries })
        }
    };
    let stream =
        StreamId { job_id: piece.job_id, step_id: piece.step_id, attempt: piece.attempt, kind };
    Ok(Append { stream, epoch: piece.epoch, content })
}

fn unreadable(index: usize, why: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("the piece can't be read: {why}"))
        .at(format!("pieces[{index}]"))
}
