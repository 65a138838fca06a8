//! The fuzz targets, for a moment: what is arbitrary, and what is nearly right.
//!
//! For longer: `cargo +nightly fuzz run block` (or `envelope`, `payload`, `proof`, `head`) in `ledger/`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use waybill_ledger::{
    Content, Event, NameId, Position, SubjectKey, codec,
    ledger::{Draft, Ledger, Ports},
    store::{MemoryStore, Store},
};

mod targets {
    include!("../fuzz/targets.rs");
}

/// Bytes that are right: blocks, envelopes, contents, proofs, heads.
fn right() -> &'static [Vec<u8>] {
    static RIGHT: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    RIGHT.get_or_init(|| {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::with_store(Box::new(Arc::clone(&store)), Ports::system()).unwrap();
        let subject = ledger.subject(&SubjectKey::new("crm", "people", "1")).unwrap();
        let content = |n: usize| Content::Text(format!("text {n} {}", "and so on ".repeat(n)));
        for count in [1, 5, 40] {
            let draft = |n: usize| Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(content(n));
            ledger.append((0..count).map(draft).collect()).wait().unwrap();
        }
        let mut right: Vec<Vec<u8>> = (0..3).map(|n| store.block(n).unwrap().unwrap()).collect();
        right.extend(ledger.reader().events(Position(0)).map(|event| codec::encode(&event.unwrap().0).unwrap()));
        right.extend((0..20).map(|n| codec::encode(&content(n)).unwrap()));
        for n in [0, 7, 45] {
            let proof = ledger.prove(Position(n), true).unwrap().unwrap();
            right.push(serde_json::to_vec(&proof).unwrap());
            right.push(format!("{}\n\n\n{}", proof.head, proof.key).into_bytes());
        }
        // A box: salt, packing, dictionary, length, bytes.
        let plain = codec::encode(&content(3)).unwrap();
        let length = u32::try_from(plain.len()).unwrap().to_le_bytes();
        right.push([&[7; 32][..], &[0], &[0, 0], &length, &plain].concat());
        right
    })
}

fn all(data: &[u8]) {
    targets::block(data);
    targets::envelope(data);
    targets::payload(data);
    targets::proof(data);
    targets::head(data);
}

/// One change: replace, remove, insert or repeat some bytes.
fn changed(mut data: Vec<u8>, changes: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    for (how, at, byte) in changes {
        if data.is_empty() {
            return data;
        }
        let at = at.index(data.len());
        match how % 5 {
            0 => data[at] = *byte,
            1 => data[at] ^= 1 << (byte % 8),
            2 => drop(data.drain(at..data.len().min(at + usize::from(*byte)))),
            3 => data.insert(at, *byte),
            _ => data[at..].iter_mut().take(8).for_each(|each| *each = 0xff),
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn arbitrary_bytes_do_no_harm(data in prop::collection::vec(any::<u8>(), 0..600)) {
        all(&data);
    }

    #[test]
    fn nearly_right_bytes_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let right = right();
        all(&changed(right[which.index(right.len())].clone(), &changes));
    }
}

#[test]
fn what_is_right_is_taken() {
    for data in right() {
        all(data);
    }
    assert!(waybill_ledger::content::unbox(right().last().unwrap()).is_ok());
}
