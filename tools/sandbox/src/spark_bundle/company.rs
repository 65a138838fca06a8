//! Companies, the people in them, and the machines that they own.

use std::io;

use super::{
    Counts, Spec,
    definitions::owner,
    dice::Dice,
    sheet::{COMMON, Workshop},
    words,
};

/// Ids are text: large numbers, so that whoever reads them as 32 bits is found out.
pub(super) fn company_id(index: u64) -> String {
    (3_000_001 + index * 7).to_string()
}

pub(super) fn contact_id(index: u64) -> String {
    (5_000_000_001 + index * 3).to_string()
}

/// Returns the company of a contact, if they have one.
pub(super) fn company_of(spec: &Spec, counts: &Counts, contact: u64) -> Option<u64> {
    let mut dice = Dice::new(spec.seed, "works at", contact);
    if counts.companies == 0 || (!spec.plain && dice.percent(12)) {
        return None;
    }
    Some(dice.skewed(counts.companies))
}

/// Returns the parent of a company: one made before it, unless a cycle is wanted.
fn parent_of(spec: &Spec, counts: &Counts, company: u64, dice: &mut Dice) -> Option<u64> {
    let cycle = counts.companies.min(3);
    if spec.cycle && company < cycle && cycle > 1 {
        return Some((company + 1) % cycle);
    }
    (company > 0 && dice.percent(15)).then(|| dice.below(company))
}

/// Returns an address: street, city, state, postal code, country.
fn address(dice: &mut Dice, plain: bool) -> [String; 5] {
    let city = words::place(dice);
    let street = match dice.below(if plain { 1 } else { 3 }) {
        0 => format!("Main Street {}", dice.between(1, 240)),
        1 => format!("Rue de l'Église {}, 2e étage", dice.between(1, 99)),
        _ => format!("Haus \"{city}\"\nHinterhof {}", dice.between(1, 30)),
    };
    // Leading zeros are lost first when a spreadsheet touches the file.
    [street, city.to_owned(), String::new(), format!("{:05}", dice.below(99_999)), dice.pick(words::COUNTRY).to_owned()]
}

pub(super) fn companies(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "name",
        "domain",
        "website",
        "phone",
        "industry",
        "employee_count",
        "annual_revenue",
        "currency",
        "parent_company_id",
        "owner_id",
        "tags",
        "description",
        "address_street",
        "address_city",
        "address_state",
        "address_postal_code",
        "address_country",
        "cf_tier",
        "cf_renewal",
        "cf_manager",
    ];
    columns.extend(COMMON);
    let mut sheet = if spec.plain {
        workshop.sheet("companies", &columns)?
    } else {
        workshop.marked_sheet("companies", &columns)?
    };
    for index in 0..counts.companies {
        let mut dice = Dice::new(spec.seed, "companies", index);
        let plain = spec.plain;
        let id = company_id(index);
        let name = words::company(&mut dice, index);
        let domain = if !plain && dice.one_in(9) { String::new() } else { format!("{}.example", words::slug(&name)) };
        let website =
            if domain.is_empty() || dice.percent(20) { String::new() } else { format!("https://www.{domain}") };
        let phone = if dice.percent(15) { String::new() } else { words::phone(&mut dice, plain) };
        let industry = match dice.below(10) {
            0 if !plain => "",
            1..=3 if !plain => dice.pick(words::MESSY_INDUSTRY),
            _ => dice.pick(words::INDUSTRY),
        };
        let employees = match dice.below(if plain { 40 } else { 50 }) {
            0..=39 => dice.between(1, 9_000).to_string(),
            40 => "50-100".to_owned(),
            _ => String::new(),
        };
        let revenue =
            if dice.percent(30) { String::new() } else { format!("{}.{:02}", dice.below(90_000_000), dice.below(100)) };
        let currency = if revenue.is_empty() { "" } else { dice.pick(&["EUR", "DKK", "USD"]) };
        let parent = parent_of(spec, counts, index, &mut dice).map(company_id).unwrap_or_default();
        let owner = owner(&mut dice, plain);
        let tags = tags(&mut dice);
        let description = remarks(&mut dice, plain);
        let [street, city, state, code, country] = address(&mut dice, plain);
        let tier = dice.pick(&["A", "B", "C", ""]);
        let renewal = if dice.percent(70) {
            String::new()
        } else {
            let at = dice.moment();
            dice.stamp(at, plain)
        };
        let manager = if dice.percent(50) { "" } else { "102" };
        let born = dice.moment();
        let touched = dice.after(born, 400);
        let (born, touched) = (dice.stamp(born, plain), dice.stamp(touched, plain));
        workshop.record(
            &mut sheet,
            &[
                &id,
                &name,
                &domain,
                &website,
                &phone,
                industry,
                &employees,
                &revenue,
                currency,
                &parent,
                owner,
                &tags,
                &description,
                &street,
                &city,
                &state,
                &code,
                &country,
                tier,
                &renewal,
                manager,
                &born,
                &touched,
                "101",
                "false",
            ],
        )?;
    }
    workshop.end(sheet)
}

