//! Salesforce Sales Cloud as a destination.
//!
//! Small sets go through sObject Collections, large ones through Bulk API 2.0. Rows are created by plain insert with our
//! key in a unique external id, never by upsert.

mod answer;
mod auth;
mod automation;
mod bulk;
mod check;
mod contents;
mod describe;
mod estimate;
mod metadata;
mod rows;
mod shape;
mod soql;
mod values;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;
use waybill_ledger::{
    FieldName, Fields, ObjectName, ObjectSchema, Record, Schema, SchemaChange, SystemName, User,
    event::{Operation, Transport},
};

pub use self::{
    auth::Auth,
    check::{Rules, is_id},
};
use self::{auth::Session, describe::Describe, shape::Shape};
use crate::{
    destination::{
        Abilities, Automations, Batch, Budget, Destination, Hanging, Instance, Journal, KnownBy, Limits, Need, Outcome,
        Planned, RemoteRecord, Scan, SchemaOutcome, Selection, Touch,
    },
    error::RemoteError,
    transport::{Client, Http, Network, Request, Settings},
};

const SYSTEM: &str = "salesforce";
/// The versions that this connector was written for; the highest of them that the org offers is used.
const VERSIONS: std::ops::RangeInclusive<u32> = 58..=67;
/// Rows of one page of a scan.
const PAGE: usize = 2_000;
/// Ids of one retrieve.
const RETRIEVE: usize = 1_000;

/// How to reach an org.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The address: the org's My Domain, or a server that speaks the same wire.
    pub url: String,
    /// How to sign in.
    pub auth: Auth,
    /// A file with a further certificate authority.
    pub ca_certificate: Option<PathBuf>,
    /// From how many rows of one object on a bulk job is used.
    pub bulk_threshold: usize,
    /// How long one request may take.
    pub timeout: Duration,
    /// How often a read is repeated while the server is busy or out of reach.
    pub tries: usize,
    /// The first pause between two looks at a job.
    pub poll: Duration,
}

impl Connection {
    /// Returns a connection with the usual settings.
    pub fn new(url: String, auth: Auth) -> Self {
        Self {
            url,
            auth,
            ca_certificate: None,
            bulk_threshold: 2_000,
            timeout: Duration::from_secs(120),
            tries: 4,
            poll: Duration::from_millis(100),
        }
    }
}

/// A connection to an org, signed in.
#[derive(Debug)]
pub struct Salesforce {
    session: Session,
    /// `/services/data/vXX.0`.
    root: String,
    version: u32,
    bulk_threshold: usize,
    poll: Duration,
    described: Mutex<BTreeMap<ObjectName, Arc<ObjectSchema>>>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct UserInfo {
    user_id: String,
    organization_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    total_size: u64,
    #[serde(default)]
    next_records_url: Option<String>,
    records: Vec<serde_json::Map<String, Json>>,
}

impl Salesforce {
    /// Signs in, and agrees on a version.
    pub async fn connect(connection: Connection) -> Result<Self, RemoteError> {
        let network = Network::new(SYSTEM, connection.timeout, connection.ca_certificate.as_deref())?;
        Self::connect_over(Arc::new(network), connection).await
    }

    /// The same over any carrier of requests.
    pub async fn connect_over(http: Arc<dyn Http>, connection: Connection) -> Result<Self, RemoteError> {
        let client = Client::new(http, Settings { system: SYSTEM, tries: connection.tries });
        let session = Session::new(client, &connection.url, connection.auth);
        let response = session.read(Request::get("/services/data")).await?;
        let offered: Vec<Version> = answer::json("its versions", &answer::check("its versions", response)?)?;
        let offered = offered.iter().filter_map(|version| version.version.split('.').next()?.parse::<u32>().ok());
        let version =
            offered.filter(|version| VERSIONS.contains(version)).max().ok_or_else(|| RemoteError::Malformed {
                system: SYSTEM.to_owned(),
                what: "its versions".to_owned(),
                detail: format!("none of {} to {} is offered", VERSIONS.start(), VERSIONS.end()),
            })?;
        Ok(Self {
            session,
            root: format!("/services/data/v{version}.0"),
            version,
            bulk_threshold: connection.bulk_threshold.max(1),
            poll: connection.poll,
            described: Mutex::default(),
        })
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, what: &str, path: String) -> Result<T, RemoteError> {
        let response = self.session.read(Request::get(path)).await?;
        answer::json(what, &answer::check(what, response)?)
    }

