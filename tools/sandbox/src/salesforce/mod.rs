//! A Salesforce org at home: the REST, Bulk 2.0 and metadata wire that migrations speak, as strict as the platform.
//!
//! Facts are those of the public documentation; where a module follows a part of it, it says which.

mod activity;
mod admin;
mod auth;
mod bulk;
mod bulk1;
mod bulk1_wire;
mod bulk_query;
mod composite;
mod content;
mod describe;
mod faults;
mod feeds;
mod graph;
mod ids;
mod load;
mod metadata;
mod model;
mod org;
mod pretty;
mod related;
mod resources;
mod rows;
mod search;
mod service;
mod soap;
mod soql;
mod validate;
mod xml;

use std::{
    collections::HashMap,
    io::{self, Read},
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

pub use crate::door::Broken;
use crate::{
    door::{self, Answers, path_parts},
    listen::{Listening, listen},
};

use self::{
    auth::Credentials,
    ids::Id,
    org::{Org, Val},
    service::{Call, Reply, Service},
};

/// The user name of the user that clients sign in as.
const INTEGRATION: &str = "0.integration@sandbox.example.com.sandbox";
/// The most bytes of one request.
const BODY: usize = 200 << 20;

/// How the org starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub addr: SocketAddr,
    /// What everything that looks random comes from.
    pub seed: u64,
    /// A folder for the certificate authority; with it, the server speaks https.
    pub tls: Option<PathBuf>,
    /// Whether the daily allowance counts.
    pub limits: bool,
    /// Rows that are there from the start: a JSON file of lists of rows by object.
    pub state: Option<PathBuf>,
    /// How long every answer takes.
    pub latency: Duration,
    /// Faults that are armed from the start, as JSON.
    pub faults: Option<String>,
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
        }
    }
}

/// A running org.
#[derive(Debug)]
pub struct Running {
    /// Its address.
    pub url: String,
    /// A token that is accepted.
    pub token: String,
    /// The client of the client credentials flow.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The user name of the integration user.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its security token, which may follow the password.
    pub security_token: String,
    /// A refresh token of the client.
    pub refresh_token: String,
    /// The certificate authority of its certificate, with https.
    pub ca_certificate: Option<PathBuf>,
    server: Server,
    listening: Listening,
}

impl Running {
    /// Returns the digest of every live data row, as `/__sandbox/digest` gives it.
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
    /// Makes an org and what stands before it. Its time stands still between writes.
    pub fn new(options: &Options) -> io::Result<Self> {
        Self::build(options, false)
    }

    fn build(options: &Options, wall: bool) -> io::Result<Self> {
        let credentials = Credentials {
            client_id: "waybill-sandbox".into(),
            client_secret: format!("sandbox-secret-{}", options.seed),
            username: INTEGRATION.into(),
            password: format!("sandbox-password-{}", options.seed),
            security_token: format!("SecurityToken{}", options.seed),
            refresh_token: format!("5Aep861SandboxRefresh{}", options.seed),
        };
        let mut org = Org::new(1_700_000_000_000);
        org.wall = wall;
        populate(&mut org);
        if let Some(path) = &options.state {
            load(&mut org, path)?;
        }
        let service = Arc::new(Service::new(org, credentials, options.seed, options.limits));
        if let Some(spec) = &options.faults {
            let faults = serde_json::from_str(spec).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("the faults are not a specification: {e}"))
            })?;
            *service::locked(&service.faults) = faults;
        }
        let token = service.issue();
        Ok(Self { service, token, tls: options.tls.is_some() })
    }

    /// Returns a token that is accepted.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the digest of every live data row, as `/__sandbox/digest` gives it.
    pub fn digest(&self) -> String {
        let digest = admin::digest(&self.service.org());
        digest["live"].as_str().unwrap_or_default().to_owned()
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let reply = match call_of(request, self.tls) {
            Ok(call) => {
                let zipped = call.headers.get("accept-encoding").is_some_and(|kinds| kinds.contains("gzip"));
                let mut reply = self.service.call(&call);
                let pretty = call.headers.get("x-prettyprint").is_some_and(|flag| flag == "1" || flag == "true");
                if pretty && reply.kind.starts_with("application/json") {
                    reply.body = pretty::print(&reply.body).unwrap_or(reply.body);
                }
                if zipped { gzip(reply) } else { reply }
            }
            Err(reply) => reply,
        };
        if reply.lost { Err(Broken) } else { Ok(response(reply)) }
    }
}

impl Answers for Server {
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        Self::answer(self, request)
    }
}

/// Starts an org.
pub async fn serve(options: Options) -> io::Result<Running> {
    let server = Server::build(&options, true)?;
    let router = door::router(server.clone(), options.latency, BODY);
    let listening = listen(options.addr, options.tls.as_deref(), router).await?;
    Ok(Running {
        url: listening.url.clone(),
        token: server.token.clone(),
        client_id: server.service.credentials.client_id.clone(),
        client_secret: server.service.credentials.client_secret.clone(),
        username: server.service.credentials.username.clone(),
        password: server.service.credentials.password.clone(),
        security_token: server.service.credentials.security_token.clone(),
        refresh_token: server.service.credentials.refresh_token.clone(),
        ca_certificate: listening.ca_certificate.clone(),
        server,
        listening,
    })
}

