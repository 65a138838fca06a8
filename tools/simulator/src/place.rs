//! A destination as the simulation sees it: who works there, what goes wrong there, and how the laws look at it.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use http::{Request, Response};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use waybill_connectors::transport::NoAnswer;

use crate::source::{Kind, Source};

/// Where the destination is said to be.
pub(crate) const PLACE: &str = "http://org.example";

/// Every row's fields, by object and id. A row in the trash stands under the object's name after [`TRASH`].
pub(crate) type Dump = BTreeMap<(String, String), BTreeMap<String, Json>>;

/// What stands before the object of a row in the trash.
pub(crate) const TRASH: &str = "trash/";

/// What a person did.
#[derive(Debug, Clone)]
pub(crate) enum Did {
    /// A field was set.
    Set(&'static str, Json),
    /// The row was deleted, which was this record of the source.
    Deleted(Option<String>),
    /// The row was taken out of the trash.
    Restored,
    /// A row was made that hangs on another one.
    Made(String),
}

/// What hits a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) busy: bool,
    pub(crate) expired: bool,
    pub(crate) quota: bool,
    pub(crate) locks: bool,
}

/// A destination without a socket, and the people in it.
pub(crate) trait Place: Debug + Send + Sync {
    /// Returns what the plan makes of each object of the source.
    fn kinds(&self) -> &'static [Kind];

    /// Returns whether something was done to a field that the plan sets, or to a row as a whole.
    fn is_ours(&self, object: &str, what: &Did) -> bool {
        let Did::Set(field, _) = what else { return true };
        let kind = self.kinds().iter().find(|kind| kind.to == object);
        kind.is_some_and(|kind| Source::fields(kind).any(|own| own == *field))
    }

    /// Returns the field in which we know our rows.
    fn key_field(&self) -> &'static str;

    /// Returns the field by which a row that a person made hangs on another one.
    fn hangs_by(&self, child: &str) -> &'static str;

    /// Returns whether what is deleted lies in a trash first.
    fn has_trash(&self) -> bool;

    /// Returns the plan, and what the project says of the destination. Called once, with the dice of the story.
    fn plan(&self, dice: &mut ChaCha8Rng) -> (String, String);

    /// Returns what lets us in.
    fn secret(&self) -> String;

    /// Returns whether records wait that a row in the trash stands in the way of.
    fn buried_waits(&self) -> bool;

    /// Returns whether what lies in the trash and stands in a record's way is deleted for good.
    fn buried_goes(&self) -> bool {
        false
    }

    /// Fills the place with what was there before us, some of which the source has, too.
    fn people_were_here(&self, dice: &mut ChaCha8Rng, source: &Source);

    /// Lets a person do something to the place as it is; returns to which row, if anything came of it. `number` counts
    /// what people did.
    fn person_acts(&self, dice: &mut ChaCha8Rng, number: &mut u64, dump: &Dump) -> Option<(String, String, Did)>;

    /// Lets what is automated there change a row of ours long after it was written, in our user's name, as scheduled paths of
    /// a flow do; returns which row, if anything came of it.
    fn automation_acts(&self, _dice: &mut ChaCha8Rng, _dump: &Dump) -> Option<(String, String, Did)> {
        None
    }

    /// Returns every row.
    fn dump(&self) -> Dump;

    /// Returns whether a request is about records, which faults are for.
    fn is_data(&self, request: &Request<Bytes>) -> bool;

    /// Returns whether a request can change anything.
    fn writes(&self, request: &Request<Bytes>) -> bool;

    /// Returns which job a request hands rows to, of a destination that works them off later.
    fn hands_to(&self, _request: &Request<Bytes>) -> Option<String> {
        None
    }

    /// Returns which job an answer says has ended.
    fn says_ended(&self, _request: &Request<Bytes>, _answer: &Response<Bytes>) -> Option<String> {
        None
    }

    /// Answers a request.
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, NoAnswer>;

    /// Lets faults happen from now on; draws the same from the dice whatever is hit.
    fn suffer(&self, dice: &mut ChaCha8Rng, hit: Hit);

    /// Answers a request under the faults that are there.
    fn answer_in_trouble(
        &self,
        _dice: &mut ChaCha8Rng,
        _hit: Hit,
        request: &Request<Bytes>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        self.answer(request)
    }

    /// Ends every fault.
    fn calm(&self);

    /// Lets time go on.
    fn pass(&self, millis: u64);
}

/// Returns the id that the source knows a row by.
pub(crate) fn tag_of(kinds: &[Kind], dump: &Dump, object: &str, id: &str) -> Option<String> {
    let kind = kinds.iter().find(|kind| kind.to == object)?;
    Some(dump.get(&(object.to_owned(), id.to_owned()))?.get(kind.tag?)?.as_str()?.to_owned())
}
