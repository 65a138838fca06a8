//! The server's inside: who may call, what is called, what is answered. Knows no sockets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ring::digest;
use serde_json::{Value as Json, json};

use super::{
    auth::Keys,
    faults::{Fate, Faults},
    graphql,
    limiter::Limiter,
    metadata, openapi,
    refusal::Refusal,
    rest,
    workspace::Workspace,
};

/// The most bytes of a JSON body.
const BODY: usize = 10 << 20;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path as it came.
    pub(crate) address: String,
    /// The path, split and decoded, without the empty parts of trailing slashes.
    pub(crate) path: Vec<String>,
    /// The query, in order; a name may come twice.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// `http` or `https`, as the client reached us.
    pub(crate) scheme: &'static str,
}

impl Call {
    /// Returns a parameter. One that is given twice is a list, and no list is looked at.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut given = self.query.iter().filter(|(known, _)| known == name);
        let (_, value) = given.next()?;
        given.next().is_none().then_some(value.as_str())
    }

    /// Returns whether a flag is on: only the word `true` says so.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    /// Returns whether the call changes anything when it succeeds.
    fn writes(&self) -> bool {
        match (self.method.as_str(), self.path.first().map(String::as_str)) {
            ("GET" | "HEAD" | "OPTIONS", _) => false,
            (_, Some("graphql" | "metadata")) => self.body.windows(8).any(|word| word == b"mutation"),
            _ => self.path.last().is_none_or(|last| last != "duplicates"),
        }
    }

    fn is(&self, kind: &str) -> bool {
        self.headers.get("content-type").is_some_and(|given| given.starts_with(kind))
    }

    /// Returns the body as JSON; nothing, if it is of a kind that is not read.
    pub(crate) fn json(&self) -> Result<Option<Json>, Refusal> {
        if self.is("application/x-www-form-urlencoded") {
            let sorted: BTreeMap<String, String> = crate::door::pairs(&self.body).collect();
            return Ok(Some(json!(sorted)));
        }
        if self.body.is_empty() || !self.is("application/json") {
            return Ok(None);
        }
        if self.body.len() > BODY {
            return Err(Refusal::whole(500, json!("request entity too large")));
        }
        let read: Json = serde_json::from_slice(&self.body).map_err(|error| {
            if error.is_eof() {
                return Refusal::framework(400, "Unexpected end of JSON input", "Bad Request");
            }
            let text = String::from_utf8_lossy(&self.body).into_owned();
            let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            let token = line.chars().nth(error.column().saturating_sub(1)).unwrap_or(' ');
            let message = format!("Unexpected token '{token}', \"{text}\" is not valid JSON");
            Refusal::framework(400, &message, "Bad Request")
        })?;
        if read.is_object() || read.is_array() {
            return Ok(Some(read));
        }
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let token = text.trim_start().chars().next().unwrap_or(' ');
        let message = format!("Unexpected token '{token}', \"{text}\" is not valid JSON");
        Err(Refusal::framework(400, &message, "Bad Request"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Whether the connection breaks before the answer is out.
    pub(crate) lost: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Json) -> Self {
        Self {
            status,
            kind: "application/json; charset=utf-8",
            body: body.to_string().into_bytes(),
            headers: Vec::new(),
            lost: false,
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, kind: "application/json; charset=utf-8", body: Vec::new(), headers: Vec::new(), lost: false }
    }

    pub(crate) fn bytes(kind: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, kind, body, headers: Vec::new(), lost: false }
    }

    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::json(refusal.status, &refusal.rest())
    }

    fn lost() -> Self {
        Self { lost: true, ..Self::empty(500) }
    }

    /// Adds what every answer of the server carries.
    fn dressed(mut self, call: &Call) -> Self {
        self.headers.push(("access-control-allow-origin", "*".into()));
        self.headers.push(("x-powered-by", "Express".into()));
        self.headers.push(("keep-alive", "timeout=65".into()));
        if self.status != 204 {
            let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.body);
            let sum = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sum.as_ref());
            let tag = format!("W/\"{:x}-{}\"", self.body.len(), &sum[..27]);
            if ["GET", "HEAD"].contains(&call.method.as_str())
                && self.status == 200
                && call.headers.get("if-none-match") == Some(&tag)
            {
                self.status = 304;
                self.body.clear();
            }
            self.headers.push(("etag", tag));
        }
        if call.method == "HEAD" {
            self.body.clear();
        }
        self
    }
}

