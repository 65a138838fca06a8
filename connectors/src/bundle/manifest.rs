//! The manifest of a bundle (bundle convention, "manifest.json"): what the exporter says is inside.

use std::io::Read;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{container::Container, error::BundleError, pledge::Pledge};

/// The name of the manifest.
pub(crate) const FILE: &str = "manifest.json";
/// The format that this reader knows.
const FORMAT: &str = "waybill-bundle/1";
/// A manifest is a page, not a book.
const LARGEST: u64 = 16 << 20;

/// What a manifest says. Keys that this reader does not know are left alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    pub(crate) bundle_format: String,
    pub(crate) product: String,
    pub(crate) product_variant: Option<String>,
    pub(crate) bundle_id: Option<String>,
    pub(crate) sequence: Option<u64>,
    pub(crate) previous_bundle_id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) exported_at: Option<DateTime<Utc>>,
    pub(crate) account: ManifestAccount,
    pub(crate) objects: Vec<ManifestObject>,
    pub(crate) notes: Option<String>,
}

/// Whose data it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ManifestAccount {
    pub(crate) id: Option<Id>,
    pub(crate) name: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) locale: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) phone_region: Option<String>,
    pub(crate) workspace: Option<String>,
}

/// An id, which some exporters write as a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Text(String),
    Number(serde_json::Number),
}

impl Id {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// One object of the export.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ManifestObject {
    pub(crate) name: String,
    pub(crate) files: Vec<String>,
    pub(crate) format: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) delimiter: Option<String>,
    pub(crate) rows: Option<u64>,
    pub(crate) source_total: Option<u64>,
    pub(crate) columns: Option<String>,
    pub(crate) sha256: Vec<String>,
    pub(crate) capped: bool,
}

impl Manifest {
    /// Reads the manifest, if there is one.
    pub(crate) fn read(container: &Container) -> Result<Option<Self>, BundleError> {
        let Some((path, entry)) = container.get(FILE) else { return Ok(None) };
        let bad = |reason: String| BundleError::Manifest { file: path.to_owned(), reason };
        if entry.size > LARGEST {
            return Err(bad("it is far too long for a manifest".to_owned()));
        }
        let mut bytes = Vec::new();
        entry
            .open()
            .and_then(|mut input| input.read_to_end(&mut bytes))
            .map_err(|source| BundleError::Io { file: path.to_owned(), source })?;
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let manifest: Self = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        if manifest.bundle_format != FORMAT {
            return Err(bad(format!(
                "its format is {:?}, and this version of Waybill reads {FORMAT:?}",
                manifest.bundle_format
            )));
        }
        Ok(Some(manifest))
    }

    /// Returns the digests that it gives, each with its file; every file that it names must be there.
    pub(crate) fn pledges(&self, container: &Container) -> Result<Vec<Pledge>, BundleError> {
        let mut listed = Vec::new();
        for object in &self.objects {
            if !object.sha256.is_empty() && object.sha256.len() != object.files.len() {
                return Err(BundleError::Manifest {
                    file: FILE.to_owned(),
                    reason: format!(
                        "it gives {} digests for the {} files of {}",
                        object.sha256.len(),
                        object.files.len(),
                        object.name
                    ),
                });
            }
            for (index, file) in object.files.iter().enumerate() {
                let Some((path, entry)) = container.get(file) else {
                    return Err(BundleError::FileMissing { file: file.clone(), object: object.name.clone() });
                };
                if let Some(expected) = object.sha256.get(index) {
                    let (path, entry) = (path.to_owned(), entry.clone());
                    listed.push(Pledge { path, entry, expected: expected.clone() });
                }
            }
        }
        Ok(listed)
    }
}
