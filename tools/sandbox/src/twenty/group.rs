//! Records counted and summed by what they have in common.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use serde_json::{Value as Json, json};

use super::{
    condition::Condition,
    model::{Col, Field, Kind, Named, Part, capital, col},
    refusal::Refusal,
    rows::Row,
    scalar,
    uuid::Uuid,
    workspace::Workspace,
};

/// Rows with the same values.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) values: Vec<Json>,
    pub(crate) ids: Vec<Uuid>,
}

/// What a dimension looks at.
struct Dimension {
    hop: Option<(Col, u32)>,
    at: Col,
    granularity: Option<String>,
}

/// What can be computed of a column.
const MEASURES: [&str; 11] = [
    "countUniqueValues",
    "countNotEmpty",
    "countEmpty",
    "countTrue",
    "countFalse",
    "percentageNotEmpty",
    "percentageEmpty",
    "min",
    "max",
    "avg",
    "sum",
];

/// Returns the names of what can be computed of a field, and the column each looks at.
pub(crate) fn measures(field: &Field) -> Vec<(String, Col)> {
    let mut names = Vec::new();
    if field.is_list() || field.kind == Kind::TsVector {
        return names;
    }
    let title = if field.points().is_some() { capital(&field.join()) } else { capital(&field.name) };
    let first = col(field.number, 0);
    for measure in ["countUniqueValues", "countEmpty", "countNotEmpty", "percentageEmpty", "percentageNotEmpty"] {
        names.push((format!("{measure}{title}"), first));
    }
    match field.kind {
        Kind::Boolean => {
            names.push((format!("countTrue{title}"), first));
            names.push((format!("countFalse{title}"), first));
        }
        Kind::Number | Kind::Position => {
            names.extend(["min", "max", "avg", "sum"].map(|measure| (format!("{measure}{title}"), first)));
        }
        Kind::Date | Kind::DateTime => {
            names.extend(["min", "max"].map(|measure| (format!("{measure}{title}"), first)));
        }
        Kind::Currency => {
            names.extend(["min", "max", "avg", "sum"].map(|measure| (format!("{measure}{title}AmountMicros"), first)));
        }
        _ => {}
    }
    names
}

impl Workspace {
    /// Groups the live rows that meet a condition, by dimensions such as `[{"stage":true}]`.
    pub(crate) fn group(&self, object: u32, condition: &Condition, dimensions: &Json) -> Result<Vec<Group>, Refusal> {
        let mut wanted = Vec::new();
        for (name, how) in dimensions.as_array().into_iter().flatten().filter_map(Json::as_object).flatten() {
            wanted.push(self.dimension(object, name, how)?);
        }
        if wanted.is_empty() {
            return Err(Refusal::invalid("At least one group by dimension is required"));
        }
        let mut groups: BTreeMap<Vec<Option<String>>, Group> = BTreeMap::new();
        for (id, row) in self.scan(object, condition, false) {
            let values: Vec<Json> = wanted.iter().map(|dimension| self.value(dimension, row)).collect();
            let key = values.iter().map(|value| (!value.is_null()).then(|| value.to_string())).collect();
            let group = groups.entry(key).or_insert_with(|| Group { values, ids: Vec::new() });
            group.ids.push(id);
        }
        Ok(groups.into_values().collect())
    }

    fn dimension(&self, object: u32, name: &str, how: &Json) -> Result<Dimension, Refusal> {
        let unknown = || {
            let singular = &self.catalog.object(object).singular;
            Refusal::invalid(format!("Object {singular} doesn't have any \"{name}\" field."))
        };
        let (field, join) = match self.catalog.named(object, name).ok_or_else(unknown)? {
            Named::Field(field) => (field, false),
            Named::Join(field) => (field, true),
        };
        let at = col(field.number, 0);
        if let (Some((target, _)), false) = (field.points(), join) {
            let (inner, how) = how.as_object().and_then(|map| map.iter().next()).ok_or_else(unknown)?;
            let below = self.dimension(target, inner, how)?;
            return Ok(Dimension { hop: Some((at, target)), ..below });
        }
        if let Some(granularity) = how["granularity"].as_str() {
            return Ok(Dimension { hop: None, at, granularity: Some(granularity.to_owned()) });
        }
        let parts = field.kind.parts();
        if parts.is_empty() || join {
            return Ok(Dimension { hop: None, at, granularity: None });
        }
        let part = how.as_object().and_then(|map| map.keys().next());
        let place = part.and_then(|part| parts.iter().position(|(known, _)| known == part)).ok_or_else(unknown)?;
        let at = col(field.number, u32::try_from(place).unwrap_or(0));
        Ok(Dimension { hop: None, at, granularity: None })
    }

