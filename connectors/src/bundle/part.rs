//! One file of one object, looked at and ready to be read.

use std::{collections::BTreeSet, io, sync::Arc};

use waybill_ledger::{FieldName, Value};

use super::{
    cell::Kind,
    container::Entry,
    encoding,
    error::BundleError,
    item::{Item, Sight},
    json_stream::{self, JsonItems, Layout},
    moment::{self, DateOrder, Figures},
    recipe::Recipe,
    rows::Body,
    scan::show,
    table::{Declared, Table},
    table_items::{self, TableItems},
};

/// How many records of a JSON file, and rows of a table, are looked at before reading.
const SAMPLE: usize = 200;

/// One file with everything that reading it takes.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) path: String,
    entry: Entry,
    form: Form,
    pub(crate) recipe: Arc<Recipe>,
    /// The columns as the profile spells them.
    pub(crate) columns: Vec<String>,
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Clone)]
enum Form {
    Table(Table),
    Json(Layout),
}

/// How a file is laid out, by the manifest or else by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Json(Layout),
}

impl Format {
    /// Returns the format that a name or a manifest's word stands for; spreadsheets and binaries have none.
    pub(crate) fn of(word: &str) -> Option<Self> {
        let extension = word.rsplit('.').next().unwrap_or(word).to_lowercase();
        match extension.as_str() {
            "csv" | "tsv" => Some(Self::Table),
            "json" => Some(Self::Json(Layout::Document)),
            "jsonl" | "ndjson" => Some(Self::Json(Layout::Lines)),
            _ => None,
        }
    }
}

impl Part {
    /// Looks at a file and checks that it can be read as the recipe says.
    pub(crate) fn plan(
        path: &str,
        entry: &Entry,
        format: Format,
        declared: &Declared,
        mut recipe: Recipe,
        object: &str,
        or_key: &[String],
    ) -> Result<Self, BundleError> {
        let mut part = Self {
            path: path.to_owned(),
            entry: entry.clone(),
            form: Form::Json(Layout::Document),
            columns: Vec::new(),
            notes: Vec::new(),
            recipe: Arc::new(recipe.clone()),
        };
        match format {
            Format::Json(layout) => {
                let head = entry
                    .open()
                    .and_then(encoding::head)
                    .map_err(|source| BundleError::Io { file: path.to_owned(), source })?;
                let layout = if json_stream::is_lines(&head) { Layout::Lines } else { layout };
                part.form = Form::Json(layout);
                let mut keyless = recipe.clone();
                keyless.key.clear();
                keyless.deleted = None;
                part.columns = sample_columns(path, entry, layout, keyless)
                    .map_err(|source| BundleError::Io { file: path.to_owned(), source })?;
            }
            Format::Table => {
                let wanted: Vec<String> = recipe.key.iter().chain(or_key).cloned().collect();
                let table = Table::look(path, entry, declared, &wanted)?;
                part.columns = table.columns.iter().map(|column| recipe.spelled(&column.name)).collect();
                part.notes.clone_from(&table.notes);
                part.form = Form::Table(table);
            }
        }
        // A file without a line, or a list without records, holds nothing that a key could be missing from.
        if !part.columns.is_empty() {
            let has = |names: &[String]| names.iter().all(|name| part.columns.contains(name));
            if !has(&recipe.key) {
                if or_key.is_empty() || !has(or_key) {
                    return Err(BundleError::ColumnMissing {
                        file: path.to_owned(),
                        object: object.to_owned(),
                        column: recipe.key.join(" and "),
                        found: part.columns.join(", "),
                    });
                }
                recipe.key = or_key.to_vec();
            }
            if let Form::Table(table) = &part.form {
                let twice = recipe.key.iter().find(|key| {
                    let second = format!("{} (2)", key.to_lowercase());
                    table.columns.iter().any(|column| column.repeated && column.name.to_lowercase() == second)
                });
                if let Some(column) = twice {
                    return Err(BundleError::ColumnTwice {
                        file: path.to_owned(),
                        object: object.to_owned(),
                        column: column.clone(),
                    });
                }
                check_date_order(path, entry, table, &recipe)?;
            }
        }
        part.recipe = Arc::new(recipe);
        Ok(part)
    }

    /// Says how the file is read, wherever it lies.
    pub(crate) fn reading(&self) -> impl std::fmt::Debug {
        (&self.path, &self.form, &self.recipe, &self.columns)
    }

