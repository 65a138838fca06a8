//! How a content is committed to and sealed.
//!
//! ```text
//! plaintext   the content, encoded
//! commitment  blake3 keyed by a fresh 32-byte salt, over: format (1 byte), kind (1), length (8, little-endian), plaintext
//! box         salt (32) · packing (1: 0 plain, 1 zstd) · dictionary (2; 0 none) · length of the packed bytes (4) ·
//!             packed bytes · zeros to a multiple of 32
//! sealed      nonce (24) · XChaCha20-Poly1305 of the box under the subject's key;
//!             associated data: position (8) · slot (4)
//! ```
//!
//! The project's and the subject's keys play no part in the commitment, so a stranger who is shown the salt can check it.

use crate::{
    cipher,
    codec::{self, CodecError},
    content::Content,
    pack::Packer,
    ports::Entropy,
    subject::{Digest, Position, SubjectId},
};

/// The format of commitments that this release makes.
const FORMAT: u8 = 1;
/// Boxes are padded to a multiple of this, so that lengths say little.
const PAD: usize = 32;

/// A key of 32 bytes.
pub(crate) type Key = [u8; 32];

/// A content that is ready to be sealed.
#[derive(Debug)]
pub(crate) struct Boxed {
    /// What the envelope says about it.
    pub(crate) commitment: Digest,
    bytes: Vec<u8>,
}

/// A content as its commitment sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The salt.
    pub(crate) salt: [u8; 32],
    /// The encoded content.
    pub(crate) plain: Vec<u8>,
}

/// A sealed content that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key is not the one it was sealed with, or its bytes were changed.
    #[error("the content was changed, or sealed under another key")]
    Sealed,
    /// What was sealed is not a content.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The content is not the one that the envelope commits to.
    #[error("the content is not the one that its envelope commits to")]
    Commitment,
}

/// Encodes a content, commits to it, and packs it.
pub(crate) fn pack(content: &Content, packer: &Packer, entropy: &dyn Entropy) -> Result<Boxed, CodecError> {
    let plain = codec::encode(content)?;
    let mut salt = [0; 32];
    entropy.fill(&mut salt);
    let commitment = commitment(&salt, &plain);
    let packed = packer.pack(content.shape().as_ref(), plain);
    let length =
        u32::try_from(packed.bytes.len()).map_err(|_| CodecError::Unencodable("a content is over 4 GB".into()))?;
    let mut bytes = Vec::with_capacity((39 + packed.bytes.len()).next_multiple_of(PAD));
    bytes.extend_from_slice(&salt);
    bytes.push(u8::from(packed.zstd));
    bytes.extend_from_slice(&packed.dictionary.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&packed.bytes);
    bytes.resize(bytes.len().next_multiple_of(PAD), 0);
    Ok(Boxed { commitment, bytes })
}

/// Seals a packed content.
pub(crate) fn seal(boxed: &Boxed, key: &Key, position: Position, subject: SubjectId, entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; 24];
    entropy.fill(&mut nonce);
    let aad = associated(position, subject);
    let mut sealed = Vec::with_capacity(nonce.len() + boxed.bytes.len() + cipher::TAG);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&boxed.bytes);
    cipher::seal_extended(key, &nonce, &aad, &mut sealed, nonce.len());
    sealed
}

/// Opens a sealed content and checks it against its commitment.
pub(crate) fn open(
    sealed: &[u8],
    key: &Key,
    position: Position,
    subject: SubjectId,
    committed: &Digest,
    packer: &Packer,
) -> Result<Content, VaultError> {
    let shown = open_plain(sealed, key, position, subject, committed, packer)?;
    Ok(codec::decode(&shown.plain)?)
}

/// Opens a sealed content as far as its salt and its encoded bytes, and checks them against the commitment.
pub(crate) fn open_plain(
    sealed: &[u8],
    key: &Key,
    position: Position,
    subject: SubjectId,
    committed: &Digest,
    packer: &Packer,
) -> Result<Shown, VaultError> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or(VaultError::Sealed)?;
    let aad = associated(position, subject);
    let bytes = cipher::open_extended(key, nonce, &aad, sealed).ok_or(VaultError::Sealed)?;
    let (salt, plain) = unpack(&bytes, packer)?;
    if commitment(&salt, &plain) != *committed {
        return Err(VaultError::Commitment);
    }
    Ok(Shown { salt, plain })
}

/// Takes the box apart that a sealed content opens to: its salt and its content. Boxes that were packed with a dictionary of
/// a ledger need that ledger.
pub fn unbox(bytes: &[u8]) -> Result<([u8; 32], Content), VaultError> {
    let (salt, plain) = unpack(bytes, &Packer::new())?;
    Ok((salt, codec::decode(&plain)?))
}

fn unpack(bytes: &[u8], packer: &Packer) -> Result<([u8; 32], Vec<u8>), VaultError> {
    let damaged = || VaultError::Codec(CodecError::Damaged("a box is too short".into()));
    let (salt, rest) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
    let (packing, rest) = rest.split_first().ok_or_else(damaged)?;
    let (dictionary, rest) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let packed = rest.get(..u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
    let plain = match packing {
        0 => packed.to_vec(),
        1 => packer.unpack(u16::from_le_bytes(*dictionary), packed)?,
        _ => return Err(CodecError::Newer.into()),
    };
    Ok((*salt, plain))
}

/// Returns the commitment to an encoded content.
pub(crate) fn commitment(salt: &[u8; 32], plain: &[u8]) -> Digest {
    let mut piece = Vec::with_capacity(10 + plain.len());
    // The kind is the content's variant, which is the first byte of its encoding.
    piece.extend_from_slice(&[FORMAT, plain.first().copied().unwrap_or(0)]);
    piece.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    piece.extend_from_slice(plain);
    Digest(*blake3::keyed_hash(salt, &piece).as_bytes())
}

fn associated(position: Position, subject: SubjectId) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(&position.0.to_le_bytes());
    aad[8..].copy_from_slice(&subject.0.to_le_bytes());
    aad
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ports::Ports;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_content_opens_with_its_key_at_its_place_only(text in ".{0,600}", flip in any::<prop::sample::Index>()) {
            let entropy = Ports::system().entropy;
            let content = Content::Text(text);
            let packer = Packer::new();
            let boxed = pack(&content, &packer, &*entropy).unwrap();
            let (key, at, subject) = ([7; 32], Position(9), SubjectId(3));
            let sealed = seal(&boxed, &key, at, subject, &*entropy);
            prop_assert_eq!((sealed.len() - 24 - 16) % PAD, 0);
            prop_assert_eq!(open(&sealed, &key, at, subject, &boxed.commitment, &packer).unwrap(), content);
            prop_assert_eq!(open(&sealed, &[8; 32], at, subject, &boxed.commitment, &packer), Err(VaultError::Sealed));
            prop_assert_eq!(open(&sealed, &key, Position(8), subject, &boxed.commitment, &packer), Err(VaultError::Sealed));
            prop_assert_eq!(open(&sealed, &key, at, SubjectId(4), &boxed.commitment, &packer), Err(VaultError::Sealed));
            prop_assert_eq!(open(&sealed, &key, at, subject, &Digest([0; 32]), &packer), Err(VaultError::Commitment));
            let mut changed = sealed.clone();
            changed[flip.index(sealed.len())] ^= 1;
            prop_assert_eq!(open(&changed, &key, at, subject, &boxed.commitment, &packer), Err(VaultError::Sealed));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&bytes, &[1; 32], Position(0), SubjectId(0), &Digest([0; 32]), &Packer::new()).is_err());
        }
    }
}
