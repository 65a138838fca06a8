//! Makes an export of a company that never was, laid out as the bundle convention lays out Spark CRM, messy in the ways real
//! exports are. The same [`Spec`] always gives the same bytes.
//!
//! ```
//! use waybill_sandbox::spark_bundle::{Spec, generate};
//!
//! let dir = tempfile::tempdir()?;
//! let summary = generate(&Spec { size: 200, ..Spec::default() }, dir.path())?;
//! assert_eq!(summary.rows["users"], 5);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Nothing in it is anyone's data: names are drawn from short lists, every address is under an `example` domain.
//!
//! **Invariant:** rows are written as they are made; the memory does not grow with the size.

mod activities;
mod company;
mod deals;
mod definitions;
mod dice;
mod manifest;
mod mutate;
mod planted;
mod sheet;
mod words;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

pub use self::{
    mutate::{Changes, Edits, mutate},
    planted::{Planted, Truth},
};
use self::{planted::Planter, sheet::Workshop};

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// About how many records in all.
    pub size: u64,
    /// The seed of everything that looks random.
    pub seed: u64,
    /// Break one row in so many; 0 breaks none. Only records are broken, never the description of the source.
    pub broken: u64,
    /// Whether the parents of the first companies form a cycle.
    pub cycle: bool,
    /// Whether everything is tidy: every owner can work, every deal has a company, every name is spelled one way.
    pub plain: bool,
    /// Exactly so many companies, instead of a share of `size`.
    pub accounts: Option<u64>,
    /// Exactly so many contacts, instead of a share of `size`.
    pub contacts: Option<u64>,
    /// Faults to plant on purpose.
    pub planted: Planted,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            size: 2_000,
            seed: 1,
            broken: 0,
            cycle: false,
            plain: false,
            accounts: None,
            contacts: None,
            planted: Planted::default(),
        }
    }
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows by object, broken ones included.
    pub rows: BTreeMap<String, u64>,
    /// Broken rows by object.
    pub broken: BTreeMap<String, u64>,
    /// The faults that were planted.
    #[serde(skip)]
    pub planted: Vec<Truth>,
}

impl Summary {
    /// Returns the number of all rows.
    pub fn total(&self) -> u64 {
        self.rows.values().sum()
    }
}

/// Writes an export to `dir`, which is made if it is not there and must be empty if it is.
pub fn generate(spec: &Spec, dir: &Path) -> io::Result<Summary> {
    fs::create_dir_all(dir)?;
    if fs::read_dir(dir)?.next().is_some() {
        let reason = format!("{} is not empty", dir.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    let counts = Counts::of(spec);
    let mut workshop = Workshop::new(dir, spec.broken);
    workshop.planter = Planter::new(spec, &counts);
    definitions::users(&mut workshop, spec)?;
    definitions::pipelines(&mut workshop, spec)?;
    definitions::custom_fields(&mut workshop)?;
    company::companies(&mut workshop, spec, &counts)?;
    company::contacts(&mut workshop, spec, &counts)?;
    deals::deals(&mut workshop, spec, &counts)?;
    activities::calls(&mut workshop, spec, &counts)?;
    activities::emails(&mut workshop, spec, &counts)?;
    activities::meetings(&mut workshop, spec, &counts)?;
    activities::tasks(&mut workshop, spec, &counts)?;
    activities::notes(&mut workshop, spec, &counts)?;
    activities::files(&mut workshop, spec, &counts)?;
    if !spec.plain {
        company::machines(&mut workshop, spec, &counts)?;
    }
    definitions::documented(&mut workshop)?;
    manifest::write(&workshop, &format!("spark-{}-{}", spec.seed, spec.size), None, 1)?;
    Ok(workshop.summary())
}

/// How many of each.
#[derive(Debug, Clone, Copy)]
struct Counts {
    companies: u64,
    contacts: u64,
    deals: u64,
    calls: u64,
    emails: u64,
    meetings: u64,
    tasks: u64,
    notes: u64,
    files: u64,
    machines: u64,
}

impl Counts {
    fn of(spec: &Spec) -> Self {
        let share = |percent: u64| spec.size * percent / 100;
        let companies = spec.accounts.unwrap_or(share(12));
        Self {
            companies,
            contacts: spec.contacts.unwrap_or(share(28)),
            deals: share(12),
            calls: share(3),
            emails: share(4),
            meetings: share(2),
            tasks: share(3),
            notes: share(3),
            files: share(1),
            machines: share(1),
        }
    }
}

#[cfg(test)]
mod tests;
