//! What answers by itself when records are written: active workflows and webhooks, and which of them our writes set off.
//!
//! Both fire for records that the API makes as for those of people: neither has a word for who wrote. A workflow says in its
//! trigger on which event of which object it runs, and may name the fields whose change it wants; what its steps ask further is
//! not evaluated. A webhook names objects and events, and gets one request per record, also of a batch.
//!
//! Source: `workflowVersion` with its `trigger` (Twenty 2.21: `{"type":"DATABASE_EVENT","settings":{"eventName":"person.created"}}`,
//! and `"fields"` beside it), and `/rest/webhooks` (operations `{singular|*}.{created|updated|deleted|restored|destroyed|*}`).

use serde_json::{Value as Json, json};

use super::{Twenty, wire::Counted};
use crate::{
    destination::{Automation, Automations, Touch},
    error::RemoteError,
};

const WORKFLOWS: &str =
    "query{workflowVersions(filter:{status:{eq:ACTIVE}},first:500){edges{node{id trigger workflow{name}}}}}";

impl Twenty {
    pub(super) async fn list_automation(&self, touches: &[Touch]) -> Result<Automations, RemoteError> {
        let mut found = Automations::default();
        match self.wire.ask("its workflows", "/graphql", WORKFLOWS, json!({}), Counted::Yes).await {
            Ok(data) => {
                for edge in data["workflowVersions"]["edges"].as_array().into_iter().flatten() {
                    let node = &edge["node"];
                    let name = node["workflow"]["name"].as_str().unwrap_or_default();
                    found.active.extend(workflow(name, &node["trigger"], touches));
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
                found.active.extend(list.iter().flat_map(|hook| webhook(hook, touches)));
            }
            Err(RemoteError::Refused { code, .. } | RemoteError::Forbidden { code, .. }) => {
                found.unseen.push(("webhook", code));
            }
            Err(error) => return Err(error),
        }
        Ok(found)
    }
}

/// Returns what of a touch sets off an event, in words. `fields` are those whose change is wanted; any, if there are none.
fn fires(event: &str, fields: &[&str], touch: &Touch) -> Option<String> {
    let wanted = |name: &str| {
        let name = name.split('.').next().unwrap_or_default();
        fields.is_empty() || fields.iter().any(|field| *field == name || name.strip_suffix("Id") == Some(*field))
    };
    let changed = touch.updates.iter().any(|name| wanted(name.as_str()));
    let all = event == "*";
    let is = |verbs: &[&str]| all || verbs.contains(&event);
    let moments = [
        (is(&["created", "upserted"]) && touch.creates, "when rows are made"),
        (is(&["updated", "upserted"]) && changed, "when rows are changed"),
        (is(&["restored"]) && touch.restores, "when rows come back from the trash"),
        (is(&["destroyed"]) && touch.deletes, "when rows are deleted"),
        (is(&["destroyed"]) && touch.creates, "when a rollback deletes what was made"),
    ];
    let told: Vec<&str> = moments.into_iter().filter(|(fires, _)| *fires).map(|(_, when)| when).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// Returns what of a workflow our writes set off, and by what.
fn workflow(name: &str, trigger: &Json, touches: &[Touch]) -> Vec<Automation> {
    let trigger: Json = match trigger {
        Json::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    };
    if trigger["type"] != "DATABASE_EVENT" {
        return Vec::new();
    }
    let settings = &trigger["settings"];
    let Some(event) = settings["eventName"].as_str() else { return Vec::new() };
    let fields: Vec<&str> = settings["fields"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let (object, verb) = event.split_once('.').unwrap_or((event, "*"));
    let concerned = touches.iter().filter(|touch| object == "*" || object == touch.object.as_str());
    let told = concerned.filter_map(|touch| {
        let (name, object) = (format!("{name} ({event})"), touch.object.to_string());
        Some(Automation { kind: "workflow", name, object, on: Some(fires(verb, &fields, touch)?) })
    });
    told.collect()
}

/// Returns which of our writes a webhook is told of.
fn webhook(hook: &Json, touches: &[Touch]) -> Vec<Automation> {
    let operations: Vec<(&str, &str)> = hook["operations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(|operation| operation.split_once('.').unwrap_or((operation, "*")))
        .collect();
    // The address may carry a secret in its path: its host says enough.
    let url = hook["targetUrl"].as_str().unwrap_or_default();
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let told = touches.iter().filter_map(|touch| {
        let mut moments: Vec<String> = Vec::new();
        for (_, verb) in operations.iter().filter(|(object, _)| *object == "*" || *object == touch.object.as_str()) {
            moments.extend(fires(verb, &[], touch).filter(|told| !moments.contains(told)));
        }
        let on = (!moments.is_empty()).then(|| moments.join(", "))?;
        Some(Automation { kind: "webhook", name: host.clone(), object: touch.object.to_string(), on: Some(on) })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(object: &str, creates: bool, updates: &[&str]) -> Touch {
        let updates = updates.iter().map(|name| (*name).into()).collect();
        Touch { object: object.into(), creates, updates, restores: false, deletes: false }
    }

    #[test]
    fn a_workflow_is_told_by_what_of_our_writes_sets_it_off() {
        let touches = [touch("person", true, &[]), touch("company", false, &["name", "accountOwnerId"])];
        let event = |name: &str, fields: Json| json!({ "type": "DATABASE_EVENT", "settings": { "eventName": name, "fields": fields } });
        let on = |name: &str, fields: Json| {
            let found = workflow("x", &event(name, fields), &touches);
            found.into_iter().next().map(|found| (found.name, found.on.unwrap_or_default()))
        };
        let told = |name: &str, when: &str| Some((format!("x ({name})"), when.to_owned()));
        assert_eq!(on("person.upserted", json!(["emails"])), told("person.upserted", "when rows are made"));
        assert_eq!(on("person.updated", Json::Null), None, "no person is changed");
        assert_eq!(on("person.deleted", Json::Null), None, "nothing goes to the trash");
        assert_eq!(on("company.created", Json::Null), None, "no company is made");
        assert_eq!(on("company.updated", json!(["name"])), told("company.updated", "when rows are changed"));
        assert_eq!(on("company.updated", json!(["accountOwner"])), told("company.updated", "when rows are changed"));
        assert_eq!(on("company.updated", json!(["domainName"])), None, "the plan does not change that");
        assert_eq!(on("note.created", Json::Null), None);
        assert!(workflow("x", &json!({ "type": "MANUAL", "settings": {} }), &touches).is_empty());
    }

    #[test]
    fn a_webhook_is_told_by_its_host_and_by_the_events_that_happen() {
        let touches = [touch("person", true, &["jobTitle"]), touch("company", false, &["name"])];
        let hook = |operations: &[&str]| {
            let hook = json!({ "targetUrl": "https://hooks.example/secret", "operations": operations });
            let found = webhook(&hook, &touches).into_iter();
            found
                .map(|found| format!("{} {} {}", found.name, found.object, found.on.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        assert_eq!(hook(&["person.created", "x.*"]), ["hooks.example person when rows are made"]);
        assert_eq!(hook(&["company.created", "person.deleted"]), [""; 0]);
        assert_eq!(hook(&["*.updated"]).len(), 2);
        let all = "when rows are made, when rows are changed, when a rollback deletes what was made";
        assert_eq!(hook(&["*.*"])[0], format!("hooks.example person {all}"));
    }
}
