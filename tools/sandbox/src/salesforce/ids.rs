//! Record ids: three characters that name the object, twelve that count, three that check.
//!
//! Source: "ID Field Type" in the SOAP API Developer Guide.

use std::fmt;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// A record id. Ids of one object are ordered as their text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    /// The key prefix.
    pub(crate) prefix: [u8; 3],
    /// The number.
    pub(crate) number: u64,
}

impl Id {
    pub(crate) fn new(prefix: &str, number: u64) -> Self {
        let mut bytes = [b'0'; 3];
        bytes.copy_from_slice(&prefix.as_bytes()[..3]);
        Self { prefix: bytes, number }
    }

    /// Reads an id of 15 characters, or of 18 with the right checksum.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !matches!(bytes.len(), 15 | 18) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let fifteen: &[u8; 15] = bytes.first_chunk()?;
        if bytes.len() == 18 && bytes[15..] != check(fifteen) {
            return None;
        }
        // Ids of other orgs count further than ours ever will; all of those are the same unknown row here.
        let mut number: u64 = 0;
        for byte in &fifteen[3..] {
            let digit = DIGITS.iter().position(|known| known == byte)? as u64;
            number = number.saturating_mul(62).saturating_add(digit);
        }
        Some(Self { prefix: bytes[..3].try_into().ok()?, number })
    }

    fn fifteen(self) -> [u8; 15] {
        let mut text = [b'0'; 15];
        text[..3].copy_from_slice(&self.prefix);
        let mut rest = self.number;
        for place in (3..15).rev() {
            text[place] = DIGITS[(rest % 62) as usize];
            rest /= 62;
        }
        text
    }

    /// Returns the form of 15 characters.
    pub(crate) fn short(&self) -> String {
        self.fifteen().iter().map(|byte| char::from(*byte)).collect()
    }
}

fn check(id: &[u8; 15]) -> [u8; 3] {
    let mut check = [0; 3];
    for (n, group) in id.chunks(5).enumerate() {
        let bits: usize =
            group.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase()).map(|(k, _)| 1 << k).sum();
        check[n] = CHECK[bits];
    }
    check
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fifteen = self.fifteen();
        for byte in fifteen.iter().chain(&check(&fifteen)) {
            write!(f, "{}", char::from(*byte))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn checksums_are_those_of_recorded_ids() {
        for id in ["0015500001QdQWaAAN", "003P000001avB5GIAU", "0065500000KQ12XAAT", "012000000000000AAA"] {
            assert!(Id::parse(id).is_some(), "{id}");
            assert_eq!(Id::parse(&id[..15]), Id::parse(id));
        }
        assert_eq!(Id::parse("012000000000000AAA").unwrap().to_string(), "012000000000000AAA");
        let own = Id::new("003", 123_456);
        assert_eq!(Id::parse(&own.to_string()), Some(own));
        assert_eq!(Id::parse("0015500001QdQWaAAA"), None);
        assert_eq!(Id::parse("001"), None);
    }

    #[test]
    fn the_order_of_numbers_is_the_order_of_texts() {
        let mut last = String::new();
        for number in [0, 1, 9, 10, 35, 36, 61, 62, 3_843, 3_844, 1 << 40] {
            let text = Id::new("001", number).short();
            assert!(text > last);
            last = text;
        }
    }
}
