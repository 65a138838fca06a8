//! Records: creating, changing, trashing, listing.

use serde_json::{Value as Json, json};

use super::{Client, id, titles};

#[test]
fn a_company_reads_back_as_the_server_writes_it() {
    let client = Client::new();
    let (status, answer) = client.post(
        "/rest/companies",
        &json!({
            "id": "11111111-1111-4111-8111-111111111111", "name": "Acme Corp",
            "domainName": { "primaryLinkUrl": "https://www.ACME.com/about/", "primaryLinkLabel": "",
                "secondaryLinks": [{ "url": "https://acme.io", "label": "alt" }] },
            "linkedinLink": { "primaryLinkUrl": "https://linkedin.com/company/acme", "primaryLinkLabel": "LI" },
            "address": { "addressStreet1": "1 Main", "addressCity": "Paris", "addressLat": 48.85, "addressLng": "2.35" },
            "annualRevenue": { "amountMicros": 1_234_567_890_000_i64, "currencyCode": "EUR" },
            "createdAt": "2019-03-04T05:06:07.890Z", "updatedAt": "2020-01-01T00:00:00Z", "position": 3.5,
            "createdBy": { "source": "IMPORT", "name": "Old CRM", "workspaceMemberId": null, "context": { "x": 1 } },
        }),
    );
    assert_eq!(status, 201, "{answer}");
    let mut record = answer["data"]["createCompany"].clone();
    assert!(record["searchVector"].as_str().unwrap().contains("'acme':1"));
    record.as_object_mut().unwrap().remove("searchVector");
    assert_eq!(
        record,
        json!({
            "id": "11111111-1111-4111-8111-111111111111", "createdAt": "2019-03-04T05:06:07.890Z",
            "updatedAt": "2020-01-01T00:00:00.000Z", "deletedAt": null, "name": "Acme Corp",
            "domainName": { "primaryLinkLabel": "", "primaryLinkUrl": "https://www.acme.com/about",
                "secondaryLinks": [{ "url": "https://acme.io", "label": "alt" }] },
            "address": { "addressStreet1": "1 Main", "addressStreet2": "", "addressCity": "Paris", "addressPostcode": "",
                "addressState": "", "addressCountry": "", "addressLat": 48.85, "addressLng": 2.35 },
            "linkedinLink": { "primaryLinkLabel": "LI", "primaryLinkUrl": "https://linkedin.com/company/acme", "secondaryLinks": [] },
            "annualRevenue": { "amountMicros": 1_234_567_890_000_i64, "currencyCode": "EUR" }, "position": 3.5,
            "createdBy": { "source": "IMPORT", "workspaceMemberId": null, "name": "Old CRM", "context": { "x": 1 } },
            "updatedBy": { "source": "API", "workspaceMemberId": null, "name": "Waybill sandbox", "context": {} },
            "accountOwnerId": null,
        })
    );
}

#[test]
fn a_blank_person_has_every_field_and_comes_first() {
    let client = Client::new();
    let first = client.create("people", &json!({}));
    assert_eq!(first["name"], json!({ "firstName": "", "lastName": "" }));
    assert_eq!(first["emails"], json!({ "primaryEmail": "", "additionalEmails": [] }));
    assert_eq!(
        first["phones"],
        json!({ "primaryPhoneNumber": "", "primaryPhoneCountryCode": "", "primaryPhoneCallingCode": "", "additionalPhones": [] })
    );
    assert_eq!(
        (&first["jobTitle"], &first["avatarFile"], &first["companyId"]),
        (&json!(""), &json!(null), &json!(null))
    );
    assert_eq!((&first["searchVector"], &first["deletedAt"]), (&json!(""), &json!(null)));
    assert_eq!(first["position"], -1, "before the first of those that were there");
    let second = client.create("people", &json!({}));
    assert!(second["position"].as_f64().unwrap() < first["position"].as_f64().unwrap());
    let keys: Vec<&str> = first.as_object().unwrap().keys().take(4).map(String::as_str).collect();
    assert_eq!(keys, ["id", "createdAt", "updatedAt", "deletedAt"]);
    let opportunity = client.create("opportunities", &json!({}));
    assert_eq!(opportunity.as_object().unwrap().keys().next().unwrap(), "stage");
}

