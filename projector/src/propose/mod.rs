//! Proposes what goes where: for every column of the source a column of the target, with a confidence and a reason.
//!
//! Names, synonyms, kinds and, where there are any, values are evidence; a logistic model weighs what exists
//! ([`score`](self)); an assignment makes the proposals of one source object agree with each other, instead of letting each
//! column pick for itself. Below a threshold nothing is proposed, and the best guesses are named as such.
//!
//! Pure, and independent of the order in which columns come. The list of synonyms was written from general knowledge of what
//! CRMs call things; the tables that `waybill-bench mapping` scores against are held out from it.

#![allow(clippy::cast_precision_loss, reason = "counts of columns and values, far below 2^52")]

mod assign;
mod choices;
mod kind;
mod names;
mod profile;
mod sample;
mod score;
mod synonyms;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use waybill_ledger::{FieldKind, FieldSchema};

use self::{
    assign::assign,
    names::{Name, names},
    profile::Profile,
    score::{Evidence, Known, probability},
    values::Corpus,
};
pub use self::{
    choices::{ValueProposal, propose_values},
    kind::Kind,
    sample::Sample,
};

/// Below this probability a pair is not worth assigning.
const FLOOR: f64 = 0.02;
/// How much a pair loses that the assignment gave to others.
const NOT_ASSIGNED: f64 = 0.6;
/// What it adds, in log-odds, that the assignment chose a pair; and what it costs that another pair with one of its columns
/// is as good.
const ASSIGNED: f64 = 0.8;
const RIVAL: f64 = 1.0;
/// What it costs, in log-odds, to land in the object that fits least, against the one that fits best.
const OTHER_OBJECT: f64 = 5.0;
/// How much of an object's fit its name makes, the rest being how well its columns fit.
const BY_NAME: f64 = 0.6;

/// A column of one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// The object, table or entity that it belongs to; may be empty if there is only one.
    pub object: String,
    /// The name that the wire uses.
    pub name: String,
    /// The name that people see.
    pub label: Option<String>,
    /// What it holds, if that is described.
    pub kind: Option<Kind>,
    /// The most characters it takes, if that is known.
    pub length: Option<u32>,
    /// The options of a choice, if they are known.
    pub options: Vec<String>,
    /// The objects that a reference points to, if they are known.
    pub points_to: Vec<String>,
    /// A look at its values, if there are any.
    pub sample: Option<Sample>,
    /// Whether it is mapped already: it tells how columns are called there, and is neither matched nor proposed.
    pub taken: bool,
}

impl Column {
    /// Describes a column by what a system says about a field.
    pub fn of(object: &str, field: &FieldSchema) -> Self {
        let (length, options) = match &field.kind {
            FieldKind::Text { length, .. } => (Some(*length).filter(|length| *length > 0), Vec::new()),
            FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. } => {
                (None, options.iter().filter(|option| option.active).map(|option| option.value.clone()).collect())
            }
            _ => (None, Vec::new()),
        };
        Self {
            object: object.to_owned(),
            name: field.name.to_string(),
            label: Some(field.label.clone()).filter(|label| !label.is_empty() && *label != field.name.as_str()),
            kind: Some(Kind::of(&field.kind)),
            length,
            options,
            points_to: match &field.kind {
                FieldKind::Reference { to } => to.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            },
            sample: None,
            taken: false,
        }
    }
}

/// How proposals are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The confidence below which nothing is proposed.
    pub threshold: f64,
    /// How many candidates are named.
    pub candidates: usize,
    /// Which target objects the records of a source object go to, where that is decided; columns of an object that is not
    /// named here may go anywhere.
    pub routes: BTreeMap<String, BTreeSet<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.5, candidates: 4, routes: BTreeMap::new() }
    }
}

/// What is proposed for one source column.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The place of the source column.
    pub source: usize,
    /// The candidates, the best first; the first one is proposed if `chosen`.
    pub candidates: Vec<Candidate>,
    /// Whether the first candidate is proposed, or all are guesses.
    pub chosen: bool,
}

/// One target that a source column may go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The place of the target column.
    pub target: usize,
    /// How likely it is the right one, from 0 to 1.
    pub confidence: f64,
    /// Whether the assignment gave it to this source column.
    pub assigned: bool,
    /// Why.
    pub reason: String,
}

