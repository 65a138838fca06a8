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

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, Request, Response, StatusCode, header},
};
use tempfile::TempDir;

pub use self::paging::Paging;
use self::{
    data::Company,
    service::{CLIENT, Call, Reply, Service},
};
pub use crate::door::Broken;
use crate::{
    door::{self, Answers, pairs, path_parts},
    listen::{Listening, listen},
    spark_bundle::{self, Spec},
};

/// The most bytes of one request.
const BODY: usize = 16 << 20;

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
    _made: Option<Arc<TempDir>>,
}

impl Server {
    /// Makes a company, or reads one from an export.
    pub fn new(options: &Options) -> io::Result<Self> {
        let (company, made) = match &options.bundle {
            Some(dir) => (Company::read(dir, options.milliseconds)?, None),
            None => {
                let made = tempfile::Builder::new().prefix("waybill-spark-").tempdir()?;
                spark_bundle::generate(&options.spec, made.path())?;
                (Company::read(made.path(), options.milliseconds)?, Some(Arc::new(made)))
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
    listening: Listening,
}

impl Running {
    /// Returns the digest of every record, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        self.server.digest()
    }

    /// Stops the server.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

impl Answers for Server {
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        Self::answer(self, request)
    }
}

/// Starts a company.
pub async fn serve(options: Options) -> io::Result<Running> {
    let server = Server::new(&options)?;
    let router = door::router(server.clone(), options.latency, BODY);
    let listening = listen(options.addr, None, router).await?;
    let root = &listening.url;
    Ok(Running {
        url: format!("{root}/api/v1"),
        switches: format!("{root}/__sandbox"),
        token: server.token.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: server.service.client_secret.clone(),
        server,
        listening,
    })
}

fn call_of(request: &Request<Bytes>) -> Call {
    let header =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = header(header::HOST).unwrap_or_else(|| "127.0.0.1".to_owned());
    Call {
        method: request.method().as_str().to_owned(),
        path: path_parts(request.uri().path()).collect(),
        query: request.uri().query().map(|query| pairs(query.as_bytes()).collect()).unwrap_or_default(),
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
