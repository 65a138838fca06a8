//! Deals, who takes part in them, and how they went through their stages.

use std::io;

use chrono::Duration;

use super::{
    Counts, Spec,
    company::{company_id, company_of, contact_id},
    definitions::{STAGES, owner},
    dice::Dice,
    sheet::{COMMON, Workshop},
    words,
};

pub(super) fn deal_id(index: u64) -> String {
    (700_001 + index).to_string()
}

const ROLES: &[&str] = &["Decision Maker", "Influencer", "Evaluator", "Economic Buyer"];
const MESSY_ROLES: &[&str] =
    &["Decision maker", "Influencer", "evaluator", "Champion", "Blocker", "economic buyer", ""];

pub(super) fn deals(workshop: &mut Workshop, spec: &Spec, counts: &Counts) -> io::Result<()> {
    let mut columns = vec![
        "id",
        "name",
        "amount",
        "currency",
        "close_date",
        "closed_at",
        "pipeline_id",
        "stage_id",
        "stage_entered_at",
        "status",
        "lost_reason",
        "probability",
        "company_id",
        "primary_contact_id",
        "owner_id",
        "source",
        "tags",
        "description",
        "cf_contract_value",
        "cf_margin",
        "cf_referrer",
    ];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("deals", &columns)?;
    let mut columns = vec!["id", "deal_id", "contact_id", "role", "is_primary"];
    columns.extend(COMMON);
    let mut roles = workshop.sheet("deal_contacts", &columns)?;
    let columns = ["id", "deal_id", "stage_id", "entered_at", "left_at", "changed_by_id"];
    let mut history = workshop.sheet("deal_stage_history", &columns)?;
    let (mut role_count, mut step_count) = (0_u64, 0_u64);
    for index in 0..counts.deals {
        let mut dice = Dice::new(spec.seed, "deals", index);
        let plain = spec.plain;
        let id = deal_id(index);
        let stage = &STAGES[usize::try_from(dice.below(STAGES.len() as u64)).unwrap_or(0)];
        let people = take_part(spec, counts, &mut dice);
        let company = people.first().and_then(|&person| company_of(spec, counts, person)).or_else(|| {
            let has_one = counts.companies > 0 && (plain || dice.percent(50));
            has_one.then(|| dice.skewed(counts.companies))
        });
        let name = format!("{} – {} machines", words::place(&mut dice), dice.between(1, 40));
        let amount = if !plain && dice.one_in(20) {
            String::new()
        } else {
            format!("{}.{:02}", dice.below(400_000), dice.below(100))
        };
        let currency = dice.pick(if plain { &["EUR"] } else { &["EUR", "EUR", "EUR", "DKK", "USD", "JPY"] });
        let born = dice.moment();
        let entered = dice.after(born, 60);
        let closed = if stage.category == "open" { String::new() } else { dice.stamp(entered, plain) };
        let due = if stage.category == "open" { entered + Duration::days(45) } else { entered };
        let close_date = if !plain && stage.category == "open" && dice.one_in(100) {
            String::new()
        } else {
            due.date_naive().to_string()
        };
        let lost =
            if stage.category == "lost" { dice.pick(&["Price", "No budget, no plan", "Competitor"]) } else { "" };
        let owner = owner(&mut dice, plain);
        let source = if dice.percent(30) { "" } else { dice.pick(words::SOURCE) };
        let tags = if dice.one_in(6) { dice.pick(words::TAG) } else { "" };
        let description = if dice.one_in(8) { words::remark(&mut dice, plain) } else { String::new() };
        let value = if dice.percent(50) { String::new() } else { format!("{}.5", dice.below(90_000)) };
        let margin = if dice.percent(50) { String::new() } else { format!("{}.5", dice.below(60)) };
        let referrer = if counts.contacts > 0 && dice.one_in(12) {
            contact_id(dice.below(counts.contacts))
        } else {
            String::new()
        };
        let touched = dice.after(entered, 30);
        let (born_at, touched_at, entered_at) =
            (dice.stamp(born, plain), dice.stamp(touched, plain), dice.stamp(entered, plain));
        let employer = company.map(company_id).unwrap_or_default();
        let primary = people.first().copied().map(contact_id).unwrap_or_default();
        workshop.record(
            &mut sheet,
            &[
                &id,
                &name,
                &amount,
                currency,
                &close_date,
                &closed,
                stage.pipeline,
                stage.id,
                &entered_at,
                stage.category,
                lost,
                stage.probability,
                &employer,
                &primary,
                owner,
                source,
                tags,
                &description,
                &value,
                &margin,
                &referrer,
                &born_at,
                &touched_at,
                "101",
                "false",
            ],
        )?;
        for (place, &person) in people.iter().enumerate() {
            role_count += 1;
            let role = dice.pick(if plain { ROLES } else { MESSY_ROLES });
            let first = if place == 0 { "true" } else { "false" };
            workshop.record(
                &mut roles,
                &[
                    &role_count.to_string(),
                    &id,
                    &contact_id(person),
                    role,
                    first,
                    &born_at,
                    &touched_at,
                    "101",
                    "false",
                ],
            )?;
        }
        // The stage before, if there was one, and the stage now.
        let before = STAGES
            .iter()
            .take_while(|other| other.id != stage.id)
            .filter(|other| other.pipeline == stage.pipeline)
            .last();
        if let Some(before) = before.filter(|_| dice.percent(40)) {
            step_count += 1;
            workshop.record(&mut history, &[&step_count.to_string(), &id, before.id, &born_at, &entered_at, owner])?;
        }
        if dice.percent(70) {
            step_count += 1;
            workshop.record(&mut history, &[&step_count.to_string(), &id, stage.id, &entered_at, "", owner])?;
        }
    }
    workshop.end(sheet)?;
    workshop.end(roles)?;
    workshop.end(history)
}

/// Returns the people of a deal, each once, the primary one first. Some deals have none.
fn take_part(spec: &Spec, counts: &Counts, dice: &mut Dice) -> Vec<u64> {
    let wanted = match dice.below(10) {
        0 if !spec.plain => 0,
        0..=6 => 1,
        7 | 8 => 2,
        _ => 3,
    };
    let mut people = Vec::new();
    for _ in 0..wanted.min(counts.contacts) {
        let person = dice.below(counts.contacts);
        if !people.contains(&person) {
            people.push(person);
        }
    }
    people
}
