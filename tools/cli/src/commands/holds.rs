use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use waybill_engine::{
    failure::Failure,
    holds::{self, Choice, Held, Which},
};
use waybill_ledger::event::{HoldDecision, HoldReason};

use super::{close, look, open};
use crate::{Context, exit::Exit, output::table};

/// See what waits for a person, and decide
#[derive(Debug, clap::Args)]
pub(crate) struct HoldsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the records that wait, and why
    List,
    /// Decide what becomes of records that wait; the next run or delta does it
    Decide(DecideArgs),
}

#[derive(Debug, clap::Args)]
struct DecideArgs {
    /// The decision
    #[arg(value_parser = decisions())]
    decision: HoldDecision,
    /// The record, as object/id of the source
    #[arg(required_unless_present = "all")]
    record: Option<String>,
    /// Decide about every record that waits for this reason
    #[arg(long, value_name = "REASON", value_parser = reason, conflicts_with = "record")]
    all: Option<HoldReason>,
    /// The id of the row that the record is
    #[arg(long = "is", value_name = "ID", required_if_eq("decision", "row"))]
    id: Option<String>,
    /// Who decided it
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why, for the ledger
    #[arg(long = "reason", value_name = "TEXT")]
    why: Option<String>,
}

fn decisions() -> impl TypedValueParser<Value = HoldDecision> {
    let known = holds::DECISIONS.map(|(_, word, meaning)| PossibleValue::new(word).help(meaning));
    PossibleValuesParser::new(known).try_map(|word| holds::decision_named(&word).ok_or("no decision"))
}

fn reason(text: &str) -> Result<HoldReason, String> {
    holds::reason_named(text).ok_or_else(|| "a reason that `waybill holds list` shows, such as `conflict`".to_owned())
}

impl HoldsArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::List => list(context).await,
            What::Decide(decide) => decide.run(context).await,
        }
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let (session, bars) = look(context).await?;
    let done = holds::list(&session);
    let held = close(session, &bars, done).await?;
    if context.output.json {
        for held in &held {
            context.output.item(held, String::new)?;
        }
        return Ok(Exit::Done);
    }
    if held.is_empty() {
        context.output.line("nothing waits for a person")?;
        return Ok(Exit::Done);
    }
    let decided = |held: &Held| held.decided.map_or("", holds::decision_word).to_owned();
    let rows =
        held.iter().map(|held| vec![held.record.clone(), holds::word(held.reason), decided(held), held.why.clone()]);
    let mut text = table(&["record", "reason", "decided", "why"], 4, rows);
    let mut reasons: Vec<HoldReason> =
        held.iter().filter(|held| held.decided.is_none()).map(|held| held.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    if !reasons.is_empty() {
        text.push_str("\n\nwhat `waybill holds decide DECISION RECORD --by NAME` can answer\n");
        let rows = reasons.into_iter().map(|reason| vec![holds::word(reason), holds::answers(reason).to_owned()]);
        text.push_str(&table(&["reason", "answers"], 2, rows));
    }
    context.output.line(&text)?;
    Ok(Exit::Done)
}

impl DecideArgs {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let choice = match (self.decision, self.id) {
            (HoldDecision::Row, Some(id)) => Choice::Row(id),
            (HoldDecision::Row, None) => {
                return Err(Failure::usage("which row is it?").hint("name it with `--is ID`"));
            }
            (_, Some(_)) => {
                return Err(Failure::usage("`--is` names a row, and only the decision `row` wants one"));
            }
            (decision, None) => Choice::Plain(decision),
        };
        let which = match (self.all, self.record) {
            (Some(reason), _) => Which::All(reason),
            (None, Some(record)) => Which::Record(record),
            (None, None) => return Err(Failure::usage("about which record?").hint("name it, or a reason with `--all`")),
        };
        let (mut session, bars) = open(context).await?;
        let done = holds::decide(&mut session, &which, &choice, &self.by, self.why.as_deref()).await;
        let decided = close(session, &bars, done).await?;
        context.output.document(&decided, || {
            if decided.is_empty() {
                return "no record waits for that reason".to_owned();
            }
            let rows = decided.iter().map(|decided| {
                vec![
                    decided.record.clone(),
                    holds::decision_word(decided.decision).to_owned(),
                    decided.position.to_string(),
                ]
            });
            let table = table(&["record", "decided", "position"], 2, rows);
            format!("{table}\n\nthe next `waybill run` or `waybill delta` does it")
        })?;
        Ok(Exit::Done)
    }
}
