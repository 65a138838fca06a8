//! CRMs at home: exports and servers that look real from outside.

pub mod spark_bundle;
