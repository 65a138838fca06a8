//! Bulk API 2.0 ingest jobs: asynchronous, unordered, strict about what they take.
//!
//! Source: "Bulk API 2.0 Ingest" in the Bulk API 2.0 Developer Guide.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{SeedableRng, seq::SliceRandom};
use serde_json::{Map, Value as Json, json};

use super::{
    ids::Id,
    model::Kind,
    org::{Org, RowError},
    rows::upsert,
    service::{Call, Reply, Service, locked},
    validate::stamp,
};

/// The most bytes of one job's rows.
const UPLOAD: usize = 150_000_000;
/// Rows that are worked off before others get their turn.
const CHUNK: usize = 200;

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: BTreeMap<u64, Job>,
    next: u64,
    /// Batches used today.
    pub(crate) batches: u64,
}

#[derive(Debug, Clone)]
struct Job {
    object: String,
    operation: String,
    external: Option<String>,
    delimiter: u8,
    crlf: bool,
    state: &'static str,
    message: Option<String>,
    created: i64,
    upload: Option<Vec<u8>>,
    header: Vec<String>,
    done: Vec<(String, bool, Vec<String>)>,
    failed: Vec<(String, String, Vec<String>)>,
    rest: Vec<Vec<String>>,
}

impl Job {
    fn json(&self, id: Id, user: Id, root: &str) -> Json {
        let mut job = json!({
            "id": id.to_string(), "operation": self.operation, "object": self.object, "createdById": user.to_string(),
            "createdDate": stamp(self.created), "systemModstamp": stamp(self.created), "state": self.state,
            "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": version(root), "jobType": "V2Ingest",
            "lineEnding": if self.crlf { "CRLF" } else { "LF" }, "columnDelimiter": delimiter_name(self.delimiter),
            "numberRecordsProcessed": self.done.len() + self.failed.len(), "numberRecordsFailed": self.failed.len(),
            "retries": 0, "totalProcessingTime": 1, "apiActiveProcessingTime": 1, "apexProcessingTime": 0,
        });
        if let Some(field) = &self.external {
            job["externalIdFieldName"] = json!(field);
        }
        if self.state == "Open" {
            job["contentUrl"] = json!(format!("{}/jobs/ingest/{id}/batches", root.trim_start_matches('/')));
        }
        if let Some(message) = &self.message {
            job["errorMessage"] = json!(message);
        }
        job
    }

    fn ended(&self) -> bool {
        matches!(self.state, "JobComplete" | "Failed" | "Aborted")
    }
}

pub(crate) fn version(root: &str) -> f64 {
    root.rsplit_once('v').and_then(|(_, text)| text.parse().ok()).unwrap_or(62.0)
}

pub(crate) const DELIMITERS: [(&str, u8); 6] =
    [("COMMA", b','), ("SEMICOLON", b';'), ("TAB", b'\t'), ("PIPE", b'|'), ("CARET", b'^'), ("BACKQUOTE", b'`')];

fn delimiter_name(byte: u8) -> &'static str {
    DELIMITERS.iter().find(|(_, known)| *known == byte).map_or("COMMA", |(name, _)| name)
}

impl Service {
    /// `/jobs/ingest…`
    pub(crate) fn ingest(self: &Arc<Self>, call: &Call, root: &str, path: &[&str]) -> Reply {
        let user = self.org().user;
        match (call.method.as_str(), path) {
            ("POST", []) => self.open_job(call, root, user),
            ("GET", []) => {
                let jobs = locked(&self.jobs);
                let all: Vec<Json> =
                    jobs.jobs.iter().map(|(number, job)| job.json(Id::new("750", *number), user, root)).collect();
                Reply::json(200, &json!({ "done": true, "records": all, "nextRecordsUrl": null }))
            }
            (method, [id, rest @ ..]) => {
                let Some(id) = Id::parse(id) else { return Reply::not_found() };
                let mut jobs = locked(&self.jobs);
                let Some(job) = jobs.jobs.get_mut(&id.number) else { return Reply::not_found() };
                let part = rest.first().map(|part| part.to_ascii_lowercase());
                match (method, part.as_deref()) {
                    ("GET", None) => Reply::json(200, &job.json(id, user, root)),
                    ("PUT", Some("batches")) => take_rows(job, call),
                    ("PATCH", None) => {
                        let state = serde_json::from_slice::<Json>(&call.body)
                            .ok()
                            .and_then(|body| body["state"].as_str().map(str::to_owned));
                        let reply = close(job, state.as_deref(), id, user, root);
                        let starts = job.state == "UploadComplete" && job.upload.is_some();
                        drop(jobs);
                        if starts {
                            let service = Arc::clone(self);
                            tokio::spawn(async move { service.work(id.number).await });
                        }
                        reply
                    }
                    ("DELETE", None) if job.ended() => {
                        jobs.jobs.remove(&id.number);
                        Reply::empty(204)
                    }
                    ("DELETE", None) => Reply::error(
                        400,
                        "API_ERROR",
                        "Error encountered when deleting the job because the job is not terminated",
                    ),
                    ("GET", Some(part)) if job.ended() => results(job, part, self.seed),
                    ("GET", Some(_)) => Reply::error(400, "INVALIDJOBSTATE", "the job is not finished"),
                    _ => Reply::not_found(),
                }
            }
            _ => Reply::not_found(),
        }
    }

