//! Rows c01 to c13: Spark CRM to Twenty, read back over Twenty's own wire.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

use serde_json::{Value as Json, json};
use waybill_tests::{Project, Workspace, export_by_hand, rows};

/// Writes an export by hand: few records, each for a reason.
fn export(dir: &Path) {
    let times = "2021-03-04T05:06:07Z,2022-05-06T07:08:09Z";
    let row = |text: &str| format!("{text},{times}");
    let tables: Vec<(&str, &str, Vec<String>)> = vec![
        ("users", "id,email,first_name,last_name,is_active", vec![
            "101,Ada.Lovelace@example.com,Ada,Lovelace,true".into(),
            "102,grace.hopper@example.com,Grace,Hopper,true".into(),
            "104,nobody@example.org,No,Body,true".into(),
        ]),
        ("pipelines", "id,name,position", vec!["21,New Business,1".into(), "22,Renewals & more,2".into()]),
        ("stages", "id,pipeline_id,name,position,probability,category,forecast_category", vec![
            "2001,21,Qualification,1,10,open,pipeline".into(),
            "2002,21,Proposal,2,50,open,commit".into(),
            "2003,21,Closed Won,3,100,won,closed".into(),
            "2011,22,qualification ,1,15,open,pipeline".into(),
            "2012,22,Closed Lost,2,0,lost,omitted".into(),
        ]),
        ("companies", "id,name,domain,website,phone,industry,employee_count,annual_revenue,currency,parent_company_id,owner_id,tags,address_city,cf_tier,created_at,updated_at", vec![
            row("c1,Acme Ltd,WWW.Acme.example,,+45 20 12 34 56,Software,120,1234.56,EUR,,101,\"VIP, Fair 2024\",Aarhus,A"),
            row("c2,Beta,,https://beta.example/about,,,,,,c1,102,vip,,"),
            row("c3,Twin one,twin.example,,,,,,,,101,,,"),
            row("c4,Twin two,http://www.twin.example/,,,,,,,,101,,,"),
            row("c5,No site,not a site,,,,50-100,,,,104,,,"),
        ]),
        ("contacts", "id,first_name,last_name,email,other_emails,phone,mobile_phone,other_phones,job_title,primary_company_id,owner_id,status,do_not_contact,tags,address_street,address_city,cf_score,cf_interests,cf_since,cf_vip,cf_language,created_at,updated_at", vec![
            row("p1,Anna,Berg,Anna@Acme.example,a.berg@home.example;nope,+45 20 12 34 56,831.605.2433x7,+46 70 123 45 67,CEO,c1,101,lead,false,\"VIP,  Golf\",Main Street 1,Aarhus,12.5,golf;R&D\\; labs,2020-02-29,true,EN"),
            row("p2,Bo,Late,bo@beta.example,,call reception,,,,,104,,true,,,,,,,,"),
            row("p3,Same,One,same@x.example,,,,,,,101,,,,,,,,,,"),
            row("p4,Same,Two,SAME@x.example,,,,,,,101,,,,,,,,,,"),
            row("p5,Odd,Mail,not an address,,,,,,c3,101,,,,,,,,,,de"),
        ]),
        ("contact_companies", "id,contact_id,company_id,is_primary,role,created_at,updated_at", vec![
            row("1,p1,c1,true,Employee"),
            row("2,p1,c2,false,Board member"),
            "3,p2,c1,false,Advisor,2020-01-01T00:00:00Z,2020-01-01T00:00:00Z".into(),
            "4,p2,c2,false,Advisor,2020-01-01T00:00:00Z,2023-01-01T00:00:00Z".into(),
        ]),
        ("deals", "id,name,amount,currency,close_date,pipeline_id,stage_id,stage_entered_at,company_id,primary_contact_id,owner_id,tags,cf_contract_value,cf_renewal,created_at,updated_at", vec![
            row("d1,Big deal,1250.75,DKK,2024-07-31,21,2002,2024-05-01T10:00:00Z,c1,p1,102,Fair 2024,90000.5,2025-12-24"),
            row("d2,Alone,,EUR,2024-08-31,22,2011,,,,101,,,"),
            row("d3,Won,1,EUR,2024-01-31,21,2003,,c1,,101,,,"),
        ]),
        ("deal_contacts", "id,deal_id,contact_id,role", vec!["1,d1,p1,Decision maker".into()]),
        ("custom_fields", "object,key,label,type,required,multi,options,decimals,currency,max_length", vec![
            "company,tier,Tier,picklist,false,false,A;B,,,".into(),
            "contact,score,Lead score,number,false,false,,1,,".into(),
            "contact,interests,Interests,multi_picklist,false,true,golf;R&D\\; labs,,,".into(),
            "contact,since,Customer since,date,false,false,,,,".into(),
            "contact,vip,VIP,checkbox,false,false,,,,".into(),
            "contact,language,Preferred language,picklist,false,false,en;de,,,".into(),
            "deal,contract_value,Contract value,money,false,false,,2,EUR,".into(),
            "deal,renewal,Renewal date,date,false,false,,,,".into(),
        ]),
        ("notes", "id,title,body_html,owner_id,parent_object,parent_id,created_at,updated_at", vec![
            row("n1,,<p>Kickoff <b>went well</b></p><ul><li>numbers</li></ul>,102,contact,p1"),
            row("n2,On the deal,<p>Later</p>,101,deal,d1"),
        ]),
        ("associations", "id,from_object,from_id,to_object,to_id,label", vec!["1,note,n1,company,c1,".into()]),
        ("tasks", "id,title,body_html,due_at,status,completed_at,priority,type,owner_id,contact_id,company_id,deal_id,created_at,updated_at", vec![
            row("t1,Send it,<p>now</p>,2024-06-30T22:59:00Z,completed,2024-06-20T10:00:00Z,HIGH,todo,101,p1,c1,d1"),
            row("t2,,,,in_progress,,,,102,,,"),
        ]),
        ("calls", "id,subject,body_html,occurred_at,duration_seconds,direction,outcome,disposition_code,phone_number,recording_url,owner_id,contact_id,company_id,deal_id,created_at,updated_at", vec![
            row("k1,About the offer,<p>Said yes</p>,2024-03-31T23:30:00Z,65,inbound,Left voicemail,D7,+44 20 7946 0000,,102,p1,c1,"),
        ]),
        ("emails", "id,subject,body_html,body_text,sent_at,direction,from_address,to_addresses,cc_addresses,message_id,owner_id,contact_id,company_id,deal_id,created_at,updated_at", vec![
            row("e1,Hello,,Dear Anna,2024-02-01T08:00:00Z,outbound,ada.lovelace@example.com,anna@acme.example;x@y.example,,<1@x>,101,p1,,d1"),
        ]),
        ("meetings", "id,subject,starts_at,ends_at,location,agenda_html,outcome,recurrence_rule,owner_id,contact_id,company_id,deal_id,created_at,updated_at", vec![
            row("m1,Weekly,2024-03-18T09:00:00Z,2024-03-18T09:45:00Z,Room 4,<ul><li>numbers</li></ul>,held,FREQ=WEEKLY;COUNT=5,101,p1,,d1"),
            row("m2,No agenda,2024-03-19T09:00:00Z,2024-03-19T09:45:00Z,,,,,101,p1,,"),
        ]),
        ("meeting_attendees", "id,meeting_id,contact_id,user_id,email,name,response", vec![
            "1,m1,p1,,,,accepted".into(),
            "2,m1,,,guest@else.example,Guest,".into(),
        ]),
        ("files", "file_id,parent_object,parent_id,name,path,mime_type,size_bytes,sha256", vec![
            "f1,contact,p1,hello.txt,files/f1/a.txt,text/plain,5,2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into(),
            "f2,call,k1,minutes.txt,files/f2/m.txt,text/plain,7,".into(),
            "f3,deal,d1,large.bin,files/f3/l.bin,application/octet-stream,27262976,".into(),
            "f4,contact,p1,false.pdf,files/f4/f.pdf,application/pdf,4,".into(),
        ]),
        ("custom_objects", "key,label,label_plural,name_field", vec!["service_case,Case,Cases,name".into()]),
        ("objects/service_case", "id,name,owner_id,cf_serial,created_at,updated_at", vec![row("s1,Broken press,101,000123"), row("s2,Loud press,102,")]),
        ("object_links", "id,from_object,from_id,to_object,to_id,relation,cardinality", vec![
            "1,service_case,s1,company,c1,owned by,n1".into(),
            "2,service_case,s1,contact,p1,seen by,nn".into(),
            "3,service_case,s2,contact,p1,seen by,nn".into(),
            "4,service_case,s1,contact,p2,seen by,nn".into(),
        ]),
    ];
    let files: [(&str, &[u8]); 4] =
        [("f1/a.txt", b"hello"), ("f2/m.txt", b"minutes"), ("f3/l.bin", &vec![0; 26 << 20]), ("f4/f.pdf", b"none")];
    export_by_hand(dir, "UTC", &tables, &files);
}

