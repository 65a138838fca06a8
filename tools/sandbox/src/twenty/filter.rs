//! The filter of an address line: `and(name[eq]:x,or(...))`, turned into the form that GraphQL has.

use serde_json::{Map, Value as Json, json};

use super::refusal::Refusal;

const COMPARATORS: [&str; 13] =
    ["eq", "neq", "in", "containsAny", "is", "gt", "gte", "lt", "lte", "startsWith", "endsWith", "like", "ilike"];

/// Reads a filter.
pub(crate) fn parse(text: &str) -> Result<Json, Refusal> {
    balanced(text)?;
    let text = text.trim();
    let whole = match conjunction(text) {
        Some(_) if split(text).len() == 1 => text.to_owned(),
        _ => format!("and({text})"),
    };
    item(&whole)
}

/// Counts parentheses, even those inside quotes.
fn balanced(text: &str) -> Result<(), Refusal> {
    let count = |wanted: char| text.chars().filter(|letter| *letter == wanted).count();
    let (open, close) = (count('('), count(')'));
    let (missing, kind) = if open > close { (open - close, "close") } else { (close - open, "open") };
    if missing == 0 {
        return Ok(());
    }
    let (noun, verb) = if missing == 1 { ("bracket", "is") } else { ("brackets", "are") };
    Err(Refusal::invalid(format!("'filter' invalid. {missing} {kind} {noun} {verb} missing in the query")))
}

/// Returns the word and the inside of `word(inside)`.
fn conjunction(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once('(')?;
    let inside = rest.strip_suffix(')')?;
    ["and", "or", "not"].contains(&word).then_some((word, inside))
}

/// Splits at the commas that stand outside of everything.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut round, mut square, mut quote, mut start) = (0i32, 0i32, None, 0);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) => quote = Some(open).filter(|open| *open != letter),
            (None, '"' | '\'') => quote = Some(letter),
            (None, '(') => round += 1,
            (None, ')') => round -= 1,
            (None, '[') => square += 1,
            (None, ']') => square -= 1,
            (None, ',') if round == 0 && square == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn item(text: &str) -> Result<Json, Refusal> {
    let text = text.trim();
    let Some((word, inside)) = conjunction(text) else { return predicate(text) };
    if inside.is_empty() {
        return Err(Refusal::invalid(format!("'filter' invalid for '{text}'. eg: price[gte]:10")));
    }
    let parts = split(inside);
    if word == "not" {
        let [only] = parts.as_slice() else {
            return Err(Refusal::invalid(
                "'filter' invalid. 'not' conjunction should contain only 1 condition. eg: not(field[eq]:1)",
            ));
        };
        return Ok(json!({ "not": item(only)? }));
    }
    let items: Result<Vec<Json>, Refusal> = parts.into_iter().map(item).collect();
    Ok(json!({ word: items? }))
}

fn predicate(text: &str) -> Result<Json, Refusal> {
    let refused = || Refusal::invalid(format!("'filter' invalid for '{text}'. eg: price[gte]:10"));
    let (path, rest) = text.split_once('[').ok_or_else(refused)?;
    let (comparator, value) = rest.split_once("]:").ok_or_else(refused)?;
    if path.is_empty() || value.is_empty() {
        return Err(refused());
    }
    if !COMPARATORS.contains(&comparator) {
        return Err(Refusal::invalid(format!(
            "'filter' invalid for '{text}', comparator {comparator} not in {}",
            COMPARATORS.join(", ")
        )));
    }
    let value = if ["in", "containsAny"].contains(&comparator) {
        let list = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).ok_or_else(|| {
            Refusal::invalid(format!(
                "'filter' invalid for '{comparator}' operator. Received '{value}' but array value expected eg: 'field[{comparator}]:[value_1,value_2]'"
            ))
        })?;
        // Quotes protect no comma here.
        json!(list.split(',').map(unquoted).collect::<Vec<_>>())
    } else {
        json!(unquoted(value))
    };
    let mut nested = json!({ comparator: value });
    for name in path.split('.').rev() {
        let mut map = Map::new();
        map.insert(name.to_owned(), nested);
        nested = Json::Object(map);
    }
    Ok(nested)
}

/// Takes off outer quotes.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn filters_become_nested_conditions() {
        for (text, expected) in [
            ("name[eq]:x", json!({ "and": [{ "name": { "eq": "x" } }] })),
            (
                "name[eq]:\"a,b\",id[is]:NULL",
                json!({ "and": [{ "name": { "eq": "a,b" } }, { "id": { "is": "NULL" } }] }),
            ),
            (
                "or(a[eq]:1,not(b[in]:[x,y]))",
                json!({ "or": [{ "a": { "eq": "1" } }, { "not": { "b": { "in": ["x", "y"] } } }] }),
            ),
            (
                "emails.primaryEmail[eq]:a@b.co",
                json!({ "and": [{ "emails": { "primaryEmail": { "eq": "a@b.co" } } }] }),
            ),
            ("name[eq]:\"\"", json!({ "and": [{ "name": { "eq": "" } }] })),
            (
                "and(a[eq]:1),or(b[eq]:2)",
                json!({ "and": [{ "and": [{ "a": { "eq": "1" } }] }, { "or": [{ "b": { "eq": "2" } }] }] }),
            ),
        ] {
            assert_eq!(parse(text).map_err(|refusal| refusal.message.clone()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refusals_say_what_was_expected() {
        for (text, words) in [
            ("title=n1", "'filter' invalid for 'title=n1'. eg: price[gte]:10"),
            ("", "'filter' invalid for 'and()'. eg: price[gte]:10"),
            ("name[eq]:\"(\"", "'filter' invalid. 1 close bracket is missing in the query"),
            ("name[eq]:", "'filter' invalid for 'name[eq]:'. eg: price[gte]:10"),
            (
                "name[in]:n1",
                "'filter' invalid for 'in' operator. Received 'n1' but array value expected eg: 'field[in]:[value_1,value_2]'",
            ),
            (
                "title[contains]:n",
                "'filter' invalid for 'title[contains]:n', comparator contains not in eq, neq, in, containsAny, is, gt, gte, lt, lte, startsWith, endsWith, like, ilike",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text).message, words);
        }
    }
}
