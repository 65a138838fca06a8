//! The schemas: that of the records, written anew whenever the metadata changes, and that of the metadata, which never does.

use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

use apollo_compiler::{
    ExecutableDocument, Schema, introspection, request::coerce_variable_values, response::JsonMap,
    schema::ExtendedType, validation::Valid,
};
use serde_json::{Map, Value as Json, json};

use super::suggest;
use crate::twenty::{
    condition::operators,
    group::measures,
    model::{Catalog, Field, Kind, Object, Part, capital},
    show::wrapper,
    workspace::Workspace,
};

const METADATA: &str = include_str!("metadata.graphql");

/// A schema, validated.
#[derive(Debug)]
pub(crate) struct Known {
    schema: Valid<Schema>,
}

/// The schemas that were made so far.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    core: Option<(u64, Arc<Known>)>,
}

impl Schemas {
    /// Returns the schema of the records as the metadata is now.
    pub(crate) fn core(&mut self, workspace: &Workspace) -> Result<Arc<Known>, String> {
        let revision = workspace.catalog.revision;
        if let Some((_, known)) = self.core.as_ref().filter(|(made, _)| *made == revision) {
            return Ok(known.clone());
        }
        let known = Arc::new(Known::parse(&records(&workspace.catalog))?);
        self.core = Some((revision, known.clone()));
        Ok(known)
    }

    /// Returns the schema of the metadata: the same for every workspace of this process.
    pub(crate) fn metadata() -> Result<Arc<Known>, String> {
        static KNOWN: OnceLock<Result<Arc<Known>, String>> = OnceLock::new();
        KNOWN.get_or_init(|| Known::parse(METADATA).map(Arc::new)).clone()
    }
}

impl Known {
    fn parse(text: &str) -> Result<Self, String> {
        let schema = Schema::parse_and_validate(text, "schema.graphql").map_err(|wrong| wrong.errors.to_string())?;
        Ok(Self { schema })
    }

    fn document(&self, query: &str) -> Result<Valid<ExecutableDocument>, Vec<Json>> {
        ExecutableDocument::parse_and_validate(&self.schema, query, "query.graphql").map_err(|wrong| {
            let list = wrong.errors.iter().map(|error| {
                let message = error.error.unstable_compat_message().unwrap_or_else(|| error.error.to_string());
                let message = format!("{message}{}", self.hint(&message));
                let place = error.line_column_range().map(|range| range.start);
                let (line, column) = place.map_or((1, 1), |place| (place.line, place.column));
                json!({
                    "message": message, "locations": [{ "line": line, "column": column }],
                    "extensions": { "code": "GRAPHQL_VALIDATION_FAILED" },
                })
            });
            list.collect()
        })
    }

    /// Says which field may have been meant by one that does not exist.
    fn hint(&self, message: &str) -> String {
        let words: Vec<&str> = message.split('"').collect();
        let ["Cannot query field ", field, " on type ", name, "."] = words.as_slice() else { return String::new() };
        match self.schema.types.get(*name) {
            Some(ExtendedType::Object(object)) => {
                let names = object.fields.keys().map(apollo_compiler::Name::as_str);
                suggest::hint(&suggest::near(field, names))
            }
            _ => String::new(),
        }
    }

    /// Refuses a query that does not fit; the errors are GraphQL's.
    pub(crate) fn validate(&self, query: &str) -> Result<(), Vec<Json>> {
        self.document(query).map(|_| ())
    }

