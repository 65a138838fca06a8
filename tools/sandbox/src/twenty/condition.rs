//! Conditions on rows: read from a filter, checked against the metadata, and decided as SQL decides them, with a third answer
//! where something is nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::{
    composite::Cells,
    model::{Catalog, Col, Field, Kind, Named, Part, col, field_of},
    refusal::Refusal,
    rows::{Row, Rows},
    scalar,
    uuid::Uuid,
};

/// A filter, ready to be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    clause: Option<Clause>,
    /// Whether it speaks of `deletedAt`; then the trash is looked at as well.
    pub(crate) sees_trash: bool,
}

#[derive(Debug, Clone)]
enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    Test(Test),
}

#[derive(Debug, Clone)]
struct Test {
    /// The relation to go through first: its column and the object it leads to.
    hop: Option<(Col, u32)>,
    at: Col,
    kind: Kind,
    op: Op,
}

#[derive(Debug, Clone)]
enum Op {
    Eq(Json),
    Neq(Json),
    In(Vec<Json>),
    ContainsAny(Vec<Json>),
    Null(bool),
    Order(&'static str, Json),
    Like(String, bool),
    Starts(String),
    Ends(String),
    ContainsIlike(String),
    EmptyArray,
}

/// What a filter is compiled with.
pub(crate) struct Compiler<'a> {
    pub(crate) catalog: &'a Catalog,
    /// The schema of the database, which messages tell.
    pub(crate) schema: String,
    /// Whether all values are texts, as those of an address line are.
    pub(crate) loose: bool,
}

const TEXT: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "in", "is", "like", "ilike", "startsWith", "endsWith"];
const ORDERED: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "in", "is"];

/// Returns the operators of a type.
pub(crate) fn operators(kind: Kind, part: Option<Part>) -> &'static [&'static str] {
    match (kind, part) {
        (Kind::RichText, Some(_)) => &["ilike"],
        (_, Some(Part::List | Part::Json)) | (Kind::RawJson | Kind::Files, None) => &["is", "like"],
        (_, Some(Part::Text | Part::Id)) | (Kind::Text, None) => TEXT,
        (Kind::Boolean, None) => &["eq", "is"],
        (Kind::Select | Kind::Rating, None) => &["eq", "neq", "gt", "gte", "lt", "lte", "in", "containsAny", "is"],
        (Kind::MultiSelect, None) => &["containsAny", "is", "isEmptyArray"],
        (Kind::Array, None) => &["is", "containsIlike", "isEmptyArray"],
        (Kind::TsVector, None) => &[],
        _ => ORDERED,
    }
}

