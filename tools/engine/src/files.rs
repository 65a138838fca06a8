//! The files of the export: looked at when records are mapped, read again when they are sent.

use std::{io::Read, sync::Arc};

use waybill_connectors::bundle::Bundle;
use waybill_projector::mapping::FileFacts;

/// The files of an export.
#[derive(Debug, Clone)]
pub struct Files {
    bundle: Arc<Bundle>,
    /// From how many bytes on nobody wants the content.
    limit: u64,
}

impl Files {
    /// Returns the files of an export, of which those over `limit` bytes are not read.
    pub fn new(bundle: Arc<Bundle>, limit: u64) -> Self {
        Self { bundle, limit }
    }

    /// Returns how large a file is. Of its content nothing is known then.
    pub fn size(&self, path: &str) -> Result<FileFacts, String> {
        let (_, size) = self.bundle.binary(path).map_err(|e| e.to_string())?;
        Ok(FileFacts { size, sha256: String::new(), md5: String::new() })
    }

    /// Looks at a file, and at its content if it is not too large to be carried.
    pub fn look(&self, path: &str) -> Result<FileFacts, String> {
        let facts = self.size(path)?;
        if facts.size > self.limit { Ok(facts) } else { Ok(FileFacts::of(&self.read(path)?)) }
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let (mut input, size) = self.bundle.binary(path).map_err(|e| e.to_string())?;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        input.read_to_end(&mut content).map_err(|e| format!("{path} cannot be read: {e}"))?;
        Ok(content)
    }
}
