//! A loader without memory: reads the same rows and sends them by the same bulk jobs. It is what we measure ourselves
//! against, and what nobody should migrate a company with.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::Fallible;

/// Rows of one job, as many as Waybill sends.
const ROWS: usize = 10_000;

/// Loads companies and contacts; returns how many rows and how long it took.
pub(crate) fn load(url: &str, token: &str, export: &Path) -> Fallible<(u64, Duration)> {
    // Another part of the program may have chosen the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(300)).build()?;
    let root = format!("{url}/services/data/v62.0/jobs/ingest");
    let began = Instant::now();
    let mut sent = 0;
    for (file, object, columns) in [
        (
            "companies.csv",
            "Account",
            [("name", "Name"), ("domain", "Website"), ("phone", "Phone"), ("address_city", "BillingCity")],
        ),
        (
            "contacts.csv",
            "Contact",
            [("first_name", "FirstName"), ("last_name", "LastName"), ("phone", "Phone"), ("job_title", "Title")],
        ),
    ] {
        let mut reader = csv::Reader::from_path(export.join(file))?;
        let header = reader.headers()?.clone();
        let places: Vec<usize> = columns
            .iter()
            .map(|(name, _)| {
                header
                    .iter()
                    .position(|column| column.trim_start_matches('\u{feff}') == *name)
                    .ok_or("a column is missing")
            })
            .collect::<Result<_, _>>()?;
        let mut rows = reader.into_records().peekable();
        while rows.peek().is_some() {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(columns.iter().map(|(_, name)| name))?;
            let mut count = 0;
            for row in rows.by_ref().take(ROWS) {
                let row = row?;
                writer.write_record(places.iter().map(|place| row.get(*place).unwrap_or_default()))?;
                count += 1;
            }
            let csv = writer.into_inner().map_err(|e| e.to_string())?;
            let send =
                |request: reqwest::blocking::RequestBuilder| request.bearer_auth(token).send()?.error_for_status();
            let about = json!({ "object": object, "operation": "insert", "contentType": "CSV", "lineEnding": "LF" });
            let job: Value = serde_json::from_slice(&send(client.post(&root).body(about.to_string()))?.bytes()?)?;
            let own = format!("{root}/{}", job["id"].as_str().ok_or("the job has no id")?);
            send(client.put(format!("{own}/batches")).header("content-type", "text/csv").body(csv))?;
            send(client.patch(&own).body(json!({ "state": "UploadComplete" }).to_string()))?;
            loop {
                let state: Value = serde_json::from_slice(&send(client.get(&own))?.bytes()?)?;
                if state["state"] == "JobComplete" {
                    break;
                }
                if state["state"] == "Failed" {
                    return Err(format!("a job failed: {}", state["errorMessage"]).into());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            send(client.get(format!("{own}/successfulResults")))?.bytes()?;
            sent += count;
        }
    }
    Ok((sent, began.elapsed()))
}
