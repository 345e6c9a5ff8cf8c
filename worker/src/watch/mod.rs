//! Following a table's changes as they commit.
//!
//! ```text
//!  owner      commits ──► change ring: which keys              no message, no system call, for nobody
//!                             │
//!  watch      applied moved? ─┴─► the keys since the last look ──► their values as of one version ──► a batch
//! ```
//!
//! A batch is cut at a commit: it has the newest value of each key that changed since the batch before, and each
//! removal, as of one version, so never half a transaction. Values between two looks are not told: a watch is for
//! following what a table holds, not a log of what was written.
//!
//! Values are read as of the version where a commit has just ended ([`TableReader::glimpse`]); where the owner goes on
//! so fast that this does not last, the manager is asked to pin one. A watch that cannot follow any more is told
//! so ([`Watched::Overtaken`]), and goes on from the whole table as of one version, without a gap.
//!
//! [`TableReader::glimpse`]: heirloom_protocol::table::TableReader::glimpse

mod changes;
mod follower;
mod pace;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use changes::{Change, Changes};

use crate::client::{Pinned, RequestError, Source};
use crate::codec::{Key, Value};
use crate::reader::{ReadError, Reader};
use crate::schema::decode;
use follower::{Follower, Look};
use pace::Pace;

/// Follows a table's changes; see [`Reader::watch`].
///
/// It looks by itself: [`Iterator::next`] waits until something has changed, [`try_next`](Self::try_next) looks once.
/// While watches of a table exist, its owner notes which keys it changes, at some nanoseconds a write. The owner
/// never waits for a watch.
pub struct Watch<K: ?Sized, V: ?Sized> {
    follower: Follower,
    pace: Pace,
    types: PhantomData<fn(&K, &V)>,
}

/// What a watch tells.
#[non_exhaustive]
pub enum Watched<K: ?Sized, V: ?Sized> {
    /// What commits have changed since the last time.
    Changes(Changes<K, V>),
    /// More has changed than the table keeps notes of, or another table was created in its place. Go on with
    /// [`Watch::start_over`], or with [`Watch::skip_to_now`]; until then, the watch says nothing else.
    Overtaken,
}

/// A watch could not look. Nothing is lost: the next look begins where this one did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The table could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manager did not pin a version, which is needed where the owner writes at full speed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl<K: Key + ?Sized, V: Value + ?Sized> Reader<K, V> {
    /// Follows the changes that are committed from now on.
    ///
    /// ```
    /// # use heirloom_worker::{Watched, testing::{self, Table}};
    /// # use std::collections::BTreeMap;
    /// let (mut sales, reader) = testing::table::<String, u64>(Table::set("sales"));
    /// sales.insert("Zonda", &1)?;
    ///
    /// let mut watch = reader.watch()?;
    /// let mut copy = BTreeMap::new();
    /// watch.start_over(|car, total| { copy.insert(car, total); })?;    // what is there already
    /// sales.insert("F40", &3)?;
    /// sales.remove("Zonda")?;
    ///
    /// match watch.next().expect("a watch never ends")? {
    ///     Watched::Changes(changes) => for change in &changes {
    ///         match change? {
    ///             (car, Some(total)) => copy.insert(car, total),
    ///             (car, None) => copy.remove(&car),
    ///         };
    ///     },
    ///     Watched::Overtaken => {
    ///         copy.clear();
    ///         watch.start_over(|car, total| { copy.insert(car, total); })?;
    ///     }
    ///     _ => {}
    /// }
    /// assert_eq!(copy, BTreeMap::from([("F40".to_owned(), 3)]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]: the manager tells the owner that somebody follows, once.
    pub fn watch(&self) -> Result<Watch<K, V>, RequestError> {
        self.watch_after(None)
    }

    /// The same, of what was committed after a version that was seen before. Where that is not known any more, the first thing
    /// that is told is [`Watched::Overtaken`].
    ///
    /// # Errors
    /// As for [`Reader::watch`].
    pub fn watch_from(&self, version: u64) -> Result<Watch<K, V>, RequestError> {
        self.watch_after(Some(version))
    }

    fn watch_after(&self, version: Option<u64>) -> Result<Watch<K, V>, RequestError> {
        let followed = self.source().follow()?;
        Ok(Watch::new(Follower::begin(Arc::clone(self.source()), version, followed)))
    }
}

