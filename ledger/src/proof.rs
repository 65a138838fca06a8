//! Proofs: one event, with everything that a stranger needs to check that it is in the ledger that a head speaks of.
//!
//! A proof is a JSON document. It holds the encoded envelope, the path from it to the root in its block's header, the
//! header, the path from there to the head's root, the signed head, and the public key. If asked, it also opens the content:
//! the salt and the plaintext that the envelope commits to. `FORMAT.md` says how to check one without this program.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, BlockError, Header},
    codec::{self, CodecError},
    content::Content,
    event::Envelope,
    head::{NoteError, open_note},
    merkle,
    subject::{Digest, Position},
    vault,
};

/// What stands at the start of every proof of this form.
const FORM: &str = "waybill proof 1";
/// The most bytes of a proof that are looked at.
const LIMIT: usize = 128 << 20;

/// A proof, as it lies in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    form: String,
    /// The event's position.
    pub position: u64,
    /// The block it is in.
    pub block: u64,
    envelope: String,
    envelope_path: Vec<String>,
    header: String,
    block_path: Vec<String>,
    /// The signed head.
    pub head: String,
    /// The ledger's public key.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    salt: String,
    plain: String,
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The event.
    pub envelope: Envelope,
    /// Its content, if the proof shows it.
    pub content: Option<Content>,
    /// How many blocks the head speaks of.
    pub blocks: u64,
    /// The head's root.
    pub root: Digest,
    /// The ledger's public key, which the reader must know to be the right one.
    pub key: String,
}

