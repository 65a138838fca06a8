//! The manifest of a bundle (bundle convention, "manifest.json"): what the exporter says is inside.

use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    container::{Container, Entry},
    error::BundleError,
};

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
    /// Reads the manifest, if there is one, and holds its digests against the files.
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
        manifest.check_files(container)?;
        Ok(Some(manifest))
    }

    fn check_files(&self, container: &Container) -> Result<(), BundleError> {
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
                    listed.push((path, entry, expected));
                }
            }
        }
        check_digests(&listed)
    }
}

/// Holds files against the digests that the manifest gives, several side by side; the first in the manifest's order that does
/// not fit is told.
fn check_digests(listed: &[(&str, &Entry, &String)]) -> Result<(), BundleError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong: Option<(usize, BundleError)> = None;
        while let Some((n, (path, entry, expected))) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            listed.get(n).map(|one| (n, one))
        } {
            let error = match entry.open().and_then(digest) {
                Err(source) => BundleError::Io { file: (*path).to_owned(), source },
                Ok(found) if !expected.eq_ignore_ascii_case(&found) => {
                    BundleError::DigestMismatch { file: (*path).to_owned(), expected: (*expected).clone(), found }
                }
                Ok(_) => continue,
            };
            wrong.get_or_insert((n, error));
        }
        wrong
    };
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.flatten().min_by_key(|(n, _)| *n)
    });
    wrong.map_or(Ok(()), |(_, error)| Err(error))
}

/// Returns the SHA-256 of everything `input` gives, in lower-case hexadecimal.
fn digest(mut input: impl Read) -> std::io::Result<String> {
    let mut hasher = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; 256 << 10];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hasher.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finish().as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}
