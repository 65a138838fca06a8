//! Where the files of an export lie: in a folder, in one archive, in several archives of one export, or one folder further down.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use flate2::{Crc, read::DeflateDecoder};
use zip::{CompressionMethod, ZipArchive};

use super::error::BundleError;
use crate::rest::Downloads;

/// Folders with binaries are not listed, they can hold millions of files; a binary is looked up when it is wanted.
const DEEPEST: usize = 3;
/// Deflate cannot pack tighter than about 1,032 to 1 (zlib's technical note), so a header that says so lies.
const TIGHTEST: u64 = 1_100;

/// The files of an export by their path inside it, with `/` between folders.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    entries: BTreeMap<String, Entry>,
    /// The folder on disk that paths are relative to, where there is one.
    folder: Option<PathBuf>,
    /// The files that a server has, where there is one.
    far: Option<Arc<Downloads>>,
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Disk(PathBuf),
    Archive {
        archive: PathBuf,
        start: u64,
        packed: u64,
        deflated: bool,
        crc: u32,
    },
    /// Read from elsewhere and put aside.
    Aside {
        spool: Spool,
        start: u64,
    },
    /// Still on the server.
    Far {
        downloads: Arc<Downloads>,
        path: String,
    },
}

impl Container {
    /// Lists what is at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, BundleError> {
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BundleError::Missing { path: path.to_owned() },
            _ => BundleError::Io { file: path.display().to_string(), source: error },
        })?;
        let mut found = Self { entries: BTreeMap::new(), folder: None, far: None };
        if metadata.is_dir() {
            found.folder = Some(path.to_owned());
            found.walk(path, "", 0)?;
        } else if is_archive(path) {
            found.unpack(path, "")?;
        } else if has_extension(path, &["csv", "tsv", "json", "jsonl", "ndjson"]) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            found.add(name, Entry { size: metadata.len(), place: Place::Disk(path.to_owned()) })?;
        } else {
            return Err(BundleError::NotABundle { path: path.to_owned(), found: "a file of another kind".to_owned() });
        }
        if found.entries.is_empty() {
            let found = if metadata.is_dir() { "an empty folder" } else { "an empty archive" };
            return Err(BundleError::NotABundle { path: path.to_owned(), found: found.to_owned() });
        }
        found.step_into();
        Ok(found)
    }

    /// Returns a container of what was put aside, with the files that a server has beside it.
    pub(crate) fn of(entries: Vec<(String, Entry)>, far: Option<Arc<Downloads>>) -> Self {
        Self { entries: entries.into_iter().collect(), folder: None, far }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Returns the file at `path`, which may differ in case, as files do that went through a Windows share.
    pub(crate) fn get(&self, path: &str) -> Option<(&str, &Entry)> {
        let path = path.trim_start_matches("./");
        self.entries
            .get_key_value(path)
            .or_else(|| self.entries.iter().find(|(other, _)| other.eq_ignore_ascii_case(path)))
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// Returns a file that the listing may have left out, such as a binary. A path that leads out of the export has none.
    pub(crate) fn look_up(&self, path: &str) -> Option<Entry> {
        if let Some((_, entry)) = self.get(path) {
            return Some(entry.clone());
        }
        if let Some(far) = &self.far {
            let size = far.size(path)?;
            return Some(Entry { size, place: Place::Far { downloads: Arc::clone(far), path: path.to_owned() } });
        }
        let mut on_disk = self.folder.clone()?;
        let mut found = None;
        for part in safe_parts(path)? {
            on_disk.push(part);
            let about = fs::symlink_metadata(&on_disk).ok().filter(|about| !about.is_symlink())?;
            found = about.is_file().then_some(about);
        }
        Some(Entry { size: found?.len(), place: Place::Disk(on_disk) })
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), BundleError> {
        let failed = |source| BundleError::Io { file: folder.display().to_string(), source };
        for item in fs::read_dir(folder).map_err(failed)? {
            let item = item.map_err(failed)?;
            let kind = item.file_type().map_err(failed)?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "__MACOSX" {
                continue;
            }
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                if depth < DEEPEST && !name.eq_ignore_ascii_case("files") {
                    self.walk(&item.path(), &format!("{path}/"), depth + 1)?;
                }
            } else if kind.is_file() {
                if is_archive(&item.path()) {
                    self.unpack(&item.path(), prefix)?;
                } else {
                    let size = item.metadata().map_err(failed)?.len();
                    self.add(path, Entry { size, place: Place::Disk(item.path()) })?;
                }
            }
        }
        Ok(())
    }

    fn unpack(&mut self, archive: &Path, prefix: &str) -> Result<(), BundleError> {
        let bad = |reason: String| BundleError::Archive { archive: archive.to_owned(), reason };
        let file =
            File::open(archive).map_err(|source| BundleError::Io { file: archive.display().to_string(), source })?;
        let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(|error| bad(error.to_string()))?;
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(|error| bad(error.to_string()))?;
            if entry.is_dir() {
                continue;
            }
            let name = entry.name().to_owned();
            let Some(parts) = safe_parts(&name) else {
                return Err(bad(format!("the path {name:?} inside it leads out of it")));
            };
            if entry.is_symlink() {
                return Err(bad(format!("{name:?} inside it is a link")));
            }
            if parts.iter().any(|part| part.starts_with('.') || *part == "__MACOSX") {
                continue;
            }
            if entry.encrypted() {
                return Err(bad("it is protected with a password".to_owned()));
            }
            let deflated = match entry.compression() {
                CompressionMethod::Stored => false,
                CompressionMethod::Deflated => true,
                other => return Err(bad(format!("{name:?} inside it is packed with {other}"))),
            };
            let (size, packed) = (entry.size(), entry.compressed_size());
            if size > packed.saturating_add(64).saturating_mul(TIGHTEST) {
                return Err(bad(format!("{name:?} claims a size that its packed bytes cannot hold")));
            }
            let place = Place::Archive {
                archive: archive.to_owned(),
                start: entry.data_start(),
                packed,
                deflated,
                crc: entry.crc32(),
            };
            self.add(format!("{prefix}{}", parts.join("/")), Entry { size, place })?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, entry: Entry) -> Result<(), BundleError> {
        if let Some(first) = self.entries.get(&path) {
            return Err(BundleError::Twice { first: first.place.name(), second: entry.place.name(), file: path });
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Leaves out one folder that encloses everything.
    fn step_into(&mut self) {
        let Some(first) = self.entries.keys().next().and_then(|path| path.split_once('/')).map(|(first, _)| first)
        else {
            return;
        };
        let prefix = format!("{first}/");
        if matches!(first, "objects" | "files") || !self.entries.keys().all(|path| path.starts_with(&prefix)) {
            return;
        }
        if let Some(folder) = &mut self.folder {
            folder.push(first);
        }
        self.entries = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(path, entry)| (path[prefix.len()..].to_owned(), entry))
            .collect();
    }
}

impl Entry {
    /// Returns the file on the disk whose bytes these are, by themselves or in an archive.
    pub(crate) fn on_disk(&self) -> Option<&Path> {
        match &self.place {
            Place::Disk(path) | Place::Archive { archive: path, .. } => Some(path),
            Place::Aside { .. } | Place::Far { .. } => None,
        }
    }

    /// Opens the file for reading from its start. Damage inside an archive is an error of the reader.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::Disk(path) => Ok(Box::new(File::open(path)?)),
            Place::Archive { archive, start, packed, deflated, crc } => {
                let mut file = File::open(archive)?;
                file.seek(SeekFrom::Start(*start))?;
                let packed = io::BufReader::with_capacity(64 << 10, file).take(*packed);
                let input: Box<dyn Read + Send> =
                    if *deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
                Ok(Box::new(Checked { input, left: self.size, expected: *crc, crc: Crc::new() }))
            }
            Place::Aside { spool, start } => {
                Ok(Box::new(Spooled { spool: spool.clone(), at: *start, end: start + self.size }))
            }
            Place::Far { downloads, path } => Ok(downloads.open(path)),
        }
    }
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Disk(path) | Self::Archive { archive: path, .. } => path.display().to_string(),
            Self::Aside { .. } => "what was read".to_owned(),
            Self::Far { path, .. } => path.clone(),
        }
    }
}

