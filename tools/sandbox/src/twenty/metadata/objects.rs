//! Objects: made with what every object has, changed, dropped with their rows.

use serde_json::{Value as Json, json};

use super::{Doing, Fault, bad_class, check};
use crate::twenty::{
    model::{Kind, Object, capital},
    refusal::Refusal,
    standard::one_settings,
    uuid::Uuid,
    workspace::Workspace,
};

/// The lists that every object has, and whose they are.
const SHARED: [(&str, &str); 4] = [
    ("timelineActivities", "timelineActivity"),
    ("attachments", "attachment"),
    ("noteTargets", "noteTarget"),
    ("taskTargets", "taskTarget"),
];

/// The fields that every new object gets, in the order of its metadata.
const FIRST: [(&str, Kind); 9] = [
    ("id", Kind::Uuid),
    ("name", Kind::Text),
    ("createdAt", Kind::DateTime),
    ("updatedAt", Kind::DateTime),
    ("deletedAt", Kind::DateTime),
    ("createdBy", Kind::Actor),
    ("updatedBy", Kind::Actor),
    ("position", Kind::Position),
    ("searchVector", Kind::TsVector),
];

impl Workspace {
    fn check_object_names(&self, singular: &str, plural: &str, own: Option<u32>) -> Result<(), Fault> {
        for name in [singular, plural] {
            if let Some(message) = check::name(name) {
                return Err(Fault::object("INVALID_OBJECT_INPUT", message));
            }
        }
        if singular == plural {
            let message = "The singular and plural names cannot be the same for an object";
            return Err(Fault::object("INVALID_OBJECT_INPUT", message));
        }
        let taken = self.catalog.objects.values().filter(|known| Some(known.number) != own).any(|known| {
            [&known.singular, &known.plural].iter().any(|name| name.as_str() == singular || name.as_str() == plural)
        });
        if taken { Err(Fault::object("OBJECT_ALREADY_EXISTS", "Object already exists")) } else { Ok(()) }
    }

