//! What the server does after it has answered: the timeline, and the workflow that makes companies for new people.

use std::collections::BTreeMap;

use rand::Rng;
use serde_json::{Map, Value as Json, json};

use super::{
    model::col,
    rows::Row,
    scalar,
    uuid::Uuid,
    workspace::{Author, Workspace},
};

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    Created,
    Updated,
    Deleted,
    Restored,
    Destroyed,
}

impl Happening {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::Destroyed => "destroyed",
        }
    }
}

/// Something that happened to a record.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) object: u32,
    pub(crate) id: Uuid,
    pub(crate) what: Happening,
    /// What changed, by field.
    pub(crate) diff: Map<String, Json>,
    /// Who made it so: the source of the author.
    pub(crate) source: &'static str,
}

/// What waits for the worker, by when it is due.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<(i64, u64), Event>,
    next: u64,
}

impl Queue {
    /// Forgets what waits for an object that is gone.
    pub(crate) fn forget(&mut self, object: u32) {
        self.waiting.retain(|_, event| event.object != object);
    }
}

/// The name of the prefilled workflow.
pub(crate) const WORKFLOW: &str = "Create company when adding a new person";

/// Providers whose addresses are personal: they name no company.
const PERSONAL: [&str; 20] = [
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "yahoo.fr",
    "hotmail.com",
    "hotmail.fr",
    "outlook.com",
    "live.com",
    "msn.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "protonmail.com",
    "proton.me",
    "gmx.de",
    "gmx.net",
    "web.de",
    "orange.fr",
    "mail.com",
];

impl Workspace {
    /// Leaves an event to the worker, who comes to it 0.3 to 1 seconds later.
    pub(crate) fn happened(&mut self, event: Event) {
        if event.what == Happening::Destroyed {
            return;
        }
        let due = self.now + self.dice.random_range(300..1_000);
        self.queue.next += 1;
        self.queue.waiting.insert((due, self.queue.next), event);
    }

