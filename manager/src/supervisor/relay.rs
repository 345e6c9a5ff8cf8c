//! The way up: what the manager gives this supervisor to keep, the service manager above keeps too, so that the tables
//! outlive the supervisor (rule H24).
//!
//! ```text
//!  loop ── what is to be above: descriptors, words ──► thread ── FDSTORE, FDSTOREREMOVE, READY, STATUS, BARRIER ──► above
//! ```
//!
//! The service manager reads when it likes, and after some eleven unread notifications a sender would have to wait. So
//! the loop says what is to be above, and waits for nothing; a thread brings above in line with it, one notification after
//! the other. What came and went meanwhile is never sent, what could not be sent is sent later, and a service manager that
//! is another one than before is sent everything.
//!
//! A barrier of the manager's is answered once all that was stored before it has been read above: no table is offered to
//! anybody before it would outlive the supervisor too (rule H21).

use super::store::Entry;
use heirloom_protocol::sys::notify::{Notifier, NotifyError};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{debug, error, warn};

/// How long the service manager above may take to read what it was sent, where the manager waits for that: less than the
/// manager waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The pause after the kernel took nothing, where the queue's having room again does not say that it will.
const BREATH: Duration = Duration::from_millis(2);

/// The loop's end.
#[derive(Debug)]
pub(super) struct Relay(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    said: Mutex<Said>,
    more: Condvar,
}

/// What the loop has said and the thread has not taken.
#[derive(Debug, Default)]
struct Said {
    /// What is to be kept above, where that has changed.
    kept: Option<Vec<Entry>>,
    words: Vec<String>,
    barriers: Vec<OwnedFd>,
    /// The supervisor ends.
    over: bool,
    /// And the thread has, with everything said.
    ended: bool,
}

/// The thread's own.
struct Thread {
    notifier: Notifier,
    /// How many descriptors are kept above, where that is said.
    room: Option<usize>,
    wanted: Vec<Entry>,
    above: Vec<Entry>,
    words: VecDeque<String>,
    barriers: Vec<OwnedFd>,
    /// Whether everything sent is known to have been read.
    read: bool,
}

impl Relay {
    /// Starts the thread; none where there is no service manager above. `kept` is what it keeps already, as this supervisor
    /// was handed it; the tables need room for so many descriptors.
    pub(super) fn start(kept: Vec<Entry>, needed: usize) -> io::Result<Option<Self>> {
        let notifier = match Notifier::from_env() {
            Ok(Some(notifier)) => notifier,
            Ok(None) => return Ok(None),
            Err(error) => {
                warn!(%error, "the service manager above cannot be notified: the tables do not outlive this supervisor");
                return Ok(None);
            }
        };
        let room = std::env::var("FDSTORE").ok().and_then(|room| room.parse().ok());
        if let Some(warning) = warning(room, needed) {
            warn!("{warning}");
        }
        let shared = Arc::new(Shared::default());
        let mut thread = Thread {
            notifier,
            room,
            wanted: kept.clone(),
            above: kept,
            words: VecDeque::new(),
            barriers: Vec::new(),
            read: true,
        };
        let said = Arc::clone(&shared);
        thread::Builder::new().name("relay".to_owned()).spawn(move || thread.work(&said))?;
        Ok(Some(Self(shared)))
    }

    /// From now on, this is to be kept above.
    pub(super) fn keep(&self, kept: Vec<Entry>) {
        self.0.say(|said| said.kept = Some(kept));
    }

    /// To be said above. Of several that say what is being done, the newest is.
    pub(super) fn tell(&self, words: String) {
        self.0.say(|said| {
            said.words.retain(|earlier| !(is_status(earlier) && is_status(&words)));
            said.words.push(words);
        });
    }

