//! Metadata: objects, fields and options, by both doors.

use serde_json::{Value as Json, json};

use super::{Client, id};

pub(super) fn ticket(client: &Client) -> Json {
    let (status, object) = client.post(
        "/rest/metadata/objects",
        &json!({ "nameSingular": "ticket", "namePlural": "tickets", "labelSingular": "Ticket", "labelPlural": "Tickets",
            "description": "Support ticket", "icon": "IconTicket" }),
    );
    assert_eq!(status, 201, "{object}");
    object
}

pub(super) fn field(client: &Client, object: &Json, body: Json) -> (u16, Json) {
    let mut whole = json!({ "objectMetadataId": object["id"], "label": body["name"] });
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    client.post("/rest/metadata/fields", &whole)
}

/// Returns the code and the message of the first fault of an entity.
pub(super) fn fault(answer: &Json, entity: &str) -> (String, String) {
    let error = &answer["errors"][entity][0]["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text("code"), text("message"))
}

#[test]
fn an_object_can_be_used_at_once() {
    let client = Client::new();
    let object = ticket(&client);
    assert_eq!((&object["isActive"], &object["imageIdentifierFieldMetadataId"]), (&json!(true), &json!(null)));
    assert_eq!(object.get("isCustom"), None);
    let names: Vec<&str> =
        object["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    for name in [
        "id",
        "name",
        "createdAt",
        "position",
        "searchVector",
        "timelineActivities",
        "attachments",
        "noteTargets",
        "taskTargets",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let made = id(&client.create("tickets", &json!({ "name": "t1" })));
    let note = id(&client.create("notes", &json!({})));
    let target = client.create("noteTargets", &json!({ "noteId": note, "targetTicketId": made }));
    assert_eq!(target["targetTicketId"], json!(made));
    client.delete(&format!("/rest/tickets/{made}"));
    assert_eq!(client.get(&format!("/rest/noteTargets/{}", id(&target))).0, 404);
    // Without nulls when read.
    let (_, read) = client.get(&format!("/rest/metadata/objects/{}", id(&object)));
    assert_eq!(read.get("imageIdentifierFieldMetadataId"), None);
    let path = format!("/rest/metadata/objects/{}", id(&object));
    assert_eq!(client.patch(&path, &json!({ "isActive": false })).1["isActive"], false);
    assert_eq!(client.get("/rest/tickets").0, 200, "a deactivated object answers");
    assert_eq!(client.delete(&path).0, 200, "it need not be deactivated first");
    client.refuses("GET", "/rest/tickets", None, 400, "object 'tickets' not found. eg: companies");
    client.refuses("POST", "/rest/noteTargets", Some(&json!({ "targetTicketId": null })), 400, "doesn't have any");
}

#[test]
fn objects_are_checked() {
    let client = Client::new();
    ticket(&client);
    let post = |body: Json| client.post("/rest/metadata/objects", &body);
    let named = |one: &str, many: &str| json!({ "nameSingular": one, "namePlural": many, "labelSingular": "A", "labelPlural": "B" });
    let (status, answer) = post(json!({ "nameSingular": "a", "namePlural": "b" }));
    assert_eq!((status, &answer["error"]), (400, &json!("Bad Request")));
    assert_eq!(answer["message"][0], "labelSingular should not be empty");
    let (status, answer) = post(named("ticket", "tickets"));
    assert_eq!((status, &answer["error"]), (400, &json!("METADATA_VALIDATION_ERROR")));
    assert_eq!(fault(&answer, "objectMetadata"), ("OBJECT_ALREADY_EXISTS".into(), "Object already exists".into()));
    assert!(answer["summary"]["totalErrors"].as_u64().unwrap() > 1, "other entities complain as well");
    for (one, many) in [("Ticket2", "tickets2"), ("event", "eventz"), ("same", "same"), ("my_thing", "things")] {
        assert_eq!(fault(&post(named(one, many)).1, "objectMetadata").0, "INVALID_OBJECT_INPUT", "{one}");
    }
    let company = client.object_id("company");
    let (status, answer) = client.delete(&format!("/rest/metadata/objects/{company}"));
    assert_eq!((status, &answer["error"]), (400, &json!("METADATA_VALIDATION_ERROR")));
    let unknown = client.refuses(
        "GET",
        "/rest/metadata/objects/99999999-9999-4999-8999-999999999999",
        None,
        404,
        "Object metadata not found",
    );
    assert_eq!(unknown["code"], "OBJECT_METADATA_NOT_FOUND");
    client.refuses("GET", "/rest/metadata/objects/x", None, 400, "Validation failed (uuid is expected)");
}

#[test]
fn lists_of_metadata_go_by_plain_ids() {
    let client = Client::new();
    let (_, first) = client.get("/rest/metadata/objects?limit=10");
    assert_eq!((first["data"].as_array().unwrap().len(), &first["totalCount"]), (10, &json!(28)));
    let ids: Vec<String> = first["data"].as_array().unwrap().iter().map(id).collect();
    assert!(ids.is_sorted_by(|one, other| one > other));
    assert_eq!(first["pageInfo"]["endCursor"], json!(ids[9]));
    assert_eq!(first["pageInfo"].get("hasPreviousPage"), None);
    let (_, rest) = client.get(&format!("/rest/metadata/objects?limit=200&starting_after={}", ids[9]));
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["pageInfo"]["hasNextPage"]), (18, &json!(false)));
}

