//! What will run in the org when rows are written.
//!
//! Source: `ApexTrigger` and `ValidationRule` in the Tooling API reference; `FlowDefinitionView` and `DuplicateRule` in the
//! Object Reference. What our user may not look into is said, not guessed.

use serde_json::Value as Json;
use waybill_ledger::ObjectName;

use super::{Salesforce, soql};
use crate::{
    destination::{Automation, Automations},
    error::RemoteError,
};

impl Salesforce {
    pub(super) async fn list_automation(&self, objects: &[ObjectName]) -> Result<Automations, RemoteError> {
        let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
        let list = soql::list(&names);
        let mut found = Automations::default();
        let questions = [
            (
                "trigger",
                true,
                format!(
                    "SELECT Name, TableEnumOrId FROM ApexTrigger WHERE Status = 'Active' AND TableEnumOrId IN {list}"
                ),
                ["Name", "TableEnumOrId"],
            ),
            (
                "validation rule",
                true,
                format!(
                    "SELECT ValidationName, EntityDefinitionId FROM ValidationRule WHERE Active = true AND EntityDefinitionId IN {list}"
                ),
                ["ValidationName", "EntityDefinitionId"],
            ),
            (
                "flow",
                false,
                format!(
                    "SELECT Label, TriggerObjectOrEventLabel FROM FlowDefinitionView WHERE IsActive = true AND TriggerObjectOrEventLabel IN {list}"
                ),
                ["Label", "TriggerObjectOrEventLabel"],
            ),
            (
                "duplicate rule",
                false,
                format!(
                    "SELECT MasterLabel, SobjectType FROM DuplicateRule WHERE IsActive = true AND SobjectType IN {list}"
                ),
                ["MasterLabel", "SobjectType"],
            ),
        ];
        for (kind, tooling, query, [name, object]) in questions {
            let rows = if tooling { self.tooling_query(&query).await } else { self.query(&query).await };
            match rows {
                Ok(rows) => {
                    let text = |row: &serde_json::Map<String, Json>, name: &str| {
                        row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
                    };
                    found.active.extend(rows.iter().map(|row| Automation {
                        kind,
                        name: text(row, name),
                        object: text(row, object),
                        on: None,
                    }));
                }
                // An edition without the feature, or a user who may not look: both are answers.
                Err(RemoteError::Refused { code, .. } | RemoteError::Forbidden { code, .. }) => {
                    found.unseen.push((kind, code));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
