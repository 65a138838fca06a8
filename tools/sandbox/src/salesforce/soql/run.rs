//! Runs a query against the org's rows.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

use serde_json::{Map, Value as Json, json};

use super::parse::{Expr, Item, Literal, Malformed, Op, Order, Query};
use crate::salesforce::{
    ids::Id,
    model::Kind,
    org::{Org, Row, Val},
    validate::{json, stamp},
};

/// An error of a query, in the wire's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl QueryError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Words a parse error as the platform does: the line, a caret under the column, row and column.
pub(crate) fn malformed(text: &str, error: &Malformed) -> QueryError {
    let at = error.at.min(text.len());
    let message = format!("\n{text}\n{}^\nERROR at Row:1:Column:{}\n{}", " ".repeat(at), at + 1, error.message);
    QueryError::new("MALFORMED_QUERY", message)
}

/// What a query found.
pub(crate) enum Found {
    /// A count.
    Count(u64),
    /// Groups, whole.
    Groups(Vec<Json>),
    /// Rows, by number, in order; they are written page by page.
    Rows(Selected),
}

/// Rows that were found, and what is shown of them.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    pub(crate) object: usize,
    pub(crate) rows: Vec<u64>,
    pub(crate) columns: Vec<Column>,
}

/// One selected column.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    Field(usize),
    /// Reference field by reference field, then a field.
    Parent(Vec<usize>, String),
    Sub(Box<Query>, usize, usize),
}

/// A path resolved against an object: references to follow, then the field's name.
struct Resolved {
    steps: Vec<usize>,
    last: String,
}

impl Org {
    /// Finds what a query asks for.
    pub(crate) fn find_rows(&self, query: &Query, all: bool) -> Result<Found, QueryError> {
        let object = self.find(&query.from).ok_or_else(|| {
            QueryError::new(
                "INVALID_TYPE",
                format!(
                    "\nsObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
                    query.from
                ),
            )
        })?;
        let mut columns = Vec::new();
        for item in &query.select {
            self.column(object, item, query, &mut columns)?;
        }
        for order in &query.order {
            self.resolve(object, &order.path)?;
        }
        if let Some(filter) = &query.filter {
            self.check_filter(object, filter)?;
        }
        if self.objects[object].name == "ContentDocumentLink"
            && !query.filter.as_ref().is_some_and(names_a_file_or_record)
        {
            return Err(QueryError::new(
                "MALFORMED_QUERY",
                "Implementation restriction: ContentDocumentLink requires a filter by a single Id on ContentDocumentId or LinkedEntityId using the equals operator or multiple Id's using the IN operator.",
            ));
        }
        if query.offset > 2_000 {
            return Err(QueryError::new("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
        }
        if query.select == [Item::CountAll]
            && !all
            && !query.all_rows
            && let Some(count) = self.counted(object, query.filter.as_ref())
        {
            return Ok(Found::Count(query.limit.map_or(count, |limit| count.min(limit as u64))));
        }
        let subqueries = self.subqueries(query.filter.as_ref())?;
        let candidates = self.candidates(object, query.filter.as_ref());
        let keeps = |number: u64, row: &Row| {
            (all || query.all_rows || !row.deleted)
                && query.filter.as_ref().is_none_or(|filter| self.keeps(object, number, filter, &subqueries))
        };
        let table = &self.tables[object];
        let by_id = query.order.first().is_some_and(|order| {
            order.path.len() == 1 && order.path[0].eq_ignore_ascii_case("Id") && !order.descending
        });
        let stop = match query.limit {
            Some(limit) if (query.order.is_empty() || by_id) && !query.select.contains(&Item::CountAll) => {
                limit + query.offset
            }
            _ => usize::MAX,
        };
        let mut rows: Vec<u64> = match candidates {
            Some(numbers) => {
                let found = numbers.into_iter().filter_map(|number| Some((number, table.rows.get(&number)?)));
                found.filter(|(number, row)| keeps(*number, row)).map(|(number, _)| number).take(stop).collect()
            }
            None => {
                let start = Self::after(query.filter.as_ref());
                let found = table.rows.range(start..);
                found.filter(|(number, row)| keeps(**number, row)).map(|(number, _)| *number).take(stop).collect()
            }
        };
        if query.select == [Item::CountAll] {
            let count = rows.len().min(query.limit.unwrap_or(usize::MAX)) as u64;
            return Ok(Found::Count(count));
        }
        if query.select.iter().any(|item| matches!(item, Item::Aggregate { .. })) || !query.group.is_empty() {
            return self.groups(object, query, &rows).map(Found::Groups);
        }
        if !query.order.is_empty() && !by_id {
            let keys: Vec<(&Order, Resolved)> = query
                .order
                .iter()
                .map(|order| Ok((order, self.resolve(object, &order.path)?)))
                .collect::<Result<_, _>>()?;
            rows.sort_by(|a, b| {
                keys.iter()
                    .map(|(order, path)| {
                        let (a, b) = (self.value(object, *a, path), self.value(object, *b, path));
                        let nulls_last = order.nulls_last.unwrap_or(order.descending);
                        match (&a, &b) {
                            (None, None) => Ordering::Equal,
                            (None, _) => {
                                if nulls_last {
                                    Ordering::Greater
                                } else {
                                    Ordering::Less
                                }
                            }
                            (_, None) => {
                                if nulls_last {
                                    Ordering::Less
                                } else {
                                    Ordering::Greater
                                }
                            }
                            (Some(a), Some(b)) if order.descending => compare(b, a),
                            (Some(a), Some(b)) => compare(a, b),
                        }
                    })
                    .find(|ordering| *ordering != Ordering::Equal)
                    .unwrap_or(Ordering::Equal)
            });
        }
        let rows = rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX)).collect();
        Ok(Found::Rows(Selected { object, rows, columns }))
    }