    /// Closes these when everything said so far has been read above.
    pub(super) fn confirm(&self, barriers: Vec<OwnedFd>) {
        self.0.say(|said| said.barriers.extend(barriers));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.say(|said| said.over = true);
        // Its last words are worth a moment, and no more.
        let ended = self.0.more.wait_timeout_while(self.0.lock(), PAUSE, |said| !said.ended);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn say(&self, say: impl FnOnce(&mut Said)) {
        say(&mut self.lock());
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    /// Brings above in line with what is said, until the supervisor ends.
    fn work(&mut self, shared: &Shared) {
        while self.take(shared) {
            match self.step() {
                Ok(()) => {}
                Err(NotifyError::Full) => {
                    let _ = self.notifier.wait_until_read(Instant::now() + PAUSE);
                    thread::sleep(BREATH);
                }
                Err(NotifyError::Gone) => self.gone(),
                Err(error) => {
                    warn!(%error, "the service manager above was not told");
                    thread::sleep(PAUSE);
                }
            }
        }
        shared.say(|said| said.ended = true);
    }

    /// Takes in what was said; waits where there is nothing left to do. False where that was all.
    fn take(&mut self, shared: &Shared) -> bool {
        let mut said = shared.lock();
        let done = self.is_in_line() && self.words.is_empty() && self.barriers.is_empty();
        if done {
            let nothing = |said: &mut Said| {
                said.kept.is_none() && said.words.is_empty() && said.barriers.is_empty() && !said.over
            };
            said = shared.more.wait_while(said, nothing).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(kept) = said.kept.take() {
            self.wanted = kept;
        }
        for words in said.words.drain(..) {
            self.words.retain(|earlier| !(is_status(earlier) && is_status(&words)));
            self.words.push_back(words);
        }
        self.barriers.append(&mut said.barriers);
        !said.over || !self.is_in_line() || !self.words.is_empty()
    }

    fn is_in_line(&self) -> bool {
        self.not_wanted().is_none() && self.missing().is_none()
    }

    fn not_wanted(&self) -> Option<&Entry> {
        self.above.iter().find(|entry| !self.wanted.iter().any(|wanted| wanted.is_same(entry)))
    }

    fn missing(&self) -> Option<&Entry> {
        self.wanted.iter().find(|entry| !self.above.iter().any(|above| above.is_same(entry)))
    }

    /// Sends one notification: what makes room first, and words after what they may speak of.
    fn step(&mut self) -> Result<(), NotifyError> {
        if let Some(entry) = self.not_wanted() {
            let name = entry.name.clone();
            self.notifier.forget(&name)?;
            // All of that name are gone; those still wanted are missing now.
            self.above.retain(|entry| entry.name != name);
        } else if let Some(entry) = self.missing().cloned() {
            self.notifier.store(&entry.name, entry.descriptor.as_fd(), entry.polled)?;
            self.above.push(entry);
            if self.room == Some(self.above.len() - 1) {
                error!(
                    kept = self.room,
                    "the service manager above keeps no more descriptors (FileDescriptorStoreMax): some tables do NOT \
                     outlive this supervisor"
                );
            }
        } else if let Some(words) = self.words.front() {
            self.notifier.send(words, &[])?;
            self.words.pop_front();
            return Ok(());
        } else {
            return self.answer();
        }
        self.read = false;
        Ok(())
    }

    fn answer(&mut self) -> Result<(), NotifyError> {
        let waiting = !self.barriers.is_empty();
        if waiting && !self.read {
            match self.notifier.barrier(PATIENCE) {
                Err(error @ NotifyError::TimedOut(_)) => {
                    error!(%error, "whether the tables outlive this supervisor is not known");
                }
                answer => answer?,
            }
            self.read = true;
        }
        self.barriers.clear();
        Ok(())
    }

    /// Nobody listens any more: there is nothing to wait for, and whoever listens next knows nothing.
    fn gone(&mut self) {
        self.barriers.clear();
        thread::sleep(PAUSE);
        if let Ok(Some(notifier)) = Notifier::from_env() {
            debug!("another service manager above is told everything");
            self.notifier = notifier;
            self.above.clear();
        }
    }
}

fn is_status(words: &str) -> bool {
    words.starts_with("STATUS=")
}

/// What a person should know about whether the tables outlive this supervisor (rule H21).
fn warning(room: Option<usize>, needed: usize) -> Option<String> {
    match room {
        Some(room) if room >= needed => None,
        Some(room) => Some(format!(
            "the service manager above keeps {room} descriptors, and the tables need {needed}: some do not outlive this \
             supervisor (FileDescriptorStoreMax)"
        )),
        None => Some(format!(
            "the service manager above does not say whether it keeps descriptors (systemd does from 254 on): for the \
             tables to outlive this supervisor, its unit needs FileDescriptorStoreMax={needed} or more"
        )),
    }
}
