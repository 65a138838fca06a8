//! The records of the company: an export in memory, a clock that stands until it is moved, and what happens when people work.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// A row's place in its table: numbers in the order of numbers, other ids after them, `c2` before `c10`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Number(u128),
    Text(String, u128, String),
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        match id.parse() {
            Ok(number) if !id.starts_with('0') => Self::Number(number),
            _ => {
                let head = id.trim_end_matches(|character: char| character.is_ascii_digit());
                Self::Text(head.to_owned(), id[head.len()..].parse().unwrap_or(0), id.to_owned())
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) fields: Map<String, Json>,
    /// When it changed, in milliseconds; known also of rows that do not show it.
    pub(crate) updated: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: BTreeMap<Key, Row>,
}

/// A record that is gone.
#[derive(Debug, Clone)]
pub(crate) struct GoneRow {
    pub(crate) at: i64,
    pub(crate) fields: Map<String, Json>,
}

/// The company.
#[derive(Debug, Clone)]
pub(crate) struct Company {
    pub(crate) account: Json,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) deletions: Vec<GoneRow>,
    pub(crate) merges: Vec<GoneRow>,
    /// Now, in milliseconds.
    pub(crate) now: i64,
    /// Whether changes are stamped to the millisecond; else to the second.
    pub(crate) milliseconds: bool,
    /// Where the files lie.
    pub(crate) dir: PathBuf,
    made: u64,
}

/// One thing that somebody does.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Edit {
    Create {
        object: String,
        id: Option<String>,
        #[serde(default)]
        fields: Map<String, Json>,
    },
    Update {
        object: String,
        id: String,
        fields: Map<String, Json>,
    },
    Delete {
        object: String,
        id: String,
        /// Whether the row stays with a mark instead of being listed as deleted.
        #[serde(default)]
        marked: bool,
    },
    Merge {
        object: String,
        /// The record that goes,
        id: String,
        /// and the one that lives on.
        into: String,
    },
}

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    NoObject(String),
    NoRow(String, String),
    NoField(String, String),
    There(String, String),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoObject(object) => write!(f, "there is no object {object}"),
            Self::NoRow(object, id) => write!(f, "{object} has no {id}"),
            Self::NoField(object, field) => write!(f, "{object} has no field {field}"),
            Self::There(object, id) => write!(f, "{object} has {id} already"),
        }
    }
}

/// The columns by which other records point to an object.
const POINTERS: [(&str, &str, &[&str]); 3] = [
    ("contacts", "contact", &["contact_id", "primary_contact_id"]),
    ("companies", "company", &["company_id", "primary_company_id", "parent_company_id"]),
    ("deals", "deal", &["deal_id"]),
];

impl Company {
    /// Reads an export in the bundle convention.
    pub(crate) fn read(dir: &Path, milliseconds: bool) -> io::Result<Self> {
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let manifest: Json = serde_json::from_slice(&fs::read(dir.join("manifest.json"))?)?;
        let account = &manifest["account"];
        let zone: chrono_tz::Tz = account["time_zone"]
            .as_str()
            .unwrap_or("UTC")
            .parse()
            .map_err(|_| bad(format!("the time zone {} is not known", account["time_zone"])))?;
        let now = manifest["exported_at"].as_str().and_then(|text| moment(text, zone));
        let now = now.ok_or_else(|| bad("the manifest does not say when it was exported".to_owned()))?;
        let mut company = Self {
            account: json!({
                "id": account["id"], "name": account["name"], "time_zone": account["time_zone"], "locale": account["locale"],
                "currency": account["currency"], "phone_region": account["phone_region"], "product": manifest["product"],
            }),
            tables: BTreeMap::new(),
            deletions: Vec::new(),
            merges: Vec::new(),
            now,
            milliseconds,
            dir: dir.to_owned(),
            made: 0,
        };
        for object in manifest["objects"].as_array().into_iter().flatten() {
            let name = object["name"].as_str().unwrap_or_default().to_owned();
            let mut table = Table::default();
            for file in object["files"].as_array().into_iter().flatten().filter_map(Json::as_str) {
                let path = dir.join(file);
                if object["format"] == "json" {
                    let rows: Vec<Map<String, Json>> = serde_json::from_slice(&fs::read(&path)?)?;
                    for row in rows {
                        table.add(row, now, zone);
                    }
                } else {
                    for row in table_of(&path)? {
                        table.add(row, now, zone);
                    }
                    if table.columns.is_empty() {
                        table.columns = header(&path)?;
                    }
                }
            }
            match name.as_str() {
                "deleted" => company.deletions = gone(table, "deleted_at", zone),
                "merges" => company.merges = gone(table, "merged_at", zone),
                _ => {
                    company.tables.insert(name, table);
                }
            }
        }
        Ok(company)
    }

