//! The grammar. Source: "SOQL SELECT Syntax" in the SOQL and SOSL Reference.

use winnow::{
    ModalResult, Parser,
    ascii::{Caseless, digit1, multispace0, multispace1},
    combinator::{alt, cut_err, delimited, opt, preceded, separated, terminated},
    token::{any, none_of, take_while},
};

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) select: Vec<Item>,
    pub(crate) from: String,
    pub(crate) filter: Option<Expr>,
    pub(crate) group: Vec<Vec<String>>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) all_rows: bool,
}

/// One selected thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Path(Vec<String>),
    CountAll,
    Aggregate { function: String, path: Vec<String>, alias: Option<String> },
    Fields(String),
    Sub(Box<Query>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) path: Vec<String>,
    pub(crate) descending: bool,
    pub(crate) nulls_last: Option<bool>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare { path: Vec<String>, op: Op, value: Literal },
    In { path: Vec<String>, values: Vec<Literal>, negated: bool },
    InQuery { path: Vec<String>, query: Box<Query>, negated: bool },
    Includes { path: Vec<String>, values: Vec<Literal>, negated: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Like,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    Date(i32),
    Time(i64),
}

/// What is wrong with a query: the offset of the first thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// Parses a query.
pub(crate) fn parse(text: &str) -> Result<Query, Malformed> {
    if text.len() > 100_000 {
        return Err(Malformed { at: 0, message: "SOQL statements cannot be longer than 100000 characters.".into() });
    }
    let depth = text.bytes().filter(|byte| *byte == b'(').count();
    if depth > 500 {
        return Err(Malformed { at: 0, message: "the query is nested too deeply".into() });
    }
    delimited(multispace0, query, (multispace0, opt((';', multispace0)))).parse(text).map_err(|error| {
        let at = error.offset();
        let token: String =
            text[at.min(text.len())..].split_whitespace().next().unwrap_or("<EOF>").chars().take(40).collect();
        Malformed { at, message: format!("unexpected token: '{token}'") }
    })
}

fn word<'s>(text: &'static str) -> impl Parser<&'s str, &'s str, winnow::error::ErrMode<winnow::error::ContextError>> {
    terminated(Caseless(text), winnow::combinator::not(take_while(1, |c: char| c.is_ascii_alphanumeric() || c == '_')))
}

fn name<'s>(input: &mut &'s str) -> ModalResult<&'s str> {
    (take_while(1, |c: char| c.is_ascii_alphabetic()), take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_'))
        .take()
        .verify(|name: &str| !KEYWORDS.iter().any(|word| word.eq_ignore_ascii_case(name)))
        .parse_next(input)
}

const KEYWORDS: [&str; 16] = [
    "SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "ORDER", "GROUP", "HAVING", "LIMIT", "OFFSET", "IN", "LIKE",
    "INCLUDES", "EXCLUDES", "WITH",
];

fn path(input: &mut &str) -> ModalResult<Vec<String>> {
    separated(1..=6, name.map(str::to_owned), '.').parse_next(input)
}

fn comma(input: &mut &str) -> ModalResult<()> {
    (multispace0, ',', multispace0).void().parse_next(input)
}

fn query(input: &mut &str) -> ModalResult<Query> {
    word("SELECT").parse_next(input)?;
    multispace1.parse_next(input)?;
    let select = cut_err(separated(1.., item, comma)).parse_next(input)?;
    (multispace1, word("FROM"), multispace1).parse_next(input)?;
    let from = cut_err(name).parse_next(input)?.to_owned();
    // An alias may stand after the object; paths that begin with it are read without it.
    let alias = opt(preceded(
        multispace1,
        name.verify(|word: &str| !["FOR", "ALL", "USING"].iter().any(|known| known.eq_ignore_ascii_case(word))),
    ))
    .parse_next(input)?
    .map(str::to_owned);
    let filter = opt(preceded((multispace1, word("WHERE"), multispace1), cut_err(expr))).parse_next(input)?;
    let group =
        opt(preceded((multispace1, word("GROUP"), multispace1, word("BY"), multispace1), separated(1.., path, comma)))
            .parse_next(input)?
            .unwrap_or_default();
    let order = opt(preceded(
        (multispace1, word("ORDER"), multispace1, word("BY"), multispace1),
        cut_err(separated(1.., order, comma)),
    ))
    .parse_next(input)?
    .unwrap_or_default();
    let number = |word_: &'static str| {
        opt(preceded((multispace1, word(word_), multispace1), cut_err(digit1.parse_to::<usize>())))
    };
    let limit = number("LIMIT").parse_next(input)?;
    let offset = number("OFFSET").parse_next(input)?.unwrap_or(0);
    opt((multispace1, word("FOR"), multispace1, alt((word("VIEW"), word("REFERENCE"), word("UPDATE")))))
        .parse_next(input)?;
    let all_rows = opt((multispace1, word("ALL"), multispace1, word("ROWS"))).parse_next(input)?.is_some();
    let mut query = Query { select, from, filter, group, order, limit, offset, all_rows };
    if let Some(alias) = alias {
        query.strip(&alias);
    }
    Ok(query)
}

