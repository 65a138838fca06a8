//! What a system said about one record: its id and its fields, with the three kinds of nothing kept apart.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::{borrowed::FieldRef, name::FieldName};

/// What a system said about one field. A missing column, a `null` and an empty string are three facts: confuse them, and
/// an undo blanks out people's work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field {
    /// The system said nothing about the field.
    #[default]
    Absent,
    /// The system said that the field holds nothing.
    Null,
    /// The system gave a value, which may be an empty text.
    Present(Value),
}

impl Field {
    /// Returns the value, if there is one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Returns the value as text if it is a text that is not empty.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Present(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Returns whether the field is absent, null, or an empty text: nothing that could be carried over.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Absent | Self::Null => true,
            Self::Present(Value::Text(text)) => text.is_empty(),
            Self::Present(Value::List(items)) => items.is_empty(),
            Self::Present(_) => false,
        }
    }
}

impl<V: Into<Value>> From<V> for Field {
    fn from(value: V) -> Self {
        Self::Present(value.into())
    }
}

/// A value of one field, in the few types that CRMs share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, exactly as given.
    Text(String),
    /// True or false.
    Bool(bool),
    /// An exact decimal number; integers have scale 0. Scale is kept (`1.50` stays `1.50`) but does not count in comparison.
    Number(Decimal),
    /// A day without time or zone.
    Date(NaiveDate),
    /// A moment, in UTC, to the microsecond.
    Time(DateTime<Utc>),
    /// Several values, in order.
    List(Vec<Value>),
    /// A composite (an address, a full name), by part.
    Map(BTreeMap<String, Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Decimal::from(number))
    }
}
impl From<Decimal> for Value {
    fn from(number: Decimal) -> Self {
        Self::Number(number)
    }
}
impl From<NaiveDate> for Value {
    fn from(date: NaiveDate) -> Self {
        Self::Date(date)
    }
}
impl From<DateTime<Utc>> for Value {
    fn from(time: DateTime<Utc>) -> Self {
        Self::Time(time)
    }
}

impl fmt::Display for Value {
    /// Writes the value as a person would read it in a table: dates in ISO 8601, lists separated by `; `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Date(date) => write!(f, "{date}"),
            Self::Time(time) => f.write_str(&time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            Self::List(items) => {
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{item}")?;
                }
                Ok(())
            }
            Self::Map(parts) => {
                for (n, (name, part)) in parts.iter().enumerate() {
                    if n > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{name}: {part}")?;
                }
                Ok(())
            }
        }
    }
}

/// How deep lists and composites may nest in a stored value; deeper bytes are damage or an attack, not data.
const MAX_DEPTH: u8 = 16;

impl Value {
    fn encode_at<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Text(text) => {
                0u8.encode(encoder)?;
                text.encode(encoder)
            }
            Self::Bool(flag) => {
                1u8.encode(encoder)?;
                flag.encode(encoder)
            }
            Self::Number(number) => {
                2u8.encode(encoder)?;
                number.mantissa().encode(encoder)?;
                number.scale().encode(encoder)
            }
            Self::Date(date) => {
                3u8.encode(encoder)?;
                date.to_epoch_days().encode(encoder)
            }
            Self::Time(time) => {
                4u8.encode(encoder)?;
                time.timestamp_micros().encode(encoder)
            }
            Self::List(items) => {
                5u8.encode(encoder)?;
                (items.len() as u64).encode(encoder)?;
                items.iter().try_for_each(|item| item.encode_at(encoder))
            }
            Self::Map(parts) => {
                6u8.encode(encoder)?;
                (parts.len() as u64).encode(encoder)?;
                parts.iter().try_for_each(|(name, part)| {
                    name.encode(encoder)?;
                    part.encode_at(encoder)
                })
            }
        }
    }

    fn decode_at<D: Decoder>(decoder: &mut D, depth: u8) -> Result<Self, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::Other("a value nests deeper than any record does"));
        }
        Ok(match u8::decode(decoder)? {
            0 => Self::Text(String::decode(decoder)?),
            1 => Self::Bool(bool::decode(decoder)?),
            2 => {
                let (mantissa, scale) = (i128::decode(decoder)?, u32::decode(decoder)?);
                let number = Decimal::try_from_i128_with_scale(mantissa, scale);
                Self::Number(number.map_err(|_| DecodeError::Other("a number is out of range"))?)
            }
            3 => Self::Date(
                NaiveDate::from_epoch_days(i32::decode(decoder)?)
                    .ok_or(DecodeError::Other("a date is out of range"))?,
            ),
            4 => Self::Time(
                DateTime::from_timestamp_micros(i64::decode(decoder)?)
                    .ok_or(DecodeError::Other("a time is out of range"))?,
            ),
            5 => {
                let count = u64::decode(decoder)?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(Self::decode_at(decoder, depth + 1)?);
                }
                Self::List(items)
            }
            6 => {
                let count = u64::decode(decoder)?;
                let mut parts = BTreeMap::new();
                for _ in 0..count {
                    let name = String::decode(decoder)?;
                    parts.insert(name, Self::decode_at(decoder, depth + 1)?);
                }
                Self::Map(parts)
            }
            _ => return Err(DecodeError::Other("a value has an unknown type")),
        })
    }
}