    /// Answers questions about the schema itself.
    pub(crate) fn introspect(
        &self,
        query: &str,
        operation: Option<&str>,
        variables: &Map<String, Json>,
    ) -> Result<Json, Vec<Json>> {
        let wrong = |message: String| vec![json!({ "message": message })];
        let document = self.document(query)?;
        let operation = document.operations.get(operation).map_err(|_| wrong("Unknown operation.".into()))?;
        let variables: JsonMap = serde_json::from_value(json!(variables)).map_err(|error| wrong(error.to_string()))?;
        let variables = coerce_variable_values(&self.schema, operation, &variables)
            .map_err(|_| wrong("A variable has a wrong value.".into()))?;
        let implementers = self.schema.implementers_map();
        let answer = introspection::partial_execute(&self.schema, &implementers, &document, operation, &variables)
            .map_err(|_| wrong("The schema cannot be looked at this way.".into()))?;
        serde_json::to_value(answer.data).map_err(|error| wrong(error.to_string()))
    }
}

const SCALARS: &str = "scalar UUID\nscalar DateTime\nscalar Date\nscalar Position\nscalar BigFloat\nscalar RawJSONScalar\nscalar TSVector\nscalar Cursor\n\
enum FilterIs { NULL NOT_NULL }\n\
enum OrderByDirection { AscNullsFirst AscNullsLast DescNullsFirst DescNullsLast }\n\
enum ObjectRecordGroupByDateGranularity { DAY WEEK MONTH QUARTER YEAR DAY_OF_THE_WEEK MONTH_OF_THE_YEAR QUARTER_OF_THE_YEAR NONE }\n\
input GroupByDateGranularityInput { granularity: ObjectRecordGroupByDateGranularity timeZone: String }\n\
type PageInfo { hasNextPage: Boolean hasPreviousPage: Boolean startCursor: Cursor endCursor: Cursor }\n\
type FileItem { fileId: UUID label: String extension: String url: String }\n\
input FileItemInput { fileId: UUID! label: String! }\n\
type SearchRecord { recordId: UUID! objectNameSingular: String! objectLabelSingular: String! label: String! imageUrl: String tsRankCD: Float! tsRank: Float! }\n\
type SearchResultEdge { node: SearchRecord! cursor: String! }\n\
type SearchResultPageInfo { endCursor: String hasNextPage: Boolean! }\n\
type SearchResultConnection { edges: [SearchResultEdge!]! pageInfo: SearchResultPageInfo! }\n\
input ObjectRecordFilterInput { and: [ObjectRecordFilterInput!] or: [ObjectRecordFilterInput!] not: ObjectRecordFilterInput id: UUIDFilter createdAt: DateFilter updatedAt: DateFilter deletedAt: DateFilter }\n";

/// The composites, by the names of their types.
const COMPOSITES: [Kind; 8] = [
    Kind::Actor,
    Kind::Address,
    Kind::Currency,
    Kind::Emails,
    Kind::FullName,
    Kind::Links,
    Kind::Phones,
    Kind::RichText,
];

fn composite_name(kind: Kind) -> String {
    kind.name().split('_').map(|word| capital(&word.to_lowercase())).collect()
}

fn enum_name(object: &Object, field: &Field) -> String {
    format!("{}{}Enum", object.type_name(), capital(&field.name))
}

fn part_type(kind: Kind, part: &str, what: Part) -> &'static str {
    match (kind, part, what) {
        (Kind::Actor, "workspaceMemberId", _) => "UUID",
        (_, _, Part::Number) => "Float",
        (_, _, Part::Micros) => "BigFloat",
        (_, _, Part::List | Part::Json) => "RawJSONScalar",
        _ => "String",
    }
}

fn filter_of(kind: Kind, part: Option<Part>) -> &'static str {
    match (kind, part) {
        (Kind::RichText, Some(_)) => "RichTextPartFilter",
        (_, Some(Part::List | Part::Json)) | (Kind::RawJson | Kind::Files, None) => "RawJsonFilter",
        (_, Some(Part::Number | Part::Micros)) | (Kind::Number | Kind::Position, None) => "FloatFilter",
        (Kind::Date | Kind::DateTime, None) => "DateFilter",
        (Kind::Boolean, None) => "BooleanFilter",
        (Kind::Array, None) => "ArrayFilter",
        (Kind::Uuid | Kind::Relation | Kind::MorphRelation, None) => "UUIDFilter",
        _ => "StringFilter",
    }
}

