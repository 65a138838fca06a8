//! A GraphQL request, read: fragments put in place, variables put in, what is skipped left out.

use std::collections::BTreeMap;

use apollo_compiler::{
    Node,
    ast::{Definition, DirectiveList, Document, FragmentDefinition, OperationType, Selection, Value},
    parser::SourceMap,
};
use serde_json::{Map, Value as Json, json};

/// What is asked for at the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Query,
    Mutation,
}

impl Kind {
    pub(crate) fn type_name(self) -> &'static str {
        if self == Self::Query { "Query" } else { "Mutation" }
    }
}

/// A field that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The key in the answer.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) args: Map<String, Json>,
    pub(crate) fields: Vec<Asked>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Asked {
    pub(crate) fn is_introspection(&self) -> bool {
        self.name == "__schema" || self.name == "__type"
    }

    /// Returns how many fields there are, this one included.
    pub(crate) fn count(&self) -> usize {
        1 + self.fields.iter().map(Self::count).sum::<usize>()
    }

    pub(crate) fn arg(&self, name: &str) -> Option<&Json> {
        self.args.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) fields: Vec<Asked>,
}

struct Reader<'a> {
    fragments: BTreeMap<String, Node<FragmentDefinition>>,
    variables: Map<String, Json>,
    sources: &'a SourceMap,
}

/// Reads a request; the error is one of GraphQL's.
pub(crate) fn read(query: &str, variables: &Map<String, Json>, operation: Option<&str>) -> Result<Request, Json> {
    let document = Document::parse(query, "query.graphql").map_err(|broken| {
        let first = broken.errors.iter().next();
        let text = first.as_ref().map(|error| error.error.to_string()).unwrap_or_default();
        let place =
            first.and_then(|error| error.line_column_range()).map(|range| (range.start.line, range.start.column));
        syntax(query, &text, place)
    })?;
    let mut fragments = BTreeMap::new();
    let mut operations = Vec::new();
    for definition in &document.definitions {
        match definition {
            Definition::FragmentDefinition(fragment) => {
                fragments.insert(fragment.name.to_string(), fragment.clone());
            }
            Definition::OperationDefinition(operation) => operations.push(operation.clone()),
            _ => {}
        }
    }
    let chosen = match operation {
        Some(name) => operations.into_iter().find(|known| known.name.as_ref().is_some_and(|own| own.as_str() == name)),
        None => operations.into_iter().next(),
    };
    let chosen = chosen.ok_or_else(|| json!({ "message": "Unknown operation." }))?;
    let mut variables = variables.clone();
    let mut reader = Reader { fragments, variables: Map::new(), sources: &document.sources };
    for variable in &chosen.variables {
        if let Some(default) = &variable.default_value
            && !variables.contains_key(variable.name.as_str())
        {
            let value = reader.value(default);
            variables.insert(variable.name.to_string(), value);
        }
    }
    reader.variables = variables;
    let kind = if chosen.operation_type == OperationType::Mutation { Kind::Mutation } else { Kind::Query };
    let mut fields = Vec::new();
    reader.selections(&chosen.selection_set, &mut fields, 0);
    Ok(Request { kind, fields })
}

