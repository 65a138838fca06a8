//! Bulk API 1.0: jobs of batches, in XML, CSV and JSON, each batch answered row by row in the order it came.
//!
//! Source: the Bulk API Developer Guide, and recorded answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    auth::Refusal,
    bulk1_wire::{Fault, Format, JobRequest, Rows, batch_info, batch_list, fault, job_info, result_list, results},
    ids::Id,
    load::{Loaded, Task, load_record, load_row},
    org::RowError,
    service::{Call, Reply, Service, locked},
};

/// Jobs of one kind count from here: all jobs share a prefix.
const FIRST: u64 = 2_000_000_000;
/// The most bytes of a batch, and the most rows.
const BYTES: usize = 10_000_000;
const ROWS: usize = 10_000;
/// Rows that are worked off before others get their turn.
const CHUNK: usize = 200;

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs1 {
    jobs: BTreeMap<u64, Job>,
    next_batch: u64,
    next_result: u64,
}

impl Jobs1 {
    /// Returns how many batches there were.
    pub(crate) fn batches(&self) -> u64 {
        self.next_batch
    }
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: Id,
    pub(crate) task: Task,
    pub(crate) state: &'static str,
    pub(crate) serial: bool,
    /// What its rows are written in.
    pub(crate) format: Format,
    /// What answers about it are written in.
    pub(crate) speaks: Format,
    pub(crate) version: String,
    pub(crate) created_by: Id,
    pub(crate) created: i64,
    pub(crate) changed: i64,
    pub(crate) batches: Vec<Batch>,
}

impl Job {
    pub(crate) fn queries(&self) -> bool {
        self.task.operation.starts_with("query")
    }
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: Id,
    pub(crate) state: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) created: i64,
    pub(crate) changed: i64,
    pub(crate) request: Vec<u8>,
    pub(crate) loaded: Vec<Loaded>,
    /// The result of a query, with its id.
    pub(crate) found: Option<(Id, Vec<u8>)>,
    pub(crate) count: usize,
}

impl Service {
    /// `/services/async/XX.0/…`
    pub(crate) fn bulk1(self: &Arc<Self>, call: &Call, version: &str, path: &[&str]) -> Reply {
        let spoken = Format::of_request(call);
        if Self::offered(&format!("v{version}")).is_none() {
            return fault(spoken, &Fault::new("InvalidUrl", "the API version is not supported"));
        }
        let token = call.headers.get("x-sfdc-session").map(String::as_str);
        let admission = self.admit(token, call.method != "GET");
        let mut reply = match admission.refusal {
            Some(Refusal::Session) => fault(spoken, &Fault::new("InvalidSessionId", "Invalid session id")),
            Some(Refusal::Unavailable) => {
                Reply { status: 503, ..fault(spoken, &Fault::new("Unknown", "the server is temporarily unavailable")) }
            }
            Some(Refusal::Quota) => fault(spoken, &Fault::new("ExceededQuota", "TotalRequests Limit exceeded.")),
            None => self.bulk1_call(call, version, path).unwrap_or_else(|error| fault(spoken, &error)),
        };
        reply.lost = admission.lost;
        reply
    }

    fn bulk1_call(self: &Arc<Self>, call: &Call, version: &str, path: &[&str]) -> Result<Reply, Fault> {
        let method = call.method.as_str();
        match (method, path) {
            ("POST", ["job"]) => self.create_job1(call, version),
            (_, ["job", job, rest @ ..]) => {
                let unknown = || Fault::new("InvalidJob", format!("Invalid job id: {job}"));
                let number = Id::parse(job).filter(|id| id.prefix == *b"750").ok_or_else(unknown)?.number;
                let mut jobs = locked(&self.jobs1);
                let found = jobs.jobs.get_mut(&number).ok_or_else(unknown)?;
                match (method, rest) {
                    ("GET", []) => Ok(job_info(found, 200)),
                    ("POST", []) => self.change_job1(found, call),
                    ("GET", ["batch"]) => Ok(batch_list(found)),
                    ("POST", ["batch"]) => {
                        let batch = self.take_batch(&mut jobs, number, call)?;
                        drop(jobs);
                        let service = Arc::clone(self);
                        tokio::spawn(async move { service.work1(number).await });
                        Ok(batch)
                    }
                    ("GET", ["batch", batch, rest @ ..]) => {
                        let known = Id::parse(batch).and_then(|id| found.batches.iter().find(|batch| batch.id == id));
                        let known =
                            known.ok_or_else(|| Fault::new("InvalidBatch", format!("Invalid batch id: {batch}")))?;
                        read_batch(found, known, rest)
                    }
                    _ => Err(Fault::new("InvalidUrl", "there is nothing at this address")),
                }
            }
            _ => Err(Fault::new("InvalidUrl", "there is nothing at this address")),
        }
    }

