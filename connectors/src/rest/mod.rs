//! Reads a source through its REST API, as a [`Description`] says.
//!
//! The items are those that the reader of an export gives, made by the same recipes; whoever maps them cannot tell where they
//! came from. [`Rest::connect`] looks at the account and at the first page of every list, recognises what the description leaves
//! open, and lays it out as a [`Bundle`]: objects, columns, schema, files. [`Rest::read`] then reads an object whole, or what
//! changed since a [`Watermark`].
//!
//! **Invariant:** nothing here writes to the source, and no clock but the source's decides what has been read.
//! **Invariant:** a list that cannot be read to its end is an error; a part is never taken for the whole.

mod answer;
mod description;
mod downloads;
mod error;
mod paging;
mod reading;
mod recognise;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

pub(crate) use self::downloads::Downloads;
use self::{
    answer::find,
    description::{Changed, Feed, SendIn, Stream},
    paging::Paging,
    reading::Gone,
    recognise::{Recognised, outline, recognise},
    walk::{List, Walk},
    wire::{Answer, Ask, Wire},
};
pub use self::{
    description::{Description, DescriptionError},
    error::RestError,
    paging::PagingError,
    reading::{Reading, Watermark},
};
use crate::{
    bundle::{Bundle, Container, Entry, Look, Spool, json as bundle_json},
    transport::{Http, Network},
};

/// How to reach a source.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its address; without one, the description's.
    pub url: Option<String>,
    /// What the description's way to sign in takes: a token, a key, a client's secret.
    pub secret: SecretString,
    /// A file with a further certificate authority.
    pub ca_certificate: Option<PathBuf>,
}

/// A source that answered.
#[derive(Debug)]
pub struct Rest {
    wire: Arc<Wire>,
    description: Arc<Description>,
    bundle: Arc<Bundle>,
    lists: BTreeMap<String, List>,
    downloads: Option<Arc<Downloads>>,
    gone: Mutex<Option<(Option<Watermark>, Arc<Gone>)>>,
}

/// The first page of a list.
struct Sample {
    object: String,
    stream: Arc<Stream>,
    ask: Ask,
    answer: Answer,
}

impl Rest {
    /// Looks at a source over the network.
    pub async fn connect(description: Description, endpoint: Endpoint) -> Result<Self, RestError> {
        let timeout = Duration::from_secs(description.client.timeout_s.unwrap_or(60));
        let ca = endpoint.ca_certificate.as_deref();
        // Files are fetched by another thread, which must not wait for connections that this one drives.
        let (own, files) =
            (Network::new(&description.label, timeout, ca)?, Network::new(&description.label, timeout, ca)?);
        Self::connect_over(Arc::new(own), Arc::new(files), description, endpoint).await
    }

    /// The same over any carriers of requests: one for records, one for files.
    pub async fn connect_over(
        http: Arc<dyn Http>,
        files: Arc<dyn Http>,
        description: Description,
        endpoint: Endpoint,
    ) -> Result<Self, RestError> {
        let url = endpoint.url.or_else(|| description.client.base_url.clone());
        let url = url.ok_or_else(|| DescriptionError::Object {
            object: description.label.clone(),
            what: "neither it nor waybill.toml names the address of the server".to_owned(),
        })?;
        let wire = Arc::new(Wire::new(http, &description, &url, endpoint.secret.clone())?);
        let downloads = match &description.binaries {
            None => None,
            Some(binaries) => {
                let wire = Arc::new(Wire::new(files, &description, &url, endpoint.secret)?);
                Some(Arc::new(Downloads::new(wire, &binaries.path, &binaries.like)?))
            }
        };
        let opening = Opening { wire: Arc::clone(&wire), description: Arc::new(description) };
        let (bundle, lists) = opening.open(downloads.clone()).await?;
        Ok(Self {
            wire,
            description: opening.description,
            bundle: Arc::new(bundle),
            lists,
            downloads,
            gone: Mutex::default(),
        })
    }

