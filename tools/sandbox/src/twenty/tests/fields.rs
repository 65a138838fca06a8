//! Fields and objects, one fact at a time: which types, defaults, options and keys there are.

use serde_json::{Value as Json, json};

use super::{
    Client, id,
    metadata::{fault, field, ticket},
};

fn option(value: &str, position: i64) -> Json {
    json!({ "value": value, "label": value, "color": "red", "position": position })
}

#[test]
fn every_type_but_those_of_the_system_can_be_made() {
    let client = Client::new();
    let object = ticket(&client);
    let person = client.object_id("person");
    for kind in [
        "TEXT",
        "NUMBER",
        "DATE",
        "DATE_TIME",
        "BOOLEAN",
        "SELECT",
        "MULTI_SELECT",
        "CURRENCY",
        "EMAILS",
        "PHONES",
        "LINKS",
        "FULL_NAME",
        "ADDRESS",
        "RICH_TEXT",
        "RATING",
        "UUID",
        "RAW_JSON",
        "ARRAY",
        "ACTOR",
        "FILES",
        "RELATION",
    ] {
        let mut body = json!({ "type": kind, "name": format!("own{}", kind.to_lowercase().replace('_', "")) });
        if kind.ends_with("SELECT") {
            body["options"] = json!([option("A", 0)]);
        } else if kind == "FILES" {
            body["settings"] = json!({ "maxNumberOfValues": 5 });
        } else if kind == "RELATION" {
            body["relationCreationPayload"] = json!({ "type": "MANY_TO_ONE", "targetObjectMetadataId": person, "targetFieldLabel": "Tickets", "targetFieldIcon": "IconX" });
        }
        let (status, made) = field(&client, &object, body);
        assert_eq!((status, &made["type"]), (201, &json!(kind)), "{made}");
    }
    for (kind, message) in [
        ("NUMERIC", "Field type NUMERIC is not supported for field creation. Use NUMBER instead."),
        ("POSITION", "Field type POSITION is not supported for field creation."),
        ("TS_VECTOR", "Field type TS_VECTOR is not supported for field creation."),
    ] {
        let (status, answer) = field(&client, &object, json!({ "type": kind, "name": "no" }));
        assert_eq!((status, fault(&answer, "fieldMetadata").1.as_str()), (400, message));
    }
    for kind in ["RICH_TEXT_V2", "STRING", "text"] {
        let (status, answer) = field(&client, &object, json!({ "type": kind, "name": "no" }));
        assert_eq!((status, &answer["error"], &answer["statusCode"]), (400, &json!("Bad Request"), &json!(400)));
        assert!(answer["message"][0].as_str().unwrap().starts_with("type must be one of the following values: ACTOR"));
    }
    assert_eq!(field(&client, &object, json!({ "type": "FILES", "name": "no" })).0, 400, "how many is asked for");
}

#[test]
fn a_field_answers_all_its_keys_when_it_is_written_and_no_nulls_when_it_is_read() {
    let client = Client::new();
    let object = ticket(&client);
    let (_, made) = field(&client, &object, json!({ "type": "TEXT", "name": "subject", "label": "Subject" }));
    for (name, value) in [
        ("label", json!("Subject")),
        ("name", json!("subject")),
        ("objectMetadataId", object["id"].clone()),
        ("type", json!("TEXT")),
        ("defaultValue", json!(null)),
        ("options", json!(null)),
        ("isActive", json!(true)),
        ("isLabelSyncedWithName", json!(false)),
        ("isSystem", json!(false)),
        ("isUIEditable", json!(true)),
        ("isUIReadOnly", json!(false)),
        ("isNullable", json!(true)),
        ("isUnique", json!(false)),
        ("workspaceId", object["workspaceId"].clone()),
        ("applicationId", object["applicationId"].clone()),
    ] {
        assert_eq!(made.get(name), Some(&value), "{name}");
    }
    let path = format!("/rest/metadata/fields/{}", id(&made));
    let (_, read) = client.get(&path);
    assert!(read.get("defaultValue").is_none() && read.get("options").is_none() && read["name"] == "subject");
    let (status, changed) = client.patch(&path, &json!({ "label": "Topic", "description": "d", "icon": "IconX" }));
    assert_eq!(
        [&changed["label"], &changed["description"], &changed["icon"], &changed["name"]],
        [&json!("Topic"), &json!("d"), &json!("IconX"), &json!("subject")]
    );
    assert_eq!((status, changed.get("defaultValue")), (200, Some(&json!(null))));
    assert_eq!(client.put(&path, &json!({ "label": "Put" })).1["label"], "Put");
    let nobody = "99999999-9999-4999-8999-999999999999";
    client.refuses("GET", &format!("/rest/metadata/fields/{nobody}"), None, 404, "Field metadata not found");
    client.refuses("GET", "/rest/metadata/fields/x", None, 400, "Validation failed (uuid is expected)");
    // A list is cut at two hundred, and shows sixty when nobody says how many.
    let (_, list) = client.get("/rest/metadata/fields?limit=1000");
    assert_eq!((list["data"].as_array().map(Vec::len), &list["pageInfo"]["hasNextPage"]), (Some(200), &json!(true)));
    let (_, short) = client.get("/rest/metadata/fields");
    assert_eq!(short["data"].as_array().map(Vec::len), Some(60));
    let keys: Vec<&str> = short["pageInfo"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["hasNextPage", "startCursor", "endCursor"]);
    let ids = |list: &Json| -> Vec<String> { list["data"].as_array().unwrap().iter().map(id).collect() };
    let last = &ids(&list)[100];
    let (_, before) = client.get(&format!("/rest/metadata/fields?limit=10&ending_before={last}"));
    assert_eq!(ids(&before), ids(&list)[90..100]);
    let (_, after) = client.get(&format!("/rest/metadata/fields?limit=10&starting_after={last}"));
    assert_eq!(ids(&after), ids(&list)[101..111]);
}

