//! Values: what each type takes, what it reads back as, what a write that leaves parts out does to them.

use serde_json::{Value as Json, json};

use super::{Client, id};

/// A client with a custom object that has a field of every type, and the object's plural.
pub(super) fn with_fields() -> Client {
    let client = Client::new();
    let (status, object) = client.post(
        "/rest/metadata/objects",
        &json!({ "nameSingular": "thing", "namePlural": "things", "labelSingular": "Thing", "labelPlural": "Things" }),
    );
    assert_eq!(status, 201, "{object}");
    let options = json!([{ "value": "RED", "label": "Red", "color": "red", "position": 0 }, { "value": "BLUE", "label": "Blue", "color": "blue", "position": 1 }]);
    for (name, kind) in [
        ("ratio", "NUMBER"),
        ("born", "DATE"),
        ("vip", "BOOLEAN"),
        ("color", "SELECT"),
        ("tags", "MULTI_SELECT"),
        ("stars", "RATING"),
        ("amount", "CURRENCY"),
        ("extra", "RAW_JSON"),
        ("words", "ARRAY"),
        ("other", "UUID"),
        ("story", "RICH_TEXT"),
        ("full", "FULL_NAME"),
        ("where", "ADDRESS"),
    ] {
        let mut body = json!({ "objectMetadataId": object["id"], "type": kind, "name": name, "label": name });
        if kind.ends_with("SELECT") {
            body["options"] = options.clone();
        }
        let (status, answer) = client.post("/rest/metadata/fields", &body);
        assert_eq!(status, 201, "{answer}");
    }
    client
}

#[test]
fn each_type_takes_its_values_and_refuses_others() {
    let client = with_fields();
    for (field, given, read) in [
        ("ratio", json!(1.75), json!(1.75)),
        ("ratio", json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64)),
        ("born", json!("2020-02-29T23:59:00Z"), json!("2020-02-29")),
        ("vip", json!(true), json!(true)),
        ("color", json!("RED"), json!("RED")),
        ("color", json!(null), json!(null)),
        ("tags", json!("RED"), json!(["RED"])),
        ("tags", json!(["BLUE", "RED"]), json!(["BLUE", "RED"])),
        ("tags", json!(null), json!([])),
        ("stars", json!("RATING_3"), json!("RATING_3")),
        (
            "amount",
            json!({ "amountMicros": 1.5, "currencyCode": "XYZ" }),
            json!({ "amountMicros": 1, "currencyCode": "XYZ" }),
        ),
        (
            "amount",
            json!({ "amountMicros": "9007199254740993" }),
            json!({ "amountMicros": 9_007_199_254_740_993_i64, "currencyCode": null }),
        ),
        ("words", json!("one"), json!(["one"])),
        ("words", json!(["a", "a"]), json!(["a", "a"])),
        ("other", json!("ABCDEF11-1111-4111-8111-111111111111"), json!("abcdef11-1111-4111-8111-111111111111")),
        ("extra", json!("[1]"), json!([1])),
    ] {
        let made = client.create("things", &json!({ field: given }));
        assert_eq!(made[field], read, "{field}: {given}");
    }
    let stored = client.create("things", &json!({ "extra": { "long": 1, "a": 2 } }));
    assert_eq!(stored["extra"].to_string(), r#"{"a":2,"long":1}"#, "shorter keys come first");
    for (field, given, words) in [
        ("ratio", json!("1.5"), "Invalid number value '1.5' for field \"ratio\""),
        ("born", json!("31-12-1999"), "for date field \"born\". Expected format: 'YYYY-MM-DD'"),
        ("born", json!("2023-02-30"), "Invalid value '2023-02-30' for date field \"born\""),
        ("vip", json!("true"), "Invalid boolean value 'true' for field \"vip\""),
        ("color", json!("red"), "Invalid value \"red\" for field \"color\". Valid values are: RED, BLUE"),
        ("tags", json!(["GREEN"]), "Invalid value [ 'GREEN' ] for multi select field \"tags\""),
        ("stars", json!(3), "Invalid string value 3 for text field \"stars\""),
        ("words", json!([1]), "Invalid value [ 1 ] for field \"words - Array values need to be string\""),
        ("extra", json!("not json"), "Invalid object value 'not json' for field \"extra\""),
        ("extra", json!(5), "Invalid object value 5 for field \"extra\""),
        ("other", json!("x"), "Invalid UUID value 'x' for field \"other\""),
        ("name", json!(5), "Invalid string value 5 for text field \"name\""),
        ("story", json!("text"), "Invalid object value 'text' for field \"story\""),
        (
            "story",
            json!({ "blocknote": "{nope" }),
            "Invalid blocknote value for field \"story.blocknote\" - must contain valid JSON",
        ),
        ("foo", json!(1), "Object thing doesn't have any \"foo\" field."),
    ] {
        client.refuses("POST", "/rest/things", Some(&json!({ field: given })), 400, words);
    }
    let refused =
        client.refuses("POST", "/rest/things", Some(&json!({ "story": null })), 400, "Cannot read properties of null");
    assert_eq!(refused["error"], "TypeError");
    let nul =
        client.refuses("POST", "/rest/things", Some(&json!({ "name": "a\u{0}b" })), 500, "Data validation error.");
    assert_eq!(nul["error"], "InternalServerErrorException");
    assert_eq!(client.create("things", &json!({ "name": " a " }))["name"], " a ", "nothing is trimmed");
}