impl Encode for Value {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.encode_at(encoder)
    }
}
impl<C> Decode<C> for Value {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode_at(decoder, 0)
    }
}
impl<'de, C> BorrowDecode<'de, C> for Value {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode_at(decoder, 0)
    }
}

/// The fields of a record, by name. A field that is not listed is [`Field::Absent`].
// A record has tens of fields and is read and thrown away by the million: one sorted list is one allocation. And it is handed
// from step to step, each of which may keep it: copies are one list, until one of them changes.
#[derive(Clone, Default)]
pub struct Fields(Option<Arc<List>>);

type List = Vec<(FieldName, Option<Value>)>;

/// More fields than that are only given room when they come.
const USUAL: usize = 64;

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.list() == other.list()
    }
}

impl Eq for Fields {}

/// Shows what it is, a map.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Map<'a>(&'a [(FieldName, Option<Value>)]);
        impl fmt::Debug for Map<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
            }
        }
        f.debug_tuple("Fields").field(&Map(self.list())).finish()
    }
}

impl Fields {
    /// Returns no fields at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns no fields, with room for so many.
    pub fn with_capacity(fields: usize) -> Self {
        Self(Some(Arc::new(List::with_capacity(fields))))
    }

    /// Returns these fields, of which none is absent (`None` stands for null). It is fastest when they come in the order of their
    /// names; of two with one name the last counts.
    pub fn from_row(mut pairs: Vec<(FieldName, Option<Value>)>) -> Self {
        if !pairs.is_sorted_by(|(one, _), (next, _)| one < next) {
            pairs.sort_by(|(one, _), (next, _)| one.cmp(next));
            pairs.dedup_by(|later, kept| {
                let twice = later.0 == kept.0;
                if twice {
                    std::mem::swap(later, kept);
                }
                twice
            });
        }
        Self(Some(Arc::new(pairs)))
    }

    fn list(&self) -> &[(FieldName, Option<Value>)] {
        self.0.as_ref().map_or(&[], |list| list.as_slice())
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        place(self.list(), name)
    }

    fn at(&self, name: &str) -> Option<&Option<Value>> {
        self.place(name).ok().map(|at| &self.list()[at].1)
    }

    /// Returns what is known about `name`.
    pub fn get(&self, name: &str) -> Field {
        match self.at(name) {
            None => Field::Absent,
            Some(None) => Field::Null,
            Some(Some(value)) => Field::Present(value.clone()),
        }
    }

    /// Returns what is known about `name`, where it lies.
    pub fn look(&self, name: &str) -> FieldRef<'_> {
        self.at(name).map_or(FieldRef::Absent, |value| value.as_ref().into())
    }

    /// Returns the value of `name`, if the system gave one.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.at(name).and_then(Option::as_ref)
    }

    /// Returns the text of `name`, if the system gave a text that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Sets `name`; [`Field::Absent`] takes it out.
    pub fn set(&mut self, name: impl Into<FieldName>, field: impl Into<Field>) {
        set(Arc::make_mut(self.0.get_or_insert_default()), name.into(), field.into());
    }

    /// Returns whether the system said anything about `name`, null included.
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Returns the number of fields that are not absent.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Returns whether every field is absent.
    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    /// Begins to go through the fields beside others.
    pub fn beside(&self) -> Beside<'_> {
        Beside(self.list())
    }

    /// Gives back the room that the fields do not need.
    pub fn shrink_to_fit(&mut self) {
        if let Some(list) = &mut self.0
            && list.len() < list.capacity()
        {
            Arc::make_mut(list).shrink_to_fit();
        }
    }

    /// Returns the names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &FieldName> {
        self.list().iter().map(|(name, _)| name)
    }

    /// Returns the fields in the order of their names; `None` stands for null.
    pub fn iter(&self) -> impl Iterator<Item = (&FieldName, Option<&Value>)> {
        self.list().iter().map(|(name, value)| (name, value.as_ref()))
    }
}

