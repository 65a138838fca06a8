//! Reports as pages that a person can send to a colleague: one file, no scripts, nothing fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value as Json;

use crate::{
    diff::{Class, Diff, FieldDiff, RecordDiff},
    reconcile::{self, Report},
};

const STYLE: &str = "
:root { color-scheme: light; --line: #d8dce3; --soft: #f5f6f8; --dim: #5b6472; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1b2129; margin: 2rem auto; max-width: 78rem; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; } p.about { color: var(--dim); margin: 0 0 1rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--dim); font-size: .85rem; } td.number, th.number { text-align: right; }
table.sums { width: auto; table-layout: auto; } tr.wrong td { background: #fdecea; } tr.side td { background: #fff7e0; }
.nothing, .dim { color: var(--dim); } .class { font-size: .85rem; white-space: nowrap; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: .2rem .8rem; }
summary { cursor: pointer; padding: .3rem 0; } ul { margin: .2rem 0; padding-left: 1.2rem; }
@media print { details { border: 0; } }
";

/// Returns a whole page.
fn page(title: &str, about: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { h1 { (title) } p.about { (about) } (body) }
        }
    };
    page.into_string()
}

fn value(value: &Json) -> Markup {
    match value {
        Json::Null => html! { span.nothing { "(nothing)" } },
        Json::String(text) if text.is_empty() => html! { span.nothing { "(empty)" } },
        Json::String(text) => html! { (text) },
        Json::Array(items) => {
            html! { @for (n, item) in items.iter().enumerate() { @if n > 0 { "; " } (self::value(item)) } }
        }
        other => html! { (other.to_string()) },
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Same => "as in the source",
        Class::Expected => "as the rule made it",
        Class::SideEffect => "changed by the platform",
        Class::Changed => "changed by someone",
        Class::Error => "wrong",
    }
}

const CLASSES: [Class; 5] = [Class::Same, Class::Expected, Class::SideEffect, Class::Changed, Class::Error];

fn field(field: &FieldDiff) -> Markup {
    let row = match field.class {
        Class::Same | Class::Expected => "",
        Class::SideEffect => "side",
        Class::Changed | Class::Error => "wrong",
    };
    html! {
        tr class=(row) {
            td { (field.field) }
            td {
                @for (name, held) in &field.source { div { span.dim { (name) ": " } (value(held)) } }
                @if field.source.is_empty() { span.nothing { "(set by the plan)" } }
            }
            td { @for decision in &field.decisions { div { (decision) } } }
            td { (value(&field.intended)) }
            td { (value(&field.now)) }
            td.class { (class(field.class)) }
        }
    }
}

fn record(record: &RecordDiff) -> Markup {
    let worst = record.fields.iter().map(|field| field.class).max().unwrap_or(Class::Same);
    let open = worst > Class::Expected || !record.there;
    html! {
        details open[open] {
            summary {
                (record.source) " → " (record.object) " " (record.id) " "
                span.dim { "[" (record.rule) "] " @if !record.there { "is not there any more" } @else { (class(worst)) } }
            }
            table {
                thead { tr { th { "field" } th { "in the source" } th { "decided" } th { "meant" } th { "there now" } th { "" } } }
                tbody { @for one in &record.fields { (field(one)) } }
            }
        }
    }
}

/// Returns a comparison as a page.
pub fn diff(diff: &Diff) -> String {
    let about = format!(
        "{} records of run {} in {}. Plan approved by {}. {} records of the source wait for a person.",
        diff.records.len(),
        diff.run,
        diff.destination,
        diff.approved_by.as_deref().unwrap_or("nobody"),
        diff.held,
    );
    let body = html! {
        table.sums {
            thead {
                tr {
                    th { "object" } th.number { "records" } th.number { "gone" }
                    @for one in CLASSES { th.number { (class(one)) } }
                }
            }
            tbody {
                @for object in &diff.objects {
                    tr {
                        td { (object.object) } td.number { (object.records) } td.number { (object.missing) }
                        @for one in CLASSES { td.number { (object.fields.get(&one).copied().unwrap_or(0)) } }
                    }
                }
            }
        }
        @for object in &diff.objects {
            h2 { (object.object) }
            @for one in diff.records.iter().filter(|record| record.object == object.object) { (record(one)) }
        }
    };
    page("Sample: field by field", &about, &body)
}

