//! Describes. Source: "sObject Describe" and "Describe Global" in the REST API Developer Guide, and recorded answers.

use serde_json::{Value as Json, json};

use super::{
    ids::Id,
    model::{Field, Kind, OnDelete},
    org::{Org, Val},
};

impl Org {
    /// The entry of an object in the global describe.
    pub(crate) fn brief(&self, object: usize, root: &str) -> Json {
        let definition = &self.objects[object];
        let writes = !definition.setup
            || ["PermissionSet", "PermissionSetAssignment", "FieldPermissions"].contains(&definition.name.as_str());
        let path = format!("{root}/sobjects/{}", definition.name);
        json!({
            "activateable": false, "associateEntityType": null, "associateParentEntity": null, "createable": writes,
            "custom": definition.custom, "customSetting": false, "deepCloneable": false, "deletable": writes,
            "deprecatedAndHidden": false, "feedEnabled": false, "hasSubtypes": false, "isInterface": false,
            "isSubtype": false, "keyPrefix": definition.prefix, "label": definition.label,
            "labelPlural": definition.plural, "layoutable": !definition.setup, "mergeable": false, "mruEnabled": true,
            "name": definition.name, "queryable": true, "replicateable": true, "retrieveable": true,
            "searchable": definition.searchable(), "triggerable": !definition.setup, "undeletable": !definition.setup, "updateable": writes,
            "urls": { "sobject": path, "describe": format!("{path}/describe"), "rowTemplate": format!("{path}/{{ID}}") },
        })
    }

    /// The describe of an object, as our user sees it.
    pub(crate) fn describe(&self, object: usize, root: &str) -> Json {
        let mut describe = self.brief(object, root);
        let fields: Vec<Json> = self.objects[object]
            .fields
            .iter()
            .enumerate()
            .filter(|(at, _)| self.is_granted(object, *at))
            .map(|(at, field)| describe_field(field, self.creates(object, at)))
            .collect();
        describe["actionOverrides"] = json!([]);
        describe["childRelationships"] = self.child_relationships(object);
        describe["fields"] = Json::Array(fields);
        describe["recordTypeInfos"] = Json::Array(self.record_type_infos(object, root));
        describe["supportedScopes"] = json!([{ "label": "All", "name": "everything" }]);
        describe["namedLayoutInfos"] = json!([]);
        describe["sobjectDescribeOption"] = json!("FULL");
        describe
    }

    fn child_relationships(&self, object: usize) -> Json {
        let name = &self.objects[object].name;
        let mut all = Vec::new();
        for child in &self.objects {
            for field in child.fields.iter().filter(|field| !field.system) {
                if let Kind::Reference { to, on_delete, .. } = &field.kind
                    && to.iter().any(|to| to == name)
                {
                    all.push(json!({
                        "cascadeDelete": *on_delete == OnDelete::Cascade, "childSObject": child.name,
                        "deprecatedAndHidden": false, "field": field.name, "junctionIdListNames": [],
                        "junctionReferenceTo": [], "relationshipName": child.plural,
                        "restrictedDelete": *on_delete == OnDelete::Restrict,
                    }));
                }
            }
        }
        Json::Array(all)
    }

    fn record_type_infos(&self, object: usize, root: &str) -> Vec<Json> {
        if !self.objects[object].record_types {
            return Vec::new();
        }
        let mut infos = Vec::new();
        let name = &self.objects[object].name;
        if let Some(types) = self.find("RecordType") {
            let get = |number: u64, field: &str| {
                self.objects[types].field(field).and_then(|at| self.field_value(types, number, at))
            };
            for (number, _) in self.tables[types].rows.iter().filter(|(_, row)| !row.deleted) {
                if get(*number, "SobjectType") != Some(Val::Text(name.as_str().into())) {
                    continue;
                }
                let text = |field: &str| match get(*number, field) {
                    Some(Val::Text(text)) => text.to_string(),
                    _ => String::new(),
                };
                let developer = text("DeveloperName");
                infos.push(json!({
                    "active": get(*number, "IsActive") == Some(Val::Bool(true)),
                    "available": self.sees_record_type(&format!("{name}.{developer}")),
                    "defaultRecordTypeMapping": false, "developerName": developer, "master": false,
                    "name": text("Name"), "recordTypeId": Id::new("012", *number).to_string(), "urls": {},
                }));
            }
        }
        infos.push(json!({
            "active": true, "available": true, "defaultRecordTypeMapping": true, "developerName": "Master",
            "master": true, "name": "Master", "recordTypeId": "012000000000000AAA",
            "urls": { "layout": format!("{root}/sobjects/{name}/describe/layouts/012000000000000AAA") },
        }));
        infos
    }