struct Moved {
    workspace: Workspace,
    project: Project,
    stages: Json,
    dir: tempfile::TempDir,
}

fn moved() -> &'static Moved {
    static MOVED: OnceLock<Moved> = OnceLock::new();
    MOVED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        export(&dir.path().join("export"));
        let workspace = Workspace::start();
        let stages = workspace.field("opportunity", "stage")["options"].clone();
        let project = Project::twenty(&workspace, &dir.path().join("export"));
        project.ready();
        project.run(&["run"]).exits(0);
        project.run(&["reconcile"]).exits(0);
        Moved { workspace, project, stages, dir }
    })
}

fn all(plural: &str) -> BTreeMap<String, Json> {
    moved().workspace.by_source(plural)
}

fn id(plural: &str, source: &str) -> Json {
    all(plural)[source]["id"].clone()
}

fn held(record: &str) -> String {
    moved().project.holds().get(record).cloned().unwrap_or_default()
}

fn member(email: &str) -> Json {
    let members = moved().workspace.rows("workspaceMembers");
    members.iter().find(|member| member["userEmail"] == email).unwrap()["id"].clone()
}

#[test]
fn row_c01_contacts_become_people_whole_and_what_is_refused_goes_beside() {
    let people = all("people");
    assert_eq!(people.keys().collect::<Vec<_>>(), ["p1", "p2", "p5"]);
    let anna = &people["p1"];
    assert_eq!(anna["name"], json!({ "firstName": "Anna", "lastName": "Berg" }));
    let emails = json!({ "primaryEmail": "anna@acme.example", "additionalEmails": ["a.berg@home.example"] });
    assert_eq!(anna["emails"], emails);
    assert_eq!(anna["otherEmailsAsGiven"], "nope");
    assert_eq!(anna["phones"]["primaryPhoneNumber"], "20123456");
    assert_eq!(
        (&anna["phones"]["primaryPhoneCallingCode"], &anna["phones"]["primaryPhoneCountryCode"]),
        (&json!("+45"), &json!("DK"))
    );
    assert_eq!(anna["phones"]["additionalPhones"][0]["number"], "701234567");
    assert_eq!(anna["otherPhonesAsGiven"], "831.605.2433x7");
    assert_eq!(
        (&anna["jobTitle"], &anna["leadStatus"], &anna["doNotContact"]),
        (&json!("CEO"), &json!("lead"), &json!(false))
    );
    assert_eq!(anna["postalAddress"]["addressCity"], "Aarhus");
    assert_eq!(anna["companyId"], id("companies", "c1"));
    assert_eq!(anna["furtherCompanies"], "Beta, Board member");
    assert_eq!(anna["createdAt"], "2021-03-04T05:06:07.000Z");
    assert_eq!(anna["updatedAt"], "2022-05-06T07:08:09.000Z", "the time of the last change is the source's");
    assert_eq!((&anna["sourceCreatedAt"], &anna["sourceUpdatedAt"]), (&anna["createdAt"], &anna["updatedAt"]));
    // Without a primary company, the link that changed last.
    let bo = &people["p2"];
    assert_eq!(bo["companyId"], id("companies", "c2"));
    assert_eq!((&bo["phones"]["primaryPhoneNumber"], &bo["phoneAsGiven"]), (&json!(""), &json!("call reception")));
    assert_eq!(people["p5"]["emailAsGiven"], "not an address");
    assert_eq!(people["p5"]["companyId"], Json::Null, "its company waits");
    assert_eq!((held("contacts/p3").as_str(), held("contacts/p4").as_str()), ("ambiguous", "ambiguous"));
    let told = moved().project.run(&["holds", "list"]).exits(0).out;
    assert!(told.contains("emails.primaryEmail"), "{told}");
}

