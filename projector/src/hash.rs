//! Hashes of values, for folds that count and compare what they do not keep. The same on every machine; not for secrets.

use std::hash::Hasher;

use rustc_hash::FxHasher;
use waybill_ledger::ValueRef;

/// Hashes a text. Two texts with one hash are taken for one: among ten million, one chance in 300,000.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.write_u8(0xFF);
    hasher.finish()
}

/// Hashes a value so that every bit of the hash depends on all of it.
pub(crate) fn hash_value(value: ValueRef<'_>) -> u64 {
    let (kind, rest) = match value {
        // The hash of a text depends on all of it already.
        ValueRef::Text(text) => return hash(text),
        ValueRef::Bool(flag) => (1_u64, u64::from(flag)),
        ValueRef::Number(number) => {
            let digits = number.mantissa().to_le_bytes();
            let (low, high) = digits.split_at(8);
            let half = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            // Numbers differ by their scale, too: `1.5` is not written as `1.50`.
            (2 + u64::from(number.scale()) * 8, half(low) ^ mixed(half(high)))
        }
        ValueRef::Date(day) => (3, u64::from(day.to_epoch_days().cast_unsigned())),
        ValueRef::Time(at) => (4, at.timestamp_micros().cast_unsigned()),
        ValueRef::List(_) | ValueRef::Map(_) => (5, hash(&value.shown())),
    };
    mixed(rest ^ kind << 56)
}

/// Spreads what differs in a few bits over all of them (the finalizer of SplitMix64; Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators", 2014).
fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
