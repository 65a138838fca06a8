//! Loaders without memory, which we measure ourselves against and with which nobody should migrate a company: jsforce, by
//! Bulk API 2.0, on the same export and looking at its jobs as often as we do.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;

use crate::{Fallible, process::Sandbox};

/// What drives jsforce.
const SCRIPT: &str = include_str!("jsforce.js");

/// Where jsforce is, with Node.js to run it.
#[derive(Debug)]
pub(crate) struct Jsforce {
    modules: PathBuf,
}

/// How the rows come to jsforce.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows {
    /// Out of the export's files, as they come to us.
    Export,
    /// Out of files that have the destination's columns already, as they are uploaded.
    Prepared,
}

/// What jsforce came to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Loaded {
    milliseconds: u64,
    created: u64,
}

impl Loaded {
    /// Returns how many rows were created a second.
    pub(crate) fn per_second(self) -> f64 {
        crate::per_second(self.created, Duration::from_millis(self.milliseconds))
    }
}

impl Jsforce {
    /// Looks for jsforce among the modules in a directory.
    pub(crate) fn find(modules: &Path) -> Fallible<Self> {
        if !modules.join("jsforce").is_dir() {
            let (own, dir) = (modules.display(), modules.parent().unwrap_or(modules).display());
            return Err(
                format!("there is no jsforce in {own}: `npm install --prefix {dir} jsforce` puts it there").into()
            );
        }
        Ok(Self { modules: std::path::absolute(modules)? })
    }

    /// Writes the files that have the destination's columns beside the export's own.
    pub(crate) fn prepare(&self, export: &Path) -> Fallible<()> {
        self.drive(["", "", "prepare"], export).map(drop)
    }

    /// Loads the companies and contacts of an export.
    pub(crate) fn load(&self, org: &Sandbox, export: &Path, rows: Rows) -> Fallible<Loaded> {
        let how = match rows {
            Rows::Export => "export",
            Rows::Prepared => "prepared",
        };
        Ok(serde_json::from_slice(&self.drive([&org.url, &org.token, how], export)?)?)
    }

    fn drive(&self, [url, token, how]: [&str; 3], export: &Path) -> Fallible<Vec<u8>> {
        let mut node = Command::new("node");
        node.arg("-e").arg(SCRIPT).args(["--", url, token]).arg(export).arg(how).env("NODE_PATH", &self.modules);
        let output = node.stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("jsforce: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}
