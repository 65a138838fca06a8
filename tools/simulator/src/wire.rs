//! The wire between the engine and the org, and everyone else who works in the org meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response};
use rand::{Rng, RngCore, SeedableRng, seq::IndexedRandom, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use tokio::sync::Notify;
use waybill_connectors::transport::{Http, NoAnswer};
use waybill_ledger::{
    Micros,
    ledger::{Clock, Entropy},
};
use waybill_sandbox::{salesforce::Server, spark};

use crate::source::KINDS;

/// Where the source is said to be, if it is a server.
pub(crate) const COMPANY: &str = "http://company.example";
/// Where the org is said to be.
pub(crate) const ORG: &str = "http://org.example";
/// When every story begins, in microseconds.
const BEGIN: i64 = 1_768_000_000_000_000;

/// A clock that only the simulation moves.
#[derive(Debug)]
pub(crate) struct Time(AtomicI64);

impl Time {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(BEGIN))
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.0.fetch_add(i64::try_from(millis * 1_000).unwrap_or(0), Ordering::Relaxed);
    }

    fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for Time {
    fn now(&self) -> Micros {
        Micros(self.micros())
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros() - BEGIN).unwrap_or(0))
    }
}

/// Randomness that is the same every time.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) Mutex<ChaCha8Rng>);

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

/// What a person did in the org.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) object: String,
    pub(crate) id: String,
    pub(crate) what: Did,
    /// Whether a write of ours may have met it: what happens between our look and our write is outside every promise.
    pub(crate) met: bool,
    /// Whether the row was nobody's record yet: if it becomes one, the plan says what it holds, until that is taken back.
    pub(crate) early: bool,
    command: u64,
    at: u64,
}

/// What it was.
#[derive(Debug, Clone)]
pub(crate) enum Did {
    /// A field was set.
    Set(&'static str, Json),
    /// The row was deleted, which was this record of the source.
    Deleted(Option<String>),
    /// A row was made that hangs on another one.
    Made(String),
}

/// A write that is worked off after its sender has given up.
#[derive(Debug)]
struct Late {
    due: u64,
    sent: u64,
    request: Request<Bytes>,
}

/// What can go wrong, and how often: one in so many requests; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) late: u32,
    pub(crate) busy: u32,
    pub(crate) expired: u32,
    pub(crate) quota: u32,
    pub(crate) locks: u32,
    pub(crate) garbled: u32,
    pub(crate) people: u32,
}

#[derive(Debug)]
struct Inner {
    dice: ChaCha8Rng,
    weather: Weather,
    count: u64,
    command: u64,
    kill_at: Option<u64>,
    late: Vec<Late>,
    log: blake3::Hasher,
    acts: Vec<Act>,
    strangers: u64,
    story: Vec<String>,
}

/// The wire.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) server: Server,
    pub(crate) time: Arc<Time>,
    pub(crate) killed: Notify,
    /// The source, if it is a server.
    company: Mutex<Option<spark::Server>>,
    inner: Mutex<Inner>,
}

enum Step {
    Answered(Result<Response<Bytes>, NoAnswer>),
    Dead,
}

/// Fields that people edit, by object: those that the plan sets and one that it does not.
const EDITED: [(&str, &[&str]); 4] = [
    ("Account", &["Description", "Phone", "Website"]),
    ("Contact", &["Description", "Title", "Department"]),
    ("Opportunity", &["Description", "Amount"]),
    ("Task", &["Description", "Subject"]),
];