#[test]
fn fields_are_checked() {
    let client = Client::new();
    let object = ticket(&client);
    let (status, made) = field(&client, &object, json!({ "type": "TEXT", "name": "subject" }));
    assert_eq!(
        (status, &made["isNullable"], &made["isUnique"], &made["defaultValue"]),
        (201, &json!(true), &json!(false), &json!(null))
    );
    assert_eq!(client.create("tickets", &json!({ "subject": "s" }))["subject"], "s");
    let refused = |body: Json, code: &str, message: &str| {
        let (status, answer) = field(&client, &object, body);
        assert_eq!(status, 400, "{answer}");
        assert_eq!(fault(&answer, "fieldMetadata"), (code.into(), message.into()));
    };
    refused(
        json!({ "type": "TEXT", "name": "subject" }),
        "NOT_AVAILABLE",
        "Name \"subject\" is not available as it is already used by another field",
    );
    refused(
        json!({ "type": "TEXT", "name": "Bad" }),
        "INVALID_FIELD_INPUT",
        "Name is not valid: it must start with lowercase letter and contain only alphanumeric letters",
    );
    refused(json!({ "type": "TEXT", "name": "x".repeat(64) }), "INVALID_FIELD_INPUT", "Name is too long");
    refused(
        json!({ "type": "TEXT", "name": "event" }),
        "INVALID_FIELD_INPUT",
        "This name is reserved. Use a different name or the system will add \"Custom\" suffix.",
    );
    refused(
        json!({ "type": "NUMERIC", "name": "n" }),
        "INVALID_FIELD_INPUT",
        "Field type NUMERIC is not supported for field creation. Use NUMBER instead.",
    );
    refused(json!({ "type": "SELECT", "name": "sel" }), "INVALID_FIELD_INPUT", "Options are required for enum fields");
    refused(
        json!({ "type": "RELATION", "name": "rel" }),
        "INVALID_FIELD_INPUT",
        "Relation creation payload is required",
    );
    field(&client, &object, json!({ "type": "CURRENCY", "name": "cost" }));
    refused(
        json!({ "type": "TEXT", "name": "costAmountMicros" }),
        "RESERVED_KEYWORD",
        "Name \"costAmountMicros\" is reserved composite field name",
    );
    let (status, answer) = field(&client, &object, json!({ "type": "RICH_TEXT_V2", "name": "rich" }));
    assert_eq!(status, 400);
    assert!(
        answer["message"][0]
            .as_str()
            .unwrap()
            .starts_with("type must be one of the following values: ACTOR, ADDRESS, ARRAY")
    );
    let (status, answer) = client.post("/rest/metadata/fields", &json!({ "objectMetadataId": "99999999-9999-4999-8999-999999999999", "type": "TEXT", "name": "a", "label": "A" }));
    assert_eq!((status, fault(&answer, "fieldMetadata").1), (400, "Provided object metadata id does not exist".into()));
    assert_eq!(
        field(&client, &object, json!({ "type": "TEXT", "name": "other", "label": "subject" })).0,
        201,
        "labels may be the same"
    );
}