/// What a request may change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) workspace: Workspace,
    pub(crate) keys: Keys,
    pub(crate) limiter: Limiter,
    /// Record operations that the limit let pass, and those that it refused.
    pub(crate) asked: (u64, u64),
    pub(crate) faults: Faults,
    /// Whether time goes on between requests, as it does for clients that have a clock of their own.
    pub(crate) wall: bool,
    /// How far the clock was put forward.
    pub(crate) offset: i64,
    /// Writes that are done after their connection broke, and when.
    late: Vec<(i64, Call)>,
    pub(crate) schemas: graphql::Schemas,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Service {
    state: Mutex<State>,
    start: Workspace,
}

impl Service {
    pub(crate) fn new(workspace: Workspace, keys: Keys, wall: bool) -> Self {
        let start = workspace.clone();
        let state = State {
            workspace,
            keys,
            limiter: Limiter::default(),
            asked: (0, 0),
            faults: Faults::default(),
            wall,
            offset: 0,
            late: Vec::new(),
            schemas: graphql::Schemas::default(),
        };
        Self { state: Mutex::new(state), start }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a call.
    pub(crate) fn call(&self, call: &Call) -> Reply {
        let mut state = self.state();
        if call.path.first().is_some_and(|first| first == "__sandbox") {
            return super::admin::answer(&mut state, &self.start, call);
        }
        state.tick();
        let host = call.headers.get("host").cloned().unwrap_or_else(|| "127.0.0.1".into());
        let scheme = call.scheme;
        state.workspace.files.base = format!("{scheme}://{host}");
        let records = ["rest", "graphql", "metadata"];
        if call.path.first().is_none_or(|first| !records.contains(&first.as_str())) {
            return state.route(call).dressed(call);
        }
        let writes = call.writes();
        let reply = match state.faults.fate(writes, call.body.len()) {
            Fate::Pass => state.route(call),
            Fate::LoseRequest => Reply::lost(),
            Fate::LoseAnswer => Reply { lost: true, ..state.route(call) },
            Fate::CommitLate => {
                let due = state.workspace.now + state.faults.late_by.max(1);
                state.late.push((due, call.clone()));
                Reply::lost()
            }
            Fate::Error => Reply::json(500, &json!({ "statusCode": 500, "message": "Internal server error" })),
            Fate::Unavailable => Reply::bytes(
                "text/html",
                b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>".to_vec(),
            )
            .with_status(503),
            Fate::Limited if call.path[0] == "rest" => {
                let (limit, window) = (state.workspace.switches.long_limit, state.workspace.switches.long_window);
                Reply::refused(&Refusal::limit(limit, window))
            }
            Fate::Limited => {
                let (limit, window) = (state.workspace.switches.long_limit, state.workspace.switches.long_window);
                let error = Refusal::limit(limit, window).graphql();
                Reply::json(200, &json!({ "errors": [error], "data": null }))
            }
        };
        reply.dressed(call)
    }
}

impl Reply {
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

impl State {
    /// Goes back to the state at start.
    pub(crate) fn reset(&mut self, start: &Workspace) {
        let base = std::mem::take(&mut self.workspace.files.base);
        self.workspace = start.clone();
        self.workspace.files.base = base;
        (self.limiter, self.faults, self.late) = (Limiter::default(), Faults::default(), Vec::new());
        self.asked = (0, 0);
        // Schemas are known by the count of changes, which begins anew.
        self.schemas = graphql::Schemas::default();
        self.keys.revoked = false;
    }

    /// Returns what time it is.
    pub(crate) fn clock(&self) -> i64 {
        if self.wall { chrono::Utc::now().timestamp_millis() + self.offset } else { self.workspace.now }
    }

