//! The server around the records: GraphQL, limits, faults, files, what happens afterwards.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{Request, Response},
};
use serde_json::{Value as Json, json};

use super::{Client, Options, Switches, id};
use crate::twenty::Broken;

pub(super) fn error<'a>(answer: &'a Json, at: usize) -> (&'a str, &'a str, &'a str) {
    let error = &answer["errors"][at];
    let text = |value: &'a Json| value.as_str().unwrap_or_default();
    (text(&error["message"]), text(&error["extensions"]["code"]), text(&error["extensions"]["subCode"]))
}

#[test]
fn records_are_read_by_graphql() {
    let client = Client::new();
    let answer = client.graphql(
        "query($n: Int) { companies(first: $n, filter: {name: {ilike: \"%o%\"}}, orderBy: [{name: DescNullsLast}]) { totalCount pageInfo { hasNextPage endCursor } edges { cursor node { __typename id name nope domainName { primaryLinkUrl } people { totalCount edges { node { name { firstName } company { name } } } } } } } }",
        &json!({ "n": 1 }),
    );
    let list = &answer["data"]["companies"];
    assert_eq!((&list["totalCount"], &list["pageInfo"]["hasNextPage"]), (&json!(2), &json!(true)), "{answer}");
    let node = &list["edges"][0]["node"];
    assert_eq!(
        (&node["name"], &node["__typename"], &node["nope"]),
        (&json!("Notion"), &json!("Company"), &json!(null))
    );
    assert_eq!(
        node["people"]["edges"][0]["node"],
        json!({ "name": { "firstName": "Ivan" }, "company": { "name": "Notion" } })
    );
    let answer = client.graphql("{ company(filter: {name: {eq: \"none\"}}) { id } }", &json!({}));
    assert_eq!(
        (error(&answer, 0), &answer["data"]),
        (("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"), &json!({ "company": null }))
    );
    assert_eq!(answer["errors"][0].get("path"), None);
    let answer = client.graphql(
        "{ people(filter: {company: {name: {eq: \"Notion\"}}, deletedAt: {is: NULL}}) { totalCount } }",
        &json!({}),
    );
    assert_eq!(answer["data"]["people"]["totalCount"], 1);
    let answer = client.graphql(
        "{ companies { edges { node { people { edges { node { noteTargets { totalCount } } } } } } } }",
        &json!({}),
    );
    assert_eq!(error(&answer, 0).2, "TOO_COMPLEX_QUERY");
    let answer = client.graphql("{ opportunitiesGroupBy(groupBy: [{stage: true}]) { groupByDimensionValues totalCount sumAmountAmountMicros } }", &json!({}));
    assert_eq!(answer["data"]["opportunitiesGroupBy"].as_array().unwrap().len(), 5);
    let answer = client.graphql(
        "{ search(searchInput: \"notion\", limit: 5) { edges { node { label objectNameSingular } } } }",
        &json!({}),
    );
    assert_eq!(
        answer["data"]["search"]["edges"][0]["node"],
        json!({ "label": "Notion", "objectNameSingular": "company" })
    );
}

#[test]
fn graphql_pages_are_not_capped() {
    let client = Client::new();
    client.post("/rest/batch/notes", &json!(vec![json!({}); 200]));
    client.post("/rest/batch/notes", &json!(vec![json!({}); 60]));
    let count = |args: &str| {
        client.graphql(&format!("{{ notes{args} {{ edges {{ node {{ id }} }} }} }}"), &json!({}))["data"]["notes"]["edges"].as_array().unwrap().len()
    };
    assert_eq!((count("(first: 250)"), count("")), (250, 200));
}

