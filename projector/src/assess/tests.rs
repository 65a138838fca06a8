#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use waybill_ledger::{Field, FieldKind, FieldSchema, Fields, ObjectName, ObjectSchema, Record, Value};

use super::*;

fn schema() -> ObjectSchema {
    let field = |name: &str, kind: FieldKind| FieldSchema {
        name: name.into(),
        label: name.to_owned(),
        kind,
        required: false,
        createable: false,
        updateable: false,
        unique: false,
        external_id: false,
        case_sensitive: true,
    };
    ObjectSchema {
        name: "companies".into(),
        label: "companies".to_owned(),
        createable: false,
        updateable: false,
        deletable: false,
        fields: vec![
            field("parent_id", FieldKind::Reference { to: vec![ObjectName::from("company")] }),
            field("industry", FieldKind::Choice { options: Vec::new(), restricted: false }),
            field("size", FieldKind::Number { precision: 0, scale: 0 }),
            field("closed_at", FieldKind::Time),
            field("created_at", FieldKind::Time),
        ],
        variants: Vec::new(),
    }
}

type Row = (Option<u8>, String, Option<i64>, i64, i64);

fn assessed(rows: &[(usize, Row)], gone: &[u8]) -> Joined {
    let words: BTreeMap<String, String> = [("company", "companies"), ("companies", "companies")]
        .map(|(word, object)| (word.into(), object.into()))
        .into();
    let (schema, effects) = (schema(), Effects { plan: None, destination: None });
    let mut assessor = ObjectAssessor::new(&Setup {
        names: &[],
        rows: None,
        schema: &schema,
        words: &words,
        reference: false,
        companies: &BTreeSet::new(),
        effects,
        exported: "2026-01-15T06:00:00Z".parse().unwrap(),
        file_limit: 1,
    });
    let day = |day: i64| Value::Time(chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap());
    for (id, (parent, industry, size, created, closed)) in rows {
        let mut fields = Fields::new();
        fields.set("parent_id", parent.map_or(Field::Null, |parent| Field::from(parent.to_string().as_str())));
        fields.set("industry", industry.as_str());
        fields.set("size", size.map_or(Field::from("many"), Field::from));
        fields.set("created_at", day(*created));
        fields.set("closed_at", day(*closed));
        assessor.add(&Record { id: id.to_string(), fields }, &|_| true);
    }
    for id in gone {
        assessor.gone(&id.to_string());
    }
    join(vec![assessor.settle()], &words, &effects)
}

/// Kind, field, count and records of a finding.
type Heart = (String, Option<String>, u64, BTreeSet<BTreeSet<String>>);

/// What does not depend on the order of the records.
fn heart(joined: &Joined) -> Vec<Heart> {
    let named = |finding: &Finding| -> BTreeSet<BTreeSet<String>> {
        finding.records.iter().map(|group| group.iter().cloned().collect()).collect()
    };
    let mut heart: Vec<Heart> = joined
        .findings
        .iter()
        .map(|finding| (finding.kind.clone(), finding.field.clone(), finding.count, named(finding)))
        .collect();
    heart.sort();
    heart
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::of(0_u8..30),
        "(Retail|retail|RETAIL | IT|It)",
        prop::option::of(0_i64..9),
        -30_000_i64..30_000,
        0_i64..21_000,
    );
    prop::collection::vec(row, 0..25)
}

proptest! {
    #[test]
    fn findings_do_not_depend_on_the_order_of_records(rows in rows(), gone in prop::collection::vec(25_u8..30, 0..3), turn in any::<usize>()) {
        let straight: Vec<(usize, Row)> = rows.iter().cloned().enumerate().collect();
        let mut turned = straight.clone();
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
            turned.reverse();
        }
        prop_assert_eq!(heart(&assessed(&straight, &gone)), heart(&assessed(&turned, &gone)));
        prop_assert_eq!(assessed(&straight, &gone), assessed(&straight, &gone));
    }

    #[test]
    fn references_are_counted_as_one_by_one(rows in rows(), gone in prop::collection::vec(25_u8..30, 0..3)) {
        let all: Vec<(usize, Row)> = rows.iter().cloned().enumerate().collect();
        let found = assessed(&all, &gone);
        let count = |kind: &str| found.findings.iter().filter(|f| f.kind == kind).map(|f| f.count).sum::<u64>();
        let parents = || rows.iter().filter_map(|row| row.0).filter(|parent| usize::from(*parent) >= rows.len());
        prop_assert_eq!(count("reference-to-deleted"), parents().filter(|parent| gone.contains(parent)).count() as u64);
        prop_assert_eq!(count("orphaned-reference"), parents().filter(|parent| !gone.contains(parent)).count() as u64);
        let circling = |start: usize| {
            let mut at = start;
            for _ in 0..rows.len() {
                match rows.get(at).and_then(|row| row.0) {
                    Some(parent) if usize::from(parent) == start => return true,
                    Some(parent) => at = usize::from(parent),
                    None => return false,
                }
            }
            false
        };
        let circling = (0..rows.len()).filter(|start| circling(*start)).count() as u64;
        prop_assert_eq!(count("cycle") + count("self-parent"), circling);
        prop_assert_eq!(count("value-unreadable"), rows.iter().filter(|row| row.2.is_none()).count() as u64);
        let closed = rows.iter().filter(|row| row.3 > row.4).count() as u64;
        prop_assert_eq!(count("date-order"), closed);
    }
}
