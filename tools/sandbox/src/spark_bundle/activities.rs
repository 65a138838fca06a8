//! What people did: calls, e-mails, meetings, tasks, notes, and the files that they attached.

use std::{fs, io};

use chrono::Duration;
use sha2::{Digest, Sha256};

use super::{
    Counts, Spec,
    company::{company_id, company_of, contact_id},
    deals::deal_id,
    definitions::{USERS, owner},
    dice::Dice,
    sheet::{COMMON, Workshop},
    words,
};

/// The contact, the company and the deal that something is about.
fn about(spec: &Spec, counts: &Counts, dice: &mut Dice) -> [String; 3] {
    let person = (counts.contacts > 0 && dice.percent(85)).then(|| dice.below(counts.contacts));
    let company = person.and_then(|person| company_of(spec, counts, person));
    let deal = (counts.deals > 0 && dice.percent(35)).then(|| dice.below(counts.deals));
    [
        person.map(contact_id).unwrap_or_default(),
        company.map(company_id).unwrap_or_default(),
        deal.map(deal_id).unwrap_or_default(),
    ]
}

/// Returns an object with the id of one of its records, for what hangs on anything.
fn anything(counts: &Counts, dice: &mut Dice) -> (&'static str, String) {
    let from = [
        ("contact", counts.contacts, contact_id as fn(u64) -> String),
        ("company", counts.companies, company_id),
        ("deal", counts.deals, deal_id),
    ];
    let first = usize::try_from(dice.below(3)).unwrap_or(0);
    (0..3)
        .map(|turn| from[(first + turn) % 3])
        .find(|(_, count, _)| *count > 0)
        .map_or(("contact", String::new()), |(object, count, id)| (object, id(dice.below(count))))
}

pub(super) fn calls(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "subject",
        "body_html",
        "occurred_at",
        "duration_seconds",
        "direction",
        "outcome",
        "disposition_code",
        "phone_number",
        "recording_url",
        "owner_id",
        "contact_id",
        "company_id",
        "deal_id",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("calls", &columns)?;
    for index in 0..counts.calls {
        let mut dice = Dice::new(spec.seed, "calls", index);
        let plain = spec.plain;
        let subject = if !plain && dice.one_in(15) { "" } else { "Call about the offer" };
        let body = format!("<p>{}</p>", words::remark(&mut dice, plain));
        let at = dice.moment();
        let at = dice.stamp(at, plain);
        let seconds = if !plain && dice.one_in(10) { String::new() } else { dice.below(3_600).to_string() };
        let direction = dice.pick(&["inbound", "outbound"]);
        let outcome = dice.pick(if plain { &["Connected"] } else { &["Connected", "No answer", "left voicemail", ""] });
        let number = words::phone(&mut dice, plain);
        let owner = owner(&mut dice, plain);
        let [person, company, deal] = about(spec, counts, &mut dice);
        let id = format!("c{index}");
        workshop.record(
            &mut sheet,
            &[
                &id, subject, &body, &at, &seconds, direction, outcome, "D1", &number, "", owner, &person, &company,
                &deal, &at, &at, "101", "false",
            ],
        )?;
    }
    workshop.end(sheet)
}

pub(super) fn emails(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "subject",
        "body_html",
        "body_text",
        "sent_at",
        "direction",
        "from_address",
        "to_addresses",
        "cc_addresses",
        "bcc_addresses",
        "message_id",
        "thread_id",
        "owner_id",
        "contact_id",
        "company_id",
        "deal_id",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("emails", &columns)?;
    for index in 0..counts.emails {
        let mut dice = Dice::new(spec.seed, "emails", index);
        let plain = spec.plain;
        let body =
            if !plain && dice.one_in(120) { words::essay(&mut dice, 40_000) } else { words::remark(&mut dice, plain) };
        let html = format!("<html><body><p>{}</p></body></html>", body.replace('\n', "<br>"));
        let at = dice.moment();
        let at = dice.stamp(at, plain);
        let from = USERS[usize::try_from(dice.below(3)).unwrap_or(0)].email;
        let to = if dice.one_in(3) { "anna@example.org;info@example.net" } else { "anna@example.org" };
        let owner = owner(&mut dice, plain);
        let [person, company, deal] = about(spec, counts, &mut dice);
        let id = format!("e{index}");
        let message = format!("<{index}.{}@mail.example>", spec.seed);
        let thread = format!("t{}", index / 3);
        workshop.record(
            &mut sheet,
            &[
                &id,
                "Re: your offer, part 2",
                &html,
                &body,
                &at,
                "outbound",
                from,
                to,
                "",
                "",
                &message,
                &thread,
                owner,
                &person,
                &company,
                &deal,
                &at,
                &at,
                "101",
                "false",
            ],
        )?;
    }
    workshop.end(sheet)
}