    async fn query_page(&self, soql: &str) -> Result<Page, RemoteError> {
        let query: String = reqwest::Url::parse_with_params("q:", [("q", soql)])
            .map(|url| url.query().unwrap_or_default().to_owned())
            .unwrap_or_default();
        self.get("a query", format!("{}/query?{query}", self.root)).await
    }

    /// Asks the Tooling API, whose answers to such lists fit one page.
    async fn tooling_query(&self, soql: &str) -> Result<Vec<serde_json::Map<String, Json>>, RemoteError> {
        let query: String = reqwest::Url::parse_with_params("q:", [("q", soql)])
            .map(|url| url.query().unwrap_or_default().to_owned())
            .unwrap_or_default();
        let page: Page = self.get("a query of the tooling API", format!("{}/tooling/query?{query}", self.root)).await?;
        Ok(page.records)
    }

    /// Asks a query and reads every page.
    async fn query(&self, soql: &str) -> Result<Vec<serde_json::Map<String, Json>>, RemoteError> {
        let mut page = self.query_page(soql).await?;
        let mut rows = std::mem::take(&mut page.records);
        while let Some(next) = page.next_records_url.take() {
            page = self.get("a further page", next).await?;
            rows.append(&mut page.records);
        }
        Ok(rows)
    }

    async fn object(&self, name: &ObjectName) -> Result<Option<Arc<ObjectSchema>>, RemoteError> {
        if let Some(known) = self.described.lock().await.get(name) {
            return Ok(Some(Arc::clone(known)));
        }
        let response = self.session.read(Request::get(format!("{}/sobjects/{name}/describe", self.root))).await?;
        if response.status.as_u16() == 404 {
            return Ok(None);
        }
        let describe: Describe = answer::json("a describe", &answer::check("a describe", response)?)?;
        let schema = Arc::new(ObjectSchema::from(describe));
        self.described.lock().await.insert(name.clone(), Arc::clone(&schema));
        Ok(Some(schema))
    }

    async fn forget_describes(&self) {
        self.described.lock().await.clear();
    }

    fn remote(
        schema: Option<&ObjectSchema>,
        row: &serde_json::Map<String, Json>,
        fields: &[FieldName],
    ) -> RemoteRecord {
        let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
        let (id, version, modified_by) = (text("Id"), text("SystemModstamp"), text("LastModifiedById"));
        let mut known = Fields::new();
        for name in fields {
            if let Some(value) = row.get(name.as_str()) {
                let kind = schema.and_then(|schema| schema.field(name.as_str())).map(|field| &field.kind);
                known.set(name.clone(), values::from_json(value, kind));
            }
        }
        RemoteRecord { record: Record { id: id.unwrap_or_default(), fields: known }, version, modified_by }
    }

    async fn retrieve(
        &self,
        object: &ObjectName,
        schema: Option<&ObjectSchema>,
        fields: &[FieldName],
        ids: &[String],
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        let shape = Shape::new(schema, fields);
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(RETRIEVE) {
            let request = Request::new(Method::POST, format!("{}/composite/sobjects/{object}", self.root))
                .json(&json!({ "ids": ids, "fields": soql::columns(schema, fields) }));
            // A retrieve changes nothing, whatever its verb.
            let response = answer::check("rows by id", self.session.read(request).await?)?;
            rows.append(&mut shape.rows("rows by id", &response.body)?);
        }
        Ok(rows)
    }
}

impl Destination for Salesforce {
    fn system(&self) -> SystemName {
        SYSTEM.into()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            client_ids: false,
            external_ids: true,
            conditional_update: false,
            hard_delete: false,
            removes_schema: false,
            request_rows: rows::ROWS,
            job_rows: 100_000,
        }
    }

    async fn identify(&self) -> Result<Instance, RemoteError> {
        let user: UserInfo = self.get("who we are", "/services/oauth2/userinfo".to_owned()).await?;
        let rows = self.query("SELECT Name FROM Organization").await?;
        let name = rows.first().and_then(|row| row.get("Name")).and_then(Json::as_str).unwrap_or_default();
        Ok(Instance { id: user.organization_id, name: name.to_owned(), user: user.user_id })
    }

