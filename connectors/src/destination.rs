//! What the engine asks of a system that it writes to.
//!
//! The words are shared by every destination; what only one system has stays in that system's folder.

use std::{collections::BTreeMap, fmt, path::Path};

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use waybill_ledger::{
    FieldKind, FieldName, FieldSchema, Fields, ObjectName, Record, Schema, SchemaChange, SystemName, User, Value,
    event::{Operation, Transport, UnknownCause},
};

pub use crate::error::{RemoteError, Retry};

/// A system that records are written to, read back from, and taken out of again.
///
/// Every method is one conversation with the system. None of them remembers anything about the migration; none of them
/// retries a create whose answer was lost (the engine settles that by asking).
pub trait Destination: Send + Sync + 'static {
    /// Returns the name of the system.
    fn system(&self) -> SystemName;

    /// Returns what the system can do and how much it takes at once.
    fn abilities(&self) -> Abilities;

    /// Asks who we are there and which instance it is.
    fn identify(&self) -> impl Future<Output = Result<Instance, RemoteError>> + Send;

    /// Describes these objects as our user sees them. An object that does not exist is left out.
    fn describe(&self, objects: &[ObjectName]) -> impl Future<Output = Result<Schema, RemoteError>> + Send;

    /// Lists everyone who can own records, inactive ones included.
    fn users(&self) -> impl Future<Output = Result<Vec<User>, RemoteError>> + Send;

    /// Reads the limits that a migration spends.
    fn limits(&self) -> impl Future<Output = Result<Limits, RemoteError>> + Send;

    /// Reads rows by id or by key, live ones only. What is not found is not in the answer; the order is not promised.
    fn read(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        selection: &Selection,
    ) -> impl Future<Output = Result<Vec<RemoteRecord>, RemoteError>> + Send;

    /// Reads every live row of an object, page by page, in the order of its ids.
    fn scan<'a>(
        &'a self,
        object: &'a ObjectName,
        fields: &'a [FieldName],
        filter: Scan<'a>,
    ) -> BoxStream<'a, Result<Vec<RemoteRecord>, RemoteError>>;

    /// Counts live rows.
    fn count(&self, object: &ObjectName, filter: Scan<'_>) -> impl Future<Output = Result<u64, RemoteError>> + Send;

    /// Says what these writes take of the limits that [`limits`](Self::limits) tells.
    fn needs(&self, planned: &[Planned]) -> Vec<Need>;

    /// Lists what will run at the destination by itself when these objects are written as is planned.
    fn automation(&self, touches: &[Touch]) -> impl Future<Output = Result<Automations, RemoteError>> + Send;

    /// Returns whether the platform made a row by itself, in answer to another one: what says so is in the row.
    fn made_by_platform(&self, object: &ObjectName, row: &Record) -> bool;

    /// Finds what would go with these rows though no field of theirs is pointed to, by the row it would go with.
    fn hanging(
        &self,
        object: &ObjectName,
        ids: &[String],
    ) -> impl Future<Output = Result<Vec<Hanging>, RemoteError>> + Send;

    /// Says how rows of an object are known again.
    fn known_by(&self, object: &ObjectName) -> KnownBy;

    /// Chooses how a batch of this size is sent.
    fn transport(&self, object: &ObjectName, operation: Operation, rows: usize) -> Transport;

    /// Sends a batch whose intents are durable, and returns one outcome per row, joined by key and content, never by
    /// position. When it sends the batch as a job, it tells the journal the job's id before it uploads anything.
    ///
    /// An error means that nothing was sent or that the system refused the whole batch unseen; a lost answer is no error
    /// but [`Outcome::Unknown`] for every row it may concern.
    fn write<J: Journal>(
        &self,
        batch: &Batch,
        journal: &J,
    ) -> impl Future<Output = Result<Vec<Outcome>, RemoteError>> + Send;

    /// Goes on with a job that an earlier process opened for this very batch: uploads what is missing, waits, and
    /// returns one outcome per row. A job that is no longer there gives [`Outcome::Unknown`] for every row.
    fn resume(&self, batch: &Batch, job: &str) -> impl Future<Output = Result<Vec<Outcome>, RemoteError>> + Send;

    /// Waits until a job has come to its end, whatever that is: what it has not done by then it will not do. One that was opened
    /// and never closed is ended. Fails if the end cannot be seen.
    fn ended(&self, _job: &str) -> impl Future<Output = Result<(), RemoteError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Removes a finished job whose outcomes are durable on our side.
    fn discard(&self, job: &str) -> impl Future<Output = Result<(), RemoteError>> + Send;

    /// Makes schema changes, those it can; the answer has one outcome per change, in order.
    fn apply_schema(
        &self,
        changes: &[SchemaChange],
    ) -> impl Future<Output = Result<Vec<SchemaOutcome>, RemoteError>> + Send;

    /// Returns a change as this system's own describe will show what it makes: a system may spell options, or keep kinds of
    /// fields, in its own way. Nothing is sent.
    fn shaped(&self, change: SchemaChange) -> SchemaChange {
        change
    }

    /// Returns the fields that every new object has by itself.
    fn born(&self) -> Vec<FieldSchema> {
        Vec::new()
    }

    /// Returns the id that a new row gets for a key of ours, where the writer chooses ids.
    fn id_for(&self, _key: &str) -> Option<String> {
        None
    }

    /// Returns the field that says that a row lies in the trash, where a write can put it there and bring it back.
    fn trash_mark(&self) -> Option<&'static str> {
        None
    }

    /// Finds rows that hold one of these values in a field that the system keeps unique, those in its trash included, where
    /// such rows would stop a create. A system that refuses such a create row by row, and in whose trash nothing counts, finds
    /// nothing here.
    fn holders(
        &self,
        _object: &ObjectName,
        _field: &FieldName,
        _values: &[String],
    ) -> impl Future<Output = Result<Vec<Holder>, RemoteError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Reads rows that lie in the trash, whole but for files. What lives, or is nowhere, is not in the answer.
    fn buried(
        &self,
        _object: &ObjectName,
        _ids: &[String],
    ) -> impl Future<Output = Result<Vec<RemoteRecord>, RemoteError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Deletes rows for good that lie in the trash, and those alone: a row that lives by then is refused. Returns one outcome per
    /// id, in order; an error means that nothing was sent.
    fn destroy_buried(
        &self,
        _object: &ObjectName,
        ids: &[String],
    ) -> impl Future<Output = Result<Vec<Outcome>, RemoteError>> + Send {
        let refusal = Refusal {
            code: "WAYBILL_NO_TRASH".to_owned(),
            message: "this system has no trash that counts".to_owned(),
            fields: Vec::new(),
            retry: Retry::Never,
            duplicate: false,
        };
        std::future::ready(Ok(ids.iter().map(|_| Outcome::Rejected(refusal.clone())).collect()))
    }

    /// Takes schema elements away again that we made, in this order: each only if it is as we made it and no row holds anything
    /// in it, those in the trash included. Returns one outcome per element. A system that takes nothing away leaves everything.
    fn remove_schema(
        &self,
        elements: &[SchemaElement],
    ) -> impl Future<Output = Result<Vec<SchemaRemoval>, RemoteError>> + Send {
        let stays = || SchemaRemoval::Stays("we take nothing away here: an administrator can".to_owned());
        std::future::ready(Ok(elements.iter().map(|_| stays()).collect()))
    }

    /// Writes the changes as files that an administrator can deploy, with a setup plan in words, and returns their paths
    /// relative to `dir`. `present` is the schema as it is.
    fn export_schema(
        &self,
        changes: &[SchemaChange],
        present: &Schema,
        dir: &Path,
    ) -> Result<Vec<std::path::PathBuf>, std::io::Error>;
}

