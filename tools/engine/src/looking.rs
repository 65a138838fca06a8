//! Going through an export without reading it into the ledger: several objects side by side, the largest first.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use waybill_connectors::bundle::{Bundle, BundleObject, Sight};

use crate::{aside::cores, failure::Failure, progress::Progress};

/// How many objects are gone through side by side at most.
const READERS: usize = 4;
/// How many cells take as long as asking whether a file is there.
const ASKING: u64 = 200;
/// How often progress is told.
const STEP: u64 = 4_096;

/// Goes through these objects, given by their places, and returns what `look` made of each, in the order of the places. Blocks.
pub(crate) fn side_by_side<T: Send>(
    bundle: &Bundle,
    places: &[usize],
    progress: &dyn Progress,
    look: &(dyn Fn(&BundleObject) -> Result<T, Failure> + Sync),
) -> Result<Vec<T>, Failure> {
    let objects = bundle.objects();
    let mut order: Vec<usize> = (0..places.len()).collect();
    let weight = |n: &usize| {
        let object = &objects[places[*n]];
        // Of every file it is asked whether it is there, which takes longer than many cells.
        let each = object.columns.len() as u64 + if object.name == "files" { ASKING } else { 0 };
        object.rows.unwrap_or(u64::MAX >> 16) * each
    };
    order.sort_by_key(|n| std::cmp::Reverse(weight(n)));
    progress.begin("reading", places.iter().filter_map(|place| objects[*place].rows).sum());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T, Failure>)>> = Mutex::default();
    let work = || {
        while let Some(n) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let made = look(&objects[places[*n]]);
            if let Ok(mut done) = done.lock() {
                done.push((*n, made));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..cores().clamp(1, READERS) {
            scope.spawn(work);
        }
        work();
    });
    progress.end();
    let mut done = done.into_inner().unwrap_or_default();
    if done.len() != order.len() {
        return Err(Failure::failed("a reader of the export stopped"));
    }
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, made)| made).collect()
}

/// Shows everything of an object to `see`, and tells how far it is.
pub(crate) fn through(
    bundle: &Bundle,
    object: &BundleObject,
    names: &std::sync::Arc<[waybill_ledger::FieldName]>,
    progress: &dyn Progress,
    mut see: impl FnMut(Sight<'_>),
) -> Result<(), Failure> {
    let mut met = 0;
    bundle.scan(&object.name, names, &mut |sight| {
        see(sight);
        met += 1;
        if met % STEP == 0 {
            progress.advance(STEP);
        }
    })?;
    progress.advance(met % STEP);
    Ok(())
}
