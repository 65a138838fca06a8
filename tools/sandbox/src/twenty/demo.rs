//! What a fresh workspace holds: five companies, five people, six opportunities, a dashboard, two workflows, and its members.

use serde_json::{Value as Json, json};

use super::{
    model::{capital, col, stable_id},
    rows::Row,
    uuid::Uuid,
    worker::WORKFLOW,
    workspace::{Author, Workspace},
};

const COMPANIES: [(&str, &str, &str); 5] = [
    ("Airbnb", "https://airbnb.com", "San Francisco"),
    ("Anthropic", "https://anthropic.com", "San Francisco"),
    ("Stripe", "https://stripe.com", "Dublin"),
    ("Figma", "https://figma.com", "San Francisco"),
    ("Notion", "https://notion.com", "San Francisco"),
];

const PEOPLE: [(&str, &str, &str, usize); 5] = [
    ("Brian", "Chesky", "chesky@airbnb.com", 0),
    ("Dario", "Amodei", "amodei@anthropic.com", 1),
    ("Patrick", "Collison", "collison@stripe.com", 2),
    ("Dylan", "Field", "field@figma.com", 3),
    ("Ivan", "Zhao", "zhao@notion.com", 4),
];

const OPPORTUNITIES: [(&str, &str, usize, i64); 6] = [
    ("Platform renewal", "CUSTOMER", 0, 1_200_000),
    ("Research licences", "NEW", 1, 250_000),
    ("Payments rollout", "MEETING", 2, 400_000),
    ("Design seats", "SCREENING", 3, 90_000),
    ("Workspace migration", "PROPOSAL", 4, 60_000),
    ("Training days", "NEW", 4, 15_000),
];

/// First name, last name, e-mail.
const MEMBERS: [(&str, &str, &str); 5] = [
    ("Ada", "Lovelace", "ada.lovelace@example.com"),
    ("Grace", "Hopper", "grace.hopper@example.com"),
    ("Alan", "Turing", "alan.turing@example.com"),
    ("Tim", "Apple", "tim@apple.dev"),
    ("Katherine", "Johnson", "katherine.johnson@example.com"),
];

impl Workspace {
    /// Fills a fresh workspace.
    pub(crate) fn prefill(&mut self) {
        let author = Author::new("SYSTEM", "System");
        let own = self.id.clone();
        let id_of = |kind: &str, n: usize| stable_id(&own, &format!("{kind} {n}"));
        let companies: Vec<String> = (0..COMPANIES.len()).map(|n| id_of("company", n)).collect();
        let people: Vec<String> = (0..PEOPLE.len()).map(|n| id_of("person", n)).collect();
        let (workflow, version) = (id_of("workflow", 0), id_of("workflowVersion", 0));
        let (quick, quick_version) = (id_of("workflow", 1), id_of("workflowVersion", 1));
        let trigger = id_of("workflowAutomatedTrigger", 0);
        for (n, (first, last, email)) in MEMBERS.into_iter().enumerate() {
            let (id, user) = (id_of("member", n), id_of("user", n));
            self.put_member(&id, &user, first, last, email, &author);
        }
        let put = |workspace: &mut Self, singular: &str, bodies: Vec<Json>| {
            let object = workspace.standard(singular);
            if let Err(refusal) = workspace.create(object, &bodies, false, &author) {
                tracing::error!(singular, message = refusal.message, "the demo records are refused");
            }
        };
        let rows = COMPANIES.iter().zip(&companies).enumerate().map(|(n, ((name, url, city), id))| {
            json!({ "id": id, "position": n, "name": name, "domainName": { "primaryLinkUrl": url }, "address": { "addressCity": city } })
        });
        put(self, "company", rows.collect());
        let rows = PEOPLE.iter().zip(&people).enumerate().map(|(n, ((first, last, email, company), id))| {
            json!({ "id": id, "position": n, "name": { "firstName": first, "lastName": last }, "emails": { "primaryEmail": email },
                "companyId": companies[*company] })
        });
        put(self, "person", rows.collect());
        let rows = OPPORTUNITIES.iter().enumerate().map(|(n, (name, stage, company, amount))| {
            json!({ "position": n, "name": name, "stage": stage, "companyId": companies[*company], "pointOfContactId": people[*company],
                "amount": { "amountMicros": amount * 1_000_000, "currencyCode": "USD" } })
        });
        put(self, "opportunity", rows.collect());
        put(self, "dashboard", vec![json!({ "title": "My First Dashboard" })]);
        put(
            self,
            "workflow",
            vec![
                json!({ "id": workflow, "name": WORKFLOW, "statuses": ["ACTIVE"], "lastPublishedVersionId": version }),
                json!({ "id": quick, "name": "Quick Lead", "statuses": ["ACTIVE"], "lastPublishedVersionId": quick_version }),
            ],
        );
        let upserted =
            json!({ "type": "DATABASE_EVENT", "settings": { "eventName": "person.upserted", "fields": ["emails"] } });
        put(
            self,
            "workflowVersion",
            vec![
                json!({ "id": version, "name": "v1", "status": "ACTIVE", "workflowId": workflow, "trigger": upserted, "steps": [] }),
                json!({ "id": quick_version, "name": "v1", "status": "ACTIVE", "workflowId": quick,
                    "trigger": { "type": "MANUAL", "settings": {} }, "steps": [] }),
            ],
        );
        let settings = json!({ "eventName": "person.upserted", "fields": ["emails"] });
        put(
            self,
            "workflowAutomatedTrigger",
            vec![json!({ "id": trigger, "type": "DATABASE_EVENT", "settings": settings, "workflowId": workflow })],
        );
        // What was there before anybody came has no history, and no workflow ran for it.
        self.queue = super::worker::Queue::default();
    }

    /// Adds a member, as an invitation that was accepted does: the API does not.
    pub(crate) fn put_member(
        &mut self,
        id: &str,
        user: &str,
        first: &str,
        last: &str,
        email: &str,
        author: &Author,
    ) -> bool {
        let object = self.standard("workspaceMember");
        let Some(number) = Uuid::parse(id) else { return false };
        let moment = self.moment();
        let position = super::scalar::double(self.rows.before_first(object));
        let mut row = Row::default();
        for field in self.catalog.fields_of(object) {
            let at = col(field.number, 0);
            let value = match field.name.as_str() {
                "id" => Some(json!(id)),
                "createdAt" | "updatedAt" => Some(moment.clone()),
                "userEmail" => Some(json!(email.to_lowercase())),
                "userId" => Some(json!(user)),
                "position" => Some(position.clone()),
                "name" => {
                    row.set(at, Some(json!(capital(first))));
                    row.set(col(field.number, 1), Some(json!(capital(last))));
                    continue;
                }
                "createdBy" | "updatedBy" => {
                    for (at, value) in author.cells(field.number) {
                        row.set(at, value);
                    }
                    continue;
                }
                _ => match &field.default {
                    Json::String(text) => Some(json!(super::records::unquoted(text))),
                    Json::Null => None,
                    other => Some(other.clone()),
                },
            };
            row.set(at, value);
        }
        self.rows.insert(&self.catalog, object, number, row).is_ok()
    }
}
