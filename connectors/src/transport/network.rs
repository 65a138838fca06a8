//! The network, as [`Http`].

use std::{path::Path, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{Http, NoAnswer};
use crate::error::RemoteError;

/// Sends over TCP, with TLS where the address says so.
#[derive(Debug, Clone)]
pub struct Network {
    client: reqwest::Client,
}

impl Network {
    /// Returns the network; `timeout` is for one request, `authority` a file with a further certificate authority.
    pub fn new(system: &str, timeout: Duration, authority: Option<&Path>) -> Result<Self, RemoteError> {
        // A second call finds the provider in place, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unusable = |detail: String| RemoteError::Malformed {
            system: system.to_owned(),
            what: "the certificate authority of the configuration".to_owned(),
            detail,
        };
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(Duration::from_secs(10).min(timeout))
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = authority {
            let pem = std::fs::read(path).map_err(|e| unusable(format!("{}: {e}", path.display())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| unusable(e.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Self { client: builder.build().map_err(|e| unusable(e.to_string()))? })
    }
}

impl Http for Network {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, NoAnswer>> {
        async move {
            let request = reqwest::Request::try_from(request).map_err(|_| NoAnswer::BadAddress)?;
            let response = self.client.execute(request).await.map_err(|error| {
                if error.is_connect() {
                    NoAnswer::NotReached
                } else if error.is_builder() {
                    NoAnswer::BadAddress
                } else {
                    after_sending(&error)
                }
            })?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await.map_err(|error| after_sending(&error))?;
            let mut whole = http::Response::new(body);
            *whole.status_mut() = status;
            *whole.headers_mut() = headers;
            Ok(whole)
        }
        .boxed()
    }
}

fn after_sending(error: &reqwest::Error) -> NoAnswer {
    if error.is_timeout() { NoAnswer::TimedOut } else { NoAnswer::Broken }
}
