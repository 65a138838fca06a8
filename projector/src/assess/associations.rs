//! What leads nowhere, or in a circle; and the findings of all objects together.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use rustc_hash::FxHashMap;

use super::{
    Completeness, Effects, FieldFill, Finding, Severity, Tally,
    duplicates::{Compared, Linking, Links, Meeting, Who},
    ids::Ids,
    object::{Mixed, ObjectAssessor, Reference, Settled},
    values::{self, Look},
};

/// What the records of all objects say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// The findings: the worst first, then by object and kind.
    pub findings: Vec<Finding>,
    /// How full the rows are, by object.
    pub completeness: Vec<Completeness>,
    /// Per object that was searched for duplicates: pairs compared, and records that too many others looked like.
    pub compared: Vec<(String, u64, u64)>,
}

impl Joined {
    /// Adds findings that were made elsewhere, each in its place.
    pub fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.severity, std::cmp::Reverse(finding.count));
            let place = |finding: &Finding| (finding.object.clone(), finding.kind.clone(), finding.field.clone());
            (a.severity, place(a), key(a), &a.what).cmp(&(b.severity, place(b), key(b), &b.what))
        });
    }
}

/// The ids of all objects.
struct Known<'a> {
    ids: FxHashMap<&'a str, &'a ObjectAssessor>,
    words: &'a std::collections::BTreeMap<String, String>,
}

/// What a reference leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    Somewhere,
    ToGone,
    Nowhere,
}

impl Known<'_> {
    fn leads(&self, to: &[String], target: u64) -> Leads {
        let mut gone = false;
        for object in to {
            let Some(object) = self.ids.get(object.as_str()) else { continue };
            if object.ids.number(target).is_some() {
                return Leads::Somewhere;
            }
            gone |= object.gone.contains(&target);
        }
        if gone { Leads::ToGone } else { Leads::Nowhere }
    }
}

/// One of the things that are done side by side when objects are joined.
enum Task {
    /// Follows the references of an object.
    Follow(usize),
    /// Compares what meets in one part of what is kept of people or companies.
    Compare(usize, Vec<Meeting>),
}

/// What came of one.
enum Done {
    Followed(Vec<Finding>),
    Compared(usize, Compared),
}

/// Holds what was kept of all objects together.
pub fn join(
    objects: Vec<Settled>,
    words: &std::collections::BTreeMap<String, String>,
    effects: &Effects<'_>,
) -> Joined {
    let mut joined = Joined::default();
    let mut objects: Vec<ObjectAssessor> = objects.into_iter().map(|settled| settled.0).collect();
    let mut linkings: Vec<(usize, Who, Linking)> = Vec::new();
    let mut tasks: Vec<Task> = Vec::new();
    for (n, object) in objects.iter_mut().enumerate() {
        let Some((who, _, linker)) = object.linker.take() else { continue };
        let (linking, parts) = linker.linking();
        tasks.extend(parts.into_iter().map(|keys| Task::Compare(linkings.len(), keys)));
        linkings.push((n, who, linking));
    }
    tasks.extend((0..objects.len()).map(Task::Follow));
    let known = Known { ids: objects.iter().map(|object| (object.object.as_str(), object)).collect(), words };
    let done = side_by_side(tasks, |task| match task {
        Task::Follow(n) => Done::Followed(of_references(&objects[n], &known, effects)),
        Task::Compare(n, keys) => Done::Compared(n, linkings[n].2.part(keys)),
    });
    let mut parts: Vec<Vec<Compared>> = linkings.iter().map(|_| Vec::new()).collect();
    for done in done {
        match done {
            Done::Followed(findings) => joined.findings.extend(findings),
            Done::Compared(n, compared) => parts[n].push(compared),
        }
    }
    joined.completeness.extend(objects.iter().map(completeness));
    for ((n, who, linking), parts) in linkings.into_iter().zip(parts) {
        let (object, found) = (&objects[n], Linking::links(linking.records(), parts));
        joined.compared.push((object.object.clone(), found.compared, found.crowded));
        joined.findings.extend(doubled(object, who, &found, effects));
    }
    for object in objects {
        joined.findings.extend(of_values(object, effects));
    }
    joined.add(Vec::new());
    joined
}

