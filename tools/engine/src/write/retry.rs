//! What becomes of rows that a batch did not bring in: sent again if that may help, else left to a person.

use std::time::Duration;

use waybill_connectors::{Destination, Refusal, Retry};
use waybill_ledger::{
    Content, Event, Position, Target,
    event::{HoldReason, NameKind, Operation},
    ledger::Draft,
};
use waybill_projector::landing::Landed;

use super::{Tally, Writer};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
};

/// How often a row is sent again that the destination refused for a lock or for being busy.
pub(super) const TRIES: usize = 5;

/// What is told of a record whose write was sent as often as is sensible, without an answer and without an effect.
pub(super) const UNANSWERED: &str = "it was sent several times, no answer came, and the destination does not show it";

/// Waits after so many attempts: twice as long after each.
pub(super) async fn pause(attempts: usize) {
    tokio::time::sleep(Duration::from_millis(100 << attempts)).await;
}

/// Sends rows, then those of them that come back, until none does; `send` is told when it is their last chance.
pub(super) async fn until_done<T>(
    mut rows: Vec<T>,
    mut send: impl AsyncFnMut(Vec<T>, bool) -> Result<(Tally, Vec<T>), Failure>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut attempts = 0;
    while !rows.is_empty() {
        if attempts > 0 {
            pause(attempts).await;
        }
        attempts += 1;
        let (done, again) = send(rows, attempts == TRIES).await?;
        tally += done;
        rows = again;
    }
    Ok(tally)
}

/// Words a refusal for the person who must decide; it may quote values, so it goes to the vault only.
pub(super) fn refused(refusal: &Refusal) -> String {
    format!("the destination refused it ({}): {}", refusal.code, refusal.message)
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Writes down that a row was refused. Returns whether it may be sent again; if not, its record waits for a person.
    pub(super) fn refuse(
        &self,
        refusal: &Refusal,
        last: bool,
        about: impl Fn(Event) -> Draft,
        drafts: &mut Vec<Draft>,
    ) -> Result<bool, Failure> {
        let code = self.rec().name(NameKind::Code, &refusal.code)?;
        let content = Content::Refusal { message: refusal.message.clone(), fields: refusal.fields.clone() };
        drafts.push(about(Event::WriteRejected { code }).content(content));
        let again = refusal.retry == Retry::Soon && !last;
        if !again && !self.desk.flaws.has(Flaw::SwallowRefusals) {
            let text = Content::Text(refused(refusal));
            drafts.push(about(Event::RecordHeld { reason: HoldReason::Rejected }).content(text));
        }
        Ok(again)
    }

    /// Asks what became of those of these updates or deletes that are still open. Returns what they came to, and by their
    /// place those that were not done and may be sent again: a job is over by then, and to do by a request the same once more
    /// does no harm, even if the first is still under way.
    pub(super) async fn ask(
        &self,
        state: &mut State,
        sent: &[(Target, Position)],
        last: bool,
    ) -> Result<(Tally, Vec<usize>), Failure> {
        let (mut tally, mut again) = (Tally::default(), Vec::new());
        self.jobs_over(state, sent.iter().map(|(target, _)| *target)).await?;
        for (n, (target, intended)) in sent.iter().enumerate() {
            let Some(open) = state.landing().get(*target).filter(Landed::is_open) else { continue };
            let settled = match open.operation {
                Operation::Delete => self.settle_delete(state, &open).await?,
                _ => self.settle_update(&open).await?,
            };
            tally += settled;
            if settled.done > 0 {
                continue;
            }
            if last {
                tally.rejected += 1;
                self.wait(&[(*target, *intended)], UNANSWERED).await?;
            } else {
                again.push(n);
            }
        }
        state.catch_up(self.rec().ledger())?;
        Ok((tally, again))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rows_are_sent_until_none_comes_back_and_are_told_of_their_last_chance() {
        let mut calls = Vec::new();
        let one_done = |rows: Vec<u32>| (Tally { done: 1, ..Tally::default() }, rows[1..].to_vec());
        let tally = until_done(vec![1, 2, 3], async |rows: Vec<u32>, last| {
            calls.push((rows.len(), last));
            Ok(one_done(rows))
        })
        .await
        .unwrap();
        assert_eq!((tally.done, calls), (3, vec![(3, false), (2, false), (1, false)]));

        let mut last_calls = 0;
        let tally = until_done(vec![(); 1], async |rows: Vec<()>, last| {
            last_calls += 1;
            let rejected = Tally { rejected: u64::from(last), ..Tally::default() };
            Ok((rejected, if last { Vec::new() } else { rows }))
        })
        .await
        .unwrap();
        assert_eq!((tally.rejected, last_calls), (1, TRIES));
    }

    #[tokio::test]
    async fn a_failure_ends_it() {
        let failed = until_done(vec![1], async |_, _| Err(Failure::failed("broken"))).await;
        assert!(failed.is_err());
    }
}
