//! What a command prints: data on stdout, words for people on stderr.
//!
//! The only file that may touch the standard streams.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use waybill_engine::{failure::Failure, progress::Progress};

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Whether the data is wanted as JSON.
    pub(crate) json: bool,
}

impl Output {
    /// Prints one document as JSON, or as `human` writes it.
    pub(crate) fn document<T: Serialize>(self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(value).map_err(|e| Failure::failed(e.to_string()))?
        } else {
            human()
        };
        self.line(text.trim_end())
    }

    /// Prints one item of a stream: a JSON line, or a line for people.
    pub(crate) fn item<T: Serialize>(self, value: &T, human: impl FnOnce() -> String) -> Result<(), Failure> {
        let text =
            if self.json { serde_json::to_string(value).map_err(|e| Failure::failed(e.to_string()))? } else { human() };
        self.line(&text)
    }

    /// Prints a line of data.
    #[expect(clippy::unused_self, reason = "printing is the output's, whoever it belongs to")]
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}") {
            Ok(()) => Ok(()),
            // The reader went away (`waybill audit log | head`): that is its right, and no failure of ours.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(e) => Err(Failure::failed(format!("cannot write to standard output: {e}"))),
        }
    }

    /// Says something to the person at the terminal.
    #[expect(clippy::unused_self, reason = "printing is the output's, whoever it belongs to")]
    pub(crate) fn say(self, text: &str) {
        // A closed stderr must not stop a migration.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Prints a failure with its particulars and, after a blank line, what to do next.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let document = serde_json::json!({
                "error": failure.what,
                "details": failure.details,
                "hint": failure.hint,
            });
            self.say(&document.to_string());
            return;
        }
        self.say(&format!("error: {failure}"));
        if let Some(hint) = &failure.hint {
            self.say(&format!("\nhint: {hint}"));
        }
    }
}

/// Returns a table whose columns after the first `text` ones are aligned to the right.
pub(crate) fn table(header: &[&str], text: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((u16::from(n == 0) * 2, 2));
        if n >= text {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Shows long work: a bar with a rate and the time left on a terminal, a line every few seconds elsewhere.
#[derive(Debug)]
pub(crate) struct Bars {
    bar: ProgressBar,
    label: std::sync::Mutex<String>,
    logged: std::sync::Mutex<Option<std::time::Instant>>,
    quiet: bool,
}

impl Bars {
    /// Returns bars for this output; with JSON they stay silent.
    pub(crate) fn new(output: Output) -> Self {
        let terminal = io::stderr().is_terminal() && !output.json;
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let style = ProgressStyle::with_template("  {msg:34} {bar:30} {pos:>9}/{len:<9} {per_sec:>12} {eta:>4}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Self {
            bar,
            label: std::sync::Mutex::default(),
            logged: std::sync::Mutex::default(),
            quiet: terminal || output.json,
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn log(&self, force: bool) {
        if self.quiet {
            return;
        }
        let (Ok(mut logged), Ok(label)) = (self.logged.lock(), self.label.lock()) else { return };
        if force || logged.is_none_or(|at| at.elapsed().as_secs() >= 5) {
            *logged = Some(std::time::Instant::now());
            let rate = self.bar.per_sec();
            let left = HumanDuration(self.bar.eta());
            let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let _ = writeln!(io::stderr(), "{label}: {done}/{of} ({rate:.0}/s, {left} left)");
        }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, of: u64) {
        if let Ok(mut label) = self.label.lock() {
            what.clone_into(&mut label);
        }
        if let Ok(mut logged) = self.logged.lock() {
            *logged = Some(std::time::Instant::now());
        }
        self.bar.reset();
        self.bar.set_length(of);
        self.bar.set_message(what.to_owned());
    }

    fn advance(&self, by: u64) {
        self.bar.inc(by);
        self.log(false);
    }

    fn end(&self) {
        let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if done > of {
            self.bar.set_length(done);
        }
        if self.bar.elapsed().as_secs() >= 5 {
            self.log(true);
        }
    }

    fn note(&self, text: &str) {
        if self.quiet {
            self.bar.println(format!("  {text}"));
        } else {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}