    fn column(&self, object: usize, item: &Item, query: &Query, columns: &mut Vec<Column>) -> Result<(), QueryError> {
        match item {
            Item::Path(path) => {
                let resolved = self.resolve(object, path)?;
                columns.push(match (resolved.steps.as_slice(), self.objects[object].field(&resolved.last)) {
                    ([], Some(field)) => Column::Field(field),
                    _ => Column::Parent(resolved.steps, resolved.last),
                });
            }
            Item::Fields(set) => {
                if query.limit.is_none_or(|limit| limit > 200) && set != "STANDARD" {
                    let message = "The SOQL FIELDS function must have a LIMIT of at most 200";
                    return Err(QueryError::new("MALFORMED_QUERY", message));
                }
                for (at, field) in self.objects[object].fields.iter().enumerate() {
                    let wanted = set == "ALL" || (set == "CUSTOM") == field.custom;
                    if wanted && self.is_granted(object, at) {
                        columns.push(Column::Field(at));
                    }
                }
            }
            Item::Sub(sub) => {
                let found = self.objects.iter().enumerate().find_map(|(child, definition)| {
                    let field = definition.fields.iter().position(|field| {
                        matches!(&field.kind, Kind::Reference { to, .. } if to.iter().any(|to| self.find(to) == Some(object)))
                    })?;
                    definition.plural.eq_ignore_ascii_case(&sub.from).then_some((child, field))
                });
                let (child, field) = found.ok_or_else(|| {
                    QueryError::new(
                        "INVALID_TYPE",
                        format!("\nDidn't understand relationship '{}' in FROM part of query call.", sub.from),
                    )
                })?;
                columns.push(Column::Sub(sub.clone(), child, field));
            }
            Item::Aggregate { path, .. } => {
                self.resolve(object, path)?;
            }
            Item::CountAll => {}
        }
        Ok(())
    }

