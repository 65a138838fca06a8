//! Clients that nobody here wrote work against the Salesforce sandbox unchanged.

#![allow(clippy::unwrap_used)]

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, root, text};

/// Returns a program that can do something, or says that the test is skipped.
fn able(candidates: &[PathBuf], probe: impl Fn(&mut Command), what: &str) -> Option<PathBuf> {
    let works = |program: &&PathBuf| {
        let mut command = Command::new(program);
        probe(&mut command);
        command.output().is_ok_and(|output| output.status.success())
    };
    let found = candidates.iter().find(works).cloned();
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: {what}");
        }
    }
    found
}

/// Runs a client's script, and returns what it printed.
#[track_caller]
fn drive(command: &mut Command, script: &str, org: &Org) -> Json {
    let output = command.arg(root().join("tests/clients").join(script)).arg(org.about.to_string()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"))
}

fn has(list: &Json, item: &str) -> bool {
    list.as_array().unwrap().iter().any(|known| known == item)
}

#[test]
fn simple_salesforce_works_over_tls() {
    let candidates = [root().join("target/verifier/bin/python3"), PathBuf::from("python3")];
    let probe = |command: &mut Command| {
        command.args(["-c", "import simple_salesforce"]);
    };
    let Some(python) = able(&candidates, probe, "no python3 with the package simple-salesforce") else { return };
    let dir = tempfile::tempdir().unwrap();
    let org = Org::start(&["--tls", dir.path().to_str().unwrap()]);
    let out = drive(Command::new(python).arg("-B"), "with_simple_salesforce.py", &org);

    assert_eq!(out["login"]["works"], true);
    assert_eq!(out["bad_login"]["code"], "INVALID_LOGIN");
    assert!(has(&out["describe"], "Contact") && has(&out["fields"], "Industry"));
    assert!(out["limits"]["Remaining"].as_u64() < out["limits"]["Max"].as_u64());
    assert!(out["api_usage"].as_u64().unwrap() >= 3, "{}", out["api_usage"]);
    assert_eq!((text(&out, "metadata"), text(&out["userinfo"], "user_id").len()), ("001".into(), 18));

    let account = text(&out["create"], "id");
    assert_eq!((&out["create"]["success"], &out["update"], &out["delete"]), (&json!(true), &json!(204), &json!(204)));
    assert_eq!((text(&out["get"], "Name"), text(&out["get"], "Industry")), ("Client Account 2".into(), "Media".into()));
    assert_eq!((&out["upserts"], text(&out, "get_by_custom_id")), (&json!([201, 200]), "Upsert".into()));
    assert!(has(&out["updated"]["ids"], &account) && has(&out["deleted"], &text(&out, "doomed")));
    // The client's rows are there for everybody, and over the other way in they look the same.
    let (_, row) = org.call("GET", &format!("sobjects/Account/{account}"), None);
    assert_eq!((text(&row, "Name"), &row["CreatedDate"]), ("Client Account 2".into(), &out["get"]["CreatedDate"]));

    assert_eq!(
        (&out["collection"], &out["query_all"], &out["query_deleted"]),
        (&json!(200), &json!(2198), &json!(2200))
    );
    assert_eq!((text(&out["retrieve"][1], "LastName"), &out["retrieve"][2]), ("L1".into(), &Json::Null));
    assert_eq!(out["collection_delete"][1]["success"], true);
    assert_eq!(out["relation"]["Account"]["Name"], "Client Account 2");
    assert_eq!(out["children"]["Contacts"]["records"][0]["LastName"], "Upsert");
    assert_eq!(out["search"]["searchRecords"][0]["Id"], account.as_str());
    assert_eq!(out["quick_search"], 1);

    let inserted = &out["bulk_insert"];
    assert_eq!((&inserted[0]["created"], &inserted[0]["errors"]), (&json!(true), &json!([])));
    assert_eq!(
        (&inserted[1]["id"], text(&inserted[1]["errors"][0], "statusCode")),
        (&Json::Null, "REQUIRED_FIELD_MISSING".into())
    );
    assert_eq!(text(&inserted[2]["errors"][0], "statusCode"), "INVALID_FIELD");
    assert_eq!((&out["bulk_update"][0]["success"], &out["bulk_update"][0]["created"]), (&json!(true), &json!(false)));
    let created: Vec<&Json> = out["bulk_upsert"].as_array().unwrap().iter().map(|row| &row["created"]).collect();
    assert_eq!(created, [false, true]);
    let found = &out["bulk_query"][0];
    assert_eq!((text(found, "LastName"), &found["Account"]), ("B0 again".into(), &Json::Null));
    assert!(found["CreatedDate"].is_u64(), "dates in JSON results are milliseconds: {found}");
    assert_eq!(
        (&out["bulk_delete"][0]["success"], &out["bulk_query_all"][0]["IsDeleted"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(out["bulk_detailed"][0]["LastName"], "Detailed");
    let exceptions: Vec<String> =
        out["bulk_errors"].as_array().unwrap().iter().map(|error| text(&error["content"], "exceptionCode")).collect();
    assert_eq!(exceptions, ["InvalidEntity", "FeatureNotEnabled"]);

    let job = &out["bulk2_insert"][0];
    assert_eq!((&job["numberRecordsProcessed"], &job["numberRecordsFailed"]), (&json!(4), &json!(1)));
    let results = &out["bulk2_results"];
    assert_eq!(text(results, "successful").lines().count(), 4);
    assert!(text(results, "failed").contains("REQUIRED_FIELD_MISSING:"), "{results}");
    assert_eq!(text(results, "unprocessed").lines().count(), 1);
    assert_eq!(out["bulk2_upsert"][0]["numberRecordsFailed"], 0);
    assert_eq!(out["bulk2_query"].as_array().unwrap().len(), 2, "three rows in pages of two");
    assert_eq!(org.count("Contact WHERE Email LIKE 'two%'"), 2, "one of three was deleted");

    let answers = out["composite"]["compositeResponse"].as_array().unwrap();
    assert_eq!(answers[2]["body"]["records"][0]["Account"]["Name"], "Composite");
    let failed = out["composite_failed"]["compositeResponse"].as_array().unwrap();
    let codes: Vec<&Json> = failed.iter().map(|answer| &answer["body"][0]["errorCode"]).collect();
    assert_eq!(codes, ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]);
    assert_eq!(out["composite_accounts"], 1, "the failed call left nothing");

    for (name, class, status) in [
        ("query", "SalesforceMalformedRequest", 400),
        ("row", "SalesforceMalformedRequest", 400),
        ("unknown", "SalesforceResourceNotFound", 404),
        ("gone", "SalesforceResourceNotFound", 404),
        ("several", "SalesforceMoreThanOneRecord", 300),
        ("expired", "SalesforceExpiredSession", 401),
    ] {
        let error = &out["errors"][name];
        assert_eq!((text(error, "class"), &error["status"]), (class.into(), &json!(status)), "{name}: {error}");
    }
    assert_eq!(out["errors"]["several"]["content"].as_array().unwrap().len(), 2);
}

#[test]
fn jsforce_works() {
    let modules = root().join("target/clients/node_modules");
    let probe = |command: &mut Command| {
        command.env("NODE_PATH", &modules).args(["-e", "require('jsforce')"]);
    };
    let Some(node) = able(&[PathBuf::from("node")], probe, "no node with the package jsforce") else { return };
    let org = Org::start(&[]);
    let out = drive(Command::new(node).env("NODE_PATH", &modules), "with_jsforce.js", &org);

    let user = text(&out["identity"], "user_id");
    for login in ["soap_login", "oauth_login", "client_credentials"] {
        assert_eq!(text(&out[login], "id"), user, "{login}");
    }
    assert_eq!((text(&out["soap_user"], "userId"), text(&out["refreshed"], "soap")), (user.clone(), user.clone()));
    assert!(text(&out["bad_login"], "message").starts_with("INVALID_LOGIN"), "{}", out["bad_login"]);
    assert_eq!((text(&out["code"], "state"), text(&out["code"]["user"], "id")), ("a b".into(), user));
    assert_eq!((&out["refreshed"]["rest"], &out["refreshed"]["bulk"][0]["success"]), (&json!(3), &json!(true)));
    assert!(out["limit_info"]["apiUsage"]["used"].as_u64().unwrap() > 0);
    assert_eq!((text(&out, "describe"), &out["recent"]), ("Account".into(), &json!([])));

    let success = |list: &Json| list.as_array().unwrap().iter().map(|row| row["success"] == true).collect::<Vec<_>>();
    assert_eq!(success(&out["create_many"]), [true, true, false]);
    assert_eq!(text(&out["create_whole"][0]["errors"][0], "statusCode"), "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!((&out["retrieve"], success(&out["update"])), (&json!(["Js Two", "Js Three"]), vec![true, true]));
    assert_eq!((&out["upsert_id"]["created"], &out["upsert"][0]["created"]), (&json!(false), &json!(true)));
    assert_eq!((&out["upsert"][1]["created"], &out["upsert"][2][1]["created"]), (&json!(false), &json!(true)));
    assert_eq!((&out["updated"], &out["deleted"]), (&json!(true), &out["ids"]));
    assert_eq!((success(&out["undelete"]), success(&out["soap_create"])), (vec![true, true], vec![true, false]));
    assert_eq!(org.count("Account WHERE Name = 'Js Updated'"), 2, "what was undeleted is there again");
    assert_eq!(org.count("Account WHERE Name = 'Soap <&>'"), 1);
    assert_eq!((&out["query"], out["search"].as_array().unwrap().len()), (&json!(true), 1));
    for (name, code) in [
        ("query", "INVALID_FIELD"),
        ("row", "REQUIRED_FIELD_MISSING"),
        ("several", "MULTIPLE_CHOICES"),
        ("session", "INVALID_SESSION_ID"),
    ] {
        assert_eq!(text(&out["errors"][name], "code"), code, "{}", out["errors"]);
    }

    assert_eq!(success(&out["bulk_insert"]), [true, false]);
    assert!(text(&out["bulk_insert"][1]["errors"], "0").is_empty() && out["bulk_insert"][1]["errors"][0].is_string());
    assert_eq!((&out["bulk_upsert"][0]["created"], &out["bulk_upsert"][1]["created"]), (&json!(false), &json!(true)));
    let names: Vec<String> = out["bulk_query"].as_array().unwrap().iter().map(|row| text(row, "LastName")).collect();
    assert_eq!((names, &out["bulk_nothing"]), (vec!["Bulk Two".into(), "Bulk \"Three\"".into()], &json!([])));
    assert_eq!(success(&out["bulk_delete"]), [true, true]);
    assert_eq!(text(&out["bulk_errors"]["column"], "message"), "InvalidBatch : Field name not found : Nope__c");
    assert_eq!(text(&out["bulk_errors"]["object"], "code"), "InvalidEntity");
    assert_eq!((&out["bulk_job"], &out["bulk_abort"]), (&json!({ "batches": 0, "state": "Open" }), &json!("Aborted")));
    let loaded = &out["bulk2"];
    assert_eq!(text(&loaded["successfulResults"][0], "Description"), "a;b|c,d");
    assert!(text(&loaded["failedResults"][0], "sf__Error").starts_with("REQUIRED_FIELD_MISSING:"), "{loaded}");
    assert_eq!(out["bulk2_query"].as_array().unwrap().len(), 1);
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn sessions_are_opened_and_refused_as_oauth_says() {
    let org = Org::start(&[]);
    let about = |name: &str| text(&org.about, name);
    let form = |path: &str, pairs: &[(&str, &str)]| {
        let form = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let (status, _, body) = org.send("POST", &format!("/services/oauth2/{path}"), &kind, form.into_bytes());
        (status, serde_json::from_slice::<Json>(&body).unwrap_or(Json::Null))
    };
    let (id, secret, refresh) = (about("client_id"), about("client_secret"), about("refresh_token"));
    let client = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
    let token = |pairs: &[(&str, &str)]| form("token", pairs);
    let with = |more: &[(&'static str, &str)]| {
        let all: Vec<(&str, String)> = client.iter().chain(more).map(|(n, v)| (*n, (*v).to_owned())).collect();
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (*n, v.as_str())).collect();
        token(&all)
    };
    let (status, answer) = with(&[("grant_type", "client_credentials")]);
    assert_eq!((status, text(&answer, "token_type")), (200, "Bearer".into()));
    assert!(
        answer["issued_at"].is_string() && answer.get("expires_in").is_none() && answer.get("refresh_token").is_none()
    );
    assert!(text(&answer, "id").starts_with(&format!("{}/id/00D", org.url)), "{answer}");
    for (pairs, error) in [
        (vec![("grant_type", "client_credentials"), ("client_id", "x"), ("client_secret", "x")], "invalid_client_id"),
        (
            vec![("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", "x")],
            "invalid_client",
        ),
        (vec![("grant_type", "dance")], "unsupported_grant_type"),
        (vec![("x", "y")], "invalid_request"),
    ] {
        let (status, answer) = token(&pairs);
        assert_eq!((status, text(&answer, "error")), (400, error.into()), "{answer}");
    }
    let (_, answer) = with(&[("grant_type", "password"), ("username", "nobody"), ("password", "x")]);
    assert_eq!(
        (text(&answer, "error"), text(&answer, "error_description")),
        ("invalid_grant".into(), "authentication failure".into())
    );
    let (status, answer) = with(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]);
    assert_eq!(status, 200, "{answer}");
    let fresh = text(&answer, "access_token");
    let introspected = |token: &str| form("introspect", &[client[0], client[1], ("token", token)]).1["active"].clone();
    assert_eq!(introspected(&fresh), true);
    assert_eq!(form("revoke", &[("token", &fresh)]).0, 200);
    assert_eq!(introspected(&fresh), false);
    assert_eq!(form("revoke", &[("token", &refresh)]).0, 200);
    let (_, answer) = with(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]);
    assert_eq!(text(&answer, "error_description"), "expired access/refresh token");
    // A session that is not one, everywhere in its own words.
    let bad = [("authorization", "Bearer 00D!bad"), ("x-sfdc-session", "00D!bad")];
    assert_eq!(org.send("GET", "/services/data/v62.0/limits", &bad, Vec::new()).0, 401);
    let (status, _, body) = org.send("GET", "/services/async/62.0/job/750000000000001", &bad, Vec::new());
    assert_eq!(status, 400);
    assert!(String::from_utf8(body).unwrap().contains("<exceptionCode>InvalidSessionId</exceptionCode>"));
    let envelope = "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body><getUserInfo/></e:Body></e:Envelope>";
    let (status, _, body) = org.send("POST", "/services/Soap/u/62.0", &[("content-type", "text/xml")], envelope.into());
    assert_eq!(status, 500);
    assert!(String::from_utf8(body).unwrap().contains("<faultcode>sf:INVALID_SESSION_ID</faultcode>"));
}

#[test]
fn signed_assertions_are_checked() {
    let candidates = [root().join("target/verifier/bin/python3"), PathBuf::from("python3")];
    let probe = |command: &mut Command| {
        command.args(["-c", "import jwt, cryptography"]);
    };
    let Some(python) = able(&candidates, probe, "no python3 with the packages pyjwt and cryptography") else { return };
    let script = "
import sys, json, datetime, jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'app')])
day = datetime.datetime(2024, 1, 1)
made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
made = made.not_valid_before(day).not_valid_after(datetime.datetime(2044, 1, 1)).sign(key, hashes.SHA256())
claims = json.loads(sys.argv[1])
pem = serialization.Encoding.PEM
spki = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
# PyJWT wants the time as a number; the client writes it as text, and the server must take both.
sign = lambda changes: jwt.api_jws.encode(json.dumps({**claims, **changes}).encode(), key, algorithm='RS256')
print(json.dumps({'certificate': made.public_bytes(pem).decode(), 'key': spki, 'good': sign({}),
    'late': sign({'exp': '1'}), 'other': sign({'sub': 'nobody@example.com'}), 'elsewhere': sign({'aud': 'https://x.y'})}))
";
    let org = Org::start(&[]);
    let claims = json!({
        "iss": org.about["client_id"], "sub": org.about["username"], "aud": "https://login.salesforce.com",
        "exp": (now() + 180).to_string(),
    });
    let output = Command::new(python).args(["-c", script, &claims.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Json = serde_json::from_slice(&output.stdout).unwrap();
    let token = |assertion: &str| {
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let (status, _, body) = org.send("POST", "/services/oauth2/token", &kind, form.into_bytes());
        (status, serde_json::from_slice::<Json>(&body).unwrap())
    };
    let good = text(&made, "good");
    assert_eq!(token(&good).1["error_description"], "invalid assertion", "the app has no certificate yet");
    for form in ["certificate", "key"] {
        let trust = |pem: String| org.send("POST", "/__sandbox/certificate", &[], pem.into_bytes()).0;
        assert_eq!(trust("not a key".into()), 400);
        assert_eq!(trust(text(&made, form)), 200);
        let (status, answer) = token(&good);
        assert_eq!(status, 200, "{form}: {answer}");
    }
    let (head, tail) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    for assertion in [forged, text(&made, "late"), text(&made, "other"), text(&made, "elsewhere"), "x".into()] {
        assert_eq!(token(&assertion).1["error"], "invalid_grant", "{assertion}");
    }
}

#[test]
fn bulk_one_speaks_xml_and_keeps_the_order() {
    let org = Org::start(&[]);
    let session = [("x-sfdc-session", org.token.as_str())];
    let send = |method: &str, path: &str, kind: &str, body: &str| {
        let headers = [session[0], ("content-type", kind)];
        let (status, headers, body) =
            org.send(method, &format!("/services/async/62.0/{path}"), &headers, body.as_bytes().to_vec());
        (status, headers["content-type"].clone(), String::from_utf8(body).unwrap())
    };
    let get = |path: &str| send("GET", path, "application/xml", "");
    let between = |text: &str, name: &str| -> String {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}"));
        rest.split_once("</").unwrap().0.to_owned()
    };
    let open = |operation: &str, kind: &str, more: &str| {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<jobInfo  xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\"><operation>{operation}</operation><object>Contact</object>{more}<contentType>{kind}</contentType></jobInfo>"
        );
        let (status, _, answer) = send("POST", "job", "application/xml; charset=UTF-8", &body);
        assert_eq!(status, 201, "{answer}");
        assert_eq!(between(&answer, "state"), "Open");
        between(&answer, "id")
    };
    let ended = |job: &str, batch: &str| {
        for _ in 0..200 {
            let (_, _, answer) = get(&format!("job/{job}/batch/{batch}"));
            if ["Completed", "Failed"].contains(&between(&answer, "state").as_str()) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the batch does not end");
    };
    let job = open("insert", "CSV", "<concurrencyMode>Serial</concurrencyMode>");
    let (_, kind, list) = get(&format!("job/{job}/batch"));
    assert_eq!(kind, "application/xml");
    assert!(list.contains("<batchInfoList") && list.ends_with("/>"), "{list}");
    let csv = "LastName,Email,ReportsTo.Email\n\"A, \"\"b\"\"\",a@b.cc,\n,x@y.zz,\nC,,a@b.cc\nD,,no@b.dd\n";
    assert_eq!(send("POST", &format!("job/{job}/batch"), "application/json", "[]").0, 400, "the job is about CSV");
    let (status, _, batch) = send("POST", &format!("job/{job}/batch"), "text/csv", csv);
    assert_eq!((status, between(&batch, "state")), (201, "Queued".into()));
    let batch = between(&batch, "id");
    assert!(batch.starts_with("751"));
    let done = ended(&job, &batch);
    assert_eq!(
        (between(&done, "numberRecordsProcessed"), between(&done, "numberRecordsFailed")),
        ("4".into(), "2".into())
    );
    let (_, kind, results) = get(&format!("job/{job}/batch/{batch}/result"));
    assert_eq!(kind, "text/csv");
    let lines: Vec<&str> = results.lines().collect();
    assert_eq!(lines[0], "\"Id\",\"Success\",\"Created\",\"Error\"");
    assert!(
        lines[1].ends_with(",\"true\",\"true\",\"\"") && lines[3].ends_with(",\"true\",\"true\",\"\""),
        "{results}"
    );
    assert_eq!(
        lines[2],
        "\"\",\"false\",\"false\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\""
    );
    assert!(lines[4].contains("INVALID_FIELD:Foreign key external ID: no@b.dd not found"), "{results}");
    assert_eq!(get(&format!("job/{job}/batch/{batch}/request")).2, csv);
    let state = |state: &str| {
        format!("<jobInfo xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\"><state>{state}</state></jobInfo>")
    };
    let closed = send("POST", &format!("job/{job}"), "application/xml", &state("Closed"));
    assert_eq!((closed.0, between(&closed.2, "state")), (200, "Closed".into()));
    let (status, _, late) = send("POST", &format!("job/{job}/batch"), "text/csv", csv);
    assert_eq!((status, between(&late, "exceptionCode")), (400, "InvalidJobState".into()));

    // Rows in XML; a field that says nil becomes empty.
    let job = open("upsert", "XML", "<externalIdFieldName>Email</externalIdFieldName>");
    let rows = "<sObjects xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><sObject><Email>a@b.cc</Email><LastName>A &amp; b</LastName><Title xsi:nil=\"true\"/></sObject><sObject><Email>new@b.cc</Email></sObject></sObjects>";
    let (_, _, batch) = send("POST", &format!("job/{job}/batch"), "application/xml", rows);
    let batch = between(&batch, "id");
    ended(&job, &batch);
    let (_, _, results) = get(&format!("job/{job}/batch/{batch}/result"));
    assert!(results.contains("<success>true</success><created>false</created>"), "{results}");
    assert!(results.contains("<statusCode>REQUIRED_FIELD_MISSING</statusCode>"), "{results}");
    assert_eq!(org.count("Contact WHERE LastName = 'A & b'"), 1);

    // Queries: a list of results, then rows; what bulk cannot do fails the batch.
    let job = open("query", "CSV", "");
    let query = |soql: &str| {
        let (_, _, batch) = send("POST", &format!("job/{job}/batch"), "text/csv", soql);
        let batch = between(&batch, "id");
        let done = ended(&job, &batch);
        (batch, done)
    };
    let (batch, _) = query("SELECT LastName, ReportsTo.Email FROM Contact ORDER BY Id");
    let (_, kind, list) = get(&format!("job/{job}/batch/{batch}/result"));
    assert_eq!(kind, "application/xml");
    let (_, kind, rows) = get(&format!("job/{job}/batch/{batch}/result/{}", between(&list, "result")));
    assert_eq!(kind, "text/csv");
    assert_eq!(rows, "\"LastName\",\"ReportsTo.Email\"\n\"A & b\",\"\"\n\"C\",\"a@b.cc\"\n");
    let (_, failed) = query("SELECT COUNT() FROM Contact");
    assert_eq!(between(&failed, "state"), "Failed");
    let (_, failed) = query("SELECT Nope FROM Contact");
    assert!(
        between(&failed, "stateMessage").starts_with("InvalidBatch : Failed to process query: INVALID_FIELD"),
        "{failed}"
    );
}

#[test]
fn calls_in_calls_are_wholes_where_they_say_so() {
    let org = Org::start(&[]);
    let base = "/services/data/v62.0";
    let account = json!({ "method": "POST", "url": format!("{base}/sobjects/Account"), "referenceId": "a", "body": { "Name": "Whole" } });
    let contact = |body: Json| json!({ "method": "POST", "url": format!("{base}/sobjects/Contact"), "referenceId": "c", "body": body });
    let codes = |answer: &Json| -> Vec<u64> {
        let all = answer["compositeResponse"].as_array().unwrap();
        all.iter().map(|answer| answer["httpStatusCode"].as_u64().unwrap()).collect()
    };
    let digest = org.digest();
    // Without allOrNone what went well stays, and what depends on a failure is halted.
    let parts = json!([
        { "method": "POST", "url": format!("{base}/sobjects/Account"), "referenceId": "bad", "body": {} },
        contact(json!({ "LastName": "x", "AccountId": "@{bad.id}" })),
        { "method": "GET", "url": format!("{base}/query?q=SELECT Id FROM Account LIMIT 1"), "referenceId": "q" },
        { "method": "GET", "url": format!("{base}/sobjects/Account/@{{q.records[0].Id}}?fields=Name"), "referenceId": "r" },
    ]);
    let (status, answer) = org.call("POST", "composite", Some(&json!({ "compositeRequest": parts })));
    assert_eq!((status, codes(&answer)), (200, vec![400, 400, 200, 200]), "{answer}");
    assert_eq!(answer["compositeResponse"][1]["body"][0]["errorCode"], "PROCESSING_HALTED");
    assert_eq!(org.digest(), digest);
    let graph = |id: &str, body: Json| json!({ "graphId": id, "compositeRequest": [account, contact(body)] });
    let graphs = json!({ "graphs": [
        graph("good", json!({ "LastName": "x", "AccountId": "@{a.id}" })),
        graph("bad", json!({ "AccountId": "@{a.id}" })),
    ] });
    let (status, answer) = org.call("POST", "composite/graph", Some(&graphs));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["graphs"][0]["isSuccessful"], &answer["graphs"][1]["isSuccessful"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(codes(&answer["graphs"][1]["graphResponse"]), [400, 400]);
    assert_eq!(org.count("Account WHERE Name = 'Whole'"), 1);
    let leaf = |reference: &str, kind: &str| json!({ "type": kind, "referenceId": reference });
    let tree = |email: &str| {
        json!({ "records": [{
            "attributes": leaf("r1", "Account"), "Name": "Tree",
            "Contacts": { "records": [
                { "attributes": leaf("r2", "Contact"), "LastName": "One" },
                { "attributes": leaf("r3", "Contact"), "LastName": "Two", "Email": email },
            ] },
        }] })
    };
    let (status, answer) = org.call("POST", "composite/tree/Account", Some(&tree("123")));
    assert_eq!((status, &answer["hasErrors"]), (400, &json!(true)));
    assert_eq!(answer["results"], json!([{ "referenceId": "r3", "errors": answer["results"][0]["errors"] }]));
    assert_eq!(answer["results"][0]["errors"][0]["statusCode"], "INVALID_EMAIL_ADDRESS");
    let (status, answer) = org.call("POST", "composite/tree/Account", Some(&tree("a@b.cc")));
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (201, 3), "{answer}");
    assert_eq!(org.count("Contact WHERE Account.Name = 'Tree'"), 2);
    let batch = json!({ "haltOnError": true, "batchRequests": [
        { "method": "GET", "url": "v62.0/limits/recordCount?sObjects=Contact,Campaign" },
        { "method": "GET", "url": "v62.0/sobjects/Nothing" },
        { "method": "GET", "url": "v62.0/limits" },
    ] });
    let (_, answer) = org.call("POST", "composite/batch", Some(&batch));
    let results = &answer["results"];
    assert_eq!(
        results[0]["result"],
        json!({ "sObjects": [{ "count": 3, "name": "Contact" }] }),
        "what is empty is absent"
    );
    assert_eq!((&results[1]["statusCode"], &results[2]["statusCode"]), (&json!(404), &json!(412)));
    assert_eq!(results[2]["result"][0]["errorCode"], "BATCH_PROCESSING_HALTED");
    // An unchanged describe is not sent again, in a call of its own or in another.
    let since = json!({ "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT" });
    let parts =
        json!([{ "method": "GET", "url": format!("{base}/sobjects"), "referenceId": "s", "httpHeaders": since }]);
    let (_, answer) = org.call("POST", "composite", Some(&json!({ "compositeRequest": parts })));
    let only = &answer["compositeResponse"][0];
    assert_eq!((&only["body"], &only["httpStatusCode"]), (&Json::Null, &json!(304)));
    assert!(only["httpHeaders"]["Last-Modified"].is_string() && only["httpHeaders"]["ETag"].is_string(), "{only}");
}

#[test]
fn addresses_and_headers_are_read_as_clients_write_them() {
    let org = Org::start(&[]);
    let bearer = format!("Bearer {}", org.token);
    let old = format!("OAuth {}", org.token);
    let send = |method: &str, path: &str, more: &[(&str, &str)], body: &str| {
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(more);
        org.send(method, &format!("/services/data{path}"), &headers, body.as_bytes().to_vec())
    };
    let (status, _, body) = org.send("GET", "/services/data/", &[], Vec::new());
    let versions: Vec<Json> = serde_json::from_slice(&body).unwrap();
    let listed: Vec<String> = versions.iter().map(|version| text(version, "version")).collect();
    assert_eq!(status, 200);
    assert!(listed.is_sorted() && listed.iter().any(|version| version == "62.0"), "{listed:?}");
    for version in ["v50.0", "v51.0", "v59.0"] {
        assert_eq!(send("GET", &format!("/{version}/sobjects/account/DESCRIBE/"), &[], "").0, 200, "{version}");
    }
    assert_eq!(org.send("GET", "/services/data/v62.0/limits", &[("authorization", &old)], Vec::new()).0, 200);
    let (status, headers, body) =
        send("POST", "/v62.0/SOBJECTS/account/", &[("x-prettyprint", "1")], "{\"NAME\":\"x\"}");
    assert_eq!(status, 201);
    let printed = String::from_utf8(body).unwrap();
    assert!(printed.contains("\"success\" : true") && printed.contains("\"errors\" : [ ]"), "{printed}");
    assert!(headers["location"].starts_with("/services/data/v62.0/sobjects/Account/001"), "{headers:?}");
    assert!(headers["sforce-limit-info"].starts_with("api-usage="), "{headers:?}");
    let row = headers["location"].strip_prefix("/services/data").unwrap().to_owned();
    assert_eq!(send("POST", &format!("{row}?_HttpMethod=PATCH"), &[], "{\"Name\":\"y\"}").0, 204);
    let (_, headers, _) = send("GET", &row, &[], "");
    let mark = headers["etag"].clone();
    assert_eq!(send("GET", &row, &[("if-none-match", &mark)], "").0, 304);
    assert_eq!(send("PATCH", &row, &[("if-match", "\"another\"")], "{\"Name\":\"z\"}").0, 412);
    assert_eq!(send("PATCH", &row, &[("if-match", &mark)], "{\"Name\":\"z\"}").0, 204);
    let plain = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    assert_eq!(org.send("POST", "/services/data/v62.0/sobjects/Account", &plain, b"{}".to_vec()).0, 415);
    assert_eq!(send("DELETE", "/v62.0/sobjects/Account", &[], "").0, 405);
    // Upserts of old versions say less.
    let upsert = |version: &str| {
        let (status, _, body) =
            send("PATCH", &format!("/{version}/sobjects/Contact/Email/a%40b.cc"), &[], "{\"LastName\":\"x\"}");
        (status, serde_json::from_slice::<Json>(&body).unwrap_or(Json::Null)["created"].clone())
    };
    assert_eq!(upsert("v45.0"), (201, Json::Null));
    assert_eq!(upsert("v45.0"), (204, Json::Null));
    assert_eq!(upsert("v46.0"), (200, json!(false)));
    let (_, found) = org.call("GET", "search?q=FIND%20%7Ba%7D", None);
    assert_eq!(found[0]["errorCode"], "MALFORMED_SEARCH", "{found}");
    let (status, answer) =
        org.call("GET", "sobjects/Account/updated?start=2015-01-01T00:00:00Z&end=2015-01-02T00:00:00Z", None);
    assert_eq!((status, text(&answer[0], "errorCode")), (400, "INVALID_REPLICATION_DATE".into()));
    // Parents and children by their friendly names.
    let id = row.rsplit('/').next().unwrap().to_owned();
    let (_, contact) = org.call("POST", "sobjects/Contact", Some(&json!({ "LastName": "Child", "AccountId": id })));
    let contact = text(&contact, "id");
    let (_, parent) = org.call("GET", &format!("sobjects/Contact/{contact}/Account?fields=Name"), None);
    let (_, children) = org.call("GET", &format!("sobjects/Account/{id}/Contacts?fields=LastName"), None);
    assert_eq!((text(&parent, "Name"), text(&children["records"][0], "LastName")), ("z".into(), "Child".into()));
}
