//! Several batches under way at once, none of which shares a parent with another.
//!
//! Platforms lock the row that a new one points to: two batches with contacts of one account refuse each other's rows. So rows
//! are put into lanes by what they point to, rows of one parent always into the same, and a batch leaves only if nothing that
//! is under way points where it does. (Source: "Managing Lookup Skew" and "Bulk API 2.0 Limits", Salesforce Developers.)
//!
//! Where we choose the ids, a row can point to one of its own object that is not there yet, if both leave in one batch or the
//! other one before: then it need not be changed once more when all are there. So such a row waits for the one that it points to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use waybill_connectors::{Destination, KnownBy};
use waybill_ledger::{
    Field, FieldKind, FieldName, SubjectKey, Value,
    event::{Operation, Transport},
};

use super::{
    Change, Tally, Writer,
    create::Sent,
    pace::Pace,
    retry::{TRIES, pause},
};
use crate::{aside::Tasks, failure::Failure, flaws::Flaws, load::fields_bytes, state::State};

/// How many rows wait for others that they point to; more leave without.
const WAITING: usize = 10_000;

/// The fewest rows for which a job is begun where many rows come.
const WORTH_A_JOB: usize = 2_500;
/// How many jobs follow one another in a lane at least, if they are not too small then: rows are mapped while those before them
/// are under way.
const JOBS_A_LANE: usize = 4;

/// Returns how many rows go into one job, of so many in all, when at most `most` rows may, so many jobs are under way at once,
/// and the destination says of how many rows it makes a job.
pub(crate) fn rows_of_job(rows: usize, most: usize, at_once: usize, is_job: impl Fn(usize) -> bool) -> usize {
    let mut size = (rows / (at_once.max(1) * JOBS_A_LANE)).clamp(WORTH_A_JOB.min(most), most);
    // Fewer rows than that go in many small requests.
    while size < most && !is_job(size) {
        size = (size * 2).min(most);
    }
    size
}

/// Creates rows of one object, several batches at once.
#[derive(Debug)]
pub struct Crew<D, M> {
    writer: Arc<Writer<D, M>>,
    /// The fields whose targets are locked while a row is made.
    parents: Vec<FieldName>,
    /// What waits, by lane.
    lanes: Vec<Vec<Waiting>>,
    /// How many rows the first batch of a lane has, while it has not left.
    first: Vec<usize>,
    /// The lane of what waits, by the id that it will have, where ids are ours to choose.
    near: HashMap<String, usize>,
    /// What waits for a row that has not come yet, by that row's id.
    waiting: BTreeMap<String, Vec<Change>>,
    /// How many these are.
    waits: usize,
    /// The lane that rows without a parent go to.
    filling: usize,
    /// How many rows make a batch.
    size: usize,
    /// How many creates were confirmed when the crew began.
    confirmed: u64,
    /// How many rows were added, without those that came to nothing.
    meant: u64,
    pace: Pace,
    tasks: Tasks<(u64, Result<Sent, Failure>)>,
    under_way: BTreeMap<u64, Trip>,
    /// How many trips have begun.
    trips: u64,
    /// What is done, and not yet told.
    tally: Tally,
    failure: Option<Failure>,
}

/// A row that waits for its batch.
#[derive(Debug)]
struct Waiting {
    change: Change,
    /// What it points to that is there, as numbers.
    parents: Vec<u64>,
}

/// A batch under way.
#[derive(Debug)]
struct Trip {
    parents: BTreeSet<u64>,
    /// The ids that its rows will have, where they are ours to choose.
    ids: BTreeSet<String>,
    attempt: usize,
}

