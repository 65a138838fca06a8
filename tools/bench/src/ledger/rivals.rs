//! The same history in stores that people know, none of which seals or proves anything.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};
use waybill_ledger::{
    BatchId, Envelope, Event, Fingerprint, Micros, NameId, Position, RunId, SubjectId, TargetPart, event::Operation,
};
use waybill_projector::landing::Landing;

use super::{
    Shape,
    data::{self, Made},
    parts::{Figures, blocks, bytes_in, timed},
};
use crate::Fallible;

const TABLE: &str = "CREATE TABLE events (pos INTEGER PRIMARY KEY, time INTEGER NOT NULL, run INTEGER, actor INTEGER NOT NULL, \
cause INTEGER, subject TEXT NOT NULL, rule INTEGER, part INTEGER, batch INTEGER, kind INTEGER NOT NULL, object INTEGER, \
operation INTEGER, other TEXT, slot INTEGER NOT NULL, other_slot INTEGER, digest BLOB, payload BLOB)";

/// One row, as a table of events has it.
struct Row<'a> {
    pos: u64,
    cause: Option<u64>,
    subject: &'a str,
    part: Option<u16>,
    batch: Option<u64>,
    kind: u8,
    object: Option<u32>,
    other: Option<&'a str>,
    slot: u64,
    other_slot: Option<u64>,
    digest: Option<&'a [u8; 16]>,
    payload: Option<Vec<u8>>,
}

fn rows(n: u64, made: &Made) -> [Row<'_>; 4] {
    let pos = n * 4;
    let (slot, other_slot) = (n * 2 + 1, n * 2 + 2);
    let row = |kind: u8| Row {
        pos: pos + u64::from(kind),
        cause: (kind > 0).then(|| pos + u64::from(kind) - 1),
        subject: &made.id,
        part: (kind > 0).then_some(0),
        batch: (kind > 1).then(|| data::batch(n).0),
        kind,
        object: (kind < 3).then_some(if kind == 0 { data::CONTACTS.0 } else { data::CONTACT.0 }),
        other: (kind == 3).then_some(made.destination.as_str()),
        slot,
        other_slot: (kind == 3).then_some(other_slot),
        digest: made.digests.get(usize::from(kind)).map(|digest| &digest.0),
        payload: match kind {
            0 => Some(data::bytes(&made.record)),
            1 => Some(data::bytes(&made.mapped)),
            _ => None,
        },
    };
    [row(0), row(1), row(2), row(3)]
}

/// Appends the history to a table in SQLite: WAL, synchronous FULL, one transaction a batch.
pub(super) fn sqlite(dir: &Path, shape: &Shape, index: bool) -> Fallible<Figures> {
    let mut db = Connection::open(dir.join("events.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(TABLE)?;
    if index {
        db.execute_batch("CREATE INDEX by_subject ON events (subject)")?;
    }
    let (took, payload) = timed(shape, |first, made| {
        for (batch, made) in made.chunks(shape.batch / 4).enumerate() {
            let first = first + (batch * (shape.batch / 4)) as u64;
            let transaction = db.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO events VALUES (?1, ?2, 1, 1, ?3, ?4, 4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12, ?13)",
                )?;
                for (n, made) in (first..).zip(made) {
                    for row in rows(n, made) {
                        insert.execute(params![
                            row.pos.cast_signed(),
                            1_700_000_000_000_000_i64 + row.pos.cast_signed(),
                            row.cause.map(u64::cast_signed),
                            row.subject,
                            row.part,
                            row.batch.map(u64::cast_signed),
                            row.kind,
                            row.object,
                            row.other,
                            row.slot.cast_signed(),
                            row.other_slot.map(u64::cast_signed),
                            row.digest.map(<[u8; 16]>::as_slice),
                            row.payload,
                        ])?;
                    }
                }
            }
            transaction.commit()?;
        }
        Ok(())
    })?;
    db.close().map_err(|(_, e)| e)?;
    Ok(Figures {
        seconds: took.as_secs_f64(),
        count: shape.events,
        payload,
        disk: bytes_in(dir)?,
        ..Figures::default()
    })
}

