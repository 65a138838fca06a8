//! The database: rows, what must be unique, what points to what.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    model::{Catalog, Col, Kind, OnDestroy, col, field_of},
    refusal::Refusal,
    uuid::Uuid,
};

/// A row. Columns that hold nothing are not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) cells: BTreeMap<Col, Json>,
    /// Whether the platform wrote it on its own, in answer to somebody's write.
    pub(crate) automatic: bool,
}

impl Row {
    pub(crate) fn get(&self, at: Col) -> Option<&Json> {
        self.cells.get(&at)
    }

    pub(crate) fn text(&self, at: Col) -> Option<&str> {
        self.cells.get(&at).and_then(Json::as_str)
    }

    pub(crate) fn set(&mut self, at: Col, value: Option<Json>) {
        match value {
            Some(value) => drop(self.cells.insert(at, value)),
            None => drop(self.cells.remove(&at)),
        }
    }
}

/// The rows of one object. The trash is among them, and counts for every index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<Uuid, Row>,
    /// By unique field: the row that holds a key.
    keys: BTreeMap<u32, BTreeMap<String, Uuid>>,
    /// By column that points to a row: who points to it.
    children: BTreeMap<Col, BTreeMap<Uuid, BTreeSet<Uuid>>>,
    pub(crate) live: usize,
    /// The columns `deletedAt` and `position`.
    pub(crate) deleted: Col,
    position: Col,
    /// The positions before the first and after the last row.
    first: f64,
    last: f64,
}

impl Table {
    fn new(catalog: &Catalog, object: u32) -> Self {
        let (deleted, position) = (catalog.col(object, "deletedAt"), catalog.col(object, "position"));
        Self { deleted, position, ..Self::default() }
    }

    pub(crate) fn is_live(&self, row: &Row) -> bool {
        !row.cells.contains_key(&self.deleted)
    }

    /// Returns the row with this key in a unique field.
    pub(crate) fn holder(&self, field: u32, key: &str) -> Option<Uuid> {
        self.keys.get(&field)?.get(key).copied()
    }

    /// Returns the rows that point to another by this column.
    pub(crate) fn children(&self, at: Col, parent: Uuid) -> Vec<Uuid> {
        self.children.get(&at).and_then(|parents| parents.get(&parent)).into_iter().flatten().copied().collect()
    }
}

/// The tables of a workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    tables: BTreeMap<u32, Table>,
}

/// Writes a value as a key is compared.
fn key_text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the key of a unique field, unless a part of it is nothing.
pub(crate) fn key_of(catalog: &Catalog, field: u32, cell: impl Fn(Col) -> Option<Json>) -> Option<String> {
    let parts: Option<Vec<String>> =
        catalog.field(field).key_cols().into_iter().map(|at| cell(at).map(|value| key_text(&value))).collect();
    parts.map(|parts| parts.join("\u{1f}"))
}

impl Rows {
    pub(crate) fn add_table(&mut self, catalog: &Catalog, object: u32) {
        self.tables.insert(object, Table::new(catalog, object));
    }

    pub(crate) fn drop_table(&mut self, object: u32) {
        self.tables.remove(&object);
    }

    /// Returns the table of an object that is known to be there.
    pub(crate) fn table(&self, object: u32) -> &Table {
        self.tables.get(&object).expect("every object of the catalog has a table")
    }

    fn table_mut(&mut self, object: u32) -> &mut Table {
        self.tables.get_mut(&object).expect("every object of the catalog has a table")
    }

    pub(crate) fn get(&self, object: u32, id: Uuid) -> Option<&Row> {
        self.tables.get(&object)?.rows.get(&id)
    }

    pub(crate) fn live(&self, object: u32, id: Uuid) -> Option<&Row> {
        let table = self.tables.get(&object)?;
        table.rows.get(&id).filter(|row| table.is_live(row))
    }

    /// Returns where a row goes that says no position: before the first.
    pub(crate) fn before_first(&self, object: u32) -> f64 {
        self.table(object).first - 1.0
    }

    pub(crate) fn after_last(&self, object: u32) -> f64 {
        self.table(object).last + 1.0
    }

