//! Takes stock of the source: what is there, how much of it, and what cannot be read.

use serde::Serialize;
use waybill_ledger::event::{RunKind, RunOutcome, Side};

use crate::{extract::Intaken, failure::Failure, prepare::last_schema, samples, session::Session};

/// What the source holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inventory {
    /// Which export shape was recognised.
    pub recognised: String,
    /// By what.
    pub evidence: String,
    /// The objects, in the order of the export.
    pub objects: Vec<Found>,
}

/// One object of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What was read of it.
    #[serde(flatten)]
    pub intake: Intaken,
    /// How many rows the export says it has.
    pub promised: Option<u64>,
    /// How many fields it has.
    pub fields: usize,
}

/// Reads the whole export into the ledger and returns what there is.
pub async fn discover(session: &mut Session) -> Result<Inventory, Failure> {
    let source = session.source().await?;
    let known = last_schema(session, Side::Source)?;
    source.must_be_known(&session.recorder)?;
    let (recorder, _) = session.begin(RunKind::Discover, None).await?;
    let schema = source.see_schema(&recorder, &known).await?;
    samples::teach_source(recorder.ledger(), &schema).await?;
    let names: Vec<String> = source.bundle().objects().iter().map(|object| object.name.clone()).collect();
    let progress = std::sync::Arc::clone(&session.progress);
    let taken = source.extract(&recorder, &mut session.state, &names, &*progress).await?;
    session.end(&recorder, RunOutcome::Done).await?;
    let identity = source.bundle().identity();
    let objects = taken
        .into_iter()
        .map(|intake| Found {
            promised: source.bundle().expected(&intake.object),
            fields: schema.object(&intake.object).map_or(0, |object| object.fields.len()),
            intake,
        })
        .collect();
    Ok(Inventory { recognised: identity.product.clone(), evidence: identity.evidence.clone(), objects })
}
