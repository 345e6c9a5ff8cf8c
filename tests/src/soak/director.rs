//! Kills, waits until all is as it should be, and kills again; in the end everything is compared once more.

use super::disk;
use super::inspection::inspect;
use super::kills::{Kind, Round, Rounds};
use super::notes::{Count, Ledger, Phase, READERS, Tally};
use super::owner::commits;
use super::progress::Progress;
use super::stage::Stage;
use super::tables::{TABLES, Table, WORKERS};
use super::verdict::Verdict;
use heirloom_manager::chaos::{Aim, Interrupt, SharedRegion, now_ns, spin};
use heirloom_protocol::message::Status;
use heirloom_protocol::sys::Process;
use heirloom_worker::Client;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long anything may take, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(500);

/// The reader that is killed too; the others live throughout.
const MORTAL_READER: u64 = READERS - 1;

/// So many of the dead are remembered: the manager may not have noticed yet, and process ids are used again.
const REMEMBERED: usize = 16;

/// Why a wait has no answer.
enum NoAnswer {
    Interrupted,
    Failed(Box<dyn Error>),
}

impl<E: Into<Box<dyn Error>>> From<E> for NoAnswer {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) struct Director<'a> {
    stage: &'a mut Stage,
    interrupt: &'a Interrupt,
    client: Client,
    aims: Vec<Aim>,
    rng: StdRng,
    dead: VecDeque<u32>,
    verdict: Verdict,
    progress: Progress,
}

