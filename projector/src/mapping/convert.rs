//! Makes a source value fit a destination field, or says why it does not.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::{Decimal, RoundingStrategy};
use waybill_ledger::{Choice, Field, FieldKind, Value};

use super::{field_rule::Long, plan::fold};

/// A value that fits, and what had to be done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) value: Value,
    pub(super) decision: Option<String>,
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It cannot be converted.
    Bad(String),
    /// It is not one of the field's options.
    NotAnOption(String),
}

fn as_is(value: Value) -> Fitted {
    Fitted { value, decision: None }
}

/// Converts a value that is not blank. Moments become days in `zone`.
pub(super) fn fit(value: &Value, kind: &FieldKind, long: Long, zone: Tz) -> Result<Fitted, Unfit> {
    match kind {
        FieldKind::Text { length, multiline, rich } => text(value, *length, *multiline || *rich, long),
        FieldKind::Email => {
            let address = value.to_string().trim().to_owned();
            if is_email(&address) {
                Ok(as_is(Value::Text(address)))
            } else {
                Err(Unfit::Bad("it is not an e-mail address".into()))
            }
        }
        FieldKind::Phone => text(value, 40, false, long),
        FieldKind::Url => text(value, 255, false, long),
        FieldKind::Id | FieldKind::Reference { .. } => Ok(as_is(Value::Text(value.to_string()))),
        FieldKind::Bool => match value {
            Value::Bool(_) => Ok(as_is(value.clone())),
            other => match fold(&other.to_string()).as_str() {
                "true" | "yes" | "1" => Ok(as_is(Value::Bool(true))),
                "false" | "no" | "0" => Ok(as_is(Value::Bool(false))),
                _ => Err(Unfit::Bad("it is neither true nor false".into())),
            },
        },
        FieldKind::Number { precision, scale }
        | FieldKind::Money { precision, scale }
        | FieldKind::Percent { precision, scale } => number(value, *precision, *scale),
        FieldKind::Date => match value {
            Value::Date(_) => Ok(as_is(value.clone())),
            Value::Time(time) => Ok(Fitted {
                value: Value::Date(time.with_timezone(&zone).date_naive()),
                decision: Some(format!("the time of day is not carried; the day is that in {zone}")),
            }),
            other => {
                let text = other.to_string();
                let text = text.trim();
                text.parse::<NaiveDate>()
                    .map(|date| as_is(Value::Date(date)))
                    .map_err(|_| Unfit::Bad("it is not a date (YYYY-MM-DD)".into()))
            }
        },
        FieldKind::Time => match value {
            Value::Time(_) => Ok(as_is(value.clone())),
            Value::Date(date) => Ok(Fitted {
                value: Value::Time(date.and_time(chrono::NaiveTime::MIN).and_utc()),
                decision: Some("the source has no time of day; midnight UTC stands in".into()),
            }),
            other => time(&other.to_string()).map(|time| as_is(Value::Time(time))),
        },
        FieldKind::Choice { options, restricted } => choice(&value.to_string(), options, *restricted),
        FieldKind::Choices { options, restricted } => {
            let parts: Vec<String> = match value {
                Value::List(items) => items.iter().map(ToString::to_string).collect(),
                other => other.to_string().split(';').map(|part| part.trim().to_owned()).collect(),
            };
            let mut decisions = Vec::new();
            let mut items = Vec::new();
            for part in parts.iter().filter(|part| !part.is_empty()) {
                let fitted = choice(part, options, *restricted)?;
                decisions.extend(fitted.decision);
                items.push(fitted.value);
            }
            let decision = (!decisions.is_empty()).then(|| decisions.join("; "));
            Ok(Fitted { value: Value::List(items), decision })
        }
        FieldKind::Binary | FieldKind::Composite | FieldKind::Other { .. } => {
            Err(Unfit::Bad("the destination field is of a kind that cannot be written as a value".into()))
        }
    }
}

fn text(value: &Value, length: u32, multiline: bool, long: Long) -> Result<Fitted, Unfit> {
    let mut text = value.to_string();
    let mut decision = None;
    if !multiline && text.contains(['\n', '\r']) {
        text = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        decision = Some("line breaks became spaces, because the field holds one line".to_owned());
    }
    let count = text.chars().count();
    if length > 0 && count > length as usize {
        if long == Long::Hold {
            return Err(Unfit::Bad(format!("it has {count} characters, the field takes {length}")));
        }
        text = text.chars().take(length as usize).collect();
        decision = Some(format!("cut from {count} to {length} characters"));
    }
    Ok(Fitted { value: Value::Text(text), decision })
}

fn number(value: &Value, precision: u32, scale: u32) -> Result<Fitted, Unfit> {
    let number = match value {
        Value::Number(number) => *number,
        Value::Bool(_) | Value::Date(_) | Value::Time(_) | Value::List(_) | Value::Map(_) => {
            return Err(Unfit::Bad("it is not a number".into()));
        }
        Value::Text(text) => {
            let text = text.trim();
            text.parse::<Decimal>()
                .or_else(|_| Decimal::from_scientific(text))
                .map_err(|_| Unfit::Bad("it is not a number with a decimal point".into()))?
        }
    };
    if precision == 0 {
        return Ok(as_is(Value::Number(number)));
    }
    let rounded = number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    let whole = rounded.trunc().abs().normalize().to_string();
    let digits = if whole == "0" { 0 } else { u32::try_from(whole.len()).unwrap_or(u32::MAX) };
    if digits > precision.saturating_sub(scale) {
        return Err(Unfit::Bad(format!(
            "it has {digits} digits before the point, the field takes {}",
            precision - scale
        )));
    }
    let decision = (rounded != number).then(|| format!("rounded to {scale} digits after the point"));
    Ok(Fitted { value: Value::Number(rounded), decision })
}

