//! What describes the source: users, pipelines and stages, custom fields, and what is only documented.

use std::io;

use super::{
    Spec,
    dice::Dice,
    sheet::{COMMON, Workshop},
};

const BORN: &str = "2021-11-02T09:00:00Z";

/// A user; the first three can own records everywhere.
pub(super) struct SparkUser {
    pub(super) id: &'static str,
    pub(super) email: &'static str,
    first: &'static str,
    last: &'static str,
    active: bool,
    manager: &'static str,
}

pub(super) const USERS: [SparkUser; 5] = [
    SparkUser {
        id: "101",
        email: "ada.lovelace@example.com",
        first: "Ada",
        last: "Lovelace",
        active: true,
        manager: "",
    },
    SparkUser {
        id: "102",
        email: "grace.hopper@example.com",
        first: "Grace",
        last: "Hopper",
        active: true,
        manager: "101",
    },
    SparkUser {
        id: "103",
        email: "alan.turing@example.com",
        first: "Alan",
        last: "Turing",
        active: true,
        manager: "101",
    },
    SparkUser { id: "104", email: "nobody@example.org", first: "No", last: "Body", active: true, manager: "102" },
    SparkUser {
        id: "105",
        email: "katherine.johnson@example.com",
        first: "Katherine",
        last: "Johnson",
        active: false,
        manager: "102",
    },
];

/// Returns the id of an owner: mostly someone who is still here.
pub(super) fn owner(dice: &mut Dice, plain: bool) -> &'static str {
    let thrown = dice.below(100);
    if plain {
        return USERS[usize::from(thrown > 33) + usize::from(thrown > 66)].id;
    }
    match thrown {
        0..=32 => USERS[0].id,
        33..=63 => USERS[1].id,
        64..=86 => USERS[2].id,
        87..=92 => USERS[3].id,
        93..=97 => USERS[4].id,
        _ => "",
    }
}

pub(super) fn users(workshop: &mut Workshop, spec: &Spec) -> io::Result<()> {
    let mut columns =
        vec!["id", "email", "first_name", "last_name", "is_active", "role", "profile", "manager_user_id", "time_zone"];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("users", &columns)?;
    for user in &USERS[..if spec.plain { 3 } else { 5 }] {
        let role = if user.manager.is_empty() { "Manager" } else { "Sales" };
        let active = if user.active { "true" } else { "false" };
        sheet.row(&[
            user.id,
            user.email,
            user.first,
            user.last,
            active,
            role,
            "Standard",
            user.manager,
            "Europe/London",
            BORN,
            BORN,
            "101",
            "false",
        ])?;
    }
    workshop.end(sheet)
}

/// A stage of a pipeline.
pub(super) struct Stage {
    pub(super) id: &'static str,
    pub(super) pipeline: &'static str,
    name: &'static str,
    tidy: &'static str,
    pub(super) probability: &'static str,
    pub(super) category: &'static str,
    forecast: &'static str,
}

/// Two pipelines whose stages say the same things in different spellings, as grown systems do.
pub(super) const STAGES: [Stage; 11] = [
    stage("2001", "21", "Qualification", "Qualification", "10", "open", "pipeline"),
    stage("2002", "21", "Needs Analysis", "Needs Analysis", "25", "open", "pipeline"),
    stage("2003", "21", "Proposal", "Proposal", "50", "open", "best_case"),
    stage("2004", "21", "Negotiation", "Negotiation", "75", "open", "commit"),
    stage("2005", "21", "Closed Won", "Closed Won", "100", "won", "closed"),
    stage("2006", "21", "Closed Lost", "Closed Lost", "0", "lost", "omitted"),
    stage("2011", "22", "qualification", "Qualification", "10", "open", "pipeline"),
    stage("2012", "22", "Needs  analysis ", "Needs Analysis", "25", "open", "pipeline"),
    stage("2013", "22", "PROPOSAL", "Proposal", "50", "open", "best_case"),
    stage("2014", "22", "Closed won", "Closed Won", "100", "won", "closed"),
    stage("2015", "22", " Closed Lost", "Closed Lost", "0", "lost", "omitted"),
];

