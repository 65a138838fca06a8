//! Twenty as a destination.
//!
//! Records are read by GraphQL and written by REST; new rows carry ids that follow from our key, so that a create which is
//! sent twice is refused by its id and never doubles. Composites are shown part by part ([`columns`]) and written whole
//! ([`values`]). The version is 2.21; what differs in others is asked, not assumed: names, options and rights from the
//! metadata, the rate from the text of a refusal, the end of a list from the list.

mod automation;
mod catalog;
mod columns;
mod files;
mod id;
mod metadata;
mod read;
mod trash;
mod unmake;
mod values;
mod who;
mod wire;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;
use waybill_ledger::{
    FieldName, FieldSchema, ObjectName, Record, Schema, SchemaChange, SystemName, User,
    event::{Operation, Transport, UnknownCause},
};

use self::{
    catalog::{Catalog, Object},
    wire::{Counted, Wire},
};
use crate::{
    destination::{
        Abilities, Automations, Batch, Destination, Hanging, Holder, Instance, Journal, KnownBy, Limits, Need, Outcome,
        Planned, RemoteRecord, Scan, SchemaElement, SchemaOutcome, SchemaRemoval, Selection, Touch,
    },
    error::RemoteError,
    transport::{Client, Http, Limiter, Network, Rate, Settings},
};

const SYSTEM: &str = "twenty";

/// How to reach a workspace. The key selects it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The address of the server.
    pub url: String,
    /// An API key.
    pub key: SecretString,
    /// A file with a further certificate authority.
    pub ca_certificate: Option<PathBuf>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a read is repeated while the server is busy or out of reach.
    pub tries: usize,
    /// The most rows of one request: 60 is taken by every version, 200 by the later ones.
    pub batch_rows: usize,
    /// How many requests a minute the server takes; 0 for a server without a limit.
    pub requests_per_minute: u64,
    /// What the key is called, for a key whose role may not list keys.
    pub key_name: Option<String>,
}

impl Connection {
    /// Returns a connection with the usual settings.
    pub fn new(url: String, key: SecretString) -> Self {
        Self {
            url,
            key,
            ca_certificate: None,
            timeout: Duration::from_secs(120),
            tries: 4,
            batch_rows: 60,
            requests_per_minute: 100,
            key_name: None,
        }
    }

    /// Returns what the server allows: so many a minute, and as many in one second as in a minute at most.
    fn rates(&self) -> Vec<Rate> {
        if self.requests_per_minute == 0 {
            return Vec::new();
        }
        let rate = |requests, seconds| Rate { requests, window: Duration::from_secs(seconds) };
        vec![rate(100, 1), rate(self.requests_per_minute, 60)]
    }
}

/// A connection to a workspace.
#[derive(Debug)]
pub struct Twenty {
    wire: Wire,
    batch_rows: usize,
    known: Mutex<Option<Arc<Catalog>>>,
    /// What the key is said to be called, where the server did not tell.
    key_name: Option<String>,
    /// What the server calls it in a row of ours, if that is something else.
    misnamed: OnceLock<String>,
}

impl Twenty {
    /// Returns a connection over the network. Nothing is sent yet.
    pub fn connect(connection: Connection) -> Result<Self, RemoteError> {
        let network = Network::new(SYSTEM, connection.timeout, connection.ca_certificate.as_deref())?;
        Ok(Self::connect_over(Arc::new(network), connection))
    }

    /// The same over any carrier of requests.
    pub fn connect_over(http: Arc<dyn Http>, connection: Connection) -> Self {
        let client = Client::new(http, Settings { system: SYSTEM, tries: connection.tries });
        let limiter = Limiter::new(&connection.rates());
        let wire = Wire::new(client, &connection.url, connection.key, limiter, connection.tries);
        Self {
            wire,
            batch_rows: connection.batch_rows.clamp(1, 200),
            known: Mutex::default(),
            key_name: connection.key_name,
            misnamed: OnceLock::new(),
        }
    }