/// Fields that are gone through beside others, by names in their order.
#[derive(Debug, Clone)]
pub struct Beside<'f>(&'f [(FieldName, Option<Value>)]);

impl<'f> Beside<'f> {
    /// Returns what is known about a name: nothing, null, or a value. Names must be asked for in their order.
    pub fn of(&mut self, name: &FieldName) -> Option<Option<&'f Value>> {
        while let [(own, value), rest @ ..] = self.0 {
            if own == name {
                return Some(value.as_ref());
            }
            if own > name {
                return None;
            }
            self.0 = rest;
        }
        None
    }
}

/// Returns the names that any of these records have, in order. Those of each record come in order.
pub fn names_of<'f, N: Iterator<Item = &'f FieldName>>(all: impl IntoIterator<Item = N>) -> Vec<&'f FieldName> {
    let mut names: Vec<&FieldName> = Vec::new();
    for own in all {
        // Both are in order, and mostly the same: one walk along both.
        let mut at = 0;
        for name in own {
            while names.get(at).is_some_and(|known| *known != name && *known < name) {
                at += 1;
            }
            if names.get(at).is_none_or(|known| *known != name) {
                names.insert(at, name);
            }
            at += 1;
        }
    }
    names
}

fn place(list: &[(FieldName, Option<Value>)], name: &str) -> Result<usize, usize> {
    list.binary_search_by(|(own, _)| own.as_str().cmp(name))
}

fn set(list: &mut List, name: FieldName, field: Field) {
    // Names mostly come in their order.
    let place = match list.last() {
        Some((last, _)) if *last < name => Err(list.len()),
        _ => place(list, name.as_str()),
    };
    // Rows wait by the ten thousand, and a list that doubles is half empty.
    if list.len() == list.capacity() && place.is_err() && field != Field::Absent {
        list.reserve_exact(4 + list.len() / 4);
    }
    match (place, field) {
        (Ok(at), Field::Absent) => {
            list.remove(at);
        }
        (Err(_), Field::Absent) => {}
        (Ok(at), Field::Null) => list[at].1 = None,
        (Ok(at), Field::Present(value)) => list[at].1 = Some(value),
        (Err(at), Field::Null) => list.insert(at, (name, None)),
        (Err(at), Field::Present(value)) => list.insert(at, (name, Some(value))),
    }
}

impl<N: Into<FieldName>, F: Into<Field>> FromIterator<(N, F)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, F)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let (fewest, most) = pairs.size_hint();
        let mut list = List::with_capacity(most.unwrap_or(fewest).min(USUAL));
        for (name, field) in pairs {
            set(&mut list, name.into(), field.into());
        }
        Self(Some(Arc::new(list)))
    }
}

