//! `waybill`: what people type.
//!
//! One file a command under [`commands`]; the work is in the engine. stdout is data, stderr is for people, `--json` is a
//! promise, and the exit codes are in [`exit`].

mod commands;
mod exit;
mod output;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use waybill_engine::failure::Failure;

use crate::{exit::Exit, output::Output};

/// Batches come and go in several threads; the system's allocator keeps a hundred megabytes of what they leave behind.
/// `.cargo/config.toml` says how soon this one gives back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Moves a company's data from one CRM to another, remembers every step, and takes it back exactly.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    /// The project directory
    #[arg(short = 'C', id = "project-dir", value_name = "DIR", default_value = ".", global = true)]
    at: PathBuf,

    /// Print data as JSON: one document, or one line per item for streams
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoArgs),
    Init(commands::init::InitArgs),
    Discover(commands::discover::DiscoverArgs),
    Assess(commands::assess::AssessArgs),
    Plan(commands::plan::PlanArgs),
    Schema(commands::schema::SchemaArgs),
    Approve(commands::approve::ApproveArgs),
    Preflight(commands::preflight::PreflightArgs),
    Sample(commands::sample::SampleArgs),
    Diff(commands::diff::DiffArgs),
    Run(commands::run::RunArgs),
    Delta(commands::delta::DeltaArgs),
    Reconcile(commands::reconcile::ReconcileArgs),
    Rollback(commands::rollback::RollbackArgs),
    Holds(commands::holds::HoldsArgs),
    Handover(commands::handover::HandoverArgs),
    Status(commands::status::StatusArgs),
    Audit(commands::audit::AuditArgs),
    Erase(commands::erase::EraseArgs),
    Sandbox(commands::sandbox::SandboxArgs),
    Generate(commands::generate::GenerateArgs),
}

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The project directory.
    pub(crate) dir: PathBuf,
    /// Where and how to print.
    pub(crate) output: Output,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("WAYBILL_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off")),
        )
        .init();
    let context = Context { dir: cli.at, output: Output { json: cli.json } };
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::failed(format!("cannot start: {e}")))
        .and_then(|runtime| runtime.block_on(run(cli.command, &context)));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.output.failure(&failure);
            Exit::from(failure.kind).into()
        }
    }
}

async fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => args.run(context).await,
        Command::Init(args) => args.run(context),
        Command::Discover(args) => args.run(context).await,
        Command::Assess(args) => args.run(context).await,
        Command::Plan(args) => args.run(context).await,
        Command::Schema(args) => args.run(context).await,
        Command::Approve(args) => args.run(context).await,
        Command::Preflight(args) => args.run(context).await,
        Command::Sample(args) => args.run(context).await,
        Command::Diff(args) => args.run(context).await,
        Command::Run(args) => args.run(context).await,
        Command::Delta(args) => args.run(context).await,
        Command::Reconcile(args) => args.run(context).await,
        Command::Rollback(args) => args.run(context).await,
        Command::Holds(args) => args.run(context).await,
        Command::Handover(args) => args.run(context).await,
        Command::Status(args) => args.run(context).await,
        Command::Audit(args) => args.run(context).await,
        Command::Erase(args) => args.run(context).await,
        Command::Sandbox(args) => args.run(context).await,
        Command::Generate(args) => args.run(context),
    }
}