#[test]
fn records_are_written_by_graphql() {
    let client = Client::new();
    let domain = |name: &str, url: &str| json!({ "name": name, "domainName": { "primaryLinkUrl": url } });
    let known = id(&client.create("companies", &domain("G1", "https://g1.test")));
    let answer = client.graphql(
        "mutation($d:[CompanyCreateInput!]!){createCompanies(data:$d,upsert:true){id name}}",
        &json!({ "d": [domain("G-new", "https://gnew.test"), domain("G1-up", "https://g1.test")] }),
    );
    let made = answer["data"]["createCompanies"].as_array().unwrap();
    assert_eq!((&made[0]["id"], &made[0]["name"], &made[1]["name"]), (&json!(known), &json!("G1-up"), &json!("G-new")));
    let answer = client.graphql(
        "mutation($d: CompanyCreateInput!) { createCompany(data: $d) { id } }",
        &json!({ "d": domain("x", "https://g1.test") }),
    );
    assert_eq!(
        (error(&answer, 0), &answer["data"]),
        (("A duplicate entry was detected", "BAD_USER_INPUT", ""), &json!({ "createCompany": null }))
    );
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(
        (&extensions["conflictingRecordId"], &extensions["conflictingObjectNameSingular"]),
        (&json!(known), &json!("company"))
    );
    assert_eq!(
        extensions["userFriendlyMessage"],
        "This Domain Name value is already in use. Please check your data and try again."
    );
    // Here deleting is soft.
    let variables = json!({ "id": known });
    let answer = client.graphql("mutation($id: UUID!) { deleteCompany(id: $id) { id deletedAt } }", &variables);
    assert!(answer["data"]["deleteCompany"]["deletedAt"].is_string());
    let answer = client.graphql("mutation($id: UUID!) { restoreCompany(id: $id) { deletedAt } }", &variables);
    assert_eq!(answer["data"]["restoreCompany"]["deletedAt"], json!(null));
    let answer = client.graphql("mutation($id: UUID!) { destroyCompany(id: $id) { id name } }", &variables);
    assert_eq!(answer["data"]["destroyCompany"]["name"], "G1-up");
    let answer =
        client.graphql("mutation($id: UUID!) { updateCompany(id: $id, data: {name: \"y\"}) { id } }", &variables);
    assert_eq!(error(&answer, 0).2, "RECORD_NOT_FOUND");
    let answer = client.graphql("mutation { createCompany(data: {name: 5}) { id } }", &json!({}));
    assert_eq!(
        error(&answer, 0),
        ("Invalid string value 5 for text field \"name\"", "BAD_USER_INPUT", "INVALID_ARGS_DATA")
    );
    let many = vec![json!({}); 201];
    let answer = client.graphql("mutation($d:[NoteCreateInput!]!){createNotes(data:$d){id}}", &json!({ "d": many }));
    assert_eq!(
        error(&answer, 0),
        ("Maximum number of records to upsert is 200.", "BAD_USER_INPUT", "TOO_MANY_RECORDS_TO_UPDATE")
    );
    let answer = client
        .graphql("mutation { createPerson(data: {phones: {primaryPhoneNumber: \"call me\"}}) { id } }", &json!({}));
    assert_eq!(error(&answer, 0).2, "INVALID_PHONE_NUMBER");
    let answer = client.graphql("mutation { deleteTasks(filter: {id: {is: NOT_NULL}}) { id } updateNotes(data: {title: \"t\"}, filter: {}) { id } }", &json!({}));
    assert_eq!(answer["data"], json!({ "deleteTasks": [], "updateNotes": [] }));
}

#[test]
fn root_fields_are_independent_and_each_may_come_once() {
    let client = Client::new();
    let answer = client.graphql(
        "mutation { b: createCompany(data: {name: 5}) { id } a: createNote(data: {title: \"ok\"}) { title } }",
        &json!({}),
    );
    assert_eq!((&answer["data"]["b"], &answer["data"]["a"]["title"]), (&json!(null), &json!("ok")));
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
    let answer =
        client.graphql("mutation { a: createNote(data: {}) { id } b: createNote(data: {}) { id } }", &json!({}));
    assert_eq!(
        (error(&answer, 0).0, error(&answer, 0).1, &answer["data"]),
        ("Duplicate root resolver: \"createNote\"", "BAD_USER_INPUT", &json!({}))
    );
    let names = [
        "companies",
        "people",
        "opportunities",
        "notes",
        "tasks",
        "noteTargets",
        "taskTargets",
        "attachments",
        "dashboards",
        "workflows",
        "messages",
        "messageThreads",
        "calendarEvents",
        "timelineActivities",
        "workspaceMembers",
        "blocklists",
        "messageLists",
        "messageCampaigns",
        "callRecordings",
        "workflowRuns",
        "workflowVersions",
    ];
    let query: String = names.iter().map(|name| format!("{name} {{ totalCount }} ")).collect();
    let answer = client.graphql(&format!("{{ {query} }}"), &json!({}));
    assert_eq!(
        error(&answer, 0).0,
        "Query too complex - Too many root resolvers requested: 21 - Maximum allowed root resolvers: 20"
    );
    let answer = client.graphql("{ person", &json!({}));
    assert_eq!(answer["errors"][0]["message"], "Syntax Error: Expected Name, found <EOF>.");
    assert_eq!(answer["errors"][0].get("extensions"), None);
    let (status, answer) = client.post("/graphql", &json!([{ "query": "{ people { totalCount } }" }]));
    assert_eq!((status, answer), (400, json!({ "errors": [{ "message": "Batching is not supported." }] })));
}

