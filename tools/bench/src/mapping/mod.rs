//! The proposals of `waybill plan`, against mappings that are known.
//!
//! Without tables of its own it scores what is built in: the five pairs' tables written out as pairs of fields, on schemas
//! alone, and, where the folder of real data is there, real header sets with their values. The list of synonyms knows neither.
//! With `--source`, `--target` and `--truth` it scores any pair of tables.

mod builtin;
mod figures;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Instant,
};

use clap::Args;
use figures::{Figures, called, figures};
use waybill_projector::propose::{Column, Settings, propose};

use crate::Fallible;

/// How many candidates of a column are looked at.
const CANDIDATES: usize = 1_000;

/// What to score.
#[derive(Debug, Clone, Args)]
pub(crate) struct Mapping {
    /// A table (CSV) whose columns are matched; needs --target and --truth
    #[arg(long, requires = "target", requires = "truth", value_name = "CSV")]
    source: Option<PathBuf>,
    /// The table to whose columns they are matched
    #[arg(long, requires = "source", value_name = "CSV")]
    target: Option<PathBuf>,
    /// The true pairs: one source column and one target column a row
    #[arg(long, requires = "source", value_name = "CSV")]
    truth: Option<PathBuf>,
    /// Use names alone, as if the tables had no rows
    #[arg(long)]
    names: bool,
    /// The most rows of a table to take; of a longer one they are spread evenly
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// The confidence below which nothing is proposed
    #[arg(long, default_value_t = Settings::default().threshold)]
    threshold: f64,
    /// The folder of real data for the built-in sets; without it, the one beside this checkout
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Leave open which objects go where; otherwise the built-in sets say so, as the rules of a plan do
    #[arg(long)]
    open: bool,
    /// Only built-in sets with this in their names
    #[arg(long, value_name = "TEXT", conflicts_with = "source")]
    only: Option<String>,
    /// Name every true pair that is not among the first three
    #[arg(long)]
    missed: bool,
}

/// Two sides and the truth about them.
#[derive(Debug)]
struct Set {
    name: String,
    source: Vec<Column>,
    target: Vec<Column>,
    truth: Vec<(String, String)>,
}

/// Scores and prints.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what this prints")]
pub(crate) fn run(mapping: &Mapping, json: bool) -> Fallible<()> {
    let mut skipped = Vec::new();
    let mut scored = Vec::new();
    match (&mapping.source, &mapping.target, &mapping.truth) {
        (Some(source), Some(target), Some(truth)) => {
            let start = Instant::now();
            let set = Set {
                name: source.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                source: table::read(source, "", mapping.rows)?,
                target: table::read(target, "", mapping.rows)?,
                truth: table::truth(truth)?,
            };
            scored.push(score(set, mapping, start)?);
        }
        _ => {
            for case in builtin::cases() {
                if mapping.only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
                    continue;
                }
                let start = Instant::now();
                match case.set(mapping.data.as_deref(), mapping.rows)? {
                    Some(set) => scored.push(score(set, mapping, start)?),
                    None => skipped.push(case.name),
                }
            }
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "sets": scored, "skipped": skipped }))?);
        return Ok(());
    }
    println!(
        "{:<34} {:>9} {:>5} {:>6} {:>6} {:>6} {:>6} {:>9} {:>5} {:>7}",
        "set", "columns", "pairs", "top-1", "top-3", "MRR", "R@GT", "precision", "open", "seconds"
    );
    for f in &scored {
        println!(
            "{:<34} {:>9} {:>5} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>9.3} {:>5} {:>7.3}",
            f.set,
            format!("{}×{}", f.source_columns, f.target_columns),
            f.truth,
            f.top1,
            f.top3,
            f.mrr,
            f.recall_at_truth,
            f.precision,
            f.abstained,
            f.seconds
        );
        for missed in f.missed.iter().filter(|_| mapping.missed) {
            let place = missed.place.map_or_else(|| "not at all".to_owned(), |place| format!("at place {place}"));
            let first = missed.first.as_deref().unwrap_or("nothing");
            println!("    {} → {}: {place}; first is {first}", missed.source, missed.target);
        }
    }
    if !skipped.is_empty() {
        eprintln!("skipped, because the real data is not here (--data DIR): {}", skipped.join(", "));
    }
    Ok(())
}

fn score(mut set: Set, mapping: &Mapping, start: Instant) -> Fallible<Figures> {
    if mapping.names {
        for column in set.source.iter_mut().chain(&mut set.target) {
            column.sample = None;
        }
    }
    let truth = places(&set)?;
    let mut routes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (one, two) in truth.iter().filter(|_| !mapping.open) {
        routes.entry(set.source[*one].object.clone()).or_default().insert(set.target[*two].object.clone());
    }
    let settings = Settings { threshold: mapping.threshold, candidates: CANDIDATES, routes };
    let proposals = propose(&set.source, &set.target, &settings);
    let seconds = start.elapsed().as_secs_f64();
    Ok(figures(&set.name, &set.source, &set.target, &truth, &proposals, seconds))
}

/// Finds the columns that a truth names; a header line is none of it. Names that no table has are an error.
fn places(set: &Set) -> Fallible<BTreeSet<(usize, usize)>> {
    let by_name = |columns: &[Column]| -> BTreeMap<String, usize> {
        columns.iter().enumerate().map(|(at, column)| (called(column), at)).collect()
    };
    let (source, target) = (by_name(&set.source), by_name(&set.target));
    let mut places = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for (n, (one, two)) in set.truth.iter().enumerate() {
        match (source.get(one), target.get(two)) {
            (Some(one), Some(two)) => drop(places.insert((*one, *two))),
            (None, None) if n == 0 => {}
            (from, to) => {
                unknown.extend(from.is_none().then(|| format!("source column `{one}`")));
                unknown.extend(to.is_none().then(|| format!("target column `{two}`")));
            }
        }
    }
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.into_iter().collect();
        return Err(format!("{}: the truth names what the tables do not have: {}", set.name, unknown.join(", ")).into());
    }
    if places.is_empty() {
        return Err(format!("{}: the truth has no pair", set.name).into());
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(truth: &[(&str, &str)]) -> Set {
        let column = |name: &&str| Column { name: (*name).to_owned(), ..Column::default() };
        Set {
            name: "set".to_owned(),
            source: ["a", "b"].iter().map(column).collect(),
            target: ["x", "y"].iter().map(column).collect(),
            truth: truth.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect(),
        }
    }

    #[test]
    fn a_truth_that_names_what_is_not_there_is_an_error_that_says_so() {
        assert_eq!(places(&set(&[("source", "target"), ("a", "y")])).unwrap(), BTreeSet::from([(0, 1)]));
        let wrong = places(&set(&[("a", "y"), ("q", "z")])).unwrap_err().to_string();
        assert!(wrong.contains("source column `q`, target column `z`"), "{wrong}");
        assert!(places(&set(&[("a", "z")])).is_err());
        assert!(places(&set(&[])).is_err());
    }
}