#[test]
fn row_c02_companies_have_one_spelling_of_their_site_and_their_parent() {
    let companies = all("companies");
    assert_eq!(companies.keys().collect::<Vec<_>>(), ["c1", "c2", "c5"]);
    let acme = &companies["c1"];
    assert_eq!(acme["domainName"]["primaryLinkUrl"], "https://acme.example");
    assert_eq!(acme["annualRevenue"], json!({ "amountMicros": 1_234_560_000, "currencyCode": "EUR" }));
    assert_eq!((&acme["employees"], &acme["industry"]), (&json!(120), &json!("Software")));
    assert_eq!((&acme["address"]["addressCity"], &acme["phone"]), (&json!("Aarhus"), &json!("+45 20 12 34 56")));
    assert_eq!(companies["c2"]["domainName"]["primaryLinkUrl"], "https://beta.example");
    assert_eq!(companies["c2"]["parentCompanyId"], acme["id"]);
    assert_eq!(companies["c2"]["updatedAt"], "2022-05-06T07:08:09.000Z", "the second pass is no edit");
    assert_eq!(companies["c5"]["domainAsGiven"], "not a site");
    assert_eq!(companies["c5"]["employees"], Json::Null);
    assert_eq!((held("companies/c3").as_str(), held("companies/c4").as_str()), ("ambiguous", "ambiguous"));
}

