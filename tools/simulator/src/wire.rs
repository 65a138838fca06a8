//! The wire between the engine and the destination, and everyone else who works there meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use rand::{Rng, SeedableRng, seq::IndexedRandom, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use tokio::sync::Notify;
use waybill_connectors::transport::{Http, NoAnswer};
use waybill_sandbox::spark;

use crate::{
    place::{Did, Dump, Hit, Place},
    time::Time,
};

/// Where the source is said to be, if it is a server.
pub(crate) const COMPANY: &str = "http://company.example";
/// What a person did in the org.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) object: String,
    pub(crate) id: String,
    pub(crate) what: Did,
    /// What the field held before; null, if it is not about one.
    pub(crate) before: Json,
    /// Whether a write of ours may have met it: what happens between our look and our write is outside every promise.
    pub(crate) met: bool,
    /// Whether nobody did it, but what is automated there, in our user's name.
    pub(crate) automated: bool,
    /// Whether the row was nobody's record yet: if it becomes one, the plan says what it holds, until that is taken back.
    pub(crate) early: bool,
    command: u64,
    /// After how many requests.
    pub(crate) at: u64,
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
    pub(crate) automation: u32,
}

#[derive(Debug)]
struct Inner {
    dice: ChaCha8Rng,
    /// When automation acts.
    clockwork: ChaCha8Rng,
    weather: Weather,
    count: u64,
    command: u64,
    kill_at: Option<u64>,
    late: Vec<Late>,
    /// What was handed to jobs that nobody has seen end, by job.
    jobs: BTreeMap<String, String>,
    log: blake3::Hasher,
    acts: Vec<Act>,
    strangers: u64,
    story: Vec<String>,
}

/// The wire.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) place: Box<dyn Place>,
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

