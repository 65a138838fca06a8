//! Large sets: Bulk API 2.0 ingest jobs.
//!
//! Source: "Bulk API 2.0 Ingest" in the Bulk API 2.0 Developer Guide. A job that is complete may have failed rows; its
//! results come in any order and are joined by a column of ours; an empty cell leaves a field, `#N/A` clears it.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use waybill_ledger::{
    FieldName,
    event::{Operation, UnknownCause},
    names_of,
};

use super::{Salesforce, answer, rows::not_sent, values::to_cell};
use crate::{
    destination::{Batch, Journal, Outcome, Refusal},
    error::{RemoteError, Retry},
    transport::{Lost, Request},
};

/// The longest pause between two looks at a job.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a job is aborted that nobody closed.
const ABORTS: usize = 5;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    id: String,
    state: String,
    #[serde(default)]
    error_message: Option<String>,
}

impl Job {
    /// Returns whether it does nothing any more.
    fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "JobComplete" | "Failed" | "Aborted")
    }
}

impl Salesforce {
    /// Writes rows by a job. Nothing has happened if it fails.
    pub(super) async fn write_job<J: Journal>(&self, batch: &Batch, journal: &J) -> Result<Vec<Outcome>, RemoteError> {
        let operation = match batch.operation {
            Operation::Create => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Nothing => return self.write_rows(batch).await,
        };
        let csv = csv_of(batch)?;
        let request = Request::new(Method::POST, format!("{}/jobs/ingest", self.root)).json(&json!({
            "object": batch.object.as_str(), "operation": operation,
            "contentType": "CSV", "lineEnding": "LF", "columnDelimiter": "COMMA",
        }));
        // A job whose answer is lost holds no rows and does nothing.
        let response = self.session.write(request).await.map_err(RemoteError::from)?;
        let job: Job = answer::json("a new job", &answer::check("a new job", response)?)?;
        journal.job_opened(&job.id).await?;
        if let Err(error) = self.upload(&job.id, csv).await {
            self.abort(&job.id).await;
            return Err(error);
        }
        self.close_and_wait(batch, &job.id).await
    }

    /// Goes on with a job that an earlier process opened.
    pub(super) async fn resume_job(&self, batch: &Batch, id: &str) -> Result<Vec<Outcome>, RemoteError> {
        let Some(job) = self.look(id).await? else {
            return Ok(unknown(batch, UnknownCause::Restart));
        };
        if job.state != "Open" {
            return self.wait(batch, id).await;
        }
        // It was opened and never closed, so nothing of it was worked off: it ends here, and the rows are sent anew.
        if self.end_of(id).await?.is_some_and(|job| job.state != "Aborted") {
            return self.wait(batch, id).await;
        }
        let error = RemoteError::Busy { system: super::SYSTEM.to_owned(), code: "job was never closed".to_owned() };
        Ok(batch.rows.iter().map(|_| not_sent(&error)).collect())
    }

    async fn upload(&self, id: &str, csv: Vec<u8>) -> Result<(), RemoteError> {
        let path = format!("{}/jobs/ingest/{id}/batches", self.root);
        let request = Request::new(Method::PUT, path).body("text/csv", csv);
        let response = self.session.write(request).await.map_err(RemoteError::from)?;
        answer::check("the rows of a job", response).map(|_| ())
    }

    async fn abort(&self, id: &str) {
        let request =
            Request::new(Method::PATCH, format!("{}/jobs/ingest/{id}", self.root)).json(&json!({ "state": "Aborted" }));
        // Whether it was aborted is seen by looking at it, where that matters: an open job that is never closed does nothing.
        let _ = self.session.write(request).await;
    }

