#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use waybill_ledger::{Choice, FieldKind};

use super::*;

const PLAN: &str = r#"
version = 1
from = "spark"
to = "salesforce"
key_field = "Key__c"

[owners]
object = "users"
email = "email"

[[seed]]
id = "unassigned"
to = "Account"
fields = { Name = "Unassigned" }

[maps.industry]
fold = true
values = { "software" = "Technology" }

[[rule]]
id = "account"
from = "companies"
to = "Account"
[rule.fields]
Name = "name"
Industry = { from = "industry", map = "industry" }
ParentId = { from = "parent_company_id", lookup = "companies", missing = "blank" }

[[rule]]
id = "contact"
from = "contacts"
to = "Contact"
when = "status != 'spam'"
[rule.fields]
LastName = { from = ["last_name", "email"] }
AccountId = { from = "company_id", lookup = "companies", seed = "unassigned" }
OwnerId = { from = "owner_id", owner = true }
"#;

struct Here {
    landed: BTreeMap<String, Landing>,
    schema: waybill_ledger::Schema,
}

impl World for Here {
    fn record(&self, object: &str, id: &str) -> Option<Record> {
        let fields = [("first_name", "Ann"), ("last_name", "Lee")].map(|(n, v)| (FieldName::from(n), Value::from(v)));
        (object == "people" && id == "p1").then(|| Record { id: id.into(), fields: fields.into_iter().collect() })
    }

    fn children(&self, object: &str, by: &str, id: &str) -> Vec<Record> {
        let child = |id: &str, fields: &[(&str, &str)]| Record {
            id: id.into(),
            fields: fields.iter().map(|(n, v)| (FieldName::from(*n), Value::from(*v))).collect(),
        };
        if (object, by, id) != ("attendees", "meeting_id", "1") {
            return Vec::new();
        }
        vec![
            child("a", &[("person_id", "p1"), ("response", "accepted")]),
            child("b", &[("email", "x@y.example")]),
            child("c", &[]),
        ]
    }

    fn file(&self, path: &str) -> Result<FileFacts, String> {
        match path {
            "files/1/a.txt" => Ok(FileFacts::of(b"hello")),
            "files/2/big" => Ok(FileFacts { size: 26 << 20, sha256: String::new(), md5: String::new() }),
            _ => Err(format!("{path} is not there")),
        }
    }

    fn landed(&self, _: &str, _: Option<&str>, value: &str, _: Option<&RuleId>, _: &[ObjectName]) -> Landing {
        self.landed.get(value).cloned().unwrap_or(Landing::Missing)
    }
    fn reference(&self, _: &str, _: &str) -> Option<&Record> {
        None
    }
    fn owner(&self, id: &str) -> OwnerAnswer {
        match id {
            "u1" => OwnerAnswer::User("005".into()),
            "u2" => OwnerAnswer::Held,
            _ => OwnerAnswer::Unknown,
        }
    }
    fn seed(&self, id: &str) -> Option<String> {
        (id == "unassigned").then(|| "001SEED".into())
    }
    fn variant(&self, _: &str, _: &str) -> Option<String> {
        None
    }
    fn schema(&self, object: &str) -> Option<&ObjectSchema> {
        self.schema.object(object)
    }
}

fn field(name: &str, kind: FieldKind, required: bool) -> FieldSchema {
    FieldSchema {
        name: name.into(),
        label: name.into(),
        kind,
        required,
        createable: true,
        updateable: true,
        unique: false,
        external_id: false,
        case_sensitive: false,
    }
}

fn world() -> Here {
    let text = FieldKind::Text { length: 80, multiline: false, rich: false };
    let to = |object: &str| FieldKind::Reference { to: vec![object.into()] };
    let options = vec![Choice { value: "Technology".into(), label: "Technology".into(), active: true }];
    let object = |name: &str, fields| ObjectSchema {
        name: name.into(),
        label: name.into(),
        createable: true,
        updateable: true,
        deletable: true,
        fields,
        variants: vec![],
    };
    let account = vec![
        field("Name", text.clone(), true),
        field("Industry", FieldKind::Choice { options, restricted: true }, false),
        field("ParentId", to("Account"), false),
    ];
    let contact = vec![
        field("LastName", text, true),
        field("AccountId", to("Account"), false),
        field("OwnerId", to("User"), false),
    ];
    let landed = [("c1".to_owned(), Landing::Id("001".into())), ("c2".to_owned(), Landing::NotYet(None))];
    Here {
        landed: landed.into_iter().collect(),
        schema: waybill_ledger::Schema { objects: vec![object("Account", account), object("Contact", contact)] },
    }
}

fn map(rule: &str, fields: &[(&str, &str)]) -> MapOutcome {
    let plan = Plan::parse(PLAN).unwrap();
    let fields = fields.iter().map(|(name, value)| (*name, Field::from(*value))).collect();
    plan.map(plan.rule(&rule.into()).unwrap(), &Record { id: "1".into(), fields }, &world())
}

fn mapped(outcome: MapOutcome) -> Mapped {
    match outcome {
        MapOutcome::Mapped(mapped) => mapped,
        other => panic!("not mapped: {other:?}"),
    }
}