impl<D: Destination, M: Flaws> Crew<D, M> {
    /// Returns a crew for about this many rows.
    pub fn new(writer: &Arc<Writer<D, M>>, state: &State, rows: usize) -> Self {
        let desk = &writer.desk;
        let locks = |kind: &FieldKind| matches!(kind, FieldKind::Reference { to } if to.is_empty() || to.iter().any(|object| desk.written.contains(object)));
        let fields = writer.schema.fields.iter().filter(|field| locks(&field.kind));
        let parents = fields.map(|field| field.name.clone()).collect();
        // Rows that nothing but their likeness tells apart are never under way together.
        let alike = matches!(desk.destination.known_by(&writer.object), KnownBy::Likeness(_));
        let most = if alike { 1 } else { desk.at_once };
        let whole = writer.size(Operation::Create, rows);
        let is_job = |rows| desk.destination.transport(&writer.object, Operation::Create, rows) == Transport::Job;
        let size = if is_job(rows) { rows_of_job(rows, whole, most, is_job) } else { whole };
        let lanes = most.min(rows.div_ceil(size)).max(1);
        // Lanes fill side by side: if all were ready at once, there would be nothing to do before that, and too much then.
        let staggered = |lane| {
            let part = size * (lane + 1) / lanes;
            if part >= WORTH_A_JOB && is_job(part) { part } else { size }
        };
        Self {
            writer: Arc::clone(writer),
            parents,
            lanes: std::iter::repeat_with(Vec::new).take(lanes).collect(),
            first: (0..lanes).map(staggered).collect(),
            near: HashMap::new(),
            waiting: BTreeMap::new(),
            waits: 0,
            filling: 0,
            size,
            confirmed: state.confirmed(writer.name, Operation::Create),
            meant: 0,
            pace: Pace::new(most),
            tasks: Tasks::new(),
            under_way: BTreeMap::new(),
            trips: 0,
            tally: Tally::default(),
            failure: None,
        }
    }

    /// Lets a row wait for its batch.
    pub fn add(&mut self, state: &State, change: Change) {
        self.meant += 1;
        let far = coming(&change).find(|id| !self.is_near(id) && !self.is_there(state, id));
        match far.map(str::to_owned) {
            Some(far) if self.waits < WAITING => {
                self.waits += 1;
                self.waiting.entry(far).or_default().push(change);
            }
            _ => self.place(change),
        }
    }

    /// Puts a row into its lane, and after it what waited for it.
    fn place(&mut self, change: Change) {
        let mut next = vec![change];
        while let Some(change) = next.pop() {
            let lanes = self.lanes.len();
            let parents: Vec<u64> = self.parents_of(&change).collect();
            let parent = parents.first();
            if parent.is_none() && self.lanes[self.filling].len() >= self.size {
                self.filling = (self.filling + 1) % lanes;
            }
            let beside = coming(&change).find_map(|id| self.near.get(id)).copied();
            let lane = parent.map_or(self.filling, |parent| usize::try_from(parent % lanes as u64).unwrap_or(0));
            let lane = beside.unwrap_or(lane);
            if let Some(id) = self.id_of(&change) {
                let waited = self.waiting.remove(&id).unwrap_or_default();
                self.waits -= waited.len();
                next.extend(waited);
                self.near.insert(id, lane);
            }
            self.lanes[lane].push(Waiting { change, parents });
        }
    }

    /// Returns the id that a row will have, where ids are ours to choose.
    fn id_of(&self, change: &Change) -> Option<String> {
        self.writer.desk.destination.id_for(&change.mapped.key)
    }

    /// Returns whether a row waits for its batch or is under way.
    fn is_near(&self, id: &str) -> bool {
        self.near.contains_key(id) || self.under_way.values().any(|trip| trip.ids.contains(id))
    }

    /// Returns whether a row of ours is there.
    fn is_there(&self, state: &State, id: &str) -> bool {
        let row = SubjectKey::new(&self.writer.desk.instance, self.writer.object.as_str(), id);
        let row = self.writer.rec().ledger().find_subject(&row);
        row.and_then(|row| state.landing().owner(row)).is_some_and(|landed| landed.is_live())
    }

