//! The schema step on Salesforce: one metadata deploy, and the permission to use what it makes.
//!
//! Source: "Deploy Metadata with Apex Testing Using REST" and the types CustomObject, CustomField, BusinessProcess,
//! RecordType, StandardValueSet and PermissionSet in the Metadata API Developer Guide. New fields are invisible until a
//! permission set grants them; deploying a standard value set replaces it, so present values are always part of it.

mod export;
mod xml;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Write},
    time::Duration,
};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use waybill_ledger::{FieldKind, NewChoice, ObjectName, SchemaChange};

pub(super) use self::export::export;
use super::{Salesforce, answer, soql::quoted};
use crate::{destination::SchemaOutcome, error::RemoteError, transport::Request};

/// The permission set that lets our user use what we make.
const PERMISSION_SET: &str = "Waybill_Migration";
/// The object and the field whose options are a standard value set that we know.
const STAGES: (&str, &str) = ("Opportunity", "StageName");

/// The files of a deploy, by their path in the archive.
type Files = BTreeMap<String, String>;

/// One value of a standard value set, with what the platform keeps about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    value: String,
    label: String,
    closed: bool,
    won: bool,
    forecast: String,
    probability: u32,
}

#[derive(Deserialize)]
struct DeployAnswer {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeployStatus {
    deploy_result: DeployResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeployResult {
    done: bool,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    component_failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    problem: String,
}

impl Salesforce {
    /// Makes what is missing, grants it to our user, and looks whether our user can use it.
    pub(super) async fn deploy(&self, changes: &[SchemaChange]) -> Result<Vec<SchemaOutcome>, RemoteError> {
        let mut outcomes = Vec::with_capacity(changes.len());
        let mut wanted = Vec::new();
        for change in changes {
            outcomes.push(if self.present(change).await? {
                Some(SchemaOutcome::Present)
            } else if let Some(text) = by_hand(change) {
                Some(SchemaOutcome::Manual(text))
            } else {
                wanted.push(change.clone());
                None
            });
        }
        if !wanted.is_empty() {
            let files = self.files(&wanted).await?;
            let problems = self.deploy_files(&files).await?;
            if problems.is_empty() {
                self.assign().await?;
            }
            self.forget_describes().await;
            for (change, outcome) in changes.iter().zip(&mut outcomes) {
                if outcome.is_none() {
                    *outcome = Some(self.outcome(change, &problems).await?);
                }
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(SchemaOutcome::Made)).collect())
    }

    async fn outcome(
        &self,
        change: &SchemaChange,
        problems: &[(String, String)],
    ) -> Result<SchemaOutcome, RemoteError> {
        if self.present(change).await? {
            return Ok(SchemaOutcome::Made);
        }
        if problems.is_empty() {
            let text =
                "it was made, but our user cannot use it: assign the permission set Waybill_Migration to the user";
            return Ok(SchemaOutcome::Manual(text.to_owned()));
        }
        let own = component(change);
        let mine = problems.iter().filter(|(name, _)| own.as_ref().is_none_or(|own| name == own));
        let words: Vec<String> = mine.map(|(name, problem)| format!("{name}: {problem}")).collect();
        let words = if words.is_empty() {
            let others = problems.iter().map(|(name, problem)| format!("{name}: {problem}"));
            format!("not made, because the deploy was rolled back: {}", others.collect::<Vec<_>>().join("; "))
        } else {
            words.join("; ")
        };
        Ok(SchemaOutcome::Refused(words))
    }

    /// Returns whether our user can use what a change would make.
    async fn present(&self, change: &SchemaChange) -> Result<bool, RemoteError> {
        Ok(match change {
            SchemaChange::AddObject { name, .. } => self.object(name).await?.is_some(),
            SchemaChange::AddField { object, field } => {
                let known = self.object(object).await?;
                known.is_some_and(|known| known.field(field.name.as_str()).is_some_and(|known| known.createable))
            }
            SchemaChange::AddOptions { object, field, options } => {
                let known = self.object(object).await?;
                match known.as_ref().and_then(|known| known.field(field.as_str())).map(|field| &field.kind) {
                    Some(FieldKind::Choice { options: present, .. } | FieldKind::Choices { options: present, .. }) => {
                        options.iter().all(|new| present.iter().any(|known| known.active && known.value == new.value))
                    }
                    _ => false,
                }
            }
            SchemaChange::AddVariant { object, name, label, .. } => {
                let known = self.object(object).await?;
                known.is_some_and(|known| {
                    known
                        .variants
                        .iter()
                        .any(|variant| variant.available && (variant.name == *name || variant.label == *label))
                })
            }
        })
    }

