//! The plans that ship: one per pair of systems.

/// The plan from Spark CRM to Salesforce.
pub const SPARK_TO_SALESFORCE: &str = include_str!("../blueprints/spark-to-salesforce.toml");

/// The plan from Spark CRM to Twenty.
pub const SPARK_TO_TWENTY: &str = include_str!("../blueprints/spark-to-twenty.toml");