    /// Lets rows point to those of their own object that are there by now or leave with them, and to no others; rows that were
    /// refused are tried without. Returns the ids that they will have.
    fn join(&self, state: &State, batch: &mut [Change], again: bool) -> Result<BTreeSet<String>, Failure> {
        let ids: BTreeSet<String> = batch.iter().filter_map(|change| self.id_of(change)).collect();
        for change in batch.iter_mut().filter(|change| !change.coming.is_empty()) {
            for (name, id) in change.coming.iter() {
                let id = id.map(ToString::to_string).unwrap_or_default();
                let there = !again && (ids.contains(&id) || self.is_there(state, &id));
                let (points, later) =
                    if there { (Field::from(id.as_str()), Field::Absent) } else { (Field::Absent, Field::Null) };
                change.mapped.fields.set(name.clone(), points);
                change.mapped.later.set(name.clone(), later);
            }
            change.digest = self.writer.fingerprint(change.target.subject, &fields_bytes(&change.mapped.fields)?)?;
        }
        Ok(ids)
    }

    /// Returns how many rows make a batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns how many rows wait or are under way that are not confirmed.
    pub fn more(&self, state: &State) -> u64 {
        let confirmed = state.confirmed(self.writer.name, Operation::Create);
        (self.confirmed + self.meant).saturating_sub(confirmed)
    }

    /// Sends every full batch for which there is room, and returns what has come back; waits only while more is ready than
    /// there is room for.
    pub async fn go(&mut self, state: &mut State) -> Result<Tally, Failure> {
        self.work(state, self.size).await
    }

