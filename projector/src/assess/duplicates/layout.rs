//! Which fields tell who someone is: found by their names and kinds, so that no system has to be known.

use waybill_ledger::{FieldKind, ObjectSchema};

/// What the records of an object stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// People: contacts, leads, employees.
    People,
    /// Companies.
    Companies,
}

/// What a field says about someone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The last name of a person, the name of a company.
    Name,
    /// The first name.
    First,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// The day of birth.
    Born,
    /// A number that an authority or the company itself has given.
    Number,
    /// The number of the house.
    House,
    /// The street and what else stands before the city.
    Street,
    /// The city.
    City,
    /// The postal code.
    Postal,
    /// The company's web address.
    Domain,
    /// The company that someone works for.
    Employer,
}

/// How many slots there are.
pub(crate) const SLOTS: usize = 12;

/// The fields of one object that tell who its records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the records stand for.
    pub who: Who,
    /// The fields with what they say, in the order of the schema.
    pub fields: Vec<(String, Slot)>,
}

impl Layout {
    /// Finds the fields of an object that stands for people or for companies. `companies` are the objects that a reference to an
    /// employer may point to.
    pub fn find(schema: &ObjectSchema, companies: &dyn Fn(&str) -> bool) -> Option<Self> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '.'], "_");
        let has =
            |wanted: &[&str]| schema.fields.iter().any(|field| wanted.contains(&plain(field.name.as_str()).as_str()));
        let who = if has(&["last_name", "lastname", "surname", "family_name"]) {
            Who::People
        } else if has(&["name", "company_name"])
            && has(&["domain", "website", "registration_no", "vat_number", "vat_id"])
        {
            Who::Companies
        } else {
            return None;
        };
        let mut fields = Vec::new();
        for field in &schema.fields {
            let name = plain(field.name.as_str());
            let bare = ["address_", "addr_", "mailing_", "billing_", "home_"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix).filter(|rest| !rest.chars().all(|c| c.is_ascii_digit())))
                .unwrap_or(&name);
            let slot = match (who, &field.kind, bare) {
                (Who::People, _, "last_name" | "lastname" | "surname" | "family_name")
                | (Who::Companies, _, "name" | "company_name") => Slot::Name,
                (Who::People, _, "first_name" | "firstname" | "given_name" | "forename") => Slot::First,
                (Who::Companies, _, "domain" | "website" | "url") => Slot::Domain,
                (Who::People, FieldKind::Reference { to }, _) if to.iter().any(|to| companies(to.as_str())) => {
                    Slot::Employer
                }
                (_, FieldKind::Reference { .. }, _) => continue,
                (_, FieldKind::Email, _) | (_, _, "email" | "other_emails" | "e_mail" | "email_address") => Slot::Email,
                (_, FieldKind::Phone, _)
                | (_, _, "phone" | "mobile" | "msisdn" | "phone_number" | "mobile_phone" | "other_phones") => {
                    Slot::Phone
                }
                (_, _, "date_of_birth" | "birth_date" | "birthdate" | "birthday" | "dob" | "cf_birthday") => Slot::Born,
                (
                    _,
                    _,
                    "soc_sec_id" | "ssn" | "national_id" | "tax_id" | "vat_number" | "vat_id" | "registration_no",
                ) => Slot::Number,
                (_, _, "street_number" | "house_number" | "house_no") => Slot::House,
                (_, _, "street" | "line_1" | "line_2" | "address_1" | "address_2" | "address" | "street_address") => {
                    Slot::Street
                }
                (_, _, "city" | "suburb" | "town") => Slot::City,
                (_, _, "postal_code" | "postcode" | "zip" | "zip_code" | "postalcode") => Slot::Postal,
                _ => continue,
            };
            fields.push((field.name.to_string(), slot));
        }
        Some(Self { who, fields })
    }
}
