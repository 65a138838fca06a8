#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};

use axum::http::HeaderMap;

use super::*;

fn server(paging: Paging) -> Server {
    let spec = Spec { size: 300, ..Spec::default() };
    Server::new(&Options { spec, paging, ..Options::default() }).unwrap()
}

fn send(server: &Server, method: &str, path: &str, body: &Json) -> (u16, HeaderMap, Json) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", server.token()))
        .body(Bytes::from(if body.is_null() { String::new() } else { body.to_string() }))
        .unwrap();
    let answer = server.answer(&request).unwrap();
    let json = serde_json::from_slice(answer.body()).unwrap_or(Json::Null);
    (answer.status().as_u16(), answer.headers().clone(), json)
}

fn get(server: &Server, path: &str) -> Json {
    let (status, _, body) = send(server, "GET", &format!("/api/v1{path}"), &Json::Null);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn edit(server: &Server, edits: &Json) -> Json {
    let (status, _, body) = send(server, "POST", "/__sandbox/edit", edits);
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_list_is_whole_over_its_pages_and_changes_are_told_from_their_moment_on() {
    let server = server(Paging::Cursor);
    let (mut path, mut ids) = ("/contacts?limit=20".to_owned(), Vec::new());
    loop {
        let page = get(&server, &path);
        ids.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        assert!(page["meta"]["server_time"].as_str().unwrap().ends_with('Z'));
        match page["meta"]["next_cursor"].as_str() {
            Some(cursor) => path = format!("/contacts?limit=20&cursor={cursor}"),
            None => {
                assert_eq!(page["meta"]["total"], json!(ids.len()));
                break;
            }
        }
    }
    let different: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    let now = get(&server, "/account")["meta"]["server_time"].as_str().unwrap().to_owned();
    let since = format!("/contacts?updated_since={now}");
    assert_eq!(get(&server, &since)["data"], json!([]));
    // Two changes in one and the same moment: the filter includes it.
    let change =
        |id: &String| json!({ "op": "update", "object": "contacts", "id": id, "fields": { "job_title": "New" } });
    edit(&server, &json!({ "edits": [change(&ids[0]), change(&ids[1])], "advance_ms": 0 }));
    assert_eq!(get(&server, &since)["meta"]["total"], 2);
}

#[test]
fn people_create_delete_and_merge() {
    let server = server(Paging::Cursor);
    let before = server.digest();
    let deal = get(&server, "/deals")["data"][0].clone();
    let (gone, into) = (deal["company_id"].as_str().unwrap(), "new-company");
    let made = edit(
        &server,
        &json!({ "edits": [
            { "op": "create", "object": "companies", "id": into, "fields": { "name": "New" } },
            { "op": "merge", "object": "companies", "id": gone, "into": into },
            { "op": "delete", "object": "deals", "id": deal["id"] },
        ] }),
    );
    assert_eq!(made["ids"], json!([into, into, deal["id"]]));
    assert_ne!(server.digest(), before);
    let merges = get(&server, "/merges");
    assert_eq!(merges["data"][0]["surviving_id"], into);
    let deletions = get(&server, "/deletions?since=2020-01-01T00:00:00Z");
    assert!(deletions["data"].as_array().unwrap().iter().any(|row| row["id"] == deal["id"]));
    let text = String::from_utf8(
        server.answer(&Request::get("/__sandbox/dump").body(Bytes::new()).unwrap()).unwrap().body().to_vec(),
    )
    .unwrap();
    assert!(!text.contains(&format!("\"company_id\":\"{gone}\"")), "nothing points to the merged company any more");
    let (status, _, refused) = send(
        &server,
        "POST",
        "/__sandbox/edit",
        &json!({ "edits": [{ "op": "delete", "object": "deals", "id": deal["id"] }] }),
    );
    assert_eq!(status, 422, "{refused}");
    assert_eq!(send(&server, "POST", "/__sandbox/reset", &Json::Null).0, 200);
    assert_eq!(server.digest(), before);
}

#[test]
fn the_server_is_strict() {
    let server = server(Paging::Page);
    let status = |method: &str, path: &str| send(&server, method, &format!("/api/v1{path}"), &Json::Null).0;
    assert_eq!(status("GET", "/contacts?per_page=100&page=1"), 200);
    assert_eq!(status("GET", "/contacts?perpage=100"), 400);
    assert_eq!(status("GET", "/contacts?per_page=501"), 400);
    assert_eq!(status("GET", "/contacts?page=0"), 400);
    assert_eq!(status("GET", "/contacts?updated_since=yesterday"), 422);
    assert_eq!(status("GET", "/planets"), 404);
    assert_eq!(status("GET", "/machine"), 404);
    assert_eq!(status("GET", "/objects/machine"), 200);
    assert_eq!(status("GET", "/objects/contacts"), 404);
    assert_eq!(status("POST", "/contacts"), 405);
    let nobody = server.answer(&Request::get("/api/v1/contacts").body(Bytes::new()).unwrap()).unwrap();
    assert_eq!(nobody.status(), 401);
}

#[test]
fn every_way_of_paging_gives_every_row_once() {
    for name in Paging::NAMES {
        let paging = Paging::named(name).unwrap();
        let server = server(paging);
        let total = server.service.digest();
        let mut ids = Vec::new();
        let mut path = match paging {
            Paging::Page | Paging::Link | Paging::Bare => "/api/v1/contacts?per_page=30".to_owned(),
            Paging::Search => "/api/v1/contacts/search".to_owned(),
            _ => "/api/v1/contacts?limit=30".to_owned(),
        };
        let mut body = if paging == Paging::Search { json!({ "pagination": { "per_page": 30 } }) } else { Json::Null };
        for turn in 1.. {
            assert!(turn < 20, "{name} does not end");
            let method = if paging == Paging::Search { "POST" } else { "GET" };
            let (status, headers, page) = send(&server, method, &path, &body);
            assert_eq!(status, 200, "{name}: {page}");
            let rows = [&page, &page["data"], &page["results"]].into_iter().find_map(Json::as_array).unwrap().clone();
            ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            let next = match paging {
                Paging::Cursor => {
                    page["meta"]["next_cursor"].as_str().map(|mark| format!("/api/v1/contacts?limit=30&cursor={mark}"))
                }
                Paging::After => page["paging"]["next"]["after"]
                    .as_str()
                    .map(|mark| format!("/api/v1/contacts?limit=30&after={mark}")),
                Paging::Start => page["additional_data"]["pagination"]["next_start"]
                    .as_u64()
                    .map(|at| format!("/api/v1/contacts?limit=30&start={at}")),
                Paging::Page => (page["info"]["more_records"] == true)
                    .then(|| format!("/api/v1/contacts?per_page=30&page={}", turn + 1)),
                Paging::Link => headers.get("link").and_then(|link| {
                    let link = link.to_str().unwrap();
                    link.contains("rel=\"next\"")
                        .then(|| link.split(['<', '>']).nth(1).unwrap().replace("http://127.0.0.1", ""))
                }),
                Paging::NextUrl => page["links"]["next"].as_str().map(|url| url.replace("http://127.0.0.1", "")),
                Paging::Total => (page["meta"]["total"].as_u64().unwrap() > ids.len() as u64)
                    .then(|| format!("/api/v1/contacts?limit=30&offset={}", ids.len())),
                Paging::Bare => (!rows.is_empty()).then(|| format!("/api/v1/contacts?per_page=30&page={}", turn + 1)),
                Paging::LastRow => {
                    (rows.len() == 30).then(|| format!("/api/v1/contacts?limit=30&after_id={}", ids.last().unwrap()))
                }
                Paging::Search => page["pages"]["next"]["starting_after"].as_str().map(|mark| {
                    body = json!({ "pagination": { "per_page": 30, "starting_after": mark } });
                    path.clone()
                }),
            };
            match next {
                Some(next) => path = next,
                None => break,
            }
        }
        let different: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!((ids.len(), different.len()), (84, 84), "{name}");
        assert_eq!(total, server.service.digest());
    }
}

#[test]
fn faults_come_when_they_are_armed_and_go() {
    let server = server(Paging::Cursor);
    let arm = |faults: Json| assert_eq!(send(&server, "POST", "/__sandbox/faults", &faults).0, 200);
    let status = || send(&server, "GET", "/api/v1/users", &Json::Null).0;
    arm(json!({ "after": 1, "unavailable": 1, "throttle": 1, "retry_after": 3 }));
    assert_eq!((status(), status()), (200, 503));
    let (code, headers, _) = send(&server, "GET", "/api/v1/users", &Json::Null);
    assert_eq!((code, headers["retry-after"].to_str().unwrap()), (429, "3"));
    arm(json!({ "reset": 1, "truncate": 1 }));
    let request = Request::get("/api/v1/users")
        .header("authorization", format!("Bearer {}", server.token()))
        .body(Bytes::new())
        .unwrap();
    assert_eq!(server.answer(&request).unwrap_err(), Broken);
    assert!(serde_json::from_slice::<Json>(server.answer(&request).unwrap().body()).is_err());
    assert_eq!(status(), 200);
    arm(json!({ "expire_after": 0 }));
    assert_eq!(status(), 401);
}

#[test]
fn files_are_given_by_their_id() {
    let server = server(Paging::Cursor);
    let file = get(&server, "/files")["data"][0].clone();
    let path = format!("/api/v1/files/{}/content", file["file_id"].as_str().unwrap());
    let request =
        Request::get(path).header("authorization", format!("Bearer {}", server.token())).body(Bytes::new()).unwrap();
    let answer = server.answer(&request).unwrap();
    assert_eq!(answer.body().len() as u64, file["size_bytes"].as_u64().unwrap());
}