    /// Reads the metadata as it is now.
    async fn read_catalog(&self) -> Result<Catalog, RemoteError> {
        let mut catalog = Catalog::default();
        let mut after = Json::Null;
        loop {
            let variables = json!({ "after": after });
            let mut data = self.wire.ask("its metadata", "/metadata", catalog::QUERY, variables, Counted::No).await?;
            let mut objects = data["objects"].take();
            let Json::Array(edges) = objects["edges"].take() else {
                return Err(RemoteError::Malformed {
                    system: SYSTEM.to_owned(),
                    what: "its metadata".to_owned(),
                    detail: "it has no objects".to_owned(),
                });
            };
            catalog.add(edges).map_err(|error| wire::malformed("its metadata", &error))?;
            after = objects["pageInfo"]["endCursor"].take();
            if objects["pageInfo"]["hasNextPage"] != json!(true) || after.is_null() {
                catalog.complete();
                return Ok(catalog);
            }
        }
    }

    async fn catalog(&self) -> Result<Arc<Catalog>, RemoteError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let catalog = Arc::new(self.read_catalog().await?);
        *known = Some(Arc::clone(&catalog));
        Ok(catalog)
    }

    async fn forget(&self) {
        *self.known.lock().await = None;
    }

    async fn object(&self, name: &ObjectName) -> Result<Object, RemoteError> {
        self.catalog().await?.object(name.as_str()).cloned().ok_or_else(|| RemoteError::Refused {
            system: SYSTEM.to_owned(),
            what: format!("the object {name}"),
            code: "OBJECT_NOT_FOUND".to_owned(),
            message: String::new(),
        })
    }
}

impl Destination for Twenty {
    fn system(&self) -> SystemName {
        SYSTEM.into()
    }

