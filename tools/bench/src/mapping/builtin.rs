//! What is built in: schemas and truths as CSV under `truth/`.
//!
//! The schemas of the sources are the export conventions, those of the destinations what their references say of the objects
//! that the five pairs write. The truths of the pairs are their tables, row by row. The truths of the real header sets are
//! pairs of column names; the data itself is not part of this repository.

use std::path::Path;

use waybill_projector::propose::{Column, Kind};

use super::{Set, table};
use crate::Fallible;

/// One side of a built-in set.
#[derive(Debug, Clone, Copy)]
enum Side {
    /// A schema of `truth/schema/`.
    Schema(&'static str),
    /// Files of the folder of real data, each an object of this name.
    Data(&'static [(&'static str, &'static str)]),
}

/// A built-in set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    source: Side,
    target: Side,
    truth: &'static str,
}

const SPARK: &str = include_str!("../../truth/schema/spark.csv");
const SMARTDESK: &str = include_str!("../../truth/schema/smartdesk.csv");
const ACTIMO: &str = include_str!("../../truth/schema/actimo.csv");
const SALESFORCE: &str = include_str!("../../truth/schema/salesforce.csv");
const DYNAMICS: &str = include_str!("../../truth/schema/dynamics.csv");
const TWENTY: &str = include_str!("../../truth/schema/twenty.csv");

/// Returns the built-in sets.
pub(super) fn cases() -> Vec<Case> {
    let schemas =
        |name, source, target, truth| Case { name, source: Side::Schema(source), target: Side::Schema(target), truth };
    let headers =
        |name, files, truth| Case { name, source: Side::Data(files), target: Side::Schema(SALESFORCE), truth };
    vec![
        schemas("A spark to salesforce", SPARK, SALESFORCE, include_str!("../../truth/spark-salesforce.csv")),
        schemas("B spark to dynamics", SPARK, DYNAMICS, include_str!("../../truth/spark-dynamics.csv")),
        schemas("C spark to twenty", SPARK, TWENTY, include_str!("../../truth/spark-twenty.csv")),
        schemas(
            "D smartdesk to salesforce",
            SMARTDESK,
            SALESFORCE,
            include_str!("../../truth/smartdesk-salesforce.csv"),
        ),
        schemas("E actimo to salesforce", ACTIMO, SALESFORCE, include_str!("../../truth/actimo-salesforce.csv")),
        headers(
            "hubspot-style-export",
            &[
                ("companies", "hubspot-style-export/hubspot_companies.csv"),
                ("contacts", "hubspot-style-export/hubspot_contacts.csv"),
                ("deals", "hubspot-style-export/hubspot_deals.csv"),
                ("tickets", "hubspot-style-export/hubspot_tickets.csv"),
            ],
            include_str!("../../truth/hubspot-style-export.csv"),
        ),
        headers(
            "hubspot-tables",
            &[
                ("company", "hubspot-tables/company_data.csv"),
                ("contact", "hubspot-tables/contact_data.csv"),
                ("deal", "hubspot-tables/deal_data.csv"),
                ("ticket", "hubspot-tables/ticket_data.csv"),
            ],
            include_str!("../../truth/hubspot-tables.csv"),
        ),
        headers(
            "maven-crm-sales",
            &[
                ("accounts", "maven-crm-sales/accounts.csv"),
                ("sales_pipeline", "maven-crm-sales/sales_pipeline.csv"),
                ("products", "maven-crm-sales/products.csv"),
            ],
            include_str!("../../truth/maven-crm-sales.csv"),
        ),
        headers(
            "salesforce-npsp-trailhead",
            &[
                ("Account", "salesforce-npsp-trailhead/Account.csv"),
                ("Contact", "salesforce-npsp-trailhead/Contact.csv"),
                ("Opportunity", "salesforce-npsp-trailhead/Opportunity.csv"),
                ("Campaign", "salesforce-npsp-trailhead/Campaign.csv"),
                ("Lead", "salesforce-npsp-trailhead/Lead.csv"),
            ],
            include_str!("../../truth/salesforce-npsp-trailhead.csv"),
        ),
        headers(
            "salesforce-devorg",
            &[
                ("Account", "salesforce-devorg/Account.csv"),
                ("Contact", "salesforce-devorg/Contact.csv"),
                ("Lead", "salesforce-devorg/Lead.csv"),
                ("Opportunity", "salesforce-devorg/Opportunity.csv"),
            ],
            include_str!("../../truth/salesforce-devorg.csv"),
        ),
        headers(
            "salesforce-full-export",
            &[
                ("Account", "salesforce-full-export/Account.csv"),
                ("Contact", "salesforce-full-export/Contact.csv"),
                ("Opportunity", "salesforce-full-export/Opportunity.csv"),
                ("Lead", "salesforce-full-export/Lead.csv"),
                ("Case", "salesforce-full-export/Case.csv"),
                ("Task", "salesforce-full-export/Task.csv"),
            ],
            include_str!("../../truth/salesforce-full-export.csv"),
        ),
        headers(
            "oracle-hr-people",
            &[("employees", "oracle-hr-people/employees.csv")],
            include_str!("../../truth/oracle-hr-people.csv"),
        ),
        Case {
            name: "hubspot-style-export to devorg",
            source: Side::Data(&[
                ("companies", "hubspot-style-export/hubspot_companies.csv"),
                ("contacts", "hubspot-style-export/hubspot_contacts.csv"),
                ("deals", "hubspot-style-export/hubspot_deals.csv"),
            ]),
            target: Side::Data(&[
                ("Account", "salesforce-devorg/Account.csv"),
                ("Contact", "salesforce-devorg/Contact.csv"),
                ("Opportunity", "salesforce-devorg/Opportunity.csv"),
            ]),
            truth: include_str!("../../truth/hubspot-style-export-devorg.csv"),
        },
        headers(
            "zendesk-tickets",
            &[
                ("ticket", "zendesk-tickets/ticket_data.csv"),
                ("ticket_comment", "zendesk-tickets/ticket_comment_data.csv"),
                ("organization", "zendesk-tickets/organization_data.csv"),
            ],
            include_str!("../../truth/zendesk-tickets.csv"),
        ),
    ]
}

impl Case {
    /// Reads the set; none, if it needs real data that is not here.
    pub(super) fn set(&self, data: Option<&Path>, rows: u64) -> Fallible<Option<Set>> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).map(|root| root.join("shared/data"));
        let Some(data) = data.map(Path::to_owned).or(beside) else { return Ok(None) };
        let (Some(source), Some(target)) = (self.source.read(&data, rows)?, self.target.read(&data, rows)?) else {
            return Ok(None);
        };
        let truth = table::pairs(self.truth.as_bytes())?;
        Ok(Some(Set { name: self.name.to_owned(), source, target, truth }))
    }
}

