//! Made-up records, for the ledger to learn from how contents of each shape look.
//!
//! Nothing here has ever seen a customer's record: field names, picklist options and made-up values are all there is. A
//! dictionary holds raw pieces of its samples and outlives every erasure.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use waybill_connectors::bundle::Bundle;
use waybill_ledger::{
    Content, Decision, Field, FieldKind, Fields, Mapped, ObjectSchema, Record, Schema, Value, event::NameKind,
    ledger::Ledger,
};
use waybill_projector::{
    delta::Intake,
    mapping::{Plan, Rule},
    write_key,
};

use crate::{aside::aside, failure::Failure, write::VERSION};

/// Records of each shape.
const SAMPLES: usize = 300;
/// What made-up texts are made of.
const WORDS: [&str; 32] = [
    "company", "example", "limited", "group", "street", "north", "market", "office", "service", "project", "meeting",
    "contact", "customer", "support", "please", "about", "with", "from", "the", "and", "for", "new", "next", "week",
    "sales", "manager", "director", "region", "renewal", "contract", "follow", "offer",
];

/// Lets the ledger learn the shapes of the source's records: of objects that have fewer than it learns from, it is not worth it.
pub(crate) async fn teach_source(ledger: &Arc<Ledger>, bundle: &Bundle, schema: &Schema) -> Result<(), Failure> {
    let rows = |schema: &ObjectSchema| bundle.object(schema.name.as_str()).ok().and_then(|object| object.rows);
    let many = schema.objects.iter().filter(|schema| rows(schema).is_none_or(|rows| rows >= SAMPLES as u64));
    teach(ledger, many.map(source_records).collect()).await
}

/// Lets the ledger learn the shapes of what the plan makes of the source's records, where there are more than it learns from.
pub(crate) async fn teach_destination(
    ledger: &Arc<Ledger>,
    intake: &Intake,
    plan: &Plan,
    schema: &Schema,
    source: &str,
) -> Result<(), Failure> {
    let mut shapes = Vec::new();
    let rows = |rule: &&Rule| ledger.find_name(NameKind::Object, &rule.from).map_or(0, |name| intake.object(name).live);
    for rule in plan.rules().iter().filter(|rule| rows(rule) >= SAMPLES as u64) {
        let Some(schema) = schema.object(rule.to.as_str()) else { continue };
        let mapped: Vec<Mapped> = (0..SAMPLES).map(|n| mapped(plan, rule, schema, source, n)).collect();
        let images = mapped.iter().enumerate().map(|(n, mapped)| {
            let mut fields = mapped.fields.clone();
            fields.set(VERSION, Value::Text(Dice::new("version", n).moment()));
            Content::Record { object: mapped.object.clone(), record: Record { id: Dice::new("id", n).id(), fields } }
        });
        shapes.push(images.collect());
        shapes.push(mapped.into_iter().map(Content::Mapped).collect());
    }
    teach(ledger, shapes).await
}

async fn teach(ledger: &Arc<Ledger>, shapes: Vec<Vec<Content>>) -> Result<(), Failure> {
    let ledger = Arc::clone(ledger);
    let learned = aside(move || shapes.iter().try_for_each(|samples| ledger.learn(samples).map(drop)));
    Ok(learned.await.map_err(|e| Failure::failed(format!("the ledger's teacher stopped: {e}")))??)
}

fn source_records(schema: &ObjectSchema) -> Vec<Content> {
    let record = |n| {
        let mut dice = Dice::new(schema.name.as_str(), n);
        let mut fields = Fields::new();
        for field in &schema.fields {
            // One in five is empty, as in life. A source's options may be values that someone typed: they are left out.
            let open = FieldKind::Text { length: 0, multiline: false, rich: false };
            let kind = match &field.kind {
                FieldKind::Choice { .. } | FieldKind::Choices { .. } => &open,
                kind => kind,
            };
            let value = (dice.below(5) > 0).then(|| dice.value(field.name.as_str(), kind));
            fields.set(field.name.clone(), value.map_or(Field::Null, Field::Present));
        }
        let id = dice.below(1_000_000).to_string();
        Content::Record { object: schema.name.to_string(), record: Record { id, fields } }
    };
    (0..SAMPLES).map(record).collect()
}

