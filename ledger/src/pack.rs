//! Compression, with a dictionary for each shape of content.
//!
//! Contents are sealed one by one, so what they have in common (field names, constants) can only be left out if both sides
//! know it already. A dictionary is trained on samples that the caller makes up from schema names and constants; it holds
//! raw pieces of them, so no customer's record may be among them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use blake3::{Hash, Hasher};
use zstd::bulk::{Compressor, Decompressor};

use crate::{codec::CodecError, content::Shape};

/// Fast enough that the disk is what limits an append.
const LEVEL: i32 = 1;
/// The most bytes that packed bytes may unpack to.
const UNPACKED: usize = 64 << 20;
/// Contents shorter than this are not worth packing without a dictionary.
const WORTH_PACKING: usize = 96;
/// The most bytes of a dictionary.
const DICTIONARY: usize = 16 << 10;

/// Packs and unpacks. Dictionary 0 is none.
#[derive(Debug, Default)]
pub(crate) struct Packer(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By number, the first being number 0.
    codecs: Vec<Arc<Codec>>,
    shapes: HashMap<Shape, u16>,
}

/// One dictionary's compressors and decompressors; each is used by one thread at a time and kept for the next.
#[derive(Default)]
struct Codec {
    dictionary: Vec<u8>,
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("dictionary", &self.dictionary.len()).finish_non_exhaustive()
    }
}

