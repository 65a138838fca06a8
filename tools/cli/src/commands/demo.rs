use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::ValueEnum;
use waybill_engine::{
    failure::Failure,
    project::{AuthConfig, Project, SecretRef, random_id},
};
use waybill_sandbox::{salesforce, spark_bundle, twenty};

use super::{
    approve::ApproveArgs, assess::AssessArgs, audit::AuditArgs, delta::DeltaArgs, diff::DiffArgs,
    discover::DiscoverArgs, handover::HandoverArgs, init::InitArgs, plan::PlanArgs, preflight::PreflightArgs,
    reconcile::ReconcileArgs, rollback::RollbackArgs, run::RunArgs, sample::SampleArgs, schema::SchemaArgs,
};
use crate::{Context, exit::Exit};

/// Watch a company move, be counted, and be taken back to the byte
///
/// Makes a small messy company, starts the destination at home, with some records of its own already, and goes through every
/// step. Nothing leaves this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// The system that the company moves to
    #[arg(long, value_enum, default_value_t = To::Salesforce, value_name = "SYSTEM")]
    to: To,
    /// Keep everything in this folder, to look around afterwards; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// About how many records the company has
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    size: u64,
    /// The seed of everything that looks random
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// Where the company moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    Salesforce,
    Twenty,
}

impl To {
    fn name(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::Twenty => "twenty",
        }
    }

    /// What people call an instance of it.
    fn place(self) -> &'static str {
        match self {
            Self::Salesforce => "Salesforce org",
            Self::Twenty => "Twenty workspace",
        }
    }

    /// What it has before us.
    fn rows(self) -> &'static str {
        match self {
            Self::Salesforce => ORG,
            Self::Twenty => WORKSPACE,
        }
    }
}

/// The destination while it runs.
enum Home {
    Salesforce(salesforce::Running),
    Twenty(twenty::Running),
}

impl Home {
    async fn start(to: To, seed: u64, state: PathBuf) -> io::Result<Self> {
        let state = Some(state);
        Ok(match to {
            To::Salesforce => {
                let options = salesforce::Options { seed, state, ..salesforce::Options::default() };
                Self::Salesforce(salesforce::serve(options).await?)
            }
            To::Twenty => {
                // A limit of a hundred requests a minute would make a long demo; the prefilled workflow is switched off, as
                // preflight advises.
                let switches = twenty::Switches { workflow: false, ..twenty::Switches::default() };
                let options = twenty::Options { seed, state, switches, limits: false, ..twenty::Options::default() };
                Self::Twenty(twenty::serve(options).await?)
            }
        })
    }

    fn url(&self) -> &str {
        match self {
            Self::Salesforce(org) => &org.url,
            Self::Twenty(workspace) => &workspace.url,
        }
    }

    fn digest(&self) -> String {
        match self {
            Self::Salesforce(org) => org.digest(),
            Self::Twenty(workspace) => workspace.digest(),
        }
    }

    /// Lets a project sign in.
    fn sign_in(&self, project: &Path) -> Result<(), Failure> {
        let write = |name: &str, secret: &str| {
            let path = project.join(name);
            fs::write(&path, secret).map_err(|e| Failure::io("write", &path, &e))
        };
        let mut opened = Project::open(project)?;
        opened.config.destination.auth = Some(match self {
            Self::Salesforce(org) => {
                write("client-secret", &org.client_secret)?;
                AuthConfig::ClientCredentials {
                    client_id: org.client_id.clone(),
                    client_secret: SecretRef::File("client-secret".into()),
                }
            }
            Self::Twenty(workspace) => {
                write("api-key", &workspace.token)?;
                opened.config.destination.requests_per_minute = Some(0);
                AuthConfig::Token { token: SecretRef::File("api-key".into()) }
            }
        });
        opened.save()
    }

    async fn shutdown(self) {
        match self {
            Self::Salesforce(org) => org.shutdown().await,
            Self::Twenty(workspace) => workspace.shutdown().await,
        }
    }
}

/// Parses a command as a person would type it.
fn typed<T: clap::Args>(words: &[&str]) -> Result<T, Failure> {
    let command = T::augment_args(clap::Command::new("waybill").no_binary_name(true));
    let matches = command.try_get_matches_from(words).map_err(|e| Failure::failed(e.to_string()))?;
    T::from_arg_matches(&matches).map_err(|e| Failure::failed(e.to_string()))
}

