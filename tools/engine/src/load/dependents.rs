//! Records that did not change and point elsewhere now, because what they point to did.

use std::collections::BTreeSet;

use waybill_connectors::Destination;
use waybill_ledger::{Event, NameId, Position, SubjectId, event::NameKind, ledger::Query};
use waybill_projector::mapping::{FieldRule, Rule};

use super::Loader;
use crate::{failure::Failure, flaws::Flaws, state::State};

/// Of how many records that were read anew the ledger is asked whether they waited before.
const ASKED: usize = 500;

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Returns whether records of a rule may point elsewhere than they did then, though nobody changed them: what points to
    /// records that were merged since points to others now, and what points to records that waited, and landed only since,
    /// could not point there before.
    pub(super) fn points_elsewhere(&self, state: &State, rule: &Rule, since: Position) -> Result<bool, Failure> {
        let objects = rule.fields.values().flat_map(FieldRule::objects);
        let names: BTreeSet<NameId> =
            objects.filter_map(|object| self.ledger().find_name(NameKind::Object, object)).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let merged = names.iter().any(|object| state.intake().merged_since(*object, since));
        Ok(merged || self.landed_late(state, &names, since)?)
    }

    /// Returns whether records of these source objects were known before then and landed only since.
    fn landed_late(&self, state: &State, objects: &BTreeSet<NameId>, since: Position) -> Result<bool, Failure> {
        let written = state.landing().all().filter(|landed| landed.is_live() && landed.mapped >= Some(since));
        let seen = written.filter_map(|landed| Some((landed, state.intake().seen(landed.target.subject)?)));
        let mut asked = 0;
        for (landed, seen) in seen.filter(|(_, seen)| objects.contains(&seen.object)) {
            if seen.position < since {
                return Ok(true);
            }
            // It was read anew since. Of a few the ledger is asked; of many it is taken for granted, which costs time alone.
            asked += 1;
            if asked > ASKED || self.has_waited(landed.target.subject, since)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether a record was read before then and had no row by then.
    fn has_waited(&self, subject: SubjectId, since: Position) -> Result<bool, Failure> {
        let kinds = ["RecordExtracted", "WriteConfirmed", "IdentityLinked"];
        let query = Query { subject: Some(subject), ..Query::of(&kinds) };
        let mut waited = false;
        for event in self.ledger().reader().find(query, ..since, |_| false) {
            match event?.0.event {
                Event::RecordExtracted { .. } => waited = true,
                _ => return Ok(false),
            }
        }
        Ok(waited)
    }
}