/// Reads the table in order into the same fold.
pub(super) fn sqlite_replay(dir: &Path) -> Fallible<Figures> {
    let db = Connection::open(dir.join("events.db"))?;
    let began = Instant::now();
    let mut landing = Landing::default();
    let mut select = db.prepare(
        "SELECT pos, time, run, actor, cause, rule, part, batch, kind, object, slot, other_slot, digest FROM events ORDER BY pos",
    )?;
    let mut rows = select.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let kind: u8 = row.get(8)?;
        let object = NameId(row.get::<_, Option<u32>>(9)?.unwrap_or(0));
        let digest = row.get::<_, Option<[u8; 16]>>(12)?.map_or(Fingerprint([0; 16]), Fingerprint);
        let event = match kind {
            0 => Event::RecordExtracted { object, modified: None, digest },
            1 => Event::RecordMapped { object, digest },
            2 => Event::WriteIntended { object, operation: Operation::Create, inverts: None },
            _ => Event::WriteConfirmed {
                destination: SubjectId(row.get::<_, Option<u32>>(11)?.unwrap_or(0)),
                operation: Operation::Create,
            },
        };
        let part: Option<u16> = row.get(6)?;
        let rule = NameId(row.get(5)?);
        let envelope = Envelope {
            position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
            time: Micros(row.get(1)?),
            run: row.get::<_, Option<u32>>(2)?.map(RunId),
            actor: NameId(row.get(3)?),
            causes: row.get::<_, Option<i64>>(4)?.map(|cause| Position(cause.cast_unsigned())).into_iter().collect(),
            subject: Some(SubjectId(row.get(10)?)),
            target: part.map(|part| TargetPart { rule, part }),
            batch: row.get::<_, Option<i64>>(7)?.map(|batch| BatchId(batch.cast_unsigned())),
            event,
            content: None,
        };
        landing.apply(&envelope)?;
        count += 1;
    }
    Ok(Figures { seconds: began.elapsed().as_secs_f64(), count, targets: landing.len(), ..Figures::default() })
}

/// Puts the very same blocks into redb, one durable transaction each.
pub(super) fn redb(dir: &Path, other: &Path) -> Fallible<Figures> {
    const BLOCKS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("blocks");
    let db = redb::Database::create(other.join("redb"))?;
    let mut took = Duration::ZERO;
    for (number, block) in (0..).zip(blocks(dir)?) {
        let block = block?;
        let began = Instant::now();
        let transaction = db.begin_write()?;
        transaction.open_table(BLOCKS)?.insert(number, block.as_slice())?;
        transaction.commit()?;
        took += began.elapsed();
    }
    drop(db);
    Ok(Figures { seconds: took.as_secs_f64(), disk: bytes_in(other)?, ..Figures::default() })
}

/// Puts the very same blocks into fjall, with all syncs after each.
pub(super) fn fjall(dir: &Path, other: &Path) -> Fallible<Figures> {
    let db = fjall::Database::builder(other.join("fjall")).open()?;
    let tree = db.keyspace("blocks", fjall::KeyspaceCreateOptions::default)?;
    let mut took = Duration::ZERO;
    for (number, block) in (0_u64..).zip(blocks(dir)?) {
        let block = block?;
        let began = Instant::now();
        tree.insert(number.to_be_bytes(), block)?;
        db.persist(fjall::PersistMode::SyncAll)?;
        took += began.elapsed();
    }
    drop((tree, db));
    Ok(Figures { seconds: took.as_secs_f64(), disk: bytes_in(other)?, ..Figures::default() })
}

/// A server of our own, in a directory of our own, reached through a socket there.
struct Postgres<'a> {
    dir: &'a Path,
    programs: String,
}

impl Drop for Postgres<'_> {
    fn drop(&mut self) {
        // A server that does not stop is named by what it printed.
        let _ = self.run("pg_ctl", &["-D", "data", "-m", "immediate", "stop"]);
    }
}

impl Postgres<'_> {
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
            command.arg(format!("{}{program}", self.programs));
            command
        } else {
            Command::new(format!("{}{program}", self.programs))
        };
        command.args(args).current_dir(self.dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Fallible<()> {
        let done = self.command(program, args).status()?;
        if done.success() { Ok(()) } else { Err(format!("{program} ended with {done}").into()) }
    }
}

