//! Holds a plan against both schemas, before anything is written.

use std::collections::BTreeSet;

use waybill_ledger::{FieldKind, Schema};

use super::plan::Plan;

/// Something about a plan that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule, object or field it is about.
    pub at: String,
    /// What it is.
    pub what: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Nothing may be written.
    Blocks,
}

/// Holds a plan against the source and the destination as it will be after the plan's own schema step. `may_have` says
/// whether an export of this shape may have an object or a field: if this one lacks it, that is no mistake of the plan.
pub fn check(
    plan: &Plan,
    source: &Schema,
    destination: &Schema,
    may_have: &dyn Fn(&str, Option<&str>) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (object, fields) in plan.source_fields() {
        let mut lacks = |field: Option<&str>, at: String, what: String| {
            let severity = if may_have(&object, field) { Severity::Note } else { Severity::Blocks };
            let taken = if severity == Severity::Note { ": taken as empty" } else { "" };
            findings.push(Finding { severity, at, what: format!("{what}{taken}") });
        };
        let Some(known) = source.object(&object) else {
            lacks(None, object.clone(), format!("the export has no object `{object}`"));
            continue;
        };
        for field in fields {
            if !known.fields.iter().any(|known| known.name.as_str() == field) {
                let what = format!("`{object}` of the export has no field `{field}`");
                lacks(Some(&field), format!("{object}.{field}"), what);
            }
        }
    }
    let mut blocks = |at: String, what: String| findings.push(Finding { severity: Severity::Blocks, at, what });
    for (object, fields) in plan.destination_fields() {
        let Some(known) = destination.object(object.as_str()) else {
            blocks(object.to_string(), format!("the destination has no object `{object}`, or our user may not see it"));
            continue;
        };
        if !known.createable {
            blocks(object.to_string(), format!("our user may not create records of `{object}`"));
        }
        for field in fields {
            let at = format!("{object}.{field}");
            match known.field(field.as_str()) {
                None => blocks(
                    at,
                    format!("`{object}` of the destination has no field `{field}`, or our user may not see it"),
                ),
                Some(known) if !known.createable => {
                    blocks(at, format!("our user may not set `{field}` when a record is created"));
                }
                Some(known) if field == plan.key_field() && !(known.unique && known.external_id) => {
                    blocks(at, format!("`{field}` carries Waybill's key and must be unique and an external id"));
                }
                Some(_) => {}
            }
        }
    }
    for rule in plan.rules() {
        let Some(known) = destination.object(rule.to.as_str()) else { continue };
        let set: BTreeSet<String> = rule.fields.keys().map(|name| name.as_str().to_ascii_lowercase()).collect();
        for field in &known.fields {
            if field.required && field.createable && !set.contains(&field.name.as_str().to_ascii_lowercase()) {
                blocks(
                    rule.id.to_string(),
                    format!("`{}` needs `{}`, and the rule does not set it", rule.to, field.name),
                );
            }
        }
        for name in &rule.matching {
            let field = known.fields.iter().find(|field| field.name == *name);
            if !field.is_some_and(|field| super::matching::tells_apart(&field.kind)) {
                blocks(
                    rule.id.to_string(),
                    format!(
                        "`{}.{name}` is no short text of the destination, so rows cannot be matched by it",
                        rule.to
                    ),
                );
            }
        }
        for (name, field) in &rule.fields {
            if let Some(instead) = &field.instead {
                let sets = |name: &str| known.field(name).is_some_and(|field| field.createable);
                if !sets(name.as_str()) && !sets(instead.as_str()) {
                    let what = format!("our user may set neither `{name}` nor `{instead}`");
                    blocks(format!("{}.{name}", rule.id), what);
                }
            }
            let Some(known) = known.field(name.as_str()) else {
                if field.if_allowed {
                    blocks(
                        format!("{}.{name}", rule.id),
                        format!("`{}` of the destination has no field `{name}`", rule.to),
                    );
                }
                continue;
            };
            if field.file && !matches!(known.kind, FieldKind::Binary) {
                blocks(format!("{}.{name}", rule.id), format!("`{name}` holds no file"));
            }
            let reference = matches!(known.kind, FieldKind::Reference { .. });
            let points = field.lookup.is_some() || field.owner || field.variant || field.seed.is_some();
            if points && !reference {
                blocks(
                    format!("{}.{name}", rule.id),
                    format!("`{name}` is not a reference, so nothing can be looked up for it"),
                );
            }
            let FieldKind::Reference { to } = &known.kind else { continue };
            for object in field.objects() {
                let others = plan.rules().iter().filter(|other| other.from == object);
                let others = others.filter(|other| field.rule.as_ref().is_none_or(|rule| *rule == other.id));
                if !others.into_iter().any(|other| to.contains(&other.to)) {
                    let to = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    blocks(
                        format!("{}.{name}", rule.id),
                        format!("`{name}` points to {to}, but records of `{object}` land elsewhere"),
                    );
                }
            }
        }
    }
    if let Some(owners) = &plan.owners
        && !plan.rules().iter().any(|rule| rule.fields.values().any(|field| field.owner))
    {
        let what = "the plan resolves owners, but no rule uses them".to_owned();
        findings.push(Finding { severity: Severity::Note, at: owners.object.clone(), what });
    }
    findings
}

/// Returns the source fields of the objects that rules read which no rule uses: nothing is dropped silently.
pub fn unmapped(plan: &Plan, source: &Schema) -> Vec<String> {
    let used = plan.source_fields();
    let mut left = Vec::new();
    for object in &source.objects {
        match used.get(object.name.as_str()) {
            None => left.push(format!("{} (the whole object)", object.name)),
            Some(fields) if plan.rules().iter().any(|rule| rule.from == object.name.as_str()) => {
                let unused = object.fields.iter().filter(|field| !fields.contains(field.name.as_str()));
                left.extend(unused.map(|field| format!("{}.{}", object.name, field.name)));
            }
            Some(_) => {}
        }
    }
    left
}