impl DemoArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let began = Instant::now();
        let (dir, kept) = match &self.dir {
            Some(dir) => (dir.clone(), true),
            None => (std::env::temp_dir().join(format!("waybill-demo-{}", random_id())), false),
        };
        let empty = fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
        if !empty {
            return Err(
                Failure::usage(format!("{} is not empty", dir.display())).hint("name a folder that does not exist")
            );
        }
        fs::create_dir_all(&dir).map_err(|e| Failure::io("make the folder", &dir, &e))?;
        let done = self.story(context, &dir).await;
        if !kept && let Err(e) = fs::remove_dir_all(&dir) {
            context.output.say(&format!("note: {} could not be removed: {e}", dir.display()));
        }
        done?;
        context.output.say(&format!("\nThe whole story took {:.1} seconds.", began.elapsed().as_secs_f64()));
        if kept {
            context.output.say(&format!("Look around: waybill -C {} audit log | less", dir.join("project").display()));
        } else {
            context.output.say("Keep it to look around: waybill demo --dir my-demo");
        }
        Ok(Exit::Done)
    }

    async fn story(&self, context: &Context, dir: &Path) -> Result<(), Failure> {
        let say = |text: &str| context.output.say(text);
        let step = |n: u32, what: &str, command: &str| say(&format!("\n== {n}. {what}\n   $ waybill {command}\n"));
        let project = dir.join("project");
        let own = Context { dir: project.clone(), output: context.output };

        step(1, "A company on Spark CRM", &format!("generate export --size {}", self.size));
        let export = dir.join("export");
        let spec =
            spark_bundle::Spec { size: self.size, seed: self.seed, broken: 400, ..spark_bundle::Spec::default() };
        let summary =
            spark_bundle::generate(&spec, &export).map_err(|e| Failure::io("write the export to", &export, &e))?;
        say(&format!("{} rows in {} files, some of them broken as real ones are", summary.total(), summary.rows.len()));

        let (name, place) = (self.to.name(), self.to.place());
        step(2, &format!("A {place} with records of its own"), &format!("sandbox {name}"));
        let state = dir.join("rows-before.json");
        fs::write(&state, self.to.rows()).map_err(|e| Failure::io("write", &state, &e))?;
        let org = Home::start(self.to, self.seed, state)
            .await
            .map_err(|e| Failure::failed(format!("the sandbox cannot start: {e}")))?;
        say(&format!("it listens on {}", org.url()));
        let done = self.journey(&own, &project, &export, &org, dir).await;
        org.shutdown().await;
        done
    }

    async fn journey(
        &self,
        context: &Context,
        project: &Path,
        export: &Path,
        org: &Home,
        dir: &Path,
    ) -> Result<(), Failure> {
        let say = |text: &str| context.output.say(text);
        let step = |n: u32, what: &str, command: &str| say(&format!("\n== {n}. {what}\n   $ waybill {command}\n"));

        let (name, place) = (self.to.name(), self.to.place());
        let command = format!("init project --from spark --to {name}");
        step(3, "A project, with the pair's blueprint as its plan", &command);
        let text = |path: &Path| path.display().to_string();
        typed::<InitArgs>(&[
            &text(project),
            "--from",
            "spark",
            "--to",
            name,
            "--bundle",
            &text(export),
            "--url",
            org.url(),
        ])?
        .run(context)?;
        org.sign_in(project)?;

        step(4, "Take stock of the export", "discover");
        typed::<DiscoverArgs>(&[])?.run(context).await?;

        step(5, "Look for what is wrong with the data, and what becomes of it", "assess --show 2");
        typed::<AssessArgs>(&["--show", "2"])?.run(context).await?;

        step(6, "Hold the plan against both systems", "plan");
        typed::<PlanArgs>(&[])?.run(context).await?;

        step(7, "A person decides who takes the records of people who left (in plan.toml)", "plan");
        decide(project)?;
        say("[owners] fallback = \"grace.hopper@example.com\", unowned = \"ada.lovelace@example.com\"");

        step(8, &format!("Make the {place} ready"), "schema apply");
        let exit = typed::<SchemaArgs>(&["apply"])?.run(context).await?;
        must(exit, "the schema step")?;
        let before = org.digest();

        step(9, "A named person approves exactly this plan", "approve --by \"Ada Lovelace\"");
        typed::<ApproveArgs>(&["--by", "Ada Lovelace"])?.run(context).await?;

        step(10, "Could anything stop a run?", "preflight --show 3");
        typed::<PreflightArgs>(&["--show", "3"])?.run(context).await?;

        step(11, "Land a slice of everything first, look at it field by field, take it back", "sample --size 150");
        typed::<SampleArgs>(&["--size", "150"])?.run(context).await?;
        say("\n   $ waybill diff --show 2\n");
        let exit = typed::<DiffArgs>(&["--show", "2"])?.run(context).await?;
        must(exit, "the comparison")?;
        say("\n   $ waybill rollback\n");
        let exit = typed::<RollbackArgs>(&[])?.run(context).await?;
        must(exit, "taking the sample back")?;

        step(12, "Move the company", "run");
        typed::<RunArgs>(&[])?.run(context).await?;

        step(13, "Read everything back and compare", "reconcile");
        let exit = typed::<ReconcileArgs>(&[])?.run(context).await?;
        must(exit, "the reconciliation")?;

        step(14, "Meanwhile, work went on at the source: pick up the difference", "delta");
        let later = dir.join("export-later");
        let edits = spark_bundle::Edits { changed: 40, created: 12, deleted: 5 };
        let clean = dir.join("export-clean");
        let spec = spark_bundle::Spec { size: self.size, seed: self.seed, ..spark_bundle::Spec::default() };
        spark_bundle::generate(&spec, &clean).map_err(|e| Failure::io("write the export to", &clean, &e))?;
        let changes = spark_bundle::mutate(&clean, &later, self.seed, &edits)
            .map_err(|e| Failure::io("write the later export to", &later, &e))?;
        let count = |map: &std::collections::BTreeMap<String, u64>| map.values().sum::<u64>();
        say(&format!(
            "the source says: {} changed, {} new, {} deleted, and the broken rows mended\n",
            count(&changes.changed),
            count(&changes.created),
            count(&changes.deleted)
        ));
        let mut opened = Project::open(project)?;
        opened.config.source.bundle = Some(std::path::absolute(&later).unwrap_or(later));
        opened.save()?;
        typed::<DeltaArgs>(&[])?.run(context).await?;
        let exit = typed::<ReconcileArgs>(&[])?.run(context).await?;
        must(exit, "the reconciliation after the delta")?;
        let moved = org.digest();

        step(15, "Hand over: what came, what did not and why, what to build again", "handover");
        typed::<HandoverArgs>(&[])?.run(context).await?;

        step(16, "Take it all back", "rollback");
        let exit = typed::<RollbackArgs>(&[])?.run(context).await?;
        must(exit, "the rollback")?;
        let after = org.digest();
        say(&format!("\nbefore   {before}\nmoved    {moved}\nnow      {after}"));
        if before != after {
            return Err(Failure::stopped(format!("the {place} is not what it was before: this must never happen"))
                .hint("keep the folder with --dir and report it"));
        }
        say(&format!("the {place} is what it was, to the byte"));

        step(17, "Prove the ledger", "audit verify");
        typed::<AuditArgs>(&["verify"])?.run(context).await?;
        Ok(())
    }
}