#[test]
fn defaults_are_pieces_of_sql_or_plain_values() {
    let client = Client::new();
    let object = ticket(&client);
    let options = json!([option("RED", 0), option("BLUE", 1)]);
    for (name, body, expected) in [
        ("text", json!({ "type": "TEXT", "defaultValue": "'x'" }), json!("x")),
        ("one", json!({ "type": "SELECT", "options": options, "defaultValue": "'RED'" }), json!("RED")),
        (
            "many",
            json!({ "type": "MULTI_SELECT", "options": options, "defaultValue": ["'RED'", "'BLUE'"] }),
            json!(["RED", "BLUE"]),
        ),
        ("yes", json!({ "type": "BOOLEAN", "defaultValue": true }), json!(true)),
        ("five", json!({ "type": "NUMBER", "defaultValue": 5 }), json!(5)),
    ] {
        let mut body = body;
        body["name"] = json!(name);
        let (status, made) = field(&client, &object, body.clone());
        assert_eq!((status, &made["defaultValue"]), (201, &body["defaultValue"]), "{made}");
        assert_eq!(client.create("tickets", &json!({}))[name], expected, "{name}");
    }
    assert_eq!(field(&client, &object, json!({ "type": "DATE_TIME", "name": "seen", "defaultValue": "now" })).0, 201);
    assert_eq!(field(&client, &object, json!({ "type": "UUID", "name": "other", "defaultValue": "uuid" })).0, 201);
    let made = client.create("tickets", &json!({}));
    assert_eq!(made["seen"], made["createdAt"]);
    assert_eq!(made["other"].as_str().map(str::len), Some(36));
    let unquoted = "Default value should be as quoted string";
    for body in [
        json!({ "type": "SELECT", "name": "bad", "options": options, "defaultValue": "RED" }),
        json!({ "type": "MULTI_SELECT", "name": "bad", "options": options, "defaultValue": ["RED"] }),
    ] {
        let (status, answer) = field(&client, &object, body);
        assert_eq!((status, fault(&answer, "fieldMetadata").1.as_str()), (400, unquoted));
    }
    let (status, answer) = field(&client, &object, json!({ "type": "TEXT", "name": "bad", "defaultValue": "x" }));
    assert!(status == 500 && answer.is_string(), "{answer}");
}

