//! The session by itself: every order in which things can be said, asked and lost.

use std::collections::HashSet;
use std::fs::File;
use std::sync::{Arc, Mutex};

use heirloom_protocol::message::{OfferedBequest, TransferReason};
use proptest::prelude::*;

use super::*;
use crate::client::will::Unread;

/// What a reply heard.
type Heard<T> = Arc<Mutex<Vec<T>>>;

fn reply<T: Send + 'static>() -> (Reply<T>, Heard<T>) {
    let heard = Heard::default();
    let into = Arc::clone(&heard);
    (Box::new(move |answer| into.lock().unwrap().push(answer)), heard)
}

fn descriptor() -> Option<Memory> {
    Some(Memory::Segment(File::open("/dev/null").unwrap().into()))
}

fn offered(epoch: u64) -> Event {
    let (gift, reason) = (String::new(), TransferReason::First);
    let bequest = OfferedBequest::InSegment;
    Event::Offered { table: "sales".into(), epoch, gift, reason, expires_in_ms: 1000, bequest }
}

fn granted(epoch: u64) -> Event {
    Event::Granted { table: "sales".into(), epoch }
}

/// The ownership that an acceptance was answered with, if it was.
fn granted_tenure(heard: &Heard<Granted>) -> Option<Arc<Tenure>> {
    heard
        .lock()
        .unwrap()
        .iter()
        .find_map(|granted| granted.as_ref().ok().map(|(_, tenure)| Arc::clone(tenure)))
}

fn tenure(heard: &Heard<Granted>) -> Arc<Tenure> {
    granted_tenure(heard).expect("it was granted")
}

/// Does what the link would, and gives what was sent and the names of all else.
fn perform(effects: Vec<Effect>) -> (Vec<Request>, Vec<&'static str>) {
    let (mut sent, mut other) = (Vec::new(), Vec::new());
    for effect in effects {
        other.push(match effect {
            Effect::Send(request) => {
                sent.push(request);
                continue;
            }
            Effect::Online => "online",
            Effect::Unwelcome { .. } => "unwelcome",
            Effect::Complaint { .. } => "complaint",
            Effect::HangUp(_) => "hang up",
            Effect::Transferred { .. } => "transferred",
            Effect::Recalled(_) => "recalled",
            Effect::Fenced(_) => "fenced",
            Effect::Grant { reply, granted } => {
                reply(granted);
                "grant"
            }
            Effect::Answer { reply, answered } => {
                reply(answered);
                "answer"
            }
        });
    }
    (sent, other)
}

fn hear(
    session: &mut Session,
    event: Event,
    descriptor: Option<Memory>,
) -> (Vec<Request>, Vec<&'static str>) {
    perform(session.heard(event, descriptor, Instant::now()))
}

/// A worker that is registered, has an heir, and is ready.
fn ready() -> Session {
    let mut session = Session::new(Some("tracker".into()));
    perform(session.heir("sales", reply().0));
    perform(session.ready());
    online(&mut session);
    session
}

/// Which offer of that epoch stands, if one does.
fn identity(session: &Session, epoch: u64) -> Weak<Will> {
    let stands = session.offers.get("sales").filter(|offer| offer.epoch == epoch);
    stands.map(|offer| Weak::clone(&offer.identity)).unwrap_or_default()
}

fn accept(session: &mut Session, epoch: u64, reply: Reply<Granted>) -> Vec<Effect> {
    let offer = identity(session, epoch);
    session.accept("sales", epoch, &offer, reply)
}

fn decline(session: &mut Session, epoch: u64) -> Vec<Effect> {
    let offer = identity(session, epoch);
    session.decline("sales", epoch, &offer, String::new())
}

fn online(session: &mut Session) -> Vec<Request> {
    perform(session.connected());
    hear(session, Event::Welcome { version: PROTOCOL_VERSION, manager_pid: 1 }, None);
    let (sent, other) = hear(session, Event::Registered, None);
    assert_eq!(other, ["online"]);
    sent
}

