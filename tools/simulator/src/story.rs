//! One story: what the engine is told to do, how it is interrupted, and when the laws are checked.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use waybill_engine::{
    approve::approve, failure::Failure, flaws::Flaws, prepare::Prepared, progress::Silent, project::Project, rollback,
    run, schema, session::Session, state::State,
};
use waybill_ledger::{
    Event, Position,
    ledger::{Guard, Ledger, MemoryStore, Opened, Ports, Sealing},
};
use waybill_sandbox::spark;

use crate::{
    Destination, Told,
    laws::{self, Landscape},
    org::Org,
    place::{Dump, Place},
    source::{Kind, Source},
    time::{Chance, Time},
    wire::{COMPANY, Weather, Wire},
    workspace::Workspace,
};

/// How often a command is tried under faults before the weather clears, and how often after that.
const STORMY: u32 = 12;
const CLEAR: u32 = 4;

/// What the engine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Load,
    Delta,
    Rollback,
}

struct Stage<M> {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    wire: Arc<Wire>,
    chance: Arc<Chance>,
    dice: ChaCha8Rng,
    /// Whether and when automation acts.
    clockwork: ChaCha8Rng,
    source: Source,
    /// Whether the source is a server, not an export.
    server: bool,
    flaws: M,
    broken_off: u64,
    head: String,
    /// The destination before us.
    before: Dump,
}

/// Tells the story of a seed, or which law it broke.
pub(crate) async fn tell<M: Flaws>(to: Destination, seed: u64, flaws: M) -> Result<Told, (String, Vec<String>)> {
    let mut stage = Stage::new(to, seed, flaws).map_err(|e| (e, Vec::new()))?;
    match stage.play().await {
        Ok(told) => Ok(told),
        Err(what) => Err((what, stage.wire.story().into_iter().chain(stage.told()).collect())),
    }
}

impl<M: Flaws> Stage<M> {
    fn new(to: Destination, seed: u64, flaws: M) -> Result<Self, String> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let place: Box<dyn Place> = match to {
            Destination::Salesforce => Box::new(Org::new(seed).map_err(|e| e.to_string())?),
            Destination::Twenty => Box::new(Workspace::new(seed).map_err(|e| e.to_string())?),
        };
        let time = Arc::new(Time::new());
        let wire = Arc::new(Wire::new(place, time, seed));
        let size = [4, 8, 16, 40][dice.random_range(0..4)];
        let source = Source::new(wire.place.kinds(), &mut dice, size);
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (plan, destination) = wire.place.plan(&mut dice);
        let server = dice.random_bool(0.4);
        std::fs::write(dir.path().join("secret"), wire.place.secret()).map_err(|e| e.to_string())?;
        std::fs::write(dir.path().join("plan.toml"), plan).map_err(|e| e.to_string())?;
        set_up(dir.path(), seed, server, (wire.place.kinds(), &destination)).map_err(|e| e.to_string())?;
        let chance = Arc::new(Chance(Mutex::new(ChaCha8Rng::seed_from_u64(!seed))));
        let store = Arc::new(MemoryStore::new());
        let clockwork = ChaCha8Rng::seed_from_u64(seed ^ 0x0043_4c4f_434b);
        let head = String::new();
        let before = Dump::new();
        Ok(Self { dir, store, wire, chance, dice, clockwork, source, server, flaws, broken_off: 0, head, before })
    }

    async fn play(&mut self) -> Result<Told, String> {
        let stage = self;
        stage.wire.place.people_were_here(&mut stage.dice, &stage.source);
        stage.export()?;
        stage.prepare().await?;
        stage.before = stage.wire.dump();
        let before = stage.before.clone();
        let quiet = stage.dice.random_ratio(1, 4);
        let storm = stage.storm(quiet);

        stage.command(Command::Load, storm).await?;
        let deltas = stage.dice.random_range(0..4);
        let mut people = !quiet;
        for _ in 0..deltas {
            stage.source.live_on(&mut stage.dice);
            stage.export()?;
            if people {
                for _ in 0..stage.dice.random_range(0..5) {
                    stage.wire.person_acts();
                }
            }
            let storm = stage.storm(quiet);
            // Some changes are never picked up: the rollback comes in between.
            if stage.dice.random_ratio(1, 6) {
                // Whether it came to its end does not matter.
                let _ = stage.once(Command::Delta, storm).await?;
                break;
            }
            stage.command(Command::Delta, storm).await?;
        }
        if people {
            for _ in 0..stage.dice.random_range(0..4) {
                stage.wire.person_acts();
            }
        }
        let storm = stage.storm(quiet);
        stage.command(Command::Rollback, storm).await?;
        laws::given_back(&*stage.wire.place, &before, &stage.wire.dump(), &stage.wire.acts())?;
        people &= !stage.wire.acts().is_empty();
        // Once more from the beginning, where nobody has a say in what is there.
        if !people && stage.dice.random_bool(0.5) {
            let storm = stage.storm(true);
            stage.command(Command::Load, storm).await?;
            let storm = stage.storm(true);
            stage.command(Command::Rollback, storm).await?;
            laws::given_back(&*stage.wire.place, &before, &stage.wire.dump(), &stage.wire.acts())?;
        }
        stage.verify()?;
        let (log, requests) = stage.wire.log();
        let acts = stage.wire.acts().len();
        Ok(Told { requests, log, head: stage.head.clone(), broken_off: stage.broken_off, acts })
    }
}

