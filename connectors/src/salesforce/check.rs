//! Looks at a row as Salesforce would, before it is sent: what it is certain to refuse costs no request.
//!
//! Source: "Status Codes and Error Responses" in the REST API Developer Guide; the flags are those of the describe.

use std::collections::HashMap;

use waybill_ledger::{FieldKind, FieldName, FieldSchema, Fields, ObjectSchema, Value, event::Operation};

use crate::{destination::Refusal, error::Retry};

/// What rows of an object must be like to be created or changed.
#[derive(Debug)]
pub struct Rules<'s> {
    schema: &'s ObjectSchema,
    operation: Operation,
    /// By their names, and by their names in lower case.
    fields: HashMap<String, &'s FieldSchema>,
    required: Vec<&'s FieldSchema>,
}

impl<'s> Rules<'s> {
    /// Returns what an object's describe demands.
    pub fn of(schema: &'s ObjectSchema, operation: Operation) -> Self {
        let names = |field: &'s FieldSchema| {
            let name = field.name.as_str();
            [(name.to_owned(), field), (name.to_ascii_lowercase(), field)]
        };
        let fields = schema.fields.iter().flat_map(names).collect();
        let required = schema.fields.iter().filter(|field| field.required).collect();
        Self { schema, operation, fields, required }
    }

    /// Returns a field by its name, in whatever case.
    fn field(&self, name: &str) -> Option<&'s FieldSchema> {
        self.fields.get(name).or_else(|| self.fields.get(&name.to_ascii_lowercase())).copied()
    }

    /// Returns why Salesforce would refuse a row, or nothing. A new row may carry a key beside its fields; a null in it is not
    /// sent.
    pub fn check(&self, fields: &Fields, key: Option<(&FieldName, &str)>) -> Option<Refusal> {
        let refuse = |code: &str, message: String, field: &str| {
            let fields = vec![field.into()];
            Some(Refusal { code: code.to_owned(), message, fields, retry: Retry::Never, duplicate: false })
        };
        let creates = self.operation == Operation::Create;
        let key = key.map(|(field, key)| (field, Value::from(key)));
        let set = fields.iter().filter(|(_, value)| !creates || value.is_some());
        for (name, value) in set.chain(key.iter().map(|(field, key)| (*field, Some(key)))) {
            let name = name.as_str();
            let Some(field) = self.field(name) else {
                return refuse(
                    "INVALID_FIELD",
                    format!("No such column '{name}' on sobject of type {}", self.schema.name),
                    name,
                );
            };
            if !(if creates { field.createable } else { field.updateable }) {
                let message = format!(
                    "Unable to create/update fields: {name}. Please check the security settings of this field and verify that it is read/write for your profile or permission set."
                );
                return refuse("INVALID_FIELD_FOR_INSERT_UPDATE", message, name);
            }
            let Some(value) = value else {
                if field.required {
                    return refuse("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{name}]"), name);
                }
                continue;
            };
            match (&field.kind, value) {
                (FieldKind::Text { length, .. }, Value::Text(text))
                    if *length > 0 && text.chars().count() > *length as usize =>
                {
                    return refuse(
                        "STRING_TOO_LONG",
                        format!("{}: data value too large (max length={length})", field.label),
                        name,
                    );
                }
                (FieldKind::Choice { options, restricted: true }, Value::Text(text))
                    if !text.is_empty() && !options.iter().any(|option| option.active && option.value == *text) =>
                {
                    let message = format!("{}: bad value for restricted picklist field: {text}", field.label);
                    return refuse("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, name);
                }
                (FieldKind::Reference { .. }, Value::Text(text)) if !is_id(text) => {
                    return refuse(
                        "MALFORMED_ID",
                        format!("{}: id value of incorrect type: {text}", field.label),
                        name,
                    );
                }
                _ => {}
            }
        }
        if creates {
            for field in &self.required {
                if fields.get(field.name.as_str()).is_blank() {
                    let message = format!("Required fields are missing: [{}]", field.name);
                    return refuse("REQUIRED_FIELD_MISSING", message, field.name.as_str());
                }
            }
        }
        None
    }
}

/// Returns whether a text is an id: 15 characters, or 18 with the right checksum.
pub fn is_id(text: &str) -> bool {
    if !text.is_ascii() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    match text.len() {
        15 => true,
        18 => text[15..] == checksum(&text[..15]),
        _ => false,
    }
}

/// Returns the three characters that make an id of 15 safe to compare without regard to case.
fn checksum(id: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    id.as_bytes()
        .chunks(5)
        .map(|group| {
            let bits = group.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
            char::from(ALPHABET[bits.map(|(n, _)| 1 << n).sum::<usize>()])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_recorded_ids() {
        for id in ["0015500001QdQWaAAN", "003P000001avB5GIAU", "0065500000KQ12XAAT", "012000000000000AAA"] {
            assert!(is_id(id), "{id}");
            assert!(is_id(&id[..15]));
        }
        assert!(!is_id("0015500001QdQWaAAM"));
        assert!(!is_id("0015500001QdQW"));
        assert!(!is_id("0015500001QdQ-a"));
    }
}
