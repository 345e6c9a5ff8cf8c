//! A watch that is awaited.

use std::time::Duration;

use ::tokio::task::yield_now;
use ::tokio::time::sleep;

use super::follower::{Follower, Look};
use super::{WatchError, Watched};
use crate::client::{Followed, Pinned, Question, RequestError, Source};
use crate::codec::{Key, Value};
use crate::reader::Reader;
use crate::tokio::ask;

/// Follows a table's changes; see [`watch`].
#[derive(Debug)]
pub struct Watch<K: ?Sized, V: ?Sized>(super::Watch<K, V>);

/// Follows the changes that are committed from now on; see [`Reader::watch`].
///
/// ```no_run
/// use heirloom_worker::{Watched, tokio::{Client, watch}};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::from_env().await?;
/// let mut watch = watch(&client.reader::<String, u64>("sales").await?).await?;
/// loop {
///     match watch.next().await? {
///         Watched::Changes(changes) => for change in &changes {
///             println!("{:?}", change?);
///         },
///         Watched::Overtaken => {
///             watch.start_over(|car, total| println!("{car}: {total}")).await?;
///         }
///         _ => {}
///     }
/// }
/// # }
/// ```
///
/// # Errors
/// [`RequestError`].
pub async fn watch<K: Key + ?Sized, V: Value + ?Sized>(
    reader: &Reader<K, V>,
) -> Result<Watch<K, V>, RequestError> {
    begin(reader, None).await
}

/// The same, of what was committed after a version; see [`Reader::watch_from`].
///
/// # Errors
/// [`RequestError`].
pub async fn watch_from<K: Key + ?Sized, V: Value + ?Sized>(
    reader: &Reader<K, V>,
    version: u64,
) -> Result<Watch<K, V>, RequestError> {
    begin(reader, Some(version)).await
}

async fn begin<K: Key + ?Sized, V: Value + ?Sized>(
    reader: &Reader<K, V>,
    from: Option<u64>,
) -> Result<Watch<K, V>, RequestError> {
    let source = reader.source().clone();
    let followed = follow(&source).await?;
    Ok(Watch(super::Watch::new(Follower::begin(source, from, followed))))
}

impl<K: Key + ?Sized, V: Value + ?Sized> Watch<K, V> {
    /// Waits for the next change. Dropped before it is there, the future has lost nothing.
    ///
    /// # Errors
    /// [`WatchError`]; the watch may be asked again.
    pub async fn next(&mut self) -> Result<Watched<K, V>, WatchError> {
        loop {
            let mut look = self.0.follower.look(None)?;
            if matches!(look, Look::NeedsPin) {
                let pinned = pin(self.0.source()).await?;
                look = self.0.follower.look(Some(&pinned))?;
            }
            if let Some(watched) = self.0.told(look) {
                return Ok(watched);
            }
            match self.0.pace.next_wait() {
                Duration::ZERO => yield_now().await,
                wait => sleep(wait).await,
            }
        }
    }

    /// As [`crate::Watch::start_over`]. Reading the table is done without a break: for a very large one, have it done on a
    /// thread of its own.
    ///
    /// # Errors
    /// [`WatchError`].
    pub async fn start_over(&mut self, each: impl FnMut(K::Owned, V::Owned)) -> Result<u64, WatchError> {
        let pinned = pin(self.0.source()).await?;
        self.0.start_over_at(&pinned, each)
    }

    /// As [`crate::Watch::skip_to_now`].
    pub fn skip_to_now(&mut self) {
        self.0.skip_to_now();
    }

    /// As [`crate::Watch::look_every`].
    #[must_use]
    pub fn look_every(self, longest: Duration) -> Self {
        Self(self.0.look_every(longest))
    }

    /// As [`crate::Watch::version`].
    pub fn version(&self) -> u64 {
        self.0.version()
    }
}

async fn follow(source: &Source) -> Result<Followed, RequestError> {
    let Some(client) = source.client() else { return source.follow() };
    let table = source.table().to_owned();
    ask(client, Question::Follow { table }).await.map(|_| client.followed(source.table()))
}

async fn pin(source: &Source) -> Result<Pinned, RequestError> {
    let Some(client) = source.client() else { return source.pin() };
    let answer = ask(client, Question::Pin { table: source.table().to_owned() }).await?;
    client.pinned(source.table(), &answer)
}
