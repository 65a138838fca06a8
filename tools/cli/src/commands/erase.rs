use waybill_engine::{erase, failure::Failure};

use super::{close, open};
use crate::{Context, exit::Exit};

/// Forget a record for ever: destroy the keys of its contents; every proof still holds
#[derive(Debug, clap::Args)]
pub(crate) struct EraseArgs {
    /// The record: object/id of the source or of the destination
    #[arg(value_name = "RECORD")]
    record: String,
    /// Who decided it
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why, for the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl EraseArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = erase::erase(&mut session, &self.record, &self.by, &self.reason).await;
        let forgotten = close(session, &bars, done).await?;
        context.output.document(&forgotten, || {
            let mut text = format!("{} is forgotten:", self.record);
            for (subject, position) in &forgotten.erased {
                text.push_str(&format!("\n  subject {subject}, erased at position {position}"));
            }
            if !forgotten.still_there.is_empty() {
                text.push_str(&format!(
                    "\n\nThe destination still has {}. Waybill can neither compare nor take back what it forgot.",
                    forgotten.still_there.join(", ")
                ));
            }
            if !forgotten.mentions.is_empty() {
                text.push_str("\n\nContents of other records mention its ids; look at them with `waybill audit record`:");
                for mention in &forgotten.mentions {
                    let subject =
                        mention.subject.map_or_else(|| "the project".to_owned(), |subject| format!("subject {subject}"));
                    text.push_str(&format!("\n  position {} ({}, {subject})", mention.position, mention.event));
                }
            }
            text.push_str(
                "\n\nThe source's export, reports and copies of the keyring are outside the ledger: forget it there too.",
            );
            text
        })?;
        Ok(Exit::Done)
    }
}