#[test]
fn options_are_unique_and_their_colours_are_anything() {
    let client = Client::new();
    let object = ticket(&client);
    let send = |options: Json| field(&client, &object, json!({ "type": "SELECT", "name": "sel", "options": options }));
    let own = "11111111-1111-4111-8111-111111111111";
    let long = "X".repeat(64);
    for (options, message) in [
        (json!([]), "Options are required for enum fields".to_owned()),
        (json!([option("_A", 0)]), "Value must be in UPPER_CASE and follow snake_case \"_A\"".into()),
        (json!([option(&long, 0)]), format!("Value must be in UPPER_CASE and follow snake_case \"{long}\"")),
        (
            json!([{ "id": own, "value": "A", "label": "A", "position": 0 }, { "id": own, "value": "B", "label": "B", "position": 1 }]),
            "Duplicated option id".into(),
        ),
    ] {
        let (status, answer) = send(options);
        assert_eq!((status, fault(&answer, "fieldMetadata").1), (400, message));
    }
    for label in ["", &long] {
        assert_eq!(send(json!([{ "value": "A", "label": label, "position": 0 }])).0, 400, "{label:?}");
    }
    let (status, made) = send(json!([{ "value": "A_1", "label": "x".repeat(63), "color": "fuchsia" }]));
    assert_eq!((status, &made["options"][0]["color"]), (201, &json!("fuchsia")));
    // Without their ids options are new ones, and rows keep values that survive.
    let row = id(&client.create("tickets", &json!({ "sel": "A_1" })));
    let path = format!("/rest/metadata/fields/{}", id(&made));
    let (_, changed) = client.patch(&path, &json!({ "options": [option("B", 0), option("A_1", 1)] }));
    let ids: Vec<String> = changed["options"].as_array().unwrap().iter().map(id).collect();
    assert!(ids.len() == 2 && !ids.contains(&id(&made["options"][0])), "{changed}");
    assert_eq!(client.read("tickets", &row)["sel"], "A_1");
    client.refuses(
        "POST",
        "/rest/tickets",
        Some(&json!({ "sel": "b" })),
        400,
        "Invalid value \"b\" for field \"sel\". Valid values are: B, A_1",
    );
    let (_, rating) = field(&client, &object, json!({ "type": "RATING", "name": "stars" }));
    let values: Vec<&Json> = rating["options"].as_array().unwrap().iter().map(|option| &option["value"]).collect();
    assert_eq!(
        values,
        [&json!("RATING_1"), &json!("RATING_2"), &json!("RATING_3"), &json!("RATING_4"), &json!("RATING_5")]
    );
}

#[test]
fn keys_are_of_these_types() {
    let client = Client::new();
    let object = ticket(&client);
    for (kind, name, value) in [
        ("TEXT", "uText", json!("a")),
        ("NUMBER", "uNumber", json!(5)),
        ("DATE", "uDate", json!("2020-01-01")),
        ("DATE_TIME", "uTime", json!("2020-01-01T00:00:00Z")),
        ("UUID", "uId", json!("11111111-1111-4111-8111-111111111111")),
        ("SELECT", "uSelect", json!("A")),
        ("RATING", "uRating", json!("RATING_1")),
        ("EMAILS", "uMail", json!({ "primaryEmail": "a@b.co" })),
        ("LINKS", "uLink", json!({ "primaryLinkUrl": "https://a.test" })),
        ("PHONES", "uPhone", json!({ "primaryPhoneNumber": "+33612345678" })),
    ] {
        let mut body = json!({ "type": kind, "name": name, "isUnique": true });
        if kind == "SELECT" {
            body["options"] = json!([option("A", 0)]);
        }
        let (status, made) = field(&client, &object, body);
        assert_eq!((status, &made["isUnique"]), (201, &json!(true)), "{made}");
        let one = client.create("tickets", &json!({ name: value }));
        client.refuses("POST", "/rest/tickets", Some(&json!({ name: value })), 400, "A duplicate entry was detected");
        client.create("tickets", &json!({}));
        client.create("tickets", &json!({}));
        client.delete(&format!("/rest/tickets/{}", id(&one)));
        client.create("tickets", &json!({ name: value }));
    }
    assert_eq!(field(&client, &object, json!({ "type": "BOOLEAN", "name": "uFlag", "isUnique": true })).0, 201);
    let person = client.object_id("person");
    let payload = json!({ "type": "MANY_TO_ONE", "targetObjectMetadataId": person, "targetFieldLabel": "Tickets" });
    for body in [
        json!({ "type": "RELATION", "name": "owner", "isUnique": true, "relationCreationPayload": payload }),
        json!({ "type": "FILES", "name": "papers", "isUnique": true, "settings": { "maxNumberOfValues": 1 } }),
    ] {
        let (status, answer) = field(&client, &object, body);
        assert_eq!((status, fault(&answer, "index").0.as_str()), (400, "INDEX_FIELD_INVALID_TYPE_FOR_UNIQUE"));
    }
}

