//! A sealed run of events, as it lies in the store.
//!
//! ```text
//! header     192 bytes, see [`Header`]
//! envelopes  count × (length u32 · envelope), all together as one zstd frame if that is shorter
//! vault      entries × (index of its envelope within the block u32 · length u32 · sealed content)
//! ```
//!
//! All integers outside the envelopes are little-endian. The leaf of a block in the tree of blocks is the hash of its
//! header, which holds the root of the tree over its envelopes and the hash of its vault.

use crate::{
    codec::{self, CodecError},
    event::Envelope,
    merkle::{self, Frontier},
    subject::{Digest, Micros, Position},
};

/// The first bytes of every block.
const MAGIC: [u8; 4] = *b"WBLK";
/// The version of the format that this release writes.
const VERSION: u16 = 1;
/// Fast enough not to be noticed beside the hashing.
const PACKING_LEVEL: i32 = 1;
/// The length of a header.
pub(crate) const HEADER: usize = 192;
/// The most bytes that the envelopes of a block may unpack to.
const UNPACKED: u64 = 256 << 20;

/// What a block says about itself.
///
/// ```text
/// magic 4 · version u16 · packing of the envelopes u16 (0 plain, 1 zstd) · first position u64 · events u32 ·
/// vault entries u32 · first time i64 · last time i64 · bytes of envelopes as stored u64 · bytes of vault u64 ·
/// root of envelopes 32 · hash of vault 32 · root of the tree of all blocks before this one 32 ·
/// bytes of envelopes unpacked u64 · hash of the envelopes as stored 32
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The position of its first event.
    pub first: Position,
    /// How many events it has.
    pub events: u32,
    /// How many of them have content.
    pub contents: u32,
    /// When its first and its last event were appended.
    pub times: (Micros, Micros),
    /// Whether its envelopes are one zstd frame.
    pub packed: bool,
    /// The bytes of its envelopes, as stored.
    pub envelope_bytes: u64,
    /// The bytes of its vault.
    pub vault_bytes: u64,
    /// The root of the tree over its envelopes.
    pub envelopes: Digest,
    /// The hash of its vault, which blake3 builds as a tree of its own.
    pub vault: Digest,
    /// The root of the tree of all blocks before it.
    pub previous: Digest,
    /// The bytes of its envelopes, unpacked.
    pub unpacked_bytes: u64,
    /// The hash of its envelopes, as stored.
    pub stored: Digest,
}

/// A block that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It is not a block at all, or ends early.
    #[error("{0}")]
    Form(&'static str),
    /// A newer release wrote it.
    #[error("a newer release wrote it (format {0}, this release reads {VERSION})")]
    Newer(u16),
    /// An envelope does not decode.
    #[error("the envelope of event {0} is damaged: {1}")]
    Envelope(u64, CodecError),
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u16::from(self.packed).to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.events.to_le_bytes());
        bytes.extend_from_slice(&self.contents.to_le_bytes());
        bytes.extend_from_slice(&self.times.0.0.to_le_bytes());
        bytes.extend_from_slice(&self.times.1.0.to_le_bytes());
        bytes.extend_from_slice(&self.envelope_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.vault_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.envelopes.0);
        bytes.extend_from_slice(&self.vault.0);
        bytes.extend_from_slice(&self.previous.0);
        bytes.extend_from_slice(&self.unpacked_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.stored.0);
        bytes.try_into().expect("the fields above are as long as a header")
    }

    /// Reads the header at the start of a block.
    pub(crate) fn read(block: &[u8]) -> Result<Self, BlockError> {
        let bytes: &[u8; HEADER] = block.first_chunk().ok_or(BlockError::Form("it is shorter than a header"))?;
        if bytes[..4] != MAGIC {
            return Err(BlockError::Form("it does not begin like a block"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(BlockError::Newer(version));
        }
        let packed = match bytes[6..8] {
            [0, 0] => false,
            [1, 0] => true,
            _ => return Err(BlockError::Form("its envelopes are packed in an unknown way")),
        };
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let digest = |at: usize| Digest(bytes[at..at + 32].try_into().expect("32 bytes"));
        if long(8).checked_add(short(16).into()).is_none() {
            return Err(BlockError::Form("its positions are beyond all numbers"));
        }
        Ok(Self {
            first: Position(long(8)),
            events: short(16),
            contents: short(20),
            times: (Micros(long(24).cast_signed()), Micros(long(32).cast_signed())),
            packed,
            envelope_bytes: long(40),
            vault_bytes: long(48),
            envelopes: digest(56),
            vault: digest(88),
            previous: digest(120),
            unpacked_bytes: long(152),
            stored: digest(160),
        })
    }

    /// Returns the block's leaf in the tree of blocks.
    pub fn leaf(&self) -> Digest {
        merkle::leaf(&self.to_bytes())
    }

    /// Returns the position after its last event.
    pub fn end(&self) -> Position {
        Position(self.first.0 + u64::from(self.events))
    }
}

/// A block that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    envelopes: Vec<u8>,
    vault: Vec<u8>,
    events: u32,
    contents: u32,
    first: Option<Position>,
    times: Option<(Micros, Micros)>,
    envelope_tree: Frontier,
}

