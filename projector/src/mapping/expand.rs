//! What recurs becomes one record for each occurrence.
//!
//! Recurrence is that of RFC 5545: a rule, counted in the zone of the series, without its exceptions. An occurrence that was
//! moved is a record of its own and takes the place of the one that the rule makes.

use chrono::{DateTime, Months, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rrule::{Frequency, RRule, RRuleSet, Unvalidated};
use serde::{Deserialize, Serialize};
use waybill_ledger::{Record, RuleId, Value};

use super::convert::is_blank;

/// The most occurrences of one series.
const MOST: u16 = 20_000;

/// Which fields say how something recurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    /// The field with the first start.
    pub starts: String,
    /// The field with the first end.
    pub ends: String,
    /// The field that says whether it takes whole days.
    pub all_day: String,
    /// The field with the RFC 5545 rule.
    pub rule: String,
    /// The field with the starts that are left out.
    pub except: String,
    /// The field by which a moved occurrence names its series.
    pub series: String,
    /// The field with the start that a moved occurrence had in its series.
    pub original: String,
    /// The field with the zone.
    pub zone: String,
    /// How many months after the export an endless series is carried.
    #[serde(default = "twelve")]
    pub horizon_months: u32,
    /// The most days that one occurrence may take.
    #[serde(default = "fourteen")]
    pub most_days: u32,
}

fn twelve() -> u32 {
    12
}

fn fourteen() -> u32 {
    14
}

impl Expand {
    /// Returns the source fields that it reads.
    pub(super) fn fields(&self) -> impl Iterator<Item = String> {
        let fields = [&self.starts, &self.ends, &self.all_day, &self.rule, &self.except, &self.series];
        fields.into_iter().chain([&self.original, &self.zone]).cloned()
    }

    pub(super) fn contradictions(&self, rule: &RuleId, wrong: &mut Vec<String>) {
        if self.horizon_months == 0 || self.horizon_months > 120 {
            wrong.push(format!("{rule}: `horizon_months` is 1 to 120"));
        }
        if self.most_days == 0 {
            wrong.push(format!("{rule}: `most_days` is at least 1"));
        }
    }

    /// Returns the occurrences of a record, each as a record of its own with the number of its place in the series.
    ///
    /// `moved` are the starts that moved occurrences had; `exported` is when the source was read, `zone` the one that counts
    /// where the record names none.
    pub fn occurrences(
        &self,
        record: &Record,
        moved: &[DateTime<Utc>],
        exported: Option<DateTime<Utc>>,
        zone: Tz,
    ) -> Result<Vec<(u16, Record)>, String> {
        let zone = match text(record, &self.zone) {
            None => zone,
            Some(name) => name.parse().map_err(|_| format!("`{name}` is no zone that is known"))?,
        };
        let start = moment(record, &self.starts, zone)?;
        let end = moment(record, &self.ends, zone)?;
        if let (Some(start), Some(end)) = (start, end) {
            if end < start {
                return Err("it ends before it starts".to_owned());
            }
            if end - start > TimeDelta::days(i64::from(self.most_days)) {
                return Err(format!("it takes more than {} days", self.most_days));
            }
        }
        let (Some(rule), Some(first)) = (text(record, &self.rule), start) else {
            return Ok(vec![(0, self.at(record, start, end, zone))]);
        };
        let length = end.map(|end| end - first);
        let mut left_out: Vec<DateTime<Utc>> = moved.to_vec();
        left_out.extend(self.exceptions(record, zone)?);
        let starts = starts(&rule, first, zone, |unbounded| self.horizon(unbounded, exported))?;
        let kept = starts.into_iter().zip(0_u16..).filter(|(start, _)| !left_out.contains(start));
        Ok(kept.map(|(start, part)| (part, self.at(record, Some(start), length.map(|l| start + l), zone))).collect())
    }

    /// Returns the start that a moved occurrence had in its series.
    pub fn original_start(&self, record: &Record, zone: Tz) -> Option<DateTime<Utc>> {
        let zone = text(record, &self.zone).and_then(|name| name.parse().ok()).unwrap_or(zone);
        moment(record, &self.original, zone).ok().flatten()
    }

