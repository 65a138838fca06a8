//! The Salesforce sandbox is as strict as the platform: codes, shapes and behaviour of the public wire.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::{Value as Json, json};
use waybill_tests::{Org, text};

fn code(answer: &Json) -> &str {
    answer[0]["errorCode"].as_str().unwrap_or_default()
}

fn create(org: &Org, object: &str, row: Json) -> String {
    let (status, answer) = org.call("POST", &format!("sobjects/{object}"), Some(&row));
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["errors"], json!([]));
    text(&answer, "id")
}

#[test]
fn rows_are_refused_with_the_platforms_own_codes() {
    let org = Org::start(&[]);
    let refused = |object: &str, row: Json, status: u16, expected: &str, words: &str| {
        let (got, answer) = org.call("POST", &format!("sobjects/{object}"), Some(&row));
        assert_eq!((got, code(&answer)), (status, expected), "{answer}");
        assert!(text(&answer[0], "message").contains(words), "{answer}");
    };
    refused("Account", json!({}), 400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]");
    refused("Account", json!({ "Name": "x", "Nope": 1 }), 400, "INVALID_FIELD", "No such column 'Nope'");
    refused(
        "Account",
        json!({ "Name": "x".repeat(256) }),
        400,
        "STRING_TOO_LONG",
        "Account Name: data value too large",
    );
    refused(
        "Account",
        json!({ "Name": "x", "CreatedDate": "2020-01-01T00:00:00Z" }),
        400,
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "CreatedDate",
    );
    refused(
        "Account",
        json!({ "Name": "x", "ParentId": "003000000000001AAA" }),
        400,
        "MALFORMED_ID",
        "id value of incorrect type",
    );
    refused("Account", json!({ "Name": "x", "ParentId": "001000000000001AAB" }), 400, "MALFORMED_ID", "incorrect type");
    refused(
        "Account",
        json!({ "Name": "x", "ParentId": "001000000000999" }),
        400,
        "INVALID_CROSS_REFERENCE_KEY",
        "invalid cross reference id",
    );
    refused(
        "Account",
        json!({ "Name": "x", "NumberOfEmployees": 1_234_567_890 }),
        400,
        "NUMBER_OUTSIDE_VALID_RANGE",
        "valid range",
    );
    refused(
        "Contact",
        json!({ "LastName": "x", "Email": "not an address" }),
        400,
        "INVALID_EMAIL_ADDRESS",
        "invalid email address",
    );
    refused(
        "Contact",
        json!({ "LastName": "x", "DoNotCall": "perhaps" }),
        400,
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "required type",
    );
    refused(
        "Opportunity",
        json!({ "Name": "x", "StageName": "New", "CloseDate": "31/12/2020" }),
        400,
        "JSON_PARSER_ERROR",
        "date",
    );
    refused(
        "Task",
        json!({ "TaskSubtype": "Dance" }),
        400,
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "restricted picklist",
    );
    refused("Nothing", json!({}), 404, "NOT_FOUND", "does not exist");
    let inactive = org.query("SELECT Id FROM User WHERE IsActive = false");
    let owner = text(&inactive[0], "Id");
    refused("Account", json!({ "Name": "x", "OwnerId": owner }), 400, "INACTIVE_OWNER_OR_USER", "inactive user");
}

