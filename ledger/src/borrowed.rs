//! What a record says, where it lies: [`Field`](crate::Field) and [`Value`] without a copy, for those who look and keep
//! nothing.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::record::{Field, Value};

/// What a system said about one field, with the three kinds of nothing kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum FieldRef<'a> {
    /// The system said nothing about the field.
    #[default]
    Absent,
    /// The system said that the field holds nothing.
    Null,
    /// The system gave a value, which may be an empty text.
    Present(ValueRef<'a>),
}

impl<'a> FieldRef<'a> {
    /// Returns the value, if there is one.
    pub fn value(self) -> Option<ValueRef<'a>> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'a> From<&'a Field> for FieldRef<'a> {
    fn from(field: &'a Field) -> Self {
        match field {
            Field::Absent => Self::Absent,
            Field::Null => Self::Null,
            Field::Present(value) => Self::Present(value.into()),
        }
    }
}

impl<'a> From<Option<&'a Value>> for FieldRef<'a> {
    /// Takes a field that is there, as [`Fields::iter`](crate::Fields::iter) gives it: `None` stands for null.
    fn from(value: Option<&'a Value>) -> Self {
        value.map_or(Self::Null, |value| Self::Present(value.into()))
    }
}

/// A value of one field: [`Value`], where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Text, exactly as given.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// An exact decimal number.
    Number(Decimal),
    /// A day without time or zone.
    Date(NaiveDate),
    /// A moment, in UTC, to the microsecond.
    Time(DateTime<Utc>),
    /// Several values, in order.
    List(&'a [Value]),
    /// A composite, by part.
    Map(&'a BTreeMap<String, Value>),
}

impl<'a> ValueRef<'a> {
    /// Returns the same value in a place of its own.
    pub fn to_value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Bool(flag) => Value::Bool(flag),
            Self::Number(number) => Value::Number(number),
            Self::Date(day) => Value::Date(day),
            Self::Time(at) => Value::Time(at),
            Self::List(items) => Value::List(items.to_vec()),
            Self::Map(parts) => Value::Map(parts.clone()),
        }
    }

    /// Returns the value as a person would read it, as [`Value`] is shown; a text is not copied for it.
    pub fn shown(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_value().to_string()),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(*number),
            Value::Date(day) => Self::Date(*day),
            Value::Time(at) => Self::Time(*at),
            Value::List(items) => Self::List(items),
            Value::Map(parts) => Self::Map(parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_wherever_it_lies() {
        let parts = BTreeMap::from([("city".to_owned(), Value::from("Oslo"))]);
        let values = [
            Value::from("text"),
            Value::from(true),
            Value::from(17),
            Value::List(vec!["a".into(), "b".into()]),
            Value::Map(parts),
        ];
        for value in &values {
            assert_eq!(ValueRef::from(value).to_value(), *value);
            assert_eq!(ValueRef::from(value).shown(), value.to_string());
            assert_eq!(FieldRef::from(&Field::Present(value.clone())).value(), Some(ValueRef::from(value)));
        }
        assert_eq!(FieldRef::from(&Field::Absent), FieldRef::Absent);
        assert_eq!((FieldRef::from(&Field::Null), FieldRef::from(None)), (FieldRef::Null, FieldRef::Null));
    }
}
