//! Reading an export with the csv crate alone: what going through one is held against.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::Fallible;

/// How often the export is read: the fastest counts, as other work only ever makes it slower.
const TIMES: usize = 3;

/// What reading every record of every table comes to, into one record that is used again.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Alone {
    pub(crate) records: u64,
    pub(crate) csv_mb: f64,
    /// The fastest of three.
    pub(crate) csv_seconds: f64,
}

impl Alone {
    /// Reads an export. A reading before the first warms the page cache for all.
    pub(crate) fn read(export: &Path) -> Fallible<Self> {
        read(export)?;
        let (mut records, mut bytes, mut fastest) = (0, 0, Duration::MAX);
        for _ in 0..TIMES {
            let took;
            (records, bytes, took) = read(export)?;
            fastest = fastest.min(took);
        }
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 bytes")]
        let csv_mb = bytes as f64 / f64::from(1 << 20);
        Ok(Self { records, csv_mb, csv_seconds: fastest.as_secs_f64() })
    }

    /// Returns how many times as long something took.
    pub(crate) fn ratio(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.csv_seconds
    }

    /// Says what was read and how fast.
    pub(crate) fn words(&self) -> String {
        let Self { records, csv_mb, csv_seconds } = self;
        format!("{records} rows in {csv_mb:.0} MB of tables: the csv crate alone reads them in {csv_seconds:.2} s")
    }
}

/// Reads every table; returns its rows and bytes and how long that took.
fn read(dir: &Path) -> Fallible<(u64, u64, Duration)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [dir.to_owned(), dir.join("objects")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
    }
    let began = Instant::now();
    let (mut rows, mut bytes) = (0, 0);
    let mut record = csv::ByteRecord::new();
    for file in files {
        bytes += fs::metadata(&file)?.len();
        let mut reader = csv::Reader::from_path(file)?;
        while reader.read_byte_record(&mut record)? {
            rows += 1;
        }
    }
    Ok((rows, bytes, began.elapsed()))
}
