use serde_json::json;
use waybill_engine::{approve, failure::Failure, prepare::Prepared};

use waybill_projector::mapping::PlanChange;

use super::{close, open, plan::writes};
use crate::{Context, exit::Exit, output::table};

/// Approve the plan exactly as it stands, in a person's name
///
/// Binds the plan's meaning, the schema elements it touches, the destination, and how much may be written. Nothing is
/// written under a plan that nobody approved or that was edited since.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    /// Who approves
    #[arg(long, value_name = "NAME")]
    by: String,
    /// How many percent more than predicted may be written, for what the source still gains
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    allowance: u64,
}

impl ApproveArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.by.trim().is_empty() {
            return Err(Failure::usage("an approval needs a person's name").hint("waybill approve --by \"Your Name\""));
        }
        let (mut session, bars) = open(context).await?;
        let done = async {
            let prepared = Prepared::new(&mut session).await?;
            approve::approve(&mut session, &prepared, self.by.trim(), self.allowance).await
        }
        .await;
        let (approval, prediction) = close(session, &bars, done).await?;
        context.output.document(&json!({ "approval": approval, "writes": prediction }), || {
            let objects: std::collections::BTreeSet<&str> =
                approval.caps.keys().filter_map(|what| what.split(' ').next()).collect();
            let cap = |object: &str, verb: &str| approval.caps.get(&format!("{object} {verb}")).copied().unwrap_or(0);
            let caps = objects.iter().map(|object| {
                let verbs = ["create", "update", "delete"].map(|verb| cap(object, verb).to_string());
                [vec![(*object).to_owned()], verbs.into()].concat()
            });
            format!(
                "approved by {}: plan {} for {}\n\n{}{}\n\nat most\n{}\n\na rollback could not undo\n{}",
                approval.by,
                &approval.plan[..6],
                approval.destination,
                writes(&prediction),
                changes(prediction.changed.as_deref()),
                table(&["object", "create", "update", "delete"], 1, caps),
                prediction.residue.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
            )
        })?;
        Ok(Exit::Done)
    }
}

/// Words what differs from the plan that was approved last.
pub(super) fn changes(changed: Option<&[PlanChange]>) -> String {
    let Some(changed) = changed else { return String::new() };
    if changed.is_empty() {
        return "\n\nthe plan is the one that was approved last".to_owned();
    }
    let side = |side: &Option<serde_json::Value>| side.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let rows = changed.iter().map(|change| vec![change.at.clone(), side(&change.before), side(&change.now)]);
    format!("\n\nsince the plan that was approved last\n{}", table(&["at", "before", "now"], 3, rows))
}