fn set_up(dir: &Path, seed: u64, server: bool, (kinds, destination): (&[Kind], &str)) -> std::io::Result<()> {
    let source = if server {
        format!(
            "kind = \"rest\"\nurl = \"{COMPANY}/api/v1\"\ntoken = {{ file = \"company\" }}\ndescription = \"rest.toml\""
        )
    } else {
        "bundle = \"export\"".to_owned()
    };
    // Only what the plan takes is read.
    let mut lists = include_str!("rest.toml").split("[[object]]\n");
    let mut rest = lists.next().unwrap_or_default().to_owned();
    for list in lists.filter(|list| kinds.iter().any(|kind| list.contains(&format!("name = \"{}\"", kind.name)))) {
        rest.push_str("[[object]]\n");
        rest.push_str(list);
    }
    std::fs::write(dir.join("rest.toml"), rest)?;
    let config = format!(
        "[project]\nid = \"{seed:016x}\"\n[source]\nsystem = \"spark\"\n{source}\n[destination]\n{destination}"
    );
    std::fs::write(dir.join("waybill.toml"), config)
}

impl<M: Flaws> Stage<M> {
    fn export(&self) -> Result<(), String> {
        let dir = self.dir.path().join("export");
        self.source.export(&dir).map_err(|e| e.to_string())?;
        if !self.server {
            return Ok(());
        }
        let company = spark::Server::new(&spark::Options { bundle: Some(dir), ..spark::Options::default() });
        let company = company.map_err(|e| format!("the company: {e}"))?;
        std::fs::write(self.dir.path().join("company"), company.token()).map_err(|e| e.to_string())?;
        self.wire.open(company);
        Ok(())
    }

    fn storm(&mut self, quiet: bool) -> Weather {
        let dice = &mut self.dice;
        let mut now_and_then = |least: u32| if dice.random_bool(0.4) { dice.random_range(least..200) } else { 0 };
        Weather {
            lost: now_and_then(12),
            late: now_and_then(20),
            busy: now_and_then(12),
            expired: now_and_then(20),
            quota: now_and_then(80),
            locks: now_and_then(20),
            garbled: now_and_then(20),
            people: if quiet { 0 } else { now_and_then(20) },
            automation: if !quiet && self.clockwork.random_bool(0.3) { self.clockwork.random_range(8..120) } else { 0 },
        }
    }

    async fn open(&self) -> Result<Session<M>, String> {
        let time: Arc<Time> = Arc::clone(&self.wire.time);
        let chance: Arc<Chance> = Arc::clone(&self.chance);
        let ports = Ports { clock: time, entropy: chance, sealing: Sealing::default(), inline: true };
        let store = Box::new(Arc::clone(&self.store));
        let keys = self.dir.path().join("keys");
        let ledger = Ledger::over(store, &keys, &Guard::File, ports).map_err(|e| format!("the ledger: {e}"))?;
        let project = Project::open(self.dir.path()).map_err(|e| e.to_string())?;
        let wire: Arc<Wire> = Arc::clone(&self.wire);
        Session::on(ledger, wire, self.flaws, project, Arc::new(Silent)).await.map_err(|e| told(&e))
    }

    /// Makes the fields and lets a person approve, in fair weather.
    async fn prepare(&mut self) -> Result<(), String> {
        self.wire.command(Weather::default(), None);
        let mut session = self.open().await?;
        let prepared = Prepared::new(&mut session).await.map_err(|e| told(&e))?;
        schema::apply(&mut session, &prepared).await.map_err(|e| told(&e))?;
        let prepared = Prepared::new(&mut session).await.map_err(|e| told(&e))?;
        approve(&mut session, &prepared, "Simulated Person", 10_000).await.map_err(|e| told(&e))?;
        session.close().await.map_err(|e| told(&e))
    }