impl Query {
    fn strip(&mut self, alias: &str) {
        let strip = |path: &mut Vec<String>| {
            if path.len() > 1 && path[0].eq_ignore_ascii_case(alias) {
                path.remove(0);
            }
        };
        for item in &mut self.select {
            if let Item::Path(path) | Item::Aggregate { path, .. } = item {
                strip(path);
            }
        }
        self.order.iter_mut().for_each(|order| strip(&mut order.path));
        self.group.iter_mut().for_each(strip);
        if let Some(filter) = &mut self.filter {
            filter.each_path(&mut |path| strip(path));
        }
    }
}

impl Expr {
    fn each_path(&mut self, each: &mut impl FnMut(&mut Vec<String>)) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.each_path(each)),
            Self::Not(part) => part.each_path(each),
            Self::Compare { path, .. }
            | Self::In { path, .. }
            | Self::InQuery { path, .. }
            | Self::Includes { path, .. } => {
                each(path);
            }
        }
    }
}

fn item(input: &mut &str) -> ModalResult<Item> {
    alt((
        (word("COUNT"), multispace0, '(', multispace0, ')').value(Item::CountAll),
        preceded((word("FIELDS"), multispace0, '(', multispace0), terminated(name, (multispace0, ')')))
            .map(|set| Item::Fields(set.to_ascii_uppercase())),
        (
            alt((word("COUNT_DISTINCT"), word("COUNT"), word("SUM"), word("MIN"), word("MAX"), word("AVG"))),
            delimited((multispace0, '(', multispace0), path, (multispace0, ')')),
            opt(preceded(multispace1, name)),
        )
            .map(|(function, path, alias)| Item::Aggregate {
                function: function.to_ascii_uppercase(),
                path,
                alias: alias.map(str::to_owned),
            }),
        delimited(('(', multispace0), query, (multispace0, ')')).map(|query| Item::Sub(Box::new(query))),
        path.map(Item::Path),
    ))
    .parse_next(input)
}

fn order(input: &mut &str) -> ModalResult<Order> {
    let path = path.parse_next(input)?;
    let descending =
        opt(preceded(multispace1, alt((word("ASC").value(false), word("DESC").value(true))))).parse_next(input)?;
    let nulls_last = opt(preceded(
        (multispace1, word("NULLS"), multispace1),
        alt((word("FIRST").value(false), word("LAST").value(true))),
    ))
    .parse_next(input)?;
    Ok(Order { path, descending: descending.unwrap_or(false), nulls_last })
}

/// `a AND b AND c` or `a OR b OR c`; the two do not mix without parentheses.
fn expr(input: &mut &str) -> ModalResult<Expr> {
    let first = condition.parse_next(input)?;
    let and = |input: &mut &str| -> ModalResult<Expr> {
        preceded((multispace1, word("AND"), multispace1), cut_err(condition)).parse_next(input)
    };
    let or = |input: &mut &str| -> ModalResult<Expr> {
        preceded((multispace1, word("OR"), multispace1), cut_err(condition)).parse_next(input)
    };
    let mut parts = vec![first];
    while let Some(part) = opt(and).parse_next(input)? {
        parts.push(part);
    }
    if parts.len() > 1 {
        return Ok(Expr::And(parts));
    }
    while let Some(part) = opt(or).parse_next(input)? {
        parts.push(part);
    }
    Ok(if parts.len() > 1 { Expr::Or(parts) } else { parts.remove(0) })
}

fn condition(input: &mut &str) -> ModalResult<Expr> {
    alt((
        delimited(('(', multispace0), expr, (multispace0, ')')),
        preceded((word("NOT"), multispace0), condition).map(|part| Expr::Not(Box::new(part))),
        comparison,
    ))
    .parse_next(input)
}

