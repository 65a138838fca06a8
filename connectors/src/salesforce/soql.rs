//! SOQL as text: the few queries that we ask, built so that no value can break out of its quotes.
//!
//! Source: "SOQL SELECT Syntax" and "Quoted String Escape Sequences" in the SOQL and SOSL Reference; the length of an
//! address in "API Request Limits" (16,384 bytes).

use waybill_ledger::{FieldName, ObjectName, ObjectSchema};

/// The most bytes of an encoded query in an address, with room for the server's name and path.
const BUDGET: usize = 12_000;

/// Returns a text in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Returns `SELECT … FROM …` with Id, the modification mark, the last modifier and these fields.
pub(super) fn select(object: &ObjectName, schema: Option<&ObjectSchema>, fields: &[FieldName]) -> String {
    format!("SELECT {} FROM {object}", columns(schema, fields).join(", "))
}

/// Returns the columns that every read has, as far as the object has them, and these.
pub(super) fn columns(schema: Option<&ObjectSchema>, fields: &[FieldName]) -> Vec<String> {
    let has = |name: &&str| *name == "Id" || schema.is_none_or(|schema| schema.field(name).is_some());
    let mut columns: Vec<String> =
        ["Id", "SystemModstamp", "LastModifiedById"].into_iter().filter(has).map(str::to_owned).collect();
    for field in fields {
        if !columns.iter().any(|known| known.eq_ignore_ascii_case(field.as_str())) {
            columns.push(field.to_string());
        }
    }
    columns
}

/// Cuts values into lists that fit an address beside a query of this length.
pub(super) fn lists(values: &[String], query: usize) -> Vec<&[String]> {
    let budget = BUDGET.saturating_sub(query).max(1_000);
    let (mut lists, mut start, mut used) = (Vec::new(), 0, 0);
    for (n, value) in values.iter().enumerate() {
        let length = encoded(&quoted(value)) + 3;
        if n > start && used + length > budget {
            lists.push(&values[start..n]);
            (start, used) = (n, 0);
        }
        used += length;
    }
    if start < values.len() {
        lists.push(&values[start..]);
    }
    lists
}

/// Returns `('a','b')`.
pub(super) fn list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("({})", values.join(","))
}

/// Returns the length of a text in an address.
pub(super) fn encoded(text: &str) -> usize {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_value_breaks_out_of_its_quotes(text in ".*") {
            let quoted = quoted(&text);
            let inner = &quoted[1..quoted.len() - 1];
            let mut chars = inner.chars();
            let mut back = String::new();
            while let Some(c) = chars.next() {
                prop_assert_ne!(c, '\'');
                match c {
                    '\\' => back.push(match chars.next() {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some(c) => c,
                        None => return Err(TestCaseError::fail("a lonely backslash")),
                    }),
                    c => back.push(c),
                }
            }
            prop_assert_eq!(back, text);
        }

        #[test]
        fn lists_fit_and_lose_nothing(values in prop::collection::vec("[a-z']{0,60}", 0..900)) {
            let lists = lists(&values, 500);
            prop_assert_eq!(&lists.concat(), &values);
            for part in &lists {
                prop_assert!(part.len() == 1 || encoded(&list(part)) <= BUDGET);
            }
        }
    }
}
