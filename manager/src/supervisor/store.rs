//! The descriptor store: what the manager gives the supervisor to keep, so that its own death loses no table
//! (rules H21 and H24).
//!
//! It follows systemd's own: a descriptor is kept under a name, several may share one, the names come back with the
//! descriptors in `LISTEN_FDNAMES`. Two differences, both towards keeping less that is stale: a descriptor of the same
//! file under the same name replaces the older one (a restarted manager says everything again), and one that was
//! stored with polling is looked at when it is handed back, not before.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Resource;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Most descriptors that are kept: far above what tables and workers need, far below what a process may hold open.
const MAX_DESCRIPTORS: usize = 4096;

/// Descriptors that the supervisor needs for itself, besides those it keeps for the manager.
const OWN_DESCRIPTORS: u64 = 64;

/// Longest name, in bytes, as in systemd.
const MAX_NAME_BYTES: usize = 255;

/// The name of descriptors that were given none, as in systemd.
const DEFAULT_NAME: &str = "stored";

/// Descriptors that are kept for a process that may die.
#[derive(Debug)]
pub(super) struct Store {
    entries: Vec<Entry>,
    limit: usize,
}

/// One descriptor that is kept; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) descriptor: Arc<OwnedFd>,
    file: Option<(u64, u64)>,
    /// Whether it is dropped once the kernel reports an end or an error on it.
    pub(super) polled: bool,
}

impl Entry {
    /// Whether it is the same file under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && ((self.file == other.file && self.file.is_some())
                || Arc::ptr_eq(&self.descriptor, &other.descriptor))
    }
}

/// Why a descriptor is not kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    #[error("a descriptor's name must be 1 to {MAX_NAME_BYTES} printable ASCII characters without a colon")]
    BadName,
    #[error("no more than {0} descriptors are kept")]
    Full(usize),
}

impl Store {
    /// A store without anything in it, that keeps at most `limit` descriptors.
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: Vec::new(), limit }
    }

    /// Keeps the descriptors under a name.
    pub(super) fn keep(
        &mut self,
        name: Option<&str>,
        descriptors: Vec<OwnedFd>,
        polled: bool,
    ) -> Result<(), StoreError> {
        let name = name.unwrap_or(DEFAULT_NAME);
        if !is_name(name) {
            return Err(StoreError::BadName);
        }
        for descriptor in descriptors {
            let file = rustix::fs::fstat(&descriptor).ok().map(|file| (file.st_dev, file.st_ino));
            self.entries.retain(|entry| entry.name != name || entry.file != file || file.is_none());
            if self.entries.len() >= self.limit {
                return Err(StoreError::Full(self.limit));
            }
            let descriptor = Arc::new(descriptor);
            self.entries.push(Entry { name: name.to_owned(), descriptor, file, polled });
        }
        Ok(())
    }

    /// Forgets all descriptors of a name; how many there were.
    pub(super) fn forget(&mut self, name: &str) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.name != name);
        before - self.entries.len()
    }

    /// What is handed back to a new process, in the order in which it was stored.
    pub(super) fn hand_back(&mut self) -> Vec<(&str, BorrowedFd<'_>)> {
        self.entries.retain(|entry| !entry.polled || !has_ended(entry.descriptor.as_fd()));
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.descriptor.as_fd())).collect()
    }

    /// What is kept.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many it keeps at most.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// As many as this process may hold open, and not more than make sense.
pub(super) fn limit() -> usize {
    let open = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(open.saturating_sub(OWN_DESCRIPTORS)).unwrap_or(usize::MAX).min(MAX_DESCRIPTORS)
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b':')
}

fn has_ended(descriptor: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut poll = [PollFd::new(&descriptor, PollFlags::empty())];
    let answered = rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0);
    answered && poll[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    fn file(text: &str) -> std::fs::File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn names(store: &mut Store) -> Vec<String> {
        store.hand_back().iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn keeps_what_it_is_given_and_hands_back_the_same_files() {
        let mut store = Store::new(100);
        store
            .keep(Some("table.sales"), vec![file("sales").into(), file("more").into()], false)
            .expect("kept");
        store.keep(None, vec![file("other").into()], false).expect("kept");
        assert_eq!(names(&mut store), ["table.sales", "table.sales", "stored"]);
        let handed = store.hand_back();
        let mut copy = std::fs::File::from(handed[0].1.try_clone_to_owned().expect("a copy"));
        let mut text = String::new();
        copy.rewind().and_then(|()| copy.read_to_string(&mut text)).expect("read");
        assert_eq!(text, "sales");
    }

    #[test]
    fn the_same_file_under_the_same_name_is_kept_once() {
        let mut store = Store::new(100);
        let sales = file("sales");
        for name in ["a", "a", "b"] {
            store.keep(Some(name), vec![sales.try_clone().expect("a copy").into()], false).expect("kept");
        }
        assert_eq!(names(&mut store), ["a", "b"]);
    }

    #[test]
    fn forgets_by_name() {
        let mut store = Store::new(100);
        store.keep(Some("a"), vec![file("1").into(), file("2").into()], false).expect("kept");
        store.keep(Some("b"), vec![file("3").into()], false).expect("kept");
        assert_eq!((store.forget("a"), store.forget("c")), (2, 0));
        assert_eq!(names(&mut store), ["b"]);
    }

    #[test]
    fn what_is_polled_vanishes_with_its_end_and_nothing_else_does() {
        let mut store = Store::new(100);
        for (name, polled) in [("polled", true), ("kept", false)] {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
            store.keep(Some(name), vec![ours.into()], polled).expect("kept");
            drop(theirs);
        }
        store.keep(Some("file"), vec![file("regular files never end").into()], true).expect("kept");
        assert_eq!(names(&mut store), ["kept", "file"]);
    }

    #[test]
    fn refuses_names_that_cannot_be_handed_back() {
        let mut store = Store::new(100);
        let long = "x".repeat(256);
        for name in ["", "a:b", "a\nb", "ä", &long] {
            assert_eq!(
                store.keep(Some(name), vec![file("x").into()], false),
                Err(StoreError::BadName),
                "{name:?}"
            );
        }
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn refuses_more_than_it_can_keep() {
        let mut store = Store::new(2);
        for name in ["a", "b"] {
            store.keep(Some(name), vec![file(name).into()], false).expect("kept");
        }
        assert_eq!(store.keep(Some("c"), vec![file("c").into()], false), Err(StoreError::Full(2)));
        assert_eq!(names(&mut store), ["a", "b"]);
    }
}
