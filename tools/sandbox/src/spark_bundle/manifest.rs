//! The manifest, written last, because it counts and weighs what was made.

use std::{fs, io};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{dice::exported_at, sheet::Workshop};

/// Writes the manifest of everything that the workshop made.
pub(super) fn write(
    workshop: &Workshop,
    id: &str,
    previous: Option<(&str, DateTime<Utc>)>,
    sequence: u64,
) -> io::Result<()> {
    let objects: Vec<serde_json::Value> = workshop
        .made
        .iter()
        .map(|made| {
            json!({
                "name": made.name, "files": made.files, "format": made.format, "encoding": "utf-8", "delimiter": ",",
                "rows": made.rows, "source_total": made.rows, "columns": "all", "sha256": made.sha256, "capped": false,
            })
        })
        .collect();
    let at = previous.map_or_else(exported_at, |(_, at)| at);
    let manifest = json!({
        "bundle_format": "waybill-bundle/1",
        "product": "spark-crm",
        "product_variant": "sparkcrm.io",
        "bundle_id": id,
        "sequence": sequence,
        "previous_bundle_id": previous.map(|(id, _)| id),
        "kind": "full",
        "exported_at": at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "exported_by": "ada.lovelace@example.com",
        "account": {
            "id": "acme-4711", "name": "Acme Machines", "time_zone": "Atlantic/Reykjavik", "locale": "en-GB", "currency": "EUR",
            "phone_region": "DK",
        },
        "objects": objects,
        "binaries": {
            "listing": "files.csv", "folder": "files", "count": workshop.binaries.0, "bytes": workshop.binaries.1, "included": true,
        },
        "notes": "Made, not exported: nothing in it is anyone's data.",
    });
    fs::write(workshop.dir.join("manifest.json"), format!("{manifest:#}\n"))
}
