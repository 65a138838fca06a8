//! Requests and answers: the key, the rate limit in both its forms, and what an error means.
//!
//! Source: Twenty 2.21: REST errors are `{"statusCode","error","messages":[…],"code"}` or the framework's
//! `{"message","error","statusCode"}`; GraphQL answers 200 with `errors`; a spent limit is 429 on REST and the subcode
//! `LIMIT_REACHED` in GraphQL, without any header.

use std::{fmt, time::Duration};

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};
use waybill_ledger::event::UnknownCause;

use super::SYSTEM;
use crate::{
    error::RemoteError,
    transport::{Client, Limiter, Lost, Rate, Request, Response},
};

/// How often a request is sent again that the limit refused: each time a token has grown, unless others take it.
const LIMITED: usize = 40;

/// Whether the server counts a request against the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Operations on records.
    Yes,
    /// Metadata, keys and webhooks.
    No,
}

/// Speaks with one workspace.
pub(super) struct Wire {
    client: Client,
    base: String,
    key: SecretString,
    limiter: Limiter,
    tries: usize,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("base", &self.base).finish_non_exhaustive()
    }
}

/// An error as the server words it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct WireError {
    pub(super) code: String,
    pub(super) message: String,
}

impl Wire {
    pub(super) fn new(client: Client, url: &str, key: SecretString, limiter: Limiter, tries: usize) -> Self {
        Self { client, base: url.trim_end_matches('/').to_owned(), key, limiter, tries }
    }

