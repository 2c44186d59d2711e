//! Published ports: services inside of environments, reached by browsers and programs at hosts of their own
//! (`PORT--ENVIRONMENT.HOST`), by whom the port's admission lets in.
//!
//! ```text
//! request ─► by_host ─► own paths (the code of a sign-in becomes a cookie)
//!                   └─► visitor ─► admission ─► proxy ─► tunnel ─► ways ─► the environment's loopback
//! ```
//!
//! Never done here: answering with a route of the server at the host of a port, handing a credential of ours to
//! a service, or letting anybody go on who would not be let in now.

pub(crate) mod address;
pub(crate) mod admission;
mod headers;
mod notice;
mod pass;
mod proxy;
mod tunnel;
mod visitor;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use windlass_run::{
    Duration, Time,
    actor::By,
    environment::{Admission, Way},
};

pub use address::BadHost;
use address::{Address, Home, Place};
use admission::Entry;
use pass::{Codes, Granted};
use tunnel::Tunnels;

use crate::{
    problem::{Code, Problem},
    secret::{self, Secret},
    state::AppState,
    ways,
};

/// How ports are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The name below which each port has a name of its own. If absent: `localhost` where the server is
    /// reached on this machine only, else none.
    pub host: Option<String>,
    /// The widest admission that a port may have, those that were published before too; absent: no port is
    /// published.
    pub ceiling: Option<Admission>,
}

impl Default for Options {
    fn default() -> Self {
        Self { host: None, ceiling: Some(Admission::Organisation) }
    }
}

/// Paths at the host of a port that are this server's.
const OWN: &str = "/.windlass/";
/// Where a code becomes a pass.
const ENTER: &str = "/.windlass/enter";
/// The longest path that is remembered over a sign-in, in bytes.
const LONGEST_PATH: usize = 4_096;
/// After what time it is written down again that the same visitor comes to the same port.
const NOTED: Duration = Duration::from_secs(10 * 60);
/// How many visits are remembered for that.
const VISITS: usize = 20_000;

/// What this process knows of published ports, and the database does not.
pub(crate) struct Ports {
    home: Option<Home>,
    ceiling: Option<Admission>,
    codes: Codes,
    tunnels: Tunnels,
    noted: Mutex<HashMap<String, Time>>,
}

impl Ports {
    /// For a server that is reached at `base_url`.
    ///
    /// # Errors
    /// A host that can't be.
    pub(crate) fn new(base_url: &str, options: &Options) -> Result<Self, BadHost> {
        Ok(Self {
            home: Home::new(base_url, options.host.as_deref())?,
            ceiling: options.ceiling,
            codes: Codes::default(),
            tunnels: Tunnels::default(),
            noted: Mutex::default(),
        })
    }

    /// The widest admission that a port may have.
    pub(crate) fn ceiling(&self) -> Option<Admission> {
        self.ceiling
    }

    /// Whether a port with this admission is open.
    pub(crate) fn allows(&self, admission: Admission) -> bool {
        self.ceiling.is_some_and(|ceiling| admission <= ceiling)
    }

    /// Whether there is no host for ports.
    pub(crate) fn is_homeless(&self) -> bool {
        self.home.is_none()
    }

    /// Where a port is reached; absent if this server has no host for ports.
    pub(crate) fn url(&self, address: &Address) -> Option<String> {
        self.home.as_ref().map(|home| format!("{}/", home.origin(address)))
    }

    /// The origin of an address; one without a home has none.
    fn origin(&self, address: &Address) -> String {
        self.home.as_ref().map(|home| home.origin(address)).unwrap_or_default()
    }

    fn is_secure(&self) -> bool {
        self.home.as_ref().is_some_and(Home::is_secure)
    }

    /// A cookie's name: where browsers can be told so, only the host itself can set it.
    fn cookie(&self, name: &str) -> String {
        let prefix = if self.is_secure() { headers::HOST_ONLY } else { "" };
        format!("{prefix}{name}")
    }

    /// Whether a visit is to be written down.
    fn is_news(&self, key: &str, now: Time) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = noted.get(key).is_none_or(|last| NOTED <= now.since(*last));
        if is_news {
            if noted.len() >= VISITS {
                noted.retain(|_, last| now.since(*last) < NOTED);
            }
            if noted.len() >= VISITS {
                noted.clear();
            }
            noted.insert(key.to_owned(), now);
        }
        is_news
    }
}

/// A layer around everything: what is asked at the host of a port is answered here and nowhere else.
pub(crate) async fn by_host(
    State(app): State<AppState>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let place = app.ports().home.as_ref().map_or(Place::Server, |home| home.place(&request));
    let wants_page = visitor::is_navigation(request.method(), request.headers());
    let again = if request.uri().path().starts_with(OWN) { "/" } else { "" };
    let answer = match place {
        Place::Server => return next.run(request).await,
        Place::Nowhere if request.uri().path().starts_with(OWN) => own_file(&request),
        Place::Nowhere => Err(admission::nothing_here()),
        Place::Port(address) if request.uri().path().starts_with(OWN) => {
            own(&app, &address, &request)
        }
        Place::Port(address) => visit(&app, &address, request).await,
    };
    match answer {
        Ok(response) => response,
        Err(problem) if wants_page => notice::page(&app, problem, again),
        Err(problem) => notice::plain(problem),
    }
}

