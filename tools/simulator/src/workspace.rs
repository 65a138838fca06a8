//! The Twenty workspace, and the people who work in it: they delete into the trash, and take out of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use waybill_connectors::transport::NoAnswer;
use waybill_sandbox::twenty::{Options, Server, Switches};

use crate::{
    place::{Did, Dump, Hit, PLACE, Place, TRASH, tag_of},
    source::{Kind, Source, Through},
};

/// What the plan makes of the source.
const KINDS: [Kind; 5] = [
    Kind {
        name: "companies",
        to: "company",
        tag: Some("sourceId"),
        values: &[
            ("name", "name"),
            ("domain", "domainNamePrimaryLinkUrl"),
            ("phone", "phone"),
            ("description", "description"),
        ],
        links: &[("parent_company_id", "companies", "parentCompanyId")],
        through: &[],
        unique: Some(("domain", "domainNamePrimaryLinkUrl")),
        shown,
        goes: false,
    },
    Kind {
        name: "contacts",
        to: "person",
        tag: Some("sourceId"),
        values: &[
            ("first_name", "nameFirstName"),
            ("last_name", "nameLastName"),
            ("email", "emailsPrimaryEmail"),
            ("job_title", "jobTitle"),
            ("description", "description"),
        ],
        links: &[("primary_company_id", "companies", "companyId")],
        through: &[],
        unique: Some(("email", "emailsPrimaryEmail")),
        shown,
        goes: true,
    },
    Kind {
        name: "deals",
        to: "opportunity",
        tag: Some("sourceId"),
        values: &[
            ("name", "name"),
            ("close_date", "closeDate"),
            ("amount", "amountAmountMicros"),
            ("description", "description"),
        ],
        links: &[("company_id", "companies", "companyId"), ("primary_contact_id", "contacts", "pointOfContactId")],
        through: &[],
        unique: None,
        shown,
        goes: false,
    },
    Kind {
        name: "tasks",
        to: "task",
        tag: Some("sourceId"),
        values: &[("title", "title"), ("due_at", "dueAt"), ("description", "description")],
        links: &[("contact_id", "contacts", ""), ("deal_id", "deals", "")],
        through: &[
            Through { column: "contact_id", to: "contacts", object: "taskTarget", ends: ("taskId", "targetPersonId") },
            Through { column: "deal_id", to: "deals", object: "taskTarget", ends: ("taskId", "targetOpportunityId") },
        ],
        unique: None,
        shown,
        goes: true,
    },
    Kind {
        name: "notes",
        to: "note",
        tag: Some("sourceId"),
        values: &[("title", "title"), ("body_html", "bodyV2Markdown")],
        links: &[("parent_id", "contacts", "")],
        through: &[Through {
            column: "parent_id",
            to: "contacts",
            object: "noteTarget",
            ends: ("noteId", "targetPersonId"),
        }],
        unique: None,
        shown,
        goes: false,
    },
];

/// The objects of the plan, by what one and what several are called.
const OBJECTS: [(&str, &str); 7] = [
    ("company", "companies"),
    ("person", "people"),
    ("opportunity", "opportunities"),
    ("task", "tasks"),
    ("note", "notes"),
    ("taskTarget", "taskTargets"),
    ("noteTarget", "noteTargets"),
];

/// Fields that people edit, by object: some that the plan sets, and others, of which some are parts of what it sets.
const EDITED: [(&str, &[&str]); 5] = [
    ("company", &["description", "name", "addressAddressCity", "domainNamePrimaryLinkLabel"]),
    ("person", &["jobTitle", "avatarUrl", "nameFirstName"]),
    ("opportunity", &["description", "amountAmountMicros", "name"]),
    ("task", &["title", "description"]),
    ("note", &["title", "bodyV2Markdown"]),
];