#[test]
fn options_are_checked_and_rows_follow_them() {
    let client = Client::new();
    let object = ticket(&client);
    let option =
        |value: &str, position: i64| json!({ "value": value, "label": value, "color": "red", "position": position });
    let bad = |options: Json, message: &str| {
        let (status, answer) = field(&client, &object, json!({ "type": "SELECT", "name": "bad", "options": options }));
        assert_eq!((status, fault(&answer, "fieldMetadata").1), (400, message.into()));
    };
    for value in ["low", "A B", "1A", "A_", "A__B"] {
        bad(json!([option(value, 0)]), &format!("Value must be in UPPER_CASE and follow snake_case \"{value}\""));
    }
    bad(json!([option("A", 0), option("A", 1)]), "Duplicated option value");
    bad(json!([option("A", 0), option("B", 0)]), "Duplicated option position");
    bad(json!([{ "value": "A", "label": "A" }, { "value": "B", "label": "B" }]), "Duplicated option position");
    bad(json!([{ "value": "A", "label": "A,B", "position": 0 }]), "Label must not contain a comma");
    let priority = json!({ "type": "SELECT", "name": "priority", "defaultValue": "'LOW'", "options": [option("LOW", 0), option("HIGH", 1), option("TOP", 2)] });
    let (status, made) = field(&client, &object, priority);
    assert_eq!(status, 201, "{made}");
    let options = made["options"].as_array().unwrap().clone();
    assert!(options.iter().all(|option| option["id"].is_string()));
    assert_eq!(client.create("tickets", &json!({}))["priority"], "LOW", "the default");
    let (high, top) = (
        id(&client.create("tickets", &json!({ "priority": "HIGH" }))),
        id(&client.create("tickets", &json!({ "priority": "TOP" }))),
    );
    let path = format!("/rest/metadata/fields/{}", id(&made));
    // The id is what a row follows; a row of an option that is gone falls back.
    let renamed = json!([options[0], { "id": options[1]["id"], "value": "URGENT", "label": "Urgent", "color": "red", "position": 1 }]);
    assert_eq!(client.patch(&path, &json!({ "options": renamed })).0, 200);
    let read = |id: &str| client.get(&format!("/rest/tickets/{id}")).1["data"]["ticket"]["priority"].clone();
    assert_eq!((read(&high), read(&top)), (json!("URGENT"), json!("LOW")));
    // Without ids, values that survive are kept.
    assert_eq!(client.patch(&path, &json!({ "options": [option("LOW", 0), option("URGENT", 1)] })).0, 200);
    assert_eq!(read(&high), json!("URGENT"));
    let (status, answer) = client.patch(&path, &json!({ "options": [option("URGENT", 1)] }));
    assert_eq!(
        (status, fault(&answer, "fieldMetadata").1),
        (400, "Default value \"'LOW'\" must be one of the option values".into())
    );
    let unquoted = json!({ "type": "SELECT", "name": "bad", "defaultValue": "LOW", "options": [option("LOW", 0)] });
    let (_, answer) = field(&client, &object, unquoted);
    assert_eq!(fault(&answer, "fieldMetadata").1, "Default value should be as quoted string");
    assert_eq!(field(&client, &object, json!({ "type": "TEXT", "name": "bad", "defaultValue": "x" })).0, 500);
    let (_, text) = field(&client, &object, json!({ "type": "TEXT", "name": "good", "defaultValue": "'x'" }));
    assert_eq!(client.create("tickets", &json!({}))[text["name"].as_str().unwrap()], "x");
}

