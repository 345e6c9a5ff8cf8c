//! The director: waits until everybody is in place, releases the stream, kills the owner, and takes note of what
//! became of the table.

use super::account::{Account, Found};
use crate::chaos::{Aim, Interrupt, SharedRegion, now_ns, spin};

use super::cars::{Car, Total};

use super::expectation::Expectation;

use super::notes::{Notes, Ownership};
use super::plan::Round;
use super::report::{Kill, Material, Report};

use super::stage::Stage;
use super::story::Story;
use super::victims::Victims;
use super::{Failure, WORKER};
use heirloom_protocol::message::{HandoffStatus, Status, TableStatus};
use heirloom_protocol::sys::process::Process;
use heirloom_worker::{Client, Reader};
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// How long nothing may move before the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at the processes and the progress, while waiting.
const CHECK: Duration = Duration::from_millis(20);

/// Every so many kills, one is aimed at the middle of a commit; the others hit what they hit.
const AIMED: u64 = 4;

/// In chaos, every so many kills the manager dies with the owner.
const MANAGER_TOO: u64 = 3;

/// How much earlier or later it may die: as long as a handoff takes.
const AROUND: Duration = Duration::from_millis(1);

/// Between two looks at the notes; short, because every microsecond of it could hide a moment to kill at.
const GLANCE: Duration = Duration::from_micros(50);

/// Between two questions to the manager.
const PAUSE: Duration = Duration::from_millis(1);

/// Who directs, and whom.
pub(super) struct Director<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) notes: Notes<SharedRegion>,
    pub(super) interrupt: &'a Interrupt,
    pub(super) story: &'a mut Story,
    pub(super) expectation: &'a Expectation,
    pub(super) events: u64,
    pub(super) chaos: bool,
}

/// What is killed, and when.
struct Target<'a> {
    round: Round,
    /// For the middle of a commit.
    aim: Option<&'a Aim>,
    /// The manager, where it dies too.
    manager: Option<Process>,
}

