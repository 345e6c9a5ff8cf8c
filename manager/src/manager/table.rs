//! One table as the manager has it: its memory, who may have it, and where it is.

use super::access::Allowed;
use super::checkpoint::Checkpoints;
use super::claims::Claims;
use super::filling::OnDisk;
use super::fullness::Fullness;
use super::kept::OwnerName;
use super::lease::Lease;
use super::recalls::Wish;
use super::search::Search;
use super::story::Story;
use crate::config::ManagerConfig;
use heirloom_protocol::message::{HandoffStatus, MAX_OFFERED_BEQUEST_BYTES, OfferedBequest};
use heirloom_protocol::ownership::{Input, Ownership, Timer};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::Segment;
use heirloom_protocol::table::{self, Kind, TableReader};
use heirloom_worker::embedding::Memory;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A table, from its creation to the end of the manager.
pub(super) struct Table {
    pub(super) id: Arc<str>,
    pub(super) kind: Kind,
    pub(super) gift: String,
    /// Only the owner may map it.
    pub(super) private: bool,
    pub(super) owners: Allowed,
    pub(super) readers: Allowed,
    pub(super) segment: Arc<Segment>,
    /// Whether it has outlived an earlier manager.
    pub(super) adopted: bool,
    /// Where it is on disk, if it is durable: from the end of hydration until its checkpoints begin.
    pub(super) on_disk: Option<OnDisk>,
    /// What keeps its file at one exact version, if it is durable.
    pub(super) checkpoints: Option<Checkpoints>,
    /// What its last owner's pidfd is kept under.
    pub(super) kept_owner: Option<OwnerName>,
    /// Whether its workers are threads of this process, which share the manager's mapping.
    pub(super) embedded: bool,
    /// The manager's own mapping, through the original description: the lease does not count it (rule H7).
    pub(super) region: Arc<MappedRegion>,
    pub(super) reader: TableReader<Arc<MappedRegion>>,
    pub(super) ownership: Ownership,
    pub(super) timers: Timers,
    /// Where its owner has to show signs of life.
    pub(super) lease: Option<Lease>,
    pub(super) search: Search,
    pub(super) holders: Holders,
    /// What the next owner is given, between the proof and the grant.
    pub(super) write_handle: Option<Memory>,
    pub(super) story: Story,
    pub(super) last_handoff: Option<HandoffStatus>,
    /// Who wants it handed on.
    pub(super) wishes: Vec<Wish>,
    /// Its pins and followers.
    pub(super) claims: Claims,
    pub(super) fullness: Fullness,
    pub(super) counts: Counts,
}

/// Since the manager started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) handoffs: u64,
    pub(super) recoveries: u64,
    pub(super) recovered_mid_commit: u64,
}

/// Who else can write, as far as it is known; only filled while somebody can who must not.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// What the last look through /proc found.
    pub(super) found: Option<String>,
    /// Whether a look is under way.
    pub(super) looking: bool,
    /// How often in a row the kernel said that somebody can.
    pub(super) refusals: u32,
}

/// The timers of one table: at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, (Instant, u64)>);

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, after: Duration, epoch: u64) {
        self.0.insert(timer, (Instant::now() + after, epoch));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(at, _)| *at).min()
    }

    /// Takes one that is over.
    pub(super) fn take_elapsed(&mut self, now: Instant) -> Option<(Timer, u64)> {
        let (timer, epoch) =
            self.0.iter().find(|(_, (at, _))| *at <= now).map(|(timer, (_, epoch))| (*timer, *epoch))?;
        self.0.remove(&timer);
        Some((timer, epoch))
    }
}

impl Table {
    /// What an offer says of the bequest. A private table is mapped by its owner alone, so a candidate gets no
    /// descriptor of it: it might keep that, and decline.
    pub(super) fn will(&self) -> Result<(OfferedBequest, Option<Memory>), String> {
        if !self.private {
            return Ok((OfferedBequest::InSegment, Some(self.to_read()?)));
        }
        let bequest = self.reader.bequest().map_err(|error| error.to_string())?;
        let will = match bequest {
            Some(bequest) if bequest.len() > MAX_OFFERED_BEQUEST_BYTES => {
                OfferedBequest::TooLong { bytes: bequest.len() as u64 }
            }
            bequest => OfferedBequest::Here(bequest),
        };
        Ok((will, None))
    }

    /// For a reader.
    pub(super) fn to_read(&self) -> Result<Memory, String> {
        match self.embedded {
            true => Ok(Memory::Shared(self.region.share())),
            false => self.segment.fresh_read_only().map(Memory::Segment).map_err(|error| error.to_string()),
        }
    }

    /// For the next owner (rule H7).
    pub(super) fn to_write(&self) -> Result<Memory, String> {
        match self.embedded {
            true => Ok(Memory::Shared(self.region.share())),
            false => self.segment.fresh_writable().map(Memory::Segment).map_err(|error| error.to_string()),
        }
    }

    /// How long such a timer runs.
    pub(super) fn duration(&self, timer: Timer, times: &ManagerConfig) -> Duration {
        match timer {
            Timer::Offer => times.offer_timeout,
            // That of the wish which it is for, the first to end.
            Timer::Recall => {
                let pursued = self.wishes.iter().filter(|wish| wish.pursued).map(|wish| wish.until).min();
                pursued.map_or(times.recall_timeout, |until| until.saturating_duration_since(Instant::now()))
            }
            Timer::Connection | Timer::Reclaim => times.grace,
            Timer::Lease => self.lease.as_ref().map_or(Duration::MAX, Lease::length),
            // 1, 2, 4 .. 64 ms: what delays the end of a mapping by some milliseconds costs no more than that again.
            Timer::ProveAgain => Duration::from_millis(1 << self.holders.refusals.saturating_sub(1).min(6)),
        }
    }

    /// Begins such a timer anew.
    pub(super) fn arm(&mut self, timer: Timer, epoch: u64, times: &ManagerConfig) {
        match (timer, &mut self.lease) {
            (Timer::Lease, Some(lease)) => lease.begin(epoch, table::life(&self.region), Instant::now()),
            (Timer::Lease, None) => {}
            _ => self.timers.arm(timer, self.duration(timer, times), epoch),
        }
    }

    /// Looks whether its owner shows signs of life, where that is due; what its ownership is to be told.
    pub(super) fn look_at_owner(&mut self, now: Instant) -> Option<Input> {
        self.lease.as_mut()?.tick(table::life(&self.region), now)
    }

    /// When it next wants to be looked at.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = [
            self.timers.next(),
            self.lease.as_ref().and_then(Lease::next_tick),
            self.search.next_try(),
            self.claims.next_expiry(),
            self.next_wish_over(),
        ];
        due.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_and_a_later_one_replaces_it() {
        let mut timers = Timers::default();
        timers.arm(Timer::Offer, Duration::ZERO, 1);
        timers.arm(Timer::Offer, Duration::ZERO, 2);
        timers.arm(Timer::Recall, Duration::from_secs(3600), 2);
        let now = Instant::now();
        assert_eq!(timers.take_elapsed(now), Some((Timer::Offer, 2)));
        assert_eq!(timers.take_elapsed(now), None);
        assert!(timers.next().is_some_and(|at| at > now));
    }
}
