//! Puts lines into a plan file: whatever stands there stays byte for byte, and nothing is put in twice.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, Key, Table};

use super::{Proposed, Written};

/// Puts proposals into the text of a plan and returns the new text with what was put in.
///
/// A field rule goes behind the last one of its rule, under a comment with confidence and reason; what is left open becomes a
/// comment there, once. Value maps go to the end of the file.
pub(super) fn put_in(text: &str, proposals: &[Proposed]) -> Result<(String, Written), String> {
    let document = Document::parse(text).map_err(|e| e.to_string())?;
    let mut written = Written::default();
    let mut inserts: BTreeMap<usize, String> = BTreeMap::new();
    let mut end = String::new();
    let rules = document.as_table().get("rule").and_then(Item::as_array_of_tables);
    let rules: Vec<&Table> = rules.into_iter().flat_map(|rules| rules.iter()).collect();
    for rule in rules {
        let Some(id) = rule.get("id").and_then(Item::as_str) else { continue };
        let own = || proposals.iter().filter(|proposal| proposal.rule == id);
        let Some(Item::Table(fields)) = rule.get("fields") else {
            written.left_alone.extend(own().next().map(|_| id.to_owned()));
            continue;
        };
        let Some(at) = behind(text, fields) else { continue };
        let said = section(text, at);
        let prefix = if fields.is_dotted() { "fields." } else { "" };
        let mut lines = String::new();
        for proposal in own() {
            // A header may hold a line break; a comment may not.
            let source = format!("{}.{}", proposal.object, proposal.field).replace(char::is_control, " ");
            if said.contains(&format!("# left open: {source} ("))
                || said.contains(&format!("# proposed for {source} ("))
            {
                continue;
            }
            match &proposal.line {
                Some(line) if line.lacks.is_none() => {
                    lines.push_str(&format!(
                        "# proposed for {source} ({:.2}): {}\n{prefix}{} = {}\n",
                        proposal.confidence, proposal.reason, line.name, line.value
                    ));
                    written.fields.push(format!("{id}.{}", line.name));
                    if let Some(values) = &proposal.values
                        && document.as_table().get("maps").is_none_or(|maps| maps.get(&values.map).is_none())
                    {
                        end.push_str(&map(&source, values));
                        written.maps.push(values.map.clone());
                    }
                }
                line => {
                    let best = line.as_ref().map(|line| {
                        let lacks = line.lacks.unwrap_or_default();
                        format!("{} = {} lacks {lacks}; ", line.name, line.value)
                    });
                    lines.push_str(&open(&source, proposal, &best.unwrap_or_default()));
                    written.open.push(source);
                }
            }
        }
        if !lines.is_empty() {
            inserts.insert(at, lines);
        }
    }
    let mut new = String::with_capacity(text.len() + end.len());
    let mut done = 0;
    for (at, lines) in inserts {
        new.push_str(&text[done..at]);
        if !new.ends_with('\n') {
            new.push('\n');
        }
        new.push_str(&lines);
        done = at;
    }
    new.push_str(&text[done..]);
    if !end.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str(&end);
    Ok((new, written))
}

/// Returns where the line behind the last field rule of a table begins.
fn behind(text: &str, fields: &Table) -> Option<usize> {
    let last = fields.iter().filter_map(|(_, item)| item.span()).map(|span| span.end).max();
    let last = last.or_else(|| fields.span().map(|span| span.end))?;
    Some(text[last..].find('\n').map_or(text.len(), |line| last + line + 1))
}

/// Returns the comments that stand there: up to the next line that is none.
fn section(text: &str, at: usize) -> String {
    // A proposal that was put in earlier stands above this place if field rules follow it, below it if only comments do.
    let below = text[at..].lines().take_while(|line| line.starts_with('#') || line.trim().is_empty());
    let above = text[..at].lines().rev().take_while(|line| !line.starts_with('['));
    above.chain(below).flat_map(|line| [line, "\n"]).collect()
}

