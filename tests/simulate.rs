//! The simulator: laws under faults, the same story for the same seed, and proof that it notices mistakes.

use std::sync::atomic::{AtomicU64, Ordering};

use waybill_engine::flaws::{Flaw, Mutant, Sound};
use waybill_simulator::{Destination, Violation, simulate, simulate_to};

/// Goes through seeds on every core, and returns what broke.
fn each(seeds: std::ops::Range<u64>, tell: impl Fn(u64) -> Result<(), Violation> + Sync) -> Vec<Violation> {
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let broken = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(violation) = tell(seed) {
                        broken.lock().expect("no seed panics").push(violation);
                    }
                }
            });
        }
    });
    broken.into_inner().expect("no seed panics")
}

#[test]
fn two_hundred_seeds_keep_every_law() {
    let broken = each(1..201, |seed| simulate(seed, Sound).map(drop));
    let told: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn thirty_seeds_keep_every_law_on_twenty() {
    let broken = each(1..31, |seed| simulate_to(Destination::Twenty, seed, Sound).map(drop));
    let told: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// Seeds that once broke a law.
const MENDED: [u64; 14] = [460, 846, 1131, 1439, 1543, 2338, 2564, 2680, 3066, 3206, 4023, 4817, 7218, 9694];
const MENDED_ON_TWENTY: [u64; 13] = [35, 38, 65, 158, 186, 210, 227, 747, 1132, 1289, 1604, 1639, 3068];

#[test]
fn seeds_that_once_broke_a_law_keep_it() {
    let seeds = MENDED.map(|seed| (Destination::Salesforce, seed));
    let seeds: Vec<_> = seeds.into_iter().chain(MENDED_ON_TWENTY.map(|seed| (Destination::Twenty, seed))).collect();
    let broken = each(0..seeds.len() as u64, |n| {
        let (to, seed) = seeds[usize::try_from(n).expect("a small number")];
        simulate_to(to, seed, Sound).map(drop)
    });
    let told: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let broken = each(1..21, |seed| {
        let (one, other) = (simulate(seed, Sound)?, simulate(seed, Sound)?);
        let to = Destination::Salesforce;
        let differ = |what: &str| Violation { to, seed, what: what.to_owned(), story: Vec::new() };
        if one.log != other.log {
            return Err(differ("the requests differ"));
        }
        if one == other { Ok(()) } else { Err(differ("the ledger's heads differ")) }
    });
    assert!(broken.is_empty(), "{broken:?}");
}

/// Each mistake with a seed that notices it.
const NOTICED: [(Flaw, u64); 16] = [
    (Flaw::SkipBeforeImage, 1),
    (Flaw::ResendBlindly, 14),
    (Flaw::JoinByPosition, 14),
    (Flaw::DropNull, 1),
    (Flaw::IgnoreDriftInDelta, 15),
    (Flaw::IgnoreDriftInRollback, 1),
    (Flaw::SendBeforeIntent, 24),
    (Flaw::ForgetOpenWrites, 1),
    (Flaw::IgnoreChildren, 1),
    (Flaw::RecreateRemoved, 30),
    (Flaw::LateCheckpoint, 5),
    (Flaw::SkipSecondPass, 172),
    (Flaw::SwallowRefusals, 8),
    (Flaw::KeepDeleted, 6),
    (Flaw::ParentsFirst, 1),
    (Flaw::NewestImage, 4),
];

/// Mistakes with a seed that notices them on Twenty. `waybill-bench simulate --to twenty --flaw NAME` finds more.
const NOTICED_ON_TWENTY: [(Flaw, u64); 5] = [
    (Flaw::SkipBeforeImage, 1),
    (Flaw::DropNull, 1),
    (Flaw::IgnoreDriftInRollback, 3),
    (Flaw::ParentsFirst, 1),
    (Flaw::NewestImage, 4),
];

#[test]
fn every_deliberate_mistake_is_noticed() {
    assert_eq!(NOTICED.map(|(flaw, _)| flaw), Flaw::ALL, "a mistake has no seed that notices it");
    must_be_noticed(Destination::Salesforce, &NOTICED, 21);
}

#[test]
fn deliberate_mistakes_are_noticed_on_twenty() {
    must_be_noticed(Destination::Twenty, &NOTICED_ON_TWENTY, 1);
}

/// Insists that each mistake is noticed by its seed; looks at so many seeds from there, to name others that do.
fn must_be_noticed(to: Destination, noticed: &[(Flaw, u64)], seeds: u64) {
    let mut missed = Vec::new();
    for &(flaw, seed) in noticed {
        let noticed = each(seed..seed + seeds, |seed| simulate_to(to, seed, Mutant(flaw)).map(drop));
        if !noticed.iter().any(|violation| violation.seed == seed) {
            let others: Vec<u64> = noticed.iter().map(|violation| violation.seed).collect();
            missed.push(format!("{flaw:?} is not noticed by seed {seed}, but by {others:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