    fn request(&self, method: Method, path: &str, body: Option<&Json>) -> Request {
        let request = Request::new(method, format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key.expose_secret()));
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// Returns the payload of the key, which is a JWT; nothing is taken from it that the server does not confirm.
    pub(super) fn claims(&self) -> Option<Json> {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let payload = self.key.expose_secret().split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// Sends a request once the limit allows it, again and again while only the limit refuses it: what it refuses was not
    /// looked at.
    async fn once(&self, request: &Request, counted: Counted) -> Result<Response, Lost> {
        for _ in 0..LIMITED {
            if counted == Counted::Yes {
                self.limiter.take().await;
            }
            let response = self.client.once(request).await?;
            match limited(&response) {
                Some(rate) => self.limiter.refused(rate).await,
                None => return Ok(response),
            }
        }
        let code = "429".to_owned();
        Err(Lost::NotSent(RemoteError::Busy { system: SYSTEM.to_owned(), code }))
    }

    /// Sends a request that changes nothing, also while the server is busy or out of reach for a moment.
    async fn patient(&self, request: &Request, counted: Counted) -> Result<Response, RemoteError> {
        let mut pause = Duration::from_millis(100);
        for attempt in 0.. {
            let failed = match self.once(request, counted).await {
                Ok(response) if matches!(response.status.as_u16(), 500 | 502..=504) => {
                    RemoteError::Busy { system: SYSTEM.to_owned(), code: response.status.as_u16().to_string() }
                }
                Ok(response) => return Ok(response),
                Err(lost) => lost.into(),
            };
            let again = matches!(failed, RemoteError::Busy { .. } | RemoteError::Unreachable { .. });
            if !again || attempt >= self.tries {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        unreachable!("the loop ends by returning")
    }

    /// Reads by REST.
    pub(super) async fn get(&self, what: &str, path: &str) -> Result<Json, RemoteError> {
        let response = self.patient(&self.request(Method::GET, path, None), Counted::No).await?;
        parse(what, &check(what, response)?)
    }

    /// Reads by REST what the limit counts.
    pub(super) async fn read(
        &self,
        what: &str,
        method: Method,
        path: &str,
        counted: Counted,
    ) -> Result<Json, RemoteError> {
        let response = self.patient(&self.request(method, path, None), counted).await?;
        parse(what, &check(what, response)?)
    }

    /// Sends the bytes of a file to an address that the server gave; it may be that of another server, so no key goes along.
    pub(super) async fn put(
        &self,
        url: &str,
        kind: String,
        bytes: Vec<u8>,
    ) -> Result<Result<(), WireError>, RemoteError> {
        let request = Request::new(Method::PUT, url).body(kind, bytes);
        // To put the same bytes once more does no harm.
        let response = self.patient(&request, Counted::No).await?;
        Ok(if response.status.is_success() { Ok(()) } else { Err(error_of(&response.body)) })
    }

    /// Reads the bytes of a file at an address that the server signed.
    pub(super) async fn download(&self, url: &str) -> Result<bytes::Bytes, RemoteError> {
        let response = self.patient(&Request::get(url), Counted::No).await?;
        Ok(check("a file", response)?.body)
    }

    /// Asks by GraphQL: `/graphql` for records, `/metadata` for everything else.
    pub(super) async fn ask(
        &self,
        what: &str,
        path: &str,
        query: &str,
        variables: Json,
        counted: Counted,
    ) -> Result<Json, RemoteError> {
        let body = json!({ "query": query, "variables": variables });
        let response = self.patient(&self.request(Method::POST, path, Some(&body)), counted).await?;
        let mut answer = parse(what, &check(what, response)?)?;
        if let Some(error) = answer["errors"].get(0) {
            return Err(refused(what, 200, graphql_error(error)));
        }
        Ok(answer["data"].take())
    }

    /// Writes by REST. A server error says nothing about what became of the write.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        counted: Counted,
    ) -> Result<Response, Lost> {
        let response = self.once(&self.request(method, path, body), counted).await?;
        if matches!(response.status.as_u16(), 500 | 502..=504) && !too_large(&response) {
            let code = response.status.as_u16().to_string();
            return Err(Lost::Unknown(
                UnknownCause::ServerError,
                RemoteError::Busy { system: SYSTEM.to_owned(), code },
            ));
        }
        Ok(response)
    }
}

/// Returns whether a body was over the server's limit: it says so with a 500 and a bare text.
pub(super) fn too_large(response: &Response) -> bool {
    response.status.as_u16() == 500 && response.body.as_ref() == b"\"request entity too large\""
}

/// Returns the rate that refused a request, if one did. The text tells it: `Limit reached (100 tokens per 60000 ms)`.
fn limited(response: &Response) -> Option<Rate> {
    let usual = Rate { requests: 100, window: Duration::from_secs(60) };
    let spoken = |message: &str| {
        let mut numbers = message.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(requests), Some(window)) if requests > 0 && window > 0 => {
                Rate { requests, window: Duration::from_millis(window) }
            }
            _ => usual,
        }
    };
    match response.status.as_u16() {
        429 => Some(spoken(&error_of(&response.body).message)),
        200 if response.body.windows(13).any(|part| part == b"LIMIT_REACHED") => {
            let answer: Json = serde_json::from_slice(&response.body).ok()?;
            let errors = answer["errors"].as_array()?;
            let error = errors.iter().find(|error| error["extensions"]["subCode"] == "LIMIT_REACHED")?;
            Some(spoken(error["message"].as_str().unwrap_or_default()))
        }
        _ => None,
    }
}

/// Reads the error of a REST answer, in either form.
pub(super) fn error_of(body: &[u8]) -> WireError {
    let Ok(answer) = serde_json::from_slice::<Json>(body) else { return WireError::default() };
    let first = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Array(items) => items.iter().find_map(Json::as_str).map(str::to_owned),
        _ => None,
    };
    // The metadata tells one error for each thing that follows from the first; the wanted kind is named.
    let told = ["fieldMetadata", "objectMetadata", "index"].iter().find_map(|kind| {
        let failed = answer["errors"][kind].as_array()?;
        failed.iter().find_map(|one| one["errors"].get(0)).cloned()
    });
    let message = told
        .as_ref()
        .and_then(|error| first(&error["message"]))
        .or_else(|| first(&answer["messages"]))
        .or_else(|| first(&answer["message"]))
        .or_else(|| first(&answer));
    let code = told.as_ref().and_then(|error| first(&error["code"])).or_else(|| first(&answer["code"]));
    let code = code.or_else(|| first(&answer["error"])).unwrap_or_default();
    WireError { code, message: message.unwrap_or_default() }
}

fn graphql_error(error: &Json) -> WireError {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let extensions = &error["extensions"];
    WireError {
        code: text(&extensions["subCode"]).or_else(|| text(&extensions["code"])).unwrap_or_default(),
        message: text(&error["message"]).unwrap_or_default(),
    }
}