#[test]
fn a_standard_field_can_be_hidden_and_not_dropped() {
    let client = Client::new();
    let (_, objects) = client.get("/rest/metadata/objects?limit=200");
    let person = objects["data"].as_array().unwrap().iter().find(|object| object["nameSingular"] == "person").unwrap();
    let title = person["fields"].as_array().unwrap().iter().find(|field| field["name"] == "jobTitle").unwrap();
    let path = format!("/rest/metadata/fields/{}", id(title));
    let refused = json!({
        "statusCode": 403, "error": "Error", "messages": ["Cannot delete standard field \"jobTitle\""],
        "code": "FIELD_MUTATION_NOT_ALLOWED",
    });
    assert_eq!(client.delete(&path), (403, refused));
    let made = client.create("people", &json!({ "jobTitle": "kept" }));
    let (status, changed) = client.patch(&path, &json!({ "isActive": false }));
    assert_eq!((status, &changed["isActive"]), (200, &json!(false)));
    let record = client.read("people", &id(&made));
    assert_eq!(record.get("jobTitle"), None);
    let path = format!("/rest/people/{}", id(&made));
    let (status, answer) = client.patch(&path, &json!({ "jobTitle": "written" }));
    assert_eq!((status, answer["data"]["updatePerson"].get("jobTitle")), (200, None));
}

#[test]
fn an_object_has_what_all_have_and_takes_a_new_name() {
    let client = Client::new();
    let object = ticket(&client);
    for (name, value) in [
        ("labelPlural", json!("Tickets")),
        ("labelSingular", json!("Ticket")),
        ("namePlural", json!("tickets")),
        ("nameSingular", json!("ticket")),
        ("description", json!("Support ticket")),
        ("icon", json!("IconTicket")),
        ("isActive", json!(true)),
        ("isLabelSyncedWithName", json!(false)),
        ("isRemote", json!(false)),
        ("isSearchable", json!(true)),
        ("isSystem", json!(false)),
        ("isUIEditable", json!(true)),
        ("isUICreatable", json!(true)),
        ("isUIReadOnly", json!(false)),
    ] {
        assert_eq!(object[name], value, "{name}");
    }
    let fields = object["fields"].as_array().unwrap();
    let find = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["id", "createdAt", "updatedAt", "deletedAt", "createdBy", "updatedBy", "position", "searchVector"] {
        assert_eq!(find(name)["isSystem"], true, "{name}");
    }
    for name in ["timelineActivities", "attachments", "noteTargets", "taskTargets"] {
        assert_eq!(find(name)["settings"]["relationType"], "ONE_TO_MANY", "{name}");
    }
    assert_eq!(
        (&object["labelIdentifierFieldMetadataId"], &find("name")["type"]),
        (&find("name")["id"], &json!("TEXT"))
    );
    let made = id(&client.create("tickets", &json!({ "name": "t" })));
    for plural in ["timelineActivities", "attachments", "noteTargets", "taskTargets"] {
        assert_eq!(
            client.create(plural, &json!({ "targetTicketId": made }))["targetTicketId"],
            json!(made),
            "{plural}"
        );
    }
    let (_, code) = field(&client, &object, json!({ "type": "TEXT", "name": "code" }));
    let path = format!("/rest/metadata/objects/{}", id(&object));
    let body = json!({ "nameSingular": "case", "namePlural": "cases", "labelSingular": "Case", "labelPlural": "Cases", "labelIdentifierFieldMetadataId": code["id"] });
    let (status, changed) = client.patch(&path, &body);
    assert_eq!(status, 200, "{changed}");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&changed[name], value, "{name}");
    }
    assert_eq!(client.read("cases", &made)["name"], "t", "its rows are where they were");
    client.refuses("GET", "/rest/tickets", None, 400, "object 'tickets' not found. eg: companies");
    let bare = json!({ "nameSingular": "bare", "namePlural": "bares", "labelSingular": "Bare", "labelPlural": "Bares", "skipNameField": true });
    let (status, bare) = client.post("/rest/metadata/objects", &bare);
    assert_eq!((status, bare["fields"].as_array().unwrap().iter().any(|field| field["name"] == "name")), (201, false));
    client.refuses(
        "POST",
        "/rest/bares",
        Some(&json!({ "name": "x" })),
        400,
        "Object bare doesn't have any \"name\" field.",
    );
}

