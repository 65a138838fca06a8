//! What answers by itself when records are written: active workflows and webhooks. Both fire for records that the API makes.
//!
//! Source: `workflowVersion` with its `trigger` (Twenty 2.21: `{"type":"DATABASE_EVENT","settings":{"eventName":"person.created"}}`),
//! and `/rest/webhooks`.

use serde_json::{Value as Json, json};
use waybill_ledger::ObjectName;

use super::{Twenty, wire::Counted};
use crate::{
    destination::{Automation, Automations},
    error::RemoteError,
};

const WORKFLOWS: &str =
    "query{workflowVersions(filter:{status:{eq:ACTIVE}},first:500){edges{node{id trigger workflow{name}}}}}";

impl Twenty {
    pub(super) async fn list_automation(&self, objects: &[ObjectName]) -> Result<Automations, RemoteError> {
        let mut found = Automations::default();
        match self.wire.ask("its workflows", "/graphql", WORKFLOWS, json!({}), Counted::Yes).await {
            Ok(data) => {
                for edge in data["workflowVersions"]["edges"].as_array().into_iter().flatten() {
                    let node = &edge["node"];
                    let name = node["workflow"]["name"].as_str().unwrap_or_default();
                    found.active.extend(workflow(name, &node["trigger"], objects));
                }
            }
            Err(RemoteError::Refused { code, .. } | RemoteError::Forbidden { code, .. }) => {
                found.unseen.push(("workflow", code));
            }
            Err(error) => return Err(error),
        }
        match self.wire.get("its webhooks", "/rest/webhooks").await {
            Ok(list) => {
                let list = list.as_array().or_else(|| list["data"].as_array()).cloned().unwrap_or_default();
                found.active.extend(list.iter().flat_map(|hook| webhook(hook, objects)));
            }
            Err(RemoteError::Refused { code, .. } | RemoteError::Forbidden { code, .. }) => {
                found.unseen.push(("webhook", code));
            }
            Err(error) => return Err(error),
        }
        Ok(found)
    }
}

/// Returns what of a workflow fires for these objects, and on what.
fn workflow(name: &str, trigger: &Json, objects: &[ObjectName]) -> Option<Automation> {
    let trigger: Json = match trigger {
        Json::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    if trigger["type"] != "DATABASE_EVENT" {
        return None;
    }
    let event = trigger["settings"]["eventName"].as_str()?;
    let object = event.split('.').next().unwrap_or_default();
    let concerns = object == "*" || objects.iter().any(|known| known.as_str() == object);
    let name = format!("{name} ({event})");
    concerns.then(|| Automation { kind: "workflow", name, object: object.to_owned() })
}

/// Returns which of these objects a webhook is told of.
fn webhook(hook: &Json, objects: &[ObjectName]) -> Vec<Automation> {
    let operations = hook["operations"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let told: Vec<&str> = operations.map(|operation| operation.split('.').next().unwrap_or_default()).collect();
    // The address may carry a secret in its path: its host says enough.
    let url = hook["targetUrl"].as_str().unwrap_or_default();
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let concerns = objects.iter().filter(|object| told.iter().any(|name| *name == "*" || *name == object.as_str()));
    concerns.map(|object| Automation { kind: "webhook", name: host.clone(), object: object.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_for_the_objects_of_a_plan_is_told_with_its_event() {
        let objects = [ObjectName::from("person"), ObjectName::from("company")];
        let event = |name: &str| json!({ "type": "DATABASE_EVENT", "settings": { "eventName": name } });
        let found = workflow("Create company", &event("person.upserted"), &objects);
        assert_eq!(found.map(|found| found.name), Some("Create company (person.upserted)".to_owned()));
        assert_eq!(workflow("x", &event("note.created"), &objects), None);
        assert_eq!(workflow("x", &json!({ "type": "MANUAL", "settings": {} }), &objects), None);
        let hook = json!({ "targetUrl": "https://hooks.example/secret", "operations": ["person.created", "x.*"] });
        let found = webhook(&hook, &objects);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].object.as_str()), ("hooks.example", "person"));
        assert_eq!(webhook(&json!({ "targetUrl": "x", "operations": ["*.*"] }), &objects).len(), 2);
    }
}