#[test]
fn unique_fields_count_the_trash_and_not_the_empty() {
    let client = Client::new();
    let object = ticket(&client);
    let (status, made) = field(&client, &object, json!({ "type": "TEXT", "name": "code", "isUnique": true }));
    assert_eq!((status, &made["isUnique"]), (201, &json!(true)));
    let first = id(&client.create("tickets", &json!({ "code": "a" })));
    client.delete(&format!("/rest/tickets/{first}?soft_delete=true"));
    client.refuses("POST", "/rest/tickets", Some(&json!({ "code": "a" })), 400, "A duplicate entry was detected");
    client.create("tickets", &json!({ "code": "" }));
    client.create("tickets", &json!({ "code": "" }));
    let (status, answer) = client.post("/rest/tickets?upsert=true", &json!({ "code": "a" }));
    assert_eq!((status, &answer["data"]["createTicket"]["id"]), (201, &json!(first)));
    for (kind, name) in [("CURRENCY", "uCur"), ("FULL_NAME", "uName"), ("ADDRESS", "uAddr"), ("RICH_TEXT", "uRich")] {
        let (_, answer) = field(&client, &object, json!({ "type": kind, "name": name, "isUnique": true }));
        assert_eq!(
            fault(&answer, "index"),
            (
                "INDEX_FIELD_INVALID_TYPE_FOR_UNIQUE".into(),
                format!("Unique index cannot be created for field {name} of type {kind}")
            )
        );
    }
    let (_, answer) =
        field(&client, &object, json!({ "type": "TEXT", "name": "u", "isUnique": true, "defaultValue": "'x'" }));
    assert_eq!(fault(&answer, "index").0, "INDEX_FIELD_INVALID_DEFAULT_VALUE");
    // Switched on over rows that are alike, the database fails, and says so in a bare text.
    let (_, plain) = field(&client, &object, json!({ "type": "TEXT", "name": "plain" }));
    client.create("tickets", &json!({ "plain": "same" }));
    client.create("tickets", &json!({ "plain": "same" }));
    let path = format!("/rest/metadata/fields/{}", id(&plain));
    let (status, answer) = client.patch(&path, &json!({ "isUnique": true }));
    assert!(status == 500 && answer.as_str().unwrap().starts_with("Migration action 'create' for 'index'"), "{answer}");
    assert_eq!(client.patch(&format!("/rest/metadata/fields/{}", id(&made)), &json!({ "isUnique": false })).0, 200);
    client.create("tickets", &json!({ "code": "a" }));
}

#[test]
fn fields_are_deactivated_dropped_or_kept() {
    let client = Client::new();
    let object = ticket(&client);
    let (_, made) = field(&client, &object, json!({ "type": "TEXT", "name": "gone" }));
    let path = format!("/rest/metadata/fields/{}", id(&made));
    assert_eq!(client.patch(&path, &json!({ "isActive": false })).0, 200);
    let record = client.create("tickets", &json!({ "gone": "x" }));
    assert_eq!(record.get("gone"), None, "it takes what is written, and is not shown");
    client.patch(&path, &json!({ "isActive": true }));
    assert_eq!(client.get(&format!("/rest/tickets/{}", id(&record))).1["data"]["ticket"]["gone"], "x");
    assert_eq!(client.delete(&path).0, 200);
    client.refuses(
        "POST",
        "/rest/tickets",
        Some(&json!({ "gone": "x" })),
        400,
        "Object ticket doesn't have any \"gone\" field.",
    );
    let (_, objects) = client.get("/rest/metadata/objects?limit=200");
    let person = objects["data"].as_array().unwrap().iter().find(|object| object["nameSingular"] == "person").unwrap();
    let title = person["fields"].as_array().unwrap().iter().find(|field| field["name"] == "jobTitle").unwrap();
    let answer = client.refuses(
        "DELETE",
        &format!("/rest/metadata/fields/{}", id(title)),
        None,
        403,
        "Cannot delete standard field \"jobTitle\"",
    );
    assert_eq!(answer["code"], "FIELD_MUTATION_NOT_ALLOWED");
    let strict = json!({ "type": "TEXT", "name": "nn1", "isNullable": false });
    assert_eq!(field(&client, &object, strict).0, 201);
    client.refuses(
        "POST",
        "/rest/tickets",
        Some(&json!({})),
        400,
        "null value in column \"nn1\" of relation \"_ticket\" violates not-null constraint",
    );
}

