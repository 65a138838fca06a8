//! What is refused, in which words.

use super::*;

fn refused(files: &[(&str, &str)], profile: &str) -> BundleError {
    let error = Folder::with(files).open(profile).unwrap_err();
    assert!(!error.hint().is_empty());
    error
}

fn spark(files: &[(&str, &str)]) -> Result<Bundle, BundleError> {
    Bundle::open(Folder::with(files).path(), &Profile::shipped("spark").unwrap())
}

const CONTACTS: (&str, &str) = ("contacts.csv", "id,first_name,last_name,email,primary_company_id,owner_id\n");
const COMPANIES: (&str, &str) = ("companies.csv", "id,name,domain,industry,owner_id\n");

#[test]
fn an_export_without_manifest_is_known_by_its_columns() {
    let bundle = spark(&[CONTACTS, COMPANIES]).unwrap();
    let identity = bundle.identity();
    assert_eq!(identity.evidence, "no manifest; file names: companies, contacts");
    assert!(!identity.manifest && (identity.matched - 1.0).abs() < 1e-9);
}

#[test]
fn an_export_of_something_else_is_refused_by_name() {
    let error = spark(&[
        ("hubspot-crm-exports-all-contacts-2024-01-01.csv", "Record ID,Email,Associated Company IDs (Primary)\n"),
        CONTACTS,
        COMPANIES,
    ]);
    insta::assert_snapshot!(error.unwrap_err(), @"this is not an export of Spark CRM as Waybill knows it: it looks like a HubSpot export; found companies.csv (id, name, domain, industry, owner_id); contacts.csv (id, first_name, last_name, email, primary_company_id, owner_id); hubspot-crm-exports-all-contacts-2024-01-01.csv (Record ID, Email, Associated Company IDs (Primary)) (seen: hubspot-crm-exports-all-contacts-2024-01-01.csv, Record ID, Associated Company IDs (Primary))");
    let error = spark(&[CONTACTS, ("leads.csv", "id\n"), ("tickets.csv", "id\n")]).unwrap_err();
    assert!(error.to_string().contains("SmartDesk"), "{error}");
    let error = spark(&[("manifest.json", r#"{"bundle_format":"waybill-bundle/1","product":"smartdesk"}"#), CONTACTS]);
    assert!(error.unwrap_err().to_string().contains("a bundle of smartdesk"));
}

#[test]
fn an_export_that_nobody_knows_is_refused_with_what_was_found() {
    let error = spark(&[("people.csv", "number,name\n1,Ada\n")]).unwrap_err();
    insta::assert_snapshot!(error, @"this is not an export of Spark CRM as Waybill knows it; found people.csv (number, name)");
    let strange = ("companies.csv", "id,a1,b2,c3,d4,e5,f6,g7\n");
    assert!(matches!(spark(&[("contacts.csv", "id,x,y,z\n"), strange]), Err(BundleError::UnknownShape { .. })));
}

#[test]
fn what_the_manifest_lists_must_be_there_and_unchanged() {
    let manifest =
        |object: &str| format!(r#"{{"bundle_format":"waybill-bundle/1","product":"x","objects":[{object}]}}"#);
    let profile = contacts("");
    let file = ("contacts.csv", "id\n1\n");
    let missing = manifest(r#"{"name":"contacts","files":["contacts.csv","contacts.part-0002.csv"]}"#);
    let error = refused(&[file, ("manifest.json", &missing)], &profile);
    insta::assert_snapshot!(error, @"the manifest lists contacts.part-0002.csv for contacts, but the file is not in the export");
    let wrong = manifest(r#"{"name":"contacts","files":["contacts.csv"],"sha256":["00"]}"#);
    assert!(matches!(refused(&[file, ("manifest.json", &wrong)], &profile), BundleError::DigestMismatch { .. }));
    let digest = "0c65b7166c47d2fb1d0b5e52b2d9b9f1d1e0e4a4c8bd7c7d0b6bd5f4b47c0e1f";
    let short = manifest(&format!(r#"{{"name":"contacts","files":[],"sha256":["{digest}"]}}"#));
    assert!(matches!(refused(&[file, ("manifest.json", &short)], &profile), BundleError::Manifest { .. }));
    assert!(matches!(refused(&[file, ("manifest.json", "{")], &profile), BundleError::Manifest { .. }));
    let newer = r#"{"bundle_format":"waybill-bundle/2"}"#;
    insta::assert_snapshot!(refused(&[file, ("manifest.json", newer)], &profile), @r#"manifest.json cannot be used: its format is "waybill-bundle/2", and this version of Waybill reads "waybill-bundle/1""#);
}

#[test]
fn a_table_without_its_key_is_refused() {
    let error = refused(&[("contacts.csv", "name,email\nAda,a@example.com\n")], &contacts(""));
    insta::assert_snapshot!(error, @"contacts.csv has no column id, by which the rows of contacts are told apart; it has name, email");
    let error = refused(&[("contacts.csv", "id,name,ID\n1,Ada,2\n")], &contacts(""));
    assert!(matches!(error, BundleError::ColumnTwice { .. }), "{error}");
}

#[test]
fn dates_that_can_be_read_in_two_ways_are_a_question() {
    let file = ("contacts.csv", "id,born\n1,03/04/2024\n2,29/09/2024\n");
    let columns = "[object.columns]\nborn = 'date'\n";
    let error = refused(&[file], &contacts(columns));
    insta::assert_snapshot!(error, @"contacts.csv writes dates with day and month in figures (born, line 2), and nothing says which comes first; line 3 can only have the day first");
    let folder = Folder::with(&[file]);
    let bundle = folder.open(&contacts(&format!("values = {{ date_order = 'dmy' }}\n{columns}"))).unwrap();
    assert_eq!(told(&bundle, "contacts"), ["1 born=Date(2024-04-03)", "2 born=Date(2024-09-29)"]);
}

#[test]
fn a_deletion_that_cannot_be_read_stops_everything() {
    let manifest = ("manifest.json", r#"{"bundle_format":"waybill-bundle/1","product":"spark-crm"}"#);
    let error = spark(&[manifest, CONTACTS, ("deleted.csv", "object,id,deleted_at\ncontact,,\n")]).unwrap_err();
    insta::assert_snapshot!(error, @"deleted.csv, line 2: the column id is empty");
}

#[test]
fn an_object_that_is_not_there_is_named() {
    let folder = Folder::with(&[("contacts.csv", "id\n")]);
    let bundle = folder.open(&contacts("")).unwrap();
    insta::assert_snapshot!(bundle.read("deals").unwrap_err(), @"the export has no object deals; it has contacts");
    assert_eq!(bundle.expected("deals"), None);
}

#[test]
fn a_file_that_fails_midway_says_so() {
    let folder = Folder::with(&[("contacts.csv", "id\n1\n")]);
    let bundle = folder.open(&contacts("")).unwrap();
    fs::remove_file(folder.path().join("contacts.csv")).unwrap();
    let told = told(&bundle, "contacts");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("unreadable contacts.csv:0: the file cannot be opened"), "{}", told[0]);
}