impl Reader<'_> {
    fn value(&self, value: &Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Enum(name) => json!(name.as_str()),
            Value::Variable(name) => self.variables.get(name.as_str()).cloned().unwrap_or_default(),
            Value::String(text) => json!(text),
            Value::Float(number) => serde_json::from_str(number.as_str()).unwrap_or_default(),
            Value::Int(number) => serde_json::from_str(number.as_str()).unwrap_or_default(),
            Value::Boolean(flag) => json!(flag),
            Value::List(list) => list.iter().map(|item| self.value(item)).collect(),
            Value::Object(pairs) => {
                // A variable that was not given leaves its key out.
                let given = pairs.iter().filter(|(_, value)| {
                    !matches!(&**value, Value::Variable(name) if !self.variables.contains_key(name.as_str()))
                });
                given.map(|(name, value)| (name.to_string(), self.value(value))).collect::<Map<_, _>>().into()
            }
        }
    }

    fn wanted(&self, directives: &DirectiveList) -> bool {
        let flag = |name: &str| {
            let directive = directives.get(name)?;
            let argument = directive.arguments.iter().find(|argument| argument.name == "if")?;
            self.value(&argument.value).as_bool()
        };
        flag("skip") != Some(true) && flag("include") != Some(false)
    }

    fn selections(&self, selections: &[Selection], fields: &mut Vec<Asked>, depth: usize) {
        // Fragments that contain themselves end here.
        if depth > 64 {
            return;
        }
        for selection in selections {
            match selection {
                Selection::Field(field) if self.wanted(&field.directives) => {
                    let args = field.arguments.iter().filter(|argument| {
                        !matches!(&*argument.value, Value::Variable(name) if !self.variables.contains_key(name.as_str()))
                    });
                    let args = args.map(|argument| (argument.name.to_string(), self.value(&argument.value))).collect();
                    let mut below = Vec::new();
                    self.selections(&field.selection_set, &mut below, depth + 1);
                    let key = field.alias.as_ref().unwrap_or(&field.name).to_string();
                    let place = field.location().and_then(|span| span.line_column_range(self.sources));
                    let (line, column) = place.map_or((1, 1), |range| (range.start.line, range.start.column));
                    if let Some(known) =
                        fields.iter_mut().find(|known| known.key == key && known.name == field.name.as_str())
                        && !known.fields.is_empty()
                    {
                        known.fields.extend(below);
                        continue;
                    }
                    fields.push(Asked { key, name: field.name.to_string(), args, fields: below, line, column });
                }
                Selection::InlineFragment(fragment) if self.wanted(&fragment.directives) => {
                    self.selections(&fragment.selection_set, fields, depth + 1);
                }
                Selection::FragmentSpread(spread) if self.wanted(&spread.directives) => {
                    if let Some(fragment) = self.fragments.get(spread.fragment_name.as_str()) {
                        self.selections(&fragment.selection_set, fields, depth + 1);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Writes a syntax error in the words of the reference implementation.
fn syntax(query: &str, text: &str, place: Option<(usize, usize)>) -> Json {
    let (line, column) = place.unwrap_or((1, 1));
    let rest: String = query.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().skip(column - 1).collect();
    let mut letters = rest.chars().skip_while(|letter| letter.is_whitespace()).peekable();
    let found = match letters.peek() {
        None => "<EOF>".to_owned(),
        Some(first) if first.is_alphabetic() || *first == '_' => {
            let name: String = letters.take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            format!("Name \"{name}\"")
        }
        Some(first) => format!("\"{first}\""),
    };
    let message = if text.contains("unterminated string") {
        "Unterminated string.".to_owned()
    } else if text.contains("Unexpected") || text.contains("OperationDefinition") {
        format!("Unexpected {found}.")
    } else {
        format!("Expected Name, found {found}.")
    };
    json!({ "message": format!("Syntax Error: {message}"), "locations": [{ "line": line, "column": column }] })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::read;

    #[test]
    fn fragments_and_variables_are_put_in_place() {
        let variables = json!({ "n": 5, "no": false }).as_object().cloned().unwrap_or_default();
        let query = "query Q($n: Int, $no: Boolean!, $d: Int = 7) { a: people(first: $n, last: $d, after: $gone) { ...f ... on X { y } z @include(if: $no) } } fragment f on X { x }";
        let request = read(query, &variables, None).expect("a request");
        let field = &request.fields[0];
        assert_eq!((field.key.as_str(), field.name.as_str()), ("a", "people"));
        assert_eq!(json!(field.args), json!({ "first": 5, "last": 7 }));
        assert_eq!(field.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn syntax_errors_read_as_those_of_the_server() {
        let message = |query: &str| read(query, &Map::new(), None).expect_err(query)["message"].clone();
        assert_eq!(message("{ person"), "Syntax Error: Expected Name, found <EOF>.");
        assert_eq!(message("{"), "Syntax Error: Expected Name, found <EOF>.");
        assert_eq!(message(""), "Syntax Error: Unexpected <EOF>.");
        assert_eq!(message("{ a } }"), "Syntax Error: Unexpected \"}\".");
    }
}
