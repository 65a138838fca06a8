//! Bulk API 2.0 query jobs: asynchronous, their results in pages of CSV.
//!
//! Source: "Bulk API 2.0 Query" in the Bulk API 2.0 Developer Guide. The locator of the last page is the text `null`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::Engine;
use serde_json::{Value as Json, json};

use super::{
    bulk::{DELIMITERS, version},
    ids::Id,
    org::Org,
    service::{Call, Reply, Service, locked},
    soql::{
        parse::{Item, Query, parse},
        run::{Found, malformed},
    },
    validate::stamp,
};

/// Rows of a page, unless the client asks for fewer.
const PAGE: usize = 50_000;

/// All query jobs.
#[derive(Debug, Default)]
pub(crate) struct QueryJobs {
    jobs: BTreeMap<u64, Job>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Job {
    object: String,
    operation: String,
    query: Query,
    delimiter: u8,
    crlf: bool,
    state: &'static str,
    created: i64,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Job {
    fn json(&self, id: Id, user: Id, root: &str) -> Json {
        let delimiter = DELIMITERS.iter().find(|(_, byte)| *byte == self.delimiter).map_or("COMMA", |(name, _)| name);
        let mut job = json!({
            "id": id.to_string(), "operation": self.operation, "object": self.object, "createdById": user.to_string(),
            "createdDate": stamp(self.created), "systemModstamp": stamp(self.created), "state": self.state,
            "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": version(root),
            "lineEnding": if self.crlf { "CRLF" } else { "LF" }, "columnDelimiter": delimiter,
        });
        if self.ended() {
            job["jobType"] = json!("V2Query");
            job["numberRecordsProcessed"] = json!(self.rows.len());
            job["retries"] = json!(0);
            job["totalProcessingTime"] = json!(1);
            job["isPkChunkingSupported"] = json!(true);
        }
        job
    }

    fn ended(&self) -> bool {
        matches!(self.state, "JobComplete" | "Failed" | "Aborted")
    }
}

impl Service {
    /// `/jobs/query…`
    pub(crate) fn bulk_query(self: &Arc<Self>, call: &Call, root: &str, path: &[&str]) -> Reply {
        let user = self.org().user;
        match (call.method.as_str(), path) {
            ("POST", []) => self.open_query(call, root, user),
            ("GET", []) => {
                let jobs = locked(&self.query_jobs);
                let all = jobs.jobs.iter().map(|(number, job)| job.json(Id::new("750", *number), user, root));
                Reply::json(200, &json!({ "done": true, "records": all.collect::<Vec<_>>(), "nextRecordsUrl": null }))
            }
            (method, [id, rest @ ..]) => {
                let Some(id) = Id::parse(id) else { return Reply::not_found() };
                let mut jobs = locked(&self.query_jobs);
                let Some(job) = jobs.jobs.get_mut(&id.number) else { return Reply::not_found() };
                match (method, rest) {
                    ("GET", []) => Reply::json(200, &job.json(id, user, root)),
                    ("GET", ["results"]) if job.state == "JobComplete" => results(job, call),
                    ("GET", ["results"]) => Reply::error(400, "INVALIDJOBSTATE", "the job is not complete"),
                    ("PATCH", []) if !job.ended() => {
                        job.state = "Aborted";
                        Reply::json(200, &job.json(id, user, root))
                    }
                    ("DELETE", []) if job.ended() => {
                        jobs.jobs.remove(&id.number);
                        Reply::empty(204)
                    }
                    ("DELETE", []) => {
                        let message = "Error encountered when deleting the job because the job is not terminated";
                        Reply::error(400, "API_ERROR", message)
                    }
                    ("PATCH", []) => Reply::error(400, "INVALIDJOBSTATE", "the job has ended"),
                    _ => Reply::not_found(),
                }
            }
            _ => Reply::not_found(),
        }
    }

    fn open_query(self: &Arc<Self>, call: &Call, root: &str, user: Id) -> Reply {
        let body: Json = match serde_json::from_slice(&call.body) {
            Ok(body) => body,
            Err(e) => return Reply::error(400, "JSON_PARSER_ERROR", &e.to_string()),
        };
        let operation = body["operation"].as_str().unwrap_or_default();
        if !["query", "queryAll"].contains(&operation) {
            return Reply::error(400, "INVALIDOPERATION", "operation is query or queryAll");
        }
        let text = body["query"].as_str().unwrap_or_default();
        let query = match parse(text) {
            Ok(query) => query,
            Err(error) => {
                let error = malformed(text, &error);
                return Reply::error(400, error.code, &error.message);
            }
        };
        let plain = |item: &Item| matches!(item, Item::Path(_));
        if !query.select.iter().all(plain) || !query.group.is_empty() || query.offset > 0 {
            let message = "aggregates, sub-queries, GROUP BY and OFFSET are not supported by Bulk API 2.0";
            return Reply::error(400, "INVALIDJOB", message);
        }
        let delimiter = body["columnDelimiter"].as_str().unwrap_or("COMMA");
        let Some((_, delimiter)) = DELIMITERS.iter().find(|(name, _)| *name == delimiter) else {
            return Reply::error(400, "INVALIDJOB", "columnDelimiter is not one");
        };
        let created = {
            let org = self.org();
            if let Err(error) = org.find_rows(&Query { limit: Some(0), ..query.clone() }, false) {
                return Reply::error(400, error.code, &error.message);
            }
            org.now
        };
        let header = query
            .select
            .iter()
            .filter_map(|item| if let Item::Path(path) = item { Some(path.join(".")) } else { None })
            .collect();
        let job = Job {
            object: query.from.clone(),
            operation: operation.to_owned(),
            query,
            delimiter: *delimiter,
            crlf: body["lineEnding"] == "CRLF",
            state: "UploadComplete",
            created,
            header,
            rows: Vec::new(),
        };
        let mut jobs = locked(&self.query_jobs);
        jobs.next += 1;
        // Query and ingest jobs share a prefix; these count from far above.
        let number = 1_000_000_000 + jobs.next;
        let reply = Reply::json(200, &job.json(Id::new("750", number), user, root));
        jobs.jobs.insert(number, job);
        drop(jobs);
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let slow = locked(&service.faults).slow;
            tokio::time::sleep(Duration::from_millis(slow.max(1))).await;
            service.answer_query(number);
        });
        reply
    }

