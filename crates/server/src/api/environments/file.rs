//! `/api/v1/environments/{environment}/file`: a file of an environment, read, written over what was seen,
//! and removed. What is read is made harmless for a browser, whatever it is.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use windlass_policy::permission::Action;
use windlass_wire::{
    api::file::{Changed, FileQuery, FileState, RemoveQuery},
    files::{MOST, When},
};

use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Doc, Endpoint},
    extract::{Bytes, Keys, Place},
    problem::{Code, Problem},
    range,
    state::AppState,
    views,
};

/// What every question about files may be answered with.
pub(super) const PROBLEMS: &[Code] =
    &[Code::Forbidden, Code::NotFound, Code::EnvironmentState, Code::FileRefused, Code::Busy];
/// The same of one that depends on what was seen.
const CONDITIONAL: &[Code] = &[
    Code::Forbidden,
    Code::NotFound,
    Code::EnvironmentState,
    Code::FileChanged,
    Code::TooLarge,
    Code::FileRefused,
    Code::ConditionMissing,
    Code::Busy,
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let access = Access::Allows(Action::UseEnvironments);
    let path = "/api/v1/environments/{environment}/file";
    let read = Doc::new(
        "getEnvironmentFile",
        "A file of an environment that runs: its bytes, with their `ETag`. A `Range` and \
         `If-None-Match` are honoured.",
    );
    let write = Doc::new(
        "putEnvironmentFile",
        "Writes a file of at most 10 MiB in an environment, whole or not at all, with its permissions \
         kept: over what `If-Match` names, or a new one with `If-None-Match: *`.",
    );
    let remove = Doc::new(
        "removeEnvironmentFile",
        "Removes a link, a file as `If-Match` names it, or a folder, with everything below it if \
         `recursive`.",
    );
    let bytes = "application/octet-stream";
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    vec![
        Endpoint::new(Method::GET, path, access, get)
            .doc(read.query::<FileQuery>().gives_bytes(bytes).problems(PROBLEMS)),
        Endpoint::new(Method::PUT, path, access, put).body_limit(most).doc(
            write
                .query::<FileQuery>()
                .takes_bytes(bytes)
                .gives::<FileState>(200)
                .problems(CONDITIONAL),
        ),
        Endpoint::new(Method::DELETE, path, access, delete)
            .doc(remove.query::<RemoveQuery>().gives::<Changed>(200).problems(CONDITIONAL)),
    ]
}

async fn get(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place(name): Place<String>,
    Keys(query): Keys<FileQuery>,
) -> Result<Response, Problem> {
    let wanted = range::range(&headers)?;
    let (from, to) = wanted.unwrap_or((0, None));
    let most = to.map(|to| (to - from).saturating_add(1));
    let found =
        views::files::content(&app, &principal, &name, query.path.clone(), (from, most)).await?;
    let file = &found.file;
    let known = tags(&headers, &header::IF_NONE_MATCH);
    let is_known = known.iter().any(|tag| *tag == file.etag || tag == "*");
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Response::new(found.body),
    };
    let mut set = |name: header::HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, file.etag.clone());
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CACHE_CONTROL, "private, no-cache".to_owned());
    let is_text = is_text(&file.path);
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    set(header::CONTENT_TYPE, kind.to_owned());
    set(header::CONTENT_DISPOSITION, disposition(&file.path, is_text));
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    set(header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned());
    if is_known {
        return Ok(response);
    }
    let mut set = |name: header::HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_LENGTH, found.length.to_string());
    if wanted.is_some() && found.length > 0 {
        let end = found.from + found.length - 1;
        set(header::CONTENT_RANGE, format!("bytes {}-{end}/{}", found.from, file.size));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    } else if wanted.is_some() {
        set(header::CONTENT_RANGE, format!("bytes */{}", file.size));
        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    }
    Ok(response)
}