#[test]
fn a_schema_tells_its_own_names() {
    let client = Client::new();
    let answer = client.graphql("{ __schema { queryType { fields { name args { name type { kind name ofType { kind name } } } } } mutationType { fields { name } } } }", &json!({}));
    let schema = &answer["data"]["__schema"];
    let find = |kind: &str, name: &str| {
        schema[kind]["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).cloned()
    };
    for name in [
        "createCompany",
        "createCompanies",
        "updateCompanies",
        "deleteCompany",
        "destroyCompanies",
        "restoreCompany",
        "mergeCompanies",
        "mergePeople",
    ] {
        assert!(find("mutationType", name).is_some(), "{name}");
    }
    assert!(find("mutationType", "mergeNotes").is_none());
    let companies = find("queryType", "companies").unwrap();
    let args: Vec<&str> =
        companies["args"].as_array().unwrap().iter().map(|arg| arg["name"].as_str().unwrap()).collect();
    assert_eq!(args, ["first", "last", "offset", "before", "after", "filter", "orderBy"]);
    assert_eq!(companies["args"][5]["type"]["name"], "CompanyFilterInput");
    assert!(find("queryType", "companyDuplicates").is_some() && find("queryType", "companiesGroupBy").is_some());
}

#[test]
fn keys_are_looked_at_first() {
    let client = Client::new();
    let send = |path: &str, header: Option<&str>, body: &Json| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(header.map(|header| ("authorization", header)));
        let (method, body) = if body.is_null() { ("GET", String::new()) } else { ("POST", body.to_string()) };
        let response = client.ask(method, path, &headers, &body);
        (response.status().as_u16(), serde_json::from_slice::<Json>(response.body()).unwrap())
    };
    let missing = (
        403,
        json!({ "statusCode": 403, "messages": ["Missing authentication token"], "error": "FORBIDDEN_EXCEPTION" }),
    );
    let invalid = (401, json!({ "statusCode": 401, "messages": ["Token invalid."], "error": "UNAUTHENTICATED" }));
    for path in ["/rest/people", "/rest/metadata/objects"] {
        assert_eq!(send(path, None, &Json::Null), missing);
        assert_eq!(send(path, Some("Basic abc"), &Json::Null), missing);
        assert_eq!(send(path, Some("Bearer abc"), &Json::Null), invalid);
    }
    assert_eq!(send(&format!("/rest/people?token={}", client.server.token()), None, &Json::Null), missing);
    assert_eq!(send("/rest/people", Some(&client.bearer().replace("Bearer", "bearer")), &Json::Null).0, 200);
    let old = client.get("/__sandbox/expired-token").1["token"].as_str().unwrap().to_owned();
    assert_eq!(
        send("/rest/people", Some(&format!("Bearer {old}")), &Json::Null),
        (401, json!({ "statusCode": 401, "messages": ["Token has expired."], "error": "UNAUTHENTICATED" }))
    );
    let query = json!({ "query": "{ people { totalCount } }" });
    let (status, answer) = send("/graphql", Some("Bearer abc"), &query);
    assert_eq!((status, error(&answer, 0)), (200, ("Token invalid.", "UNAUTHENTICATED", "UNAUTHENTICATED")));
    let (status, answer) = send("/graphql", None, &query);
    assert_eq!(
        (status, answer),
        (
            200,
            json!({ "errors": [{ "message": "Cannot query field \"people\" on type \"Query\".", "locations": [{ "line": 1, "column": 3 }] }] })
        )
    );
    let (_, answer) = send("/metadata", None, &json!({ "query": "{ objects { edges { node { id } } } }" }));
    assert_eq!(
        (error(&answer, 0).0, &answer["errors"][0]["extensions"]["response"]["statusCode"]),
        ("Forbidden resource", &json!(403))
    );
    client.post("/__sandbox/key", &json!({ "revoked": true }));
    let (status, answer) = client.get("/rest/people");
    assert_eq!(
        (status, answer),
        (403, json!({ "statusCode": 403, "messages": ["This API Key is revoked"], "error": "FORBIDDEN_EXCEPTION" }))
    );
    assert_eq!(
        error(&client.graphql("{ people { totalCount } }", &json!({})), 0),
        ("This API Key is revoked", "FORBIDDEN", "FORBIDDEN_EXCEPTION")
    );
    // A key is opaque to clients; its payload names workspace and key.
    let payload = client.server.token().split('.').nth(1).unwrap();
    let payload: Json = serde_json::from_slice(
        &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap(),
    )
    .unwrap();
    assert_eq!((&payload["type"], &payload["sub"]), (&json!("API_KEY"), &payload["workspaceId"]));
}

