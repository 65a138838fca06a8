//! Files from the wild, where the data folder is at hand.

use std::{collections::BTreeSet, path::PathBuf};

use encoding_rs::{BIG5, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::*;

/// Returns the data folder, which stands beside the workspace or above it.
fn data(set: &str) -> Option<PathBuf> {
    let ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = ancestors.map(|folder| folder.join("shared/data").join(set)).find(|path| path.is_dir());
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
        {
            eprintln!("skipped: there is no folder shared/data/{set} beside the workspace");
        }
    }
    found
}

fn files_below(folder: &Path, extensions: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extensions));
        } else if path.extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension)) {
            found.insert(path);
        }
    }
    found
}

/// What a file of the set is known to be, where it is not UTF-8 and comma.
fn known(name: &str) -> (&'static Encoding, u8) {
    let encoding = match name {
        "characters.csv" => BIG5,
        "spanish_chars.csv" | "sparse_with_column_errors.csv" | "test_latin1.csv" => WINDOWS_1252,
        "utf-16le_encoded.csv" | "test_utf16_little.csv" => UTF_16LE,
        "test_utf16_big.csv" => UTF_16BE,
        _ => UTF_8,
    };
    let delimiter = match name {
        "dummy.tsv" | "example.tsv" => b'\t',
        "sniff_limit.csv" => b';',
        _ => b',',
    };
    (encoding, delimiter)
}

/// The rows of the set that are no rows, by file.
fn broken(name: &str) -> usize {
    match name {
        "bad.csv" | "bad_skip_lines.csv" | "join_a_short.csv" | "test_join_short_rows.csv" => 2,
        "null_byte.csv"
        | "test_empty_columns.csv"
        | "test_empty_columns_long_row.csv"
        | "test_empty_columns_short_row.csv"
        | "test_extra_header.csv"
        | "complex.csv" => 1,
        // The first of its title lines passes for a header of five columns.
        "weird_head_padding.csv" => 85,
        "badcsv_too_many_columns.csv" => 4,
        _ => 0,
    }
}

#[test]
fn every_row_of_every_messy_table_is_accounted_for() {
    let Some(folder) = data("messy-files") else { return };
    let mut seen = 0;
    for path in files_below(&folder, &["csv", "tsv"]) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (encoding, delimiter) = known(name);
        // A legacy encoding has to be declared; everything else is found out.
        let declared = match encoding {
            encoding if encoding == BIG5 || encoding == WINDOWS_1252 => {
                format!("text = {{ encoding = '{}' }}", encoding.name())
            }
            _ => String::new(),
        };
        let profile = format!("system='x'\nlabel='X'\n[[object]]\nname='rows'\nfiles=['*']\n{declared}");
        let bundle = Bundle::open(&path, &Profile::parse(&profile).unwrap()).unwrap();
        let bytes = fs::read(&path).unwrap();
        let (text, ..) = encoding.decode(&bytes);
        let mut model = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .delimiter(delimiter)
            .from_reader(text.as_bytes());
        let mut expected = model.records().map(Result::unwrap);
        let width = expected.next().map_or(0, |header| header.len());
        let columns = &bundle.objects()[0].columns;
        assert_eq!(columns.len(), width, "{name}: columns");

        let (mut unreadable, mut line) = (0, 1);
        for item in bundle.read("rows").unwrap() {
            let expected = expected.next().unwrap_or_else(|| panic!("{name}: a row too many: {}", tell(&item)));
            let origin = match item {
                Item::Record { record, origin, .. } => {
                    let cells: Vec<&str> =
                        columns.iter().map(|column| record.fields.text(column).unwrap_or_default()).collect();
                    assert_eq!(cells, expected.iter().collect::<Vec<_>>(), "{name}:{}", origin.line);
                    origin
                }
                Item::Unreadable { origin, .. } => {
                    unreadable += 1;
                    origin
                }
                Item::Gone { .. } => panic!("{name}: nothing is gone here"),
            };
            assert!(origin.line >= line, "{name}: lines go forward");
            line = origin.line;
        }
        assert_eq!(expected.count(), 0, "{name}: rows are missing");
        assert_eq!(unreadable, broken(name), "{name}: unreadable rows");
        seen += 1;
    }
    assert_eq!(seen, 94, "tables of the set");
}

#[test]
fn a_file_in_another_encoding_is_a_question() {
    let Some(folder) = data("messy-files") else { return };
    let profile = Profile::parse("system='x'\nlabel='X'\n[[object]]\nname='rows'\nfiles=['*']\n").unwrap();
    for name in ["messytables/characters.csv", "messytables/spanish_chars.csv", "csvkit/test_latin1.csv"] {
        let error = Bundle::open(&folder.join(name), &profile).unwrap_err();
        assert!(matches!(error, BundleError::EncodingUnknown { .. }), "{name}: {error}");
    }
}

