//! Takes away what the schema step made, as far as nobody else has built on it.
//!
//! The server would drop a field with everything in it, without a word (Twenty 2.21: `DELETE /rest/metadata/fields/{id}`, "column
//! and data dropped"; a removed option falls back to the default). So each element is held against what we made and against
//! every row, the trash included, right before it goes. What is not as we made it stays.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value as Json, json};
use waybill_ledger::Field;

use super::{
    Twenty,
    catalog::{Catalog, Field as Known, Object, Wire},
    columns::{Column, Columns, Part, born},
    metadata::short,
    read::{nested, with_trash},
    values::{self, Row},
    wire::Counted,
};
use crate::{
    destination::{SchemaElement, SchemaOutcome, SchemaRemoval},
    error::RemoteError,
};

/// Fields that the server gives every object besides those that a plan may set.
const GIVEN: [&str; 8] = [
    "createdBy",
    "updatedBy",
    "position",
    "searchVector",
    "timelineActivities",
    "attachments",
    "noteTargets",
    "taskTargets",
];
/// How many rows are looked at to name one that holds something.
const LOOKED_AT: usize = 60;

impl Twenty {
    /// Takes these elements away, in this order.
    pub(super) async fn unmake(&self, elements: &[SchemaElement]) -> Result<Vec<SchemaRemoval>, RemoteError> {
        let mut done = Vec::with_capacity(elements.len());
        for element in elements {
            // What went before changes what is there.
            self.forget().await;
            let catalog = self.read_catalog().await?;
            done.push(match element {
                SchemaElement::Object { name, label } => self.unmake_object(&catalog, name, label).await?,
                SchemaElement::Field { object, field, label, options } => match catalog.object(object) {
                    Some(known) => self.unmake_field(known, field, label, options).await?,
                    None => SchemaRemoval::Absent,
                },
                SchemaElement::Options { object, field, options } => match catalog.object(object) {
                    Some(known) => self.unmake_options(known, field, options).await?,
                    None => SchemaRemoval::Absent,
                },
                SchemaElement::Variant { .. } => SchemaRemoval::Absent,
            });
        }
        self.forget().await;
        Ok(done)
    }

    async fn unmake_object(&self, catalog: &Catalog, name: &str, label: &str) -> Result<SchemaRemoval, RemoteError> {
        let Some(object) = catalog.object(name) else { return Ok(SchemaRemoval::Absent) };
        if object.label != short(label) {
            return Ok(stays("someone has given it another name"));
        }
        let known: BTreeSet<String> =
            born().into_iter().map(|field| field.name.to_string()).chain(GIVEN.map(str::to_owned)).collect();
        let others: Vec<&str> =
            object.fields.iter().map(|field| field.name.as_str()).filter(|name| !known.contains(*name)).collect();
        if !others.is_empty() {
            return Ok(SchemaRemoval::Stays(format!("it has fields that stay: {}", others.join(", "))));
        }
        if let Some(row) = self.one(object, "id", json!({}), |_| true).await? {
            return Ok(SchemaRemoval::Stays(format!("it has rows, such as {row}")));
        }
        self.drop_element(&format!("/rest/metadata/objects/{}", object.id)).await
    }

    async fn unmake_field(
        &self,
        object: &Object,
        name: &str,
        label: &str,
        options: &[String],
    ) -> Result<SchemaRemoval, RemoteError> {
        let columns = Columns::of(object);
        let Some(column) = columns.get(name) else { return Ok(SchemaRemoval::Absent) };
        let is = |field: &&Known| match &field.wire {
            Wire::ToOne { join, .. } => *join == column.key,
            _ => field.name == column.key,
        };
        let Some(known) = object.fields.iter().find(is) else { return Ok(SchemaRemoval::Absent) };
        if known.label != short(label) {
            return Ok(stays("someone has given it another name"));
        }
        let value = |option: &Json| option["value"].as_str().map(str::to_owned);
        let others: Vec<String> =
            known.options.iter().filter_map(value).filter(|value| !options.contains(value)).collect();
        if !others.is_empty() && !options.is_empty() {
            return Ok(SchemaRemoval::Stays(format!("it has options that are not ours: {}", others.join(", "))));
        }
        let parts: Vec<&Column> = columns.iter().filter(|part| part.key == column.key).collect();
        let filter = json!({ "or": parts.iter().filter_map(|part| holding(part)).collect::<Vec<_>>() });
        let holds = |row: &Row| parts.iter().any(|part| is_held(part, row));
        if let Some(row) = self.one(object, &format!("id {}", column.selection()), filter, holds).await? {
            return Ok(SchemaRemoval::Stays(format!("{} {row} holds something in it", object.singular)));
        }
        self.drop_element(&format!("/rest/metadata/fields/{}", known.id)).await
    }

