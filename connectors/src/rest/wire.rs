//! Asks the server: who asks, how fast, and what is done when it says no. Only reads go through here, so a request may be sent
//! again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;
use tokio::{sync::Mutex, time::Instant};

use super::{
    answer::find,
    description::{AuthSpec, Description, Limits, Method, ResetUnit},
    error::RestError,
    paging::{PagingError, Turn},
};
use crate::{
    bundle::json,
    error::RemoteError,
    transport::{Http, NoAnswer},
};

/// A request of a list, before a page of it is chosen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) post: bool,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Json>,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    pub(crate) fn new(method: Method, path: String) -> Self {
        Self { post: method == Method::Post, path, ..Self::default() }
    }

    /// Adds what a page needs.
    pub(crate) fn turned(&self, turn: &Turn) -> Self {
        let mut asked = self.clone();
        asked.query.retain(|(name, _)| turn.query.iter().all(|(other, _)| other != name));
        asked.query.extend(turn.query.iter().cloned());
        asked.headers.extend(turn.headers.iter().cloned());
        for (path, value) in &turn.body {
            super::answer::put(asked.body.get_or_insert(Json::Null), path, value.clone());
        }
        asked
    }
}

/// An answer in full.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) body: Json,
    pub(crate) bytes: Bytes,
    pub(crate) headers: HeaderMap,
    /// When the server answered, by its own clock.
    pub(crate) at: Option<DateTime<Utc>>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What came back, whole.
struct Raw {
    headers: HeaderMap,
    body: Bytes,
}

/// One server, and who asks it.
#[derive(Debug)]
pub(crate) struct Wire {
    http: Arc<dyn Http>,
    pub(crate) system: String,
    base: Url,
    auth: AuthSpec,
    secret: SecretString,
    token: Mutex<Option<SecretString>>,
    headers: Vec<(String, String)>,
    limits: Limits,
    clock: Option<String>,
    pace: Mutex<Pace>,
}