#[test]
fn what_was_said_before_the_connection_is_said_in_order() {
    let mut session = Session::new(Some("tracker".into()));
    perform(session.ready());
    perform(session.heir("sales", reply().0));
    perform(session.ask(Question::Status, reply().0));
    let heir = Request::Heir { table: "sales".into() };
    let expected = [heir, Request::Ready, Request::Sync { request: 1 }, Request::Status { request: 2 }];
    assert_eq!(online(&mut session), expected);
    perform(session.lost());
    assert_eq!(online(&mut session), expected, "nothing was answered, so all is said again");
}

#[test]
fn an_answer_is_heard_once() {
    let mut session = ready();
    let (reply, heard) = reply();
    perform(session.ask(Question::SetLimit { table: "sales".into(), max_bytes: 1 }, reply));
    assert_eq!(hear(&mut session, Event::Done { request: 2 }, None).1, ["answer"]);
    assert_eq!(hear(&mut session, Event::Done { request: 2 }, None).1, [""; 0]);
    assert!(matches!(heard.lock().unwrap()[..], [Ok(Answer::Done)]));
}

#[test]
fn a_status_in_pieces_begins_anew_with_the_connection() {
    let mut session = ready();
    let (reply, heard) = reply();
    perform(session.ask(Question::Status, reply));
    let piece = |piece: &str, more| Event::Status { request: 2, piece: piece.into(), more };
    hear(&mut session, piece("{\"manager", true), None);
    perform(session.lost());
    online(&mut session);
    hear(&mut session, piece("{\"a\"", true), None);
    hear(&mut session, piece(":1}", false), None);
    assert!(matches!(&heard.lock().unwrap()[..], [Ok(Answer::Status(json))] if json == "{\"a\":1}"));
}

#[test]
fn a_question_that_nobody_waits_for_is_not_asked_again() {
    let mut session = ready();
    let (reply, heard) = reply();
    perform(session.ask(Question::Status, reply));
    let number = session.last_number();
    perform(session.lost());
    assert!(session.forget(number).is_some() && session.forget(number).is_none());
    assert!(!online(&mut session).contains(&Request::Status { request: number }));
    let late = Event::Status { request: number, piece: "{}".into(), more: false };
    assert_eq!(hear(&mut session, late, None).1, [""; 0], "an answer after all");
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn every_acceptance_is_answered_once() {
    for end in ["granted", "withdrawn", "offered anew", "lost", "closed"] {
        let mut session = ready();
        hear(&mut session, offered(1), descriptor());
        let (reply, heard) = reply();
        assert_eq!(
            perform(accept(&mut session, 1, reply)).0,
            [Request::Accept { table: "sales".into(), epoch: 1 }]
        );
        let effects = match end {
            "granted" => session.heard(granted(1), descriptor(), Instant::now()),
            "withdrawn" => {
                let withdrawn = Event::Withdrawn { table: "sales".into(), epoch: 1, reason: "late".into() };
                session.heard(withdrawn, None, Instant::now())
            }
            "offered anew" => session.heard(offered(2), descriptor(), Instant::now()),
            "lost" => session.lost(),
            _ => session.closed(),
        };
        perform(effects);
        perform(session.lost());
        perform(session.closed());
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1, "{end}");
        assert_eq!(heard[0].is_ok(), end == "granted", "{end}");
    }
}

#[test]
fn a_decline_that_comes_late_leaves_the_acceptance_alone() {
    let mut session = ready();
    hear(&mut session, offered(1), descriptor());
    let (reply, heard) = reply();
    perform(accept(&mut session, 1, reply));
    assert!(perform(decline(&mut session, 1)).0.is_empty());
    hear(&mut session, granted(1), descriptor());
    assert!(heard.lock().unwrap()[0].is_ok());
}

