//! How Bulk API 1.0 is written: requests and answers in XML, JSON and CSV.
//!
//! Source: the Bulk API Developer Guide. Elements come in the order of recorded answers. Dates in JSON results are
//! milliseconds (simple-salesforce issue 290).

use chrono::DateTime;
use serde_json::{Map, Value as Json, json};

use super::{
    bulk1::{Batch, Job},
    load::{Task, check_header, error_text},
    model::Kind,
    org::Org,
    service::{Call, Reply},
    soql::{
        parse::{Item, parse},
        run::Found,
    },
    xml::{Element, escape},
};

const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

/// An error of the interface.
#[derive(Debug)]
pub(crate) struct Fault {
    code: &'static str,
    message: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What something is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Xml,
    Json,
    Csv,
}

impl Format {
    /// What a request is written in, and so its answer: JSON or XML.
    pub(crate) fn of_request(call: &Call) -> Self {
        let json = call.headers.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        if json { Self::Json } else { Self::Xml }
    }

    /// The content type of answers. None names a charset: heroku/salesforce-bulk compares the whole header.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Xml => "application/xml",
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }

    /// Refuses a batch whose content type is not that of its job.
    pub(crate) fn takes(self, call: &Call) -> Result<(), Fault> {
        let given = call.headers.get("content-type").map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
        let kind = given.split(';').next().unwrap_or_default().trim();
        let (wanted, name) = match self {
            Self::Xml => ("application/xml", "XML"),
            Self::Json => ("application/json", "JSON"),
            Self::Csv => ("text/csv", "CSV"),
        };
        if kind == wanted {
            return Ok(());
        }
        Err(Fault::new("InvalidBatch", format!("Content type of the batch is {kind}, that of the job is {name}")))
    }
}

/// What a client asks of a new job.
#[derive(Debug)]
pub(crate) struct JobRequest {
    pub(crate) operation: String,
    pub(crate) object: String,
    pub(crate) external: Option<String>,
    pub(crate) serial: bool,
    pub(crate) format: Format,
}

impl JobRequest {
    pub(crate) fn read(call: &Call, format: Format) -> Result<Self, Fault> {
        let get = about(call, format)?;
        let known =
            ["operation", "object", "externalIdFieldName", "concurrencyMode", "contentType", "assignmentRuleId"];
        if let Some(name) = get.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Fault::new("InvalidJob", format!("Unexpected field in a new job: {name}")));
        }
        let text = |name: &str| get.get(name).cloned().filter(|text| !text.is_empty());
        let serial = match text("concurrencyMode").as_deref() {
            None | Some("Parallel" | "0") => false,
            Some("Serial" | "1") => true,
            Some(other) => return Err(Fault::new("InvalidJob", format!("Unknown concurrencyMode: {other}"))),
        };
        let format = match text("contentType").as_deref() {
            None | Some("XML") => Format::Xml,
            Some("CSV") => Format::Csv,
            Some("JSON") => Format::Json,
            Some(other) => return Err(Fault::new("InvalidJob", format!("Content type is not supported: {other}"))),
        };
        Ok(Self {
            operation: text("operation").ok_or_else(|| Fault::new("InvalidJob", "operation is missing"))?,
            object: text("object").ok_or_else(|| Fault::new("InvalidJob", "object is missing"))?,
            external: text("externalIdFieldName"),
            serial,
            format,
        })
    }

    /// Reads the state that a job shall have.
    pub(crate) fn state(call: &Call) -> Result<String, Fault> {
        let state = about(call, Format::of_request(call))?.remove("state");
        state.ok_or_else(|| Fault::new("InvalidJobState", "state is missing"))
    }
}

