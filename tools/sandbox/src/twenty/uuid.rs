//! Ids: what the server takes for one, and how it makes them.

use std::fmt;

use rand::RngCore;

/// A UUID, compared as the database compares it: byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uuid(pub(crate) u128);

impl Uuid {
    /// Reads an id as the API takes it: dashes and no braces, versions 1 to 5 of the RFC 4122 variant, either case.
    ///
    /// Newer versions (6, 7, 8), the nil and the max id are refused everywhere.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|at| bytes[*at] != b'-') {
            return None;
        }
        let mut value = 0u128;
        let mut digits = 0;
        for byte in bytes.iter().filter(|byte| **byte != b'-') {
            value = value << 4 | u128::from(char::from(*byte).to_digit(16)?);
            digits += 1;
        }
        let version = (value >> 76) & 0xf;
        let variant = (value >> 62) & 0b11;
        (digits == 32 && (1..=5).contains(&version) && variant == 0b10).then_some(Self(value))
    }

    /// Makes a random id (version 4).
    pub(crate) fn random(dice: &mut impl RngCore) -> Self {
        let value = u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64());
        Self::versioned(value, 4)
    }

    /// Makes the id that always belongs to a name (the form of version 5).
    pub(crate) fn named(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self::versioned(u128::from_be_bytes(bytes), 5)
    }

    fn versioned(value: u128, version: u128) -> Self {
        let value = value & !(0xf << 76) & !(0b11 << 62);
        Self(value | version << 76 | 0b10 << 62)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            (v >> 80) & 0xffff,
            (v >> 64) & 0xffff,
            (v >> 48) & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::Uuid;

    #[test]
    fn versions_one_to_five_are_ids_and_nothing_else() {
        let of = |version: char, variant: char| format!("11111111-1111-{version}111-{variant}111-111111111111");
        for version in '0'..='9' {
            assert_eq!(Uuid::parse(&of(version, '8')).is_some(), ('1'..='5').contains(&version), "{version}");
        }
        assert!(Uuid::parse(&of('4', 'c')).is_none());
        assert!(Uuid::parse("00000000-0000-0000-0000-000000000000").is_none());
        assert!(Uuid::parse("{11111111-1111-4111-8111-111111111111}").is_none());
        assert!(Uuid::parse("11111111111141118111111111111111").is_none());
        let upper = Uuid::parse("ABCDEF11-1111-4111-8111-111111111111").map(|id| id.to_string());
        assert_eq!(upper.as_deref(), Some("abcdef11-1111-4111-8111-111111111111"));
    }

    #[test]
    fn made_ids_are_ids() {
        let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..100 {
            let id = Uuid::random(&mut dice);
            assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        }
        let id = Uuid::named("company");
        assert_eq!(Uuid::parse(&id.to_string()), Some(id));
    }
}