    fn open_job(&self, call: &Call, root: &str, user: Id) -> Reply {
        let body: Json = match serde_json::from_slice(&call.body) {
            Ok(body) => body,
            Err(e) => return Reply::error(400, "JSON_PARSER_ERROR", &e.to_string()),
        };
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let (object, operation) = (text("object").unwrap_or_default(), text("operation").unwrap_or_default());
        let known = {
            let org = self.org();
            org.find(&object).map(|at| org.objects[at].name.clone())
        };
        let Some(object) = known else {
            return Reply::error(400, "INVALIDENTITY", &format!("Entity '{object}' is not supported by the Bulk API."));
        };
        if operation == "hardDelete" {
            return Reply::error(
                400,
                "FEATURENOTENABLED",
                "hardDelete operation requires special user profile permission",
            );
        }
        if !["insert", "update", "upsert", "delete"].contains(&operation.as_str()) {
            return Reply::error(400, "INVALIDOPERATION", &format!("Operation '{operation}' is not supported"));
        }
        let external = text("externalIdFieldName");
        if (operation == "upsert") != external.is_some() {
            return Reply::error(400, "INVALIDJOB", "externalIdFieldName is for upsert, and upsert needs it");
        }
        let delimiter = text("columnDelimiter").unwrap_or_else(|| "COMMA".into());
        let Some((_, delimiter)) = DELIMITERS.iter().find(|(name, _)| *name == delimiter) else {
            return Reply::error(400, "INVALIDJOB", "columnDelimiter is not one");
        };
        let job = Job {
            object,
            operation,
            external,
            delimiter: *delimiter,
            crlf: text("lineEnding").as_deref() == Some("CRLF"),
            state: "Open",
            message: None,
            created: self.org().now,
            upload: None,
            header: Vec::new(),
            done: Vec::new(),
            failed: Vec::new(),
            rest: Vec::new(),
        };
        let mut jobs = locked(&self.jobs);
        jobs.next += 1;
        let id = Id::new("750", jobs.next);
        let reply = Reply::json(200, &job.json(id, user, root));
        jobs.jobs.insert(id.number, job);
        reply
    }

    /// Works a job off, chunk by chunk, letting others in between.
    async fn work(self: Arc<Self>, number: u64) {
        let slow = locked(&self.faults).slow;
        tokio::time::sleep(Duration::from_millis(slow.max(1))).await;
        let Some((job, upload)) = self.start_work(number) else { return };
        let read = read_rows(&self.org(), &job, &upload);
        drop(upload);
        match read {
            Err(message) => self.end(number, "Failed", Some(message), Vec::new()),
            Ok((header, rows)) => {
                if let Some(job) = locked(&self.jobs).jobs.get_mut(&number) {
                    job.header.clone_from(&header);
                }
                let fail_after = locked(&self.faults).take_job_failure();
                let mut done = 0;
                let mut rows = rows.into_iter();
                loop {
                    let chunk: Vec<Vec<String>> = rows.by_ref().take(CHUNK).collect();
                    if chunk.is_empty() {
                        break;
                    }
                    if self.is_aborted(number) {
                        let rest = chunk.into_iter().chain(rows).collect();
                        return self.end(number, "Aborted", None, rest);
                    }
                    if fail_after.is_some_and(|after| done >= after) {
                        let rest = chunk.into_iter().chain(rows).collect();
                        let message = "InternalServerError : Retried more than 15 times".to_owned();
                        return self.end(number, "Failed", Some(message), rest);
                    }
                    done += chunk.len();
                    self.chunk(number, &job, &header, chunk);
                    tokio::task::yield_now().await;
                }
                locked(&self.jobs).batches += (done as u64).div_ceil(10_000) + 1;
                self.end(number, "JobComplete", None, Vec::new());
            }
        }
    }

    fn start_work(&self, number: u64) -> Option<(Job, Vec<u8>)> {
        let mut jobs = locked(&self.jobs);
        let job = jobs.jobs.get_mut(&number)?;
        let upload = job.upload.take()?;
        job.state = "InProgress";
        Some((job.clone(), upload))
    }

    fn is_aborted(&self, number: u64) -> bool {
        locked(&self.jobs).jobs.get(&number).is_none_or(|job| job.state == "Aborted")
    }

