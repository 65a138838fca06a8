//! How well the source fits the destination under the plan, how much work it is, and how long it will take.

use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldKind, Schema};

use super::{Completeness, Effects, Finding, Severity};
use crate::mapping::Long;

/// What the destination's interface takes at a time, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// The most rows of one ordinary request.
    pub rows_per_request: u64,
    /// The bulk jobs, where there are any.
    pub jobs: Option<Jobs>,
    /// How many records a second are expected to land: a guess until a sample has been measured.
    pub records_per_second: u64,
}

/// Jobs for many rows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// From how many rows of an object on they are used.
    pub from: u64,
    /// The most rows of one.
    pub rows: u64,
}

/// The grade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// `A` to `D`: by the share of cells that hold something and are carried (95, 80 and 50 in 100 are the steps).
    pub compatibility: char,
    /// That share, in hundredths, rounded down.
    pub carried_percent: u64,
    /// `low`, `medium` or `high`.
    pub complexity: String,
    /// Why.
    pub reasons: Vec<String>,
    /// Each object.
    pub objects: Vec<ObjectGrade>,
    /// What the destination's interface makes of the volume.
    pub constraints: Vec<String>,
    /// How many records the source has, descriptions of itself included.
    pub records: u64,
    /// How many of them rules read.
    pub to_carry: u64,
    /// How many bytes the files have.
    pub file_bytes: u64,
    /// How long the load is expected to take, in seconds: `to_carry` by the expected rate. Reading back takes about as long.
    pub expected_seconds: u64,
    /// The rate that was taken for it.
    pub records_per_second: u64,
}

/// How one object fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectGrade {
    /// The object.
    pub object: String,
    /// Where it goes.
    pub to: Vec<String>,
    /// How it fits.
    pub fit: Fit,
    /// How many records it has.
    pub records: u64,
    /// Fields that hold something in some record.
    pub used_fields: u64,
    /// Those of them that no rule reads.
    pub not_carried: Vec<String>,
    /// Why it is not one to one.
    pub because: Vec<String>,
}

/// How an object fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Every field that holds something goes into one field, as it stands.
    #[serde(rename = "1:1")]
    OneToOne,
    /// Everything is carried, some of it by way of maps, lookups or joined fields.
    ToMap,
    /// Some of what it holds is not carried, cut or left empty.
    Lossy,
    /// It describes the source and is used, not carried.
    Reference,
    /// No rule reads it.
    NotCarried,
}

impl Fit {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::OneToOne => "1:1",
            Self::ToMap => "to map",
            Self::Lossy => "lossy",
            Self::Reference => "reference",
            Self::NotCarried => "not carried",
        }
    }
}

/// Grades what was found.
pub fn grade(
    source: &Schema,
    completeness: &[Completeness],
    findings: &[Finding],
    file_bytes: u64,
    effects: &Effects<'_>,
    wire: Wire,
) -> Grade {
    let mut objects = Vec::new();
    let mut wanted: Vec<(String, u64)> = Vec::new();
    let (mut cells, mut carried_cells, mut to_carry) = (0, 0, 0);
    for full in completeness {
        let (own, filled, carried) = one(source, full, findings, effects);
        if own.fit != Fit::Reference {
            cells += filled;
            carried_cells += carried;
        }
        for to in &own.to {
            to_carry += full.records;
            match wanted.iter_mut().find(|(known, _)| known == to) {
                Some((_, records)) => *records += full.records,
                None => wanted.push((to.clone(), full.records)),
            }
        }
        objects.push(own);
    }
    let carried_percent = (carried_cells * 100).checked_div(cells).unwrap_or(100);
    let (complexity, reasons) = complexity(&objects, findings, to_carry);
    Grade {
        compatibility: match carried_percent {
            95.. => 'A',
            80.. => 'B',
            50.. => 'C',
            _ => 'D',
        },
        carried_percent,
        complexity,
        reasons,
        objects,
        constraints: wanted.iter().map(|(to, records)| constraint(to, *records, wire)).collect(),
        records: completeness.iter().map(|full| full.records).sum(),
        to_carry,
        file_bytes,
        expected_seconds: to_carry.div_ceil(wire.records_per_second.max(1)),
        records_per_second: wire.records_per_second,
    }
}

