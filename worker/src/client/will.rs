//! What an offer says of the last owner's bequest, and where it is read.

use heirloom_protocol::message::OfferedBequest;
use heirloom_protocol::table::{OpenError, ReadError};

use crate::engine::ReadHandle;
use crate::host::{MapError, Memory};

/// Lives as long as its offer stands and is not accepted; the [`Transfer`](crate::Transfer) only borrows it. So an offer
/// that does not stand any more keeps no descriptor open, wherever its transfer lies. And it is the offer's identity:
/// a manager that died counts its epochs anew, so a number does not tell two offers apart.
#[derive(Debug)]
pub(crate) enum Will {
    /// In the segment.
    InSegment(Memory),
    /// The table is private: the bequest itself, where there is one.
    Here(Option<Vec<u8>>),
    /// The table is private, and the bequest too long to come along with the offer.
    TooLong(u64),
}

/// The bequest cannot be read.
#[derive(Debug)]
pub(crate) enum Unread {
    Map(MapError),
    Open(OpenError),
    Read(ReadError),
    TooLong(u64),
}

impl Will {
    /// None where the manager says that a descriptor comes along, and none did.
    pub(super) fn new(bequest: OfferedBequest, memory: Option<Memory>) -> Option<Self> {
        match bequest {
            OfferedBequest::Here(bequest) => Some(Self::Here(bequest)),
            OfferedBequest::TooLong { bytes } => Some(Self::TooLong(bytes)),
            _ => memory.map(Self::InSegment),
        }
    }

    pub(crate) fn bequest(&self) -> Result<Option<Vec<u8>>, Unread> {
        match self {
            Self::InSegment(memory) => {
                let segment = memory.again().and_then(ReadHandle::map).map_err(Unread::Map)?;
                let segment = segment.map_err(Unread::Open)?;
                segment.bequest().map_err(Unread::Read)
            }
            Self::Here(bequest) => Ok(bequest.clone()),
            Self::TooLong(bytes) => Err(Unread::TooLong(*bytes)),
        }
    }
}