/// Does all tasks, several side by side, and returns what came of each in their order.
fn side_by_side<T: Send, D: Send>(tasks: Vec<T>, work: impl Fn(T) -> D + Sync) -> Vec<D> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    let tasks: Vec<Mutex<Option<T>>> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    let next = AtomicUsize::new(0);
    let taken = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(n) else { return done };
            if let Some(task) = task.lock().ok().and_then(|mut task| task.take()) {
                done.push((n, work(task)));
            }
        }
    };
    let mut done: Vec<(usize, D)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(taken)).collect();
        let mut done = taken();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, done)| done).collect()
}

fn of_references(object: &ObjectAssessor, known: &Known<'_>, effects: &Effects<'_>) -> Vec<Finding> {
    let plain = object.references.iter().flat_map(|reference| of_reference(object, reference, known, effects));
    plain.chain(object.mixed.iter().flat_map(|mixed| of_mixed(object, mixed, known, effects))).collect()
}

fn finding(
    kind: &str,
    severity: Severity,
    object: &ObjectAssessor,
    field: Option<&str>,
    tally: &Tally,
    what: String,
    plan: String,
) -> Option<Finding> {
    (tally.count > 0).then(|| Finding {
        kind: kind.to_owned(),
        severity,
        object: object.object.clone(),
        field: field.map(str::to_owned),
        count: tally.count,
        what,
        plan,
        records: object.ids.each(&tally.first),
    })
}

fn of_reference(
    object: &ObjectAssessor,
    reference: &Reference,
    known: &Known<'_>,
    effects: &Effects<'_>,
) -> Vec<Finding> {
    let field = object.columns[reference.column].name.as_str();
    let to = reference.to.join(" or ");
    let (mut nowhere, mut gone) = (Tally::default(), Tally::default());
    let mut few: Vec<_> = reference.few.iter().collect();
    few.sort_unstable_by_key(|(target, _)| **target);
    for (target, tally) in few {
        match known.leads(&reference.to, *target) {
            Leads::Somewhere => {}
            Leads::ToGone => gone.merge(tally),
            Leads::Nowhere => nowhere.merge(tally),
        }
    }
    let objects: Vec<&ObjectAssessor> =
        reference.to.iter().filter_map(|to| known.ids.get(to.as_str()).copied()).collect();
    let mut left: Option<Vec<(u64, u32)>> = None;
    for object in &objects {
        left = Some(object.ids.unknown(left.as_deref().unwrap_or(&reference.many)));
    }
    for (target, record) in left.as_deref().unwrap_or(&reference.many) {
        let tally = if objects.iter().any(|object| object.gone.contains(target)) { &mut gone } else { &mut nowhere };
        tally.add(*record);
    }
    let mut found = Vec::new();
    found.extend(finding(
        "orphaned-reference",
        Severity::Warning,
        object,
        Some(field),
        &nowhere,
        format!("it names a record of {to} that is not in the export"),
        effects.dangling(&object.object, field),
    ));
    found.extend(finding(
        "reference-to-deleted",
        Severity::Warning,
        object,
        Some(field),
        &gone,
        format!("it names a record of {to} that was deleted or merged"),
        effects.dangling(&object.object, field),
    ));
    if reference.employer {
        found.extend(finding(
            "without-company",
            Severity::Note,
            object,
            Some(field),
            &reference.blank,
            "it names no company".to_owned(),
            effects.unlinked(&object.object, field),
        ));
    }
    if reference.own {
        found.extend(of_circles(object, reference, field, effects));
    }
    found
}