#[test]
fn ids_are_those_of_old_versions_only() {
    let client = Client::new();
    for bad in ["01890a5d-ac96-774b-bcce-b302099a8057", "00000000-0000-0000-0000-000000000000", "abc"] {
        let answer = client.refuses(
            "POST",
            "/rest/people",
            Some(&json!({ "id": bad })),
            400,
            &format!("Value \"{bad}\" is not a valid UUID"),
        );
        assert_eq!((&answer["code"], &answer["error"]), (&json!("INVALID_QUERY_INPUT"), &json!("Error")));
    }
    let made = client.create("people", &json!({ "id": "ABCDEF11-1111-5111-8111-111111111111" }));
    assert_eq!(made["id"], "abcdef11-1111-5111-8111-111111111111");
    client.refuses("GET", "/rest/people/not-a-uuid", None, 400, "'not-a-uuid' is not a valid UUID");
    client.refuses("GET", "/rest/core/people", None, 400, "'people' is not a valid UUID");
    let v7 = "01890a5d-ac96-774b-bcce-b302099a8057";
    client.refuses("POST", "/rest/people", Some(&json!({ "companyId": v7 })), 400, "Invalid UUID value");
}

#[test]
fn system_fields_can_be_written() {
    let client = Client::new();
    client.refuses("POST", "/rest/people", Some(&json!({ "createdAt": null })), 400, "not-null constraint");
    let born_dead = client.create("people", &json!({ "deletedAt": "2020-01-01T00:00:00Z" }));
    let path = format!("/rest/people/{}", id(&born_dead));
    assert_eq!(client.get(&path).0, 404);
    let (status, answer) = client.patch(&path, &json!({ "deletedAt": null }));
    assert_eq!((status, &answer["data"]["updatePerson"]["deletedAt"]), (200, &json!(null)));
    assert_eq!(client.get(&path).0, 200);
    let (_, answer) =
        client.patch(&path, &json!({ "updatedAt": "2001-02-03T04:05:06Z", "createdAt": "2000-01-01T00:00:00Z" }));
    assert_eq!(answer["data"]["updatePerson"]["updatedAt"], "2001-02-03T04:05:06.000Z");
    assert_eq!(answer["data"]["updatePerson"]["createdAt"], "2000-01-01T00:00:00.000Z");
    let (_, answer) = client.patch(&path, &json!({ "jobTitle": "x" }));
    assert_ne!(
        answer["data"]["updatePerson"]["updatedAt"], "2001-02-03T04:05:06.000Z",
        "a write that is silent sets it to now"
    );
    client.refuses(
        "PATCH",
        &path,
        Some(&json!({ "searchVector": "x" })),
        400,
        "searchVector TS_VECTOR-typed field does not support write operations",
    );
    for (given, fits) in [(json!("first"), true), (json!("last"), true), (json!("middle"), false), (json!(null), false)]
    {
        let (status, _) = client.patch(&path, &json!({ "position": given }));
        assert_eq!(status == 200, fits, "{given}");
    }
    let (_, answer) = client.patch(&path, &json!({ "createdBy": { "source": "IMPORT", "name": "me" } }));
    assert_eq!(answer["data"]["updatePerson"]["createdBy"]["source"], "IMPORT");
}

#[test]
fn another_id_in_a_patch_moves_the_row_unless_somebody_points_to_it() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A" })));
    let to = "22222222-2222-4222-8222-222222222222";
    let (status, answer) = client.patch(&format!("/rest/companies/{company}"), &json!({ "id": to }));
    assert_eq!((status, &answer["data"]["updateCompany"]["id"]), (200, &json!(to)));
    client.create("people", &json!({ "companyId": to }));
    let body = json!({ "id": "33333333-3333-4333-8333-333333333333" });
    client.refuses("PATCH", &format!("/rest/companies/{to}"), Some(&body), 400, "violates foreign key constraint");
}

#[test]
fn a_plain_batch_is_atomic() {
    let client = Client::new();
    let before = client.get("/rest/people").1["totalCount"].clone();
    for bad in [
        json!({ "emails": { "primaryEmail": "nope" } }),
        json!({ "companyId": "99999999-9999-4999-8999-999999999999" }),
        json!({ "emails": { "primaryEmail": "ok@x.co" } }),
        json!({ "foo": 1 }),
    ] {
        let batch = json!([{ "emails": { "primaryEmail": "ok@x.co" } }, bad]);
        assert_eq!(client.post("/rest/batch/people", &batch).0, 400);
    }
    assert_eq!(client.get("/rest/people").1["totalCount"], before);
    let (status, answer) = client.post("/rest/batch/people", &json!([{ "jobTitle": "a" }, { "jobTitle": "b" }]));
    assert_eq!(status, 201);
    let titles: Vec<&Json> =
        answer["data"]["createPeople"].as_array().unwrap().iter().map(|person| &person["jobTitle"]).collect();
    assert_eq!(titles, [&json!("a"), &json!("b")]);
    assert_eq!(client.post("/rest/batch/people", &json!([])), (201, json!({ "data": { "createPeople": [] } })));
    let refused =
        client.refuses("POST", "/rest/batch/people", Some(&json!({})), 400, "args.data.forEach is not a function");
    assert_eq!(refused["error"], "TypeError");
    let many: Vec<Json> = (0..201).map(|_| json!({})).collect();
    client.refuses(
        "POST",
        "/rest/batch/people",
        Some(&json!(many)),
        400,
        "Maximum number of records to upsert is 200.",
    );
    assert_eq!(client.post("/rest/batch/people", &json!(many[..200])).0, 201);
}

