//! The server's inside: who may call, what is called, what is answered. Knows no sockets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value as Json, json};

use super::{
    bulk::Jobs,
    bulk_query::QueryJobs,
    faults::Faults,
    ids::Id,
    org::{Org, RowError},
    soql::run::Selected,
};

/// The versions that are offered, with the names of their releases.
const VERSIONS: [(u32, &str); 5] =
    [(60, "Spring '24"), (61, "Summer '24"), (62, "Winter '25"), (63, "Spring '25"), (64, "Summer '25")];
/// API calls a day.
const DAILY: u64 = 100_000;

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

/// Credentials that are accepted.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
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
    tokens: Mutex<Vec<String>>,
    cursors: Mutex<BTreeMap<u64, Cursor>>,
    used: Mutex<u64>,
    limited: bool,
    pub(crate) seed: u64,
    /// Rows in the org may not take more than this many KB.
    pub(crate) storage: u64,
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
            tokens: Mutex::default(),
            cursors: Mutex::default(),
            used: Mutex::new(0),
            limited,
            seed,
            storage: 10 << 20,
            deploys: Mutex::default(),
        }
    }

    pub(crate) fn org(&self) -> MutexGuard<'_, Org> {
        locked(&self.org)
    }

    /// Makes a token that is accepted from now on.
    pub(crate) fn issue(&self) -> String {
        let mut tokens = locked(&self.tokens);
        let org = self.org().id.short();
        let hash = blake3::hash(format!("{}/{}", self.seed, tokens.len()).as_bytes()).to_hex();
        let token = format!("{org}!AQ{}", &hash[..48]);
        tokens.push(token.clone());
        token
    }

    /// Forgets every session.
    pub(crate) fn expire(&self) {
        locked(&self.tokens).iter_mut().for_each(|token| *token = format!("expired {token}"));
    }

    /// Goes back to the state at start.
    pub(crate) fn reset(&self) {
        *self.org() = self.start.clone();
        *locked(&self.jobs) = Jobs::default();
        *locked(&self.query_jobs) = QueryJobs::default();
        *locked(&self.faults) = Faults::default();
        locked(&self.cursors).clear();
        *locked(&self.used) = 0;
    }

    /// Answers a call.
    pub(crate) fn call(self: &Arc<Self>, call: &Call) -> Reply {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["__sandbox", rest @ ..] => self.admin(call, rest),
            ["services", "oauth2", "token"] => self.token(call),
            ["services", "oauth2", "revoke"] => Reply::empty(200),
            ["services", "data"] => Self::versions(),
            ["services", "oauth2", "userinfo"] => self.guarded(call, |_| self.user_info(call)),
            ["services", "data", version, rest @ ..] => self.guarded(call, |_| {
                let known = version.strip_prefix('v').and_then(|text| text.strip_suffix(".0")?.parse::<u32>().ok());
                match known.filter(|known| VERSIONS.iter().any(|(version, _)| version == known)) {
                    Some(_) => self.data(call, &format!("/services/data/{version}"), rest),
                    None => Reply::not_found(),
                }
            }),
            ["id", ..] => self.guarded(call, |_| self.user_info(call)),
            _ => Reply::not_found(),
        }
    }

    /// Lets a call pass if its session is good and the allowance is not used up; faults come here.
    fn guarded(self: &Arc<Self>, call: &Call, answer: impl FnOnce(&Self) -> Reply) -> Reply {
        if call.address > 16_384 {
            return Reply::error(414, "URI_TOO_LONG", "The length of the URI exceeds the 16,384 byte limit.");
        }
        let token = call.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let (expired, unavailable, quota, lost) = locked(&self.faults).before(call.method != "GET");
        if expired {
            self.expire();
        }
        if !token.is_some_and(|token| locked(&self.tokens).iter().any(|known| known == token)) {
            return Reply::error(401, "INVALID_SESSION_ID", "Session expired or invalid");
        }
        let used = {
            let mut used = locked(&self.used);
            *used += 1;
            *used
        };
        let info = format!("api-usage={used}/{DAILY}");
        if unavailable {
            return Reply::error(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable")
                .header("Sforce-Limit-Info", info);
        }
        if quota || (self.limited && used > DAILY) {
            return Reply::error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
                .header("Sforce-Limit-Info", info);
        }
        let mut reply = answer(self).header("Sforce-Limit-Info", info);
        reply.lost = lost;
        reply
    }

    fn versions() -> Reply {
        let all: Vec<Json> = VERSIONS
            .iter()
            .map(|(version, label)| json!({ "label": label, "url": format!("/services/data/v{version}.0"), "version": format!("{version}.0") }))
            .collect();
        Reply::json(200, &Json::Array(all))
    }

    /// Source: "OAuth Authorization Flows" in the Salesforce Help.
    fn token(&self, call: &Call) -> Reply {
        let form: HashMap<String, String> = form(&call.body);
        let refuse = |error: &str, text: &str| Reply::json(400, &json!({ "error": error, "error_description": text }));
        let basic =
            call.headers.get("authorization").and_then(|value| value.strip_prefix("Basic ")).and_then(|value| {
                use base64::Engine;
                let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value).ok()?).ok()?;
                text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
            });
        let given = |name: &str| form.get(name).cloned();
        let id = basic.as_ref().map(|(id, _)| id.clone()).or_else(|| given("client_id"));
        let secret = basic.map(|(_, secret)| secret).or_else(|| given("client_secret"));
        match form.get("grant_type").map(String::as_str) {
            Some("client_credentials" | "refresh_token" | "password") => {}
            Some(_) => return refuse("unsupported_grant_type", "grant type not supported"),
            None => return refuse("invalid_request", "must provide grant_type"),
        }
        if id.as_deref() != Some(&self.credentials.client_id) {
            return refuse("invalid_client_id", "client identifier invalid");
        }
        if secret.as_deref() != Some(&self.credentials.client_secret) {
            return refuse("invalid_client", "invalid client credentials");
        }
        let token = self.issue();
        let org = self.org();
        let body = json!({
            "access_token": token, "signature": "c2lnbmF0dXJl", "scope": "api", "instance_url": call.base,
            "id": format!("{}/id/{}/{}", call.base, org.id, org.user), "token_type": "Bearer",
            "issued_at": org.now.to_string(),
        });
        Reply::json(200, &body)
    }

    fn user_info(&self, call: &Call) -> Reply {
        let org = self.org();
        let email = Self::user_field(&org, "Email");
        Reply::json(
            200,
            &json!({
                "sub": format!("{}/id/{}/{}", call.base, org.id, org.user), "user_id": org.user.to_string(),
                "organization_id": org.id.to_string(), "preferred_username": Self::user_field(&org, "Username"),
                "username": Self::user_field(&org, "Username"), "name": Self::user_field(&org, "Name"), "email": email,
                "urls": { "rest": format!("{}/services/data/v{{version}}/", call.base) },
            }),
        )
    }

    fn user_field(org: &Org, name: &str) -> Json {
        let Some(users) = org.find("User") else { return Json::Null };
        let field = org.objects[users].field(name);
        let value = field.and_then(|field| org.field_value(users, org.user.number, field));
        match value {
            Some(super::org::Val::Text(text)) => Json::String(text.to_string()),
            _ => Json::Null,
        }
    }

    /// Everything under `/services/data/vXX.0`.
    fn data(self: &Arc<Self>, call: &Call, root: &str, path: &[&str]) -> Reply {
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match (call.method.as_str(), lower.as_slice()) {
            ("GET", []) => {
                let paths = ["query", "queryAll", "sobjects", "limits", "composite", "jobs", "metadata", "tooling"];
                let mut all: serde_json::Map<String, Json> =
                    paths.iter().map(|name| ((*name).to_owned(), json!(format!("{root}/{name}")))).collect();
                let org = self.org();
                all.insert("identity".into(), json!(format!("{}/id/{}/{}", call.base, org.id, org.user)));
                Reply::json(200, &Json::Object(all))
            }
            ("GET", ["limits"]) => self.limits(),
            ("GET", ["query"] | ["tooling", "query"]) => self.query(call, root, false),
            ("GET", ["queryall"]) => self.query(call, root, true),
            ("GET", ["query" | "queryall", _]) => self.more(path[1]),
            ("GET", ["sobjects"]) => {
                let org = self.org();
                let all: Vec<Json> = (0..org.objects.len()).map(|object| org.brief(object, root)).collect();
                Reply::json(200, &json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all }))
            }
            (_, ["sobjects", _, ..]) => self.sobjects(call, root, &path[1..]),
            (_, ["tooling", "sobjects", _, ..]) => self.tooling(call, &path[2..]),
            (_, ["composite", "sobjects", ..]) => self.collections(call, root, &path[2..]),
            (_, ["jobs", "ingest", ..]) => self.ingest(call, root, &path[2..]),
            (_, ["jobs", "query", ..]) => self.bulk_query(call, root, &path[2..]),
            (_, ["metadata", "deployrequest", ..]) => self.deploy(call, &path[2..]),
            _ => Reply::not_found(),
        }
    }

    fn limits(&self) -> Reply {
        let used = *locked(&self.used);
        let rows: u64 = self.org().tables.iter().map(|table| table.live).sum();
        let files: u64 = self.org().blobs.values().map(|bytes| bytes.len() as u64).sum();
        let storage = self.storage / 1024;
        let budget = |max: u64, used: u64| json!({ "Max": max, "Remaining": max.saturating_sub(used) });
        Reply::json(
            200,
            &json!({
                "DailyApiRequests": budget(DAILY, used), "DailyBulkApiBatches": budget(15_000, locked(&self.jobs).batches),
                "DailyBulkV2QueryJobs": budget(10_000, 0), "DataStorageMB": budget(storage, rows * 2 / 1024),
                "FileStorageMB": budget(storage, files >> 20),
            }),
        )
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

    fn page(&self, cursor: Cursor, from: usize, size: usize, id: Option<Id>) -> Reply {
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

/// Reads an URL-encoded form.
pub(crate) fn form(body: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name, true), decode(value, true)))
        .collect()
}

/// Decodes percent signs, and `+` where it stands for a space.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        match (first, pair) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) if plus => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
