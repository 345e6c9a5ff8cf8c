//! The raw protocol, spoken by this process.

use super::PATIENCE;
use heirloom_protocol::message::{Event, PROTOCOL_VERSION, Refusal, Request, Status};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::Connection;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Client {
    pub connection: Connection,
    requests: u32,
}

impl Client {
    pub fn connected(socket: &Path) -> Self {
        Self { connection: Connection::connect(socket).unwrap(), requests: 0 }
    }

    pub fn greeted(socket: &Path) -> Self {
        let client = Self::connected(socket);
        client.say(&Request::Hello { version: PROTOCOL_VERSION });
        assert!(matches!(client.hear(), Event::Welcome { version: PROTOCOL_VERSION, .. }));
        client
    }

    pub fn say(&self, request: &Request) {
        self.connection.send_message(request, None).unwrap();
    }

    /// The next event and the descriptor that came along; nothing where the connection has ended.
    pub fn hear_all(&self) -> Option<(Event, Option<OwnedFd>)> {
        assert!(self.connection.wait_readable(Some(PATIENCE)).unwrap(), "the manager says nothing");
        let (event, mut received) = self.connection.recv_message::<Event>().unwrap()?;
        Some((event, received.descriptors.pop()))
    }

    pub fn hear(&self) -> Event {
        self.hear_all().expect("the manager has closed the connection").0
    }

    /// The next event; nothing where the connection is broken.
    pub fn try_hear(&self) -> Option<Event> {
        assert!(self.connection.wait_readable(Some(PATIENCE)).unwrap(), "the manager says nothing");
        Some(self.connection.recv_message::<Event>().ok()??.0)
    }

    pub fn hears_refusal(&self, of: Refusal) -> String {
        match self.hear() {
            Event::Refused { why, message, .. } if why == of => message,
            other => panic!("not refused as {of:?}: {other:?}"),
        }
    }

    pub fn register(&self, name: &str, tables: &[&str]) {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        self.register_as(name, CLIENTS.fetch_add(1, Ordering::Relaxed), tables);
    }

    /// As which client of this process: the same again where it comes back.
    pub fn register_as(&self, name: &str, client: u64, tables: &[&str]) {
        self.say(&Request::Register { name: name.to_owned(), client });
        assert_eq!(self.hear(), Event::Registered);
        for table in tables {
            self.say(&Request::Heir { table: (*table).to_owned() });
        }
    }

    pub fn status(&mut self) -> Status {
        self.requests += 1;
        let request = self.requests;
        self.say(&Request::Status { request });
        let mut json = String::new();
        loop {
            match self.hear() {
                Event::Status { request: of, piece, more } if of == request => {
                    json += &piece;
                    if !more {
                        return serde_json::from_str(&json).unwrap();
                    }
                }
                other => panic!("not a status: {other:?}"),
            }
        }
    }

    pub fn open(&self, table: &str) -> Arc<MappedRegion> {
        self.say(&Request::Open { request: 7, table: table.to_owned() });
        let (event, descriptor) = self.hear_all().unwrap();
        assert_eq!(event, Event::Opened { request: 7, table: table.to_owned() });
        Arc::new(MappedRegion::read_only(descriptor.unwrap()).unwrap())
    }
}