    /// Lets time go on by one request, and does what is due.
    pub(crate) fn tick(&mut self) {
        let now = self.clock().max(self.workspace.now + 1);
        self.pass(now);
    }

    /// Lets time go on until then, and does what is due on the way, in its order.
    pub(crate) fn pass(&mut self, until: i64) {
        self.late.sort_by_key(|(due, _)| *due);
        while self.late.first().is_some_and(|(due, _)| *due <= until) {
            let (due, call) = self.late.remove(0);
            self.workspace.now = self.workspace.now.max(due);
            self.workspace.work();
            drop(self.route(&call));
        }
        self.workspace.now = self.workspace.now.max(until);
        self.workspace.work();
    }

    fn route(&mut self, call: &Call) -> Reply {
        if call.method == "OPTIONS" {
            let mut reply = Reply::empty(204);
            reply.headers.push(("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE".into()));
            return reply;
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let method = if call.method == "HEAD" { "GET" } else { &call.method };
        match (method, path.as_slice()) {
            ("GET", ["healthz"]) => {
                Reply::json(200, &json!({ "status": "ok", "info": {}, "error": {}, "details": {} }))
            }
            ("GET", ["rest", "open-api", "core"]) => {
                self.guarded(call, |state| Ok(Reply::json(200, &openapi::core(&state.workspace))))
            }
            ("GET", ["rest", "open-api", "metadata"]) => {
                self.guarded(call, |state| Ok(Reply::json(200, &openapi::metadata(&state.workspace))))
            }
            (_, ["rest", "metadata", rest @ ..]) => {
                self.guarded(call, |state| metadata::rest::answer(state, call, method, rest))
            }
            (_, ["rest", rest @ ..]) if !rest.is_empty() => {
                self.guarded(call, |state| rest::answer(state, call, method, rest))
            }
            ("POST" | "GET", ["graphql"]) => graphql::core(self, call),
            ("POST" | "GET", ["metadata"]) => graphql::metadata(self, call),
            ("PUT", ["file-upload", id]) => {
                let token = call.parameter("token").unwrap_or_default();
                let now = self.workspace.now;
                match self.workspace.files.put(id, token, &call.body, now) {
                    Ok(()) => Reply::empty(204),
                    Err(refusal) => Reply::refused(&refusal),
                }
            }
            ("GET", ["file", "files-field", id]) => {
                let token = call.parameter("token").unwrap_or_default();
                match self.workspace.files.download(id, token, self.workspace.now) {
                    Ok((bytes, kind)) => Reply::bytes(kind, bytes.to_vec()),
                    Err(refusal) => Reply::refused(&refusal),
                }
            }
            _ => Reply::refused(&no_route(call)),
        }
    }

    /// Answers a REST call if its key is good.
    fn guarded(&mut self, call: &Call, answer: impl FnOnce(&mut Self) -> Result<Reply, Refusal>) -> Reply {
        match self.admit(call).and_then(|()| answer(self)) {
            Ok(reply) => reply,
            Err(refusal) => Reply::refused(&refusal),
        }
    }

    pub(crate) fn admit(&self, call: &Call) -> Result<(), Refusal> {
        let header = call.headers.get("authorization").map(String::as_str);
        self.keys.admit(header, &self.workspace.id, self.clock())
    }

    /// Takes a token of the rate limit, which counts all keys of the workspace together, and no people.
    pub(crate) fn take_token(&mut self) -> Result<(), Refusal> {
        if self.workspace.acting.as_ref().is_some_and(|author| author.member.is_some()) {
            return Ok(());
        }
        let now = self.clock();
        let taken = self.limiter.take(&self.workspace.switches, now);
        *(if taken.is_ok() { &mut self.asked.0 } else { &mut self.asked.1 }) += 1;
        taken
    }
}

/// What a call is answered for which there is no route.
pub(crate) fn no_route(call: &Call) -> Refusal {
    Refusal::framework(404, &format!("Cannot {} {}", call.method, call.address), "Not Found")
}
