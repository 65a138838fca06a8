//! Upserts and batches: what is matched, what is kept, in which order the answer comes.

use serde_json::{Value as Json, json};

use super::{
    Client, id,
    metadata::{field, ticket},
};

fn company(name: &str, url: &str) -> Json {
    json!({ "name": name, "domainName": { "primaryLinkUrl": url } })
}

#[test]
fn an_upsert_by_id_makes_or_changes_that_row() {
    let client = Client::new();
    let own = "11111111-1111-4111-8111-111111111111";
    let send = |body: Json| {
        let (status, answer) = client.post("/rest/people?upsert=true", &body);
        assert_eq!(status, 201, "{answer}");
        answer["data"]["createPerson"].clone()
    };
    let made = send(json!({ "id": own, "jobTitle": "a", "emails": { "primaryEmail": "a@up.test" } }));
    assert_eq!((&made["id"], &made["jobTitle"]), (&json!(own), &json!("a")));
    client.wait(10);
    let changed = send(json!({ "id": own, "name": { "firstName": "A" } }));
    assert_eq!((&changed["jobTitle"], &changed["emails"]["primaryEmail"]), (&json!("a"), &json!("a@up.test")));
    assert_eq!(changed["createdAt"], made["createdAt"], "nothing else tells that it was there");
    assert_ne!(changed["updatedAt"], made["updatedAt"]);
    let dated = send(json!({ "id": own, "createdAt": "2001-02-03T04:05:06Z" }));
    assert_eq!(dated["createdAt"], "2001-02-03T04:05:06.000Z");
}

#[test]
fn a_batch_of_updates_answers_in_the_order_of_the_request() {
    let client = Client::new();
    let ids: Vec<String> = (0..20).map(|n| format!("{n:08}-1111-4111-8111-111111111111")).collect();
    let batch = |order: &mut dyn Iterator<Item = &String>| -> Json {
        order.map(|id| json!({ "id": id, "title": format!("t{id}") })).collect()
    };
    client.post("/rest/batch/notes", &batch(&mut ids.iter()));
    let (status, answer) = client.post("/rest/batch/notes?upsert=true", &batch(&mut ids.iter().rev()));
    let answered: Vec<String> = answer["data"]["createNotes"].as_array().unwrap().iter().map(id).collect();
    assert_eq!((status, answered), (201, ids.iter().rev().cloned().collect()));
}

#[test]
fn records_of_a_batch_may_have_different_keys() {
    let client = Client::new();
    let batch = json!([
        { "name": "a", "stage": "MEETING" }, { "amount": { "amountMicros": 5 } }, {}, { "name": "d", "closeDate": "2026-01-01" },
    ]);
    for path in ["/rest/batch/opportunities", "/rest/batch/opportunities?upsert=true"] {
        let (status, answer) = client.post(path, &batch);
        assert_eq!(status, 201, "{answer}");
        let made = answer["data"]["createOpportunities"].as_array().unwrap();
        let column = |name: &str| -> Vec<Json> { made.iter().map(|record| record[name].clone()).collect() };
        assert_eq!(column("stage"), [json!("MEETING"), json!("NEW"), json!("NEW"), json!("NEW")]);
        assert_eq!(column("name"), [json!("a"), json!(""), json!(""), json!("d")]);
        let closes = json!("2026-01-01T00:00:00.000Z");
        assert_eq!(column("closeDate"), [json!(null), json!(null), json!(null), closes]);
    }
}

#[test]
fn a_custom_key_is_matched_when_all_its_parts_are_given() {
    let client = Client::new();
    let object = ticket(&client);
    assert_eq!(field(&client, &object, json!({ "type": "NUMBER", "name": "number", "isUnique": true })).0, 201);
    assert_eq!(field(&client, &object, json!({ "type": "PHONES", "name": "line", "isUnique": true })).0, 201);
    let line = json!({ "primaryPhoneNumber": "+33612345678" });
    let made = id(&client.create("tickets", &json!({ "number": 7, "line": line })));
    let upsert = |body: Json| client.post("/rest/tickets?upsert=true", &body).1["data"]["createTicket"].clone();
    assert_eq!(id(&upsert(json!({ "number": 7.0, "name": "by number" }))), made);
    assert_eq!(
        id(&upsert(json!({ "line": { "primaryPhoneNumber": "0612345678", "primaryPhoneCountryCode": "FR" } }))),
        made
    );
    let record = client.read("tickets", &made);
    assert_eq!((&record["name"], &record["line"]["primaryPhoneNumber"]), (&json!("by number"), &json!("612345678")));
    assert_ne!(id(&upsert(json!({ "name": "no key" }))), made);
    client.refuses("POST", "/rest/tickets", Some(&json!({ "line": line })), 400, "A duplicate entry was detected");
}

