//! Looks at sled's file before sled does. When sled opens a file that is damaged near its end, it takes the damage for a
//! write that a crash broke off, and truncates without a word. Whoever verifies wants to know first, and to keep the file.
//!
//! The file is a row of segments (512 KiB). A segment begins with a header of 20 bytes: CRC-32 u32 (inverted) over the next
//! 16 · log sequence number i64 · a second one, both with all bits but the highest flipped. Messages follow: CRC-32 u32
//! (inverted) over the body and then the rest of the header · kind u8 · length, segment number and page number, as sled writes
//! integers · body. Numbers are little-endian. (sled 0.34.7, `pagecache/logger.rs` and `serialization.rs`.)

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

const SEGMENT: usize = 512 << 10;
const HEADER: usize = 20;
/// No message begins nearer than this to the end of its segment.
const RED_ZONE: usize = 32;
/// Fills the rest of a segment.
const CAP: u8 = 2;
/// The kinds of messages.
const KINDS: std::ops::RangeInclusive<u8> = 1..=11;

/// Returns where the first message stands whose bytes are not those that were written, if there is one.
pub(crate) fn first_tear(store: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(store.join("db"))?;
    let mut segment = Vec::with_capacity(SEGMENT);
    let mut base = 0;
    loop {
        segment.clear();
        if (&mut file).take(SEGMENT as u64).read_to_end(&mut segment)? == 0 {
            return Ok(None);
        }
        if let Some(at) = tear_in(&segment) {
            return Ok(Some(base + at as u64));
        }
        base += SEGMENT as u64;
    }
}

fn tear_in(segment: &[u8]) -> Option<usize> {
    let header = segment.get(..HEADER)?;
    if header.iter().all(|byte| *byte == 0) {
        return None;
    }
    if u32::from_le_bytes(header[..4].try_into().ok()?) != !crc32fast::hash(&header[4..]) {
        return Some(0);
    }
    let lsn = i64::from_le_bytes(header[4..12].try_into().ok()?) ^ i64::MAX;
    let number = u64::try_from(lsn).ok()? / SEGMENT as u64;
    let mut at = HEADER;
    while at + RED_ZONE <= segment.len() {
        let message = &segment[at..];
        let kind = message[4];
        if !KINDS.contains(&kind) {
            // Never written, or left over from an earlier use of the segment.
            return None;
        }
        let mut rest = &message[5..];
        let (Some(length), Some(of), Some(_)) = (integer(&mut rest), integer(&mut rest), integer(&mut rest)) else {
            return Some(at);
        };
        if of != number {
            return None;
        }
        let body = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(body) = body else { return Some(at) };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&message[4..message.len() - rest.len()]);
        if u32::from_le_bytes(message[..4].try_into().ok()?) != !hasher.finalize() {
            return Some(at);
        }
        if kind == CAP {
            return None;
        }
        at += message.len() - rest.len() + body.len();
    }
    None
}

/// Reads an integer as sled writes it.
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let first = u64::from(*first);
    let take = |rest: &mut &[u8], count: usize| -> Option<u64> {
        let (own, after) = rest.split_at_checked(count)?;
        *rest = after;
        let mut all = [0; 8];
        all[..count].copy_from_slice(own);
        Some(u64::from_le_bytes(all))
    };
    let mut rest = rest;
    let value = match first {
        0..=240 => first,
        241..=248 => 240 + 256 * (first - 241) + take(&mut rest, 1)?,
        249 => {
            let high = take(&mut rest, 1)?;
            2_288 + 256 * high + take(&mut rest, 1)?
        }
        _ => take(&mut rest, usize::try_from(first - 247).ok()?)?,
    };
    *bytes = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{SledStore, Store};

    #[test]
    fn a_whole_file_has_no_tear_and_a_flipped_byte_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        for n in 0..40_u8 {
            store.append(n.into(), &vec![n ^ 0x5a; 40_000], &[]).unwrap();
        }
        drop(store);
        assert_eq!(first_tear(dir.path()).unwrap(), None);
        let path = dir.path().join("db");
        let whole = std::fs::read(&path).unwrap();
        let mut found = 0;
        for at in (1_000..whole.len() - 1_000).step_by(whole.len() / 60) {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            std::fs::write(&path, &changed).unwrap();
            let tear = first_tear(dir.path()).unwrap();
            assert!(
                tear.is_none_or(|tear| tear <= at as u64 && at as u64 - tear < SEGMENT as u64),
                "{tear:?} for {at}"
            );
            found += u32::from(tear.is_some());
        }
        // What is passed over lies where nothing was written yet.
        assert!(found > 50, "only {found} of 60");
    }
}