impl Compiler<'_> {
    /// Reads a filter such as `{"and":[{"name":{"ilike":"%o%"}}]}`.
    pub(crate) fn compile(&self, object: u32, filter: &Json) -> Result<Condition, Refusal> {
        let mut condition = Condition::default();
        if let Some(map) = filter.as_object().filter(|map| !map.is_empty()) {
            condition.clause = Some(self.all(object, map, None, &mut condition.sees_trash)?);
        }
        Ok(condition)
    }

    fn all(
        &self,
        object: u32,
        map: &Map<String, Json>,
        hop: Option<(Col, u32)>,
        trash: &mut bool,
    ) -> Result<Clause, Refusal> {
        let mut clauses = Vec::new();
        for (key, value) in map {
            match key.as_str() {
                "and" | "or" => {
                    let one = std::slice::from_ref(value);
                    let items = value.as_array().map_or(one, Vec::as_slice);
                    let mut list = Vec::new();
                    for item in items.iter().filter_map(Json::as_object) {
                        list.push(self.all(object, item, hop, trash)?);
                    }
                    clauses.push(if key == "and" { Clause::All(list) } else { Clause::Any(list) });
                }
                "not" => {
                    if let Some(item) = value.as_object() {
                        clauses.push(Clause::Not(Box::new(self.all(object, item, hop, trash)?)));
                    }
                }
                _ => self.field(object, key, value, hop, trash, &mut clauses)?,
            }
        }
        Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::All(clauses) })
    }

    fn field(
        &self,
        object: u32,
        key: &str,
        value: &Json,
        hop: Option<(Col, u32)>,
        trash: &mut bool,
        clauses: &mut Vec<Clause>,
    ) -> Result<(), Refusal> {
        let unknown = || {
            let singular = &self.catalog.object(object).singular;
            Refusal::invalid(format!("Object {singular} doesn't have any \"{key}\" field."))
        };
        let named = self.catalog.named(object, key).ok_or_else(unknown)?;
        *trash |= key == "deletedAt" && hop.is_none();
        let Some(tests) = value.as_object() else { return Ok(()) };
        let (field, join) = match named {
            Named::Field(field) => (field, false),
            Named::Join(field) => (field, true),
        };
        if let (Some((target, _)), false) = (field.points(), join) {
            if hop.is_some() {
                return Err(unknown());
            }
            clauses.push(self.all(target, tests, Some((col(field.number, 0), target)), trash)?);
            return Ok(());
        }
        if field.is_list() {
            return Err(unknown());
        }
        let parts = field.kind.parts();
        if parts.is_empty() {
            let kind = if join { Kind::Uuid } else { field.kind };
            for (operator, operand) in tests {
                let at = col(field.number, 0);
                let op = self.op(field, key, kind, None, operator, operand)?;
                clauses.push(Clause::Test(Test { hop, at, kind, op }));
            }
            return Ok(());
        }
        for (part, tests) in tests {
            let at = parts.iter().position(|(known, _)| known == part).ok_or_else(|| {
                let kind = field.kind.name();
                Refusal::invalid(format!("Sub field \"{part}\" not found for composite type: {kind}"))
            })?;
            let number = u32::try_from(at).unwrap_or(0);
            for (operator, operand) in tests.as_object().into_iter().flatten() {
                let name = format!("{key}.{part}");
                let op = self.op(field, &name, field.kind, Some(parts[at].1), operator, operand)?;
                let kind = if matches!(parts[at].1, Part::Number | Part::Micros) { Kind::Number } else { Kind::Text };
                clauses.push(Clause::Test(Test { hop, at: col(field.number, number), kind, op }));
            }
        }
        Ok(())
    }

    fn op(
        &self,
        field: &Field,
        name: &str,
        kind: Kind,
        part: Option<Part>,
        operator: &str,
        operand: &Json,
    ) -> Result<Op, Refusal> {
        let allowed = operators(kind, part);
        if !allowed.contains(&operator) {
            return Err(Refusal::invalid(format!(
                "Operator \"{operator}\" is not valid for field \"{name}\" of type {} - Allowed operators: {}",
                kind.name(),
                allowed.join(", ")
            )));
        }
        let value = |operand: &Json| self.value(field, name, kind, part, operand);
        let text = || operand.as_str().map_or_else(|| operand.to_string(), str::to_owned);
        let list = || match operand {
            Json::Array(list) => list.iter().map(value).collect::<Result<Vec<Json>, Refusal>>(),
            other => Ok(vec![value(other)?]),
        };
        Ok(match operator {
            "is" => match operand.as_str() {
                Some("NULL") => Op::Null(true),
                Some("NOT_NULL") => Op::Null(false),
                _ => {
                    return Err(Refusal::invalid(
                        "Invalid filter value for \"is\" operator. Expected \"NULL\" or \"NOT_NULL\"",
                    ));
                }
            },
            "eq" | "neq" if operand.is_null() || operand == "" && allowed == TEXT => Op::Null(operator == "eq"),
            "eq" => Op::Eq(value(operand)?),
            "neq" => Op::Neq(value(operand)?),
            "in" => Op::In(list()?),
            "containsAny" => Op::ContainsAny(list()?),
            "gt" => Op::Order("gt", value(operand)?),
            "gte" => Op::Order("gte", value(operand)?),
            "lt" => Op::Order("lt", value(operand)?),
            "lte" => Op::Order("lte", value(operand)?),
            "like" => Op::Like(text(), false),
            "ilike" => Op::Like(text().to_lowercase(), true),
            "startsWith" => Op::Starts(text()),
            "endsWith" => Op::Ends(text()),
            "containsIlike" => Op::ContainsIlike(text().to_lowercase()),
            _ => Op::EmptyArray,
        })
    }

    fn value(
        &self,
        field: &Field,
        name: &str,
        kind: Kind,
        part: Option<Part>,
        operand: &Json,
    ) -> Result<Json, Refusal> {
        let parsed = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(scalar::double);
        match (kind, part) {
            (_, Some(Part::Number | Part::Micros)) | (Kind::Number | Kind::Position, None) => match operand {
                Json::String(text) if self.loose => match parsed(text) {
                    Some(number) => Ok(number),
                    None => scalar::number(name, operand),
                },
                other => scalar::number(name, other),
            },
            (_, Some(_)) | (Kind::Text, None) => match operand {
                Json::String(_) => Ok(operand.clone()),
                other => Ok(scalar::text(name, other)?.unwrap_or_else(|| json!(""))),
            },
            (Kind::Date, None) => scalar::date(name, operand),
            (Kind::DateTime, None) => scalar::date_time(name, operand),
            (Kind::Uuid, None) => scalar::uuid(name, operand),
            (Kind::Boolean, None) => match operand {
                Json::String(text) if self.loose && (text == "true" || text == "false") => Ok(json!(text == "true")),
                other => Ok(scalar::read(field, other)?.unwrap_or_default()),
            },
            (Kind::Select | Kind::Rating | Kind::MultiSelect, None) => {
                let text = operand.as_str().map_or_else(|| operand.to_string(), str::to_owned);
                if field.choice(&text).is_some() {
                    return Ok(json!(text));
                }
                let table = self.catalog.object(field.object).table();
                Err(Refusal::database(format!(
                    "invalid input value for enum {}.{table}_{}_enum: \"{text}\"",
                    self.schema, field.name
                )))
            }
            _ => Ok(operand.clone()),
        }
    }
}