    /// Returns what there is: objects with the columns of their first page, the account, the schema, the files. Its rows are
    /// no more than the first page of each list.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Returns the same, to keep.
    pub fn shared(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle)
    }

    /// Begins to read an object: everything, or what changed since it was read the last time.
    pub fn read(&self, object: &str, since: Option<Watermark>) -> Result<Reading<'_>, RestError> {
        let Some(list) = self.lists.get(object) else {
            let found: Vec<&str> = self.lists.keys().map(String::as_str).collect();
            return Err(RestError::NoSuchObject { object: object.to_owned(), found: found.join(", ") });
        };
        let recipe = self
            .bundle
            .recipe(object)?
            .ok_or_else(|| RestError::NoSuchObject { object: object.to_owned(), found: "no list of it".to_owned() })?;
        let mut list = list.clone();
        list.key.clone_from(&recipe.key);
        Ok(Reading::new(self, object, list, recipe, self.bundle.words_of(object)?, since))
    }

    /// Reads everything and lays it out as an export, for whoever wants to go through it more than once. It lies in a file
    /// without a name, which is gone when the last one that reads it is.
    pub async fn whole(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Bundle, RestError> {
        let spool = Spool::new()?;
        let mut laid = Laid::new(&self.description, self.bundle.identity().exported_at);
        laid.account = account_of(&self.bundle);
        for (object, list) in &self.lists {
            let mut list = list.clone();
            if let Some(recipe) = self.bundle.recipe(object)? {
                list.key.clone_from(&recipe.key);
            }
            let mut walk = Walk::new(Arc::clone(&self.wire), list, None);
            let mut parts = Vec::new();
            while let Some(sheet) = walk.next().await? {
                progress(sheet.rows.len() as u64);
                if self.lists_files(object) {
                    sheet.rows.iter().for_each(|row| self.listed(row));
                }
                parts.push(lines(&sheet.rows));
            }
            let rows = parts.concat();
            let start = spool.put(&rows)?;
            laid.add(object, walk.list(), &spool, start, rows.len() as u64, walk.total());
        }
        let mut bundle = laid.bundle(&spool, self.downloads.clone(), &self.wire.shown())?;
        bundle.known_by(self.bundle.identity().evidence.clone());
        Ok(bundle)
    }

    /// Returns what is gone since a watermark; read once for all objects.
    async fn gone(&self, since: Option<Watermark>) -> Result<Arc<Gone>, RestError> {
        let mut held = self.gone.lock().await;
        // What went since an earlier moment holds what went since a later one.
        if let Some((from, gone)) = &*held
            && *from <= since
        {
            return Ok(Arc::clone(gone));
        }
        let gone = Arc::new(Gone::read(self, since).await?);
        *held = Some((since, Arc::clone(&gone)));
        Ok(gone)
    }

    /// Returns the list of a feed, which is paged as everything else is unless it says otherwise.
    fn feed(&self, feed: &Feed) -> Result<List, RestError> {
        let any = self.lists.values().next().ok_or(DescriptionError::NoObjects)?;
        let mut ask = Ask::get(&feed.path);
        ask.query.extend(feed.query.clone());
        let usual = self.description.changed.as_ref();
        Ok(List {
            object: feed.path.clone(),
            ask,
            records: feed
                .records
                .clone()
                .or_else(|| self.description.records.clone())
                .unwrap_or_else(|| any.records.clone()),
            paging: feed
                .paging
                .clone()
                .or_else(|| self.description.paging.clone())
                .unwrap_or_else(|| any.paging.clone()),
            total: self.description.total.clone(),
            changed: feed.since.clone().map(|send| Changed {
                field: feed.at.clone(),
                send: Some(send),
                place: SendIn::Query,
                format: usual.map_or_else(|| "rfc3339".to_owned(), |changed| changed.format.clone()),
                overlap_s: usual.map_or(300, |changed| changed.overlap_s),
                sorted: false,
            }),
            still: false,
            key: Vec::new(),
            stream: None,
        })
    }

    /// Takes in what the list of files says about one of them.
    fn listed(&self, row: &Json) {
        let (Some(downloads), Some(binaries)) = (&self.downloads, &self.description.binaries) else { return };
        let text = |path: &str| find(row, path).and_then(bundle_json::plain);
        let size = binaries.size.as_ref().and_then(|size| text(size)?.trim().parse().ok());
        if let (Some(path), Some(size)) = (text(&binaries.name), size) {
            downloads.listed(&path, size);
        }
    }

    fn lists_files(&self, object: &str) -> bool {
        self.description.binaries.as_ref().is_some_and(|files| files.object == object)
    }
}