/// A request that is meant for the service.
async fn visit(
    app: &AppState,
    address: &Address,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let origin = app.ports().origin(address);
    let known = visitor::find(app, address, &origin, request.method(), request.headers()).await?;
    let is_known = known.is_some();
    let Some(entry) = admission::find(app, address, known).await? else {
        return match is_known {
            true => Err(admission::nothing_here()),
            false => sign_in(app, address, &request),
        };
    };
    if !entry.is_running() {
        let phase = entry.row.state.phase.name();
        let why =
            format!("the environment is {phase}, not running: whoever may use it can start it");
        return Err(Problem::new(Code::EnvironmentState, why));
    }
    note(app, &entry).await?;
    proxy::forward(app, &entry, request).await
}

/// Writes down that somebody comes, once in a while.
async fn note(app: &AppState, entry: &Entry) -> Result<(), Problem> {
    let by = match &entry.visitor {
        Some(visitor) => visitor.by(),
        None => By::system("anybody"),
    };
    let key = format!("{} {:?}", entry.address.label(), by.actor);
    if !app.ports().is_news(&key, app.now()) {
        return Ok(());
    }
    ways::enter_as(app, by, &entry.row, Way::Port { port: entry.address.port }).await
}

/// Sends whoever is not known to where that is decided. Who does not navigate is told so.
fn sign_in(
    app: &AppState,
    address: &Address,
    request: &Request<Body>,
) -> Result<Response, Problem> {
    if !visitor::is_navigation(request.method(), request.headers()) {
        let why = "open this address in a browser, or send a service token as `Windlass-Authorization: Bearer`";
        return Err(Problem::new(Code::NotSignedIn, why));
    }
    let name = app.ports().cookie(headers::BEGUN);
    // Two pages that are opened at once begin the same sign-in.
    let begun = headers::cookies(request.headers(), &name)
        .find(|value| (40..=100).contains(&value.len()) && value.bytes().all(is_plain))
        .map_or_else(|| Secret::fresh(""), |value| Secret::from(value.to_owned()));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = if path.len() <= LONGEST_PATH { path } else { "/" };
    let to = format!(
        "{}/ports/enter?to={}&begun={}&path={}",
        app.base_url(),
        address.label(),
        secret::digest(begun.expose()),
        encoded(path),
    );
    let mut response = redirect(&to)?;
    set_cookie(app, &mut response, &name, begun.expose(), 600);
    Ok(response)
}

/// A path that is this server's, at the host of a port.
fn own(app: &AppState, address: &Address, request: &Request<Body>) -> Result<Response, Problem> {
    if request.uri().path() == ENTER && request.method() == Method::GET {
        return enter(app, address, request);
    }
    own_file(request)
}

/// What pages at the hosts of ports load.
fn own_file(request: &Request<Body>) -> Result<Response, Problem> {
    match notice::file(request.uri().path()) {
        Some(file) if matches!(*request.method(), Method::GET | Method::HEAD) => Ok(file),
        Some(_) | None => Err(Problem::not_found("such file")),
    }
}

/// Turns a code into a pass.
fn enter(app: &AppState, address: &Address, request: &Request<Body>) -> Result<Response, Problem> {
    let spent = || {
        let why = "this sign-in was used already, took too long, or was begun in another browser: open the \
                   address again. Cookies must be allowed at it";
        Problem::new(Code::LinkSpent, why)
    };
    let now = app.now();
    let query = request.uri().query().unwrap_or_default();
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap_or_default();
    let granted = app.ports().codes.take(code, now).ok_or_else(spent)?;
    let name = app.ports().cookie(headers::BEGUN);
    let is_here = headers::cookies(request.headers(), &name)
        .any(|begun| secret::digest(begun) == granted.begun);
    if granted.address != *address || !is_here {
        return Err(spent());
    }
    let mut response = redirect(&format!("{}{}", app.ports().origin(address), granted.path))?;
    let value = granted.pass.seal(app.sealer(), address, now + pass::PASS);
    let seconds = pass::PASS.as_micros() / 1_000_000;
    set_cookie(app, &mut response, &app.ports().cookie(headers::PASS), &value, seconds);
    Ok(response)
}

/// The address at which somebody who was let in gets their pass.
pub(crate) fn grant(app: &AppState, entry: &Entry, begun: &str, path: &str) -> Option<String> {
    let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    let granted = Granted {
        address: entry.address.clone(),
        begun: begun.to_owned(),
        pass: entry.pass()?,
        path: if is_path { path.to_owned() } else { "/".to_owned() },
    };
    let code = app.ports().codes.issue(granted, app.now());
    Some(format!("{}{ENTER}?code={}", app.ports().origin(&entry.address), code.expose()))
}

fn redirect(to: &str) -> Result<Response, Problem> {
    let to =
        HeaderValue::from_str(to).map_err(|error| Problem::internal("say where to go", error))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, to);
    notice::harden(headers);
    Ok(response)
}

fn set_cookie(app: &AppState, response: &mut Response, name: &str, value: &str, seconds: i64) {
    let secure = if app.ports().is_secure() { "; Secure" } else { "" };
    let cookie =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let cookie = HeaderValue::from_str(&cookie).expect("our names and values are plain ASCII");
    response.headers_mut().append(header::SET_COOKIE, cookie);
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A text as the value of a query's key.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'/' | b'.' | b'~' => char::from(byte).to_string(),
        other if is_plain(other) => char::from(other).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A header as text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