#[test]
fn rows_of_one_insert_may_point_to_each_other() {
    let client = Client::new();
    let note = "22222222-2222-4222-8222-222222222222";
    let company = client.object_id("company");
    let payload = json!({ "type": "MANY_TO_ONE", "targetObjectMetadataId": company, "targetFieldLabel": "Children" });
    let body = json!({ "objectMetadataId": company, "type": "RELATION", "name": "parent", "label": "Parent", "relationCreationPayload": payload });
    assert_eq!(client.post("/rest/metadata/fields", &body).0, 201);
    let batch = json!([{ "name": "child", "parentId": note }, { "name": "parent", "id": note }]);
    assert_eq!(client.post("/rest/batch/companies", &batch).0, 201);
    let batch = json!([{ "name": "child", "parentId": "33333333-3333-4333-8333-333333333333" }, { "name": "parent" }]);
    client.refuses("POST", "/rest/batch/companies", Some(&batch), 400, "violates foreign key constraint");
}

#[test]
fn a_duplicate_says_neither_field_nor_row() {
    let client = Client::new();
    client.create("people", &json!({ "emails": { "primaryEmail": "A@x.co" } }));
    let (status, answer) = client.post("/rest/people", &json!({ "emails": { "primaryEmail": "a@X.co" } }));
    assert_eq!(status, 400);
    assert_eq!(
        answer,
        json!({ "statusCode": 400, "error": "BadRequestException", "messages": ["A duplicate entry was detected"] })
    );
}

#[test]
fn an_upsert_matches_by_id_and_by_every_unique_key() {
    let client = Client::new();
    let mail = |mail: &str, title: &str| json!({ "emails": { "primaryEmail": mail }, "jobTitle": title });
    let one = id(&client.create("people", &mail("a1@up.test", "old")));
    let two = id(&client.create("people", &mail("a2@up.test", "old")));
    // The key is compared as it is stored, and the row keeps its id.
    let mut body = mail("A1@UP.test", "new");
    body["id"] = json!("33333333-3333-4333-8333-333333333333");
    let (status, answer) = client.post("/rest/people?upsert=true", &body);
    assert_eq!((status, &answer["data"]["createPerson"]["id"]), (201, &json!(one)));
    assert_eq!(answer["data"]["createPerson"]["jobTitle"], "new");
    let mut body = mail("a2@up.test", "x");
    body["id"] = json!(one);
    let answer = client.refuses("POST", "/rest/people?upsert=true", Some(&body), 400, "Multiple records found");
    let expected = format!(
        "Multiple records found with the same unique field values for id (id: {one}); emails (emails.primaryEmail: a2@up.test). Cannot determine which record to update."
    );
    assert_eq!(answer["messages"][0], expected);
    // What made the record is not changed by an update, and says nothing about it.
    let mut body = mail("a2@up.test", "x");
    body["createdBy"] = json!({ "source": "IMPORT", "name": "me" });
    let (_, answer) = client.post("/rest/people?upsert=true", &body);
    assert_eq!(answer["data"]["createPerson"]["createdBy"]["source"], "API");
    // Only the word `true` is a yes.
    assert_eq!(client.post("/rest/people?upsert=1", &mail("a2@up.test", "y")).0, 400);
    // Without a key there is nothing to match.
    assert_ne!(
        id(&client.post("/rest/people?upsert=true", &json!({ "jobTitle": "x" })).1["data"]["createPerson"]),
        two
    );
}

#[test]
fn a_batch_upsert_answers_updates_first_and_folds_the_same_row() {
    let client = Client::new();
    client.create("companies", &json!({ "name": "old", "domainName": { "primaryLinkUrl": "https://g1.test" } }));
    let batch = json!([
        { "name": "new", "domainName": { "primaryLinkUrl": "https://gnew.test" } },
        { "name": "first", "domainName": { "primaryLinkUrl": "https://g1.test" } },
        { "name": "last", "domainName": { "primaryLinkUrl": "https://G1.test/" } },
    ]);
    let (status, answer) = client.post("/rest/batch/companies?upsert=true", &batch);
    assert_eq!(status, 201);
    let names: Vec<&Json> =
        answer["data"]["createCompanies"].as_array().unwrap().iter().map(|company| &company["name"]).collect();
    assert_eq!(names, [&json!("last"), &json!("new")]);
}