fn mapped(plan: &Plan, rule: &Rule, schema: &ObjectSchema, source: &str, n: usize) -> Mapped {
    let mut dice = Dice::new(rule.id.as_str(), n);
    let mut fields = Fields::new();
    let mut decisions = Vec::new();
    for name in rule.fields.keys() {
        let Some(field) = schema.field(name.as_str()) else { continue };
        let value = (dice.below(5) > 0).then(|| dice.value(name.as_str(), &field.kind));
        fields.set(name.clone(), value.map_or(Field::Null, Field::Present));
        if dice.below(8) == 0 {
            decisions.push(Decision { field: name.clone(), rule: rule.id.clone(), what: dice.words(4) });
        }
    }
    let id = dice.below(1_000_000).to_string();
    let key = write_key("sample", source, &rule.from, &id, rule.id.as_str(), 0);
    if plan.has_key(rule.to.as_str()) {
        fields.set(plan.key_field(), Value::Text(key.clone()));
    }
    Mapped { object: rule.to.to_string(), key, fields, later: Fields::new(), decisions }
}

/// Numbers that look random and are the same on every machine.
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(what: &str, n: usize) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(what.as_bytes()).update(&n.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    fn below(&mut self, end: u32) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) % end
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(32) as usize]
    }

    fn words(&mut self, count: u32) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn moment(&mut self) -> String {
        let day = self.day();
        format!("{day}T{:02}:{:02}:{:02}.000Z", self.below(24), self.below(60), self.below(60))
    }

    fn day(&mut self) -> NaiveDate {
        let start = NaiveDate::from_ymd_opt(2015, 1, 1).unwrap_or_default();
        start + chrono::Duration::days(i64::from(self.below(4_000)))
    }

    /// An id as Salesforce writes them: mostly a prefix and zeros.
    fn id(&mut self) -> String {
        format!("00{}000000{:07}AAA", self.below(10), self.below(1_000_000))
    }

    fn value(&mut self, name: &str, kind: &FieldKind) -> Value {
        let name = name.to_ascii_lowercase();
        match kind {
            FieldKind::Bool => Value::Bool(self.below(2) == 0),
            FieldKind::Number { .. } | FieldKind::Money { .. } | FieldKind::Percent { .. } => {
                Value::Number((self.below(100_000) * 10).into())
            }
            FieldKind::Date => Value::Date(self.day()),
            FieldKind::Time => {
                let at = DateTime::from_timestamp(1_420_000_000 + i64::from(self.below(300_000_000)), 0);
                Value::Time(at.unwrap_or_default())
            }
            FieldKind::Choice { options, .. } if !options.is_empty() => {
                let at = self.below(u32::try_from(options.len()).unwrap_or(1)) as usize;
                Value::Text(options[at].value.clone())
            }
            FieldKind::Choices { options, .. } if !options.is_empty() => {
                let at = self.below(u32::try_from(options.len()).unwrap_or(1)) as usize;
                Value::List(vec![Value::Text(options[at].value.clone())])
            }
            FieldKind::Reference { .. } | FieldKind::Id => Value::Text(self.id()),
            FieldKind::Email => Value::Text(format!("{}.{}@example.com", self.word(), self.word())),
            FieldKind::Phone => Value::Text(format!("+49 30 {:07}", self.below(9_999_999))),
            FieldKind::Url => Value::Text(format!("https://www.{}{}.example.com", self.word(), self.below(100))),
            _ if name.contains("mail") => Value::Text(format!("{}.{}@example.com", self.word(), self.word())),
            _ if name.contains("phone") => Value::Text(format!("+49 30 {:07}", self.below(9_999_999))),
            _ if name.ends_with("_at") || name.ends_with("date") => Value::Text(self.moment()),
            FieldKind::Text { multiline: true, .. } => Value::Text(self.words(12)),
            _ => Value::Text(self.words(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_samples_are_made_up_everywhere() {
        let mut dice = Dice::new("people", 7);
        let made: Vec<u32> = (0..3).map(|_| dice.below(1_000)).collect();
        let mut again = Dice::new("people", 7);
        assert_eq!(made, (0..3).map(|_| again.below(1_000)).collect::<Vec<_>>());
        assert_ne!(Dice::new("people", 8).words(6), Dice::new("people", 7).words(6));
    }
}