    /// Returns whether our user may use a record type: one that a permission set makes visible.
    fn sees_record_type(&self, name: &str) -> bool {
        self.visible_record_types.contains(&name.to_ascii_lowercase())
    }
}

fn describe_field(field: &Field, createable: bool) -> Json {
    let (kind, length, precision, scale, digits) = match &field.kind {
        Kind::Id => ("id", 18, 0, 0, 0),
        Kind::Text { length } => ("string", *length, 0, 0, 0),
        Kind::Area { length, .. } => ("textarea", *length, 0, 0, 0),
        Kind::Email => ("email", 80, 0, 0, 0),
        Kind::Phone => ("phone", 40, 0, 0, 0),
        Kind::Url => ("url", 255, 0, 0, 0),
        Kind::Bool => ("boolean", 0, 0, 0, 0),
        Kind::Int { digits } => ("int", 0, 0, 0, *digits),
        Kind::Number { precision, scale, name } => (*name, 0, *precision, *scale, 0),
        Kind::Date => ("date", 0, 0, 0, 0),
        Kind::DateTime => ("datetime", 0, 0, 0, 0),
        Kind::Picklist { multi: true, .. } => ("multipicklist", 4_099, 0, 0, 0),
        Kind::Picklist { .. } => ("picklist", 255, 0, 0, 0),
        Kind::Reference { .. } => ("reference", 18, 0, 0, 0),
        Kind::Base64 => ("base64", 0, 0, 0, 0),
    };
    let (to, relationship) = match &field.kind {
        Kind::Reference { to, relationship, .. } => (to.clone(), Json::String(relationship.clone())),
        _ => (Vec::new(), Json::Null),
    };
    let (values, restricted) = match &field.kind {
        Kind::Picklist { values, restricted, .. } => (
            values
                .iter()
                .map(|option| {
                    json!({ "active": option.active, "defaultValue": false, "label": option.label, "validFor": null, "value": option.value })
                })
                .collect(),
            *restricted,
        ),
        _ => (Vec::new(), false),
    };
    let soap = match &field.kind {
        Kind::Id | Kind::Reference { .. } => "tns:ID",
        Kind::Bool => "xsd:boolean",
        Kind::Int { .. } => "xsd:int",
        Kind::Number { .. } => "xsd:double",
        Kind::Date => "xsd:date",
        Kind::DateTime => "xsd:dateTime",
        Kind::Base64 => "xsd:base64Binary",
        _ => "xsd:string",
    };
    let area = matches!(field.kind, Kind::Area { .. });
    let owner = field.defaulted && field.name.ends_with("OwnerId");
    let nillable = !(field.required || field.system || owner || matches!(field.kind, Kind::Bool));
    json!({
        "aggregatable": !area, "aiPredictionField": false, "autoNumber": false, "byteLength": length * 3, "calculated": false,
        "calculatedFormula": null, "cascadeDelete": false, "caseSensitive": field.case_sensitive, "compoundFieldName": null,
        "controllerName": null, "createable": createable, "custom": field.custom, "defaultValue": null,
        "defaultValueFormula": null, "defaultedOnCreate": field.defaulted || matches!(field.kind, Kind::Bool),
        "dependentPicklist": false, "deprecatedAndHidden": false, "digits": digits, "displayLocationInDecimal": false,
        "encrypted": false, "externalId": field.external, "extraTypeInfo": null, "filterable": !area,
        "filteredLookupInfo": null, "formulaTreatNullNumberAsZero": false, "groupable": !area, "highScaleNumber": false,
        "htmlFormatted": matches!(field.kind, Kind::Area { html: true, .. }), "idLookup": field.id_lookup || field.external,
        "inlineHelpText": null, "label": field.label, "length": length, "mask": null, "maskType": null, "name": field.name,
        "nameField": field.name_field, "namePointing": to.len() > 1, "nillable": nillable, "permissionable": field.custom,
        "picklistValues": values, "polymorphicForeignKey": to.len() > 1, "precision": precision, "queryByDistance": false,
        "referenceTargetField": null, "referenceTo": to, "relationshipName": relationship, "relationshipOrder": null,
        "restrictedDelete": false, "restrictedPicklist": restricted, "scale": scale, "searchPrefilterable": false,
        "soapType": soap, "sortable": !area, "type": kind, "unique": field.unique, "updateable": field.updateable,
        "writeRequiresMasterRead": false,
    })
}