impl Wire {
    pub(crate) fn new(server: Server, time: Arc<Time>, seed: u64) -> Self {
        let inner = Inner {
            dice: ChaCha8Rng::seed_from_u64(seed ^ 0x5741_5942),
            weather: Weather::default(),
            count: 0,
            command: 0,
            kill_at: None,
            late: Vec::new(),
            log: blake3::Hasher::new(),
            acts: Vec::new(),
            strangers: 0,
            story: Vec::new(),
        };
        Self { server, time, killed: Notify::new(), company: Mutex::new(None), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the source be this server from now on.
    pub(crate) fn open(&self, company: spark::Server) {
        *self.company.lock().unwrap_or_else(PoisonError::into_inner) = Some(company);
    }

    /// Begins a command of the engine, in this weather, to be killed at this request from now.
    pub(crate) fn command(&self, weather: Weather, kill_after: Option<u64>) {
        let mut inner = self.inner();
        inner.command += 1;
        inner.weather = weather;
        inner.kill_at = kill_after.map(|after| inner.count + after);
        drop(inner);
        self.admin("faults", &json!({}));
    }

    /// Writes a line of the story.
    pub(crate) fn note(&self, line: String) {
        let mut inner = self.inner();
        let line = format!("{:>5} {line}", inner.count);
        inner.story.push(line);
    }

    /// Returns what happened, and what people did.
    pub(crate) fn story(&self) -> Vec<String> {
        let inner = self.inner();
        inner.story.clone()
    }

    /// Works off everything that is late.
    pub(crate) fn settle(&self) {
        let mut inner = self.inner();
        for late in std::mem::take(&mut inner.late) {
            self.work_late(&mut inner, &late);
        }
    }

    /// Returns what people did so far.
    pub(crate) fn acts(&self) -> Vec<Act> {
        self.inner().acts.clone()
    }

    /// Returns the digest of every request so far, and how many there were.
    pub(crate) fn log(&self) -> (String, u64) {
        let inner = self.inner();
        (inner.log.finalize().to_hex().to_string(), inner.count)
    }

    /// Asks the org as an administrator of the test would.
    fn admin(&self, path: &str, body: &Json) {
        let request = Request::post(format!("{ORG}/__sandbox/{path}")).body(Bytes::from(body.to_string()));
        // The request is one, and this part of the org never fails.
        let _ = request.map(|request| self.server.answer(&request));
    }

    /// Calls the org as a person does.
    pub(crate) fn call(&self, method: Method, path: &str, body: &Json) -> Json {
        let request = Request::builder()
            .method(method)
            .uri(format!("{ORG}/services/data/v62.0/{path}"))
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

    pub(crate) fn as_person(&self, person: bool) {
        let email = if person { "ada.lovelace@example.com" } else { "integration@sandbox.example.com" };
        self.admin("act-as", &json!({ "email": email }));
    }

    /// Returns every live row, by object and id.
    pub(crate) fn dump(&self) -> Dump {
        let request = Request::get(format!("{ORG}/__sandbox/dump")).body(Bytes::new());
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

    /// Lets a person do something, to the org as it is.
    pub(crate) fn person_acts(&self) {
        let mut inner = self.inner();
        self.act(&mut inner);
    }

    fn act(&self, inner: &mut Inner) {
        let dump = self.dump();
        let rows: Vec<&(String, String)> =
            dump.keys().filter(|(object, _)| EDITED.iter().any(|(edited, _)| object == edited)).collect();
        let Some((object, id)) = rows.choose(&mut inner.dice).map(|row| (*row).clone()) else { return };
        self.as_person(true);
        inner.strangers += 1;
        let number = inner.strangers;
        let done = match inner.dice.random_range(0..10) {
            0 if object != "Account" => {
                let answer = self.call(Method::DELETE, &format!("sobjects/{object}/{id}"), &Json::Null);
                (answer.is_null() || answer["status"] == 204).then(|| Did::Deleted(tag_of(&dump, &object, &id)))
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
                let field = *fields.choose(&mut inner.dice).unwrap_or(&"Description");
                let value = match field {
                    "Amount" => json!(f64::from(inner.dice.random_range(0..9_000_u32)) + 0.25),
                    "Website" => json!(format!("https://person{number}.example.com")),
                    "Subject" => json!(format!("Person {number}")),
                    _ if inner.dice.random_ratio(1, 5) => Json::Null,
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
        if let Some(what) = done {
            let (command, at) = (inner.command, inner.count);
            inner.story.push(format!("{:>5} a person: {object} {id} {what:?}", inner.count));
            let early = !dump[&(object.clone(), id.clone())].contains_key("Source_System_ID__c");
            inner.acts.push(Act { object, id, what, met: false, early, command, at });
        }
    }

    fn work_late(&self, inner: &mut Inner, late: &Late) {
        let text = content(&late.request);
        for act in inner.acts.iter_mut().filter(|act| act.at >= late.sent && text.contains(&act.id)) {
            act.met = true;
        }
        inner.story.push(format!("{:>5} late, sent at {}: {}", inner.count, late.sent, short(&text)));
        // Nobody waits for the answer.
        let _ = self.server.answer(&late.request);
    }

    fn work(&self, inner: &mut Inner, request: &Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        if request.uri().host() == Some("company.example") {
            let company = self.company.lock().unwrap_or_else(PoisonError::into_inner);
            let company = company.as_ref().ok_or(NoAnswer::NotReached)?;
            return company.answer(request).map_err(|_| NoAnswer::Broken);
        }
        if request.method() != Method::GET {
            let (text, command) = (content(request), inner.command);
            inner.story.push(format!("{:>5} {} {}", inner.count, request.method(), short(&text)));
            for act in inner.acts.iter_mut().filter(|act| act.command == command && text.contains(&act.id)) {
                act.met = true;
            }
        }
        self.server.answer(request).map_err(|_| NoAnswer::Broken)
    }

    fn step(&self, request: &Request<Bytes>) -> Step {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.count += 1;
        self.time.pass(inner.dice.random_range(1..1_500));
        inner.log.update(request.method().as_str().as_bytes());
        inner.log.update(request.uri().to_string().as_bytes());
        inner.log.update(request.body());
        let count = inner.count;
        let (due, waiting): (Vec<Late>, Vec<Late>) =
            std::mem::take(&mut inner.late).into_iter().partition(|late| late.due <= count);
        inner.late = waiting;
        for late in due {
            self.work_late(inner, &late);
        }
        let weather = inner.weather;
        let mut happens = |one_in: u32| one_in > 0 && inner.dice.random_ratio(1, one_in);
        let (person, lost, late) = (happens(weather.people), happens(weather.lost), happens(weather.late));
        let (busy, expired, quota) = (happens(weather.busy), happens(weather.expired), happens(weather.quota));
        let (locks, garbled) = (happens(weather.locks), happens(weather.garbled));
        if person {
            self.act(inner);
        }
        if inner.kill_at == Some(count) {
            if inner.dice.random_bool(0.5) {
                let _ = self.work(inner, request);
            }
            return Step::Dead;
        }
        let source = request.uri().host() == Some("company.example");
        if source && busy {
            let mut busy = Response::new(Bytes::new());
            *busy.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return Step::Answered(Ok(busy));
        }
        let data = request.uri().path().starts_with("/services/data/v");
        let writes = data && request.method() != Method::GET;
        if writes && late {
            let due = count + inner.dice.random_range(1..60);
            inner.late.push(Late { due, sent: count, request: request.clone() });
            return Step::Answered(Err(NoAnswer::TimedOut));
        }
        if lost {
            let reasons = [NoAnswer::NotReached, NoAnswer::Broken, NoAnswer::TimedOut];
            let reason = *reasons.choose(&mut inner.dice).unwrap_or(&NoAnswer::Broken);
            if reason != NoAnswer::NotReached && inner.dice.random_bool(0.7) {
                let _ = self.work(inner, request);
            }
            return Step::Answered(Err(reason));
        }
        // Some rows are locked for as long as anyone would try.
        let rows = [1, 2, 3, 90][inner.dice.random_range(0..4)];
        let fault = match (data && busy, data && expired, data && quota, data && locks) {
            (true, ..) => Some(json!({ "unavailable": 1 })),
            (_, true, ..) => Some(json!({ "expire_after": 0 })),
            (_, _, true, _) => Some(json!({ "quota_after": 0 })),
            (.., true) => Some(match inner.dice.random_range(0..3) {
                0 => json!({ "fail_job_after": inner.dice.random_range(0..20) }),
                1 => json!({ "slow": inner.dice.random_range(1..5_000) }),
                _ => json!({
                    "lock_rows": rows, "lock_after": inner.dice.random_range(0..4)
                }),
            }),
            _ => None,
        };
        if let Some(fault) = fault {
            self.admin("faults", &fault);
        }
        let answer = self.work(inner, request);
        Step::Answered(match answer {
            Ok(answer) if garbled && (data || source) => Ok(garble(&mut inner.dice, request, answer)),
            answer => answer,
        })
    }
}

/// Every live row's fields, by object and id.
pub(crate) type Dump = BTreeMap<(String, String), BTreeMap<String, Json>>;

/// Returns the id that the source knows a row by.
fn tag_of(dump: &Dump, object: &str, id: &str) -> Option<String> {
    let kind = KINDS.iter().find(|kind| kind.to == object)?;
    Some(dump.get(&(object.to_owned(), id.to_owned()))?.get(kind.tag?)?.as_str()?.to_owned())
}

/// Cuts a long line.
fn short(text: &str) -> String {
    text.chars().take(2_000).collect()
}

fn content(request: &Request<Bytes>) -> String {
    format!("{} {}", request.uri(), String::from_utf8_lossy(request.body()))
}

/// Cuts an answer off, or, of a list of results, repeats and reorders the lines.
fn garble(dice: &mut ChaCha8Rng, request: &Request<Bytes>, answer: Response<Bytes>) -> Response<Bytes> {
    let results = request.uri().path().ends_with("Results");
    let (parts, body) = answer.into_parts();
    let text = String::from_utf8_lossy(&body).into_owned();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if results && lines.len() > 1 && dice.random_bool(0.6) {
        let head = lines.remove(0);
        let again = *lines.choose(dice).unwrap_or(&"");
        lines.push(again);
        lines.shuffle(dice);
        let body = std::iter::once(head).chain(lines).collect::<String>();
        return Response::from_parts(parts, Bytes::from(body));
    }
    if results && lines.len() > 1 {
        let keep = dice.random_range(1..lines.len());
        return Response::from_parts(parts, Bytes::from(lines[..keep].concat()));
    }
    let cut = body.len() / 2;
    Response::from_parts(parts, body.slice(..cut))
}

impl Http for Wire {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, NoAnswer>> {
        async move {
            // Whoever works in the org gets a turn.
            tokio::time::sleep(Duration::from_millis(5)).await;
            match self.step(&request) {
                Step::Answered(answer) => answer,
                Step::Dead => {
                    self.killed.notify_one();
                    futures::future::pending().await
                }
            }
        }
        .boxed()
    }
}
