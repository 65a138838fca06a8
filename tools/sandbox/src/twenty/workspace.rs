//! A workspace: its metadata, its rows, its clock, and what waits to be done.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{
    composite::Cells,
    files,
    model::{Catalog, col, stable_id},
    rows::Rows,
    standard,
    webhooks::Webhook,
    worker::Queue,
};

/// What is not known of the server, or differs between its versions, and can be had both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// The most records of a batch and of a page: 200 in 2.19 to 2.21, 60 before.
    pub cap: usize,
    /// Whether the metadata API answers as workspaces made by recent versions do, or in the legacy form.
    pub new_metadata_format: bool,
    /// Whether the prefilled workflow makes companies for people who are added.
    pub workflow: bool,
    /// Whether that workflow also moves people who have a company already.
    pub workflow_overrides: bool,
    /// Whether the key's role may change the data model.
    pub data_model_right: bool,
    /// Whether the key's role may write records.
    pub write_right: bool,
    /// Whether the key's role may see API keys.
    pub keys_right: bool,
    /// The requests that fit in each window; 0 for no limit.
    pub short_limit: i64,
    /// The length of the short window in milliseconds.
    pub short_window: i64,
    /// The requests that fit in the long window.
    pub long_limit: i64,
    /// The length of the long window in milliseconds.
    pub long_window: i64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            cap: 200,
            new_metadata_format: true,
            workflow: true,
            workflow_overrides: true,
            data_model_right: true,
            write_right: true,
            keys_right: true,
            short_limit: 100,
            short_window: 1_000,
            long_limit: 100,
            long_window: 60_000,
        }
    }
}

/// Who writes.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) source: &'static str,
    pub(crate) name: String,
    /// The member's row, if it is one.
    pub(crate) member: Option<String>,
}

impl Author {
    /// Returns an author who is no member.
    pub(crate) fn new(source: &'static str, name: impl Into<String>) -> Self {
        Self { source, name: name.into(), member: None }
    }

    /// Returns the parts of an actor field that the author leaves.
    pub(crate) fn cells(&self, field: u32) -> Cells {
        vec![
            (col(field, 0), Some(json!(self.source))),
            (col(field, 1), self.member.as_ref().map(|member| json!(member))),
            (col(field, 2), Some(json!(self.name))),
            (col(field, 3), Some(json!({}))),
        ]
    }
}

/// The state that a reset goes back to, and a clone of which is a state of its own.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) id: String,
    /// The row of the key that clients use, and its name.
    pub(crate) key: (String, String),
    /// The member that a test lets work in place of the key.
    pub(crate) acting: Option<Author>,
    pub(crate) catalog: Catalog,
    pub(crate) rows: Rows,
    pub(crate) files: files::Store,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) queue: Queue,
    pub(crate) dice: ChaCha8Rng,
    /// What time it is, in milliseconds since 1970.
    pub(crate) now: i64,
    pub(crate) switches: Switches,
}

impl Workspace {
    pub(crate) fn new(seed: u64, now: i64, switches: Switches) -> Self {
        let id = stable_id("workspace", &seed.to_string());
        let catalog = standard::catalog(&id, now);
        let mut rows = Rows::default();
        for object in catalog.objects.keys() {
            rows.add_table(&catalog, *object);
        }
        Self {
            key: (stable_id(&id, "api key"), "Waybill sandbox".into()),
            acting: None,
            id,
            catalog,
            rows,
            files: files::Store::default(),
            webhooks: Vec::new(),
            queue: Queue::default(),
            dice: ChaCha8Rng::seed_from_u64(seed),
            now,
            switches,
        }
    }

    /// Returns who calls: a client with a key, unless a test lets a member work.
    pub(crate) fn api(&self) -> Author {
        self.acting.clone().unwrap_or_else(|| Author::new("API", self.key.1.clone()))
    }

    /// Returns the member with an e-mail.
    pub(crate) fn member(&self, email: &str) -> Option<Author> {
        let members = self.standard("workspaceMember");
        let at = |name: &str, part| self.catalog.find(members, name).map_or(0, |field| col(field.number, part));
        let (address, first, last) = (at("userEmail", 0), at("name", 0), at("name", 1));
        let table = self.rows.table(members);
        let (id, row) = table.rows.iter().find(|(_, row)| row.text(address) == Some(email))?;
        let name = [first, last].map(|at| row.text(at).unwrap_or_default()).join(" ");
        Some(Author { source: "MANUAL", name, member: Some(id.to_string()) })
    }

    /// Returns the number of a standard object.
    pub(crate) fn standard(&self, singular: &str) -> u32 {
        self.catalog.by_singular(singular).map_or(0, |object| object.number)
    }

    /// Returns the id of the application that custom things belong to, and that of the standard ones.
    pub(crate) fn application(&self, custom: bool) -> String {
        stable_id(&self.id, if custom { "custom application" } else { "standard application" })
    }

    /// Returns the database schema of the workspace, which messages tell: the id in base 36.
    pub(crate) fn schema_name(&self) -> String {
        let digits: String = self.id.chars().filter(char::is_ascii_hexdigit).collect();
        let mut value = u128::from_str_radix(&digits, 16).unwrap_or(0);
        let mut text = Vec::new();
        while value > 0 {
            let digit = u32::try_from(value % 36).unwrap_or(0);
            text.push(char::from_digit(digit, 36).unwrap_or('0'));
            value /= 36;
        }
        format!("workspace_{}", text.iter().rev().collect::<String>())
    }

    /// Returns the author's parts of a field, if the object has it.
    pub(crate) fn signature(&self, object: u32, name: &str, author: &Author) -> Cells {
        self.catalog.find(object, name).map(|field| author.cells(field.number)).unwrap_or_default()
    }

    /// Returns the moment as rows store it.
    pub(crate) fn moment(&self) -> Json {
        json!(super::scalar::write_time(self.now))
    }
}
