//! Webhooks: kept and listed. Nothing is delivered: this server calls nobody.

use serde_json::{Value as Json, json};

use super::{refusal::Refusal, scalar::write_time, uuid::Uuid, workspace::Workspace};

/// Where somebody wants to be told of what happens.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    id: String,
    target: String,
    operations: Vec<String>,
    description: Json,
    secret: String,
    created: i64,
}

impl Webhook {
    fn show(&self) -> Json {
        let time = write_time(self.created);
        json!({
            "id": self.id, "targetUrl": self.target, "operations": self.operations, "description": self.description,
            "secret": self.secret, "createdAt": time, "updatedAt": time, "deletedAt": null,
        })
    }
}

impl Workspace {
    pub(crate) fn webhooks(&self) -> Json {
        self.webhooks.iter().map(Webhook::show).collect()
    }

    pub(crate) fn webhook(&self, id: &str) -> Option<Json> {
        self.webhooks.iter().find(|webhook| webhook.id == id).map(Webhook::show)
    }

    /// Makes a webhook; a secret is made up when none is given.
    pub(crate) fn create_webhook(&mut self, body: &Json) -> Result<Json, Refusal> {
        let refused = |message: &str| Refusal::framework(400, message, "Bad Request");
        let target = body["targetUrl"].as_str().filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let target = target.ok_or_else(|| refused("targetUrl must be a URL address"))?.to_owned();
        let operations: Option<Vec<String>> = body["operations"]
            .as_array()
            .map(|list| list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect());
        let operations = operations.ok_or_else(|| refused("operations must be an array"))?;
        let secret = match body["secret"].as_str() {
            Some(secret) => secret.to_owned(),
            None => format!("{:032x}{:032x}", Uuid::random(&mut self.dice).0, Uuid::random(&mut self.dice).0),
        };
        let id = Uuid::random(&mut self.dice).to_string();
        let description = body.get("description").cloned().unwrap_or_default();
        let webhook = Webhook { id, target, operations, description, secret, created: self.now };
        let shown = webhook.show();
        self.webhooks.push(webhook);
        Ok(shown)
    }

    /// Changes what is given.
    pub(crate) fn update_webhook(&mut self, id: &str, body: &Json) -> Option<Json> {
        let webhook = self.webhooks.iter_mut().find(|webhook| webhook.id == id)?;
        if let Some(target) = body["targetUrl"].as_str() {
            target.clone_into(&mut webhook.target);
        }
        if let Some(list) = body["operations"].as_array() {
            webhook.operations = list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
        }
        if let Some(description) = body.get("description") {
            webhook.description = description.clone();
        }
        if let Some(secret) = body["secret"].as_str() {
            secret.clone_into(&mut webhook.secret);
        }
        Some(webhook.show())
    }

    /// Forgets a webhook; `false` if there is none.
    pub(crate) fn delete_webhook(&mut self, id: &str) -> bool {
        let before = self.webhooks.len();
        self.webhooks.retain(|webhook| webhook.id != id);
        self.webhooks.len() < before
    }
}
