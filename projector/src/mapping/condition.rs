//! Conditions and computed values, as CEL expressions over the fields of a record.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

use cel::{Context, Env, Program, Value as Cel};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use waybill_ledger::{Field, Record, Value};

/// A compiled expression. A field that a record does not have is `null`; every number is a double (write `2.0`, not `2`).
#[derive(Clone)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
    fields: BTreeSet<String>,
}

fn env() -> Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    Arc::clone(ENV.get_or_init(|| Arc::new(Env::stdlib())))
}

impl Condition {
    /// Compiles an expression.
    pub fn new(text: &str) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|e| e.to_string())?;
        let fields = program.references().variables().into_iter().map(str::to_owned).collect();
        Ok(Self { text: text.to_owned(), program: Arc::new(program), fields })
    }

    /// Returns the fields that it uses.
    pub fn fields(&self) -> impl Iterator<Item = String> + '_ {
        self.fields.iter().cloned()
    }

    /// Returns whether a record meets the condition.
    pub fn holds(&self, record: &Record) -> Result<bool, String> {
        match self.run(record)? {
            Cel::Bool(flag) => Ok(flag),
            other => Err(format!("`{}` gives {}, not true or false", self.text, other.type_of())),
        }
    }

    /// Returns the value of the expression for a record.
    pub fn value(&self, record: &Record) -> Result<Field, String> {
        Ok(match self.run(record)? {
            Cel::Null => Field::Null,
            Cel::Bool(flag) => Field::from(flag),
            Cel::Int(number) => Field::from(number),
            Cel::UInt(number) => Field::Present(Value::Number(number.into())),
            Cel::Float(number) => Field::Present(Value::Number(
                number.to_string().parse().map_err(|_| format!("`{}` gives a number out of range", self.text))?,
            )),
            Cel::String(text) => Field::from(text.as_str()),
            Cel::Timestamp(time) => Field::from(time.to_utc()),
            other => return Err(format!("`{}` gives {}, which no field holds", self.text, other.type_of())),
        })
    }

    fn run(&self, record: &Record) -> Result<Cel, String> {
        let mut context = Context::with_env(env());
        for name in &self.fields {
            context.add_variable_from_value(name.as_str(), to_cel(record.fields.value(name)));
        }
        self.program.execute(&context).map_err(|e| format!("`{}` cannot be computed: {e}", self.text))
    }
}

fn to_cel(value: Option<&Value>) -> Cel {
    match value {
        None => Cel::Null,
        Some(Value::Text(text)) => Cel::from(text.as_str()),
        Some(Value::Bool(flag)) => Cel::Bool(*flag),
        // Always a double: an expression must not depend on whether an amount happens to be whole.
        Some(Value::Number(number)) => Cel::Float(number.to_string().parse().unwrap_or(f64::NAN)),
        Some(Value::Date(date)) => Cel::from(date.to_string()),
        Some(Value::Time(time)) => Cel::Timestamp(time.fixed_offset()),
        Some(Value::List(items)) => Cel::from(items.iter().map(|item| to_cel(Some(item))).collect::<Vec<_>>()),
        Some(Value::Map(_)) => Cel::from(value.map(ToString::to_string).unwrap_or_default()),
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(|e| serde::de::Error::custom(format!("`{text}` is no CEL expression: {e}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> Record {
        let fields = [("status", Field::from("Lead")), ("amount", Field::from(12)), ("note", Field::Null)];
        Record { id: "1".into(), fields: fields.into_iter().collect() }
    }

    #[test]
    fn conditions_see_fields_and_missing_ones_are_null() {
        let holds = |text: &str| Condition::new(text).unwrap().holds(&record());
        assert_eq!(holds("status == 'Lead' && amount > 10"), Ok(true));
        assert_eq!(holds("note == null && nothing == null"), Ok(true));
        assert_eq!(holds("status in ['Customer', 'Partner']"), Ok(false));
        assert!(holds("amount").is_err());
        assert!(holds("amount > status").is_err());
        assert!(Condition::new("status ==").is_err());
    }

    #[test]
    fn computed_values_become_fields() {
        let value = |text: &str| Condition::new(text).unwrap().value(&record()).unwrap();
        assert_eq!(value("status + '!'"), Field::from("Lead!"));
        assert_eq!(value("amount * 2.0"), Field::from(24));
        assert_eq!(value("null"), Field::Null);
    }
}
