//! How values become bytes: bincode 2 with its standard configuration (little-endian, variable-length integers).

use bincode::{Decode, Encode, error::DecodeError};

/// The most bytes that one stored value may claim, so that damaged bytes cannot ask for all memory.
const LIMIT: usize = 64 << 20;

/// The bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early, are of another form, or claim an impossible size.
    #[error("the bytes are damaged: {0}")]
    Damaged(String),
    /// More bytes follow than the value has.
    #[error("{0} bytes follow where the value should end")]
    Trailing(usize),
    /// The value cannot be encoded.
    #[error("the value cannot be encoded: {0}")]
    Unencodable(String),
    /// The bytes hold a kind of event or content that this release does not know.
    #[error("the bytes hold a kind of event that this release does not know; use a newer release")]
    Newer,
}

/// Returns the bytes of a value. Equal values have equal bytes.
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::encode_to_vec(value, bincode::config::standard()).map_err(|e| CodecError::Unencodable(e.to_string()))
}

/// Returns the value of these bytes, which must be exactly one value.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    match bincode::decode_from_slice(bytes, config) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError::Trailing(bytes.len() - used)),
        Err(DecodeError::UnexpectedVariant { .. }) => Err(CodecError::Newer),
        Err(e) => Err(CodecError::Damaged(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{content::Content, event::Event};

    #[test]
    fn kinds_of_a_newer_release_are_refused_as_such() {
        for kind in [60_u8, 120, 250] {
            assert_eq!(decode::<Event>(&[kind, 0, 0]), Err(CodecError::Newer));
            assert_eq!(decode::<Content>(&[kind, 0, 0]), Err(CodecError::Newer));
        }
        assert!(CodecError::Newer.to_string().contains("use a newer release"));
    }
}
