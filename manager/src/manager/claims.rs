//! What clients have of one table besides its mapping: pins, and being told of its changes. They have it until they
//! say otherwise, their connection ends, or (a pin) it is too old. A durable table is followed by its checkpoints as well,
//! for as long as it is durable.

use super::client::ClientId;
use super::pinning::Pinning;
use heirloom_protocol::region::Region;
use heirloom_protocol::table::{self, Pin, PinError};
use std::time::{Duration, Instant};

/// Most pins of one client in one table: so that one cannot take all that there are.
const MOST_PINS_OF_ONE: usize = 32;

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
    /// Nobody, where an earlier manager granted it.
    to: Option<ClientId>,
    pin: Pin,
    since: Instant,
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
        if self.pins.iter().filter(|granted| granted.to == Some(to)).count() >= MOST_PINS_OF_ONE {
            return Err(NotPinned::TooManyOfOne);
        }
        let pin = self.pinning.pin(region)?;
        self.pins.push(Granted { to: Some(to), pin, since: Instant::now() });
        Ok(pin)
    }

    /// Takes up what an earlier manager granted: nobody knows to whom, so pins last until whoever has one says otherwise,
    /// or until they are too old, as if they were new. The owner is to write what changes for that long as well, and no
    /// follower that comes back meanwhile misses any of it.
    pub(super) fn adopt<R: Region>(&mut self, region: &R) {
        let since = Instant::now();
        self.pins =
            table::adopt_pins(region).into_iter().map(|pin| Granted { to: None, pin, since }).collect();
        self.followed_until = table::is_followed(region).then_some(since + self.max_age);
    }

    /// Somebody else's pin, or one that has expired, stays as it is: its place may be another's by now.
    pub(super) fn unpin<R: Region>(&mut self, region: &R, by: ClientId, pin: Pin) {
        if let Some(at) =
            self.pins.iter().position(|granted| granted.to.is_none_or(|to| to == by) && granted.pin == pin)
        {
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
        self.give_back(region, |granted| granted.to == Some(client));
        if self.followers.contains(&client) {
            self.followers.retain(|follower| *follower != client);
            self.settle_followed(region);
        }
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

    /// When the oldest pin will be too old, or the table need not be followed any more.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.pins.first().map(|oldest| oldest.since + self.max_age);
        oldest.into_iter().chain(self.followed_until).min()
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
