//! A project on disk: its configuration, its plan, its ledger and its keys.
//!
//! ```text
//! DIR/waybill.toml      where records come from and go to; names secrets, never contains them
//! DIR/plan.toml         the mapping that people edit and approve
//! DIR/profile.toml      how the export is read, if it is not a shipped one
//! DIR/ledger/           what happened (never edited by hand)
//! DIR/keys/             the keys that open the ledger's contents: keep them apart from copies of the ledger
//! DIR/reports/          what was written for people
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use waybill_connectors::{
    AnyDestination,
    bundle::Profile,
    rest::{Description, Endpoint},
    salesforce::{self, Auth, Salesforce},
    transport::Http,
    twenty::{self, Twenty},
};
use waybill_ledger::ledger::{Guard, Home};
use waybill_projector::mapping::Plan;

use crate::failure::Failure;

/// The file that makes a directory a project.
pub const CONFIG: &str = "waybill.toml";

/// A project directory with its configuration read.
#[derive(Debug, Clone)]
pub struct Project {
    /// The directory.
    pub dir: PathBuf,
    /// What `waybill.toml` says.
    pub config: Config,
}

/// `waybill.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this project is.
    pub project: ProjectConfig,
    /// Where records come from.
    pub source: SourceConfig,
    /// Where records go.
    pub destination: DestinationConfig,
    /// How the ledger's key is kept; without it, in a file that only its owner may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysConfig>,
    /// What `assess` goes by, where it differs from the usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assess: Option<AssessConfig>,
}

/// `[assess]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssessConfig {
    /// A file over this many megabytes is told; 25 without it.
    pub file_limit_mb: Option<u64>,
    /// How many records a second are expected to land; 300 without it.
    pub records_per_second: Option<u64>,
}

/// `[keys]`: it is decided before the ledger is made and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeysConfig {
    /// The project key is in its file, sealed under the passphrase that is here.
    Passphrase(SecretRef),
    /// The project key is in no file of ours: here are its 64 hexadecimal digits.
    ProjectKey(SecretRef),
}

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// A random id, part of every idempotency key: two projects never take each other's rows for their own.
    pub id: String,
}

/// `[source]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The system, such as `spark`.
    pub system: String,
    /// What is read; without it, whichever of export and server is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SourceKind>,
    /// The export: a folder or a zip file, relative to the project.
    pub bundle: Option<PathBuf>,
    /// How the export is read: a TOML file relative to the project; without it, the system's shipped profile.
    pub profile: Option<PathBuf>,
    /// The address of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the server's token, key or client secret is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// How the server is read: a TOML file relative to the project; without it, the system's shipped description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<PathBuf>,
    /// A file with a further certificate authority, relative to the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<PathBuf>,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// An export.
    Bundle,
    /// A server with a REST API.
    Rest,
}

/// Where records are read, with everything that it takes.
#[derive(Debug)]
pub enum SourceAt {
    /// In an export, laid out like this.
    Bundle(PathBuf, Box<Profile>),
    /// From a server, in this way.
    Rest(Box<Description>, Endpoint),
}

/// `[destination]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationConfig {
    /// The system, such as `salesforce`.
    pub system: String,
    /// Its address.
    pub url: Option<String>,
    /// How to sign in.
    pub auth: Option<AuthConfig>,
    /// A file with a further certificate authority, relative to the project.
    pub ca_certificate: Option<PathBuf>,
    /// From how many rows of one object on a bulk job is used.
    pub bulk_threshold: Option<usize>,
    /// The most rows in one bulk job.
    pub job_rows: Option<usize>,
    /// The most rows in one request, where the system leaves it to us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<usize>,
    /// How many requests a minute the system takes, where it does not tell; 0 if it has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// What our key is called there, where rows name their authors so and the key may not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// The most batches under way at once; 3 without it. Fewer are, as long as the destination is slow or reports locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<usize>,
}

/// `[destination.auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthConfig {
    /// A token that someone obtained.
    Token {
        /// Where it is.
        token: SecretRef,
    },
    /// The OAuth client credentials flow.
    ClientCredentials {
        /// The client.
        client_id: String,
        /// Where its secret is.
        client_secret: SecretRef,
    },
}

