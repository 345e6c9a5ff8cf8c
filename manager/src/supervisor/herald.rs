//! Tells the manager how the children are, so that one question to the manager shows everything.
//!
//! It runs on a thread of its own: the manager may be busy, hydrating or dead, and the supervisor waits for nobody. Only
//! the newest state is sent; what was overtaken while the manager could not be reached is never said.

use heirloom_protocol::message::{ChildStatus, Event, PROTOCOL_VERSION, Request};
use heirloom_protocol::sys::{Connection, SocketError};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

/// How long the manager has to answer the greeting before the newest state is looked at again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between attempts to reach a manager that does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct Herald {
    news: Sender<Vec<ChildStatus>>,
}

impl Herald {
    /// Starts the thread. It ends with the handle.
    pub(super) fn start(socket: &Path) -> std::io::Result<Self> {
        let (news, inbox) = mpsc::channel();
        let socket = socket.to_owned();
        thread::Builder::new().name("herald".to_owned()).spawn(move || announce(&socket, &inbox))?;
        Ok(Self { news })
    }

    /// Says how the children are; returns at once.
    pub(super) fn tell(&self, children: Vec<ChildStatus>) {
        // The thread ends with this handle only, so somebody listens.
        let _ = self.news.send(children);
    }
}

fn announce(socket: &Path, inbox: &Receiver<Vec<ChildStatus>>) {
    let mut connection = None;
    while let Ok(mut children) = inbox.recv() {
        loop {
            match newest(inbox) {
                Ok(Some(newer)) => children = newer,
                Ok(None) => {}
                Err(()) => return,
            }
            match send(socket, &mut connection, &children) {
                Ok(()) => break,
                Err(error @ (SocketError::TooLong { .. } | SocketError::Message(_))) => {
                    tracing::warn!(%error, "there are too many children to tell the manager about");
                    break;
                }
                Err(error) => {
                    connection = None;
                    tracing::debug!(%error, "the manager could not be told how the children are");
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// The last of what waits in the channel; an error where the supervisor is gone.
fn newest(inbox: &Receiver<Vec<ChildStatus>>) -> Result<Option<Vec<ChildStatus>>, ()> {
    let mut newest = None;
    loop {
        match inbox.try_recv() {
            Ok(children) => newest = Some(children),
            Err(TryRecvError::Empty) => return Ok(newest),
            Err(TryRecvError::Disconnected) => return Err(()),
        }
    }
}

fn send(
    socket: &Path,
    connection: &mut Option<Connection>,
    children: &[ChildStatus],
) -> Result<(), SocketError> {
    let live = match connection.take() {
        Some(live) => live,
        None => greet(socket)?,
    };
    // What the manager says to this is not needed; that it has gone is.
    while live.wait_readable(Some(Duration::ZERO)).map_err(SocketError::Failed)? {
        live.recv_message::<Event>()?.ok_or(SocketError::Closed)?;
    }
    live.send_message(&Request::Children { children: children.to_vec() }, None)?;
    *connection = Some(live);
    Ok(())
}

fn greet(socket: &Path) -> Result<Connection, SocketError> {
    let connection = Connection::connect(socket)?;
    connection.send_message(&Request::Hello { version: PROTOCOL_VERSION }, None)?;
    if !connection.wait_readable(Some(PATIENCE)).map_err(SocketError::Failed)? {
        return Err(SocketError::WouldBlock);
    }
    match connection.recv_message::<Event>()? {
        Some((Event::Welcome { .. }, _)) => Ok(connection),
        _ => Err(SocketError::Closed),
    }
}
