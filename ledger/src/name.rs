//! Names of systems, objects, fields and rules: text that is copied by the million and mostly the same.

use std::{
    cell::RefCell,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder, read::Reader},
    enc::Encoder,
    error::{DecodeError, EncodeError},
};

/// How many names a thread remembers.
const REMEMBERED: usize = 1_024;
/// The longest name that is remembered.
const LONGEST: usize = 64;

thread_local! {
    /// Names that this thread has decoded: records of one object have the same ones, over and over.
    static NAMES: RefCell<Vec<Option<Arc<str>>>> = RefCell::new(vec![None; REMEMBERED]);
}

/// Decodes a name, as a `String` is decoded.
fn name<D: Decoder>(decoder: &mut D) -> Result<Arc<str>, DecodeError> {
    let length = usize::try_from(u64::decode(decoder)?).map_err(|_| DecodeError::Other("a name is too long"))?;
    decoder.claim_container_read::<u8>(length)?;
    if length > LONGEST {
        let mut bytes = vec![0; length];
        decoder.reader().read(&mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|e| DecodeError::Utf8 { inner: e.utf8_error() })?;
        return Ok(text.into());
    }
    let mut bytes = [0; LONGEST];
    let bytes = &mut bytes[..length];
    decoder.reader().read(bytes)?;
    let place = bytes.iter().fold(length, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    NAMES.with_borrow_mut(|names| {
        let known = &mut names[place % REMEMBERED];
        match known {
            Some(name) if name.as_bytes() == bytes => Ok(Arc::clone(name)),
            _ => {
                let text = std::str::from_utf8(bytes).map_err(|inner| DecodeError::Utf8 { inner })?;
                Ok(Arc::clone(known.insert(text.into())))
            }
        }
    })
}

/// Defines a name type: cheap to clone, compared and ordered as text.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq)]
        pub struct $name(Arc<str>);

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        // Names of one schema are mostly one and the same text in memory: then nothing need be compared.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
            }
        }

        impl $name {
            /// Wraps `text` as it stands, without trimming or folding.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                (*self.0).encode(encoder)
            }
        }

        impl<C> Decode<C> for $name {
            fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
                name(decoder).map(Self)
            }
        }

        impl<'de, C> BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
                name(decoder).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

name!(
    /// The name of a system, such as `crm`.
    SystemName
);
name!(
    /// The name of an object (a table, an entity) inside one system, in that system's own spelling.
    ObjectName
);
name!(
    /// The name of a field inside one object, in that system's own spelling.
    FieldName
);
name!(
    /// The stable id of a rule of the plan, such as `contact.email`.
    RuleId
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_any_length_decode_and_broken_ones_are_refused() {
        for length in [0, 1, 63, 64, 65, 300] {
            let name = FieldName::new("ä".repeat(length / 2) + &"x".repeat(length % 2));
            let bytes = crate::codec::encode(&name).unwrap();
            // Twice, since the second time it is remembered.
            assert_eq!(crate::codec::decode::<FieldName>(&bytes).unwrap(), name);
            assert_eq!(crate::codec::decode::<FieldName>(&bytes).unwrap(), name);
            let mut broken = bytes.clone();
            if let Some(last) = broken.last_mut().filter(|_| length > 0) {
                *last = 0xff;
                assert!(crate::codec::decode::<FieldName>(&broken).is_err(), "{length}");
            }
            assert!(length == 0 || crate::codec::decode::<FieldName>(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
