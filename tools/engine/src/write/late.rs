//! Writes that came after all: a request that the destination did not show when it was asked can be done long after.

use std::collections::BTreeMap;

use waybill_connectors::Destination;
use waybill_ledger::{
    Content, Event, Fields, Mapped, Position, Record, Target,
    event::{NameKind, Operation},
    ledger::{Draft, Opened, Query},
};

use super::{Writer, create::holds, settle::NOT_THERE};
use crate::{failure::Failure, flaws::Flaws, state::State};

/// A write that was given up because the destination did not show it.
struct GivenUp {
    intended: Position,
    mapped: Mapped,
    /// Of an update: the row and what was to be set, and what it held before.
    update: Option<(Record, Record)>,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Asks once more for writes that the destination did not show when it was asked. If one of them was done after all, it is
    /// known from here on, with what the row held before it: otherwise a rollback would leave it there.
    pub async fn find_late(&self, state: &mut State) -> Result<(), Failure> {
        let given_up = self.given_up(state)?;
        if given_up.is_empty() {
            return Ok(());
        }
        let mut drafts = Vec::new();
        let creates: Vec<&Mapped> = given_up.values().filter(|w| w.update.is_none()).map(|w| &w.mapped).collect();
        let made = if creates.is_empty() { BTreeMap::new() } else { self.known_again(state, &creates).await? };
        let updates: Vec<&Record> =
            given_up.values().filter_map(|w| w.update.as_ref()).map(|(meant, _)| meant).collect();
        let changed = self.read_ids(&super::settle::columns_of(self.least(), &updates), ids(&updates)).await?;
        for (target, write) in &given_up {
            let (now, meant): (_, &Fields) = match &write.update {
                None => (
                    made.get(&write.mapped.key)
                        .and_then(|rows| <&[_; 1]>::try_from(rows.as_slice()).ok())
                        .map(|[row]| row),
                    &write.mapped.fields,
                ),
                Some((meant, _)) => (changed.get(&meant.id), &meant.fields),
            };
            if let Some(now) = now.filter(|now| holds(meant, &now.record.fields, |f, a, b| self.same(f, a, b))) {
                self.came(*target, write, &now.record.id, &mut drafts)?;
            }
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())
    }

    /// Tells of a write that came after all as if it had been made just now.
    fn came(&self, target: Target, write: &GivenUp, id: &str, drafts: &mut Vec<Draft>) -> Result<(), Failure> {
        let destination = self.destination_subject(id)?;
        let digest = self.fingerprint(target.subject, &crate::load::fields_bytes(&write.mapped.fields)?)?;
        let about = |event: Event| self.about(event, target, write.intended);
        let image = |record: &Record| Content::Record { object: self.object.to_string(), record: record.clone() };
        let start = drafts.len();
        drafts.push(
            about(Event::RecordMapped { object: self.name, digest }).content(Content::Mapped(write.mapped.clone())),
        );
        let operation = if write.update.is_some() { Operation::Update } else { Operation::Create };
        let intent = about(Event::WriteIntended { object: self.name, operation, inverts: None }).earlier(start);
        match &write.update {
            None => drafts.push(intent),
            Some((meant, before)) => {
                drafts.push(about(Event::BeforeImageTaken { destination }).content(image(before)));
                drafts.push(intent.earlier(start + 1).content(image(meant)));
            }
        }
        let intended = drafts.len() - 1;
        let confirmed = about(Event::WriteConfirmed { destination, operation }).earlier(intended);
        drafts.push(confirmed.content(self.destination_id(id)));
        Ok(())
    }

    /// Returns whether a write to this object came to nothing because the destination did not show it: it may come late.
    pub(crate) fn has_given_up(&self, state: &State) -> Result<bool, Failure> {
        Ok(!self.given_up(state)?.is_empty())
    }

    /// Returns the writes to this object that came to nothing because the destination did not show them, by target.
    fn given_up(&self, state: &State) -> Result<BTreeMap<Target, GivenUp>, Failure> {
        let mut given_up = BTreeMap::new();
        let ledger = self.rec().ledger();
        let Some(not_there) = ledger.find_name(NameKind::Code, NOT_THERE) else { return Ok(given_up) };
        for event in ledger.reader().find(Query::of(&["WriteRejected"]), ..state.position(), |_| false) {
            let (envelope, _) = event?;
            let (Event::WriteRejected { code }, Some(subject), Some(part)) =
                (&envelope.event, envelope.subject, envelope.target)
            else {
                continue;
            };
            let target = Target { subject, part };
            let Some(landed) = state.landing().get(target).filter(|l| l.object == self.name && !l.is_open()) else {
                continue;
            };
            let (true, Some(intended)) = (*code == not_there, envelope.causes.first()) else { continue };
            // What was written and confirmed since tells more.
            if landed.mapped.is_some_and(|mapped| mapped > *intended) {
                given_up.remove(&target);
                continue;
            }
            let Some((intent, content)) = ledger.reader().at(*intended)? else { continue };
            let Event::WriteIntended { operation, inverts: None, .. } = intent.event else { continue };
            let update = match (operation, landed.is_live(), content) {
                (Operation::Create, false, _) => None,
                (Operation::Update, true, Opened::Content(Content::Record { record, .. })) => {
                    match intent.causes.last().map(|at| ledger.reader().at(*at)).transpose()?.flatten() {
                        Some((_, Opened::Content(Content::Record { record: before, .. }))) => Some((record, before)),
                        _ => continue,
                    }
                }
                _ => continue,
            };
            let Some(at) = intent.causes.first() else { continue };
            if let Some(mapped) = self.mapping_at(*at)? {
                given_up.insert(target, GivenUp { intended: *intended, mapped, update });
            }
        }
        Ok(given_up)
    }
}

fn ids(rows: &[&Record]) -> Vec<String> {
    rows.iter().map(|row| row.id.clone()).collect()
}