#[test]
fn a_batch_upsert_is_not_atomic() {
    let client = Client::new();
    let domain = |url: &str, name: &str| json!({ "name": name, "domainName": { "primaryLinkUrl": url } });
    let one = id(&client.create("companies", &domain("https://one.test", "old")));
    let twins = json!([
        domain("https://twin.test", "a"),
        domain("https://one.test", "updated"),
        domain("https://twin.test", "b"),
    ]);
    client.refuses("POST", "/rest/batch/companies?upsert=true", Some(&twins), 400, "A duplicate entry was detected");
    assert_eq!(client.get(&format!("/rest/companies/{one}")).1["data"]["company"]["name"], "updated");
    assert!(client.list("/rest/companies?filter=domainName.primaryLinkUrl[eq]:https://twin.test").is_empty());
    // A value that is refused, though, refuses all before anything is written.
    let bad = json!([domain("https://one.test", "again"), domain("acme", "b")]);
    client.refuses("POST", "/rest/batch/companies?upsert=true", Some(&bad), 400, "The URL of the link is not valid");
    assert_eq!(client.get(&format!("/rest/companies/{one}")).1["data"]["company"]["name"], "updated");
    // An update that fails keeps those before it, and drops those after it and all that is new.
    let two = id(&client.create("companies", &domain("https://two.test", "old")));
    let three = id(&client.create("companies", &domain("https://three.test", "old")));
    let mut bad = domain("https://two.test", "new");
    bad["accountOwnerId"] = json!("99999999-9999-4999-8999-999999999999");
    let batch = json!([
        domain("https://one.test", "kept"),
        bad,
        domain("https://three.test", "new"),
        domain("https://x.test", "x")
    ]);
    client.refuses(
        "POST",
        "/rest/batch/companies?upsert=true",
        Some(&batch),
        400,
        "violates foreign key constraint \"FK_",
    );
    let name = |id: &str| client.get(&format!("/rest/companies/{id}")).1["data"]["company"]["name"].clone();
    assert_eq!((name(&one), name(&two), name(&three)), (json!("kept"), json!("old"), json!("old")));
}

#[test]
fn the_trash_is_invisible_takes_keys_and_is_emptied_by_an_upsert() {
    let client = Client::new();
    let body = json!({ "emails": { "primaryEmail": "t@t.co" }, "jobTitle": "a" });
    let person = id(&client.create("people", &body));
    let path = format!("/rest/people/{person}");
    let (status, answer) = client.delete(&format!("{path}?soft_delete=true"));
    assert_eq!(status, 200);
    let first = answer["data"]["deletePerson"]["deletedAt"].clone();
    assert!(first.is_string() && answer["data"]["deletePerson"]["jobTitle"] == "a", "the whole record: {answer}");
    let again = client.delete(&format!("{path}?soft_delete=true")).1["data"]["deletePerson"]["deletedAt"].clone();
    assert_ne!(first, again, "a second time moves the date");
    assert_eq!(
        client.get(&path),
        (404, json!({ "statusCode": 404, "error": "NotFoundException", "messages": ["Record not found"] }))
    );
    assert!(client.list(&format!("/rest/people?filter=id[eq]:{person}")).is_empty());
    assert_eq!(client.list(&format!("/rest/people?filter=and(id[eq]:{person},deletedAt[is]:NOT_NULL)")).len(), 1);
    // As soon as deletedAt is mentioned anywhere, both kinds are looked at.
    let other = id(&client.create("people", &json!({ "jobTitle": "a" })));
    let both = client.list("/rest/people?filter=and(jobTitle[eq]:a,or(jobTitle[eq]:a,deletedAt[is]:NOT_NULL))");
    assert_eq!(both.len(), 2);
    client.refuses("POST", "/rest/people", Some(&body), 400, "A duplicate entry was detected");
    client.refuses("POST", "/rest/people", Some(&json!({ "id": person })), 400, "A duplicate entry was detected");
    let (_, answer) = client.patch(&path, &json!({ "jobTitle": "b" }));
    assert!(answer["data"]["updatePerson"]["deletedAt"].is_string(), "it is changed and stays there");
    let (status, answer) = client.post("/rest/people?upsert=true", &body);
    assert_eq!((status, &answer["data"]["createPerson"]["id"]), (201, &json!(person)));
    assert_eq!(client.get(&path).0, 200);
    assert_eq!(client.delete(&format!("/rest/people/{other}")).0, 200);
}