/// A file without a name, which is gone when the last handle is: what was read from elsewhere lies there for a while.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Mutex<(File, u64)>>);

impl Spool {
    /// Makes an empty one.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new((tempfile::tempfile()?, 0)))))
    }

    /// Puts bytes at its end and returns where they begin.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = held.1;
        held.0.seek(SeekFrom::Start(start))?;
        held.0.write_all(bytes)?;
        held.1 += bytes.len() as u64;
        Ok(start)
    }

    /// Returns a part of it as a file.
    pub(crate) fn entry(&self, start: u64, size: u64) -> Entry {
        Entry { size, place: Place::Aside { spool: self.clone(), start } }
    }
}

struct Spooled {
    spool: Spool,
    at: u64,
    end: u64,
}

impl Read for Spooled {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        if left == 0 {
            return Ok(0);
        }
        let mut held = self.spool.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.0.seek(SeekFrom::Start(self.at))?;
        let count = held.0.read(&mut out[..left])?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Compares what comes out of an archive with what the archive says about it.
struct Checked {
    input: Box<dyn Read + Send>,
    left: u64,
    expected: u32,
    crc: Crc,
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let count = self.input.read(out)?;
        if count as u64 > self.left {
            return Err(damaged("the file in the archive is longer than the archive says"));
        }
        self.left -= count as u64;
        self.crc.update(&out[..count]);
        if count == 0 && self.left > 0 {
            return Err(damaged("the file in the archive ends too early"));
        }
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(damaged("the checksum of the file in the archive is wrong"));
        }
        Ok(count)
    }
}

