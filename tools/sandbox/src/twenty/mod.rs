//! A Twenty workspace at home: records by REST and GraphQL, metadata by both, as strict and as odd as the server.
//!
//! The version spoken is 2.21. Facts are those of a freshly activated workspace of that version and of its public
//! documentation; where the two differ, the server wins. What neither tells is a switch ([`Switches`]).
//!
//! **Invariant:** nothing that reaches an answer depends on the order of a hash, on a clock other than the workspace's, or on
//! randomness other than the seed's.

mod admin;
mod auth;
mod composite;
mod condition;
mod demo;
mod draft;
mod duplicates;
mod faults;
mod files;
mod filter;
mod graphql;
mod group;
mod inspect;
mod limiter;
mod links;
mod metadata;
mod model;
mod openapi;
mod order;
mod phones;
mod query;
mod records;
mod refusal;
mod rest;
mod rich_text;
mod rows;
mod scalar;
mod service;
mod show;
mod standard;
#[cfg(test)]
mod tests;
mod uuid;
mod webhooks;
mod worker;
mod workspace;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Request, Response, StatusCode},
};
use serde_json::Value as Json;

pub use self::workspace::Switches;
use self::{
    auth::Keys,
    service::{Call, Reply, Service},
    workspace::{Author, Workspace},
};
pub use crate::door::Broken;
use crate::{
    door::{self, Answers, pairs, path_parts},
    listen::{Listening, listen},
};

/// The most bytes of one request: those of a file.
const BODY: usize = 200 << 20;
/// The time at which a workspace without a wall clock begins, in milliseconds since 1970.
const DAWN: i64 = 1_700_000_000_000;

/// How the workspace starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub addr: SocketAddr,
    /// What everything that looks random comes from.
    pub seed: u64,
    /// A folder for the certificate authority; with it, the server speaks https.
    pub tls: Option<PathBuf>,
    /// Whether the rate limit counts.
    pub limits: bool,
    /// Rows that are there from the start: a JSON file of lists of records by plural name.
    pub state: Option<PathBuf>,
    /// How long every answer takes.
    pub latency: Duration,
    /// Faults that are armed from the start, as JSON.
    pub faults: Option<String>,
    /// What differs between servers and versions.
    pub switches: Switches,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            tls: None,
            limits: true,
            state: None,
            latency: Duration::ZERO,
            faults: None,
            switches: Switches::default(),
        }
    }
}

/// A running workspace.
#[derive(Debug)]
pub struct Running {
    /// Its address.
    pub url: String,
    /// A key that is accepted.
    pub token: String,
    /// The certificate authority of its certificate, with https.
    pub ca_certificate: Option<PathBuf>,
    server: Server,
    listening: Listening,
}

impl Running {
    /// Returns the digest of every live record, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        self.server.digest()
    }

    /// Stops the server.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }

    /// Waits until the server stops on its own.
    pub async fn wait(self) -> io::Result<()> {
        self.listening.wait().await
    }
}

/// The server without a socket: a request goes in, an answer comes out. This is what a simulation talks to.
#[derive(Debug, Clone)]
pub struct Server {
    service: Arc<Service>,
    token: String,
    tls: bool,
}

impl Server {
    /// Makes a workspace. Its time goes on by a millisecond with every request, and by [`Server::advance`].
    pub fn new(options: &Options) -> io::Result<Self> {
        Self::build(options, false)
    }

    fn build(options: &Options, wall: bool) -> io::Result<Self> {
        let mut switches = options.switches;
        if !options.limits {
            (switches.short_limit, switches.long_limit) = (0, 0);
        }
        let now = if wall { chrono::Utc::now().timestamp_millis() } else { DAWN };
        let keys = Keys::new(options.seed);
        let mut workspace = Workspace::new(options.seed, now, switches);
        workspace.files = workspace.files.with_keys(keys.clone());
        workspace.prefill();
        if let Some(path) = &options.state {
            load(&mut workspace, path)?;
        }
        let token = keys.issue(&workspace.id, &workspace.key.0, now / 1_000, now / 1_000 + 100 * 365 * 86_400);
        let service = Arc::new(Service::new(workspace, keys, wall));
        if let Some(spec) = &options.faults {
            service.state().faults = serde_json::from_str(spec).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("the faults are not a specification: {error}"))
            })?;
        }
        Ok(Self { service, token, tls: options.tls.is_some() })
    }

    /// Returns a key that is accepted.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the digest of every live record, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        let digest = admin::digest(&self.service.state().workspace);
        digest["live"].as_str().unwrap_or_default().to_owned()
    }

    /// Puts the clock forward; what becomes due on the way is done.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2);
        admin::advance(&mut self.service.state(), millis);
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let reply = self.service.call(&call_of(request, self.tls));
        if reply.lost { Err(Broken) } else { Ok(response(reply)) }
    }
}

impl Answers for Server {
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        Self::answer(self, request)
    }

    fn slowness(&self) -> Duration {
        Duration::from_millis(self.service.state().faults.slow)
    }
}

/// Starts a workspace.
pub async fn serve(options: Options) -> io::Result<Running> {
    let server = Server::build(&options, true)?;
    let router = door::router(server.clone(), options.latency, BODY);
    let listening = listen(options.addr, options.tls.as_deref(), router).await?;
    Ok(Running {
        url: listening.url.clone(),
        token: server.token.clone(),
        ca_certificate: listening.ca_certificate.clone(),
        server,
        listening,
    })
}

fn call_of(request: &Request<Bytes>, tls: bool) -> Call {
    let headers: HashMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let uri = request.uri();
    Call {
        method: request.method().as_str().to_owned(),
        address: uri.path().to_owned(),
        path: path_parts(uri.path()).collect(),
        query: pairs(uri.query().unwrap_or_default().as_bytes()).collect(),
        headers,
        body: request.body().to_vec(),
        scheme: if tls { "https" } else { "http" },
    }
}

fn response(reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if reply.status != 204 {
        headers.insert("content-type", HeaderValue::from_static(reply.kind));
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Reads records that are there from the start.
fn load(workspace: &mut Workspace, path: &Path) -> io::Result<()> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()));
    let state: serde_json::Map<String, Json> =
        serde_json::from_slice(&std::fs::read(path)?).map_err(|error| wrong(error.to_string()))?;
    let author = Author::new("SYSTEM", "System");
    for (name, records) in &state {
        let object = workspace.catalog.by_plural(name).map(|object| object.number);
        let object = object.ok_or_else(|| wrong(format!("there is no object {name}")))?;
        let records = records.as_array().ok_or_else(|| wrong(format!("{name} is not a list")))?;
        for chunk in records.chunks(workspace.switches.cap.max(1)) {
            workspace.create(object, chunk, false, &author).map_err(|refusal| wrong(refusal.message.clone()))?;
        }
    }
    workspace.queue = worker::Queue::default();
    Ok(())
}