#[test]
fn rows_live_cascade_and_go_to_the_bin() {
    let org = Org::start(&[]);
    let account = create(&org, "Account", json!({ "Name": "Parent" }));
    let contact = create(&org, "Contact", json!({ "FirstName": "A", "LastName": "B", "AccountId": account }));
    let relation = org.query(&format!("SELECT Id, IsDirect FROM AccountContactRelation WHERE ContactId = '{contact}'"));
    assert_eq!(relation[0]["IsDirect"], true, "the platform makes the direct relation itself");
    let (status, answer) =
        org.call("DELETE", &format!("sobjects/AccountContactRelation/{}", text(&relation[0], "Id")), None);
    assert_eq!(status, 400, "{answer}");
    let (status, row) = org.call("GET", &format!("sobjects/Contact/{}?fields=Name,AccountId", &contact[..15]), None);
    assert_eq!((status, text(&row, "Name")), (200, "A B".into()));
    let child = create(&org, "Account", json!({ "Name": "Child", "ParentId": account }));
    let (status, answer) =
        org.call("PATCH", &format!("sobjects/Account/{account}"), Some(&json!({ "ParentId": child })));
    assert_eq!((status, code(&answer)), (400, "CIRCULAR_DEPENDENCY"));
    let case = create(&org, "Case", json!({ "Subject": "x", "AccountId": account }));
    let (status, answer) = org.call("DELETE", &format!("sobjects/Account/{account}"), None);
    assert_eq!((status, code(&answer)), (400, "DELETE_FAILED"));
    assert_eq!(org.call("DELETE", &format!("sobjects/Case/{case}"), None).0, 204);
    assert_eq!(org.call("DELETE", &format!("sobjects/Account/{account}"), None).0, 204);
    assert_eq!(org.count(&format!("Contact WHERE Id = '{contact}'")), 0, "contacts go with their account");
    assert_eq!(org.query(&format!("SELECT ParentId FROM Account WHERE Id = '{child}'"))[0]["ParentId"], Json::Null);
    let (status, answer) = org.call("GET", &format!("sobjects/Contact/{contact}"), None);
    assert_eq!((status, code(&answer)), (404, "ENTITY_IS_DELETED"));
    let (_, all) = org.call("GET", &format!("queryAll?q=SELECT+IsDeleted+FROM+Contact+WHERE+Id='{contact}'"), None);
    assert_eq!(all["records"][0]["IsDeleted"], true);
}