    fn resolve(&self, object: usize, path: &[String]) -> Result<Resolved, QueryError> {
        let no_column = |object: usize, name: &str| {
            QueryError::new(
                "INVALID_FIELD",
                format!(
                    "\nNo such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
                    self.objects[object].name
                ),
            )
        };
        let Some((last, parents)) = path.split_last() else { return Err(no_column(object, "")) };
        let (mut at, mut steps, mut known) = (object, Vec::new(), true);
        for parent in parents {
            let field = self.objects[at].relationship(parent).filter(|field| self.is_granted(at, *field));
            let field = field.ok_or_else(|| {
                QueryError::new(
                    "INVALID_FIELD",
                    format!("\nDidn't understand relationship '{parent}' in field path. If you are attempting to use a custom relationship, be sure to append the '__r' after the custom relationship name."),
                )
            })?;
            steps.push(field);
            let Kind::Reference { to, .. } = &self.objects[at].fields[field].kind else { continue };
            match to.as_slice() {
                [one] => at = self.find(one).unwrap_or(at),
                // A polymorphic parent has only what every name has.
                _ => {
                    known = false;
                    at = to.first().and_then(|name| self.find(name)).unwrap_or(at);
                }
            }
        }
        if !known {
            if ["Id", "Name", "Type", "Email", "FirstName", "LastName"]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(last))
            {
                return Ok(Resolved { steps, last: last.clone() });
            }
            return Err(no_column(at, last));
        }
        let field = self.objects[at].field(last).filter(|field| self.is_granted(at, *field));
        field.map(|_| Resolved { steps, last: last.clone() }).ok_or_else(|| no_column(at, last))
    }

    fn check_filter(&self, object: usize, filter: &Expr) -> Result<(), QueryError> {
        match filter {
            Expr::And(parts) | Expr::Or(parts) => parts.iter().try_for_each(|part| self.check_filter(object, part)),
            Expr::Not(part) => self.check_filter(object, part),
            Expr::Compare { path, op, value } => {
                let resolved = self.resolve(object, path)?;
                let field = self.objects[object].field(&resolved.last).filter(|_| resolved.steps.is_empty());
                let Some(kind) = field.map(|field| &self.objects[object].fields[field].kind) else { return Ok(()) };
                let name = &resolved.last;
                match (kind, value) {
                    (Kind::Area { .. }, _) => Err(QueryError::new(
                        "INVALID_FIELD",
                        format!("\nfield '{name}' can not be filtered in a query call"),
                    )),
                    (Kind::Date | Kind::DateTime, Literal::Text(_)) => Err(QueryError::new(
                        "INVALID_FIELD",
                        format!(
                            "\nvalue of filter criterion for field '{name}' must be of type {} and should not be enclosed in quotes",
                            if *kind == Kind::Date { "date" } else { "dateTime" }
                        ),
                    )),
                    (Kind::Id | Kind::Reference { .. }, Literal::Text(text))
                        if *op != Op::Like && !text.is_empty() && Id::parse(text).is_none() =>
                    {
                        Err(QueryError::new("INVALID_QUERY_FILTER_OPERATOR", format!("\ninvalid ID field: {text}")))
                    }
                    (Kind::Bool, Literal::Text(_) | Literal::Number(_)) => Err(QueryError::new(
                        "INVALID_FIELD",
                        format!("\nvalue of filter criterion for field '{name}' must be of type boolean"),
                    )),
                    _ => Ok(()),
                }
            }
            Expr::In { path, values, .. } => {
                let resolved = self.resolve(object, path)?;
                let field = self.objects[object].field(&resolved.last).filter(|_| resolved.steps.is_empty());
                if let Some(Kind::Id | Kind::Reference { .. }) =
                    field.map(|field| &self.objects[object].fields[field].kind)
                {
                    for value in values {
                        if let Literal::Text(text) = value
                            && Id::parse(text).is_none()
                        {
                            return Err(QueryError::new(
                                "INVALID_QUERY_FILTER_OPERATOR",
                                format!("\ninvalid ID field: {text}"),
                            ));
                        }
                    }
                }
                Ok(())
            }
            Expr::InQuery { path, .. } | Expr::Includes { path, .. } => self.resolve(object, path).map(|_| ()),
        }
    }

    /// Answers the queries within a filter once.
    fn subqueries(&self, filter: Option<&Expr>) -> Result<Vec<(Query, HashSet<String>)>, QueryError> {
        let mut found = Vec::new();
        let mut open: Vec<&Expr> = filter.into_iter().collect();
        while let Some(expr) = open.pop() {
            match expr {
                Expr::And(parts) | Expr::Or(parts) => open.extend(parts),
                Expr::Not(part) => open.push(part),
                Expr::InQuery { query, .. } => {
                    let mut values = HashSet::new();
                    if let Found::Rows(selected) = self.find_rows(query, false)? {
                        for number in &selected.rows {
                            if let Some(Column::Field(field)) = selected.columns.first() {
                                values.extend(
                                    self.field_value(selected.object, *number, *field).map(|value| text_of(&value)),
                                );
                            }
                        }
                    }
                    found.push(((**query).clone(), values));
                }
                Expr::Compare { .. } | Expr::In { .. } | Expr::Includes { .. } => {}
            }
        }
        Ok(found)
    }

    /// Counts live rows without looking at each, where an index knows how many there are: all of them, or those that hold
    /// something in an external id. (External ids are indexed: Salesforce Help, "Custom Field Attributes".)
    fn counted(&self, object: usize, filter: Option<&Expr>) -> Option<u64> {
        let table = &self.tables[object];
        let Some(filter) = filter else { return Some(table.live) };
        let Expr::Compare { path, op: Op::Unequal, value: Literal::Null } = filter else { return None };
        let [name] = path.as_slice() else { return None };
        let field = self.objects[object].field(name)?;
        let definition = &self.objects[object].fields[field];
        let holders = (definition.custom && definition.external).then(|| table.keys.get(&u16::try_from(field).ok()?));
        Some(holders?.map_or(0, |keys| keys.values().map(|rows| rows.len() as u64).sum()))
    }

    /// Returns the only rows that can meet a filter, where an index or an id pins them.
    fn candidates(&self, object: usize, filter: Option<&Expr>) -> Option<Vec<u64>> {
        match filter? {
            Expr::And(parts) => parts.iter().find_map(|part| self.candidates(object, Some(part))),
            Expr::Compare { path, op: Op::Equal, value } => self.pinned(object, path, std::slice::from_ref(value)),
            Expr::In { path, values, negated: false } => self.pinned(object, path, values),
            _ => None,
        }
    }

    fn pinned(&self, object: usize, path: &[String], values: &[Literal]) -> Option<Vec<u64>> {
        let [name] = path else { return None };
        let field = self.objects[object].field(name)?;
        let definition = &self.objects[object].fields[field];
        let texts: Vec<&str> = values
            .iter()
            .map(|value| match value {
                Literal::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut rows: Vec<u64> = match &definition.kind {
            Kind::Id => texts
                .iter()
                .filter_map(|text| Id::parse(text))
                .filter(|id| self.is_of(*id, object))
                .map(|id| id.number)
                .collect(),
            Kind::Reference { .. } if !definition.system => {
                let field = u16::try_from(field).ok()?;
                let ids = texts.iter().filter_map(|text| Id::parse(text));
                ids.flat_map(|id| self.tables[object].children.get(&(field, id)).cloned().unwrap_or_default()).collect()
            }
            _ if definition.unique || definition.external || definition.id_lookup => {
                texts.iter().flat_map(|text| self.holders(object, field, &Val::Text((*text).into())).to_vec()).collect()
            }
            _ => return None,
        };
        rows.sort_unstable();
        rows.dedup();
        Some(rows)
    }

    /// Returns the first row that a filter of the form `Id > 'x'` allows.
    fn after(filter: Option<&Expr>) -> u64 {
        match filter {
            Some(Expr::And(parts)) => parts.iter().map(|part| Self::after(Some(part))).max().unwrap_or(0),
            Some(Expr::Compare { path, op: Op::Greater | Op::AtLeast, value: Literal::Text(text) })
                if path.len() == 1 && path[0].eq_ignore_ascii_case("Id") =>
            {
                Id::parse(text).map_or(0, |id| id.number)
            }
            _ => 0,
        }
    }

    fn keeps(&self, object: usize, number: u64, filter: &Expr, subs: &[(Query, HashSet<String>)]) -> bool {
        match filter {
            Expr::And(parts) => parts.iter().all(|part| self.keeps(object, number, part, subs)),
            Expr::Or(parts) => parts.iter().any(|part| self.keeps(object, number, part, subs)),
            Expr::Not(part) => !self.keeps(object, number, part, subs),
            Expr::Compare { path, op, value } => holds(self.at(object, number, path).as_ref(), *op, value),
            Expr::In { path, values, negated } => {
                let found = self.at(object, number, path);
                values.iter().any(|value| holds(found.as_ref(), Op::Equal, value)) != *negated
            }
            Expr::InQuery { path, query, negated } => {
                let found = self.at(object, number, path).map(|value| text_of(&value));
                let values = subs.iter().find(|(known, _)| known == &**query).map(|(_, values)| values);
                found.is_some_and(|found| values.is_some_and(|values| values.contains(&found))) != *negated
            }
            Expr::Includes { path, values, negated } => {
                let found = self.at(object, number, path).map(|value| text_of(&value)).unwrap_or_default();
                let held: HashSet<&str> = found.split(';').collect();
                let any = values.iter().any(|value| match value {
                    Literal::Text(text) => text.split(';').all(|part| held.contains(part)),
                    _ => false,
                });
                any != *negated
            }
        }
    }

    fn at(&self, object: usize, number: u64, path: &[String]) -> Option<Val> {
        if let [name] = path {
            return self.field_value(object, number, self.objects[object].field(name)?);
        }
        self.value(object, number, &self.resolve(object, path).ok()?)
    }

    fn value(&self, object: usize, number: u64, path: &Resolved) -> Option<Val> {
        let (mut at, mut row) = (object, number);
        for step in &path.steps {
            let Val::Ref(id) = self.field_value(at, row, *step)? else { return None };
            (at, row) = (self.of_id(id)?, id.number);
        }
        if path.last.eq_ignore_ascii_case("Type") && self.objects[at].field("Type").is_none() {
            return Some(Val::Text(self.objects[at].name.as_str().into()));
        }
        self.field_value(at, row, self.objects[at].field(&path.last)?)
    }

    /// Returns a field of a row, system fields among them.
    pub(crate) fn field_value(&self, object: usize, number: u64, field: usize) -> Option<Val> {
        let row = self.tables[object].rows.get(&number)?;
        let definition = &self.objects[object].fields[field];
        if !definition.system {
            let value = row.get(field).cloned();
            if definition.kind == Kind::Base64 {
                let (object_name, id) = (&self.objects[object].name, self.id(object, number));
                let path = format!("/services/data/v62.0/sobjects/{object_name}/{id}/{}", definition.name);
                return Some(Val::Text(path.into()));
            }
            return if definition.kind == Kind::Bool { value.or(Some(Val::Bool(false))) } else { value };
        }
        Some(match definition.name.as_str() {
            "Id" => Val::Ref(self.id(object, number)),
            "IsDeleted" => Val::Bool(row.deleted),
            "CreatedDate" => Val::Time(row.created),
            "CreatedById" => Val::Ref(row.created_by),
            "LastModifiedById" => Val::Ref(row.modified_by),
            "LastModifiedDate" => Val::Time(row.modified),
            _ => Val::Time(row.stamped),
        })
    }

    fn groups(&self, object: usize, query: &Query, rows: &[u64]) -> Result<Vec<Json>, QueryError> {
        let keys: Vec<Resolved> =
            query.group.iter().map(|path| self.resolve(object, path)).collect::<Result<_, _>>()?;
        let mut groups: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
        for number in rows {
            let key = keys
                .iter()
                .map(|path| self.value(object, *number, path).map(|v| text_of(&v)).unwrap_or_default())
                .collect();
            groups.entry(key).or_default().push(*number);
        }
        if groups.is_empty() && keys.is_empty() {
            groups.insert(Vec::new(), Vec::new());
        }
        let mut found = Vec::new();
        for members in groups.values() {
            let mut row = Map::new();
            row.insert("attributes".into(), json!({ "type": "AggregateResult" }));
            let mut unnamed = 0;
            for item in &query.select {
                match item {
                    Item::Path(path) => {
                        let resolved = self.resolve(object, path)?;
                        let value = members.first().and_then(|number| self.value(object, *number, &resolved));
                        let value = value.map_or(Json::Null, |value| json(self, &value, &Kind::Email));
                        row.insert(resolved.last, value);
                    }
                    Item::Aggregate { function, path, alias } => {
                        let resolved = self.resolve(object, path)?;
                        let values: Vec<Val> =
                            members.iter().filter_map(|number| self.value(object, *number, &resolved)).collect();
                        let name = alias.clone().unwrap_or_else(|| {
                            unnamed += 1;
                            format!("expr{}", unnamed - 1)
                        });
                        row.insert(name, aggregate(self, function, &values));
                    }
                    _ => {}
                }
            }
            found.push(Json::Object(row));
        }
        found.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Writes one row of what was selected.
    pub(crate) fn show(&self, selected: &Selected, number: u64, root: &str) -> Json {
        let object = selected.object;
        let mut shown = Map::new();
        shown.insert("attributes".into(), self.attributes(object, number, root));
        for column in &selected.columns {
            match column {
                Column::Field(field) => {
                    let definition = &self.objects[object].fields[*field];
                    let value = self.field_value(object, number, *field);
                    let value = value.map_or(Json::Null, |value| json(self, &value, &definition.kind));
                    shown.insert(definition.name.clone(), value);
                }
                Column::Parent(steps, last) => self.show_parent(object, number, steps, last, &mut shown, root),
                Column::Sub(query, child, field) => {
                    let key = (u16::try_from(*field).unwrap_or(u16::MAX), self.id(object, number));
                    let numbers = self.tables[*child].children.get(&key).cloned().unwrap_or_default();
                    let name = self.objects[*child].plural.clone();
                    let found =
                        self.find_rows(&Query { from: self.objects[*child].name.clone(), ..(**query).clone() }, false);
                    let value = match found {
                        Ok(Found::Rows(mut found)) => {
                            found.rows.retain(|row| numbers.contains(row));
                            let records: Vec<Json> =
                                found.rows.iter().map(|row| self.show(&found, *row, root)).collect();
                            if records.is_empty() {
                                Json::Null
                            } else {
                                json!({ "totalSize": records.len(), "done": true, "records": records })
                            }
                        }
                        _ => Json::Null,
                    };
                    shown.insert(name, value);
                }
            }
        }
        Json::Object(shown)
    }

    fn show_parent(
        &self,
        object: usize,
        number: u64,
        steps: &[usize],
        last: &str,
        shown: &mut Map<String, Json>,
        root: &str,
    ) {
        let Some((step, rest)) = steps.split_first() else { return };
        let Kind::Reference { relationship, .. } = &self.objects[object].fields[*step].kind else { return };
        let Some(Val::Ref(id)) = self.field_value(object, number, *step) else {
            shown.insert(relationship.clone(), Json::Null);
            return;
        };
        let Some(parent) = self.of_id(id) else { return };
        let entry = shown.entry(relationship.clone()).or_insert_with(|| {
            let mut inner = Map::new();
            inner.insert("attributes".into(), self.attributes(parent, id.number, root));
            Json::Object(inner)
        });
        let Json::Object(inner) = entry else { return };
        if rest.is_empty() {
            let field = self.objects[parent].field(last);
            let value = field.and_then(|field| {
                let kind = &self.objects[parent].fields[field].kind;
                self.field_value(parent, id.number, field).map(|value| json(self, &value, kind))
            });
            let value = value
                .or_else(|| last.eq_ignore_ascii_case("Type").then(|| Json::String(self.objects[parent].name.clone())));
            let name = field.map_or_else(|| last.to_owned(), |field| self.objects[parent].fields[field].name.clone());
            inner.insert(name, value.unwrap_or(Json::Null));
        } else {
            self.show_parent(parent, id.number, rest, last, inner, root);
        }
    }

    pub(crate) fn attributes(&self, object: usize, number: u64, root: &str) -> Json {
        let name = &self.objects[object].name;
        json!({ "type": name, "url": format!("{root}/sobjects/{name}/{}", self.id(object, number)) })
    }
}

fn aggregate(org: &Org, function: &str, values: &[Val]) -> Json {
    let numbers = || values.iter().filter_map(|value| if let Val::Num(number) = value { Some(*number) } else { None });
    match function {
        "COUNT" => values.len().into(),
        "COUNT_DISTINCT" => values.iter().map(text_of).collect::<HashSet<_>>().len().into(),
        "SUM" => numbers().sum::<f64>().into(),
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
        "AVG" => (numbers().sum::<f64>() / numbers().count().max(1) as f64).into(),
        "MIN" => values.iter().min_by(|a, b| compare(a, b)).map_or(Json::Null, |value| json(org, value, &Kind::Email)),
        _ => values.iter().max_by(|a, b| compare(a, b)).map_or(Json::Null, |value| json(org, value, &Kind::Email)),
    }
}

/// Orders two values of one field.
fn compare(a: &Val, b: &Val) -> Ordering {
    match (a, b) {
        (Val::Num(a), Val::Num(b)) => a.total_cmp(b),
        (Val::Date(a), Val::Date(b)) => a.cmp(b),
        (Val::Time(a), Val::Time(b)) => a.cmp(b),
        (Val::Ref(a), Val::Ref(b)) => a.cmp(b),
        _ => text_of(a).to_lowercase().cmp(&text_of(b).to_lowercase()),
    }
}

fn text_of(value: &Val) -> String {
    match value {
        Val::Text(text) => text.to_string(),
        Val::Bool(flag) => flag.to_string(),
        Val::Num(number) => number.to_string(),
        Val::Date(days) => days.to_string(),
        Val::Time(time) => stamp(*time),
        Val::Ref(id) => id.short(),
    }
}

fn holds(value: Option<&Val>, op: Op, literal: &Literal) -> bool {
    let Some(value) = value else {
        return match (op, literal) {
            (Op::Unequal, Literal::Null) => false,
            (Op::Equal, Literal::Null) | (Op::Unequal, _) => true,
            (Op::Equal, Literal::Text(text)) => text.is_empty(),
            _ => false,
        };
    };
    if *literal == Literal::Null {
        return op == Op::Unequal;
    }
    if op == Op::Like {
        let Literal::Text(pattern) = literal else { return false };
        return like(&text_of(value).to_lowercase(), &pattern.to_lowercase());
    }
    let ordering = match (value, literal) {
        (Val::Num(a), Literal::Number(b)) => a.total_cmp(b),
        (Val::Bool(a), Literal::Bool(b)) => a.cmp(b),
        (Val::Date(a), Literal::Date(b)) => a.cmp(b),
        (Val::Time(a), Literal::Time(b)) => a.cmp(b),
        (Val::Time(a), Literal::Date(b)) => a.cmp(&(i64::from(*b) * 86_400_000)),
        (Val::Ref(id), Literal::Text(text)) => match Id::parse(text) {
            Some(other) => id.cmp(&other),
            None => return op == Op::Unequal,
        },
        (value, Literal::Text(text)) => text_of(value).to_lowercase().cmp(&text.to_lowercase()),
        _ => return op == Op::Unequal,
    };
    match op {
        Op::Equal => ordering == Ordering::Equal,
        Op::Unequal => ordering != Ordering::Equal,
        Op::Less => ordering == Ordering::Less,
        Op::AtMost => ordering != Ordering::Greater,
        Op::Greater => ordering == Ordering::Greater,
        Op::AtLeast => ordering != Ordering::Less,
        Op::Like => false,
    }
}

/// `%` is any run, `_` one character; a backslash takes the meaning away.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut star): (usize, usize, Option<(usize, usize)>) = (0, 0, None);
    while t < text.len() {
        let escaped = pattern.get(p) == Some(&'\\') && p + 1 < pattern.len();
        let plain = if escaped { pattern.get(p + 1) } else { pattern.get(p) };
        if !escaped && plain == Some(&'%') {
            star = Some((p, t));
            p += 1;
        } else if plain == Some(&text[t]) || (!escaped && plain == Some(&'_')) {
            p += if escaped { 2 } else { 1 };
            t += 1;
        } else if let Some((at, from)) = star {
            (p, t) = (at + 1, from + 1);
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// Returns whether a filter pins the documents or the records whose links are wanted.
fn names_a_file_or_record(filter: &Expr) -> bool {
    let pins = |path: &[String]| {
        path.len() == 1 && ["contentdocumentid", "linkedentityid"].contains(&path[0].to_ascii_lowercase().as_str())
    };
    match filter {
        Expr::And(parts) => parts.iter().any(names_a_file_or_record),
        Expr::Compare { path, op: Op::Equal, .. } | Expr::In { path, negated: false, .. } => pins(path),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_platform_matches_them() {
        for (text, pattern, fits) in [
            ("acme", "a%", true),
            ("acme", "%me", true),
            ("acme", "a_me", true),
            ("acme", "acm", false),
            ("50%", "50\\%", true),
            ("500", "50\\%", false),
            ("", "%", true),
        ] {
            assert_eq!(like(text, pattern), fits, "{text} like {pattern}");
        }
    }
}