#[test]
fn values_are_mapped_and_every_decision_names_its_rule() {
    let mapped = mapped(map("account", &[("name", "Acme"), ("industry", " Software"), ("parent_company_id", "c1")]));
    assert_eq!(mapped.fields.text("Industry"), Some("Technology"));
    assert_eq!(mapped.fields.text("ParentId"), Some("001"));
    assert_eq!(mapped.decisions.len(), 1);
    assert_eq!(mapped.decisions[0].rule.as_str(), "account.Industry");
}

#[test]
fn what_has_not_landed_yet_comes_in_a_second_pass_and_what_never_will_is_decided() {
    let first = mapped(map("account", &[("name", "Acme"), ("parent_company_id", "c2")]));
    assert!(first.later.contains("ParentId") && !first.fields.contains("ParentId"));
    let orphan = mapped(map("account", &[("name", "Acme"), ("parent_company_id", "gone")]));
    assert_eq!(orphan.fields.get("ParentId"), Field::Null);
    assert!(orphan.decisions[0].what.contains("there is no companies"));
}

#[test]
fn a_record_that_cannot_land_whole_waits_and_says_why() {
    let held = |outcome| match outcome {
        MapOutcome::Held { reason, text } => (reason, text),
        other => panic!("not held: {other:?}"),
    };
    let contact = |owner, company| map("contact", &[("last_name", "L"), ("owner_id", owner), ("company_id", company)]);
    assert_eq!(held(contact("u2", "c1")).0, HoldReason::Owner);
    assert_eq!(held(contact("u9", "c1")).0, HoldReason::Owner);
    assert_eq!(held(contact("u1", "gone")).0, HoldReason::MissingParent);
    assert_eq!(held(map("account", &[("industry", "Farming"), ("name", "x")])).0, HoldReason::UnmappedValue);
    let (reason, text) = held(map("contact", &[("owner_id", "u1")]));
    assert_eq!(reason, HoldReason::MissingValue);
    assert!(text.contains("LastName"));
}

#[test]
fn the_seed_and_the_second_choice_stand_in() {
    let mapped = mapped(map("contact", &[("email", "a@b.co"), ("owner_id", "u1"), ("last_name", " ")]));
    assert_eq!(mapped.fields.text("AccountId"), Some("001SEED"));
    assert_eq!(mapped.fields.text("LastName"), Some("a@b.co"));
    let spam = map("contact", &[("status", "spam")]);
    assert!(matches!(spam, MapOutcome::Skipped { reason: SkipReason::Condition, .. }));
}

#[test]
fn a_plan_that_contradicts_itself_is_refused_with_every_reason() {
    let wrong = PLAN
        .replace("map = \"industry\"", "map = \"nowhere\"")
        .replace("id = \"contact\"", "id = \"account\"")
        .replace("lookup = \"companies\", seed", "lookup = \"orders\", seed")
        .replace("Name = \"name\"", "Name = \"name\"\nNAME = \"name\"");
    let error = Plan::parse(&wrong).unwrap_err().to_string();
    for reason in ["two rules have the id `account`", "`nowhere`", "no rule lands records", "differ only by case"] {
        assert!(error.contains(reason), "{reason} is missing from:\n{error}");
    }
    let twice = format!(
        "{PLAN}\n[[rule]]\nid = \"again\"\nfrom = \"companies\"\nto = \"Account\"\n[rule.fields]\nName = \"name\"\n"
    );
    assert!(Plan::parse(&twice).unwrap_err().to_string().contains("both make every record of companies"));
    let unknown = PLAN.replace("map = \"industry\"", "mpa = \"industry\"");
    assert!(Plan::parse(&unknown).is_err());
}

#[test]
fn the_digest_is_that_of_the_meaning() {
    let plan = Plan::parse(PLAN).unwrap();
    let commented = Plan::parse(&format!("# a note\n{PLAN}")).unwrap();
    assert_eq!(plan.digest(), commented.digest());
    let edited = Plan::parse(&PLAN.replace("Technology", "Tech")).unwrap();
    assert_ne!(plan.digest(), edited.digest());
}

#[test]
fn phases_follow_references_and_leave_self_references_out() {
    let phases = Plan::parse(PLAN).unwrap().phases().unwrap();
    let objects: Vec<_> = phases.iter().map(|phase| phase.object.to_string()).collect();
    assert_eq!(objects, ["Account", "Contact"]);
    let circle =
        PLAN.replace("Name = \"name\"\n", "Name = \"name\"\nMain__c = { from = \"main\", lookup = \"contacts\" }\n");
    let error = Plan::parse(&circle).unwrap().phases().unwrap_err().to_string();
    assert!(error.contains("Account → Contact → Account"), "{error}");
}

#[test]
fn a_check_names_every_field_that_is_not_there() {
    let plan = Plan::parse(PLAN).unwrap();
    let findings = check(&plan, &waybill_ledger::Schema::default(), &world().schema, &|_, _| false);
    assert!(findings.iter().any(|finding| finding.what.contains("the export has no object `companies`")));
    assert!(findings.iter().any(|finding| finding.at == "Account.Key__c"));
    assert!(findings.iter().all(|finding| finding.severity == Severity::Blocks));
    let may_have = |object: &str, _: Option<&str>| object == "companies";
    let findings = check(&plan, &waybill_ledger::Schema::default(), &world().schema, &may_have);
    assert!(findings.iter().any(|f| f.at == "companies" && f.severity == Severity::Note && f.what.contains("empty")));
}
