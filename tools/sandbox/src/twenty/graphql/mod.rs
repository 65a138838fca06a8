//! tmp
use super::service::{Call, Reply, State};
#[derive(Debug, Default)]
pub(crate) struct Schemas;
pub(crate) fn core(_s: &mut State, _c: &Call) -> Reply {
    Reply::empty(404)
}
pub(crate) fn metadata(_s: &mut State, _c: &Call) -> Reply {
    Reply::empty(404)
}