/// Bytes, and how they were packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Whether they are compressed.
    pub(crate) zstd: bool,
    /// With which dictionary; 0 is none.
    pub(crate) dictionary: u16,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Packer {
    /// Returns a packer without dictionaries.
    pub(crate) fn new() -> Self {
        let packer = Self::default();
        packer.write().codecs.push(Arc::default());
        packer
    }

    /// Adds a dictionary for contents of a shape, and returns its number, if there is one left. A later dictionary for the
    /// same shape is used from then on; what was packed before still unpacks.
    pub(crate) fn learn(&self, shape: Shape, dictionary: Vec<u8>) -> Option<u16> {
        let mut known = self.write();
        let number = u16::try_from(known.codecs.len()).ok()?;
        known.codecs.push(Arc::new(Codec { dictionary, ..Codec::default() }));
        known.shapes.insert(shape, number);
        Some(number)
    }

    /// Returns the number of the dictionary for contents of a shape.
    pub(crate) fn dictionary_of(&self, shape: &Shape) -> Option<u16> {
        self.read().shapes.get(shape).copied()
    }

    /// Returns the number that the next dictionary gets, if there is one left.
    pub(crate) fn next(&self) -> Option<u16> {
        u16::try_from(self.read().codecs.len()).ok()
    }

    /// Packs bytes as small as is worth it.
    pub(crate) fn pack(&self, shape: Option<&Shape>, plain: Vec<u8>) -> Packed {
        let dictionary = shape.and_then(|shape| self.dictionary_of(shape)).unwrap_or(0);
        if dictionary > 0 || plain.len() >= WORTH_PACKING {
            let codec = self.codec(dictionary);
            if let Some(bytes) = codec.and_then(|codec| codec.compress(&plain).ok())
                && bytes.len() < plain.len()
            {
                return Packed { zstd: true, dictionary, bytes };
            }
        }
        Packed { zstd: false, dictionary: 0, bytes: plain }
    }

    /// Unpacks what [`Packer::pack`] packed.
    pub(crate) fn unpack(&self, dictionary: u16, packed: &[u8]) -> Result<Vec<u8>, CodecError> {
        let codec = self
            .codec(dictionary)
            .ok_or_else(|| CodecError::Damaged(format!("dictionary {dictionary} is not in the ledger")))?;
        codec
            .decompress(packed, UNPACKED.min(packed.len().saturating_mul(4_096) + 1_024))
            .map_err(|e| CodecError::Damaged(e.to_string()))
    }

    fn codec(&self, number: u16) -> Option<Arc<Codec>> {
        self.read().codecs.get(usize::from(number)).map(Arc::clone)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Codec {
    fn compress(&self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut compressor = match pop(&self.compressors) {
            Some(compressor) => compressor,
            None => {
                let mut compressor = Compressor::with_dictionary(LEVEL, &self.dictionary)?;
                compressor.include_dictid(false)?;
                compressor
            }
        };
        let packed = compressor.compress(plain)?;
        push(&self.compressors, compressor);
        Ok(packed)
    }

    fn decompress(&self, packed: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
        let mut decompressor = match pop(&self.decompressors) {
            Some(decompressor) => decompressor,
            None => Decompressor::with_dictionary(&self.dictionary)?,
        };
        // The frame says how long it unpacks; a damaged one may say anything.
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(limit).min(limit);
        let plain = decompressor.decompress(packed, size)?;
        push(&self.decompressors, decompressor);
        Ok(plain)
    }
}

fn pop<T>(pool: &Mutex<Vec<T>>) -> Option<T> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn push<T>(pool: &Mutex<Vec<T>>, item: T) {
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

/// How many dictionaries a process keeps for ledgers that it opens later.
const TRAINED: usize = 64;

/// Trains a dictionary on samples; nothing if there are too few to learn from. Training takes longer than all else that
/// opening a ledger does, so a process that opens many with the same schema trains once.
pub(crate) fn train(samples: &[Vec<u8>]) -> Option<Vec<u8>> {
    static TRAINED_BEFORE: Mutex<VecDeque<(Hash, Option<Vec<u8>>)>> = Mutex::new(VecDeque::new());
    let mut hasher = Hasher::new();
    for sample in samples {
        hasher.update(&(sample.len() as u64).to_le_bytes()).update(sample);
    }
    let digest = hasher.finalize();
    let mut before = TRAINED_BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, dictionary)) = before.iter().find(|(of, _)| *of == digest) {
        return dictionary.clone();
    }
    let dictionary = zstd::dict::from_samples(samples, DICTIONARY).ok();
    if before.len() == TRAINED {
        before.pop_front();
    }
    before.push_back((digest, dictionary.clone()));
    dictionary
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn sample(n: usize) -> Vec<u8> {
        format!(
            "first_name=Person {n};email=person{n}@example.com;company=Example {};created_at=2024-01-{:02}",
            n % 7,
            n % 28
        )
        .into_bytes()
    }

    #[test]
    fn a_dictionary_makes_small_contents_smaller_and_old_ones_still_unpack() {
        let packer = Packer::new();
        let shape = Shape { kind: 1, object: "people".into() };
        let before = packer.pack(Some(&shape), sample(1));
        let dictionary = train(&(0..400).map(sample).collect::<Vec<_>>()).unwrap();
        assert_eq!(packer.learn(shape.clone(), dictionary), Some(1));
        let after = packer.pack(Some(&shape), sample(1));
        assert!(
            after.bytes.len() * 2 < before.bytes.len().min(sample(1).len()),
            "{} {}",
            after.bytes.len(),
            before.bytes.len()
        );
        assert_eq!(packer.unpack(after.dictionary, &after.bytes).unwrap(), sample(1));
        if before.zstd {
            assert_eq!(packer.unpack(before.dictionary, &before.bytes).unwrap(), sample(1));
        }
        assert!(packer.unpack(7, &after.bytes).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_unpack_to_an_error_or_to_few_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let packer = Packer::new();
            if let Ok(plain) = packer.unpack(0, &bytes) {
                prop_assert!(plain.len() <= bytes.len() * 4_096 + 1_024);
            }
        }

        #[test]
        fn what_is_packed_unpacks(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let packer = Packer::new();
            let packed = packer.pack(None, bytes.clone());
            let plain = if packed.zstd { packer.unpack(0, &packed.bytes).unwrap() } else { packed.bytes };
            prop_assert_eq!(plain, bytes);
        }
    }
}
