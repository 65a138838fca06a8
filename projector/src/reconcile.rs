//! Holds what the destination has against what we meant to write.

use rust_decimal::Decimal;
use waybill_ledger::{Field, FieldKind, FieldName, Fields, Value};

use crate::mapping::{FILE_MD5, FILE_SIZE};

/// Returns whether two values of a field are the same to a destination that keeps it as this kind.
pub fn same(kind: Option<&FieldKind>, one: &Field, other: &Field) -> bool {
    match (one.is_blank(), other.is_blank()) {
        (true, true) => return true,
        (true, false) | (false, true) => {
            // An unset flag and `false` are one thing to systems whose flags cannot be empty.
            let no = |field: &Field| field.is_blank() || *field == Field::Present(Value::Bool(false));
            return matches!(kind, Some(FieldKind::Bool)) && no(one) && no(other);
        }
        (false, false) => {}
    }
    match (one, other) {
        (Field::Present(one), Field::Present(other)) => same_value(kind, one, other),
        _ => false,
    }
}

fn same_value(kind: Option<&FieldKind>, one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => scaled(kind, *a) == scaled(kind, *b),
        // A content is known by its size and MD5: where it came from and where it is now differ.
        (Value::Map(a), Value::Map(b)) if matches!(kind, Some(FieldKind::Binary)) => {
            a.get(FILE_MD5).is_some() && a.get(FILE_MD5) == b.get(FILE_MD5) && a.get(FILE_SIZE) == b.get(FILE_SIZE)
        }
        // Systems keep times to the second or the millisecond.
        (Value::Time(a), Value::Time(b)) => {
            a.timestamp_millis() == b.timestamp_millis() || {
                a.timestamp() == b.timestamp() && (a.timestamp_subsec_nanos() == 0 || b.timestamp_subsec_nanos() == 0)
            }
        }
        (Value::List(a), Value::List(b)) if matches!(kind, Some(FieldKind::Choices { .. })) => {
            let sorted = |items: &[Value]| {
                let mut texts: Vec<String> = items.iter().map(ToString::to_string).collect();
                texts.sort();
                texts
            };
            sorted(a) == sorted(b)
        }
        (Value::Text(a), Value::Text(b)) => match kind {
            Some(FieldKind::Email) => a.trim().eq_ignore_ascii_case(b.trim()),
            Some(FieldKind::Id | FieldKind::Reference { .. }) => {
                a == b || a.get(..15).is_some() && a.get(..15) == b.get(..15) && (a.len() == 15 || b.len() == 15)
            }
            _ => a == b || lines(a) == lines(b),
        },
        _ => one == other,
    }
}

/// Line ends and surrounding white space are the platform's affair.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").trim().to_owned()
}

fn scaled(kind: Option<&FieldKind>, number: Decimal) -> Decimal {
    match kind {
        Some(
            FieldKind::Number { precision, scale }
            | FieldKind::Money { precision, scale }
            | FieldKind::Percent { precision, scale },
        ) if *precision > 0 => number.round_dp(*scale).normalize(),
        _ => number.normalize(),
    }
}

/// A field that is not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field.
    pub field: FieldName,
    /// What was meant.
    pub meant: Field,
    /// What is there.
    pub found: Field,
}

/// Returns the fields of `meant` that the destination holds differently.
pub fn compare(meant: &Fields, found: &Fields, kind: impl Fn(&str) -> Option<FieldKind>) -> Vec<Mismatch> {
    meant
        .iter()
        .filter_map(|(name, value)| {
            let meant = value.map_or(Field::Null, |value| Field::Present(value.clone()));
            let found = match found.get(name.as_str()) {
                Field::Absent => Field::Null,
                found => found,
            };
            let equal = same(kind(name.as_str()).as_ref(), &meant, &found);
            (!equal).then(|| Mismatch { field: name.clone(), meant, found })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Field {
        Field::Present(Value::Number(text.parse().unwrap()))
    }

    #[test]
    fn values_that_mean_the_same_are_the_same() {
        let money = FieldKind::Money { precision: 18, scale: 2 };
        assert!(same(Some(&money), &number("1.50"), &number("1.5")));
        assert!(!same(Some(&money), &number("1.50"), &number("1.51")));
        assert!(same(None, &Field::Null, &Field::from("")));
        assert!(same(Some(&FieldKind::Bool), &Field::Null, &Field::from(false)));
        assert!(!same(Some(&FieldKind::Bool), &Field::Null, &Field::from(true)));
        assert!(same(Some(&FieldKind::Email), &Field::from("A@b.co"), &Field::from("a@b.co")));
        assert!(same(None, &Field::from("a\r\nb "), &Field::from("a\nb")));
        assert!(!same(None, &Field::from("a"), &Field::from("A")));
        let to = FieldKind::Reference { to: vec![] };
        assert!(same(Some(&to), &Field::from("0015500001QdQWf"), &Field::from("0015500001QdQWfAAN")));
        assert!(!same(Some(&to), &Field::from("0015500001QdQWfAAM"), &Field::from("0015500001QdQWfAAN")));
    }

    #[test]
    fn every_difference_is_named() {
        let meant: Fields = [("a", "1"), ("b", "2")].into_iter().map(|(n, v)| (n, Field::from(v))).collect();
        let found: Fields = [("a", "1"), ("c", "3")].into_iter().map(|(n, v)| (n, Field::from(v))).collect();
        let wrong = compare(&meant, &found, |_| None);
        assert_eq!(wrong, [Mismatch { field: "b".into(), meant: Field::from("2"), found: Field::Null }]);
    }
}
