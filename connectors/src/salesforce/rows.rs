//! Small sets: sObject Collections, at most 200 rows a call.
//!
//! Source: "Create Multiple Records with Fewer Round-Trips" and its neighbours in the REST API Developer Guide.

use reqwest::Method;
use serde_json::{Value as Json, json};
use waybill_ledger::event::{Operation, UnknownCause};

use super::{Salesforce, answer, contents, values::to_json};
use crate::{
    destination::{Batch, Outcome, Refusal, WriteRow},
    error::{RemoteError, Retry},
    transport::{Lost, Request},
};

/// The most rows of one call.
pub(super) const ROWS: usize = 200;

impl Salesforce {
    /// Writes rows by calls of at most 200. Nothing has happened if it fails.
    pub(super) async fn write_rows(&self, batch: &Batch) -> Result<Vec<Outcome>, RemoteError> {
        let mut outcomes = Vec::with_capacity(batch.rows.len());
        for rows in batch.rows.chunks(ROWS) {
            match self.call(batch, rows).await {
                Ok(some) => outcomes.extend(some),
                Err(e) if outcomes.is_empty() => return Err(e),
                // Earlier calls have written: these rows did not leave, and say so one by one.
                Err(e) => outcomes.extend(rows.iter().map(|_| not_sent(&e))),
            }
        }
        Ok(outcomes)
    }

    async fn call(&self, batch: &Batch, rows: &[WriteRow]) -> Result<Vec<Outcome>, RemoteError> {
        let path = format!("{}/composite/sobjects", self.root);
        let request = match batch.operation {
            Operation::Create => Request::new(Method::POST, path).json(&body(batch, rows)),
            Operation::Update => Request::new(Method::PATCH, path).json(&body(batch, rows)),
            Operation::Delete if batch.object.as_str() == contents::VERSION => {
                let documents = self.documents(rows).await?;
                let ids: Vec<&str> =
                    rows.iter().filter_map(|row| documents.get(row.id.as_deref()?).map(String::as_str)).collect();
                if ids.len() != rows.len() {
                    return Ok(rows.iter().map(|_| Outcome::Unknown(UnknownCause::NoResult)).collect());
                }
                Request::new(Method::DELETE, format!("{path}?ids={}&allOrNone=false", ids.join(",")))
            }
            Operation::Delete => {
                let ids: Vec<&str> = rows.iter().filter_map(|row| row.id.as_deref()).collect();
                Request::new(Method::DELETE, format!("{path}?ids={}&allOrNone=false", ids.join(",")))
            }
            Operation::Nothing => return Ok(rows.iter().map(|row| done(row.id.clone())).collect()),
        };
        // Assignment rules run by default and would change owners; alerts of duplicate rules must not stop a load.
        let request =
            request.header("Sforce-Auto-Assign", "FALSE").header("Sforce-Duplicate-Rule-Header", "allowSave=true");
        let response = match self.session.write(request).await {
            Ok(response) => response,
            Err(Lost::NotSent(error)) => return Err(error),
            Err(Lost::Unknown(cause, _)) => return Ok(rows.iter().map(|_| Outcome::Unknown(cause)).collect()),
        };
        if matches!(response.status.as_u16(), 500 | 502..=504) {
            return Ok(rows.iter().map(|_| Outcome::Unknown(UnknownCause::ServerError)).collect());
        }
        let response = answer::check("a collection of rows", response)?;
        let Ok(answers) = serde_json::from_slice::<Vec<answer::RowAnswer>>(&response.body) else {
            return Ok(rows.iter().map(|_| Outcome::Unknown(UnknownCause::NoResult)).collect());
        };
        if answers.len() != rows.len() {
            return Ok(rows.iter().map(|_| Outcome::Unknown(UnknownCause::NoResult)).collect());
        }
        Ok(answers.into_iter().map(|answer| outcome(answer, batch)).collect())
    }
}

fn body(batch: &Batch, rows: &[WriteRow]) -> Json {
    let records: Vec<Json> = rows
        .iter()
        .map(|row| {
            let mut record = serde_json::Map::new();
            record.insert("attributes".into(), json!({ "type": batch.object.as_str() }));
            if let Some(id) = &row.id {
                record.insert("Id".into(), Json::String(id.clone()));
            }
            for (name, value) in batch.sets(row) {
                record.insert(name.to_string(), to_json(value));
            }
            if let Some((field, key)) = batch.key_of(row) {
                record.insert(field.to_string(), key.into());
            }
            Json::Object(record)
        })
        .collect();
    json!({ "allOrNone": false, "records": records })
}

fn outcome(answer: answer::RowAnswer, batch: &Batch) -> Outcome {
    match (answer.success, answer.id, answer.errors.first()) {
        (true, Some(id), _) => Outcome::Done { id, shown: None },
        (false, _, Some(error)) => {
            // A row that is already gone is as deleted as we want it.
            if batch.operation == Operation::Delete && error.code == "ENTITY_IS_DELETED" {
                return done(None);
            }
            let mut refusal = answer::refusal(error, batch.key_field.as_ref());
            // A link has no key: the platform allows each pair of document and record once, and says no more than that.
            refusal.duplicate |= batch.object.as_str() == contents::LINK && error.code == "DUPLICATE_VALUE";
            Outcome::Rejected(refusal)
        }
        _ => Outcome::Unknown(UnknownCause::NoResult),
    }
}

fn done(id: Option<String>) -> Outcome {
    Outcome::Done { id: id.unwrap_or_default(), shown: None }
}

/// The outcome of a row that did not leave.
pub(super) fn not_sent(error: &RemoteError) -> Outcome {
    Outcome::Rejected(Refusal {
        code: "WAYBILL_NOT_SENT".to_owned(),
        message: error.to_string(),
        fields: Vec::new(),
        retry: Retry::Soon,
        duplicate: false,
    })
}