#[test]
fn some_names_are_taken() {
    let client = Client::new();
    let send = |one: &str, many: &str| {
        client.post(
            "/rest/metadata/objects",
            &json!({ "nameSingular": one, "namePlural": many, "labelSingular": "A", "labelPlural": "B" }),
        )
    };
    for reserved in [
        "event",
        "events",
        "field",
        "link",
        "type",
        "object",
        "user",
        "workspace",
        "role",
        "job",
        "plan",
        "index",
        "relation",
        "search",
        "currency",
        "currencies",
        "address",
        "addresses",
        "aggregate",
        "fullNames",
        "pageLayoutTab",
        "billingThing",
        "featureFlag",
        "appToken",
        "keyValuePair",
        "userWorkspace",
        "twoFactorMethod",
        "approvedAccessDomain",
    ] {
        for (one, many) in [(reserved, "others"), ("other", reserved)] {
            let (status, answer) = send(one, many);
            assert_eq!(
                (status, fault(&answer, "objectMetadata").0.as_str()),
                (400, "INVALID_OBJECT_INPUT"),
                "{one} {many}"
            );
        }
    }
    for bad in ["Upper", "my_thing", "1st", "with space", &"x".repeat(64)] {
        assert_eq!(fault(&send(bad, "others").1, "objectMetadata").0, "INVALID_OBJECT_INPUT", "{bad}");
    }
    let (status, answer) = send(&"x".repeat(62), &"x".repeat(63));
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = send("company", "others");
    assert_eq!(
        (status, &answer["statusCode"], &answer["error"]),
        (400, &json!(400), &json!("METADATA_VALIDATION_ERROR"))
    );
    assert_eq!(answer["message"], "Multiple validation errors occurred while creating object");
    let entry = answer["errors"]["objectMetadata"][0].clone();
    assert_eq!(
        entry["errors"],
        json!([{ "code": "OBJECT_ALREADY_EXISTS", "message": "Object already exists", "userFriendlyMessage": "Object already exists" }])
    );
    assert_eq!(
        (&entry["status"], &entry["metadataName"], &entry["type"]),
        (&json!("fail"), &json!("objectMetadata"), &json!("create"))
    );
    assert_eq!(
        [&entry["flatEntityMinimalInformation"]["nameSingular"], &entry["flatEntityMinimalInformation"]["namePlural"]],
        [&json!("company"), &json!("others")]
    );
    assert_eq!(answer["summary"]["objectMetadata"], 1);
}

#[test]
fn a_relation_clears_what_pointed_to_the_destroyed() {
    let client = Client::new();
    let object = ticket(&client);
    let person = client.object_id("person");
    let payload = json!({ "type": "MANY_TO_ONE", "targetObjectMetadataId": person, "targetFieldLabel": "Open tickets", "targetFieldIcon": "IconTicket" });
    let body = json!({ "type": "RELATION", "name": "requester", "relationCreationPayload": payload });
    assert_eq!(field(&client, &object, body).0, 201);
    let someone = id(&client.create("people", &json!({})));
    let made = id(&client.create("tickets", &json!({ "requesterId": someone })));
    let (_, answer) = client.get(&format!("/rest/people/{someone}?depth=1"));
    assert_eq!(answer["data"]["person"]["openTickets"][0]["id"], json!(made), "named after its label");
    client.delete(&format!("/rest/people/{someone}"));
    assert_eq!(client.read("tickets", &made)["requesterId"], json!(null));
    for payload in [json!(null), json!({})] {
        let body = json!({ "type": "RELATION", "name": "other", "relationCreationPayload": payload });
        assert_eq!(field(&client, &object, body).0, 400);
    }
    let body = json!({ "type": "TEXT", "name": "requesterId" });
    assert_eq!(field(&client, &object, body).0, 400, "the column is taken");
}

#[test]
fn a_dropped_field_takes_its_values_with_it() {
    let client = Client::new();
    let object = ticket(&client);
    let (_, made) = field(&client, &object, json!({ "type": "TEXT", "name": "code" }));
    let row = id(&client.create("tickets", &json!({ "code": "a" })));
    assert_eq!(
        client.delete(&format!("/rest/metadata/fields/{}", id(&made))).0,
        200,
        "it need not be deactivated first"
    );
    assert_eq!(client.read("tickets", &row).get("code"), None);
    client.refuses(
        "GET",
        "/rest/tickets?filter=code[eq]:a",
        None,
        400,
        "Object ticket doesn't have any \"code\" field.",
    );
    assert_eq!(field(&client, &object, json!({ "type": "TEXT", "name": "code" })).0, 201);
    assert_eq!(client.read("tickets", &row)["code"], "", "the name is free, the values are gone");
}