#[test]
fn an_upsert_takes_out_of_the_trash_and_changes_only_what_is_given() {
    let client = Client::new();
    let made = id(&client.create("companies", &company("old", "https://t.test")));
    client.delete(&format!("/rest/companies/{made}?soft_delete=true"));
    let body = json!([{ "domainName": { "primaryLinkUrl": "HTTPS://T.test/" } }]);
    let (status, answer) = client.post("/rest/batch/companies?upsert=true", &body);
    let record = &answer["data"]["createCompanies"][0];
    assert_eq!((status, id(record)), (201, made));
    assert_eq!((&record["deletedAt"], &record["name"]), (&json!(null), &json!("old")));
}

#[test]
fn two_new_records_of_one_key_fail_and_two_of_a_known_key_are_one() {
    let client = Client::new();
    let known = id(&client.create("companies", &company("old", "https://known.test")));
    let twins = json!([company("a", "https://known.test"), company("b", "https://KNOWN.test/")]);
    let (status, answer) = client.post("/rest/batch/companies?upsert=true", &twins);
    let made = answer["data"]["createCompanies"].as_array().unwrap();
    assert_eq!((status, made.len(), id(&made[0]), &made[0]["name"]), (201, 1, known.clone(), &json!("b")));
    let twins =
        json!([company("a", "https://new.test"), company("c", "https://known.test"), company("b", "https://new.test")]);
    let refused =
        json!({ "statusCode": 400, "error": "BadRequestException", "messages": ["A duplicate entry was detected"] });
    assert_eq!(client.post("/rest/batch/companies?upsert=true", &twins), (400, refused));
    assert_eq!(client.read("companies", &known)["name"], "c", "the update stays");
    assert!(client.list("/rest/companies?filter=domainName.primaryLinkUrl[eq]:https://new.test").is_empty());
    // The repaired batch can be sent again.
    let repaired = json!([company("a", "https://new.test"), company("d", "https://known.test")]);
    assert_eq!(client.post("/rest/batch/companies?upsert=true", &repaired).0, 201);
    assert_eq!(client.post("/rest/batch/companies?upsert=true", &repaired).0, 201);
    assert_eq!(client.list("/rest/companies?filter=domainName.primaryLinkUrl[eq]:https://new.test").len(), 1);
}

#[test]
fn an_insert_that_points_nowhere_keeps_the_updates_of_its_batch() {
    let client = Client::new();
    let mail = |mail: &str, title: &str| json!({ "emails": { "primaryEmail": mail }, "jobTitle": title });
    let known = id(&client.create("people", &mail("k@up.test", "old")));
    let mut lost = mail("new@up.test", "x");
    lost["companyId"] = json!("99999999-9999-4999-8999-999999999999");
    let batch = json!([lost, mail("k@up.test", "new"), mail("other@up.test", "y")]);
    let answer = client.refuses(
        "POST",
        "/rest/batch/people?upsert=true",
        Some(&batch),
        400,
        "insert or update on table \"person\" violates foreign key constraint \"FK_",
    );
    assert_eq!(answer["error"], "BadRequestException");
    assert_eq!(client.read("people", &known)["jobTitle"], "new");
    assert!(client.list("/rest/people?filter=emails.primaryEmail[in]:[new@up.test,other@up.test]").is_empty());
}

