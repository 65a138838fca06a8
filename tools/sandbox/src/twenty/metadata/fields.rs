//! Fields: made, changed, dropped with their columns.

use serde_json::{Value as Json, json};

use super::{Doing, Fault, bad_class, check, failed_migration, options::check_default};
use crate::twenty::{
    model::{Choice, Field, Kind, Side, col},
    records::unquoted,
    refusal::Refusal,
    standard::one_settings,
    uuid::Uuid,
    workspace::Workspace,
};

/// The words that the class of the body takes for a type.
const TYPES: [&str; 25] = [
    "ACTOR",
    "ADDRESS",
    "ARRAY",
    "BOOLEAN",
    "CURRENCY",
    "DATE",
    "DATE_TIME",
    "EMAILS",
    "FILES",
    "FULL_NAME",
    "LINKS",
    "MORPH_RELATION",
    "MULTI_SELECT",
    "NUMBER",
    "NUMERIC",
    "PHONES",
    "POSITION",
    "RATING",
    "RAW_JSON",
    "RELATION",
    "RICH_TEXT",
    "SELECT",
    "TEXT",
    "TS_VECTOR",
    "UUID",
];

fn fault(message: impl Into<String>, value: &Json) -> Fault {
    Fault::field("INVALID_FIELD_INPUT", message, value.clone())
}

/// What keeps a field from being made or changed: a fault that is told, or a database that just fails.
enum Stop {
    Fault(Fault),
    Failed(&'static str),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Stop {
    fn refuse(self, doing: Doing, about: &Json) -> Refusal {
        match self {
            Self::Fault(fault) => {
                let noun = if matches!(doing, Doing::Creating) { "fields" } else { "field" };
                fault.refuse(doing, noun, about, &[])
            }
            Self::Failed(what) => failed_migration(what, about["universalIdentifier"].as_str().unwrap_or_default()),
        }
    }
}

impl Workspace {
    /// Makes a field.
    pub(crate) fn create_field(&mut self, body: &Json) -> Result<u32, Refusal> {
        let mut messages = Vec::new();
        let kind_name = body["type"].as_str().unwrap_or_default();
        if !TYPES.contains(&kind_name) {
            messages.push(format!("type must be one of the following values: {}", TYPES.join(", ")));
        }
        for key in ["name", "label"] {
            if body[key].as_str().is_none_or(str::is_empty) {
                messages.push(format!("{key} should not be empty"));
            }
            if !body[key].is_string() {
                messages.push(format!("{key} must be a string"));
            }
        }
        if body["objectMetadataId"].as_str().and_then(Uuid::parse).is_none() {
            messages.push("objectMetadataId must be a UUID".into());
        }
        if !messages.is_empty() {
            return Err(bad_class(&messages));
        }
        let universal = Uuid::random(&mut self.dice).to_string();
        let about = json!({
            "universalIdentifier": universal, "name": body["name"], "objectMetadataUniversalIdentifier": body["objectMetadataId"],
        });
        self.make_field(body, kind_name).map_err(|stop| stop.refuse(Doing::Creating, &about))
    }

    fn make_field(&mut self, body: &Json, kind_name: &str) -> Result<u32, Stop> {
        let creatable = Kind::parse(kind_name).filter(|kind| !matches!(kind, Kind::Position | Kind::TsVector));
        let kind = creatable.ok_or_else(|| {
            let hint = if kind_name == "NUMERIC" { " Use NUMBER instead." } else { "" };
            fault(format!("Field type {kind_name} is not supported for field creation.{hint}"), &body["type"])
        })?;
        let object = body["objectMetadataId"].as_str().and_then(|id| self.catalog.object_by_id(id)).cloned();
        let object =
            object.ok_or_else(|| fault("Provided object metadata id does not exist", &body["objectMetadataId"]))?;
        let name = body["name"].as_str().unwrap_or_default();
        self.check_field_name(&object, name)?;
        let mut field = self.custom_field(object.number, name, body["label"].as_str().unwrap_or_default());
        field.kind = kind;
        field.description = body["description"].clone();
        field.icon = body["icon"].clone();
        field.nullable = body["isNullable"].as_bool().unwrap_or(true);
        field.label_synced = body["isLabelSyncedWithName"] == json!(true);
        field.settings = body["settings"].clone();
        field.default = body["defaultValue"].clone();
        field.unique = body["isUnique"] == json!(true);
        match kind {
            Kind::Select | Kind::MultiSelect => field.options = self.read_options(&body["options"])?,
            Kind::Rating => {
                field.options = (1..=5)
                    .map(|n| Choice {
                        id: Uuid::random(&mut self.dice).to_string(),
                        value: format!("RATING_{n}"),
                        label: n.to_string(),
                        color: Json::Null,
                        position: n - 1,
                    })
                    .collect();
            }
            Kind::Files if body["settings"]["maxNumberOfValues"].as_u64().is_none_or(|most| most == 0) => {
                let message = "maxNumberOfValues is required in the settings of a FILES field";
                return Err(fault(message, &body["settings"]).into());
            }
            _ => {}
        }
        if kind.is_relation() {
            if field.unique {
                return Err(not_unique(&field).into());
            }
            let number = match kind {
                Kind::Relation => self.make_relation(field, &body["relationCreationPayload"])?,
                _ => self.make_morph(&field, &body["morphRelationsCreationPayload"])?,
            };
            return Ok(number);
        }
        check_default(kind, &field.options, &field.default)
            .map_err(|stop| stop.map_or(Stop::Failed("fieldMetadata"), Stop::Fault))?;
        check_unique(&field)?;
        if kind == Kind::Boolean && field.default.is_null() && body.get("defaultValue").is_none() {
            field.default = json!(false);
        }
        let number = field.number;
        let default = column_default(&field);
        self.catalog.add_field(field);
        // A column with a default is filled with it where there are rows.
        if default.is_some() {
            self.rows.rewrite(&self.catalog, object.number, col(number, 0), |_| default.clone());
        }
        Ok(number)
    }

