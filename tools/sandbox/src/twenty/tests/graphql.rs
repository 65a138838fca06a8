//! The two GraphQL doors: arguments, filters, refusals, and how root fields live together.

use serde_json::{Value as Json, json};

use super::{Client, id, service::error};

/// Writes a type as schemas do.
fn written(kind: &Json) -> String {
    match kind["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", written(&kind["ofType"])),
        Some("LIST") => format!("[{}]", written(&kind["ofType"])),
        _ => kind["name"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn root_fields_take_the_arguments_of_the_server() {
    let client = Client::new();
    let kind = "type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";
    let part = format!("{{ fields {{ name args {{ name {kind} }} }} }}");
    let answer = client.graphql(&format!("{{ __schema {{ queryType {part} mutationType {part} }} }}"), &json!({}));
    let args = |root: &str, name: &str| -> String {
        let fields = answer["data"]["__schema"][root]["fields"].as_array().unwrap();
        let field = fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name}"));
        let args = field["args"].as_array().unwrap();
        let mut args: Vec<String> =
            args.iter().map(|arg| format!("{}:{}", arg["name"].as_str().unwrap(), written(&arg["type"]))).collect();
        args.sort();
        args.join(" ")
    };
    for (name, expected) in [
        (
            "companies",
            "after:String before:String filter:CompanyFilterInput first:Int last:Int offset:Int orderBy:[CompanyOrderByInput]",
        ),
        ("company", "filter:CompanyFilterInput!"),
        ("companyDuplicates", "data:[CompanyCreateInput] ids:[UUID]"),
        (
            "companiesGroupBy",
            "filter:CompanyFilterInput groupBy:[CompanyGroupByInput!]! limit:Int offsetForRecords:Int orderBy:[CompanyOrderByWithGroupByInput] orderByForRecords:[CompanyOrderByInput] viewId:UUID",
        ),
    ] {
        assert_eq!(args("queryType", name), expected, "{name}");
    }
    for (name, expected) in [
        ("createCompany", "data:CompanyCreateInput! upsert:Boolean"),
        ("createCompanies", "data:[CompanyCreateInput!]! upsert:Boolean"),
        ("updateCompany", "data:CompanyUpdateInput! id:UUID!"),
        ("updateCompanies", "data:CompanyUpdateInput! filter:CompanyFilterInput!"),
        ("deleteCompany", "id:UUID!"),
        ("deleteCompanies", "filter:CompanyFilterInput!"),
        ("destroyCompany", "id:UUID!"),
        ("destroyCompanies", "filter:CompanyFilterInput!"),
        ("restoreCompany", "id:UUID!"),
        ("restoreCompanies", "filter:CompanyFilterInput!"),
        ("mergeCompanies", "conflictPriorityIndex:Int! dryRun:Boolean ids:[UUID!]!"),
    ] {
        assert_eq!(args("mutationType", name), expected, "{name}");
    }
    assert!(
        args("queryType", "search").contains("limit:Int!")
            && args("queryType", "search").contains("searchInput:String!")
    );
    let input =
        client.graphql("{ __type(name: \"CompanyCreateInput\") { inputFields { name type { name } } } }", &json!({}));
    let fields = input["data"]["__type"]["inputFields"].as_array().unwrap().clone();
    let of = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap()["type"]["name"].clone();
    assert_eq!((of("id"), of("createdAt")), (json!("ID"), json!("DateTime")));
}

#[test]
fn filters_and_orders_are_nested() {
    let client = Client::new();
    client.delete("/rest/people?filter=id[is]:NOT_NULL");
    let company = id(&client.create("companies", &json!({ "name": "Hop" })));
    client.post(
        "/rest/batch/people",
        &json!([
            { "name": { "lastName": "b" }, "emails": { "primaryEmail": "b@x.co" }, "companyId": company },
            { "name": { "lastName": "a" }, "emails": { "primaryEmail": "a@x.co" } },
            { "name": { "lastName": "c" }, "deletedAt": "2020-01-01T00:00:00Z" },
        ]),
    );
    let names = |args: &str| -> String {
        let query = format!("{{ people({args}) {{ edges {{ node {{ name {{ lastName }} }} }} }} }}");
        let answer = client.graphql(&query, &json!({}));
        let edges = answer["data"]["people"]["edges"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        edges.iter().map(|edge| edge["node"]["name"]["lastName"].as_str().unwrap().to_owned()).collect()
    };
    let order = "orderBy: [{name: {lastName: AscNullsFirst}}]";
    for (filter, expected) in [
        ("{}", "ab"),
        ("{emails: {primaryEmail: {eq: \"a@x.co\"}}}", "a"),
        ("{or: [{name: {lastName: {eq: \"a\"}}}, {name: {lastName: {eq: \"b\"}}}]}", "ab"),
        ("{and: [{name: {lastName: {in: [\"a\", \"b\"]}}}, {not: {name: {lastName: {eq: \"a\"}}}}]}", "b"),
        ("{company: {name: {eq: \"Hop\"}}}", "b"),
        ("{deletedAt: {is: NOT_NULL}}", "c"),
        ("{name: {lastName: {ilike: \"%A%\"}}}", "a"),
    ] {
        assert_eq!(names(&format!("filter: {filter}, {order}")), expected, "{filter}");
    }
    assert_eq!(names("orderBy: [{name: {lastName: DescNullsLast}}, {createdAt: DescNullsLast}]"), "ba");
    assert_eq!(names(&format!("last: 1, {order}")), "b");
    assert_eq!(names(&format!("first: 5, offset: 1, {order}")), "b");
}

#[test]
fn refusals_tell_codes_in_their_extensions() {
    let client = Client::new();
    let known = id(&client.create("people", &json!({ "emails": { "primaryEmail": "a@b.co" } })));
    let nobody = "99999999-9999-4999-8999-999999999999";
    let many: Vec<Json> = vec![json!({}); 201];
    for (query, variables, key, expected) in [
        (
            "mutation($d: PersonCreateInput!) { createPerson(data: $d) { id } }",
            json!({ "d": { "emails": { "primaryEmail": "A@b.co" } } }),
            "createPerson",
            ("A duplicate entry was detected", "BAD_USER_INPUT", ""),
        ),
        (
            "query($i: UUID!) { person(filter: {id: {eq: $i}}) { id } }",
            json!({ "i": nobody }),
            "person",
            ("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"),
        ),
        (
            "mutation($i: UUID!) { updatePerson(id: $i, data: {}) { id } }",
            json!({ "i": nobody }),
            "updatePerson",
            ("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"),
        ),
        (
            "mutation($i: UUID!) { deletePerson(id: $i) { id } }",
            json!({ "i": nobody }),
            "deletePerson",
            ("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"),
        ),
        (
            "mutation($i: UUID!) { destroyPerson(id: $i) { id } }",
            json!({ "i": nobody }),
            "destroyPerson",
            ("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"),
        ),
        (
            "mutation { createPerson(data: {jobTitle: 5}) { id } }",
            json!({}),
            "createPerson",
            ("Invalid string value 5 for text field \"jobTitle\"", "BAD_USER_INPUT", "INVALID_ARGS_DATA"),
        ),
        (
            "mutation { createPerson(data: {foo: 5}) { id } }",
            json!({}),
            "createPerson",
            ("Object person doesn't have any \"foo\" field.", "BAD_USER_INPUT", "INVALID_ARGS_DATA"),
        ),
        (
            "mutation($d: [PersonCreateInput!]!) { createPeople(data: $d, upsert: true) { id } }",
            json!({ "d": many }),
            "createPeople",
            ("Maximum number of records to upsert is 200.", "BAD_USER_INPUT", "TOO_MANY_RECORDS_TO_UPDATE"),
        ),
        (
            "mutation { createPerson(data: {phones: {primaryPhoneNumber: \"call me\"}}) { id } }",
            json!({}),
            "createPerson",
            ("Provided phone number is invalid call me", "BAD_USER_INPUT", "INVALID_PHONE_NUMBER"),
        ),
        (
            "{ companies { edges { node { people { edges { node { noteTargets { edges { node { id } } } } } } } } } }",
            json!({}),
            "companies",
            (
                "Query complexity is too high. One-to-Many relation cannot be nested in another One-to-Many relation.",
                "BAD_USER_INPUT",
                "TOO_COMPLEX_QUERY",
            ),
        ),
    ] {
        let answer = client.graphql(query, &variables);
        assert_eq!((error(&answer, 0), &answer["data"]), (expected, &json!({ key: null })), "{query}");
        assert_eq!(answer["errors"][0].get("path"), None);
        assert!(answer["errors"][0]["extensions"]["userFriendlyMessage"].is_string());
    }
    let answer =
        client.graphql("mutation { createPerson(data: {emails: {primaryEmail: \"a@b.co\"}}) { id } }", &json!({}));
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions.get("subCode"), None);
    assert_eq!(
        (&extensions["conflictingRecordId"], &extensions["conflictingObjectNameSingular"]),
        (&json!(known), &json!("person"))
    );
    let answer = client.graphql("{ people {", &json!({}));
    let fault = &answer["errors"][0];
    assert_eq!(
        (&fault["message"], fault.get("extensions")),
        (&json!("Syntax Error: Expected Name, found <EOF>."), None)
    );
    assert!(fault["locations"][0]["line"].is_u64() && answer.get("data").is_none(), "{answer}");
    client.post("/__sandbox/switches", &json!({ "write_right": false }));
    let answer = client.graphql("mutation { createPerson(data: {}) { id } }", &json!({}));
    assert_eq!(
        (error(&answer, 0), &answer["data"]),
        (
            ("Entity performing the request does not have permission", "FORBIDDEN", "PERMISSION_DENIED"),
            &json!({ "createPerson": null })
        )
    );
}

#[test]
fn a_good_root_field_is_committed_beside_a_bad_one() {
    let client = Client::new();
    let names = ["companies", "people", "opportunities", "notes", "tasks", "noteTargets", "taskTargets", "attachments"];
    let query: String = names.iter().map(|name| format!("{name} {{ totalCount }} ")).collect();
    let answer = client.graphql(&format!("{{ {query} }}"), &json!({}));
    assert_eq!(answer["data"].as_object().map(serde_json::Map::len), Some(8));
    let query = "mutation { b: createNote(data: {title: 5}) { id } a: createTask(data: {title: \"ok\"}) { id } }";
    let answer = client.graphql(query, &json!({}));
    assert_eq!((&answer["data"]["b"], answer["errors"].as_array().map(Vec::len)), (&json!(null), Some(1)));
    let made = answer["data"]["a"]["id"].as_str().unwrap();
    assert_eq!(client.read("tasks", made)["title"], "ok");
    for query in [
        "{ a: people { totalCount } b: people { totalCount } }",
        "mutation { a: createNote(data: {}) { id } b: createNote(data: {}) { id } }",
    ] {
        let answer = client.graphql(query, &json!({}));
        let (message, code, _) = error(&answer, 0);
        assert!(message.starts_with("Duplicate root resolver: \"") && code == "BAD_USER_INPUT", "{answer}");
        assert_eq!(answer["data"], json!({}));
    }
    assert_eq!(client.get("/rest/notes").1["totalCount"], 0, "nothing of it was done");
}

#[test]
fn lists_below_a_record_are_connections() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A" })));
    client.post("/rest/batch/people", &json!([{ "companyId": company }, { "companyId": company, "jobTitle": "x" }]));
    let answer = client.graphql(
        "query($i: UUID!) { company(filter: {id: {eq: $i}}) { id people { totalCount edges { node { jobTitle companyId } } } nope } }",
        &json!({ "i": company }),
    );
    let record = &answer["data"]["company"];
    assert_eq!(
        (&record["people"]["totalCount"], record["people"]["edges"].as_array().map(Vec::len)),
        (&json!(2), Some(2))
    );
    assert_eq!((&record["people"]["edges"][0]["node"]["companyId"], &record["nope"]), (&json!(company), &json!(null)));
    let answer = client.graphql(
        "mutation($c: UUID!) { deletePeople(filter: {companyId: {eq: $c}}) { id deletedAt } }",
        &json!({ "c": company }),
    );
    let deleted = answer["data"]["deletePeople"].as_array().unwrap();
    assert!(
        deleted.len() == 2 && deleted.iter().all(|person| person["deletedAt"].is_string()),
        "records, and no count"
    );
    let query = "mutation($c: UUID!) { destroyPeople(filter: {companyId: {eq: $c}}) { id jobTitle } }";
    assert_eq!(
        client.graphql(query, &json!({ "c": company }))["data"]["destroyPeople"].as_array().map(Vec::len),
        Some(2)
    );
    assert!(
        client.list(&format!("/rest/people?filter=and(companyId[eq]:{company},deletedAt[is]:NOT_NULL)")).is_empty()
    );
}