    /// Does something, and returns the id of the record that it is about.
    pub(crate) fn edit(&mut self, edit: Edit) -> Result<String, Wrong> {
        let stamp = self.stamp();
        match edit {
            Edit::Create { object, id, fields } => {
                self.made += 1;
                let made = self.made;
                let table = self.tables.get_mut(&object).ok_or_else(|| Wrong::NoObject(object.clone()))?;
                let id = id.unwrap_or_else(|| (90_000_000_000 + u128::from(made)).to_string());
                if table.rows.contains_key(&Key::new(&id)) {
                    return Err(Wrong::There(object, id));
                }
                table.knows(&object, &fields)?;
                let mut row: Map<String, Json> =
                    table.columns.iter().map(|column| (column.clone(), Json::Null)).collect();
                for (column, value) in [
                    (table.id_column(), json!(id)),
                    ("created_at", json!(shown(stamp, self.milliseconds))),
                    ("is_deleted", json!(false)),
                ] {
                    if row.contains_key(column) {
                        row.insert(column.to_owned(), value);
                    }
                }
                row.extend(fields);
                table.rows.insert(Key::new(&id), Row { id: id.clone(), fields: row, updated: stamp });
                self.touch(&object, &id, stamp);
                Ok(id)
            }
            Edit::Update { object, id, fields } => {
                let table = self.tables.get_mut(&object).ok_or_else(|| Wrong::NoObject(object.clone()))?;
                table.knows(&object, &fields)?;
                let row = table.rows.get_mut(&Key::new(&id)).ok_or_else(|| Wrong::NoRow(object.clone(), id.clone()))?;
                row.fields.extend(fields);
                self.touch(&object, &id, stamp);
                Ok(id)
            }
            Edit::Delete { object, id, marked } => {
                let table = self.tables.get_mut(&object).ok_or_else(|| Wrong::NoObject(object.clone()))?;
                let row = table.rows.get_mut(&Key::new(&id)).ok_or_else(|| Wrong::NoRow(object.clone(), id.clone()))?;
                if marked {
                    row.fields.insert("is_deleted".to_owned(), json!(true));
                    self.touch(&object, &id, stamp);
                } else {
                    table.rows.remove(&Key::new(&id));
                    let at = shown(stamp, self.milliseconds);
                    let fields = json!({ "object": object, "id": id, "deleted_at": at, "deleted_by_id": "101", "permanent": true });
                    self.deletions.push(GoneRow { at: stamp, fields: fields.as_object().cloned().unwrap_or_default() });
                }
                Ok(id)
            }
            Edit::Merge { object, id, into } => {
                let table = self.tables.get_mut(&object).ok_or_else(|| Wrong::NoObject(object.clone()))?;
                for one in [&id, &into] {
                    if !table.rows.contains_key(&Key::new(one)) {
                        return Err(Wrong::NoRow(object, one.clone()));
                    }
                }
                table.rows.remove(&Key::new(&id));
                self.touch(&object, &into, stamp);
                self.point_elsewhere(&object, &id, &into, stamp);
                let at = shown(stamp, self.milliseconds);
                let fields = json!({ "object": object, "surviving_id": into, "merged_id": id, "merged_at": at });
                self.merges.push(GoneRow { at: stamp, fields: fields.as_object().cloned().unwrap_or_default() });
                Ok(into)
            }
        }
    }

    /// Returns now as a change is stamped.
    fn stamp(&self) -> i64 {
        if self.milliseconds { self.now } else { self.now.div_euclid(1_000) * 1_000 }
    }

    fn touch(&mut self, object: &str, id: &str, stamp: i64) {
        let milliseconds = self.milliseconds;
        if let Some(row) = self.tables.get_mut(object).and_then(|table| table.rows.get_mut(&Key::new(id))) {
            row.updated = stamp;
            if row.fields.contains_key("updated_at") {
                row.fields.insert("updated_at".to_owned(), json!(shown(stamp, milliseconds)));
            }
        }
    }

    /// Lets what pointed to a merged record point to the one that lives on.
    fn point_elsewhere(&mut self, object: &str, from: &str, to: &str, stamp: i64) {
        let Some((_, word, columns)) = POINTERS.iter().find(|(name, ..)| *name == object) else { return };
        let mut touched = Vec::new();
        for (name, table) in &mut self.tables {
            for row in table.rows.values_mut() {
                let mut changed = false;
                for column in *columns {
                    if row.fields.get(*column).and_then(Json::as_str) == Some(from) {
                        row.fields.insert((*column).to_owned(), json!(to));
                        changed = true;
                    }
                }
                for (kind, id) in [("parent_object", "parent_id"), ("from_object", "from_id"), ("to_object", "to_id")] {
                    let is =
                        |column: &str| row.fields.get(column).and_then(Json::as_str).unwrap_or_default().to_owned();
                    if is(kind) == *word && is(id) == from {
                        row.fields.insert(id.to_owned(), json!(to));
                        changed = true;
                    }
                }
                if changed {
                    touched.push((name.clone(), row.id.clone()));
                }
            }
        }
        for (name, id) in touched {
            self.touch(&name, &id, stamp);
        }
    }

