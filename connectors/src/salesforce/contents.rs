//! Files and notes: one request each, because a collection takes no binary content.
//!
//! Source: "Insert or Update Blob Data" in the REST API Developer Guide; `ContentVersion`, `ContentDocumentLink` and
//! `ContentNote` in the Object Reference. A version of a file cannot be deleted, its document can. A note's id is that of its
//! document, and its content is HTML.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::Value as Json;
use waybill_ledger::{Field, FieldKind, FieldName, ObjectName, ObjectSchema, Value, event::UnknownCause};

use super::{Salesforce, answer, rows::not_sent, soql, values::to_json};
use crate::{
    destination::{Batch, Hanging, Journal, Outcome, RemoteRecord, Selection, WriteRow},
    error::RemoteError,
    transport::{Lost, Request},
};

/// A version of a file.
pub(super) const VERSION: &str = "ContentVersion";
/// A note.
pub(super) const NOTE: &str = "ContentNote";
/// A link of a document to a record.
pub(super) const LINK: &str = "ContentDocumentLink";

/// How ids of users begin.
pub(super) const USER: &str = "005";

/// How many files are under way at once.
const AT_ONCE: usize = 4;

/// The part of a binary value that names a file of the export.
const PATH: &str = "path";
/// The part of a binary value that is the content itself.
const TEXT: &str = "text";
/// The part of a binary value with its size.
const SIZE: &str = "size";
/// The part of a binary value with its MD5.
const MD5: &str = "md5";

/// Returns the binary field of an object, if it has one.
pub(super) fn binary(schema: Option<&ObjectSchema>) -> Option<&FieldName> {
    let fields = schema.into_iter().flat_map(|schema| &schema.fields);
    fields.filter(|field| field.kind == FieldKind::Binary).map(|field| &field.name).next()
}

impl Salesforce {
    /// Creates rows that carry a content, each in a request of its own.
    pub(super) async fn write_contents<J: Journal>(
        &self,
        batch: &Batch,
        field: &FieldName,
        journal: &J,
    ) -> Result<Vec<Outcome>, RemoteError> {
        let sent: Vec<_> = batch.rows.iter().map(|row| self.write_content(batch, field, row, journal)).collect();
        Ok(stream::iter(sent).buffered(AT_ONCE).collect().await)
    }

    async fn write_content<J: Journal>(
        &self,
        batch: &Batch,
        field: &FieldName,
        row: &WriteRow,
        journal: &J,
    ) -> Outcome {
        let content = match content(row.fields.value(field.as_str()), journal) {
            Ok(content) => content,
            Err(why) => return refused(&why),
        };
        let mut record = serde_json::Map::new();
        for (name, value) in batch.sets(row).filter(|(name, _)| *name != field) {
            record.insert(name.to_string(), to_json(value));
        }
        if let Some((field, key)) = batch.key_of(row) {
            record.insert(field.to_string(), key.into());
        }
        let path = format!("{}/sobjects/{}", self.root, batch.object);
        let request = if batch.object.as_str() == VERSION {
            let name = row.fields.text("PathOnClient").unwrap_or("file");
            let (kind, body) = form(field.as_str(), name, &Json::Object(record), &content);
            Request::new(Method::POST, path).body(kind, body)
        } else {
            record.insert(field.to_string(), Json::String(BASE64.encode(&content)));
            Request::new(Method::POST, path).json(&Json::Object(record))
        };
        let response = match self.session.write(request).await {
            Ok(response) => response,
            Err(Lost::NotSent(error)) => return not_sent(&error),
            Err(Lost::Unknown(cause, _)) => return Outcome::Unknown(cause),
        };
        if matches!(response.status.as_u16(), 500 | 502..=504) {
            return Outcome::Unknown(UnknownCause::ServerError);
        }
        if response.status.is_success() {
            return match serde_json::from_slice::<answer::RowAnswer>(&response.body) {
                Ok(answer::RowAnswer { success: true, id: Some(id), .. }) => Outcome::Done { id, shown: None },
                _ => Outcome::Unknown(UnknownCause::NoResult),
            };
        }
        match (response.status.as_u16(), answer::first_error(&response.body)) {
            (400 | 404, Some(error)) => Outcome::Rejected(answer::refusal(&error, batch.key_field.as_ref())),
            _ => match answer::check("a file", response) {
                Ok(_) => Outcome::Unknown(UnknownCause::NoResult),
                Err(error) => not_sent(&error),
            },
        }
    }