    /// Returns where an endless series ends.
    fn horizon(&self, unbounded: bool, exported: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, String> {
        if !unbounded {
            return Ok(None);
        }
        let from = exported.ok_or("it recurs without end, and the export does not say when it was made")?;
        Ok(from.checked_add_months(Months::new(self.horizon_months)))
    }

    fn exceptions(&self, record: &Record, zone: Tz) -> Result<Vec<DateTime<Utc>>, String> {
        let items: Vec<Value> = match record.fields.value(&self.except) {
            None => Vec::new(),
            Some(Value::List(items)) => items.clone(),
            Some(Value::Text(text)) => text.split(';').map(|item| Value::Text(item.to_owned())).collect(),
            Some(other) => vec![other.clone()],
        };
        let blank = |value: &Value| value.to_string().trim().is_empty();
        items.iter().filter(|item| !blank(item)).map(|item| read(item, &self.except, zone)).collect()
    }

    /// Returns the record as it is at one occurrence.
    fn at(&self, record: &Record, start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, zone: Tz) -> Record {
        let mut record = record.clone();
        let whole_days = matches!(record.fields.value(&self.all_day), Some(Value::Bool(true)));
        // A whole day is the same day everywhere: midnight without a zone, and the last day is part of it.
        let day =
            |moment: DateTime<Utc>| moment.with_timezone(&zone).date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        if let Some(start) = start {
            let start_at = if whole_days { day(start) } else { start };
            record.fields.set(self.starts.as_str(), Value::Time(start_at));
            if let Some(end) = end {
                let last = if end > start { end - TimeDelta::seconds(1) } else { end };
                record.fields.set(self.ends.as_str(), Value::Time(if whole_days { day(last) } else { end }));
            }
        }
        record
    }
}

/// Returns every start that a rule makes, the first one first.
fn starts(
    rule: &str,
    first: DateTime<Utc>,
    zone: Tz,
    horizon: impl Fn(bool) -> Result<Option<DateTime<Utc>>, String>,
) -> Result<Vec<DateTime<Utc>>, String> {
    let wrong = |e: rrule::RRuleError| format!("its recurrence cannot be read: {e}");
    let rule: RRule<Unvalidated> = rule.trim().trim_start_matches("RRULE:").parse().map_err(wrong)?;
    if matches!(rule.get_freq(), Frequency::Hourly | Frequency::Minutely | Frequency::Secondly) {
        return Err("it recurs more often than once a day".to_owned());
    }
    let until = horizon(rule.get_count().is_none() && rule.get_until().is_none())?;
    let begin = zone_of(zone).from_utc_datetime(&first.naive_utc());
    let rule = rule.validate(begin).map_err(wrong)?;
    let mut set = RRuleSet::new(begin).rrule(rule);
    if let Some(until) = until {
        set = set.before(zone_of(zone).from_utc_datetime(&until.naive_utc()));
    }
    let all = set.all(MOST);
    if all.limited {
        return Err(format!("it recurs more than {MOST} times"));
    }
    Ok(all.dates.into_iter().map(|date| date.with_timezone(&Utc)).collect())
}

fn zone_of(zone: Tz) -> rrule::Tz {
    rrule::Tz::Tz(zone)
}

fn text(record: &Record, field: &str) -> Option<String> {
    let value = record.fields.get(field);
    (!is_blank(&value)).then(|| value.value().map(ToString::to_string).unwrap_or_default().trim().to_owned())
}

fn moment(record: &Record, field: &str, zone: Tz) -> Result<Option<DateTime<Utc>>, String> {
    let value = record.fields.get(field);
    if is_blank(&value) {
        return Ok(None);
    }
    value.value().map(|value| read(value, field, zone)).transpose()
}

/// Reads a moment; one without an offset counts in the zone, where it must mean exactly one.
fn read(value: &Value, field: &str, zone: Tz) -> Result<DateTime<Utc>, String> {
    let local = |local: NaiveDateTime| match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(time) => Ok(time.to_utc()),
        chrono::LocalResult::None => Err(format!("{field}: {local} does not exist in {zone}: clocks were put forward")),
        chrono::LocalResult::Ambiguous(..) => {
            Err(format!("{field}: {local} came twice in {zone}: clocks were put back"))
        }
    };
    match value {
        Value::Time(time) => Ok(*time),
        Value::Date(date) => local(date.and_time(chrono::NaiveTime::MIN)),
        other => {
            let text = other.to_string();
            let text = text.trim();
            if let Ok(time) = DateTime::parse_from_rfc3339(text) {
                return Ok(time.to_utc());
            }
            let read = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            read.ok_or_else(|| format!("{field} is not a date with a time")).and_then(local)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use waybill_ledger::{Field, Fields};

    fn expand() -> Expand {
        let name = str::to_owned;
        Expand {
            starts: name("starts"),
            ends: name("ends"),
            all_day: name("all_day"),
            rule: name("rule"),
            except: name("except"),
            series: name("series"),
            original: name("original"),
            zone: name("zone"),
            horizon_months: 12,
            most_days: 14,
        }
    }

    fn meeting(fields: &[(&str, &str)]) -> Record {
        let mut all = Fields::new();
        for (name, value) in fields {
            let value = match value.parse::<DateTime<Utc>>() {
                Ok(time) => Field::Present(Value::Time(time)),
                Err(_) if *value == "true" => Field::from(true),
                Err(_) => Field::from(*value),
            };
            all.set(*name, value);
        }
        Record { id: "m".into(), fields: all }
    }

    fn times(record: &Record, moved: &[&str]) -> Vec<(u16, String)> {
        let moved: Vec<_> = moved.iter().map(|at| at.parse().unwrap()).collect();
        let exported = "2024-06-01T00:00:00Z".parse().ok();
        let all = expand().occurrences(record, &moved, exported, chrono_tz::UTC).unwrap();
        all.into_iter().map(|(part, at)| (part, at.fields.value("starts").unwrap().to_string())).collect()
    }

    #[test]
    fn a_series_keeps_its_hour_when_clocks_change_and_its_numbers_when_one_is_left_out() {
        let record = meeting(&[
            ("starts", "2024-03-25T09:00:00Z"),
            ("ends", "2024-03-25T10:00:00Z"),
            ("rule", "FREQ=WEEKLY;COUNT=4"),
            ("except", "2024-04-08T09:00:00"),
            ("zone", "Europe/London"),
        ]);
        let found = times(&record, &[]);
        let found: Vec<_> = found.iter().map(|(part, at)| (*part, &at[..16])).collect();
        // London's clocks went forward on 31 March: nine o'clock there is eight in UTC from then on.
        assert_eq!(found, [(0, "2024-03-25T09:00"), (1, "2024-04-01T08:00"), (3, "2024-04-15T08:00")]);
        let found = times(&record, &["2024-04-15T08:00:00Z"]);
        assert_eq!(found.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn an_endless_series_ends_at_the_horizon_and_an_hourly_one_is_refused() {
        let endless = [("starts", "2024-05-01T09:00:00Z"), ("ends", "2024-05-01T10:00:00Z"), ("rule", "FREQ=MONTHLY")];
        assert_eq!(times(&meeting(&endless), &[]).len(), 13);
        let none = expand().occurrences(&meeting(&endless), &[], None, chrono_tz::UTC);
        assert!(none.unwrap_err().contains("when it was made"));
        let hourly = meeting(&[("starts", "2024-05-01T09:00:00Z"), ("rule", "FREQ=HOURLY;COUNT=3")]);
        assert!(expand().occurrences(&hourly, &[], None, chrono_tz::UTC).unwrap_err().contains("once a day"));
    }

    #[test]
    fn whole_days_are_days_and_a_long_one_is_refused() {
        let record = meeting(&[
            ("starts", "2024-05-01T22:00:00Z"),
            ("ends", "2024-05-03T22:00:00Z"),
            ("all_day", "true"),
            ("zone", "Europe/Berlin"),
        ]);
        let all = expand().occurrences(&record, &[], None, chrono_tz::UTC).unwrap();
        assert_eq!(all.len(), 1);
        let field = |name: &str| all[0].1.fields.value(name).unwrap().to_string();
        assert_eq!((&field("starts")[..16], &field("ends")[..16]), ("2024-05-02T00:00", "2024-05-03T00:00"));
        let long = meeting(&[("starts", "2024-05-01T00:00:00Z"), ("ends", "2024-05-16T00:00:00Z")]);
        assert!(expand().occurrences(&long, &[], None, chrono_tz::UTC).unwrap_err().contains("14 days"));
    }

    #[test]
    fn an_hour_that_clocks_skip_or_repeat_is_a_question() {
        for (at, why) in [("2024-03-31 02:30", "does not exist"), ("2024-10-27 02:30", "came twice")] {
            let record = meeting(&[("starts", at), ("zone", "Europe/Berlin")]);
            assert!(expand().occurrences(&record, &[], None, chrono_tz::UTC).unwrap_err().contains(why), "{at}");
        }
    }
}