pub(super) fn contacts(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "first_name",
        "last_name",
        "email",
        "other_emails",
        "phone",
        "mobile_phone",
        "other_phones",
        "job_title",
        "department",
        "primary_company_id",
        "owner_id",
        "status",
        "lead_source",
        "last_activity_at",
        "tags",
        "tags_event",
        "do_not_contact",
        "address_street",
        "address_city",
        "address_state",
        "address_postal_code",
        "address_country",
        "description",
        "cf_score",
        "cf_newsletter",
        "cf_language",
        "cf_birthday",
        "cf_interests",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("contacts", &columns)?;
    let mut columns = vec!["id", "contact_id", "company_id", "is_primary", "role", "started_on", "ended_on"];
    columns.extend(COMMON);
    let mut links = workshop.sheet("contact_companies", &columns)?;
    let mut link = 0_u64;
    for index in 0..counts.contacts {
        let mut dice = Dice::new(spec.seed, "contacts", index);
        let plain = spec.plain;
        let id = contact_id(index);
        let (first, last) = words::person(&mut dice, plain);
        let company = company_of(spec, counts, index);
        let email = email(&mut dice, plain, index, first, last);
        let first = if !plain && dice.one_in(300) { "Wolfeschlegelsteinhausenbergerdorff Maximilian" } else { first };
        let last = if !plain && dice.one_in(90) { "" } else { last };
        let others = match dice.below(12) {
            0 if !plain => format!("{}@home.example;office.{index}@example.net", words::slug(last)),
            _ => String::new(),
        };
        let phone = if dice.percent(25) { String::new() } else { words::phone(&mut dice, plain) };
        let mobile = if dice.percent(50) { String::new() } else { words::phone(&mut dice, plain) };
        let more_phones = if !plain && dice.one_in(20) { words::phone(&mut dice, true) } else { String::new() };
        let job = if dice.percent(20) { "" } else { dice.pick(words::JOB) };
        let department = if dice.percent(40) { "" } else { dice.pick(words::DEPARTMENT) };
        let employer = company.map(company_id).unwrap_or_default();
        let owner = owner(&mut dice, plain);
        let status = match dice.below(20) {
            0..=6 => "lead",
            7 if !plain => "Lead ",
            8 if !plain => "CUSTOMER",
            9 if !plain => "former",
            _ => "customer",
        };
        let source = if dice.percent(30) { "" } else { dice.pick(words::SOURCE) };
        let tags = tags(&mut dice);
        let event = if dice.one_in(10) { "Hannover, 2024" } else { "" };
        let silent = if dice.one_in(25) { "true" } else { "false" };
        let [street, city, state, code, country] =
            if dice.percent(40) { Default::default() } else { address(&mut dice, plain) };
        let description = remarks(&mut dice, plain);
        let score = if dice.percent(50) { String::new() } else { format!("{}.{}", dice.below(100), dice.below(10)) };
        let newsletter = dice.pick(if plain { &["true", "false"] } else { &["true", "false", "TRUE", "0", ""] });
        let language = dice.pick(if plain { &["en", "de"] } else { &["en", "de", "EN", "da", ""] });
        let birthday = if dice.percent(80) { String::new() } else { dice.day().to_string() };
        let interests = if dice.percent(70) { "" } else { dice.pick(&["wine", "golf;sailing", r"R&D\; labs"]) };
        let born = dice.moment();
        let touched = dice.after(born, 500);
        let active = if dice.percent(30) { String::new() } else { dice.stamp(touched, plain) };
        let (born, changed) = (dice.stamp(born, plain), dice.stamp(touched, plain));
        workshop.record(
            &mut sheet,
            &[
                &id,
                first,
                last,
                &email,
                &others,
                &phone,
                &mobile,
                &more_phones,
                job,
                department,
                &employer,
                owner,
                status,
                source,
                &active,
                &tags,
                event,
                silent,
                &street,
                &city,
                &state,
                &code,
                &country,
                &description,
                &score,
                newsletter,
                language,
                &birthday,
                interests,
                &born,
                &changed,
                "102",
                "false",
            ],
        )?;
        // Some people work for several companies; the first of them is the primary one.
        let further =
            if company.is_some() && counts.companies > 1 && dice.percent(14) { dice.between(1, 2) } else { 0 };
        let Some(first_company) = company.filter(|_| further > 0) else { continue };
        for place in 0..=further {
            let company = (first_company + place * 5) % counts.companies;
            if place > 0 && company == first_company {
                continue;
            }
            link += 1;
            let own = link.to_string();
            let (primary, role) =
                if place == 0 { ("true", "Employee") } else { ("false", dice.pick(&["Board member", "Advisor", ""])) };
            let started = dice.day().to_string();
            let ended = if place > 0 && dice.one_in(5) { "2025-06-30" } else { "" };
            workshop.record(
                &mut links,
                &[&own, &id, &company_id(company), primary, role, &started, ended, &born, &changed, "102", "false"],
            )?;
        }
    }
    workshop.end(sheet)?;
    workshop.end(links)
}