    async fn close_and_wait(&self, batch: &Batch, id: &str) -> Result<Vec<Outcome>, RemoteError> {
        let close = Request::new(Method::PATCH, format!("{}/jobs/ingest/{id}", self.root))
            .json(&json!({ "state": "UploadComplete" }));
        match self.session.write(close).await {
            Ok(response) if response.status.is_success() => {}
            Ok(response) if response.status.is_client_error() => {
                answer::check("the close of a job", response)?;
            }
            // Whether it was closed is seen by looking at it; and one that was not may be closed late, unless it is ended.
            Ok(_) | Err(Lost::Unknown(..)) => {
                let closed = match self.look(id).await {
                    Ok(Some(job)) if job.state == "Open" => self.end_of(id).await,
                    seen => seen,
                };
                match closed {
                    Ok(Some(job)) if job.state == "Aborted" => {
                        let code = "job not closed".to_owned();
                        return Err(RemoteError::Busy { system: super::SYSTEM.to_owned(), code });
                    }
                    Ok(_) => {}
                    Err(_) => return Ok(unknown(batch, UnknownCause::ConnectionLost)),
                }
            }
            Err(Lost::NotSent(error)) => {
                self.abort(id).await;
                return Err(error);
            }
        }
        self.wait(batch, id).await
    }

    /// Waits for a closed job, and joins its results.
    async fn wait(&self, batch: &Batch, id: &str) -> Result<Vec<Outcome>, RemoteError> {
        let began = tokio::time::Instant::now();
        let job = loop {
            match self.look(id).await {
                Ok(Some(job)) if job.is_over() => break job,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(unknown(batch, UnknownCause::NoResult)),
                Err(_) => return Ok(unknown(batch, UnknownCause::ConnectionLost)),
            }
            self.pause(began).await;
        };
        match self.results(batch, &job).await {
            Ok(outcomes) => Ok(outcomes),
            Err(_) => Ok(unknown(batch, UnknownCause::NoResult)),
        }
    }

    /// Returns a job that has come to its end, after waiting for that, or nothing if there is no such job. One that is still open
    /// is aborted: no close of ours that is late can start it then.
    pub(super) async fn end_of(&self, id: &str) -> Result<Option<Job>, RemoteError> {
        let (began, mut aborted) = (tokio::time::Instant::now(), 0);
        loop {
            match self.look(id).await? {
                None => return Ok(None),
                Some(job) if job.is_over() => return Ok(Some(job)),
                Some(job) if job.state == "Open" && aborted < ABORTS => {
                    aborted += 1;
                    self.abort(id).await;
                    continue;
                }
                Some(job) if job.state == "Open" => {
                    let code = "job cannot be aborted".to_owned();
                    return Err(RemoteError::Busy { system: super::SYSTEM.to_owned(), code });
                }
                Some(_) => {}
            }
            self.pause(began).await;
        }
    }

    /// Waits until the next look at a job: every look is a call that counts, so the longer it takes, the rarer they are.
    async fn pause(&self, began: tokio::time::Instant) {
        tokio::time::sleep((began.elapsed() / 8).clamp(self.poll, LONGEST_PAUSE)).await;
    }

    async fn look(&self, id: &str) -> Result<Option<Job>, RemoteError> {
        let response = self.session.read(Request::get(format!("{}/jobs/ingest/{id}", self.root))).await?;
        if response.status.as_u16() == 404 {
            return Ok(None);
        }
        answer::json("a job", &answer::check("a job", response)?).map(Some)
    }

    async fn results(&self, batch: &Batch, job: &Job) -> Result<Vec<Outcome>, RemoteError> {
        let mut join = Join::new(batch);
        for part in ["successfulResults", "failedResults"] {
            let request = Request::get(format!("{}/jobs/ingest/{}/{part}", self.root, job.id));
            let response = answer::check("the results of a job", self.session.read(request).await?)?;
            join.add(&response.body)?;
        }
        if job.state != "JobComplete" {
            // What the job did not come to is in neither file: it can be sent again.
            let message = job.error_message.clone().unwrap_or_else(|| format!("the job ended as {}", job.state));
            let retry = if message.contains("InvalidBatch") { Retry::Never } else { Retry::Soon };
            let request = Request::get(format!("{}/jobs/ingest/{}/unprocessedrecords", self.root, job.id));
            let response = answer::check("the rest of a job", self.session.read(request).await?)?;
            join.unprocessed(&response.body, &message, retry)?;
        }
        Ok(join.finish())
    }

