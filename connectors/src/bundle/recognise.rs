//! Whose export is this? Says what was recognised and by what, and refuses what it does not know or knows to be another's.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    container::Container,
    encoding,
    json_stream::Layout,
    part::Format,
    profile::fits,
    table::{Declared, Table},
};

/// A product whose export Waybill knows by sight.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    system: String,
    name: String,
    /// How many of the signs must be seen.
    least: usize,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Shapes {
    shape: Vec<Shape>,
}

/// What an export looks like from outside: its files and the names of their columns.
#[derive(Debug, Default)]
pub(crate) struct Look {
    files: BTreeSet<String>,
    columns: BTreeSet<String>,
    described: Vec<String>,
}

/// Files beyond this number add nothing to the picture.
const ENOUGH: usize = 100;

impl Look {
    /// Looks at the heads of the files.
    pub(crate) fn at(container: &Container) -> Self {
        let mut look = Self::default();
        for (path, entry) in container.entries().take(ENOUGH) {
            look.files.insert(path.to_owned());
            let names: Vec<String> = match Format::of(path) {
                Some(Format::Table) => Table::look(path, entry, &Declared::default(), &[])
                    .map(|table| table.columns.into_iter().map(|column| column.name).collect())
                    .unwrap_or_default(),
                Some(Format::Json(layout)) => {
                    let Ok(head) = entry.open().and_then(encoding::head) else { continue };
                    json_names(&head, layout)
                }
                None => Vec::new(),
            };
            look.described.push(match names.as_slice() {
                [] => path.to_owned(),
                names => {
                    let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
                    format!("{path} ({}{})", shown.join(", "), if names.len() > 6 { ", …" } else { "" })
                }
            });
            look.columns.extend(names);
        }
        look
    }

    /// Looks at an answer of a server: the dotted names in it.
    pub(crate) fn of_answer(path: &str, body: &[u8]) -> Self {
        let names = json_names(body, Layout::Document);
        let mut look = Self::default();
        look.files.insert(path.to_owned());
        look.described.push(format!("{path} ({})", names.iter().take(8).cloned().collect::<Vec<_>>().join(", ")));
        look.columns.extend(names);
        look
    }

    /// Returns what was found, for people.
    pub(crate) fn describe(&self) -> String {
        let shown: Vec<&str> = self.described.iter().take(8).map(String::as_str).collect();
        let more = self.files.len().saturating_sub(shown.len());
        if more > 0 { format!("{} and {more} more files", shown.join("; ")) } else { shown.join("; ") }
    }

    /// Returns the known product, other than `system`, that this looks most like, with the signs.
    pub(crate) fn foreign(&self, system: &str) -> Option<(String, Vec<String>)> {
        let shapes: Shapes =
            toml::from_str(include_str!("../../profiles/foreign.toml")).expect("the shipped list is parsed by a test");
        shapes
            .shape
            .into_iter()
            .filter(|shape| shape.system != system)
            .filter_map(|shape| {
                let seen = self.signs(&shape);
                (seen.len() >= shape.least).then_some((shape, seen))
            })
            .max_by_key(|(shape, seen)| seen.len() * 100 / (shape.files.len() + shape.columns.len()).max(1))
            .map(|(shape, seen)| (shape.name, seen))
    }

    fn signs(&self, shape: &Shape) -> Vec<String> {
        let find = |patterns: &[String], among: &BTreeSet<String>| -> Vec<String> {
            patterns.iter().filter_map(|pattern| among.iter().find(|name| fits(pattern, name)).cloned()).collect()
        };
        let mut seen = find(&shape.files, &self.files);
        for column in find(&shape.columns, &self.columns) {
            // One column is one sign, however many patterns it fits.
            if !seen.contains(&column) {
                seen.push(column);
            }
        }
        seen
    }
}

/// Returns the dotted names in the head of a JSON file; lists are looked through. The head is usually cut, so keys are found by
/// their quotes and brackets rather than by parsing.
fn json_names(head: &[u8], layout: Layout) -> Vec<String> {
    let Ok(encoding) = encoding::detect(head, None) else { return Vec::new() };
    let text = encoding::glance(head, encoding);
    let text = if layout == Layout::Lines { text.lines().take(20).collect::<Vec<_>>().join("\n") } else { text };
    let mut names = BTreeSet::new();
    // Per open bracket: the key under which it stands, if it is an object.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut last_text: Option<String> = None;
    let mut key: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                let mut word = String::new();
                while let Some(inner) = characters.next() {
                    match inner {
                        '"' => break,
                        '\\' => {
                            characters.next();
                        }
                        inner => word.push(inner),
                    }
                }
                last_text = Some(word);
            }
            ':' => {
                key = last_text.take();
                if let Some(key) = &key {
                    let path: Vec<&str> = open.iter().flatten().map(String::as_str).chain([key.as_str()]).collect();
                    names.insert(path.join("."));
                }
            }
            '{' | '[' => open.push(key.take()),
            '}' | ']' => {
                open.pop();
                key = None;
            }
            ',' => {
                key = None;
                last_text = None;
            }
            _ => {}
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[&str], columns: &[&str]) -> Look {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Look { files: own(files), columns: own(columns), described: Vec::new() }
    }

    fn foreign(files: &[&str], columns: &[&str]) -> Option<String> {
        look(files, columns).foreign("spark").map(|(name, _)| name)
    }

    #[test]
    fn foreign_exports_are_called_by_name() {
        let hubspot = foreign(&["hubspot-crm-exports-all-deals-2024-01-01.csv"], &["Record ID", "Associated Deal IDs"]);
        assert_eq!(hubspot.as_deref(), Some("a HubSpot export"));
        assert_eq!(foreign(&["deals.csv"], &["Deal - Title", "Person - Name"]).as_deref(), Some("a Pipedrive export"));
        let salesforce = foreign(&["Account.csv"], &["IsDeleted", "SystemModstamp", "OwnerId"]);
        assert_eq!(salesforce.as_deref(), Some("a Salesforce export"));
        let actimo = foreign(&["contacts.csv"], &["msisdn", "addr_line_1", "country_code"]);
        assert_eq!(actimo.as_deref(), Some("Actimo contacts"));
        let estate = foreign(&["contacts.json"], &["team_member_ids", "rating_id"]);
        assert_eq!(estate.as_deref(), Some("Spark, the real-estate CRM (spark.re)"));
        assert_eq!(foreign(&["contacts.csv"], &["id", "email", "owner_id"]), None);
    }

    #[test]
    fn names_are_found_in_a_document_that_is_cut() {
        let text = br#"{"data":[{"full_name":"A: B","orders":[{"cart":{"items":[{"id":1}]},"utm_source":"x"},{"st"#;
        let names = json_names(text, Layout::Document);
        assert!(names.contains(&"data.orders.cart.items".to_owned()), "{names:?}");
        assert!(names.contains(&"data.orders.utm_source".to_owned()));
        let foreign = Look { columns: names.into_iter().collect(), ..Look::default() }.foreign("spark");
        assert_eq!(foreign.map(|(name, _)| name).as_deref(), Some("orders of the sparkcrm.io checkout"));
    }
}
