//! What a migration takes of an org's limits.
//!
//! Source: "API Request Limits and Allocations" and "Bulk API 2.0 Limits and Allocations" in the Salesforce Developer Limits
//! quick reference; "Data and File Storage Allocations" in Salesforce Help (most records count 2 KB, whatever they hold).

use super::contents;
use crate::destination::{Need, Planned};

/// Rows that the platform counts as one bulk batch.
const BULK_BATCH: u64 = 10_000;
/// Requests of one bulk job beside its looks: open, upload, close, three kinds of results, delete.
const PER_JOB: u64 = 7;
/// Looks at one bulk job, at most about.
const LOOKS: u64 = 20;
/// Ids of one read-back.
const READ_BACK: u64 = 1_000;
/// Rows of one collection.
const COLLECTION: u64 = 200;
/// Rows of one page of a query.
const PAGE: u64 = 2_000;

/// Returns how many kilobytes of data storage a row of an object takes.
fn kilobytes(object: &str) -> u64 {
    match object {
        "Campaign" => 8,
        "CampaignMember" => 1,
        // Files and notes count as files; links and roles count nothing.
        contents::VERSION | contents::NOTE | contents::LINK | "OpportunityContactRole" | "OpportunityLineItem" => 0,
        _ => 2,
    }
}

/// Returns what these writes need.
pub(super) fn needs(planned: &[Planned], bulk_threshold: usize) -> Vec<Need> {
    let threshold = u64::try_from(bulk_threshold).unwrap_or(u64::MAX);
    // Versions, describes, users, limits, the schema step, and a look for our keys.
    let (mut calls, mut batches, mut kb, mut bytes) = (100, 0, 0, 0);
    for object in planned {
        let name = object.object.as_str();
        let single = [contents::VERSION, contents::NOTE].contains(&name);
        for (rows, job) in [(object.creates, object.create_rows), (object.updates, object.update_rows)] {
            calls += if single {
                // Each content is a request of its own.
                rows + rows.div_ceil(COLLECTION)
            } else if rows >= threshold && name != contents::LINK {
                let job = job.clamp(1, rows.max(1));
                batches += rows / job * job.div_ceil(BULK_BATCH) + (rows % job).div_ceil(BULK_BATCH);
                rows.div_ceil(job) * (PER_JOB + LOOKS)
            } else {
                rows.div_ceil(COLLECTION)
            };
            calls += rows.div_ceil(READ_BACK);
        }
        calls += object.present.div_ceil(PAGE) + 2;
        kb += object.creates * kilobytes(name);
        bytes += object.bytes;
    }
    vec![
        Need { limit: "DailyApiRequests", what: "requests to the API", amount: calls },
        Need { limit: "DailyBulkApiBatches", what: "batches of bulk jobs", amount: batches },
        Need { limit: "DataStorageMB", what: "megabytes of data storage", amount: kb.div_ceil(1_024) },
        Need { limit: "FileStorageMB", what: "megabytes of file storage", amount: bytes.div_ceil(1 << 20) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_two_kilobytes_and_files_their_bytes() {
        let planned = |object: &str, creates, bytes| {
            let (create_rows, update_rows) = (10_000, 10_000);
            Planned { object: object.into(), creates, updates: 0, present: 0, bytes, create_rows, update_rows }
        };
        let needs = needs(
            &[planned("Contact", 51_200, 0), planned("ContentVersion", 10, 30 << 20), planned("Campaign", 128, 0)],
            2_000,
        );
        let of = |limit: &str| needs.iter().find(|need| need.limit == limit).map(|need| need.amount);
        assert_eq!(of("DataStorageMB"), Some(101));
        assert_eq!(of("FileStorageMB"), Some(30));
        assert_eq!(of("DailyBulkApiBatches"), Some(6));
        assert!(of("DailyApiRequests") > Some(6 * 7 + 52 + 10));
    }
}