    /// Deletes a finished job.
    pub(super) async fn delete_job(&self, id: &str) -> Result<(), RemoteError> {
        let request = Request::new(Method::DELETE, format!("{}/jobs/ingest/{id}", self.root));
        let response = self.session.write(request).await.map_err(RemoteError::from)?;
        if response.status.as_u16() == 404 {
            return Ok(());
        }
        answer::check("a finished job", response).map(|_| ())
    }
}

/// Says of every row that nobody knows what became of it.
fn unknown(batch: &Batch, cause: UnknownCause) -> Vec<Outcome> {
    batch.rows.iter().map(|_| Outcome::Unknown(cause)).collect()
}

/// The column by which results find their rows.
fn key_column(batch: &Batch) -> &str {
    batch.key().map_or("Id", FieldName::as_str)
}

/// Writes a batch as the file of a job.
fn csv_of(batch: &Batch) -> Result<Vec<u8>, RemoteError> {
    let unwritable = |detail: String| RemoteError::Malformed {
        system: super::SYSTEM.to_owned(),
        what: "the rows of a job".to_owned(),
        detail,
    };
    let names = names_of(batch.rows.iter().map(|row| batch.sets(row).map(|(name, _)| name)));
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Necessary).from_writer(Vec::new());
    let with_id = batch.operation != Operation::Create;
    let first = with_id.then_some("Id").or(batch.key().map(FieldName::as_str));
    let header = first.into_iter().chain(names.iter().map(|name| name.as_str()));
    writer.write_record(header).map_err(|e| unwritable(e.to_string()))?;
    for row in &batch.rows {
        let id = with_id.then(|| row.id.as_deref().unwrap_or_default());
        let first = id.or(batch.key_of(row).map(|(_, key)| key)).map(Cow::Borrowed);
        // Both are in the order of names.
        let mut set = batch.sets(row).peekable();
        let cells = names.iter().map(|name| match set.next_if(|(own, _)| own == name) {
            Some((_, value)) => to_cell(value),
            None => Cow::Borrowed(""),
        });
        for cell in first.into_iter().chain(cells) {
            writer.write_field(cell.as_bytes()).map_err(|e| unwritable(e.to_string()))?;
        }
        writer.write_record(None::<&[u8]>).map_err(|e| unwritable(e.to_string()))?;
    }
    writer.into_inner().map_err(|e| unwritable(e.to_string()))
}

/// Joins results to rows by the key column, never by position.
struct Join<'b> {
    batch: &'b Batch,
    rows: HashMap<&'b str, usize>,
    outcomes: Vec<Option<Outcome>>,
}

impl<'b> Join<'b> {
    fn new(batch: &'b Batch) -> Self {
        let by_key = batch.key().is_some();
        let rows = batch.rows.iter().enumerate();
        let rows = rows.filter_map(|(n, row)| Some((if by_key { row.key.as_str() } else { row.id.as_deref()? }, n)));
        Self { batch, rows: rows.collect(), outcomes: vec![None; batch.rows.len()] }
    }