    /// Gives one command once; returns whether it came to its end.
    async fn once(&mut self, command: Command, weather: Weather) -> Result<Result<(), String>, String> {
        let stormy = weather.lost + weather.late + weather.busy > 0;
        let kill = (stormy && self.dice.random_bool(0.5)).then(|| self.dice.random_range(1..160));
        let cut = (stormy && self.dice.random_bool(0.3)).then(|| self.dice.random_range(1..120));
        self.wire.command(weather, kill);
        self.wire.note(format!("{command:?} in {weather:?}, killed after {kill:?}, power cut after {cut:?}"));
        if let Some(cut) = cut {
            // The power goes, or the disk is full.
            if self.dice.random_ratio(1, 4) { self.store.fail_after(cut) } else { self.store.cut_power_after(cut) }
        }
        let mut session = match self.open().await {
            Ok(session) => session,
            Err(e) if cut.is_some() => {
                self.restore();
                return Ok(Err(e));
            }
            Err(e) => return Err(e),
        };
        let stop = CancellationToken::new();
        let work = async {
            match command {
                Command::Load => run::load(&mut session, &stop, None).await.map(|_| ()),
                Command::Delta => run::delta(&mut session, &stop, None).await.map(|_| ()),
                Command::Rollback => {
                    rollback::rollback(&mut session, rollback::Scope::Everything, rollback::How::default(), &stop)
                        .await
                        .map(|_| ())
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = self.wire.killed.notified() => Err("killed".to_owned()),
            done = work => done.map_err(|e| told(&e)),
        };
        self.wire.note(format!("{command:?} ended: {ended:?}"));
        self.head = session.recorder.ledger().signed_head().unwrap_or_default();
        drop(session);
        self.restore();
        // It takes a moment until someone starts it again.
        self.wire.pass(self.dice.random_range(1..90_000));
        Ok(ended)
    }

    fn restore(&mut self) {
        let by_chance = self.dice.random_bool(0.5);
        self.store.restore(by_chance);
        self.store.cut_power_after(u64::MAX);
        self.store.fail_after(u64::MAX);
    }

    /// Gives a command until it has come to its end, and once more, when nothing is under way any more.
    async fn command(&mut self, command: Command, storm: Weather) -> Result<(), String> {
        let mut last = String::new();
        let mut done = false;
        for attempt in 0..STORMY + CLEAR {
            let weather = if attempt < STORMY { storm } else { Weather::default() };
            if attempt == STORMY {
                self.wire.settle();
                self.wire.pass(11 * 60_000);
            }
            match self.once(command, weather).await? {
                Ok(()) => {
                    done = true;
                    break;
                }
                Err(e) => last = e,
            }
            self.broken_off += 1;
            laws::nothing_twice(&self.source, &self.wire.dump())?;
        }
        if !done {
            return Err(format!("{command:?} does not come to its end, though nothing goes wrong any more: {last}"));
        }
        self.wire.settle();
        self.wire.pass(11 * 60_000);
        self.once(command, Weather::default()).await?.map_err(|e| format!("{command:?}, when it is quiet: {e}"))?;
        let dump: Dump = self.wire.dump();
        laws::nothing_twice(&self.source, &dump)?;
        if command != Command::Rollback {
            let (place, acts) = (&*self.wire.place, self.wire.acts());
            let land = Landscape { place, source: &self.source, before: &self.before, dump: &dump, acts: &acts };
            laws::arrived(&land)?;
        }
        Ok(())
    }

    /// Returns what the ledger tells people: what waits and what drifted.
    fn told(&self) -> Vec<String> {
        let time: Arc<Time> = Arc::clone(&self.wire.time);
        let chance: Arc<Chance> = Arc::clone(&self.chance);
        let ports = Ports { clock: time, entropy: chance, sealing: Sealing::default(), inline: true };
        let keys = self.dir.path().join("keys");
        let Ok(ledger) = Ledger::over(Box::new(Arc::clone(&self.store)), &keys, &Guard::File, ports) else {
            return vec!["the ledger does not open".to_owned()];
        };
        let events = ledger.reader().events(Position(0)).filter_map(Result::ok);
        let told = events.filter_map(|(envelope, opened)| match (&envelope.event, opened) {
            (Event::RecordHeld { .. } | Event::DriftFound { .. }, Opened::Content(content)) => {
                Some(format!("{} {:?}: {content:?}", envelope.position, envelope.event))
            }
            _ => None,
        });
        told.collect()
    }

    /// Checks the ledger byte by byte, and that what it says can be read from it alone.
    fn verify(&self) -> Result<(), String> {
        let time: Arc<Time> = Arc::clone(&self.wire.time);
        let chance: Arc<Chance> = Arc::clone(&self.chance);
        let ports = Ports { clock: time, entropy: chance, sealing: Sealing::default(), inline: true };
        let keys = self.dir.path().join("keys");
        let open = || Ledger::over(Box::new(Arc::clone(&self.store)), &keys, &Guard::File, ports.clone());
        let ledger = Arc::new(open().map_err(|e| format!("the ledger: {e}"))?);
        ledger.check().map_err(|e| format!("the ledger does not verify: {e}"))?;
        let project = Project::open(self.dir.path()).map_err(|e| e.to_string())?;
        let id = &project.config.project.id;
        let mut kept = State::restore(id, &ledger).map_err(|e| told(&e))?;
        kept.know_ids(&ledger).map_err(|e| told(&e))?;
        let rebuilt = State::rebuild(id, &ledger).map_err(|e| told(&e))?;
        if kept.canonical().map_err(|e| told(&e))? != rebuilt.canonical().map_err(|e| told(&e))? {
            return Err("the projections rebuilt from the events are not those that were kept".to_owned());
        }
        Ok(())
    }
}

/// A failure with what it lists.
fn told(failure: &Failure) -> String {
    format!("{failure} {:?}", failure.details)
}
