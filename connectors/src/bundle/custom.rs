//! Custom columns as the export itself describes them (bundle convention, "custom_fields.csv").

use std::collections::BTreeMap;

use waybill_ledger::{Choice, FieldKind, Fields, ObjectName, Value};

use super::cell::{ColumnSpec, Kind, boolean, items};

/// Returns what a cell of the description says, also where it is JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::List(all) => {
            all.iter().map(|one| plain(one).replace('\\', r"\\").replace(';', r"\;")).collect::<Vec<_>>().join(";")
        }
        other => other.to_string(),
    }
}

/// What is known about custom columns, by the export's word for their object.
#[derive(Debug, Clone, Default)]
pub(crate) struct CustomColumns {
    columns: BTreeMap<String, BTreeMap<String, CustomColumn>>,
}

/// One custom column.
#[derive(Debug, Clone)]
pub(crate) struct CustomColumn {
    pub(crate) label: String,
    pub(crate) required: bool,
    pub(crate) kind: FieldKind,
    spec: ColumnSpec,
}

impl CustomColumns {
    /// Adds one row of the description. A row without object or key describes nothing.
    pub(crate) fn add(&mut self, row: &Fields, prefix: &str) {
        let text = |name: &str| row.value(name).map(plain).unwrap_or_default();
        let (object, key) = (text("object").trim().to_owned(), text("key").trim().to_owned());
        if object.is_empty() || key.is_empty() {
            return;
        }
        let column = if key.starts_with(prefix) { key.clone() } else { format!("{prefix}{key}") };
        let number = |name: &str| text(name).trim().parse::<u32>().unwrap_or(0);
        let flag = |name: &str| boolean(text(name).trim()).unwrap_or(false);
        let options = || {
            items(&text("options"), ';')
                .into_iter()
                .map(|option| Choice { value: option.clone(), label: option, active: true })
                .collect()
        };
        let length = number("max_length");
        let plain = FieldKind::Text { length, multiline: false, rich: false };
        let reference = |to: &str| FieldKind::Reference { to: vec![ObjectName::from(to)] };
        let (mut kind, mut spec) = match text("type").trim().to_lowercase().as_str() {
            "long_text" => (FieldKind::Text { length, multiline: true, rich: false }, Kind::LongText),
            "html" => (FieldKind::Text { length, multiline: true, rich: true }, Kind::Html),
            "number" => (FieldKind::Number { precision: 0, scale: number("decimals") }, Kind::Number),
            "money" => (FieldKind::Money { precision: 0, scale: number("decimals") }, Kind::Money),
            "percent" => (FieldKind::Percent { precision: 0, scale: number("decimals") }, Kind::Percent),
            "date" => (FieldKind::Date, Kind::Date),
            "datetime" => (FieldKind::Time, Kind::Time),
            "checkbox" => (FieldKind::Bool, Kind::Bool),
            "picklist" => (FieldKind::Choice { options: options(), restricted: false }, Kind::Choice),
            "multi_picklist" => (FieldKind::Choices { options: options(), restricted: false }, Kind::List),
            "email" => (FieldKind::Email, Kind::Email),
            "phone" => (FieldKind::Phone, Kind::Phone),
            "url" => (FieldKind::Url, Kind::Url),
            "user" => (reference("users"), Kind::Text),
            "reference" => (reference(&text("reference_object")), Kind::Text),
            _ => (plain, Kind::Text),
        };
        if flag("multi") && spec != Kind::List {
            kind = FieldKind::Choices { options: options(), restricted: false };
            spec = Kind::List;
        }
        let label = match text("label").trim() {
            "" => column.clone(),
            label => label.to_owned(),
        };
        let described = CustomColumn { label, required: flag("required"), kind, spec: spec.into() };
        self.columns.entry(object.to_lowercase()).or_default().insert(column.to_lowercase(), described);
    }

    /// Returns the columns that are described under one of these words.
    fn of<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a CustomColumn)> {
        words.iter().filter_map(|word| self.columns.get(&word.to_lowercase())).flatten()
    }

    /// Returns how the cells of the columns are written.
    pub(crate) fn specs(&self, words: &[&str]) -> BTreeMap<String, ColumnSpec> {
        self.of(words).map(|(name, column)| (name.clone(), column.spec.clone())).collect()
    }

    /// Returns what is said about one column.
    pub(crate) fn column(&self, words: &[&str], name: &str) -> Option<&CustomColumn> {
        let name = name.to_lowercase();
        words.iter().find_map(|word| self.columns.get(&word.to_lowercase())?.get(&name))
    }
}