/// Appends the history to a table in PostgreSQL with `synchronous_commit=on`: `COPY` of one batch a transaction, through its
/// own client.
pub(super) fn postgres(dir: &Path, shape: &Shape) -> Fallible<Figures> {
    let places = ["/usr/lib/postgresql/15/bin/", ""];
    let there = |place: &&str| {
        Command::new(format!("{place}initdb")).arg("--version").output().is_ok_and(|o| o.status.success())
    };
    let programs = places.into_iter().find(there).ok_or("there is no PostgreSQL on this machine")?.to_owned();
    if rustix::process::geteuid().is_root() {
        Command::new("chown").arg("nobody:nogroup").arg(dir).status()?;
    }
    let server = Postgres { dir, programs };
    server.run("initdb", &["-D", "data", "-A", "trust", "-U", "bench"])?;
    let socket = dir.to_string_lossy().into_owned();
    let options =
        format!("-c listen_addresses= -c unix_socket_directories={socket} -c synchronous_commit=on -c fsync=on");
    server.run("pg_ctl", &["-D", "data", "-o", &options, "-w", "-l", "log", "start"])?;
    let connect = ["-h", &socket, "-U", "bench", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1"];
    let types = TABLE.replace("INTEGER", "BIGINT").replace("BLOB", "BYTEA");
    server
        .run("psql", &[&connect[..], &["-c", &types, "-c", "CREATE INDEX by_subject ON events (subject)"]].concat())?;
    let mut client = server.command("psql", &connect).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut to = std::io::BufWriter::with_capacity(1 << 20, client.stdin.take().ok_or("psql takes no input")?);
    let mut from = std::io::BufReader::new(client.stdout.take().ok_or("psql gives no output")?);
    let (took, payload) = timed(shape, |first, made| {
        for (batch, made) in made.chunks(shape.batch / 4).enumerate() {
            let first = first + (batch * (shape.batch / 4)) as u64;
            writeln!(to, "COPY events FROM STDIN;")?;
            for (n, made) in (first..).zip(made) {
                for row in rows(n, made) {
                    write_row(&mut to, &row)?;
                }
            }
            writeln!(to, "\\.")?;
        }
        // The client says when everything before has been done.
        writeln!(to, "\\echo done")?;
        to.flush()?;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut from, &mut line)?;
        if line.trim() == "done" { Ok(()) } else { Err("PostgreSQL refused a batch".into()) }
    })?;
    drop(to);
    client.wait()?;
    let disk = bytes_in(&dir.join("data/base"))?;
    drop(server);
    fs::remove_dir_all(dir.join("data"))?;
    Ok(Figures { seconds: took.as_secs_f64(), count: shape.events, payload, disk, ..Figures::default() })
}

fn write_row(to: &mut impl Write, row: &Row<'_>) -> std::io::Result<()> {
    let number = |value: Option<u64>| value.map_or_else(|| "\\N".to_owned(), |value| value.to_string());
    let bytes = |value: Option<&[u8]>| {
        value.map_or_else(
            || "\\N".to_owned(),
            |value| {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let mut text = String::with_capacity(value.len() * 2 + 3);
                text.push_str("\\\\x");
                for byte in value {
                    text.push(char::from(HEX[usize::from(byte >> 4)]));
                    text.push(char::from(HEX[usize::from(byte & 15)]));
                }
                text
            },
        )
    };
    writeln!(
        to,
        "{}\t{}\t1\t1\t{}\t{}\t4\t{}\t{}\t{}\t{}\t0\t{}\t{}\t{}\t{}\t{}",
        row.pos,
        1_700_000_000_000_000 + row.pos,
        number(row.cause),
        row.subject,
        number(row.part.map(u64::from)),
        number(row.batch),
        row.kind,
        number(row.object.map(u64::from)),
        row.other.unwrap_or("\\N"),
        row.slot,
        number(row.other_slot),
        bytes(row.digest.map(<[u8; 16]>::as_slice)),
        bytes(row.payload.as_deref()),
    )
}
