//! Rows of an answer, read straight into records: what was written is read back row by row, so this is where most bytes of a
//! migration go.

use std::{collections::HashMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use waybill_ledger::{Field, FieldKind, FieldName, Fields, ObjectSchema, Record};

use super::{answer, values::into_field};
use crate::{destination::RemoteRecord, error::RemoteError};

/// Which fields of a row are wanted, and what they are.
pub(super) struct Shape<'s> {
    fields: HashMap<&'s str, (&'s FieldName, Option<&'s FieldKind>)>,
}

impl<'s> Shape<'s> {
    pub(super) fn new(schema: Option<&'s ObjectSchema>, fields: &'s [FieldName]) -> Self {
        let kind = |name: &FieldName| schema?.field(name.as_str()).map(|field| &field.kind);
        Self { fields: fields.iter().map(|name| (name.as_str(), (name, kind(name)))).collect() }
    }

    /// Reads a list of rows, of which those that are `null` are not there.
    pub(super) fn rows(&self, what: &str, body: &[u8]) -> Result<Vec<RemoteRecord>, RemoteError> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let rows = self.deserialize(&mut reader).map_err(|e| answer::malformed(what, &e))?;
        reader.end().map_err(|e| answer::malformed(what, &e))?;
        Ok(rows)
    }
}

impl<'de> DeserializeSeed<'de> for &Shape<'_> {
    type Value = Vec<RemoteRecord>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &Shape<'_> {
    type Value = Vec<RemoteRecord>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(row) = rows.next_element_seed(Row(self))? {
            read.extend(row);
        }
        Ok(read)
    }
}

/// One row, or `null`.
struct Row<'a, 's>(&'a Shape<'s>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = Option<RemoteRecord>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = Option<RemoteRecord>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Self::Value, A::Error> {
        let wanted = &self.0.fields;
        let (mut id, mut version, mut modified_by) = (None, None, None);
        let mut fields = Vec::with_capacity(wanted.len());
        while let Some(name) = row.next_key::<Name<'de>>()? {
            let name = name.as_str();
            let own = match name {
                "Id" => Some(&mut id),
                "SystemModstamp" => Some(&mut version),
                "LastModifiedById" => Some(&mut modified_by),
                _ => None,
            };
            let known = wanted.get(name);
            if own.is_none() && known.is_none() {
                row.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Json = row.next_value()?;
            if let Some(own) = own {
                *own = value.as_str().map(str::to_owned);
            }
            if let Some((name, kind)) = known {
                let value = match into_field(value, *kind) {
                    Field::Present(value) => Some(value),
                    Field::Null | Field::Absent => None,
                };
                fields.push(((*name).clone(), value));
            }
        }
        let record = Record { id: id.unwrap_or_default(), fields: Fields::from_row(fields) };
        Ok(Some(RemoteRecord { record, version, modified_by }))
    }
}

/// The name of a field: most of the time as it stands in the answer.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl Name<'_> {
    fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_hold_what_was_asked_for_and_those_that_are_not_there_are_left_out() {
        let body = br#"[{"attributes":{"type":"Account","url":"/x"},"Id":"001","Name":"A\u00e9","Other":[1,{"a":2}],
            "SystemModstamp":"2024-01-01T00:00:00.000+0000","LastModifiedById":"005","Phone":null},null]"#;
        let fields = [FieldName::from("Phone"), FieldName::from("Name"), FieldName::from("Missing")];
        let rows = Shape::new(None, &fields).rows("rows", body).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].record.id, "001");
        assert_eq!(rows[0].record.fields.text("Name"), Some("Aé"));
        assert_eq!(rows[0].record.fields.get("Phone"), Field::Null);
        assert_eq!(rows[0].record.fields.get("Missing"), Field::Absent);
        assert_eq!(rows[0].record.fields.len(), 2);
        assert_eq!(rows[0].modified_by.as_deref(), Some("005"));
        assert!(rows[0].version.is_some());
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error_without_its_words() {
        let error = Shape::new(None, &[]).rows("rows by id", br#"[{"Id":"secret"#).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