impl Condition {
    /// Returns whether there is no condition at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.clause.is_none()
    }

    /// Makes the condition that a row holds certain values; used where the server looks for rows on its own.
    pub(crate) fn holds(cells: &Cells) -> Self {
        let tests = cells.iter().map(|(at, value)| {
            let op = value.clone().map_or(Op::Null(true), Op::Eq);
            Clause::Test(Test { hop: None, at: *at, kind: Kind::Text, op })
        });
        Self { clause: Some(Clause::All(tests.collect())), sees_trash: false }
    }

    /// Joins conditions with "or"; none make one that nothing meets.
    pub(crate) fn any(conditions: Vec<Self>) -> Self {
        let clauses = conditions.into_iter().filter_map(|condition| condition.clause).collect();
        Self { clause: Some(Clause::Any(clauses)), sees_trash: false }
    }

    /// Returns whether a row meets it.
    pub(crate) fn meets(&self, catalog: &Catalog, rows: &Rows, row: &Row) -> bool {
        self.clause.as_ref().is_none_or(|clause| clause.decide(catalog, rows, row) == Some(true))
    }

    /// Returns the only rows that can meet it, if an index tells.
    pub(crate) fn narrow(&self, catalog: &Catalog, rows: &Rows, object: u32) -> Option<BTreeSet<Uuid>> {
        self.clause.as_ref()?.narrow(catalog, rows, object)
    }
}

impl Clause {
    fn decide(&self, catalog: &Catalog, rows: &Rows, row: &Row) -> Option<bool> {
        match self {
            Self::All(list) => {
                let mut whole = Some(true);
                for clause in list {
                    match clause.decide(catalog, rows, row) {
                        Some(false) => return Some(false),
                        None => whole = None,
                        Some(true) => {}
                    }
                }
                whole
            }
            Self::Any(list) => {
                let mut whole = Some(false);
                for clause in list {
                    match clause.decide(catalog, rows, row) {
                        Some(true) => return Some(true),
                        None => whole = None,
                        Some(false) => {}
                    }
                }
                whole
            }
            Self::Not(clause) => clause.decide(catalog, rows, row).map(|met| !met),
            Self::Test(test) => {
                let value = match test.hop {
                    None => row.get(test.at),
                    Some((join, target)) => row
                        .text(join)
                        .and_then(Uuid::parse)
                        .and_then(|id| rows.get(target, id))
                        .and_then(|row| row.get(test.at)),
                };
                test.decide(catalog, value)
            }
        }
    }

    fn narrow(&self, catalog: &Catalog, rows: &Rows, object: u32) -> Option<BTreeSet<Uuid>> {
        match self {
            Self::All(list) => list.iter().find_map(|clause| clause.narrow(catalog, rows, object)),
            Self::Any(list) => {
                let mut whole = BTreeSet::new();
                for clause in list {
                    whole.extend(clause.narrow(catalog, rows, object)?);
                }
                Some(whole)
            }
            Self::Not(_) => None,
            Self::Test(test) if test.hop.is_some() => None,
            Self::Test(test) => {
                let values = match &test.op {
                    Op::Eq(value) => std::slice::from_ref(value),
                    Op::In(values) => values.as_slice(),
                    _ => return None,
                };
                let field = catalog.fields.get(&field_of(test.at))?;
                let table = rows.table(object);
                let texts = values.iter().filter_map(Json::as_str);
                if field.object == object && field.name == "id" {
                    return Some(texts.filter_map(Uuid::parse).collect());
                }
                if field.points().is_some() {
                    let parents = texts.filter_map(Uuid::parse);
                    return Some(parents.flat_map(|parent| table.children(test.at, parent)).collect());
                }
                if field.unique
                    && field.key_cols() == [test.at]
                    && matches!(field.kind, Kind::Text | Kind::Emails | Kind::Links)
                {
                    return Some(texts.filter_map(|text| table.holder(field.number, text)).collect());
                }
                None
            }
        }
    }
}

