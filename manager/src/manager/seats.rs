//! Who may have a connection, and whose turn it is to be heard (rule H19).
//!
//! A connection is counted before anything is read from it or queued for it. It costs two descriptors, the socket and the
//! pidfd of whoever is at the other end; those that it was sent and has not received count against what our user may have
//! under way. So there are never more connections than leave enough of both for the tables themselves:
//!
//! ```text
//!  RLIMIT_NOFILE, raised to its hard limit at start
//!  ├── reserve ──┼────────────────────────── connections ──────────────────────────┤
//!  │ for tables  │ of root and our own user    │ of all other users together       │
//!  │ handing on  │                             │ ├ of one ┼ of one ┼ of one ┼ ..   │
//! ```
//!
//! And users take turns: of each, one request is read and carried out at a time (and one of its workers beside that,
//! since a handoff may wait for it). However many connections a user has, and however fast it talks, what others say
//! waits for one request of it at most.

use super::access::is_ours;
use super::client::MAX_UNREAD_DESCRIPTORS;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that are kept back for the manager itself: its event loop, sockets, commands and files.
const OWN_DESCRIPTORS: u64 = 64;

/// The same for each table: its memory, the handles that are made for the next owner, stored ones under way.
const DESCRIPTORS_PER_TABLE: u64 = 8;

/// More connections serve nobody. What a client leaves unread takes up to some 200 KiB of the kernel's memory, so this is
/// a limit on that too.
const MOST_OF_MANY: u64 = 4096;

/// So many users can have all the connections that one user may have.
const USERS_AT_ONCE: u64 = 4;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of root and our own user, each.
    pub(super) of_ours: usize,
    /// Of any one other user.
    pub(super) of_one_other: usize,
    /// Of all other users together.
    pub(super) of_others: usize,
}

impl Limits {
    /// What a manager of so many tables can serve that may have so many descriptors.
    pub(super) fn within(descriptors: u64, tables: usize) -> Self {
        let reserve = OWN_DESCRIPTORS + DESCRIPTORS_PER_TABLE * tables as u64;
        // As many as could all be unread; then two of each are open as well.
        let all = descriptors.saturating_sub(reserve) / u64::from(MAX_UNREAD_DESCRIPTORS);
        let half = (all / 2).clamp(8, MOST_OF_MANY);
        let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
        // Root is a user beside our own, unless that is the same.
        let of_ours = if rustix::process::geteuid().is_root() { half } else { half / 2 };
        Self {
            of_ours: number(of_ours),
            of_one_other: number((half / USERS_AT_ONCE).max(4)),
            of_others: number(half),
        }
    }
}

/// All connections, counted by user.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    limits: Limits,
    users: Arc<Mutex<HashMap<u32, User>>>,
}

#[derive(Debug)]
struct User {
    is_ours: bool,
    connections: usize,
    turns: [Arc<Semaphore>; 2],
}

/// One counted connection, for as long as this lives.
#[derive(Debug)]
pub(super) struct Seat {
    uid: u32,
    turns: [Arc<Semaphore>; 2],
    users: Arc<Mutex<HashMap<u32, User>>>,
}

/// What a user may say next waits until this is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

/// There is no seat.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    #[error("user {uid} has {most} connections already (a raised ulimit -n of the manager allows more)")]
    OfThisUser { uid: u32, most: usize },
    #[error("other users have {most} connections already (a raised ulimit -n of the manager allows more)")]
    OfOthers { most: usize },
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, users: Arc::default() }
    }

    /// Counts one more connection of that user, if there may be one.
    pub(super) fn take(&self, uid: u32) -> Result<Seat, NoSeat> {
        let is_ours = is_ours(uid);
        let mut users = lock(&self.users);
        let others = users.values().filter(|user| !user.is_ours).map(|user| user.connections).sum::<usize>();
        let of_this = users.get(&uid).map_or(0, |user| user.connections);
        let most = if is_ours { self.limits.of_ours } else { self.limits.of_one_other };
        if of_this >= most {
            return Err(NoSeat::OfThisUser { uid, most });
        }
        if !is_ours && others >= self.limits.of_others {
            return Err(NoSeat::OfOthers { most: self.limits.of_others });
        }
        let new = || User { is_ours, connections: 0, turns: [(); 2].map(|()| Arc::new(Semaphore::new(1))) };
        let user = users.entry(uid).or_insert_with(new);
        user.connections += 1;
        Ok(Seat { uid, turns: user.turns.clone(), users: Arc::clone(&self.users) })
    }
}

