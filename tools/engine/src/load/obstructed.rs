//! Records that a row in the trash stands in the way of, where the plan says that the row goes for good.

use waybill_connectors::Destination;
use waybill_ledger::{
    Event, SubjectId,
    event::{HoldReason, LinkedBy, NameKind, Operation},
};
use waybill_projector::landing::Landed;

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

/// Returns whether nothing was ever written to what a target was found to be: it is as if it had not been found.
pub(super) fn is_untouched(landed: &Landed) -> bool {
    landed.untouched && landed.mapped.is_none() && !landed.is_open()
}

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Lets go of rows that records were found to be, that are not there, and that nothing was ever written to: a run was broken
    /// off before it brought them back from the trash. They are found anew.
    pub(super) async fn let_go(
        &self,
        state: &mut State,
        stage: &Stage<'_>,
        writer: &Writer<D, M>,
    ) -> Result<(), Failure> {
        let rules: Vec<_> =
            stage.rules.iter().filter_map(|rule| self.ledger().find_name(NameKind::Rule, rule.id.as_str())).collect();
        let linked: Vec<(Landed, SubjectId, String)> = state
            .landing()
            .all()
            .filter(|landed| rules.contains(&landed.target.part.rule) && is_untouched(landed))
            .filter_map(|landed| {
                let destination = landed.destination?;
                Some((landed, destination, state.destination_id(destination)?))
            })
            .collect();
        if linked.is_empty() {
            return Ok(());
        }
        let live = writer.there(linked.iter().map(|(.., id)| id.clone()).collect()).await?;
        let drafts = linked.iter().filter(|(.., id)| !live.contains(id)).map(|(landed, destination, _)| {
            let draft = self.rec().draft(Event::IdentityUnlinked { destination: *destination });
            draft.subject(landed.target.subject).target(landed.target.part)
        });
        self.rec().append(drafts.collect()).await?;
        state.catch_up(self.ledger())
    }

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
                    let why = (HoldReason::Ambiguous, why.join("; "));
                    self.hold_target(state, stage, (change.target, change.cause), why, outbox);
                }
                Some(id) => self.link(stage, change, (LinkedBy::UniqueValue, id), outbox)?,
                None => outbox.creates.push(change),
            }
        }
        Ok(())
    }
}
