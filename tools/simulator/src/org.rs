//! The Salesforce org, and the people who work in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Response};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use waybill_connectors::transport::NoAnswer;
use waybill_sandbox::salesforce::{Options, Server};

use crate::{
    place::{Did, Dump, Hit, PLACE, Place, tag_of},
    source::{Kind, Source, as_is},
};

/// What the plan makes of the source.
const KINDS: [Kind; 6] = [
    Kind {
        name: "companies",
        to: "Account",
        tag: Some("AccountNumber"),
        values: &[("name", "Name"), ("phone", "Phone"), ("description", "Description")],
        links: &[("parent_company_id", "companies", "ParentId")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: false,
    },
    Kind {
        name: "contacts",
        to: "Contact",
        tag: Some("Fax"),
        values: &[
            ("first_name", "FirstName"),
            ("last_name", "LastName"),
            ("email", "Email"),
            ("job_title", "Title"),
            ("description", "Description"),
        ],
        links: &[("primary_company_id", "companies", "AccountId")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: true,
    },
    Kind {
        name: "deals",
        to: "Opportunity",
        tag: Some("NextStep"),
        values: &[("name", "Name"), ("close_date", "CloseDate"), ("amount", "Amount"), ("description", "Description")],
        links: &[("company_id", "companies", "AccountId")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: false,
    },
    Kind {
        name: "deal_contacts",
        to: "OpportunityContactRole",
        tag: None,
        values: &[("role", "Role")],
        links: &[("deal_id", "deals", "OpportunityId"), ("contact_id", "contacts", "ContactId")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: false,
    },
    Kind {
        name: "tasks",
        to: "Task",
        tag: Some("CallDisposition"),
        values: &[("title", "Subject"), ("due_at", "ActivityDate"), ("description", "Description")],
        links: &[("contact_id", "contacts", "WhoId"), ("deal_id", "deals", "WhatId")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: true,
    },
    Kind {
        name: "notes",
        to: "ContentNote",
        tag: None,
        values: &[],
        links: &[("parent_id", "contacts", "")],
        through: &[],
        unique: None,
        shown: as_is,
        goes: false,
    },
];

/// Fields that people edit, by object: those that the plan sets and one that it does not.
const EDITED: [(&str, &[&str]); 4] = [
    ("Account", &["Description", "Phone", "Website"]),
    ("Contact", &["Description", "Title", "Department"]),
    ("Opportunity", &["Description", "Amount"]),
    ("Task", &["Description", "Subject"]),
];

/// The org.
#[derive(Debug)]
pub(crate) struct Org {
    server: Server,
    seed: u64,
}

impl Org {
    pub(crate) fn new(seed: u64) -> std::io::Result<Self> {
        Ok(Self { server: Server::new(&Options { seed, ..Options::default() })?, seed })
    }

    /// Asks the org as an administrator of the test would.
    fn admin(&self, path: &str, body: &Json) {
        let request = Request::post(format!("{PLACE}/__sandbox/{path}")).body(Bytes::from(body.to_string()));
        // The request is one, and this part of the org never fails.
        let _ = request.map(|request| self.server.answer(&request));
    }

    /// Calls the org as a person does.
    fn call(&self, method: Method, path: &str, body: &Json) -> Json {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PLACE}/services/data/v62.0/{path}"))
            .header("authorization", format!("Bearer {}", self.server.token()))
            .header("content-type", "application/json")
            .body(Bytes::from(if body.is_null() { String::new() } else { body.to_string() }));
        let answer = request.ok().and_then(|request| self.server.answer(&request).ok());
        let mut parsed: Json =
            answer.as_ref().and_then(|answer| serde_json::from_slice(answer.body()).ok()).unwrap_or_default();
        if let (Some(answer), Json::Object(parsed)) = (&answer, &mut parsed) {
            parsed.insert("status".into(), json!(answer.status().as_u16()));
        }
        parsed
    }

    fn as_person(&self, person: bool) {
        let email = if person { "ada.lovelace@example.com" } else { "integration@sandbox.example.com" };
        self.admin("act-as", &json!({ "email": email }));
    }
}

impl Place for Org {
    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn key_field(&self) -> &'static str {
        "Source_System_ID__c"
    }

    fn hangs_by(&self, child: &str) -> &'static str {
        if child == "Contact" { "AccountId" } else { "WhoId" }
    }

    fn has_trash(&self) -> bool {
        false
    }

    fn plan(&self, dice: &mut ChaCha8Rng) -> (String, String) {
        let threshold = if dice.random_bool(0.5) { 3 } else { 2_000 };
        let config = format!(
            "system = \"salesforce\"\nurl = \"{PLACE}\"\nbulk_threshold = {threshold}\n[destination.auth]\ntype = \
             \"client_credentials\"\nclient_id = \"waybill-sandbox\"\nclient_secret = {{ file = \"secret\" }}\n"
        );
        (include_str!("plan.toml").to_owned(), config)
    }

    fn secret(&self) -> String {
        format!("sandbox-secret-{}", self.seed)
    }

    fn buried_waits(&self) -> bool {
        false
    }

    fn people_were_here(&self, dice: &mut ChaCha8Rng, source: &Source) {
        self.as_person(true);
        for n in 0..dice.random_range(0..6) {
            let body = json!({ "Name": format!("Before {n}"), "Phone": "1", "Description": "was here" });
            self.call(Method::POST, "sobjects/Account", &body);
        }
        let emails = source.rows.iter().filter(|((kind, _), _)| *kind == "contacts");
        let emails: Vec<String> = emails.map(|(_, row)| row.cells["email"].to_uppercase()).collect();
        for email in emails {
            if dice.random_ratio(1, 3) {
                let mut body = json!({ "LastName": "Before", "Email": email, "Department": "Was here" });
                if dice.random_bool(0.5) {
                    body["Title"] = json!("Boss");
                }
                if dice.random_bool(0.5) {
                    body["Description"] = json!("was here");
                }
                self.call(Method::POST, "sobjects/Contact", &body);
            }
        }
        self.as_person(false);
    }

    fn person_acts(&self, dice: &mut ChaCha8Rng, number: &mut u64, dump: &Dump) -> Option<(String, String, Did)> {
        let rows: Vec<&(String, String)> =
            dump.keys().filter(|(object, _)| EDITED.iter().any(|(edited, _)| object == edited)).collect();
        let (object, id) = rows.choose(dice).map(|row| (*row).clone())?;
        self.as_person(true);
        *number += 1;
        let done = match dice.random_range(0..10) {
            0 if object != "Account" => {
                let answer = self.call(Method::DELETE, &format!("sobjects/{object}/{id}"), &Json::Null);
                let tag = tag_of(&KINDS, dump, &object, &id);
                (answer.is_null() || answer["status"] == 204).then_some(Did::Deleted(tag))
            }
            1 if object == "Account" || object == "Contact" => {
                let (child, body) = if object == "Account" {
                    ("Contact", json!({ "LastName": format!("Stranger {number}"), "AccountId": id }))
                } else {
                    ("Task", json!({ "Subject": format!("Stranger {number}"), "WhoId": id }))
                };
                let answer = self.call(Method::POST, &format!("sobjects/{child}"), &body);
                answer["id"].as_str().map(|id| Did::Made(format!("{child}/{id}")))
            }
            _ => {
                let fields = EDITED.iter().find(|(edited, _)| *edited == object).map_or(&[][..], |(_, fields)| fields);
                let field = *fields.choose(dice).unwrap_or(&"Description");
                let value = match field {
                    "Amount" => json!(f64::from(dice.random_range(0..9_000_u32)) + 0.25),
                    "Website" => json!(format!("https://person{number}.example.com")),
                    "Subject" => json!(format!("Person {number}")),
                    _ if dice.random_ratio(1, 5) => Json::Null,
                    _ => json!(format!("Person {number}")),
                };
                let row = &dump[&(object.clone(), id.clone())];
                // Who changes nothing has done nothing.
                if row.get(field).unwrap_or(&Json::Null) == &value {
                    None
                } else {
                    let answer = self.call(Method::PATCH, &format!("sobjects/{object}/{id}"), &json!({ field: value }));
                    (answer.is_null() || answer["status"] == 204).then_some(Did::Set(field, value))
                }
            }
        };
        self.as_person(false);
        done.map(|done| (object, id, done))
    }

    fn automation_acts(&self, dice: &mut ChaCha8Rng, dump: &Dump) -> Option<(String, String, Did)> {
        let ours = |row: &BTreeMap<String, Json>| row.get(self.key_field()).is_some_and(|key| !key.is_null());
        let edited = |object: &str| EDITED.iter().find(|(edited, _)| *edited == object);
        let rows = dump.iter().filter(|((object, _), row)| edited(object).is_some() && ours(row));
        let rows: Vec<&(String, String)> = rows.map(|(row, _)| row).collect();
        let (object, id) = rows.choose(dice).map(|row| (*row).clone())?;
        let text = |field: &&&str| !["Amount", "Website", "Subject"].contains(*field);
        let (_, fields) = edited(&object)?;
        let field = *fields.iter().filter(text).collect::<Vec<_>>().choose(dice)?;
        let value = json!(format!("Automation {}", dice.random_range(0..1_000)));
        let answer = self.call(Method::PATCH, &format!("sobjects/{object}/{id}"), &json!({ (*field): value }));
        (answer.is_null() || answer["status"] == 204).then_some((object, id, Did::Set(field, value)))
    }

    fn dump(&self) -> Dump {
        let request = Request::get(format!("{PLACE}/__sandbox/dump")).body(Bytes::new());
        let answer = request.ok().and_then(|request| self.server.answer(&request).ok());
        let text = answer.map(|answer| String::from_utf8_lossy(answer.body()).into_owned()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        lines
            .filter_map(|mut line| {
                let object = line["object"].as_str()?.to_owned();
                let row = line["row"].take();
                let id = row["Id"].as_str()?.to_owned();
                let fields = row.as_object()?.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                Some(((object, id), fields))
            })
            .collect()
    }

    fn is_data(&self, request: &Request<Bytes>) -> bool {
        request.uri().path().starts_with("/services/data/v")
    }

    fn writes(&self, request: &Request<Bytes>) -> bool {
        request.method() != Method::GET
    }

    fn hands_to(&self, request: &Request<Bytes>) -> Option<String> {
        let job = request.uri().path().strip_suffix("/batches")?.rsplit('/').next()?;
        (request.method() == Method::PUT).then(|| job.to_owned())
    }

    fn says_ended(&self, request: &Request<Bytes>, answer: &Response<Bytes>) -> Option<String> {
        let (_, job) = request.uri().path().split_once("/jobs/ingest/")?;
        let told: Json = serde_json::from_slice(answer.body()).ok()?;
        let ended = matches!(told["state"].as_str()?, "JobComplete" | "Failed" | "Aborted");
        ended.then(|| job.trim_end_matches('/').to_owned())
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        self.server.answer(request).map_err(|_| NoAnswer::Broken)
    }

    fn suffer(&self, dice: &mut ChaCha8Rng, hit: Hit) {
        // Some rows are locked for as long as anyone would try.
        let rows = [1, 2, 3, 90][dice.random_range(0..4)];
        let fault = match (hit.busy, hit.expired, hit.quota, hit.locks) {
            (true, ..) => json!({ "unavailable": 1 }),
            (_, true, ..) => json!({ "expire_after": 0 }),
            (_, _, true, _) => json!({ "quota_after": 0 }),
            (.., true) => match dice.random_range(0..3) {
                0 => json!({ "fail_job_after": dice.random_range(0..20) }),
                1 => json!({ "slow": dice.random_range(1..5_000) }),
                _ => json!({ "lock_rows": rows, "lock_after": dice.random_range(0..4) }),
            },
            _ => return,
        };
        self.admin("faults", &fault);
    }

    fn calm(&self) {
        self.admin("faults", &json!({}));
    }

    fn pass(&self, _millis: u64) {
        // The org goes on with every request.
    }
}