#[test]
fn collections_answer_row_by_row_in_order() {
    let org = Org::start(&[]);
    let rows = json!([{ "attributes": { "type": "Account" }, "Name": "One" }, { "attributes": { "type": "Account" } }]);
    let (status, answer) =
        org.call("POST", "composite/sobjects", Some(&json!({ "allOrNone": false, "records": rows })));
    assert_eq!(status, 200);
    assert_eq!((&answer[0]["success"], &answer[1]["success"]), (&json!(true), &json!(false)));
    assert_eq!(answer[1]["errors"][0]["statusCode"], "REQUIRED_FIELD_MISSING");
    assert!(answer[1].get("id").is_none());
    let before = org.digest();
    let (_, answer) = org.call("POST", "composite/sobjects", Some(&json!({ "allOrNone": true, "records": rows })));
    assert_eq!(answer[0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(org.digest(), before);
    let many: Vec<Json> =
        (0..201).map(|n| json!({ "attributes": { "type": "Account" }, "Name": n.to_string() })).collect();
    assert_eq!(org.call("POST", "composite/sobjects", Some(&json!({ "records": many }))).0, 400);
}

#[test]
fn queries_page_count_and_name_what_is_wrong() {
    let org = Org::start(&[]);
    for chunk in 0..11 {
        let rows: Vec<Json> = (0..200)
            .map(|n| json!({ "attributes": { "type": "Lead" }, "LastName": format!("L{chunk}-{n}"), "Company": "C" }))
            .collect();
        assert_eq!(org.call("POST", "composite/sobjects", Some(&json!({ "records": rows }))).0, 200);
    }
    let (_, page) = org.call("GET", "query?q=SELECT+Id+FROM+Lead", None);
    assert_eq!((&page["totalSize"], &page["done"]), (&json!(2200), &json!(false)));
    assert_eq!(page["records"].as_array().unwrap().len(), 2_000);
    let (_, last) = org.call("GET", page["nextRecordsUrl"].as_str().unwrap(), None);
    assert_eq!(last["done"], true);
    assert!(last.get("nextRecordsUrl").is_none(), "the last page names no next one");
    let (_, count) = org.call("GET", "query/?q=select+count()+from+lead", None);
    assert_eq!((&count["totalSize"], &count["records"]), (&json!(2200), &json!([])));
    for (soql, expected) in [
        ("SELECT FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Lead WHERE Description = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2020-01-01'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Id = '123'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Lead WHERE LastName = 'a' AND Id != null OR LastName = 'b'", "MALFORMED_QUERY"),
    ] {
        let (status, answer) = org.call("GET", &format!("query?q={}", soql.replace(' ', "+")), None);
        assert_eq!((status, code(&answer)), (400, expected), "{soql}: {answer}");
    }
    let found = org.query("SELECT Company, COUNT(Id) n FROM Lead GROUP BY Company");
    assert_eq!((text(&found[0], "Company"), &found[0]["n"]), ("C".into(), &json!(2200)));
    let (status, answer) = org.call("GET", &format!("query?q={}", "x".repeat(17_000)), None);
    assert_eq!(status, 414, "{answer}");
}

#[test]
fn a_bad_token_is_refused_and_every_answer_tells_the_usage() {
    let mut org = Org::start(&[]);
    let good = std::mem::replace(&mut org.token, "00D!wrong".into());
    let (status, answer) = org.call("GET", "limits", None);
    assert_eq!((status, code(&answer)), (401, "INVALID_SESSION_ID"));
    org.token = good;
    let used = |limits: &Json| limits["DailyApiRequests"]["Remaining"].as_u64().unwrap();
    let (_, first) = org.call("GET", "limits", None);
    let (_, second) = org.call("GET", "limits", None);
    assert!(used(&second) < used(&first));
    assert_eq!(org.call("GET", "/services/data/v12.0/limits", None).0, 404);
}

#[test]
fn bulk_jobs_go_through_their_states_and_echo_what_they_were_given() {
    let org = Org::start(&[]);
    let about = json!({ "object": "Contact", "operation": "insert", "contentType": "CSV", "lineEnding": "LF" });
    let (status, job) = org.call("POST", "jobs/ingest", Some(&about));
    assert_eq!((status, &job["state"], &job["apiVersion"]), (200, &json!("Open"), &json!(62.0)));
    let id = text(&job, "id");
    assert_eq!(text(&job, "contentUrl"), format!("services/data/v62.0/jobs/ingest/{id}/batches"));
    let csv = "LastName,Email,Description\nGood,,\"two\nlines, and a \"\"quote\"\"\"\n,x@y.zz,\nBad,nowhere,\n";
    let put = |path: &str, body: &str| org.raw("PUT", path, "text/csv", body);
    assert_eq!(put(&format!("jobs/ingest/{id}/batches"), csv).0, 201);
    assert_eq!(put(&format!("jobs/ingest/{id}/batches"), csv).0, 400, "a job takes one upload");
    let (status, closed) = org.call("PATCH", &format!("jobs/ingest/{id}"), Some(&json!({ "state": "UploadComplete" })));
    assert_eq!((status, &closed["state"]), (200, &json!("UploadComplete")));
    let done = wait(&org, &format!("jobs/ingest/{id}"));
    assert_eq!(
        (&done["state"], &done["numberRecordsProcessed"], &done["numberRecordsFailed"]),
        (&json!("JobComplete"), &json!(3), &json!(2))
    );
    let (_, good) = org.raw("GET", &format!("jobs/ingest/{id}/successfulResults/"), "text/csv", "");
    assert!(good.starts_with("\"sf__Id\",\"sf__Created\",LastName,Email,Description\n"), "{good}");
    assert!(good.contains("\"true\",\"Good\",\"\",\"two\nlines, and a \"\"quote\"\"\""), "{good}");
    let (_, bad) = org.raw("GET", &format!("jobs/ingest/{id}/failedResults"), "text/csv", "");
    assert!(bad.contains("REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"), "{bad}");
    assert!(bad.contains("INVALID_EMAIL_ADDRESS"), "{bad}");
    assert_eq!(org.call("DELETE", &format!("jobs/ingest/{id}"), None).0, 204);
    // An unknown column fails the whole job.
    let (_, job) = org.call("POST", "jobs/ingest", Some(&about));
    let id = text(&job, "id");
    put(&format!("jobs/ingest/{id}/batches"), "LastName,Shoe__c\nx,1\n");
    org.call("PATCH", &format!("jobs/ingest/{id}"), Some(&json!({ "state": "UploadComplete" })));
    let failed = wait(&org, &format!("jobs/ingest/{id}"));
    assert_eq!(
        (&failed["state"], text(&failed, "errorMessage")),
        (&json!("Failed"), "InvalidBatch : Field name not found : Shoe__c".into())
    );
    let hard = json!({ "object": "Contact", "operation": "hardDelete", "contentType": "CSV" });
    assert_eq!(org.call("POST", "jobs/ingest", Some(&hard)).0, 400);
}

#[test]
fn bulk_queries_give_their_rows_in_pages_that_end_with_null() {
    let org = Org::start(&[]);
    for n in 0..5 {
        create(&org, "Contact", json!({ "LastName": format!("Page \"{n}\""), "FirstName": "x" }));
    }
    let query = json!({ "operation": "query", "query": "SELECT Id, LastName, Account.Name FROM Contact WHERE FirstName = 'x' ORDER BY LastName" });
    let (status, job) = org.call("POST", "jobs/query", Some(&query));
    assert_eq!((status, &job["state"], text(&job, "object")), (200, &json!("UploadComplete"), "Contact".into()));
    let id = text(&job, "id");
    assert_eq!(wait(&org, &format!("jobs/query/{id}"))["numberRecordsProcessed"], 5);
    let (mut pages, mut locator, mut lines) = (0, String::new(), Vec::new());
    while locator != "null" {
        let more = if locator.is_empty() { String::new() } else { format!("&locator={locator}") };
        let (headers, body) = org.page(&format!("jobs/query/{id}/results?maxRecords=2{more}"));
        assert!(body.starts_with("\"Id\",\"LastName\",\"Account.Name\"\n"), "{body}");
        lines.extend(body.lines().skip(1).map(str::to_owned));
        locator = headers["sforce-locator"].clone();
        assert!(headers.contains_key("sforce-numberofrecords"));
        pages += 1;
    }
    assert_eq!((pages, lines.len()), (3, 5));
    assert!(lines[0].ends_with("\"Page \"\"0\"\"\",\"\""), "{}", lines[0]);
    let bad = json!({ "operation": "query", "query": "SELECT COUNT() FROM Contact" });
    assert_eq!(org.call("POST", "jobs/query", Some(&bad)).0, 400);
}

fn wait(org: &Org, path: &str) -> Json {
    for _ in 0..200 {
        let (_, job) = org.call("GET", path, None);
        if ["JobComplete", "Failed", "Aborted"].contains(&job["state"].as_str().unwrap()) {
            return job;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{path} does not end");
}

#[test]
fn faults_can_be_armed_when_the_sandbox_starts() {
    let org = Org::start(&["--faults", "{\"unavailable\": 1}"]);
    let describe = || org.raw("GET", "sobjects", "application/json", "").0;
    assert_eq!((describe(), describe()), (503, 200));
    let mut command = std::process::Command::new(waybill_tests::binary());
    let wrong = command.args(["sandbox", "salesforce", "--faults", "{\"nonsense\": 1}"]).output().unwrap();
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("nonsense"), "{wrong:?}");
}

#[test]
fn audit_fields_are_set_on_insert_only_by_whom_the_org_allows_to() {
    let org = Org::start(&[]);
    let when = "2020-01-01T00:00:00.000+0000";
    let row = |name: &str| json!({ "Name": name, "CreatedDate": when, "LastModifiedDate": "2021-01-01T00:00:00Z" });
    let allow = |on_upsert: bool| {
        let switch = json!({ "enabled": true, "on_upsert": on_upsert });
        assert_eq!(org.call("POST", "/__sandbox/audit-fields", Some(&switch)).0, 200);
    };
    allow(false);
    let set = create(
        &org,
        "PermissionSet",
        json!({ "Name": "Loader", "Label": "Loader", "PermissionsCreateAuditFields": true }),
    );
    assert_eq!(org.call("POST", "sobjects/Account", Some(&row("early"))).0, 400, "a set that nobody holds");
    let user = org.call("GET", "/services/oauth2/userinfo", None).1["user_id"].clone();
    create(&org, "PermissionSetAssignment", json!({ "PermissionSetId": set, "AssigneeId": user }));
    let createable = |object: &str, name: &str| {
        let describe = org.call("GET", &format!("sobjects/{object}/describe"), None).1;
        let fields = describe["fields"].as_array().unwrap();
        let field = fields.iter().find(|field| field["name"] == name).unwrap();
        assert_eq!(field["updateable"], false, "{object}.{name}");
        field["createable"].as_bool().unwrap()
    };
    assert!(createable("Account", "CreatedDate") && createable("Task", "LastModifiedById"));
    assert!(!createable("Account", "SystemModstamp") && !createable("OpportunityContactRole", "CreatedDate"));
    let id = create(&org, "Account", row("Kept"));
    let stored =
        &org.query(&format!("SELECT CreatedDate, LastModifiedDate, SystemModstamp FROM Account WHERE Id = '{id}'"))[0];
    assert_eq!(
        (&stored["CreatedDate"], &stored["LastModifiedDate"]),
        (&json!(when), &json!("2021-01-01T00:00:00.000+0000"))
    );
    assert!(text(stored, "SystemModstamp").as_str() > "2023", "nobody sets the system's own stamp: {stored}");
    let refused = |method: &str, path: &str, row: &Json, expected: &str| {
        let (status, answer) = org.call(method, path, Some(row));
        assert_eq!((status, code(&answer)), (400, expected), "{answer}");
    };
    let readonly = "INVALID_FIELD_FOR_INSERT_UPDATE";
    refused("PATCH", &format!("sobjects/Account/{id}"), &json!({ "CreatedDate": when }), readonly);
    refused("POST", "sobjects/OpportunityContactRole", &json!({ "CreatedDate": when }), readonly);
    let odd = "FIELD_INTEGRITY_EXCEPTION";
    refused("POST", "sobjects/Account", &json!({ "Name": "x", "CreatedDate": "2999-01-01T00:00:00Z" }), odd);
    let backwards = json!({ "Name": "x", "CreatedDate": when, "LastModifiedDate": "2019-01-01T00:00:00Z" });
    refused("POST", "sobjects/Account", &backwards, odd);
    // Neither on upsert, says the vendor; whether one that creates may is not documented, so both are there.
    let new = json!({ "records": [{ "attributes": { "type": "Account" }, "Name": "By upsert", "CreatedDate": when }] });
    let upsert = || org.call("PATCH", "composite/sobjects/Account/Id", Some(&new)).1[0].clone();
    assert_eq!(upsert()["errors"][0]["statusCode"], readonly);
    allow(true);
    assert_eq!(upsert()["created"], true);
    assert_eq!(org.query("SELECT CreatedDate FROM Account WHERE Name = 'By upsert'")[0]["CreatedDate"], when);
    // A change is one: the user and the time are then the platform's.
    assert_eq!(org.call("PATCH", &format!("sobjects/Account/{id}"), Some(&json!({ "Name": "Changed" }))).0, 204);
    let stored = &org.query(&format!("SELECT CreatedDate, LastModifiedDate FROM Account WHERE Id = '{id}'"))[0];
    assert_eq!(stored["CreatedDate"], when);
    assert!(text(stored, "LastModifiedDate").as_str() > "2023", "{stored}");
}

#[test]
fn a_search_looks_at_everything_but_what_only_joins() {
    let org = Org::start(&[]);
    create(&org, "Account", json!({ "Name": "Findable" }));
    let (status, found) = org.call("GET", "search/?q=FIND+%7BFindable%7D", None);
    assert_eq!((status, found["searchRecords"].as_array().map(Vec::len)), (200, Some(1)), "{found}");
    let joins = "search/?q=FIND+%7BFindable%7D+RETURNING+ContentDocumentLink(Id)";
    assert_eq!((org.call("GET", joins, None).0, code(&org.call("GET", joins, None).1)), (400, "MALFORMED_SEARCH"));
}
