//! How the project key is kept: it wraps every subject's key, so whoever has it and the keyring can open the contents.
//!
//! ```text
//! keys/project.key   in a file of its own: 64 hexadecimal digits
//!                    under a passphrase:   `waybill key 1` · `argon2id MEMORY PASSES LANES` · salt (32 digits) ·
//!                                          nonce and sealed key (144 digits), a line each
//!                    given each time:      no such file
//! keys/signing.key   in a file of its own: 64 hexadecimal digits
//!                    else:                 `waybill key 1` · `project` · nonce and sealed key (144 digits), a line each
//! ```
//!
//! The passphrase's key is Argon2id of it (RFC 9106). Keys are sealed with XChaCha20-Poly1305, with the first two lines as
//! associated data; the signing key under `derive_key("waybill ledger: signing key, v1", project key)`.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};

use crate::{cipher, keyring::KeyringError, ports::Entropy, vault::Key};

const FIRST: &str = "waybill key 1";
/// What Argon2id costs: KiB of memory, passes, lanes. The second choice of RFC 9106, section 4.
const COST: (u32, u32, u32) = (64 << 10, 3, 4);
/// The most that a file may ask for.
const MOST: (u32, u32, u32) = (4 << 20, 64, 64);

/// How the project key is kept.
#[derive(Debug, Clone, Default)]
pub enum Guard {
    /// In a file that only its owner may read.
    #[default]
    File,
    /// In a file, sealed under this passphrase.
    Passphrase(SecretString),
    /// Nowhere: whoever opens the ledger gives it, as 64 hexadecimal digits.
    Given(SecretString),
    /// It should have been given, and was not; the text says what is missing.
    Absent(String),
}

/// Returns the project key.
pub(crate) fn project_key(dir: &Path, guard: &Guard) -> Result<Key, KeyringError> {
    let path = dir.join("project.key");
    match guard {
        Guard::File => {
            let text = read(&path)?;
            if text.starts_with(FIRST) {
                return Err(KeyringError::Secret(format!("{} is sealed under a passphrase", path.display())));
            }
            plain(&path, &text)
        }
        Guard::Passphrase(passphrase) => {
            let text = read(&path)?;
            let (head, sealed) = sealed(&path, &text)?;
            let damaged = |what: &str| KeyringError::Damaged { path: path.clone(), what: what.to_owned() };
            let mut parts = head.lines().nth(1).unwrap_or_default().split(' ');
            let (kind, mut number) =
                (parts.next(), || parts.next().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0));
            let cost = (number(), number(), number());
            if kind != Some("argon2id") || cost.0 > MOST.0 || cost.1 > MOST.1 || cost.2 > MOST.2 {
                return Err(damaged("a newer release sealed it, or it was changed"));
            }
            let salt = head.lines().nth(2).and_then(unhex).ok_or_else(|| damaged("it has no salt"))?;
            let own = stretched(passphrase, &salt, cost).ok_or_else(|| damaged("its cost makes no sense"))?;
            open(&own, &head, &sealed)
                .ok_or_else(|| KeyringError::Secret(format!("the passphrase does not open {}", path.display())))
        }
        Guard::Given(key) => unhex(key.expose_secret().trim())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| KeyringError::Secret("the project key is not 64 hexadecimal digits".to_owned())),
        Guard::Absent(place) => Err(KeyringError::Missing(place.clone())),
    }
}

/// Makes a project key, or takes the one that is given, and keeps it as the guard says.
pub(crate) fn create_project_key(dir: &Path, guard: &Guard, entropy: &dyn Entropy) -> Result<Key, KeyringError> {
    let path = dir.join("project.key");
    let mut key = [0; 32];
    entropy.fill(&mut key);
    match guard {
        Guard::File => write(&path, &hex(&key))?,
        Guard::Passphrase(passphrase) => {
            let mut salt = [0; 16];
            entropy.fill(&mut salt);
            let head = format!("{FIRST}\nargon2id {} {} {}\n{}", COST.0, COST.1, COST.2, hex(&salt));
            let own = stretched(passphrase, &salt, COST)
                .ok_or_else(|| KeyringError::Secret("the passphrase cannot be used".to_owned()))?;
            write(&path, &format!("{head}\n{}", seal(&own, &head, &key, entropy)))?;
        }
        Guard::Given(_) | Guard::Absent(_) => key = project_key(dir, guard)?,
    }
    Ok(key)
}

/// Returns the key that signs heads.
pub(crate) fn signing_key(dir: &Path, guard: &Guard) -> Result<Key, KeyringError> {
    let path = dir.join("signing.key");
    let text = read(&path)?;
    if !text.starts_with(FIRST) {
        return plain(&path, &text);
    }
    let (head, sealed) = sealed(&path, &text)?;
    let own = signing_guard(&project_key(dir, guard)?);
    open(&own, &head, &sealed)
        .ok_or_else(|| KeyringError::Secret(format!("{} opens with another project key", path.display())))
}

/// Makes the key that signs heads.
pub(crate) fn create_signing_key(
    dir: &Path,
    guard: &Guard,
    project: &Key,
    entropy: &dyn Entropy,
) -> Result<(), KeyringError> {
    let mut key = [0; 32];
    entropy.fill(&mut key);
    let path = dir.join("signing.key");
    if matches!(guard, Guard::File) {
        return write(&path, &hex(&key));
    }
    let head = format!("{FIRST}\nproject");
    write(&path, &format!("{head}\n{}", seal(&signing_guard(project), &head, &key, entropy)))
}

