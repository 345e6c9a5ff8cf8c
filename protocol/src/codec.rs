//! Messages as bytes: postcard, bounded in size, nothing left over.
//!
//! ```
//! use heirloom_protocol::codec::{decode, encode};
//! use heirloom_protocol::message::{PROTOCOL_VERSION, Request};
//!
//! let packet = encode(&Request::Hello { version: PROTOCOL_VERSION })?;
//! assert_eq!(decode::<Request>(&packet)?, Request::Hello { version: PROTOCOL_VERSION });
//! assert!(decode::<Request>(b"no message").is_err());
//! # Ok::<(), heirloom_protocol::codec::MessageError>(())
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::MAX_MESSAGE_BYTES;

/// Bytes that are no message, or a message that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message of {bytes} bytes; {MAX_MESSAGE_BYTES} is the most: shorten its longest field")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The bytes are not one of the messages expected here.
    #[error("not a message of this protocol ({0}): the two sides may be of different versions")]
    Malformed(String),
    /// A whole message, and then more.
    #[error("{bytes} bytes follow the message: the two sides may be of different versions")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
}

/// The message as one packet.
///
/// # Errors
/// [`MessageError::TooLong`] where it does not fit into one.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let packet = postcard::to_stdvec(message).map_err(|error| MessageError::Malformed(error.to_string()))?;
    if packet.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLong { bytes: packet.len() });
    }
    Ok(packet)
}

/// The message that the packet holds, all of it and nothing else.
///
/// Nothing in the packet makes this panic, or allocate more than a small multiple of the packet's own length.
///
/// # Errors
/// [`MessageError`] says what is wrong with the packet.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, MessageError> {
    if packet.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLong { bytes: packet.len() });
    }
    match postcard::take_from_bytes(packet) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(MessageError::TrailingBytes { bytes: rest.len() }),
        Err(error) => Err(MessageError::Malformed(error.to_string())),
    }
}
