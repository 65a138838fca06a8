//! Creates rows: a plain insert that carries our unique key, never an upsert.

use std::time::Duration;

use waybill_connectors::{Batch, Destination, Outcome, Retry, WriteRow};
use waybill_ledger::{
    BatchId, Content, Event, Field, Fields, Position,
    event::{Operation, UnknownCause},
};

use super::{
    BatchJournal, Change, Tally, Writer, Written,
    retry::{UNANSWERED, until_done},
};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
};

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Creates these rows, in batches of the destination's size.
    pub async fn create(&self, state: &mut State, changes: Vec<Change>) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let size = self.size(Operation::Create, changes.len());
        let mut rest = changes.into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<Change> = rest.by_ref().take(size).collect();
            tally += until_done(batch, async |batch, last| {
                let sent = self.send_creates(state.next_batch(), batch, last).await;
                self.finish_creates(state, sent).await
            })
            .await?;
        }
        Ok(tally)
    }

    /// Sends one batch, writes down what came of it, and looks at what is there. It knows nothing of what happens meanwhile:
    /// what must be asked is asked when it [is back](Self::finish_creates).
    pub(super) async fn send_creates(
        &self,
        number: BatchId,
        changes: Vec<Change>,
        last: bool,
    ) -> Result<Sent, Failure> {
        let batch = Batch {
            object: self.object.clone(),
            operation: Operation::Create,
            key_field: self.key().cloned(),
            rows: changes
                .iter()
                .map(|change| WriteRow {
                    key: change.mapped.key.clone(),
                    id: None,
                    fields: change.mapped.fields.clone(),
                })
                .collect(),
        };
        let mut drafts = vec![self.batch_formed(number, &batch)];
        for change in &changes {
            let mapped = self
                .rec()
                .draft(Event::RecordMapped { object: self.name, digest: change.digest })
                .subject(change.target.subject)
                .target(change.target.part)
                .batch(number)
                .content(Content::Mapped(change.mapped.clone()));
            drafts.push(match change.cause {
                Some(cause) => mapped.cause(cause),
                None => mapped,
            });
            let mapped = drafts.len() - 1;
            drafts.push(
                self.rec()
                    .draft(Event::WriteIntended {
                        object: self.name,
                        operation: Operation::Create,
                        inverts: change.inverts,
                    })
                    .subject(change.target.subject)
                    .target(change.target.part)
                    .batch(number)
                    .earlier(mapped),
            );
        }
        let journal = BatchJournal { recorder: self.rec(), batch: number, files: self.desk.files.as_ref() };
        let (began, rows) = (tokio::time::Instant::now(), changes.len());
        let mut early = None;
        if self.desk.flaws.has(Flaw::SendBeforeIntent) {
            early = Some(self.desk.destination.write(&batch, &journal).await);
        }
        let first = self.rec().append(drafts).await?.first;
        let intended = |n: usize| Position(first.0 + 2 + 2 * n as u64);

        let outcomes = match early {
            Some(outcomes) => outcomes,
            None => self.desk.destination.write(&batch, &journal).await,
        };
        let outcomes = match outcomes {
            Ok(outcomes) if self.desk.flaws.has(Flaw::JoinByPosition) => in_order(outcomes),
            Ok(outcomes) => outcomes,
            Err(e) => {
                // Nothing was sent, or the batch was refused unseen: every intent ends here, and so does the command.
                let targets: Vec<_> = changes.iter().enumerate().map(|(n, c)| (c.target, intended(n))).collect();
                self.not_sent(&targets, number, &e, true).await?;
                return Err(e.into());
            }
        };
        let took = began.elapsed();

        let (mut tally, mut again) = (Tally::default(), Vec::new());
        let (mut drafts, mut landed, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (change, outcome)) in changes.iter().zip(outcomes).enumerate() {
            let about = |event: Event| {
                self.rec()
                    .draft(event)
                    .subject(change.target.subject)
                    .target(change.target.part)
                    .batch(number)
                    .cause(intended(n))
            };
            match outcome {
                Outcome::Done { id, shown } => {
                    let destination = self.destination_subject(&id)?;
                    landed.push((n, drafts.len(), id.clone(), destination, shown));
                    drafts.push(
                        about(Event::WriteConfirmed { destination, operation: Operation::Create })
                            .content(self.destination_id(&id)),
                    );
                }
                Outcome::Unknown(cause) => {
                    unknown.push(n);
                    drafts.push(about(Event::WriteUnknown { cause }));
                }
                Outcome::Rejected(refusal) if refusal.duplicate => {
                    // Our key is taken: by whom, only the destination knows.
                    unknown.push(n);
                    drafts.push(about(Event::WriteUnknown { cause: UnknownCause::NoResult }));
                }
                Outcome::Rejected(mut refusal) => {
                    if change.coming.iter().any(|(name, _)| change.mapped.fields.contains(name.as_str())) {
                        // It may be that the row that it points to did not come: it is tried without.
                        refusal.retry = Retry::Soon;
                    }
                    if self.refuse(&refusal, last, about, &mut drafts)? {
                        again.push(change.clone());
                    } else {
                        tally.rejected += 1;
                    }
                }
            }
        }
        let first = self.rec().append(drafts).await?.first;
        tally.done += landed.len() as u64;
        let written: Vec<Written<'_>> = landed
            .into_iter()
            .map(|(n, at, id, destination, shown)| Written {
                target: changes[n].target,
                record: &changes[n].record,
                id,
                destination,
                confirmed: Position(first.0 + at as u64),
                kept: Fields::new(),
                shown,
                fields: &changes[n].mapped.fields,
            })
            .collect();
        self.look(&written).await?;
        let open = unknown.iter().map(|n| (changes[*n].clone(), intended(*n))).collect();
        Ok(Sent { tally, again, open, rows, took, last })
    }

    /// Takes in what came of a batch, and asks about the rows of which nobody knows. Returns what it came to and the rows that
    /// may be sent again.
    pub(super) async fn finish_creates(
        &self,
        state: &mut State,
        sent: Result<Sent, Failure>,
    ) -> Result<(Tally, Vec<Change>), Failure> {
        // What was just confirmed is known from here on: a row of its like is not taken for it.
        state.catch_up(self.rec().ledger())?;
        let Sent { mut tally, mut again, open, last, .. } = sent?;
        let open: Vec<(&Change, Position)> = open.iter().map(|(change, at)| (change, *at)).collect();
        let (settled, resend) = self.settle_creates(state, &open).await?;
        tally += settled;
        if last {
            let at = |target| open.iter().find(|(c, _)| c.target == target).map_or(Position(0), |(_, at)| *at);
            let refused: Vec<_> = resend.iter().map(|change| (change.target, at(change.target))).collect();
            self.wait(&refused, UNANSWERED).await?;
            tally.rejected += resend.len() as u64;
        } else {
            again.extend(resend);
        }
        state.catch_up(self.rec().ledger())?;
        Ok((tally, again))
    }
}