async fn put(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place(name): Place<String>,
    Keys(query): Keys<FileQuery>,
    Bytes(content): Bytes,
) -> Result<Response, Problem> {
    let when = when(&headers)?;
    let written =
        actions::files::write(&app, &principal, &name, query.path, when, &content).await?;
    let (file, is_new) = written;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, Json(&file)).into_response();
    if let Ok(etag) = HeaderValue::from_str(&file.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

async fn delete(
    State(app): State<AppState>,
    principal: Principal,
    headers: HeaderMap,
    Place(name): Place<String>,
    Keys(query): Keys<RemoveQuery>,
) -> Result<Json<Changed>, Problem> {
    let tag = tags(&headers, &header::IF_MATCH).into_iter().next();
    actions::files::remove(&app, &principal, &name, query, tag).await.map(Json)
}

/// What must be there, as the headers say.
fn when(headers: &HeaderMap) -> Result<When, Problem> {
    let seen = tags(headers, &header::IF_MATCH);
    let absent = tags(headers, &header::IF_NONE_MATCH);
    match (seen.is_empty(), absent.as_slice()) {
        (false, []) => Ok(When::Is(seen)),
        (true, [any]) if any == "*" => Ok(When::Absent),
        (true, []) => {
            let why = "say `If-Match` with the tag of the file that is replaced, or `If-None-Match: *` for \
                       a new one";
            Err(Problem::new(Code::ConditionMissing, why))
        }
        _ => {
            let why = "either `If-Match` with tags, or `If-None-Match: *`";
            Err(Problem::new(Code::BadRequest, why).at("If-Match"))
        }
    }
}

/// The tags of a header.
fn tags(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// Whether the file is shown as plain text rather than fetched: by its name alone, and never as anything
/// that a browser would interpret.
fn is_text(path: &str) -> bool {
    const OTHERS: [&str; 34] = [
        "7z", "a", "avif", "bin", "bmp", "bz2", "class", "db", "dll", "exe", "gif", "gz", "ico",
        "jar", "jpeg", "jpg", "mp3", "mp4", "o", "ogg", "otf", "pdf", "png", "pyc", "so", "sqlite",
        "tar", "ttf", "wasm", "webm", "webp", "woff2", "xz", "zip",
    ];
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    !ending.is_some_and(|ending| OTHERS.contains(&ending.as_str()))
}

/// `Content-Disposition` with the file's name, for old browsers in ASCII (RFC 6266).
fn disposition(path: &str, is_text: bool) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }
    };
    let plain: String = name.chars().map(plain).collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    let how = if is_text { "inline" } else { "attachment" };
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_must_be_there_is_said_in_one_way_only() {
        let is = when(&headers(&[(header::IF_MATCH, "\"a\", \"b\"")])).expect("understood");
        assert_eq!(is, When::Is(vec!["\"a\"".to_owned(), "\"b\"".to_owned()]));
        let absent = when(&headers(&[(header::IF_NONE_MATCH, "*")])).expect("understood");
        assert_eq!(absent, When::Absent);
        let refused = |pairs: &[_]| when(&headers(pairs)).expect_err("refused").code;
        assert_eq!(refused(&[]), Code::ConditionMissing);
        assert_eq!(refused(&[(header::IF_NONE_MATCH, "\"a\"")]), Code::BadRequest);
        let both = [(header::IF_NONE_MATCH, "*"), (header::IF_MATCH, "\"a\"")];
        assert_eq!(refused(&both), Code::BadRequest);
    }

    #[test]
    fn a_name_can_not_leave_its_header() {
        assert_eq!(
            disposition("a/b\"\r\n;ü.html", true),
            "inline; filename=\"b_____.html\"; filename*=UTF-8''b%22%0D%0A%3B%C3%BC.html"
        );
        assert!(is_text("page.html") && is_text("image.svg") && is_text("Makefile"));
        assert!(!is_text("x/Photo.JPG"));
    }
}
