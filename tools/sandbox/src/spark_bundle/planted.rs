//! Faults planted on purpose, each written down, so that whoever looks for them can be held against the truth.

use serde::Serialize;

use super::{Counts, Spec};

/// How many faults of each kind are planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// Contacts, and as many companies, that come a second time under another id, written differently.
    pub duplicates: u64,
    /// Contacts, and as many deals, whose company is not there.
    pub orphans: u64,
    /// Contacts, and as many meetings, with a day that cannot be.
    pub bad_dates: u64,
}

/// One fault that was planted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// What kind it is: `duplicate`, `orphan`, `date-unreadable`, `date-far-off`, `birth-in-future` or `date-order`.
    pub kind: &'static str,
    /// The object.
    pub object: String,
    /// The field, or several joined with ` and `; none of a duplicate.
    pub field: Option<&'static str>,
    /// The ids of the records; of a duplicate, the first one and its double.
    pub records: Vec<String>,
}

/// Plants faults in rows that are about to be written.
#[derive(Debug, Default)]
pub(super) struct Planter {
    wanted: Planted,
    counts: [u64; 4],
    seen: [u64; 4],
    pub(super) truth: Vec<Truth>,
}

/// The tables in which faults are planted.
const TABLES: [&str; 4] = ["contacts", "companies", "deals", "meetings"];
/// Companies begin above it, so that none has it.
const NOBODY: &str = "2999999";

impl Planter {
    pub(super) fn new(spec: &Spec, counts: &Counts) -> Self {
        let counts = [counts.contacts, counts.companies, counts.deals, counts.meetings];
        Self { wanted: spec.planted, counts, ..Self::default() }
    }

    /// Returns whether nothing is planted at all.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted == Planted::default()
    }

    /// Takes a row; returns it with the fault that it got, and the row of its double.
    pub(super) fn plant(
        &mut self,
        object: &str,
        columns: &[String],
        cells: &[&str],
    ) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let Some(table) = TABLES.iter().position(|table| *table == object) else { return (None, None) };
        let (row, all) = (self.seen[table], self.counts[table].max(1));
        self.seen[table] += 1;
        // Spread over the table: exactly `wanted` of `all` rows are due, each kind shifted against the others.
        let due = |wanted: u64, shift: u64| {
            let (wanted, row) = (wanted.min(all), (row + shift * 3) % all);
            ((row + 1) * wanted / all > row * wanted / all).then(|| row * wanted / all)
        };
        let at = |name: &str| columns.iter().position(|column| column == name);
        let own = || cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let id = cells.first().copied().unwrap_or_default().to_owned();
        let mut tell = |kind, field, records: Vec<String>| {
            self.truth.push(Truth { kind, object: object.to_owned(), field, records });
        };
        if let (0 | 1, Some(turn)) = (table, due(self.wanted.duplicates, 0)) {
            let mut double = own();
            let other = id.parse::<u64>().map_or_else(|_| format!("{id}-2"), |id| (id + 1).to_string());
            if let Some(place) = double.first_mut() {
                other.clone_into(place);
            }
            let mut edit = |name: &str, by: &dyn Fn(&str) -> String| {
                if let Some(cell) = at(name).and_then(|at| double.get_mut(at)) {
                    *cell = by(cell);
                }
            };
            if table == 0 {
                person(turn, cells, &at, &mut edit);
            } else {
                company(turn, &mut edit);
            }
            tell("duplicate", None, vec![id, other]);
            return (None, Some(double));
        }
        let company = ["primary_company_id", "", "company_id", ""][table];
        if let (0 | 2, Some(_), Some(place)) = (table, due(self.wanted.orphans, 1), at(company)) {
            let mut row = own();
            NOBODY.clone_into(&mut row[place]);
            tell("orphan", Some(if table == 0 { "primary_company_id" } else { "company_id" }), vec![id]);
            return (Some(row), None);
        }
        if let (0 | 3, Some(turn)) = (table, due(self.wanted.bad_dates, 2)) {
            let (kind, column, field, value) = match (table, turn % 4) {
                (3, _) => ("date-order", "ends_at", "starts_at and ends_at", "2001-01-01T00:00:00Z"),
                (_, 0) => ("date-unreadable", "created_at", "created_at", "2024-13-45"),
                (_, 1) => ("birth-in-future", "cf_birthday", "cf_birthday", "2031-05-05"),
                (_, 2) => ("date-far-off", "last_activity_at", "last_activity_at", "1753-01-01T00:00:00Z"),
                _ => ("date-order", "updated_at", "created_at and updated_at", "2001-01-01T00:00:00Z"),
            };
            if let Some(place) = at(column) {
                let mut row = own();
                value.clone_into(&mut row[place]);
                tell(kind, Some(field), vec![id]);
                return (Some(row), None);
            }
        }
        (None, None)
    }
}

type Edit<'a> = dyn FnMut(&str, &dyn Fn(&str) -> String) + 'a;

/// Writes a person down a second time, as another hand would.
fn person(turn: u64, cells: &[&str], at: &dyn Fn(&str) -> Option<usize>, edit: &mut Edit<'_>) {
    let cell = |name: &str| at(name).and_then(|at| cells.get(at)).copied().unwrap_or_default();
    let mailed = cell("email").contains('@');
    let called = cell("phone").len() > 7 || cell("mobile_phone").len() > 7;
    edit("description", &|_| String::new());
    match turn % 4 {
        0 if mailed => {
            edit("email", &str::to_uppercase);
            edit("first_name", &str::to_uppercase);
            edit("last_name", &|name| format!("{} ", name.to_lowercase()));
        }
        1 if mailed => {
            let (first, last) = (cell("first_name").to_owned(), cell("last_name").to_owned());
            edit("first_name", &|_| last.clone());
            edit("last_name", &|_| first.clone());
            edit("phone", &|_| String::new());
        }
        2 if mailed => {
            edit("last_name", &slip);
            edit("job_title", &|_| "Owner".to_owned());
        }
        3 if called => {
            edit("email", &|_| String::new());
            edit("phone", &spaced);
            edit("mobile_phone", &spaced);
        }
        _ => edit("first_name", &str::to_lowercase),
    }
}

/// Writes a company down a second time.
fn company(turn: u64, edit: &mut Edit<'_>) {
    edit("description", &|_| String::new());
    match turn % 3 {
        0 => edit("name", &str::to_uppercase),
        1 => {
            edit("domain", &|domain| if domain.is_empty() { String::new() } else { format!("www.{domain}") });
            edit("name", &slip);
        }
        _ => {
            edit("website", &|_| String::new());
            edit("phone", &spaced);
        }
    }
}

/// Leaves out the second letter of the first word.
fn slip(name: &str) -> String {
    name.chars().enumerate().filter(|(n, _)| *n != 1).map(|(_, c)| c).collect()
}

/// Writes a phone number with the digits further apart.
fn spaced(phone: &str) -> String {
    phone
        .chars()
        .flat_map(|c| {
            if c.is_ascii_digit() {
                vec![c]
            } else if c == '+' {
                vec!['0', '0']
            } else {
                vec![c, ' ']
            }
        })
        .collect()
}
