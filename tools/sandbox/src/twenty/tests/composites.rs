//! Fields of several columns, and what a record says of what it does not hold.

use serde_json::{Value as Json, json};

use super::{Client, id, values::with_fields};

#[test]
fn what_is_not_there_is_shown_in_the_way_of_its_type() {
    let client = with_fields();
    let blank = client.create("things", &json!({}));
    for (field, expected) in [
        ("name", json!("")),
        ("ratio", json!(null)),
        ("born", json!(null)),
        ("color", json!(null)),
        ("tags", json!([])),
        ("stars", json!(null)),
        ("amount", json!({ "amountMicros": null, "currencyCode": null })),
        ("extra", json!(null)),
        ("words", json!([])),
        ("other", json!(null)),
        ("story", json!({ "blocknote": null, "markdown": "" })),
        ("full", json!({ "firstName": "", "lastName": "" })),
        (
            "where",
            json!({ "addressStreet1": "", "addressStreet2": "", "addressCity": "", "addressPostcode": "",
                "addressState": "", "addressCountry": "", "addressLat": null, "addressLng": null }),
        ),
        ("deletedAt", json!(null)),
        ("createdBy", json!({ "source": "API", "workspaceMemberId": null, "name": "Waybill sandbox", "context": {} })),
    ] {
        assert_eq!(blank[field], expected, "{field}");
    }
    assert_eq!(client.read("things", &id(&blank)), blank, "a read says the same");
}

#[test]
fn a_blank_person_is_this() {
    let client = Client::new();
    let mut person = client.create("people", &json!({}));
    let moment = person["createdAt"].clone();
    assert_eq!(person["updatedAt"], moment);
    let text = moment.as_str().unwrap();
    assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    for name in ["id", "createdAt", "updatedAt"] {
        person.as_object_mut().unwrap().remove(name);
    }
    let actor = json!({ "source": "API", "workspaceMemberId": null, "name": "Waybill sandbox", "context": {} });
    let link = json!({ "primaryLinkLabel": "", "primaryLinkUrl": "", "secondaryLinks": [] });
    assert_eq!(
        person,
        json!({
            "deletedAt": null, "name": { "firstName": "", "lastName": "" },
            "emails": { "primaryEmail": "", "additionalEmails": [] }, "linkedinLink": link, "jobTitle": "",
            "phones": { "primaryPhoneNumber": "", "primaryPhoneCountryCode": "", "primaryPhoneCallingCode": "", "additionalPhones": [] },
            "avatarUrl": "", "avatarFile": null, "position": -1, "createdBy": actor, "updatedBy": actor, "searchVector": "",
            "companyId": null,
        })
    );
}

#[test]
fn numbers_are_doubles_whatever_their_flavour() {
    let client = with_fields();
    let object = client.object_id("thing");
    for flavour in ["int", "float", "bigint"] {
        let name = format!("{flavour}Number");
        let settings = json!({ "dataType": flavour, "decimals": 3, "type": "percentage" });
        let body =
            json!({ "objectMetadataId": object, "type": "NUMBER", "name": name, "label": name, "settings": settings });
        let (status, made) = client.post("/rest/metadata/fields", &body);
        assert_eq!((status, &made["settings"]), (201, &settings));
        for (given, read) in [
            (json!(1.75), 1.75),
            (json!(9_007_199_254_740_993_i64), 9_007_199_254_740_992.0),
            (json!(1e20), 1e20),
            (json!(-3), -3.0),
        ] {
            assert_eq!(
                client.create("things", &json!({ &name: given }))[&name].as_f64(),
                Some(read),
                "{name}: {given}"
            );
        }
    }
}

#[test]
fn whoever_made_a_record_can_be_said() {
    let client = Client::new();
    for source in
        ["EMAIL", "CALENDAR", "WORKFLOW", "AGENT", "API", "IMPORT", "MANUAL", "SYSTEM", "WEBHOOK", "APPLICATION"]
    {
        let made = client.create("notes", &json!({ "createdBy": { "source": source, "name": "x" } }));
        assert_eq!((&made["createdBy"]["source"], &made["createdBy"]["name"]), (&json!(source), &json!("x")));
    }
    assert_eq!(client.post("/rest/notes", &json!({ "createdBy": { "source": "NOBODY" } })).0, 400);
}

