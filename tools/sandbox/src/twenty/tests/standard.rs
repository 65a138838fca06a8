//! What is there from the start: the objects of a fresh workspace, their rows, and the rate limit.

use serde_json::{Value as Json, json};

use super::{Client, Options, Switches, id};

/// What every object has.
const COMMON: [(&str, &str); 8] = [
    ("id", "UUID"),
    ("createdAt", "DATE_TIME"),
    ("updatedAt", "DATE_TIME"),
    ("deletedAt", "DATE_TIME"),
    ("position", "POSITION"),
    ("createdBy", "ACTOR"),
    ("updatedBy", "ACTOR"),
    ("searchVector", "TS_VECTOR"),
];

#[test]
fn standard_objects_have_these_fields() {
    let client = Client::new();
    let (_, answer) = client.get("/rest/metadata/objects?limit=200");
    let objects = answer["data"].as_array().unwrap();
    for (singular, plural, system, fields) in [
        (
            "person",
            "people",
            false,
            "name:FULL_NAME emails:EMAILS linkedinLink:LINKS jobTitle:TEXT phones:PHONES avatarUrl:TEXT avatarFile:FILES company:RELATION pointOfContactForOpportunities:RELATION noteTargets:RELATION taskTargets:RELATION attachments:RELATION timelineActivities:RELATION messageParticipants:RELATION calendarEventParticipants:RELATION listMemberships:RELATION",
        ),
        (
            "company",
            "companies",
            false,
            "name:TEXT domainName:LINKS address:ADDRESS linkedinLink:LINKS annualRevenue:CURRENCY accountOwner:RELATION people:RELATION opportunities:RELATION noteTargets:RELATION taskTargets:RELATION attachments:RELATION timelineActivities:RELATION",
        ),
        (
            "opportunity",
            "opportunities",
            false,
            "name:TEXT amount:CURRENCY closeDate:DATE_TIME stage:SELECT company:RELATION pointOfContact:RELATION owner:RELATION noteTargets:RELATION taskTargets:RELATION attachments:RELATION timelineActivities:RELATION",
        ),
        (
            "note",
            "notes",
            false,
            "title:TEXT bodyV2:RICH_TEXT noteTargets:RELATION attachments:RELATION timelineActivities:RELATION",
        ),
        (
            "noteTarget",
            "noteTargets",
            true,
            "note:RELATION targetPerson:MORPH_RELATION targetCompany:MORPH_RELATION targetOpportunity:MORPH_RELATION",
        ),
        (
            "task",
            "tasks",
            false,
            "title:TEXT bodyV2:RICH_TEXT dueAt:DATE_TIME status:SELECT assignee:RELATION taskTargets:RELATION attachments:RELATION timelineActivities:RELATION",
        ),
        (
            "taskTarget",
            "taskTargets",
            true,
            "task:RELATION targetPerson:MORPH_RELATION targetCompany:MORPH_RELATION targetOpportunity:MORPH_RELATION",
        ),
        (
            "workspaceMember",
            "workspaceMembers",
            true,
            "name:FULL_NAME userEmail:TEXT userId:UUID locale:TEXT colorScheme:TEXT timeZone:TEXT dateFormat:SELECT timeFormat:SELECT numberFormat:SELECT calendarStartDay:NUMBER avatarUrl:TEXT jobTitle:TEXT blocklist:RELATION calendarEventParticipants:RELATION accountOwnerForCompanies:RELATION messageParticipants:RELATION ownedOpportunities:RELATION assignedTasks:RELATION timelineActivities:RELATION",
        ),
    ] {
        let object = objects.iter().find(|object| object["nameSingular"] == singular).unwrap();
        assert_eq!((&object["namePlural"], &object["isSystem"]), (&json!(plural), &json!(system)), "{singular}");
        let mut has: Vec<String> = object["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| format!("{}:{}", field["name"].as_str().unwrap(), field["type"].as_str().unwrap()))
            .collect();
        let common = COMMON.iter().map(|(name, kind)| format!("{name}:{kind}"));
        let mut expected: Vec<String> = fields.split(' ').map(str::to_owned).chain(common).collect();
        has.sort();
        expected.sort();
        assert_eq!(has, expected, "{singular}");
    }
    for singular in [
        "dashboard",
        "workflow",
        "workflowVersion",
        "workflowRun",
        "calendarEvent",
        "message",
        "messageThread",
        "messageList",
        "messageCampaign",
        "callRecording",
        "blocklist",
        "attachment",
        "timelineActivity",
    ] {
        let object = objects.iter().find(|object| object["nameSingular"] == singular).unwrap();
        assert_eq!(object["isSystem"], json!(!["dashboard", "workflow"].contains(&singular)), "{singular}");
    }
    let mut unique: Vec<String> = objects
        .iter()
        .flat_map(|object| object["fields"].as_array().unwrap().iter().map(move |field| (object, field)))
        .filter(|(_, field)| field["isUnique"] == json!(true))
        .map(|(object, field)| {
            format!("{}.{}", object["nameSingular"].as_str().unwrap(), field["name"].as_str().unwrap())
        })
        .collect();
    unique.sort();
    assert_eq!(unique, ["company.domainName", "person.emails", "workspaceMember.userEmail"]);
}

#[test]
fn fields_of_older_versions_are_refused() {
    let client = Client::new();
    for (plural, singular, names) in [
        ("people", "person", ["city", "xLink", "probability"].as_slice()),
        ("companies", "company", &["employees", "xLink", "annualRecurringRevenue", "idealCustomerProfile"]),
        ("opportunities", "opportunity", &["probability"]),
        ("notes", "note", &["body"]),
        ("tasks", "task", &["body"]),
        ("noteTargets", "noteTarget", &["personId", "companyId", "opportunityId"]),
        ("taskTargets", "taskTarget", &["personId", "companyId", "opportunityId"]),
        ("attachments", "attachment", &["personId", "noteId", "type"]),
    ] {
        for name in names {
            let message = format!("Object {singular} doesn't have any \"{name}\" field.");
            client.refuses("POST", &format!("/rest/{plural}"), Some(&json!({ *name: null })), 400, &message);
        }
    }
    client.refuses("GET", "/rest/favorites", None, 400, "object 'favorites' not found. eg: companies");
}

#[test]
fn selects_have_these_options_and_defaults() {
    let client = Client::new();
    let deal = client.create("opportunities", &json!({}));
    assert_eq!(deal["stage"], "NEW");
    for stage in ["NEW", "SCREENING", "MEETING", "PROPOSAL", "CUSTOMER"] {
        assert_eq!(client.create("opportunities", &json!({ "stage": stage }))["stage"], stage);
    }
    client.refuses(
        "POST",
        "/rest/opportunities",
        Some(&json!({ "stage": "LOST" })),
        400,
        "Valid values are: NEW, SCREENING, MEETING, PROPOSAL, CUSTOMER",
    );
    client.refuses(
        "POST",
        "/rest/opportunities",
        Some(&json!({ "stage": null })),
        400,
        "null value in column \"stage\" of relation \"opportunity\" violates not-null constraint",
    );
    assert_eq!(client.create("tasks", &json!({}))["status"], "TODO");
    assert_eq!(client.create("tasks", &json!({ "status": null }))["status"], json!(null));
    client.refuses(
        "POST",
        "/rest/tasks",
        Some(&json!({ "status": "OPEN" })),
        400,
        "Valid values are: TODO, IN_PROGRESS, DONE",
    );
}

#[test]
fn a_link_may_come_twice_and_point_to_two() {
    let client = Client::new();
    let (note, task) = (id(&client.create("notes", &json!({}))), id(&client.create("tasks", &json!({}))));
    let (person, company) = (id(&client.create("people", &json!({}))), id(&client.create("companies", &json!({}))));
    for (plural, own, parent) in [("noteTargets", "noteId", &note), ("taskTargets", "taskId", &task)] {
        let body = json!({ own: parent, "targetPersonId": person, "targetCompanyId": company });
        let made = [client.create(plural, &body), client.create(plural, &body)];
        for record in &made {
            assert_eq!((&record["targetPersonId"], &record["targetCompanyId"]), (&json!(person), &json!(company)));
        }
        assert_ne!(id(&made[0]), id(&made[1]));
        assert_eq!(client.list(&format!("/rest/{plural}?filter={own}[eq]:{parent}")).len(), 2);
    }
}

#[test]
fn members_are_read_and_never_made() {
    let client = Client::new();
    let members = client.list("/rest/workspaceMembers?filter=userEmail[eq]:ada.lovelace@example.com");
    assert_eq!((members.len(), &members[0]["name"]["lastName"]), (1, &json!("Lovelace")));
    let refused = json!({
        "statusCode": 400, "error": "Error", "messages": ["Entity performing the request does not have permission"],
        "code": "PERMISSION_DENIED",
    });
    let body = json!({ "name": { "firstName": "A" }, "userEmail": "new@x.co", "userId": "11111111-1111-4111-8111-111111111111" });
    assert_eq!(client.post("/rest/workspaceMembers", &body), (400, refused.clone()));
    assert_eq!(client.post("/rest/batch/workspaceMembers?upsert=true", &json!([body])), (400, refused));
    let task = client.create("tasks", &json!({ "assigneeId": id(&members[0]) }));
    assert_eq!(task["assigneeId"], members[0]["id"]);
    let company = client.create("companies", &json!({ "accountOwnerId": id(&members[0]) }));
    assert_eq!(company["accountOwnerId"], members[0]["id"]);
}

#[test]
fn objects_of_the_system_are_written_like_any_other() {
    let client = Client::new();
    let event = json!({ "title": "Call", "startsAt": "2020-01-01T10:00:00Z", "endsAt": "2020-01-01T11:00:00Z" });
    let made = client.create("calendarEvents", &event);
    assert_eq!((&made["title"], &made["startsAt"]), (&json!("Call"), &json!("2020-01-01T10:00:00.000Z")));
    let message = client.create("messages", &json!({ "subject": "Hello", "text": "x", "receivedAt": "2020-01-01" }));
    assert_eq!((&message["subject"], &message["isDraft"]), (&json!("Hello"), &json!(false)));
    let person = id(&client.create("people", &json!({})));
    let history = json!({
        "name": "person.updated", "happensAt": "2001-01-01T00:00:00Z", "targetPersonId": person,
        "properties": { "diff": { "jobTitle": { "before": "a", "after": "b" } } }, "linkedRecordCachedName": "x",
    });
    let entry = client.create("timelineActivities", &history);
    assert_eq!((&entry["happensAt"], &entry["workspaceMemberId"]), (&json!("2001-01-01T00:00:00.000Z"), &json!(null)));
    assert_eq!(entry["properties"]["diff"]["jobTitle"]["after"], "b");
}

#[test]
fn the_timeline_tells_every_change_and_who_made_it() {
    let client = Client::new();
    let person = id(&client.create("people", &json!({ "jobTitle": "A", "createdAt": "2001-01-01T00:00:00Z" })));
    client.post("/rest/people?upsert=true", &json!({ "id": person, "jobTitle": "B" }));
    client.patch(&format!("/rest/people/{person}"), &json!({ "jobTitle": "B" }));
    let path = format!("/rest/timelineActivities?filter=targetPersonId[eq]:{person}&order_by=name");
    assert!(client.list(&path).is_empty(), "later");
    client.wait(1_500);
    let entries = client.list(&path);
    let names: Vec<&Json> = entries.iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, [&json!("person.created"), &json!("person.updated")], "a write that changes nothing is not told");
    assert_eq!(entries[0]["properties"], json!({}));
    assert_eq!(entries[1]["properties"], json!({ "diff": { "jobTitle": { "after": "B", "before": "A" } } }));
    assert_eq!((&entries[1]["targetPersonId"], &entries[1]["workspaceMemberId"]), (&json!(person), &json!(null)));
    assert!(!entries[0]["happensAt"].as_str().unwrap().starts_with("2001"), "when it was imported");
}

