//! Messages as bytes: every message comes back as it was, and nothing else is one (contract 6, rule H18).

use heirloom_protocol::codec::{MessageError, decode, encode};
use heirloom_protocol::message::{
    ChildStatus, Event, HandoffStatus, MAX_GIFT_BYTES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES,
    MAX_OFFERED_BEQUEST_BYTES, OfferedBequest, OwnerStatus, Refusal, Request, TransferReason,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn child() -> impl Strategy<Value = ChildStatus> {
    (".{0,20}", any::<u32>(), option::of(any::<u32>()), any::<u64>(), ".{0,20}", option::of(".{0,20}"))
        .prop_map(|(name, instance, pid, restarts, state, last_exit)| ChildStatus {
            name,
            instance,
            pid,
            restarts,
            state,
            last_exit,
        })
}

fn request() -> impl Strategy<Value = Request> {
    let table = ".{0,128}";
    prop_oneof![
        any::<u16>().prop_map(|version| Request::Hello { version }),
        (table, any::<u64>()).prop_map(|(name, client)| Request::Register { name, client }),
        (table, any::<u64>()).prop_map(|(table, epoch)| Request::Holds { table, epoch }),
        table.prop_map(|table| Request::Heir { table }),
        Just(Request::Ready),
        (table, any::<u64>()).prop_map(|(table, epoch)| Request::Accept { table, epoch }),
        (table, any::<u64>(), ".{0,500}").prop_map(|(table, epoch, reason)| Request::Decline {
            table,
            epoch,
            reason
        }),
        (table, any::<u64>(), any::<bool>()).prop_map(|(table, epoch, panicked)| Request::Release {
            table,
            epoch,
            panicked
        }),
        (any::<u32>(), table).prop_map(|(request, table)| Request::Open { request, table }),
        (any::<u32>(), table, option::of(".{0,128}"), any::<bool>(), option::of(any::<u64>())).prop_map(
            |(request, table, to, force, deadline_ms)| Request::Recall {
                request,
                table,
                to,
                force,
                deadline_ms
            }
        ),
        any::<u32>().prop_map(|request| Request::Status { request }),
        vec(child(), 0..10).prop_map(|children| Request::Children { children }),
        (any::<u32>(), table).prop_map(|(request, table)| Request::Pin { request, table }),
        (table, any::<u32>(), any::<u64>()).prop_map(|(table, slot, version)| Request::Unpin {
            table,
            slot,
            version
        }),
        (any::<u32>(), table).prop_map(|(request, table)| Request::Follow { request, table }),
        table.prop_map(|table| Request::Unfollow { table }),
        (any::<u32>(), table, any::<u64>()).prop_map(|(request, table, max_bytes)| Request::SetLimit {
            request,
            table,
            max_bytes
        }),
    ]
}

fn reason() -> impl Strategy<Value = TransferReason> {
    prop_oneof![
        Just(TransferReason::First),
        (any::<u32>(), option::of(".{0,40}")).prop_map(|(pid, how)| TransferReason::Died { pid, how }),
        any::<u32>().prop_map(|pid| TransferReason::Released { pid }),
        any::<u32>().prop_map(|pid| TransferReason::Recalled { pid }),
        any::<u32>().prop_map(|pid| TransferReason::Panicked { pid }),
    ]
}

fn bequest() -> impl Strategy<Value = OfferedBequest> {
    prop_oneof![
        Just(OfferedBequest::InSegment),
        option::of(vec(any::<u8>(), 0..99)).prop_map(OfferedBequest::Here),
        any::<u64>().prop_map(|bytes| OfferedBequest::TooLong { bytes }),
    ]
}

fn handoff() -> impl Strategy<Value = HandoffStatus> {
    (".{0,40}", any::<u64>(), any::<u64>(), ".{0,20}").prop_map(
        |(reason, noticed_ns, granted_us, recovery)| HandoffStatus {
            reason,
            noticed_ns,
            granted_us,
            recovery,
            ..HandoffStatus::default()
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let table = ".{0,128}";
    let offered = (table, any::<u64>(), ".{0,500}", reason(), any::<u64>(), bequest());
    let owner = (".{0,128}", any::<u32>()).prop_map(|(name, pid)| OwnerStatus { name, pid });
    prop_oneof![
        (any::<u16>(), any::<u32>())
            .prop_map(|(version, manager_pid)| Event::Welcome { version, manager_pid }),
        Just(Event::Registered),
        (option::of(any::<u32>()), ".{0,500}").prop_map(|(request, message)| Event::Refused {
            request,
            why: Refusal::StaleEpoch,
            message
        }),
        offered.prop_map(|(table, epoch, gift, reason, expires_in_ms, bequest)| Event::Offered {
            table,
            epoch,
            gift,
            reason,
            expires_in_ms,
            bequest
        }),
        (table, any::<u64>()).prop_map(|(table, epoch)| Event::Granted { table, epoch }),
        (table, any::<u64>(), ".{0,99}").prop_map(|(table, epoch, reason)| Event::Fenced {
            table,
            epoch,
            reason
        }),
        (any::<u32>(), ".{0,999}", any::<bool>()).prop_map(|(request, piece, more)| Event::Status {
            request,
            piece,
            more
        }),
        (any::<u32>(), option::of(owner), option::of(handoff()))
            .prop_map(|(request, owner, handoff)| { Event::HandedOn { request, owner, handoff } }),
        (any::<u32>(), table, any::<u32>(), any::<u64>())
            .prop_map(|(request, table, slot, version)| { Event::Pinned { request, table, slot, version } }),
    ]
}

proptest! {
    #[test]
    fn every_request_comes_back_as_it_was(message in request()) {
        prop_assert_eq!(decode::<Request>(&encode(&message).expect("short enough")), Ok(message));
    }

    #[test]
    fn every_event_comes_back_as_it_was(message in event()) {
        prop_assert_eq!(decode::<Event>(&encode(&message).expect("short enough")), Ok(message));
    }

    /// It may happen to be a message, and then it is exactly that one.
    #[test]
    fn garbage_is_an_error_or_means_what_it_says(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(message) = decode::<Request>(&bytes) {
            prop_assert_eq!(decode::<Request>(&encode(&message).expect("short enough")), Ok(message));
        }
        let _ = decode::<Event>(&bytes);
    }

    #[test]
    fn a_damaged_message_is_an_error_or_another_message(message in event(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut packet = encode(&message).expect("short enough");
        let at = at.index(packet.len());
        packet[at] ^= 1 << bit;
        prop_assert_ne!(decode::<Event>(&packet), Ok(message));
    }

    #[test]
    fn a_message_that_was_cut_or_has_more_behind_it_is_an_error(message in request(), keep in any::<prop::sample::Index>()) {
        let mut packet = encode(&message).expect("short enough");
        prop_assert!(decode::<Request>(&packet[..keep.index(packet.len())]).is_err());
        packet.push(0);
        prop_assert_eq!(decode::<Request>(&packet), Err(MessageError::TrailingBytes { bytes: 1 }));
    }
}

#[test]
fn lengths_are_bounded_on_both_sides() {
    let longest = Event::Offered {
        table: "t".repeat(MAX_NAME_BYTES),
        epoch: u64::MAX,
        gift: "g".repeat(MAX_GIFT_BYTES),
        reason: TransferReason::First,
        expires_in_ms: u64::MAX,
        bequest: OfferedBequest::Here(Some(vec![0xff; MAX_OFFERED_BEQUEST_BYTES])),
    };
    assert!(encode(&longest).is_ok(), "everything that the configuration allows fits");

    let too_long = Event::Status { request: 1, piece: "p".repeat(MAX_MESSAGE_BYTES), more: false };
    assert!(matches!(encode(&too_long), Err(MessageError::TooLong { .. })));
    let packet = vec![0; MAX_MESSAGE_BYTES + 1];
    assert_eq!(decode::<Event>(&packet), Err(MessageError::TooLong { bytes: packet.len() }));
    // A text that claims to be far longer than the packet: nothing is allocated for it.
    let claims = [2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, b'x'];
    assert!(matches!(decode::<Request>(&claims), Err(MessageError::Malformed(_))));
    // So many children, says the packet.
    let claims = [10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert!(matches!(decode::<Request>(&claims), Err(MessageError::Malformed(_))));
}