/// Writes the operators of a filter.
fn filter(text: &mut String, name: &str, value: &str, kind: Kind, part: Option<Part>) {
    let _ = write!(text, "input {name} {{ ");
    for operator in operators(kind, part) {
        let operand = match *operator {
            "is" => "FilterIs".to_owned(),
            "in" | "containsAny" => format!("[{value}!]"),
            "isEmptyArray" => "Boolean".into(),
            "like" | "ilike" | "startsWith" | "endsWith" | "containsIlike" => "String".into(),
            _ => value.to_owned(),
        };
        let _ = write!(text, "{operator}: {operand} ");
    }
    text.push_str("}\n");
}

/// Writes the schema of the records.
fn records(catalog: &Catalog) -> String {
    let mut text = SCALARS.to_owned();
    for (name, value, kind, part) in [
        ("UUIDFilter", "UUID", Kind::Uuid, None),
        ("StringFilter", "String", Kind::Text, None),
        ("FloatFilter", "Float", Kind::Number, None),
        ("DateFilter", "DateTime", Kind::DateTime, None),
        ("BooleanFilter", "Boolean", Kind::Boolean, None),
        ("ArrayFilter", "String", Kind::Array, None),
        ("RawJsonFilter", "String", Kind::RawJson, None),
        ("RichTextPartFilter", "String", Kind::RichText, Some(Part::Text)),
    ] {
        filter(&mut text, name, value, kind, part);
    }
    for kind in COMPOSITES {
        let name = composite_name(kind);
        let (mut whole, mut input) = (format!("type {name} {{ "), format!("input {name}CreateInput {{ "));
        let (mut tests, mut order) = (format!("input {name}FilterInput {{ "), format!("input {name}OrderByInput {{ "));
        let mut groups = format!("input {name}GroupByInput {{ ");
        for (part, what) in kind.parts() {
            let own = part_type(kind, part, *what);
            let _ = write!(whole, "{part}: {own} ");
            let _ = write!(input, "{part}: {own} ");
            let _ = write!(tests, "{part}: {} ", filter_of(kind, Some(*what)));
            let _ = write!(order, "{part}: OrderByDirection ");
            let _ = write!(groups, "{part}: Boolean ");
        }
        let update = input.replace("CreateInput", "UpdateInput");
        let _ = writeln!(text, "{whole}}}\n{input}}}\n{update}}}\n{tests}}}\n{order}}}\n{groups}}}");
    }
    let (mut queries, mut mutations) = (String::new(), String::new());
    for object in catalog.objects.values().filter(|object| object.active) {
        types(&mut text, catalog, object);
        roots(&mut queries, &mut mutations, object);
    }
    queries.push_str(
        "search(searchInput: String!, limit: Int!, after: String, excludedObjectNameSingulars: [String!], includedObjectNameSingulars: [String!], filter: ObjectRecordFilterInput): SearchResultConnection!\n",
    );
    let _ = write!(text, "type Query {{\n{queries}}}\ntype Mutation {{\n{mutations}}}\n");
    text
}