    /// Puts a row in place, or takes it away, without asking. Indexes follow.
    pub(crate) fn force(&mut self, catalog: &Catalog, object: u32, id: Uuid, row: Option<Row>) -> Option<Row> {
        let unique: Vec<u32> =
            catalog.fields_of(object).filter(|field| field.unique).map(|field| field.number).collect();
        let pointing: Vec<Col> = catalog
            .fields_of(object)
            .filter(|field| field.points().is_some())
            .map(|field| col(field.number, 0))
            .collect();
        let table = self.table_mut(object);
        let before = table.rows.remove(&id);
        if let Some(before) = &before {
            table.live -= usize::from(table.is_live(before));
            for field in &unique {
                if let Some(key) = key_of(catalog, *field, |at| before.get(at).cloned())
                    && let Some(keys) = table.keys.get_mut(field)
                    && keys.get(&key) == Some(&id)
                {
                    keys.remove(&key);
                }
            }
            for at in &pointing {
                if let Some(parent) = before.text(*at).and_then(Uuid::parse)
                    && let Some(parents) = table.children.get_mut(at)
                    && let Some(children) = parents.get_mut(&parent)
                {
                    children.remove(&id);
                    if children.is_empty() {
                        parents.remove(&parent);
                    }
                }
            }
        }
        if let Some(row) = row {
            table.live += usize::from(table.is_live(&row));
            for field in &unique {
                if let Some(key) = key_of(catalog, *field, |at| row.get(at).cloned()) {
                    table.keys.entry(*field).or_default().insert(key, id);
                }
            }
            for at in &pointing {
                if let Some(parent) = row.text(*at).and_then(Uuid::parse) {
                    table.children.entry(*at).or_default().entry(parent).or_default().insert(id);
                }
            }
            if let Some(position) = row.get(table.position).and_then(Json::as_f64) {
                table.first = table.first.min(position);
                table.last = table.last.max(position);
            }
            table.rows.insert(id, row);
        }
        before
    }

    /// Refuses a row that breaks a constraint on itself: a value that must be there, its id, a unique key.
    fn check(&self, catalog: &Catalog, object: u32, id: Uuid, row: &Row, new: bool) -> Result<(), Refusal> {
        let definition = catalog.object(object);
        let table = self.table(object);
        for field in catalog.fields_of(object) {
            let at = col(field.number, 0);
            let value = row.get(at);
            let scalar = field.kind.parts().is_empty() && !field.is_list() && field.kind != Kind::TsVector;
            if value.is_none() && !field.nullable && scalar {
                let name = catalog.col_name(at);
                return Err(Refusal::database(format!(
                    "null value in column \"{name}\" of relation \"{}\" violates not-null constraint",
                    definition.table()
                )));
            }
        }
        if new && table.rows.contains_key(&id) {
            return Err(Refusal::duplicate(&definition.singular, "Id", &id.to_string()));
        }
        for field in catalog.fields_of(object).filter(|field| field.unique) {
            let key = key_of(catalog, field.number, |at| row.get(at).cloned());
            let holder = key.and_then(|key| table.holder(field.number, &key)).filter(|holder| *holder != id);
            if let Some(holder) = holder {
                return Err(Refusal::duplicate(&definition.singular, &field.label, &holder.to_string()));
            }
        }
        Ok(())
    }

    /// Refuses a row that points to one that is not there. The database looks at the end of a statement, so that the rows of one
    /// insert may point to each other.
    pub(crate) fn check_references(&self, catalog: &Catalog, object: u32, id: Uuid, row: &Row) -> Result<(), Refusal> {
        let definition = catalog.object(object);
        for field in catalog.fields_of(object) {
            let Some((target, _)) = field.points() else { continue };
            let Some(parent) = row.text(col(field.number, 0)).and_then(Uuid::parse) else { continue };
            if parent != id && self.get(target, parent).is_none() || parent == id && target != object {
                return Err(Refusal::database(format!(
                    "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                    definition.table(),
                    constraint(&field.id)
                )));
            }
        }
        Ok(())
    }

    /// Adds a row whose references are yet to be checked.
    pub(crate) fn place(&mut self, catalog: &Catalog, object: u32, id: Uuid, row: Row) -> Result<(), Refusal> {
        self.check(catalog, object, id, &row, true)?;
        self.force(catalog, object, id, Some(row));
        Ok(())
    }

