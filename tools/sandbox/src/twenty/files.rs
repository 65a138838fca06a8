//! Files: uploaded first, then bound to one record by a field of type FILES.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{
    auth::Keys,
    inspect::inspect,
    model::{Catalog, Kind, field_of, stable_id},
    refusal::Refusal,
    rows::Row,
    scalar::write_time,
    uuid::Uuid,
};

/// How long an upload may take, and how long an address is good: 15 minutes, 24 hours.
const UPLOAD: i64 = 15 * 60;
const DOWNLOAD: i64 = 24 * 60 * 60;

/// A file on its way, or there.
#[derive(Debug, Clone)]
struct File {
    name: String,
    /// What the client said it would send.
    declared: usize,
    bytes: Option<Arc<Bytes>>,
    complete: bool,
    /// Whether a record has it; no second one can.
    bound: bool,
    field: String,
    created: i64,
}

/// The files of a workspace.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    files: BTreeMap<String, File>,
    /// What signs addresses, and where they lead.
    keys: Keys,
    pub(crate) base: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { files: BTreeMap::new(), keys: Keys::new(0), base: String::new() }
    }
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

/// Returns the type of an extension.
fn mime(extension: &str) -> &'static str {
    match extension {
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "zip" => "application/zip",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "txt" => "text/plain",
        "csv" => "text/csv",
        "html" => "text/html",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// Returns whether bytes begin as files with this extension do; of most, nothing is known.
fn fits(extension: &str, bytes: &[u8]) -> bool {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    match extension {
        "pdf" => starts(b"%PDF-"),
        "png" => starts(b"\x89PNG\r\n\x1a\n"),
        "jpg" | "jpeg" => starts(b"\xff\xd8\xff"),
        "gif" => starts(b"GIF87a") || starts(b"GIF89a"),
        "webp" => starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        "zip" | "docx" | "xlsx" | "pptx" => starts(b"PK\x03\x04") || starts(b"PK\x05\x06"),
        _ => true,
    }
}

impl Store {
    pub(crate) fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    fn token(&self, id: &str, purpose: &str, until: i64) -> String {
        self.keys.sign(&json!({ "sub": id, "type": "FILE", "purpose": purpose, "exp": until }))
    }

    /// Returns whether a signed address may be used for this.
    fn allows(&self, id: &str, purpose: &str, token: &str, now: i64) -> bool {
        self.keys.open(token).is_some_and(|payload| {
            payload["sub"] == id
                && payload["purpose"] == purpose
                && payload["exp"].as_i64().is_some_and(|until| until * 1_000 > now)
        })
    }

    fn url(&self, id: &str, now: i64) -> String {
        let token = self.token(id, "download", now / 1_000 + DOWNLOAD);
        format!("{}/file/files-field/{id}?token={token}", self.base)
    }

    /// Opens an upload: where to send the bytes, and until when.
    pub(crate) fn open(&mut self, id: Uuid, name: &str, size: usize, field: &str, now: i64) -> Json {
        let id = id.to_string();
        let token = self.token(&id, "upload", now / 1_000 + UPLOAD);
        self.files.insert(
            id.clone(),
            File {
                name: name.to_owned(),
                declared: size,
                bytes: None,
                complete: false,
                bound: false,
                field: field.to_owned(),
                created: now,
            },
        );
        json!({
            "fileId": id, "uploadUrl": format!("{}/file-upload/{id}?token={token}", self.base),
            "contentType": mime(&extension(name)), "expiresAt": write_time(now + UPLOAD * 1_000),
        })
    }

    /// Takes the bytes of an upload; no key is needed, the address is signed.
    pub(crate) fn put(&mut self, id: &str, token: &str, bytes: &[u8], now: i64) -> Result<(), Refusal> {
        if !self.allows(id, "upload", token, now) {
            return Err(Refusal::framework(403, "Forbidden resource", "Forbidden"));
        }
        let file = self.files.get_mut(id).ok_or_else(|| Refusal::framework(404, "File not found", "Not Found"))?;
        if bytes.len() > file.declared {
            let message = format!("Upload exceeds declared size of {} bytes", file.declared);
            return Err(Refusal::coded("FILE_TOO_LARGE", message).with_status(413));
        }
        file.bytes = Some(Arc::new(Bytes::copy_from_slice(bytes)));
        Ok(())
    }

    /// Takes bytes that came with the request that opened the upload.
    pub(crate) fn receive(&mut self, id: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let file = self.files.get_mut(id).ok_or_else(|| Refusal::framework(404, "File not found", "Not Found"))?;
        file.bytes = Some(Arc::new(Bytes::copy_from_slice(bytes)));
        Ok(())
    }

    /// Ends an upload. What is there must be what the extension says.
    pub(crate) fn complete(&mut self, id: &str, now: i64) -> Result<Json, Refusal> {
        let base = self.url(id, now);
        let fault = |message: String| {
            let mut refusal = Refusal::type_error(message);
            refusal.error = "Error";
            refusal
        };
        let file = self.files.get_mut(id).ok_or_else(|| fault(format!("File not found: {id}")))?;
        let bytes =
            file.bytes.as_ref().ok_or_else(|| fault(format!("File {id} has not been uploaded to storage yet")))?;
        let extension = extension(&file.name);
        if !fits(&extension, bytes) {
            let kind = mime(&extension);
            return Err(Refusal::invalid(format!(
                "File content does not match its extension. The file has extension '{extension}' (expected mime type: {kind}), but the file content could not be detected as this type. The file may be corrupted or have the wrong extension."
            )));
        }
        file.complete = true;
        let path = format!("files-field/{}/{id}.{extension}", stable_id("universal", &file.field));
        let (size, created) = (bytes.len(), write_time(file.created));
        Ok(json!({ "id": id, "path": path, "size": size, "createdAt": created, "url": base }))
    }

    /// Returns the bytes behind a signed address, and their type.
    pub(crate) fn download(&self, id: &str, token: &str, now: i64) -> Result<(Arc<Bytes>, &'static str), Refusal> {
        let refused = || Refusal::framework(403, "Forbidden resource", "Forbidden");
        if !self.allows(id, "download", token, now) {
            return Err(refused());
        }
        let file = self.files.get(id).filter(|file| file.complete).ok_or_else(refused)?;
        let bytes = file.bytes.clone().ok_or_else(refused)?;
        Ok((bytes, mime(&extension(&file.name))))
    }

    /// Reads the value of a field: files that are there and that nobody has.
    pub(crate) fn read(&self, name: &str, settings: &Json, value: &Json) -> Result<Option<Json>, Refusal> {
        let items = match value {
            Json::Null => return Ok(None),
            Json::Array(items) => items,
            other => {
                return Err(Refusal::invalid(format!(
                    "Invalid value \"{}\" for FILES field \"{name}\" - It should be an array of objects with \"fileId\" and \"label\" properties.",
                    inspect(other)
                )));
            }
        };
        if let Some(most) = settings["maxNumberOfValues"].as_u64().and_then(|most| usize::try_from(most).ok())
            && items.len() > most
        {
            return Err(Refusal::invalid(format!("Max number of files is {most} for field \"{name}\"")));
        }
        let mut list = Vec::new();
        for item in items {
            let (id, label) = (item["fileId"].as_str(), item["label"].as_str());
            let (Some(id), Some(label)) = (id.and_then(Uuid::parse), label) else {
                return Err(Refusal::invalid(format!(
                    "Invalid value \"{}\" for FILES field \"{name}\" - It should be an array of objects with \"fileId\" and \"label\" properties.",
                    inspect(value)
                )));
            };
            let id = id.to_string();
            let file = self.files.get(&id).ok_or_else(|| Refusal::invalid(format!("File not found: {id}")))?;
            if !file.complete {
                return Err(Refusal::invalid(format!("File {id} upload has not been completed")));
            }
            if file.bound {
                return Err(Refusal::invalid(format!("File {id} is already associated with a permanent files field")));
            }
            list.push(json!({ "label": label, "fileId": id, "extension": format!(".{}", extension(&file.name)) }));
        }
        Ok((!list.is_empty()).then_some(Json::Array(list)))
    }

    /// Remembers that the files of a row are taken.
    pub(crate) fn bind(&mut self, catalog: &Catalog, row: &Row) {
        for (at, value) in &row.cells {
            if catalog.fields.get(&field_of(*at)).is_none_or(|field| field.kind != Kind::Files) {
                continue;
            }
            for id in value.as_array().into_iter().flatten().filter_map(|item| item["fileId"].as_str()) {
                if let Some(file) = self.files.get_mut(id) {
                    file.bound = true;
                }
            }
        }
    }

    /// Writes the value of a field, with fresh addresses.
    pub(crate) fn show(&self, list: &Json, now: i64) -> Json {
        let items = list.as_array().into_iter().flatten();
        items
            .map(|item| {
                let mut item = item.clone();
                let url = self.url(item["fileId"].as_str().unwrap_or_default(), now);
                item["url"] = json!(url);
                item
            })
            .collect()
    }
}
