#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn column(name: &str, values: &[&str]) -> Column {
    let sample = (!values.is_empty()).then(|| values.iter().copied().collect());
    Column { name: name.to_owned(), sample, ..Column::default() }
}

fn people() -> Vec<Column> {
    vec![
        column("first_name", &["Ada", "Grace", "Alan", "Edsger"]),
        column("last_name", &["Lovelace", "Hopper", "Turing", "Dijkstra"]),
        column("e-mail", &["ada@example.org", "grace@example.org", "alan@example.org"]),
        column("company", &["Analytical Engines", "Navy", "Bletchley"]),
        column("joined", &["2020-01-02", "2021-03-04", "2022-05-06"]),
        column("shoe size", &["38", "39", "44"]),
    ]
}

fn targets() -> Vec<Column> {
    ["AccountName", "CreatedDate", "Email", "FirstName", "Industry", "LastName"].map(|name| column(name, &[])).to_vec()
}

fn chosen<'a>(source: &'a [Column], target: &'a [Column]) -> Vec<(&'a str, Option<&'a str>)> {
    let proposals = propose(source, target, &Settings::default());
    let pair = |proposal: &Proposal| {
        let target = proposal.chosen.then(|| target[proposal.candidates[0].target].name.as_str());
        (source[proposal.source].name.as_str(), target)
    };
    proposals.iter().map(pair).collect()
}

#[test]
fn every_column_gets_a_target_a_reason_and_runners_up_or_is_left_open() {
    let (source, target) = (people(), targets());
    let found = chosen(&source, &target);
    assert_eq!(
        found[..4],
        [
            ("first_name", Some("FirstName")),
            ("last_name", Some("LastName")),
            ("e-mail", Some("Email")),
            ("company", Some("AccountName")),
        ]
    );
    assert_eq!(found[5], ("shoe size", None));
    let proposals = propose(&source, &target, &Settings::default());
    assert_eq!(proposals[0].candidates[0].reason, "same name");
    assert!(proposals[3].candidates[0].reason.starts_with("synonym: company ~ account"), "{:?}", proposals[3]);
    assert!(proposals.iter().all(|proposal| proposal.candidates.len() == 4));
}

#[test]
fn a_table_maps_to_itself() {
    let table = people();
    for (source, target) in chosen(&table, &table) {
        assert_eq!(target, Some(source));
    }
}

#[test]
fn values_decide_where_names_say_nothing() {
    let source = [column("f1", &["Oslo", "Bergen", "Tromsø"]), column("f2", &["red", "green", "blue"])];
    let target = [column("colour", &["green", "blue", "red"]), column("town", &["Bergen", "Oslo", "Tromsø"])];
    let proposals = propose(&source, &target, &Settings::default());
    assert_eq!(proposals.iter().map(|p| p.candidates[0].target).collect::<Vec<_>>(), [1, 0]);
    assert!(proposals[0].candidates[0].reason.contains("3 of 3 sampled values"), "{proposals:?}");
}

#[test]
fn options_speak_for_a_choice() {
    let source = [column("line", &["Banking", "Retail", "Energy"])];
    let choice = |name: &str, options: &[&str]| Column {
        kind: Some(Kind::Choice),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..column(name, &[])
    };
    let target = [choice("Rating", &["Hot", "Cold"]), choice("Industry", &["Banking", "Energy", "Retail", "Other"])];
    let first = propose(&source, &target, &Settings::default())[0].candidates[0].clone();
    assert_eq!((first.target, first.reason.contains("3 of 3 values are options of Industry")), (1, true), "{first:?}");
}

#[test]
fn an_object_goes_to_the_one_that_is_called_alike() {
    let of = |object: &str, name: &str| Column { object: object.to_owned(), ..column(name, &[]) };
    let source = [of("companies", "name"), of("deals", "name")];
    let target = [of("Opportunity", "Name"), of("Account", "Name")];
    let proposals = propose(&source, &target, &Settings::default());
    assert_eq!(
        proposals.iter().map(|p| (p.chosen, p.candidates[0].target)).collect::<Vec<_>>(),
        [(true, 1), (true, 0)]
    );
}

#[test]
fn what_is_mapped_already_is_left_alone() {
    let (mut source, mut target) = (people(), targets());
    source[0].taken = true;
    target[3].taken = true;
    let proposals = propose(&source, &target, &Settings::default());
    assert!(proposals.iter().all(|proposal| proposal.source != 0));
    assert!(proposals.iter().flat_map(|proposal| &proposal.candidates).all(|candidate| candidate.target != 3));
}

#[test]
fn nothing_is_proposed_where_there_is_nothing() {
    assert!(propose(&[], &targets(), &Settings::default()).is_empty());
    let open = propose(&people(), &[], &Settings::default());
    assert!(open.len() == 6 && open.iter().all(|proposal| !proposal.chosen && proposal.candidates.is_empty()));
}

proptest! {
    #[test]
    fn the_order_of_columns_does_not_matter(seed in prop::collection::vec(any::<u16>(), 12)) {
        let (source, target) = (people(), targets());
        let turned = |columns: &[Column], seed: &[u16]| {
            let mut order: Vec<usize> = (0..columns.len()).collect();
            order.sort_by_key(|n| seed[*n]);
            order.into_iter().map(|n| columns[n].clone()).collect::<Vec<_>>()
        };
        let (other_source, other_target) = (turned(&source, &seed[..6]), turned(&target, &seed[6..]));
        let told = |source: &[Column], target: &[Column]| {
            let mut told: Vec<String> = propose(source, target, &Settings::default())
                .into_iter()
                .flat_map(|p| p.candidates.into_iter().map(move |c| (p.source, p.chosen, c)))
                .map(|(at, chosen, c)| {
                    format!("{} {} {chosen} {:.12} {}", source[at].name, target[c.target].name, c.confidence, c.reason)
                })
                .collect();
            told.sort();
            told
        };
        prop_assert_eq!(told(&source, &target), told(&other_source, &other_target));
    }
}