#[test]
fn paths_and_bodies_that_make_no_sense_are_refused() {
    let client = Client::new();
    client.refuses("GET", "/rest/peoples", None, 400, "object 'peoples' not found. eg: companies");
    client.refuses("GET", "/rest/person", None, 400, "object 'person' not found. Did you mean 'people'?");
    client.refuses("GET", "/rest/favorites", None, 400, "object 'favorites' not found. eg: companies");
    client.refuses(
        "GET",
        "/rest/people/x/y",
        None,
        400,
        "Query path '/rest/people/x/y' invalid. Valid examples: /rest/companies/id",
    );
    assert_eq!(
        client.get("/rest/"),
        (404, json!({ "message": "Cannot GET /rest/", "error": "Not Found", "statusCode": 404 }))
    );
    assert_eq!(client.get("/rest/people/").0, 200, "a slash at the end is fine");
    let refused =
        client.refuses("POST", "/rest/people", None, 400, "Cannot read properties of undefined (reading 'position')");
    assert_eq!(refused["error"], "TypeError");
    client.refuses(
        "POST",
        "/rest/people",
        Some(&json!([{ "jobTitle": "x" }])),
        400,
        "Object person doesn't have any \"0\" field.",
    );
    client.refuses(
        "POST",
        "/rest/workspaceMembers",
        Some(&json!({ "userEmail": "x@y.zz" })),
        400,
        "Entity performing the request does not have permission",
    );
    assert_eq!(client.get("/healthz"), (200, json!({ "status": "ok", "info": {}, "error": {}, "details": {} })));
    let answer = client.refuses(
        "PATCH",
        "/rest/apiKeys/11111111-1111-4111-8111-111111111111",
        Some(&json!({})),
        400,
        "This endpoint requires a session access token",
    );
    assert_eq!(answer["code"], "FORBIDDEN_EXCEPTION");
    assert_eq!(client.get("/rest/apiKeys").1.as_array().unwrap().len(), 1);
    let raw = |kind: &str, body: &str, path: &str| -> Response<Bytes> {
        client.ask("POST", path, &[("authorization", &client.bearer()), ("content-type", kind)], body)
    };
    let broken = raw("application/json", "{\"a\":", "/rest/people");
    assert_eq!(
        (broken.status().as_u16(), broken.body().as_ref()),
        (400, br#"{"message":"Unexpected end of JSON input","error":"Bad Request","statusCode":400}"#.as_slice())
    );
    assert_eq!(raw("text/plain", "{}", "/rest/people").status().as_u16(), 400);
    assert_eq!(raw("application/x-www-form-urlencoded", "jobTitle=x", "/rest/people").status().as_u16(), 201);
    let huge = format!("{{\"jobTitle\":\"{}\"}}", "x".repeat(11 << 20));
    let large = raw("application/json", &huge, "/rest/people");
    assert_eq!((large.status().as_u16(), large.body().as_ref()), (500, br#""request entity too large""#.as_slice()));
}

#[test]
fn a_hundred_requests_a_minute_pass() {
    let client = Client::with(&Options::default());
    for n in 0..100 {
        assert_eq!(client.get("/rest/people?limit=1").0, 200, "{n}");
        client.wait(20);
    }
    let (status, answer) = client.get("/rest/people?limit=1");
    assert_eq!(
        (status, answer),
        (
            429,
            json!({ "statusCode": 429, "error": "HttpException", "messages": ["Limit reached (100 tokens per 60000 ms)"] })
        )
    );
    let answer = client.graphql("{ people { totalCount } }", &json!({}));
    assert_eq!(
        (error(&answer, 0), &answer["data"]),
        (("Limit reached (100 tokens per 60000 ms)", "BAD_USER_INPUT", "LIMIT_REACHED"), &json!({ "people": null }))
    );
    assert_eq!(client.get("/rest/metadata/objects?limit=1").0, 200, "metadata is free");
    client.refuses("GET", "/rest/peoples", None, 400, "not found");
    client.wait(10_000);
    let passed = (0..30).filter(|_| client.get("/rest/people?limit=1").0 == 200).count();
    assert_eq!(passed, 16, "the fraction is thrown away");
    client.wait(60_000);
    // Forty requests of two fields each fit in forty tokens; a validation failure costs one, a bad path none.
    for _ in 0..40 {
        assert!(
            client.graphql("{ people { totalCount } companies { totalCount } }", &json!({})).get("errors").is_none()
        );
    }
    for _ in 0..20 {
        client.refuses("POST", "/rest/people", Some(&json!({ "foo": 1 })), 400, "foo");
        client.refuses("GET", "/rest/people/bad", None, 400, "not a valid UUID");
    }
    let passed = (0..60).filter(|_| client.get("/rest/people?limit=1").0 == 200).count();
    assert_eq!(passed, 40);
}

#[test]
fn the_limit_can_be_set_and_lifted() {
    let client =
        Client::with(&Options { switches: Switches { long_limit: 3, ..Switches::default() }, ..Options::default() });
    let passed = (0..10).filter(|_| client.get("/rest/people").0 == 200).count();
    assert_eq!(passed, 3);
    client.refuses("GET", "/rest/people", None, 429, "Limit reached (3 tokens per 60000 ms)");
    let client = Client::new();
    assert!((0..150).all(|_| client.get("/rest/people").0 == 200));
}

#[test]
fn a_fresh_workspace_is_not_empty_and_its_workflow_makes_companies() {
    let options = Options { limits: false, ..Options::default() };
    let client = Client::with(&options);
    let total = |plural: &str| client.get(&format!("/rest/{plural}")).1["totalCount"].as_u64().unwrap();
    assert_eq!(
        [total("companies"), total("people"), total("opportunities"), total("dashboards"), total("workflows")],
        [5, 5, 6, 1, 2]
    );
    assert_eq!(client.list("/rest/companies")[0]["createdBy"]["source"], "SYSTEM");
    client.refuses(
        "POST",
        "/rest/companies",
        Some(&json!({ "domainName": { "primaryLinkUrl": "https://notion.com" } })),
        400,
        "duplicate",
    );
    let person = |mail: &str| id(&client.create("people", &json!({ "emails": { "primaryEmail": mail } })));
    let (new, known, private) = (person("a@newco.test"), person("b@notion.com"), person("c@gmail.com"));
    assert_eq!(total("companies"), 5, "not yet");
    client.wait(1_500);
    let company = |id: &str| {
        let person = client.get(&format!("/rest/people/{id}?depth=1")).1["data"]["person"].clone();
        person["company"]["name"].clone()
    };
    assert_eq!((company(&new), company(&known), company(&private)), (json!("Newco"), json!("Notion"), json!(null)));
    assert_eq!((total("companies"), total("workflowRuns")), (6, 3), "a run for each person");
    let made = client.list("/rest/companies?filter=name[eq]:Newco");
    assert_eq!(
        (&made[0]["createdBy"]["source"], &made[0]["domainName"]["primaryLinkUrl"]),
        (&json!("WORKFLOW"), &json!("https://newco.test"))
    );
    // Deactivated, it does nothing.
    let version = client.list("/rest/workflowVersions?filter=workflow.name[startsWith]:Create")[0].clone();
    let (status, answer) =
        client.patch(&format!("/rest/workflowVersions/{}", id(&version)), &json!({ "status": "DEACTIVATED" }));
    assert_eq!(status, 200, "{answer}");
    person("d@late.test");
    client.wait(1_500);
    assert_eq!((total("companies"), total("workflowRuns")), (6, 3));
}

#[test]
fn the_timeline_is_written_a_little_later() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A", "createdAt": "2001-01-01T00:00:00Z" })));
    client.patch(&format!("/rest/companies/{company}"), &json!({ "name": "B" }));
    let path = format!("/rest/timelineActivities?filter=targetCompanyId[eq]:{company}&order_by=name");
    assert!(client.list(&path).is_empty());
    client.wait(1_500);
    let entries = client.list(&path);
    assert_eq!((&entries[0]["name"], &entries[0]["properties"]), (&json!("company.created"), &json!({})));
    assert_eq!(entries[1]["properties"], json!({ "diff": { "name": { "after": "B", "before": "A" } } }));
    assert!(!entries[0]["happensAt"].as_str().unwrap().starts_with("2001"));
    client.create(
        "timelineActivities",
        &json!({ "name": "imported", "targetCompanyId": company, "happensAt": "2001-01-01T00:00:00Z" }),
    );
    client.delete(&format!("/rest/companies/{company}"));
    assert!(client.list(&path).is_empty());
}

#[test]
fn faults_happen_when_they_are_armed() {
    let client = Client::new();
    let arm = |faults: Json| assert_eq!(client.post("/__sandbox/faults", &faults).0, 200);
    let count = || client.get("/rest/notes").1["totalCount"].as_u64().unwrap();
    let note = json!({ "title": "x" });
    arm(json!({ "lose_requests": 1 }));
    assert_eq!(client.try_send("POST", "/rest/notes", Some(&note)), Err(Broken));
    assert_eq!(count(), 0);
    arm(json!({ "after": 1, "lose_answers": 1 }));
    assert_eq!(client.post("/rest/notes", &note).0, 201);
    assert_eq!(client.try_send("POST", "/rest/notes", Some(&note)), Err(Broken));
    assert_eq!(count(), 2, "the work was done");
    arm(json!({ "late_commits": 1, "late_by": 5_000 }));
    assert_eq!(client.try_send("POST", "/rest/notes", Some(&note)), Err(Broken));
    assert_eq!(count(), 2);
    client.wait(6_000);
    assert_eq!(count(), 3, "and is done later");
    arm(json!({ "errors": 1, "unavailable": 1, "limited": 1 }));
    let statuses: Vec<u16> = (0..4).map(|_| client.get("/rest/notes").0).collect();
    assert_eq!(statuses, [503, 500, 429, 200]);
    arm(json!({ "large_body": 100 }));
    assert_eq!(client.post("/rest/notes", &json!({ "title": "x".repeat(200) })).0, 500);
    let domain = |name: &str, url: &str| json!({ "name": name, "domainName": { "primaryLinkUrl": url } });
    let company = id(&client.create("companies", &domain("old", "https://p.test")));
    arm(json!({ "partial_upserts": 1 }));
    let batch = json!([domain("new", "https://q.test"), domain("updated", "https://p.test")]);
    assert_eq!(client.post("/rest/batch/companies?upsert=true", &batch).0, 500);
    assert_eq!(client.get(&format!("/rest/companies/{company}")).1["data"]["company"]["name"], "updated");
    assert!(client.list("/rest/companies?filter=name[eq]:new").is_empty());
    assert_eq!(client.post("/__sandbox/faults", &json!({ "nope": 1 })).0, 400);
}

#[test]
fn the_digest_tells_live_from_residue_and_a_reset_brings_all_back() {
    let client = Client::with(&Options { limits: false, ..Options::default() });
    let digest = || client.get("/__sandbox/digest").1;
    let start = digest();
    assert_eq!(
        (&start["objects"]["company"]["rows"], &start["residue"]),
        (&json!(5), &json!({ "trash": {}, "side": {} }))
    );
    let note = id(&client.create("notes", &json!({ "title": "n", "bodyV2": { "markdown": "x" } })));
    assert_ne!(digest()["live"], start["live"]);
    let dump = client.raw(&Request::get("/__sandbox/dump?object=note").body(Bytes::new()).unwrap()).unwrap();
    let line: Json = serde_json::from_slice(dump.body().strip_suffix(b"\n").unwrap()).unwrap();
    assert_eq!((&line["object"], &line["row"]["title"]), (&json!("note"), &json!("n")));
    client.post("/__sandbox/clock", &json!({ "settle": true }));
    client.delete(&format!("/rest/notes/{note}"));
    let after = digest();
    assert_eq!(after["live"], start["live"], "what is left is residue");
    assert_eq!(after["residue"]["side"], json!({ "timelineActivity": 1 }));
    client.create("people", &json!({ "emails": { "primaryEmail": "a@b.cc" } }));
    client.post("/__sandbox/reset", &json!({}));
    assert_eq!(digest(), start);
    // A schema made after a reset is not one that was made before.
    let gadget = |name: &str| json!({ "nameSingular": name, "namePlural": format!("{name}s"), "labelSingular": "A", "labelPlural": "B" });
    let known = |name: &str| {
        client.graphql(&format!("{{ __type(name: \"{name}\") {{ name }} }}"), &json!({}))["data"]["__type"].clone()
    };
    client.post("/rest/metadata/objects", &gadget("one"));
    assert_eq!(known("One")["name"], "One");
    client.post("/__sandbox/reset", &json!({}));
    client.post("/rest/metadata/objects", &gadget("two"));
    assert_eq!((known("One"), &known("Two")["name"]), (json!(null), &json!("Two")));
    // The same seed, the same requests, the same answers.
    let run = || {
        let client = Client::with(&Options { limits: false, ..Options::default() });
        let made = client.create("people", &json!({ "emails": { "primaryEmail": "a@b.cc" } }));
        client.wait(2_000);
        (made, client.get("/rest/companies").1, client.get("/rest/metadata/fields?limit=200").1)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_documents_follow_the_metadata() {
    let client = Client::new();
    let (_, document) = client.get("/rest/open-api/core");
    assert_eq!(document["openapi"], "3.1.1");
    for path in [
        "/companies",
        "/batch/companies",
        "/companies/{id}",
        "/companies/duplicates",
        "/restore/companies",
        "/restore/companies/{id}",
        "/companies/merge",
        "/companies/groupBy",
    ] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    assert!(document["components"]["schemas"]["Company"]["properties"].get("domainName").is_some());
    assert!(document["paths"].get("/gadgets").is_none());
    client.post("/rest/metadata/objects", &json!({ "nameSingular": "gadget", "namePlural": "gadgets", "labelSingular": "Gadget", "labelPlural": "Gadgets" }));
    assert!(client.get("/rest/open-api/core").1["paths"].get("/gadgets").is_some());
    assert!(client.get("/rest/open-api/metadata").1["paths"].get("/objects").is_some());
}

#[test]
fn rows_can_be_there_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    std::fs::write(&path, json!({ "companies": [{ "name": "There" }] }).to_string()).unwrap();
    let client = Client::with(&Options { state: Some(path.clone()), ..Options::default() });
    assert_eq!(client.list("/rest/companies?filter=name[eq]:There").len(), 1);
    client.wait(Duration::from_secs(2).as_millis().try_into().unwrap());
    std::fs::write(&path, json!({ "nopes": [] }).to_string()).unwrap();
    assert!(super::Server::new(&Options { state: Some(path), ..Options::default() }).is_err());
}