pub(super) fn meetings(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "subject",
        "starts_at",
        "ends_at",
        "is_all_day",
        "time_zone",
        "location",
        "agenda_html",
        "outcome",
        "recurrence_rule",
        "recurrence_exceptions",
        "series_id",
        "original_start",
        "owner_id",
        "contact_id",
        "company_id",
        "deal_id",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("meetings", &columns)?;
    let columns = ["id", "meeting_id", "contact_id", "user_id", "email", "name", "response"];
    let mut attendees = workshop.sheet("meeting_attendees", &columns)?;
    let mut attendee = 0_u64;
    for index in 0..counts.meetings {
        let mut dice = Dice::new(spec.seed, "meetings", index);
        let plain = spec.plain;
        let id = format!("m{index}");
        let starts = dice.moment();
        let ends = starts + Duration::minutes(30 * i64::try_from(dice.between(1, 6)).unwrap_or(1));
        let (from, to) = (dice.stamp(starts, plain), dice.stamp(ends, plain));
        let weekly = !plain && dice.one_in(12);
        let rule = if weekly { "FREQ=WEEKLY;COUNT=8" } else { "" };
        let except = if weekly { dice.stamp(starts + Duration::days(7), true) } else { String::new() };
        let agenda = format!("<ul><li>{}</li></ul>", words::remark(&mut dice, plain));
        let place = words::place(&mut dice);
        let owner = owner(&mut dice, plain);
        let [person, company, deal] = about(spec, counts, &mut dice);
        workshop.record(
            &mut sheet,
            &[
                &id,
                "Site visit",
                &from,
                &to,
                "false",
                "Europe/London",
                place,
                &agenda,
                "",
                rule,
                &except,
                "",
                "",
                owner,
                &person,
                &company,
                &deal,
                &from,
                &from,
                "101",
                "false",
            ],
        )?;
        let user = &USERS[usize::try_from(dice.below(3)).unwrap_or(0)];
        for (person, user_id, email) in [(person.as_str(), "", ""), ("", user.id, user.email)] {
            if person.is_empty() && user_id.is_empty() {
                continue;
            }
            attendee += 1;
            let response = dice.pick(&["accepted", "declined", "none"]);
            workshop.record(&mut attendees, &[&attendee.to_string(), &id, person, user_id, email, "", response])?;
        }
    }
    workshop.end(sheet)?;
    workshop.end(attendees)
}

pub(super) fn tasks(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "title",
        "body_html",
        "due_at",
        "status",
        "completed_at",
        "priority",
        "type",
        "owner_id",
        "contact_id",
        "company_id",
        "deal_id",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("tasks", &columns)?;
    for index in 0..counts.tasks {
        let mut dice = Dice::new(spec.seed, "tasks", index);
        let plain = spec.plain;
        let born = dice.moment();
        let due = dice.stamp(born + Duration::days(9), plain);
        let done = dice.percent(60);
        let completed = if done { dice.stamp(born + Duration::days(3), plain) } else { String::new() };
        let status = if done { "completed" } else { "open" };
        let priority = dice.pick(if plain { &["normal"] } else { &["low", "normal", "HIGH", ""] });
        let body = format!("<p>{}</p>", words::remark(&mut dice, plain));
        let owner = owner(&mut dice, plain);
        let [person, company, deal] = about(spec, counts, &mut dice);
        let (id, born) = (format!("t{index}"), dice.stamp(born, plain));
        workshop.record(
            &mut sheet,
            &[
                &id,
                "Send the offer",
                &body,
                &due,
                status,
                &completed,
                priority,
                "todo",
                owner,
                &person,
                &company,
                &deal,
                &born,
                &born,
                "101",
                "false",
            ],
        )?;
    }
    workshop.end(sheet)
}

pub(super) fn notes(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec!["id", "title", "body_html", "owner_id", "parent_object", "parent_id"];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("notes", &columns)?;
    let columns = ["from_object", "from_id", "to_object", "to_id", "label", "is_primary"];
    let mut further = workshop.sheet("associations", &columns)?;
    for index in 0..counts.notes {
        let mut dice = Dice::new(spec.seed, "notes", index);
        let plain = spec.plain;
        let body =
            if !plain && dice.one_in(100) { words::essay(&mut dice, 12_000) } else { words::remark(&mut dice, plain) };
        let html = format!("<p>{}</p>", body.replace('\n', "</p>\n<p>"));
        let title = if !plain && dice.one_in(6) { "" } else { "After the visit" };
        let owner = owner(&mut dice, plain);
        let (object, parent) = anything(counts, &mut dice);
        let at = dice.moment();
        let (id, at) = (format!("n{index}"), dice.stamp(at, plain));
        workshop.record(&mut sheet, &[&id, title, &html, owner, object, &parent, &at, &at, "101", "false"])?;
        if dice.one_in(8) {
            let (object, other) = anything(counts, &mut dice);
            if other != parent {
                workshop.record(&mut further, &["note", &id, object, &other, "", "false"])?;
            }
        }
    }
    workshop.end(sheet)?;
    workshop.end(further)
}

pub(super) fn files(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let columns = [
        "file_id",
        "parent_object",
        "parent_id",
        "name",
        "path",
        "mime_type",
        "size_bytes",
        "sha256",
        "inline",
        "content_id",
        "url",
        "owner_id",
    ];
    let mut sheet = workshop.sheet("files", &columns)?;
    for index in 0..counts.files {
        let mut dice = Dice::new(spec.seed, "files", index);
        let id = format!("f{index}");
        let name = dice.pick(if spec.plain {
            &["offer.txt"]
        } else {
            &["offer.txt", "Angebot Größe 4.txt", "minutes (final), v2.txt"]
        });
        let length = usize::try_from(dice.between(20, 2_000)).unwrap_or(20);
        let content = words::essay(&mut dice, length);
        let path = format!("files/{id}/{name}");
        fs::create_dir_all(workshop.dir.join("files").join(&id))?;
        fs::write(workshop.dir.join(&path), &content)?;
        workshop.binaries.0 += 1;
        workshop.binaries.1 += content.len() as u64;
        let (object, parent) = anything(counts, &mut dice);
        let digest = format!("{:x}", Sha256::digest(&content));
        let size = content.len().to_string();
        let owner = owner(&mut dice, spec.plain);
        workshop.record(
            &mut sheet,
            &[&id, object, &parent, name, &path, "text/plain", &size, &digest, "false", "", "", owner],
        )?;
    }
    workshop.end(sheet)
}
