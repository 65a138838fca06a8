//! Runs the real binary and watches it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::Fallible;

/// One migration.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Trip {
    /// Records of the source that were read into rules.
    pub(crate) records: u64,
    /// How long `discover` took.
    pub(crate) discover: Duration,
    /// How long `approve` took.
    pub(crate) approve: Duration,
    /// How long `run` took.
    pub(crate) run: Duration,
    /// How long `reconcile` took, if it ran.
    pub(crate) reconcile: Duration,
    /// How long `rollback` took, if it ran.
    pub(crate) rollback: Duration,
    /// The peak of resident memory over all commands.
    pub(crate) peak_mb: f64,
    /// The size of the ledger afterwards.
    pub(crate) ledger_mb: f64,
}

/// Measures one binary.
#[derive(Debug)]
pub(crate) struct Bench {
    binary: PathBuf,
}

/// A sandbox in a process of its own.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    pub(crate) fn new(binary: Option<PathBuf>) -> Fallible<Self> {
        let beside = || std::env::current_exe().map(|own| own.with_file_name("waybill"));
        let binary = match binary {
            Some(binary) => binary,
            None => beside()?,
        };
        if !binary.exists() {
            return Err(
                format!("{} is not there: build it with `cargo build --release -p waybill`", binary.display()).into()
            );
        }
        Ok(Self { binary })
    }

    /// Returns the binary that is measured.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts a sandbox: which one, with its options.
    pub(crate) fn sandbox(&self, which: &[&str]) -> Fallible<Sandbox> {
        let mut child = Command::new(&self.binary)
            .arg("sandbox")
            .args(which)
            .arg("--until-eof")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("the sandbox has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let about: serde_json::Value = serde_json::from_str(&line)?;
        let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        Ok(Sandbox { url: text("url"), token: text("token"), child })
    }

    /// Makes a project that moves an export to a sandbox, with every owner decided.
    pub(crate) fn project(&self, project: &Path, to: &str, export: &Path, sandbox: &Sandbox) -> Fallible<()> {
        Self::ends_well(
            Command::new(&self.binary)
                .args(["init", "--from", "spark", "--to", to, "--url", &sandbox.url, "--bundle"])
                .arg(export)
                .arg(project),
        )?;
        let path = project.join("waybill.toml");
        let config = fs::read_to_string(&path)?;
        fs::write(&path, format!("{config}\n[destination.auth]\ntype = \"token\"\ntoken = {{ file = \"token\" }}\n"))?;
        fs::write(project.join("token"), &sandbox.token)?;
        let path = project.join("plan.toml");
        let plan = fs::read_to_string(&path)?.replacen(
            "email = \"email\"\n",
            "email = \"email\"\nfallback = \"grace.hopper@example.com\"\nunowned = \"ada.lovelace@example.com\"\n",
            1,
        );
        Ok(fs::write(&path, plan)?)
    }

    /// Runs one command on a project; returns how long it took and the peak of its resident memory in MB.
    pub(crate) fn step(&self, project: &Path, args: &[&str]) -> Fallible<(Duration, f64)> {
        let mut command = Command::new(&self.binary);
        command.arg("-C").arg(project).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let peak = watch(&mut command)?;
        Ok((began.elapsed(), peak))
    }

    /// Moves a company of this size, and with `back` compares it and takes it back.
    pub(crate) fn trip(&self, companies: u64, contacts: u64, back: bool) -> Fallible<Trip> {
        let dir = tempfile::tempdir()?;
        let export = self.generate(dir.path(), companies, contacts)?;
        let org = self.sandbox(&["salesforce", "--limits", "off"])?;
        let project = dir.path().join("project");
        self.project(&project, "salesforce", &export, &org)?;
        let mut trip = Trip { records: companies + contacts, ..Trip::default() };
        let mut step = |args: &[&str]| -> Fallible<Duration> {
            let (took, peak) = self.step(&project, args)?;
            trip.peak_mb = trip.peak_mb.max(peak);
            Ok(took)
        };
        let discover = step(&["plan"])?;
        step(&["schema", "apply"])?;
        let approve = step(&["approve", "--by", "Bench"])?;
        let run = step(&["run"])?;
        let (reconcile, rollback) =
            if back { (step(&["reconcile"])?, step(&["rollback"])?) } else { Default::default() };
        (trip.discover, trip.approve, trip.run) = (discover, approve, run);
        (trip.reconcile, trip.rollback) = (reconcile, rollback);
        trip.ledger_mb = megabytes(size(&project.join("ledger"))?);
        Ok(trip)
    }

    /// Returns how long the demo takes.
    pub(crate) fn demo(&self) -> Fallible<Duration> {
        let began = Instant::now();
        Self::ends_well(Command::new(&self.binary).arg("demo"))?;
        Ok(began.elapsed())
    }

    pub(crate) fn generate(&self, dir: &Path, companies: u64, contacts: u64) -> Fallible<PathBuf> {
        let export = dir.join("export");
        let numbers = [companies.to_string(), contacts.to_string()];
        let args = ["--plain", "--size", "100", "--companies", &numbers[0], "--contacts", &numbers[1]];
        Self::ends_well(Command::new(&self.binary).arg("generate").arg(&export).args(args))?;
        Ok(export)
    }

    pub(crate) fn ends_well(command: &mut Command) -> Fallible<()> {
        let output = command.stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

/// Runs a command and returns the peak of its resident memory in MB.
pub(crate) fn watch(command: &mut Command) -> Fallible<f64> {
    let mut child = command.spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = fs::read_to_string(&status)
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(peak);
        }
        if let Some(ended) = child.try_wait()? {
            if !ended.success() {
                return Err(format!("the command ended with {ended}").into());
            }
            return Ok(megabytes(peak * 1024));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 bytes")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn size(dir: &Path) -> Fallible<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        total += if entry.path().is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}