/// Learns what must be durable before a write goes on, and hands over the content of files.
pub trait Journal: Send + Sync {
    /// Records that the destination opened `job`; returns when that is durable.
    fn job_opened(&self, job: &str) -> impl Future<Output = Result<(), JournalClosed>> + Send;

    /// Reads a file of the export that a row carries. Blocks on the disk; the error says why it cannot be read.
    fn file(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// The journal takes no more; the write must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger takes no more events")]
pub struct JournalClosed;

/// What a system can do. Whether original times can be set is no ability of a system: the describe of an object tells it of
/// each field, as our user may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether the writer chooses the ids of new rows.
    pub client_ids: bool,
    /// Whether rows carry our key in a unique field.
    pub external_ids: bool,
    /// Whether a write can be made conditional on the version we read.
    pub conditional_update: bool,
    /// Whether a deleted row can be taken out of the trash for good by our user.
    pub hard_delete: bool,
    /// Whether schema elements that we made can be taken away again.
    pub removes_schema: bool,
    /// The most rows in one request.
    pub request_rows: usize,
    /// The most rows in one job.
    pub job_rows: usize,
}

/// The instance that a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The instance's own id.
    pub id: String,
    /// The name that people know it by.
    pub name: String,
    /// The id of the user we act as.
    pub user: String,
}

