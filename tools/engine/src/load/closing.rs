//! What ends a load: the count of every phase, the rows that someone removed, and those that the source has no more.

use std::collections::{BTreeMap, BTreeSet};

use waybill_connectors::{Destination, Scan, Selection};
use waybill_ledger::{
    Content, Event, NameId, ObjectName, SubjectId,
    event::{DriftKind, Gate, HoldReason, NameKind, Operation},
};
use waybill_projector::{landing::Landed, mapping::Gone, order::Phase as Step};

use super::{Loader, RECORDS_AT_ONCE, Stage};
use crate::{
    approve::must_be_capped,
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
    write::{Removal, Tally, Writer},
};

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Returns the rows of ours whose source record is gone, where the plan says that they go, too; elsewhere they stay.
    fn removals(&self, state: &State, step: &Step) -> Result<Vec<Removal>, Failure> {
        let mut removals = Vec::new();
        for rule in self.rules(step).into_iter().filter(|rule| rule.gone == Gone::Delete) {
            let part = self.part(rule)?;
            let object = self.rec().name(NameKind::Object, rule.to.as_str())?;
            for landed in state.landing().of_object(object) {
                let gone = state.intake().seen(landed.target.subject).is_some_and(|seen| !seen.live);
                if gone && landed.is_live() && landed.created && landed.target.part == part {
                    removals.push(Removal { target: landed.target, inverts: None });
                }
            }
        }
        Ok(removals)
    }

    /// Stops if a step would delete more rows than was approved.
    pub(super) fn must_be_capped_deletes(&self, state: &State, step: &Step) -> Result<(), Failure> {
        self.must_be_capped(state, step, &self.removals(state, step)?)
    }

    fn must_be_capped(&self, state: &State, step: &Step, removals: &[Removal]) -> Result<(), Failure> {
        let name = self.rec().name(NameKind::Object, step.object.as_str())?;
        must_be_capped(state, self.approval, step.object.as_str(), name, Operation::Delete, removals.len() as u64)
    }

    /// Deletes the rows of a step whose source record is gone.
    pub(super) async fn remove_gone(&self, state: &mut State, step: &Step) -> Result<Tally, Failure> {
        let removals = self.removals(state, step)?;
        if removals.is_empty() || self.desk.flaws.has(Flaw::KeepDeleted) {
            return Ok(Tally::default());
        }
        self.must_be_capped(state, step, &removals)?;
        let destination = |removal: &Removal| state.landing().get(removal.target)?.destination;
        let going: BTreeSet<SubjectId> = removals.iter().filter_map(destination).collect();
        let leaving = |_: &State, destination: SubjectId| going.contains(&destination);
        Writer::new(self.desk, &step.object)?.delete_in_order(state, removals, &leaving).await
    }

    /// Counts what the destination has, and compares it with what the ledger says.
    pub(super) async fn close_phase(&self, state: &mut State, stage: &mut Stage<'_>) -> Result<(), Failure> {
        state.catch_up(self.ledger())?;
        let ours = state.landing().of_object(stage.name).filter(is_ours).count() as u64;
        let gone = known_gone(state, stage.name);
        stage.counts.counted = self.count(state, stage).await?;
        let counted = stage.counts.counted;
        if counted + gone < ours {
            self.tell_removed(state, stage).await?;
        }
        let gone = known_gone(state, stage.name);
        // Rows that someone removed are held and told; every other difference stops the run.
        let open = counted <= ours && counted + gone >= ours;
        self.rec().append(vec![self.rec().draft(Event::GateDecided { gate: Gate::Phase, open })]).await?;
        state.catch_up(self.ledger())?;
        state.keep(self.ledger())?;
        if open {
            return Ok(());
        }
        let object = &stage.object;
        Err(Failure::stopped(format!(
            "{object}: the ledger says that {ours} rows are ours, the destination counts {counted}"
        ))
        .hint("run `waybill reconcile` to see which rows are missing or not ours, then run the same command again"))
    }

    /// Finds the rows of ours that someone removed: each is held, and never made again without a person's word.
    async fn tell_removed(&self, state: &mut State, stage: &Stage<'_>) -> Result<(), Failure> {
        let ours: Vec<Landed> = state.landing().of_object(stage.name).filter(Landed::is_live).collect();
        for landed in ours.chunks(RECORDS_AT_ONCE) {
            let ids: BTreeMap<String, &Landed> =
                landed.iter().filter_map(|l| Some((state.destination_id(l.destination?)?, l))).collect();
            let selection = Selection::Ids(ids.keys().cloned().collect());
            let there = self.desk.destination.read(&stage.object, &[], &selection).await?;
            let there: BTreeSet<&str> = there.iter().map(|row| row.record.id.as_str()).collect();
            let mut drafts = Vec::new();
            for (id, landed) in ids.iter().filter(|(id, _)| !there.contains(id.as_str())) {
                let (target, object) = (landed.target, stage.name);
                let Some(destination) = landed.destination else { continue };
                if state.intake().hold_of(target.subject, target.part) == Some(HoldReason::TargetGone) {
                    continue;
                }
                let about = |event: Event| self.rec().draft(event).subject(target.subject).target(target.part);
                let content = Content::DestinationId { object: stage.object.to_string(), id: id.clone() };
                let drift = Event::DriftFound { destination, object, field: None, kind: DriftKind::Deleted };
                drafts.push(about(drift).content(content));
                let text =
                    format!("{} {id} is no longer there; it is never made again without a person's word", stage.object);
                drafts.push(about(Event::RecordHeld { reason: HoldReason::TargetGone }).content(Content::Text(text)));
            }
            self.rec().append(drafts).await?;
        }
        state.catch_up(self.ledger())
    }

    /// Counts our rows at the destination: those with our key, or, where rows cannot carry it, those that are still there.
    async fn count(&self, state: &State, stage: &Stage<'_>) -> Result<u64, Failure> {
        if let Some(key) = self.desk.key(&stage.object) {
            return Ok(self.desk.destination.count(&stage.object, Scan::Holding(key)).await?);
        }
        let live = state.landing().of_object(stage.name);
        let ids: Vec<String> = live.filter_map(|landed| state.destination_id(landed.destination?)).collect();
        self.count_ids(&stage.object, &ids).await
    }

    /// Counts which of these rows are there.
    pub(super) async fn count_ids(&self, object: &ObjectName, ids: &[String]) -> Result<u64, Failure> {
        let mut found = 0;
        for ids in ids.chunks(RECORDS_AT_ONCE) {
            let rows = self.desk.destination.read(object, &[], &Selection::Ids(ids.to_vec())).await?;
            found += rows.len() as u64;
        }
        Ok(found)
    }
}

/// Returns whether a row is ours: one that was there before us is once it was written.
pub(super) fn is_ours(landed: &Landed) -> bool {
    landed.is_live() && (landed.created || landed.mapped.is_some())
}

/// Counts the rows of an object that are known to have been removed by someone.
fn known_gone(state: &State, object: NameId) -> u64 {
    if state.intake().held_for(HoldReason::TargetGone) == 0 {
        return 0;
    }
    let gone = state.landing().of_object(object).filter(|landed| {
        let (subject, part) = (landed.target.subject, landed.target.part);
        let held = state.intake().hold_of(subject, part) == Some(HoldReason::TargetGone);
        landed.is_live() && held
    });
    gone.count() as u64
}