impl Director<'_> {
    /// The whole play, from the first process to the account.
    pub(super) fn play(&mut self, rounds: &[Round], rng: &mut StdRng) -> Result<Report, Failure> {
        let client = self.open()?;
        let mut kills = Vec::new();
        let mut victims = Victims::default();
        let aim = Aim::at(&self.stage.socket(), "sales")?;
        for (number, round) in (1..).zip(rounds) {
            let status = self.wait_for_standby(&client, &mut victims)?;
            let aim = (number % AIMED == 0).then_some(&aim);
            let manager = match self.chaos && number % MANAGER_TOO == 0 {
                true => Some(Process::open(status.manager_pid)?),
                false => None,
            };
            let target = Target { round: *round, aim, manager };
            let kill = self.kill_owner(&target, &status, &client, &mut victims, rng)?;
            self.story.tell_kill(&kill);
            kills.push(kill);
        }
        self.notes.release_up_to(u64::MAX);
        let elapsed = self.wait("the end of the stream", PAUSE, |this| Ok(this.notes.stream_ns()))?;
        if !rounds.is_empty() {
            self.wait_for_standby(&client, &mut victims)?;
        }
        self.notes.want_stop();
        self.stage.wait_for_reader()?;
        let sales: Reader<Car, Total> = client.reader("sales")?;
        let found = Found {
            totals: sales.entries()?.into_iter().collect(),
            version: sales.version(),
            position: sales.bequest::<u64>()?.unwrap_or(0),
        };
        Ok(Report::new(Material {
            events: self.events,
            kills_wanted: rounds.len() as u64,
            killed: victims.confirmed(),
            account: Account::settle(self.expectation, &self.notes.ownerships(), &found),
            kills,
            found,
            reads: self.notes.reads().unwrap_or_default(),
            elapsed: Duration::from_nanos(elapsed),
        }))
    }

    /// Until the supervisor runs, a worker owns the table, and the reader reads it.
    fn open(&mut self) -> Result<Client, Failure> {
        self.stage.start_supervisor()?;
        let socket = self.stage.socket();
        let client = self.wait("the manager", PAUSE, |_| Ok(Client::connect(&socket).ok()))?;
        let owner = self.owner()?;
        self.stage.start_reader()?;
        self.wait("the reader", PAUSE, |this| Ok(this.notes.reads()))?;
        self.story.tell(&format!("in {}", self.stage.folder().display()));
        self.story
            .tell(&format!("{WORKER} {} owns table sales; another process reads it all the time", owner.pid));
        Ok(client)
    }

    /// Until a worker is registered and ready that does not own the table, and the deaths so far are confirmed.
    fn wait_for_standby(&mut self, client: &Client, victims: &mut Victims) -> Result<Status, Failure> {
        self.wait("a standby", PAUSE, |this| {
            let status = client.status()?;
            victims.look_at(&status.children);
            let owner = this.notes.ownership(this.notes.owner_epoch()).map(|owner| owner.pid);
            let is_standby = |pid: u32| Some(pid) != owner && !victims.include(pid);
            let ready = status.workers.iter().any(|worker| {
                worker.name == WORKER && worker.ready && worker.owns.is_empty() && is_standby(worker.pid)
            });
            Ok((ready && victims.all_confirmed()).then_some(status))
        })
    }

    fn kill_owner(
        &mut self,
        Target { round, aim, manager }: &Target<'_>,
        status: &Status,
        client: &Client,
        victims: &mut Victims,
        rng: &mut StdRng,
    ) -> Result<Kill, Failure> {
        let owner = self.owner()?;
        let process = Process::open(owner.pid)?;
        self.notes.release_up_to(round.released_before);
        self.wait("the moment to kill", GLANCE, |this| {
            Ok((this.noted(owner.epoch) >= round.kill_at).then_some(()))
        })?;
        victims.expect(owner.pid, &status.children);
        match aim {
            Some(aim) => aim.stop_mid_commit(&process, || self.noted(owner.epoch), rng)?,
            None => spin(Duration::from_nanos(rng.random_range(0..20_000))),
        }
        let manager_first = rng.random::<bool>();
        if let Some(manager) = manager.as_ref().filter(|_| manager_first) {
            manager.kill(Signal::KILL)?;
            spin(rng.random_range(Duration::ZERO..AROUND));
        }
        let killed_at = now_ns();
        process.kill(Signal::KILL)?;
        if let Some(manager) = manager.as_ref().filter(|_| !manager_first) {
            spin(rng.random_range(Duration::ZERO..AROUND));
            manager.kill(Signal::KILL)?;
        }
        self.notes.release_up_to(round.released_after);
        if !process.wait_exit(PATIENCE) {
            return Err(format!("owner {} was killed and does not die", owner.pid).into());
        }
        self.notes.note_dead(owner.epoch);
        let heir = self.wait("the heir", GLANCE, |this| {
            let heir = this.notes.ownership(this.notes.owner_epoch());
            Ok(heir.filter(|heir| heir.epoch > owner.epoch && heir.first_commit_ns.is_some()))
        })?;
        let handoff_ns = heir.first_commit_ns.unwrap_or_default().saturating_sub(killed_at);
        let table = self.wait("the manager's account of the handoff", PAUSE, |_| {
            let tables = client.status()?.tables;
            let is_heirs =
                |table: &TableStatus| table.owner.as_ref().is_some_and(|owner| owner.pid == heir.pid);
            Ok(tables.into_iter().find(|table| table.id == "sales" && is_heirs(table)))
        })?;
        let handoff = table.last_handoff.unwrap_or_default();
        Ok(Kill {
            victim: owner.pid,
            heir: heir.pid,
            position: heir.inherited_position,
            manager: manager.as_ref().map(Process::pid),
            mid_commit: handoff.recovery != "clean",
            handoff_us: handoff_ns / 1000,
            stages_us: stages(&handoff, killed_at, &heir),
        })
    }

    /// The position that the owner of that epoch noted last.
    fn noted(&self, epoch: u64) -> u64 {
        self.notes.ownership(epoch).map_or(0, |owner| owner.position)
    }

    /// The owner of now, once there is one.
    fn owner(&mut self) -> Result<Ownership, Failure> {
        self.wait("an owner", PAUSE, |this| Ok(this.notes.ownership(this.notes.owner_epoch())))
    }

    /// Asks again and again until there is an answer; fails when somebody interrupts, a process of the stage ends, or
    /// nothing moves for too long.
    fn wait<T>(
        &mut self,
        what: &str,
        pause: Duration,
        mut ask: impl FnMut(&Self) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let (mut moved, mut position, mut checked) = (Instant::now(), None, Instant::now());
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            if checked.elapsed() >= CHECK {
                checked = Instant::now();
                let now = self.check()?;
                if now != position {
                    (moved, position) = (checked, now);
                }
                if moved.elapsed() > PATIENCE {
                    let words = self.stage.last_words();
                    let message =
                        format!("waited {PATIENCE:?} for {what}; the supervisor's last words:\n{words}");
                    return Err(message.into());
                }
            }
            thread::sleep(pause);
        }
    }

    /// Whether all is well, and how far the owner has come.
    fn check(&mut self) -> Result<Option<u64>, Failure> {
        if self.interrupt.is_wanted() {
            return Err("interrupted".into());
        }
        self.stage.check()?;
        let owner = self.notes.ownership(self.notes.owner_epoch());
        Ok(owner.map(|owner| {
            self.story.progress(owner.position, owner.pid);
            owner.position
        }))
    }
}

/// Where the time of a handoff went, stage by stage.
fn stages(handoff: &HandoffStatus, killed_ns: u64, heir: &Ownership) -> Vec<(&'static str, u64)> {
    let since_notice = |ns: u64| ns.saturating_sub(handoff.noticed_ns) / 1000;
    let notice = handoff.noticed_ns.saturating_sub(killed_ns) / 1000;
    let ends = [
        ("nobody can write", handoff.unwritable_us),
        ("recovered", handoff.recovered_us),
        ("offered", handoff.offered_us),
        ("accepted", handoff.accepted_us),
        ("granted", handoff.granted_us),
        ("first commit", since_notice(heir.first_commit_ns.unwrap_or_default())),
    ];
    let starts = [0].into_iter().chain(ends.map(|(_, end)| end));
    let stages = ends.into_iter().zip(starts).map(|((stage, end), start)| (stage, end.saturating_sub(start)));
    [("the kernel's notice", notice)].into_iter().chain(stages).collect()
}