#[test]
fn the_csv_spectrum_reads_as_its_authors_say() {
    let Some(folder) = data("messy-files/csv-spectrum") else { return };
    let profile =
        Profile::parse("system='x'\nlabel='X'\n[values]\nempty='text'\n[[object]]\nname='rows'\nfiles=['*']\n")
            .unwrap();
    for path in files_below(&folder.join("csvs"), &["csv"]) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let answer = fs::read(folder.join("json").join(format!("{stem}.json"))).unwrap();
        let mut expected: Vec<BTreeMap<String, String>> = serde_json::from_slice(&answer).unwrap();
        // The set's copy of one table has another kind of line end than its answer.
        let one_kind = |rows: &mut Vec<BTreeMap<String, String>>| {
            for text in rows.iter_mut().flat_map(BTreeMap::values_mut).filter(|_| stem == "newlines_crlf") {
                *text = text.replace("\r\n", "\n");
            }
        };
        one_kind(&mut expected);
        for path in [path.clone(), folder.join("json").join(format!("{stem}.json"))] {
            let bundle = Bundle::open(&path, &profile).unwrap();
            let mut found: Vec<BTreeMap<String, String>> = bundle
                .read("rows")
                .unwrap()
                .map(|item| match item {
                    Item::Record { record, .. } => record
                        .fields
                        .iter()
                        .map(|(name, value)| match value {
                            Some(waybill_ledger::Value::Text(text)) => (name.to_string(), text.clone()),
                            other => panic!("{stem}: {name} is {other:?}"),
                        })
                        .collect(),
                    other => panic!("{stem}: {}", tell(&other)),
                })
                .collect();
            one_kind(&mut found);
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}

#[test]
fn every_messy_json_file_is_accounted_for() {
    let Some(folder) = data("messy-files") else { return };
    let profile = Profile::parse("system='x'\nlabel='X'\n[[object]]\nname='rows'\nfiles=['*']\n").unwrap();
    let count = |name: &str| {
        let bundle = Bundle::open(&folder.join(name), &profile).unwrap();
        let items: Vec<Item> = bundle.read("rows").unwrap().collect();
        let records = items.iter().filter(|item| matches!(item, Item::Record { .. })).count();
        (records, items.len() - records)
    };
    assert_eq!(count("csvkit/testjson.json"), (5, 0));
    assert_eq!(count("csvkit/testjson_nested.json"), (2, 0));
    assert_eq!(count("csvkit/testjson_multiline.json"), (2, 0), "one record per line, whatever the name says");
    assert_eq!(count("csvkit/test_geojson.json"), (3, 0));
    assert_eq!(count("naughty-strings/blns.json"), (0, 515), "strings are no records");
}

#[test]
fn a_foreign_export_is_read_with_a_profile_of_its_own() {
    let Some(folder) = data("hubspot-style-export") else { return };
    let profile = r"
        system = 'hubspot'
        label = 'HubSpot files'
        [columns]
        'Create Date' = 'date'
        'Last Modified Date' = 'time'
        'Annual Revenue' = 'money'
        'Number of Employees' = 'number'
        [values]
        time_zone = 'UTC'
        [recognise]
        objects = 3
        [[object]]
        name = 'companies'
        files = ['hubspot_companies.csv']
        key = 'Company ID'
        modified = 'Last Modified Date'
        [[object]]
        name = 'contacts'
        files = ['hubspot_contacts.csv']
        key = 'Contact ID'
        [[object]]
        name = 'activities'
        files = ['hubspot_activities.csv']
        key = 'Activity ID'
    ";
    let bundle = Bundle::open(&folder, &Profile::parse(profile).unwrap()).unwrap();
    assert_eq!(told(&bundle, "companies").len(), 200);
    assert_eq!(told(&bundle, "contacts").len(), 950);
    assert_eq!(told(&bundle, "activities").len(), 2_000);
    assert_eq!(bundle.unread(), ["hubspot_deals.csv", "hubspot_tickets.csv"]);
    let Some(Item::Record { record, modified: Some(modified), origin }) = bundle.read("companies").unwrap().next()
    else {
        panic!("the first company is no record");
    };
    assert_eq!(record.id, "COMP-5880f9ce-fd33-495e-850e-9df673591c52");
    assert_eq!(
        record.fields.value("Annual Revenue"),
        Some(&waybill_ledger::Value::Number("873607.15".parse().unwrap()))
    );
    assert_eq!(modified.to_rfc3339(), "2024-01-09T00:00:00+00:00");
    assert_eq!(origin.to_string(), "hubspot_companies.csv:2");
}

#[test]
fn two_spellings_of_one_pipeline_hold_the_same_days() {
    let Some(folder) = data("maven-crm-sales") else { return };
    let read = |file: &str, order: &str| -> Result<Vec<Vec<String>>, BundleError> {
        let profile = format!(
            "system='x'\nlabel='X'\n[values]\n{order}\n[[object]]\nname='deals'\nfiles=['*']\nkey='opportunity_id'\n\
             [object.columns]\nengage_date='date'\nclose_date='date'\nclose_value='money'\n"
        );
        let bundle = Bundle::open(&folder.join(file), &Profile::parse(&profile).unwrap())?;
        Ok(bundle
            .read("deals")?
            .map(|item| match item {
                Item::Record { record, .. } => ["opportunity_id", "engage_date", "close_date"]
                    .map(|name| format!("{:?}", record.fields.get(name)))
                    .to_vec(),
                other => panic!("{}", tell(&other)),
            })
            .collect())
    };
    assert!(matches!(read("us-dates/sales_pipeline.csv", ""), Err(BundleError::DateOrder { .. })));
    let iso = read("sales_pipeline.csv", "").unwrap();
    let american = read("us-dates/sales_pipeline.csv", "date_order = 'mdy'").unwrap();
    assert_eq!(iso.len(), 8_800);
    assert_eq!(iso, american);
}