    /// Opens a file of the company by its id, with its type.
    pub(crate) fn file(&self, id: &str) -> Option<(Vec<u8>, String)> {
        let row = self.tables.get("files")?.rows.get(&Key::new(id))?;
        let path = Path::new(row.fields.get("path")?.as_str()?);
        if path.is_absolute() || path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return None;
        }
        let mut content = Vec::new();
        fs::File::open(self.dir.join(path)).ok()?.read_to_end(&mut content).ok()?;
        let kind = row.fields.get("mime_type").and_then(Json::as_str).unwrap_or("application/octet-stream");
        Some((content, kind.to_owned()))
    }
}

impl Table {
    /// Returns the column that tells rows apart.
    fn id_column(&self) -> &'static str {
        let has = |name: &str| self.columns.iter().any(|column| column == name);
        if has("id") {
            "id"
        } else if has("file_id") {
            "file_id"
        } else {
            "key"
        }
    }

    fn knows(&self, object: &str, fields: &Map<String, Json>) -> Result<(), Wrong> {
        match fields.keys().find(|field| !self.columns.contains(field)) {
            Some(field) => Err(Wrong::NoField(object.to_owned(), field.clone())),
            None => Ok(()),
        }
    }

    fn add(&mut self, fields: Map<String, Json>, now: i64, zone: chrono_tz::Tz) {
        if self.columns.is_empty() {
            self.columns = fields.keys().cloned().collect();
        }
        let text = |name: &str| fields.get(name).and_then(Json::as_str);
        let id = match text("id").or_else(|| text("file_id")) {
            Some(id) => id.to_owned(),
            // Rows without an id stand where they stood.
            None => format!("{:09}", self.rows.len()),
        };
        let updated = text("updated_at").and_then(|text| moment(text, zone)).unwrap_or(now - 86_400_000);
        self.rows.insert(Key::new(&id), Row { id, fields, updated });
    }
}

fn gone(table: Table, at: &str, zone: chrono_tz::Tz) -> Vec<GoneRow> {
    let rows = table.rows.into_values();
    rows.map(|row| GoneRow {
        at: row.fields.get(at).and_then(Json::as_str).and_then(|text| moment(text, zone)).unwrap_or(0),
        fields: row.fields,
    })
    .collect()
}

fn reader(path: &Path) -> io::Result<csv::Reader<io::Cursor<Vec<u8>>>> {
    let bytes = fs::read(path)?;
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").map_or_else(|| bytes.clone(), <[u8]>::to_vec);
    Ok(csv::ReaderBuilder::new().has_headers(false).from_reader(io::Cursor::new(text)))
}

fn header(path: &Path) -> io::Result<Vec<String>> {
    let mut row = csv::StringRecord::new();
    reader(path)?.read_record(&mut row)?;
    Ok(row.iter().map(str::to_owned).collect())
}

fn table_of(path: &Path) -> io::Result<Vec<Map<String, Json>>> {
    let columns = header(path)?;
    let mut rows = Vec::new();
    for row in reader(path)?.records().skip(1) {
        let row = row?;
        rows.push(columns.iter().zip(row.iter()).map(|(column, cell)| (column.clone(), value(column, cell))).collect());
    }
    Ok(rows)
}

/// Gives a cell the type that an API would give it.
fn value(column: &str, cell: &str) -> Json {
    let flags = ["is_deleted", "is_primary", "is_active", "is_default", "is_all_day", "do_not_contact", "inline"];
    let counts = ["position", "employee_count", "duration_seconds", "size_bytes", "probability"];
    let list = match column {
        "tags" => Some(','),
        _ if column.starts_with("tags_") => Some(','),
        "other_emails"
        | "other_phones"
        | "to_addresses"
        | "cc_addresses"
        | "bcc_addresses"
        | "recurrence_exceptions" => Some(';'),
        _ => None,
    };
    if cell.is_empty() {
        return Json::Null;
    }
    if let Some(separator) = list {
        return items(cell, separator).into();
    }
    match cell {
        "true" | "false" if flags.contains(&column) => json!(cell == "true"),
        _ if counts.contains(&column) => match cell.parse::<i64>() {
            Ok(number) if number.to_string() == cell => json!(number),
            _ => json!(cell),
        },
        _ => json!(cell),
    }
}

/// Takes the cell of a list apart (bundle convention: a literal separator or `\` is escaped with `\`).
fn items(cell: &str, separator: char) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut characters = cell.chars().peekable();
    while let Some(character) = characters.next() {
        let last = all.len() - 1;
        if character == '\\' && characters.peek().is_some_and(|next| *next == separator || *next == '\\') {
            all[last].extend(characters.next());
        } else if character == separator {
            all.push(String::new());
        } else {
            all[last].push(character);
        }
    }
    all.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Reads a moment; one without an offset is local to the account.
pub(crate) fn moment(text: &str, zone: chrono_tz::Tz) -> Option<i64> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    zone.from_local_datetime(&local).earliest().map(|at| at.timestamp_millis())
}

/// Writes a moment.
pub(crate) fn shown(at: i64, milliseconds: bool) -> String {
    let form = if milliseconds { SecondsFormat::Millis } else { SecondsFormat::Secs };
    DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(form, true)
}