    fn value(&self, dimension: &Dimension, row: &Row) -> Json {
        let value = match dimension.hop {
            None => row.get(dimension.at),
            Some((join, target)) => row
                .text(join)
                .and_then(Uuid::parse)
                .and_then(|id| self.rows.get(target, id))
                .and_then(|row| row.get(dimension.at)),
        };
        let value = value.cloned().unwrap_or_default();
        let Some(granularity) = &dimension.granularity else {
            return if value.is_null() || value.is_string() { value } else { json!(value.to_string()) };
        };
        let day = value.as_str().and_then(|text| NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok());
        let Some(day) = day else { return Json::Null };
        let start = match granularity.as_str() {
            "YEAR" => NaiveDate::from_ymd_opt(day.year(), 1, 1),
            "QUARTER" => NaiveDate::from_ymd_opt(day.year(), (day.month0() / 3) * 3 + 1, 1),
            "MONTH" => NaiveDate::from_ymd_opt(day.year(), day.month(), 1),
            "WEEK" => Some(day - chrono::Days::new(u64::from(day.weekday().num_days_from_monday()))),
            _ => Some(day),
        };
        start.map_or(Json::Null, |day| json!(format!("{day}T00:00:00.000Z")))
    }

    /// Computes something of rows, such as `sumAmountAmountMicros`.
    pub(crate) fn aggregate(&self, object: u32, ids: &[Uuid], name: &str) -> Result<Json, Refusal> {
        if name == "totalCount" {
            return Ok(json!(ids.len()));
        }
        let found = self.catalog.fields_of(object).find_map(|field| {
            let (_, at) = measures(field).into_iter().find(|(known, _)| known == name)?;
            Some((field, at))
        });
        let (field, at) =
            found.ok_or_else(|| Refusal::invalid(format!("Aggregate operation \"{name}\" is not available")))?;
        let measure = MEASURES.iter().find(|measure| name.starts_with(**measure)).copied().unwrap_or_default();
        let cols =
            if measure.starts_with("count") || measure.starts_with("percentage") { field.cols() } else { vec![at] };
        let rows: Vec<&Row> = ids.iter().filter_map(|id| self.rows.get(object, *id)).collect();
        let filled: Vec<&&Row> = rows.iter().filter(|row| cols.iter().any(|at| row.get(*at).is_some())).collect();
        let numbers: Vec<f64> = rows.iter().filter_map(|row| row.get(at)?.as_f64()).collect();
        let texts = || rows.iter().filter_map(|row| row.text(at));
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
        let share = |count: usize| if rows.is_empty() { Json::Null } else { json!(count as f64 / rows.len() as f64) };
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are small")]
        let mean = |sum: f64| if numbers.is_empty() { Json::Null } else { scalar::double(sum / numbers.len() as f64) };
        let numeric = matches!(field.kind, Kind::Number | Kind::Position | Kind::Currency)
            || matches!(field.kind.parts().first(), Some((_, Part::Micros)));
        Ok(match measure {
            "countUniqueValues" => {
                let mut values: Vec<String> =
                    rows.iter().map(|row| cols.iter().map(|at| format!("{:?}", row.get(*at))).collect()).collect();
                values.sort();
                values.dedup();
                json!(values.len())
            }
            "countNotEmpty" => json!(filled.len()),
            "countEmpty" => json!(rows.len() - filled.len()),
            "countTrue" | "countFalse" => {
                json!(rows.iter().filter(|row| row.get(at) == Some(&json!(measure == "countTrue"))).count())
            }
            "percentageNotEmpty" => share(filled.len()),
            "percentageEmpty" => share(rows.len() - filled.len()),
            "min" if numeric => numbers.iter().copied().reduce(f64::min).map_or(Json::Null, scalar::double),
            "max" if numeric => numbers.iter().copied().reduce(f64::max).map_or(Json::Null, scalar::double),
            "min" => texts().min().map_or(Json::Null, |text| json!(text)),
            "max" => texts().max().map_or(Json::Null, |text| json!(text)),
            "avg" => mean(numbers.iter().sum()),
            _ => scalar::double(numbers.iter().sum()),
        })
    }
}