#[test]
fn an_offer_that_does_not_stand_any_more_keeps_no_descriptor() {
    for end in ["accepted", "declined", "withdrawn", "offered anew", "lost", "closed"] {
        let mut session = ready();
        let effects = session.heard(offered(1), descriptor(), Instant::now());
        let [Effect::Transferred { will: lent, .. }] = &effects[..] else { panic!("not offered") };
        assert_eq!(lent.strong_count(), 1);
        let withdrawn = Event::Withdrawn { table: "sales".into(), epoch: 1, reason: "late".into() };
        let ending = match end {
            "accepted" => accept(&mut session, 1, reply().0),
            "declined" => decline(&mut session, 1),
            "withdrawn" => session.heard(withdrawn, None, Instant::now()),
            "offered anew" => session.heard(offered(2), descriptor(), Instant::now()),
            "lost" => session.lost(),
            _ => session.closed(),
        };
        assert_eq!(lent.strong_count(), 0, "{end}");
        perform(ending);
    }
}

#[test]
fn an_acceptance_of_what_is_not_on_offer_is_answered_at_once() {
    let mut session = ready();
    hear(&mut session, offered(2), descriptor());
    let (reply, heard) = reply();
    let (sent, _) = perform(accept(&mut session, 1, reply));
    assert!(sent.is_empty());
    assert!(heard.lock().unwrap()[0].is_err());
}

#[test]
fn an_offer_is_told_from_one_of_a_manager_that_counted_the_same_epochs() {
    let mut session = ready();
    hear(&mut session, offered(1), descriptor());
    let before = identity(&session, 1);
    perform(session.lost());
    online(&mut session);
    hear(&mut session, offered(1), descriptor());
    assert!(perform(session.decline("sales", 1, &before, String::new())).0.is_empty());
    let (late, heard) = reply();
    assert!(perform(session.accept("sales", 1, &before, late)).0.is_empty());
    assert!(heard.lock().unwrap()[0].is_err());
    let (new, heard) = reply();
    perform(accept(&mut session, 1, new));
    hear(&mut session, granted(1), descriptor());
    assert!(heard.lock().unwrap()[0].is_ok());
}

#[test]
fn a_private_table_is_offered_without_a_descriptor_and_with_the_bequest() {
    let mut session = ready();
    let offered = |bequest| {
        let (gift, reason) = (String::new(), TransferReason::First);
        Event::Offered { table: "sales".into(), epoch: 1, gift, reason, expires_in_ms: 1000, bequest }
    };
    let will = |session: &mut Session, bequest| {
        let effects = session.heard(offered(bequest), None, Instant::now());
        let [Effect::Transferred { will, .. }] = &effects[..] else { panic!("not offered") };
        will.upgrade().expect("it stands").bequest()
    };
    assert_eq!(will(&mut session, OfferedBequest::Here(Some(vec![7]))).unwrap(), Some(vec![7]));
    assert_eq!(will(&mut session, OfferedBequest::Here(None)).unwrap(), None);
    assert!(matches!(will(&mut session, OfferedBequest::TooLong { bytes: 9 }), Err(Unread::TooLong(9))));
    let without = session.heard(offered(OfferedBequest::InSegment), None, Instant::now());
    assert_eq!(perform(without).1, ["hang up"]);
}

#[test]
fn a_follower_is_one_again_after_a_reconnection_and_a_pin_is_not() {
    let mut session = ready();
    perform(session.follows("sales"));
    perform(session.follows("sales"));
    perform(session.unfollow("sales"));
    let (reply, heard) = reply();
    perform(session.ask(Question::Pin { table: "sales".into() }, reply));
    let request = session.last_number();
    let pinned = Event::Pinned { request, table: "sales".into(), slot: 3, version: 5 };
    hear(&mut session, pinned.clone(), None);
    assert!(matches!(heard.lock().unwrap()[..], [Ok(Answer::Pinned { slot: 3, version: 5 })]));
    perform(session.lost());
    let said = online(&mut session);
    let follow = Request::Follow { request: NOBODY_ASKED, table: "sales".into() };
    assert_eq!(said.iter().filter(|request| **request == follow).count(), 1, "{said:?}");
    assert!(!said.iter().any(|request| matches!(request, Request::Pin { .. })), "{said:?}");
    let holds = Request::HoldsPin { table: "sales".into(), slot: 3, version: 5 };
    assert!(said.contains(&holds), "the manager may be another, which does not know whose it is: {said:?}");
    assert_eq!(hear(&mut session, Event::Done { request: NOBODY_ASKED }, None), (vec![], vec![]));
    // Nobody waits for it any more: it must not keep anything.
    let unpin = Request::Unpin { table: "sales".into(), slot: 3, version: 5 };
    assert_eq!(hear(&mut session, pinned, None).0, [unpin]);
}