    fn trash_mark(&self) -> Option<&'static str> {
        Some(read::TRASHED)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            client_ids: true,
            external_ids: true,
            conditional_update: false,
            hard_delete: true,
            removes_schema: true,
            request_rows: self.batch_rows,
            job_rows: self.batch_rows,
        }
    }

    async fn identify(&self) -> Result<Instance, RemoteError> {
        let objects = self.wire.get("its metadata", "/rest/metadata/objects?limit=1").await?;
        // New workspaces answer with the list itself, older ones with the list under its name.
        let first = if objects["data"].is_array() { &objects["data"][0] } else { &objects["data"]["objects"][0] };
        let id = first["workspaceId"].as_str().unwrap_or_default().to_owned();
        if id.is_empty() {
            return Err(RemoteError::Malformed {
                system: SYSTEM.to_owned(),
                what: "its metadata".to_owned(),
                detail: "no object says which workspace it belongs to".to_owned(),
            });
        }
        Ok(Instance { name: format!("workspace {id}"), id, user: self.who().await? })
    }

    async fn describe(&self, objects: &[ObjectName]) -> Result<Schema, RemoteError> {
        self.forget().await;
        let catalog = self.catalog().await?;
        let mut described: Vec<_> =
            objects.iter().filter_map(|name| catalog.object(name.as_str())).map(columns::describe).collect();
        described.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Schema { objects: described })
    }

    async fn users(&self) -> Result<Vec<User>, RemoteError> {
        let members = self.object(&"workspaceMember".into()).await?;
        let rows = self.all(&members, "id userEmail name{firstName lastName}", &json!({})).await?;
        let users = rows.iter().map(|row| {
            let text = |value: Option<&Json>| value.and_then(Json::as_str).unwrap_or_default().to_owned();
            let name = |part: &str| text(row.get("name").and_then(|name| name.get(part)));
            User {
                id: text(row.get("id")),
                name: format!("{} {}", name("firstName"), name("lastName")).trim().to_owned(),
                email: text(row.get("userEmail")),
                // Whoever left the workspace is no member any more.
                active: true,
            }
        });
        Ok(users.collect())
    }

    async fn limits(&self) -> Result<Limits, RemoteError> {
        // There is a rate, which the limiter keeps, and nothing that could be used up.
        Ok(Limits::default())
    }

    async fn read(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        selection: &Selection,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        let object = self.object(object).await?;
        self.select(&object, fields, selection).await
    }

    fn scan<'a>(
        &'a self,
        object: &'a ObjectName,
        fields: &'a [FieldName],
        filter: Scan<'a>,
    ) -> BoxStream<'a, Result<Vec<RemoteRecord>, RemoteError>> {
        stream::unfold(Some(None::<String>), move |place| async move {
            let after = place?;
            let page = async {
                let object = self.object(object).await?;
                self.scan_page(&object, fields, filter, after.as_deref()).await
            };
            match page.await {
                Err(error) => Some((Err(error), None)),
                Ok((rows, next)) => Some((Ok(rows), next.map(Some))),
            }
        })
        .boxed()
    }

    async fn count(&self, object: &ObjectName, filter: Scan<'_>) -> Result<u64, RemoteError> {
        let object = self.object(object).await?;
        self.count_rows(&object, filter).await
    }

    fn needs(&self, _planned: &[Planned]) -> Vec<Need> {
        Vec::new()
    }

    async fn automation(&self, touches: &[Touch]) -> Result<Automations, RemoteError> {
        self.list_automation(touches).await
    }

    fn made_by_platform(&self, _object: &ObjectName, _row: &Record) -> bool {
        // What the platform makes by itself (the timeline) is no object of a plan.
        false
    }

    async fn hanging(&self, _object: &ObjectName, _ids: &[String]) -> Result<Vec<Hanging>, RemoteError> {
        Ok(Vec::new())
    }

    fn known_by(&self, _object: &ObjectName) -> KnownBy {
        KnownBy::Id
    }

    fn id_for(&self, key: &str) -> Option<String> {
        Some(id::of_key(key))
    }

    async fn holders(
        &self,
        object: &ObjectName,
        field: &FieldName,
        values: &[String],
    ) -> Result<Vec<Holder>, RemoteError> {
        let object = self.object(object).await?;
        self.find_holders(&object, field, values).await
    }

    async fn buried(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<RemoteRecord>, RemoteError> {
        let object = self.object(object).await?;
        self.read_buried(&object, ids).await
    }

    async fn destroy_buried(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<Outcome>, RemoteError> {
        let object = self.object(object).await?;
        self.destroy_trashed(&object, ids).await
    }

    async fn remove_schema(&self, elements: &[SchemaElement]) -> Result<Vec<SchemaRemoval>, RemoteError> {
        self.unmake(elements).await
    }

    fn transport(&self, _object: &ObjectName, _operation: Operation, _rows: usize) -> Transport {
        Transport::Request
    }

    async fn write<J: Journal>(&self, batch: &Batch, journal: &J) -> Result<Vec<Outcome>, RemoteError> {
        let object = self.object(&batch.object).await?;
        self.write_rows(&object, batch, journal).await
    }

    async fn resume(&self, batch: &Batch, _job: &str) -> Result<Vec<Outcome>, RemoteError> {
        // There are no jobs.
        Ok(batch.rows.iter().map(|_| Outcome::Unknown(UnknownCause::NoResult)).collect())
    }

    async fn discard(&self, _job: &str) -> Result<(), RemoteError> {
        Ok(())
    }

    async fn apply_schema(&self, changes: &[SchemaChange]) -> Result<Vec<SchemaOutcome>, RemoteError> {
        self.make(changes).await
    }

    fn shaped(&self, change: SchemaChange) -> SchemaChange {
        metadata::shaped(change)
    }

    fn born(&self) -> Vec<FieldSchema> {
        columns::born()
    }

    fn export_schema(
        &self,
        changes: &[SchemaChange],
        _present: &Schema,
        dir: &Path,
    ) -> Result<Vec<PathBuf>, std::io::Error> {
        let shaped: Vec<SchemaChange> = changes.iter().cloned().map(metadata::shaped).collect();
        metadata::export(&shaped, dir)
    }
}