/// A proof that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not a proof.
    #[error("it is not a proof: {0}")]
    Form(String),
    /// A newer release made it.
    #[error("a newer release made it ({0})")]
    Newer(String),
    /// The block's header is damaged.
    #[error("its block header is damaged: {0}")]
    Header(#[from] BlockError),
    /// The head is not signed by the key.
    #[error("its head: {0}")]
    Head(#[from] NoteError),
    /// The event is damaged.
    #[error("its event: {0}")]
    Codec(#[from] CodecError),
    /// A hash does not fit.
    #[error("{0}")]
    Unfit(&'static str),
}

/// What a proof is made of.
pub(crate) struct Parts<'a> {
    pub(crate) block: &'a Block,
    pub(crate) number: u64,
    pub(crate) index: u32,
    pub(crate) leaves: &'a [Digest],
    pub(crate) head: String,
    pub(crate) key: String,
    pub(crate) content: Option<vault::Shown>,
}

/// Makes a proof.
pub(crate) fn make(parts: Parts<'_>) -> Option<Proof> {
    let Parts { block, number, index, leaves, head, key, content } = parts;
    let envelopes: Vec<Digest> =
        (0..block.header.events).map(|n| block.envelope_bytes(n).map(merkle::leaf)).collect::<Option<_>>()?;
    let texts = |path: Vec<Digest>| path.iter().map(|digest| STANDARD.encode(digest.0)).collect();
    Some(Proof {
        form: FORM.to_owned(),
        position: block.header.first.0 + u64::from(index),
        block: number,
        envelope: STANDARD.encode(block.envelope_bytes(index)?),
        envelope_path: texts(merkle::path(&envelopes, index as usize)),
        header: STANDARD.encode(block.header.to_bytes()),
        block_path: texts(merkle::path(leaves, usize::try_from(number).ok()?)),
        head,
        key,
        content: content.map(|shown| Shown { salt: STANDARD.encode(shown.salt), plain: STANDARD.encode(&shown.plain) }),
    })
}

impl Proof {
    /// Returns whether it opens the event's content.
    pub fn shows_content(&self) -> bool {
        self.content.is_some()
    }
}

/// Checks a proof; no ledger is needed.
pub fn check(text: &str) -> Result<Proven, ProofError> {
    if text.len() > LIMIT {
        return Err(ProofError::Form("it is longer than any proof".to_owned()));
    }
    let proof: Proof = serde_json::from_str(text).map_err(|e| ProofError::Form(e.to_string()))?;
    if proof.form != FORM {
        return Err(ProofError::Newer(proof.form));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| ProofError::Form("a part is not base64".to_owned()));
    let digests = |path: &[String]| -> Result<Vec<Digest>, ProofError> {
        path.iter()
            .map(|text| {
                let digest = bytes(text)?.try_into().map(Digest);
                digest.map_err(|_| ProofError::Form("a hash does not have 32 bytes".to_owned()))
            })
            .collect()
    };
    let (blocks, root) = open_note(&proof.head, &proof.key)?;
    let header_bytes = bytes(&proof.header)?;
    let header = Header::read(&header_bytes)?;
    if header.to_bytes().as_slice() != header_bytes {
        return Err(ProofError::Unfit("its block header has bytes that no header has"));
    }
    if merkle::root_of(header.leaf(), proof.block, blocks, &digests(&proof.block_path)?) != Some(root) {
        return Err(ProofError::Unfit("its block is not among those that the head speaks of"));
    }
    let encoded = bytes(&proof.envelope)?;
    let index = proof.position.checked_sub(header.first.0);
    let index =
        index.filter(|_| proof.position < header.end().0).ok_or(ProofError::Unfit("its event is of another block"))?;
    let found = merkle::root_of(merkle::leaf(&encoded), index, header.events.into(), &digests(&proof.envelope_path)?);
    if found != Some(header.envelopes) {
        return Err(ProofError::Unfit("its event is not in its block"));
    }
    let envelope: Envelope = codec::decode(&encoded)?;
    if envelope.position != Position(proof.position) {
        return Err(ProofError::Unfit("its event has another position"));
    }
    let content = match &proof.content {
        None => None,
        Some(shown) => {
            let salt: [u8; 32] = bytes(&shown.salt)?
                .try_into()
                .map_err(|_| ProofError::Form("its salt does not have 32 bytes".to_owned()))?;
            let plain = bytes(&shown.plain)?;
            if envelope.content != Some(vault::commitment(&salt, &plain)) {
                return Err(ProofError::Unfit("its content is not the one that its event commits to"));
            }
            Some(codec::decode(&plain)?)
        }
    };
    Ok(Proven { envelope, content, blocks, root, key: proof.key })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        event::Event,
        ledger::{Draft, Ledger, Ports},
        subject::{NameId, SubjectKey},
    };
    use proptest::prelude::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::memory(Ports::system()).unwrap();
        let subject = ledger.subject(&SubjectKey::new("crm", "people", "1")).unwrap();
        for n in 0..40 {
            let draft = |n: usize| {
                let draft = Draft::new(NameId(0), Event::RecordReleased).subject(subject);
                if n.is_multiple_of(3) { draft.content(Content::Text(format!("reason {n}"))) } else { draft }
            };
            ledger.append((0..=n).map(draft).collect()).wait().unwrap();
        }
        ledger
    }

    #[test]
    fn every_event_can_be_proven_with_and_without_its_content() {
        let ledger = ledger();
        for (envelope, opened) in ledger.reader().events(Position(0)).map(Result::unwrap) {
            for show in [false, true] {
                let proof = ledger.prove(envelope.position, show).unwrap().unwrap();
                let proven = check(&serde_json::to_string(&proof).unwrap()).unwrap();
                assert_eq!(proven.envelope, envelope);
                assert_eq!(proven.content, opened.clone().content().filter(|_| show));
                assert_eq!((proven.blocks, proven.root), (ledger.head().blocks, ledger.head().root));
            }
        }
        assert!(ledger.prove(ledger.head().end, true).unwrap().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_changed_byte_of_a_proof_is_found(at in 0u64..800, flips in prop::collection::vec(any::<prop::sample::Index>(), 40)) {
            let ledger = ledger();
            let proof = serde_json::to_string(&ledger.prove(Position(at), true).unwrap().unwrap()).unwrap();
            let proven = check(&proof).unwrap();
            for flip in flips {
                let mut bytes = proof.clone().into_bytes();
                bytes[flip.index(proof.len())] ^= 1;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                prop_assert!(check(&text).map_or(true, |changed| changed == proven), "a change went unseen");
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,300}") {
            let _ = check(&text);
        }
    }
}
