//! What clients have of one table besides its mapping: pins, and being told of its changes. They have it until they
//! say otherwise, their connection ends, or (a pin) it is too old.

use super::client::ClientId;
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
    max_age: Duration,
}

#[derive(Debug)]
struct Granted {
    to: ClientId,
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
        Self { pins: Vec::new(), followers: Vec::new(), max_age }
    }

    pub(super) fn pin<R: Region>(&mut self, region: &R, to: ClientId) -> Result<Pin, NotPinned> {
        if self.pins.iter().filter(|granted| granted.to == to).count() >= MOST_PINS_OF_ONE {
            return Err(NotPinned::TooManyOfOne);
        }
        let pin = table::pin(region)?;
        self.pins.push(Granted { to, pin, since: Instant::now() });
        Ok(pin)
    }

    /// Somebody else's pin, or one that has expired, stays as it is: its place may be another's by now.
    pub(super) fn unpin<R: Region>(&mut self, region: &R, by: ClientId, pin: Pin) {
        if let Some(at) = self.pins.iter().position(|granted| (granted.to, granted.pin) == (by, pin)) {
            self.pins.remove(at);
            table::unpin(region, pin);
        }
    }

    pub(super) fn follow<R: Region>(&mut self, region: &R, by: ClientId) {
        self.followers.push(by);
        table::set_followed(region, true);
    }

    pub(super) fn unfollow<R: Region>(&mut self, region: &R, by: ClientId) {
        if let Some(at) = self.followers.iter().position(|follower| *follower == by) {
            self.followers.remove(at);
            table::set_followed(region, !self.followers.is_empty());
        }
    }

    /// Its connection has ended.
    pub(super) fn gone<R: Region>(&mut self, region: &R, client: ClientId) {
        self.give_back(region, |granted| granted.to == client);
        if self.followers.contains(&client) {
            self.followers.retain(|follower| *follower != client);
            table::set_followed(region, !self.followers.is_empty());
        }
    }

    /// Takes pins back that are too old (rule R13); how many.
    pub(super) fn expire<R: Region>(&mut self, region: &R, now: Instant) -> usize {
        let max_age = self.max_age;
        self.give_back(region, |granted| now.duration_since(granted.since) >= max_age)
    }

    /// When the oldest pin will be too old.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.pins.first().map(|oldest| oldest.since + self.max_age)
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

    fn give_back<R: Region>(&mut self, region: &R, which: impl Fn(&Granted) -> bool) -> usize {
        let before = self.pins.len();
        self.pins.retain(|granted| {
            let given_back = which(granted);
            if given_back {
                table::unpin(region, granted.pin);
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
}
