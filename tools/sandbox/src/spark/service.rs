//! The server's inside: who may call, what is called, what is answered. Knows no sockets.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::door::pairs;

use super::{
    data::{Company, Edit, Key, Row, shown},
    faults::{Fault, Faults},
    paging::{Begin, Given, Paging},
};

/// A request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path, split and decoded.
    pub(crate) path: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Scheme and host by which the client reached us.
    pub(crate) base: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Whether the connection breaks before the answer is out.
    pub(crate) lost: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Json) -> Self {
        let kind = "application/json; charset=utf-8".to_owned();
        Self { status, kind, body: body.to_string().into_bytes(), headers: Vec::new(), lost: false }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({ "error": { "code": code, "message": message } }))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What changes while the server runs.
#[derive(Debug)]
struct Inside {
    company: Company,
    start: Company,
    faults: Faults,
    tokens: Vec<String>,
    issued: u64,
    calls: u64,
    sent: VecDeque<Instant>,
    /// What people will do once so many more pages are out.
    planned: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    pages: u32,
    /// Only pages of this list count.
    list: Option<String>,
    edits: Vec<Edit>,
    advance: i64,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Service {
    inside: Mutex<Inside>,
    paging: Paging,
    seed: u64,
    rate: Option<u32>,
    deepest: Option<usize>,
    pub(crate) client_secret: String,
}

/// The name of the client of the client credentials grant.
pub(crate) const CLIENT: &str = "waybill-sandbox";

/// What is posted to `/__sandbox/edit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Work {
    edits: Vec<Edit>,
    /// How far the clock goes on after each edit.
    #[serde(default = "second")]
    advance_ms: i64,
    /// Not now, but as soon as so many more pages are out.
    after_pages: Option<u32>,
    /// Only pages of this list count.
    list: Option<String>,
}

fn second() -> i64 {
    1_000
}

/// What is posted to `/__sandbox/clock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    #[serde(default)]
    advance_ms: i64,
    at: Option<chrono::DateTime<chrono::Utc>>,
}

