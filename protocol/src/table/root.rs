//! The root word of the hash index: linear hashing, in one word.
//!
//! ```text
//!  merges: 32 │ buckets: 32
//! ```
//!
//! The index grows by one bucket at a time, in order: with `n` buckets and 2^L the largest power of two not above it,
//! buckets below `n - 2^L` and from 2^L on have depth L + 1, the others L (W. Litwin, "Linear Hashing", 1980). A
//! bucket of depth d holds the hashes that agree in their lowest d bits. No directory is read, and no memory moves.
//!
//! The buckets alone would come back to an older value when the index shrinks and grows again; the count of merges
//! tells a reader that it did.

/// The index never has fewer buckets.
pub(super) const MIN_BUCKETS: u32 = 4;

/// The decoded root word: from [`MIN_BUCKETS`] to as many buckets as the index has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) merges: u32,
    pub(super) buckets: u32,
}

impl Root {
    #[inline]
    pub(super) fn from_word(word: u64, most_buckets: u32) -> Option<Self> {
        let root = Self { merges: (word >> 32) as u32, buckets: word as u32 };
        (root.buckets >= MIN_BUCKETS && root.buckets <= most_buckets).then_some(root)
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.merges) << 32 | u64::from(self.buckets)
    }

    /// L: the depth of the buckets that are not split yet.
    #[inline]
    fn level(self) -> u32 {
        31 - self.buckets.leading_zeros()
    }

    /// The bucket for a hash.
    #[inline]
    pub(super) fn bucket(self, hash: u64) -> u32 {
        let level = self.level();
        let wide = (hash & ((2 << level) - 1)) as u32;
        if wide < self.buckets { wide } else { (hash & ((1 << level) - 1)) as u32 }
    }

    /// How many bits of the hash a bucket's number stands for.
    #[inline]
    pub(super) fn depth(self, bucket: u32) -> u32 {
        let level = self.level();
        let first = 1_u32 << level;
        if bucket >= first || bucket < self.buckets - first { level + 1 } else { level }
    }

    /// The bucket that the next split divides; its other half becomes bucket `buckets`.
    pub(super) fn next_to_split(self) -> u32 {
        self.buckets - (1 << self.level())
    }

    /// With one bucket more.
    pub(super) fn grown(self) -> Self {
        Self { buckets: self.buckets + 1, ..self }
    }

    /// With one bucket less: the last bucket's hashes go back to where they came from.
    pub(super) fn shrunk(self) -> Self {
        Self { buckets: self.buckets - 1, merges: self.merges.wrapping_add(1) }
    }

    /// Whether a reader that looked for this hash under `self` and missed it would have found it, were it there:
    /// no split and no merge between the two moved it. (Splits alone only ever deepen a bucket.)
    #[inline]
    pub(super) fn still_finds(self, later: Root, hash: u64) -> bool {
        self == later
            || self.merges == later.merges && self.depth(self.bucket(hash)) == later.depth(later.bucket(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_one_bucket_and_splits_divide_one_bucket_each() {
        let hashes: Vec<u64> = (0..4096_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut root = Root { merges: 0, buckets: MIN_BUCKETS };
        while root.buckets < 300 {
            let grown = root.grown();
            let split = root.next_to_split();
            for hash in &hashes {
                let (before, after) = (root.bucket(*hash), grown.bucket(*hash));
                assert!(before < root.buckets && after < grown.buckets);
                let depth = grown.depth(after);
                assert_eq!(
                    hash & ((1 << depth) - 1),
                    u64::from(after),
                    "a bucket's number is its hashes' lowest bits"
                );
                if before == split {
                    assert!(after == split || after == root.buckets);
                    assert_eq!(depth, root.depth(before) + 1);
                } else {
                    assert_eq!((before, root.depth(before)), (after, depth));
                }
                assert_eq!(root.still_finds(grown, *hash), before != split);
            }
            let back = grown.shrunk();
            assert_eq!(back.buckets, root.buckets);
            assert!(!root.still_finds(back, 0), "a merge is seen though the buckets are as before");
            root = grown;
        }
    }
}
