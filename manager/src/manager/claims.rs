//! What clients have of one table besides its mapping: pins, and being told of its changes. They have it until they
//! say otherwise, their connection ends, or (a pin) it is too old. A durable table is followed by its checkpoints as well,
//! for as long as it is durable.
//!
//! A manager that dies knows whose the pins are, and the next one does not. Whoever has one says so when it is back; what
//! nobody has said for ten seconds is given back. Those are counted from the first manager that did not know, by a word
//! beside the pin: managers may die more often than that. Of the pins of its checkpoints a manager says at once that nobody
//! will claim them.

use super::client::ClientId;
use super::clock::now_ns;
use super::pinning::Pinning;
use heirloom_protocol::region::Region;
use heirloom_protocol::table::{self, Pin, PinError};
use std::time::{Duration, Instant};

/// Most pins of one client in one table: so that one cannot take all that there are.
const MOST_PINS_OF_ONE: usize = 32;

/// How long a pin that an earlier manager granted waits for whoever has it, in seconds: clients are back within one.
const UNCLAIMED_S: u32 = 10;

/// One that has waited for so long gives way where all places are taken.
const GIVES_WAY_S: u32 = 1;

/// The claims to one table.
#[derive(Debug)]
pub(super) struct Claims {
    /// In the order in which they were granted, so the oldest is the first.
    pins: Vec<Granted>,
    /// A client once for each time that it follows.
    followers: Vec<ClientId>,
    /// Until then the table is followed for those that an earlier manager knew.
    followed_until: Option<Instant>,
    max_age: Duration,
    pinning: Pinning,
    /// Whether checkpoints follow it, whoever else does.
    durable: bool,
}

#[derive(Debug)]
struct Granted {
    to: Holder,
    pin: Pin,
    since: Instant,
}

/// Who has a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Client(ClientId),
    /// An earlier manager granted it, and nobody has said that it is its own; since then, by our clock.
    Unknown {
        since_s: u32,
    },
}

impl Holder {
    fn may_be(self, client: ClientId) -> bool {
        match self {
            Self::Client(holder) => holder == client,
            Self::Unknown { .. } => true,
        }
    }

    fn is_unclaimed_for(self, seconds: u32, now_s: u32) -> bool {
        matches!(self, Self::Unknown { since_s } if now_s.saturating_sub(since_s) >= seconds)
    }
}

/// A pin is not granted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPinned {
    #[error("this client has {MOST_PINS_OF_ONE} snapshots of it already; drop some")]
    TooManyOfOne,
    #[error(transparent)]
    Engine(#[from] PinError),
}