fn email(dice: &mut Dice, plain: bool, index: u64, first: &str, last: &str) -> String {
    let usual = |index: u64| format!("{}.{}{index}@example.com", words::slug(first), words::slug(last));
    match if plain { 1_000 } else { dice.below(150) } {
        0 => "not an address".to_owned(),
        // The same person twice, spelled differently.
        1 => "Info@Example.COM".to_owned(),
        2 => "info@example.com".to_owned(),
        3..=12 => String::new(),
        _ => usual(index),
    }
}

fn tags(dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => dice.pick(words::TAG).to_owned(),
        1 => format!("{}, {}", dice.pick(words::TAG), dice.pick(words::TAG)),
        _ => String::new(),
    }
}

fn remarks(dice: &mut Dice, plain: bool) -> String {
    match if plain { 5 + dice.below(15) } else { dice.below(200) } {
        0 => {
            let length = usize::try_from(dice.between(3_000, 40_000)).unwrap_or(3_000);
            words::essay(dice, length)
        }
        1..=9 => words::remark(dice, plain),
        10..=30 => words::remark(dice, true),
        _ => String::new(),
    }
}

/// A custom object, with its definition and its links.
pub(super) fn machines(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut sheet = workshop.sheet("custom_objects", &["key", "label", "label_plural", "name_field", "description"])?;
    sheet.row(&["machine", "Machine", "Machines", "name", "What we have sold and service"])?;
    workshop.end(sheet)?;
    let mut columns = vec!["id", "name", "owner_id", "cf_serial", "cf_sold_on"];
    columns.extend(COMMON);
    let mut sheet = workshop.begin("machine", "objects/machine", &columns, false)?;
    let columns = ["id", "from_object", "from_id", "to_object", "to_id", "relation", "cardinality"];
    let mut links = workshop.sheet("object_links", &columns)?;
    for index in 0..counts.machines {
        let mut dice = Dice::new(spec.seed, "machines", index);
        let id = format!("M-{index:06}");
        let name = format!("Press {}", dice.between(100, 900));
        let (owner, serial, sold) =
            (owner(&mut dice, false), format!("{:012}", dice.below(1 << 39)), dice.day().to_string());
        workshop.record(
            &mut sheet,
            &[&id, &name, owner, &serial, &sold, "2024-01-02T08:00:00Z", "2024-01-02T08:00:00Z", "101", "false"],
        )?;
        if counts.companies > 0 {
            let owned_by = company_id(dice.below(counts.companies));
            workshop.record(
                &mut links,
                &[&format!("L-{index:06}"), "machine", &id, "company", &owned_by, "owned by", "n1"],
            )?;
        }
    }
    workshop.end(sheet)?;
    workshop.end(links)
}