impl Builder {
    /// Adds an event and its sealed content.
    pub(crate) fn push(&mut self, envelope: &Envelope, sealed: Option<&[u8]>) -> Result<(), CodecError> {
        let bytes = codec::encode(envelope)?;
        let length =
            u32::try_from(bytes.len()).map_err(|_| CodecError::Unencodable("an envelope is over 4 GB".into()))?;
        if let Some(sealed) = sealed {
            let length =
                u32::try_from(sealed.len()).map_err(|_| CodecError::Unencodable("a content is over 4 GB".into()))?;
            self.vault.extend_from_slice(&self.events.to_le_bytes());
            self.vault.extend_from_slice(&length.to_le_bytes());
            self.vault.extend_from_slice(sealed);
            self.contents += 1;
        }
        self.envelopes.extend_from_slice(&length.to_le_bytes());
        self.envelopes.extend_from_slice(&bytes);
        self.envelope_tree.push(merkle::leaf(&bytes));
        self.first.get_or_insert(envelope.position);
        let begin = self.times.map_or(envelope.time, |(begin, _)| begin);
        self.times = Some((begin, envelope.time));
        self.events += 1;
        Ok(())
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn vault_bytes(&self) -> usize {
        self.vault.len()
    }

    /// Seals the block: returns its header and its bytes.
    pub(crate) fn finish(self, previous: Digest) -> (Header, Vec<u8>) {
        let unpacked = self.envelopes;
        let packed = zstd::bulk::compress(&unpacked, PACKING_LEVEL).ok().filter(|packed| packed.len() < unpacked.len());
        let envelopes = packed.as_ref().unwrap_or(&unpacked);
        let header = Header {
            first: self.first.unwrap_or(Position(0)),
            events: self.events,
            contents: self.contents,
            times: self.times.unwrap_or((Micros(0), Micros(0))),
            packed: packed.is_some(),
            envelope_bytes: envelopes.len() as u64,
            vault_bytes: self.vault.len() as u64,
            envelopes: self.envelope_tree.root(),
            vault: Digest::of(&self.vault),
            previous,
            unpacked_bytes: unpacked.len() as u64,
            stored: Digest::of(envelopes),
        };
        let mut bytes = Vec::with_capacity(HEADER + envelopes.len() + self.vault.len());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(envelopes);
        bytes.extend_from_slice(&self.vault);
        (header, bytes)
    }
}

/// A block, taken apart without decoding its events.
#[derive(Debug)]
pub struct Block {
    /// What it says about itself.
    pub header: Header,
    bytes: Vec<u8>,
    /// The envelopes, unpacked.
    unpacked: Vec<u8>,
    /// Start and end of each envelope within them.
    envelopes: Vec<(u32, u32)>,
    /// Index of the envelope, start and end of the sealed bytes.
    vault: Vec<(u32, u32, u32)>,
}

impl Block {
    /// Takes the bytes of a block apart.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BlockError> {
        let header = Header::read(&bytes)?;
        let early = BlockError::Form("it ends early");
        let end = u32::try_from(bytes.len()).map_err(|_| BlockError::Form("it is over 4 GB"))? as usize;
        let boundary = (HEADER as u64).checked_add(header.envelope_bytes);
        let Some(boundary) = boundary.filter(|at| at.checked_add(header.vault_bytes) == Some(end as u64)) else {
            return Err(BlockError::Form("its length is not what its header says"));
        };
        let boundary = usize::try_from(boundary).map_err(|_| early.clone())?;
        let stored = bytes.get(HEADER..boundary).ok_or_else(|| early.clone())?;
        let unpacked = if header.packed {
            let size = usize::try_from(header.unpacked_bytes.min(UNPACKED)).unwrap_or(0);
            if size > stored.len().saturating_mul(4_096) + 1_024 {
                return Err(BlockError::Form("its envelopes claim an impossible size"));
            }
            zstd::bulk::decompress(stored, size).map_err(|_| BlockError::Form("its envelopes do not unpack"))?
        } else {
            stored.to_vec()
        };
        if unpacked.len() as u64 != header.unpacked_bytes {
            return Err(BlockError::Form("its envelopes unpack to another length than its header says"));
        }
        let short = |bytes: &[u8], at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
        };
        let (mut at, mut envelopes) = (0, Vec::new());
        while at < unpacked.len() {
            let length = short(&unpacked, at).ok_or_else(|| early.clone())? as usize;
            let stop = at + 4 + length;
            if stop > unpacked.len() {
                return Err(early);
            }
            envelopes.push((narrow(at + 4), narrow(stop)));
            at = stop;
        }
        let mut at = boundary;
        let mut vault = Vec::new();
        while at < end {
            let (Some(index), Some(length)) = (short(&bytes, at), short(&bytes, at + 4)) else { return Err(early) };
            let stop = at + 8 + length as usize;
            if stop > end {
                return Err(early);
            }
            vault.push((index, narrow(at + 8), narrow(stop)));
            at = stop;
        }
        if envelopes.len() != header.events as usize || vault.len() != header.contents as usize {
            return Err(BlockError::Form("it has more or fewer events or contents than its header says"));
        }
        Ok(Self { header, bytes, unpacked, envelopes, vault })
    }

    /// Returns an envelope, by its index within the block.
    pub fn envelope(&self, index: u32) -> Result<Envelope, BlockError> {
        let number = self.header.first.0 + u64::from(index);
        let bytes = self.envelope_bytes(index).ok_or(BlockError::Form("it has no such event"))?;
        let envelope: Envelope = codec::decode(bytes).map_err(|e| BlockError::Envelope(number, e))?;
        if envelope.position.0 != number {
            return Err(BlockError::Form("an event's position is not its place"));
        }
        Ok(envelope)
    }

    /// Returns the encoded envelope at this index.
    pub fn envelope_bytes(&self, index: u32) -> Option<&[u8]> {
        let (from, to) = *self.envelopes.get(index as usize)?;
        self.unpacked.get(from as usize..to as usize)
    }

    /// Returns the sealed content of the envelope at this index.
    pub fn sealed(&self, index: u32) -> Option<&[u8]> {
        let at = self.vault.binary_search_by_key(&index, |entry| entry.0).ok()?;
        let (_, from, to) = self.vault[at];
        self.bytes.get(from as usize..to as usize)
    }

    /// Returns the root of the tree over the envelopes as they are.
    pub fn envelope_root(&self) -> Digest {
        self.envelopes
            .iter()
            .map(|(from, to)| merkle::leaf(&self.unpacked[*from as usize..*to as usize]))
            .collect::<Frontier>()
            .root()
    }

    /// Returns the hash of the envelopes as they are stored.
    pub fn stored(&self) -> Digest {
        let stored = HEADER..self.bytes.len() - usize::try_from(self.header.vault_bytes).unwrap_or(0);
        Digest::of(&self.bytes[stored])
    }

    /// Returns the hash of the vault as it is stored.
    pub fn vault(&self) -> Digest {
        Digest::of(&self.bytes[self.bytes.len() - usize::try_from(self.header.vault_bytes).unwrap_or(0)..])
    }
}