    async fn describe(&self, objects: &[ObjectName]) -> Result<Schema, RemoteError> {
        self.forget_describes().await;
        let mut described = Vec::new();
        for name in objects {
            if let Some(schema) = self.object(name).await? {
                described.push((*schema).clone());
            }
        }
        let mut objects: Vec<ObjectSchema> = described;
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Schema { objects })
    }

    async fn users(&self) -> Result<Vec<User>, RemoteError> {
        let rows = self.query("SELECT Id, Name, Email, IsActive FROM User").await?;
        let text = |row: &serde_json::Map<String, Json>, name: &str| {
            row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        Ok(rows
            .iter()
            .map(|row| User {
                id: text(row, "Id"),
                name: text(row, "Name"),
                email: text(row, "Email"),
                active: row.get("IsActive").and_then(Json::as_bool).unwrap_or(false),
            })
            .collect())
    }

    async fn limits(&self) -> Result<Limits, RemoteError> {
        let answer: serde_json::Map<String, Json> = self.get("its limits", format!("{}/limits", self.root)).await?;
        let number = |value: &Json, name: &str| value.get(name).and_then(Json::as_u64);
        let budgets = answer.iter().filter_map(|(name, value)| {
            Some((name.clone(), Budget { max: number(value, "Max")?, remaining: number(value, "Remaining")? }))
        });
        Ok(Limits { budgets: budgets.collect() })
    }

    async fn read(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        selection: &Selection,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        let schema = self.object(object).await?;
        let schema = schema.as_deref();
        let Some(binary) = contents::binary(schema).filter(|binary| fields.contains(binary)) else {
            return self.read_plain(object, schema, fields, selection).await;
        };
        let plain: Vec<FieldName> = fields.iter().filter(|field| *field != binary).cloned().collect();
        let mut rows = self.read_plain(object, schema, &plain, selection).await?;
        self.measure(object, binary, &mut rows).await?;
        Ok(rows)
    }

    fn scan<'a>(
        &'a self,
        object: &'a ObjectName,
        fields: &'a [FieldName],
        filter: Scan<'a>,
    ) -> BoxStream<'a, Result<Vec<RemoteRecord>, RemoteError>> {
        if object.as_str() == contents::LINK {
            return self.scan_links(object, fields);
        }
        let start = Some(String::new());
        stream::unfold(start, move |after| async move {
            let after = after?;
            let page = self.scan_page(object, fields, filter, &after).await;
            match page {
                Err(e) => Some((Err(e), None)),
                Ok(rows) if rows.is_empty() => None,
                Ok(rows) => {
                    let next = rows.last().map(|row| row.record.id.clone()).filter(|_| rows.len() == PAGE);
                    Some((Ok(rows), next))
                }
            }
        })
        .boxed()
    }

    async fn count(&self, object: &ObjectName, filter: Scan<'_>) -> Result<u64, RemoteError> {
        let held = match filter {
            Scan::All => String::new(),
            Scan::Holding(field) => format!(" WHERE {field} != null"),
        };
        Ok(self.query_page(&format!("SELECT COUNT() FROM {object}{held}")).await?.total_size)
    }

    fn needs(&self, planned: &[Planned]) -> Vec<Need> {
        estimate::needs(planned, self.bulk_threshold)
    }

    async fn automation(&self, touches: &[Touch]) -> Result<Automations, RemoteError> {
        let objects: Vec<ObjectName> = touches.iter().map(|touch| touch.object.clone()).collect();
        self.list_automation(&objects).await
    }

    fn made_by_platform(&self, object: &ObjectName, row: &Record) -> bool {
        // A file is linked to its owner as soon as it is there.
        object.as_str() == contents::LINK
            && row.fields.text("LinkedEntityId").is_some_and(|id| id.starts_with(contents::USER))
    }

    async fn hanging(&self, object: &ObjectName, ids: &[String]) -> Result<Vec<Hanging>, RemoteError> {
        if object.as_str() == contents::VERSION { self.links_of_files(ids).await } else { Ok(Vec::new()) }
    }

    fn known_by(&self, object: &ObjectName) -> KnownBy {
        match object.as_str() {
            contents::NOTE => KnownBy::Likeness("Title".into()),
            contents::LINK => KnownBy::Fields(vec!["ContentDocumentId".into(), "LinkedEntityId".into()]),
            _ => KnownBy::Key,
        }
    }

    fn transport(&self, object: &ObjectName, _operation: Operation, rows: usize) -> Transport {
        // Contents do not fit a bulk file's cells, and what hangs on them follows them at their pace.
        let single = [contents::VERSION, contents::NOTE, contents::LINK].contains(&object.as_str());
        if rows >= self.bulk_threshold && !single { Transport::Job } else { Transport::Request }
    }

    async fn write<J: Journal>(&self, batch: &Batch, journal: &J) -> Result<Vec<Outcome>, RemoteError> {
        // What is certain to be refused is not sent, and the rest goes as if it were alone.
        let schema = self.object(&batch.object).await?;
        let rules = schema.as_deref().map(|schema| Rules::of(schema, batch.operation));
        let refused: Vec<Option<Outcome>> = match (&rules, batch.operation) {
            (Some(rules), Operation::Create | Operation::Update) => batch
                .rows
                .iter()
                .map(|row| rules.check(&row.fields, batch.key_of(row)).map(Outcome::Rejected))
                .collect(),
            _ => vec![None; batch.rows.len()],
        };
        if refused.iter().all(Option::is_none) {
            return self.send(batch, journal).await;
        }
        let rows = batch.rows.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let rest = Batch { rows: rows.map(|(row, _)| row.clone()).collect(), ..batch.clone() };
        let sent = if rest.rows.is_empty() { Vec::new() } else { self.send(&rest, journal).await? };
        let mut outcomes = sent.into_iter();
        Ok(refused
            .into_iter()
            .map(|refused| {
                refused
                    .or_else(|| outcomes.next())
                    .unwrap_or(Outcome::Unknown(waybill_ledger::event::UnknownCause::NoResult))
            })
            .collect())
    }

    async fn resume(&self, batch: &Batch, job: &str) -> Result<Vec<Outcome>, RemoteError> {
        self.resume_job(batch, job).await
    }

    async fn ended(&self, job: &str) -> Result<(), RemoteError> {
        self.end_of(job).await.map(|_| ())
    }

    async fn discard(&self, job: &str) -> Result<(), RemoteError> {
        self.delete_job(job).await
    }

    async fn apply_schema(&self, changes: &[SchemaChange]) -> Result<Vec<SchemaOutcome>, RemoteError> {
        self.deploy(changes).await
    }

    fn export_schema(
        &self,
        changes: &[SchemaChange],
        present: &Schema,
        dir: &Path,
    ) -> Result<Vec<PathBuf>, std::io::Error> {
        metadata::export(changes, present, self.version, dir)
    }
}

