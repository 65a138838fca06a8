//! Records that a row in the trash stands in the way of, where the plan says that the row goes for good.

use waybill_connectors::Destination;
use waybill_ledger::{
    Content, Event,
    event::{HoldReason, Operation},
};

use super::{Loader, Outbox, Stage};
use crate::{
    approve::must_be_capped,
    failure::Failure,
    flaws::Flaws,
    state::State,
    write::{Change, Crew, Obstacle, Writer},
};

/// A record on its way, and what is in it.
#[derive(Debug)]
pub(super) struct Obstructed {
    pub(super) change: Change,
    /// Rows in the trash.
    pub(super) by: Vec<String>,
    /// The row that the record is; none for a new one.
    pub(super) row: Option<String>,
}

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Clears the way of records, as far as that may be; the others wait.
    pub(super) async fn clear(
        &self,
        state: &mut State,
        stage: &mut Stage<'_>,
        writer: &Writer<D, M>,
        crew: &mut Crew<D, M>,
        outbox: &mut Outbox,
    ) -> Result<(), Failure> {
        let obstructed = std::mem::take(&mut outbox.obstructed);
        if obstructed.is_empty() {
            return Ok(());
        }
        stage.add(crew.come_home(state).await?, Operation::Create);
        let obstacles: Vec<Obstacle> = obstructed
            .iter()
            .flat_map(|one| {
                one.by.iter().map(|id| Obstacle {
                    target: one.change.target,
                    rule: one.change.rule.clone(),
                    cause: one.change.cause,
                    id: id.clone(),
                })
            })
            .collect();
        let (object, rows) = (stage.object.as_str(), obstacles.len() as u64);
        must_be_capped(state, self.approval, object, stage.name, Operation::Delete, rows)?;
        let standing = writer.clear(state, &obstacles).await?;
        for Obstructed { change, by, row } in obstructed {
            let why: Vec<&str> = by.iter().filter_map(|id| standing.get(id)).map(String::as_str).collect();
            match row {
                _ if !why.is_empty() => {
                    stage.counts.held += 1;
                    let target = change.target;
                    if state.intake().hold_of(target.subject, target.part) != Some(HoldReason::Ambiguous) {
                        let event = Event::RecordHeld { reason: HoldReason::Ambiguous };
                        let draft = self.rec().draft(event).subject(target.subject).target(target.part);
                        let draft = change.cause.into_iter().fold(draft, waybill_ledger::ledger::Draft::cause);
                        outbox.notes.push(draft.content(Content::Text(why.join("; "))));
                    }
                }
                Some(id) => self.link(stage, change, id, outbox)?,
                None => outbox.creates.push(change),
            }
        }
        Ok(())
    }
}