/// Block lengths fit 32 bits: `parse` refuses longer ones.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;
    use crate::{event::Event, subject::NameId};
    use proptest::prelude::*;

    fn envelope(position: u64) -> Envelope {
        Envelope {
            position: Position(position),
            time: Micros(1_000 + position.cast_signed()),
            run: None,
            actor: NameId(1),
            causes: vec![],
            subject: None,
            target: None,
            batch: None,
            event: Event::RunResumed,
            content: None,
        }
    }

    fn block() -> (Header, Vec<u8>) {
        let mut builder = Builder::default();
        for n in 5..12 {
            builder.push(&envelope(n), (n % 2 == 0).then_some(&[n as u8; 40])).unwrap();
        }
        builder.finish(Digest::of(b"before"))
    }

    #[test]
    fn a_block_reads_back() {
        let (header, bytes) = block();
        let block = Block::parse(bytes).unwrap();
        assert_eq!(block.header, header);
        assert_eq!(block.envelope(3).unwrap(), envelope(8));
        assert_eq!(block.sealed(3), Some([8; 40].as_slice()));
        assert_eq!(block.sealed(2), None);
        assert_eq!((block.envelope_root(), block.vault()), (header.envelopes, header.vault));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_found(flip in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (header, mut bytes) = block();
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let found = match Block::parse(bytes) {
                Err(_) => true,
                Ok(block) => {
                    block.header.leaf() != header.leaf()
                        || block.stored() != header.stored
                        || block.envelope_root() != header.envelopes
                        || block.vault() != header.vault
                }
            };
            prop_assert!(found, "a change at byte {at} went unseen");
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Block::parse(bytes.clone());
            let (_, mut good) = block();
            let head = HEADER.min(good.len());
            good.truncate(head);
            good.extend(bytes);
            let _ = Block::parse(good);
        }
    }
}
