//! What the tests of the ring share: random operations of an owner whom somebody follows, now and then, and what its
//! commits changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::region::Region;
use crate::table::layout::FOLLOWED;
use crate::table::tests::support::Random;
use crate::table::{Changes, Cursor, FollowError, TableReader, TableWriter, WriteError};

/// What one commit changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Commit {
    keys: BTreeSet<Vec<u8>>,
    has_bequest: bool,
    /// Words of its records. None where it was not recorded.
    words: Option<u64>,
}

/// What every commit changed, by its version; housekeeping changes nothing that a user sees.
#[derive(Debug, Default)]
pub(super) struct History {
    ring_words: u64,
    commits: BTreeMap<u64, Commit>,
    /// The last commits before those that were abandoned: these overwrote old records as well.
    abandoned: BTreeMap<u64, u64>,
}

impl History {
    pub(super) fn new(ring_words: u64) -> Self {
        Self { ring_words, ..Self::default() }
    }

    /// What somebody who had seen one version must be told at another.
    fn between(&self, seen: u64, version: u64) -> Commit {
        let mut all = Commit { words: Some(0), ..Commit::default() };
        for commit in
            self.commits.range(seen..=version).skip_while(|(at, _)| **at == seen).map(|(_, commit)| commit)
        {
            all.keys.extend(commit.keys.iter().cloned());
            all.has_bequest |= commit.has_bequest;
            all.words = all.words.zip(commit.words).map(|(all, words)| all + words);
        }
        all
    }

    /// Whether these changes are exactly those from one version to another.
    pub(super) fn is_told(&self, seen: u64, version: u64, changes: &Changes) {
        let expected = self.between(seen, version);
        let told: BTreeSet<_> = changes.keys().map(<[u8]>::to_vec).collect();
        assert_eq!(told.len(), changes.keys().len(), "a key is told twice");
        assert_eq!(told, expected.keys, "from {seen} to {version}");
        assert_eq!(changes.has_bequest(), expected.has_bequest, "from {seen} to {version}");
        assert!(expected.words.is_some(), "from {seen} to {version}: not all of it was recorded");
    }

    /// Asks for the changes after a cursor, and checks the answer against what was committed when the question began,
    /// and when it was answered. The owner may be preparing or applying a commit of so many words.
    pub(super) fn check<R: Region>(&self, reader: &TableReader<R>, cursor: Cursor, at_most: u64) {
        let seen = cursor.version();
        let mut changes = Changes::default();
        match reader.changes(cursor, u64::MAX, &mut changes) {
            Ok(after) => self.is_told(seen, after.version(), &changes),
            Err(FollowError::Overtaken { .. }) => {
                // No sooner than records were overwritten, one step ahead: it is rounded up to whole records.
                // The commit that is being applied may show already that it is not recorded.
                let (version, followed) = (reader.version(), reader.region().load(FOLLOWED) != 0);
                let words = self.between(seen, version + 1).words;
                let at_most = at_most + self.abandoned.range(seen..).map(|(_, words)| words).sum::<u64>();
                let room = self.ring_words - self.ring_words / 16 - LONGEST_WORDS;
                assert!(
                    !followed || words.is_none_or(|words| words + at_most > room),
                    "overtaken from {seen} to {version}: {words:?} words, and {at_most}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Words of the longest record of a short operation.
const LONGEST_WORDS: u64 = 5;

/// The writes of one commit; a number of bytes for each value.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    writes: Vec<(Vec<u8>, Option<usize>)>,
    bequest: bool,
}

impl Operation {
    /// One that is followed or not, short or longer than the ring; keys take from one word to four.
    pub(super) fn random(random: &mut Random, ring_words: u64) -> Self {
        let key = |random: &mut Random| vec![random.below(11) as u8; [0, 1, 7, 9, 30][random.below(5)]];
        let write = |random: &mut Random| (key(random), (random.below(3) > 0).then(|| random.below(40)));
        let several = |random: &mut Random, count: usize| (0..count).map(|_| write(random)).collect();
        let (name, writes, bequest) = match random.below(20) {
            0 => ("a commit that overtakes", several(random, ring_words as usize), true),
            1 => ("a commit that is abandoned", vec![write(random), (vec![1], Some(8 << 20))], true),
            2..5 => ("a commit of several writes", several(random, 1 + ring_words as usize / 12), false),
            5 | 6 => ("a bequest", Vec::new(), true),
            _ => ("a single write", vec![write(random)], false),
        };
        Self { name, writes, bequest }
    }

    /// Carries it out, with a value of so many bytes for each key, and notes what it changed.
    pub(super) fn carry_out<R: Region>(&self, writer: &mut TableWriter<R>, history: &mut History) {
        let (recorded, before) = (writer.reader().region().load(FOLLOWED) != 0, writer.version());
        let last: BTreeMap<_, _> = self.writes.iter().map(|(key, value)| (key, value)).collect();
        let changes = |(key, value): &(&Vec<u8>, &Option<usize>)| {
            value.is_some() || writer.reader().contains(key).unwrap()
        };
        let keys = last.into_iter().filter(changes).map(|(key, _)| key.clone()).collect();
        let mut commit = Commit { keys, has_bequest: self.bequest, words: None };
        let mut transaction = writer.transaction();
        for (key, value) in &self.writes {
            match value {
                Some(bytes) => transaction.insert(key, &vec![7; *bytes]).unwrap(),
                None => transaction.remove(key).unwrap(),
            }
        }
        if self.bequest {
            transaction.bequeath(b"bequest").unwrap();
        }
        match transaction.commit() {
            Ok(version) if version > before => {
                let keys = commit.keys.iter().map(|key| 1 + key.len().div_ceil(8) as u64);
                let words = keys.sum::<u64>() + u64::from(self.bequest);
                commit.words = (recorded && words <= history.ring_words).then_some(words);
                history.commits.insert(version, commit);
            }
            Ok(_) => {}
            Err(WriteError::TableFull { .. }) => {
                *history.abandoned.entry(writer.version()).or_default() += self.words();
            }
            Err(error) => panic!("{error}"),
        }
        if !recorded && writer.version() > before {
            // Housekeeping alone may have ended the recording.
            history.commits.entry(writer.version()).or_default();
        }
    }

    /// At most so many words of records.
    pub(super) fn words(&self) -> u64 {
        self.writes.iter().map(|(key, _)| 1 + key.len().div_ceil(8) as u64).sum::<u64>()
            + u64::from(self.bequest)
    }
}