#[test]
fn row_c03_deals_keep_amount_stage_and_links_and_land_without_them() {
    let deals = all("opportunities");
    let big = &deals["d1"];
    assert_eq!(big["amount"], json!({ "amountMicros": 1_250_750_000, "currencyCode": "DKK" }));
    assert_eq!(big["closeDate"], "2024-07-31T00:00:00.000Z");
    assert_eq!(big["stage"], "PROPOSAL");
    assert_eq!(big["companyId"], id("companies", "c1"));
    assert_eq!(big["pointOfContactId"], id("people", "p1"));
    assert_eq!(big["ownerId"], member("grace.hopper@example.com"));
    assert_eq!(big["stageEnteredAt"], "2024-05-01T10:00:00.000Z");
    assert!(big["contactRoles"].as_str().unwrap().contains("Decision maker"));
    let alone = &deals["d2"];
    assert_eq!((&alone["companyId"], &alone["pointOfContactId"]), (&Json::Null, &Json::Null));
    assert_eq!(alone["amount"]["amountMicros"], Json::Null);
}

#[test]
fn row_c03_a_deal_is_linked_by_a_later_delta() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("export");
    export(&at);
    let workspace = Workspace::start();
    let project = Project::twenty(&workspace, &at);
    project.ready();
    project.run(&["run"]).exits(0);
    let file = at.join("deals.csv");
    let text = fs::read_to_string(&file).unwrap();
    let linked = "d2,Alone,,EUR,2024-08-31,22,2011,,c2,p2,101";
    fs::write(&file, text.replace("d2,Alone,,EUR,2024-08-31,22,2011,,,,101", linked)).unwrap();
    project.run(&["delta"]).exits(0);
    let deal = &workspace.by_source("opportunities")["d2"];
    assert_eq!(deal["companyId"], workspace.by_source("companies")["c2"]["id"]);
    assert_eq!(deal["pointOfContactId"], workspace.by_source("people")["p2"]["id"]);
    assert_eq!(deal["updatedAt"], "2022-05-06T07:08:09.000Z");
    project.run(&["reconcile"]).exits(0);
}

/// The rows of links that a note or a task has, as (column, id).
fn targets(plural: &str, column: &str, of: &Json) -> Vec<(String, Json)> {
    let mut found = Vec::new();
    for row in moved().workspace.rows(plural).iter().filter(|row| row[column] == *of) {
        for target in ["targetPersonId", "targetCompanyId", "targetOpportunityId"] {
            if !row[target].is_null() {
                found.push((target.to_owned(), row[target].clone()));
            }
        }
    }
    found.sort_by_key(|(column, _)| column.clone());
    found
}