fn time(text: &str) -> Result<DateTime<Utc>, Unfit> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Ok(time.to_utc());
    }
    if NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok() {
        return Err(Unfit::Bad("it is a time without a zone: declare the zone in the profile".into()));
    }
    Err(Unfit::Bad("it is not a date with a time and a zone".into()))
}

fn choice(text: &str, options: &[Choice], restricted: bool) -> Result<Fitted, Unfit> {
    let active = || options.iter().filter(|option| option.active);
    if active().any(|option| option.value == text) {
        return Ok(as_is(Value::Text(text.to_owned())));
    }
    let folded = fold(text);
    let mut alike = active().filter(|option| fold(&option.value) == folded || fold(&option.label) == folded);
    let (first, second) = (alike.next(), alike.next());
    // Labels lose signs that a system does not take in them.
    let (first, second) = if first.is_some() || !restricted {
        (first, second)
    } else {
        let bare =
            |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
        let wanted = bare(text);
        let mut alike = active().filter(|option| !wanted.is_empty() && bare(&option.label) == wanted);
        (alike.next(), alike.next())
    };
    match (first, second) {
        (Some(option), None) => Ok(Fitted {
            value: Value::Text(option.value.clone()),
            decision: Some(format!("spelled `{}` at the destination", option.value)),
        }),
        (None, _) if !restricted => Ok(as_is(Value::Text(text.to_owned()))),
        (Some(_), Some(_)) => Err(Unfit::NotAnOption("several options differ from it only by case or spaces".into())),
        (None, _) => Err(Unfit::NotAnOption("it is not one of the field's options".into())),
    }
}

/// Returns whether a text has the form that mail systems take: one `@`, something before it, a dotted name after it.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '(' | ')' | '<' | '>' | ',' | ';' | ':' | '\\' | '"' | '[' | ']' | '@')
    };
    !local.is_empty()
        && local.chars().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !label.starts_with('-')
        })
        && text.len() <= 80
}

/// Returns whether a value says nothing.
pub(super) fn is_blank(field: &Field) -> bool {
    match field {
        Field::Present(Value::Text(text)) => text.trim().is_empty(),
        other => other.is_blank(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fits(value: impl Into<Value>, kind: &FieldKind) -> Result<Value, Unfit> {
        fit(&value.into(), kind, Long::Hold, Tz::UTC).map(|fitted| fitted.value)
    }

    #[test]
    fn texts_keep_what_fits_and_say_what_does_not() {
        let short = FieldKind::Text { length: 5, multiline: false, rich: false };
        assert_eq!(fits("hallo", &short), Ok(Value::from("hallo")));
        assert_eq!(fits("a\nb", &short), Ok(Value::from("a b")));
        assert!(matches!(fits("too long", &short), Err(Unfit::Bad(_))));
        let cut = fit(&Value::from("äöüßéx"), &short, Long::Cut, Tz::UTC).unwrap();
        assert_eq!((cut.value, cut.decision.is_some()), (Value::from("äöüßé"), true));
    }

    #[test]
    fn numbers_keep_their_digits_or_are_refused() {
        let money = FieldKind::Money { precision: 10, scale: 2 };
        assert_eq!(fits("1234.5", &money), Ok(Value::Number("1234.5".parse().unwrap())));
        assert_eq!(fits("0.125", &money), Ok(Value::Number("0.13".parse().unwrap())));
        assert_eq!(fits("1e3", &money), Ok(Value::Number("1000".parse().unwrap())));
        assert!(fits("123456789", &money).is_err());
        assert!(fits("1,234.50", &money).is_err(), "a grouped number is a question, never a guess");
    }

    #[test]
    fn options_are_matched_as_people_mean_them_and_told() {
        let option = |value: &str| Choice { value: value.into(), label: value.into(), active: true };
        let stages = FieldKind::Choice { options: vec![option("Closed Won"), option("Open")], restricted: true };
        let fitted = fit(&Value::from("closed  won "), &stages, Long::Hold, Tz::UTC).unwrap();
        assert_eq!(fitted.value, Value::from("Closed Won"));
        assert!(fitted.decision.is_some());
        assert!(matches!(fits("Lost", &stages), Err(Unfit::NotAnOption(_))));
        let free = FieldKind::Choice { options: vec![], restricted: false };
        assert_eq!(fits("Lost", &free), Ok(Value::from("Lost")));
    }

    #[test]
    fn times_need_a_zone_and_dates_none() {
        assert!(fits("2024-05-01T10:00:00+02:00", &FieldKind::Time).is_ok());
        assert!(fits("2024-05-01T10:00:00", &FieldKind::Time).is_err());
        assert!(fits("2024-05-01", &FieldKind::Date).is_ok());
        assert!(fits("01/05/2024", &FieldKind::Date).is_err());
    }

    #[test]
    fn addresses_that_mail_systems_refuse_are_refused() {
        for good in ["a@b.co", "first.last+tag@sub.example.com"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["a", "a@b", "@b.co", "a b@c.de", "a@b..de", "a@-b.de", "a@b.de,c@d.ef", ".a@b.de"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
