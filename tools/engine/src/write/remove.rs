//! Takes rows out again: only where nobody else has built on them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::{BatchJournal, Tally, Writer, retry::until_done, settle::without_version};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
};
use waybill_connectors::{Batch, Destination, Outcome, RemoteRecord, Selection, WriteRow};
use waybill_ledger::{
    Content, Event, Field, FieldKind, FieldName, Fields, ObjectName, Position, SubjectId, SubjectKey, Target, Value,
    event::{DriftKind, HoldReason, Operation},
    ledger::Draft,
};

/// How many rows go together at most: all of them are looked at before the first of them goes.
const TOGETHER: usize = 5_000;
/// How many rows are looked at with one set of requests.
const LOOKED_AT: usize = 200;

/// Says which destination records go, too.
pub(super) type Leaving<'l> = dyn Fn(&State, SubjectId) -> bool + Sync + 'l;

/// A row that is to go.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    /// Its target.
    pub target: Target,
    /// The write that this undoes.
    pub inverts: Option<Position>,
}

/// What points to a row.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// What stays.
    pub(super) staying: Vec<String>,
    /// Rows of the same object that go, too, and are still there.
    leaving: Vec<String>,
}

/// When rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Right before they go; on the last call, what others of their object point to goes no more.
    Now { last_call: bool },
    /// Long before, when everything else is still there.
    Ahead,
    /// In the trash, before they go for good: whatever points to them counts.
    Buried,
}

/// What is decided about a row that is to go.
#[derive(Debug)]
enum Verdict {
    /// Its record was forgotten, and with it which row it is.
    Forgotten,
    /// Someone removed it.
    Gone {
        id: String,
        destination: SubjectId,
    },
    /// Someone built on it.
    Stays {
        destination: SubjectId,
        kind: DriftKind,
        text: String,
    },
    /// Rows that go, too, still point to it.
    Later,
    Goes(Going),
}

/// Rows that are to go, each with what is decided about it.
type Judged = Vec<(Removal, Verdict)>;

/// Rows that may go, and those for which it is too early.
#[derive(Debug, Default)]
struct Sorted {
    going: Vec<Going>,
    later: Vec<Removal>,
}

/// A row that may go.
#[derive(Debug, Clone)]
struct Going {
    removal: Removal,
    id: String,
    destination: SubjectId,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Returns how many rows are deleted at once, of so many.
    pub fn delete_size(&self, rows: usize) -> usize {
        self.size(Operation::Delete, rows).clamp(1, TOGETHER)
    }

    /// Deletes rows, unless someone changed them since or other people's records hang on them; `leaving` says which
    /// destination records go too. A row to which another row of the same object points goes after that one: those for which
    /// it is too early come back, and on the last call they stay, because what points to them does.
    pub async fn delete(
        &self,
        state: &mut State,
        removals: Vec<Removal>,
        leaving: &Leaving<'_>,
        last_call: bool,
    ) -> Result<(Tally, Vec<Removal>), Failure> {
        let (mut tally, mut later) = (Tally::default(), Vec::new());
        let size = self.delete_size(removals.len());
        for removals in removals.chunks(size) {
            let known = later.len();
            let Sorted { going, later: early } = self.may_go(state, removals, leaving, last_call, &mut tally).await?;
            later.extend(early);
            tally += until_done(going, async |batch, last| self.delete_batch(state, batch, last).await).await?;
            self.desk.progress.advance((removals.len() - (later.len() - known)) as u64);
            if self.desk.stop.is_cancelled() {
                break;
            }
        }
        Ok((tally, later))
    }

    /// Deletes rows as [`Writer::delete`] does, those that others of their object point to after those others.
    pub async fn delete_in_order(
        &self,
        state: &mut State,
        removals: Vec<Removal>,
        leaving: &Leaving<'_>,
    ) -> Result<Tally, Failure> {
        let mut rest = removals;
        let mut tally = Tally::default();
        let mut last_call = false;
        while !rest.is_empty() && !self.desk.stop.is_cancelled() {
            let count = rest.len();
            let (done, later) = self.delete(state, rest, leaving, last_call).await?;
            tally += done;
            last_call = later.len() == count;
            rest = later;
        }
        Ok(tally)
    }