fn call_of(request: &Request<Bytes>, tls: bool) -> Result<Call, Reply> {
    let (method, uri, headers, body) = (request.method(), request.uri(), request.headers(), request.body());
    let headers: HashMap<String, String> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let query = uri.query().map(|query| service::form(query.as_bytes())).unwrap_or_default();
    let body = if headers.get("content-encoding").is_some_and(|kind| kind == "gzip") {
        let mut plain = Vec::new();
        let unpacked = flate2::read::GzDecoder::new(body.as_ref()).take(BODY as u64).read_to_end(&mut plain);
        unpacked.map_err(|_| Reply::error(400, "INVALID_REQUEST", "the body is not gzip"))?;
        plain
    } else {
        body.to_vec()
    };
    // Clients that cannot say PATCH say POST and what they mean; who asks for the head alone gets it of what GET says.
    let method = match (method.as_str(), query.get("_HttpMethod")) {
        ("POST", Some(meant)) => meant.to_ascii_uppercase(),
        ("HEAD", _) => "GET".to_owned(),
        (method, _) => method.to_owned(),
    };
    let path = path_parts(uri.path()).collect();
    let host = headers.get("host").cloned().unwrap_or_else(|| "127.0.0.1".into());
    let base = format!("{}://{host}", if tls { "https" } else { "http" });
    let address = base.len() + uri.path_and_query().map_or(0, |path| path.as_str().len());
    Ok(Call { method, path, query, headers, body, base, address })
}

fn gzip(mut reply: Reply) -> Reply {
    use std::io::Write;
    if reply.body.len() < 1_024 {
        return reply;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    if encoder.write_all(&reply.body).is_ok()
        && let Ok(packed) = encoder.finish()
    {
        reply.body = packed;
        reply.headers.push(("content-encoding", "gzip".into()));
    }
    reply
}

fn response(reply: Reply) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(reply.kind));
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Puts in place what every org has: itself, its users, its stages.
fn populate(org: &mut Org) {
    let text = |value: &str| Val::Text(value.into());
    let put = |org: &mut Org, object: &str, values: &[(&str, Val)]| -> Id {
        metadata::setup_row(org, object, values).unwrap_or(Id::new("000", 0))
    };
    org.id = put(
        org,
        "Organization",
        &[
            ("Name", text("Sandbox Org")),
            ("InstanceName", text("SBX1")),
            ("IsSandbox", Val::Bool(true)),
            ("OrganizationType", text("Developer Edition")),
        ],
    );
    let profile = put(org, "Profile", &[("Name", text("System Administrator"))]);
    let users = [
        ("Integration", "User", "integration@sandbox.example.com", true),
        ("Ada", "Lovelace", "ada.lovelace@example.com", true),
        ("Grace", "Hopper", "grace.hopper@example.com", true),
        ("Alan", "Turing", "alan.turing@example.com", true),
        ("Katherine", "Johnson", "katherine.johnson@example.com", false),
        ("Twin", "One", "twin@example.com", true),
        ("Twin", "Two", "twin@example.com", true),
    ];
    for (n, (first, last, email, active)) in users.into_iter().enumerate() {
        put(
            org,
            "User",
            &[
                ("Username", text(&format!("{n}.{email}.sandbox"))),
                ("Name", text(&format!("{first} {last}"))),
                ("FirstName", text(first)),
                ("LastName", text(last)),
                ("Email", text(email)),
                ("IsActive", Val::Bool(active)),
                ("ProfileId", Val::Ref(profile)),
                ("TimeZoneSidKey", text("Europe/Berlin")),
            ],
        );
    }
    let stages = [
        ("Prospecting", 10.0, "Pipeline", false, false),
        ("Qualification", 10.0, "Pipeline", false, false),
        ("Needs Analysis", 20.0, "Pipeline", false, false),
        ("Value Proposition", 50.0, "Pipeline", false, false),
        ("Id. Decision Makers", 60.0, "Pipeline", false, false),
        ("Perception Analysis", 70.0, "Pipeline", false, false),
        ("Proposal/Price Quote", 75.0, "Pipeline", false, false),
        ("Negotiation/Review", 90.0, "Pipeline", false, false),
        ("Closed Won", 100.0, "Closed", true, true),
        ("Closed Lost", 0.0, "Omitted", true, false),
    ];
    for (order, (name, probability, category, closed, won)) in stages.into_iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a place in a list")]
        let order = (order + 1) as f64;
        put(
            org,
            "OpportunityStage",
            &[
                ("ApiName", text(name)),
                ("MasterLabel", text(name)),
                ("DefaultProbability", Val::Num(probability)),
                ("ForecastCategory", text(category)),
                ("ForecastCategoryName", text(category)),
                ("IsActive", Val::Bool(true)),
                ("IsClosed", Val::Bool(closed)),
                ("IsWon", Val::Bool(won)),
                ("SortOrder", Val::Num(order)),
            ],
        );
    }
    for n in 1..=3 {
        put(org, "Account", &[("Name", text(&format!("Existing Account {n}"))), ("Industry", text("Media"))]);
    }
    org.refresh_grants();
}

/// Reads rows that are there from the start.
fn load(org: &mut Org, path: &Path) -> io::Result<()> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()));
    let state: serde_json::Map<String, Json> =
        serde_json::from_slice(&std::fs::read(path)?).map_err(|e| wrong(e.to_string()))?;
    for (name, rows) in &state {
        let object = org.find(name).ok_or_else(|| wrong(format!("there is no object {name}")))?;
        for row in rows.as_array().into_iter().flatten() {
            let body = row.as_object().ok_or_else(|| wrong(format!("a row of {name} is not an object")))?;
            org.create(object, body).map_err(|errors| {
                wrong(errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("; "))
            })?;
        }
    }
    Ok(())
}