#[test]
fn row_c04_notes_keep_their_text_their_times_and_all_their_targets() {
    let notes = all("notes");
    let first = &notes["n1"];
    assert_eq!(first["title"], "Note");
    assert_eq!(first["bodyV2"]["markdown"], "Kickoff **went well**\n* numbers");
    assert!(first["bodyV2"]["blocknote"].as_str().unwrap().contains("went well"));
    assert_eq!(
        (&first["createdAt"], &first["updatedAt"]),
        (&json!("2021-03-04T05:06:07.000Z"), &json!("2022-05-06T07:08:09.000Z"))
    );
    assert_eq!(
        targets("noteTargets", "noteId", &first["id"]),
        [("targetCompanyId".to_owned(), id("companies", "c1")), ("targetPersonId".to_owned(), id("people", "p1"))]
    );
    let second = targets("noteTargets", "noteId", &notes["n2"]["id"]);
    assert_eq!(second, [("targetOpportunityId".to_owned(), id("opportunities", "d1"))]);
}

#[test]
fn row_c05_tasks_keep_status_due_date_assignee_and_links() {
    let tasks = all("tasks");
    let send = &tasks["t1"];
    assert_eq!((&send["title"], &send["status"]), (&json!("Send it"), &json!("DONE")));
    assert_eq!(send["dueAt"], "2024-06-30T22:59:00.000Z");
    assert_eq!(send["assigneeId"], member("ada.lovelace@example.com"));
    assert_eq!(send["bodyV2"]["markdown"], "now");
    assert_eq!(targets("taskTargets", "taskId", &send["id"]).len(), 3);
    assert_eq!((&tasks["t2"]["status"], &tasks["t2"]["title"]), (&json!("IN_PROGRESS"), &json!("Task")));
    assert!(targets("taskTargets", "taskId", &tasks["t2"]["id"]).is_empty());
}

#[test]
fn row_c06_owners_become_members_by_their_address_or_are_decided() {
    let people = all("people");
    assert_eq!(people["p1"]["ownerId"], member("ada.lovelace@example.com"));
    assert_eq!(people["p2"]["ownerId"], member("grace.hopper@example.com"), "the fallback");
    assert_eq!(people["p2"]["ownerEmail"], "nobody@example.org", "who it was is kept");
    assert_eq!(all("notes")["n1"]["ownerId"], member("grace.hopper@example.com"));
    assert_eq!(all("companies")["c1"]["accountOwnerId"], member("ada.lovelace@example.com"));
    // Without a decision, nothing is written.
    let dir = tempfile::tempdir().unwrap();
    export(&dir.path().join("export"));
    let workspace = Workspace::start();
    let project = Project::twenty_bare(&workspace, &dir.path().join("export"));
    project.run(&["schema", "apply"]).exits(0);
    let before = workspace.digest();
    project.run(&["approve", "--by", "Test Person"]).exits(3).says(&["nobody@example.org", "no user", "fallback"]);
    assert_eq!(workspace.digest(), before);
}

#[test]
fn row_c07_custom_fields_of_people_keep_their_kind() {
    let anna = &all("people")["p1"];
    assert_eq!(
        (&anna["leadScore"], &anna["customerSince"], &anna["vip"]),
        (&json!(12.5), &json!("2020-02-29"), &json!(true))
    );
    assert_eq!(anna["interests"], json!(["GOLF", "R_D_LABS"]));
    assert_eq!(anna["preferredLanguage"], "EN", "spelled as the option is");
    assert_eq!(all("people")["p5"]["preferredLanguage"], "DE");
    let language = moved().workspace.field("person", "preferredLanguage");
    let labels: Vec<&str> =
        language["options"].as_array().unwrap().iter().map(|o| o["label"].as_str().unwrap()).collect();
    assert_eq!((language["type"].as_str(), labels), (Some("SELECT"), vec!["en", "de"]));
    assert_eq!(all("companies")["c1"]["tier"], "A");
}

#[test]
fn row_c08_custom_fields_of_deals_keep_numbers_raw_and_dates_whole() {
    let deal = &all("opportunities")["d1"];
    assert_eq!((&deal["contractValue"], &deal["renewalDate"]), (&json!(90000.5), &json!("2025-12-24")));
}

#[test]
fn row_c09_tags_become_options_split_and_folded() {
    assert_eq!(all("people")["p1"]["tags"], json!(["VIP", "GOLF"]));
    assert_eq!(all("companies")["c1"]["tags"], json!(["VIP", "FAIR_2024"]));
    assert_eq!(all("companies")["c2"]["tags"], json!(["VIP"]), "spelled otherwise, it is the same tag");
    let field = moved().workspace.field("company", "tags");
    assert_eq!(field["type"], "MULTI_SELECT");
    let labels: Vec<&str> = field["options"].as_array().unwrap().iter().map(|o| o["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Fair 2024", "VIP"]);
}