    fn about_field(field: &Field) -> Json {
        json!({ "universalIdentifier": field.universal, "name": field.name })
    }

    /// Changes what is given of a field.
    pub(crate) fn update_field(&mut self, number: u32, body: &Json) -> Result<(), Refusal> {
        let about = Self::about_field(self.catalog.field(number));
        self.change_field(number, body).map_err(|stop| stop.refuse(Doing::Updating, &about))
    }

    fn change_field(&mut self, number: u32, body: &Json) -> Result<(), Stop> {
        let mut field = self.catalog.field(number).clone();
        if let Some(name) = body["name"].as_str().filter(|name| *name != field.name) {
            if !field.custom {
                return Err(fault("Standard fields cannot be renamed", &body["name"]).into());
            }
            self.check_field_name(&self.catalog.object(field.object).clone(), name)?;
            name.clone_into(&mut field.name);
            if let Some(Side::One(on)) = field.relation.as_ref().map(|relation| relation.side) {
                field.settings = one_settings(&field.join(), on);
            }
        }
        if let Some(label) = body["label"].as_str() {
            label.clone_into(&mut field.label);
        }
        for (key, slot) in [("description", &mut field.description), ("icon", &mut field.icon)] {
            if let Some(value) = body.get(key) {
                *slot = value.clone();
            }
        }
        if let Some(settings) = body.get("settings").filter(|_| !field.kind.is_relation()) {
            field.settings = settings.clone();
        }
        for (key, slot) in [
            ("isActive", &mut field.active),
            ("isNullable", &mut field.nullable),
            ("isLabelSyncedWithName", &mut field.label_synced),
        ] {
            *slot = body[key].as_bool().unwrap_or(*slot);
        }
        let choices = match body.get("options").filter(|options| !options.is_null()) {
            Some(options) if matches!(field.kind, Kind::Select | Kind::MultiSelect) => {
                Some(self.read_options(options)?)
            }
            _ => None,
        };
        if let Some(default) = body.get("defaultValue") {
            field.default = default.clone();
        }
        if choices.is_some() || body.get("defaultValue").is_some() {
            let choices = choices.as_ref().unwrap_or(&field.options);
            check_default(field.kind, choices, &field.default)
                .map_err(|stop| stop.map_or(Stop::Failed("fieldMetadata"), Stop::Fault))?;
        }
        let unique = body["isUnique"].as_bool().unwrap_or(field.unique);
        if unique != field.unique {
            field.unique = unique;
            check_unique(&field)?;
            if !self.rows.index(&self.catalog, number, unique) {
                return Err(Stop::Failed("index"));
            }
        }
        field.updated = self.now;
        self.catalog.fields.insert(number, field);
        self.catalog.revision += 1;
        if let Some(choices) = choices {
            self.replace_options(number, choices);
        }
        Ok(())
    }

    /// Drops a custom field, and the other side of a relation with it. A standard field stays.
    pub(crate) fn delete_field(&mut self, number: u32) -> Result<(), Refusal> {
        let field = self.catalog.field(number).clone();
        let object = self.catalog.object(field.object);
        if !field.custom || field.system || object.custom && field.name == "name" && object.label == Some(number) {
            let message = format!("Cannot delete standard field \"{}\"", field.name);
            return Err(Refusal::coded("FIELD_MUTATION_NOT_ALLOWED", message).with_status(403));
        }
        self.drop_field(number);
        Ok(())
    }

    /// Drops a field and, of a relation, its other side.
    pub(crate) fn drop_field(&mut self, number: u32) {
        let Some(field) = self.catalog.fields.get(&number).cloned() else { return };
        let inverse = field.relation.as_ref().map(|relation| relation.inverse);
        for number in std::iter::once(number).chain(inverse) {
            if let Some(field) = self.catalog.fields.get(&number).cloned() {
                self.rows.drop_field(field.object, number);
                self.catalog.remove_field(number);
            }
        }
    }
}

/// Returns what a new column is filled with.
fn column_default(field: &Field) -> Option<Json> {
    match (&field.default, field.kind) {
        (Json::Null | Json::Object(_), _) => None,
        (Json::String(text), _) if text == "now" || text == "uuid" => None,
        (Json::String(text), _) => Some(json!(unquoted(text))),
        (Json::Array(list), Kind::MultiSelect) => {
            Some(json!(list.iter().filter_map(Json::as_str).map(unquoted).collect::<Vec<_>>()))
        }
        (other, _) => Some(other.clone()),
    }
}

fn not_unique(field: &Field) -> Fault {
    Fault {
        entity: "index",
        code: "INDEX_FIELD_INVALID_TYPE_FOR_UNIQUE",
        message: format!("Unique index cannot be created for field {} of type {}", field.name, field.kind.name()),
        value: Box::default(),
    }
}

fn check_unique(field: &Field) -> Result<(), Fault> {
    if !field.unique {
        return Ok(());
    }
    if !check::can_be_unique(field.kind) {
        return Err(not_unique(field));
    }
    if !field.default.is_null() {
        return Err(Fault {
            entity: "index",
            code: "INDEX_FIELD_INVALID_DEFAULT_VALUE",
            message: format!("Unique index cannot be created for field {} with default value", field.name),
            value: Box::new(field.default.clone()),
        });
    }
    Ok(())
}
