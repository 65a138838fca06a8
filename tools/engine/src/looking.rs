//! Going through an export without reading it into the ledger: several objects side by side, the largest first, and between them
//! the files are held against their digests.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use waybill_connectors::bundle::{Bundle, BundleObject, Sight};

use crate::{aside::cores, failure::Failure, progress::Progress};

/// How many things are done side by side at most.
const READERS: usize = 4;
/// How many cells take as long as asking whether a file is there.
const ASKING: u64 = 200;
/// How often progress is told.
const STEP: u64 = 4_096;

/// One thing to be done.
enum Job<'a> {
    /// Going through an object, and the place of what comes of it.
    Object(&'a BundleObject, usize),
    /// Holding a file against its digest.
    File(&'a str),
}

/// Goes through these objects, and holds these files against their digests; returns what `look` made of each object, in the order
/// of the export. Blocks.
pub(crate) fn side_by_side<T: Send>(
    bundle: &Bundle,
    wanted: &dyn Fn(&BundleObject) -> bool,
    files: &BTreeSet<String>,
    progress: &dyn Progress,
    look: &(dyn Fn(&BundleObject) -> Result<T, Failure> + Sync),
) -> Result<Vec<T>, Failure> {
    let objects: Vec<&BundleObject> = bundle.objects().iter().filter(|object| wanted(object)).collect();
    let mut jobs: Vec<(u64, Job<'_>)> = Vec::new();
    for (place, object) in objects.iter().enumerate() {
        // Of every file it is asked whether it is there, which takes longer than many cells.
        let each = object.columns.len() as u64 + if object.name == "files" { ASKING } else { 0 };
        jobs.push((object.rows.unwrap_or(u64::MAX >> 16).saturating_mul(each), Job::Object(object, place)));
    }
    let mut pledged: Vec<(u64, Job<'_>)> = bundle
        .pledged()
        .filter(|(file, _)| files.contains(*file))
        .map(|(file, bytes)| (bytes, Job::File(file)))
        .collect();
    for jobs in [&mut jobs, &mut pledged] {
        jobs.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    }
    // Digesting takes other parts of a processor than reading: the files come while the largest object is gone through.
    let after = jobs.len().min(1);
    jobs.splice(after..after, pledged);
    progress.begin("reading", objects.iter().filter_map(|object| object.rows).sum());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::default();
    let wrong: Mutex<Option<Failure>> = Mutex::default();
    let work = || {
        while let Some((_, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let failed = match job {
                Job::Object(object, place) => match look(object) {
                    Ok(made) => {
                        if let Ok(mut done) = done.lock() {
                            done.push((*place, made));
                        }
                        continue;
                    }
                    Err(failure) => (failure, false),
                },
                Job::File(file) => match bundle.check(file) {
                    Ok(()) => continue,
                    Err(error) => (error.into(), true),
                },
            };
            if let Ok(mut wrong) = wrong.lock() {
                // A file that is not what the manifest says tells more than what came of reading it.
                let (failure, stands) = failed;
                if stands || wrong.is_none() {
                    *wrong = Some(failure);
                }
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
    if let Some(failure) = wrong.into_inner().unwrap_or_default() {
        return Err(failure);
    }
    let mut done = done.into_inner().unwrap_or_default();
    if done.len() != objects.len() {
        return Err(Failure::failed("a reader of the export stopped"));
    }
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, made)| made).collect())
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