#[test]
fn lookalikes_are_those_of_any_criterion() {
    let client = Client::new();
    let person = |first: &str, last: &str, mail: &str, link: &str| {
        id(&client.create(
            "people",
            &json!({ "name": { "firstName": first, "lastName": last }, "emails": { "primaryEmail": mail }, "linkedinLink": { "primaryLinkUrl": link } }),
        ))
    };
    let one = person("Ann", "Lee", "ann@a.test", "https://linkedin.com/in/ann");
    person("Ann", "Other", "", "");
    let ask = |body: Json| client.post("/rest/people/duplicates", &body);
    let found = |data: Json| ask(json!({ "data": [data] })).1["data"][0]["personDuplicates"].as_array().map(Vec::len);
    assert_eq!(found(json!({ "name": { "firstName": "Ann", "lastName": "Lee" } })), Some(1), "the whole name");
    assert_eq!(found(json!({ "name": { "firstName": "Ann" } })), Some(0));
    assert_eq!(found(json!({ "emails": { "primaryEmail": "ANN@a.test" } })), Some(1));
    assert_eq!(found(json!({ "linkedinLink": { "primaryLinkUrl": "https://linkedin.com/in/ann/" } })), Some(1));
    assert_eq!(found(json!({ "jobTitle": "x" })), Some(0));
    let (status, answer) = ask(json!({ "ids": [one] }));
    let nothing = json!({ "hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null });
    assert_eq!(
        (status, answer),
        (200, json!({ "data": [{ "personDuplicates": [], "totalCount": 0, "pageInfo": nothing.clone() }] })),
        "not itself"
    );
    let (status, answer) =
        client.post("/rest/notes/duplicates", &json!({ "data": [{ "title": "a" }, { "title": "b" }] }));
    let empty = json!({ "noteDuplicates": [], "totalCount": 0, "pageInfo": nothing });
    assert_eq!((status, answer), (200, json!({ "data": [empty.clone(), empty] })), "one for each that is asked");
    client.create("companies", &company("Same", "https://one.test"));
    let ask = |data: Json| client.post("/rest/companies/duplicates", &json!({ "data": [data] })).1["data"][0].clone();
    let page = ask(json!({ "domainName": { "primaryLinkUrl": "https://ONE.test/" } }));
    assert_eq!((&page["totalCount"], &page["companyDuplicates"][0]["name"]), (&json!(1), &json!("Same")));
    assert!(page["pageInfo"]["startCursor"].is_string() && page["pageInfo"]["endCursor"].is_string());
    assert_eq!(ask(json!({ "name": "Same" }))["totalCount"], 1);
}

#[test]
fn a_merge_fills_what_is_empty_and_destroys_the_others() {
    let client = Client::new();
    let mut first = company("First", "https://first.test");
    first["address"] = json!({ "addressCity": "Paris" });
    let mut second = company("Second", "");
    second["annualRevenue"] = json!({ "amountMicros": 5, "currencyCode": "EUR" });
    let (first, second) = (id(&client.create("companies", &first)), id(&client.create("companies", &second)));
    let deal = id(&client.create("opportunities", &json!({ "companyId": first })));
    let body = json!({ "ids": [first, second], "conflictPriorityIndex": 1, "dryRun": true });
    let (_, preview) = client.patch("/rest/companies/merge", &body);
    assert_eq!(preview["data"]["mergeCompany"]["name"], "Second");
    assert_eq!(client.read("companies", &first)["name"], "First", "a preview changes nothing");
    let body = json!({ "ids": [first, second], "conflictPriorityIndex": 1, "dryRun": false });
    let (status, answer) = client.patch("/rest/companies/merge", &body);
    let merged = &answer["data"]["mergeCompany"];
    assert_eq!((status, id(merged), &merged["name"]), (200, second.clone(), &json!("Second")));
    assert_eq!(
        [
            &merged["domainName"]["primaryLinkUrl"],
            &merged["address"]["addressCity"],
            &merged["annualRevenue"]["amountMicros"]
        ],
        [&json!("https://first.test"), &json!("Paris"), &json!(5)]
    );
    assert_eq!(client.read("opportunities", &deal)["companyId"], json!(second));
    let gone = format!("/rest/companies?filter=and(id[eq]:{first},deletedAt[is]:NOT_NULL)");
    assert!(client.list(&gone).is_empty(), "not even in the trash");
    let many: Vec<String> = (0..10).map(|n| format!("{n:08}-1111-4111-8111-111111111111")).collect();
    assert_eq!(client.patch("/rest/companies/merge", &json!({ "ids": many, "conflictPriorityIndex": 0 })).0, 400);
}
