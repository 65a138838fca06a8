//! How many duplicates `assess` finds among people whose duplicates are known, and how many it only believes to be ones.
//!
//! The data sets are those of FEBRL ("Freely Extensible Biomedical Record Linkage", Christen 2008), made by a generator that
//! types, swaps and drops values as people do; the id of a record says whose double it is. They are not part of this
//! repository. The weights were not fitted to them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use waybill_ledger::{FieldKind, FieldSchema, Fields, ObjectSchema, Record};
use waybill_projector::assess::duplicates::{Layout, Linker};

use crate::Fallible;

#[derive(Debug, clap::Args)]
pub(crate) struct Duplicates {
    /// The folder with the data, `febrl-duplicates` in it
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"))]
    data: PathBuf,
}

/// What came of one data set.
#[derive(Debug, Serialize)]
struct Figures {
    data: String,
    records: usize,
    /// Pairs that are doubles of each other.
    true_pairs: u64,
    /// Pairs that were called so.
    found_pairs: u64,
    /// Pairs that are and were called so.
    right_pairs: u64,
    precision: f64,
    recall: f64,
    /// Pairs that were compared, of all.
    compared_pairs: u64,
    seconds: f64,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(what: &Duplicates, json: bool) -> Fallible<()> {
    let folder = what.data.join("febrl-duplicates");
    if !folder.exists() {
        println!("skipped: the labelled data are not part of this repository, and not in {}", what.data.display());
        return Ok(());
    }
    let mut all = Vec::new();
    for name in ["dataset1", "dataset3"] {
        all.push(measure(name, &folder.join(format!("{name}.csv")))?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    for one in all {
        println!(
            "{}: {} records, {} true pairs: precision {:.4}, recall {:.4} ({} pairs compared, {:.2} s)",
            one.data, one.records, one.true_pairs, one.precision, one.recall, one.compared_pairs, one.seconds
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of pairs are far below 2^52")]
fn measure(name: &str, path: &Path) -> Fallible<Figures> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path)?;
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>()?;
    let began = Instant::now();
    let layout = Layout::find(&schema(&header), &|_| false).ok_or("the columns do not tell who someone is")?;
    let mut linker = Linker::new(&layout);
    let mut owners = Vec::new();
    for row in &rows {
        let id = row.get(0).unwrap_or_default().to_owned();
        owners.push(id.split('-').nth(1).unwrap_or_default().to_owned());
        let cells = header.iter().map(String::as_str).zip(row.iter());
        let fields: Fields = cells.filter(|(_, value)| !value.is_empty()).collect();
        linker.add(&layout, &Record { id, fields });
    }
    let links = linker.link();
    let seconds = began.elapsed().as_secs_f64();
    let pairs = |count: u64| count * (count - count.min(1)) / 2;
    let tally = |owners: &mut dyn Iterator<Item = &String>| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        owners.for_each(|owner| *counts.entry(owner.clone()).or_default() += 1);
        counts.values().map(|count| pairs(*count)).sum::<u64>()
    };
    let true_pairs = tally(&mut owners.iter());
    let found_pairs: u64 = links.clusters.iter().map(|cluster| pairs(cluster.len() as u64)).sum();
    let right_pairs: u64 =
        links.clusters.iter().map(|cluster| tally(&mut cluster.iter().map(|record| &owners[*record as usize]))).sum();
    Ok(Figures {
        data: name.to_owned(),
        records: rows.len(),
        true_pairs,
        found_pairs,
        right_pairs,
        precision: right_pairs as f64 / found_pairs.max(1) as f64,
        recall: right_pairs as f64 / true_pairs.max(1) as f64,
        compared_pairs: links.compared,
        seconds,
    })
}

fn schema(header: &[String]) -> ObjectSchema {
    let field = |name: &String| FieldSchema {
        name: name.as_str().into(),
        label: name.clone(),
        kind: FieldKind::Text { length: 0, multiline: false, rich: false },
        required: false,
        createable: false,
        updateable: false,
        unique: false,
        external_id: false,
        case_sensitive: true,
    };
    ObjectSchema {
        name: "people".into(),
        label: "people".to_owned(),
        createable: false,
        updateable: false,
        deletable: false,
        fields: header.iter().map(field).collect(),
        variants: Vec::new(),
    }
}