#[test]
fn row_c10_files_arrive_byte_by_byte_and_all_are_listed() {
    let Moved { workspace, project, dir, .. } = moved();
    let found: BTreeMap<String, Json> =
        workspace.rows("attachments").into_iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["hello.txt", "minutes.txt"]);
    assert_eq!(found["hello.txt"]["targetPersonId"], id("people", "p1"));
    assert_eq!(found["minutes.txt"]["targetTaskId"], id("tasks", "k1"));
    let url = found["hello.txt"]["file"][0]["url"].as_str().unwrap().strip_prefix(&workspace.url).unwrap().to_owned();
    assert_eq!(workspace.bytes(&url), b"hello");
    assert_eq!(held("files/f3"), "bad-value", "over the limit of the plan");
    assert_eq!(held("files/f4"), "rejected", "its content is none of its kind");
    let to = dir.path().join("handover");
    project.run(&["handover", to.to_str().unwrap()]).exits(0);
    let listed = rows(&to.join("attachments.csv"));
    let states: Vec<(&str, &str, &str)> =
        listed.iter().map(|row| (row["file"].as_str(), row["parent"].as_str(), row["state"].as_str())).collect();
    assert_eq!(
        states,
        [
            ("f1", "contact/p1", "arrived"),
            ("f2", "call/k1", "arrived"),
            ("f3", "deal/d1", "waits"),
            ("f4", "contact/p1", "waits")
        ]
    );
}

#[test]
fn row_c11_stages_are_added_to_those_that_are_there_and_pipelines_have_a_field() {
    let deals = all("opportunities");
    let told = |deal: &str| (deals[deal]["pipeline"].clone(), deals[deal]["stage"].clone());
    assert_eq!(told("d1"), (json!("NEW_BUSINESS"), json!("PROPOSAL")));
    assert_eq!(told("d2"), (json!("RENEWALS_MORE"), json!("QUALIFICATION")));
    assert_eq!(told("d3"), (json!("NEW_BUSINESS"), json!("CUSTOMER")), "by the value map");
    let now = moved().workspace.field("opportunity", "stage")["options"].clone();
    for before in moved().stages.as_array().unwrap() {
        assert!(now.as_array().unwrap().contains(before), "{before} is not as it was");
    }
    let values: Vec<&str> = now.as_array().unwrap().iter().map(|option| option["value"].as_str().unwrap()).collect();
    assert!(values.ends_with(&["QUALIFICATION", "CLOSED_LOST"]), "{values:?}");
    assert_eq!(deals["d1"]["probability"], 50);
    let to = moved().dir.path().join("setup");
    moved().project.run(&["schema", "export", to.to_str().unwrap()]).exits(0);
    let setup = fs::read_to_string(to.join("SETUP.md")).unwrap();
    assert!(setup.contains("opportunity.waybillKey") && setup.contains("unique"), "{setup}");
}