impl Seat {
    /// Waits until it is this user's turn, or that of its workers.
    pub(super) async fn turn(&self, is_worker: bool) -> Turn {
        let turns = Arc::clone(&self.turns[usize::from(is_worker)]);
        turns.acquire_owned().await.expect("nobody closes it")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = lock(&self.users);
        if let Some(user) = users.get_mut(&self.uid) {
            user.connections -= 1;
            if user.connections == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

fn lock(users: &Mutex<HashMap<u32, User>>) -> MutexGuard<'_, HashMap<u32, User>> {
    // The counts are right between any two statements.
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(number: u32) -> u32 {
        rustix::process::geteuid().as_raw().wrapping_add(number).max(1)
    }

    #[test]
    fn all_that_may_be_open_or_unread_leaves_the_reserve() {
        for descriptors in [1024, 4096, 20_000, 524_288, 1 << 20] {
            for tables in [1, 10] {
                let limits = Limits::within(descriptors, tables);
                let all = limits.of_others as u64
                    + limits.of_ours as u64 * if rustix::process::geteuid().is_root() { 1 } else { 2 };
                let reserve = 64 + 8 * tables as u64;
                let unread = all * u64::from(MAX_UNREAD_DESCRIPTORS);
                assert!(unread.max(2 * all) + reserve <= descriptors, "{descriptors}: {limits:?}");
                assert!(limits.of_one_other * 4 <= limits.of_others, "{limits:?}");
            }
        }
        let few = Limits::within(10, 1);
        assert!(few.of_one_other > 0 && few.of_ours > 0, "{few:?}");
    }

    #[test]
    fn a_connection_is_counted_until_it_ends() {
        let limits = Limits { of_ours: 3, of_one_other: 2, of_others: 3 };
        let seats = Seats::new(limits);
        let mut taken: Vec<_> = (0..2).map(|_| seats.take(other(7)).unwrap()).collect();
        assert_eq!(seats.take(other(7)).unwrap_err(), NoSeat::OfThisUser { uid: other(7), most: 2 });
        taken.push(seats.take(other(8)).unwrap());
        assert_eq!(seats.take(other(9)).unwrap_err(), NoSeat::OfOthers { most: 3 });
        let ours = rustix::process::geteuid().as_raw();
        let own: Vec<_> = (0..3).map(|_| seats.take(ours).unwrap()).collect();
        assert_eq!(seats.take(ours).unwrap_err(), NoSeat::OfThisUser { uid: ours, most: 3 });
        taken.remove(0);
        seats.take(other(9)).unwrap();
        drop((own, taken));
        assert!(lock(&seats.users).is_empty());
    }

    #[tokio::test]
    async fn users_take_turns_and_workers_do_not_wait_for_the_others_of_their_user() {
        let limits = Limits { of_ours: 3, of_one_other: 2, of_others: 3 };
        let seats = Seats::new(limits);
        let [one, same, another] = [7, 7, 8].map(|number| seats.take(other(number)).unwrap());
        let turn = one.turn(false).await;
        drop(another.turn(false).await);
        drop(same.turn(true).await);
        let waiting = same.turn(false);
        tokio::pin!(waiting);
        assert!(at_once(waiting.as_mut()).await.is_none());
        drop(turn);
        drop(waiting.await);
    }

    /// What it comes to, if it does so at once.
    async fn at_once<T>(future: impl std::future::Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }
}