/// Where a secret is found. Secrets never stand in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// In this environment variable.
    Env(String),
    /// In this file, relative to the project; surrounding white space is cut off.
    File(PathBuf),
}

impl Project {
    /// Makes `dir` a project and writes its configuration and plan. Refuses a directory that already is one.
    pub fn init(dir: &Path, from: &str, to: &str, id: String) -> Result<Self, Failure> {
        let blueprint = blueprint(from, to)?;
        let path = dir.join(CONFIG);
        if path.exists() {
            return Err(Failure::usage(format!("{} already is a project", dir.display()))
                .hint("choose another directory, or work on with the project that is there"));
        }
        fs::create_dir_all(dir).map_err(|e| Failure::io("make the project directory", dir, &e))?;
        let config = Config {
            project: ProjectConfig { id },
            source: SourceConfig {
                system: from.to_owned(),
                kind: None,
                bundle: None,
                profile: None,
                url: None,
                token: None,
                description: None,
                ca_certificate: None,
            },
            destination: DestinationConfig {
                system: to.to_owned(),
                url: None,
                auth: None,
                ca_certificate: None,
                bulk_threshold: None,
                job_rows: None,
                batch_rows: None,
                requests_per_minute: None,
                key_name: None,
                at_once: None,
            },
            keys: None,
            assess: None,
        };
        let project = Self { dir: dir.to_owned(), config };
        project.save()?;
        let plan = dir.join("plan.toml");
        if !plan.exists() {
            fs::write(&plan, blueprint).map_err(|e| Failure::io("write the plan", &plan, &e))?;
        }
        Ok(project)
    }

