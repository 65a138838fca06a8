//! Filters, orders and cursors, type by type.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};

use super::{Client, id, titles, values::with_fields};

#[test]
fn each_type_has_its_operators() {
    let client = with_fields();
    let refused = |field: &str, operator: &str, kind: &str, allowed: &str| {
        let value = if operator == "in" || operator == "containsAny" { "[1]" } else { "1" };
        let answer = client.refuses(
            "GET",
            &format!("/rest/things?filter={field}[{operator}]:{value}"),
            None,
            400,
            &format!(
                "Operator \"{operator}\" is not valid for field \"{field}\" of type {kind} - Allowed operators: {allowed}"
            ),
        );
        assert_eq!(answer["error"], "BadRequestException");
    };
    let ordered = "eq, neq, gt, gte, lt, lte, in, is";
    refused("name", "containsAny", "TEXT", "eq, neq, gt, gte, lt, lte, in, is, like, ilike, startsWith, endsWith");
    refused("ratio", "ilike", "NUMBER", ordered);
    refused("born", "startsWith", "DATE", ordered);
    refused("createdAt", "like", "DATE_TIME", ordered);
    refused("other", "like", "UUID", ordered);
    refused("vip", "neq", "BOOLEAN", "eq, is");
    refused("vip", "in", "BOOLEAN", "eq, is");
    refused("color", "like", "SELECT", "eq, neq, gt, gte, lt, lte, in, containsAny, is");
    refused("stars", "startsWith", "RATING", "eq, neq, gt, gte, lt, lte, in, containsAny, is");
    refused("tags", "eq", "MULTI_SELECT", "containsAny, is");
    refused("extra", "eq", "RAW_JSON", "is, like");
    refused("words", "containsAny", "ARRAY", "is");
    refused("story.markdown", "like", "RICH_TEXT", "ilike");
}

#[test]
fn each_type_is_found_by_its_operators() {
    let client = with_fields();
    client.create(
        "things",
        &json!({
            "name": "Alpha, one", "ratio": 1.5, "born": "2020-02-29", "vip": true, "color": "RED", "tags": ["RED", "BLUE"],
            "stars": "RATING_4", "amount": { "amountMicros": 70_000_000_001_i64, "currencyCode": "EUR" },
            "extra": { "a": "needle" }, "words": ["x"], "other": "abcdef11-1111-4111-8111-111111111111",
            "story": { "markdown": "some **bold** text" }, "full": { "firstName": "Ivan" },
            "where": { "addressCity": "Paris", "addressLat": 48.85 }, "createdAt": "2001-02-03T04:05:06Z",
        }),
    );
    client.create("things", &json!({ "createdAt": "2021-01-01T00:00:00Z" }));
    for (filter, count) in [
        ("name[startsWith]:Alpha", 1),
        ("name[startsWith]:alpha", 0),
        ("name[endsWith]:one", 1),
        ("name[in]:[x,\"Alpha\"]", 0),
        ("name[in]:[\"Alpha, one\"]", 0),
        ("name[eq]:'Alpha, one'", 1),
        ("name[gte]:Alpha", 1),
        ("ratio[gt]:1.4", 1),
        ("ratio[in]:[1.5,2]", 1),
        ("ratio[is]:NULL", 1),
        ("born[lte]:2020-02-29", 1),
        ("born[eq]:2020-02-29", 1),
        ("vip[eq]:true", 1),
        ("color[eq]:RED", 1),
        ("color[in]:[RED,BLUE]", 1),
        ("color[neq]:RED", 0),
        ("tags[containsAny]:[BLUE]", 1),
        ("tags[is]:NULL", 1),
        ("stars[gte]:RATING_3", 1),
        ("amount.amountMicros[gt]:70000000000", 1),
        ("amount.amountMicros[gt]:70000000001", 0),
        ("amount.currencyCode[eq]:EUR", 1),
        ("extra[like]:%25needle%25", 1),
        ("words[is]:NOT_NULL", 1),
        ("other[eq]:ABCDEF11-1111-4111-8111-111111111111", 1),
        ("story.markdown[ilike]:%25BOLD%25", 1),
        ("full.firstName[eq]:Ivan", 1),
        ("where.addressCity[eq]:Paris", 1),
        ("where.addressLat[lt]:49", 1),
        ("createdAt[lt]:2010-01-01", 1),
        ("createdAt[eq]:2001-02-03T05:05:06%2B01:00", 1),
        ("createdBy.source[eq]:API", 2),
        ("name[is]:NULL", 1),
        ("and(name[is]:NULL,not(ratio[is]:NOT_NULL))", 1),
        ("or(ratio[eq]:1.5,createdAt[gt]:2020-01-01)", 2),
    ] {
        let path = format!("/rest/things?filter={}", filter.replace(' ', "%20"));
        assert_eq!(client.list(&path).len(), count, "{filter}");
    }
    for (filter, words) in [
        ("not(name[eq]:a,name[eq]:b)", "'not' conjunction should contain only 1 condition"),
        ("name[eq]:a)", "'filter' invalid. 1 open bracket is missing in the query"),
        ("color[eq]:GREEN", "invalid input value for enum workspace_"),
        ("ratio[eq]:x", "Invalid number value 'x' for field \"ratio\""),
        ("other[eq]:x", "Invalid UUID value 'x' for field \"other\""),
        ("name[is]:not_null", "Invalid filter value for \"is\" operator. Expected \"NULL\" or \"NOT_NULL\""),
        ("amount[gt]:1", "Sub field \"gt\" not found for composite type: CURRENCY"),
    ] {
        client.refuses("GET", &format!("/rest/things?filter={filter}"), None, 400, words);
    }
}