/// Follows every record to its parent.
fn of_circles(object: &ObjectAssessor, reference: &Reference, field: &str, effects: &Effects<'_>) -> Vec<Finding> {
    let mut parents = vec![u32::MAX; object.ids.len()];
    for (target, record) in &reference.many {
        if let (Some(parent), Some(place)) = (object.ids.number(*target), parents.get_mut(*record as usize)) {
            *place = parent;
        }
    }
    let circles = circles(&parents);
    let (stops, plan) = effects.circle(&object.object, field);
    let severity = if stops { Severity::Blocks } else { Severity::Warning };
    let mut found = Vec::new();
    let (own, longer): (Vec<_>, Vec<_>) = circles.into_iter().partition(|circle| circle.len() == 1);
    for (kind, circles, what) in [
        ("self-parent", own, "the record names itself".to_owned()),
        ("cycle", longer, "the records name each other in a circle".to_owned()),
    ] {
        if circles.is_empty() {
            continue;
        }
        found.push(Finding {
            kind: kind.to_owned(),
            severity,
            object: object.object.clone(),
            field: Some(field.to_owned()),
            count: circles.iter().map(|circle| circle.len() as u64).sum(),
            what: if kind == "cycle" { format!("{what} ({} circles)", circles.len()) } else { what },
            plan: plan.clone(),
            records: named(&object.ids, &circles),
        });
    }
    found
}

/// Returns the ids of groups, as many groups as can be named.
fn named(ids: &Ids, groups: &[Vec<u32>]) -> Vec<Vec<String>> {
    let mut left = super::NAMED;
    let mut named = Vec::new();
    for group in groups {
        if group.len() > left {
            break;
        }
        left -= group.len();
        named.push(group.iter().map(|record| ids.id(*record)).collect());
    }
    named
}

/// Returns every circle once, from its first record on; `parents` holds the parent of each record, or `u32::MAX`.
fn circles(parents: &[u32]) -> Vec<Vec<u32>> {
    let mut seen = vec![0_u32; parents.len()];
    let mut circles = Vec::new();
    for start in 0..parents.len() {
        let walk = u32::try_from(start).unwrap_or(u32::MAX).wrapping_add(1);
        let mut at = start;
        while let Some(mark) = seen.get_mut(at) {
            if *mark != 0 {
                if *mark == walk {
                    let mut circle = vec![u32::try_from(at).unwrap_or(u32::MAX)];
                    let mut next = parents[at];
                    while next as usize != at {
                        circle.push(next);
                        next = parents[next as usize];
                    }
                    let least = circle.iter().enumerate().min_by_key(|(_, record)| **record).map_or(0, |(n, _)| n);
                    circle.rotate_left(least);
                    circles.push(circle);
                }
                break;
            }
            *mark = walk;
            at = parents[at] as usize;
        }
    }
    circles.sort();
    circles
}

fn of_mixed(object: &ObjectAssessor, mixed: &Mixed, known: &Known<'_>, effects: &Effects<'_>) -> Vec<Finding> {
    let field = object.columns[mixed.column].name.as_str();
    let (mut nowhere, mut gone, mut unheard) = (Tally::default(), Tally::default(), Tally::default());
    let mut named: Vec<_> = mixed.named.iter().collect();
    named.sort();
    for (word, edges) in named {
        let to: Vec<String> = known.words.get(&word.trim().to_lowercase()).cloned().into_iter().collect();
        for (target, record) in edges {
            let mut one = Tally::default();
            one.add(*record);
            match known.leads(&to, *target) {
                _ if to.is_empty() => unheard.merge(&one),
                Leads::Somewhere => {}
                Leads::ToGone => gone.merge(&one),
                Leads::Nowhere => nowhere.merge(&one),
            }
        }
    }
    let plan = || effects.dangling(&object.object, field);
    let what = |what: &str| what.to_owned();
    let mut found = Vec::new();
    for (kind, tally, what) in [
        ("orphaned-reference", &nowhere, what("it names a record that is not in the export")),
        ("reference-to-deleted", &gone, what("it names a record that was deleted or merged")),
        ("unknown-object", &unheard, what("it names an object that the export does not have")),
    ] {
        found.extend(finding(kind, Severity::Warning, object, Some(field), tally, what, plan()));
    }
    found
}