#[test]
fn a_plain_delete_is_for_good() {
    let client = Client::new();
    let person = id(&client.create("people", &json!({ "jobTitle": "a" })));
    let path = format!("/rest/people/{person}");
    assert_eq!(client.delete(&path), (200, json!({ "data": { "deletePerson": { "id": person } } })));
    client.refuses("DELETE", &path, None, 404, "Record not found");
    let body =
        client.refuses("DELETE", "/rest/people", None, 400, "Filters are mandatory for bulk destroy operations.");
    assert_eq!(body["error"], "BadRequestException");
    client.refuses(
        "DELETE",
        "/rest/people?soft_delete=true",
        None,
        400,
        "Filters are mandatory for bulk delete operations.",
    );
    let (status, answer) = client.delete("/rest/people?filter=id[is]:NOT_NULL");
    assert_eq!((status, answer["data"]["deletePeople"].as_array().map(Vec::len)), (200, Some(5)));
    assert_eq!(client.get("/rest/people").1["totalCount"], 0);
}

#[test]
fn destroying_a_parent_clears_or_takes_what_points_to_it() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A" })));
    let person = id(&client.create("people", &json!({ "companyId": company })));
    let note = id(&client.create("notes", &json!({ "title": "n" })));
    let target = id(&client.create("noteTargets", &json!({ "noteId": note, "targetCompanyId": company })));
    client.delete(&format!("/rest/companies/{company}?soft_delete=true"));
    let read = |depth: u8| client.get(&format!("/rest/people/{person}?depth={depth}")).1["data"]["person"].clone();
    assert_eq!(read(0)["companyId"], json!(company), "the trash changes no key");
    assert_eq!((&read(1)["companyId"], &read(1)["company"]), (&json!(null), &json!(null)), "but depth 1 hides it");
    assert_eq!(client.create("people", &json!({ "companyId": company }))["companyId"], json!(company));
    client.delete(&format!("/rest/companies/{company}"));
    assert_eq!(read(0)["companyId"], json!(null));
    assert_eq!(client.get(&format!("/rest/noteTargets/{target}")).0, 404);
    assert_eq!(client.get(&format!("/rest/notes/{note}")).0, 200);
}

#[test]
fn bulk_writes_see_the_trash_and_restoring_it_by_itself_answers_nothing() {
    let client = Client::new();
    let live = id(&client.create("tasks", &json!({ "title": "t" })));
    let dead = id(&client.create("tasks", &json!({ "title": "t" })));
    client.delete(&format!("/rest/tasks/{dead}?soft_delete=true"));
    let (_, answer) = client.patch("/rest/tasks?filter=title[eq]:t", &json!({ "status": "DONE" }));
    assert_eq!(answer["data"]["updateTasks"].as_array().unwrap().len(), 2);
    let (status, answer) =
        client.send("PATCH", "/rest/restore/tasks?filter=and(title[eq]:t,deletedAt[is]:NOT_NULL)", None);
    assert_eq!((status, &answer), (200, &json!({ "data": { "restoreTasks": [] } })));
    assert_eq!(client.get(&format!("/rest/tasks/{dead}")).0, 200, "restored all the same");
    let (_, answer) = client.send("PATCH", &format!("/rest/restore/tasks?filter=id[in]:[{live},{dead}]"), None);
    assert_eq!(answer["data"]["restoreTasks"].as_array().unwrap().len(), 2);
    client.refuses(
        "PATCH",
        &format!("/rest/restore/tasks/{dead}"),
        None,
        400,
        &format!("Query path '/rest/restore/tasks/{dead}' invalid. Valid examples: /rest/companies/id or /rest/companies or /rest/batch/companies"),
    );
    // Without a filter, everything is changed; so it is with a filter that is given twice.
    let (_, answer) = client.patch("/rest/tasks", &json!({ "title": "all" }));
    assert_eq!(answer["data"]["updateTasks"].as_array().unwrap().len(), 2);
    let (_, answer) =
        client.patch("/rest/tasks?filter=title[eq]:none&filter=title[eq]:none", &json!({ "title": "all" }));
    assert_eq!(answer["data"]["updateTasks"].as_array().unwrap().len(), 2);
}

#[test]
fn an_update_by_filter_stops_at_two_hundred_rows_and_a_delete_does_not() {
    let client = Client::new();
    let blanks = |count: usize| json!(vec![json!({ "title": "x" }); count]);
    client.post("/rest/batch/tasks", &blanks(200));
    client.post("/rest/batch/tasks", &blanks(60));
    let answer = client.refuses(
        "PATCH",
        "/rest/tasks?filter=title[eq]:x",
        Some(&json!({ "title": "y" })),
        400,
        "Cannot update more than 200 records at once",
    );
    assert_eq!((&answer["error"], &answer["code"]), (&json!("Error"), &json!("TOO_MANY_RECORDS_TO_UPDATE")));
    let count = |answer: &Json| answer["data"]["deleteTasks"].as_array().map(Vec::len);
    assert_eq!(count(&client.delete("/rest/tasks?filter=title[eq]:x&soft_delete=true").1), Some(260));
    assert_eq!(
        client.send("PATCH", "/rest/restore/tasks?filter=title[eq]:x", None).1["data"]["restoreTasks"]
            .as_array()
            .map(Vec::len),
        Some(260)
    );
    assert_eq!(count(&client.delete("/rest/tasks?filter=title[eq]:x").1), Some(260));
}