impl Wire {
    pub(crate) fn new(place: Box<dyn Place>, time: Arc<Time>, seed: u64) -> Self {
        let inner = Inner {
            dice: ChaCha8Rng::seed_from_u64(seed ^ 0x5741_5942),
            clockwork: ChaCha8Rng::seed_from_u64(seed ^ 0x0041_5554_4f4d),
            weather: Weather::default(),
            count: 0,
            command: 0,
            kill_at: None,
            late: Vec::new(),
            jobs: BTreeMap::new(),
            log: blake3::Hasher::new(),
            acts: Vec::new(),
            strangers: 0,
            story: Vec::new(),
        };
        Self { place, time, killed: Notify::new(), company: Mutex::new(None), inner: Mutex::new(inner) }
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
        self.place.calm();
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

    /// Lets time go on, for us and for the destination.
    pub(crate) fn pass(&self, millis: u64) {
        self.time.pass(millis);
        self.place.pass(millis);
    }

    /// Returns every row, by object and id.
    pub(crate) fn dump(&self) -> Dump {
        self.place.dump()
    }

    /// Lets a person do something, to the org as it is.
    pub(crate) fn person_acts(&self) {
        let mut inner = self.inner();
        self.act(&mut inner);
    }

    fn act(&self, inner: &mut Inner) {
        let dump = self.dump();
        let done = self.place.person_acts(&mut inner.dice, &mut inner.strangers, &dump);
        self.acted(inner, &dump, done, false);
    }

    fn automation_acts(&self, inner: &mut Inner) {
        let dump = self.dump();
        let done = self.place.automation_acts(&mut inner.clockwork, &dump);
        self.acted(inner, &dump, done, true);
    }

    fn acted(&self, inner: &mut Inner, dump: &Dump, done: Option<(String, String, Did)>, automated: bool) {
        let Some((object, id, what)) = done else { return };
        let (command, at) = (inner.command, inner.count);
        let who = if automated { "automation" } else { "a person" };
        inner.story.push(format!("{at:>5} {who}: {object} {id} {what:?}"));
        let row = dump.get(&(object.clone(), id.clone()));
        let early = row.is_none_or(|row| !row.contains_key(self.place.key_field()));
        let met = inner.jobs.values().any(|rows| rows.contains(&id));
        let before = match &what {
            Did::Set(field, _) => row.and_then(|row| row.get(*field)).cloned().unwrap_or_default(),
            _ => Json::Null,
        };
        inner.acts.push(Act { object, id, what, before, met, automated, early, command, at });
    }

    fn work_late(&self, inner: &mut Inner, late: &Late) {
        let text = content(&late.request);
        for act in inner.acts.iter_mut().filter(|act| act.at >= late.sent && text.contains(&act.id)) {
            act.met = true;
        }
        inner.story.push(format!("{:>5} late, sent at {}: {}", inner.count, late.sent, short(&text)));
        self.follow(inner, &late.request, text);
        // Nobody waits for the answer.
        let _ = self.place.answer(&late.request);
    }

    /// Notes what a request hands to a job: the destination may come to it at any time until the job was seen to end.
    fn follow(&self, inner: &mut Inner, request: &Request<Bytes>, text: String) {
        if let Some(job) = self.place.hands_to(request) {
            inner.jobs.insert(job, text);
        }
    }

    fn work(&self, inner: &mut Inner, hit: Option<Hit>, request: &Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        if request.uri().host() == Some("company.example") {
            let company = self.company.lock().unwrap_or_else(PoisonError::into_inner);
            let company = company.as_ref().ok_or(NoAnswer::NotReached)?;
            return company.answer(request).map_err(|_| NoAnswer::Broken);
        }
        if self.place.writes(request) {
            let (text, command) = (content(request), inner.command);
            inner.story.push(format!("{:>5} {} {}", inner.count, request.method(), short(&text)));
            for act in inner.acts.iter_mut().filter(|act| act.command == command && text.contains(&act.id)) {
                act.met = true;
            }
            self.follow(inner, request, text);
        }
        let answer = match hit {
            Some(hit) => self.place.answer_in_trouble(&mut inner.dice, hit, request),
            None => self.place.answer(request),
        };
        if let Some(job) = answer.as_ref().ok().and_then(|answer| self.place.says_ended(request, answer)) {
            inner.jobs.remove(&job);
        }
        answer
    }

    fn step(&self, request: &Request<Bytes>) -> Step {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.count += 1;
        let millis = inner.dice.random_range(1..1_500);
        self.pass(millis);
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
        if weather.automation > 0 && inner.clockwork.random_ratio(1, weather.automation) {
            self.automation_acts(inner);
        }
        if inner.kill_at == Some(count) {
            if inner.dice.random_bool(0.5) {
                let _ = self.work(inner, None, request);
            }
            return Step::Dead;
        }
        let source = request.uri().host() == Some("company.example");
        if source && busy {
            let mut busy = Response::new(Bytes::new());
            *busy.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return Step::Answered(Ok(busy));
        }
        let data = !source && self.place.is_data(request);
        let writes = data && self.place.writes(request);
        if writes && late {
            let due = count + inner.dice.random_range(1..60);
            inner.late.push(Late { due, sent: count, request: request.clone() });
            return Step::Answered(Err(NoAnswer::TimedOut));
        }
        if lost {
            let reasons = [NoAnswer::NotReached, NoAnswer::Broken, NoAnswer::TimedOut];
            let reason = *reasons.choose(&mut inner.dice).unwrap_or(&NoAnswer::Broken);
            if reason != NoAnswer::NotReached && inner.dice.random_bool(0.7) {
                let _ = self.work(inner, None, request);
            }
            return Step::Answered(Err(reason));
        }
        let hit = Hit { busy: data && busy, expired: data && expired, quota: data && quota, locks: data && locks };
        self.place.suffer(&mut inner.dice, hit);
        let answer = self.work(inner, Some(hit), request);
        Step::Answered(match answer {
            Ok(answer) if garbled && (data || source) => Ok(garble(&mut inner.dice, request, answer)),
            answer => answer,
        })
    }
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
