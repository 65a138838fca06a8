//! What Salesforce answers, and what it means.
//!
//! Source: "Status Codes and Error Responses" and "sObject Collections" in the REST API Developer Guide; "Get Job
//! Successful Record Results" and its neighbours in the Bulk API 2.0 Developer Guide.

use std::time::Duration;

use serde::Deserialize;
use waybill_ledger::FieldName;

use super::SYSTEM;
use crate::{
    destination::Refusal,
    error::{RemoteError, Retry},
    transport::Response,
};

/// One error, in either of the two spellings.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WireError {
    #[serde(alias = "errorCode", alias = "statusCode", default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) fields: Vec<String>,
}

/// What came of one row of a collection.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RowAnswer {
    #[serde(default)]
    pub(super) id: Option<String>,
    pub(super) success: bool,
    #[serde(default)]
    pub(super) errors: Vec<WireError>,
}

/// Returns the first error of an error body.
pub(super) fn first_error(body: &[u8]) -> Option<WireError> {
    serde_json::from_slice::<Vec<WireError>>(body).ok()?.into_iter().next()
}

/// Returns the error that an answer is, or the answer if it is none.
pub(super) fn check(what: &str, response: Response) -> Result<Response, RemoteError> {
    if response.status.is_success() {
        return Ok(response);
    }
    let system = SYSTEM.to_owned();
    let status = response.status.as_u16();
    let error = first_error(&response.body).unwrap_or_else(|| WireError {
        code: status.to_string(),
        message: String::new(),
        fields: Vec::new(),
    });
    Err(match (status, error.code.as_str()) {
        (401, _) => RemoteError::Unauthorized { system, code: error.code },
        (403, "REQUEST_LIMIT_EXCEEDED") if !error.message.contains("Concurrent") => {
            // The allowance is counted over 24 hours that move: a pause of minutes is the least that helps.
            RemoteError::Quota { system, code: error.code, wait: Some(Duration::from_secs(15 * 60)) }
        }
        (403, "REQUEST_LIMIT_EXCEEDED") | (420 | 429 | 500 | 502..=504, _) => {
            RemoteError::Busy { system, code: error.code }
        }
        (_, "STORAGE_LIMIT_EXCEEDED") => RemoteError::Quota { system, code: error.code, wait: None },
        (403, _) => RemoteError::Forbidden { system, what: what.to_owned(), code: error.code },
        _ => RemoteError::Refused { system, what: what.to_owned(), code: error.code, message: error.message },
    })
}

/// Reads an answer as JSON.
pub(super) fn json<T: for<'de> Deserialize<'de>>(what: &str, response: &Response) -> Result<T, RemoteError> {
    serde_json::from_slice(&response.body).map_err(|e| malformed(what, &e))
}

pub(super) fn malformed(what: &str, error: &serde_json::Error) -> RemoteError {
    // The position is enough; the text could quote a record.
    let detail = format!("unexpected JSON in line {}, column {}", error.line(), error.column());
    RemoteError::Malformed { system: SYSTEM.to_owned(), what: what.to_owned(), detail }
}

/// Returns the refusal of a row. `key` is the field that carries our key.
pub(super) fn refusal(error: &WireError, key: Option<&FieldName>) -> Refusal {
    let retry = match error.code.as_str() {
        "UNABLE_TO_LOCK_ROW" | "TooManyLockFailure" | "UNKNOWN_EXCEPTION" | "SERVER_UNAVAILABLE" => Retry::Soon,
        "REQUEST_LIMIT_EXCEEDED" | "STORAGE_LIMIT_EXCEEDED" => Retry::Later,
        _ => Retry::Never,
    };
    let duplicate = error.code == "DUPLICATE_VALUE" && key.is_some_and(|key| error.message.contains(key.as_str()));
    Refusal {
        code: error.code.clone(),
        message: error.message.clone(),
        fields: error.fields.iter().map(FieldName::new).collect(),
        retry,
        duplicate,
    }
}

/// Reads the `sf__Error` column of a failed bulk row: `CODE:message:Field1 Field2 --`.
pub(super) fn bulk_error(text: &str) -> WireError {
    let (code, rest) = text.split_once(':').unwrap_or((text, ""));
    let (message, fields) = rest.rsplit_once(':').unwrap_or((rest, ""));
    let fields = fields.trim().trim_end_matches("--").split_whitespace().map(str::to_owned).collect();
    WireError { code: code.trim().to_owned(), message: message.to_owned(), fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_error_gives_its_code_message_and_fields() {
        let error = bulk_error("REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --");
        assert_eq!(error.code, "REQUIRED_FIELD_MISSING");
        assert_eq!(error.message, "Required fields are missing: [Name]");
        assert_eq!(error.fields, ["Name"]);
        let error = bulk_error("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access: 001:--");
        assert_eq!((error.code.as_str(), error.fields.len()), ("UNABLE_TO_LOCK_ROW", 0));
        assert_eq!(refusal(&error, None).retry, Retry::Soon);
    }

    #[test]
    fn only_a_duplicate_of_our_own_key_asks_who_holds_it() {
        let error =
            bulk_error("DUPLICATE_VALUE:duplicate value found: Key__c duplicates value on record with id: 001:--");
        assert!(refusal(&error, Some(&"Key__c".into())).duplicate);
        assert!(!refusal(&error, Some(&"Other__c".into())).duplicate);
    }
}