    /// Returns the files of a deploy of these changes.
    async fn files(&self, changes: &[SchemaChange]) -> Result<Files, RemoteError> {
        let stages = self.stages().await?;
        let mut files = xml::files(changes, &stages);
        let granted = self.granted().await?;
        files.insert(
            format!("permissionsets/{PERMISSION_SET}.permissionset"),
            xml::permission_set(PERMISSION_SET, changes, &granted.fields, &granted.variants),
        );
        files.insert("package.xml".to_owned(), xml::package(changes, Some(PERMISSION_SET), self.version));
        Ok(files)
    }

    /// Reads the stages as they are: a deploy that left one out would switch it off.
    async fn stages(&self) -> Result<Vec<Stage>, RemoteError> {
        let rows = self
            .query("SELECT ApiName, MasterLabel, DefaultProbability, ForecastCategoryName, IsActive, IsClosed, IsWon, SortOrder FROM OpportunityStage ORDER BY SortOrder")
            .await?;
        let text = |row: &serde_json::Map<String, Json>, name: &str| {
            row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        let flag =
            |row: &serde_json::Map<String, Json>, name: &str| row.get(name).and_then(Json::as_bool).unwrap_or(false);
        Ok(rows
            .iter()
            .filter(|row| flag(row, "IsActive"))
            .map(|row| Stage {
                value: text(row, "ApiName"),
                label: text(row, "MasterLabel"),
                closed: flag(row, "IsClosed"),
                won: flag(row, "IsWon"),
                forecast: text(row, "ForecastCategoryName"),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
                probability: row.get("DefaultProbability").and_then(Json::as_f64).unwrap_or(0.0) as u32,
            })
            .collect())
    }

    /// Reads what the permission set grants already: a deploy of it replaces it.
    async fn granted(&self) -> Result<Granted, RemoteError> {
        let name = quoted(PERMISSION_SET);
        let rows = self.query(&format!("SELECT Field FROM FieldPermissions WHERE Parent.Name = {name}")).await?;
        let fields = rows.iter().filter_map(|row| row.get("Field").and_then(Json::as_str).map(str::to_owned)).collect();
        let rows =
            self.query("SELECT DeveloperName, SobjectType, IsActive FROM RecordType WHERE IsActive = true").await?;
        let text =
            |row: &serde_json::Map<String, Json>, name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
        let variants = rows
            .iter()
            .filter(|row| text(row, "SobjectType").as_deref() == Some(STAGES.0))
            .filter_map(|row| Some(format!("{}.{}", text(row, "SobjectType")?, text(row, "DeveloperName")?)))
            .collect();
        Ok(Granted { fields, variants })
    }

    /// Deploys files, and returns the problems by component.
    async fn deploy_files(&self, files: &Files) -> Result<Vec<(String, String)>, RemoteError> {
        let archive = zipped(files).map_err(|e| RemoteError::Malformed {
            system: super::SYSTEM.to_owned(),
            what: "the deploy".to_owned(),
            detail: e.to_string(),
        })?;
        let options = json!({ "deployOptions": {
            "allowMissingFiles": false, "checkOnly": false, "ignoreWarnings": true, "rollbackOnError": true,
            "singlePackage": true, "testLevel": "NoTestRun",
        }});
        let boundary = "waybill-deploy-boundary";
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"json\"\r\nContent-Type: application/json\r\n\r\n{options}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"deploy.zip\"\r\nContent-Type: application/zip\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&archive);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = Request::new(Method::POST, format!("{}/metadata/deployRequest", self.root))
            .body("multipart/form-data; boundary=waybill-deploy-boundary", body);
        let response = self.session.write(request).await.map_err(RemoteError::from)?;
        let started: DeployAnswer = answer::json("a deploy", &answer::check("a deploy", response)?)?;
        let mut pause = Duration::from_millis(50);
        let path = format!("{}/metadata/deployRequest/{}?includeDetails=true", self.root, started.id);
        let result = loop {
            let status: DeployStatus = self.get("a deploy's status", path.clone()).await?;
            if status.deploy_result.done {
                break status.deploy_result;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(3));
        };
        if result.success {
            return Ok(Vec::new());
        }
        let mut problems: Vec<(String, String)> = result
            .details
            .map(|details| details.component_failures)
            .unwrap_or_default()
            .into_iter()
            .map(|failure| (failure.full_name, failure.problem))
            .collect();
        if problems.is_empty() {
            problems.push((
                "deploy".to_owned(),
                result.error_message.unwrap_or_else(|| "it failed without a reason".into()),
            ));
        }
        Ok(problems)
    }

    /// Gives the permission set to our user.
    async fn assign(&self) -> Result<(), RemoteError> {
        let set = self.query(&format!("SELECT Id FROM PermissionSet WHERE Name = {}", quoted(PERMISSION_SET))).await?;
        let Some(set) = set.first().and_then(|row| row.get("Id")).and_then(Json::as_str) else { return Ok(()) };
        let user: super::UserInfo = self.get("who we are", "/services/oauth2/userinfo".to_owned()).await?;
        let held = self
            .query(&format!(
                "SELECT Id FROM PermissionSetAssignment WHERE PermissionSetId = {} AND AssigneeId = {}",
                quoted(set),
                quoted(&user.user_id)
            ))
            .await?;
        if !held.is_empty() {
            return Ok(());
        }
        let request = Request::new(Method::POST, format!("{}/sobjects/PermissionSetAssignment", self.root))
            .json(&json!({ "AssigneeId": user.user_id, "PermissionSetId": set }));
        let response = self.session.write(request).await.map_err(RemoteError::from)?;
        answer::check("the assignment of a permission set", response).map(|_| ())
    }
}

/// What the permission set must go on granting.
struct Granted {
    fields: BTreeSet<String>,
    variants: BTreeSet<String>,
}

/// Says what a person must do, for what cannot be made here.
fn by_hand(change: &SchemaChange) -> Option<String> {
    match change {
        SchemaChange::AddOptions { object, field, options }
            if (object.as_str(), field.as_str()) != STAGES && !field.as_str().ends_with("__c") =>
        {
            let values: Vec<&str> = options.iter().map(|option| option.value.as_str()).collect();
            Some(format!("in Setup, add these values to {object}.{field}: {}", values.join(", ")))
        }
        _ => None,
    }
}

/// The objects whose custom fields are defined on `Activity` and shared.
const ACTIVITIES: [&str; 2] = ["Task", "Event"];

/// Returns the object that holds the custom fields of an object.
fn holder(object: &ObjectName) -> &str {
    if ACTIVITIES.contains(&object.as_str()) { "Activity" } else { object.as_str() }
}

/// The name of the component that a change makes.
fn component(change: &SchemaChange) -> Option<String> {
    Some(match change {
        SchemaChange::AddObject { name, .. } => name.to_string(),
        SchemaChange::AddField { object, field } => format!("{}.{}", holder(object), field.name),
        SchemaChange::AddOptions { object, field, .. } if (object.as_str(), field.as_str()) == STAGES => {
            "OpportunityStage".to_owned()
        }
        SchemaChange::AddOptions { .. } => return None,
        SchemaChange::AddVariant { object, name, .. } => format!("{object}.{name}"),
    })
}

/// Returns the stages after new ones are added to those that are there.
fn merged(present: &[Stage], new: &[NewChoice]) -> Vec<Stage> {
    let mut all = present.to_vec();
    for choice in new {
        if all.iter().any(|stage| stage.value == choice.value) {
            continue;
        }
        let property = |name: &str| choice.properties.get(name).map_or("", String::as_str);
        let forecast = match (property("closed"), property("won"), property("forecast")) {
            ("true", "true", _) => "Closed".to_owned(),
            ("true", _, "") => "Omitted".to_owned(),
            (_, _, "") => "Pipeline".to_owned(),
            (_, _, forecast) => forecast.to_owned(),
        };
        all.push(Stage {
            value: choice.value.clone(),
            label: choice.label.clone(),
            closed: property("closed") == "true",
            won: property("won") == "true",
            forecast,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
            probability: property("probability").parse::<f64>().unwrap_or(0.0).clamp(0.0, 100.0) as u32,
        });
    }
    all
}

fn zipped(files: &Files) -> Result<Vec<u8>, zip::result::ZipError> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in files {
        archive.start_file(path, zip::write::SimpleFileOptions::default())?;
        archive.write_all(text.as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Returns the changes to one object.
fn of<'c>(changes: &'c [SchemaChange], wanted: &ObjectName) -> impl Iterator<Item = &'c SchemaChange> {
    let wanted = wanted.clone();
    changes.iter().filter(move |change| match change {
        SchemaChange::AddObject { name, .. } => *name == wanted,
        SchemaChange::AddField { object, .. }
        | SchemaChange::AddOptions { object, .. }
        | SchemaChange::AddVariant { object, .. } => *object == wanted,
    })
}

/// Returns the objects that changes touch.
fn objects(changes: &[SchemaChange]) -> BTreeSet<ObjectName> {
    let names = changes.iter().map(|change| match change {
        SchemaChange::AddObject { name, .. } => name,
        SchemaChange::AddField { object, .. }
        | SchemaChange::AddOptions { object, .. }
        | SchemaChange::AddVariant { object, .. } => object,
    });
    names.cloned().collect()
}