fn comparison(input: &mut &str) -> ModalResult<Expr> {
    let path = path.parse_next(input)?;
    multispace0.parse_next(input)?;
    if let Some(negated) =
        opt(alt(((word("NOT"), multispace1, word("IN")).value(true), word("IN").value(false)))).parse_next(input)?
    {
        ((multispace0, '('), multispace0).parse_next(input)?;
        if let Some(query) = opt(query).parse_next(input)? {
            (multispace0, ')').parse_next(input)?;
            return Ok(Expr::InQuery { path, query: Box::new(query), negated });
        }
        let values = terminated(separated(1.., literal, comma), (multispace0, ')')).parse_next(input)?;
        return Ok(Expr::In { path, values, negated });
    }
    if let Some(negated) = opt(alt((word("INCLUDES").value(false), word("EXCLUDES").value(true)))).parse_next(input)? {
        let values = delimited((multispace0, '(', multispace0), separated(1.., literal, comma), (multispace0, ')'))
            .parse_next(input)?;
        return Ok(Expr::Includes { path, values, negated });
    }
    let op = alt((
        "<=".value(Op::AtMost),
        ">=".value(Op::AtLeast),
        "<>".value(Op::Unequal),
        "!=".value(Op::Unequal),
        "=".value(Op::Equal),
        "<".value(Op::Less),
        ">".value(Op::Greater),
        word("LIKE").value(Op::Like),
    ))
    .parse_next(input)?;
    multispace0.parse_next(input)?;
    let value = cut_err(literal).parse_next(input)?;
    Ok(Expr::Compare { path, op, value })
}

fn literal(input: &mut &str) -> ModalResult<Literal> {
    alt((
        quoted.map(Literal::Text),
        word("TRUE").value(Literal::Bool(true)),
        word("FALSE").value(Literal::Bool(false)),
        word("NULL").value(Literal::Null),
        moment,
        take_while(1.., |c: char| c.is_ascii_digit() || "+-.eE".contains(c))
            .verify_map(|text: &str| text.parse().ok().map(Literal::Number)),
    ))
    .parse_next(input)
}

fn moment(input: &mut &str) -> ModalResult<Literal> {
    take_while(10.., |c: char| c.is_ascii_digit() || "-:.+TZ".contains(c))
        .verify_map(|text: &str| {
            if text.len() == 10 {
                return super::super::validate::date(text).map(Literal::Date);
            }
            super::super::validate::time(text).map(Literal::Time)
        })
        .parse_next(input)
}

fn quoted(input: &mut &str) -> ModalResult<String> {
    '\''.parse_next(input)?;
    let mut text = String::new();
    loop {
        let next: &str = take_while(0.., |c: char| c != '\'' && c != '\\').parse_next(input)?;
        text.push_str(next);
        if opt('\'').parse_next(input)?.is_some() {
            return Ok(text);
        }
        '\\'.parse_next(input)?;
        let escaped = any.parse_next(input)?;
        if matches!(escaped, '%' | '_') {
            // These keep their backslash, so that LIKE can tell them from wildcards.
            text.push('\\');
        }
        text.push(match escaped {
            'n' | 'N' => '\n',
            'r' | 'R' => '\r',
            't' | 'T' => '\t',
            'b' | 'B' => '\u{8}',
            'f' | 'F' => '\u{c}',
            'u' => {
                let digits: &str =
                    (none_of(['\'']), none_of(['\'']), none_of(['\'']), none_of(['\''])).take().parse_next(input)?;
                u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
            }
            c => c,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn queries_that_clients_send_are_understood() {
        for text in [
            "SELECT Id FROM Account",
            "select count() from account",
            "SELECT Id, Account.Name, Owner.Email FROM Contact WHERE Email LIKE 'a\\'b%' AND (AccountId = null OR Name != 'x') ORDER BY Name DESC NULLS LAST LIMIT 10 OFFSET 5",
            "SELECT Id FROM Account WHERE Id IN ('001','002') AND NOT Name = 'x'",
            "SELECT Id FROM RecordType WHERE Name='X' AND SobjectType='Opportunity'",
            "SELECT FIELDS(ALL) FROM Account LIMIT 200",
            "SELECT Name, (SELECT LastName FROM Contacts) FROM Account",
            "SELECT StageName, COUNT(Id) n FROM Opportunity GROUP BY StageName",
            "SELECT a.Id FROM Account a WHERE a.CreatedDate > 2024-01-31T10:00:00Z AND a.AnnualRevenue >= 12.5",
            "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Email != null)",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
        let alias = parse("SELECT a.Name FROM Account a").unwrap();
        assert_eq!(alias.select, [Item::Path(vec!["Name".into()])]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        for (text, at) in [
            ("SELECT FROM Account", 7),
            ("SELECT Id FROM Account WHERE Name = 'a' AND Id = 'x' OR Id = 'y'", 53),
            ("SELECT Id FROM Account WHERE Name = 'open", 36),
            ("DELETE FROM Account", 0),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.at.abs_diff(at) <= 5, "{text}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,200}", tail in "[A-Za-z0-9'(),.<>= ]{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("SELECT Id FROM Account WHERE {tail}"));
        }
    }
}
