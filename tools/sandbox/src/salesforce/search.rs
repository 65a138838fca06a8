//! Search: `FIND {words} [IN … FIELDS] [RETURNING Object(fields WHERE …), …] [LIMIT n]`.
//!
//! Source: "SOSL Syntax" in the SOQL and SOSL Reference. Rows are found at once; the platform's index lags behind.

use serde_json::{Value as Json, json};

use super::{
    model::Kind,
    org::{Org, Val},
    service::{Call, Reply, Service},
    soql::{
        parse::parse,
        run::{Found, malformed},
    },
};

/// The most rows of one search.
const ROWS: usize = 2_000;

/// Which fields are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Name,
    Email,
    Phone,
}

/// A search, taken apart.
#[derive(Debug)]
struct Search {
    /// One of these lists of words must be in a row whole.
    any: Vec<Vec<String>>,
    scope: Scope,
    /// Objects with what stands in their parentheses.
    returning: Vec<(String, String)>,
    limit: usize,
}

impl Search {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = keyword(text, "FIND").ok_or("expecting FIND")?;
        let rest = rest.strip_prefix('{').ok_or("expecting a left brace, found something else")?;
        let (words, mut rest) = rest.split_once('}').ok_or("expecting a right brace, found 'EOF'")?;
        let mut any: Vec<Vec<String>> = vec![Vec::new()];
        for word in words.split_whitespace() {
            match word {
                "OR" => any.push(Vec::new()),
                "AND" => {}
                word => {
                    let word: String =
                        word.chars().filter(|c| *c != '\\' && *c != '"').collect::<String>().to_lowercase();
                    if let Some(last) = any.last_mut() {
                        last.push(word);
                    }
                }
            }
        }
        any.retain(|words| !words.is_empty());
        let shortest = any.iter().flatten().map(|word| word.trim_matches('*').chars().count()).min();
        if shortest.is_none_or(|length| length < 2) {
            return Err(format!("search term must be longer than one character: {words}"));
        }
        let mut scope = Scope::All;
        if let Some(after) = keyword(rest, "IN") {
            let (name, after) = after.split_once(char::is_whitespace).ok_or("expecting a field group")?;
            scope = match name.to_ascii_uppercase().as_str() {
                "ALL" => Scope::All,
                "NAME" | "SIDEBAR" => Scope::Name,
                "EMAIL" => Scope::Email,
                "PHONE" => Scope::Phone,
                other => return Err(format!("unexpected field group: {other}")),
            };
            rest = keyword(after, "FIELDS").ok_or("expecting FIELDS")?;
        }
        let mut returning = Vec::new();
        if let Some(after) = keyword(rest, "RETURNING") {
            rest = after;
            loop {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if name.is_empty() {
                    return Err("expecting an object".into());
                }
                rest = after.trim_start();
                let mut inner = "";
                if rest.starts_with('(') {
                    let end = closing(rest).ok_or("expecting a right parenthesis")?;
                    (inner, rest) = (&rest[1..end], rest[end + 1..].trim_start());
                }
                returning.push((name.to_owned(), inner.trim().to_owned()));
                match rest.strip_prefix(',') {
                    Some(after) => rest = after.trim_start(),
                    None => break,
                }
            }
        }
        let mut limit = ROWS;
        if let Some(after) = keyword(rest, "LIMIT") {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            limit = after[..end].parse().map_err(|_| "expecting a number".to_owned())?;
            rest = &after[end..];
        }
        if !rest.trim().is_empty() {
            return Err(format!("unexpected token: {}", rest.trim()));
        }
        Ok(Self { any, scope, returning, limit: limit.min(ROWS) })
    }
}

/// Takes a keyword, in any case, and the space around it.
fn keyword<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let text = text.trim_start();
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = rest.chars().next().is_none_or(|c| !c.is_ascii_alphanumeric());
    (head.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_start())
}

/// Finds the parenthesis that closes the first one; those in texts do not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn matches(word: &str, token: &str) -> bool {
    match word.strip_suffix('*') {
        Some(start) => token.starts_with(start),
        None => token == word,
    }
}

