use indicatif::{DecimalBytes, HumanDuration};
use waybill_engine::{
    assess::{self, Assessment},
    failure::Failure,
};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Look for what is wrong with the export's data, and say what the plan will do about it
///
/// Duplicates, references that lead nowhere or in a circle, spellings of one choice, days that cannot be, values that are
/// missing, files that are too large; and a grade. Nothing is changed, and the destination is not asked.
#[derive(Debug, clap::Args)]
pub(crate) struct AssessArgs {
    /// How many records of each finding are shown (with --json all of them, at most 1,000)
    #[arg(long, default_value_t = 3, value_name = "N")]
    show: usize,
    /// Only findings of this kind, such as `duplicate-people`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

impl AssessArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = assess::assess(&mut session).await;
        let mut assessment = close(session, &bars, done).await?;
        let blocks = assessment.blocks();
        if let Some(kind) = &self.kind {
            assessment.findings.retain(|finding| finding.kind == *kind);
        }
        context.output.document(&assessment, || self.words(&assessment))?;
        for line in &assessment.skipped {
            context.output.say(&format!("not looked at: {line}"));
        }
        if blocks {
            context.output.say("\nnothing can be written before what blocks is mended in the source");
            return Ok(Exit::Stopped);
        }
        Ok(Exit::Done)
    }

    fn words(&self, assessment: &Assessment) -> String {
        let mut parts = Vec::new();
        if self.kind.is_none() {
            parts.push(objects(assessment));
        }
        parts.push(self.findings(assessment));
        if self.kind.is_none() {
            parts.extend(grade(assessment));
        }
        parts.join("\n\n")
    }

    fn findings(&self, assessment: &Assessment) -> String {
        if assessment.findings.is_empty() {
            return "nothing was found".to_owned();
        }
        let rows = assessment.findings.iter().map(|finding| {
            let at = match &finding.field {
                Some(field) => format!("{}.{field}", finding.object),
                None => finding.object.clone(),
            };
            let shown: Vec<String> = finding.records.iter().take(self.show).map(|group| group.join(" = ")).collect();
            let more = if finding.records.len() > self.show { ", …" } else { "" };
            vec![
                finding.kind.clone(),
                at,
                finding.what.clone(),
                format!("{}{more}", shown.join(", ")),
                finding.plan.clone(),
                finding.count.to_string(),
            ]
        });
        table(&["finding", "where", "what", "records", "the plan", "count"], 5, rows)
    }
}

fn objects(assessment: &Assessment) -> String {
    let rows = assessment.grade.objects.iter().map(|object| {
        let full = assessment.completeness.iter().find(|full| full.object == object.object);
        vec![
            object.object.clone(),
            becomes(&object.to),
            object.fit.word().to_owned(),
            object.because.join("; "),
            full.map_or_else(String::new, |full| format!("{} %", full.filled_percent)),
            object.records.to_string(),
        ]
    });
    table(&["object", "becomes", "fit", "because", "filled", "records"], 4, rows)
}

/// Names the objects that records become, each once.
fn becomes(to: &[String]) -> String {
    let mut named: Vec<(&str, usize)> = Vec::new();
    for object in to {
        match named.iter_mut().find(|(known, _)| known == object) {
            Some((_, times)) => *times += 1,
            None => named.push((object, 1)),
        }
    }
    let word = |(object, times): &(&str, usize)| {
        if *times == 1 { (*object).to_owned() } else { format!("{object} ({times} rules)") }
    };
    named.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn grade(assessment: &Assessment) -> Vec<String> {
    let grade = &assessment.grade;
    let mut parts = vec![
        format!(
            "compatibility {}: {} % of what the source holds is carried",
            grade.compatibility, grade.carried_percent
        ),
        format!("complexity {}: {}", grade.complexity, grade.reasons.join("; ")),
        format!(
            "volume: {} records, {} of them to carry; files {}",
            grade.records,
            grade.to_carry,
            DecimalBytes(grade.file_bytes)
        ),
    ];
    if !grade.constraints.is_empty() {
        parts.push(format!("by the destination's interface:\n  {}", grade.constraints.join("\n  ")));
    }
    parts.push(format!(
        "expected: {} to load at {} records a second, and about as long to read back",
        HumanDuration(std::time::Duration::from_secs(grade.expected_seconds)),
        grade.records_per_second
    ));
    parts
}