#[test]
fn a_pin_that_is_given_back_while_nobody_hears_it_is_given_back_to_the_next_manager() {
    let mut session = ready();
    for (slot, version) in [(3, 5), (4, 6)] {
        perform(session.ask(Question::Pin { table: "sales".into() }, reply().0));
        let request = session.last_number();
        hear(&mut session, Event::Pinned { request, table: "sales".into(), slot, version }, None);
    }
    perform(session.lost());
    assert_eq!(perform(session.unpin("sales", 3, 5)).0, []);
    let said = online(&mut session);
    let pins = said
        .into_iter()
        .filter(|request| matches!(request, Request::HoldsPin { .. } | Request::Unpin { .. }));
    let table = || "sales".to_owned();
    let expected = [
        Request::HoldsPin { table: table(), slot: 4, version: 6 },
        Request::Unpin { table: table(), slot: 3, version: 5 },
    ];
    assert_eq!(pins.collect::<Vec<_>>(), expected);
    perform(session.lost());
    let said = online(&mut session);
    assert!(!said.iter().any(|request| matches!(request, Request::Unpin { .. })), "once is enough: {said:?}");
}

#[test]
fn a_release_is_said_again_until_the_table_comes_back() {
    let mut session = ready();
    let release = Request::Release { table: "sales".into(), epoch: 1, panicked: false };
    hear(&mut session, offered(1), descriptor());
    let (reply, heard) = reply();
    perform(accept(&mut session, 1, reply));
    hear(&mut session, granted(1), descriptor());
    perform(session.lost());
    let tenure = tenure(&heard);
    assert!(perform(session.release(&tenure, false)).0.is_empty());
    assert!(online(&mut session).contains(&release));
    perform(session.lost());
    assert!(online(&mut session).contains(&release), "the manager may have died before it heard");
    hear(&mut session, offered(2), descriptor());
    perform(session.lost());
    assert!(!online(&mut session).contains(&release));
}

#[test]
fn an_ownership_is_over_when_its_table_is_given_away_anew() {
    let mut session = ready();
    let own = |session: &mut Session| {
        let (_, told) = hear(session, offered(1), descriptor());
        let (reply, heard) = reply();
        perform(accept(session, 1, reply));
        hear(session, granted(1), descriptor());
        (tenure(&heard), told)
    };
    let (old, told) = own(&mut session);
    assert_eq!(told, ["transferred"]);
    perform(session.lost());
    online(&mut session);
    let (new, told) = own(&mut session);
    assert_eq!(told, ["fenced", "transferred"]);
    assert!(old.is_over() && old.is_recalled() && !new.is_over());
    assert!(perform(session.release(&old, false)).0.is_empty());
    let release = Request::Release { table: "sales".into(), epoch: 1, panicked: false };
    assert_eq!(perform(session.release(&new, false)).0, [release]);
    assert!(perform(session.release(&new, false)).0.is_empty(), "it is not this worker's any more");
}