#[test]
fn a_place_in_the_list_is_a_number_or_a_word() {
    let client = Client::new();
    let place = |body: Json| client.create("tasks", &body)["position"].clone();
    assert_eq!(place(json!({ "position": 3.5 })), json!(3.5));
    assert_eq!(place(json!({ "position": "last" })), json!(4.5));
    let first = place(json!({ "position": "first" })).as_f64();
    assert!(first < Some(3.5), "{first:?}");
    assert!(place(json!({})).as_f64() < first, "what says nothing comes first of all");
    for bad in [json!("middle"), json!(null), json!(true)] {
        assert_eq!(client.post("/rest/tasks", &json!({ "position": bad })).0, 400, "{bad}");
    }
}

#[test]
fn phones_are_read_as_a_library_reads_them() {
    let client = Client::new();
    let send = |number: &str, country: &str, calling: &str| {
        let mut phones = json!({ "primaryPhoneNumber": number });
        for (name, text) in [("primaryPhoneCountryCode", country), ("primaryPhoneCallingCode", calling)] {
            if !text.is_empty() {
                phones[name] = json!(text);
            }
        }
        client.post("/rest/people", &json!({ "phones": phones }))
    };
    for (given, stored) in [
        (("+33612345678", "", ""), ("612345678", "FR", "+33")),
        (("0612345678", "FR", ""), ("612345678", "FR", "+33")),
        (("4155552671", "", "+1"), ("4155552671", "US", "+1")),
        (("612345678", "", "33"), ("612345678", "FR", "33")),
        (("+1 (415) 555-2671 x123", "", ""), ("4155552671", "US", "+1")),
        (("(415) 555-2671", "US", ""), ("4155552671", "US", "+1")),
        (("+1234", "", ""), ("234", "", "+1")),
        (("+15555550100", "", ""), ("5555550100", "", "+1")),
        (("+447911123456", "", ""), ("7911123456", "GG", "+44")),
    ] {
        let (status, answer) = send(given.0, given.1, given.2);
        let (number, country, calling) = stored;
        assert_eq!(status, 201, "{given:?}: {answer}");
        assert_eq!(
            answer["data"]["createPerson"]["phones"],
            json!({ "primaryPhoneNumber": number, "primaryPhoneCountryCode": country, "primaryPhoneCallingCode": calling, "additionalPhones": [] }),
            "{given:?}"
        );
    }
    for (given, code, message) in [
        (("4155552671", "", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid 4155552671"),
        (("call me", "", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid call me"),
        (("0033612345678", "", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid 0033612345678"),
        (("0033612345678", "FR", ""), "INVALID_PHONE_NUMBER", "Provided phone number is invalid 0033612345678"),
        (
            ("+33612345678", "US", ""),
            "CONFLICTING_PHONE_COUNTRY_CODE",
            "Provided and inferred country code are conflicting",
        ),
        (("4155552671", "ZZ", ""), "INVALID_PHONE_COUNTRY_CODE", "Invalid country code ZZ"),
        (("0612345678", "fr", ""), "INVALID_PHONE_COUNTRY_CODE", "Invalid country code fr"),
    ] {
        let expected = json!({ "statusCode": 400, "error": "Error", "messages": [message], "code": code });
        assert_eq!(send(given.0, given.1, given.2), (400, expected), "{given:?}");
    }
    assert_eq!(send("12345", "US", "").0, 201, "only that it can be read is checked");
    let code = |number: &str, calling: &str| send(number, "", calling).1["code"].clone();
    assert_eq!(code("+33612345678", "+1"), "CONFLICTING_PHONE_CALLING_CODE");
    assert_eq!(code("612345678", "+999"), "INVALID_PHONE_CALLING_CODE");
    let bad = json!({ "primaryPhoneNumber": "+33612345678", "additionalPhones": [{ "number": "+14155552671" }, { "number": "no" }] });
    client.refuses("POST", "/rest/people", Some(&json!({ "phones": bad })), 400, "Provided phone number is invalid no");
}

#[test]
fn links_are_stored_as_the_server_normalises_them() {
    let client = Client::new();
    let send = |url: &str| client.post("/rest/companies", &json!({ "linkedinLink": { "primaryLinkUrl": url } }));
    for (given, stored) in [
        ("HTTPS://www.ACME.com/About/", "https://www.acme.com/About"),
        ("https://acme.com/", "https://acme.com"),
        ("  https://acme.com:443/a?B=c#D  ", "https://acme.com/a?B=c#D"),
        ("http://acme.com:8080/", "http://acme.com:8080"),
        ("https://exämple.com/ü", "https://xn--exmple-cua.com/%C3%BC"),
        ("Sub.Example.ORG/Path?x=1#f", "Sub.Example.ORG/Path?x=1#f"),
        ("localhost", "localhost"),
        ("http://127.0.0.1/x", "http://127.0.0.1/x"),
        ("mailto:a@b.co", "nulla@b.co"),
        ("", ""),
    ] {
        let (status, answer) = send(given);
        assert_eq!(status, 201, "{given}: {answer}");
        assert_eq!(answer["data"]["createCompany"]["linkedinLink"]["primaryLinkUrl"], stored, "{given}");
    }
    for bad in ["ftp://x.com", "acme", "hello world"] {
        let (status, answer) = send(bad);
        assert_eq!(
            (status, &answer["error"], &answer["messages"], &answer["code"]),
            (400, &json!("Error"), &json!(["The URL of the link is not valid"]), &json!("INVALID_URL")),
            "{bad}"
        );
    }
    let links = json!({ "primaryLinkUrl": "", "secondaryLinks": [{ "url": "", "label": "" }, { "url": "https://second.test", "label": "two" }] });
    let made = client.create("companies", &json!({ "linkedinLink": links }));
    assert_eq!(made["linkedinLink"]["primaryLinkUrl"], "https://second.test", "the first that says anything");
}

#[test]
fn blocks_are_made_of_markdown_and_markdown_of_blocks() {
    let client = Client::new();
    let body = |body: Json| client.create("notes", &json!({ "bodyV2": body }))["bodyV2"].clone();
    let blocks = |body: &Json| serde_json::from_str::<Json>(body["blocknote"].as_str().unwrap()).unwrap();
    let text = "# Hello\n\nSome **bold** <b>x</b><script>1</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |";
    let made = body(json!({ "markdown": text }));
    assert_eq!(made["markdown"], text, "word for word");
    let list = blocks(&made);
    assert_eq!(
        list[0]["props"],
        json!({ "backgroundColor": "default", "textColor": "default", "textAlignment": "left", "level": 1, "isToggleable": false })
    );
    assert_eq!(list[0]["content"], json!([{ "type": "text", "text": "Hello", "styles": {} }]));
    assert_eq!(list[0]["children"], json!([]));
    let texts: Vec<(&Json, bool)> = list[1]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["text"], item["styles"]["bold"] == json!(true)))
        .collect();
    let plain = [(json!("Some "), false), (json!("bold"), true), (json!(" "), false), (json!("x"), true)];
    assert_eq!(texts, plain.iter().map(|(text, bold)| (text, *bold)).collect::<Vec<_>>(), "the script is dropped");
    assert_eq!((list.as_array().map(Vec::len), &list[2]["type"]), (Some(3), &json!("table")));
}

#[test]
fn a_changed_text_gets_new_blocks() {
    let client = Client::new();
    let note = client.create("notes", &json!({ "bodyV2": { "markdown": "one" } }));
    let ids = |note: &Json| {
        let blocks: Json = serde_json::from_str(note["bodyV2"]["blocknote"].as_str().unwrap()).unwrap();
        (blocks[0]["id"].clone(), blocks[0]["content"][0]["text"].clone())
    };
    let (_, answer) = client.patch(&format!("/rest/notes/{}", id(&note)), &json!({ "bodyV2": { "markdown": "two" } }));
    let changed = &answer["data"]["updateNote"];
    assert_eq!((ids(&note).1, ids(changed).1), (json!("one"), json!("two")));
    assert_ne!(ids(&note).0, ids(changed).0, "ids of blocks are fresh");
}

#[test]
fn parts_that_are_left_out_fare_as_their_type_has_it_in_a_patch_and_in_an_upsert() {
    for upsert in [false, true] {
        let client = with_fields();
        let thing = id(&client.create(
            "things",
            &json!({
                "amount": { "amountMicros": 5, "currencyCode": "EUR" }, "full": { "firstName": "A", "lastName": "B" },
                "where": { "addressCity": "Paris", "addressLat": 1 }, "createdBy": { "source": "IMPORT", "name": "me" },
            }),
        ));
        let write = |body: Json| {
            let mut body = body;
            let (status, answer) = if upsert {
                body["id"] = json!(thing);
                client.post("/rest/things?upsert=true", &body)
            } else {
                client.patch(&format!("/rest/things/{thing}"), &body)
            };
            assert!(status < 300, "{answer}");
            client.read("things", &thing)
        };
        let read = write(json!({
            "amount": { "currencyCode": "USD" }, "full": { "lastName": "C" }, "where": { "addressCountry": "FR" },
            "createdBy": { "name": "you" },
        }));
        assert_eq!(read["amount"], json!({ "amountMicros": 5, "currencyCode": "USD" }));
        assert_eq!(read["full"], json!({ "firstName": "A", "lastName": "C" }));
        assert_eq!(
            [&read["where"]["addressCity"], &read["where"]["addressCountry"], &read["where"]["addressLat"]],
            [&json!("Paris"), &json!("FR"), &json!(1)]
        );
        let name = if upsert { "me" } else { "you" };
        assert_eq!((&read["createdBy"]["source"], &read["createdBy"]["name"]), (&json!("IMPORT"), &json!(name)));
        let same = write(json!({ "amount": null, "full": null, "where": null }));
        assert_eq!([&same["amount"], &same["full"], &same["where"]], [&read["amount"], &read["full"], &read["where"]]);
        let clear = write(
            json!({ "full": { "firstName": "", "lastName": "" }, "amount": { "amountMicros": null, "currencyCode": null } }),
        );
        assert_eq!(clear["full"], json!({ "firstName": "", "lastName": "" }), "empty parts clear");
        assert_eq!(clear["amount"], json!({ "amountMicros": null, "currencyCode": null }));
    }
}

#[test]
fn an_upsert_loses_parts_as_a_patch_does() {
    let client = Client::new();
    let person = id(&client.create(
        "people",
        &json!({
            "emails": { "primaryEmail": "p@p.pp", "additionalEmails": ["q@q.qq"] },
            "phones": { "primaryPhoneNumber": "+33612345678", "additionalPhones": [{ "number": "+14155552671" }] },
            "linkedinLink": { "primaryLinkUrl": "https://l.test", "primaryLinkLabel": "L" },
        }),
    ));
    let upsert = |body: Json| {
        let mut body = body;
        body["id"] = json!(person);
        let (status, answer) = client.post("/rest/people?upsert=true", &body);
        assert_eq!(status, 201, "{answer}");
        answer["data"]["createPerson"].clone()
    };
    let phones = upsert(json!({ "phones": { "primaryPhoneNumber": "+33612345679" } }))["phones"].clone();
    assert_eq!((&phones["primaryPhoneNumber"], &phones["additionalPhones"]), (&json!("612345679"), &json!([])));
    let links = upsert(json!({ "linkedinLink": { "primaryLinkLabel": "X" } }))["linkedinLink"].clone();
    assert_eq!(links, json!({ "primaryLinkLabel": "X", "primaryLinkUrl": "", "secondaryLinks": [] }));
    let emails = upsert(json!({ "emails": { "additionalEmails": ["r@r.rr"] } }))["emails"].clone();
    assert_eq!(emails, json!({ "primaryEmail": "", "additionalEmails": ["r@r.rr"] }));
}