/// Reads a jobInfo as texts by name.
fn about(call: &Call, format: Format) -> Result<std::collections::BTreeMap<String, String>, Fault> {
    let body = String::from_utf8_lossy(&call.body);
    if format == Format::Json {
        let Ok(Json::Object(map)) = serde_json::from_str::<Json>(&body) else {
            return Err(Fault::new("InvalidJob", "Unable to parse the job"));
        };
        let text = |value: Json| match value {
            Json::Null => None,
            Json::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        return Ok(map.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect());
    }
    let root = Element::parse(&body).map_err(|e| Fault::new("InvalidXML", e))?;
    if root.name != "jobInfo" {
        return Err(Fault::new("InvalidXML", format!("expected jobInfo, found {}", root.name)));
    }
    Ok(root.children.into_iter().map(|child| (child.name, child.text.trim().to_owned())).collect())
}

pub(crate) fn fault(format: Format, fault: &Fault) -> Reply {
    let (code, message) = (fault.code, &fault.message);
    let mut reply = match format {
        Format::Json => as_json(400, &json!({ "exceptionCode": code, "exceptionMessage": message })),
        _ => xml(
            400,
            &format!(
                "<error\n   xmlns=\"{NAMESPACE}\">\n <exceptionCode>{code}</exceptionCode>\n <exceptionMessage>{}</exceptionMessage>\n</error>",
                escape(message)
            ),
        ),
    };
    reply.status = 400;
    reply
}

fn as_json(status: u16, body: &Json) -> Reply {
    Reply { kind: Format::Json.kind(), ..Reply::json(status, body) }
}

fn xml(status: u16, text: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}").into_bytes();
    Reply { status, kind: "application/xml", ..Reply::csv(body) }
}

