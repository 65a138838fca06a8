use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ValueEnum, builder::PossibleValuesParser};
use serde_json::{Value as Json, json};
use waybill_engine::failure::Failure;
use waybill_sandbox::{salesforce, spark, spark_bundle::Spec, twenty};

use crate::{Context, exit::Exit};

/// Serve a CRM at home: a real HTTP server that speaks the system's wire, strictly
///
/// Prints one line of JSON when it listens: its address, a token, and, where the system has one, the credentials of its OAuth
/// client. `salesforce` is an org and `twenty` a workspace to write to; `spark` is a company to read, whose people can be let
/// work: POST to the address under `switches`.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    /// The system
    #[arg(value_enum)]
    system: System,
    /// The port on 127.0.0.1; 0 takes any
    #[arg(long, default_value_t = 0, value_name = "N")]
    port: u16,
    /// How many milliseconds every answer takes
    #[arg(long, default_value_t = 0, value_name = "MS")]
    latency: u64,
    /// Faults that are armed from the start, as JSON, such as '{"lose_answers": 2}'; the same as POST /__sandbox/faults takes
    #[arg(long, value_name = "SPEC")]
    faults: Option<String>,
    /// Stop when standard input ends, so that no server outlives the script that started it
    #[arg(long)]
    until_eof: bool,
    /// The seed of everything that looks random
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    org: OrgArgs,
    #[command(flatten)]
    company: CompanyArgs,
}

/// What only a system to write to has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of salesforce and twenty")]
struct OrgArgs {
    /// Speak https, with a certificate authority made for the occasion and written to this folder
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    tls: Option<PathBuf>,
    /// Rows that are there from the start: a JSON file of lists of rows by object, under Twenty by its plural name
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Whether the daily allowance or the rate limit counts [default: real]
    #[arg(long, value_enum)]
    limits: Option<Limits>,
}

/// What only a company has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of spark")]
struct CompanyArgs {
    /// About how many records the company has, as `generate` makes them [default: 2000]
    #[arg(long, value_name = "N", conflicts_with = "export")]
    size: Option<u64>,
    /// Serve this export instead of a company made for the occasion; the folder is not written to
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// How lists are paged, in the ways of public APIs [default: cursor]
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(spark::Paging::NAMES))]
    paging: Option<String>,
    /// Give no page after this one, where pages have numbers
    #[arg(long, value_name = "N")]
    max_page: Option<usize>,
    /// Answer so many calls a second, and refuse the others with 429
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// How finely changes are stamped [default: ms]
    #[arg(long, value_enum)]
    resolution: Option<Resolution>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    Salesforce,
    Spark,
    Twenty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Limits {
    Real,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resolution {
    S,
    Ms,
}

enum Server {
    Org(salesforce::Running),
    Company(spark::Running),
    Workspace(twenty::Running),
}

impl SandboxArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.must_fit()?;
        let until_eof = self.until_eof;
        let (server, line) = self.start().await.map_err(|e| {
            Failure::failed(format!("the sandbox cannot start: {e}")).hint("choose another port, or check the files")
        })?;
        context.output.line(&line.to_string())?;
        let ended = async {
            if until_eof {
                let mut input = tokio::io::stdin();
                // Whatever comes is not for us; an error is an end as well.
                let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = ended => {}
        }
        match server {
            Server::Org(running) => running.shutdown().await,
            Server::Company(running) => running.shutdown().await,
            Server::Workspace(running) => running.shutdown().await,
        }
        Ok(Exit::Done)
    }

    /// Refuses options of the other system.
    fn must_fit(&self) -> Result<(), Failure> {
        let (org, company) = (&self.org, &self.company);
        let stray = match self.system {
            System::Salesforce | System::Twenty => [
                ("--size", company.size.is_some()),
                ("--export", company.export.is_some()),
                ("--paging", company.paging.is_some()),
                ("--max-page", company.max_page.is_some()),
                ("--rate", company.rate.is_some()),
                ("--resolution", company.resolution.is_some()),
            ]
            .to_vec(),
            System::Spark => {
                [("--tls", org.tls.is_some()), ("--state", org.state.is_some()), ("--limits", org.limits.is_some())]
                    .to_vec()
            }
        };
        match stray.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(Failure::usage(format!("{option} is not for this system"))
                .hint("`waybill sandbox --help` tells which options are for which system")),
        }
    }

    async fn start(self) -> io::Result<(Server, Json)> {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let latency = Duration::from_millis(self.latency);
        match self.system {
            System::Salesforce => {
                let running = salesforce::serve(salesforce::Options {
                    addr,
                    seed: self.seed,
                    tls: self.org.tls,
                    limits: self.org.limits != Some(Limits::Off),
                    state: self.org.state,
                    faults: self.faults,
                    latency,
                })
                .await?;
                let line = json!({
                    "system": "salesforce", "url": running.url, "token": running.token, "client_id": running.client_id,
                    "client_secret": running.client_secret, "username": running.username, "password": running.password,
                    "security_token": running.security_token, "refresh_token": running.refresh_token,
                    "ca_certificate": running.ca_certificate,
                });
                Ok((Server::Org(running), line))
            }
            System::Twenty => {
                let running = twenty::serve(twenty::Options {
                    addr,
                    seed: self.seed,
                    tls: self.org.tls,
                    limits: self.org.limits != Some(Limits::Off),
                    state: self.org.state,
                    faults: self.faults,
                    latency,
                    switches: twenty::Switches::default(),
                })
                .await?;
                let mut line = json!({ "system": "twenty", "url": running.url, "token": running.token });
                if let Some(path) = &running.ca_certificate {
                    line["ca_certificate"] = json!(path);
                }
                Ok((Server::Workspace(running), line))
            }
            System::Spark => {
                let company = self.company;
                let running = spark::serve(spark::Options {
                    addr,
                    spec: Spec { size: company.size.unwrap_or(2_000), seed: self.seed, ..Spec::default() },
                    bundle: company.export,
                    paging: company.paging.and_then(|name| spark::Paging::named(&name)).unwrap_or_default(),
                    deepest: company.max_page,
                    rate: company.rate,
                    milliseconds: company.resolution != Some(Resolution::S),
                    latency,
                    faults: self.faults,
                })
                .await?;
                let line = json!({
                    "system": "spark", "url": running.url, "token": running.token, "client_id": running.client_id,
                    "client_secret": running.client_secret, "switches": running.switches,
                });
                Ok((Server::Company(running), line))
            }
        }
    }
}