impl Salesforce {
    /// Reads rows without their contents.
    pub(super) async fn read_plain(
        &self,
        object: &ObjectName,
        schema: Option<&ObjectSchema>,
        fields: &[FieldName],
        selection: &Selection,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        let (field, values) = match selection {
            Selection::Ids(ids) => return self.retrieve(object, schema, fields, ids).await,
            Selection::Keys { field, values } => (field, values),
        };
        let select = soql::select(object, schema, fields);
        // Fields that make a query too long for an address are read by id in a second step.
        let wide = soql::encoded(&select) > 4_000;
        let select = if wide { soql::select(object, schema, &[]) } else { select };
        let mut found = Vec::new();
        for values in soql::lists(values, soql::encoded(&select) + 200) {
            let rows = self.query(&format!("{select} WHERE {field} IN {}", soql::list(values))).await?;
            found.extend(rows.into_iter().map(|row| Self::remote(schema, &row, if wide { &[] } else { fields })));
        }
        if wide {
            let ids: Vec<String> = found.into_iter().map(|row| row.record.id).collect();
            return self.retrieve(object, schema, fields, &ids).await;
        }
        Ok(found)
    }

    async fn send<J: Journal>(&self, batch: &Batch, journal: &J) -> Result<Vec<Outcome>, RemoteError> {
        let schema = self.object(&batch.object).await?;
        if let (Some(field), Operation::Create) = (contents::binary(schema.as_deref()), batch.operation) {
            return self.write_contents(batch, field, journal).await;
        }
        match self.transport(&batch.object, batch.operation, batch.rows.len()) {
            Transport::Job => self.write_job(batch, journal).await,
            Transport::Request => self.write_rows(batch).await,
        }
    }

    async fn scan_page(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Scan<'_>,
        after: &str,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        let schema = self.object(object).await?;
        let plain: Vec<FieldName> = match contents::binary(schema.as_deref()) {
            Some(binary) => fields.iter().filter(|field| *field != binary).cloned().collect(),
            None => fields.to_vec(),
        };
        let mut conditions = Vec::new();
        if !after.is_empty() {
            conditions.push(format!("Id > {}", soql::quoted(after)));
        }
        if let Scan::Holding(field) = filter {
            conditions.push(format!("{field} != null"));
        }
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let select = soql::select(object, schema.as_deref(), &plain);
        let rows = self.query(&format!("{select}{filter} ORDER BY Id LIMIT {PAGE}")).await?;
        let mut rows: Vec<RemoteRecord> =
            rows.into_iter().map(|row| Self::remote(schema.as_deref(), &row, fields)).collect();
        if let Some(binary) = contents::binary(schema.as_deref()).filter(|binary| fields.contains(binary)) {
            self.measure(object, binary, &mut rows).await?;
        }
        Ok(rows)
    }
}