/// Grades one object; also returns how many of its cells hold something, and how many of those are carried.
fn one(source: &Schema, full: &Completeness, findings: &[Finding], effects: &Effects<'_>) -> (ObjectGrade, u64, u64) {
    let object = full.object.as_str();
    let mut to: Vec<String> = Vec::new();
    let (mut read, mut because): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut maps, mut conditions) = (false, Vec::new());
    for rule in effects.rules(object) {
        to.push(rule.to.to_string());
        if rule.when.is_some() {
            maps = true;
            conditions.push(rule.id.as_str());
        }
        for field in rule.fields.values() {
            read.extend(field.from.iter().map(String::as_str));
            maps |=
                field.map.is_some() || field.lookup.is_some() || field.via.is_some() || field.owner || field.variant;
            maps |= field.join.is_some() || field.from.len() > 1 || field.cel.is_some();
        }
    }
    match conditions.as_slice() {
        [] => {}
        [rule] => because.push(format!("`{rule}` takes some of the records by a condition")),
        rules => because.push(format!("{} rules take some of the records by a condition", rules.len())),
    }
    let used_by_plan = effects.plan.map(crate::mapping::Plan::source_fields).unwrap_or_default();
    let referenced = effects.plan.is_some_and(|plan| plan.source_objects().contains(object));
    let schema = source.object(object);
    // The id lives on in our key; a deleted row is no record.
    let counts = |field: &str| {
        let kind = schema.and_then(|schema| schema.field(field)).map(|field| &field.kind);
        !matches!(kind, Some(FieldKind::Id)) && field != "is_deleted"
    };
    let (mut filled, mut carried, mut used, mut lost) = (0, 0, 0, Vec::new());
    for field in full.by_field.iter().filter(|field| field.filled > 0 && counts(&field.field)) {
        used += 1;
        filled += field.filled;
        let reads = read.contains(&field.field.as_str())
            || used_by_plan.get(object).is_some_and(|fields| fields.contains(&field.field));
        if reads { carried += field.filled } else { lost.push(field.field.clone()) }
    }
    if !lost.is_empty() && !to.is_empty() {
        because.push(format!("{} of {used} fields that hold something are read by no rule", lost.len()));
    }
    let shortened = findings.iter().filter(|finding| finding.object == object && loses(finding));
    let shortened: u64 = shortened.map(|finding| finding.count).sum();
    if shortened > 0 && !to.is_empty() {
        because.push(format!("{shortened} values are cut or left empty"));
    }
    let fit = match (to.is_empty(), referenced) {
        (true, true) => Fit::Reference,
        (true, false) => Fit::NotCarried,
        (false, _) if !lost.is_empty() || shortened > 0 => Fit::Lossy,
        (false, _) if maps => Fit::ToMap,
        (false, _) => Fit::OneToOne,
    };
    if fit == Fit::ToMap {
        because.push("some fields go through maps, lookups or joined fields".to_owned());
    }
    let grade = ObjectGrade {
        object: object.to_owned(),
        to,
        fit,
        records: full.records,
        used_fields: used,
        not_carried: lost,
        because,
    };
    (grade, filled, carried)
}

/// Returns whether values of the records of a finding get lost.
fn loses(finding: &Finding) -> bool {
    matches!(
        finding.kind.as_str(),
        "value-unreadable" | "date-unreadable" | "email-invalid" | "text-too-long" | "orphaned-reference"
    ) && (finding.plan.contains("left empty") || finding.plan == Effects::long(Long::Cut))
}

fn constraint(to: &str, records: u64, wire: Wire) -> String {
    if let Some(bulk) = wire.jobs.filter(|bulk| records >= bulk.from) {
        let jobs = records.div_ceil(bulk.rows.max(1));
        format!("{to}: {records} records in {jobs} bulk jobs of at most {} rows", bulk.rows)
    } else {
        let requests = records.div_ceil(wire.rows_per_request.max(1));
        format!("{to}: {records} records in {requests} requests of at most {} rows", wire.rows_per_request)
    }
}

/// One point for each thing that takes a person's time; three make it medium, six high.
fn complexity(objects: &[ObjectGrade], findings: &[Finding], to_carry: u64) -> (String, Vec<String>) {
    let mut reasons = Vec::new();
    let mut points = 0;
    let count = |fit: Fit| objects.iter().filter(|object| object.fit == fit && object.records > 0).count() as u64;
    let mut point = |weight: u64, reason: String| {
        points += weight;
        reasons.push(reason);
    };
    if findings.iter().any(|finding| finding.severity == Severity::Blocks) {
        point(3, "something must be mended before anything can be written".to_owned());
    }
    let held: u64 = findings.iter().filter(|finding| finding.plan.contains("held")).map(|finding| finding.count).sum();
    if held > 0 {
        point(1, format!("{held} records or more will wait for a person"));
    }
    if count(Fit::NotCarried) > 0 {
        point(1, format!("{} objects have no rule yet", count(Fit::NotCarried)));
    }
    if count(Fit::Lossy) > 0 {
        point(1, format!("{} objects lose something", count(Fit::Lossy)));
    }
    if findings.iter().any(|finding| finding.kind.starts_with("duplicate-")) {
        point(1, "the source holds duplicates".to_owned());
    }
    if findings.iter().any(|finding| finding.kind == "value-variants") {
        point(1, "choices are spelled in several ways".to_owned());
    }
    if to_carry > 1_000_000 {
        point(2, format!("{to_carry} records are to be carried"));
    } else if to_carry > 100_000 {
        point(1, format!("{to_carry} records are to be carried"));
    }
    let word = match points {
        0..3 => "low",
        3..6 => "medium",
        _ => "high",
    };
    (word.to_owned(), reasons)
}