#[test]
fn relations_are_made_with_their_other_side() {
    let client = Client::new();
    let object = ticket(&client);
    let person = client.object_id("person");
    let company = client.object_id("company");
    let payload = |kind: &str, target: &str, label: &str| json!({ "type": kind, "targetObjectMetadataId": target, "targetFieldLabel": label, "targetFieldIcon": "IconTicket" });
    let (status, made) = field(
        &client,
        &object,
        json!({ "type": "RELATION", "name": "requester", "relationCreationPayload": payload("MANY_TO_ONE", &person, "Tickets") }),
    );
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        made["settings"],
        json!({ "onDelete": "SET_NULL", "relationType": "MANY_TO_ONE", "joinColumnName": "requesterId" })
    );
    let someone = id(&client.create("people", &json!({})));
    client.create("tickets", &json!({ "requesterId": someone }));
    let (_, answer) = client.get(&format!("/rest/people/{someone}?depth=1"));
    assert_eq!(answer["data"]["person"]["tickets"].as_array().unwrap().len(), 1);
    let (status, _) = field(
        &client,
        &object,
        json!({ "type": "RELATION", "name": "accounts", "relationCreationPayload": payload("ONE_TO_MANY", &company, "Account") }),
    );
    assert_eq!(status, 201);
    assert_eq!(client.create("companies", &json!({}))["accountId"], json!(null), "the column is on the other side");
    let morph = json!([
        payload("MANY_TO_ONE", &person, "Subject tickets"),
        payload("MANY_TO_ONE", &company, "Subject tickets")
    ]);
    let (status, _) = field(
        &client,
        &object,
        json!({ "type": "MORPH_RELATION", "name": "subjectOf", "morphRelationsCreationPayload": morph }),
    );
    assert_eq!(status, 201);
    let record = client.create("tickets", &json!({ "subjectOfPersonId": someone }));
    assert_eq!((&record["subjectOfPersonId"], &record["subjectOfCompanyId"]), (&json!(someone), &json!(null)));
    assert_eq!(client.delete(&format!("/rest/metadata/fields/{}", id(&made))).0, 200);
    assert_eq!(client.get(&format!("/rest/people/{someone}?depth=1")).1["data"]["person"].get("tickets"), None);
}

#[test]
fn older_workspaces_answer_in_the_legacy_format() {
    let client = Client::new();
    client.post("/__sandbox/switches", &json!({ "new_metadata_format": false }));
    let (_, list) = client.get("/rest/metadata/objects?limit=5");
    assert_eq!(list["data"]["objects"].as_array().unwrap().len(), 5);
    let made = client.post("/rest/metadata/objects", &json!({ "nameSingular": "gadget", "namePlural": "gadgets", "labelSingular": "Gadget", "labelPlural": "Gadgets" })).1;
    let object = &made["data"]["createOneObject"];
    let path = format!("/rest/metadata/objects/{}", id(object));
    assert_eq!(client.get(&path).1["data"]["object"]["nameSingular"], "gadget");
    assert_eq!(
        client.patch(&path, &json!({ "labelSingular": "G" })).1["data"]["updateOneObject"]["labelSingular"],
        "G"
    );
    assert_eq!(client.delete(&path).1["data"]["deleteOneObject"]["id"], object["id"]);
}