impl Claims {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            pins: Vec::new(),
            followers: Vec::new(),
            followed_until: None,
            max_age,
            pinning: Pinning::default(),
            durable: false,
        }
    }

    pub(super) fn pin<R: Region>(&mut self, region: &R, to: ClientId) -> Result<Pin, NotPinned> {
        let to = Holder::Client(to);
        if self.pins.iter().filter(|granted| granted.to == to).count() >= MOST_PINS_OF_ONE {
            return Err(NotPinned::TooManyOfOne);
        }
        let pin = match self.pinning.pin(region) {
            Err(PinError::TooMany) if self.one_gives_way(region) => self.pinning.pin(region)?,
            pinned => pinned?,
        };
        self.pins.push(Granted { to, pin, since: Instant::now() });
        Ok(pin)
    }

    /// Whether there was one that nobody claims.
    fn one_gives_way<R: Region>(&mut self, region: &R) -> bool {
        let now_s = now_s();
        let unclaimed = self.pins.iter().position(|granted| granted.to.is_unclaimed_for(GIVES_WAY_S, now_s));
        unclaimed.map(|at| self.pinning.unpin(region, self.pins.remove(at).pin)).is_some()
    }

    /// A client that is back says that it has this pin.
    pub(super) fn hold<R: Region>(&mut self, region: &R, by: ClientId, pin: Pin) {
        let unclaimed =
            |granted: &&mut Granted| granted.pin == pin && matches!(granted.to, Holder::Unknown { .. });
        if let Some(granted) = self.pins.iter_mut().find(unclaimed) {
            granted.to = Holder::Client(by);
            self.pinning.note_unclaimed(region, pin, None);
        }
    }

    /// Takes up what an earlier manager granted: nobody knows to whom, so pins wait for whoever has them, and are too old
    /// as if they were new. The owner is to write what changes until then as well, and no follower that comes back
    /// meanwhile misses any of it.
    pub(super) fn adopt<R: Region>(&mut self, region: &R) {
        let since = Instant::now();
        let now_s = now_s();
        let adopted = |pin| {
            let since_s = table::unclaimed_since(region, pin).unwrap_or(now_s);
            self.pinning.note_unclaimed(region, pin, Some(since_s));
            Granted { to: Holder::Unknown { since_s }, pin, since }
        };
        self.pins = table::adopt_pins(region).into_iter().map(adopted).collect();
        self.followed_until = table::is_followed(region).then_some(since + self.max_age);
    }

    /// Somebody else's pin, or one that has expired, stays as it is: its place may be another's by now.
    pub(super) fn unpin<R: Region>(&mut self, region: &R, by: ClientId, pin: Pin) {
        if let Some(at) = self.pins.iter().position(|granted| granted.to.may_be(by) && granted.pin == pin) {
            self.pins.remove(at);
            self.pinning.unpin(region, pin);
        }
    }

    pub(super) fn follow<R: Region>(&mut self, region: &R, by: ClientId) {
        self.followers.push(by);
        table::set_followed(region, true);
    }

    pub(super) fn unfollow<R: Region>(&mut self, region: &R, by: ClientId) {
        if let Some(at) = self.followers.iter().position(|follower| *follower == by) {
            self.followers.remove(at);
            self.settle_followed(region);
        }
    }

    /// Its connection has ended.
    pub(super) fn gone<R: Region>(&mut self, region: &R, client: ClientId) {
        self.give_back(region, |granted| granted.to == Holder::Client(client));
        if self.followers.contains(&client) {
            self.followers.retain(|follower| *follower != client);
            self.settle_followed(region);
        }
    }

    /// Gives back what nobody claims; how many.
    pub(super) fn give_back_unclaimed<R: Region>(&mut self, region: &R, now_s: u32) -> usize {
        self.give_back(region, |granted| granted.to.is_unclaimed_for(UNCLAIMED_S, now_s))
    }

    /// Takes pins back that are too old (rule R13); how many.
    pub(super) fn expire<R: Region>(&mut self, region: &R, now: Instant) -> usize {
        if self.followed_until.is_some_and(|until| until <= now) {
            self.followed_until = None;
            self.settle_followed(region);
        }
        let max_age = self.max_age;
        self.give_back(region, |granted| now.duration_since(granted.since) >= max_age)
    }

    /// When the oldest pin will be too old, one has waited for long enough, or the table need not be followed any more.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.pins.first().map(|oldest| oldest.since + self.max_age);
        let unclaimed = self.pins.iter().filter_map(|granted| match granted.to {
            Holder::Unknown { since_s } => Some(since_s),
            Holder::Client(_) => None,
        });
        let unclaimed = unclaimed.min().map(|since_s| {
            let waited_s = now_s().saturating_sub(since_s);
            Instant::now() + Duration::from_secs(UNCLAIMED_S.saturating_sub(waited_s).into())
        });
        oldest.into_iter().chain(unclaimed).chain(self.followed_until).min()
    }

    /// Every change is recorded from here on, for checkpoints, which pin it beside us.
    pub(super) fn make_durable<R: Region>(&mut self, region: &R) -> Pinning {
        self.durable = true;
        self.settle_followed(region);
        self.pinning.clone()
    }

    pub(super) fn max_age(&self) -> Duration {
        self.max_age
    }

    /// How long the oldest pin has been held.
    pub(super) fn oldest_age(&self) -> Option<Duration> {
        self.pins.first().map(|oldest| oldest.since.elapsed())
    }

    pub(super) fn followers(&self) -> usize {
        self.followers.len()
    }

    fn settle_followed<R: Region>(&self, region: &R) {
        let followed = self.durable || !self.followers.is_empty() || self.followed_until.is_some();
        table::set_followed(region, followed);
    }

    fn give_back<R: Region>(&mut self, region: &R, which: impl Fn(&Granted) -> bool) -> usize {
        let (before, pinning) = (self.pins.len(), &self.pinning);
        self.pins.retain(|granted| {
            let given_back = which(granted);
            if given_back {
                pinning.unpin(region, granted.pin);
            }
            !given_back
        });
        before - self.pins.len()
    }
}