impl Test {
    fn decide(&self, catalog: &Catalog, value: Option<&Json>) -> Option<bool> {
        if let Op::Null(null) = self.op {
            return Some(value.is_none() == null);
        }
        if matches!(self.op, Op::EmptyArray) {
            return Some(value.is_none());
        }
        let value = value?;
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let same = |other: &Json| compare(catalog, self.at, self.kind, value, other).is_eq();
        Some(match &self.op {
            Op::Eq(other) => same(other),
            Op::Neq(other) => !same(other),
            Op::In(list) => list.iter().any(same),
            Op::ContainsAny(wanted) => match value {
                Json::Array(list) => list.iter().any(|item| wanted.contains(item)),
                other => wanted.contains(other),
            },
            Op::Order(word, other) => {
                let order = compare(catalog, self.at, self.kind, value, other);
                match *word {
                    "gt" => order.is_gt(),
                    "gte" => order.is_ge(),
                    "lt" => order.is_lt(),
                    _ => order.is_le(),
                }
            }
            Op::Like(pattern, false) => like(&text(), pattern),
            Op::Like(pattern, true) => like(&text().to_lowercase(), pattern),
            Op::Starts(start) => text().starts_with(start.as_str()),
            Op::Ends(end) => text().ends_with(end.as_str()),
            Op::ContainsIlike(pattern) => value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .any(|item| like(&item.to_lowercase(), pattern)),
            Op::Null(_) | Op::EmptyArray => false,
        })
    }
}

/// Compares two values of a column: options by their order, texts as the database's collation does.
pub(crate) fn compare(catalog: &Catalog, at: Col, kind: Kind, one: &Json, other: &Json) -> std::cmp::Ordering {
    match kind {
        Kind::Select | Kind::Rating => {
            let place = |value: &Json| {
                let field = catalog.fields.get(&field_of(at))?;
                field.options.iter().position(|choice| Some(choice.value.as_str()) == value.as_str())
            };
            place(one).cmp(&place(other))
        }
        Kind::Text => {
            let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            collate(&text(one), &text(other))
        }
        _ => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => match (one.as_str(), other.as_str()) {
                (Some(one), Some(other)) => one.cmp(other),
                _ => one.to_string().cmp(&other.to_string()),
            },
        },
    }
}

/// Orders texts as a language's collation does: letters before case, small before large.
fn collate(one: &str, other: &str) -> std::cmp::Ordering {
    let folded = one.to_lowercase().cmp(&other.to_lowercase());
    folded.then_with(|| other.cmp(one))
}

/// Returns whether a text is like a pattern of SQL, in which `%` is anything and `_` one letter.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut want) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        let escaped = pattern.get(want) == Some(&'\\') && want + 1 < pattern.len();
        let letter = if escaped { pattern.get(want + 1) } else { pattern.get(want) };
        if !escaped && letter == Some(&'%') {
            star = Some((at, want));
            want += 1;
        } else if letter == Some(&text[at]) || !escaped && letter == Some(&'_') {
            at += 1;
            want += if escaped { 2 } else { 1 };
        } else if let Some((from, back)) = star {
            star = Some((from + 1, back));
            (at, want) = (from + 1, back + 1);
        } else {
            return false;
        }
    }
    pattern[want..].iter().all(|letter| *letter == '%')
}

#[cfg(test)]
mod tests {
    use super::{collate, like};

    #[test]
    fn patterns_are_those_of_sql() {
        for (text, pattern, expected) in [
            ("notion", "%o%", true),
            ("notion", "n_tion", true),
            ("notion", "n%n", true),
            ("notion", "o%", false),
            ("50%", "50\\%", true),
            ("501", "50\\%", false),
            ("", "%", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} like {pattern}");
        }
    }

    #[test]
    fn case_matters_last() {
        let mut words = vec!["b", "B", "a", "A", "ab"];
        words.sort_by(|one, other| collate(one, other));
        assert_eq!(words, ["a", "A", "ab", "b", "B"]);
    }
}