impl<K: Key + ?Sized, V: Value + ?Sized> Watch<K, V> {
    fn new(follower: Follower) -> Self {
        Self { follower, pace: Pace::default(), types: PhantomData }
    }

    /// Looks once, without waiting: what has changed since the last time, if anything.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn try_next(&mut self) -> Result<Option<Watched<K, V>>, WatchError> {
        let mut look = self.follower.look(None)?;
        if matches!(look, Look::NeedsPin) {
            let pinned = self.source().pin()?;
            look = self.follower.look(Some(&pinned))?;
        }
        Ok(self.told(look))
    }

    /// Waits for the next change, for so long at most.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Watched<K, V>>, WatchError> {
        let begun = Instant::now();
        loop {
            let watched = self.try_next()?;
            if watched.is_some() || begun.elapsed() >= time {
                return Ok(watched);
            }
            self.wait(time - begun.elapsed().min(time));
        }
    }

    /// Calls `each` with every entry of the table as of one version, which it returns, and goes on from there: what is told
    /// next has changed since. For a watch that begins with everything, and for one that was overtaken.
    ///
    /// # Errors
    /// [`WatchError`], also where an entry is no `(K, V)`; then `each` may have been called, and the watch is where it was.
    pub fn start_over(&mut self, each: impl FnMut(K::Owned, V::Owned)) -> Result<u64, WatchError> {
        let pinned = self.source().pin()?;
        self.start_over_at(&pinned, each)
    }

    fn start_over_at(
        &mut self,
        pinned: &Pinned,
        mut each: impl FnMut(K::Owned, V::Owned),
    ) -> Result<u64, WatchError> {
        let mut undecoded = None;
        let source = Arc::clone(self.source());
        let segment = source.segment();
        let scanned = self.follower.start_over(pinned, &mut |key, value, attributes| {
            let key = K::decode_key(key).map_err(|error| ReadError::codec(source.table(), error));
            let value = decode::<V>(|| segment.schema(), attributes, value)
                .map_err(|error| ReadError::undecoded(source.table(), error));
            match key.and_then(|key| Ok((key, value?))) {
                Ok((key, value)) => each(key, value),
                Err(error) => undecoded = Some(error),
            }
            undecoded.is_none()
        });
        match undecoded {
            Some(error) => Err(error.into()),
            None => Ok(scanned.map(|()| self.version())?),
        }
    }

    /// Leaves out whatever has changed up to now.
    pub fn skip_to_now(&mut self) {
        self.follower.skip();
    }

    /// How long an idle watch waits between two looks at most: 2 ms, unless said otherwise. A change is told that much
    /// later in the worst case.
    #[must_use]
    pub fn look_every(mut self, longest: Duration) -> Self {
        self.pace.longest = longest;
        self
    }

    /// The last version whose changes were told: with the incarnation in [`Reader::info`], where
    /// [`Reader::watch_from`] can go on.
    pub fn version(&self) -> u64 {
        self.follower.version()
    }

    /// The table's id.
    pub fn table(&self) -> &str {
        self.follower.source.table()
    }

    fn source(&self) -> &Arc<Source> {
        &self.follower.source
    }

    fn told(&mut self, look: Look) -> Option<Watched<K, V>> {
        let watched = match look {
            Look::Nothing | Look::NeedsPin => return None,
            Look::Changed(batch) => Watched::Changes(Changes::new(Arc::clone(self.source()), batch)),
            Look::Overtaken => Watched::Overtaken,
        };
        self.pace.found();
        Some(watched)
    }

    fn wait(&mut self, at_most: Duration) {
        match self.pace.next_wait().min(at_most) {
            Duration::ZERO => thread::yield_now(),
            wait => thread::sleep(wait),
        }
    }
}

/// Waits for the next change. It never ends; after an error it may be asked again.
impl<K: Key + ?Sized, V: Value + ?Sized> Iterator for Watch<K, V> {
    type Item = Result<Watched<K, V>, WatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_within(Duration::MAX).transpose()
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Watched<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changes(changes) => changes.fmt(f),
            Self::Overtaken => f.write_str("Overtaken"),
        }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for Watch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("table", &self.follower.source.table())
            .field("version", &self.follower.version())
            .finish_non_exhaustive()
    }
}