fn doubled(object: &ObjectAssessor, who: Who, links: &Links, effects: &Effects<'_>) -> Option<Finding> {
    let (kind, what) = match who {
        Who::People => ("duplicate-people", "people"),
        Who::Companies => ("duplicate-companies", "companies"),
    };
    let count: usize = links.clusters.iter().map(Vec::len).sum();
    (count > 0).then(|| Finding {
        kind: kind.to_owned(),
        severity: Severity::Warning,
        object: object.object.clone(),
        field: None,
        count: count as u64,
        what: format!("{count} records stand for {} {what}", links.clusters.len()),
        plan: effects.doubled(&object.object),
        records: named(&object.ids, &links.clusters),
    })
}

fn of_values(object: ObjectAssessor, effects: &Effects<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(finding(
        "repeated-id",
        Severity::Warning,
        &object,
        None,
        &object.repeated,
        "an earlier row already has the id".to_owned(),
        "the earlier row stands, this one is told as unreadable".to_owned(),
    ));
    for span in &object.spans {
        let (from, to) = (&object.columns[span.from].name, &object.columns[span.to].name);
        found.extend(finding(
            "date-order",
            Severity::Warning,
            &object,
            Some(&format!("{from} and {to}")),
            &span.wrong,
            format!("{from} is after {to}"),
            effects.implausible(&object.object, to.as_str()),
        ));
    }
    for need in &object.needs {
        let from: Vec<&str> = need.from.iter().map(|column| object.columns[*column].name.as_str()).collect();
        found.extend(finding(
            "missing-required",
            Severity::Warning,
            &object,
            Some(&from.join(" and ")),
            &need.lacking,
            format!("{} needs a value", need.target),
            Effects::lacking(),
        ));
    }
    if let Some(files) = &object.files {
        let plan = || effects.file(&object.object);
        let large = "the file is over the limit".to_owned();
        found.extend(finding(
            "file-too-large",
            Severity::Warning,
            &object,
            Some("size_bytes"),
            &files.large,
            large,
            plan(),
        ));
        let missing = "the file is not in the export".to_owned();
        found.extend(finding(
            "file-missing",
            Severity::Warning,
            &object,
            Some("path"),
            &files.missing,
            missing,
            plan(),
        ));
    }
    for column in &object.columns {
        if let Some((limit, long, target)) = &column.limit {
            found.extend(finding(
                "text-too-long",
                Severity::Warning,
                &object,
                Some(column.name.as_str()),
                &column.long,
                format!("{target} takes {limit} characters"),
                Effects::long(*long),
            ));
        }
    }
    let ObjectAssessor { object, columns, ids, .. } = object;
    for column in columns {
        found.extend(column.wrong.findings(&object, column.name.as_str(), &column.look, &ids, effects));
        if let Look::Choice(Some(choices)) = column.look {
            found.extend(values::variants(&object, column.name.as_str(), choices, &ids, effects));
        }
    }
    found
}

fn completeness(object: &ObjectAssessor) -> Completeness {
    let (records, fields) = (object.records(), object.columns.len() as u64);
    let filled: u64 = object.columns.iter().map(|column| column.filled).sum();
    Completeness {
        object: object.object.clone(),
        records,
        fields,
        filled_percent: (filled * 100).checked_div(records * fields).unwrap_or(0),
        by_field: object
            .columns
            .iter()
            .map(|column| FieldFill { field: column.name.to_string(), filled: column.filled })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: u32 = u32::MAX;

    #[test]
    fn every_circle_is_found_once() {
        assert!(circles(&[1, 2, NONE, 2]).is_empty());
        assert_eq!(circles(&[0]), [[0]]);
        // 3 → 1 → 2 → 1, and 5 ↔ 4, and one that only leads there.
        assert_eq!(circles(&[NONE, 2, 1, 1, 5, 4, 3]), [[1, 2], [4, 5]]);
    }
}