/// One side, in an order that does not depend on how it was given.
struct Side<'a> {
    columns: Vec<(usize, &'a Column)>,
    names: Vec<Vec<Name>>,
    profiles: Vec<Option<Profile>>,
    kinds: Vec<Option<Kind>>,
    listed: Vec<bool>,
}

impl<'a> Side<'a> {
    fn new(columns: &'a [Column]) -> Self {
        let mut columns: Vec<(usize, &Column)> = columns.iter().enumerate().collect();
        columns.sort_by(|(_, a), (_, b)| (&a.object, &a.name, &a.label).cmp(&(&b.object, &b.name, &b.label)));
        let own = names(columns.iter().map(|(_, column)| (column.object.as_str(), column.name.as_str())));
        let labels = columns
            .iter()
            .map(|(_, column)| (column.object.as_str(), column.label.as_deref().unwrap_or(column.name.as_str())));
        let labels = names(labels);
        let both =
            own.into_iter().zip(labels).map(|(own, label)| if own == label { vec![own] } else { vec![own, label] });
        let names = both.collect();
        let profiles: Vec<Option<Profile>> = columns
            .iter()
            .map(|(_, column)| match &column.sample {
                Some(sample) => Profile::new(sample),
                None => Profile::new(&column.options.iter().map(String::as_str).collect()),
            })
            .collect();
        let kinds = columns.iter().zip(&profiles).map(|((_, column), profile)| kind_of(column, profile.as_ref()));
        let kinds = kinds.collect();
        let listed = columns.iter().map(|(_, column)| column.sample.is_none()).collect();
        Self { columns, names, profiles, kinds, listed }
    }

    fn known(&self, at: usize) -> Known<'_> {
        Known {
            names: &self.names[at],
            kind: self.kinds[at],
            profile: self.profiles[at].as_ref(),
            listed: self.listed[at],
        }
    }

    fn objects(&self) -> BTreeMap<&'a str, Vec<usize>> {
        let mut objects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (_, column)) in self.columns.iter().enumerate() {
            objects.entry(column.object.as_str()).or_default().push(at);
        }
        objects
    }
}

/// What a column holds: as described; if only as text, as its values look; if there are none, as its name sounds.
fn kind_of(column: &Column, profile: Option<&Profile>) -> Option<Kind> {
    let looks = profile.filter(|_| column.sample.is_some()).and_then(|profile| profile.looks);
    match (column.kind, looks) {
        (Some(Kind::Text) | None, Some(looks @ (Kind::Text | Kind::Number))) => match Kind::guess(&column.name) {
            Some(kind @ (Kind::Reference | Kind::Phone)) => Some(kind),
            _ => Some(looks),
        },
        (Some(Kind::Text) | None, Some(looks)) => Some(looks),
        (Some(kind), _) => Some(kind),
        (None, None) => Kind::guess(&column.name),
    }
}