fn roots(queries: &mut String, mutations: &mut String, object: &Object) {
    let (one, many, name) = (&object.singular, &object.plural, object.type_name());
    let _ = writeln!(
        queries,
        "{many}(first: Int, last: Int, offset: Int, before: String, after: String, filter: {name}FilterInput, orderBy: [{name}OrderByInput]): {name}Connection!\n\
{one}(filter: {name}FilterInput!): {name}\n\
{many}GroupBy(groupBy: [{name}GroupByInput!]!, filter: {name}FilterInput, orderBy: [{name}OrderByWithGroupByInput], orderByForRecords: [{name}OrderByInput], viewId: UUID, limit: Int, offsetForRecords: Int): [{name}GroupByConnection!]!"
    );
    let door = |verb: &str, name: &str| wrapper(verb, name);
    let _ = writeln!(
        mutations,
        "{}(data: [{name}CreateInput!]!, upsert: Boolean): [{name}!]\n{}(data: {name}CreateInput!, upsert: Boolean): {name}\n\
{}(id: UUID!, data: {name}UpdateInput!): {name}\n{}(data: {name}UpdateInput!, filter: {name}FilterInput!): [{name}!]",
        door("create", many),
        door("create", one),
        door("update", one),
        door("update", many)
    );
    for verb in ["delete", "destroy", "restore"] {
        let _ = writeln!(
            mutations,
            "{}(id: UUID!): {name}\n{}(filter: {name}FilterInput!): [{name}!]",
            door(verb, one),
            door(verb, many)
        );
    }
    if !object.duplicates.is_empty() {
        let _ = writeln!(queries, "{one}Duplicates(ids: [UUID], data: [{name}CreateInput]): [{name}Connection!]!");
        let _ = writeln!(
            mutations,
            "{}(ids: [UUID!]!, conflictPriorityIndex: Int!, dryRun: Boolean): {name}",
            door("merge", many)
        );
    }
}

/// What the types of an object are made of, field by field.
#[derive(Default)]
struct Parts {
    output: String,
    create: String,
    update: String,
    filter: String,
    order: String,
    group: String,
    measures: String,
    unique: String,
}

fn types(text: &mut String, catalog: &Catalog, object: &Object) {
    let name = object.type_name();
    let mut parts = Parts::default();
    for field in catalog.fields_of(object.number).filter(|field| field.active) {
        field_types(text, &mut parts, catalog, object, field);
        for (measure, _) in measures(field) {
            let kind = if measure.starts_with("count") {
                "Int"
            } else if matches!(field.kind, Kind::Date | Kind::DateTime) && !measure.starts_with("percentage") {
                "DateTime"
            } else {
                "Float"
            };
            let _ = write!(parts.measures, "{measure}: {kind} ");
        }
    }
    let Parts { output, create, update, filter, order, group, measures, unique } = parts;
    let _ = writeln!(
        text,
        "type {name} {{ {output}}}\ntype {name}Edge {{ node: {name}! cursor: Cursor! }}\n\
type {name}Connection {{ edges: [{name}Edge!]! pageInfo: PageInfo! totalCount: Int {measures}}}\n\
type {name}GroupByConnection {{ groupByDimensionValues: [String] edges: [{name}Edge!]! pageInfo: PageInfo! totalCount: Int {measures}}}\n\
input {name}CreateInput {{ {create}}}\ninput {name}UpdateInput {{ {update}}}\n\
input {name}FilterInput {{ and: [{name}FilterInput!] or: [{name}FilterInput!] not: {name}FilterInput {filter}}}\n\
input {name}OrderByInput {{ {order}}}\ninput {name}OrderByWithGroupByInput {{ aggregate: {name}OrderByAggregateInput {order}}}\n\
input {name}OrderByAggregateInput {{ totalCount: OrderByDirection }}\n\
input {name}GroupByInput {{ {group}}}\ninput {name}WhereUniqueInput {{ {unique}}}\n\
input {name}ConnectInput {{ where: {name}WhereUniqueInput! }}\n\
input {name}RelationInput {{ connect: {name}ConnectInput disconnect: Boolean }}"
    );
}

