#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use waybill_ledger::{FieldKind, FieldSchema, Fields, ObjectSchema};

use super::*;

fn schema(names: &[&str]) -> ObjectSchema {
    let field = |name: &&str| FieldSchema {
        name: (*name).into(),
        label: (*name).to_owned(),
        kind: FieldKind::Text { length: 0, multiline: false, rich: false },
        required: false,
        createable: false,
        updateable: false,
        unique: false,
        external_id: false,
        case_sensitive: true,
    };
    ObjectSchema {
        name: "contacts".into(),
        label: "contacts".to_owned(),
        createable: false,
        updateable: false,
        deletable: false,
        fields: names.iter().map(field).collect(),
        variants: Vec::new(),
    }
}

const PEOPLE: &[&str] = &["first_name", "last_name", "email", "phone", "date_of_birth", "postal_code", "city"];
const COMPANIES: &[&str] = &["name", "domain", "phone", "postal_code", "city"];

fn linked(names: &[&str], rows: &[Vec<String>]) -> Vec<Vec<u32>> {
    let layout = Layout::find(&schema(names), &|_| false).unwrap();
    let mut linker = Linker::new(&layout);
    for (n, row) in rows.iter().enumerate() {
        let fields: Fields = names.iter().zip(row).map(|(name, value)| (*name, value.as_str())).collect();
        linker.add(&layout, &Record { id: n.to_string(), fields });
    }
    linker.link().clusters
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// A hundred people who have nothing to do with each other.
fn crowd() -> Vec<Vec<String>> {
    let firsts = ["Ada", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Irene", "James"];
    let lasts = ["Adams", "Baker", "Carter", "Davis", "Evans", "Foster", "Green", "Harris", "Irving", "Jones"];
    let mut rows = Vec::new();
    for (n, first) in firsts.iter().enumerate() {
        for (m, last) in lasts.iter().enumerate() {
            let number = n * 10 + m;
            let email = format!("{first}.{last}{number}@example.com");
            let phone = format!("+45 {:08}", 31_415_926 + number * 7_919);
            let born = format!("19{:02}-0{}-1{}", 40 + number % 50, 1 + n % 9, m);
            rows.push(row(&[first, last, &email, &phone, &born, &format!("{:04}", 1_000 + number * 37), "York"]));
        }
    }
    rows
}

#[test]
fn strangers_stay_strangers() {
    assert!(linked(PEOPLE, &crowd()).is_empty());
}

#[test]
fn people_are_found_again_however_they_are_written() {
    let mut rows = crowd();
    // Ada Adams, in capitals; Bruno Evans with another address and a typo; Emma Jones with her names swapped; a family that
    // shares a phone.
    rows.push(row(&["ADA", "Adams", "ADA.ADAMS0@EXAMPLE.COM", "", "", "", ""]));
    rows.push(row(&["Bruno", "Evens", "bruno@home.example", "0045 31530387", "", "", "York"]));
    let emma = rows[49].clone();
    rows.push(row(&["Jones", "Emma", &emma[2], "", &emma[4], "", ""]));
    let clara = rows[20].clone();
    rows.push(row(&["Maximilian", &clara[1], "", &clara[3], "", &clara[5], &clara[6]]));
    rows[14][3] = "+45 31530387".to_owned();
    assert_eq!(linked(PEOPLE, &rows), [vec![0, 100], vec![14, 101], vec![49, 102]]);
}

#[test]
fn one_mailbox_does_not_make_one_person() {
    let mut rows = crowd();
    for row in rows.iter_mut().step_by(3) {
        row[2] = "Info@example.com".to_owned();
    }
    assert!(linked(PEOPLE, &rows).is_empty());
}

#[test]
fn companies_meet_by_domain_and_name_but_branches_stay_apart() {
    let mut rows: Vec<Vec<String>> = (0..60)
        .map(|n| {
            row(&[
                &format!("Harbour Bakery {n} Ltd"),
                &format!("bakery{n}.example"),
                "",
                &format!("{:05}", n * 77),
                "York",
            ])
        })
        .collect();
    rows.push(row(&["Jørgensen & Sons A/S", "https://www.jorgensen.example/da", "+45 11223344", "8000", "Aarhus"]));
    rows.push(row(&["JORGENSEN", "jorgensen.example", "", "", "Aarhus"]));
    rows.push(row(&["Sons & Jorgensen", "", "0045 1122 3344", "8000", "Aarhus C"]));
    assert_eq!(linked(COMPANIES, &rows), [vec![60, 61, 62]]);
}

#[test]
fn objects_are_told_by_their_fields() {
    assert_eq!(Layout::find(&schema(PEOPLE), &|_| false).unwrap().who, Who::People);
    assert_eq!(Layout::find(&schema(COMPANIES), &|_| false).unwrap().who, Who::Companies);
    assert!(Layout::find(&schema(&["name", "amount", "stage_id"]), &|_| false).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_records_does_not_matter(
        rows in prop::collection::vec(
            ("(Ada|Adah|Bob|Eve|Jörg|)", "(Byron|Biron|King|Li|)", "(a@x.de|b@x.de|c@y.de||)", "(0301234567|0301234568|)", "(1815-12-10|1815-10-12|)", "(10115|10117|)", "(York|)")
                .prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g]),
            2..60,
        ),
        seed in any::<u64>(),
    ) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|n| (*n as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        let shuffled: Vec<Vec<String>> = order.iter().map(|n| rows[*n].clone()).collect();
        let mut back: Vec<Vec<u32>> = linked(PEOPLE, &shuffled)
            .into_iter()
            .map(|cluster| {
                let mut cluster: Vec<u32> = cluster.into_iter().map(|n| u32::try_from(order[n as usize]).unwrap()).collect();
                cluster.sort_unstable();
                cluster
            })
            .collect();
        back.sort();
        prop_assert_eq!(back, linked(PEOPLE, &rows));
    }

    #[test]
    fn nothing_that_people_type_is_too_much(rows in prop::collection::vec(prop::collection::vec(".{0,80}", 7), 0..20)) {
        let _ = linked(PEOPLE, &rows);
        let _ = linked(COMPANIES, &rows.iter().map(|row| row[..5].to_vec()).collect::<Vec<_>>());
    }
}