#[test]
fn times_are_converted_to_utc() {
    let client = Client::new();
    let made = client.create("opportunities", &json!({ "closeDate": "2026-12-31T23:00:00+02:00" }));
    assert_eq!(made["closeDate"], "2026-12-31T21:00:00.000Z");
    assert_eq!(
        client.create("opportunities", &json!({ "closeDate": "2026-12-31" }))["closeDate"],
        "2026-12-31T00:00:00.000Z"
    );
    for bad in [json!(1_700_000_000), json!("31/12/2026")] {
        client.refuses(
            "POST",
            "/rest/opportunities",
            Some(&json!({ "closeDate": bad })),
            400,
            "for date-time field \"closeDate\"",
        );
    }
    client.refuses(
        "POST",
        "/rest/opportunities",
        Some(&json!({ "stage": "WON" })),
        400,
        "Invalid value \"WON\" for field \"stage\". Valid values are: NEW, SCREENING, MEETING, PROPOSAL, CUSTOMER",
    );
    client.refuses("POST", "/rest/opportunities", Some(&json!({ "stage": null })), 400, "violates not-null constraint");
    assert_eq!(client.create("opportunities", &json!({}))["stage"], "NEW");
}

#[test]
fn emails_are_lowered_and_checked() {
    let client = Client::new();
    let made = client
        .create("people", &json!({ "emails": { "primaryEmail": "A@B.co", "additionalEmails": ["C@d.E", "c@d.e"] } }));
    assert_eq!(made["emails"], json!({ "primaryEmail": "a@b.co", "additionalEmails": ["c@d.e", "c@d.e"] }));
    for fine in ["a@localhost", "o'neil@b.co", "a+b@exämple.com"] {
        client.create("people", &json!({ "emails": { "primaryEmail": fine } }));
    }
    for (given, words) in [
        (json!({ "primaryEmail": "nope" }), "Invalid string value 'nope' for email field \"emails.primaryEmail\""),
        (json!({ "primaryEmail": " a@b.co " }), "Invalid string value ' a@b.co ' for email field"),
        (
            json!({ "primaryEmail": "x@y.zz", "additionalEmails": ["bad"] }),
            "Invalid string value 'bad' for email field \"emails.additionalEmails\"",
        ),
        (json!({ "email": "x@y.zz" }), "Invalid subfield email for emails field \"emails\""),
    ] {
        client.refuses("POST", "/rest/people", Some(&json!({ "emails": given })), 400, words);
    }
    let only = client.create("people", &json!({ "emails": { "additionalEmails": ["z@z.zz"] } }));
    assert_eq!(only["emails"]["primaryEmail"], "");
}