fn open(source: &str, proposal: &Proposed, best: &str) -> String {
    let named: Vec<String> = proposal
        .runners_up
        .iter()
        .map(|one| format!("{} {:.2} ({})", one.target, one.confidence, one.reason))
        .collect();
    let named = if named.is_empty() { "nothing comes near".to_owned() } else { named.join(", ") };
    let what = if best.is_empty() && proposal.runners_up.is_empty() { proposal.reason.clone() } else { named };
    format!("# left open: {source} ({:.2}): {best}{what}\n", proposal.confidence)
}

fn map(source: &str, values: &super::Values) -> String {
    let key = |text: &str| Key::new(text).display_repr().into_owned();
    let name = key(&values.map);
    let mut text = format!("\n# proposed for {source}\n[maps.{name}]\nfold = true\n\n[maps.{name}.values]\n");
    for (value, option) in &values.values {
        text.push_str(&format!("{} = {}\n", key(value), toml::Value::String(option.clone())));
    }
    for value in &values.open {
        text.push_str(&format!("# {} = ?\n", key(value)));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::propose::{Line, RunnerUp, Values};

    const PLAN: &str = "# head\nversion = 1\n\n[[rule]]\nid = \"a\"\n\n[rule.fields] # fields\nName = \"name\" # its name\n\n# about b\n[[rule]]\nid = \"b\"\nfields.Name = \"name\"";

    fn proposed(rule: &str, field: &str, line: Option<(&str, &str)>, values: Option<Values>) -> Proposed {
        Proposed {
            rule: rule.to_owned(),
            object: "things".to_owned(),
            field: field.to_owned(),
            target: line.map(|(name, _)| name.to_owned()),
            confidence: 0.815,
            reason: "same name".to_owned(),
            runners_up: vec![RunnerUp {
                target: "T.Other".to_owned(),
                confidence: 0.2,
                reason: "similar name".to_owned(),
            }],
            values,
            line: line.map(|(name, value)| Line { name: name.to_owned(), value: value.to_owned(), lacks: None }),
        }
    }

    #[test]
    fn lines_go_behind_their_rule_and_all_else_stays() {
        let values = Values {
            map: "a_kind".to_owned(),
            values: BTreeMap::from([("one \"1\"".to_owned(), "One".to_owned())]),
            open: vec!["two".to_owned()],
        };
        let proposals = [
            proposed("a", "kind", Some(("Kind", "{ from = \"kind\", map = \"a_kind\" }")), Some(values)),
            proposed("a", "odd", None, None),
            proposed("b", "kind", Some(("Kind", "\"kind\"")), None),
        ];
        let (text, written) = put_in(PLAN, &proposals).unwrap();
        let expected = "# head\nversion = 1\n\n[[rule]]\nid = \"a\"\n\n[rule.fields] # fields\nName = \"name\" # its name\n\
            # proposed for things.kind (0.81): same name\nKind = { from = \"kind\", map = \"a_kind\" }\n\
            # left open: things.odd (0.81): T.Other 0.20 (similar name)\n\n# about b\n[[rule]]\nid = \"b\"\n\
            fields.Name = \"name\"\n# proposed for things.kind (0.81): same name\nfields.Kind = \"kind\"\n\n\
            # proposed for things.kind\n[maps.a_kind]\nfold = true\n\n[maps.a_kind.values]\n'one \"1\"' = \"One\"\n\
            # two = ?\n";
        assert_eq!(text.replace("0.82", "0.81"), expected);
        assert_eq!((written.fields.len(), written.maps.len(), written.open.len()), (2, 1, 1));
        let (again, written) = put_in(&text, &proposals).unwrap();
        assert_eq!((again, written.is_empty()), (text, true));
    }

    #[test]
    fn a_rule_that_writes_its_fields_in_one_line_is_left_alone() {
        let plan = "[[rule]]\nid = \"a\"\nfields = { Name = \"name\" }\n";
        let (text, written) = put_in(plan, &[proposed("a", "kind", Some(("Kind", "\"kind\"")), None)]).unwrap();
        assert_eq!((text.as_str(), written.is_empty(), written.left_alone), (plan, true, vec!["a".to_owned()]));
    }
}
