//! The schema step as files: what an administrator deploys instead of us, and what nobody but a person can do.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use waybill_ledger::{FieldKind, Schema, SchemaChange};

use super::{PERMISSION_SET, STAGES, Stage, by_hand, xml};

/// Where the source of a project lies.
const SOURCE: &str = "force-app/main/default";

/// Writes a source project of the Salesforce CLI, and a setup plan in words.
///
/// Source: "Salesforce DX Project Structure and Source Format" in the Salesforce DX Developer Guide.
pub(in crate::salesforce) fn export(
    changes: &[SchemaChange],
    present: &Schema,
    version: u32,
    dir: &Path,
) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = xml::source(changes, &stages(present), SOURCE);
    let nothing = std::collections::BTreeSet::new();
    files.insert(
        format!("{SOURCE}/permissionsets/{PERMISSION_SET}.permissionset-meta.xml"),
        xml::permission_set(PERMISSION_SET, changes, &nothing, &nothing),
    );
    files.insert("manifest/package.xml".to_owned(), xml::package(changes, Some(PERMISSION_SET), version));
    let project = serde_json::json!({
        "packageDirectories": [{ "path": "force-app", "default": true }],
        "namespace": "",
        "sourceApiVersion": format!("{version}.0"),
    });
    files.insert("sfdx-project.json".to_owned(), format!("{project:#}\n"));
    files.insert("SETUP.md".to_owned(), setup(changes));
    let mut paths = Vec::new();
    for (path, text) in files {
        let path = PathBuf::from(path);
        let full = dir.join(&path);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(full, text)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The stages that a describe shows. It does not tell their probability, so the plan in words says what to check.
fn stages(present: &Schema) -> Vec<Stage> {
    let field = present.object(STAGES.0).and_then(|object| object.field(STAGES.1));
    let Some(FieldKind::Choice { options, .. }) = field.map(|field| &field.kind) else { return Vec::new() };
    options
        .iter()
        .filter(|option| option.active)
        .map(|option| Stage {
            value: option.value.clone(),
            label: option.label.clone(),
            closed: option.value.starts_with("Closed"),
            won: option.value == "Closed Won",
            forecast: if option.value == "Closed Won" {
                "Closed"
            } else if option.value.starts_with("Closed") {
                "Omitted"
            } else {
                "Pipeline"
            }
            .into(),
            probability: if option.value == "Closed Won" { 100 } else { 0 },
        })
        .collect()
}

fn setup(changes: &[SchemaChange]) -> String {
    let mut text = String::from(
        "# Setup plan\n\nWhat the plan needs in the org, in the order in which to do it.\n\n\
         1. Check `force-app/main/default/standardValueSets/OpportunityStage.standardValueSet-meta.xml`, if it is there:\n   \
         deploying it replaces the whole list of stages. Values of the org that are already there are listed; their\n   \
         probability and forecast category are not told by the API that wrote this file, so compare them with Setup first.\n\
         2. Deploy this folder with the Salesforce CLI:\n   \
         `sf project deploy start --manifest manifest/package.xml`\n\
         3. Assign the permission set `Waybill_Migration` to the user that Waybill signs in as: new fields are invisible until\n   \
         then.\n",
    );
    let mut step = 4;
    for change in changes {
        let words = match change {
            SchemaChange::AddVariant { object, label, options, .. } => format!(
                "Assign a page layout to the record type `{label}` of {object} for each profile that works with it, and make the\n   record type available to those profiles. Its sales process has the stages: {}.",
                options.join(", ")
            ),
            SchemaChange::AddOptions { object, field, options } if (object.as_str(), field.as_str()) == STAGES => {
                let mut words = format!("Check the new values of {object}.{field}:\n");
                for option in options {
                    let property = |name: &str| option.properties.get(name).map_or("", String::as_str);
                    let _ = writeln!(
                        words,
                        "   - `{}`: probability {}, forecast category {}, closed {}, won {}",
                        option.value,
                        property("probability"),
                        property("forecast"),
                        property("closed"),
                        property("won"),
                    );
                }
                words.trim_end().to_owned()
            }
            other => match by_hand(other) {
                Some(words) => words,
                None => continue,
            },
        };
        let _ = writeln!(text, "{step}. {words}");
        step += 1;
    }
    text
}
