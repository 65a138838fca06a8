//! What changed and what is gone in a span of time.
//!
//! Source: "Get Updated" and "Get Deleted" in the REST API Developer Guide: seconds are ignored, the start lies at most
//! thirty days back, what is gone is known as long as it is in the bin.

use serde_json::{Value as Json, json};

use super::{
    org::Org,
    service::{Call, Reply, Service},
    validate::{stamp, time},
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How far back changes are known.
const UPDATED: i64 = 30 * DAY;
/// How long rows lie in the bin.
const DELETED: i64 = 15 * DAY;

/// Reads the span, in whole minutes.
fn span(org: &Org, call: &Call, reach: i64) -> Result<(i64, i64), Reply> {
    let read = |name: &str| {
        let text = call.query.get(name).map_or("", String::as_str);
        time(text).map(|time| time / MINUTE * MINUTE).ok_or_else(|| {
            Reply::error(400, "INVALID_REPLICATION_DATE", &format!("{name} is not a date and time: {text}"))
        })
    };
    let (start, end) = (read("start")?, read("end")?);
    if start < org.clock() / MINUTE * MINUTE - reach {
        let message = format!("startDate cannot be more than {} days ago", reach / DAY);
        return Err(Reply::error(400, "INVALID_REPLICATION_DATE", &message));
    }
    if end <= start {
        let message = "endDate must be at least one minute greater than startDate";
        return Err(Reply::error(400, "INVALID_REPLICATION_DATE", message));
    }
    Ok((start, end))
}

impl Service {
    pub(crate) fn updated(&self, call: &Call, object: &str) -> Reply {
        let org = self.org();
        let Some(object) = org.find(object) else { return Reply::not_found() };
        let (start, end) = match span(&org, call, UPDATED) {
            Ok(span) => span,
            Err(reply) => return reply,
        };
        let ids: Vec<String> = org.tables[object]
            .rows
            .iter()
            .filter(|(_, row)| !row.deleted && (start..end).contains(&row.stamped))
            .map(|(number, _)| org.id(object, *number).to_string())
            .collect();
        Reply::json(200, &json!({ "ids": ids, "latestDateCovered": stamp(end.min(org.clock())) }))
    }

    pub(crate) fn deleted(&self, call: &Call, object: &str) -> Reply {
        let org = self.org();
        let Some(object) = org.find(object) else { return Reply::not_found() };
        let (start, end) = match span(&org, call, DELETED) {
            Ok(span) => span,
            Err(reply) => return reply,
        };
        let gone: Vec<Json> = org.tables[object]
            .rows
            .iter()
            .filter(|(_, row)| row.deleted && (start..end).contains(&row.stamped))
            .map(
                |(number, row)| json!({ "id": org.id(object, *number).to_string(), "deletedDate": stamp(row.stamped) }),
            )
            .collect();
        Reply::json(
            200,
            &json!({
                "deletedRecords": gone, "earliestDateAvailable": stamp(org.clock() - DELETED),
                "latestDateCovered": stamp(end.min(org.clock())),
            }),
        )
    }
}
