//! Who an event is about, and the small numbers by which envelopes name things.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};

/// Defines a number type that means one thing.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number!(
    /// The gapless number of an event, counted from 0.
    #[derive(Default)]
    Position(u64)
);
number!(
    /// The number of a run (one sample, load, delta, reconcile or rollback), counted from 1.
    RunId(u32)
);
number!(
    /// The number of a batch within a project, counted from 1.
    BatchId(u64)
);
number!(
    /// The number of a name (system, object, rule, actor, field, code) that a `NameRegistered` event introduced.
    NameId(u32)
);
number!(
    /// The slot of a subject in the keyring. Slot 0 is the project itself. Slots are never reused.
    SubjectId(u32)
);

impl SubjectId {
    /// The project itself: payloads about no single record are sealed under its key.
    pub const PROJECT: Self = Self(0);
}

impl Position {
    /// Returns the position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A moment as the ledger keeps it: microseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Returns the moment as a date and time, or the start of 1970 if it lies outside the calendar.
    pub fn to_utc(self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }
}

impl From<chrono::DateTime<chrono::Utc>> for Micros {
    fn from(time: chrono::DateTime<chrono::Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

/// One destination record that a subject leads to: the rule that made it, and which part of the rule's output it is.
/// Together with the event's subject it names a *target*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct TargetPart {
    /// The rule of the plan.
    pub rule: NameId,
    /// The part, counted from 0; rules with one output have only part 0.
    pub part: u16,
}

/// A target: which destination record a subject leads to, by rule and part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Target {
    /// The source subject.
    pub subject: SubjectId,
    /// The rule and the part.
    pub part: TargetPart,
}

/// The readable identity of a subject. It never enters an envelope; the keyring keeps only its keyed digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectKey {
    /// The instance of a system, such as `crm:acme`.
    pub system: String,
    /// The object within it.
    pub object: String,
    /// The id within that object, as text.
    pub id: String,
}

impl SubjectKey {
    /// Names a subject.
    pub fn new(system: impl Into<String>, object: impl Into<String>, id: impl Into<String>) -> Self {
        Self { system: system.into(), object: object.into(), id: id.into() }
    }
}

impl fmt::Display for SubjectKey {
    /// Writes `system/object/id`, the form that the command line takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.system, self.object, self.id)
    }
}

/// A blake3 digest of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the blake3 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the first six hexadecimal digits, as people quote plans and heads.
    pub fn short(&self) -> String {
        self.to_string()[..6].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first half of a keyed digest: enough to see whether a content is still the same, and of no use to guess it by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Returns the first six hexadecimal digits.
    pub fn short(&self) -> String {
        self.0[..3].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns its first eight bytes, which is what folds keep.
    pub fn head<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|at| self.0[at])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct NotADigest;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_digest_reads_back_from_its_text() {
        let digest = Digest::of(b"waybill");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("zz".parse::<Digest>().is_err());
        assert!(format!("{}é", "a".repeat(62)).parse::<Digest>().is_err());
    }
}