#[test]
fn pages_go_forward_and_backward_by_cursor() {
    let client = Client::new();
    let names = ["n0", "n1", "n2", "n3", "n4"];
    let notes: Vec<Json> = names.iter().map(|name| json!({ "title": name })).collect();
    client.post("/rest/batch/notes", &json!(notes));
    let page = |query: &str| client.get(&format!("/rest/notes?order_by=title&limit=2{query}")).1;
    let first = page("");
    assert_eq!((titles(&first), &first["totalCount"]), (vec!["n0".into(), "n1".into()], &json!(5)));
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let cursor = |page: &Json, which: &str| page["pageInfo"][which].as_str().unwrap().to_owned();
    let second = page(&format!("&starting_after={}", cursor(&first, "endCursor")));
    assert_eq!((titles(&second), &second["totalCount"]), (vec!["n2".into(), "n3".into()], &json!(5)));
    let third = page(&format!("&starting_after={}", cursor(&second, "endCursor")));
    assert_eq!((titles(&third), &third["pageInfo"]["hasNextPage"]), (vec!["n4".into()], &json!(false)));
    let end = page(&format!("&starting_after={}", cursor(&third, "endCursor")));
    assert_eq!(
        end["pageInfo"],
        json!({ "startCursor": null, "endCursor": null, "hasNextPage": false, "hasPreviousPage": false })
    );
    // Backward: in the usual order, the ends swapped, the flags too.
    let back = page(&format!("&ending_before={}", cursor(&third, "startCursor")));
    assert_eq!(titles(&back), ["n2", "n3"]);
    assert_eq!((&back["pageInfo"]["hasNextPage"], &back["pageInfo"]["hasPreviousPage"]), (&json!(false), &json!(true)));
    assert_eq!(cursor(&back, "startCursor"), cursor(&second, "endCursor"));
    let decoded =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, cursor(&first, "startCursor")).unwrap();
    let decoded: Json = serde_json::from_slice(&decoded).unwrap();
    assert_eq!((&decoded["title"], decoded.as_object().unwrap().len()), (&json!("n0"), 2));
    let foreign = client.refuses(
        "GET",
        &format!("/rest/notes?starting_after={}", cursor(&first, "endCursor")),
        None,
        400,
        "Invalid cursor",
    );
    assert_eq!(foreign["code"], "INVALID_CURSOR");
    client.refuses("GET", "/rest/notes?starting_after=xxx", None, 400, "Invalid cursor: xxx");
    let both = format!("/rest/notes?starting_after={0}&ending_before={0}", cursor(&first, "endCursor"));
    client.refuses("GET", &both, None, 400, "Cannot provide both before and after");
}

#[test]
fn limits_are_clamped_and_checked() {
    let client = Client::new();
    for _ in 0..2 {
        client.post("/rest/batch/notes", &json!(vec![json!({}); 150]));
    }
    assert_eq!(client.list("/rest/notes").len(), 60);
    assert_eq!(client.list("/rest/notes?limit=1000").len(), 200);
    let (_, empty) = client.get("/rest/notes?limit=0");
    assert_eq!((&empty["data"]["notes"], &empty["pageInfo"]["hasNextPage"]), (&json!([]), &json!(true)));
    for bad in ["-1", "ten"] {
        client.refuses(
            "GET",
            &format!("/rest/notes?limit={bad}"),
            None,
            400,
            &format!("limit '{bad}' is invalid. Should be an integer"),
        );
    }
    assert_eq!(client.list("/rest/notes?offset=10").len(), 60, "there is no offset");
    assert_eq!(
        client.get("/rest/companies?filter=name[eq]:none").1,
        json!({
            "data": { "companies": [] }, "totalCount": 0,
            "pageInfo": { "startCursor": null, "endCursor": null, "hasNextPage": false, "hasPreviousPage": false },
        })
    );
}

