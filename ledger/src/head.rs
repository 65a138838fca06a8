//! Heads: how many blocks there are and what their root is, in a form that others can keep and check.
//!
//! A signed head is a checkpoint in the form of C2SP `tlog-checkpoint`, signed as a C2SP `signed-note` with Ed25519.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::subject::{Digest, Position};

/// How much there is, and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many blocks.
    pub blocks: u64,
    /// The position after the last event.
    pub end: Position,
    /// The root of the tree of blocks.
    pub root: Digest,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} events in {} blocks)", self.root.short(), self.end, self.blocks)
    }
}

/// A signed head that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not a checkpoint in the documented form.
    #[error("it is not a signed head: {0}")]
    Form(&'static str),
    /// No signature in it is by this key.
    #[error("it is not signed by the key {0}")]
    Unsigned(String),
    /// The signature by this key is wrong.
    #[error("its signature does not fit: it was changed after it was signed")]
    Wrong,
}

/// Signs heads in a ledger's name.
pub struct Scribe {
    origin: String,
    key: SigningKey,
}

impl fmt::Debug for Scribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scribe").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Scribe {
    /// Returns the signer of a ledger whose secret key is `seed`.
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = Digest::of(key.verifying_key().as_bytes());
        Self { origin: format!("waybill.invalid/{}", &id.to_string()[..16]), key }
    }

    /// Returns the name of the ledger, which stands in every head.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the public key in the form of C2SP signed-note: `name+hash+base64`.
    pub fn verifier(&self) -> String {
        let public = public(&self.key.verifying_key());
        format!("{}+{:08x}+{}", self.origin, u32::from_be_bytes(hash(&self.origin, &public)), STANDARD.encode(&public))
    }

    /// Signs a head.
    pub fn sign(&self, head: &Head) -> String {
        let text = format!("{}\n{}\n{}\n", self.origin, head.blocks, STANDARD.encode(head.root.0));
        let public = public(&self.key.verifying_key());
        let mut signature = hash(&self.origin, &public).to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }
}

/// Checks a signed head against a public key, and returns its number of blocks and its root.
pub fn open_note(note: &str, verifier: &str) -> Result<(u64, Digest), NoteError> {
    let (name, rest) = verifier.split_once('+').ok_or(NoteError::Form("the public key is not one"))?;
    let (id, key) = rest.split_once('+').ok_or(NoteError::Form("the public key is not one"))?;
    let public = STANDARD.decode(key).map_err(|_| NoteError::Form("the public key is not base64"))?;
    let bytes: &[u8; 32] = match public.split_first() {
        Some((1, bytes)) => bytes.try_into().map_err(|_| NoteError::Form("the public key has a wrong length"))?,
        _ => return Err(NoteError::Form("the public key is not of the kind Ed25519")),
    };
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| NoteError::Form("the public key is no point"))?;

    if id != format!("{:08x}", u32::from_be_bytes(hash(name, &public))) {
        return Err(NoteError::Form("the public key's hash is not its own"));
    }

    let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::Form("it has no signatures"))?;
    let text = format!("{text}\n");
    let mut lines = text.lines();
    let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(NoteError::Form("it has fewer than three lines"));
    };
    if origin != name {
        return Err(NoteError::Unsigned(name.to_owned()));
    }
    let size = size.parse().map_err(|_| NoteError::Form("its size is no number"))?;
    let root = STANDARD.decode(root).map_err(|_| NoteError::Form("its root is not base64"))?;
    let root = Digest(root.try_into().map_err(|_| NoteError::Form("its root has a wrong length"))?);
    for line in signatures.lines() {
        let Some((signer, signature)) = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')) else {
            return Err(NoteError::Form("a signature line is not one"));
        };
        if signer != name {
            continue;
        }
        let signature = STANDARD.decode(signature).map_err(|_| NoteError::Form("a signature is not base64"))?;
        let (id, signature) = signature.split_at_checked(4).ok_or(NoteError::Form("a signature is too short"))?;
        if id != hash(name, &public) {
            continue;
        }
        let signature =
            Signature::from_slice(signature).map_err(|_| NoteError::Form("a signature has a wrong length"))?;
        return key.verify(text.as_bytes(), &signature).map(|()| (size, root)).map_err(|_| NoteError::Wrong);
    }
    Err(NoteError::Unsigned(name.to_owned()))
}

fn public(key: &VerifyingKey) -> Vec<u8> {
    let mut public = vec![1];
    public.extend_from_slice(key.as_bytes());
    public
}

/// The key hash of C2SP signed-note: the first four bytes of SHA-256 over name, newline, and the key with its kind.
fn hash(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(public).finalize();
    hash[..4].try_into().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_head_is_found() {
        let scribe = Scribe::new(&[1; 32]);
        let note = scribe.sign(&Head { blocks: 1_234, end: Position(99), root: Digest::of(b"root") });
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let opened = open_note(&changed, &scribe.verifier());
                // The newline at the very end says nothing.
                assert!(opened.is_err() || at + 1 == note.len(), "bit {bit} of byte {at}: {changed:?}");
            }
        }
    }

    #[test]
    fn a_signed_head_opens_with_its_key_and_with_no_other() {
        let (ours, theirs) = (Scribe::new(&[1; 32]), Scribe::new(&[2; 32]));
        let head = Head { blocks: 7, end: Position(99), root: Digest::of(b"root") };
        let note = ours.sign(&head);
        assert_eq!(open_note(&note, &ours.verifier()), Ok((7, head.root)));
        assert!(matches!(open_note(&note, &theirs.verifier()), Err(NoteError::Unsigned(_))));
        let changed = note.replacen("\n7\n", "\n8\n", 1);
        assert_eq!(open_note(&changed, &ours.verifier()), Err(NoteError::Wrong));
        for cut in 0..note.len() {
            if note.is_char_boundary(cut) && cut < note.len() - 1 {
                assert!(open_note(&note[..cut], &ours.verifier()).is_err());
            }
        }
    }
}