/// How much a migration may still use today.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Each limit by name: what is left of how much.
    pub budgets: BTreeMap<String, Budget>,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The whole.
    pub max: u64,
    /// What is left.
    pub remaining: u64,
}

/// How a row of ours is known again at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownBy {
    /// By its id, which we chose ([`Destination::id_for`]).
    Id,
    /// By our key, which it carries in a unique field.
    Key,
    /// By fields of which the destination allows each combination once.
    Fields(Vec<FieldName>),
    /// By nothing of its own: rows of ours that hold the same are found through this field and compared.
    Likeness(FieldName),
}

/// What a plan means to write to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The object.
    pub object: ObjectName,
    /// Rows to create.
    pub creates: u64,
    /// Rows to change.
    pub updates: u64,
    /// Rows that are there.
    pub present: u64,
    /// Bytes of the contents of the rows to create.
    pub bytes: u64,
    /// Rows of one job of creates, where rows go in jobs.
    pub create_rows: u64,
    /// Rows of one job of updates, where rows go in jobs.
    pub update_rows: u64,
}

/// How much of one limit is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The limit's name.
    pub limit: &'static str,
    /// What it counts, in words.
    pub what: &'static str,
    /// How much is needed.
    pub amount: u64,
}

/// What is done to one object, for those who ask what will answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The object.
    pub object: ObjectName,
    /// Whether rows are made.
    pub creates: bool,
    /// The fields that are set in rows that are there, unless none is changed.
    pub updates: Vec<FieldName>,
    /// Whether rows are brought back from the trash.
    pub restores: bool,
    /// Whether rows are deleted by a run; a rollback deletes what was made in any case.
    pub deletes: bool,
}

/// What runs at the destination by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Automations {
    /// What is active.
    pub active: Vec<Automation>,
    /// Kinds that our user cannot see, with the destination's code.
    pub unseen: Vec<(&'static str, String)>,
}

/// Something that runs when a row is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automation {
    /// What it is.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The object.
    pub object: String,
    /// What it answers to, where the destination tells.
    pub on: Option<String>,
}

/// A row that would go with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hanging {
    /// The row with which it would go.
    pub parent: String,
    /// Its object.
    pub object: ObjectName,
    /// Its id.
    pub id: String,
}

/// A row that holds a value which the system allows once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The value, as the row holds it.
    pub value: String,
    /// The row's id.
    pub id: String,
    /// If the row is in the trash: what an update sets to bring it back.
    pub trashed: Option<Fields>,
}

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Rows with these ids.
    Ids(Vec<String>),
    /// Rows whose `field` holds one of these values.
    Keys {
        /// The field.
        field: FieldName,
        /// The values.
        values: Vec<String>,
    },
}

/// Which rows a scan wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan<'a> {
    /// Every live row.
    All,
    /// Live rows that hold something in this field.
    Holding(&'a FieldName),
}

/// A row as the destination holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRecord {
    /// Its id and the fields that were asked for.
    pub record: Record,
    /// The destination's modification mark, which changes with every change.
    pub version: Option<String>,
    /// The id of the user who changed it last.
    pub modified_by: Option<String>,
}

/// Writes of one kind to one object, sent together. No two rows have the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The object.
    pub object: ObjectName,
    /// What is done.
    pub operation: Operation,
    /// The field that carries our key.
    pub key_field: Option<FieldName>,
    /// The rows.
    pub rows: Vec<WriteRow>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRow {
    /// Our idempotency key for the target.
    pub key: String,
    /// The destination's id; updates and deletes need it.
    pub id: Option<String>,
    /// The fields to set: in a create, those that are not null ([`Batch::sets`]), and the key beside them ([`Batch::key_of`]).
    pub fields: Fields,
}