/// Writes a moment as XML answers do.
fn moment(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn info(status: u16, speaks: Format, name: &str, fields: Vec<(&'static str, Json)>) -> Reply {
    if speaks == Format::Json {
        return as_json(status, &object(fields));
    }
    xml(status, &format!("<{name}\n   xmlns=\"{NAMESPACE}\">{}</{name}>", elements(&fields)))
}

fn object(fields: Vec<(&'static str, Json)>) -> Json {
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn elements(fields: &[(&'static str, Json)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("\n <{name}>{}</{name}>", escape(&value)));
    }
    text + "\n"
}

/// JSON answers write moments with an offset, XML ones with a `Z`.
fn when(format: Format, millis: i64) -> Json {
    json!(if format == Format::Json { super::validate::stamp(millis) } else { moment(millis) })
}

pub(crate) fn job_info(job: &Job, status: u16) -> Reply {
    let count = |states: &[&str]| job.batches.iter().filter(|batch| states.contains(&batch.state)).count();
    let failed: usize = job.batches.iter().map(failures).sum();
    let version = match (job.speaks, job.version.parse::<f64>()) {
        (Format::Json, Ok(number)) => json!(number),
        _ => json!(job.version),
    };
    let mut fields = vec![
        ("id", json!(job.id.to_string())),
        ("operation", json!(job.task.operation)),
        ("object", json!(job.task.object)),
        ("createdById", json!(job.created_by.to_string())),
        ("createdDate", when(job.speaks, job.created)),
        ("systemModstamp", when(job.speaks, job.changed)),
        ("state", json!(job.state)),
    ];
    fields.extend(job.task.external.as_ref().map(|field| ("externalIdFieldName", json!(field))));
    fields.extend([
        ("concurrencyMode", json!(if job.serial { "Serial" } else { "Parallel" })),
        (
            "contentType",
            json!(match job.format {
                Format::Xml => "XML",
                Format::Json => "JSON",
                Format::Csv => "CSV",
            }),
        ),
        ("numberBatchesQueued", json!(count(&["Queued"]))),
        ("numberBatchesInProgress", json!(count(&["InProgress"]))),
        ("numberBatchesCompleted", json!(count(&["Completed"]))),
        ("numberBatchesFailed", json!(count(&["Failed"]))),
        ("numberBatchesTotal", json!(job.batches.len())),
        ("numberRecordsProcessed", json!(job.batches.iter().map(|batch| batch.count).sum::<usize>())),
        ("numberRetries", json!(0)),
        ("apiVersion", version),
        ("numberRecordsFailed", json!(failed)),
        ("totalProcessingTime", json!(0)),
        ("apiActiveProcessingTime", json!(0)),
        ("apexProcessingTime", json!(0)),
    ]);
    info(status, job.speaks, "jobInfo", fields)
}

fn failures(batch: &Batch) -> usize {
    batch.loaded.iter().filter(|loaded| loaded.is_err()).count()
}

fn batch_fields(job: &Job, batch: &Batch) -> Vec<(&'static str, Json)> {
    let mut fields =
        vec![("id", json!(batch.id.to_string())), ("jobId", json!(job.id.to_string())), ("state", json!(batch.state))];
    fields.extend(batch.message.as_ref().map(|message| ("stateMessage", json!(message))));
    fields.extend([
        ("createdDate", when(job.speaks, batch.created)),
        ("systemModstamp", when(job.speaks, batch.changed)),
        ("numberRecordsProcessed", json!(batch.count)),
        ("numberRecordsFailed", json!(failures(batch))),
        ("totalProcessingTime", json!(0)),
        ("apiActiveProcessingTime", json!(0)),
        ("apexProcessingTime", json!(0)),
    ]);
    fields
}

pub(crate) fn batch_info(job: &Job, batch: &Batch, status: u16) -> Reply {
    info(status, job.speaks, "batchInfo", batch_fields(job, batch))
}

pub(crate) fn batch_list(job: &Job) -> Reply {
    let all = job.batches.iter().map(|batch| batch_fields(job, batch));
    if job.speaks == Format::Json {
        return as_json(200, &json!({ "batchInfo": all.map(object).collect::<Vec<_>>() }));
    }
    if job.batches.is_empty() {
        return xml(200, &format!("<batchInfoList\n   xmlns=\"{NAMESPACE}\"/>"));
    }
    let text: String = all.map(|fields| format!("\n <batchInfo>{}</batchInfo>", elements(&fields))).collect();
    xml(200, &format!("<batchInfoList\n   xmlns=\"{NAMESPACE}\">{text}\n</batchInfoList>"))
}

/// The ids of a query's results. Only JSON jobs list them in JSON.
pub(crate) fn result_list(job: &Job, batch: &Batch) -> Reply {
    let ids: Vec<String> = batch.found.iter().map(|(id, _)| id.to_string()).collect();
    if job.format == Format::Json {
        return as_json(200, &json!(ids));
    }
    let ids: String = ids.iter().map(|id| format!("<result>{id}</result>")).collect();
    xml(200, &format!("<result-list xmlns=\"{NAMESPACE}\">{ids}</result-list>"))
}

/// What became of every row, in the order in which the rows came.
pub(crate) fn results(job: &Job, batch: &Batch) -> Reply {
    let rows = batch.loaded.iter().map(|loaded| match loaded {
        Ok((id, created)) => (id.to_string(), true, *created, &[][..]),
        Err((id, errors)) => (id.clone(), false, false, errors.as_slice()),
    });
    match job.format {
        Format::Csv => {
            let mut text = "\"Id\",\"Success\",\"Created\",\"Error\"\n".to_owned();
            for (id, success, created, errors) in rows {
                let error = error_text(errors).replace('"', "\"\"");
                text.push_str(&format!("\"{id}\",\"{success}\",\"{created}\",\"{error}\"\n"));
            }
            Reply { kind: job.format.kind(), ..Reply::csv(text.into_bytes()) }
        }
        Format::Json => {
            let all = rows.map(|(id, success, created, errors)| {
                let errors: Vec<Json> = errors
                    .iter()
                    .map(|error| {
                        json!({
                            "statusCode": error.code, "message": error.message, "fields": error.fields,
                            "extendedErrorDetails": null,
                        })
                    })
                    .collect();
                let id = if id.is_empty() { Json::Null } else { json!(id) };
                json!({ "success": success, "created": created, "id": id, "errors": errors })
            });
            as_json(200, &Json::Array(all.collect()))
        }
        Format::Xml => {
            let mut text = String::new();
            for (id, success, created, errors) in rows {
                text.push_str("<result>");
                for error in errors {
                    let fields: String = error.fields.iter().map(|field| format!("<fields>{field}</fields>")).collect();
                    text.push_str(&format!(
                        "<errors>{fields}<message>{}</message><statusCode>{}</statusCode></errors>",
                        escape(&error.message),
                        error.code
                    ));
                }
                if !id.is_empty() {
                    text.push_str(&format!("<id>{id}</id>"));
                }
                text.push_str(&format!("<success>{success}</success><created>{created}</created></result>"));
            }
            xml(200, &format!("<results xmlns=\"{NAMESPACE}\">{text}</results>"))
        }
    }
}

/// The rows of a batch.
#[derive(Debug)]
pub(crate) enum Rows {
    Csv { header: Vec<String>, rows: Vec<Vec<String>> },
    Records(Vec<Map<String, Json>>),
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Csv { rows, .. } => rows.len(),
            Self::Records(records) => records.len(),
        }
    }

    /// Reads a batch; the error is that of the whole batch.
    pub(crate) fn read(org: &Org, task: &Task, format: Format, body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "InvalidBatch : the content is not UTF-8".to_owned())?;
        match format {
            Format::Csv => {
                let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
                let header: Vec<String> =
                    reader.headers().map_err(|e| format!("InvalidBatch : {e}"))?.iter().map(str::to_owned).collect();
                check_header(org, task, &header)?;
                let mut rows = Vec::new();
                for record in reader.records() {
                    let record = record.map_err(|e| format!("InvalidBatch : {e}"))?;
                    if record.len() != header.len() {
                        return Err("InvalidBatch : The number of columns in a row does not match the header".into());
                    }
                    rows.push(record.iter().map(str::to_owned).collect());
                }
                Ok(Self::Csv { header, rows })
            }
            Format::Json => {
                let wrong = || "InvalidBatch : Failed to parse the batch: expected a list of records".to_owned();
                let Ok(Json::Array(list)) = serde_json::from_str::<Json>(text) else { return Err(wrong()) };
                let records = list.into_iter().map(|record| match record {
                    Json::Object(record) => Ok(record),
                    _ => Err(wrong()),
                });
                records.collect::<Result<_, _>>().map(Self::Records)
            }
            Format::Xml => {
                let root = Element::parse(text).map_err(|e| format!("InvalidBatch : {e}"))?;
                if root.name != "sObjects" {
                    return Err(format!("InvalidBatch : expected sObjects, found {}", root.name));
                }
                Ok(Self::Records(root.all("sObject").map(record_of).collect()))
            }
        }
    }
}

/// Turns an sObject element into a record; a lookup by external id holds another sObject.
fn record_of(element: &Element) -> Map<String, Json> {
    let mut record = Map::new();
    for child in &element.children {
        let value = match child.children.first() {
            _ if child.nil => Json::Null,
            Some(parent) if parent.name == "sObject" => Json::Object(record_of(parent)),
            _ => json!(child.text),
        };
        if child.name == "type" && !record.contains_key("attributes") {
            record.insert("attributes".into(), json!({ "type": value }));
        } else {
            record.insert(child.name.clone(), value);
        }
    }
    record
}

/// Runs a query, and returns how many rows there are and all of them as they are written.
pub(crate) fn query(
    org: &Org,
    task: &Task,
    format: Format,
    body: &[u8],
    root: &str,
) -> Result<(usize, Vec<u8>), String> {
    let failed = |code: &str, text: &str| format!("InvalidBatch : Failed to process query: {code}: {text}");
    let text = String::from_utf8_lossy(body);
    let query = parse(text.trim()).map_err(|error| failed("MALFORMED_QUERY", &error.message))?;
    if !query.from.eq_ignore_ascii_case(&task.object) {
        return Err(failed(
            "INVALID_TYPE",
            &format!("the job is about {}, the query about {}", task.object, query.from),
        ));
    }
    let plain = query.select.iter().all(|item| matches!(item, Item::Path(_)));
    if !plain || !query.group.is_empty() || query.offset > 0 {
        let text = "Aggregate Relationships not supported in Bulk Query";
        return Err(failed("FUNCTIONALITY_NOT_ENABLED", text));
    }
    let Found::Rows(selected) =
        org.find_rows(&query, task.operation == "queryAll").map_err(|error| failed(error.code, &error.message))?
    else {
        return Err(failed("FUNCTIONALITY_NOT_ENABLED", "COUNT is not supported in Bulk Query"));
    };
    let rows: Vec<Json> =
        selected.rows.iter().map(|number| in_millis(org, org.show(&selected, *number, root), format)).collect();
    let paths: Vec<&Vec<String>> =
        query.select.iter().filter_map(|item| if let Item::Path(path) = item { Some(path) } else { None }).collect();
    let written = match format {
        Format::Json => Json::Array(rows.clone()).to_string(),
        Format::Csv if rows.is_empty() => "Records not found for this query".to_owned(),
        Format::Csv => {
            let quoted = |cells: Vec<String>| {
                let cells: Vec<String> =
                    cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
                cells.join(",") + "\n"
            };
            let mut text = quoted(paths.iter().map(|path| path.join(".")).collect());
            for row in &rows {
                text.push_str(&quoted(paths.iter().map(|path| cell(row, path)).collect()));
            }
            text
        }
        Format::Xml => {
            let records: String =
                rows.iter().map(|row| format!("<records xsi:type=\"sObject\">{}</records>", inner(row))).collect();
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><queryResult xmlns=\"{NAMESPACE}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">{records}</queryResult>"
            )
        }
    };
    Ok((rows.len(), written.into_bytes()))
}

/// Writes dates as JSON results do, in milliseconds, and as the other ones do, with a `Z`.
fn in_millis(org: &Org, mut row: Json, format: Format) -> Json {
    let object = row["attributes"]["type"].as_str().and_then(|name| org.find(name));
    let Json::Object(fields) = &mut row else { return row };
    for (name, value) in fields.iter_mut() {
        if value.is_object() && name != "attributes" {
            *value = in_millis(org, value.take(), format);
            continue;
        }
        let kind = object.and_then(|object| Some(&org.objects[object].fields[org.objects[object].field(name)?].kind));
        let millis = match (kind, value.as_str()) {
            (Some(Kind::DateTime), Some(text)) => super::validate::time(text),
            (Some(Kind::Date), Some(text)) if format == Format::Json => {
                super::validate::date(text).map(|days| i64::from(days) * 86_400_000)
            }
            _ => None,
        };
        if let Some(millis) = millis {
            *value = if format == Format::Json { json!(millis) } else { json!(moment(millis)) };
        }
    }
    row
}

fn cell(row: &Json, path: &[String]) -> String {
    let mut at = row;
    for name in path {
        let Some((_, next)) = at.as_object().and_then(|map| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)))
        else {
            return String::new();
        };
        at = next;
    }
    match at {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn inner(row: &Json) -> String {
    let mut text = String::new();
    let Some(fields) = row.as_object() else { return text };
    if let Some(kind) = row["attributes"]["type"].as_str() {
        text.push_str(&format!("<type>{kind}</type>"));
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "attributes") {
        text.push_str(&match value {
            Json::Null => format!("<{name} xsi:nil=\"true\"/>"),
            Json::Object(_) => format!("<{name} xsi:type=\"sObject\">{}</{name}>", inner(value)),
            Json::String(value) => format!("<{name}>{}</{name}>", escape(value)),
            other => format!("<{name}>{other}</{name}>"),
        });
    }
    text
}