impl Encode for Fields {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.len() as u64).encode(encoder)?;
        self.list().iter().try_for_each(|(name, value)| {
            name.encode(encoder)?;
            value.encode(encoder)
        })
    }
}
impl<C> Decode<C> for Fields {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let count = u64::decode(decoder)?;
        // What damaged bytes claim is not taken at its word.
        let mut fields = Vec::with_capacity(usize::try_from(count).unwrap_or(USUAL).min(USUAL));
        for _ in 0..count {
            fields.push((FieldName::decode(decoder)?, Option::<Value>::decode(decoder)?));
        }
        Ok(Self::from_row(fields))
    }
}
impl<'de, C> BorrowDecode<'de, C> for Fields {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// One record of one system, as it was read or as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// The id that the system itself uses, always as text.
    pub id: String,
    /// What the system said about the fields.
    pub fields: Fields,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            ".*".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            (any::<i64>(), 0u32..18).prop_map(|(n, s)| Value::Number(Decimal::new(n, s))),
            (-700_000i32..2_900_000).prop_map(|d| Value::Date(NaiveDate::from_epoch_days(d).unwrap())),
            any::<i32>().prop_map(|s| Value::Time(DateTime::from_timestamp_micros(i64::from(s) * 1_001).unwrap())),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(Value::Map),
            ]
        })
    }

    #[test]
    fn going_along_finds_what_looking_up_finds() {
        let fields: Fields =
            [("b", Field::from("1")), ("d", Field::Null), ("e", Field::from(true))].into_iter().collect();
        for names in ["abcdef", "bde", "e", "dd", "", "f"] {
            let mut beside = fields.beside();
            for name in names.chars().map(|name| FieldName::from(name.to_string())) {
                assert_eq!(beside.of(&name), fields.at(name.as_str()).map(Option::as_ref), "{name} of {names}");
            }
        }
    }

    #[test]
    fn the_names_of_many_are_each_once_and_in_order() {
        let of = |names: &str| names.chars().map(|name| (name.to_string(), Field::Null)).collect::<Fields>();
        let all: Vec<Fields> = ["bd", "", "abcd", "e", "ace", "bd"].into_iter().map(of).collect();
        let names: String = names_of(all.iter().map(Fields::names)).into_iter().map(FieldName::as_str).collect();
        assert_eq!(names, "abcde");
        assert!(names_of([Fields::new().names()]).is_empty());
    }

    #[test]
    fn copies_are_apart_as_soon_as_one_changes() {
        let one: Fields = [("a", Field::from("1")), ("b", Field::Null)].into_iter().collect();
        let mut other = one.clone();
        other.set("a", Field::Absent);
        assert_eq!((one.get("a"), other.get("a")), (Field::from("1"), Field::Absent));
        assert_eq!(Fields::new(), std::iter::empty::<(FieldName, Field)>().collect());
    }

    proptest! {
        #[test]
        fn a_record_survives_its_encoding(
            id in ".*",
            fields in prop::collection::vec(("[A-Za-z_]{1,9}", prop::option::of(value())), 0..8),
        ) {
            let fields = fields.into_iter().map(|(n, v)| (n, v.map_or(Field::Null, Field::Present))).collect();
            let record = Record { id, fields };
            let bytes = bincode::encode_to_vec(&record, bincode::config::standard()).unwrap();
            let (back, used): (Record, usize) = bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
            prop_assert_eq!(used, bytes.len());
            prop_assert_eq!(back, record);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let limited = bincode::config::standard().with_limit::<65536>();
            let _ = bincode::decode_from_slice::<Record, _>(&bytes, limited);
        }
    }

    proptest! {
        #[test]
        fn fields_are_a_map_in_the_order_of_names(
            steps in prop::collection::vec(("[a-c]{1,2}", prop::option::of(prop::option::of(0i64..4))), 0..24),
        ) {
            let mut map: BTreeMap<String, Option<i64>> = BTreeMap::new();
            let (mut fields, mut row) = (Fields::new(), Vec::new());
            for (name, step) in steps {
                fields.set(name.as_str(), match step {
                    None => Field::Absent,
                    Some(None) => Field::Null,
                    Some(Some(n)) => Field::from(n),
                });
                match step {
                    None => { map.remove(&name); }
                    Some(value) => {
                        row.push((FieldName::from(name.as_str()), value.map(|n| Field::from(n).value().unwrap().clone())));
                        map.insert(name, value);
                    }
                }
            }
            prop_assert_eq!(fields.len(), map.len());
            let shown: Vec<(String, bool)> = fields.iter().map(|(n, v)| (n.to_string(), v.is_some())).collect();
            let wanted: Vec<(String, bool)> = map.iter().map(|(n, v)| (n.clone(), v.is_some())).collect();
            prop_assert_eq!(shown, wanted);
            for (name, value) in &map {
                let wanted = value.map_or(Field::Null, Field::from);
                prop_assert_eq!(fields.get(name), wanted);
            }
            let by_row = Fields::from_row(row.clone());
            let mut by_set = Fields::new();
            for (name, value) in row {
                by_set.set(name, value.map_or(Field::Null, Field::Present));
            }
            prop_assert_eq!(by_row, by_set);
        }
    }

    #[test]
    fn the_three_kinds_of_nothing_stay_apart() {
        let mut fields = Fields::new();
        fields.set("null", Field::Null);
        fields.set("empty", "");
        assert_eq!(fields.get("absent"), Field::Absent);
        assert_eq!(fields.get("null"), Field::Null);
        assert_eq!(fields.get("empty"), Field::Present(Value::Text(String::new())));
    }
}