#[test]
fn a_role_without_the_right_changes_nothing() {
    let client = Client::new();
    client.post("/__sandbox/switches", &json!({ "data_model_right": false, "write_right": false }));
    let answer = client.refuses(
        "GET",
        "/rest/metadata/objects",
        None,
        403,
        "Entity performing the request does not have permission",
    );
    assert_eq!(answer["code"], "PERMISSION_DENIED");
    let answer = client.refuses(
        "POST",
        "/rest/people",
        Some(&json!({})),
        400,
        "Entity performing the request does not have permission",
    );
    assert_eq!(answer["code"], "PERMISSION_DENIED");
    let answer = client.graphql("mutation{createPerson(data:{}){id}}", &json!({}));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

#[test]
fn the_graphql_door_validates() {
    let client = Client::new();
    let ask =
        |query: &str, variables: Json| client.post("/metadata", &json!({ "query": query, "variables": variables })).1;
    let answer = ask("{ objects(paging: {first: 1000}) { edges { node { nameSingular isCustom } } } }", json!({}));
    assert_eq!(
        answer["errors"][0]["message"],
        "Cannot query field \"isCustom\" on type \"Object\". Did you mean \"isSystem\"?"
    );
    let answer = ask(
        "{ objects { edges { cursor node { nameSingular fieldsList { name relation { type targetObjectMetadata { nameSingular } } } } } pageInfo { hasNextPage } } }",
        json!({}),
    );
    let edges = answer["data"]["objects"]["edges"].as_array().unwrap();
    assert_eq!((edges.len(), &edges[0]["cursor"]), (10, &json!("YXJyYXljb25uZWN0aW9uOjA=")));
    let variables = json!({ "input": { "object": { "nameSingular": "gadget", "namePlural": "gadgets", "labelSingular": "Gadget", "labelPlural": "Gadgets" } } });
    let make = "mutation($input: CreateOneObjectInput!) { createOneObject(input: $input) { id nameSingular } }";
    let made = ask(make, variables.clone());
    let object = made["data"]["createOneObject"]["id"].as_str().unwrap().to_owned();
    let again = ask(make, variables);
    assert_eq!(
        (&again["errors"][0]["extensions"]["code"], &again["data"]),
        (&json!("METADATA_VALIDATION_FAILED"), &json!(null))
    );
    let field = json!({ "input": { "field": { "objectMetadataId": object, "type": "TEXT", "name": "size", "label": "Size" } } });
    let made =
        ask("mutation($input: CreateOneFieldMetadataInput!) { createOneField(input: $input) { id type } }", field);
    assert_eq!(made["data"]["createOneField"]["type"], "TEXT");
    // The schema of the records has the object from now on.
    let answer = client.graphql("{ __type(name: \"GadgetCreateInput\") { inputFields { name } } }", &json!({}));
    let names: Vec<&str> = answer["data"]["__type"]["inputFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"size") && names.contains(&"id"), "{names:?}");
    let answer = client.graphql("mutation { createGadget(data: {size: \"L\"}) { size } }", &json!({}));
    assert_eq!(answer["data"]["createGadget"]["size"], "L");
    ask("mutation($id: UUID!) { deleteOneObject(input: {id: $id}) { id } }", json!({ "id": object }));
    let answer = client.graphql("{ __type(name: \"GadgetCreateInput\") { name } }", &json!({}));
    assert_eq!(answer["data"]["__type"], json!(null));
    let answer = ask(
        "mutation { createApiKey(input: {name: \"x\", expiresAt: \"2030-01-01\", roleId: \"11111111-1111-4111-8111-111111111111\"}) { id } }",
        json!({}),
    );
    assert_eq!(
        (&answer["errors"][0]["message"], &answer["errors"][0]["extensions"]["code"]),
        (&json!("This endpoint requires a session access token"), &json!("FORBIDDEN"))
    );
}

#[test]
fn the_legacy_format_has_a_wrapper_for_each_call_about_fields() {
    let client = Client::new();
    client.post("/__sandbox/switches", &json!({ "new_metadata_format": false }));
    let (_, list) = client.get("/rest/metadata/fields?limit=3");
    assert_eq!(
        (list["data"]["fields"].as_array().map(Vec::len), &list["pageInfo"]["hasNextPage"]),
        (Some(3), &json!(true))
    );
    let (_, objects) = client.get("/rest/metadata/objects?limit=200");
    let objects = objects["data"]["objects"].as_array().unwrap();
    let note = objects.iter().find(|object| object["nameSingular"] == "note").unwrap();
    let (status, made) = field(&client, note, json!({ "type": "TEXT", "name": "extra" }));
    let made = &made["data"]["createOneField"];
    let path = format!("/rest/metadata/fields/{}", id(made));
    assert_eq!((status, client.get(&path).1["data"]["field"]["name"].clone()), (201, json!("extra")));
    let (status, changed) = client.patch(&path, &json!({ "label": "More" }));
    assert_eq!((status, &changed["data"]["updateOneField"]["label"]), (200, &json!("More")));
    let (status, gone) = client.delete(&path);
    assert_eq!((status, &gone["data"]["deleteOneField"]["id"]), (200, &made["id"]));
}