const fn stage(
    id: &'static str,
    pipeline: &'static str,
    name: &'static str,
    tidy: &'static str,
    probability: &'static str,
    category: &'static str,
    forecast: &'static str,
) -> Stage {
    Stage { id, pipeline, name, tidy, probability, category, forecast }
}

pub(super) fn pipelines(workshop: &mut Workshop, spec: &Spec) -> io::Result<()> {
    let mut columns = vec!["id", "name", "position", "is_default", "is_active"];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("pipelines", &columns)?;
    for (id, name, position, default) in [("21", "New Business", "1", "true"), ("22", "Renewals", "2", "false")] {
        sheet.row(&[id, name, position, default, "true", BORN, BORN, "101", "false"])?;
    }
    workshop.end(sheet)?;

    let mut columns =
        vec!["id", "pipeline_id", "name", "position", "probability", "category", "forecast_category", "color"];
    columns.extend(COMMON);
    let mut sheet = workshop.sheet("stages", &columns)?;
    for (index, stage) in STAGES.iter().enumerate() {
        let name = if spec.plain { stage.tidy } else { stage.name };
        let position = (index % 6 + 1).to_string();
        sheet.row(&[
            stage.id,
            stage.pipeline,
            name,
            &position,
            stage.probability,
            stage.category,
            stage.forecast,
            "#3366cc",
            BORN,
            BORN,
            "101",
            "false",
        ])?;
    }
    workshop.end(sheet)
}

/// The custom columns, by object, key, label, type, options, decimals and reference.
const CUSTOM: [[&str; 7]; 11] = [
    ["contact", "score", "Score", "number", "", "1", ""],
    ["contact", "newsletter", "Newsletter", "checkbox", "", "", ""],
    ["contact", "language", "Preferred language", "picklist", "en;de;da;pt", "", ""],
    ["contact", "birthday", "Birthday", "date", "", "", ""],
    ["contact", "interests", "Interests", "multi_picklist", r"wine;golf;R&D\; labs;sailing", "", ""],
    ["company", "tier", "Tier", "picklist", "A;B;C", "", ""],
    ["company", "renewal", "Renewal", "datetime", "", "", ""],
    ["company", "manager", "Account manager", "user", "", "", ""],
    ["deal", "contract_value", "Contract value", "money", "", "2", ""],
    ["deal", "margin", "Margin", "percent", "", "1", ""],
    ["deal", "referrer", "Referred by", "reference", "", "", "contact"],
];

pub(super) fn custom_fields(workshop: &mut Workshop) -> io::Result<()> {
    let columns = [
        "object",
        "key",
        "label",
        "type",
        "required",
        "multi",
        "options",
        "decimals",
        "currency",
        "max_length",
        "help",
        "reference_object",
    ];
    let mut sheet = workshop.sheet("custom_fields", &columns)?;
    for [object, key, label, kind, options, decimals, reference] in CUSTOM {
        let multi = if kind == "multi_picklist" { "true" } else { "false" };
        sheet.row(&[object, key, label, kind, "false", multi, options, decimals, "", "", "", reference])?;
    }
    workshop.end(sheet)
}

/// Definitions that are documented and never migrated.
pub(super) fn documented(workshop: &mut Workshop) -> io::Result<()> {
    let workflows = serde_json::json!([
        { "id": "w1", "name": "Welcome", "is_active": true, "trigger": { "on": "contact.created" },
          "conditions": [{ "field": "status", "is": "lead" }], "actions": [{ "send": "welcome" }],
          "timing": { "delay_minutes": 10 }, "segments": [], "owner_id": "101" },
        { "id": "w2", "name": "Stale deals", "is_active": false, "trigger": { "every": "P1D" },
          "conditions": [{ "field": "stage_entered_at", "older_than": "P30D" }], "actions": [{ "notify": "owner" }],
          "timing": {}, "segments": [], "owner_id": "102" },
    ]);
    let sequences = serde_json::json!([
        { "id": "q1", "name": "First touch", "enrolled_count": 12, "steps": [
            { "position": 1, "channel": "email", "delay": "P0D", "template": "hello" },
            { "position": 2, "channel": "call", "delay": "P3D", "template": "" } ] },
    ]);
    workshop.document("workflows", &format!("{workflows:#}\n"), 2)?;
    workshop.document("sequences", &format!("{sequences:#}\n"), 1)
}
