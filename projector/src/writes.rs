//! How one write may go: the protocol of intents and outcomes as one pure transition function.
//!
//! ```text
//! planned ──intended──▶ intended ──confirmed──▶ confirmed ──intended──▶ …
//!                          │  ├──rejected──▶ rejected ──intended──▶ …
//!                          └──answer lost──▶ unknown ──confirmed or rejected, by asking──▶ …
//! ```

use waybill_ledger::Position;

/// How far the latest write to a target has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum WriteState {
    /// Nothing has left yet.
    #[default]
    Planned,
    /// An intent is durable; the write has left or may leave.
    Intended,
    /// The write has left and its answer was lost.
    Unknown,
    /// The destination did it.
    Confirmed,
    /// The destination refused it, or it never left.
    Rejected,
}

/// What moves a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteEvent {
    /// An intent was made durable.
    Intended,
    /// The answer was lost.
    AnswerLost,
    /// It was refused.
    Rejected,
    /// It was done.
    Confirmed,
}

/// An event that cannot follow what came before it: the ledger is corrupt or two processes wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {at} ({event:?}) cannot follow a write that is {state:?}")]
pub struct IllegalTransition {
    /// Where the event stands.
    pub at: Position,
    /// The event.
    pub event: WriteEvent,
    /// What came before it.
    pub state: WriteState,
}

impl WriteState {
    /// Returns the state after an event at position `at`.
    pub fn next(self, at: Position, event: WriteEvent) -> Result<Self, IllegalTransition> {
        use WriteEvent as E;
        use WriteState as S;
        match (self, event) {
            (S::Planned | S::Confirmed | S::Rejected, E::Intended) => Ok(S::Intended),
            (S::Intended | S::Unknown, E::AnswerLost) => Ok(S::Unknown),
            (S::Intended | S::Unknown, E::Confirmed) => Ok(S::Confirmed),
            (S::Intended | S::Unknown, E::Rejected) => Ok(S::Rejected),
            (state, event) => Err(IllegalTransition { at, event, state }),
        }
    }

    /// Returns whether a write has left, or may have left, without an outcome.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Intended | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        use WriteEvent as E;
        use WriteState as S;
        let table = [
            (S::Planned, [Some(S::Intended), None, None, None]),
            (S::Intended, [None, Some(S::Unknown), Some(S::Rejected), Some(S::Confirmed)]),
            (S::Unknown, [None, Some(S::Unknown), Some(S::Rejected), Some(S::Confirmed)]),
            (S::Confirmed, [Some(S::Intended), None, None, None]),
            (S::Rejected, [Some(S::Intended), None, None, None]),
        ];
        for (state, after) in table {
            for (event, expected) in [E::Intended, E::AnswerLost, E::Rejected, E::Confirmed].into_iter().zip(after) {
                assert_eq!(state.next(Position(1), event).ok(), expected, "{state:?} {event:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_intent_has_at_most_one_outcome(events in prop::collection::vec(0u8..4, 0..40)) {
            let (mut state, mut intents, mut outcomes) = (WriteState::Planned, 0, 0);
            for event in events {
                let event = [WriteEvent::Intended, WriteEvent::AnswerLost, WriteEvent::Rejected, WriteEvent::Confirmed]
                    [usize::from(event)];
                if let Ok(next) = state.next(Position(0), event) {
                    state = next;
                    intents += u32::from(event == WriteEvent::Intended);
                    outcomes += u32::from(matches!(event, WriteEvent::Rejected | WriteEvent::Confirmed));
                }
                prop_assert_eq!(intents - outcomes, u32::from(state.is_open()));
            }
        }
    }
}
