//! A model of GitHub on loopback: the REST endpoints that Windlass uses over real bare
//! repositories, which git reaches by `git http-backend`. It is what tests talk to instead of
//! GitHub; its answers are held against GitHub's published description in a test of its own.
//!
//! It models what the host does, not what we wish it did: permissions, limits, pages, tags for
//! unchanged answers, complaints, and answers that never arrive.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use windlass_git::Git;

mod git_backend;
mod objects;
pub mod published;
mod pulls;
mod rest;

/// The time that the model begins at, in seconds since the Unix epoch.
pub const EPOCH: i64 = 1_790_000_000;

/// A running model. Dropping it stops it and removes its repositories.
#[derive(Debug)]
pub struct GitHub {
    root: String,
    world: Arc<tokio::sync::Mutex<World>>,
    task: tokio::task::JoinHandle<()>,
    dir: tempfile::TempDir,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read everything, write nothing.
    Read,
    /// Read and write everything.
    Write,
}

/// Something that goes wrong with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and is not carried out.
    Status(u16),
    /// The secondary limit is hit; the host asks to wait this many seconds.
    SecondaryLimit(u32),
    /// The secondary limit is hit; the host does not say how long to wait.
    SecondaryLimitUnsaid,
    /// It is carried out, and the connection breaks before the answer.
    LostAnswer,
    /// It is answered with something that is not JSON.
    Garbage,
}

/// One REST request and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The path, without `/api/v3` and without the query.
    pub path: String,
    /// The query.
    pub query: String,
    /// The body, `Null` if none.
    pub request: Value,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer, `Null` if none.
    pub response: Value,
}

/// Everything that the host knows.
#[derive(Debug)]
struct World {
    root: String,
    git: Git,
    now: i64,
    next_id: u64,
    accounts: Vec<String>,
    tokens: HashMap<String, Token>,
    repositories: HashMap<String, Repository>,
    /// What goes wrong with the next requests, in order; `None` is nothing.
    faults: VecDeque<Option<Fault>>,
    exchanges: Vec<Exchange>,
    page_cap: usize,
}

#[derive(Debug)]
struct Token {
    login: String,
    access: Access,
    limit: u32,
    used: u32,
}

#[derive(Debug)]
struct Repository {
    id: u64,
    owner: String,
    name: String,
    private: bool,
    dir: PathBuf,
    next_number: u64,
    pulls: Vec<Pull>,
    statuses: Vec<Value>,
}

#[derive(Debug)]
struct Pull {
    id: u64,
    number: u64,
    title: String,
    body: Option<String>,
    draft: bool,
    open: bool,
    author: String,
    base: String,
    head: String,
    /// The head when it was closed; while it is open the branch counts.
    last_head: String,
    base_sha: String,
    merged: Option<(String, String)>,
    labels: Vec<(u64, String)>,
    comments: Vec<Value>,
    reviews: Vec<Value>,
    created: i64,
    updated: i64,
    closed: Option<i64>,
}