/// Everything that is known while a source is being looked at.
struct Opening {
    wire: Arc<Wire>,
    description: Arc<Description>,
}

impl Opening {
    async fn open(&self, downloads: Option<Arc<Downloads>>) -> Result<(Bundle, BTreeMap<String, List>), RestError> {
        let (account, mut at) = self.account().await?;
        let mut samples = Vec::new();
        for stream in self.description.streams.iter().filter(|stream| stream.each.is_none()) {
            samples.extend(self.sample(stream, stream.name.clone(), None).await?);
        }
        self.must_be_ours(&samples)?;
        let known = self.shape(&samples)?;
        let mut lists = Vec::new();
        for sample in &samples {
            lists.push(self.list(sample, known.as_ref())?);
        }
        // Lists that there are one of for each record of another.
        for stream in &self.description.streams {
            let Some(each) = &stream.each else { continue };
            let Some(of) = lists.iter().find(|list| list.object == each.object).cloned() else { continue };
            for row in self.all(of).await? {
                let Some(value) = find(&row, &each.field).and_then(bundle_json::plain) else { continue };
                let object = stream.name.replace('*', &value);
                if let Some(sample) = self.sample(stream, object, Some(&value)).await? {
                    lists.push(self.list(&sample, known.as_ref())?);
                    samples.push(sample);
                }
            }
        }
        at = at.or_else(|| samples.iter().find_map(|sample| sample.answer.at));
        let spool = Spool::new()?;
        let mut laid = Laid::new(&self.description, at);
        laid.account = account;
        let described = self.description.profile().custom.as_ref().map(|custom| stem(&custom.file).to_owned());
        for (sample, list) in samples.iter().zip(&lists) {
            // The description of custom columns is wanted whole.
            let rows = if described.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&list.object)) {
                self.all(list.clone()).await?
            } else {
                rows(sample, list)
            };
            let text = lines(&rows);
            let start = spool.put(&text)?;
            let total = total(list, &sample.answer);
            laid.add(&list.object, list, &spool, start, text.len() as u64, total);
            if list.paging == Paging::None && rows.len() >= 100 && rows.len() % 100 == 0 {
                laid.notes.push(format!(
                    "{} came in one answer of {} records, a round number: it may have been cut off",
                    list.object,
                    rows.len()
                ));
            }
        }
        let mut bundle = laid.bundle(&spool, downloads, &self.wire.shown())?;
        let by = match &known {
            Some((name, evidence)) => format!("{}; recognised {name} ({evidence})", self.wire.shown()),
            None => format!("{}, as described", self.wire.shown()),
        };
        bundle.known_by(by);
        let lists = lists.into_iter().map(|list| (list.object.clone(), list)).collect();
        Ok((bundle, lists))
    }

    /// Asks whose data it is.
    async fn account(&self) -> Result<(Json, Option<DateTime<Utc>>), RestError> {
        let Some(spec) = &self.description.account else { return Ok((json!({}), None)) };
        let ask = Ask::get(&spec.path);
        let url = self.wire.address(&ask, None, None).map_err(|error| stuck(&spec.path, error))?;
        let answer = self.wire.json(&ask, &url).await?;
        let account =
            find(&answer.body, &spec.record).filter(|found| found.is_object()).cloned().unwrap_or_else(|| json!({}));
        let product = find(&account, "product").and_then(Json::as_str);
        if let (Some(expected), Some(found)) = (&spec.product, product)
            && !expected.eq_ignore_ascii_case(found)
        {
            return Err(RestError::Foreign {
                url: self.wire.shown(),
                expected: self.description.label.clone(),
                looks_like: format!("a server of {found}"),
                found: vec![format!("{} says that the product is {found}", spec.path)],
            });
        }
        Ok((account, answer.at))
    }

    /// Asks for the first page of a list. A server may do without an optional one.
    async fn sample(&self, stream: &Stream, object: String, each: Option<&str>) -> Result<Option<Sample>, RestError> {
        let path = stream.path.replace("{each}", &downloads::encoded(each.unwrap_or_default()));
        let mut ask = Ask::new(stream.method, path);
        ask.query.extend(stream.query.clone());
        ask.body.clone_from(&stream.body);
        let paging = stream.paging.as_ref().or(self.description.paging.as_ref());
        let first = paging.map(|paging| paging::Pager::new(paging).first()).unwrap_or_default();
        let asked = ask.turned(&first);
        let url = self.wire.address(&asked, None, None).map_err(|error| stuck(&object, error))?;
        match self.wire.json(&asked, &url).await {
            Ok(answer) => Ok(Some(Sample { object, stream: Arc::new(stream.clone()), ask, answer })),
            Err(RestError::Absent { .. }) if stream.optional => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses the answers of a product that is known by sight to be another.
    fn must_be_ours(&self, samples: &[Sample]) -> Result<(), RestError> {
        for sample in samples {
            let look = Look::of_answer(&sample.ask.path, &sample.answer.bytes);
            if let Some((looks_like, seen)) = look.foreign(&self.description.system) {
                return Err(RestError::Foreign {
                    url: self.wire.shown(),
                    expected: self.description.label.clone(),
                    looks_like,
                    found: seen.into_iter().map(|sign| format!("{} has {sign}", sample.ask.path)).collect(),
                });
            }
        }
        Ok(())
    }

    /// Recognises how lists are paged, where the description does not say. One API pages its lists in one way.
    fn shape(&self, samples: &[Sample]) -> Result<Option<(String, String)>, RestError> {
        let open = samples.iter().filter(|sample| self.paging(sample).is_none());
        let (mut shapes, mut silent, mut several) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut any = false;
        for sample in open {
            any = true;
            match recognise(&sample.ask.path, &sample.answer.headers, &sample.answer.body) {
                Recognised::Shape { name, evidence, .. } => {
                    shapes.entry(name).or_insert(evidence);
                }
                Recognised::Nothing { found } => silent.push(found),
                Recognised::Several { found } => several.extend(found),
            }
        }
        if !any {
            return Ok(None);
        }
        if shapes.len() > 1 {
            several.extend(shapes.iter().map(|(name, evidence)| format!("{name} ({evidence})")));
        }
        let question = |what: &str, found: Vec<String>| RestError::Question {
            url: self.wire.shown(),
            what: what.to_owned(),
            found,
        };
        if !several.is_empty() {
            return Err(question("more than one way of paging fits. Which one is it?", several));
        }
        match shapes.into_iter().next() {
            Some(shape) => Ok(Some(shape)),
            None => Err(question(
                "nothing in them says whether there is more, and how to ask for it. How is it paged?",
                silent,
            )),
        }
    }

    fn paging<'a>(&'a self, sample: &'a Sample) -> Option<&'a Paging> {
        sample.stream.paging.as_ref().or(self.description.paging.as_ref())
    }

    fn list(&self, sample: &Sample, known: Option<&(String, String)>) -> Result<List, RestError> {
        let stream = &sample.stream;
        let said = stream.records.clone().or_else(|| self.description.records.clone());
        let (paging, records) = match self.paging(sample) {
            Some(paging) => {
                let records =
                    said.clone().or_else(|| only_list(&sample.answer.body)).ok_or_else(|| RestError::Question {
                        url: self.wire.shown(),
                        what: "where is the list of records?".to_owned(),
                        found: vec![format!("{} answers {}", sample.ask.path, outline(&sample.answer.body))],
                    })?;
                (paging.clone(), records)
            }
            None => {
                let name = known.map(|(name, _)| name.as_str()).unwrap_or_default();
                let (paging, records) = recognise::named(name).ok_or_else(|| RestError::Question {
                    url: self.wire.shown(),
                    what: format!("how is {} paged?", sample.ask.path),
                    found: vec![outline(&sample.answer.body)],
                })?;
                (paging, said.unwrap_or(records))
            }
        };
        if answer::records(sample.answer.body.clone(), &records).is_none() {
            return Err(RestError::Question {
                url: self.wire.shown(),
                what: format!("where is the list of {}? It is not at {records}", sample.object),
                found: vec![format!("{} answers {}", sample.ask.path, outline(&sample.answer.body))],
            });
        }
        Ok(List {
            object: sample.object.clone(),
            ask: sample.ask.clone(),
            records,
            paging,
            total: stream.total.clone().or_else(|| self.description.total.clone()),
            changed: self.description.changed_of(stream).cloned(),
            still: stream.still,
            key: Vec::new(),
            stream: Some(Arc::clone(stream)),
        })
    }

    async fn all(&self, list: List) -> Result<Vec<Json>, RestError> {
        let mut walk = Walk::new(Arc::clone(&self.wire), list, None);
        let mut rows = Vec::new();
        while let Some(sheet) = walk.next().await? {
            rows.extend(sheet.rows);
        }
        Ok(rows)
    }
}

fn stuck(object: &str, error: PagingError) -> RestError {
    RestError::Paging { object: object.to_owned(), error }
}

/// Returns the records of the first page.
fn rows(sample: &Sample, list: &List) -> Vec<Json> {
    let rows = answer::records(sample.answer.body.clone(), &list.records).unwrap_or_default();
    rows.into_iter().map(|row| answer::arrange(row, &sample.stream)).collect()
}

/// Returns where the records are, if there is only one list of objects in an answer.
fn only_list(body: &Json) -> Option<String> {
    if body.is_array() {
        return Some("$".to_owned());
    }
    let is_list = |part: &&Json| part.as_array().is_some_and(|all| all.iter().all(Json::is_object));
    let mut lists = body.as_object()?.iter().filter(|(_, part)| is_list(part));
    match (lists.next(), lists.next()) {
        (Some((name, _)), None) => Some(name.clone()),
        _ => None,
    }
}

fn total(list: &List, answer: &Answer) -> Option<u64> {
    let total = list.total.as_ref()?;
    let told = total.path.as_ref().and_then(|path| find(&answer.body, path)).and_then(bundle_json::plain);
    told.or_else(|| total.header.as_ref().and_then(|name| answer.header(name)).map(str::to_owned))?.parse().ok()
}

fn lines(rows: &[Json]) -> Vec<u8> {
    rows.iter().flat_map(|row| format!("{row}\n").into_bytes()).collect()
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn account_of(bundle: &Bundle) -> Json {
    let account = &bundle.identity().account;
    json!({
        "id": account.id, "name": account.name, "time_zone": account.time_zone, "locale": account.locale,
        "currency": account.currency, "phone_region": account.phone_region, "workspace": account.workspace,
    })
}

/// What was read, laid out as the bundle convention lays out an export.
struct Laid<'a> {
    description: &'a Description,
    at: Option<DateTime<Utc>>,
    account: Json,
    objects: Vec<Json>,
    entries: Vec<(String, Entry)>,
    notes: Vec<String>,
}

impl<'a> Laid<'a> {
    fn new(description: &'a Description, at: Option<DateTime<Utc>>) -> Self {
        Self { description, at, account: json!({}), objects: Vec::new(), entries: Vec::new(), notes: Vec::new() }
    }

    fn add(&mut self, object: &str, list: &List, spool: &Spool, start: u64, size: u64, total: Option<u64>) {
        let family = list.stream.as_ref().is_some_and(|stream| stream.each.is_some());
        let path = if family { format!("objects/{object}.jsonl") } else { format!("{object}.jsonl") };
        self.objects.push(
            json!({ "name": object, "files": [path], "format": "jsonl", "source_total": total, "columns": "all" }),
        );
        self.entries.push((path, spool.entry(start, size)));
    }

    fn bundle(mut self, spool: &Spool, downloads: Option<Arc<Downloads>>, shown: &str) -> Result<Bundle, RestError> {
        let profile = self.description.profile();
        let manifest = json!({
            "bundle_format": "waybill-bundle/1",
            "product": profile.product.as_ref().unwrap_or(&profile.system),
            "kind": "full",
            "exported_at": self.at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            "account": self.account,
            "objects": self.objects,
        });
        let text = manifest.to_string();
        let start = spool.put(text.as_bytes())?;
        self.entries.push(("manifest.json".to_owned(), spool.entry(start, text.len() as u64)));
        let mut bundle = Bundle::over(Container::of(self.entries, downloads), Path::new(shown), profile)?;
        for note in self.notes {
            bundle.note(note);
        }
        Ok(bundle)
    }
}