fn is_archive(path: &Path) -> bool {
    has_extension(path, &["zip"])
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|own| extensions.iter().any(|extension| own.eq_ignore_ascii_case(extension)))
}

/// Returns the parts of a relative path, unless it leads elsewhere.
fn safe_parts(path: &str) -> Option<Vec<&str>> {
    if path.starts_with(['/', '\\']) || path.contains(['\\', ':', '\0']) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then_some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use zip::{ZipWriter, write::SimpleFileOptions};

    fn archive(path: &Path, files: &[(&str, &[u8])]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated))
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    fn text(container: &Container, path: &str) -> io::Result<String> {
        let mut text = String::new();
        container.look_up(path).unwrap().open()?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn folder_archive_and_parts_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("plain/export-2024");
        fs::create_dir_all(folder.join("files/7")).unwrap();
        fs::write(folder.join("a.csv"), "id\n1\n").unwrap();
        fs::write(folder.join("b.csv"), "id\n2\n").unwrap();
        fs::write(folder.join("files/7/x.txt"), "seven").unwrap();
        let one = dir.path().join("one.zip");
        archive(&one, &[("e/a.csv", b"id\n1\n"), ("e/b.csv", b"id\n2\n"), ("e/files/7/x.txt", b"seven")]);
        let parts = dir.path().join("parts");
        fs::create_dir(&parts).unwrap();
        archive(&parts.join("WE_1.ZIP"), &[("a.csv", b"id\n1\n")]);
        archive(&parts.join("WE_2.ZIP"), &[("b.csv", b"id\n2\n"), ("files/7/x.txt", b"seven")]);
        for path in [dir.path().join("plain"), one, parts] {
            let found = Container::open(&path).unwrap();
            assert_eq!(text(&found, "a.csv").unwrap(), "id\n1\n", "{path:?}");
            assert_eq!(text(&found, "B.csv").unwrap(), "id\n2\n");
            assert_eq!(text(&found, "files/7/x.txt").unwrap(), "seven");
            assert!(found.look_up("../one.zip").is_none());
            assert!(found.look_up("/etc/passwd").is_none());
        }
    }

    #[test]
    fn what_is_no_export_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Container::open(&dir.path().join("none")), Err(BundleError::Missing { .. })));
        assert!(matches!(Container::open(dir.path()), Err(BundleError::NotABundle { .. })));
        let other = dir.path().join("x.xlsx");
        fs::write(&other, "PK").unwrap();
        assert!(matches!(Container::open(&other), Err(BundleError::NotABundle { .. })));
        let cut = dir.path().join("cut.zip");
        archive(&cut, &[("a.csv", b"id\n1\n")]);
        let bytes = fs::read(&cut).unwrap();
        fs::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
        assert!(matches!(Container::open(&cut), Err(BundleError::Archive { .. })));
    }

    #[test]
    fn an_archive_that_reaches_out_or_collides_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let evil = dir.path().join("evil.zip");
        archive(&evil, &[("../../a.csv", b"id\n")]);
        assert!(matches!(Container::open(&evil), Err(BundleError::Archive { .. })));
        fs::remove_file(evil).unwrap();
        archive(&dir.path().join("1.zip"), &[("a.csv", b"id\n1\n")]);
        archive(&dir.path().join("2.zip"), &[("a.csv", b"id\n2\n")]);
        assert!(matches!(Container::open(dir.path()), Err(BundleError::Twice { .. })));
    }

    #[test]
    fn damage_inside_an_archive_shows_while_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        let body: Vec<u8> =
            (0..20_000u32).flat_map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
        archive(&path, &[("a.csv", &body)]);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(&path, bytes).unwrap();
        let found = Container::open(&path).unwrap();
        assert!(text(&found, "a.csv").is_err());
    }
}