/// Proposes a target for every source column that is not taken, in the order in which they came.
pub fn propose(source: &[Column], target: &[Column], settings: &Settings) -> Vec<Proposal> {
    let (from, to) = (Side::new(source), Side::new(target));
    let corpus = Corpus::new(&from.profiles, &to.profiles);
    let near = affinities(&from, &to);
    let mut proposals: Vec<Proposal> = Vec::new();
    for (object, mut rows) in from.objects() {
        rows.retain(|row| !from.columns[*row].1.taken);
        let routes = settings.routes.get(object);
        let open: Vec<usize> = (0..to.columns.len())
            .filter(|column| !to.columns[*column].1.taken)
            .filter(|column| routes.is_none_or(|routes| routes.contains(&to.columns[*column].1.object)))
            .collect();
        let compare = |row: usize, column: usize| {
            let evidence = Evidence::new(&corpus, (row, from.known(row)), (column, to.known(column)));
            let odds = evidence.odds();
            (evidence, odds)
        };
        let mut pairs: Vec<Vec<(Evidence, f64)>> =
            rows.iter().map(|row| open.iter().map(|column| compare(*row, *column)).collect()).collect();
        if routes.is_none() {
            let fit = fits(&pairs, &open, &to, |target| near.get(&(object, target)).copied().unwrap_or(1.0));
            for row in &mut pairs {
                for ((_, odds), column) in row.iter_mut().zip(&open) {
                    *odds -=
                        OTHER_OBJECT * (1.0 - fit.get(to.columns[*column].1.object.as_str()).copied().unwrap_or(1.0));
                }
            }
        }
        let likely: Vec<Vec<f64>> =
            pairs.iter().map(|row| row.iter().map(|(_, odds)| probability(*odds)).collect()).collect();
        let assigned = assign(
            &likely
                .iter()
                .map(|row| row.iter().map(|p| if *p < FLOOR { 0.0 } else { *p }).collect())
                .collect::<Vec<_>>(),
        );
        let columns: Vec<(f64, f64)> = (0..open.len()).map(|at| two_best(likely.iter().map(|row| row[at]))).collect();
        for (n, (at, own)) in rows.iter().zip(&assigned).enumerate() {
            let row = two_best(likely[n].iter().copied());
            let ranked = likely[n].iter().enumerate().map(|(place, p)| {
                let assigned = *own == Some(place);
                let other = |(first, second): (f64, f64)| if *p >= first { second } else { first };
                let confidence = if assigned {
                    let rival = other(row).max(other(columns[place])) / p.max(1e-12);
                    probability(pairs[n][place].1 + ASSIGNED - RIVAL * rival.min(1.0))
                } else {
                    // What another column wants more, or what this one wants less, is less likely than it looks alone.
                    p * NOT_ASSIGNED * p / row.0.max(columns[place].0).max(1e-12)
                };
                (place, confidence, assigned)
            });
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            ranked.truncate(settings.candidates.max(1));
            let candidate = |(place, confidence, assigned): (usize, f64, bool)| {
                let (target, column) = to.columns[open[place]];
                Candidate { target, confidence, assigned, reason: pairs[n][place].0.words(&column.name) }
            };
            let candidates: Vec<Candidate> = ranked.into_iter().map(candidate).collect();
            let chosen =
                candidates.first().is_some_and(|first| first.assigned && first.confidence >= settings.threshold);
            proposals.push(Proposal { source: from.columns[*at].0, candidates, chosen });
        }
    }
    proposals.sort_by_key(|proposal| proposal.source);
    proposals
}

/// Returns the largest and the second largest of several numbers that are at least 0.
fn two_best(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    numbers.fold((0.0, 0.0), |(first, second), n| if n > first { (n, first) } else { (first, f64::max(second, n)) })
}

/// Returns how well each target object fits, 1 for the best: by its name, and by how well its columns fit.
fn fits<'a>(
    pairs: &[Vec<(Evidence, f64)>],
    open: &[usize],
    to: &Side<'a>,
    near: impl Fn(&str) -> f64,
) -> BTreeMap<&'a str, f64> {
    let mut fit: BTreeMap<&str, f64> = BTreeMap::new();
    for row in pairs {
        let mut best: BTreeMap<&str, f64> = BTreeMap::new();
        for ((_, odds), column) in row.iter().zip(open) {
            let likely = best.entry(to.columns[*column].1.object.as_str()).or_default();
            *likely = likely.max(probability(*odds));
        }
        for (object, likely) in best {
            *fit.entry(object).or_default() += likely;
        }
    }
    let most = fit.values().copied().fold(1e-9, f64::max);
    for (object, fit) in &mut fit {
        *fit = BY_NAME * near(object) + (1.0 - BY_NAME) * *fit / most;
    }
    let most = fit.values().copied().fold(0.0, f64::max);
    fit.into_iter().map(|(object, fit)| (object, 1.0 - (most - fit))).collect()
}

/// Returns how near each target object is to each source object by their names: 1 for the nearest of a source object.
fn affinities<'a>(from: &Side<'a>, to: &Side<'a>) -> BTreeMap<(&'a str, &'a str), f64> {
    let objects = |side: &Side<'a>| -> Vec<&'a str> {
        side.columns.iter().map(|(_, column)| column.object.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (sources, targets) = (objects(from), objects(to));
    let named = |objects: &[&'a str]| names(objects.iter().map(|object| ("", *object)));
    let (source_names, target_names) = (named(&sources), named(&targets));
    let mut near = BTreeMap::new();
    for (source, name) in sources.iter().zip(&source_names) {
        let alike: Vec<f64> = target_names.iter().map(|target| name.alike(target).0).collect();
        let best = alike.iter().copied().fold(0.0, f64::max);
        for (target, alike) in targets.iter().zip(alike) {
            near.insert((*source, *target), 1.0 - (best - alike));
        }
    }
    near
}

/// Returns a text in one form: no surrounding and no repeated spaces, one case.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

#[cfg(test)]
mod tests;