    fn read<'c>(&self, body: &'c [u8]) -> Result<(csv::Reader<&'c [u8]>, Columns), RemoteError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
        let header = reader.headers().map_err(|e| unreadable(&e))?;
        let find = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
        let columns = Columns { key: find(key_column(self.batch)), id: find("sf__Id"), error: find("sf__Error") };
        Ok((reader, columns))
    }

    fn add(&mut self, body: &[u8]) -> Result<(), RemoteError> {
        let (mut reader, columns) = self.read(body)?;
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(&e))?;
            let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default();
            let id = cell(columns.id);
            let key = match columns.key {
                Some(_) => cell(columns.key),
                None => id,
            };
            let Some(&n) = self.rows.get(key) else { continue };
            self.outcomes[n] = Some(match columns.error {
                None => Outcome::Done { id: id.to_owned(), shown: None },
                Some(at) => {
                    let error = answer::bulk_error(cell(Some(at)));
                    if self.batch.operation == Operation::Delete && error.code == "ENTITY_IS_DELETED" {
                        Outcome::Done { id: key.to_owned(), shown: None }
                    } else {
                        Outcome::Rejected(answer::refusal(&error, self.batch.key_field.as_ref()))
                    }
                }
            });
        }
        Ok(())
    }

    fn unprocessed(&mut self, body: &[u8], message: &str, retry: Retry) -> Result<(), RemoteError> {
        let (mut reader, columns) = self.read(body)?;
        for record in reader.records() {
            let record = record.map_err(|e| unreadable(&e))?;
            let key = columns.key.and_then(|at| record.get(at)).unwrap_or_default();
            if let Some(&n) = self.rows.get(key) {
                self.outcomes[n] = Some(Outcome::Rejected(Refusal {
                    code: "UNPROCESSED".to_owned(),
                    message: message.to_owned(),
                    fields: Vec::new(),
                    retry,
                    duplicate: false,
                }));
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<Outcome> {
        let outcomes = self.outcomes.into_iter();
        outcomes.map(|outcome| outcome.unwrap_or(Outcome::Unknown(UnknownCause::NoResult))).collect()
    }
}

struct Columns {
    key: Option<usize>,
    id: Option<usize>,
    error: Option<usize>,
}

fn unreadable(error: &csv::Error) -> RemoteError {
    let line = error.position().map_or(0, csv::Position::line);
    RemoteError::Malformed {
        system: super::SYSTEM.to_owned(),
        what: "the results of a job".to_owned(),
        detail: format!("unreadable CSV in line {line}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::destination::WriteRow;
    use waybill_ledger::Field;

    fn batch(operation: Operation) -> Batch {
        let row = |n: usize| WriteRow {
            key: format!("k{n}"),
            id: (operation != Operation::Create).then(|| format!("id{n}")),
            fields: [("Fax", Field::Null), ("Name", Field::from("a,\"b\"\nc"))].into_iter().collect(),
        };
        Batch { object: "Account".into(), operation, key_field: Some("Key__c".into()), rows: (0..3).map(row).collect() }
    }

    #[test]
    fn results_find_their_rows_in_any_order_and_missing_ones_stay_unknown() {
        let batch = batch(Operation::Create);
        let mut join = Join::new(&batch);
        join.add(b"\"sf__Id\",\"sf__Created\",Key__c,Name\n\"001\",\"true\",\"k2\",\"x\"\n").unwrap();
        join.add(b"\"sf__Id\",\"sf__Error\",Key__c,Name\n\"\",\"DUPLICATE_VALUE:duplicate value found: Key__c duplicates:--\",\"k0\",\"x\"\n").unwrap();
        let outcomes = join.finish();
        assert!(matches!(&outcomes[0], Outcome::Rejected(refusal) if refusal.duplicate));
        assert_eq!(outcomes[1], Outcome::Unknown(UnknownCause::NoResult));
        assert_eq!(outcomes[2], Outcome::Done { id: "001".into(), shown: None });
    }

    #[test]
    fn rows_are_written_so_that_any_value_survives_and_a_new_one_says_nothing_of_nulls() {
        for (operation, header, row) in [
            (Operation::Update, vec!["Id", "Fax", "Name"], vec!["id1", "#N/A", "a,\"b\"\nc"]),
            (Operation::Create, vec!["Key__c", "Name"], vec!["k1", "a,\"b\"\nc"]),
        ] {
            let csv = csv_of(&batch(operation)).unwrap();
            let mut reader = csv::Reader::from_reader(csv.as_slice());
            assert_eq!(reader.headers().unwrap(), header);
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            assert_eq!(rows[1], row);
        }
    }
}