#[test]
fn row_c12_calls_mails_and_meetings_become_tasks_and_agendas_notes() {
    let tasks = all("tasks");
    let call = &tasks["k1"];
    assert_eq!((&call["title"], &call["activityType"]), (&json!("About the offer"), &json!("CALL")));
    assert_eq!((&call["outcome"], &call["durationSeconds"]), (&json!("Left voicemail"), &json!(65)));
    assert_eq!((&call["status"], &call["dueAt"]), (&json!("DONE"), &json!("2024-03-31T23:30:00.000Z")));
    assert_eq!(call["createdAt"], "2021-03-04T05:06:07.000Z");
    assert_eq!(targets("taskTargets", "taskId", &call["id"]).len(), 2);
    let mail = &tasks["e1"];
    assert_eq!(
        (&mail["title"], &mail["activityType"], &mail["emailTo"]),
        (&json!("Hello"), &json!("EMAIL"), &json!("anna@acme.example; x@y.example"))
    );
    assert_eq!(mail["bodyV2"]["markdown"], "Dear Anna");
    let meeting = &tasks["m1"];
    assert_eq!((&meeting["location"], &meeting["recurrence"]), (&json!("Room 4"), &json!("FREQ=WEEKLY;COUNT=5")));
    assert_eq!(meeting["attendees"], "Anna, Berg, Anna@Acme.example, accepted\nGuest, guest@else.example");
    let notes = all("notes");
    assert_eq!(notes["m1"]["bodyV2"]["markdown"], "* numbers");
    assert_eq!(targets("noteTargets", "noteId", &notes["m1"]["id"]).len(), 2);
    // That further dates of a meeting are not made is told before, and when all is handed over.
    let Moved { project, dir, .. } = moved();
    let losses = project.json(&["preflight"]);
    assert!(
        losses["checks"].to_string().contains("meeting.recurrence: a meeting that recurs becomes one task"),
        "{losses}"
    );
    let to = dir.path().join("closing");
    let told = project.run(&["handover", to.to_str().unwrap()]).exits(0).out;
    assert!(told.contains("SETUP.md") && !told.contains("source project"), "{told}");
    let summary: Json = serde_json::from_str(&fs::read_to_string(to.join("summary.json")).unwrap()).unwrap();
    let to_know = summary["to_know"].as_object().unwrap();
    let count =
        |what: &str| to_know.iter().find(|(told, _)| told.starts_with(what)).map(|(_, records)| records.clone());
    assert_eq!(
        (count("meetings to task"), count("contacts to person")),
        (Some(json!(1)), Some(json!(2))),
        "{to_know:?}"
    );
    let listed = rows(&to.join("to-know.csv"));
    let meeting = listed.iter().find(|row| row["record"] == "meetings/m1").unwrap();
    assert_eq!((meeting["field"].as_str(), meeting["value"].as_str()), ("task.recurrence", "FREQ=WEEKLY;COUNT=5"));
    assert!(!notes.contains_key("m2"), "no agenda, no note");
}

#[test]
fn row_c13_custom_objects_have_relations_and_junctions() {
    let cases = all("cases");
    let case = &cases["s1"];
    assert_eq!((&case["name"], &case["serial"]), (&json!("Broken press"), &json!("000123")));
    assert_eq!(case["ownedById"], id("companies", "c1"));
    assert_eq!(cases["s2"]["ownedById"], Json::Null);
    assert_eq!(case["ownerId"], member("ada.lovelace@example.com"));
    let relation = moved().workspace.field("serviceCase", "ownedBy");
    assert_eq!(
        (relation["type"].as_str(), relation["settings"]["relationType"].as_str()),
        (Some("RELATION"), Some("MANY_TO_ONE"))
    );
    let links = moved().workspace.ours("serviceCaseContactLinks");
    let mut pairs: Vec<(Json, Json)> =
        links.iter().map(|link| (link["serviceCaseId"].clone(), link["contactId"].clone())).collect();
    pairs.sort_by_key(|(one, other)| format!("{one} {other}"));
    let mut expected = vec![
        (cases["s1"]["id"].clone(), id("people", "p1")),
        (cases["s2"]["id"].clone(), id("people", "p1")),
        (cases["s1"]["id"].clone(), id("people", "p2")),
    ];
    expected.sort_by_key(|(one, other)| format!("{one} {other}"));
    assert_eq!(pairs, expected);
}