impl Batch {
    /// Returns what a row sets, in the order of the names; `None` stands for null. A new row holds nothing anyway, and a
    /// field with a default must not be told to hold nothing: a create says nothing of nulls. Its key is not among them.
    pub fn sets<'r>(&self, row: &'r WriteRow) -> impl Iterator<Item = (&'r FieldName, Option<&'r Value>)> {
        let nulls = self.operation != Operation::Create;
        row.fields.iter().filter(move |(_, value)| nulls || value.is_some())
    }

    /// Returns the field that carries our key in new rows, if there is one.
    pub fn key(&self) -> Option<&FieldName> {
        self.key_field.as_ref().filter(|_| self.operation == Operation::Create)
    }

    /// Returns the key that a new row carries, and in which field.
    pub fn key_of<'b>(&'b self, row: &'b WriteRow) -> Option<(&'b FieldName, &'b str)> {
        self.key().map(|field| (field, row.key.as_str()))
    }
}

/// What came of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, on the row of this id.
    Done {
        /// The destination's id.
        id: String,
        /// The row as the answer shows it, where it does, with at least the fields that were set: it need not be read.
        shown: Option<Box<RemoteRecord>>,
    },
    /// It was refused and changed nothing.
    Rejected(Refusal),
    /// Nobody knows yet.
    Unknown(UnknownCause),
}

/// Why a write was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The destination's error code.
    pub code: String,
    /// Its message. It may quote values, so it goes to the vault and never into a log.
    pub message: String,
    /// The fields it names.
    pub fields: Vec<FieldName>,
    /// Whether sending the same row again may help.
    pub retry: Retry,
    /// Whether the destination says that the key is taken: ask which row holds it.
    pub duplicate: bool,
}

/// What came of one schema change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaOutcome {
    /// It was made, and our user can use it.
    Made,
    /// It was there already.
    Present,
    /// A person must do it; the text says what.
    Manual(String),
    /// It was refused, with the destination's words.
    Refused(String),
}

/// A schema element that we made, in the destination's own words, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "element")]
pub enum SchemaElement {
    /// An object.
    Object {
        /// Its name.
        name: String,
        /// The name that people see.
        label: String,
    },
    /// A field.
    Field {
        /// The object.
        object: String,
        /// The field.
        field: String,
        /// The name that people see.
        label: String,
        /// The values of its options, if it has any.
        options: Vec<String>,
    },
    /// Options of a field that was there.
    Options {
        /// The object.
        object: String,
        /// The field.
        field: String,
        /// Their values, and the names that people see.
        options: Vec<(String, String)>,
    },
    /// A variant of an object.
    Variant {
        /// The object.
        object: String,
        /// The name that people see.
        label: String,
    },
}

impl SchemaElement {
    /// Returns what a change makes.
    pub fn of(change: &SchemaChange) -> Self {
        match change {
            SchemaChange::AddObject { name, label, .. } => {
                Self::Object { name: name.to_string(), label: label.clone() }
            }
            SchemaChange::AddField { object, field } => {
                let options = match &field.kind {
                    FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. } => options.as_slice(),
                    _ => &[],
                };
                Self::Field {
                    object: object.to_string(),
                    field: field.name.to_string(),
                    label: field.label.clone(),
                    options: options.iter().map(|option| option.value.clone()).collect(),
                }
            }
            SchemaChange::AddOptions { object, field, options } => Self::Options {
                object: object.to_string(),
                field: field.to_string(),
                options: options.iter().map(|option| (option.value.clone(), option.label.clone())).collect(),
            },
            SchemaChange::AddVariant { object, label, .. } => {
                Self::Variant { object: object.to_string(), label: label.clone() }
            }
        }
    }
}

impl fmt::Display for SchemaElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { name, .. } => write!(f, "object {name}"),
            Self::Field { object, field, .. } => write!(f, "field {object}.{field}"),
            Self::Options { object, field, options } => {
                let values: Vec<&str> = options.iter().map(|(value, _)| value.as_str()).collect();
                write!(f, "options of {object}.{field}: {}", values.join(", "))
            }
            Self::Variant { object, label } => write!(f, "record type `{label}` of {object}"),
        }
    }
}

/// What came of taking one schema element away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaRemoval {
    /// It is gone.
    Removed,
    /// It was gone already.
    Absent,
    /// It stays; the text says why.
    Stays(String),
}