    /// Returns the names of the fields that its records have, in their order; of JSON, those that the first ones have.
    pub(crate) fn names(&self) -> Vec<FieldName> {
        match &self.form {
            Form::Table(table) => table_items::names(table, &self.recipe),
            Form::Json(_) => self.columns.iter().map(FieldName::new).collect(),
        }
    }

    /// Shows everything in the file to `see`, with fields in the order of `names`, among which its own are.
    pub(crate) fn scan(&self, names: &Arc<[FieldName]>, see: &mut dyn FnMut(Sight<'_>)) -> io::Result<()> {
        let recipe = Arc::clone(&self.recipe);
        match &self.form {
            Form::Table(table) => {
                let mut items = TableItems::open(&self.path, &self.entry, table, recipe, Arc::clone(names))?;
                while items.next_with(&mut *see).is_some() {}
            }
            Form::Json(layout) => {
                JsonItems::open(&self.path, &self.entry, *layout, recipe)?.for_each(|item| show(&item, names, see));
            }
        }
        Ok(())
    }

    /// Opens the file for reading.
    pub(crate) fn open(&self) -> io::Result<PartItems> {
        let recipe = Arc::clone(&self.recipe);
        Ok(match &self.form {
            Form::Table(table) => {
                let names = self.names().into();
                PartItems::Table(TableItems::open(&self.path, &self.entry, table, recipe, names)?)
            }
            Form::Json(layout) => PartItems::Json(JsonItems::open(&self.path, &self.entry, *layout, recipe)?),
        })
    }
}

/// The items of one file.
pub(crate) enum PartItems {
    Table(TableItems),
    Json(JsonItems),
}

impl Iterator for PartItems {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        match self {
            Self::Table(items) => items.next(),
            Self::Json(items) => items.next(),
        }
    }
}

/// Returns the fields of the first records, in the order of their names.
fn sample_columns(path: &str, entry: &Entry, layout: Layout, recipe: Recipe) -> io::Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for item in JsonItems::open(path, entry, layout, Arc::new(recipe))?.take(SAMPLE) {
        if let Item::Record { record, .. } = item {
            names.extend(record.fields.iter().map(|(name, _)| name.as_str().to_owned()));
        }
    }
    Ok(names.into_iter().collect())
}

/// Refuses a table whose dates can be read in two ways while the profile does not say which one is meant.
fn check_date_order(file: &str, entry: &Entry, table: &Table, recipe: &Recipe) -> Result<(), BundleError> {
    if recipe.conventions.values.date_order.is_some() {
        return Ok(());
    }
    let dated: Vec<usize> = (0..table.columns.len())
        .filter(|&index| {
            recipe
                .declared(&table.columns[index].name)
                .is_some_and(|spec| matches!(spec.kind, Kind::Date | Kind::Time) && spec.format.is_none())
        })
        .collect();
    if dated.is_empty() {
        return Ok(());
    }
    let io = |source| BundleError::Io { file: file.to_owned(), source };
    let mut rows = table.dialect.open(entry).map_err(io)?;
    let (mut open, mut shown) = (None, None);
    rows.next().map_err(io)?;
    for _ in 0..SAMPLE {
        let Some(row) = rows.next().map_err(io)? else { break };
        let Body::Cells(cells) = &row.body else { continue };
        for &index in &dated {
            let Ok(text) = cells.text(index) else { continue };
            let order = match moment::figures_of(&text) {
                Figures::Plain => continue,
                Figures::Only(DateOrder::Dmy) => Some("day"),
                Figures::Only(DateOrder::Mdy) => Some("month"),
                Figures::TwoWays => None,
            };
            open.get_or_insert((table.columns[index].name.clone(), row.line));
            if let Some(first) = order {
                shown.get_or_insert_with(|| format!("line {} can only have the {first} first", row.line));
            }
        }
    }
    match open {
        None => Ok(()),
        Some((column, line)) => Err(BundleError::DateOrder { file: file.to_owned(), column, line, shown }),
    }
}

/// Returns a field as text, for the small tables that Waybill reads for itself.
pub(crate) fn as_text(value: Option<&Value>) -> Option<&str> {
    match value {
        Some(Value::Text(text)) if !text.trim().is_empty() => Some(text.trim()),
        _ => None,
    }
}