/// Shows a value of the source as the workspace does.
fn shown(field: &str, value: &str) -> String {
    match field {
        "domainNamePrimaryLinkUrl" => format!("https://{value}"),
        "amountAmountMicros" => value.parse::<f64>().map_or_else(|_| value.to_owned(), |n| (n * 1e6).to_string()),
        "closeDate" | "dueAt" => format!("{value}T00:00:00.000Z"),
        "bodyV2Markdown" => value.trim_start_matches("<p>").trim_end_matches("</p>").to_owned(),
        _ => value.to_owned(),
    }
}

/// The workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    server: Server,
    /// What the plan does with what lies in the trash and stands in a record's way.
    trash: Trash,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trash {
    Waits,
    ComesBack,
    Goes,
}

impl Workspace {
    pub(crate) fn new(seed: u64) -> std::io::Result<Self> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x5457_454e_5459);
        // The workflow that makes companies for people is off, as preflight asks for; the cap is that of old versions or of new.
        let cap = if dice.random_bool(0.5) { 60 } else { 200 };
        let switches = Switches { workflow: false, cap, ..Switches::default() };
        let server = Server::new(&Options { seed, switches, ..Options::default() })?;
        let trash = match (dice.random_bool(0.6), dice.random_bool(0.5)) {
            (true, _) => Trash::Waits,
            (_, true) => Trash::ComesBack,
            (_, false) => Trash::Goes,
        };
        Ok(Self { server, trash })
    }

    fn request(&self, method: Method, path: &str, body: &Json) -> Option<Json> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PLACE}{path}"))
            .header("authorization", format!("Bearer {}", self.server.token()))
            .header("content-type", "application/json")
            .body(Bytes::from(if body.is_null() { String::new() } else { body.to_string() }));
        let answer = self.server.answer(&request.ok()?).ok()?;
        let done = answer.status().is_success();
        done.then(|| serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    fn admin(&self, path: &str, body: &Json) {
        // This part of the workspace never fails.
        let _ = self.request(Method::POST, &format!("/__sandbox/{path}"), body);
    }

    fn as_person(&self, person: bool) {
        let email = person.then_some("ada.lovelace@example.com");
        self.admin("act-as", &json!({ "email": email }));
    }

    /// Makes a row as a person, and returns its id.
    fn make(&self, object: &str, body: &Json) -> Option<String> {
        let answer = self.request(Method::POST, &format!("/rest/{}", several(object)), body)?;
        let made = answer["data"].as_object()?.values().next()?;
        made["id"].as_str().map(str::to_owned)
    }

    fn to_trash(&self, object: &str, id: &str) -> bool {
        self.request(Method::DELETE, &format!("/rest/{}/{id}?soft_delete=true", several(object)), &Json::Null).is_some()
    }

    fn edit(&self, dice: &mut ChaCha8Rng, number: u64, dump: &Dump, (object, id): (&str, &str)) -> Option<Did> {
        let fields = EDITED.iter().find(|(edited, _)| *edited == object).map_or(&[][..], |(_, fields)| fields);
        let field = *fields.choose(dice)?;
        let value = match field {
            "amountAmountMicros" => json!(i64::from(dice.random_range(0..9_000)) * 1_000_000 + 250_000),
            "avatarUrl" => json!(format!("https://person{number}.example.com/me.png")),
            "description" | "jobTitle" if dice.random_ratio(1, 5) => Json::Null,
            _ => json!(format!("Person {number}")),
        };
        let row = &dump[&(object.to_owned(), id.to_owned())];
        // Who changes nothing has done nothing.
        if row.get(field).unwrap_or(&Json::Null) == &value {
            return None;
        }
        let body = match field {
            "amountAmountMicros" => json!({ "amount": { "amountMicros": value } }),
            "addressAddressCity" => json!({ "address": { "addressCity": value } }),
            "nameFirstName" => json!({ "name": { "firstName": value } }),
            "bodyV2Markdown" => json!({ "bodyV2": { "markdown": value } }),
            // Of links, what is left out is lost.
            "domainNamePrimaryLinkLabel" => json!({ "domainName": {
                "primaryLinkLabel": value, "primaryLinkUrl": row.get("domainNamePrimaryLinkUrl")?,
            } }),
            field => json!({ field: value }),
        };
        let path = format!("/rest/{}/{id}", several(object));
        self.request(Method::PATCH, &path, &body).map(|_| Did::Set(field, value))
    }
}