/// Returns how many of these requests pass, a moment apart.
fn passed(client: &Client, count: usize, apart: u64) -> usize {
    (0..count)
        .filter(|_| {
            client.wait(apart);
            client.get("/rest/people?limit=1").0 == 200
        })
        .count()
}

#[test]
fn a_minute_has_a_hundred_tokens_and_they_grow_back_one_by_one() {
    let client = Client::with(&Options::default());
    assert_eq!(passed(&client, 130, 10), 100, "at full speed");
    client.wait(9_600);
    assert_eq!(passed(&client, 30, 0), 16, "ten seconds after the last that passed");
    let client = Client::with(&Options::default());
    passed(&client, 100, 20);
    assert_eq!(passed(&client, 61, 99), 10, "one in six tenths of a second");
    let client = Client::with(&Options::default());
    assert_eq!(passed(&client, 130, 600), 130, "this pace may go on for ever");
    let client = Client::with(&Options::default());
    assert_eq!(passed(&client, 100, 590), 100);
    assert_eq!(passed(&client, 1, 590), 0, "a little too fast, and nothing grows");
}

#[test]
fn what_counts_is_the_operation_and_not_its_size() {
    let client = Client::with(&Options::default());
    let asked = || client.get("/__sandbox/requests").1["taken"].as_u64().unwrap();
    let costs = |method: &str, path: &str, body: Option<Json>| {
        client.wait(700);
        let before = asked();
        let (status, _) = client.send(method, path, body.as_ref());
        (status, asked() - before)
    };
    assert_eq!(costs("POST", "/rest/batch/notes", Some(json!(vec![json!({}); 200]))), (201, 1));
    assert_eq!(costs("GET", "/rest/notes?limit=200", None), (200, 1));
    assert_eq!(costs("POST", "/rest/notes", Some(json!({ "title": 5 }))), (400, 1), "a wrong value counts");
    assert_eq!(costs("GET", "/rest/nothings", None), (400, 0));
    assert_eq!(costs("GET", "/rest/notes/x", None), (400, 0));
    assert_eq!(costs("GET", "/rest/metadata/objects", None), (200, 0));
    assert_eq!(costs("POST", "/metadata", Some(json!({ "query": "{ objects { edges { node { id } } } }" }))), (200, 0));
    assert_eq!(
        costs("POST", "/graphql", Some(json!({ "query": "{ notes { totalCount } people { totalCount } }" }))),
        (200, 1)
    );
    let answer = client.ask("GET", "/rest/notes", &[("authorization", "Bearer x")], "");
    assert_eq!((answer.status().as_u16(), asked()), (401, 4));
    // A person at work is not counted.
    client.post("/__sandbox/act-as", &json!({ "email": "ada.lovelace@example.com" }));
    assert_eq!(costs("GET", "/rest/notes", None), (200, 0));
    client.post("/__sandbox/act-as", &json!({ "key": "Another integration" }));
    assert_eq!(costs("GET", "/rest/notes", None), (200, 1), "another key is");
}