    fn create_job1(&self, call: &Call, version: &str) -> Result<Reply, Fault> {
        let speaks = Format::of_request(call);
        let asked = JobRequest::read(call, speaks)?;
        let (object, user, now) = {
            let org = self.org();
            let object = org.find(&asked.object).map(|object| org.objects[object].name.clone());
            (object, org.user, org.clock())
        };
        let object = object.ok_or_else(|| {
            Fault::new("InvalidEntity", format!("Entity '{}' is not supported by the Bulk API.", asked.object))
        })?;
        let operations = ["insert", "update", "upsert", "delete", "hardDelete", "query", "queryAll"];
        if !operations.contains(&asked.operation.as_str()) {
            return Err(Fault::new("InvalidJob", format!("Unknown operation: {}", asked.operation)));
        }
        if asked.operation == "hardDelete" && !self.org().may("PermissionsBulkApiHardDelete") {
            let text = "hardDelete operation requires special user profile permission, please contact your system administrator";
            return Err(Fault::new("FeatureNotEnabled", text));
        }
        let external = asked.external.filter(|_| asked.operation == "upsert");
        if asked.operation == "upsert" {
            let org = self.org();
            let field =
                external.as_deref().ok_or_else(|| Fault::new("InvalidJob", "External ID was blank for upsert"))?;
            let usable = org.find(&object).is_some_and(|at| {
                org.objects[at].field(field).is_some_and(|field| {
                    let field = &org.objects[at].fields[field];
                    field.external || field.id_lookup
                })
            });
            if !usable {
                let text = format!(
                    "Field name provided, {field} does not match an External ID, Salesforce Id, or indexed field for {object}"
                );
                return Err(Fault::new("InvalidJob", text));
            }
        }
        let mut jobs = locked(&self.jobs1);
        let number = jobs.jobs.keys().next_back().map_or(FIRST, |last| last + 1);
        let job = Job {
            id: Id::new("750", number),
            task: Task { object, operation: asked.operation, external },
            state: "Open",
            serial: asked.serial,
            format: asked.format,
            speaks,
            version: version.to_owned(),
            created_by: user,
            created: now,
            changed: now,
            batches: Vec::new(),
        };
        let reply = job_info(&job, 201);
        jobs.jobs.insert(number, job);
        Ok(reply)
    }

    fn change_job1(&self, job: &mut Job, call: &Call) -> Result<Reply, Fault> {
        let wanted = JobRequest::state(call)?;
        job.state = match (wanted.as_str(), job.state) {
            ("Closed", "Open" | "Closed") => "Closed",
            ("Aborted", "Open" | "Closed") => "Aborted",
            (wanted, state) => {
                return Err(Fault::new("InvalidJobState", format!("a job that is {state} cannot become {wanted}")));
            }
        };
        job.changed = self.org().clock();
        if job.state == "Aborted" {
            for batch in job.batches.iter_mut().filter(|batch| batch.state == "Queued") {
                batch.state = "NotProcessed";
            }
        }
        Ok(job_info(job, 200))
    }

    fn take_batch(&self, jobs: &mut Jobs1, number: u64, call: &Call) -> Result<Reply, Fault> {
        jobs.next_batch += 1;
        let id = Id::new("751", jobs.next_batch);
        let unknown = || Fault::new("InvalidJob", "the job is gone");
        let job = jobs.jobs.get_mut(&number).ok_or_else(unknown)?;
        if job.state != "Open" {
            return Err(Fault::new("InvalidJobState", format!("Job is not open: it is {}", job.state)));
        }
        if call.body.len() > BYTES {
            return Err(Fault::new("ClientInputError", format!("Request size exceeded the limit of {BYTES} bytes")));
        }
        job.format.takes(call)?;
        let now = self.org().clock();
        let batch = Batch {
            id,
            state: "Queued",
            message: None,
            created: now,
            changed: now,
            request: call.body.clone(),
            loaded: Vec::new(),
            found: None,
            count: 0,
        };
        let reply = batch_info(job, &batch, 201);
        job.batches.push(batch);
        Ok(reply)
    }

