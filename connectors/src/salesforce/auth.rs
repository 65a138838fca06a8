//! The session: a token, and one refresh at a time when it has expired.
//!
//! Source: "OAuth 2.0 Client Credentials Flow" in the Salesforce Help; "Status Codes and Error Responses" in the REST API
//! Developer Guide.

use std::fmt;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer;
use crate::{
    error::RemoteError,
    transport::{Client, Lost, Request, Response},
};

/// How to sign in.
#[derive(Clone)]
pub enum Auth {
    /// A token that someone obtained.
    Token(SecretString),
    /// The OAuth client credentials flow.
    ClientCredentials {
        /// The client.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::ClientCredentials { .. } => "ClientCredentials",
        })
    }
}

/// A signed-in session, shared by everyone who sends.
pub(super) struct Session {
    client: Client,
    login: String,
    auth: Auth,
    held: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    token: SecretString,
    base: String,
    generation: u64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    instance_url: String,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(client: Client, login: &str, auth: Auth) -> Self {
        Self { client, login: login.trim_end_matches('/').to_owned(), auth, held: Mutex::new(None) }
    }

    /// Sends a request that changes nothing.
    pub(super) async fn read(&self, request: Request) -> Result<Response, RemoteError> {
        let mut held = self.token(None).await?;
        for last in [false, true] {
            let response = self.client.read(&prepared(&request, &held)).await?;
            if response.status != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if last {
                return Err(self.refused(&response));
            }
            held = self.token(Some((held.generation, &response))).await?;
        }
        unreachable!("the second turn returns")
    }

    /// Sends a request that changes something, once. An expired session is renewed: the first request did nothing then.
    pub(super) async fn write(&self, request: Request) -> Result<Response, Lost> {
        let mut held = self.token(None).await.map_err(Lost::NotSent)?;
        for last in [false, true] {
            let response = self.client.once(&prepared(&request, &held)).await?;
            if response.status != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if last {
                return Err(Lost::NotSent(self.refused(&response)));
            }
            held = self.token(Some((held.generation, &response))).await.map_err(Lost::NotSent)?;
        }
        unreachable!("the second turn returns")
    }

    /// Returns the token; after an answer that a generation of it is not accepted, a new one.
    async fn token(&self, expired: Option<(u64, &Response)>) -> Result<Held, RemoteError> {
        let mut slot = self.held.lock().await;
        if let Some(held) = slot.as_ref()
            && expired.is_none_or(|(generation, _)| generation != held.generation)
        {
            return Ok(held.clone());
        }
        let generation = slot.as_ref().map_or(1, |held| held.generation + 1);
        let held = match (&self.auth, expired) {
            (Auth::Token(_), Some((_, response))) => return Err(self.refused(response)),
            (Auth::Token(token), None) => Held { token: token.clone(), base: self.login.clone(), generation },
            (Auth::ClientCredentials { id, secret }, _) => {
                let mut form = reqwest::Url::parse("form:").expect("a constant address");
                form.query_pairs_mut()
                    .append_pair("grant_type", "client_credentials")
                    .append_pair("client_id", id)
                    .append_pair("client_secret", secret.expose_secret());
                let request = Request::new(Method::POST, format!("{}/services/oauth2/token", self.login))
                    .body("application/x-www-form-urlencoded", form.query().unwrap_or_default().to_owned());
                let response = self.client.read(&request).await?;
                if !response.status.is_success() {
                    let code = serde_json::from_slice::<TokenError>(&response.body)
                        .map_or_else(|_| response.status.as_u16().to_string(), |error| error.error);
                    return Err(RemoteError::Unauthorized { system: self.client.system().to_owned(), code });
                }
                let answer: TokenAnswer =
                    serde_json::from_slice(&response.body).map_err(|e| answer::malformed("the sign-in", &e))?;
                let base = answer.instance_url.trim_end_matches('/').to_owned();
                Held { token: answer.access_token.into(), base, generation }
            }
        };
        *slot = Some(held.clone());
        Ok(held)
    }

    fn refused(&self, response: &Response) -> RemoteError {
        let code = answer::first_error(&response.body).map_or_else(|| "401".to_owned(), |error| error.code);
        RemoteError::Unauthorized { system: self.client.system().to_owned(), code }
    }
}

fn prepared(request: &Request, held: &Held) -> Request {
    let mut request = request.clone();
    request.url = format!("{}{}", held.base, request.url);
    request.header("Authorization", format!("Bearer {}", held.token.expose_secret()))
}