impl GitHub {
    /// Starts on a free port of loopback.
    pub async fn start() -> Self {
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let root =
            format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let world = Arc::new(tokio::sync::Mutex::new(World {
            root: root.clone(),
            git: Git::default(),
            now: EPOCH,
            next_id: 1000,
            accounts: Vec::new(),
            tokens: HashMap::new(),
            repositories: HashMap::new(),
            faults: VecDeque::new(),
            exchanges: Vec::new(),
            page_cap: 100,
        }));
        let app = axum::Router::new().fallback(rest::handle).with_state(Arc::clone(&world));
        let task = tokio::spawn(async move {
            // It ends when the model is dropped.
            let _ = axum::serve(listener, app).await;
        });
        GitHub { root, world, task, dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The root of its pages and of git addresses.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The root of its API, as on Enterprise Server.
    pub fn api_root(&self) -> String {
        format!("{}/api/v3", self.root)
    }

    /// The address of a repository.
    pub fn address(&self, full_name: &str) -> String {
        format!("{}/{full_name}.git", self.root)
    }

    /// Makes an account's token.
    pub async fn add_token(&self, token: &str, login: &str, access: Access) {
        let mut world = self.world.lock().await;
        world.account(login);
        world.tokens.insert(
            token.to_owned(),
            Token { login: login.to_owned(), access, limit: 5000, used: 0 },
        );
    }

    /// Takes a token back: it has expired.
    pub async fn remove_token(&self, token: &str) {
        self.world.lock().await.tokens.remove(token);
    }

    /// Makes a repository with what a bare or other repository at `from` has; gives the directory of
    /// the new bare one.
    pub async fn add_repository(&self, full_name: &str, from: &Path, private: bool) -> PathBuf {
        let (owner, name) = full_name.split_once('/').expect("owner/name");
        let dir = self.dir.path().join(owner).join(format!("{name}.git"));
        let mut world = self.world.lock().await;
        let repository = world.git.init(&dir).await.expect("a new bare repository");
        let origin = windlass_git::Remote::open(windlass_git::Address::Path(from.to_owned()));
        repository
            .fetch(&origin, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], false)
            .await
            .expect("a repository to copy");
        world.account(owner);
        let id = world.id();
        let added = Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            private,
            dir: dir.clone(),
            next_number: 1,
            pulls: Vec::new(),
            statuses: Vec::new(),
        };
        world.repositories.insert(full_name.to_ascii_lowercase(), added);
        dir
    }

    /// Lets the next requests go wrong, one each.
    pub async fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world.lock().await.faults.extend(faults.into_iter().map(Some));
    }

    /// Gives at most this many entries a page, however many are asked for.
    pub async fn cap_pages(&self, entries: usize) {
        self.world.lock().await.page_cap = entries;
    }

    /// The names of a pull request's labels.
    pub async fn labels(&self, full_name: &str, number: u64) -> Vec<String> {
        let world = self.world.lock().await;
        let pulls = &world.repositories[&full_name.to_ascii_lowercase()].pulls;
        let pull = pulls.iter().find(|pull| pull.number == number);
        pull.map(|pull| pull.labels.iter().map(|(_, name)| name.clone()).collect())
            .unwrap_or_default()
    }

    /// Carries the request after the next `n` out and loses its answer.
    pub async fn lose_answer_after(&self, n: usize) {
        let faults = std::iter::repeat_n(None, n).chain([Some(Fault::LostAnswer)]);
        self.world.lock().await.faults.extend(faults);
    }

    /// Gives a token this many more requests before its hourly limit.
    pub async fn leave_requests(&self, token: &str, n: u32) {
        let mut world = self.world.lock().await;
        let token = world.tokens.get_mut(token).expect("a token that was added");
        token.used = token.limit - n;
    }

    /// The host's time, in seconds since the Unix epoch.
    pub async fn now(&self) -> i64 {
        self.world.lock().await.now
    }

    /// Lets time pass; a new hour resets the limits.
    pub async fn pass(&self, seconds: i64) {
        let mut world = self.world.lock().await;
        let hours_before = world.now / 3600;
        world.now += seconds;
        if world.now / 3600 != hours_before {
            world.tokens.values_mut().for_each(|token| token.used = 0);
        }
    }

    /// All REST requests so far.
    pub async fn exchanges(&self) -> Vec<Exchange> {
        self.world.lock().await.exchanges.clone()
    }

    /// How many pull requests a repository has, in any state.
    pub async fn n_pulls(&self, full_name: &str) -> usize {
        self.world.lock().await.repositories[&full_name.to_ascii_lowercase()].pulls.len()
    }

    /// The statuses set on commits, newest last.
    pub async fn statuses(&self, full_name: &str) -> Vec<Value> {
        self.world.lock().await.repositories[&full_name.to_ascii_lowercase()].statuses.clone()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The number of an account, which is made if there is none.
    fn account(&mut self, login: &str) -> u64 {
        let at = self.accounts.iter().position(|known| known == login).unwrap_or_else(|| {
            self.accounts.push(login.to_owned());
            self.accounts.len() - 1
        });
        at as u64 + 1
    }
}