    /// Reads every link of every document. The platform answers a query for links only if it names documents or records, so
    /// they are read document by document, and put in the order of their ids here.
    pub(super) fn scan_links<'a>(
        &'a self,
        object: &'a ObjectName,
        fields: &'a [FieldName],
    ) -> BoxStream<'a, Result<Vec<RemoteRecord>, RemoteError>> {
        let all = async move {
            let schema = self.object(object).await?;
            let documents = self.query("SELECT Id FROM ContentDocument ORDER BY Id").await?;
            let text = |row: &serde_json::Map<String, Json>| row.get("Id").and_then(Json::as_str).map(str::to_owned);
            let documents: Vec<String> = documents.iter().filter_map(text).collect();
            let selection = Selection::Keys { field: "ContentDocumentId".into(), values: documents };
            let mut rows = self.read_plain(object, schema.as_deref(), fields, &selection).await?;
            rows.sort_by(|a, b| a.record.id.cmp(&b.record.id));
            Ok(rows)
        };
        stream::once(all).boxed()
    }

    /// Finds the documents of these versions, by the version's id. Only a document can be deleted.
    pub(super) async fn documents(&self, rows: &[WriteRow]) -> Result<BTreeMap<String, String>, RemoteError> {
        let ids: Vec<String> = rows.iter().filter_map(|row| row.id.clone()).collect();
        let mut found = BTreeMap::new();
        let select = "SELECT Id, ContentDocumentId FROM ContentVersion WHERE Id IN ";
        for ids in soql::lists(&ids, 200) {
            for row in self.query(&format!("{select}{}", soql::list(ids))).await? {
                let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
                found.extend(text("Id").zip(text("ContentDocumentId")));
            }
        }
        Ok(found)
    }

    /// Finds the links that people gave to files: neither to their owner nor to where they were published first.
    pub(super) async fn links_of_files(&self, ids: &[String]) -> Result<Vec<Hanging>, RemoteError> {
        let mut files: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
        let select = "SELECT Id, ContentDocumentId, FirstPublishLocationId FROM ContentVersion WHERE Id IN ";
        let text =
            |row: &serde_json::Map<String, Json>, name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
        for ids in soql::lists(ids, 250) {
            for row in self.query(&format!("{select}{}", soql::list(ids))).await? {
                if let (Some(id), Some(document)) = (text(&row, "Id"), text(&row, "ContentDocumentId")) {
                    files.insert(document, (id, text(&row, "FirstPublishLocationId")));
                }
            }
        }
        let documents: Vec<String> = files.keys().cloned().collect();
        let select =
            "SELECT Id, ContentDocumentId, LinkedEntityId FROM ContentDocumentLink WHERE ContentDocumentId IN ";
        let mut found = Vec::new();
        for documents in soql::lists(&documents, 250) {
            for row in self.query(&format!("{select}{}", soql::list(documents))).await? {
                let entity = text(&row, "LinkedEntityId").unwrap_or_default();
                let file = text(&row, "ContentDocumentId").and_then(|document| files.get(&document));
                let Some((version, place)) = file else { continue };
                if !entity.starts_with(USER) && place.as_ref() != Some(&entity) {
                    let id = text(&row, "Id").unwrap_or_default();
                    found.push(Hanging { parent: version.clone(), object: LINK.into(), id });
                }
            }
        }
        Ok(found)
    }

    /// Puts size and MD5 of their contents into rows that were read: nobody compares contents byte by byte over the wire.
    pub(super) async fn measure(
        &self,
        object: &ObjectName,
        field: &FieldName,
        rows: &mut [RemoteRecord],
    ) -> Result<(), RemoteError> {
        let ids: Vec<String> = rows.iter().map(|row| row.record.id.clone()).collect();
        let own = if object.as_str() == VERSION { "Id" } else { "ContentDocumentId" };
        let latest = if object.as_str() == VERSION { "" } else { " AND IsLatest = true" };
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for ids in soql::lists(&ids, 300) {
            let list = soql::list(ids);
            let query =
                format!("SELECT Id, {own}, Checksum, ContentSize FROM ContentVersion WHERE {own} IN {list}{latest}");
            for row in self.query(&query).await? {
                let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
                let size = row.get("ContentSize").and_then(Json::as_u64).unwrap_or_default();
                let parts = [
                    (MD5.to_owned(), Value::Text(text("Checksum").unwrap_or_default())),
                    (SIZE.to_owned(), Value::Number(Decimal::from(size))),
                ];
                found.extend(text(own).map(|id| (id, Value::Map(parts.into()))));
            }
        }
        for row in rows {
            let content = found.remove(&row.record.id).map_or(Field::Null, Field::Present);
            row.record.fields.set(field.clone(), content);
        }
        Ok(())
    }
}

/// Returns the bytes that a binary value stands for.
fn content<J: Journal>(value: Option<&Value>, journal: &J) -> Result<Vec<u8>, String> {
    let Some(Value::Map(parts)) = value else { return Err("there is no content".to_owned()) };
    match (parts.get(TEXT), parts.get(PATH)) {
        (Some(text), _) => Ok(text.to_string().into_bytes()),
        (None, Some(path)) => journal.file(&path.to_string()),
        (None, None) => Err("there is no content".to_owned()),
    }
}

fn refused(why: &str) -> Outcome {
    Outcome::Rejected(crate::destination::Refusal {
        code: "WAYBILL_NO_FILE".to_owned(),
        message: why.to_owned(),
        fields: Vec::new(),
        retry: crate::error::Retry::Never,
        duplicate: false,
    })
}

/// Returns a multipart body of a row and its content, and its content type.
fn form(field: &str, file_name: &str, record: &Json, content: &[u8]) -> (String, Vec<u8>) {
    // The boundary follows from the content, so that no content can hold it.
    let boundary = format!("waybill-{}", &blake3::hash(content).to_hex()[..48]);
    let file_name: String =
        file_name.chars().map(|c| if matches!(c, '"' | '\r' | '\n' | '\\') { '_' } else { c }).collect();
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"entity_content\"\r\nContent-Type: application/json\r\n\r\n\
         {record}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_holds_the_row_and_the_bytes() {
        let (kind, body) = form("VersionData", "a\"b.txt", &json!({ "Title": "x" }), b"\x00\xff");
        let boundary = kind.split_once("boundary=").map(|(_, b)| b).unwrap_or_default();
        assert!(boundary.len() <= 70, "the platform takes no longer boundary");
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("{\"Title\":\"x\"}") && text.contains("filename=\"a_b.txt\""), "{text}");
        assert!(body.ends_with(format!("--{boundary}--\r\n").as_bytes()));
    }
}