/// Returns a reconciliation as a page.
pub fn reconciled(report: &Report, destination: &str) -> String {
    let all: u64 = report.objects.iter().map(|object| object.expected_rows).sum();
    let about = format!(
        "Run {}: {all} rows of ours in {destination}, read back and compared field by field. {} records of the source wait for a \
         person.",
        report.run, report.held
    );
    let shown = |text: &Option<String>| match text {
        Some(text) => html! { (text) },
        None => html! { span.nothing { "(nothing)" } },
    };
    let body = html! {
        table.sums {
            thead {
                tr {
                    th { "object" }
                    @for head in ["ours", "equal", "platform", "drift", "missing", "extra", "wrong"] { th.number { (head) } }
                }
            }
            tbody {
                @for object in &report.objects {
                    @let counts = &object.counts;
                    tr class=(if counts.missing + counts.extra + counts.wrong > 0 { "wrong" } else { "" }) {
                        td { (object.object) }
                        @for number in [
                            object.expected_rows, counts.matched + counts.expected, counts.side_effect, counts.drift,
                            counts.missing, counts.extra, counts.wrong,
                        ] { td.number { (number) } }
                    }
                }
            }
        }
        @if report.findings.is_empty() {
            p { "Every row is as it was meant." }
        } @else {
            h2 { "Findings" }
            p.about { "The gravest first. All of them stand in " (report.table.display()) "." }
            table {
                thead {
                    tr { th { "class" } th { "row" } th { "source record" } th { "field" } th { "meant" } th { "there now" } }
                }
                tbody {
                    @for line in &report.findings {
                        tr {
                            td.class { (reconcile::class_word(line.class)) }
                            td { (line.object) " " (line.id) }
                            td { (line.source.as_deref().unwrap_or("")) }
                            td { (line.field.as_deref().unwrap_or("")) }
                            td { (shown(&line.meant)) }
                            td { (shown(&line.found)) }
                        }
                    }
                }
            }
        }
        @for spot in &report.spots {
            h3 { (spot.object) " " (spot.id) " from " (spot.source) }
            table {
                thead { tr { th { "field" } th { "meant" } th { "there now" } } }
                tbody {
                    @for (name, meant, now) in &spot.fields {
                        tr { td { (name) } td { (shown(meant)) } td { (shown(now)) } }
                    }
                }
            }
        }
    };
    page("Reconciliation", &about, &body)
}

/// A section of a report: a heading, words, and a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// Words under it.
    pub words: Vec<String>,
    /// The columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Returns a report of sections as a page.
pub fn sections(title: &str, about: &str, sections: &[Section]) -> String {
    let number = |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit());
    let body = html! {
        @for section in sections {
            h2 { (section.title) }
            @for words in &section.words { p { (words) } }
            @if !section.rows.is_empty() {
                table.sums {
                    thead { tr { @for column in &section.columns { th { (column) } } } }
                    tbody {
                        @for row in &section.rows {
                            tr { @for cell in row { td class=(if number(cell) { "number" } else { "" }) { (cell) } } }
                        }
                    }
                }
            }
        }
    };
    page(title, about, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Summary;

    #[test]
    fn a_page_shows_values_as_text_whatever_they_hold() {
        let evil = Json::String("<script>alert('x')</script>".into());
        let one = FieldDiff {
            field: "Name".into(),
            source: [("name".to_owned(), evil.clone())].into_iter().collect(),
            rule: None,
            decisions: vec!["cut & told".into()],
            intended: evil.clone(),
            now: Json::Null,
            class: Class::Error,
        };
        let record = RecordDiff {
            object: "Account".into(),
            id: "001".into(),
            source: "companies/1".into(),
            rule: "account".into(),
            there: true,
            fields: vec![one],
        };
        let summary = Summary { object: "Account".into(), records: 1, missing: 0, fields: [(Class::Error, 1)].into() };
        let all = Diff {
            run: 4,
            destination: "salesforce:00D".into(),
            approved_by: None,
            objects: vec![summary],
            records: vec![record],
            held: 0,
        };
        let page = diff(&all);
        assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("cut &amp; told") && page.contains("wrong"));
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched");
        assert!(!all.is_clean());
    }
}
