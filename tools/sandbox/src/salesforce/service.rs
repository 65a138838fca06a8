//! The server's inside: who may call, what is called, what is answered. Knows no sockets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use serde_json::{Value as Json, json};

use crate::door::pairs;

use super::{
    auth::{Credentials, Refusal, Sessions},
    bulk::Jobs,
    bulk_query::QueryJobs,
    bulk1::Jobs1,
    faults::Faults,
    ids::Id,
    org::{Org, RowError},
    soql::run::Selected,
};

/// API calls a day.
pub(crate) const DAILY: u64 = 100_000;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path, split and decoded, without the empty parts of trailing slashes.
    pub(crate) path: Vec<String>,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Scheme and host by which the client reached us.
    pub(crate) base: String,
    /// The length of the address as it came.
    pub(crate) address: usize,
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
            kind: "application/json;charset=UTF-8",
            body: body.to_string().into_bytes(),
            headers: Vec::new(),
            lost: false,
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, kind: "application/json;charset=UTF-8", body: Vec::new(), headers: Vec::new(), lost: false }
    }

    pub(crate) fn csv(body: Vec<u8>) -> Self {
        Self { status: 200, kind: "text/csv; charset=UTF-8", body, headers: Vec::new(), lost: false }
    }

    pub(crate) fn bytes(body: Vec<u8>) -> Self {
        Self { status: 200, kind: "application/octet-stream", body, headers: Vec::new(), lost: false }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!([{ "message": message, "errorCode": code }]))
    }

    pub(crate) fn not_found() -> Self {
        Self::error(404, "NOT_FOUND", "The requested resource does not exist")
    }

    /// The answer of a single row that was refused.
    pub(crate) fn rows(errors: &[RowError]) -> Self {
        let status = match errors.first().map(|error| error.code) {
            Some("ENTITY_IS_DELETED" | "NOT_FOUND") => 404,
            Some("STORAGE_LIMIT_EXCEEDED") => 403,
            _ => 400,
        };
        let errors: Vec<Json> = errors
            .iter()
            .map(|error| json!({ "message": error.message, "errorCode": error.code, "fields": error.fields }))
            .collect();
        Self::json(status, &Json::Array(errors))
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A query whose pages are still to be read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) selected: Selected,
    pub(crate) root: String,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) org: Mutex<Org>,
    start: Org,
    pub(crate) jobs: Mutex<Jobs>,
    pub(crate) query_jobs: Mutex<QueryJobs>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) credentials: Credentials,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) jobs1: Mutex<Jobs1>,
    /// Held for writing by what must be done as a whole, for reading by everything else.
    pub(crate) gate: RwLock<()>,
    /// What a describe was when it was last asked for, and since when it is so.
    pub(crate) seen: Mutex<HashMap<String, (String, i64)>>,
    cursors: Mutex<BTreeMap<u64, Cursor>>,
    pub(crate) used: Mutex<u64>,
    pub(crate) limited: bool,
    pub(crate) seed: u64,
    /// Results of metadata deploys.
    pub(crate) deploys: Mutex<Vec<Json>>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    pub(crate) fn new(org: Org, credentials: Credentials, seed: u64, limited: bool) -> Self {
        Self {
            start: org.clone(),
            org: Mutex::new(org),
            jobs: Mutex::default(),
            query_jobs: Mutex::default(),
            faults: Mutex::default(),
            credentials,
            sessions: Mutex::default(),
            jobs1: Mutex::default(),
            gate: RwLock::default(),
            seen: Mutex::default(),
            cursors: Mutex::default(),
            used: Mutex::new(0),
            limited,
            seed,
            deploys: Mutex::default(),
        }
    }

    pub(crate) fn org(&self) -> MutexGuard<'_, Org> {
        locked(&self.org)
    }

    /// Goes back to the state at start.
    pub(crate) fn reset(&self) {
        *self.org() = self.start.clone();
        *locked(&self.jobs) = Jobs::default();
        *locked(&self.query_jobs) = QueryJobs::default();
        *locked(&self.jobs1) = Jobs1::default();
        *locked(&self.faults) = Faults::default();
        locked(&self.cursors).clear();
        *locked(&self.used) = 0;
    }

    /// Counts API calls, and returns how many there were today.
    pub(crate) fn count(&self, calls: u64) -> u64 {
        let mut used = locked(&self.used);
        *used += calls;
        *used
    }

    /// Answers a call.
    pub(crate) fn call(self: &Arc<Self>, call: &Call) -> Reply {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["__sandbox", rest @ ..] => self.admin(call, rest),
            ["services", "oauth2", rest @ ..] => self.oauth(call, rest),
            ["services", "data"] => Self::versions(),
            ["services", "data", version, rest @ ..] => self.guarded(call, |_| match Self::offered(version) {
                Some(_) => self.whole_or_part(call, &format!("/services/data/{}", version.to_lowercase()), rest),
                None => Reply::not_found(),
            }),
            ["services", "async", version, rest @ ..] => self.bulk1(call, version, rest),
            ["services", soap, "u", version, ..] if soap.eq_ignore_ascii_case("soap") => self.soap(call, version),
            ["id", org, user] => self.identity(call, org, user),
            _ => Reply::not_found(),
        }
    }

    /// Lets nobody in between when several writes must be one.
    fn whole_or_part(self: &Arc<Self>, call: &Call, root: &str, path: &[&str]) -> Reply {
        let kind = call.headers.get("content-type").map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
        let resource = path.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if ["POST", "PATCH"].contains(&call.method.as_str())
            && ["sobjects", "composite"].contains(&resource.as_str())
            && !(call.body.is_empty() || kind.contains("json") || kind.starts_with("multipart/form-data"))
        {
            let message = "The content type of the request is not one that this resource takes: use application/json";
            return Reply::error(415, "UNSUPPORTED_MEDIA_TYPE", message);
        }
        if resource == "composite" {
            let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            self.data(call, root, path)
        } else {
            let _shared = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            self.data(call, root, path)
        }
    }

    /// Lets a REST call pass if its session is good and the allowance is not used up.
    pub(crate) fn guarded(&self, call: &Call, answer: impl FnOnce(&Self) -> Reply) -> Reply {
        if call.address > 16_384 {
            return Reply::error(414, "URI_TOO_LONG", "The length of the URI exceeds the 16,384 byte limit.");
        }
        // Older clients say `OAuth` where newer ones say `Bearer`.
        let token = call.headers.get("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            ["bearer", "oauth"].contains(&scheme.to_ascii_lowercase().as_str()).then(|| token.trim())
        });
        let admission = self.admit(token, call.method != "GET");
        let mut reply = match admission.refusal {
            Some(Refusal::Session) => Reply::error(401, "INVALID_SESSION_ID", "Session expired or invalid"),
            Some(Refusal::Unavailable) => {
                Reply::error(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable")
            }
            Some(Refusal::Quota) => Reply::error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
            None => answer(self),
        };
        if let Some(info) = admission.info {
            reply = reply.header("Sforce-Limit-Info", info);
        }
        reply.lost = admission.lost;
        reply
    }

    /// Everything under `/services/data/vXX.0`.
    pub(crate) fn data(self: &Arc<Self>, call: &Call, root: &str, path: &[&str]) -> Reply {
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let since = |version: f64| super::bulk::version(root) >= version;
        match (call.method.as_str(), lower.as_slice()) {
            ("GET" | "HEAD", []) => self.index(call, root),
            ("GET", ["limits"]) => self.limits(root),
            ("GET", ["limits", "recordcount"]) if since(40.0) => self.record_count(call),
            ("GET", ["query"] | ["tooling", "query"]) => self.query(call, root, false),
            ("GET", ["queryall"]) => self.query(call, root, true),
            ("GET", ["query" | "queryall", _]) => self.more(path[1]),
            ("GET", ["search"]) => self.search(call, root),
            ("GET", ["recent"]) => Self::recent(),
            ("GET", ["tabs"]) => self.tabs(call),
            ("GET", ["theme"]) => self.theme(),
            ("GET", ["sobjects"]) => self.describe_global(call, root),
            ("GET", ["sobjects", _, "describe"]) => self.describe_one(call, root, path[1]),
            ("GET", ["sobjects", _, "updated"]) => self.updated(call, path[1]),
            ("GET", ["sobjects", _, "deleted"]) => self.deleted(call, path[1]),
            (_, ["sobjects", _, ..]) => self.sobjects(call, root, &path[1..]),
            (_, ["tooling", "sobjects", _, ..]) => self.tooling(call, &path[2..]),
            ("GET", ["composite"]) => Self::composite_index(root),
            ("POST", ["composite"]) if since(38.0) => self.composite(call, root),
            ("POST", ["composite", "batch"]) if since(34.0) => self.batch(call),
            ("POST", ["composite", "tree", _]) if since(34.0) => self.tree(call, path[2]),
            ("POST", ["composite", "graph"]) if since(50.0) => self.graphs(call, root),
            ("PATCH", ["composite", "sobjects", _, _]) if !since(46.0) => Reply::not_found(),
            (_, ["composite", "sobjects", ..]) if since(42.0) => self.collections(call, root, &path[2..]),
            (_, ["jobs", "ingest", ..]) if since(41.0) => self.ingest(call, root, &path[2..]),
            (_, ["jobs", "query", ..]) if since(47.0) => self.bulk_query(call, root, &path[2..]),
            (_, ["metadata", "deployrequest", ..]) => self.deploy(call, &path[2..]),
            _ => Reply::not_found(),
        }
    }

    fn query(&self, call: &Call, root: &str, all: bool) -> Reply {
        use super::soql::{
            parse::parse,
            run::{Found, malformed},
        };
        let Some(text) = call.query.get("q") else {
            return Reply::error(400, "MALFORMED_QUERY", "A query string has to be specified");
        };
        let query = match parse(text) {
            Ok(query) => query,
            Err(error) => {
                let error = malformed(text, &error);
                return Reply::error(400, error.code, &error.message);
            }
        };
        let org = self.org();
        match org.find_rows(&query, all) {
            Err(error) => Reply::error(400, error.code, &error.message),
            Ok(Found::Count(count)) => Reply::json(200, &json!({ "totalSize": count, "done": true, "records": [] })),
            Ok(Found::Groups(rows)) => {
                Reply::json(200, &json!({ "totalSize": rows.len(), "done": true, "records": rows }))
            }
            Ok(Found::Rows(selected)) => {
                let asked = call
                    .headers
                    .get("sforce-query-options")
                    .and_then(|value| value.split_once("batchSize=")?.1.trim().parse().ok());
                let page = asked.unwrap_or(2_000usize).clamp(200, 2_000);
                drop(org);
                self.page(Cursor { selected, root: root.to_owned() }, 0, page, None)
            }
        }
    }

    fn more(&self, locator: &str) -> Reply {
        let parts = locator.split_once('-').and_then(|(id, at)| Some((Id::parse(id)?, at.parse::<usize>().ok()?)));
        let found = parts.and_then(|(id, at)| Some((locked(&self.cursors).get(&id.number)?.clone(), id, at)));
        match found {
            Some((cursor, id, at)) => self.page(cursor, at, 2_000, Some(id)),
            None => Reply::error(400, "INVALID_QUERY_LOCATOR", "Invalid query locator"),
        }
    }

    pub(crate) fn page(&self, cursor: Cursor, from: usize, size: usize, id: Option<Id>) -> Reply {
        let org = self.org();
        let total = cursor.selected.rows.len();
        let end = (from + size).min(total);
        let records: Vec<Json> = cursor
            .selected
            .rows
            .get(from..end)
            .unwrap_or_default()
            .iter()
            .map(|row| org.show(&cursor.selected, *row, &cursor.root))
            .collect();
        let mut body = json!({ "totalSize": total, "done": end == total });
        if end < total {
            let mut cursors = locked(&self.cursors);
            let id = id.unwrap_or_else(|| Id::new("01g", cursors.keys().next_back().map_or(1, |last| last + 1)));
            body["nextRecordsUrl"] = json!(format!("{}/query/{id}-{end}", cursor.root));
            cursors.entry(id.number).or_insert(cursor);
            while cursors.len() > 50 {
                cursors.pop_first();
            }
        } else if let Some(id) = id {
            locked(&self.cursors).remove(&id.number);
        }
        body["records"] = Json::Array(records);
        Reply::json(200, &body)
    }
}

/// Reads an URL-encoded form or query, each name once.
pub(crate) fn form(encoded: &[u8]) -> HashMap<String, String> {
    pairs(encoded).collect()
}