fn field_types(text: &mut String, parts: &mut Parts, catalog: &Catalog, object: &Object, field: &Field) {
    let own = &field.name;
    let list =
        "(first: Int, last: Int, before: String, after: String, filter: TYPEFilterInput, orderBy: [TYPEOrderByInput])";
    if let Some(relation) = &field.relation {
        let Some(target) = catalog.objects.get(&relation.target).filter(|target| target.active) else { return };
        let target = target.type_name();
        if field.is_list() {
            let _ = write!(parts.output, "{own}{}: {target}Connection ", list.replace("TYPE", &target));
            return;
        }
        let join = field.join();
        let _ = write!(parts.output, "{join}: UUID {own}: {target} ");
        for input in [&mut parts.create, &mut parts.update] {
            let _ = write!(input, "{join}: ID {own}: {target}RelationInput ");
        }
        let _ = write!(parts.filter, "{join}: UUIDFilter {own}: {target}FilterInput ");
        let _ = write!(parts.order, "{join}: OrderByDirection ");
        let _ = write!(parts.group, "{join}: Boolean {own}: {target}GroupByInput ");
        return;
    }
    if COMPOSITES.contains(&field.kind) {
        let name = composite_name(field.kind);
        let _ = write!(parts.output, "{own}: {name} ");
        let _ = write!(parts.create, "{own}: {name}CreateInput ");
        let _ = write!(parts.update, "{own}: {name}UpdateInput ");
        let _ = write!(parts.filter, "{own}: {name}FilterInput ");
        let _ = write!(parts.order, "{own}: {name}OrderByInput ");
        let _ = write!(parts.group, "{own}: {name}GroupByInput ");
        if field.unique {
            let _ = write!(parts.unique, "{own}: {name}CreateInput ");
        }
        return;
    }
    let select = matches!(field.kind, Kind::Select | Kind::MultiSelect | Kind::Rating) && !field.options.is_empty();
    let named = enum_name(object, field);
    if select {
        let values: Vec<&str> = field.options.iter().map(|choice| choice.value.as_str()).collect();
        let _ = writeln!(text, "enum {named} {{ {} }}", values.join(" "));
        filter(text, &format!("{named}Filter"), &named, field.kind, None);
    }
    let (output, input) = match field.kind {
        Kind::Uuid if own == "id" => ("UUID!".to_owned(), "ID".to_owned()),
        Kind::Uuid => ("UUID".into(), "UUID".into()),
        Kind::Number => ("Float".into(), "Float".into()),
        Kind::Date => ("Date".into(), "Date".into()),
        Kind::DateTime => ("DateTime".into(), "DateTime".into()),
        Kind::Boolean => ("Boolean".into(), "Boolean".into()),
        Kind::Select | Kind::Rating if select => (named.clone(), named.clone()),
        Kind::MultiSelect if select => (format!("[{named}!]"), format!("[{named}!]")),
        Kind::RawJson => ("RawJSONScalar".into(), "RawJSONScalar".into()),
        Kind::Array | Kind::MultiSelect => ("[String!]".into(), "[String!]".into()),
        Kind::Position => ("Position".into(), "Position".into()),
        Kind::Files => ("[FileItem!]".into(), "[FileItemInput!]".into()),
        Kind::TsVector => {
            let _ = write!(parts.output, "{own}: TSVector ");
            return;
        }
        _ => ("String".into(), "String".into()),
    };
    let _ = write!(parts.output, "{own}: {output} ");
    let _ = write!(parts.create, "{own}: {input} ");
    let _ = write!(parts.update, "{own}: {input} ");
    let tests = if select { format!("{named}Filter") } else { filter_of(field.kind, None).to_owned() };
    let _ = write!(parts.filter, "{own}: {tests} ");
    let _ = write!(parts.order, "{own}: OrderByDirection ");
    let group =
        if matches!(field.kind, Kind::Date | Kind::DateTime) { "GroupByDateGranularityInput" } else { "Boolean" };
    let _ = write!(parts.group, "{own}: {group} ");
    if field.unique || own == "id" {
        let _ = write!(parts.unique, "{own}: {input} ");
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, METADATA, records};
    use crate::twenty::standard::catalog;

    #[test]
    fn both_schemas_are_sound() {
        Known::parse(&records(&catalog("w", 0))).expect("the schema of the records");
        Known::parse(METADATA).expect("the schema of the metadata");
    }
}