impl Org {
    fn holds(&self, object: usize, number: u64, search: &Search) -> bool {
        let Some(row) = self.tables[object].rows.get(&number).filter(|row| !row.deleted) else { return false };
        let mut tokens: Vec<String> = Vec::new();
        for (at, field) in self.objects[object].fields.iter().enumerate() {
            let looked_at = match search.scope {
                Scope::All => !matches!(field.kind, Kind::Base64),
                Scope::Name => field.name_field,
                Scope::Email => field.kind == Kind::Email,
                Scope::Phone => field.kind == Kind::Phone,
            };
            if let Some(Val::Text(text)) = row.get(at).filter(|_| looked_at && self.is_granted(object, at)) {
                let text = text.to_lowercase();
                tokens.extend(text.split(|c: char| !c.is_alphanumeric()).filter(|t| !t.is_empty()).map(str::to_owned));
                tokens.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        search.any.iter().any(|words| words.iter().all(|word| tokens.iter().any(|token| matches(word, token))))
    }
}

impl Service {
    /// `GET /search?q=…`
    pub(crate) fn search(&self, call: &Call, root: &str) -> Reply {
        let text = call.query.get("q").map_or("", String::as_str);
        let search = match Search::parse(text) {
            Ok(search) => search,
            Err(message) => return Reply::error(400, "MALFORMED_SEARCH", &message),
        };
        let org = self.org();
        let returning = if search.returning.is_empty() {
            let searchable = org.objects.iter().filter(|object| object.searchable());
            searchable.map(|object| (object.name.clone(), String::new())).collect()
        } else {
            search.returning.iter().map(|(name, inner)| (name.clone(), inner.clone())).collect::<Vec<_>>()
        };
        let mut records: Vec<Json> = Vec::new();
        for (name, inner) in returning {
            let upper = inner.to_ascii_uppercase();
            let bare = upper.is_empty()
                || ["WHERE ", "ORDER ", "LIMIT ", "OFFSET "].iter().any(|word| upper.starts_with(word));
            let (fields, clauses) = if bare {
                ("Id", inner.as_str())
            } else {
                let at = ["WHERE ", "ORDER ", "LIMIT ", "OFFSET "]
                    .iter()
                    .filter_map(|word| upper.find(&format!(" {word}")))
                    .min();
                inner.split_at(at.unwrap_or(inner.len()))
            };
            let soql = format!("SELECT {fields} FROM {name} {clauses}");
            let mut query = match parse(soql.trim()) {
                Ok(query) => query,
                Err(error) => {
                    let error = malformed(&soql, &error);
                    return Reply::error(400, "MALFORMED_SEARCH", &error.message);
                }
            };
            // Limits count what was searched for, not what was looked at.
            let (limit, offset) = (query.limit.take(), std::mem::take(&mut query.offset));
            if let Some(object) = org.find(&query.from).filter(|at| !org.objects[*at].searchable()) {
                let message = format!("entity type {} does not support search", org.objects[object].name);
                return Reply::error(400, "MALFORMED_SEARCH", &message);
            }
            match org.find_rows(&query, false) {
                Err(error) => return Reply::error(400, error.code, &error.message),
                Ok(Found::Rows(mut found)) => {
                    found.rows.retain(|number| org.holds(found.object, *number, &search));
                    let rows = found.rows.iter().skip(offset).take(limit.unwrap_or(ROWS));
                    records.extend(rows.map(|number| org.show(&found, *number, root)));
                }
                Ok(_) => return Reply::error(400, "MALFORMED_SEARCH", "a search returns rows"),
            }
        }
        records.truncate(search.limit);
        // Until version 36.0 the list stood alone.
        if super::bulk::version(root) < 37.0 {
            return Reply::json(200, &Json::Array(records));
        }
        Reply::json(200, &json!({ "searchRecords": records }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn searches_are_taken_apart() {
        let search = Search::parse(
            "find {Acme corp OR foo*} in name fields returning Account(Id, Name where Name != 'a)b' limit 3), Lead limit 9",
        )
        .unwrap();
        assert_eq!(search.any, [vec!["acme".to_owned(), "corp".into()], vec!["foo*".into()]]);
        assert_eq!(search.scope, Scope::Name);
        assert_eq!(search.returning[0].1, "Id, Name where Name != 'a)b' limit 3");
        assert_eq!((search.returning[1].0.as_str(), search.limit), ("Lead", 9));
        for wrong in ["FIND", "FIND {a}", "FIND {abc} IN NOTHING FIELDS", "FIND {abc} RETURNING", "FIND {abc} nonsense"]
        {
            assert!(Search::parse(wrong).is_err(), "{wrong}");
        }
    }
}
