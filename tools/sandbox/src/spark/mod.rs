//! Spark CRM at home: a company that people go on working in, behind a REST API.
//!
//! The vendor documents no API for contacts, companies, deals or activities; this one is a convention, in the ways of public CRM
//! APIs: bearer tokens, lists with a filter by change, lists of the deleted and merged, limits. How lists are paged can be chosen
//! ([`Paging`]). Beside the wire, `/__sandbox/edit` lets people work, `/__sandbox/clock` moves the clock, which stands still
//! otherwise.

mod data;
mod faults;
mod paging;
mod service;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header},
};

pub use self::paging::Paging;
use self::{
    data::Company,
    service::{CLIENT, Call, Reply, Service},
};
use crate::spark_bundle::{self, Spec};

/// How the company starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub addr: SocketAddr,
    /// What the company is made of, unless there is an export.
    pub spec: Spec,
    /// An export in the bundle convention, as a folder.
    pub bundle: Option<PathBuf>,
    /// How lists are paged.
    pub paging: Paging,
    /// No page after this one is given, where pages have numbers.
    pub deepest: Option<usize>,
    /// How many calls a second are answered.
    pub rate: Option<u32>,
    /// Whether changes are stamped to the millisecond; else to the second.
    pub milliseconds: bool,
    /// How long every answer takes.
    pub latency: Duration,
    /// Faults that are armed from the start, as JSON.
    pub faults: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            spec: Spec::default(),
            bundle: None,
            paging: Paging::default(),
            deepest: None,
            rate: None,
            milliseconds: true,
            latency: Duration::ZERO,
            faults: None,
        }
    }
}

/// The server without a socket: a request goes in, an answer comes out. This is what a simulation talks to.
#[derive(Debug, Clone)]
pub struct Server {
    service: Arc<Service>,
    token: String,
    /// The folder of a generated company, which goes with the last server over it.
    _made: Option<Arc<Made>>,
}

/// A folder that is removed when it is no longer needed.
#[derive(Debug)]
struct Made(PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The work is done, and the connection breaks before the answer is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Server {
    /// Makes a company, or reads one from an export.
    pub fn new(options: &Options) -> io::Result<Self> {
        let (company, made) = match &options.bundle {
            Some(dir) => (Company::read(dir, options.milliseconds)?, None),
            None => {
                let made = Made(folder(&options.spec));
                spark_bundle::generate(&options.spec, &made.0)?;
                (Company::read(&made.0, options.milliseconds)?, Some(Arc::new(made)))
            }
        };
        let service = Service::new(company, options.paging, options.spec.seed, options.rate, options.deepest);
        if let Some(spec) = &options.faults {
            let faults = serde_json::from_str(spec).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("the faults are not a specification: {e}"))
            })?;
            service.arm(faults);
        }
        let token = service.issue();
        Ok(Self { service: Arc::new(service), token, _made: made })
    }

    /// Returns a token that is accepted.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the digest of every record, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        self.service.digest()
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let reply = self.service.call(&call_of(request));
        if reply.lost { Err(Broken) } else { Ok(response(reply)) }
    }
}

/// Returns a folder that nobody else has.
fn folder(spec: &Spec) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!("spark-{}-{}-{number}-{}", spec.seed, spec.size, std::process::id()))
}

/// A running company.
#[derive(Debug)]
pub struct Running {
    /// The address of its API.
    pub url: String,
    /// The address of the switches beside the wire.
    pub switches: String,
    /// A token that is accepted.
    pub token: String,
    /// The client of the client credentials grant.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    server: Server,
    handle: axum_server::Handle<SocketAddr>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    /// Returns the digest of every record, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        self.server.digest()
    }

    /// Stops the server.
    pub async fn shutdown(self) {
        self.handle.shutdown();
        // The server has nothing more to say.
        let _ = self.task.await;
    }
}

/// Starts a company, on the runtime that this is called on.
pub fn serve(options: Options) -> io::Result<Running> {
    let server = Server::new(&options)?;
    let router = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(16 << 20))
        .with_state((server.clone(), options.latency));
    let listener = std::net::TcpListener::bind(options.addr)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let handle = axum_server::Handle::new();
    let listening = axum_server::from_tcp(listener)?.handle(handle.clone());
    let task = tokio::spawn(async move { listening.serve(router.into_make_service()).await });
    Ok(Running {
        url: format!("http://{addr}/api/v1"),
        switches: format!("http://{addr}/__sandbox"),
        token: server.token.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: server.service.client_secret.clone(),
        server,
        handle,
        task,
    })
}

async fn answer(
    State((server, latency)): State<(Server, Duration)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    match tokio::task::block_in_place(|| server.answer(&request)) {
        Ok(response) => response.map(Body::from),
        Err(Broken) => {
            let pieces =
                futures::stream::iter([Ok(Bytes::from_static(b"[")), Err(io::Error::other("the connection breaks"))]);
            Response::new(Body::from_stream(pieces))
        }
    }
}

fn call_of(request: &Request<Bytes>) -> Call {
    let header =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = header(header::HOST).unwrap_or_else(|| "127.0.0.1".to_owned());
    Call {
        method: request.method().as_str().to_owned(),
        path: request
            .uri()
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decoded(part, false))
            .collect(),
        query: request.uri().query().map(|query| form(query.as_bytes())).unwrap_or_default(),
        authorization: header(header::AUTHORIZATION),
        body: request.body().to_vec(),
        base: format!("http://{host}"),
    }
}

fn response(reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&reply.kind) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Reads what a form or a query holds.
fn form(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        })
        .collect()
}

fn decoded(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) if plus => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