impl Side {
    fn read(&self, data: &Path, rows: u64) -> Fallible<Option<Vec<Column>>> {
        match self {
            Self::Schema(text) => Ok(Some(schema(text)?)),
            Self::Data(files) => {
                let mut columns = Vec::new();
                for (object, file) in *files {
                    let path = data.join(file);
                    if !path.exists() {
                        return Ok(None);
                    }
                    columns.extend(table::read(&path, object, rows)?);
                }
                Ok(Some(columns))
            }
        }
    }
}

/// Reads a schema: object, field, kind, and the options of a choice or the objects that a reference points to, between bars.
fn schema(text: &str) -> Fallible<Vec<Column>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).comment(Some(b'#')).from_reader(text.as_bytes());
    let mut columns = Vec::new();
    for row in reader.records() {
        let row = row?;
        let cell = |at: usize| row.get(at).unwrap_or_default().to_owned();
        let (listed, pointed) =
            if cell(2) == "reference" { (String::new(), cell(3)) } else { (cell(3), String::new()) };
        columns.push(Column {
            object: cell(0),
            name: cell(1),
            label: None,
            kind: kind(&cell(2))?,
            length: None,
            options: parts(&listed),
            points_to: parts(&pointed),
            sample: None,
            taken: false,
        });
    }
    Ok(columns)
}

fn parts(cell: &str) -> Vec<String> {
    cell.split('|').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn kind(word: &str) -> Fallible<Option<Kind>> {
    if word.is_empty() {
        return Ok(None);
    }
    let kinds = [
        Kind::Text,
        Kind::LongText,
        Kind::Email,
        Kind::Phone,
        Kind::Url,
        Kind::Bool,
        Kind::Number,
        Kind::Money,
        Kind::Percent,
        Kind::Date,
        Kind::Time,
        Kind::Choice,
        Kind::Reference,
        Kind::Other,
    ];
    let found = kinds.into_iter().find(|kind| kind.word() == word);
    found.map(Some).ok_or_else(|| format!("a schema says `{word}`, which is no kind").into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_built_in_schema_and_truth_can_be_read_and_fits() {
        for case in cases() {
            assert!(table::pairs(case.truth.as_bytes()).unwrap().len() > 3, "{}", case.name);
            if let (Side::Schema(source), Side::Schema(target)) = (case.source, case.target) {
                let truth = table::pairs(case.truth.as_bytes()).unwrap();
                let name = case.name.to_owned();
                let set = Set { name, source: schema(source).unwrap(), target: schema(target).unwrap(), truth };
                super::super::places(&set).unwrap();
            }
        }
    }
}