/// Returns what several rows of an object are called.
fn several(object: &str) -> &str {
    OBJECTS.iter().find(|(one, _)| *one == object).map_or(object, |(_, several)| several)
}

impl Place for Workspace {
    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn key_field(&self) -> &'static str {
        "waybillKey"
    }

    fn hangs_by(&self, child: &str) -> &'static str {
        match child {
            "person" => "companyId",
            "opportunity" => "pointOfContactId",
            _ => "taskId",
        }
    }

    fn has_trash(&self) -> bool {
        true
    }

    fn plan(&self, dice: &mut ChaCha8Rng) -> (String, String) {
        let batch = [1, 3, 60][dice.random_range(0..3)];
        let a_minute = if dice.random_bool(0.5) { 100 } else { 0 };
        let config = format!(
            "system = \"twenty\"\nurl = \"{PLACE}\"\nbatch_rows = {batch}\nrequests_per_minute = {a_minute}\n\
             [destination.auth]\ntype = \"token\"\ntoken = {{ file = \"secret\" }}\n"
        );
        let plan = include_str!("twenty.plan.toml");
        let plan = match self.trash {
            Trash::Waits => plan.to_owned(),
            Trash::ComesBack => plan.replace("match = [", "trash = \"restore\"\nmatch = ["),
            Trash::Goes => plan.replace("match = [", "trash = \"destroy\"\nmatch = ["),
        };
        (plan, config)
    }

    fn secret(&self) -> String {
        self.server.token().to_owned()
    }

    fn buried_waits(&self) -> bool {
        self.trash == Trash::Waits
    }

    fn buried_goes(&self) -> bool {
        self.trash == Trash::Goes
    }

    fn people_were_here(&self, dice: &mut ChaCha8Rng, source: &Source) {
        self.as_person(true);
        for n in 0..dice.random_range(0..6) {
            let made =
                self.make("company", &json!({ "name": format!("Before {n}"), "address": { "addressCity": "Here" } }));
            if let Some(id) = made.filter(|_| dice.random_ratio(1, 3)) {
                self.to_trash("company", &id);
            }
        }
        for kind in &KINDS {
            let Some((column, _)) = kind.unique else { continue };
            let rows = source.rows.iter().filter(|((name, _), _)| *name == kind.name);
            let values: Vec<&String> = rows.filter_map(|(_, row)| row.cells.get(column)).collect();
            for value in values.into_iter().filter(|value| !value.is_empty()) {
                if !dice.random_ratio(1, 3) {
                    continue;
                }
                let mut body = if kind.to == "company" {
                    json!({ "name": "Before", "domainName": { "primaryLinkUrl": format!("https://{value}"), "primaryLinkLabel": "Was here" } })
                } else {
                    json!({ "name": { "lastName": "Before" }, "avatarUrl": "https://was.here/x.png",
                        "emails": { "primaryEmail": value.to_uppercase(), "additionalEmails": ["was@here.example"] } })
                };
                if kind.to == "person" && dice.random_bool(0.5) {
                    body["jobTitle"] = json!("Boss");
                }
                let made = self.make(kind.to, &body);
                if let Some(id) = made.filter(|_| dice.random_ratio(1, 4)) {
                    self.to_trash(kind.to, &id);
                }
            }
        }
        self.as_person(false);
    }

    fn person_acts(&self, dice: &mut ChaCha8Rng, number: &mut u64, dump: &Dump) -> Option<(String, String, Did)> {
        let rows: Vec<&(String, String)> =
            dump.keys().filter(|(object, _)| EDITED.iter().any(|(edited, _)| object == edited)).collect();
        let (mut object, mut id) = rows.choose(dice).map(|row| (*row).clone())?;
        self.as_person(true);
        *number += 1;
        let done = match dice.random_range(0..12) {
            0 => self.to_trash(&object, &id).then(|| Did::Deleted(tag_of(&KINDS, dump, &object, &id))),
            1 | 2 if object == "company" || object == "person" => {
                let (child, body) = if object == "company" {
                    ("person", json!({ "name": { "lastName": format!("Stranger {number}") }, "companyId": id }))
                } else {
                    ("opportunity", json!({ "name": format!("Stranger {number}"), "pointOfContactId": id }))
                };
                self.make(child, &body).map(|id| Did::Made(format!("{child}/{id}")))
            }
            3 | 4 => {
                let trashed: Vec<(&str, &String)> =
                    dump.keys().filter_map(|(object, id)| Some((object.strip_prefix(TRASH)?, id))).collect();
                trashed.choose(dice).and_then(|(trashed, found)| {
                    (object, id) = ((*trashed).to_owned(), (*found).clone());
                    let path = format!("/rest/restore/{}?filter=id%5Bin%5D:%5B{id}%5D", several(&object));
                    self.request(Method::PATCH, &path, &Json::Null).map(|_| Did::Restored)
                })
            }
            _ => self.edit(dice, *number, dump, (&object, &id)),
        };
        self.as_person(false);
        done.map(|done| (object, id, done))
    }

    fn dump(&self) -> Dump {
        let mut dump = Dump::new();
        for (object, _) in OBJECTS {
            let request = Request::get(format!("{PLACE}/__sandbox/dump?object={object}")).body(Bytes::new());
            let answer = request.ok().and_then(|request| self.server.answer(&request).ok());
            let text = answer.map(|answer| String::from_utf8_lossy(answer.body()).into_owned()).unwrap_or_default();
            for line in text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
                let (Some(id), Some(cells)) = (line["row"]["id"].as_str(), line["row"].as_object()) else { continue };
                let place = if line["live"] == json!(true) { object.to_owned() } else { format!("{TRASH}{object}") };
                let held = cells.iter().filter(|(_, value)| !value.is_null() && *value != "" && *value != &json!([]));
                let fields = held.map(|(name, value)| (name.clone(), value.clone())).collect();
                dump.insert((place, id.to_owned()), fields);
            }
        }
        dump
    }

    fn is_data(&self, request: &Request<Bytes>) -> bool {
        ["/rest", "/graphql", "/metadata"].iter().any(|room| request.uri().path().starts_with(room))
    }

    fn writes(&self, request: &Request<Bytes>) -> bool {
        // We ask by GraphQL, and write by REST.
        request.method() != Method::GET && request.uri().path().starts_with("/rest")
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        self.server.answer(request).map_err(|_| NoAnswer::Broken)
    }

    fn suffer(&self, dice: &mut ChaCha8Rng, hit: Hit) {
        let (several, bytes) = (dice.random_range(1..4), dice.random_range(200..4_000));
        let fault = match (hit.busy, hit.quota, hit.locks) {
            (true, ..) if dice.random_bool(0.5) => json!({ "errors": several }),
            (true, ..) => json!({ "unavailable": several }),
            (_, true, _) => json!({ "limited": several }),
            (.., true) if dice.random_bool(0.5) => json!({ "large_body": bytes }),
            (.., true) => json!({ "partial_upserts": several }),
            _ => return,
        };
        self.admin("faults", &fault);
    }

    fn answer_in_trouble(
        &self,
        dice: &mut ChaCha8Rng,
        hit: Hit,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        if hit.expired && dice.random_bool(0.3) {
            self.admin("key", &json!({ "revoked": true }));
            let answer = self.answer(request);
            self.admin("key", &json!({ "revoked": false }));
            return answer;
        }
        let answer = self.answer(request);
        if hit.expired {
            // It was done, and then something broke.
            let mut broken =
                Response::new(Bytes::from_static(b"{\"statusCode\":500,\"message\":\"Internal server error\"}"));
            *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return answer.map(|_| broken);
        }
        answer
    }

    fn calm(&self) {
        self.admin("faults", &json!({}));
    }

    fn pass(&self, millis: u64) {
        self.server.advance(Duration::from_millis(millis));
    }
}