    /// Reads the project in `dir`.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(CONFIG);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Failure::usage(format!("{} is not a project: it has no {CONFIG}", dir.display())).hint(
                    "name the project with -C DIR, or make one with `waybill init DIR --from spark --to salesforce`",
                ));
            }
            Err(e) => return Err(Failure::io("read", &path, &e)),
        };
        let config = toml::from_str(&text).map_err(|e| {
            Failure::usage(format!("{} cannot be understood: {}", path.display(), e.to_string().trim_end()))
                .hint("correct the file; the README shows a whole one")
        })?;
        Ok(Self { dir: dir.to_owned(), config })
    }

    /// Writes the configuration back.
    pub fn save(&self) -> Result<(), Failure> {
        let path = self.dir.join(CONFIG);
        let text = toml::to_string_pretty(&self.config).map_err(|e| Failure::failed(e.to_string()))?;
        fs::write(&path, format!("{CONFIG_HEAD}{text}")).map_err(|e| Failure::io("write", &path, &e))
    }

    /// Returns where the ledger and its keys are.
    pub fn home(&self) -> Home {
        let secret = |reference: &SecretRef, guard: fn(SecretString) -> Guard| match self.secret(reference) {
            Ok(secret) => guard(secret.into()),
            Err(e) => Guard::Absent(e.to_string()),
        };
        let guard = match &self.config.keys {
            None => Guard::File,
            Some(KeysConfig::Passphrase(reference)) => secret(reference, Guard::Passphrase),
            Some(KeysConfig::ProjectKey(reference)) => secret(reference, Guard::Given),
        };
        Home { guard, ..Home::new(self.dir.join("ledger"), self.dir.join("keys")) }
    }

    /// Returns where the plan is.
    pub fn plan_path(&self) -> PathBuf {
        self.dir.join("plan.toml")
    }

    /// Returns where reports go.
    pub fn reports(&self) -> PathBuf {
        self.dir.join("reports")
    }

    /// Reads the plan, with its text as it stands.
    pub fn plan(&self) -> Result<(Plan, String), Failure> {
        let path = self.plan_path();
        let text = fs::read_to_string(&path).map_err(|e| Failure::io("read the plan", &path, &e))?;
        let plan = Plan::parse(&text).map_err(|e| {
            Failure::usage(format!("{} cannot be understood:\n{e}", path.display()))
                .hint("correct the plan, then run the command again; nothing was changed")
        })?;
        Ok((plan, text))
    }

    /// Reads the profile by which the export is read.
    pub fn profile(&self) -> Result<Profile, Failure> {
        let Some(path) = &self.config.source.profile else {
            return Profile::shipped(&self.config.source.system).ok_or_else(|| {
                Failure::usage(format!("no profile is shipped for `{}`", self.config.source.system))
                    .hint("write one and name it in waybill.toml: [source] profile = \"profile.toml\"")
            });
        };
        let path = self.dir.join(path);
        let text = fs::read_to_string(&path).map_err(|e| Failure::io("read the profile", &path, &e))?;
        Profile::parse(&text)
            .map_err(|e| Failure::usage(format!("{} cannot be understood: {e}", path.display())).hint("correct it"))
    }

    /// Returns where the export is.
    pub fn bundle(&self) -> Result<PathBuf, Failure> {
        self.config.source.bundle.as_ref().map(|path| self.dir.join(path)).ok_or_else(|| {
            Failure::usage("waybill.toml names no export")
                .hint("set [source] bundle to the export's folder or zip file, or url to the address of a server")
        })
    }

    /// Returns where records are read.
    pub fn source(&self) -> Result<SourceAt, Failure> {
        let source = &self.config.source;
        let kind = match (source.kind, &source.bundle, &source.url) {
            (Some(kind), ..) => kind,
            (None, Some(_), Some(_)) => {
                return Err(Failure::usage("waybill.toml names an export and a server")
                    .hint("say which one is read: [source] kind = \"bundle\" or kind = \"rest\""));
            }
            (None, None, Some(_)) => SourceKind::Rest,
            (None, _, None) => SourceKind::Bundle,
        };
        match kind {
            SourceKind::Bundle => Ok(SourceAt::Bundle(self.bundle()?, Box::new(self.profile()?))),
            SourceKind::Rest => {
                let secret = match &source.token {
                    Some(token) => self.secret(token)?,
                    None => String::new(),
                };
                let endpoint = Endpoint {
                    url: source.url.clone(),
                    secret: secret.into(),
                    ca_certificate: source.ca_certificate.as_ref().map(|path| self.dir.join(path)),
                };
                Ok(SourceAt::Rest(Box::new(self.description()?), endpoint))
            }
        }
    }

    /// Reads the description by which the server is read.
    fn description(&self) -> Result<Description, Failure> {
        let source = &self.config.source;
        let Some(path) = &source.description else {
            return Description::shipped(&source.system).ok_or_else(|| {
                Failure::usage(format!("no description of a server is shipped for `{}`", source.system))
                    .hint("write one and name it in waybill.toml: [source] description = \"rest.toml\"")
            });
        };
        let path = self.dir.join(path);
        let text = fs::read_to_string(&path).map_err(|e| Failure::io("read the description", &path, &e))?;
        let found = Description::parse(&text)
            .map_err(|e| Failure::usage(format!("{} cannot be used: {e}", path.display())).hint("correct it"))?;
        if found.system() != source.system {
            return Err(Failure::usage(format!(
                "{} describes `{}`, and the project reads `{}`",
                path.display(),
                found.system(),
                source.system
            ))
            .hint("let both say the same: the system is part of every record's name"));
        }
        Ok(found)
    }

    /// Connects to the destination, over this carrier of requests or else over the network.
    pub async fn reach(&self, wire: Option<&Arc<dyn Http>>) -> Result<AnyDestination, Failure> {
        match self.config.destination.system.as_str() {
            "salesforce" => {
                let connection = self.salesforce()?;
                let reached = match wire {
                    Some(wire) => Salesforce::connect_over(Arc::clone(wire), connection).await?,
                    None => Salesforce::connect(connection).await?,
                };
                Ok(AnyDestination::Salesforce(Box::new(reached)))
            }
            "twenty" => {
                let connection = self.twenty()?;
                let reached = match wire {
                    Some(wire) => Twenty::connect_over(Arc::clone(wire), connection),
                    None => Twenty::connect(connection)?,
                };
                Ok(AnyDestination::Twenty(Box::new(reached)))
            }
            other => Err(Failure::usage(format!("there is no connector to `{other}`"))
                .hint("the destinations that ship: salesforce, twenty")),
        }
    }

    /// Returns how to reach a Twenty workspace, with the key read.
    fn twenty(&self) -> Result<twenty::Connection, Failure> {
        let destination = &self.config.destination;
        let missing = |what: &str| {
            Failure::usage(format!("waybill.toml names no {what} of the destination"))
                .hint("set url and auth under [destination]; the README shows how")
        };
        let url = destination.url.clone().ok_or_else(|| missing("url"))?;
        let key = match destination.auth.as_ref().ok_or_else(|| missing("auth"))? {
            AuthConfig::Token { token } => self.secret(token)?,
            AuthConfig::ClientCredentials { .. } => {
                return Err(Failure::usage("Twenty signs in with an API key")
                    .hint("set [destination.auth] type = \"token\" and let token name the place of the key"));
            }
        };
        let mut connection = twenty::Connection::new(url, key.into());
        connection.ca_certificate = destination.ca_certificate.as_ref().map(|path| self.dir.join(path));
        if let Some(rows) = destination.batch_rows {
            connection.batch_rows = rows;
        }
        if let Some(requests) = destination.requests_per_minute {
            connection.requests_per_minute = requests;
        }
        connection.key_name.clone_from(&destination.key_name);
        Ok(connection)
    }

    /// Returns how to reach a Salesforce org, with the secrets read.
    fn salesforce(&self) -> Result<salesforce::Connection, Failure> {
        let destination = &self.config.destination;
        let missing = |what: &str| {
            Failure::usage(format!("waybill.toml names no {what} of the destination"))
                .hint("set url and auth under [destination]; the README shows how")
        };
        let url = destination.url.clone().ok_or_else(|| missing("url"))?;
        let auth = match destination.auth.as_ref().ok_or_else(|| missing("auth"))? {
            AuthConfig::Token { token } => Auth::Token(self.secret(token)?.into()),
            AuthConfig::ClientCredentials { client_id, client_secret } => {
                Auth::ClientCredentials { id: client_id.clone(), secret: self.secret(client_secret)?.into() }
            }
        };
        let mut connection = salesforce::Connection::new(url, auth);
        connection.ca_certificate = destination.ca_certificate.as_ref().map(|path| self.dir.join(path));
        if let Some(rows) = destination.bulk_threshold {
            connection.bulk_threshold = rows;
        }
        Ok(connection)
    }

    fn secret(&self, reference: &SecretRef) -> Result<String, Failure> {
        match reference {
            SecretRef::Env(name) => std::env::var(name).map_err(|_| {
                Failure::usage(format!("the environment variable {name} is not set"))
                    .hint("waybill.toml names it as the place of a secret; set it and run the command again")
            }),
            SecretRef::File(path) => {
                let path = self.dir.join(path);
                let text = fs::read_to_string(&path).map_err(|e| Failure::io("read the secret in", &path, &e))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

const CONFIG_HEAD: &str = "# A Waybill project. Secrets never stand here: name an environment variable or a file.\n\n";

/// Returns the shipped plan of a pair of systems.
pub fn blueprint(from: &str, to: &str) -> Result<&'static str, Failure> {
    match (from, to) {
        ("spark", "salesforce") => Ok(waybill_connectors::blueprints::SPARK_TO_SALESFORCE),
        ("spark", "twenty") => Ok(waybill_connectors::blueprints::SPARK_TO_TWENTY),
        _ => Err(Failure::usage(format!("there is no blueprint from `{from}` to `{to}`"))
            .hint("the pairs that ship: spark to salesforce, spark to twenty")),
    }
}

/// Returns a random id for a project.
pub fn random_id() -> String {
    let mut bytes = [0; 8];
    waybill_ledger::ledger::Ports::system().entropy.fill(&mut bytes);
    format!("{:016x}", u64::from_le_bytes(bytes))
}
