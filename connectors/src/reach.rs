//! Any of the systems that records can be written to, behind one type: who works with a destination need not know which it is.

use std::path::Path;

use futures::stream::BoxStream;
use waybill_ledger::{
    FieldName, FieldSchema, ObjectName, Record, Schema, SchemaChange, SystemName, User,
    event::{Operation, Transport},
};

use crate::{
    destination::{
        Abilities, Automations, Batch, Destination, Hanging, Holder, Instance, Journal, KnownBy, Limits, Need, Outcome,
        Planned, RemoteRecord, Scan, SchemaElement, SchemaOutcome, SchemaRemoval, Selection, Touch,
    },
    error::RemoteError,
    salesforce::Salesforce,
    twenty::Twenty,
};

/// A destination of any system.
#[derive(Debug)]
pub enum AnyDestination {
    /// Salesforce Sales Cloud.
    Salesforce(Box<Salesforce>),
    /// Twenty.
    Twenty(Box<Twenty>),
}

/// Calls a method of whichever system it is.
macro_rules! each {
    ($self:ident, $system:ident => $call:expr) => {
        match $self {
            AnyDestination::Salesforce($system) => $call,
            AnyDestination::Twenty($system) => $call,
        }
    };
}

impl Destination for AnyDestination {
    fn system(&self) -> SystemName {
        each!(self, it => it.system())
    }

    fn abilities(&self) -> Abilities {
        each!(self, it => it.abilities())
    }

    async fn identify(&self) -> Result<Instance, RemoteError> {
        each!(self, it => it.identify().await)
    }

    async fn describe(&self, objects: &[ObjectName]) -> Result<Schema, RemoteError> {
        each!(self, it => it.describe(objects).await)
    }

    async fn users(&self) -> Result<Vec<User>, RemoteError> {
        each!(self, it => it.users().await)
    }

    async fn limits(&self) -> Result<Limits, RemoteError> {
        each!(self, it => it.limits().await)
    }

    async fn read(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        selection: &Selection,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        each!(self, it => it.read(object, fields, selection).await)
    }

    fn scan<'a>(
        &'a self,
        object: &'a ObjectName,
        fields: &'a [FieldName],
        filter: Scan<'a>,
    ) -> BoxStream<'a, Result<Vec<RemoteRecord>, RemoteError>> {
        each!(self, it => it.scan(object, fields, filter))
    }

    async fn count(&self, object: &ObjectName, filter: Scan<'_>) -> Result<u64, RemoteError> {
        each!(self, it => it.count(object, filter).await)
    }

    fn needs(&self, planned: &[Planned]) -> Vec<Need> {
        each!(self, it => it.needs(planned))
    }

    async fn automation(&self, touches: &[Touch]) -> Result<Automations, RemoteError> {
        each!(self, it => it.automation(touches).await)
    }

    fn made_by_platform(&self, object: &ObjectName, row: &Record) -> bool {
        each!(self, it => it.made_by_platform(object, row))
    }

    async fn hanging(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<Hanging>, RemoteError> {
        each!(self, it => it.hanging(object, ids).await)
    }

    fn known_by(&self, object: &ObjectName) -> KnownBy {
        each!(self, it => it.known_by(object))
    }

    fn shaped(&self, change: SchemaChange) -> SchemaChange {
        each!(self, it => it.shaped(change))
    }

    fn born(&self) -> Vec<FieldSchema> {
        each!(self, it => it.born())
    }

    fn id_for(&self, key: &str) -> Option<String> {
        each!(self, it => it.id_for(key))
    }

    fn trash_mark(&self) -> Option<&'static str> {
        each!(self, it => it.trash_mark())
    }

    async fn holders(
        &self,
        object: &ObjectName,
        field: &FieldName,
        values: &[String],
    ) -> Result<Vec<Holder>, RemoteError> {
        each!(self, it => it.holders(object, field, values).await)
    }

    async fn buried(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<RemoteRecord>, RemoteError> {
        each!(self, it => it.buried(object, ids).await)
    }

    async fn destroy_buried(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<Outcome>, RemoteError> {
        each!(self, it => it.destroy_buried(object, ids).await)
    }

    async fn remove_schema(&self, elements: &[SchemaElement]) -> Result<Vec<SchemaRemoval>, RemoteError> {
        each!(self, it => it.remove_schema(elements).await)
    }

    fn transport(&self, object: &ObjectName, operation: Operation, rows: usize) -> Transport {
        each!(self, it => it.transport(object, operation, rows))
    }

    async fn write<J: Journal>(&self, batch: &Batch, journal: &J) -> Result<Vec<Outcome>, RemoteError> {
        each!(self, it => it.write(batch, journal).await)
    }

    async fn resume(&self, batch: &Batch, job: &str) -> Result<Vec<Outcome>, RemoteError> {
        each!(self, it => it.resume(batch, job).await)
    }

    async fn ended(&self, job: &str) -> Result<(), RemoteError> {
        each!(self, it => it.ended(job).await)
    }

    async fn discard(&self, job: &str) -> Result<(), RemoteError> {
        each!(self, it => it.discard(job).await)
    }

    async fn apply_schema(&self, changes: &[SchemaChange]) -> Result<Vec<SchemaOutcome>, RemoteError> {
        each!(self, it => it.apply_schema(changes).await)
    }

    fn export_schema(
        &self,
        changes: &[SchemaChange],
        present: &Schema,
        dir: &Path,
    ) -> Result<Vec<std::path::PathBuf>, std::io::Error> {
        each!(self, it => it.export_schema(changes, present, dir))
    }
}

/// How a system takes rows, before anybody has asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The most rows of one ordinary request.
    pub request_rows: u64,
    /// From how many rows on jobs are used, and the most rows of one; systems without jobs have none.
    pub jobs: Option<(u64, u64)>,
    /// The most requests in a minute, where the system says so.
    pub requests_per_minute: Option<u64>,
}

/// Returns how a system takes rows unless a configuration says otherwise. (Sources: "sObject Collections" in the REST API
/// Developer Guide and the connector's own use of Bulk API 2.0 for Salesforce; "Rate limits" in Twenty's API documentation.)
pub fn pace(system: &str) -> Pace {
    match system {
        "twenty" => Pace { request_rows: 60, jobs: None, requests_per_minute: Some(100) },
        _ => Pace { request_rows: 200, jobs: Some((2_000, 10_000)), requests_per_minute: None },
    }
}