/// Returns the error that an answer is, or the answer if it is none.
pub(super) fn check(what: &str, response: Response) -> Result<Response, RemoteError> {
    if response.status.is_success() {
        return Ok(response);
    }
    let status = response.status.as_u16();
    Err(refused(what, status, error_of(&response.body)))
}

/// Returns what a refusal of a whole request means. A missing token is 403, a bad one 401, missing rights are 400.
pub(super) fn refused(what: &str, status: u16, error: WireError) -> RemoteError {
    let system = SYSTEM.to_owned();
    let code = if error.code.is_empty() { status.to_string() } else { error.code };
    match (status, code.as_str()) {
        (401, _) | (_, "UNAUTHENTICATED") => RemoteError::Unauthorized { system, code },
        (403, _) | (_, "PERMISSION_DENIED" | "FORBIDDEN" | "FORBIDDEN_EXCEPTION") => {
            RemoteError::Forbidden { system, what: what.to_owned(), code }
        }
        (429 | 500 | 502..=504, _) | (_, "LIMIT_REACHED") => RemoteError::Busy { system, code },
        _ => RemoteError::Refused { system, what: what.to_owned(), code, message: error.message },
    }
}

/// Reads an answer as JSON.
pub(super) fn parse(what: &str, response: &Response) -> Result<Json, RemoteError> {
    serde_json::from_slice(&response.body).map_err(|error| malformed(what, &error))
}

pub(super) fn malformed(what: &str, error: &serde_json::Error) -> RemoteError {
    // The position is enough; the text could quote a record.
    let detail = format!("unexpected JSON in line {}, column {}", error.line(), error.column());
    RemoteError::Malformed { system: SYSTEM.to_owned(), what: what.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        let status = http::StatusCode::from_u16(status).expect("a status");
        Response { status, body: bytes::Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn both_forms_of_a_spent_limit_are_known_and_tell_the_rate() {
        let rest =
            r#"{"statusCode":429,"error":"HttpException","messages":["Limit reached (200 tokens per 60000 ms)"]}"#;
        let minute = |requests| Some(Rate { requests, window: Duration::from_secs(60) });
        assert_eq!(limited(&answer(429, rest)), minute(200));
        let graphql = r#"{"data":{"people":null},"errors":[{"message":"Limit reached (100 tokens per 1000 ms)","extensions":{"subCode":"LIMIT_REACHED","code":"BAD_USER_INPUT"}}]}"#;
        assert_eq!(limited(&answer(200, graphql)), Some(Rate { requests: 100, window: Duration::from_secs(1) }));
        assert_eq!(limited(&answer(429, "<html>")), minute(100));
        // A record that holds the word is no refusal.
        assert_eq!(limited(&answer(200, r#"{"data":{"note":{"title":"LIMIT_REACHED"}}}"#)), None);
    }

    #[test]
    fn errors_are_read_in_every_form() {
        let read = |body: &str| error_of(body.as_bytes());
        let error = |code: &str, message: &str| WireError { code: code.into(), message: message.into() };
        let coded = r#"{"statusCode":400,"error":"Error","messages":["Provided phone number is invalid x"],"code":"INVALID_PHONE_NUMBER"}"#;
        assert_eq!(read(coded), error("INVALID_PHONE_NUMBER", "Provided phone number is invalid x"));
        let framework = r#"{"message":["type must be one of …"],"error":"Bad Request","statusCode":400}"#;
        assert_eq!(read(framework), error("Bad Request", "type must be one of …"));
        let metadata = r#"{"statusCode":400,"error":"METADATA_VALIDATION_ERROR","message":"Multiple","errors":{"fieldMetadata":[{"errors":[{"code":"NOT_AVAILABLE","message":"Name \"x\" is not available"}]}]}}"#;
        assert_eq!(read(metadata), error("NOT_AVAILABLE", "Name \"x\" is not available"));
        assert_eq!(read("\"request entity too large\""), error("", "request entity too large"));
        assert!(too_large(&answer(500, "\"request entity too large\"")));
        let denied = error("PERMISSION_DENIED", "no");
        assert!(matches!(refused("x", 400, denied), RemoteError::Forbidden { .. }));
    }
}
