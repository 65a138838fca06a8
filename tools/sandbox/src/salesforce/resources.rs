//! What there is: versions, resources, limits, counts, and describes that a client may keep.
//!
//! Source: "Versions", "Resources by Version", "Limits", "Record Count" and "Conditional Requests" in the REST API
//! Developer Guide.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Map, Value as Json, json};

use super::service::{Call, DAILY, Reply, Service, locked};

/// The versions that are offered: older ones are retired, newer ones are not out.
const OFFERED: std::ops::RangeInclusive<u32> = 31..=64;

/// Names the release of a version: three a year, `Spring '24` is 60.
fn release(version: u32) -> String {
    let (year, part) = (version / 3 + 4, version % 3);
    match part {
        0 => format!("Spring '{year}"),
        1 => format!("Summer '{year}"),
        _ => format!("Winter '{}", year + 1),
    }
}

/// Writes a moment as HTTP headers do.
pub(crate) fn http_date(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl Service {
    /// Returns the number of a version that is offered, such as `v62.0`.
    pub(crate) fn offered(text: &str) -> Option<u32> {
        let text = text.strip_prefix(['v', 'V'])?.strip_suffix(".0")?;
        text.parse().ok().filter(|version| OFFERED.contains(version))
    }

    pub(crate) fn versions() -> Reply {
        let all: Vec<Json> = OFFERED
            .map(|version| {
                let url = format!("/services/data/v{version}.0");
                json!({ "label": release(version), "url": url, "version": format!("{version}.0") })
            })
            .collect();
        Reply::json(200, &Json::Array(all))
    }

    pub(crate) fn index(&self, call: &Call, root: &str) -> Reply {
        let paths = [
            "query",
            "queryAll",
            "search",
            "sobjects",
            "limits",
            "composite",
            "jobs",
            "metadata",
            "tooling",
            "recent",
            "tabs",
            "theme",
        ];
        let mut all: Map<String, Json> =
            paths.iter().map(|name| ((*name).to_owned(), json!(format!("{root}/{name}")))).collect();
        let org = self.org();
        all.insert("identity".into(), json!(format!("{}/id/{}/{}", call.base, org.id, org.integration)));
        Reply::json(200, &Json::Object(all))
    }

    pub(crate) fn composite_index(root: &str) -> Reply {
        let mut all = Map::new();
        for name in ["tree", "batch", "sobjects", "graph"] {
            all.insert(name.to_owned(), json!(format!("{root}/composite/{name}")));
        }
        Reply::json(200, &Json::Object(all))
    }

    pub(crate) fn limits(&self, root: &str) -> Reply {
        let used = *locked(&self.used);
        let files: u64 = self.org().blobs.values().map(|bytes| bytes.len() as u64).sum();
        let storage = self.org().storage_kb / 1024;
        let used_kb = self.org().kilobytes();
        let budget = |max: u64, used: u64| json!({ "Max": max, "Remaining": max.saturating_sub(used) });
        let batches = budget(15_000, locked(&self.jobs).batches + locked(&self.jobs1).batches());
        // Until version 48.0 the batches had another name.
        let name = if super::bulk::version(root) < 49.0 { "DailyBulkApiRequests" } else { "DailyBulkApiBatches" };
        let mut calls = budget(DAILY, used);
        calls["Salesforce CLI"] = budget(0, 0);
        let mut all = json!({
            "DailyApiRequests": calls, "DailyAsyncApexExecutions": budget(250_000, 0),
            "DailyBulkV2QueryFileStorageMB": budget(976_562, 0), "DailyBulkV2QueryJobs": budget(10_000, 0),
            "ConcurrentSyncReportRuns": budget(20, 0), "DataStorageMB": budget(storage, used_kb / 1024),
            "FileStorageMB": budget(storage, files >> 20), "MassEmail": budget(10, 0), "SingleEmail": budget(15, 0),
        });
        all[name] = batches;
        Reply::json(200, &all)
    }

    /// Objects without rows are not there at all.
    pub(crate) fn record_count(&self, call: &Call) -> Reply {
        let org = self.org();
        let wanted: Option<BTreeSet<usize>> =
            call.query.get("sObjects").map(|names| names.split(',').filter_map(|name| org.find(name.trim())).collect());
        let mut counts: Vec<(&str, u64)> = (0..org.objects.len())
            .filter(|object| wanted.as_ref().is_none_or(|wanted| wanted.contains(object)))
            .map(|object| (org.objects[object].name.as_str(), org.tables[object].live))
            .filter(|(_, count)| *count > 0)
            .collect();
        counts.sort_unstable();
        let counts: Vec<Json> =
            counts.into_iter().map(|(name, count)| json!({ "count": count, "name": name })).collect();
        Reply::json(200, &json!({ "sObjects": counts }))
    }

    pub(crate) fn describe_global(&self, call: &Call, root: &str) -> Reply {
        let all: Vec<Json> = {
            let org = self.org();
            (0..org.objects.len()).map(|object| org.brief(object, root)).collect()
        };
        self.unless_known(call, root, &json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": all }))
    }

    pub(crate) fn describe_one(&self, call: &Call, root: &str, name: &str) -> Reply {
        let described = {
            let org = self.org();
            org.find(name).map(|object| org.describe(object, root))
        };
        match described {
            Some(described) => self.unless_known(call, &format!("{root}/{}", described["name"]), &described),
            None => Reply::not_found(),
        }
    }

    /// Says 304 if nothing changed since the date that the client names.
    fn unless_known(&self, call: &Call, key: &str, body: &Json) -> Reply {
        let hash = blake3::hash(body.to_string().as_bytes()).to_hex()[..8].to_owned();
        let now = self.org().clock();
        let when = {
            let mut seen = locked(&self.seen);
            let entry = seen.entry(key.to_owned()).or_insert_with(|| (hash.clone(), now / 1_000 * 1_000));
            if entry.0 != hash {
                // A date has no fractions: what changed in the same second is a second newer.
                *entry = (hash.clone(), (now / 1_000 * 1_000).max(entry.1 + 1_000));
            }
            entry.1
        };
        let known = call.headers.get("if-modified-since").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let reply = if known.is_some_and(|known| known.timestamp_millis() >= when) {
            Reply::empty(304)
        } else {
            Reply::json(200, body)
        };
        reply.header("Last-Modified", http_date(when)).header("ETag", format!("\"{hash}\""))
    }

    /// The tabs that our user sees: one for every object with data.
    pub(crate) fn tabs(&self, call: &Call) -> Reply {
        let org = self.org();
        let all = org.objects.iter().filter(|object| !object.setup).map(|object| {
            json!({
                "colors": [], "custom": object.custom, "iconUrl": null, "icons": [], "label": object.plural,
                "miniIconUrl": null, "name": format!("standard-{}", object.name), "sobjectName": object.name,
                "url": format!("{}/{}/o", call.base, object.prefix),
            })
        });
        Reply::json(200, &Json::Array(all.collect()))
    }

    /// Objects with their icons and colours; there are none here.
    pub(crate) fn theme(&self) -> Reply {
        let org = self.org();
        let all: Vec<Json> =
            org.objects.iter().map(|object| json!({ "colors": [], "icons": [], "name": object.name })).collect();
        Reply::json(200, &json!({ "themeItems": all }))
    }

    /// Rows that a person looked at lately. Calls do not look at rows unless they ask to be remembered.
    pub(crate) fn recent() -> Reply {
        Reply::json(200, &json!([]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_names_of_their_releases() {
        let names =
            [(60, "Spring '24"), (61, "Summer '24"), (62, "Winter '25"), (63, "Spring '25"), (65, "Winter '26")];
        for (version, name) in names {
            assert_eq!(release(version), name);
        }
        assert_eq!(Service::offered("v51.0"), Some(51));
        assert_eq!(Service::offered("v30.0"), None);
        assert_eq!(Service::offered("51.0"), None);
    }
}
