use waybill_engine::{
    discover::{self, Discovery, Found},
    failure::Failure,
};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Take stock of the source: what it holds, how much of it, and what cannot be read
#[derive(Debug, clap::Args)]
pub(crate) struct DiscoverArgs {
    /// Show what the fields hold, of every object or of this one
    #[arg(long, value_name = "OBJECT", num_args = 0..=1, default_missing_value = "")]
    fields: Option<String>,
    /// Show examples as they are, instead of masked
    #[arg(long)]
    show_values: bool,
}

impl DiscoverArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = discover::discover(&mut session).await;
        let mut discovery = close(session, &bars, done).await?;
        if let Some(object) = self.fields.as_deref().filter(|object| !object.is_empty())
            && !discovery.objects.iter().any(|found| found.object == object)
        {
            return Err(Failure::usage(format!("the export has no object `{object}`"))
                .hint("see the first column of `waybill discover`"));
        }
        if self.show_values {
            for facts in discovery.objects.iter_mut().flat_map(|object| &mut object.facts) {
                facts.examples = facts.plain.clone();
            }
        }
        context.output.document(&discovery, || self.words(&discovery))?;
        let short: Vec<String> = discovery.objects.iter().filter_map(Found::shortfall).collect();
        if !short.is_empty() {
            context.output.say(&format!(
                "\nnote: the export does not hold what the source has (is it cut, or filtered?)\n  {}",
                short.join("\n  ")
            ));
        }
        Ok(Exit::Done)
    }

    fn words(&self, discovery: &Discovery) -> String {
        let mut parts =
            vec![format!("recognised: {} ({})", discovery.recognised, discovery.evidence), objects(discovery)];
        if !discovery.pipelines.is_empty() {
            let rows =
                discovery.pipelines.iter().map(|pipeline| vec![pipeline.name.clone(), pipeline.stages.join(" → ")]);
            parts.push(table(&["pipeline", "stages"], 2, rows));
        }
        if !discovery.owners.is_empty() {
            let rows = discovery.owners.iter().map(|owner| {
                let state = match (owner.known, owner.active) {
                    (false, _) => "unknown",
                    (true, Some(false)) => "inactive",
                    (true, _) => "active",
                };
                let records: u64 = owner.records.values().sum();
                vec![owner.email.clone().unwrap_or_else(|| owner.id.clone()), state.to_owned(), records.to_string()]
            });
            parts.push(table(&["owner", "is", "records"], 2, rows));
        }
        if !discovery.tags.is_empty() {
            let rows = discovery.tags.iter().map(|field| {
                let tags: Vec<String> =
                    field.tags.iter().take(12).map(|(tag, count)| format!("{tag} ({count})")).collect();
                vec![format!("{}.{}", field.object, field.field), tags.join(", "), field.distinct.to_string()]
            });
            parts.push(table(&["tags", "the most frequent", "different"], 2, rows));
        }
        let files = &discovery.attachments;
        if files.files > 0 {
            parts.push(format!(
                "attachments: {} files, {}; {} over 25 MB, {} not in the export",
                files.files,
                indicatif::DecimalBytes(files.bytes),
                files.large,
                files.missing
            ));
        }
        if !discovery.unread.is_empty() {
            parts.push(format!("files that nothing claims: {}", discovery.unread.join(", ")));
        }
        parts.extend(discovery.notes.iter().map(|note| format!("note: {note}")));
        if let Some(only) = &self.fields {
            let wanted = |found: &&Found| only.is_empty() || found.object == *only;
            parts.extend(discovery.objects.iter().filter(wanted).filter(|found| !found.facts.is_empty()).map(fields));
        }
        parts.join("\n\n")
    }
}

fn objects(discovery: &Discovery) -> String {
    let rows = discovery.objects.iter().map(|object| {
        let told = |rows: Option<u64>| rows.map_or_else(|| "-".to_owned(), |rows| rows.to_string());
        vec![
            object.object.clone(),
            object.fields.to_string(),
            told(object.in_source),
            told(object.promised),
            object.read.to_string(),
            object.records.to_string(),
            object.gone.to_string(),
            (object.unreadable + object.repeated).to_string(),
        ]
    });
    table(&["object", "fields", "in source", "promised", "rows", "records", "gone", "unreadable"], 1, rows)
}

fn fields(found: &Found) -> String {
    let rows = found.facts.iter().map(|facts| {
        let about = if facts.estimated { "~" } else { "" };
        let holds = match (&facts.days, facts.values.is_empty()) {
            (Some((first, last)), _) => format!("{first} to {last}"),
            (None, false) => {
                let values: Vec<String> =
                    facts.values.iter().take(6).map(|(value, count)| format!("{value} ({count})")).collect();
                values.join(", ")
            }
            (None, true) => facts.examples.join(", "),
        };
        vec![
            format!("{}.{}", found.object, facts.name),
            facts.looks.clone(),
            holds,
            format!("{} %", facts.filled_percent()),
            format!("{about}{}", facts.distinct),
            facts.longest.to_string(),
        ]
    });
    table(&["field", "looks", "holds", "filled", "different", "longest"], 3, rows)
}