impl Service {
    pub(crate) fn new(company: Company, paging: Paging, seed: u64, rate: Option<u32>, deepest: Option<usize>) -> Self {
        let inside = Inside {
            start: company.clone(),
            company,
            faults: Faults::default(),
            tokens: Vec::new(),
            issued: 0,
            calls: 0,
            sent: VecDeque::new(),
            planned: Vec::new(),
        };
        let client_secret = format!("spark-secret-{seed}");
        Self { inside: Mutex::new(inside), paging, seed, rate, deepest, client_secret }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a token that is accepted.
    pub(crate) fn issue(&self) -> String {
        self.inside().issue(self.seed)
    }

    /// Arms faults.
    pub(crate) fn arm(&self, faults: Faults) {
        self.inside().faults = faults;
    }

    /// Answers a call.
    pub(crate) fn call(&self, call: &Call) -> Reply {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let mut inside = self.inside();
        let reply = match path.as_slice() {
            ["__sandbox", rest @ ..] => return self.admin(&mut inside, call, rest),
            ["oauth", "token"] | ["api", "v1", "oauth", "token"] => self.grant(&mut inside, call),
            ["api", "v1", rest @ ..] => self.guarded(&mut inside, call, rest),
            _ => Reply::error(404, "not_found", "there is nothing at this address"),
        };
        let date = chrono::DateTime::<chrono::Utc>::from_timestamp_millis(inside.company.now).unwrap_or_default();
        reply.with("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    /// Lets a call pass if nothing speaks against it, and lets happen to its answer what must.
    fn guarded(&self, inside: &mut Inside, call: &Call, path: &[&str]) -> Reply {
        inside.calls += 1;
        if inside.faults.expires() {
            inside.tokens.clear();
        }
        let fault = inside.faults.next();
        match fault {
            Fault::Unavailable => return Reply::error(503, "unavailable", "try again later"),
            Fault::Throttled { wait } => {
                return Reply::error(429, "too_many_requests", "too many requests")
                    .with("retry-after", wait.to_string());
            }
            Fault::Reset => {
                return Reply { lost: true, ..Reply::error(500, "reset", "the connection breaks") };
            }
            Fault::None | Fault::Truncated => {}
        }
        let limits = match inside.in_rate(self.rate) {
            Ok(limits) => limits,
            Err(reply) => return reply,
        };
        let token = call.authorization.as_deref().and_then(|header| header.strip_prefix("Bearer "));
        if !token.is_some_and(|token| inside.tokens.iter().any(|known| known == token)) {
            return Reply::error(401, "unauthorized", "the token is missing, unknown or expired");
        }
        let mut reply = self.answer(inside, call, path);
        reply.headers.extend(limits);
        if fault == Fault::Truncated && reply.status == 200 {
            reply.body.truncate(reply.body.len() / 2);
        }
        reply
    }

    fn answer(&self, inside: &mut Inside, call: &Call, path: &[&str]) -> Reply {
        // Who posts searches has plain lists beside them, as Intercom does.
        let feed = matches!(path, ["deletions" | "merges"]);
        let search = self.paging == Paging::Search && !feed;
        let paging = if self.paging == Paging::Search && feed { Paging::Cursor } else { self.paging };
        let (method, list) = match path {
            ["files", _, "content"] | ["account"] => ("GET", None),
            [name @ .., "search"] if search && !name.is_empty() => ("POST", Some(name)),
            [_] | ["objects", _] if !search => ("GET", Some(path)),
            _ => return Reply::error(404, "not_found", "there is nothing at this address"),
        };
        if call.method != method {
            return Reply::error(405, "method_not_allowed", "the method is not for this address");
        }
        match (path, list) {
            (["account"], _) => {
                let at = shown(inside.company.now, true);
                Reply::json(200, &json!({ "data": inside.company.account, "meta": { "server_time": at } }))
            }
            (["files", id, "content"], _) => match inside.company.file(id) {
                Some((body, kind)) => Reply { kind, body, ..Reply::json(200, &Json::Null) },
                None => Reply::error(404, "not_found", "there is no such file"),
            },
            (_, Some(list)) => self.list(inside, call, list, paging),
            _ => Reply::error(404, "not_found", "there is nothing at this address"),
        }
    }

    fn list(&self, inside: &mut Inside, call: &Call, path: &[&str], paging: Paging) -> Reply {
        let unknown = |name: &str| Reply::error(404, "not_found", &format!("there is no list of {name}"));
        let filter = match path {
            ["deletions" | "merges"] => "since",
            _ => "updated_since",
        };
        let query = match asked(call, filter, paging) {
            Ok(query) => query,
            Err(reply) => return reply,
        };
        let since = match query.get(filter).map(|text| moment(text).ok_or(text)) {
            None => None,
            Some(Ok(at)) => Some(at),
            Some(Err(_)) => return Reply::error(422, "invalid_parameter", &format!("{filter} is no time in RFC 3339")),
        };
        let wanted = match paging.wanted(&query, self.deepest) {
            Ok(wanted) => wanted,
            Err(what) => return Reply::error(400, "invalid_parameter", &what),
        };
        // The order of a list of changes is that of the changes; a row that changes meanwhile goes to the end.
        let by_change = since.is_some() && !paging.by_id();
        let place = |row: &Row| (if by_change { row.updated } else { i64::MIN }, Key::new(&row.id));
        let company = &inside.company;
        let feed;
        let rows: Vec<&Row> = match path {
            ["deletions" | "merges"] => {
                let gone = if path == ["deletions"] { &company.deletions } else { &company.merges };
                feed = gone
                    .iter()
                    .enumerate()
                    .map(|(n, row)| Row { id: (n + 1).to_string(), fields: row.fields.clone(), updated: row.at })
                    .collect::<Vec<_>>();
                feed.iter().collect()
            }
            [name] | ["objects", name] => {
                // Custom objects have a place of their own.
                let custom = company.is_custom(name);
                match company.tables.get(*name).filter(|_| custom == (path.len() == 2)) {
                    Some(table) => table.rows.values().collect(),
                    None => return unknown(name),
                }
            }
            _ => return unknown(&path.join("/")),
        };
        let mut rows: Vec<&Row> =
            rows.into_iter().filter(|row| since.is_none_or(|since| row.updated >= since)).collect();
        rows.sort_by_key(|row| place(row));
        let begin = match &wanted.from {
            Begin::Place(place) => (*place).min(rows.len()),
            Begin::After(at, key) => {
                rows.partition_point(|row| place(row) <= (if by_change { *at } else { i64::MIN }, key.clone()))
            }
        };
        let end = (begin + wanted.size).min(rows.len());
        let last = if inside.faults.circle { rows.get(wanted.size.saturating_sub(1)) } else { rows[begin..end].last() };
        let given = Given {
            total: rows.len(),
            more: end < rows.len() || inside.faults.circle && !rows.is_empty(),
            last: last.map(|row| place(row)),
            rows: rows[begin..end].iter().map(|row| Json::Object(row.fields.clone())).collect(),
            server_time: shown(company.now, true),
        };
        let address = |more: &[(&str, String)]| {
            let mut url = format!("{}/{}", call.base, call.path.join("/"));
            let mut all: Vec<(String, String)> = query
                .iter()
                .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            for (n, (name, value)) in all.iter().enumerate() {
                let _ = write!(url, "{}{}={}", if n == 0 { '?' } else { '&' }, name, encoded(value));
            }
            url
        };
        let (body, headers) = paging.envelope(&wanted, given, &address);
        inside.page_is_out(path.last().copied().unwrap_or_default());
        let mut reply = Reply::json(200, &body);
        reply.headers.extend(headers);
        reply
    }

    /// Gives a token to the client (RFC 6749, section 4.4).
    fn grant(&self, inside: &mut Inside, call: &Call) -> Reply {
        let form = pairs(&call.body).collect::<BTreeMap<_, _>>();
        let is = |name: &str, value: &str| form.get(name).is_some_and(|found| found == value);
        if call.method != "POST" {
            return Reply::error(405, "method_not_allowed", "a token is asked for with POST");
        }
        if !is("grant_type", "client_credentials") {
            return Reply::json(400, &json!({ "error": "unsupported_grant_type" }));
        }
        if !is("client_id", CLIENT) || !is("client_secret", &self.client_secret) {
            return Reply::json(401, &json!({ "error": "invalid_client" }));
        }
        let token = inside.issue(self.seed);
        Reply::json(200, &json!({ "access_token": token, "token_type": "bearer", "expires_in": 3600 }))
    }

    /// What is beside the wire.
    fn admin(&self, inside: &mut Inside, call: &Call, path: &[&str]) -> Reply {
        let bad = |what: String| Reply::error(400, "invalid_body", &what);
        match (call.method.as_str(), path) {
            ("GET", ["digest"]) => Reply::json(200, &inside.digest()),
            ("GET", ["dump"]) => {
                let kind = "application/x-ndjson".to_owned();
                Reply { kind, body: inside.dump().into_bytes(), ..Reply::json(200, &Json::Null) }
            }
            ("GET", ["calls"]) => Reply::json(200, &json!({ "calls": inside.calls })),
            ("POST", ["token"]) => Reply::json(200, &json!({ "token": inside.issue(self.seed) })),
            ("POST", ["reset"]) => {
                inside.company = inside.start.clone();
                inside.faults = Faults::default();
                inside.planned.clear();
                Reply::json(200, &json!({ "reset": true }))
            }
            ("POST", ["faults"]) => match serde_json::from_slice(&call.body) {
                Ok(faults) => {
                    inside.faults = faults;
                    Reply::json(200, &json!({ "armed": true }))
                }
                Err(error) => bad(error.to_string()),
            },
            ("POST", ["clock"]) => match serde_json::from_slice::<Clock>(&call.body) {
                Ok(clock) => {
                    let now = clock.at.map_or(inside.company.now, |at| at.timestamp_millis()) + clock.advance_ms;
                    inside.company.now = now;
                    Reply::json(200, &json!({ "now": shown(now, true) }))
                }
                Err(error) => bad(error.to_string()),
            },
            ("POST", ["edit"]) => match serde_json::from_slice::<Work>(&call.body) {
                Ok(Work { edits, advance_ms, after_pages: Some(pages), list }) => {
                    inside.planned.push(Planned { pages: pages.max(1), list, edits, advance: advance_ms });
                    Reply::json(200, &json!({ "planned": true }))
                }
                Ok(Work { edits, advance_ms, after_pages: None, .. }) => match inside.work(edits, advance_ms) {
                    Ok(ids) => Reply::json(200, &json!({ "ids": ids, "now": shown(inside.company.now, true) })),
                    Err(what) => Reply::error(422, "impossible", &what),
                },
                Err(error) => bad(error.to_string()),
            },
            _ => Reply::error(404, "not_found", "the sandbox has no such switch"),
        }
    }

    /// Returns the digest of all records.
    pub(crate) fn digest(&self) -> String {
        self.inside().digest()["live"].as_str().unwrap_or_default().to_owned()
    }
}

impl Inside {
    fn issue(&mut self, seed: u64) -> String {
        self.issued += 1;
        let digest = blake3::hash(format!("spark token {seed} {}", self.issued).as_bytes());
        let token = format!("spk_{}", &digest.to_hex()[..32]);
        self.tokens.push(token.clone());
        token
    }

    fn work(&mut self, edits: Vec<Edit>, advance: i64) -> Result<Vec<String>, String> {
        let mut ids = Vec::new();
        for edit in edits {
            ids.push(self.company.edit(edit).map_err(|wrong| wrong.to_string())?);
            self.company.now += advance;
        }
        Ok(ids)
    }

    /// Lets people do what they were to do once this page is out.
    fn page_is_out(&mut self, list: &str) {
        for planned in &mut self.planned {
            planned.pages -= u32::from(planned.list.as_ref().is_none_or(|own| own == list));
        }
        let (now, later) = std::mem::take(&mut self.planned).into_iter().partition(|planned| planned.pages == 0);
        self.planned = later;
        for planned in now {
            let Planned { edits, advance, .. } = planned;
            if let Err(what) = self.work(edits, advance) {
                tracing::warn!(%what, "a planned edit is impossible");
            }
        }
    }

    /// Returns the headers of the limit, or the refusal.
    fn in_rate(&mut self, rate: Option<u32>) -> Result<Vec<(&'static str, String)>, Reply> {
        let Some(rate) = rate else { return Ok(Vec::new()) };
        let now = Instant::now();
        while self.sent.front().is_some_and(|sent| now.duration_since(*sent) >= Duration::from_secs(1)) {
            self.sent.pop_front();
        }
        let left = (rate as usize).saturating_sub(self.sent.len());
        let headers = |left: usize| {
            let told =
                [("x-ratelimit-limit", rate as usize), ("x-ratelimit-remaining", left), ("x-ratelimit-reset", 1)];
            told.map(|(name, value)| (name, value.to_string())).to_vec()
        };
        if left == 0 {
            let mut reply = Reply::error(429, "too_many_requests", "too many requests").with("retry-after", "1");
            reply.headers.extend(headers(0));
            return Err(reply);
        }
        self.sent.push_back(now);
        Ok(headers(left - 1))
    }

    fn dump(&self) -> String {
        let mut text = String::new();
        for (object, table) in &self.company.tables {
            for row in table.rows.values() {
                let fields: BTreeMap<&String, &Json> = row.fields.iter().collect();
                let _ = writeln!(text, "{}", json!({ "object": object, "id": row.id, "fields": fields }));
            }
        }
        text
    }

    fn digest(&self) -> Json {
        let rows = self.company.tables.iter().filter(|(_, table)| !table.rows.is_empty());
        let objects: BTreeMap<&String, usize> = rows.map(|(name, table)| (name, table.rows.len())).collect();
        json!({ "live": blake3::hash(self.dump().as_bytes()).to_hex().as_str(), "objects": objects })
    }
}

impl Company {
    fn is_custom(&self, name: &str) -> bool {
        let keys = self.tables.get("custom_objects").into_iter().flat_map(|table| table.rows.values());
        keys.filter_map(|row| row.fields.get("key")?.as_str()).any(|key| key == name)
    }
}

fn moment(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Returns the parameters of a list, from the query or from the body of a search. Unknown ones are refused.
fn asked(call: &Call, filter: &str, paging: Paging) -> Result<BTreeMap<String, String>, Reply> {
    if paging != Paging::Search {
        let known = |name: &String| name == filter || paging.parameters().contains(&name.as_str());
        return match call.query.keys().find(|name| !known(name)) {
            Some(name) => {
                Err(Reply::error(400, "unknown_parameter", &format!("{name} is not a parameter of this list")))
            }
            None => Ok(call.query.clone()),
        };
    }
    let bad = |what: &str| Reply::error(400, "invalid_body", what);
    let body: Map<String, Json> = serde_json::from_slice(&call.body).map_err(|_| bad("the body is no JSON object"))?;
    let text = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let mut query = BTreeMap::new();
    for (name, value) in &body {
        match (name.as_str(), value) {
            ("pagination", Json::Object(parts)) => {
                for (name, value) in parts {
                    if !["per_page", "starting_after"].contains(&name.as_str()) {
                        return Err(bad(&format!("pagination has no {name}")));
                    }
                    query.insert(name.clone(), text(value));
                }
            }
            ("filter", Json::Object(parts)) => {
                for (name, value) in parts {
                    if name != filter {
                        return Err(bad(&format!("filter has no {name}")));
                    }
                    query.insert(name.clone(), text(value));
                }
            }
            _ => return Err(bad(&format!("{name} is not known"))),
        }
    }
    Ok(query)
}