#[test]
fn the_schema_is_taken_back_but_for_what_somebody_uses() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("export");
    export(&at);
    let workspace = Workspace::start();
    let before = workspace.schema();
    let project = Project::twenty(&workspace, &at);
    project.ready();
    let ready = workspace.schema();
    assert!(ready.contains_key("serviceCase") && ready["person"].contains_key("leadStatus"));
    project.run(&["run"]).exits(0);
    // Nothing of it goes while only records are taken back.
    let kept = project.run(&["rollback"]).exits(0).out;
    assert!(kept.contains("rollback --schema"), "{kept}");
    assert_eq!(workspace.schema(), ready);
    let report = project.json(&["rollback", "--schema"]);
    assert_eq!(workspace.schema(), before, "{report}");
    assert!(report["schema"].as_array().unwrap().iter().all(|change| change["outcome"] == "removed"), "{report}");
    assert_eq!(report["residue"], json!([]));
    // What is approved is the schema as it will be: it is made again, and taken back again.
    project.run(&["run"]).exits(3).says(&["schema apply"]);
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["run"]).exits(0);
    // Meanwhile people have come to use some of it.
    let make = |plural: &str, body: &Json| {
        let (status, made) = workspace.call("POST", &format!("/rest/{plural}"), Some(body));
        assert_eq!(status, 201, "{made}");
        made["data"].as_object().unwrap().values().next().unwrap()["id"].as_str().unwrap().to_owned()
    };
    workspace.act_as(&json!({ "email": "ada.lovelace@example.com" }));
    let person = make("people", &json!({ "leadStatus": "theirs", "vip": true }));
    let trashed = make("people", &json!({ "otherPhonesAsGiven": "in the trash" }));
    assert_eq!(workspace.call("DELETE", &format!("/rest/people/{trashed}?soft_delete=true"), None).0, 200);
    make("opportunities", &json!({ "name": "Theirs", "stage": "QUALIFICATION" }));
    let case = make("cases", &json!({ "name": "Theirs" }));
    let tier = workspace.field("company", "tier");
    let (status, _) = workspace.call(
        "PATCH",
        &format!("/rest/metadata/fields/{}", tier["id"].as_str().unwrap()),
        Some(&json!({ "label": "Our tier" })),
    );
    assert_eq!(status, 200);
    workspace.act_as(&json!({}));
    // What they made in the meantime is new against the baseline.
    let report = project.run(&["--json", "rollback", "--schema"]).exits(3).json();
    let now = workspace.schema();
    let residue = report["residue"].as_array().unwrap();
    for (object, field) in
        [("person", "leadStatus"), ("person", "vip"), ("person", "otherPhonesAsGiven"), ("company", "tier")]
    {
        assert!(now[object].contains_key(field), "{object}.{field}");
        let named = |line: &Json| line.as_str().unwrap().starts_with(&format!("field {object}.{field} stays: "));
        assert!(residue.iter().any(named), "{object}.{field}: {report}");
    }
    assert!(now["opportunity"]["stage"].contains(&"QUALIFICATION".to_owned()), "{report}");
    assert!(!now["opportunity"]["stage"].contains(&"CLOSED_LOST".to_owned()), "nobody uses that one: {report}");
    assert!(now.contains_key("serviceCase") && !now.contains_key("serviceCaseContact"), "{report}");
    assert!(!now["serviceCase"].contains_key("serial") && !now["person"].contains_key("waybillKey"), "{report}");
    let (_, theirs) = workspace.call("GET", &format!("/rest/people/{person}"), None);
    assert_eq!(
        (&theirs["data"]["person"]["leadStatus"], &theirs["data"]["person"]["vip"]),
        (&json!("theirs"), &json!(true))
    );
    assert_eq!(workspace.call("GET", &format!("/rest/cases/{case}"), None).0, 200);
    project.verifies();
}

#[test]
fn trap_t03_further_companies_of_a_person_are_kept_in_a_field_and_listed() {
    let Moved { project, dir, .. } = moved();
    let people = all("people");
    assert_eq!(people["p1"]["furtherCompanies"], "Beta, Board member");
    assert!(
        project.json(&["preflight"])["checks"].to_string().contains("person.furtherCompanies: a person belongs to one")
    );
    let to = dir.path().join("further");
    project.run(&["handover", to.to_str().unwrap()]).exits(0);
    let listed: BTreeMap<String, String> = rows(&to.join("to-know.csv"))
        .into_iter()
        .filter(|row| row["field"] == "person.furtherCompanies")
        .map(|row| (row["record"].clone(), row["value"].clone()))
        .collect();
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["contacts/p1", "contacts/p2"]);
    assert_eq!(listed["contacts/p1"], "Beta, Board member");
    assert!(listed["contacts/p2"].contains("Acme Ltd, Advisor") && listed["contacts/p2"].contains("Beta, Advisor"));
}

#[test]
fn trap_t13_spellings_of_one_choice_become_one_option_and_are_reported() {
    let Moved { workspace, project, .. } = moved();
    let stages = workspace.field("opportunity", "stage")["options"].clone();
    let called = |value: &&Json| value["label"].as_str().unwrap().trim().eq_ignore_ascii_case("qualification");
    assert_eq!(stages.as_array().unwrap().iter().filter(called).count(), 1, "{stages}");
    let found = project.json(&["assess"]).to_string();
    assert!(found.contains("value-variants") && found.contains("`qualification"), "{found}");
}