/// A batch of creates that came back.
#[derive(Debug)]
pub(super) struct Sent {
    tally: Tally,
    /// Rows that were refused and may be sent again.
    again: Vec<Change>,
    /// Rows of which nobody knows, with their intents.
    open: Vec<(Change, Position)>,
    rows: usize,
    took: Duration,
    last: bool,
}

impl Sent {
    /// Returns how many rows were sent and how long that took, if nothing was in the way.
    pub(super) fn clean(&self) -> Option<(usize, Duration)> {
        (self.again.is_empty() && self.open.is_empty()).then_some((self.rows, self.took))
    }
}

/// The mistake of joining by position: what was done comes first, whoever's it is.
fn in_order(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let (mut done, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|o| matches!(o, Outcome::Done { .. }));
    done.extend(others);
    done
}

/// Returns whether every field that we meant to write is there as we meant it.
pub(super) fn holds(
    fields: &waybill_ledger::Fields,
    now: &waybill_ledger::Fields,
    same: impl Fn(&waybill_ledger::FieldName, &Field, &Field) -> bool,
) -> bool {
    fields.iter().all(|(name, value)| {
        let meant = value.map_or(Field::Null, |value| Field::Present(value.clone()));
        let is = match now.get(name.as_str()) {
            Field::Absent => Field::Null,
            is => is,
        };
        same(name, &meant, &is)
    })
}
