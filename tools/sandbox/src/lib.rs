//! CRMs at home: exports and servers that look real from outside.

#![recursion_limit = "256"]

mod countdown;
mod door;
mod listen;
mod multipart;
pub mod salesforce;
pub mod spark;
pub mod spark_bundle;
pub mod twenty;