#[test]
fn what_the_limit_refuses_by_graphql_is_null_field_by_field() {
    let switches = Switches { long_limit: 1, workflow: false, ..Switches::default() };
    let client = Client::with(&Options { switches, ..Options::default() });
    assert_eq!(passed(&client, 1, 0), 1);
    let answer = client.graphql("{ a: notes { totalCount } b: people { totalCount } }", &json!({}));
    assert_eq!(answer["data"], json!({ "a": null, "b": null }));
    for error in answer["errors"].as_array().unwrap() {
        let extensions = &error["extensions"];
        assert_eq!(error["message"], "Limit reached (1 tokens per 60000 ms)");
        assert_eq!((&extensions["code"], &extensions["subCode"]), (&json!("BAD_USER_INPUT"), &json!("LIMIT_REACHED")));
    }
}

#[test]
fn a_tight_loop_meets_both_windows_and_no_hint_when_to_come_back() {
    let client = Client::with(&Options::default());
    for _ in 0..100 {
        client.wait(20);
        client.get("/rest/people?limit=1");
    }
    let mut messages: Vec<String> = Vec::new();
    let bearer = client.bearer();
    for _ in 0..200 {
        let answer = client.ask("GET", "/rest/people?limit=1", &[("authorization", &bearer)], "");
        if answer.status().as_u16() != 429 {
            continue;
        }
        for name in answer.headers().keys().map(|name| name.as_str().to_lowercase()) {
            assert!(!name.contains("retry") && !name.contains("limit"), "{name}");
        }
        let body: Json = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!((&body["statusCode"], &body["error"]), (&json!(429), &json!("HttpException")));
        messages.push(body["messages"][0].as_str().unwrap().to_owned());
    }
    assert_eq!(messages[0], "Limit reached (100 tokens per 60000 ms)");
    assert!(
        messages.contains(&"Limit reached (100 tokens per 1000 ms)".to_owned()),
        "what the long one refused cost a short token"
    );
    let short = Switches { long_limit: 0, workflow: false, ..Switches::default() };
    let client = Client::with(&Options { switches: short, ..Options::default() });
    assert_eq!(passed(&client, 101, 0), 100);
    client.refuses("GET", "/rest/people", None, 429, "Limit reached (100 tokens per 1000 ms)");
    client.wait(1_000);
    assert_eq!(passed(&client, 100, 0), 100);
}
