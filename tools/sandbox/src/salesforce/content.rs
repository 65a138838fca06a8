//! Files and notes: versions with their bytes, the documents that the platform makes for them, and links to records.
//!
//! Source: `ContentVersion`, `ContentDocument`, `ContentDocumentLink` and `ContentNote` in the Object Reference; "Insert or
//! Update Blob Data" in the REST API Developer Guide.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest, Md5};
use serde_json::{Map, Value as Json};

use super::{
    ids::Id,
    org::{Changes, Org, RowError, Val},
    validate::{Write, changes},
};

/// What a note may be made of. Anything else is refused with the platform's own words.
const NOTE_TAGS: [&str; 20] = [
    "a", "b", "br", "div", "em", "h1", "h2", "h3", "i", "img", "li", "ol", "p", "s", "span", "strike", "strong", "u",
    "ul", "font",
];

impl Org {
    /// Creates a version of a file and, unless it is a further version, the document that holds it.
    pub(super) fn create_version(
        &mut self,
        object: usize,
        body: &Map<String, Json>,
        blob: Option<Vec<u8>>,
    ) -> Result<Id, Vec<RowError>> {
        let (fields, data) = without(body, "VersionData");
        let bytes = match (blob, data) {
            (Some(bytes), _) => Some(bytes),
            (None, Some(text)) => Some(decoded(&text, "VersionData")?),
            (None, None) => None,
        };
        let mut values = changes(self, object, &fields, Write::Create)?;
        let get = |values: &Changes, org: &Self, name: &str| {
            let at = org.objects[object].field(name)?;
            values.iter().rev().find(|(field, _)| *field == at).and_then(|(_, value)| value.clone())
        };
        let Some(bytes) = bytes else {
            return Err(missing("VersionData"));
        };
        let reference = |value: Option<Val>| match value {
            Some(Val::Ref(id)) => Some(id),
            _ => None,
        };
        let document = reference(get(&values, self, "ContentDocumentId"));
        let location = reference(get(&values, self, "FirstPublishLocationId"));
        if document.is_some() && location.is_some() {
            let message = "First publish location can only be set on the first version of a document";
            return Err(vec![RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "FirstPublishLocationId")]);
        }
        let path = match get(&values, self, "PathOnClient") {
            Some(Val::Text(path)) => path.to_string(),
            _ => String::new(),
        };
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let (stem, extension) = name.rsplit_once('.').map_or((name.as_str(), ""), |(stem, ext)| (stem, ext));
        let title = match get(&values, self, "Title") {
            Some(Val::Text(title)) => title.to_string(),
            _ => stem.to_owned(),
        };
        let owner = reference(get(&values, self, "OwnerId")).unwrap_or(self.user);
        let kind = if extension.is_empty() { "UNKNOWN".to_owned() } else { extension.to_ascii_uppercase() };
        self.set(object, &mut values, "Title", Val::Text(title.as_str().into()));
        self.set(object, &mut values, "FileExtension", Val::Text(extension.to_ascii_lowercase().into()));
        self.describe_bytes(object, &mut values, &bytes, &kind);
        let count = document.map_or(0, |document| self.versions(document).len());
        self.set(object, &mut values, "VersionNumber", Val::Text((count + 1).to_string().into()));
        let id = self.insert(object, values).map_err(|error| vec![error])?;
        self.blobs.insert(id, Arc::new(bytes));
        let document = match document {
            Some(document) => {
                for version in self.versions(document) {
                    self.write_field(object, version, "IsLatest", Val::Bool(false));
                }
                document
            }
            None => self.insert_document(&title, owner, extension, &kind, id, location),
        };
        self.write_field(object, id.number, "ContentDocumentId", Val::Ref(document));
        self.latest(document, id);
        Ok(id)
    }

    /// Creates a note: a document whose only version is its HTML.
    pub(super) fn create_note(&mut self, object: usize, body: &Map<String, Json>) -> Result<Id, Vec<RowError>> {
        let (fields, data) = without(body, "Content");
        let html = note_html(data)?;
        let values = changes(self, object, &fields, Write::Create)?;
        let Some(versions) = self.find("ContentVersion") else { return Err(missing("Content")) };
        let find = |name: &str| {
            let at = self.objects[object].field(name)?;
            values.iter().rev().find(|(field, _)| *field == at).and_then(|(_, value)| value.clone())
        };
        let title = match find("Title") {
            Some(Val::Text(title)) => title.to_string(),
            _ => return Err(missing("Title")),
        };
        let owner = match find("OwnerId") {
            Some(Val::Ref(owner)) => owner,
            _ => self.user,
        };
        let version = self.insert_note_version(versions, &title, owner, &html)?;
        let document = self.insert_document(&title, owner, "snote", "SNOTE", version, None);
        self.write_field(versions, version.number, "ContentDocumentId", Val::Ref(document));
        self.latest(document, version);
        self.insert_as(object, document.number, values);
        self.show_note(object, document.number, version, &html);
        Ok(document)
    }

    /// Changes a note's title or content.
    pub(super) fn change_note(&mut self, object: usize, id: Id, body: &Map<String, Json>) -> Result<(), Vec<RowError>> {
        let (fields, data) = without(body, "Content");
        let values = changes(self, object, &fields, Write::Update)?;
        let html = data.map(|data| note_html(Some(data))).transpose()?;
        self.update(object, id.number, values).map_err(|error| vec![error])?;
        if let (Some(html), Some(versions)) = (html, self.find("ContentVersion")) {
            let title = self.name_of(object, id.number);
            let owner = self.user;
            for version in self.versions(id) {
                self.write_field(versions, version, "IsLatest", Val::Bool(false));
            }
            let version = self.insert_note_version(versions, &title, owner, &html)?;
            self.write_field(versions, version.number, "ContentDocumentId", Val::Ref(id));
            self.latest(id, version);
            self.show_note(object, id.number, version, &html);
        }
        Ok(())
    }

    fn insert_note_version(
        &mut self,
        versions: usize,
        title: &str,
        owner: Id,
        html: &[u8],
    ) -> Result<Id, Vec<RowError>> {
        let mut values = Changes::new();
        self.set(versions, &mut values, "Title", Val::Text(title.into()));
        self.set(versions, &mut values, "PathOnClient", Val::Text(format!("{title}.snote").into()));
        self.set(versions, &mut values, "OwnerId", Val::Ref(owner));
        self.set(versions, &mut values, "FileExtension", Val::Text("snote".into()));
        self.describe_bytes(versions, &mut values, html, "SNOTE");
        let id = self.insert(versions, values).map_err(|error| vec![error])?;
        self.blobs.insert(id, Arc::new(html.to_vec()));
        Ok(id)
    }

    fn show_note(&mut self, object: usize, number: u64, version: Id, html: &[u8]) {
        let preview: String = plain(&String::from_utf8_lossy(html)).chars().take(255).collect();
        #[expect(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
        self.write_field(object, number, "ContentSize", Val::Num(html.len() as f64));
        self.write_field(object, number, "FileType", Val::Text("SNOTE".into()));
        self.write_field(object, number, "FileExtension", Val::Text("snote".into()));
        self.write_field(object, number, "LatestPublishedVersionId", Val::Ref(version));
        if !preview.is_empty() {
            self.write_field(object, number, "TextPreview", Val::Text(preview.into()));
        }
    }

    /// Creates a link, which must be new.
    pub(super) fn create_link(&mut self, object: usize, body: &Map<String, Json>) -> Result<Id, Vec<RowError>> {
        let values = changes(self, object, body, Write::Create)?;
        let get = |name: &str| {
            let at = self.objects[object].field(name)?;
            values.iter().rev().find(|(field, _)| *field == at).and_then(|(_, value)| value.clone())
        };
        let (Some(Val::Ref(document)), Some(Val::Ref(entity))) = (get("ContentDocumentId"), get("LinkedEntityId"))
        else {
            return Err(missing("LinkedEntityId"));
        };
        let to_person = entity.prefix == *b"005";
        if get("ShareType") == Some(Val::Text("C".into())) && !to_person {
            let message = "You can't share a file with a record as a collaborator.";
            return Err(vec![RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "ShareType")]);
        }
        if self.linked(object, document, entity) {
            let message = "duplicate value found: <unknown> duplicates value on record with id: <unknown>";
            return Err(vec![RowError::new("DUPLICATE_VALUE", message)]);
        }
        self.insert(object, values).map_err(|error| vec![error])
    }

    fn linked(&self, links: usize, document: Id, entity: Id) -> bool {
        let at = |name: &str| self.objects[links].field(name).unwrap_or(0);
        let (document_at, entity_at) = (at("ContentDocumentId"), at("LinkedEntityId"));
        let key = (u16::try_from(document_at).unwrap_or(0), document);
        let rows = self.tables[links].children.get(&key).into_iter().flatten();
        rows.filter_map(|number| self.tables[links].rows.get(number))
            .any(|row| row.get(entity_at) == Some(&Val::Ref(entity)))
    }

    /// Makes the document of a first version, and the links that come with it: to its owner, and to where it was published.
    fn insert_document(
        &mut self,
        title: &str,
        owner: Id,
        extension: &str,
        kind: &str,
        version: Id,
        location: Option<Id>,
    ) -> Id {
        let Some(documents) = self.find("ContentDocument") else { return version };
        let mut values = Changes::new();
        self.set(documents, &mut values, "Title", Val::Text(title.into()));
        self.set(documents, &mut values, "OwnerId", Val::Ref(owner));
        self.set(documents, &mut values, "FileType", Val::Text(kind.into()));
        if !extension.is_empty() {
            self.set(documents, &mut values, "FileExtension", Val::Text(extension.to_ascii_lowercase().into()));
        }
        // A document has no unique fields, so this cannot be refused.
        let Ok(document) = self.insert(documents, values) else { return version };
        let Some(links) = self.find("ContentDocumentLink") else { return document };
        let ends = [(owner, "I"), (location.unwrap_or(owner), "V")];
        for (entity, share) in ends {
            if !self.linked(links, document, entity) {
                let mut values = Changes::new();
                self.set(links, &mut values, "ContentDocumentId", Val::Ref(document));
                self.set(links, &mut values, "LinkedEntityId", Val::Ref(entity));
                self.set(links, &mut values, "ShareType", Val::Text(share.into()));
                let _ = self.insert(links, values);
            }
        }
        document
    }

    /// Notes which version of a document is the latest.
    fn latest(&mut self, document: Id, version: Id) {
        let (Some(documents), Some(versions)) = (self.find("ContentDocument"), self.find("ContentVersion")) else {
            return;
        };
        let size = self.blobs.get(&version).map_or(0, |bytes| bytes.len());
        #[expect(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
        self.write_field(documents, document.number, "ContentSize", Val::Num(size as f64));
        self.write_field(documents, document.number, "LatestPublishedVersionId", Val::Ref(version));
        self.write_field(versions, version.number, "IsLatest", Val::Bool(true));
    }

    /// Returns the live versions of a document.
    fn versions(&self, document: Id) -> Vec<u64> {
        let Some(versions) = self.find("ContentVersion") else { return Vec::new() };
        let at = self.objects[versions].field("ContentDocumentId").unwrap_or(0);
        let key = (u16::try_from(at).unwrap_or(0), document);
        self.tables[versions].children.get(&key).into_iter().flatten().copied().collect()
    }

    fn describe_bytes(&self, object: usize, values: &mut Changes, bytes: &[u8], kind: &str) {
        let checksum: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        #[expect(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
        self.set(object, values, "ContentSize", Val::Num(bytes.len() as f64));
        self.set(object, values, "Checksum", Val::Text(checksum.into()));
        self.set(object, values, "FileType", Val::Text(kind.into()));
        self.set(object, values, "PublishStatus", Val::Text("P".into()));
    }

    fn set(&self, object: usize, values: &mut Changes, field: &str, value: Val) {
        if let Some(field) = self.objects[object].field(field) {
            values.retain(|(known, _)| *known != field);
            values.push((field, Some(value)));
        }
    }

    /// Returns the bytes of a version, or of a note's latest version.
    pub(crate) fn bytes(&self, object: usize, number: u64) -> Option<Arc<Vec<u8>>> {
        let version = match self.objects[object].name.as_str() {
            "ContentVersion" => self.id(object, number),
            _ => {
                let at = self.objects[object].field("LatestPublishedVersionId")?;
                match self.tables[object].rows.get(&number)?.get(at)? {
                    Val::Ref(id) => *id,
                    _ => return None,
                }
            }
        };
        self.blobs.get(&version).cloned()
    }
}