impl<'a> Director<'a> {
    pub(super) fn new(
        stage: &'a mut Stage,
        interrupt: &'a Interrupt,
        seed: u64,
        kills: u64,
    ) -> Outcome<Self> {
        let client = stage.house.client();
        let aim = |table: &Table| Aim::at(&stage.house.socket(), table.id());
        let aims = TABLES.iter().map(aim).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            stage,
            interrupt,
            client,
            aims,
            rng: StdRng::seed_from_u64(seed),
            dead: VecDeque::new(),
            verdict: Verdict { seed, ..Verdict::default() },
            progress: Progress::of(kills),
        })
    }

    /// All kills, or as many as there are until somebody interrupts; and what came of them.
    pub(super) fn play(mut self, kills: u64) -> Outcome<Verdict> {
        let begun = Instant::now();
        let rounds = Rounds::of(self.verdict.seed);
        for (number, round) in (0..kills).zip(rounds) {
            match self.round(&round) {
                Ok(()) => {}
                Err(NoAnswer::Interrupted) => break,
                Err(NoAnswer::Failed(error)) => return Err(self.with_complaints(&error)),
            }
            let commits = self.ledgers().iter().map(commits).sum();
            self.progress.tell(number + 1, commits);
        }
        self.verdict.elapsed_ms = u64::try_from(begun.elapsed().as_millis())?;
        match self.finish() {
            Ok(()) => {}
            Err(error) => return Err(self.with_complaints(&error)),
        }
        let verdict = std::mem::take(&mut self.verdict);
        if let Some(failure) = verdict.failure() {
            self.progress.say(&format!("{failure}\n{}", self.stage.complaints(40)));
        }
        Ok(verdict)
    }

    fn with_complaints(&self, error: &dyn std::fmt::Display) -> Box<dyn Error> {
        format!("{error}\nafter {:?} kills\n{}", self.verdict.kills, self.stage.complaints(40)).into()
    }

    fn ledgers(&self) -> Vec<Ledger<SharedRegion>> {
        TABLES.iter().map(|table| self.stage.notes.ledger(*table)).collect()
    }

    fn round(&mut self, round: &Round) -> Result<(), NoAnswer> {
        let status = match round.hasty {
            false => self.wait("all to be as it should", |this| {
                Ok(this.client.status().ok().filter(|status| this.is_settled(status, true)))
            })?,
            true => self.wait("a manager", |this| Ok(this.client.status().ok()))?,
        };
        thread::sleep(round.after);
        if round.reader_too {
            self.stage.replace_reader(MORTAL_READER).map_err(NoAnswer::Failed)?;
            self.verdict.readers_killed += 1;
        }
        let killed_ns = match round.kind {
            Kind::Worker => self.kill_owner(round)?,
            Kind::Manager => self.kill_manager(status.manager_pid)?,
            Kind::Both { manager_first, apart } => {
                if manager_first {
                    self.kill_manager(status.manager_pid)?;
                    spin(apart);
                    self.kill_owner(round)?
                } else {
                    let killed_ns = self.kill_owner(round)?;
                    spin(apart);
                    self.kill_manager(status.manager_pid)?;
                    killed_ns
                }
            }
        };
        let kind = match round.kind {
            Kind::Worker => 0,
            Kind::Manager => 1,
            Kind::Both { .. } => 2,
        };
        self.verdict.kills[kind] += 1;
        if round.hasty {
            return Ok(());
        }
        let before = status.manager_pid;
        self.wait("every table to have an owner", |this| {
            let status = this.client.status().ok().filter(|status| this.is_settled(status, false));
            Ok(status.filter(|now| round.kind == Kind::Worker || now.manager_pid != before))
        })?;
        self.measure(round, killed_ns);
        Ok(())
    }

    /// Whether every table has an owner that lives, commits, and is known to the manager; and, where wanted, every group a
    /// standby.
    fn is_settled(&self, status: &Status, with_standbys: bool) -> bool {
        let lives = |pid: u32| !self.dead.contains(&pid);
        let owned = TABLES.iter().all(|table| {
            let known = status.tables.iter().find(|known| known.id == table.id());
            let Some(owner) = known.and_then(|known| known.owner.as_ref()) else { return false };
            let commits = self.stage.notes.ledger(*table).owner().is_some_and(|(pid, _)| pid == owner.pid);
            let connected = status.workers.iter().any(|worker| worker.pid == owner.pid && worker.ready);
            lives(owner.pid) && commits && connected
        });
        let stands_by = |name: &&str| {
            status.workers.iter().any(|worker| {
                worker.name == **name && worker.ready && worker.owns.is_empty() && lives(worker.pid)
            })
        };
        owned && (!with_standbys || WORKERS.iter().all(stands_by))
    }

    /// Kills the owner of the round's table; when, by the clock of all processes.
    fn kill_owner(&mut self, round: &Round) -> Result<u64, NoAnswer> {
        let ledger = self.stage.notes.ledger(round.table);
        // In haste, the last one may be dead already, and its heir not there yet.
        let owner = self.wait("an owner", |this| {
            let owner = ledger.owner().map(|(pid, _)| pid).filter(|pid| !this.dead.contains(pid));
            Ok(owner.and_then(|pid| Process::open(pid).ok()).filter(|process| !process.has_exited()))
        })?;
        if round.aimed {
            let aim = &self.aims[round.table.number() as usize];
            aim.stop_mid_commit(&owner, || ledger.returned(), &mut self.rng)?;
        }
        self.kill(&owner)
    }

    fn kill_manager(&mut self, pid: u32) -> Result<u64, NoAnswer> {
        self.kill(&Process::open(pid)?)
    }

    fn kill(&mut self, process: &Process) -> Result<u64, NoAnswer> {
        let killed_ns = now_ns();
        process.kill(Signal::KILL)?;
        if !process.wait_exit(PATIENCE) {
            return Err(format!("process {} was killed and does not die", process.pid()).into());
        }
        self.dead.push_front(process.pid());
        self.dead.truncate(REMEMBERED);
        Ok(killed_ns)
    }

    /// How long it took until all was well.
    fn measure(&mut self, round: &Round, killed_ns: u64) {
        if round.kind == Kind::Manager {
            self.verdict.readopt_us.push(now_ns().saturating_sub(killed_ns) / 1000);
            return;
        }
        for ledger in self.ledgers() {
            let first_ns = ledger.owner().map_or(0, |(_, first_ns)| first_ns);
            if first_ns > killed_ns {
                let times = match round.kind {
                    Kind::Worker => &mut self.verdict.handoff_us,
                    _ => &mut self.verdict.handoff_both_us,
                };
                times.push((first_ns - killed_ns) / 1000);
            }
        }
    }

    /// Nothing is killed any more: watches must have what the tables have, nothing may be held, and every byte is looked at.
    fn finish(&mut self) -> Outcome {
        self.stage.notes.set_phase(Phase::Rest);
        let rest = |this: &Self| {
            let settled = this.client.status().ok().filter(|status| this.is_settled(status, true));
            settled.filter(|_| this.ledgers().iter().all(|ledger| ledger.rests() && ledger.quiet().is_some()))
        };
        self.wait_on("the owners to rest", |this| Ok(rest(this)))?;
        let verdicts = |this: &Self| -> Vec<u64> {
            let watches = |reader| TABLES.map(|table| this.stage.notes.line(reader, table, true));
            (0..READERS).flat_map(watches).map(|line| line.get(Tally::Verdict)).collect()
        };
        self.wait_on("the watches to have everything", |this| {
            Ok((!verdicts(this).contains(&0)).then_some(()))
        })?;
        self.verdict.unequal_watches = verdicts(self).iter().filter(|verdict| **verdict != 1).count() as u64;
        self.stage.end_readers()?;
        let pins = |this: &Self| {
            this.client.status().map(|status| status.tables.iter().map(|table| table.pins).sum())
        };
        let begun = Instant::now();
        while pins(self)? > 0_u64 && begun.elapsed() < PATIENCE / 4 {
            thread::sleep(PAUSE);
        }
        self.verdict.leaked_pins = pins(self)?;
        let socket = self.stage.house.socket();
        for ledger in self.ledgers() {
            self.progress.say(&format!("looking at every byte of table {}", ledger.table.id()));
            let inspected = inspect(&socket, &ledger)?;
            self.verdict.leaked_blocks += inspected.leaked_blocks;
            self.verdict.corrupt.extend(inspected.corrupt);
        }
        self.verdict.hydrated = disk::look(self.stage, &self.ledgers())?;
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        let verdict = &mut self.verdict;
        for ledger in TABLES.iter().map(|table| self.stage.notes.ledger(*table)) {
            verdict.commits += commits(&ledger);
            verdict.lost += ledger.get(Count::Lost);
            verdict.duplicated += ledger.get(Count::Duplicated);
            verdict.half += ledger.get(Count::Half);
            verdict.torn_reads += ledger.get(Count::Torn);
            verdict.table_full += ledger.get(Count::Full);
            verdict.in_flight[0] += ledger.get(Count::InFlight);
            verdict.in_flight[1] += ledger.get(Count::InFlightStood);
        }
        for line in (0..READERS).flat_map(|reader| self.stage.notes.lines_of(reader)) {
            verdict.reads += line.get(Tally::Reads);
            verdict.compared += line.get(Tally::Compared);
            verdict.torn_reads += line.get(Tally::Torn);
            verdict.failed_reads += line.get(Tally::Failed);
            verdict.overtaken += line.get(Tally::Overtaken);
        }
    }

    /// Asks again and again until there is an answer, also where somebody has interrupted.
    fn wait_on<T>(&mut self, what: &str, ask: impl Fn(&Self) -> Outcome<Option<T>>) -> Outcome<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            self.stage.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("waited {PATIENCE:?} for {what}: {:?}", self.client.status()).into());
            }
            thread::sleep(PAUSE);
        }
    }

    fn wait<T>(&mut self, what: &str, ask: impl Fn(&Self) -> Outcome<Option<T>>) -> Result<T, NoAnswer> {
        let interrupt = self.interrupt;
        // None where somebody has interrupted.
        let answer = self.wait_on(what, |this| match interrupt.is_wanted() {
            true => Ok(Some(None)),
            false => Ok(ask(this)?.map(Some)),
        });
        answer.map_err(NoAnswer::Failed)?.ok_or(NoAnswer::Interrupted)
    }
}
