//! CRMs at home: exports and servers that look real from outside.

#![recursion_limit = "256"]

pub mod salesforce;
pub mod spark;
pub mod spark_bundle;