fn missing(field: &str) -> Vec<RowError> {
    vec![RowError::on("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{field}]"), field)]
}

fn without(body: &Map<String, Json>, field: &str) -> (Map<String, Json>, Option<String>) {
    let mut fields = body.clone();
    let data = body.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).and_then(|(_, value)| value.as_str());
    fields.retain(|name, _| !name.eq_ignore_ascii_case(field));
    (fields, data.map(str::to_owned))
}

fn decoded(text: &str, field: &str) -> Result<Vec<u8>, Vec<RowError>> {
    BASE64.decode(text.trim()).map_err(|_| {
        let message = format!("{field}: value not of required type: the content is not base64");
        vec![RowError::on("INVALID_BASE64_CHARACTER", message, field)]
    })
}

/// Reads a note's content as the platform takes it: raw line ends go, and what is no HTML of a note is refused.
fn note_html(data: Option<String>) -> Result<Vec<u8>, Vec<RowError>> {
    let bytes = data.map(|data| decoded(&data, "Content")).transpose()?.unwrap_or_default();
    let refuse = || {
        let message =
            "Note Can't Be Saved Because It Contains HTML Tags Or Unescaped Characters That Are Not Allowed In A Note";
        vec![RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "Content")]
    };
    let text = String::from_utf8(bytes).map_err(|_| refuse())?.replace(['\r', '\n'], "");
    for (at, _) in text.match_indices('<') {
        let name: String = text[at + 1..]
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_ascii_lowercase();
        if !NOTE_TAGS.contains(&name.as_str()) || !text[at..].contains('>') {
            return Err(refuse());
        }
    }
    for (at, _) in text.match_indices('&') {
        let entity = text[at + 1..].split(';').next().filter(|_| text[at..].contains(';')).unwrap_or_default();
        let named = !entity.is_empty() && entity.len() <= 32 && entity.chars().all(|c| c.is_ascii_alphanumeric());
        let numbered = entity.strip_prefix('#').is_some_and(|digits| !digits.is_empty());
        if !named && !numbered {
            return Err(refuse());
        }
    }
    Ok(text.into_bytes())
}

fn plain(html: &str) -> String {
    let (mut text, mut inside) = (String::new(), false);
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}