    async fn unmake_options(
        &self,
        object: &Object,
        name: &str,
        ours: &[(String, String)],
    ) -> Result<SchemaRemoval, RemoteError> {
        let Some(known) = object.field(name) else { return Ok(SchemaRemoval::Absent) };
        let several = known.wire == Wire::MultiSelect;
        let (mut gone, mut kept): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        for (value, label) in ours {
            let Some(there) = known.options.iter().find(|option| option["value"] == value.as_str()) else { continue };
            if there["label"] != label.as_str() {
                kept.push(format!("{value} (someone has given it another name)"));
                continue;
            }
            let test = if several { json!({ "containsAny": [value] }) } else { json!({ "eq": value }) };
            match self.one(object, "id", json!({ name: test }), |_| true).await? {
                Some(row) => kept.push(format!("{value} (in {} {row})", object.singular)),
                None => gone.push(value),
            }
        }
        if !gone.is_empty() {
            let rest: Vec<&Json> = known
                .options
                .iter()
                .filter(|option| option["value"].as_str().is_none_or(|value| !gone.contains(&value)))
                .collect();
            let path = format!("/rest/metadata/fields/{}", known.id);
            if let SchemaOutcome::Refused(why) =
                self.metadata(Method::PATCH, &path, &json!({ "options": rest })).await?
            {
                return Ok(SchemaRemoval::Stays(why));
            }
        }
        Ok(match (gone.is_empty(), kept.is_empty()) {
            (_, false) => SchemaRemoval::Stays(format!("in use: {}", kept.join(", "))),
            (true, true) => SchemaRemoval::Absent,
            (false, true) => SchemaRemoval::Removed,
        })
    }

    /// Returns a row that a filter finds, in the trash or not, and that holds something.
    async fn one(
        &self,
        object: &Object,
        select: &str,
        filter: Json,
        holds: impl Fn(&Row) -> bool,
    ) -> Result<Option<String>, RemoteError> {
        let filter = with_trash(filter);
        let mut after = None;
        loop {
            let page = self.page(object, select, &filter, LOOKED_AT, after.as_deref()).await?;
            if let Some(row) = page.rows.iter().find(|row| holds(row)) {
                return Ok(Some(row.get("id").and_then(Json::as_str).unwrap_or_default().to_owned()));
            }
            after = page.next;
            if after.is_none() {
                return Ok(None);
            }
        }
    }

    async fn drop_element(&self, path: &str) -> Result<SchemaRemoval, RemoteError> {
        let response = self.wire.send(Method::DELETE, path, None, Counted::No).await.map_err(RemoteError::from)?;
        if response.status.as_u16() == 404 {
            return Ok(SchemaRemoval::Absent);
        }
        match Self::metadata_outcome(&response)? {
            SchemaOutcome::Refused(why) => Ok(SchemaRemoval::Stays(why)),
            _ => Ok(SchemaRemoval::Removed),
        }
    }
}

fn stays(why: &str) -> SchemaRemoval {
    SchemaRemoval::Stays(why.to_owned())
}

/// Returns the filter that finds every row which may hold something in a column; none for a part that another one stands for.
fn holding(column: &Column) -> Option<Json> {
    let key = column.key.as_str();
    let there = json!({ "is": "NOT_NULL" });
    Some(match (&column.wire, column.part) {
        // New flags are `false` everywhere: only what someone switched on is something.
        (Wire::Boolean, _) => json!({ key: { "eq": true } }),
        // Of a rich text, no filter but likeness is there.
        (Wire::RichText, _) => json!({ key: { "markdown": { "ilike": "%" } } }),
        (_, Part::Phones) => json!({ key: { "additionalPhones": there } }),
        (_, Part::Texts(part)) => json!({ key: { part: there } }),
        (_, Part::Links) => json!({ key: { "secondaryLinks": there } }),
        _ => nested(&column.path()?, there),
    })
}

/// Returns whether a row holds something of its own in a column. What is empty is there, too, where the server writes it so.
fn is_held(column: &Column, row: &Row) -> bool {
    match values::read(column, row) {
        Field::Absent | Field::Null => false,
        Field::Present(waybill_ledger::Value::Bool(flag)) => flag,
        Field::Present(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_trash_holds_counts_and_a_flag_that_is_off_does_not() {
        let field = |name: &str, wire: Wire| Known {
            id: "f".into(),
            name: name.into(),
            label: name.into(),
            wire,
            nullable: true,
            unique: false,
            defaulted: false,
            options: Vec::new(),
        };
        let object = Object {
            id: "o".into(),
            singular: "person".into(),
            plural: "people".into(),
            label: "Person".into(),
            label_plural: "People".into(),
            fields: vec![field("vip", Wire::Boolean), field("site", Wire::Links), field("tier", Wire::Text)],
        };
        let columns = Columns::of(&object);
        let row = |json: Json| json.as_object().cloned().unwrap_or_default();
        let held = |name: &str, json: Json| columns.get(name).is_some_and(|column| is_held(column, &row(json)));
        assert!(!held("vip", json!({ "vip": false })) && held("vip", json!({ "vip": true })));
        assert!(!held("tier", json!({ "tier": "" })) && held("tier", json!({ "tier": "A" })));
        assert!(!held("site.secondaryLinks", json!({ "site": { "secondaryLinks": [] } })));
        assert!(holding(columns.get("site.primaryLinkUrl").expect("a column")).is_some());
        assert!(with_trash(json!({})).to_string().contains("deletedAt"));
    }
}