#[test]
fn ids_that_the_server_does_not_take_are_refused_everywhere() {
    let client = Client::new();
    for version in 1..=5 {
        let own = format!("11111111-1111-{version}111-9111-111111111111");
        assert_eq!(client.create("people", &json!({ "id": own }))["id"], own);
        let upper = format!("/rest/people/{}", own.to_uppercase());
        assert_eq!(client.get(&upper).1["data"]["person"]["id"], own);
    }
    for bad in [
        "01890a5d-ac96-674b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-874b-bcce-b302099a8057",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "11111111-1111-4111-7111-111111111111",
        "{11111111-1111-4111-8111-111111111111}",
        "11111111111141118111111111111111",
    ] {
        let message = format!("Value \"{bad}\" is not a valid UUID");
        let expected =
            json!({ "statusCode": 400, "error": "Error", "messages": [message], "code": "INVALID_QUERY_INPUT" });
        assert_eq!(client.post("/rest/people", &json!({ "id": bad })), (400, expected));
        client.refuses(
            "POST",
            "/rest/people",
            Some(&json!({ "companyId": bad })),
            400,
            &format!("Invalid UUID value '{bad}'"),
        );
        client.refuses("GET", &format!("/rest/people/{bad}"), None, 400, &format!("'{bad}' is not a valid UUID"));
        let path = format!("/rest/people?filter=id[eq]:{bad}");
        client.refuses("GET", &path, None, 400, &format!("Invalid UUID value '{bad}' for field \"id\""));
    }
}

#[test]
fn orders_put_nothing_where_they_say_and_break_ties_by_id() {
    let client = Client::new();
    let ids = [1, 2, 3, 4].map(|n| format!("{n}1111111-1111-4111-8111-111111111111"));
    let titles = [json!(null), json!("b"), json!("a"), json!("b")];
    for (own, title) in ids.iter().zip(titles).rev() {
        client.create("notes", &json!({ "id": own, "title": title }));
    }
    let order = |order: &str| -> String {
        client
            .list(&format!("/rest/notes?order_by={order}"))
            .iter()
            .map(|note| note["id"].as_str().unwrap()[..1].to_owned())
            .collect()
    };
    for (given, expected) in [
        ("", "1234"),
        ("title", "1324"),
        ("title[AscNullsFirst]", "1324"),
        ("title[AscNullsLast]", "3241"),
        ("title[DescNullsFirst]", "1243"),
        ("title[DescNullsLast]", "2431"),
        ("id[DescNullsLast]", "4321"),
        ("title,createdAt[DescNullsLast]", "1324"),
    ] {
        assert_eq!(order(given), expected, "{given}");
    }
    let expected = json!({
        "statusCode": 400, "error": "Error", "messages": ["Field \"foo\" does not exist or is not sortable"],
        "code": "FIELD_NOT_FOUND",
    });
    assert_eq!(client.get("/rest/notes?order_by=foo"), (400, expected));
}

#[test]
fn a_cursor_is_the_place_of_a_row_in_its_order() {
    let client = Client::new();
    let own = "11111111-1111-4111-8111-111111111111";
    client
        .create("people", &json!({ "id": own, "jobTitle": "c", "name": { "firstName": "Ivan", "lastName": "Zhao" } }));
    let cursor = |order: &str| {
        let (_, answer) = client.get(&format!("/rest/people?filter=jobTitle[eq]:c&order_by={order}"));
        answer["pageInfo"]["endCursor"].as_str().unwrap().to_owned()
    };
    let decoded = |order: &str| String::from_utf8(STANDARD.decode(cursor(order)).unwrap()).unwrap();
    assert_eq!(decoded(""), format!("{{\"id\":\"{own}\"}}"));
    assert_eq!(decoded("jobTitle"), format!("{{\"jobTitle\":\"c\",\"id\":\"{own}\"}}"));
    assert_eq!(decoded("name.lastName"), format!("{{\"name\":{{\"lastName\":\"Zhao\"}},\"id\":\"{own}\"}}"));
    let foreign =
        json!({ "statusCode": 400, "error": "Error", "messages": ["Invalid cursor"], "code": "INVALID_CURSOR" });
    for (made, used) in
        [("", "jobTitle"), ("jobTitle", ""), ("name.lastName", "name.firstName"), ("jobTitle", "position")]
    {
        let path = format!("/rest/people?order_by={used}&starting_after={}", cursor(made));
        assert_eq!(client.get(&path), (400, foreign.clone()), "{made} for {used}");
    }
    let path = format!("/rest/people?starting_after={own}");
    client.refuses("GET", &path, None, 400, &format!("Invalid cursor: {own}"));
}

