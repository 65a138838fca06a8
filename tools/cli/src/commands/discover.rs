use waybill_engine::{discover, failure::Failure};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Read the export into the ledger and take stock of it
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {}

impl DiscoverArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = discover::discover(&mut session).await;
        let inventory = close(session, &bars, done).await?;
        context.output.document(&inventory, || {
            let rows = inventory.objects.iter().map(|object| {
                let promised = object.promised.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
                let intake = &object.intake;
                vec![
                    intake.object.clone(),
                    object.fields.to_string(),
                    promised,
                    intake.read.to_string(),
                    (intake.extracted + intake.unchanged).to_string(),
                    intake.gone.to_string(),
                    (intake.unreadable + intake.repeated).to_string(),
                ]
            });
            let table = table(&["object", "fields", "promised", "rows", "records", "gone", "unreadable"], 1, rows);
            format!("recognised: {} ({})\n\n{table}", inventory.recognised, inventory.evidence)
        })?;
        let short: Vec<&str> = inventory
            .objects
            .iter()
            .filter(|object| object.promised.is_some_and(|promised| promised != object.intake.read))
            .map(|object| object.intake.object.as_str())
            .collect();
        if !short.is_empty() {
            context.output.say(&format!(
                "\nnote: the export does not hold as many rows as it promises: {} (is it cut, or filtered?)",
                short.join(", ")
            ));
        }
        Ok(Exit::Done)
    }
}