#[test]
fn phones_are_inferred_and_links_normalised() {
    let client = Client::new();
    let made = client.create(
        "people",
        &json!({ "phones": { "primaryPhoneNumber": "+33612345678",
        "additionalPhones": [{ "number": "(415) 555-2671", "countryCode": "US" }] } }),
    );
    assert_eq!(
        made["phones"],
        json!({
            "primaryPhoneNumber": "612345678", "primaryPhoneCountryCode": "FR", "primaryPhoneCallingCode": "+33",
            "additionalPhones": [{ "number": "4155552671", "callingCode": "+1", "countryCode": "US" }],
        })
    );
    assert!(made["phones"].to_string().contains(r#"{"number":"4155552671","callingCode":"+1","countryCode":"US"}"#));
    let answer = client.refuses(
        "POST",
        "/rest/people",
        Some(&json!({ "phones": { "primaryPhoneNumber": "call me" } })),
        400,
        "Provided phone number is invalid call me",
    );
    assert_eq!((&answer["code"], &answer["error"]), (&json!("INVALID_PHONE_NUMBER"), &json!("Error")));
    let answer = client.refuses(
        "POST",
        "/rest/companies",
        Some(&json!({ "domainName": { "primaryLinkUrl": "acme" } })),
        400,
        "The URL of the link is not valid",
    );
    assert_eq!(answer["code"], "INVALID_URL");
    let promoted = client.create(
        "companies",
        &json!({ "linkedinLink": { "secondaryLinks": [{ "url": "https://x.test/", "label": "x" }] } }),
    );
    assert_eq!(promoted["linkedinLink"]["primaryLinkUrl"], "https://x.test");
    // Four ways to write an address are four companies.
    for url in ["https://acme.com", "http://acme.com", "acme.com", "https://www.acme.com"] {
        client.create("companies", &json!({ "domainName": { "primaryLinkUrl": url } }));
    }
}

#[test]
fn what_a_patch_leaves_out_of_a_composite_is_kept_or_lost_as_the_type_has_it() {
    let client = Client::new();
    let person = id(&client.create("people", &json!({
        "name": { "firstName": "A", "lastName": "B" },
        "emails": { "primaryEmail": "p@p.pp", "additionalEmails": ["q@q.qq"] },
        "phones": { "primaryPhoneNumber": "+33612345678", "additionalPhones": [{ "number": "+14155552671" }] },
        "linkedinLink": { "primaryLinkUrl": "https://l.test", "primaryLinkLabel": "L", "secondaryLinks": [{ "url": "https://m.test", "label": "M" }] },
    })));
    let patch = |body: Json| {
        let (status, answer) = client.patch(&format!("/rest/people/{person}"), &body);
        assert_eq!(status, 200, "{answer}");
        answer["data"]["updatePerson"].clone()
    };
    assert_eq!(patch(json!({ "name": { "firstName": "C" } }))["name"], json!({ "firstName": "C", "lastName": "B" }));
    let emails = patch(json!({ "emails": { "additionalEmails": ["r@r.rr"] } }))["emails"].clone();
    assert_eq!(emails, json!({ "primaryEmail": "", "additionalEmails": ["r@r.rr"] }), "the primary address is erased");
    let emails = patch(json!({ "emails": { "primaryEmail": "p@p.pp" } }))["emails"].clone();
    assert_eq!(emails, json!({ "primaryEmail": "p@p.pp", "additionalEmails": ["r@r.rr"] }), "the others are kept");
    let phones = patch(json!({ "phones": { "additionalPhones": [{ "number": "+14155552672" }] } }))["phones"].clone();
    assert_eq!(phones["primaryPhoneNumber"], "612345678", "the primary parts are kept");
    let phones = patch(json!({ "phones": { "primaryPhoneNumber": "+14155552673" } }))["phones"].clone();
    assert_eq!(phones["additionalPhones"], json!([]), "the others are erased");
    let links = patch(json!({ "linkedinLink": { "primaryLinkLabel": "X" } }))["linkedinLink"].clone();
    assert_eq!(links, json!({ "primaryLinkLabel": "X", "primaryLinkUrl": "", "secondaryLinks": [] }));
    let same = patch(json!({ "name": null, "emails": null, "phones": null, "linkedinLink": null }));
    assert_eq!(
        (&same["name"]["firstName"], &same["emails"]["primaryEmail"]),
        (&json!("C"), &json!("p@p.pp")),
        "null is a no-op"
    );
    assert_eq!(patch(json!({ "jobTitle": "x" }))["jobTitle"], "x");
    assert_eq!(patch(json!({ "jobTitle": null }))["jobTitle"], "");
}

#[test]
fn rich_text_derives_one_form_from_the_other() {
    let client = Client::new();
    let note = client.create("notes", &json!({ "title": "n", "bodyV2": { "markdown": "# Hello\n\nSome **bold**" } }));
    assert_eq!(note["bodyV2"]["markdown"], "# Hello\n\nSome **bold**");
    let blocks: Json = serde_json::from_str(note["bodyV2"]["blocknote"].as_str().unwrap()).unwrap();
    assert_eq!((&blocks[0]["type"], &blocks[1]["content"][1]["styles"]["bold"]), (&json!("heading"), &json!(true)));
    let path = format!("/rest/notes/{}", id(&note));
    let zz = r#"[{"type":"paragraph","content":[{"type":"text","text":"zz","styles":{}}]}]"#;
    let (_, answer) = client.patch(&path, &json!({ "bodyV2": { "blocknote": zz } }));
    assert_eq!(answer["data"]["updateNote"]["bodyV2"]["markdown"], "zz\n");
    let (_, answer) = client.patch(&path, &json!({ "bodyV2": { "blocknote": zz, "markdown": "other" } }));
    assert_eq!(
        answer["data"]["updateNote"]["bodyV2"],
        json!({ "blocknote": zz, "markdown": "other" }),
        "both are believed"
    );
    assert_eq!(client.create("notes", &json!({}))["bodyV2"], json!({ "blocknote": null, "markdown": "" }));
    client.refuses(
        "POST",
        "/rest/notes",
        Some(&json!({ "body": "x" })),
        400,
        "Object note doesn't have any \"body\" field.",
    );
    assert_eq!(client.list("/rest/notes?filter=bodyV2.markdown[ilike]:%25OTHER%25").len(), 1);
}

#[test]
fn relations_are_written_by_id_or_by_a_unique_key() {
    let client = Client::new();
    let company =
        id(&client
            .create("companies", &json!({ "name": "A", "domainName": { "primaryLinkUrl": "https://con.test" } })));
    let linked = |relation: Json| client.post("/rest/people", &json!({ "company": relation }));
    let by = |key: Json| json!({ "connect": { "where": key } });
    for key in [json!({ "id": company }), json!({ "domainName": { "primaryLinkUrl": "https://CON.test/" } })] {
        let (status, answer) = linked(by(key));
        assert_eq!((status, &answer["data"]["createPerson"]["companyId"]), (201, &json!(company)), "{answer}");
    }
    let refused = |relation: Json, words: &str| {
        client.refuses("POST", "/rest/people", Some(&json!({ "company": relation })), 400, words);
    };
    refused(json!(company), "Relation \"company\" requires connect or disconnect operation");
    refused(
        by(json!({ "domainName": { "primaryLinkUrl": "https://www.acme.com" } })),
        "Expected 1 record to connect to company, but found 0 for domainNamePrimaryLinkUrl = https://www.acme.com",
    );
    refused(
        by(json!({ "name": "A" })),
        "Missing required fields: at least one unique constraint have to be fully populated for 'company'.",
    );
    client.refuses(
        "POST",
        "/rest/companies",
        Some(&json!({ "people": [] })),
        400,
        "One-to-many relation people field does not support write operations.",
    );
    client.refuses(
        "POST",
        "/rest/people",
        Some(&json!({ "companyId": "99999999-9999-4999-8999-999999999999" })),
        400,
        "insert or update on table \"person\" violates foreign key constraint \"FK_",
    );
    let person = id(&linked(by(json!({ "id": company }))).1["data"]["createPerson"]);
    let (_, answer) = client.patch(&format!("/rest/people/{person}"), &json!({ "company": { "disconnect": true } }));
    assert_eq!(answer["data"]["updatePerson"]["companyId"], json!(null));
    client.delete(&format!("/rest/companies/{company}?soft_delete=true"));
    refused(
        by(json!({ "id": company })),
        &format!("Expected 1 record to connect to company, but found 0 for id = {company}"),
    );
}

#[test]
fn a_reference_is_set_by_any_unique_key_and_cleared_by_null() {
    let client = Client::new();
    let person = id(&client.create("people", &json!({ "emails": { "primaryEmail": "z@n.co" } })));
    let by_mail =
        |mail: &str| json!({ "pointOfContact": { "connect": { "where": { "emails": { "primaryEmail": mail } } } } });
    let deal = client.create("opportunities", &by_mail("Z@N.co"));
    assert_eq!(deal["pointOfContactId"], json!(person));
    client.refuses(
        "POST",
        "/rest/opportunities",
        Some(&by_mail("nobody@n.co")),
        400,
        "Expected 1 record to connect to pointOfContact, but found 0 for emailsPrimaryEmail = nobody@n.co",
    );
    let path = format!("/rest/opportunities/{}", id(&deal));
    let (status, answer) = client.patch(&path, &json!({ "pointOfContactId": null }));
    assert_eq!((status, &answer["data"]["updateOpportunity"]["pointOfContactId"]), (200, &json!(null)));
    let nobody = json!({ "pointOfContactId": "99999999-9999-4999-8999-999999999999" });
    client.refuses(
        "PATCH",
        &path,
        Some(&nobody),
        400,
        "insert or update on table \"opportunity\" violates foreign key constraint \"FK_",
    );
    let (_, answer) =
        client.post("/rest/opportunities?upsert=true", &json!({ "id": id(&deal), "pointOfContactId": person }));
    assert_eq!(answer["data"]["createOpportunity"]["pointOfContactId"], json!(person));
}

#[test]
fn days_and_times_are_read_in_these_forms_and_no_others() {
    let client = with_fields();
    let object = client.object_id("thing");
    let body = json!({ "objectMetadataId": object, "type": "DATE_TIME", "name": "seen", "label": "Seen" });
    assert_eq!(client.post("/rest/metadata/fields", &body).0, 201);
    for (field, given, read) in [
        ("seen", "2026-12-31T10:00:00", "2026-12-31T10:00:00.000Z"),
        ("seen", "2026-12-31T10:00:00.1234Z", "2026-12-31T10:00:00.123Z"),
        ("seen", "2026-12-31T10:00:00+05:30", "2026-12-31T04:30:00.000Z"),
        ("seen", "2026-12-31", "2026-12-31T00:00:00.000Z"),
        ("born", "1999-12-31", "1999-12-31"),
        ("born", "1999-12-31T23:00:00.000Z", "1999-12-31"),
    ] {
        assert_eq!(client.create("things", &json!({ field: given }))[field], read, "{field}: {given}");
    }
    for (field, given) in [
        ("seen", json!("31/12/2026")),
        ("seen", json!(1_700_000_000)),
        ("seen", json!("soon")),
        ("born", json!("31-12-1999")),
        ("born", json!("2023-02-30")),
        ("born", json!(19_991_231)),
    ] {
        let (kind, format) =
            if field == "seen" { ("date-time", "YYYY-MM-DDTHH:mm:ssZ") } else { ("date", "YYYY-MM-DD") };
        let words = format!("for {kind} field \"{field}\". Expected format: '{format}'");
        client.refuses("POST", "/rest/things", Some(&json!({ field: given })), 400, &words);
    }
}
