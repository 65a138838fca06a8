//! Files of an export that were held against their digests and that nobody has touched since.
//!
//! `assess` mostly follows `discover`, and both go through every byte. What `discover` has found to be as the manifest says, and
//! what the file system says has been left alone since, need not be digested again for a report. Whatever writes anywhere (`plan`,
//! `run`, `delta`, …) digests every file, always.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use waybill_connectors::bundle::{Bundle, Mark};
use waybill_ledger::ledger::Ledger;

/// The snapshot that holds the marks, and the form in which it does.
const SNAPSHOT: &str = "untouched";
const FORM: u32 = 1;

/// The marks of the files of an export, taken before the files were held against their digests.
#[derive(Debug, Default)]
pub(crate) struct Marks(BTreeMap<String, Mark>);

impl Marks {
    /// Takes the marks of all files. One that was touched only just now has none: the next touch might not show.
    pub(crate) fn take(bundle: &Bundle, ledger: &Ledger) -> Self {
        let now = ledger.now().to_utc();
        let marks = bundle.marks().filter(|(_, mark)| mark.would_tell(now));
        Self(marks.map(|(file, mark)| (file.to_owned(), mark)).collect())
    }

    /// Returns the marks that were kept; none if they cannot be read or someone else has written them.
    pub(crate) fn kept(ledger: &Ledger) -> Self {
        let kept = ledger.snapshot(SNAPSHOT, FORM);
        Self(kept.and_then(|kept| serde_json::from_reader(kept.body).ok()).unwrap_or_default())
    }

    /// Keeps the marks, now that all files were found to be what the manifest says.
    pub(crate) fn keep(&self, ledger: &Ledger) {
        let write = |to: &mut dyn Write| serde_json::to_writer(to, &self.0).map_err(Into::into);
        if let Err(error) = ledger.keep_snapshot(SNAPSHOT, FORM, ledger.head().end, write) {
            // Without it the files are digested again, and nothing else.
            tracing::warn!(%error, "no marks of the export's files could be kept");
        }
    }

    /// Returns the files of the export, among those with a digest, of which it is not known that they are what it says.
    pub(crate) fn others(&self, bundle: &Bundle) -> BTreeSet<String> {
        let same: BTreeSet<&str> =
            bundle.marks().filter(|(file, mark)| self.0.get(*file) == Some(mark)).map(|(file, _)| file).collect();
        bundle.pledged().map(|(file, _)| file).filter(|file| !same.contains(file)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, path::Path, sync::Arc, time::Duration};

    use waybill_connectors::bundle::Profile;
    use waybill_ledger::{
        Micros,
        ledger::{Clock, Home, Ports},
    };

    use super::*;

    struct Far(Micros);

    impl Clock for Far {
        fn now(&self) -> Micros {
            self.0
        }

        fn steady(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn ledger(dir: &Path, now: i64) -> Ledger {
        let ports = Ports { clock: Arc::new(Far(Micros(now))), ..Ports::system() };
        Ledger::create(&Home::new(dir.join("log"), dir.join("keys")), ports).unwrap()
    }

    fn export(dir: &Path) -> Bundle {
        fs::create_dir(dir).unwrap();
        let manifest = r#"{"bundle_format":"waybill-bundle/1","product":"spark-crm","product_variant":"sparkcrm.io","objects":[
            {"name":"users","files":["users.csv"],"sha256":["00"]},
            {"name":"companies","files":["companies.csv"],"sha256":["11"]}]}"#;
        fs::write(dir.join("manifest.json"), manifest).unwrap();
        fs::write(dir.join("users.csv"), "id,name,email\n1,Ada,ada@example.com\n").unwrap();
        fs::write(dir.join("companies.csv"), "id,name,domain\n1,Acme,acme.example\n").unwrap();
        Bundle::open_unchecked(dir, &Profile::shipped("spark").unwrap()).unwrap()
    }

    #[test]
    #[cfg(unix)]
    fn a_file_is_known_again_until_someone_touches_it() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = export(&dir.path().join("export"));
        let all = BTreeSet::from(["companies.csv".to_owned(), "users.csv".to_owned()]);
        // As if all were written long ago.
        let ledger = ledger(dir.path(), 1 << 52);
        assert_eq!(Marks::kept(&ledger).others(&bundle), all, "nothing is known of any");
        Marks::take(&bundle, &ledger).keep(&ledger);
        assert_eq!(Marks::kept(&ledger).others(&bundle), BTreeSet::new());
        // Another file of the same size and times in its place.
        let (new, old) = (dir.path().join("new"), dir.path().join("export/users.csv"));
        fs::write(&new, "id,name,email\n1,Bob,bob@example.com\n").unwrap();
        let modified = fs::metadata(&old).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&new).unwrap().set_modified(modified).unwrap();
        fs::rename(&new, &old).unwrap();
        assert_eq!(Marks::kept(&ledger).others(&bundle), BTreeSet::from(["users.csv".to_owned()]));
    }

    #[test]
    fn a_file_that_was_written_only_now_has_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = export(&dir.path().join("export"));
        let ledger = ledger(dir.path(), chrono::Utc::now().timestamp_micros());
        assert_eq!(Marks::take(&bundle, &ledger).others(&bundle).len(), 2);
    }
}
