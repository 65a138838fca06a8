//! Files: the two ways up, what binds them to a record, the way down.

use axum::{body::Bytes, http::Request};
use serde_json::{Value as Json, json};

use super::{Client, id, service::error};

/// Returns the id of the field that holds the files of attachments.
fn file_field(client: &Client) -> String {
    let (_, objects) = client.get("/rest/metadata/objects?limit=200");
    let objects = objects["data"].as_array().unwrap();
    let attachment = objects.iter().find(|object| object["nameSingular"] == "attachment").unwrap();
    id(attachment["fields"].as_array().unwrap().iter().find(|field| field["name"] == "file").unwrap())
}

/// Opens an upload.
fn open(client: &Client, name: &str, size: usize) -> Json {
    let query = "mutation($n: String!, $s: Float!, $f: String) { createFileUpload(filename: $n, size: $s, fileFolder: FilesField, fieldMetadataId: $f) { fileId uploadUrl contentType expiresAt } }";
    let variables = json!({ "n": name, "s": size, "f": file_field(client) });
    client.post("/metadata", &json!({ "query": query, "variables": variables })).1["data"]["createFileUpload"].clone()
}

fn put(client: &Client, url: &Json, bytes: &[u8]) -> (u16, Json) {
    let request = Request::put(url.as_str().unwrap()).body(Bytes::copy_from_slice(bytes)).unwrap();
    let response = client.raw(&request).unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

fn complete(client: &Client, file: &Json) -> Json {
    let query = "mutation($id: String!) { completeFileUpload(fileId: $id) { id path size createdAt url } }";
    client.post("/metadata", &json!({ "query": query, "variables": { "id": file["fileId"] } })).1
}

/// Brings a file up.
fn upload(client: &Client, name: &str, bytes: &[u8]) -> String {
    let file = open(client, name, bytes.len());
    assert_eq!(put(client, &file["uploadUrl"], bytes).0, 204);
    assert_eq!(complete(client, &file)["data"]["completeFileUpload"]["size"], bytes.len());
    file["fileId"].as_str().unwrap().to_owned()
}

#[test]
fn an_upload_has_a_quarter_of_an_hour_and_a_size() {
    let client = Client::new();
    let file = open(&client, "a.txt", 3);
    assert!(
        file["uploadUrl"]
            .as_str()
            .unwrap()
            .contains(&format!("/file-upload/{}?token=", file["fileId"].as_str().unwrap()))
    );
    let expires = chrono::DateTime::parse_from_rfc3339(file["expiresAt"].as_str().unwrap()).unwrap();
    let made = client.create("notes", &json!({}))["createdAt"].clone();
    let now = chrono::DateTime::parse_from_rfc3339(made.as_str().unwrap()).unwrap();
    assert_eq!((expires - now).num_seconds(), 15 * 60 - 1, "a moment ago it was fifteen minutes");
    let large = json!({ "statusCode": 413, "error": "Error", "messages": ["Upload exceeds declared size of 3 bytes"], "code": "FILE_TOO_LARGE" });
    assert_eq!(put(&client, &file["uploadUrl"], b"abcd"), (413, large));
    let early = complete(&client, &file);
    let expected = format!("File {} has not been uploaded to storage yet", file["fileId"].as_str().unwrap());
    assert_eq!(error(&early, 0), (expected.as_str(), "INTERNAL_SERVER_ERROR", ""));
    client.wait(16 * 60 * 1_000);
    assert_eq!(put(&client, &file["uploadUrl"], b"abc").0, 403);
}

#[test]
fn a_file_belongs_to_one_record_and_its_address_is_fresh_with_every_read() {
    let client = Client::new();
    let person = id(&client.create("people", &json!({})));
    let file = upload(&client, "hello.txt", b"hello world, hi!");
    let body =
        json!({ "name": "hello.txt", "file": [{ "fileId": file, "label": "hello.txt" }], "targetPersonId": person });
    let made = client.create("attachments", &body);
    let entry = &made["file"][0];
    assert_eq!(
        [&entry["label"], &entry["fileId"], &entry["extension"], &made["targetPersonId"]],
        [&json!("hello.txt"), &json!(file), &json!(".txt"), &json!(person)]
    );
    assert_eq!((&made["fullPath"], &made["fileCategory"]), (&json!(""), &json!("OTHER")));
    let url = |record: &Json| record["file"][0]["url"].as_str().unwrap().to_owned();
    assert!(url(&made).contains(&format!("/file/files-field/{file}?token=")));
    client.wait(23 * 3_600 * 1_000);
    let later = client.read("attachments", &id(&made));
    assert_ne!(url(&made), url(&later));
    client.wait(2 * 3_600 * 1_000);
    let get = |url: &str, headers: &[(&str, &str)]| {
        let response = client.ask("GET", url, headers, "");
        (response.status().as_u16(), response.body().to_vec())
    };
    assert_eq!(get(&url(&later), &[]), (200, b"hello world, hi!".to_vec()), "no key is asked for");
    let forbidden = br#"{"message":"Forbidden resource","error":"Forbidden","statusCode":403}"#.to_vec();
    assert_eq!(get(&url(&made), &[]), (403, forbidden.clone()), "a day is over");
    let bare = url(&later).split('?').next().unwrap().to_owned();
    assert_eq!(get(&bare, &[]), (403, forbidden.clone()));
    assert_eq!(get(&bare, &[("authorization", &client.bearer())]), (403, forbidden), "the key alone is not enough");
    let message = format!("File {file} is already associated with a permanent files field");
    client.refuses("POST", "/rest/attachments", Some(&body), 400, &message);
}

#[test]
fn what_is_no_file_is_not_attached() {
    let client = Client::new();
    let nobody = "99999999-9999-4999-8999-999999999999";
    let attach = |file: Json| json!({ "name": "x", "file": [{ "fileId": file, "label": "x" }] });
    let refused = |body: Json, words: &str| client.refuses("POST", "/rest/attachments", Some(&body), 400, words);
    refused(attach(json!(nobody)), &format!("File not found: {nobody}"));
    let pending = open(&client, "a.txt", 1)["fileId"].clone();
    let message = format!("File {} upload has not been completed", pending.as_str().unwrap());
    refused(attach(pending.clone()), &message);
    let two = json!({ "file": [
        { "fileId": upload(&client, "a.txt", b"a"), "label": "a" }, { "fileId": upload(&client, "b.txt", b"b"), "label": "b" },
    ] });
    assert_eq!(client.post("/rest/attachments", &two).0, 400, "one file is the most");
    // A path alone is taken, and leads to no file.
    let made = client.create(
        "attachments",
        &json!({ "name": "old", "fullPath": "https://old.test/a.pdf", "fileCategory": "IMAGE" }),
    );
    assert_eq!(
        [&made["fullPath"], &made["fileCategory"], &made["file"]],
        [&json!("https://old.test/a.pdf"), &json!("IMAGE"), &json!(null)]
    );
    let values = "ARCHIVE, AUDIO, IMAGE, PRESENTATION, SPREADSHEET, TEXT_DOCUMENT, VIDEO, OTHER";
    refused(
        json!({ "fileCategory": "PDF" }),
        &format!("Invalid value \"PDF\" for field \"fileCategory\". Valid values are: {values}"),
    );
    // The category does not follow from the file.
    let pdf = upload(&client, "a.pdf", b"%PDF-1.4 x");
    assert_eq!(client.create("attachments", &attach(json!(pdf)))["fileCategory"], "OTHER");
    let false_pdf = open(&client, "b.pdf", 9);
    put(&client, &false_pdf["uploadUrl"], b"not a pdf");
    let answer = complete(&client, &false_pdf);
    assert!(
        error(&answer, 0).0.starts_with("File content does not match its extension. The file has extension 'pdf' (expected mime type: application/pdf), but the file content could not be detected as this type."),
        "{answer}"
    );
    refused(attach(false_pdf["fileId"].clone()), "upload has not been completed");
}

#[test]
fn a_file_is_attached_to_each_of_these() {
    let client = Client::new();
    for (plural, target) in [
        ("people", "targetPersonId"),
        ("companies", "targetCompanyId"),
        ("opportunities", "targetOpportunityId"),
        ("notes", "targetNoteId"),
        ("tasks", "targetTaskId"),
        ("dashboards", "targetDashboardId"),
        ("workflows", "targetWorkflowId"),
    ] {
        let row = id(&client.create(plural, &json!({})));
        assert_eq!(client.create("attachments", &json!({ target: row }))[target], json!(row), "{plural}");
        let (_, answer) = client.get(&format!("/rest/{plural}/{row}?depth=1"));
        let record = answer["data"].as_object().unwrap().values().next().unwrap().clone();
        assert_eq!(record["attachments"].as_array().map(Vec::len), Some(1), "{plural}");
    }
}

#[test]
fn one_request_of_several_parts_brings_a_file_up() {
    let client = Client::new();
    let query = "mutation($file:Upload!,$fieldMetadataId:String!){uploadFilesFieldFile(file:$file,fieldMetadataId:$fieldMetadataId){id path size createdAt url}}";
    let operations = json!({ "query": query, "variables": { "file": null, "fieldMetadataId": file_field(&client) } });
    let part = |name: &str, more: &str, body: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{body}\r\n")
    };
    let body = [
        part("operations", "", &operations.to_string()),
        part("map", "", "{\"0\":[\"variables.file\"]}"),
        part("0", "; filename=\"hello.txt\"\r\nContent-Type: text/plain", "sixteen bytes ok"),
        "--B--\r\n".to_owned(),
    ]
    .concat();
    let headers = [("authorization", client.bearer()), ("content-type", "multipart/form-data; boundary=B".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer: Json = serde_json::from_slice(client.ask("POST", "/metadata", &headers, &body).body()).unwrap();
    let file = &answer["data"]["uploadFilesFieldFile"];
    let own = id(file);
    let path = file["path"].as_str().unwrap();
    assert!(path.starts_with("files-field/") && path.ends_with(&format!("/{own}.txt")), "{path}");
    assert_eq!((&file["size"], file["createdAt"].is_string()), (&json!(16), true));
    assert!(file["url"].as_str().unwrap().contains(&format!("/file/files-field/{own}?token=")));
    client.create("attachments", &json!({ "file": [{ "fileId": own, "label": "hello.txt" }] }));
}