    /// Works off what is queued in a job: all at once, or one batch after the other.
    async fn work1(self: Arc<Self>, number: u64) {
        let slow = locked(&self.faults).slow;
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        while let Some((at, task, format, request, version)) = self.next_batch(number) {
            let root = format!("/services/data/v{version}");
            if task.operation.starts_with("query") {
                let found = super::bulk1_wire::query(&self.org(), &task, format, &request, &root);
                self.end_batch(number, at, found.map(Some));
                continue;
            }
            let rows = Rows::read(&self.org(), &task, format, &request);
            let rows = rows.and_then(|rows| {
                let fits = rows.len() <= ROWS;
                if fits {
                    Ok(rows)
                } else {
                    Err(format!("InvalidBatch : Number of records exceeds the limit of {ROWS}"))
                }
            });
            match rows {
                Err(message) => self.end_batch(number, at, Err(message)),
                Ok(rows) => {
                    for from in (0..rows.len()).step_by(CHUNK) {
                        self.load_chunk(number, at, &task, &rows, from);
                        tokio::task::yield_now().await;
                    }
                    self.end_batch(number, at, Ok(None));
                }
            }
        }
    }

    fn next_batch(&self, number: u64) -> Option<(usize, Task, Format, Vec<u8>, String)> {
        let mut jobs = locked(&self.jobs1);
        let job = jobs.jobs.get_mut(&number)?;
        if job.serial && job.batches.iter().any(|batch| batch.state == "InProgress") {
            return None;
        }
        let at = job.batches.iter().position(|batch| batch.state == "Queued")?;
        job.batches[at].state = "InProgress";
        Some((at, job.task.clone(), job.format, job.batches[at].request.clone(), job.version.clone()))
    }

    fn load_chunk(&self, number: u64, at: usize, task: &Task, rows: &Rows, from: usize) {
        let _shared = self.gate.read();
        let mut loaded = Vec::with_capacity(CHUNK);
        let mut org = self.org();
        for row in from..rows.len().min(from + CHUNK) {
            let held = locked(&self.faults).lock_row();
            loaded.push(match rows {
                _ if held => {
                    let message = "unable to obtain exclusive access to this record or 1 records";
                    Err((String::new(), vec![RowError::new("UNABLE_TO_LOCK_ROW", message)]))
                }
                Rows::Csv { header, rows } => load_row(&mut org, task, header, &rows[row]),
                Rows::Records(records) => load_record(&mut org, task, &records[row]),
            });
        }
        drop(org);
        if let Some(batch) = locked(&self.jobs1).jobs.get_mut(&number).and_then(|job| job.batches.get_mut(at)) {
            batch.count += loaded.len();
            batch.loaded.extend(loaded);
        }
    }

    fn end_batch(&self, number: u64, at: usize, end: Result<Option<(usize, Vec<u8>)>, String>) {
        let now = self.org().clock();
        let mut jobs = locked(&self.jobs1);
        let result = Id::new("752", jobs.next_result + 1);
        let Some(batch) = jobs.jobs.get_mut(&number).and_then(|job| job.batches.get_mut(at)) else { return };
        batch.changed = now;
        match end {
            Ok(found) => {
                batch.state = "Completed";
                if let Some((count, found)) = found {
                    batch.count = count;
                    batch.found = Some((result, found));
                    jobs.next_result += 1;
                }
            }
            Err(message) => {
                batch.state = "Failed";
                batch.message = Some(message);
            }
        }
    }
}

fn read_batch(job: &Job, batch: &Batch, path: &[&str]) -> Result<Reply, Fault> {
    match path {
        [] => Ok(batch_info(job, batch, 200)),
        ["request"] => Ok(Reply { kind: job.format.kind(), ..Reply::csv(batch.request.clone()) }),
        ["result", ..] if !matches!(batch.state, "Completed" | "Failed") => {
            Err(Fault::new("InvalidBatch", "Batch not completed"))
        }
        ["result"] if job.queries() => Ok(result_list(job, batch)),
        ["result"] => Ok(results(job, batch)),
        ["result", result] if job.queries() => {
            let found = batch.found.as_ref().filter(|(id, _)| Id::parse(result) == Some(*id));
            let (_, body) = found.ok_or_else(|| Fault::new("InvalidBatch", format!("Invalid result id: {result}")))?;
            Ok(Reply { kind: job.format.kind(), ..Reply::csv(body.clone()) })
        }
        _ => Err(Fault::new("InvalidUrl", "there is nothing at this address")),
    }
}