fn must(exit: Exit, what: &str) -> Result<(), Failure> {
    if exit == Exit::Done {
        return Ok(());
    }
    Err(Failure::stopped(format!("{what} found something, as shown above"))
        .hint("keep the folder with --dir and look into it"))
}

/// Writes the owner decisions into the plan, as a person would with an editor.
fn decide(project: &Path) -> Result<(), Failure> {
    let path = project.join("plan.toml");
    let plan = fs::read_to_string(&path).map_err(|e| Failure::io("read the plan", &path, &e))?;
    let decided = plan.replacen(
        "[owners]\nobject = \"users\"\nemail = \"email\"\n",
        "[owners]\nobject = \"users\"\nemail = \"email\"\nfallback = \"grace.hopper@example.com\"\nunowned = \"ada.lovelace@example.com\"\n",
        1,
    );
    fs::write(&path, decided).map_err(|e| Failure::io("write the plan", &path, &e))
}

/// What the org of the demo has before us.
const ORG: &str = r#"{
  "Account": [
    { "Name": "Harbour Bakery", "Industry": "Food & Beverage", "Phone": "+49 30 1234567" },
    { "Name": "North Light Studio", "Website": "north-light.example.com", "AnnualRevenue": 250000 }
  ],
  "Contact": [
    { "FirstName": "Ida", "LastName": "Rhodes", "Email": "ida.rhodes@example.org" },
    { "LastName": "Franklin", "Description": "Met at the fair.\nCall back in May." }
  ],
  "Opportunity": [
    { "Name": "Oven service", "StageName": "Prospecting", "CloseDate": "2027-03-01", "Amount": 1200.5 }
  ]
}"#;

/// What the workspace of the demo has before us, beside what every workspace begins with.
const WORKSPACE: &str = r#"{
  "companies": [
    { "name": "Harbour Bakery", "domainName": { "primaryLinkUrl": "https://harbour-bakery.example" } },
    { "name": "North Light Studio", "annualRevenue": { "amountMicros": 250000000000, "currencyCode": "EUR" } }
  ],
  "people": [
    { "name": { "firstName": "Ida", "lastName": "Rhodes" }, "emails": { "primaryEmail": "ida.rhodes@example.org" } },
    { "name": { "firstName": "", "lastName": "Franklin" }, "jobTitle": "Met at the fair" }
  ],
  "opportunities": [
    { "name": "Oven service", "stage": "MEETING", "amount": { "amountMicros": 1200500000, "currencyCode": "EUR" } }
  ]
}"#;
