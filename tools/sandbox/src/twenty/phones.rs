//! Phone numbers: what the server takes, infers and refuses.
//!
//! The server parses with a phone number library, so only what can be parsed matters, not whether the number is assigned.

use phonenumber::{Mode, PhoneNumber, country};

use super::refusal::Refusal;

/// The three parts of a number as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Phone {
    pub(crate) number: String,
    pub(crate) country: String,
    pub(crate) calling: String,
}

/// Reads a number with what the client says about its country; what is not said is inferred.
pub(crate) fn read(given: &Phone) -> Result<Phone, Refusal> {
    let code = match given.country.as_str() {
        "" => None,
        text => {
            let known =
                text.chars().all(|letter| letter.is_ascii_uppercase()).then(|| text.parse::<country::Id>().ok());
            let code = known
                .flatten()
                .ok_or_else(|| Refusal::coded("INVALID_PHONE_COUNTRY_CODE", format!("Invalid country code {text}")))?;
            Some(code)
        }
    };
    let calling = given.calling.strip_prefix('+').unwrap_or(&given.calling);
    let spoken: Option<u16> = if calling.is_empty() {
        None
    } else {
        let known = calling.parse().ok().filter(|code| !regions(*code).is_empty());
        let refused =
            || Refusal::coded("INVALID_PHONE_CALLING_CODE", format!("Invalid calling code {}", given.calling));
        Some(known.ok_or_else(refused)?)
    };
    if let (Some(code), Some(spoken)) = (code, spoken)
        && calling_of(code) != Some(spoken)
    {
        return Err(calling_conflict());
    }
    if given.number.is_empty() {
        return Ok(given.clone());
    }
    let invalid =
        || Refusal::coded("INVALID_PHONE_NUMBER", format!("Provided phone number is invalid {}", given.number));
    let hint = code.or_else(|| spoken.and_then(|spoken| regions(spoken).first().and_then(|id| id.parse().ok())));
    let text = given.number.trim();
    // The library would strip an international prefix of the hinted country; the server does not know one.
    if hint.is_none() && !text.starts_with('+') || text.starts_with("00") {
        return Err(invalid());
    }
    let parsed = phonenumber::parse(hint, text).map_err(|_| invalid())?;
    let country = region(&parsed);
    if let Some(code) = code
        && country.as_deref().is_some_and(|inferred| inferred != code.as_ref())
    {
        return Err(Refusal::coded(
            "CONFLICTING_PHONE_COUNTRY_CODE",
            "Provided and inferred country code are conflicting",
        ));
    }
    if spoken.is_some_and(|spoken| spoken != parsed.code().value()) {
        return Err(calling_conflict());
    }
    let national: String =
        parsed.format().mode(Mode::National).to_string().chars().filter(char::is_ascii_digit).collect();
    let national = significant(&parsed, &national);
    let country = match (code, country) {
        (Some(code), _) => code.as_ref().to_owned(),
        (None, inferred) => inferred.unwrap_or_default(),
    };
    let calling = if given.calling.is_empty() { format!("+{}", parsed.code().value()) } else { given.calling.clone() };
    Ok(Phone { number: national, country, calling })
}

fn calling_conflict() -> Refusal {
    Refusal::coded("CONFLICTING_PHONE_CALLING_CODE", "Provided and inferred calling code are conflicting")
}

/// Returns the number without what is dialled only inside the country, leading zeros that belong to it kept.
fn significant(parsed: &PhoneNumber, national: &str) -> String {
    let own = parsed.national().to_string();
    // An extension is no part of the number; an Italian zero is.
    if own.chars().all(|letter| letter.is_ascii_digit()) { own } else { national.to_owned() }
}

fn regions(calling: u16) -> Vec<String> {
    let known = phonenumber::metadata::DATABASE.by_code(&calling);
    known.into_iter().flatten().map(|metadata| metadata.id().to_owned()).collect()
}

fn calling_of(code: country::Id) -> Option<u16> {
    phonenumber::metadata::DATABASE.by_id(code.as_ref()).map(phonenumber::Metadata::country_code)
}

/// Returns the country that a number belongs to, if it can be told.
fn region(parsed: &PhoneNumber) -> Option<String> {
    if let Some(id) = parsed.country().id() {
        return Some(id.as_ref().to_owned());
    }
    let regions = regions(parsed.code().value());
    match regions.as_slice() {
        [only] => Some(only.clone()),
        [main, ..] if parsed.is_valid() => Some(main.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Phone, read};

    fn phone(number: &str, country: &str, calling: &str) -> Phone {
        Phone { number: number.into(), country: country.into(), calling: calling.into() }
    }

    fn reads(given: Phone, number: &str, country: &str, calling: &str) {
        let read = read(&given).unwrap_or_else(|refusal| panic!("{given:?}: {}", refusal.message));
        assert_eq!(read, phone(number, country, calling), "{given:?}");
    }

    fn refuses(given: Phone, code: &str, message: &str) {
        let refusal = read(&given).expect_err(&format!("{given:?}"));
        assert_eq!((refusal.code, refusal.message.as_str()), (Some(code), message));
    }

    #[test]
    fn what_is_not_said_is_inferred() {
        reads(phone("+33612345678", "", ""), "612345678", "FR", "+33");
        reads(phone("0612345678", "FR", ""), "612345678", "FR", "+33");
        reads(phone("4155552671", "", "+1"), "4155552671", "US", "+1");
        reads(phone("612345678", "", "33"), "612345678", "FR", "33");
        reads(phone("+1 (415) 555-2671 x123", "", ""), "4155552671", "US", "+1");
        reads(phone("(415) 555-2671", "US", ""), "4155552671", "US", "+1");
        reads(phone("+39061234567", "", ""), "061234567", "IT", "+39");
    }

    #[test]
    fn only_parsing_is_checked() {
        assert!(read(&phone("12345", "US", "")).is_ok());
        reads(phone("+1234", "", ""), "234", "", "+1");
        reads(phone("+15555550100", "", ""), "5555550100", "", "+1");
        reads(phone("+447911123456", "", ""), "7911123456", "GG", "+44");
    }

    #[test]
    fn what_cannot_be_told_or_contradicts_itself_is_refused() {
        refuses(phone("4155552671", "", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid 4155552671");
        refuses(phone("call me", "", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid call me");
        refuses(
            phone("0033612345678", "", ""),
            "INVALID_PHONE_NUMBER",
            "Provided phone number is invalid 0033612345678",
        );
        refuses(
            phone("+33612345678", "US", ""),
            "CONFLICTING_PHONE_COUNTRY_CODE",
            "Provided and inferred country code are conflicting",
        );
        refuses(phone("4155552671", "ZZ", ""), "INVALID_PHONE_COUNTRY_CODE", "Invalid country code ZZ");
        refuses(phone("0612345678", "fr", ""), "INVALID_PHONE_COUNTRY_CODE", "Invalid country code fr");
        assert_eq!(
            read(&phone("+33612345678", "", "+1")).expect_err("a conflict").code,
            Some("CONFLICTING_PHONE_CALLING_CODE")
        );
        assert_eq!(
            read(&phone("612345678", "", "+999")).expect_err("no such code").code,
            Some("INVALID_PHONE_CALLING_CODE")
        );
    }
}