/// When the last requests went out, and until when the server wants no more.
#[derive(Debug, Default)]
struct Pace {
    sent: VecDeque<Instant>,
    rest_until: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(
        http: Arc<dyn Http>,
        description: &Description,
        base: &str,
        secret: SecretString,
    ) -> Result<Self, RestError> {
        let bad = || RemoteError::Unreachable {
            system: description.label.clone(),
            url: "the configured address".to_owned(),
            reason: "the address is not one".to_owned(),
        };
        let mut base = Url::parse(base).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad().into());
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        base.set_query(None);
        Ok(Self {
            http,
            system: description.label.clone(),
            base,
            auth: description.client.auth.clone(),
            secret,
            token: Mutex::default(),
            headers: description.client.headers.clone().into_iter().collect(),
            limits: description.limits.clone(),
            clock: description.clock.path.clone(),
            pace: Mutex::default(),
        })
    }

    /// Returns where the server is, without secrets.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.base.origin().ascii_serialization(), self.base.path().trim_end_matches('/'))
    }

    /// Returns the whole address of a request. One that the server gave must be its own: our secret goes with it.
    pub(crate) fn address(&self, ask: &Ask, given: Option<&str>, after: Option<&Url>) -> Result<Url, PagingError> {
        let mut url = match given {
            Some(given) => {
                let from = after.unwrap_or(&self.base);
                let url = from.join(given).map_err(|_| PagingError::OtherServer { origin: "no address".to_owned() })?;
                if url.origin() != self.base.origin() {
                    return Err(PagingError::OtherServer { origin: url.origin().ascii_serialization() });
                }
                return Ok(url);
            }
            None => self.base.clone(),
        };
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        Ok(url)
    }

    /// Asks for JSON. An answer that breaks off is asked for again.
    pub(crate) async fn json(&self, ask: &Ask, url: &Url) -> Result<Answer, RestError> {
        let mut cut = 0;
        loop {
            let raw = self.send(ask, url).await?;
            match json::parse(&raw.body) {
                Ok(body) => {
                    let told = self.clock.as_ref().and_then(|path| find(&body, path)).and_then(moment);
                    let at = told.or_else(|| date(&raw.headers));
                    return Ok(Answer { body, bytes: raw.body, headers: raw.headers, at });
                }
                Err(detail) => {
                    cut += 1;
                    if cut >= self.limits.tries {
                        let what = ask.path.clone();
                        return Err(RemoteError::Malformed { system: self.system.clone(), what, detail }.into());
                    }
                    tokio::time::sleep(self.pause(cut)).await;
                }
            }
        }
    }

    /// Asks for bytes.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Bytes, RestError> {
        let ask = Ask::get(path);
        let url =
            self.address(&ask, None, None).map_err(|error| RestError::Paging { object: path.to_owned(), error })?;
        Ok(self.send(&ask, &url).await?.body)
    }

    async fn send(&self, ask: &Ask, url: &Url) -> Result<Raw, RestError> {
        let system = || self.system.clone();
        let (mut tries, mut renewed) = (0, false);
        loop {
            let request = self.request(ask, url).await?;
            self.in_turn().await;
            tries += 1;
            let again = tries < self.limits.tries;
            let response = match self.http.send(request).await {
                Ok(response) => response,
                Err(NoAnswer::BadAddress) => return Err(self.unreachable("the address is not one").into()),
                Err(_) if again => {
                    tokio::time::sleep(self.pause(tries)).await;
                    continue;
                }
                Err(NoAnswer::NotReached) => return Err(self.unreachable("no connection").into()),
                Err(NoAnswer::TimedOut) => return Err(self.unreachable("it did not answer in time").into()),
                Err(NoAnswer::Broken) => return Err(self.unreachable("the connection broke").into()),
            };
            let (status, headers) = (response.status(), response.headers().clone());
            self.heed(&headers).await;
            let code = status.as_u16().to_string();
            if status.is_success() {
                return Ok(Raw { headers, body: response.into_body() });
            }
            if status == StatusCode::UNAUTHORIZED {
                if !renewed && matches!(self.auth, AuthSpec::Oauth2Client { .. }) {
                    renewed = true;
                    *self.token.lock().await = None;
                    continue;
                }
                return Err(RemoteError::Unauthorized { system: system(), code }.into());
            }
            if self.limits.retry_on.contains(&status.as_u16()) {
                let asked = self.asked_to_wait(&headers);
                let longest = Duration::from_secs(self.limits.longest_wait_s);
                if let Some(wait) = asked.filter(|wait| *wait > longest) {
                    return Err(RemoteError::Quota { system: system(), code, wait: Some(wait) }.into());
                }
                if again {
                    tokio::time::sleep(asked.unwrap_or_else(|| self.pause(tries))).await;
                    continue;
                }
                return Err(match status {
                    StatusCode::TOO_MANY_REQUESTS => RemoteError::Quota { system: system(), code, wait: asked },
                    _ => RemoteError::Busy { system: system(), code },
                }
                .into());
            }
            let what = ask.path.clone();
            return Err(match status {
                StatusCode::FORBIDDEN => RemoteError::Forbidden { system: system(), what, code }.into(),
                StatusCode::NOT_FOUND | StatusCode::GONE => RestError::Absent { system: system(), what },
                // Its message may quote values: the code is enough.
                _ => RemoteError::Refused { system: system(), what, code, message: String::new() }.into(),
            });
        }
    }

    fn unreachable(&self, reason: &str) -> RemoteError {
        RemoteError::Unreachable {
            system: self.system.clone(),
            url: self.base.origin().ascii_serialization(),
            reason: reason.to_owned(),
        }
    }

    async fn request(&self, ask: &Ask, url: &Url) -> Result<http::Request<Bytes>, RestError> {
        let mut url = url.clone();
        let secret = self.secret.expose_secret();
        let authorization = match &self.auth {
            AuthSpec::None => None,
            AuthSpec::Bearer => Some(("authorization".to_owned(), format!("Bearer {secret}"))),
            AuthSpec::Header { name, template } => Some((name.clone(), template.replace("${secret}", secret))),
            AuthSpec::Basic { user } => {
                let pair = user.as_ref().map_or_else(|| format!("{secret}:X"), |user| format!("{user}:{secret}"));
                Some(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair))))
            }
            AuthSpec::Query { name } => {
                let others: Vec<(String, String)> =
                    url.query_pairs().filter(|(other, _)| other != name).map(|(k, v)| (k.into(), v.into())).collect();
                url.query_pairs_mut().clear().extend_pairs(others).append_pair(name, secret);
                None
            }
            AuthSpec::Oauth2Client { token_path, client_id, prefix } => {
                let token = self.token(token_path, client_id.as_deref().unwrap_or_default()).await?;
                Some(("authorization".to_owned(), format!("{prefix} {}", token.expose_secret())))
            }
        };
        let body = ask.body.as_ref().map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut builder = http::Request::builder().method(if ask.post { "POST" } else { "GET" }).uri(url.as_str());
        if ask.body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in self.headers.iter().chain(&ask.headers).chain(&authorization) {
            builder = builder.header(name.as_str(), value.as_str());
        }
        builder.body(body).map_err(|_| self.unreachable("the request cannot be made of these headers").into())
    }

    async fn token(&self, path: &str, client: &str) -> Result<SecretString, RestError> {
        let mut held = self.token.lock().await;
        if let Some(token) = &*held {
            return Ok(token.clone());
        }
        let ask = Ask::get(path);
        let url =
            self.address(&ask, None, None).map_err(|error| RestError::Paging { object: path.to_owned(), error })?;
        let pairs = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", self.secret.expose_secret()),
        ];
        let form = Url::parse_with_params("q:", pairs).map(|url| url.query().unwrap_or_default().to_owned());
        let refused = |code: String| RemoteError::Unauthorized { system: self.system.clone(), code };
        for tries in 1..=self.limits.tries {
            let request = http::Request::post(url.as_str())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Bytes::from(form.clone().unwrap_or_default()))
                .map_err(|_| self.unreachable("the address is not one"))?;
            self.in_turn().await;
            match self.http.send(request).await {
                Ok(response) if response.status().is_success() => {
                    let body = json::parse(response.body()).unwrap_or_default();
                    let token = find(&body, "access_token").and_then(json::plain);
                    let token = SecretString::from(token.ok_or_else(|| refused("no access_token".to_owned()))?);
                    *held = Some(token.clone());
                    return Ok(token);
                }
                Ok(response) if !self.limits.retry_on.contains(&response.status().as_u16()) => {
                    return Err(refused(response.status().as_u16().to_string()).into());
                }
                _ => tokio::time::sleep(self.pause(tries)).await,
            }
        }
        Err(self.unreachable("it gives no token").into())
    }

    /// Waits until another request may go out.
    async fn in_turn(&self) {
        loop {
            let wait = {
                let mut pace = self.pace.lock().await;
                let now = Instant::now();
                let resting = pace.rest_until.filter(|until| *until > now);
                let window = Duration::from_secs(self.limits.per_seconds.into());
                while pace.sent.front().is_some_and(|sent| now.duration_since(*sent) >= window) {
                    pace.sent.pop_front();
                }
                let full = self.limits.requests.filter(|most| pace.sent.len() >= *most as usize);
                let free = full.and_then(|_| pace.sent.front().map(|sent| *sent + window));
                match resting.max(free) {
                    Some(until) => until - now,
                    None => {
                        if self.limits.requests.is_some() {
                            pace.sent.push_back(now);
                        }
                        return;
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes in what the headers say about the quota.
    async fn heed(&self, headers: &HeaderMap) {
        let none_left =
            self.limits.remaining.as_ref().and_then(|name| number(headers, name)).is_some_and(|left| left <= 0.0);
        if let Some(wait) = none_left.then(|| self.until_reset(headers)).flatten() {
            let longest = Duration::from_secs(self.limits.longest_wait_s);
            self.pace.lock().await.rest_until = Some(Instant::now() + wait.min(longest));
        }
    }

    fn until_reset(&self, headers: &HeaderMap) -> Option<Duration> {
        let told = number(headers, self.limits.reset.as_ref()?)?.max(0.0);
        let seconds = match self.limits.reset_unit {
            ResetUnit::SecondsLeft => told,
            ResetUnit::MillisecondsLeft => told / 1_000.0,
            // Against the server's own clock, which it tells in the same answer.
            ResetUnit::UnixSeconds => {
                #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
                let now = date(headers)?.timestamp() as f64;
                (told - now).max(0.0)
            }
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), else the reset header.
    fn asked_to_wait(&self, headers: &HeaderMap) -> Option<Duration> {
        let told = headers.get(&self.limits.retry_after).and_then(|value| value.to_str().ok());
        let seconds = told.and_then(|text| text.trim().parse::<f64>().ok());
        let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        let dated = || {
            let until = DateTime::parse_from_rfc2822(told?).ok()?.to_utc();
            (until - date(headers)?).to_std().ok()
        };
        seconds.or_else(dated).or_else(|| self.until_reset(headers))
    }

    fn pause(&self, tries: u32) -> Duration {
        let doubled = self.limits.first_ms.saturating_mul(1 << tries.saturating_sub(1).min(16));
        Duration::from_millis(doubled.min(self.limits.max_ms))
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|at| at.to_utc())
}

fn moment(json: &Json) -> Option<DateTime<Utc>> {
    let text = json::plain(json)?;
    if let Ok(at) = DateTime::parse_from_rfc3339(&text) {
        return Some(at.to_utc());
    }
    let number = text.parse::<i64>().ok()?;
    if number > 100_000_000_000 { DateTime::from_timestamp_millis(number) } else { DateTime::from_timestamp(number, 0) }
}
