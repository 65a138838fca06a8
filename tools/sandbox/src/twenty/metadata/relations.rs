//! Relations between objects: both sides are made, and dropped, together.

use serde_json::{Value as Json, json};

use super::{Fault, check};
use crate::twenty::{
    model::{Field, Kind, OnDestroy, Relation, Side, capital, title},
    standard::{blank, one_settings},
    uuid::Uuid,
    workspace::Workspace,
};

/// One side of a relation that is to be made.
struct Asked {
    one: bool,
    target: u32,
    label: String,
    icon: Json,
}

impl Workspace {
    /// Makes a blank custom field.
    pub(crate) fn custom_field(&mut self, object: u32, name: &str, label: &str) -> Field {
        let singular = self.catalog.object(object).singular.clone();
        let mut field = blank(&self.id.clone(), &singular, object, name, self.now);
        field.id = Uuid::random(&mut self.dice).to_string();
        field.universal = Uuid::random(&mut self.dice).to_string();
        field.number = self.catalog.next_number();
        label.clone_into(&mut field.label);
        (field.custom, field.description, field.icon) = (true, Json::Null, Json::Null);
        field
    }

    /// Adds both fields of a relation: the one that points, and the list on the other side.
    pub(crate) fn add_relation(&mut self, mut one: Field, mut list: Field, on: OnDestroy) {
        let (one_number, list_number) = (one.number, list.number);
        one.relation = Some(Relation { side: Side::One(on), target: list.object, inverse: list_number });
        one.settings = one_settings(&one.join(), on);
        if one.kind != Kind::MorphRelation {
            one.kind = Kind::Relation;
        }
        list.kind = Kind::Relation;
        list.relation = Some(Relation { side: Side::Many, target: one.object, inverse: one_number });
        list.settings = json!({ "relationType": "ONE_TO_MANY" });
        self.catalog.add_field(one);
        self.catalog.add_field(list);
    }

    fn asked(&self, payload: &Json) -> Result<Asked, Fault> {
        let fault = |message: &str| Fault::field("INVALID_FIELD_INPUT", message, payload.clone());
        if !payload.is_object() {
            return Err(fault("Relation creation payload is required"));
        }
        let one = match payload["type"].as_str() {
            Some("MANY_TO_ONE") => true,
            Some("ONE_TO_MANY") => false,
            _ => return Err(fault("Relation type is invalid")),
        };
        let target = payload["targetObjectMetadataId"].as_str().and_then(|id| self.catalog.object_by_id(id));
        let target = target.ok_or_else(|| fault("Object metadata relation target not found"))?.number;
        let label = payload["targetFieldLabel"].as_str().unwrap_or_default().to_owned();
        if check::camel(&label).is_empty() {
            return Err(fault("Target field label is required"));
        }
        Ok(Asked { one, target, label, icon: payload["targetFieldIcon"].clone() })
    }

    /// Makes a relation field and its other side.
    pub(crate) fn make_relation(&mut self, mut field: Field, payload: &Json) -> Result<u32, Fault> {
        let asked = self.asked(payload)?;
        let other = check::camel(&asked.label);
        self.check_field_name(&self.catalog.object(asked.target).clone(), &other)?;
        let mut inverse = self.custom_field(asked.target, &other, &asked.label);
        inverse.icon = asked.icon;
        let number = field.number;
        field.kind = Kind::Relation;
        let (one, list) = if asked.one { (field, inverse) } else { (inverse, field) };
        self.add_relation(one, list, OnDestroy::Clear);
        Ok(number)
    }

    /// Makes one field for each target of a morph relation, and their other sides; returns the first.
    pub(crate) fn make_morph(&mut self, field: &Field, payloads: &Json) -> Result<u32, Fault> {
        let payloads = payloads.as_array().filter(|list| !list.is_empty()).ok_or_else(|| {
            Fault::field("INVALID_FIELD_INPUT", "Morph relation creation payloads are required", payloads.clone())
        })?;
        let mut sides = Vec::new();
        for payload in payloads {
            let asked = self.asked(payload)?;
            let target = self.catalog.object(asked.target).clone();
            let name = format!("{}{}", field.name, capital(&target.singular));
            self.check_field_name(&self.catalog.object(field.object).clone(), &name)?;
            self.check_field_name(&target, &check::camel(&asked.label))?;
            sides.push((asked, name));
        }
        let morph = Uuid::random(&mut self.dice).to_string();
        let mut first = None;
        for (asked, name) in sides {
            let mut one = self.custom_field(field.object, &name, &field.label);
            one.kind = Kind::MorphRelation;
            one.morph = Some(morph.clone());
            let mut list = self.custom_field(asked.target, &check::camel(&asked.label), &asked.label);
            list.icon = asked.icon;
            first.get_or_insert(one.number);
            self.add_relation(one, list, OnDestroy::Clear);
        }
        Ok(first.unwrap_or(field.number))
    }

    /// Gives a new object its place in a list that all objects share: the timeline, attachments, notes, tasks.
    pub(crate) fn share(&mut self, object: u32, list: &str, of: &str) {
        let singular = self.catalog.object(object).singular.clone();
        let holder = self.standard(of);
        let morph = self
            .catalog
            .fields_of(holder)
            .find_map(|field| field.morph.clone())
            .unwrap_or_else(|| Uuid::named(of).to_string());
        let name = format!("target{}", capital(&singular));
        let mut one = self.custom_field(holder, &name, "Target");
        one.kind = Kind::MorphRelation;
        one.morph = Some(morph);
        let many = self.custom_field(object, list, &title(list));
        self.add_relation(one, many, OnDestroy::Cascade);
    }
}
