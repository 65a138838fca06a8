//! Bulk API 2.0 ingest jobs: asynchronous, unordered, strict about what they take.
//!
//! Source: "Bulk API 2.0 Ingest" in the Bulk API 2.0 Developer Guide.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, seq::SliceRandom};
use serde_json::{Value as Json, json};

use super::{
    ids::Id,
    load::{Task, check_header, error_text, load_row, locking_columns},
    org::{Org, RowError},
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
    task: Task,
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
    /// The rows that the chunk in work points to, while parents are held.
    held: HashSet<String>,
}

impl Job {
    fn json(&self, id: Id, user: Id, root: &str) -> Json {
        let mut job = json!({
            "id": id.to_string(), "operation": self.task.operation, "object": self.task.object, "createdById": user.to_string(),
            "createdDate": stamp(self.created), "systemModstamp": stamp(self.created), "state": self.state,
            "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": version(root), "jobType": "V2Ingest",
            "lineEnding": if self.crlf { "CRLF" } else { "LF" }, "columnDelimiter": delimiter_name(self.delimiter),
            "numberRecordsProcessed": self.done.len() + self.failed.len(), "numberRecordsFailed": self.failed.len(),
            "retries": 0, "totalProcessingTime": 1, "apiActiveProcessingTime": 1, "apexProcessingTime": 0,
        });
        if let Some(field) = &self.task.external {
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
                    ("DELETE", None) if job.ended() || job.state == "UploadComplete" => {
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
        if operation == "hardDelete" && !self.org().may("PermissionsBulkApiHardDelete") {
            return Reply::error(
                400,
                "FEATURENOTENABLED",
                "hardDelete operation requires special user profile permission",
            );
        }
        if !["insert", "update", "upsert", "delete", "hardDelete"].contains(&operation.as_str()) {
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
            task: Task { object, operation, external },
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
            held: HashSet::new(),
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
        let _shared = self.gate.read();
        let mut org = self.org();
        let mut results = Vec::with_capacity(rows.len());
        let holding = locked(&self.faults).hold_parents;
        let columns = if holding { locking_columns(&org, &job.task, header) } else { Vec::new() };
        let parents = |row: &[String]| {
            columns.iter().filter_map(|at| row.get(*at)).filter(|id| !id.is_empty()).cloned().collect::<Vec<_>>()
        };
        let elsewhere = if holding {
            self.hold(number, rows.iter().flat_map(|row| parents(row)).collect())
        } else {
            HashSet::new()
        };
        for row in rows {
            let contended = parents(&row).iter().any(|id| elsewhere.contains(id));
            let result = if contended || locked(&self.faults).lock_row() {
                Err((
                    String::new(),
                    vec![RowError::new(
                        "UNABLE_TO_LOCK_ROW",
                        "unable to obtain exclusive access to this record or 1 records",
                    )],
                ))
            } else {
                load_row(&mut org, &job.task, header, &row)
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
                    job.failed.push((id, error_text(&errors), row));
                }
            }
        }
    }

    /// Lets a job hold these rows in place of those it has held, and returns what other jobs hold.
    fn hold(&self, number: u64, parents: HashSet<String>) -> HashSet<String> {
        let mut jobs = locked(&self.jobs);
        let others = jobs.jobs.iter().filter(|(other, job)| **other != number && job.state == "InProgress");
        let elsewhere: HashSet<String> = others.flat_map(|(_, job)| job.held.iter().cloned()).collect();
        if let Some(job) = jobs.jobs.get_mut(&number) {
            job.held = parents.into_iter().filter(|id| !elsewhere.contains(id)).collect();
        }
        elsewhere
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
    check_header(org, &job.task, &header)?;
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