    /// Sorts out the rows that nobody has built on.
    async fn may_go(
        &self,
        state: &mut State,
        removals: &[Removal],
        leaving: &Leaving<'_>,
        last_call: bool,
        tally: &mut Tally,
    ) -> Result<Sorted, Failure> {
        let (mut sorted, mut drafts) = (Sorted::default(), Vec::new());
        for (removal, verdict) in self.judge_all(state, removals, leaving, Look::Now { last_call }).await? {
            let about = |event: Event| {
                let target = removal.target;
                let draft = self.rec().draft(event).subject(target.subject).target(target.part);
                removal.inverts.into_iter().fold(draft, Draft::cause)
            };
            let drift = |destination, kind| Event::DriftFound { destination, object: self.name, field: None, kind };
            match verdict {
                Verdict::Forgotten => {
                    tally.held += 1;
                    drafts.push(about(Event::RecordHeld { reason: HoldReason::Forgotten }));
                }
                // Someone removed it already: there is nothing to take back, and that is told.
                Verdict::Gone { id, destination } => {
                    drafts.push(about(drift(destination, DriftKind::Deleted)).content(self.destination_id(&id)));
                    drafts.push(about(Event::IdentityUnlinked { destination }));
                    tally.unchanged += 1;
                }
                Verdict::Stays { destination, kind, text } => {
                    tally.held += 1;
                    drafts.push(about(drift(destination, kind)).content(Content::Text(text.clone())));
                    drafts.push(about(Event::RecordHeld { reason: HoldReason::Conflict }).content(Content::Text(text)));
                }
                Verdict::Later => sorted.later.push(removal),
                Verdict::Goes(going) => sorted.going.push(going),
            }
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())?;
        Ok(sorted)
    }

    /// Says of rows that were to be deleted which would not be, and why, with those that would stay; writes nothing, not even to
    /// the ledger.
    pub async fn foresee_deletes(
        &self,
        state: &State,
        removals: &[Removal],
        leaving: &Leaving<'_>,
    ) -> Result<Vec<(Option<SubjectId>, String)>, Failure> {
        let mut staying = Vec::new();
        for chunk in removals.chunks(TOGETHER) {
            let judged = self.judge_all(state, chunk, leaving, Look::Ahead).await?;
            staying.extend(judged.into_iter().filter_map(|(_, verdict)| match verdict {
                Verdict::Forgotten => Some((None, format!("a row of {} stays: its record was forgotten", self.object))),
                Verdict::Stays { destination, text, .. } => Some((Some(destination), text)),
                Verdict::Gone { id, .. } => Some((None, format!("{} {id} is gone already", self.object))),
                Verdict::Later | Verdict::Goes(_) => None,
            }));
        }
        Ok(staying)
    }

    /// Decides about rows, of which some are looked at side by side: rows that go are looked at right before, so it must not take
    /// long.
    async fn judge_all(
        &self,
        state: &State,
        removals: &[Removal],
        leaving: &Leaving<'_>,
        look: Look,
    ) -> Result<Judged, Failure> {
        let parts = removals.chunks(LOOKED_AT).map(|part| self.judge(state, part, leaving, look));
        let judged: Vec<Judged> = stream::iter(parts).buffered(self.desk.at_once.max(1)).try_collect().await?;
        Ok(judged.into_iter().flatten().collect())
    }

    /// Decides about each of these rows by what the destination holds now.
    async fn judge(
        &self,
        state: &State,
        removals: &[Removal],
        leaving: &Leaving<'_>,
        look: Look,
    ) -> Result<Judged, Failure> {
        let (mut known, mut judged) = (Vec::new(), Vec::new());
        for removal in removals {
            let destination = state.landing().get(removal.target).and_then(|landed| landed.destination);
            if let Some((destination, id)) = destination.and_then(|d| Some((d, state.destination_id(d)?))) {
                known.push(Going { removal: *removal, id, destination });
            } else {
                judged.push((*removal, Verdict::Forgotten));
            }
        }
        let ids: Vec<String> = known.iter().map(|row| row.id.clone()).collect();
        let found = self.read_ids(self.least(), ids.clone()).await?;
        let changed = self.changed(state, &known, &found).await?;
        let children = self.children(state, &ids, leaving, look).await?;
        for row in known {
            let (removal, destination) = (row.removal, row.destination);
            let Some(now) = found.get(&row.id) else {
                judged.push((removal, Verdict::Gone { id: row.id, destination }));
                continue;
            };
            let touched = state.landing().get(row.removal.target).is_some_and(|landed| landed.touched);
            let edited = (touched || now.modified_by.as_ref().is_some_and(|by| *by != self.desk.user))
                && !self.desk.flaws.has(Flaw::IgnoreDriftInRollback);
            let hangs = |what: &str, names: &[String]| {
                let text = format!("{} {} stays: {what}: {}", self.object, row.id, some(names));
                Verdict::Stays { destination, kind: DriftKind::HasChildren, text }
            };
            judged.push((
                removal,
                match children.get(&row.id) {
                    Some(children) if !children.staying.is_empty() => {
                        hangs("records that are not ours hang on it", &children.staying)
                    }
                    _ if edited || changed.contains_key(&row.id) => {
                        let what = changed.get(&row.id).map_or_else(|| "it".to_owned(), ToString::to_string);
                        let text = format!("{} {} stays: someone changed {what} since", self.object, row.id);
                        Verdict::Stays { destination, kind: DriftKind::Changed, text }
                    }
                    Some(children) if look == (Look::Now { last_call: true }) => {
                        hangs("rows that stay point to it", &children.leaving)
                    }
                    Some(_) => Verdict::Later,
                    None => Verdict::Goes(row),
                },
            ));
        }
        Ok(judged)
    }

