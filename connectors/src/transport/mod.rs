//! HTTP for every connector: one client, one session, and the difference between "nothing left" and "nobody knows".
//!
//! What may be sent again is the caller's to say: a read is repeated here, a write never is.
//!
//! The wire itself is a port ([`Http`]): the network by default, or a server in the same process, whose answers a
//! simulation can lose at will.

mod limiter;
mod network;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use waybill_ledger::event::UnknownCause;

pub(crate) use self::limiter::{Limiter, Rate};
pub use self::network::Network;
use crate::error::RemoteError;

/// Why no whole answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The server could not be reached: nothing left.
    NotReached,
    /// The address is not one: nothing left.
    BadAddress,
    /// The time was up; the request may have been worked off.
    TimedOut,
    /// The connection broke; the request may have been worked off.
    Broken,
}

/// Carries requests to a server and whole answers back.
pub trait Http: Send + Sync + fmt::Debug {
    /// Sends one request, once.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, NoAnswer>>;
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The name of the system, for messages.
    pub(crate) system: &'static str,
    /// How often a read is repeated.
    pub(crate) tries: usize,
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) body: Option<(Cow<'static, str>, Bytes)>,
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
        self.body = Some(("application/json; charset=UTF-8".into(), Bytes::from(value.to_string())));
        self
    }

    pub(crate) fn body(mut self, kind: impl Into<Cow<'static, str>>, bytes: impl Into<Bytes>) -> Self {
        self.body = Some((kind.into(), bytes.into()));
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
    http: Arc<dyn Http>,
    settings: Settings,
}

impl Client {
    /// Returns a client.
    pub(crate) fn new(http: Arc<dyn Http>, settings: Settings) -> Self {
        Self { http, settings }
    }

    /// Returns the name of the system.
    pub(crate) fn system(&self) -> &'static str {
        self.settings.system
    }

    /// Sends a request once.
    pub(crate) async fn once(&self, request: &Request) -> Result<Response, Lost> {
        let mut builder = http::Request::builder().method(request.method.clone()).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let mut body = Bytes::new();
        if let Some((kind, bytes)) = &request.body {
            builder = builder.header("Content-Type", kind.as_ref());
            body = bytes.clone();
        }
        let lost = |reason| self.lost(&request.url, reason);
        let whole = builder.body(body).map_err(|_| lost(NoAnswer::BadAddress))?;
        let response = self.http.send(whole).await.map_err(lost)?;
        Ok(Response { status: response.status(), body: response.into_body() })
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

    fn lost(&self, url: &str, reason: NoAnswer) -> Lost {
        // The address may carry a query with record values: only the server is named.
        let server = reqwest::Url::parse(url)
            .map_or_else(|_| "the configured address".to_owned(), |url| url.origin().ascii_serialization());
        let shown = |reason: &str| RemoteError::Unreachable {
            system: self.system().to_owned(),
            url: server,
            reason: reason.to_owned(),
        };
        match reason {
            NoAnswer::NotReached => Lost::NotSent(shown("no connection")),
            NoAnswer::BadAddress => Lost::NotSent(shown("the address is not one")),
            NoAnswer::TimedOut => Lost::Unknown(UnknownCause::Timeout, shown("it did not answer in time")),
            NoAnswer::Broken => Lost::Unknown(UnknownCause::ConnectionLost, shown("the connection broke")),
        }
    }
}
