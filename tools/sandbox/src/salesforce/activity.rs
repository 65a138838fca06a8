//! Tasks and events: what the platform refuses and what it works out by itself.
//!
//! Source: `Task` and `Event` in the Object Reference.

use super::org::{Changes, Org, RowError, Val};

/// The longest event.
const MOST_DAYS: i64 = 14;
const DAY: i64 = 86_400_000;
const MINUTE: i64 = 60_000;

impl Org {
    /// Refuses a task or an event that contradicts itself, and completes its times. `number` is its row, if it has one.
    pub(super) fn check_activity(
        &self,
        object: usize,
        number: Option<u64>,
        changes: &mut Changes,
    ) -> Result<(), RowError> {
        let name = self.objects[object].name.as_str();
        if name != "Task" && name != "Event" {
            return Ok(());
        }
        let lead = matches!(self.will_be(object, number, changes, "WhoId"), Some(Val::Ref(id)) if id.prefix == *b"00Q");
        if lead && self.will_be(object, number, changes, "WhatId").is_some() {
            let message = "Related To ID: you can't relate an activity to a lead and to something else";
            return Err(RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "WhatId"));
        }
        if name == "Event" { self.check_event(object, number, changes) } else { Ok(()) }
    }

    /// Returns what a field will hold after these changes.
    fn will_be(&self, object: usize, number: Option<u64>, changes: &Changes, field: &str) -> Option<Val> {
        let at = self.objects[object].field(field)?;
        if let Some((_, value)) = changes.iter().rev().find(|(field, _)| *field == at) {
            return value.clone();
        }
        self.tables[object].rows.get(&number?)?.get(at).cloned()
    }

    fn check_event(&self, object: usize, number: Option<u64>, changes: &mut Changes) -> Result<(), RowError> {
        let given = |changes: &Changes, field: &str| {
            let at = self.objects[object].field(field)?;
            changes.iter().rev().find(|(field, _)| *field == at).and_then(|(_, value)| value.clone())
        };
        let times = ["StartDateTime", "EndDateTime", "DurationInMinutes", "ActivityDateTime", "ActivityDate"];
        if number.is_some() && times.iter().all(|field| given(changes, field).is_none()) {
            return Ok(());
        }
        let time = |value: Option<Val>| match value {
            Some(Val::Time(time)) => Some(time),
            Some(Val::Date(days)) => Some(i64::from(days) * DAY),
            _ => None,
        };
        let whole = self.will_be(object, number, changes, "IsAllDayEvent") == Some(Val::Bool(true));
        let (alias, day) = (time(given(changes, "ActivityDateTime")), time(given(changes, "ActivityDate")));
        let start = time(given(changes, "StartDateTime")).or(alias).or(day.filter(|_| whole));
        let start = start.or_else(|| time(self.will_be(object, number, changes, "StartDateTime")));
        let Some(start) = start else {
            return Err(missing("StartDateTime"));
        };
        let start = if whole { start.div_euclid(DAY) * DAY } else { start };
        #[expect(clippy::cast_possible_truncation, reason = "a number of at most eight digits")]
        let minutes = match given(changes, "DurationInMinutes") {
            Some(Val::Num(minutes)) => Some(minutes as i64),
            _ => None,
        };
        let end = time(given(changes, "EndDateTime"));
        let end = match (end, minutes) {
            (Some(end), Some(minutes)) if !whole && end != start + minutes * MINUTE => {
                let message = "Duration: the duration contradicts the start and the end of the event";
                return Err(RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "DurationInMinutes"));
            }
            (Some(end), _) => end,
            (None, Some(minutes)) => start + minutes * MINUTE,
            (None, None) if whole => start,
            (None, None) => match time(self.will_be(object, number, changes, "EndDateTime")) {
                Some(end) if number.is_some() => end,
                _ => return Err(missing("DurationInMinutes")),
            },
        };
        let end = if whole { end.div_euclid(DAY) * DAY } else { end };
        if end < start {
            let message = "End Date Time: an event can't end before it starts";
            return Err(RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "EndDateTime"));
        }
        if end - start > MOST_DAYS * DAY {
            let message = "Event duration can not be longer than 14 days";
            return Err(RowError::on("FIELD_INTEGRITY_EXCEPTION", message, "DurationInMinutes"));
        }
        let length = if whole { end - start + DAY } else { end - start };
        #[expect(clippy::cast_precision_loss, reason = "minutes of two weeks")]
        let length = Val::Num((length / MINUTE) as f64);
        let date = |time: i64| Val::Date(i32::try_from(time.div_euclid(DAY)).unwrap_or_default());
        for (field, value) in [
            ("StartDateTime", Val::Time(start)),
            ("EndDateTime", Val::Time(end)),
            ("ActivityDateTime", Val::Time(start)),
            ("DurationInMinutes", length),
            ("ActivityDate", date(start)),
            ("EndDate", date(end)),
        ] {
            if let Some(field) = self.objects[object].field(field) {
                changes.retain(|(known, _)| *known != field);
                changes.push((field, Some(value)));
            }
        }
        Ok(())
    }

    /// Sets what follows from other fields of a task or an event.
    pub(super) fn derive_activity(&mut self, object: usize, number: u64) {
        let account = self.account_of(object, number);
        self.write_field_or_clear(object, number, "AccountId", account.map(Val::Ref));
        if self.objects[object].name != "Task" {
            return;
        }
        let text = |org: &Self, field: &str| match org.objects[object]
            .field(field)
            .and_then(|at| org.tables[object].rows.get(&number).and_then(|row| row.get(at)).cloned())
        {
            Some(Val::Text(text)) => text.to_string(),
            _ => String::new(),
        };
        let closed = text(self, "Status") == "Completed";
        let high = text(self, "Priority") == "High";
        let was = self.objects[object]
            .field("CompletedDateTime")
            .and_then(|at| self.tables[object].rows.get(&number).and_then(|row| row.get(at)).cloned());
        let completed = closed.then(|| was.unwrap_or(Val::Time(self.now)));
        self.write_field_or_clear(object, number, "IsClosed", Some(Val::Bool(closed)));
        self.write_field_or_clear(object, number, "IsHighPriority", Some(Val::Bool(high)));
        self.write_field_or_clear(object, number, "CompletedDateTime", completed);
    }

    /// Returns the account that an activity belongs to: its own, or that of its opportunity or contact.
    fn account_of(&self, object: usize, number: u64) -> Option<super::ids::Id> {
        let points = |object: usize, number: u64, field: &str| {
            let at = self.objects[object].field(field)?;
            match self.tables[object].rows.get(&number)?.get(at)? {
                Val::Ref(id) => Some(*id),
                _ => None,
            }
        };
        let what = points(object, number, "WhatId");
        if let Some(id) = what.filter(|id| id.prefix == *b"001") {
            return Some(id);
        }
        let through = |id: super::ids::Id| points(self.of_id(id)?, id.number, "AccountId");
        what.and_then(through).or_else(|| points(object, number, "WhoId").and_then(through))
    }
}

fn missing(field: &str) -> RowError {
    RowError::on("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{field}]"), field)
}