/// Now, in whole seconds by the clock of [`now_ns`], which goes on while managers die.
pub(super) fn now_s() -> u32 {
    u32::try_from(now_ns() / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_protocol::region::HeapRegion;
    use heirloom_protocol::table::TableOptions;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    fn table() -> HeapRegion {
        let options = TableOptions::set(1 << 20);
        let region = HeapRegion::new(options.segment_bytes() / 8);
        table::create(&region, &options).unwrap();
        region
    }

    fn pins(region: &HeapRegion) -> u64 {
        table::held(region).pins
    }

    #[test]
    fn a_pin_is_its_clients_until_it_says_so_or_is_gone() {
        let (region, mut claims) = (table(), Claims::new(Duration::from_secs(3600)));
        let pin = claims.pin(&region, A).unwrap();
        claims.unpin(&region, B, pin);
        assert_eq!(pins(&region), 1, "it is not B's");
        claims.unpin(&region, A, pin);
        assert_eq!(pins(&region), 0);
        for _ in 0..MOST_PINS_OF_ONE {
            claims.pin(&region, A).unwrap();
        }
        assert!(matches!(claims.pin(&region, A), Err(NotPinned::TooManyOfOne)));
        claims.pin(&region, B).unwrap();
        claims.gone(&region, A);
        assert_eq!(pins(&region), 1);
    }

    #[test]
    fn a_pin_that_is_too_old_is_taken_back_and_says_so_no_more() {
        let (region, mut claims) = (table(), Claims::new(Duration::from_secs(60)));
        let old = claims.pin(&region, A).unwrap();
        let due = claims.next_expiry().unwrap();
        assert_eq!(claims.expire(&region, due - Duration::from_millis(1)), 0);
        assert_eq!((claims.expire(&region, due), pins(&region)), (1, 0));
        // The same place and version, of another.
        assert_eq!(claims.pin(&region, B).unwrap(), old);
        claims.unpin(&region, A, old);
        assert_eq!((pins(&region), claims.next_expiry().is_some()), (1, true));
    }

    #[test]
    fn what_an_earlier_manager_granted_lasts_until_it_is_given_back_or_too_old() {
        let (region, mut before) = (table(), Claims::new(Duration::ZERO));
        let [one, other] = [before.pin(&region, A).unwrap(), before.pin(&region, B).unwrap()];
        before.follow(&region, A);
        drop(before);

        let mut claims = Claims::new(Duration::from_secs(60));
        claims.adopt(&region);
        assert_eq!((pins(&region), claims.followers()), (2, 0));
        claims.gone(&region, A);
        assert!(table::is_followed(&region) && pins(&region) == 2, "nobody knows that they were A's");
        claims.unpin(&region, A, one);
        assert_eq!(pins(&region), 1, "but A does");
        let over = Instant::now() + Duration::from_secs(60);
        assert!(claims.next_expiry().is_some_and(|at| at <= over));
        assert_eq!(claims.expire(&region, over), 1);
        assert!(!other.eq(&one) && pins(&region) == 0 && !table::is_followed(&region));
        assert_eq!(claims.next_expiry(), None);
    }

    #[test]
    fn whoever_is_back_keeps_its_pins_and_what_nobody_claims_is_given_back() {
        let (region, mut before) = (table(), Claims::new(Duration::ZERO));
        let pins_of_before = [A, A, B].map(|client| before.pin(&region, client).unwrap());
        drop(before);
        let max_age = Duration::from_secs(3600);
        let mut claims = Claims::new(max_age);
        claims.adopt(&region);
        claims.hold(&region, A, pins_of_before[0]);
        let due = claims.next_expiry().unwrap();
        assert!(due <= Instant::now() + Duration::from_secs(UNCLAIMED_S.into()));
        let now = now_s();
        assert_eq!(claims.give_back_unclaimed(&region, now + UNCLAIMED_S - 2), 0, "they may come yet");
        assert_eq!(claims.give_back_unclaimed(&region, now + UNCLAIMED_S), 2);
        claims.unpin(&region, B, pins_of_before[0]);
        assert_eq!(pins(&region), 1, "it is A's, which said so");
        claims.gone(&region, A);
        assert_eq!(pins(&region), 0);
    }

    #[test]
    fn managers_that_die_sooner_than_anybody_waits_give_back_what_nobody_claims_all_the_same() {
        let (region, mut claims) = (table(), Claims::new(Duration::from_secs(3600)));
        let [lost, held] = [claims.pin(&region, A).unwrap(), claims.pin(&region, B).unwrap()];
        let now = now_s();
        // As if the first of them had not known since nine seconds ago.
        claims.adopt(&region);
        for pin in [lost, held] {
            table::set_unclaimed_since(&region, pin, Some(now - 9));
        }
        let mut next = Claims::new(Duration::from_secs(3600));
        next.adopt(&region);
        next.hold(&region, B, held);
        let mut last = Claims::new(Duration::from_secs(3600));
        last.adopt(&region);
        assert_eq!(last.give_back_unclaimed(&region, now + 1), 1, "the one that was claimed waits anew");
        assert_eq!(table::pins(&region), [held]);
        // A place that was waited for says nothing of the next pin there.
        assert_eq!(last.pin(&region, A).unwrap().slot(), lost.slot());
        assert_eq!(table::unclaimed_since(&region, lost), None);
    }

    #[test]
    fn what_a_manager_pinned_for_a_checkpoint_does_not_outlive_it() {
        let (region, mut before) = (table(), Claims::new(Duration::ZERO));
        let pinning = before.make_durable(&region);
        let of_client = before.pin(&region, A).unwrap();
        // It is killed while it has both.
        std::mem::forget(pinning.hold(&region).unwrap());
        assert_eq!(pins(&region), 2);
        let mut next = Claims::new(Duration::from_secs(3600));
        next.adopt(&region);
        assert!(next.next_expiry().is_some_and(|due| due <= Instant::now()));
        assert_eq!(next.give_back_unclaimed(&region, now_s()), 1);
        assert_eq!(table::pins(&region), [of_client]);
    }

    #[test]
    fn where_there_is_no_room_an_unclaimed_pin_gives_way() {
        let (region, mut before) = (table(), Claims::new(Duration::ZERO));
        for client in 1.. {
            if before.pin(&region, ClientId(client)).is_err() {
                break;
            }
        }
        let mut claims = Claims::new(Duration::from_secs(3600));
        claims.adopt(&region);
        assert!(claims.pin(&region, A).is_err(), "they have not waited for a second");
        let now = now_s();
        for pin in table::pins(&region) {
            table::set_unclaimed_since(&region, pin, Some(now - GIVES_WAY_S));
        }
        claims.adopt(&region);
        claims.pin(&region, A).unwrap();
    }

    #[test]
    fn a_table_is_followed_while_anybody_follows() {
        let (region, mut claims) = (table(), Claims::new(Duration::ZERO));
        let followed = |region: &HeapRegion| table::is_followed(region);
        assert!(!followed(&region));
        for client in [A, A, B] {
            claims.follow(&region, client);
        }
        claims.unfollow(&region, A);
        claims.gone(&region, B);
        assert!(followed(&region) && claims.followers() == 1);
        claims.unfollow(&region, B);
        assert!(followed(&region), "B had none any more");
        claims.gone(&region, A);
        assert!(!followed(&region));
    }

    #[test]
    fn a_durable_table_is_followed_whoever_else_ends() {
        let (region, mut claims) = (table(), Claims::new(Duration::ZERO));
        claims.make_durable(&region);
        assert!(table::is_followed(&region));
        claims.follow(&region, A);
        claims.gone(&region, A);
        assert!(table::is_followed(&region));
        // As it is after a restart.
        let mut next = Claims::new(Duration::ZERO);
        next.adopt(&region);
        next.make_durable(&region);
        next.expire(&region, Instant::now() + Duration::from_secs(1));
        assert!(table::is_followed(&region) && next.followers() == 0);
    }
}
