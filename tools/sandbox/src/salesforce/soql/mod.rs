//! SOQL: a real parser, and the subset of the language that clients are known to send.

pub(crate) mod parse;
pub(crate) mod run;
