//! The trash: what lies in it, what sees it, what leaves it, and what goes with a row that is destroyed.

use serde_json::{Value as Json, json};

use super::{Client, id};

#[test]
fn a_row_goes_to_the_trash_by_a_date_as_well() {
    let client = Client::new();
    let note = id(&client.create("notes", &json!({ "title": "a" })));
    let path = format!("/rest/notes/{note}");
    let (status, answer) = client.patch(&path, &json!({ "deletedAt": "2020-01-01T00:00:00Z" }));
    assert_eq!((status, &answer["data"]["updateNote"]["deletedAt"]), (200, &json!("2020-01-01T00:00:00.000Z")));
    assert_eq!(client.get(&path).0, 404);
    let (_, answer) = client.patch(&path, &json!({ "deletedAt": null }));
    assert_eq!(answer["data"]["updateNote"]["deletedAt"], json!(null));
    assert_eq!(client.get(&path).0, 200);
}

#[test]
fn trashing_moves_the_date_of_the_last_change() {
    let client = Client::new();
    let made = client.create("notes", &json!({ "title": "a" }));
    client.wait(50);
    let (_, answer) = client.delete(&format!("/rest/notes/{}?soft_delete=true", id(&made)));
    let trashed = &answer["data"]["deleteNote"];
    assert_eq!((&trashed["updatedAt"], &trashed["title"]), (&trashed["deletedAt"], &json!("a")));
    assert_ne!(trashed["updatedAt"], made["updatedAt"]);
    // Out of the trash, for good: nothing is left, and nothing is found a second time.
    let path = format!("/rest/notes/{}", id(&made));
    assert_eq!(client.delete(&path), (200, json!({ "data": { "deleteNote": { "id": id(&made) } } })));
    assert_eq!(client.delete(&path).0, 404);
    assert_eq!(client.patch(&path, &json!({})).0, 404);
    client.create("notes", &json!({ "id": id(&made) }));
}

#[test]
fn bulk_writes_tell_live_from_dead_only_when_asked_to() {
    let client = Client::new();
    let note = |title: &str, dead: bool| {
        let deleted = if dead { json!("2020-01-01T00:00:00Z") } else { json!(null) };
        id(&client.create("notes", &json!({ "title": title, "deletedAt": deleted })))
    };
    let count = |answer: (u16, Json)| {
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1["data"].as_object().unwrap().values().next().unwrap().as_array().map(Vec::len)
    };
    let (live, dead) = (note("a", false), note("a", true));
    assert_eq!(
        count(client.patch("/rest/notes?filter=and(title[eq]:a,deletedAt[is]:NULL)", &json!({ "title": "b" }))),
        Some(1)
    );
    assert_eq!(count(client.patch("/rest/notes?filter=title[in]:[a,b]", &json!({ "title": "c" }))), Some(2));
    let trash = client.delete("/rest/notes?filter=title[eq]:c&soft_delete=true");
    assert_eq!(count(trash), Some(2), "those that lie there are trashed again");
    assert_eq!(client.get(&format!("/rest/notes/{live}")).0, 404);
    let restore = |filter: &str| client.send("PATCH", &format!("/rest/restore/notes?filter={filter}"), None);
    assert_eq!(count(restore(&format!("id[in]:[{live},{dead}]"))), Some(2));
    assert!(client.get(&format!("/rest/notes/{dead}")).0 == 200 && client.get(&format!("/rest/notes/{live}")).0 == 200);
    client.delete(&format!("/rest/notes/{dead}?soft_delete=true"));
    let answer = client.graphql("mutation { restoreNotes(filter: {deletedAt: {is: NOT_NULL}}) { id } }", &json!({}));
    assert_eq!(answer, json!({ "data": { "restoreNotes": [] } }), "they are restored, and not told");
    assert_eq!(client.get(&format!("/rest/notes/{dead}")).0, 200);
    client.delete(&format!("/rest/notes/{dead}?soft_delete=true"));
    assert_eq!(count(client.delete("/rest/notes?filter=title[eq]:c")), Some(2), "for good, both");
    assert!(client.list("/rest/notes?filter=deletedAt[is]:NOT_NULL").is_empty());
}

#[test]
fn hundreds_are_trashed_restored_and_destroyed_in_one_call() {
    let client = Client::new();
    for _ in 0..2 {
        client.post("/rest/batch/notes", &json!(vec![json!({ "title": "x" }); 161]));
    }
    let count = |answer: (u16, Json), key: &str| answer.1["data"][key].as_array().map(Vec::len);
    assert_eq!(count(client.delete("/rest/notes?filter=title[eq]:x&soft_delete=true"), "deleteNotes"), Some(322));
    let restored = client.send("PATCH", "/rest/restore/notes?filter=title[eq]:x", None);
    assert_eq!(count(restored, "restoreNotes"), Some(322));
    assert_eq!(client.get("/rest/notes").1["totalCount"], 322);
    // Only an update has a limit, and one without a filter means every row.
    let capped = json!({
        "statusCode": 400, "error": "Error", "messages": ["Cannot update more than 200 records at once"],
        "code": "TOO_MANY_RECORDS_TO_UPDATE",
    });
    assert_eq!(client.patch("/rest/notes", &json!({ "title": "y" })), (400, capped));
    assert_eq!(client.list("/rest/notes?filter=title[eq]:y").len(), 0);
    assert_eq!(count(client.delete("/rest/notes?filter=title[eq]:x"), "deleteNotes"), Some(322));
    assert_eq!(client.get("/rest/notes").1["totalCount"], 0);
}

#[test]
fn what_points_to_a_destroyed_row_is_cleared_or_goes_with_it() {
    let client = Client::new();
    let make = |plural: &str, body: Json| id(&client.create(plural, &body));
    let (company, person) = (make("companies", json!({})), make("people", json!({})));
    let deal = make("opportunities", json!({ "companyId": company, "pointOfContactId": person }));
    let (note, task) = (make("notes", json!({})), make("tasks", json!({})));
    let links: Vec<(&str, String)> = vec![
        ("noteTargets", make("noteTargets", json!({ "noteId": note, "targetPersonId": person }))),
        ("taskTargets", make("taskTargets", json!({ "taskId": task, "targetPersonId": person }))),
        ("attachments", make("attachments", json!({ "name": "a", "targetPersonId": person }))),
    ];
    let others: Vec<(&str, String)> = vec![
        ("noteTargets", make("noteTargets", json!({ "noteId": note, "targetOpportunityId": deal }))),
        ("taskTargets", make("taskTargets", json!({ "taskId": task, "targetOpportunityId": deal }))),
    ];
    client.delete(&format!("/rest/people/{person}"));
    client.delete(&format!("/rest/companies/{company}"));
    let record = client.read("opportunities", &deal);
    assert_eq!((&record["companyId"], &record["pointOfContactId"]), (&json!(null), &json!(null)));
    for (plural, id) in &links {
        assert_eq!(client.get(&format!("/rest/{plural}/{id}")).0, 404, "{plural}");
    }
    for (plural, id) in &others {
        assert_eq!(client.get(&format!("/rest/{plural}/{id}")).0, 200, "{plural}");
    }
    client.delete(&format!("/rest/notes/{note}"));
    client.delete(&format!("/rest/tasks/{task}"));
    for (plural, id) in &others {
        assert_eq!(client.get(&format!("/rest/{plural}/{id}")).0, 404, "{plural}");
    }
    assert_eq!(client.get(&format!("/rest/opportunities/{deal}")).0, 200);
}