#[test]
fn metadata_is_paged_read_and_changed() {
    let client = Client::new();
    let ask = |query: &str, variables: Json| {
        let (status, answer) = client.post("/metadata", &json!({ "query": query, "variables": variables }));
        assert_eq!(status, 200);
        answer
    };
    let page = |args: &str| {
        let list = ask(
            &format!(
                "{{ objects{args} {{ edges {{ cursor node {{ id nameSingular }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            ),
            json!({}),
        );
        list["data"]["objects"].clone()
    };
    let first = page("");
    assert_eq!((first["edges"].as_array().map(Vec::len), &first["pageInfo"]["hasNextPage"]), (Some(10), &json!(true)));
    assert_eq!(page("(paging: {first: 1000}, filter: {})")["edges"].as_array().map(Vec::len), Some(28));
    let cursor = first["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    assert_eq!(cursor, "YXJyYXljb25uZWN0aW9uOjk=", "a place in the list");
    let rest = page(&format!("(paging: {{first: 1000, after: \"{cursor}\"}})"));
    assert_eq!((rest["edges"].as_array().map(Vec::len), &rest["pageInfo"]["hasNextPage"]), (Some(18), &json!(false)));
    let object = client.object_id("person");
    let answer = ask(
        "query($id: UUID!) { object(id: $id) { nameSingular fieldsList { id name type isUnique isActive settings options relation { type targetObjectMetadata { nameSingular } targetFieldMetadata { name } sourceObjectMetadata { nameSingular } sourceFieldMetadata { name } } } } }",
        json!({ "id": object }),
    );
    let fields = answer["data"]["object"]["fieldsList"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!((&field("emails")["type"], &field("emails")["isUnique"]), (&json!("EMAILS"), &json!(true)));
    assert_eq!(
        field("company")["relation"],
        json!({
            "type": "MANY_TO_ONE", "targetObjectMetadata": { "nameSingular": "company" }, "targetFieldMetadata": { "name": "people" },
            "sourceObjectMetadata": { "nameSingular": "person" }, "sourceFieldMetadata": { "name": "company" },
        })
    );
    let title = id(field("jobTitle"));
    assert_eq!(
        ask("query($id: UUID!) { field(id: $id) { name } }", json!({ "id": title }))["data"]["field"]["name"],
        "jobTitle"
    );
    let create = "mutation($input: CreateOneFieldMetadataInput!) { createOneField(input: $input) { id name } }";
    let body = |name: &str| json!({ "input": { "field": { "objectMetadataId": object, "type": "TEXT", "name": name, "label": "Nick" } } });
    let nick = id(&ask(create, body("nick"))["data"]["createOneField"]);
    let refused = ask(create, body("nick"));
    assert_eq!(error(&refused, 0).0, "Multiple validation errors occurred while creating fields");
    let extensions = &refused["errors"][0]["extensions"];
    assert_eq!((&extensions["code"], &refused["data"]), (&json!("METADATA_VALIDATION_FAILED"), &json!(null)));
    assert_eq!(extensions["errors"]["fieldMetadata"][0]["errors"][0]["code"], "NOT_AVAILABLE");
    assert!(extensions["summary"]["totalErrors"].is_u64());
    let update = "mutation($id: UUID!) { updateOneField(input: {id: $id, update: {label: \"Other\", isActive: false}}) { label isActive } }";
    assert_eq!(
        ask(update, json!({ "id": nick }))["data"]["updateOneField"],
        json!({ "label": "Other", "isActive": false })
    );
    let drop = "mutation($id: UUID!) { deleteOneField(input: {id: $id}) { id } }";
    assert_eq!(ask(drop, json!({ "id": nick }))["data"]["deleteOneField"]["id"], json!(nick));
    client.refuses("POST", "/rest/people", Some(&json!({ "nick": "x" })), 400, "doesn't have any \"nick\" field");
    let update = "mutation($id: UUID!) { updateOneObject(input: {id: $id, update: {labelSingular: \"Human\"}}) { labelSingular } }";
    assert_eq!(ask(update, json!({ "id": object }))["data"]["updateOneObject"]["labelSingular"], "Human");
}

#[test]
fn webhooks_are_kept_by_either_door() {
    let client = Client::new();
    let ask =
        |query: &str, variables: Json| client.post("/metadata", &json!({ "query": query, "variables": variables })).1;
    let body = json!({ "targetUrl": "https://x.test/hook", "operations": ["person.created", "*.*"], "description": "x", "secret": "s" });
    let (status, made) = client.post("/rest/webhooks", &body);
    assert_eq!(status, 201);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let input = json!({ "input": { "targetUrl": "https://y.test", "operations": ["*.deleted"] } });
    let answer =
        ask("mutation($input: CreateWebhookInput!) { createWebhook(input: $input) { id secret targetUrl } }", input);
    let other = &answer["data"]["createWebhook"];
    let secret = other["secret"].as_str().unwrap();
    assert!(secret.len() == 64 && secret.chars().all(|letter| letter.is_ascii_hexdigit()), "{secret}");
    let (_, third) = client.post("/rest/webhooks", &json!({ "targetUrl": "https://w.test", "operations": ["*.*"] }));
    assert_eq!(third["secret"].as_str().map(str::len), Some(64));
    let (_, list) = client.get("/rest/webhooks");
    assert_eq!(list.as_array().map(Vec::len), Some(3), "a bare list");
    assert_eq!(client.delete(&format!("/rest/webhooks/{}", id(&third))), (200, json!(true)));
    let update = "mutation($id: UUID!) { updateWebhook(input: {id: $id, update: {targetUrl: \"https://z.test\", secret: \"t\"}}) { targetUrl secret operations } }";
    assert_eq!(
        ask(update, json!({ "id": id(other) }))["data"]["updateWebhook"],
        json!({ "targetUrl": "https://z.test", "secret": "t", "operations": ["*.deleted"] })
    );
    let drop = "mutation($id: UUID!) { deleteWebhook(id: $id) { id } }";
    assert_eq!(ask(drop, json!({ "id": id(other) }))["data"]["deleteWebhook"]["id"], other["id"]);
    assert_eq!(client.delete(&format!("/rest/webhooks/{}", id(&made))), (200, json!(true)));
    assert_eq!(client.get("/rest/webhooks"), (200, json!([])));
    assert_eq!(client.delete(&format!("/rest/webhooks/{}", id(&made))).0, 404);
}

#[test]
fn lookalikes_are_found_and_merged_here_as_well() {
    let client = Client::new();
    let company = |name: &str| id(&client.create("companies", &json!({ "name": name })));
    let (one, two) = (company("Same"), company("Same"));
    let query = "query($ids: [UUID]) { companyDuplicates(ids: $ids) { totalCount edges { node { id } } } }";
    let answer = client.graphql(query, &json!({ "ids": [one] }));
    assert_eq!(
        answer["data"]["companyDuplicates"][0],
        json!({ "totalCount": 1, "edges": [{ "node": { "id": two } }] })
    );
    let query =
        "mutation($ids: [UUID!]!) { mergeCompanies(ids: $ids, conflictPriorityIndex: 1, dryRun: false) { id name } }";
    let answer = client.graphql(query, &json!({ "ids": [one, two] }));
    assert_eq!(answer["data"]["mergeCompanies"], json!({ "id": two, "name": "Same" }));
    assert_eq!(client.get(&format!("/rest/companies/{one}")).0, 404);
    let answer = client.graphql(query, &json!({ "ids": [two] }));
    assert_eq!(error(&answer, 0).0, "At least 2 record IDs are required for merge");
    let answer = client.graphql(query, &json!({ "ids": [one, two] }));
    assert_eq!(error(&answer, 0), ("Record not found", "NOT_FOUND", "RECORD_NOT_FOUND"));
}