    /// Makes an object, with the fields and relations that all have; its table can be used at once.
    pub(crate) fn create_object(&mut self, body: &Json) -> Result<u32, Refusal> {
        let mut messages = Vec::new();
        for key in ["nameSingular", "namePlural", "labelSingular", "labelPlural"] {
            if body[key].as_str().is_none_or(str::is_empty) {
                messages.push(format!("{key} should not be empty"));
            }
            if !body[key].is_string() {
                messages.push(format!("{key} must be a string"));
            }
        }
        if !messages.is_empty() {
            return Err(bad_class(&messages));
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (singular, plural) = (text("nameSingular"), text("namePlural"));
        let universal = Uuid::random(&mut self.dice).to_string();
        if let Err(fault) = self.check_object_names(&singular, &plural, None) {
            let about = json!({ "universalIdentifier": universal, "namePlural": plural, "nameSingular": singular });
            let own = FIRST.iter().map(|(name, _)| (*name).to_owned());
            let lists = SHARED.iter().map(|(list, _)| (*list).to_owned());
            let targets = SHARED.iter().map(|_| format!("target{}", capital(&singular)));
            let noise: Vec<Json> = own
                .chain(lists)
                .chain(targets)
                .map(|name| json!({ "universalIdentifier": Uuid::named(&name).to_string(), "name": name }))
                .collect();
            return Err(fault.refuse(Doing::Creating, "object", &about, &noise));
        }
        let number = self.catalog.next_number();
        self.catalog.add_object(Object {
            number,
            id: Uuid::random(&mut self.dice).to_string(),
            universal,
            singular,
            plural,
            label_singular: text("labelSingular"),
            label_plural: text("labelPlural"),
            description: body["description"].clone(),
            icon: body["icon"].clone(),
            shortcut: body["shortcut"].clone(),
            color: body["color"].clone(),
            active: true,
            system: false,
            custom: true,
            searchable: true,
            label_synced: body["isLabelSyncedWithName"] == json!(true),
            label: None,
            duplicates: Vec::new(),
            fields: Vec::new(),
            created: self.now,
            updated: self.now,
        });
        let nameless = body["skipNameField"] == json!(true);
        for (name, kind) in FIRST.into_iter().filter(|(name, _)| !(nameless && *name == "name")) {
            self.add_common(number, name, kind);
        }
        let label = self.catalog.find(number, if nameless { "id" } else { "name" }).map(|field| field.number);
        if let Some(object) = self.catalog.objects.get_mut(&number) {
            object.label = label;
        }
        self.rows.add_table(&self.catalog, number);
        for (list, of) in SHARED {
            self.share(number, list, of);
        }
        Ok(number)
    }

    fn add_common(&mut self, object: u32, name: &str, kind: Kind) {
        let mut field = self.custom_field(object, name, &crate::twenty::model::title(name));
        field.kind = kind;
        field.system = name != "name";
        field.nullable = ["deletedAt", "searchVector", "name"].contains(&name);
        field.default = match kind {
            Kind::Uuid => json!("uuid"),
            Kind::DateTime if name != "deletedAt" => json!("now"),
            Kind::Actor => json!({ "name": "'System'", "source": "'MANUAL'", "workspaceMemberId": null }),
            Kind::Position => json!(0),
            _ => Json::Null,
        };
        if kind == Kind::DateTime {
            field.settings = json!({ "displayFormat": "RELATIVE" });
        }
        self.catalog.add_field(field);
    }

    fn about(object: &Object) -> Json {
        json!({
            "universalIdentifier": object.universal, "namePlural": object.plural, "nameSingular": object.singular,
        })
    }

    /// Changes what is given of an object.
    pub(crate) fn update_object(&mut self, number: u32, body: &Json) -> Result<(), Refusal> {
        let object = self.catalog.object(number).clone();
        let name = |key: &str, now: &str| body[key].as_str().unwrap_or(now).to_owned();
        let (singular, plural) = (name("nameSingular", &object.singular), name("namePlural", &object.plural));
        if singular != object.singular || plural != object.plural {
            let checked = if object.custom {
                self.check_object_names(&singular, &plural, Some(number))
            } else {
                Err(Fault::object("INVALID_OBJECT_INPUT", "Standard objects cannot be renamed"))
            };
            checked.map_err(|fault| fault.refuse(Doing::Updating, "object", &Self::about(&object), &[]))?;
        }
        let label = match body["labelIdentifierFieldMetadataId"].as_str() {
            None => object.label,
            Some(id) => {
                let field = self.catalog.field_by_id(id).filter(|field| field.object == number);
                let missing = Fault::object("INVALID_OBJECT_INPUT", "labelIdentifierFieldMetadataId validation failed");
                Some(field.ok_or_else(|| missing.refuse(Doing::Updating, "object", &Self::about(&object), &[]))?.number)
            }
        };
        // The columns that other tables have for it follow its name.
        for (_, field, on) in self.catalog.pointing_at(number) {
            let Some(field) = self.catalog.fields.get_mut(&field) else { continue };
            if field.name == format!("target{}", capital(&object.singular)) {
                field.name = format!("target{}", capital(&singular));
                field.settings = one_settings(&field.join(), on);
            }
        }
        let now = self.now;
        if let Some(object) = self.catalog.objects.get_mut(&number) {
            (object.singular, object.plural, object.label, object.updated) = (singular, plural, label, now);
            object.label_singular = name("labelSingular", &object.label_singular);
            object.label_plural = name("labelPlural", &object.label_plural);
            for (key, slot) in [
                ("description", &mut object.description),
                ("icon", &mut object.icon),
                ("shortcut", &mut object.shortcut),
                ("color", &mut object.color),
            ] {
                if let Some(value) = body.get(key) {
                    *slot = value.clone();
                }
            }
            for (key, slot) in [
                ("isActive", &mut object.active),
                ("isSearchable", &mut object.searchable),
                ("isLabelSyncedWithName", &mut object.label_synced),
            ] {
                *slot = body[key].as_bool().unwrap_or(*slot);
            }
        }
        self.catalog.revision += 1;
        Ok(())
    }

    /// Drops an object with its rows, and whatever points to them.
    pub(crate) fn delete_object(&mut self, number: u32) -> Result<(), Refusal> {
        let object = self.catalog.object(number).clone();
        if !object.custom {
            let fault = Fault::object("INVALID_OBJECT_INPUT", "Standard objects cannot be deleted");
            return Err(fault.refuse(Doing::Deleting, "object", &Self::about(&object), &[]));
        }
        for field in object.fields {
            self.drop_field(field);
        }
        for (_, field, _) in self.catalog.pointing_at(number) {
            self.drop_field(field);
        }
        self.rows.drop_table(number);
        self.catalog.objects.remove(&number);
        self.queue.forget(number);
        self.catalog.revision += 1;
        Ok(())
    }
}