    /// Does what is due by now.
    pub(crate) fn work(&mut self) {
        while let Some(entry) = self.queue.waiting.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let event = entry.remove();
            self.timeline(&event);
            self.run_workflow(&event);
        }
    }

    /// Returns when the last of what waits is due.
    pub(crate) fn busy_until(&self) -> Option<i64> {
        self.queue.waiting.keys().next_back().map(|(due, _)| *due)
    }

    /// Writes a row that nobody asked for.
    fn write_automatic(&mut self, object: u32, cells: Vec<(u32, Json)>, author: &Author) -> Option<Uuid> {
        let id = Uuid::random(&mut self.dice);
        let moment = self.moment();
        let mut row = Row { automatic: true, ..Row::default() };
        row.set(self.catalog.col(object, "id"), Some(json!(id.to_string())));
        row.set(self.catalog.col(object, "createdAt"), Some(moment.clone()));
        row.set(self.catalog.col(object, "updatedAt"), Some(moment));
        row.set(self.catalog.col(object, "position"), Some(json!(0)));
        for name in ["createdBy", "updatedBy"] {
            for (at, value) in self.signature(object, name, author) {
                row.set(at, value);
            }
        }
        for (at, value) in cells {
            row.set(at, Some(value));
        }
        // What it is about may be gone by now; then there is nothing to tell.
        self.rows.insert(&self.catalog, object, id, row).ok().map(|()| id)
    }

    fn timeline(&mut self, event: &Event) {
        let object = self.standard("timelineActivity");
        let Some(list) = self.catalog.find(event.object, "timelineActivities") else { return };
        let Some(relation) = list.relation.as_ref().filter(|relation| relation.target == object) else { return };
        if event.object == object || self.rows.get(event.object, event.id).is_none() {
            return;
        }
        if event.what == Happening::Updated && event.diff.is_empty() {
            return;
        }
        let properties = if event.diff.is_empty() { json!({}) } else { json!({ "diff": event.diff }) };
        let name = format!("{}.{}", self.catalog.object(event.object).singular, event.what.verb());
        let cells = vec![
            (col(relation.inverse, 0), json!(event.id.to_string())),
            (self.catalog.col(object, "name"), json!(name)),
            (self.catalog.col(object, "happensAt"), self.moment()),
            (self.catalog.col(object, "properties"), scalar::as_stored(&properties)),
        ];
        self.write_automatic(object, cells, &Author::new("SYSTEM", "System"));
    }

    /// Returns the workflow and its version, if it is on: not in the trash, published, and still triggered.
    fn active_workflow(&self) -> Option<(Uuid, Uuid)> {
        let (workflows, versions, triggers) =
            (self.standard("workflow"), self.standard("workflowVersion"), self.standard("workflowAutomatedTrigger"));
        let table = self.rows.table(workflows);
        let (name, statuses) = (self.catalog.col(workflows, "name"), self.catalog.col(workflows, "statuses"));
        let (id, _) = table.rows.iter().find(|(_, row)| {
            let on = row.get(statuses).and_then(Json::as_array).is_some_and(|list| list.contains(&json!("ACTIVE")));
            table.is_live(row) && on && row.text(name) == Some(WORKFLOW)
        })?;
        let below = |object: u32| {
            let at = self.catalog.col(object, "workflow");
            let live = move |child: &Uuid| self.rows.live(object, *child).is_some();
            self.rows.table(object).children(at, *id).into_iter().find(live)
        };
        below(triggers)?;
        let version = below(versions)?;
        let status = self.rows.get(versions, version)?.text(self.catalog.col(versions, "status"))?;
        (status == "ACTIVE").then_some((*id, version))
    }

    /// Runs the prefilled workflow for a person who was added, or whose address changed, by anybody but the mail and calendar
    /// import: a company is found by the domain of the address, or made, and the person is moved there.
    fn run_workflow(&mut self, event: &Event) {
        let people = self.standard("person");
        let triggered =
            event.what == Happening::Created || event.what == Happening::Updated && event.diff.contains_key("emails");
        if !self.switches.workflow
            || event.object != people
            || !triggered
            || ["EMAIL", "CALENDAR"].contains(&event.source)
        {
            return;
        }
        let Some((workflow, version)) = self.active_workflow() else { return };
        let Some(person) = self.rows.live(people, event.id).cloned() else { return };
        let author = Author::new("WORKFLOW", WORKFLOW);
        let runs = self.standard("workflowRun");
        let number = self.rows.table(runs).rows.len() + 1;
        let moment = self.moment();
        let cells = vec![
            (self.catalog.col(runs, "name"), json!(format!("#{number} - {WORKFLOW}"))),
            (self.catalog.col(runs, "status"), json!("COMPLETED")),
            (self.catalog.col(runs, "state"), json!({ "stepInfos": {} })),
            (self.catalog.col(runs, "workflow"), json!(workflow.to_string())),
            (self.catalog.col(runs, "workflowVersion"), json!(version.to_string())),
            (self.catalog.col(runs, "enqueuedAt"), moment.clone()),
            (self.catalog.col(runs, "startedAt"), moment.clone()),
            (self.catalog.col(runs, "endedAt"), moment),
        ];
        self.write_automatic(runs, cells, &author);
        let address = self.catalog.find(people, "emails").map_or(0, |field| col(field.number, 0));
        let domain =
            person.text(address).and_then(|address| address.split_once('@')).map(|(_, domain)| domain.to_owned());
        let Some(domain) = domain.filter(|domain| !PERSONAL.contains(&domain.as_str())) else { return };
        let company_at = self.catalog.col(people, "company");
        if person.get(company_at).is_some() && !self.switches.workflow_overrides {
            return;
        }
        let Some(company) = self.company_of(&domain).or_else(|| self.make_company(&domain, &author)) else { return };
        if person.text(company_at) != Some(&company.to_string()) {
            let body = json!({ "companyId": company.to_string() });
            // The person may have gone meanwhile; then nobody has to be moved.
            let _ = self.update(people, event.id, &body, &author);
        }
    }

    /// Returns the company whose address has this host.
    fn company_of(&self, domain: &str) -> Option<Uuid> {
        let companies = self.standard("company");
        let at = self.catalog.find(companies, "domainName").map_or(0, |field| col(field.number, 1));
        let table = self.rows.table(companies);
        let host = |row: &Row| {
            let text = row.text(at)?.to_owned();
            let text = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
            let host = text.split('/').next()?.to_lowercase();
            Some(host.strip_prefix("www.").map_or(host.clone(), str::to_owned))
        };
        let live = table.rows.iter().find(|(_, row)| table.is_live(row) && host(row).as_deref() == Some(domain));
        live.map(|(id, _)| *id)
    }

    fn make_company(&mut self, domain: &str, author: &Author) -> Option<Uuid> {
        let name = super::model::capital(domain.split('.').next().unwrap_or(domain));
        let body = json!({ "name": name, "domainName": { "primaryLinkUrl": format!("https://{domain}") } });
        let companies = self.standard("company");
        // A company in the trash may hold the domain; then the run fails, and the person stays where they are.
        self.create(companies, &[body], false, author).ok()?.first().copied()
    }
}