    /// Finds the rows in which a field of ours is not as we left it, although our user was the last to write: automation
    /// that acts late in our user's name hides who wrote before it. Returns one such field of each.
    async fn changed(
        &self,
        state: &State,
        rows: &[Going],
        found: &BTreeMap<String, RemoteRecord>,
    ) -> Result<BTreeMap<String, FieldName>, Failure> {
        let (mut suspects, mut names) = (BTreeMap::new(), BTreeSet::new());
        if self.desk.flaws.has(Flaw::IgnoreDriftInRollback) {
            return Ok(BTreeMap::new());
        }
        for row in rows {
            let (Some(now), Some(landed)) = (found.get(&row.id), state.landing().get(row.removal.target)) else {
                continue;
            };
            let (_, version) = without_version(self.image_at(landed.after)?);
            if version.is_some() && version != now.version {
                let (ours, _) = self.ours(&landed)?;
                names.extend(ours.iter().map(|(name, _)| name.clone()));
                suspects.insert(row.id.clone(), ours);
            }
        }
        let now = self.read_ids(&names.into_iter().collect::<Vec<_>>(), suspects.keys().cloned().collect()).await?;
        let differs = suspects.into_iter().filter_map(|(id, ours)| {
            let now = &now.get(&id)?.record.fields;
            let same = |name: &FieldName, value: Option<&Value>| {
                let meant = value.map_or(Field::Null, |value| Field::Present(value.clone()));
                self.same(name, &meant, &now.get(name.as_str()))
            };
            let name = ours.iter().find(|(name, value)| !same(name, *value)).map(|(name, _)| name.clone());
            name.map(|name| (id, name))
        });
        Ok(differs.collect())
    }

    /// Finds records that point to these rows and that would go or change with them: those that are not leaving, and those
    /// of the same object that are, but have not left.
    pub(super) async fn children(
        &self,
        state: &State,
        ids: &[String],
        leaving: &Leaving<'_>,
        look: Look,
    ) -> Result<BTreeMap<String, Children>, Failure> {
        let mut children: BTreeMap<String, Children> = BTreeMap::new();
        if ids.is_empty() || self.desk.flaws.has(Flaw::IgnoreChildren) {
            return Ok(children);
        }
        for object in &self.desk.schema.objects {
            for field in &object.fields {
                let points = matches!(&field.kind, FieldKind::Reference { to } if to.contains(&self.object));
                if !points || !field.createable {
                    continue;
                }
                let selection = Selection::Keys { field: field.name.clone(), values: ids.to_vec() };
                let references = object.fields.iter().filter(|f| matches!(f.kind, FieldKind::Reference { .. }));
                let mut names: Vec<FieldName> = references.map(|field| field.name.clone()).collect();
                let key = self.desk.key(&object.name).filter(|key| object.field(key.as_str()).is_some());
                names.extend(key.cloned());
                for row in self.desk.destination.read(&object.name, &names, &selection).await? {
                    let Some(parent) = row.record.fields.text(field.name.as_str()) else { continue };
                    // Our user writes only through us: what the ledger does not know of its rows and what carries no key,
                    // the platform made. A key that is not ours is that of another migration.
                    let keyed = key.is_some_and(|key| !row.record.fields.get(key.as_str()).is_blank());
                    let ours = row.modified_by.as_deref() == Some(self.desk.user.as_str()) && !keyed;
                    let key = SubjectKey::new(&self.desk.instance, object.name.as_str(), &row.record.id);
                    let known = self.rec().ledger().find_subject(&key);
                    let known = known.is_some_and(|subject| state.landing().owner(subject).is_some());
                    let side = self.desk.destination.made_by_platform(&object.name, &row.record);
                    let leaves = self.is_leaving(state, &object.name, &row.record.id, leaving);
                    let name = format!("{}/{}", object.name, row.record.id);
                    // Of these nobody can say whose they are until what they belong to has gone.
                    let unclear = look == Look::Ahead && row.modified_by.is_none() && !known;
                    let counts = known || look == Look::Buried || !(ours || side);
                    if !leaves && !unclear && counts {
                        children.entry(parent.to_owned()).or_default().staying.push(name);
                    } else if leaves && object.name == self.object && row.record.id != parent {
                        children.entry(parent.to_owned()).or_default().leaving.push(name);
                    }
                }
            }
        }
        for row in self.desk.destination.hanging(&self.object, ids).await? {
            if !self.is_leaving(state, &row.object, &row.id, leaving) {
                children.entry(row.parent).or_default().staying.push(format!("{}/{}", row.object, row.id));
            }
        }
        Ok(children)
    }