#[derive(Debug, Clone)]
enum Step {
    Connected,
    Lost,
    Ask,
    Heir,
    Accept(u64),
    Decline(u64),
    Release(prop::sample::Index),
    Hear(Event, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let epoch = || 1..4_u64;
    let table = || prop::sample::select(vec!["sales".to_owned(), "cars".to_owned()]);
    let event = prop_oneof![
        Just(Event::Welcome { version: PROTOCOL_VERSION, manager_pid: 1 }),
        Just(Event::Registered),
        epoch().prop_map(offered),
        epoch().prop_map(granted),
        (table(), epoch()).prop_map(|(table, epoch)| Event::Withdrawn {
            table,
            epoch,
            reason: String::new()
        }),
        (table(), epoch()).prop_map(|(table, epoch)| Event::Recalled { table, epoch, deadline_ms: 1 }),
        (table(), epoch()).prop_map(|(table, epoch)| Event::Fenced { table, epoch, reason: String::new() }),
        (1..4_u32, table()).prop_map(|(request, table)| Event::Opened { request, table }),
        (1..4_u32).prop_map(|request| Event::Done { request }),
        (1..4_u32, any::<bool>()).prop_map(|(request, more)| Event::Status {
            request,
            piece: "{}".into(),
            more
        }),
        prop::option::of(1..4_u32).prop_map(|request| Event::Refused {
            request,
            why: Refusal::UnknownTable,
            message: String::new()
        }),
    ];
    prop_oneof![
        2 => Just(Step::Connected),
        1 => Just(Step::Lost),
        2 => Just(Step::Ask),
        1 => Just(Step::Heir),
        2 => epoch().prop_map(Step::Accept),
        1 => epoch().prop_map(Step::Decline),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        10 => (event, any::<bool>()).prop_map(|(event, descriptor)| Step::Hear(event, descriptor)),
    ]
}

proptest! {
    /// Whatever is said in whatever order: no panic, every question and acceptance is answered exactly once by the time
    /// the client is closed, nothing but the greeting is sent before the manager has agreed, and an epoch is granted at
    /// most once for each time it was accepted.
    #[test]
    fn any_order(steps in prop::collection::vec(step(), 0..60)) {
        let mut session = Session::new(Some("tracker".into()));
        let (mut answers, mut grants) = (Vec::new(), Vec::new());
        for step in steps {
            let away = session.phase != Phase::Online;
            let becomes_online = matches!(&step, Step::Hear(Event::Registered, _));
            let effects = match step {
                Step::Connected => session.connected(),
                Step::Lost => session.lost(),
                Step::Ask => {
                    let (reply, heard) = reply();
                    answers.push(heard);
                    session.ask(Question::Open { table: "sales".into() }, reply)
                }
                Step::Heir => {
                    let (reply, heard) = reply();
                    answers.push(heard);
                    session.heir("sales", reply)
                }
                Step::Accept(epoch) => {
                    let (reply, heard) = reply();
                    grants.push(heard);
                    accept(&mut session, epoch, reply)
                }
                Step::Decline(epoch) => decline(&mut session, epoch),
                Step::Release(which) => {
                    let tenures: Vec<_> = grants.iter().filter_map(granted_tenure).collect();
                    if tenures.is_empty() { Vec::new() } else { session.release(which.get(&tenures), false) }
                }
                Step::Hear(event, with) => {
                    session.heard(event, if with { descriptor() } else { None }, Instant::now())
                }
            };
            let (sent, _) = perform(effects);
            if away && !becomes_online {
                let greets = sent.iter().all(|request| matches!(request, Request::Hello { .. } | Request::Register { .. }));
                prop_assert!(greets, "sent while away: {sent:?}");
            }
        }
        perform(session.closed());
        for heard in &answers {
            prop_assert_eq!(heard.lock().unwrap().len(), 1);
        }
        let mut epochs = HashSet::new();
        for heard in &grants {
            let heard = heard.lock().unwrap();
            prop_assert_eq!(heard.len(), 1);
            if let Ok((_, tenure)) = &heard[0] {
                prop_assert!(epochs.insert(Arc::as_ptr(tenure)), "one grant answered two acceptances");
            }
        }
    }
}