#[test]
fn going_backward_ends_before_the_first() {
    let client = Client::new();
    let notes: Vec<Json> = ["n0", "n1", "n2", "n3"].iter().map(|title| json!({ "title": title })).collect();
    client.post("/rest/batch/notes", &json!(notes));
    let page = |query: &str| client.get(&format!("/rest/notes?order_by=title&{query}")).1;
    let all = page("limit=4");
    let last = all["pageInfo"]["endCursor"].as_str().unwrap();
    let back = page(&format!("limit=2&ending_before={last}"));
    assert_eq!((titles(&back), &back["totalCount"]), (vec!["n1".into(), "n2".into()], &json!(4)));
    assert_eq!(back["pageInfo"]["hasPreviousPage"], true, "one more precedes");
    // The ends are swapped: the row shown first has the end cursor.
    let first = page(&format!("limit=2&ending_before={}", back["pageInfo"]["endCursor"].as_str().unwrap()));
    assert_eq!(titles(&first), ["n0"]);
    assert_eq!(
        (&first["pageInfo"]["hasNextPage"], &first["pageInfo"]["hasPreviousPage"]),
        (&json!(false), &json!(false))
    );
    // By id, the usual way through a table: nothing is skipped, nothing comes twice.
    let (mut seen, mut path) = (Vec::new(), "/rest/notes?limit=1".to_owned());
    loop {
        let (_, answer) = client.get(&path);
        seen.extend(answer["data"]["notes"].as_array().unwrap().iter().map(id));
        if answer["pageInfo"]["hasNextPage"] != true {
            break;
        }
        path = format!("/rest/notes?limit=1&starting_after={}", answer["pageInfo"]["endCursor"].as_str().unwrap());
    }
    assert!(seen.len() == 4 && seen.is_sorted(), "{seen:?}");
}

#[test]
fn the_trash_hides_a_relation_from_depth_one_and_from_no_filter() {
    let client = Client::new();
    let company = id(&client.create("companies", &json!({ "name": "A" })));
    let person = id(&client.create("people", &json!({ "companyId": company })));
    client.delete(&format!("/rest/companies/{company}?soft_delete=true"));
    let filter = format!("/rest/people?filter=companyId[eq]:{company}");
    assert_eq!(client.list(&filter)[0]["companyId"], json!(company));
    let deep = client.list(&format!("{filter}&depth=1"));
    assert_eq!((&deep[0]["companyId"], &deep[0]["company"]), (&json!(null), &json!(null)));
    let ask = |fields: &str| {
        let query = format!("query($id: UUID) {{ person(filter: {{ id: {{ eq: $id }} }}) {{ {fields} }} }}");
        client.graphql(&query, &json!({ "id": person }))["data"]["person"].clone()
    };
    assert_eq!(ask("companyId"), json!({ "companyId": company }));
    assert_eq!(ask("companyId company { name }"), json!({ "companyId": null, "company": null }));
    client.send("PATCH", &format!("/rest/restore/companies?filter=id[eq]:{company}"), None);
    assert_eq!(ask("companyId company { name }"), json!({ "companyId": company, "company": { "name": "A" } }));
}

#[test]
fn whatever_speaks_of_the_trash_sees_all_of_it() {
    let client = Client::new();
    for (title, dead) in [("n1", false), ("n1", true), ("n2", false), ("n2", true)] {
        let deleted = if dead { json!("2020-01-01T00:00:00Z") } else { json!(null) };
        client.create("notes", &json!({ "title": title, "deletedAt": deleted }));
    }
    for (filter, count) in [
        ("title[eq]:n1", 1),
        ("or(title[eq]:n1,deletedAt[is]:NOT_NULL)", 3),
        ("and(title[eq]:n1,deletedAt[is]:NOT_NULL)", 1),
        ("deletedAt[is]:NULL", 2),
        ("or(title[eq]:n2,deletedAt[lt]:1990-01-01)", 2),
    ] {
        let (_, answer) = client.get(&format!("/rest/notes?filter={filter}"));
        assert_eq!(
            (&answer["totalCount"], answer["data"]["notes"].as_array().map(Vec::len)),
            (&json!(count), Some(count)),
            "{filter}"
        );
    }
}
