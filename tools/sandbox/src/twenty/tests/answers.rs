//! Answers: their headers, their keys, and the shapes of refusals.

use serde_json::{Value as Json, json};

use super::{Client, id};

#[test]
fn every_answer_carries_what_the_framework_adds() {
    let client = Client::new();
    let bearer = client.bearer();
    let own = ("authorization", bearer.as_str());
    let answer = client.ask("GET", "/rest/people", &[own, ("accept-encoding", "gzip, br")], "");
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(header("access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(header("x-powered-by").as_deref(), Some("Express"));
    assert_eq!(header("keep-alive").as_deref(), Some("timeout=65"));
    assert_eq!(header("content-encoding"), None, "nothing is compressed");
    for name in answer.headers().keys().map(|name| name.as_str().to_lowercase()) {
        assert!(!["ratelimit", "rate-limit", "retry-after", "request-id"].iter().any(|word| name.contains(word)));
    }
    let tag = header("etag").unwrap();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    let same = client.ask("GET", "/rest/people", &[own, ("if-none-match", &tag)], "");
    assert_eq!((same.status().as_u16(), same.body().len()), (304, 0));
    client.create("people", &json!({}));
    assert_eq!(client.ask("GET", "/rest/people", &[own, ("if-none-match", &tag)], "").status().as_u16(), 200);
    let head = client.ask("HEAD", "/rest/people", &[own], "");
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    assert_eq!(client.ask("OPTIONS", "/rest/people", &[], "").status().as_u16(), 204, "no key is asked for");
    let health = client.ask("GET", "/healthz", &[], "");
    assert_eq!(health.status().as_u16(), 200, "no key here either");
}

#[test]
fn a_put_is_a_patch() {
    let client = Client::new();
    let made = id(&client.create("people", &json!({ "jobTitle": "a", "name": { "firstName": "A", "lastName": "B" } })));
    let (status, answer) = client.put(&format!("/rest/people/{made}"), &json!({ "name": { "firstName": "C" } }));
    let record = &answer["data"]["updatePerson"];
    assert_eq!((status, &record["jobTitle"]), (200, &json!("a")), "what is left out is kept");
    assert_eq!(record["name"], json!({ "firstName": "C", "lastName": "B" }));
}

#[test]
fn each_call_has_its_key() {
    let client = Client::new();
    let key = |method: &str, path: &str, body: Option<Json>, status: u16| {
        let (got, answer) = client.send(method, path, body.as_ref());
        assert_eq!(got, status, "{method} {path}: {answer}");
        let keys: Vec<String> = answer["data"].as_object().unwrap().keys().cloned().collect();
        (keys.join(","), answer)
    };
    let (name, answer) = key("GET", "/rest/people?limit=2", None, 200);
    assert_eq!(name, "people");
    let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["data", "totalCount", "pageInfo"]);
    let page = &answer["pageInfo"];
    assert_eq!((&page["hasNextPage"], &page["hasPreviousPage"]), (&json!(true), &json!(false)));
    assert!(page["startCursor"].is_string() && page["endCursor"].is_string());
    let one = client.create("people", &json!({ "jobTitle": "k" }));
    let one = id(&one);
    for (method, path, body, status, expected) in [
        ("GET", format!("/rest/people/{one}"), None, 200, "person"),
        ("POST", "/rest/people".into(), Some(json!({})), 201, "createPerson"),
        ("POST", "/rest/batch/people".into(), Some(json!([{}])), 201, "createPeople"),
        ("POST", "/rest/people?upsert=true".into(), Some(json!({ "id": one })), 201, "createPerson"),
        ("POST", "/rest/batch/people?upsert=true".into(), Some(json!([{ "id": one }])), 201, "createPeople"),
        ("PATCH", format!("/rest/people/{one}"), Some(json!({})), 200, "updatePerson"),
        ("PATCH", "/rest/people?filter=jobTitle[eq]:k".into(), Some(json!({})), 200, "updatePeople"),
        ("DELETE", format!("/rest/people/{one}?soft_delete=true"), None, 200, "deletePerson"),
        ("PATCH", format!("/rest/restore/people?filter=id[eq]:{one}"), None, 200, "restorePeople"),
        ("DELETE", "/rest/people?filter=jobTitle[eq]:k&soft_delete=true".into(), None, 200, "deletePeople"),
        ("DELETE", "/rest/people?filter=jobTitle[eq]:k".into(), None, 200, "deletePeople"),
    ] {
        assert_eq!(key(method, &path, body, status).0, expected, "{method} {path}");
    }
    let flag = client.delete(&format!("/rest/people/{}?soft_delete=1", id(&client.create("people", &json!({})))));
    assert_eq!(
        flag.1["data"]["deletePerson"].as_object().map(serde_json::Map::len),
        Some(1),
        "1 is no true: it is gone"
    );
}

#[test]
fn a_filter_given_twice_is_none_and_none_is_everything() {
    let client = Client::new();
    let note = id(&client.create("notes", &json!({ "title": "a" })));
    client.create("notes", &json!({ "title": "b" }));
    let twice = "filter=title[eq]:a&filter=title[eq]:a";
    assert_eq!(client.list(&format!("/rest/notes?{twice}")).len(), 2);
    let (status, answer) = client.patch("/rest/notes/", &json!({ "title": "all" }));
    assert_eq!((status, answer["data"]["updateNotes"].as_array().map(Vec::len)), (200, Some(2)), "{answer}");
    let before = client.read("notes", &note)["updatedAt"].clone();
    let (status, answer) = client.send("PATCH", "/rest/restore/notes", None);
    assert_eq!((status, answer["data"]["restoreNotes"].as_array().map(Vec::len)), (200, Some(2)));
    assert_ne!(client.read("notes", &note)["updatedAt"], before, "and touched");
    for (query, word) in
        [(String::new(), "destroy"), (twice.to_owned(), "destroy"), ("soft_delete=true".into(), "delete")]
    {
        assert_eq!(
            client.delete(&format!("/rest/notes?{query}")),
            (
                400,
                json!({ "statusCode": 400, "error": "BadRequestException", "messages": [format!(
                    "Filters are mandatory for bulk {word} operations. Please provide at least one filter to prevent accidental deletion of all records."
                )] })
            )
        );
    }
}

#[test]
fn refusals_have_one_of_two_shapes() {
    let client = Client::new();
    let nobody = "99999999-9999-4999-8999-999999999999";
    let bad = |error: &str, message: &str| json!({ "statusCode": 400, "error": error, "messages": [message] });
    let coded =
        |code: &str, message: &str| json!({ "statusCode": 400, "error": "Error", "messages": [message], "code": code });
    let missing = json!({ "statusCode": 404, "error": "NotFoundException", "messages": ["Record not found"] });
    let examples = "Valid examples: /rest/companies/id or /rest/companies or /rest/batch/companies";
    for (method, path, body, status, expected) in [
        (
            "POST",
            "/rest/people".to_owned(),
            Some(json!({ "foo": 1 })),
            400,
            bad("BadRequestException", "Object person doesn't have any \"foo\" field."),
        ),
        (
            "POST",
            "/rest/people".into(),
            Some(json!({ "phones": { "primaryPhoneNumber": "call me" } })),
            400,
            coded("INVALID_PHONE_NUMBER", "Provided phone number is invalid call me"),
        ),
        (
            "GET",
            "/rest/peoples".into(),
            None,
            400,
            bad("BadRequestException", "object 'peoples' not found. eg: companies"),
        ),
        ("GET", "/rest/people/x".into(), None, 400, bad("BadRequestException", "'x' is not a valid UUID")),
        ("GET", format!("/rest/people/{nobody}"), None, 404, missing.clone()),
        ("PATCH", format!("/rest/people/{nobody}"), Some(json!({})), 404, missing.clone()),
        ("DELETE", format!("/rest/people/{nobody}"), None, 404, missing.clone()),
        ("DELETE", format!("/rest/people/{nobody}?soft_delete=true"), None, 404, missing),
        (
            "GET",
            "/rest/people/x/y".into(),
            None,
            400,
            bad("BadRequestException", &format!("Query path '/rest/people/x/y' invalid. {examples}")),
        ),
        (
            "POST",
            "/rest/people".into(),
            None,
            400,
            bad("TypeError", "Cannot read properties of undefined (reading 'position')"),
        ),
        (
            "POST",
            "/rest/people".into(),
            Some(json!({ "jobTitle": "\u{0}" })),
            500,
            json!({ "statusCode": 500, "error": "InternalServerErrorException", "messages": ["Data validation error."] }),
        ),
        (
            "POST",
            "/rest/workspaceMembers".into(),
            Some(json!({ "userEmail": "x@y.zz" })),
            400,
            coded("PERMISSION_DENIED", "Entity performing the request does not have permission"),
        ),
    ] {
        assert_eq!(client.send(method, &path, body.as_ref()), (status, expected), "{method} {path}");
    }
    let bearer = client.bearer();
    let text = client.ask("POST", "/rest/people", &[("authorization", &bearer), ("content-type", "text/plain")], "{}");
    assert!(text.status().as_u16() == 400 && text.body().windows(9).any(|word| word == b"TypeError"), "{text:?}");
    client.post("/__sandbox/switches", &json!({ "data_model_right": false }));
    let expected = json!({
        "statusCode": 403, "error": "Error", "messages": ["Entity performing the request does not have permission"],
        "code": "PERMISSION_DENIED",
    });
    assert_eq!(client.post("/rest/metadata/objects", &json!({})), (403, expected));
}

#[test]
fn a_key_signed_by_another_is_invalid_and_no_key_makes_keys() {
    let client = Client::new();
    let stranger = Client::with(&super::Options { seed: 2, ..super::Options::default() }).bearer();
    let invalid = json!({ "statusCode": 401, "messages": ["Token invalid."], "error": "UNAUTHENTICATED" });
    let answer = client.ask("GET", "/rest/people", &[("authorization", &stranger)], "");
    assert_eq!((answer.status().as_u16(), serde_json::from_slice::<Json>(answer.body()).unwrap()), (401, invalid));
    let session = "This endpoint requires a session access token";
    for (method, path) in [
        ("POST", ""),
        ("PATCH", "/11111111-1111-4111-8111-111111111111"),
        ("DELETE", "/11111111-1111-4111-8111-111111111111"),
    ] {
        let body = json!({ "name": "x", "expiresAt": "2030-01-01", "roleId": "11111111-1111-4111-8111-111111111111" });
        let answer = client.refuses(method, &format!("/rest/apiKeys{path}"), Some(&body), 400, session);
        assert_eq!(answer["code"], "FORBIDDEN_EXCEPTION");
    }
    for query in [
        "mutation { createApiKey(input: {name: \"x\", expiresAt: \"2030-01-01\", roleId: \"11111111-1111-4111-8111-111111111111\"}) { id } }",
        "mutation { revokeApiKey(input: {id: \"11111111-1111-4111-8111-111111111111\"}) { id } }",
        "mutation { generateApiKeyToken(apiKeyId: \"11111111-1111-4111-8111-111111111111\", expiresAt: \"2030-01-01\") { token } }",
    ] {
        let (status, answer) = client.post("/metadata", &json!({ "query": query }));
        let error = &answer["errors"][0];
        assert_eq!(
            (status, &error["message"], &error["extensions"]["code"]),
            (200, &json!(session), &json!("FORBIDDEN"))
        );
    }
    let send = |path: &str, headers: &[(&str, &str)]| {
        let query =
            if path == "/graphql" { "{ people { totalCount } }" } else { "{ objects { edges { node { id } } } }" };
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        let answer = client.ask("POST", path, &headers, &json!({ "query": query }).to_string());
        (answer.status().as_u16(), serde_json::from_slice::<Json>(answer.body()).unwrap())
    };
    for path in ["/graphql", "/metadata"] {
        let (status, answer) = send(path, &[("authorization", &stranger)]);
        let error = &answer["errors"][0];
        assert_eq!((status, answer.get("data"), &error["message"]), (200, None, &json!("Token invalid.")));
        let extensions = &error["extensions"];
        assert_eq!(
            (&extensions["code"], &extensions["subCode"]),
            (&json!("UNAUTHENTICATED"), &json!("UNAUTHENTICATED"))
        );
        assert!(!extensions["userFriendlyMessage"].is_null());
    }
    let forbidden = json!({
        "errors": [{
            "message": "Forbidden resource",
            "extensions": {
                "code": "FORBIDDEN", "response": { "message": "Forbidden resource", "error": "Forbidden", "statusCode": 403 },
                "userFriendlyMessage": "An error occurred.",
            },
        }],
        "data": null,
    });
    assert_eq!(send("/metadata", &[]), (200, forbidden));
}
