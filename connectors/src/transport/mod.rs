//! HTTP for every connector: one client, one session, and the difference between "nothing left" and "nobody knows".
//!
//! What may be sent again is the caller's to say: a read is repeated here, a write never is.

use std::{path::PathBuf, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use waybill_ledger::event::UnknownCause;

use crate::error::RemoteError;

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The name of the system, for messages.
    pub(crate) system: &'static str,
    /// A file with a further certificate authority.
    pub(crate) ca_certificate: Option<PathBuf>,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// How often a read is repeated.
    pub(crate) tries: usize,
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) body: Option<(&'static str, Bytes)>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Request {
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), body: None, headers: Vec::new() }
    }

    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), body: None, headers: Vec::new() }
    }

    pub(crate) fn json(mut self, value: &serde_json::Value) -> Self {
        self.body = Some(("application/json; charset=UTF-8", Bytes::from(value.to_string())));
        self
    }

    pub(crate) fn body(mut self, kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        self.body = Some((kind, bytes.into()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// No answer.
#[derive(Debug, Clone)]
pub(crate) enum Lost {
    /// Nothing left: the server could not be reached.
    NotSent(RemoteError),
    /// The request may have been worked off.
    Unknown(UnknownCause, RemoteError),
}

impl From<Lost> for RemoteError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent(error) | Lost::Unknown(_, error) => error,
        }
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    settings: Arc<Settings>,
}

impl Client {
    /// Returns a client.
    pub(crate) fn new(settings: Settings) -> Result<Self, RemoteError> {
        // A second call finds the provider in place, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |detail: String| RemoteError::Malformed {
            system: settings.system.to_owned(),
            what: "the certificate authority of the configuration".to_owned(),
            detail,
        };
        let mut builder = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(Duration::from_secs(10).min(settings.timeout))
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &settings.ca_certificate {
            let pem = std::fs::read(path).map_err(|e| unusable(format!("{}: {e}", path.display())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| unusable(e.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|e| unusable(e.to_string()))?;
        Ok(Self { http, settings: Arc::new(settings) })
    }

    /// Returns the name of the system.
    pub(crate) fn system(&self) -> &'static str {
        self.settings.system
    }

    /// Sends a request once.
    pub(crate) async fn once(&self, request: &Request) -> Result<Response, Lost> {
        let mut builder = self.http.request(request.method.clone(), &request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some((kind, bytes)) = &request.body {
            builder = builder.header("Content-Type", *kind).body(bytes.clone());
        }
        let sent = builder.send().await;
        let response = sent.map_err(|error| self.lost(&request.url, &error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| match self.lost(&request.url, &error) {
            Lost::NotSent(error) => Lost::Unknown(UnknownCause::ConnectionLost, error),
            lost @ Lost::Unknown(..) => lost,
        })?;
        Ok(Response { status, body })
    }

    /// Sends a request that changes nothing, again and again while the server is busy or out of reach.
    pub(crate) async fn read(&self, request: &Request) -> Result<Response, RemoteError> {
        let attempt = || async {
            let response = self.once(request).await.map_err(RemoteError::from)?;
            if matches!(response.status.as_u16(), 420 | 429 | 500 | 502..=504) {
                let code = response.status.as_u16().to_string();
                return Err(RemoteError::Busy { system: self.system().to_owned(), code });
            }
            Ok(response)
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(self.settings.tries)
            .with_jitter();
        attempt
            .retry(pauses)
            .when(|error| matches!(error, RemoteError::Busy { .. } | RemoteError::Unreachable { .. }))
            .await
    }

    fn lost(&self, url: &str, error: &reqwest::Error) -> Lost {
        // The address may carry a query with record values: only the server is named.
        let server = reqwest::Url::parse(url)
            .map_or_else(|_| "the configured address".to_owned(), |url| url.origin().ascii_serialization());
        let reason = if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_connect() {
            "no connection"
        } else if error.is_builder() {
            "the address is not one"
        } else {
            "the connection broke"
        };
        let shown =
            RemoteError::Unreachable { system: self.system().to_owned(), url: server, reason: reason.to_owned() };
        if error.is_connect() || error.is_builder() {
            Lost::NotSent(shown)
        } else if error.is_timeout() {
            Lost::Unknown(UnknownCause::Timeout, shown)
        } else {
            Lost::Unknown(UnknownCause::ConnectionLost, shown)
        }
    }
}