    /// Sends everything, and returns when all of it is back.
    pub async fn finish(&mut self, state: &mut State) -> Result<Tally, Failure> {
        let tally = self.work(state, self.size).await?;
        // What these wait for does not come, or they wait for each other.
        self.waits = 0;
        for change in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.place(change);
        }
        self.gather();
        let rest = self.work(state, 1).await?;
        let mut tally = tally;
        tally += rest;
        tally += self.come_home(state).await?;
        Ok(tally)
    }

    /// Sends nothing more, and returns when all that is under way is back. What waited and never left is forgotten: it is mapped
    /// again by the run that goes on.
    pub async fn come_home(&mut self, state: &mut State) -> Result<Tally, Failure> {
        while let Some(done) = self.tasks.next().await {
            self.back(state, done).await;
        }
        self.result()
    }

    /// Puts the rests of all lanes together if they fit one batch.
    fn gather(&mut self) {
        if self.lanes.iter().map(Vec::len).sum::<usize>() <= self.size {
            let rest = self.lanes.iter_mut().flat_map(std::mem::take).collect();
            self.lanes[0] = rest;
            self.near.values_mut().for_each(|lane| *lane = 0);
        }
    }

    async fn work(&mut self, state: &mut State, least: usize) -> Result<Tally, Failure> {
        loop {
            while let Some(done) = self.tasks.ended() {
                self.back(state, done).await;
            }
            if self.failure.is_some() {
                return self.come_home(state).await;
            }
            let ready: Vec<usize> =
                (0..self.lanes.len()).filter(|lane| self.lanes[*lane].len() >= least.min(self.first[*lane])).collect();
            if ready.is_empty() {
                return self.result();
            }
            let room = self.tasks.len() < self.pace.window();
            if room && ready.into_iter().any(|lane| self.leave(state, lane)) {
                continue;
            }
            // If nothing is under way, nothing is in the way: the next round sends something.
            if let Some(done) = self.tasks.next().await {
                self.back(state, done).await;
            }
        }
    }

    fn result(&mut self) -> Result<Tally, Failure> {
        let tally = std::mem::take(&mut self.tally);
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(tally),
        }
    }

    /// Sends a batch from a lane, of rows whose parents no other batch is busy with. Returns whether there were enough.
    fn leave(&mut self, state: &mut State, lane: usize) -> bool {
        let busy: BTreeSet<u64> = self.under_way.values().flat_map(|trip| trip.parents.iter().copied()).collect();
        let wanted = self.lanes[lane].len().min(self.size);
        let (mut batch, mut staying) = (Vec::with_capacity(wanted), Vec::new());
        let mut away: BTreeSet<String> = self.under_way.values().flat_map(|trip| trip.ids.iter().cloned()).collect();
        for waiting in std::mem::take(&mut self.lanes[lane]) {
            let free = batch.len() < wanted
                && !waiting.parents.iter().any(|parent| busy.contains(parent))
                && !coming(&waiting.change).any(|id| away.contains(id));
            if free {
                batch.push(waiting);
                continue;
            }
            away.extend(self.id_of(&waiting.change));
            staying.push(waiting);
        }
        if batch.len() < wanted.div_ceil(2) {
            // So few are not worth a batch of their own; what is in their way will be back.
            batch.append(&mut staying);
            self.lanes[lane] = batch;
            return false;
        }
        self.lanes[lane] = staying;
        // Within a batch, what points to the same row stands together, and what points to another of its rows after that one.
        batch.sort_by_key(|waiting| (coming(&waiting.change).next().is_some(), waiting.parents.first().copied()));
        for waiting in &batch {
            if let Some(id) = self.id_of(&waiting.change) {
                self.near.remove(&id);
            }
        }
        self.first[lane] = self.size;
        let parents = batch.iter().flat_map(|waiting| waiting.parents.iter().copied()).collect();
        self.begin(state, batch.into_iter().map(|waiting| waiting.change).collect(), parents, 1);
        true
    }

    fn begin(&mut self, state: &mut State, mut batch: Vec<Change>, parents: BTreeSet<u64>, attempt: usize) {
        let ids = match self.join(state, &mut batch, attempt > 1) {
            Ok(ids) => ids,
            Err(failure) => {
                self.failure.get_or_insert(failure);
                return;
            }
        };
        self.trips += 1;
        let (trip, number, writer) = (self.trips, state.next_batch(), Arc::clone(&self.writer));
        self.under_way.insert(trip, Trip { parents, ids, attempt });
        self.tasks.begin(async move {
            if attempt > 1 {
                pause(attempt - 1).await;
            }
            (trip, writer.send_creates(number, batch, attempt == TRIES).await)
        });
    }

    /// Takes in a batch that came back.
    async fn back(&mut self, state: &mut State, done: Result<(u64, Result<Sent, Failure>), crate::aside::Stopped>) {
        let (trip, sent) = match done {
            Ok((trip, sent)) => (self.under_way.remove(&trip), sent),
            Err(stopped) => (None, Err(Failure::failed(format!("a batch was broken off: {stopped}")))),
        };
        match sent.as_ref().ok().and_then(Sent::clean) {
            Some((rows, took)) => self.pace.good(rows, took),
            None => self.pace.bad(),
        }
        match self.writer.finish_creates(state, sent).await {
            Ok((tally, again)) => {
                self.meant -= tally.held + tally.rejected;
                self.tally += tally;
                if !again.is_empty() {
                    let parents = again.iter().flat_map(|change| self.parents_of(change).collect::<Vec<_>>()).collect();
                    self.begin(state, again, parents, trip.map_or(TRIES, |trip| trip.attempt + 1));
                }
            }
            // The first failure is told; the batches that are under way come home before.
            Err(failure) => {
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// Returns what a row points to that is there, as numbers.
    fn parents_of<'c>(&'c self, change: &'c Change) -> impl Iterator<Item = u64> + 'c {
        self.parents.iter().filter_map(|field| {
            let id = change.mapped.fields.text(field.as_str())?;
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            Some(hasher.finish())
        })
    }
}

/// Returns the ids of the rows to come that a row points to.
fn coming(change: &Change) -> impl Iterator<Item = &str> {
    change.coming.iter().filter_map(|(_, id)| match id {
        Some(Value::Text(id)) => Some(id.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_as_small_as_keeps_all_of_them_busy_and_never_too_small_for_a_job() {
        let of = |rows, most, threshold| rows_of_job(rows, most, 3, |size| size >= threshold);
        assert_eq!(of(1_000_000, 10_000, 2_000), 10_000);
        assert_eq!(of(100_000, 10_000, 2_000), 8_333);
        assert_eq!(of(20_000, 10_000, 2_000), 2_500);
        assert_eq!(of(20_000, 10_000, 4_000), 5_000);
        assert_eq!(of(20_000, 10_000, 9_000), 10_000);
        assert_eq!(of(20_000, 10, 2), 10, "no more than was asked for");
    }
}
