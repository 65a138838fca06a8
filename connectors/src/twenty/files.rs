//! Files: their bytes are uploaded first, and the record that is then made names the upload.
//!
//! Source: Twenty 2.21, `createFileUpload`, a PUT to the address that it gives, `completeFileUpload`; a record's file is
//! `[{"fileId","label"}]` when written and has a signed address when read. Uploads and downloads are free of the rate limit.
//! An upload that no record names is residue: nobody sees it.

use std::collections::BTreeMap;

use http::Method;
use md5::{Digest, Md5};
use serde_json::{Value as Json, json};
use waybill_ledger::{Field, FieldName, Value};

use super::{
    Twenty,
    catalog::{Object, Wire},
    columns::Column,
    wire::{self, Counted},
    write::refusal,
};
use crate::{
    destination::{Journal, Outcome, RemoteRecord, WriteRow},
    error::RemoteError,
};

/// The part of a value that names a file of the export.
const PATH: &str = "path";
/// The part of a value that is the content itself.
const TEXT: &str = "text";
/// Rows of one look at files.
const ROWS: usize = 60;

const OPEN: &str = "mutation($filename:String!,$size:Float!,$fieldMetadataId:String){createFileUpload(filename:$filename,size:$size,fileFolder:FilesField,fieldMetadataId:$fieldMetadataId){fileId uploadUrl contentType}}";
const COMPLETE: &str = "mutation($fileId:String!){completeFileUpload(fileId:$fileId){id}}";

impl Twenty {
    /// Uploads what a row carries. Returns what the record says of it, or why the row is refused.
    pub(super) async fn upload<J: Journal>(
        &self,
        object: &Object,
        column: &Column,
        row: &WriteRow,
        journal: &J,
    ) -> Result<Result<Json, Outcome>, RemoteError> {
        let refused = |code: &str, message: String| {
            let error = wire::WireError { code: code.to_owned(), message };
            Ok(Err(Outcome::Rejected(refusal(error, false))))
        };
        let Some(Value::Map(parts)) = row.fields.value(column.shown.as_str()) else {
            return refused("NO_CONTENT", "the row names no file".to_owned());
        };
        let text = |part: &str| parts.get(part).map(ToString::to_string);
        let bytes = match (text(PATH), text(TEXT)) {
            (Some(path), _) => match journal.file(&path) {
                Ok(bytes) => bytes,
                Err(why) => return refused("NO_CONTENT", why),
            },
            (None, Some(content)) => content.into_bytes(),
            (None, None) => return refused("NO_CONTENT", "the row names no file".to_owned()),
        };
        let name = row.fields.text("name").map_or_else(|| "file".to_owned(), str::to_owned);
        let field = object.field(&column.key).map(|field| field.id.clone()).unwrap_or_default();
        let variables = json!({ "filename": name, "size": bytes.len(), "fieldMetadataId": field });
        let opened = match self.wire.ask("an upload", "/metadata", OPEN, variables, Counted::No).await {
            Ok(mut data) => data["createFileUpload"].take(),
            Err(RemoteError::Refused { code, message, .. }) => return refused(&code, message),
            Err(error) => return Err(error),
        };
        let (Some(id), Some(url)) = (opened["fileId"].as_str(), opened["uploadUrl"].as_str()) else {
            return refused("NO_UPLOAD", "the server gave no place for the file".to_owned());
        };
        let kind = opened["contentType"].as_str().unwrap_or("application/octet-stream").to_owned();
        if let Err(error) = self.wire.put(url, kind, bytes).await? {
            return refused(&error.code, error.message);
        }
        match self.wire.ask("an upload", "/metadata", COMPLETE, json!({ "fileId": id }), Counted::No).await {
            Ok(_) => Ok(Ok(json!([{ "fileId": id, "label": name }]))),
            Err(RemoteError::Refused { code, message, .. }) => refused(&code, message),
            Err(error) => Err(error),
        }
    }

    /// Downloads what these rows hold, and says of each its size and MD5: that is how a content is compared.
    pub(super) async fn measure(
        &self,
        object: &Object,
        column: &Column,
        rows: &mut [RemoteRecord],
    ) -> Result<(), RemoteError> {
        for rows in rows.chunks_mut(ROWS) {
            let ids: Vec<&str> = rows.iter().map(|row| row.record.id.as_str()).collect();
            let path = format!("/rest/{}?limit={ROWS}&filter=id%5Bin%5D:%5B{}%5D", object.plural, ids.join(","));
            let mut answer = self.wire.read("files", Method::GET, &path, Counted::Yes).await?;
            let mut urls: BTreeMap<String, String> = BTreeMap::new();
            for row in answer["data"][&object.plural].as_array_mut().into_iter().flatten() {
                let url = row[&column.key][0]["url"].as_str().map(str::to_owned);
                urls.extend(row["id"].as_str().map(str::to_owned).zip(url));
            }
            for row in rows {
                let Some(url) = urls.get(&row.record.id) else {
                    row.record.fields.set(column.shown.clone(), Field::Null);
                    continue;
                };
                let bytes = self.wire.download(url).await?;
                let md5: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                let facts = BTreeMap::from([("size".to_owned(), Value::from(size)), ("md5".to_owned(), md5.into())]);
                row.record.fields.set(column.shown.clone(), Field::Present(Value::Map(facts)));
            }
        }
        Ok(())
    }
}

/// Returns the column among these fields that holds files.
pub(super) fn of<'c, 'f>(
    columns: &'c super::columns::Columns,
    fields: impl IntoIterator<Item = &'f FieldName>,
) -> Option<&'c Column> {
    fields.into_iter().filter_map(|name| columns.get(name.as_str())).find(|column| column.wire == Wire::Files)
}