fn signing_guard(project: &Key) -> Key {
    blake3::derive_key("waybill ledger: signing key, v1", project)
}

fn stretched(passphrase: &SecretString, salt: &[u8], (memory, passes, lanes): (u32, u32, u32)) -> Option<Key> {
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut key = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.expose_secret().as_bytes(), salt, &mut key).ok()?;
    Some(key)
}

fn seal(with: &Key, head: &str, key: &Key, entropy: &dyn Entropy) -> String {
    let mut nonce = [0; 24];
    entropy.fill(&mut nonce);
    let mut bytes = [nonce.as_slice(), key].concat();
    cipher::seal_extended(with, &nonce, head.as_bytes(), &mut bytes, nonce.len());
    hex(&bytes)
}

fn open(with: &Key, head: &str, sealed: &[u8]) -> Option<Key> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
    cipher::open_extended(with, nonce, head.as_bytes(), sealed)?.try_into().ok()
}

/// The lines before the last, and the bytes that the last one stands for.
fn sealed(path: &Path, text: &str) -> Result<(String, Vec<u8>), KeyringError> {
    let parts = text.trim_end().rsplit_once('\n').filter(|_| text.starts_with(FIRST));
    let parts = parts.and_then(|(head, last)| Some((head.to_owned(), unhex(last)?)));
    parts.ok_or_else(|| KeyringError::Damaged { path: path.to_owned(), what: "it is not a sealed key".to_owned() })
}

fn plain(path: &Path, text: &str) -> Result<Key, KeyringError> {
    unhex(text.trim()).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| KeyringError::Damaged {
        path: path.to_owned(),
        what: "it is not 64 hexadecimal digits".to_owned(),
    })
}

fn read(path: &Path) -> Result<String, KeyringError> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyringError::missing(path),
        _ => KeyringError::Io { path: path.to_owned(), error },
    })
}

fn write(path: &Path, text: &str) -> Result<(), KeyringError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().map_err(|error| KeyringError::Io { path: path.to_owned(), error })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        content::Content,
        event::Event,
        ledger::{Depth, Draft, Home, Ledger, OpenError, Opened, Ports, verify},
        subject::{NameId, Position, SubjectKey},
    };

    fn guarded(home: &Home, guard: Guard) -> Home {
        Home { guard, ..home.clone() }
    }

    #[test]
    fn a_ledger_under_a_passphrase_or_a_given_key_opens_with_it_alone_and_proves_without() {
        let given = "ab".repeat(32);
        for (right, wrong) in [
            (Guard::Passphrase("correct horse".into()), Guard::Passphrase("wrong horse".into())),
            (Guard::Given(given.clone().into()), Guard::Given("cd".repeat(32).into())),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let home = guarded(&Home::new(dir.path().join("log"), dir.path().join("keys")), right);
            let ledger = Ledger::create(&home, Ports::system()).unwrap();
            let subject = ledger.subject(&SubjectKey::new("crm", "people", "1")).unwrap();
            let draft = Draft::new(NameId(0), Event::RecordReleased).subject(subject);
            ledger.append(vec![draft.content(Content::Text("told".into()))]).wait().unwrap();
            let head = ledger.head();
            ledger.close().unwrap();

            let ledger = Ledger::open(&home, Ports::system()).unwrap();
            assert_eq!(
                ledger.reader().at(Position(0)).unwrap().unwrap().1,
                Opened::Content(Content::Text("told".into()))
            );
            ledger.close().unwrap();
            assert_eq!(verify(&home, Depth::Contents, None).unwrap().contents, 1);
            for other in [wrong, Guard::File] {
                let error = Ledger::open(&guarded(&home, other), Ports::system()).unwrap_err();
                assert!(
                    matches!(error, OpenError::Keys(KeyringError::Secret(_) | KeyringError::Missing(_))),
                    "{error}"
                );
            }
            // Without the secret nothing opens, and everything is proven.
            let without = guarded(&home, Guard::Absent("the variable SECRET".into()));
            let verified = verify(&without, Depth::Contents, None).unwrap();
            assert_eq!((verified.head, verified.contents, verified.sealed), (head, 0, 1));
            let reader = Ledger::look(&without, Ports::system()).unwrap();
            assert_eq!(reader.reader().at(Position(0)).unwrap().unwrap().1, Opened::Locked);
            for entry in fs::read_dir(&home.keys).unwrap() {
                let text = fs::read(entry.unwrap().path()).unwrap();
                assert!(!text.windows(given.len()).any(|piece| piece == given.as_bytes()));
            }
        }
    }

    #[test]
    fn a_changed_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let guard = Guard::Passphrase("correct horse".into());
        let entropy = Ports::system().entropy;
        let key = create_project_key(dir.path(), &guard, &*entropy).unwrap();
        assert_eq!(project_key(dir.path(), &guard).unwrap(), key);
        let path = dir.path().join("project.key");
        let whole = fs::read_to_string(&path).unwrap();
        for (from, to) in [("waybill", "waxbill"), ("argon2id", "argon2xx"), ("65536", "99999999"), ("\n", "")] {
            fs::write(&path, whole.replacen(from, to, 1)).unwrap();
            assert!(project_key(dir.path(), &guard).is_err(), "{from}");
        }
        fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        assert!(project_key(dir.path(), &guard).is_err());
    }
}
