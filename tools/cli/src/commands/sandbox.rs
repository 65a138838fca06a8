use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use serde_json::{Value as Json, json};
use waybill_engine::failure::Failure;
use waybill_sandbox::{salesforce, twenty};

use crate::{Context, exit::Exit};

/// Serve a CRM at home: a real HTTP server that speaks the system's wire, strictly
///
/// Prints one line of JSON when it listens: its address, a token, and, where the system has one, the credentials of its OAuth
/// client.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    /// The system
    #[arg(value_enum)]
    system: System,
    /// The port on 127.0.0.1; 0 takes any
    #[arg(long, default_value_t = 0, value_name = "N")]
    port: u16,
    /// Speak https, with a certificate authority made for the occasion and written to this folder
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = ".")]
    tls: Option<PathBuf>,
    /// Rows that are there from the start: a JSON file of lists of rows by object, under Twenty by its plural name
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Whether the daily allowance or the rate limit counts
    #[arg(long, value_enum, default_value_t = Limits::Real)]
    limits: Limits,
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
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum System {
    Salesforce,
    Twenty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Limits {
    Real,
    Off,
}

/// A server that listens.
#[derive(Debug)]
enum Running {
    Salesforce(salesforce::Running),
    Twenty(twenty::Running),
}

impl Running {
    /// Returns what a client has to know.
    fn line(&self) -> Json {
        match self {
            Self::Salesforce(running) => json!({
                "system": "salesforce", "url": running.url, "token": running.token, "client_id": running.client_id,
                "client_secret": running.client_secret, "username": running.username, "password": running.password,
                "security_token": running.security_token, "refresh_token": running.refresh_token,
                "ca_certificate": running.ca_certificate,
            }),
            Self::Twenty(running) => {
                let mut line = json!({ "system": "twenty", "url": running.url, "token": running.token });
                if let Some(path) = &running.ca_certificate {
                    line["ca_certificate"] = json!(path);
                }
                line
            }
        }
    }

    async fn shutdown(self) {
        match self {
            Self::Salesforce(running) => running.shutdown().await,
            Self::Twenty(running) => running.shutdown().await,
        }
    }
}

impl SandboxArgs {
    async fn serve(self) -> std::io::Result<Running> {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let (limits, latency) = (self.limits == Limits::Real, Duration::from_millis(self.latency));
        let Self { system, tls, state, faults, seed, .. } = self;
        match system {
            System::Salesforce => {
                let options = salesforce::Options { addr, seed, tls, limits, state, faults, latency };
                salesforce::serve(options).await.map(Running::Salesforce)
            }
            System::Twenty => {
                let switches = twenty::Switches::default();
                let options = twenty::Options { addr, seed, tls, limits, state, faults, latency, switches };
                twenty::serve(options).await.map(Running::Twenty)
            }
        }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let until_eof = self.until_eof;
        let running = self.serve().await.map_err(|e| {
            Failure::failed(format!("the sandbox cannot start: {e}")).hint("choose another port, or check the files")
        })?;
        context.output.line(&running.line().to_string())?;
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
        running.shutdown().await;
        Ok(Exit::Done)
    }
}