    fn is_leaving(&self, state: &State, object: &ObjectName, id: &str, leaving: &Leaving<'_>) -> bool {
        let key = SubjectKey::new(&self.desk.instance, object.as_str(), id);
        let subject = self.rec().ledger().find_subject(&key);
        subject.is_some_and(|subject| leaving(state, subject) && state.landing().owner(subject).is_some())
    }

    async fn delete_batch(
        &self,
        state: &mut State,
        going: Vec<Going>,
        last: bool,
    ) -> Result<(Tally, Vec<Going>), Failure> {
        let number = state.next_batch();
        let batch = Batch {
            object: self.object.clone(),
            operation: Operation::Delete,
            key_field: self.key().cloned(),
            rows: going
                .iter()
                .map(|row| WriteRow { key: row.id.clone(), id: Some(row.id.clone()), fields: Fields::new() })
                .collect(),
        };
        let mut drafts = vec![self.batch_formed(number, &batch)];
        for row in &going {
            let inverts = row.removal.inverts;
            let target = row.removal.target;
            let draft = self
                .rec()
                .draft(Event::WriteIntended { object: self.name, operation: Operation::Delete, inverts })
                .subject(target.subject)
                .target(target.part)
                .batch(number)
                .content(self.destination_id(&row.id));
            drafts.push(match inverts {
                Some(at) => draft.cause(at),
                None => draft,
            });
        }
        let first = self.rec().append(drafts).await?.first;
        let intended = |n: usize| Position(first.0 + 1 + n as u64);
        let sent: Vec<_> = going.iter().enumerate().map(|(n, row)| (row.removal.target, intended(n))).collect();
        let journal = BatchJournal { recorder: self.rec(), batch: number, files: self.desk.files.as_ref() };
        let outcomes = match self.desk.destination.write(&batch, &journal).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                self.not_sent(&sent, number, &e, false).await?;
                state.catch_up(self.rec().ledger())?;
                return Err(e.into());
            }
        };
        let (mut tally, mut again, mut drafts) = (Tally::default(), Vec::new(), Vec::new());
        for (n, (row, outcome)) in going.iter().zip(outcomes).enumerate() {
            let about = |event: Event| self.about(event, row.removal.target, intended(n)).batch(number);
            match outcome {
                Outcome::Done { .. } => {
                    tally.done += 1;
                    let event = Event::WriteConfirmed { destination: row.destination, operation: Operation::Delete };
                    drafts.push(about(event).content(self.destination_id(&row.id)));
                }
                Outcome::Unknown(cause) => drafts.push(about(Event::WriteUnknown { cause })),
                Outcome::Rejected(refusal) => {
                    if self.refuse(&refusal, last, about, &mut drafts)? {
                        again.push(row.clone());
                    } else {
                        tally.rejected += 1;
                    }
                }
            }
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())?;
        let (settled, open) = self.ask(state, &sent, last).await?;
        tally += settled;
        again.extend(open.into_iter().map(|n| going[n].clone()));
        Ok((tally, again))
    }
}

/// Names some of many.
pub(super) fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
