//! Forms that a destination keeps some values in, and how values are brought into them.

use serde::{Deserialize, Serialize};
use waybill_ledger::{Field, Value};

use super::convert::is_email;

/// A form that a value is brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A phone number in its international form, of digits only: `+4520123456`. A number without a country is none.
    Phone,
    /// An e-mail address in lower case.
    Email,
    /// The site of a web address or a domain, in one spelling: `https://example.com`.
    Site,
}

impl Form {
    fn one(self, text: &str) -> Option<String> {
        let text = text.trim();
        match self {
            Self::Phone => phone(text),
            Self::Email => is_email(text).then(|| text.to_lowercase()),
            Self::Site => site(text),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Phone => "it is not a phone number in international form",
            Self::Email => "it is not an e-mail address",
            Self::Site => "it is no domain and no web address",
        }
    }

    /// Brings a value, or each of several, into the form. Returns it with what did not fit, or why nothing did.
    pub(super) fn bring(self, value: &Value, several: bool) -> Result<(Field, Option<String>), String> {
        if !several {
            let found = self.one(&value.to_string());
            return found.map(|text| (Field::from(text), None)).ok_or_else(|| self.words().to_owned());
        }
        let given: Vec<String> = match value {
            Value::List(items) => items.iter().map(ToString::to_string).collect(),
            other => other.to_string().split(';').map(str::to_owned).collect(),
        };
        let (mut fit, mut rest) = (Vec::new(), Vec::new());
        for text in given.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            match self.one(text).map(Value::Text) {
                Some(value) if !fit.contains(&value) => fit.push(value),
                Some(_) => {}
                None => rest.push(text),
            }
        }
        let fit = if fit.is_empty() { Field::Null } else { Field::Present(Value::List(fit)) };
        Ok((fit, (!rest.is_empty()).then(|| rest.join("; "))))
    }
}

/// Returns a number as it is dialled from anywhere. Only what says its country can be read: no country is guessed.
fn phone(text: &str) -> Option<String> {
    let sound = |c: char| c.is_ascii_digit() || "+ ()-./\u{a0}".contains(c);
    if !text.starts_with('+') || !text.chars().all(sound) {
        return None;
    }
    let parsed = phonenumber::parse(None, text).ok()?;
    let number = parsed.format().mode(phonenumber::Mode::E164).to_string();
    let digits = number.trim_start_matches('+').len();
    (number.starts_with('+') && (5..=15).contains(&digits)).then_some(number)
}

fn site(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    let host = rest.split(['/', '?', '#', ':']).next()?;
    let host = host.strip_prefix("www.").unwrap_or(host).trim_end_matches('.');
    let sound = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    (host.contains('.') && host.split('.').all(sound)).then(|| format!("https://{host}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(form: Form, text: &str) -> Option<String> {
        form.bring(&Value::from(text), false).ok().and_then(|(field, _)| field.text().map(str::to_owned))
    }

    #[test]
    fn numbers_that_say_their_country_are_brought_into_one_form_and_others_are_none() {
        for written in ["+45 20 12 34 56", "+4520123456", " +45 (20) 12-34-56 "] {
            assert_eq!(one(Form::Phone, written).as_deref(), Some("+4520123456"), "{written}");
        }
        for other in ["20123456", "004520123456", "831.605.2433x72946", "+45 20123456 ext 7", "+", "(012) 345-67890"] {
            assert_eq!(one(Form::Phone, other), None, "{other}");
        }
    }

    #[test]
    fn a_site_has_one_spelling() {
        for written in
            ["acme.example", "https://www.ACME.example/about?x", "http://acme.example:8080", "WWW.acme.example"]
        {
            assert_eq!(one(Form::Site, written).as_deref(), Some("https://acme.example"), "{written}");
        }
        for other in ["acme", "hello world.com", "a..b", ""] {
            assert_eq!(one(Form::Site, other), None, "{other}");
        }
    }

    #[test]
    fn of_several_those_that_fit_are_kept_once_and_the_others_told() {
        let (fit, rest) = Form::Email.bring(&Value::from("A@b.co;nope; a@b.co;c@d.ef"), true).unwrap();
        assert_eq!(fit, Field::Present(Value::List(vec!["a@b.co".into(), "c@d.ef".into()])));
        assert_eq!(rest.as_deref(), Some("nope"));
        assert_eq!(Form::Phone.bring(&Value::from("x"), true).unwrap(), (Field::Null, Some("x".into())));
    }
}
