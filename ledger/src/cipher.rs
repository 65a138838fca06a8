//! The two ciphers: ChaCha20-Poly1305 (RFC 8439), and XChaCha20-Poly1305 with nonces long enough to be drawn at random for
//! ever (draft-irtf-cfrg-xchacha, section 2).
//!
//! The second is the first under a key that HChaCha20 makes of the key and the first 16 bytes of the nonce. ring does the
//! first in half the time that a portable implementation takes for messages as short as ours.

use chacha20::{cipher::consts::U10, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::vault::Key;

/// The bytes that sealing adds.
pub(crate) const TAG: usize = 16;

fn key(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key has 32 bytes"))
}

/// The key and the nonce of the shorter cipher that stand for these.
fn extended(key: &Key, nonce: &[u8; 24]) -> (Key, [u8; 12]) {
    let own: Key = hchacha::<U10>(key.into(), nonce[..16].into()).into();
    let mut short = [0; 12];
    short[4..].copy_from_slice(&nonce[16..]);
    (own, short)
}

/// Seals the bytes from `from` on in place and adds the tag at the end: ChaCha20-Poly1305.
pub(crate) fn seal(with: &Key, nonce: [u8; 12], aad: &[u8], bytes: &mut Vec<u8>, from: usize) {
    let tag = key(with)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes[from..])
        .expect("a message is shorter than the cipher's limit of 256 GB");
    bytes.extend_from_slice(tag.as_ref());
}

/// Opens sealed bytes: ChaCha20-Poly1305. Nothing, if they or the associated data were changed.
pub(crate) fn open(with: &Key, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = sealed.to_vec();
    let plain = key(with).open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes).ok()?.len();
    bytes.truncate(plain);
    Some(bytes)
}

/// Seals the bytes from `from` on in place and adds the tag at the end: XChaCha20-Poly1305.
pub(crate) fn seal_extended(with: &Key, nonce: &[u8; 24], aad: &[u8], bytes: &mut Vec<u8>, from: usize) {
    let (own, short) = extended(with, nonce);
    seal(&own, short, aad, bytes, from);
}

/// Opens sealed bytes: XChaCha20-Poly1305. Nothing, if they or the associated data were changed.
pub(crate) fn open_extended(with: &Key, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (own, short) = extended(with, nonce);
    open(&own, short, aad, sealed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chacha20poly1305::{
        KeyInit, XChaCha20Poly1305, XNonce,
        aead::{Aead, Payload},
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Another implementation opens what this one seals, and the other way round.
        #[test]
        fn it_is_the_cipher_that_others_know(
            with in any::<[u8; 32]>(), nonce in any::<[u8; 24]>(), aad in prop::collection::vec(any::<u8>(), 0..40),
            plain in prop::collection::vec(any::<u8>(), 0..700), flip in any::<prop::sample::Index>(),
        ) {
            let mut sealed = vec![7, 7];
            sealed.extend_from_slice(&plain);
            seal_extended(&with, &nonce, &aad, &mut sealed, 2);
            prop_assert_eq!(sealed.len(), 2 + plain.len() + TAG);
            let other = XChaCha20Poly1305::new((&with).into());
            let by_other = other.encrypt(XNonce::from_slice(&nonce), Payload { msg: &plain, aad: &aad }).unwrap();
            prop_assert_eq!(&sealed[2..], by_other.as_slice());
            prop_assert_eq!(open_extended(&with, &nonce, &aad, &sealed[2..]), Some(plain));
            let at = flip.index(by_other.len());
            sealed[2 + at] ^= 1;
            prop_assert_eq!(open_extended(&with, &nonce, &aad, &sealed[2..]), None);
        }
    }
}