    fn chunk(&self, number: u64, job: &Job, header: &[String], rows: Vec<Vec<String>>) {
        let mut org = self.org();
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            let result = if locked(&self.faults).lock_row() {
                Err((
                    String::new(),
                    vec![RowError::new(
                        "UNABLE_TO_LOCK_ROW",
                        "unable to obtain exclusive access to this record or 1 records",
                    )],
                ))
            } else {
                one_row(&mut org, job, header, &row)
            };
            results.push((row, result));
        }
        drop(org);
        let mut jobs = locked(&self.jobs);
        let Some(job) = jobs.jobs.get_mut(&number) else { return };
        for (row, result) in results {
            match result {
                Ok((id, created)) => job.done.push((id.to_string(), created, row)),
                Err((id, errors)) => {
                    let text = errors
                        .first()
                        .map(|error| {
                            format!("{}:{}:{} --", error.code, error.message, error.fields.join(" "))
                                .replace(": --", ":--")
                        })
                        .unwrap_or_default();
                    job.failed.push((id, text, row));
                }
            }
        }
    }

    fn end(&self, number: u64, state: &'static str, message: Option<String>, rest: Vec<Vec<String>>) {
        if let Some(job) = locked(&self.jobs).jobs.get_mut(&number) {
            job.state = state;
            job.message = message;
            job.rest = rest;
        }
    }
}

fn take_rows(job: &mut Job, call: &Call) -> Reply {
    if job.state != "Open" || job.upload.is_some() {
        return Reply::error(400, "INVALIDJOBSTATE", "Found multiple contents for job: only one upload is allowed");
    }
    if !call.headers.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/csv")) {
        return Reply::error(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be text/csv");
    }
    if call.body.len() > UPLOAD {
        return Reply::error(413, "EXCEEDEDQUOTA", "the upload is too large");
    }
    job.upload = Some(call.body.clone());
    Reply::empty(201)
}

fn close(job: &mut Job, state: Option<&str>, id: Id, user: Id, root: &str) -> Reply {
    match (state, job.state) {
        (Some("UploadComplete"), "Open") if job.upload.is_some() => job.state = "UploadComplete",
        (Some("UploadComplete"), "Open") => return Reply::error(400, "INVALIDJOBSTATE", "no content was uploaded"),
        (Some("Aborted"), "Open" | "UploadComplete" | "InProgress") => job.state = "Aborted",
        _ => {
            let message = format!("the job is {} and cannot become {}", job.state, state.unwrap_or("that"));
            return Reply::error(400, "INVALIDJOBSTATE", &message);
        }
    }
    Reply::json(200, &job.json(id, user, root))
}

/// A header and the rows under it.
type Table = (Vec<String>, Vec<Vec<String>>);

fn read_rows(org: &Org, job: &Job, upload: &[u8]) -> Result<Table, String> {
    let text = std::str::from_utf8(upload).map_err(|_| "InvalidBatch : the content is not UTF-8".to_owned())?;
    let first = text.split('\n').next().unwrap_or_default();
    if first.ends_with('\r') != job.crlf {
        let setting = if job.crlf { "CRLF" } else { "LF" };
        return Err(format!(
            "InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
        ));
    }
    let mut reader = csv::ReaderBuilder::new().delimiter(job.delimiter).flexible(true).from_reader(upload);
    let header: Vec<String> =
        reader.headers().map_err(|e| format!("InvalidBatch : {e}"))?.iter().map(str::to_owned).collect();
    let object = org.find(&job.object).ok_or("InvalidBatch : the object is gone")?;
    if job.operation == "delete" && (header.len() != 1 || !header[0].eq_ignore_ascii_case("id")) {
        return Err("InvalidBatch : delete needs exactly the column Id".into());
    }
    for name in &header {
        check_column(org, object, job, name)?;
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| format!("InvalidBatch : {e}"))?;
        if record.len() != header.len() {
            return Err("InvalidBatch : The number of columns in a row does not match the header".into());
        }
        rows.push(record.iter().map(str::to_owned).collect());
    }
    Ok((header, rows))
}

fn check_column(org: &Org, object: usize, job: &Job, name: &str) -> Result<(), String> {
    let unknown = || format!("InvalidBatch : Field name not found : {name}");
    if name.eq_ignore_ascii_case("id") && job.operation != "insert" {
        return Ok(());
    }
    let Some((relation, field)) = name.split_once('.') else {
        let known = org.objects[object].field(name).filter(|field| org.is_granted(object, *field));
        return known.map(|_| ()).ok_or_else(unknown);
    };
    let (kind, relation) = relation.split_once(':').map_or((None, relation), |(kind, relation)| (Some(kind), relation));
    let at = org.objects[object].relationship(relation).ok_or_else(unknown)?;
    let Kind::Reference { to, .. } = &org.objects[object].fields[at].kind else { return Err(unknown()) };
    if (to.len() > 1) != kind.is_some() {
        return Err(unknown());
    }
    let target = kind.or(to.first().map(String::as_str)).and_then(|name| org.find(name)).ok_or_else(unknown)?;
    let usable = org.objects[target].field(field).is_some_and(|at| {
        let field = &org.objects[target].fields[at];
        field.external || field.id_lookup
    });
    if usable { Ok(()) } else { Err(unknown()) }
}