#[test]
fn orders_are_checked_and_nulls_come_first() {
    let client = Client::new();
    client.post("/rest/batch/people", &json!([
        { "name": { "lastName": "Zhao" }, "jobTitle": "q" }, { "name": { "lastName": "Abel" }, "jobTitle": "q" }, { "jobTitle": "q" },
    ]));
    let last = |order: &str| -> Vec<String> {
        let people = client.list(&format!("/rest/people?filter=jobTitle[eq]:q&order_by={order}"));
        people.iter().map(|person| person["name"]["lastName"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(last("name.lastName"), ["", "Abel", "Zhao"]);
    assert_eq!(last("name.lastName[DescNullsLast]"), ["Zhao", "Abel", ""]);
    client.refuses(
        "GET",
        "/rest/people?order_by=jobTitle[desc]",
        None,
        400,
        "'order_by' direction 'desc' invalid. Allowed values are",
    );
    let answer = client.refuses(
        "GET",
        "/rest/people?order_by=foo",
        None,
        400,
        "Field \"foo\" does not exist or is not sortable",
    );
    assert_eq!(answer["code"], "FIELD_NOT_FOUND");
}

#[test]
fn filters_find_and_refuse_as_the_server_does() {
    let client = Client::new();
    let company = id(&client
        .create("companies", &json!({ "name": "Big Co", "domainName": { "primaryLinkUrl": "https://big.test" } })));
    client.post(
        "/rest/batch/people",
        &json!([
            { "jobTitle": "Chief, really", "companyId": company, "emails": { "primaryEmail": "c@big.test" } },
            { "jobTitle": "chief", "name": { "firstName": "Ivana" } },
            { "name": { "firstName": "Empty" } },
        ]),
    );
    client.delete("/rest/people?filter=createdBy.source[eq]:SYSTEM");
    let count = |filter: &str| client.list(&format!("/rest/people?filter={filter}")).len();
    assert_eq!(count("jobTitle[eq]:\"Chief,%20really\""), 1, "quotes protect commas");
    assert_eq!(count("jobTitle[ilike]:%25CHIEF%25"), 2);
    assert_eq!(count("jobTitle[like]:%25Chief%25"), 1);
    assert_eq!(count("jobTitle[startsWith]:Chief"), 1);
    assert_eq!(count("jobTitle[eq]:\"\""), 1, "empty is nothing");
    assert_eq!(count("jobTitle[is]:NULL"), 1);
    assert_eq!(count("jobTitle[is]:NOT_NULL"), 2);
    assert_eq!(count("jobTitle[neq]:chief"), 1, "a comparison with nothing is neither");
    assert_eq!(count("not(jobTitle[eq]:chief)"), 1);
    assert_eq!(count("jobTitle[in]:[\"\"]"), 0);
    assert_eq!(count("company.name[eq]:Big%20Co"), 1);
    assert_eq!(count("company.domainName.primaryLinkUrl[eq]:https://big.test"), 1);
    assert_eq!(count(&format!("companyId[eq]:{company}")), 1);
    assert_eq!(count("or(name.firstName[eq]:Ivana,name.firstName[eq]:Empty)"), 2);
    assert_eq!(count("emails.primaryEmail[eq]:c@big.test"), 1);
    assert_eq!(count("emails.primaryEmail[eq]:C@big.test"), 0, "the value is compared raw");
    let refused = |object: &str, filter: &str, words: &str| {
        client.refuses("GET", &format!("/rest/{object}?filter={filter}"), None, 400, words);
    };
    refused("notes", "foo[eq]:1", "Object note doesn't have any \"foo\" field.");
    refused("notes", "title[contains]:n", "comparator contains not in eq, neq, in, containsAny, is, gt");
    refused("notes", "title=n1", "'filter' invalid for 'title=n1'. eg: price[gte]:10");
    refused("notes", "", "'filter' invalid for 'and()'. eg: price[gte]:10");
    refused("people", "emails.foo[eq]:x", "Sub field \"foo\" not found for composite type: EMAILS");
    refused("people", "emails[eq]:x", "Sub field \"eq\" not found for composite type: EMAILS");
    refused(
        "people",
        "position[like]:1",
        "Operator \"like\" is not valid for field \"position\" of type POSITION - Allowed operators: eq, neq, gt, gte, lt, lte, in, is",
    );
    refused("people", "id[eq]:abc", "Invalid UUID value 'abc' for field \"id\"");
    refused(
        "people",
        "createdAt[gt]:yesterday",
        "Invalid value 'yesterday' for date-time field \"createdAt\". Expected format: 'YYYY-MM-DDTHH:mm:ssZ'",
    );
    refused(
        "people",
        "id[in]:n1",
        "'filter' invalid for 'in' operator. Received 'n1' but array value expected eg: 'field[in]:[value_1,value_2]'",
    );
    refused(
        "people",
        "jobTitle[is]:null",
        "Invalid filter value for \"is\" operator. Expected \"NULL\" or \"NOT_NULL\"",
    );
    refused("people", "jobTitle[eq]:%22(%22", "'filter' invalid. 1 close bracket is missing in the query");
    refused("opportunities", "stage[eq]:WON", ".opportunity_stage_enum: \"WON\"");
    refused("people", "jobTitle[eq]:", "'filter' invalid for");
}

#[test]
fn relations_are_shown_at_depth_one_only() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A" })));
    client.post("/rest/batch/people", &json!(vec![json!({ "companyId": company }); 65]));
    let (_, answer) = client.get(&format!("/rest/companies/{company}?depth=1"));
    assert_eq!(answer["data"]["company"]["people"].as_array().unwrap().len(), 60, "nothing tells that there are more");
    assert_eq!(client.get(&format!("/rest/companies/{company}")).1["data"]["company"].get("people"), None);
    let people = client.list(&format!("/rest/people?depth=1&limit=1&filter=companyId[eq]:{company}"));
    assert_eq!((&people[0]["company"]["name"], &people[0]["companyId"]), (&json!("A"), &json!(company)));
    client.refuses("GET", "/rest/people?depth=2", None, 400, "'depth=2' parameter invalid. Allowed values are 0, 1");
}

#[test]
fn lookalikes_are_found_and_merged() {
    let client = Client::new();
    let company = |name: &str, url: &str| {
        id(&client.create("companies", &json!({ "name": name, "domainName": { "primaryLinkUrl": url } })))
    };
    let (one, two) = (company("Same", "https://a.test"), company("Same", "https://b.test"));
    let person = id(&client.create("people", &json!({ "companyId": two })));
    let (status, answer) = client.post("/rest/companies/duplicates", &json!({ "ids": [one] }));
    assert_eq!((status, &answer["data"][0]["companyDuplicates"][0]["id"]), (200, &json!(two)));
    assert_eq!(answer["data"][0]["totalCount"], 1);
    let (_, answer) =
        client.post("/rest/companies/duplicates", &json!({ "data": [{ "name": "Same" }, { "name": "Other" }] }));
    assert_eq!((&answer["data"][0]["totalCount"], &answer["data"][1]["totalCount"]), (&json!(2), &json!(0)));
    let refused =
        |body: Json, words: &str| client.refuses("POST", "/rest/companies/duplicates", Some(&body), 400, words);
    refused(json!({ "data": [{}], "ids": [one] }), "You cannot provide both \"data\" and \"ids\" arguments");
    refused(json!({ "data": [] }), "The \"data\" condition can not be empty when \"ids\" input not provided");
    let merge = |body: Json| client.patch("/rest/companies/merge", &body);
    let (_, answer) = merge(json!({ "ids": [one, two], "conflictPriorityIndex": 0, "dryRun": true }));
    assert!(
        answer["data"]["mergeCompany"]["deletedAt"].is_string() && answer["data"]["mergeCompany"]["id"] != json!(one)
    );
    let (status, answer) = merge(json!({ "ids": [one, two], "conflictPriorityIndex": 0, "dryRun": false }));
    assert_eq!((status, &answer["data"]["mergeCompany"]["id"]), (200, &json!(one)));
    assert_eq!(client.get(&format!("/rest/people/{person}")).1["data"]["person"]["companyId"], json!(one));
    assert!(client.list(&format!("/rest/companies?filter=and(id[eq]:{two},deletedAt[is]:NOT_NULL)")).is_empty());
    client.refuses(
        "PATCH",
        "/rest/companies/merge",
        Some(&json!({ "ids": [one] })),
        400,
        "At least 2 record IDs are required for merge",
    );
    client.refuses("PATCH", "/rest/companies/merge", Some(&json!({ "ids": [one, two] })), 404, "Record not found");
    client.refuses("PATCH", "/rest/notes/merge", Some(&json!({ "ids": [one, two] })), 400, "Merge is only available for objects with duplicate criteria. Object 'note' does not have duplicate criteria defined.");
}

#[test]
fn groups_are_a_bare_list() {
    let client = Client::new();
    let (status, answer) = client.get("/rest/opportunities/groupBy?group_by=[{%22stage%22:true}]&aggregate=[%22totalCount%22,%22sumAmountAmountMicros%22]");
    assert_eq!(status, 200, "{answer}");
    let groups = answer.as_array().unwrap();
    assert_eq!(groups.len(), 5);
    let new = groups.iter().find(|group| group["groupByDimensionValues"] == json!(["NEW"])).unwrap();
    assert_eq!((&new["totalCount"], &new["sumAmountAmountMicros"]), (&json!(2), &json!(265_000_000_000_i64)));
}