    /// Adds a row.
    pub(crate) fn insert(&mut self, catalog: &Catalog, object: u32, id: Uuid, row: Row) -> Result<(), Refusal> {
        self.check_references(catalog, object, id, &row)?;
        self.place(catalog, object, id, row)
    }

    /// Replaces a row that is there, and returns it as it was.
    pub(crate) fn replace(&mut self, catalog: &Catalog, object: u32, id: Uuid, row: Row) -> Result<Row, Refusal> {
        self.check(catalog, object, id, &row, false)?;
        self.check_references(catalog, object, id, &row)?;
        self.force(catalog, object, id, Some(row)).ok_or_else(Refusal::not_found)
    }

    /// Gives a row another id, unless somebody points to it.
    pub(crate) fn rename(&mut self, catalog: &Catalog, object: u32, id: Uuid, to: Uuid) -> Result<(), Refusal> {
        let definition = catalog.object(object);
        if self.table(object).rows.contains_key(&to) {
            return Err(Refusal::duplicate(&definition.singular, "Id", &to.to_string()));
        }
        for (child, field, _) in catalog.pointing_at(object) {
            if !self.table(child).children(col(field, 0), id).is_empty() {
                return Err(Refusal::database(format!(
                    "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                    definition.table(),
                    constraint(&catalog.field(field).id),
                    catalog.object(child).table()
                )));
            }
        }
        if let Some(mut row) = self.force(catalog, object, id, None) {
            row.set(catalog.col(object, "id"), Some(Json::String(to.to_string())));
            self.force(catalog, object, to, Some(row));
        }
        Ok(())
    }

    /// Removes a row for good: what points to it goes as well, or points to nothing.
    pub(crate) fn destroy(&mut self, catalog: &Catalog, object: u32, id: Uuid) -> Option<Row> {
        let row = self.force(catalog, object, id, None)?;
        for (child, field, on) in catalog.pointing_at(object) {
            let at = col(field, 0);
            for below in self.table(child).children(at, id) {
                match on {
                    OnDestroy::Cascade => drop(self.destroy(catalog, child, below)),
                    OnDestroy::Clear => {
                        if let Some(mut row) = self.get(child, below).cloned() {
                            row.set(at, None);
                            self.force(catalog, child, below, Some(row));
                        }
                    }
                }
            }
        }
        Some(row)
    }

    /// Begins or stops to keep a field unique; `false`, and nothing done, when two rows hold the same key.
    pub(crate) fn index(&mut self, catalog: &Catalog, field: u32, on: bool) -> bool {
        let object = catalog.field(field).object;
        let table = self.table_mut(object);
        table.keys.remove(&field);
        if !on {
            return true;
        }
        let mut keys = BTreeMap::new();
        for (id, row) in &table.rows {
            if let Some(key) = key_of(catalog, field, |at| row.get(at).cloned())
                && keys.insert(key, *id).is_some()
            {
                return false;
            }
        }
        table.keys.insert(field, keys);
        true
    }

    /// Drops the columns of a field.
    pub(crate) fn drop_field(&mut self, object: u32, field: u32) {
        let table = self.table_mut(object);
        table.keys.remove(&field);
        table.children.remove(&col(field, 0));
        for row in table.rows.values_mut() {
            row.cells.retain(|at, _| field_of(*at) != field);
        }
    }

    /// Writes a column of every row.
    pub(crate) fn rewrite(
        &mut self,
        catalog: &Catalog,
        object: u32,
        at: Col,
        change: impl Fn(Option<&Json>) -> Option<Json>,
    ) {
        let ids: Vec<Uuid> = self.table(object).rows.keys().copied().collect();
        for id in ids {
            if let Some(mut row) = self.get(object, id).cloned() {
                let value = change(row.get(at));
                row.set(at, value);
                self.force(catalog, object, id, Some(row));
            }
        }
    }
}

/// Writes the name of a foreign key, which messages tell.
fn constraint(field: &str) -> String {
    let hash = blake3::hash(field.as_bytes()).to_hex();
    format!("FK_{}", &hash[..27])
}