fn one_row(org: &mut Org, job: &Job, header: &[String], row: &[String]) -> Result<(Id, bool), (String, Vec<RowError>)> {
    let none = |errors: Vec<RowError>| (String::new(), errors);
    let Some(object) = org.find(&job.object) else { return Err(none(Vec::new())) };
    let mut body = Map::new();
    let mut id = None;
    for (name, cell) in header.iter().zip(row) {
        if name.eq_ignore_ascii_case("id") {
            id = Some(cell.clone());
            continue;
        }
        if cell.is_empty() {
            continue;
        }
        let value = if cell == "#N/A" { Json::Null } else { json!(cell) };
        match name.split_once('.') {
            None => {
                body.insert(name.clone(), value);
            }
            Some((relation, field)) => {
                let (kind, relation) =
                    relation.split_once(':').map_or((None, relation), |(kind, name)| (Some(kind), name));
                let mut parent = json!({ field: value });
                if let Some(kind) = kind {
                    parent["attributes"] = json!({ "type": kind });
                }
                body.insert(relation.to_owned(), parent);
            }
        }
    }
    let known = |id: Option<String>| {
        let text = id.unwrap_or_default();
        Id::parse(&text).filter(|id| org.is_of(*id, object)).ok_or_else(|| {
            (text.clone(), vec![RowError::on("MALFORMED_ID", format!("Id: id value of incorrect type: {text}"), "Id")])
        })
    };
    match job.operation.as_str() {
        "insert" => org.create(object, &body).map(|id| (id, true)).map_err(none),
        "update" => {
            let id = known(id)?;
            org.change(id, &body).map(|()| (id, false)).map_err(|errors| (id.to_string(), errors))
        }
        "delete" => {
            let id = known(id)?;
            org.delete(id).map(|()| (id, false)).map_err(|error| (id.to_string(), vec![error]))
        }
        _ => {
            let field = job.external.clone().unwrap_or_default();
            if field.eq_ignore_ascii_case("Id") {
                return match id.filter(|id| !id.is_empty()) {
                    None => org.create(object, &body).map(|id| (id, true)).map_err(none),
                    id => {
                        let id = known(id)?;
                        org.change(id, &body).map(|()| (id, false)).map_err(|errors| (id.to_string(), errors))
                    }
                };
            }
            let value = body
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(&field))
                .and_then(|(_, v)| v.as_str().map(str::to_owned));
            upsert(org, object, &field, &value.unwrap_or_default(), &body).map_err(none)
        }
    }
}

/// Writes one of the three result files. Every value is quoted, and the order is nobody's business.
fn results(job: &Job, part: &str, seed: u64) -> Reply {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed ^ job.created.cast_unsigned());
    let mut lines: Vec<Vec<&str>> = match part {
        "successfulresults" => job
            .done
            .iter()
            .map(|(id, created, row)| {
                [id.as_str(), if *created { "true" } else { "false" }]
                    .into_iter()
                    .chain(row.iter().map(String::as_str))
                    .collect()
            })
            .collect(),
        "failedresults" => job
            .failed
            .iter()
            .map(|(id, error, row)| {
                [id.as_str(), error.as_str()].into_iter().chain(row.iter().map(String::as_str)).collect()
            })
            .collect(),
        "unprocessedrecords" => job.rest.iter().map(|row| row.iter().map(String::as_str).collect()).collect(),
        _ => return Reply::not_found(),
    };
    lines.shuffle(&mut rng);
    let delimiter = char::from(job.delimiter);
    let end = if job.crlf { "\r\n" } else { "\n" };
    let mut text = match part {
        "successfulresults" => format!("\"sf__Id\"{delimiter}\"sf__Created\"{delimiter}"),
        "failedresults" => format!("\"sf__Id\"{delimiter}\"sf__Error\"{delimiter}"),
        _ => String::new(),
    };
    text.push_str(&job.header.join(&delimiter.to_string()));
    text.push_str(end);
    for line in lines {
        for (n, cell) in line.iter().enumerate() {
            if n > 0 {
                text.push(delimiter);
            }
            text.push('"');
            if *cell != "#N/A" {
                text.push_str(&cell.replace('"', "\"\""));
            }
            text.push('"');
        }
        text.push_str(end);
    }
    Reply::csv(text.into_bytes())
}
