//! A delta that has nothing to do.
//!
//! Most deltas of a cutover window find that nothing has changed. What did not change costs nothing: neither is a record mapped
//! again, nor is the destination asked for anything but how many rows of ours it has.

use std::collections::BTreeSet;

use waybill_connectors::{Destination, Scan};
use waybill_ledger::{
    Content, Event, NameId,
    event::{Gate, NameKind, RunKind, RunOutcome},
    ledger::Opened,
};
use waybill_projector::{landing::Landed, mapping::Gone};

use super::{Loader, Phase, closing::is_ours, obstructed::is_untouched};
use crate::{failure::Failure, flaws::Flaws, state::State, write::Writer};

/// The runs that write records.
const WRITING: [RunKind; 4] = [RunKind::Sample, RunKind::Load, RunKind::Delta, RunKind::Rollback];

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Returns what the phases of a delta come to that finds nothing to do, without beginning them; nothing if there is, or may
    /// be, something to do.
    ///
    /// That is so if the last run that wrote was a load or a delta under the same plan that left nothing over, nothing was read,
    /// merged or decided since, no row of ours is to go, and the destination has as many rows of ours as the ledger says.
    pub(crate) async fn quiet(&self, state: &mut State) -> Result<Option<Vec<Phase>>, Failure> {
        let own = self.rec().run();
        let last = state.runs().iter().rev().find(|run| Some(run.id) != own && WRITING.contains(&run.kind));
        let Some(last) = last.filter(|run| matches!(run.kind, RunKind::Load | RunKind::Delta)) else { return Ok(None) };
        let left_nothing = matches!(last.ended, Some((_, RunOutcome::Done))) && last.plan == Some(self.plan.digest());
        if !left_nothing || state.intake().is_new_since(last.began) || state.intake().is_waiting() {
            return Ok(None);
        }
        if self.has_open_ends(state)? {
            return Ok(None);
        }
        let steps = self.plan.phases().map_err(|e| Failure::stopped(e.to_string()))?;
        let mut phases = Vec::new();
        for step in &steps {
            let name = self.rec().name(NameKind::Object, step.object.as_str())?;
            let ours = || state.landing().of_object(name).filter(is_ours);
            let counted = match self.desk.key(&step.object) {
                Some(key) => self.desk.destination.count(&step.object, Scan::Holding(key)).await?,
                None => self.count_ids(&step.object, &self.ids_of(ours())?).await?,
            };
            if counted != ours().count() as u64 {
                return Ok(None);
            }
            phases.push(Phase { object: step.object.to_string(), counted, ..Phase::default() });
        }
        let gates = phases.iter().map(|_| self.rec().draft(Event::GateDecided { gate: Gate::Phase, open: true }));
        self.rec().append(gates.collect()).await?;
        state.catch_up(self.ledger())?;
        Ok(Some(phases))
    }

    /// Returns the ids of these rows, from what was read back of them: there are few rows that cannot carry our key.
    fn ids_of(&self, rows: impl Iterator<Item = Landed>) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        for at in rows.filter_map(|landed| landed.after) {
            if let Some((_, Opened::Content(Content::Record { record, .. }))) = self.ledger().reader().at(at)? {
                ids.push(record.id);
            }
        }
        Ok(ids)
    }

    /// Returns whether a write has no outcome, came to nothing without a word, or is still to be made.
    fn has_open_ends(&self, state: &State) -> Result<bool, Failure> {
        let leaves = self.plan.rules().iter().filter(|rule| rule.gone == Gone::Delete);
        let leaves: BTreeSet<NameId> =
            leaves.filter_map(|rule| self.ledger().find_name(NameKind::Rule, rule.id.as_str())).collect();
        let open = state.landing().all().any(|landed| {
            let seen = state.intake().seen(landed.target.subject);
            let is_there = seen.is_none_or(|seen| seen.live && !seen.skipped && !seen.merged);
            landed.is_open()
                || is_untouched(&landed)
                || !landed.is_live() && is_there
                || landed.is_live() && !is_there && leaves.contains(&landed.target.part.rule)
        });
        if open {
            return Ok(true);
        }
        for object in self.plan.destination_objects() {
            if Writer::new(self.desk, &object)?.has_given_up(state)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