    fn answer_query(&self, number: u64) {
        let query = {
            let mut jobs = locked(&self.query_jobs);
            let Some(job) = jobs.jobs.get_mut(&number).filter(|job| job.state == "UploadComplete") else { return };
            job.state = "InProgress";
            (job.query.clone(), job.operation == "queryAll")
        };
        let rows = rows_of(&self.org(), &query.0, query.1);
        let mut jobs = locked(&self.query_jobs);
        if let Some(job) = jobs.jobs.get_mut(&number).filter(|job| job.state == "InProgress") {
            match rows {
                Some(rows) => (job.rows, job.state) = (rows, "JobComplete"),
                None => job.state = "Failed",
            }
        }
    }
}

fn rows_of(org: &Org, query: &Query, all: bool) -> Option<Vec<Vec<String>>> {
    let Ok(Found::Rows(selected)) = org.find_rows(query, all) else { return None };
    let paths: Vec<&Vec<String>> =
        query.select.iter().filter_map(|item| if let Item::Path(path) = item { Some(path) } else { None }).collect();
    let cell = |row: &Json, path: &[String]| {
        let mut at = row;
        for name in path {
            let (_, next) = at.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            at = next;
        }
        Some(match at {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    Some(
        selected
            .rows
            .iter()
            .map(|number| {
                let row = org.show(&selected, *number, "");
                paths.iter().map(|path| cell(&row, path).unwrap_or_default()).collect()
            })
            .collect(),
    )
}

fn results(job: &Job, call: &Call) -> Reply {
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let from = match call.query.get("locator") {
        None => Some(0),
        Some(locator) => {
            engine.decode(locator).ok().and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<usize>().ok())
        }
    };
    let Some(from) = from.filter(|from| *from <= job.rows.len()) else {
        return Reply::error(400, "INVALIDLOCATOR", "the locator is not one of this job");
    };
    let asked = call.query.get("maxRecords").and_then(|text| text.parse().ok()).unwrap_or(PAGE);
    let to = (from + asked.clamp(1, PAGE)).min(job.rows.len());
    let delimiter = char::from(job.delimiter).to_string();
    let end = if job.crlf { "\r\n" } else { "\n" };
    let quoted = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        cells.join(&delimiter) + end
    };
    let mut text = quoted(&job.header);
    job.rows[from..to].iter().for_each(|row| text.push_str(&quoted(row)));
    let locator = if to < job.rows.len() { engine.encode(to.to_string()) } else { "null".to_owned() };
    Reply::csv(text.into_bytes())
        .header("Sforce-NumberOfRecords", (to - from).to_string())
        .header("Sforce-Locator", locator)
}
