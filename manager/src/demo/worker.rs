//! The worker of the demonstration: counts the exotic cars of the stream, exactly once, whatever kills it.
//!
//! Each counted event is one commit, which holds the new total of that car and, as the bequest, the position in the
//! stream after the event. So the heir of a worker that was killed at any moment knows which events are counted: those
//! before the position that it is told, and no others.

use super::cars::{Car, MakeOfYear, Models, Sale, Total, has_model};

use super::notes::{Logbook, Notes};
use super::stream::Stream;
use crate::chaos::{SharedRegion, now_ns, open_writable};
use heirloom_worker::{AcceptError, BequestError, Key, Reader, TableHeir, Transfer, Worker, Writer};
use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;

type Failure = Box<dyn Error>;

type Sales = Writer<Car, Total>;

/// How long a worker sleeps that has caught up with what is released of the stream.
const WAIT: Duration = Duration::from_micros(50);

/// Sends each transfer to the thread that does the work.
struct Tracker(crossbeam_channel::Sender<Transfer>);

impl TableHeir for Tracker {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(transfer);
    }
}

/// Runs until it is killed, or has lost its last table.
pub(super) fn run(name: &str, stream: &Stream, notes: &Path) -> Result<(), Failure> {
    let notes = Notes::new(open_writable(notes)?);
    let lines = Line::all(stream)?;
    let worker = Worker::from_env(name)?;
    let exotic_cars: Reader<[u8], Models> = worker.reader("exotic_cars")?;
    let (sender, inbox) = crossbeam_channel::unbounded();
    worker.heir("sales", Tracker(sender))?;
    worker.ready()?;
    for transfer in inbox {
        let Some((position, sales)) = take(transfer)? else { continue };
        let logbook = notes
            .begin(sales.epoch(), std::process::id(), sales.version(), position)
            .ok_or("the notes have no room for one more ownership")?;
        let models = Vec::new();
        let count =
            Count { stream, lines: &lines, exotic_cars: &exotic_cars, models, notes: &notes, logbook, sales };
        count.from(position)?;
    }
    Ok(())
}

/// Takes the table, and the position where its last owner was; none where the manager has died meanwhile, and the next
/// one offers it again.
fn take(transfer: Transfer) -> Result<Option<(u64, Sales)>, Failure> {
    let position = match transfer.bequest::<u64>() {
        Err(BequestError::Withdrawn { .. }) => return Ok(None),
        position => position?.unwrap_or(0),
    };
    match transfer.accept() {
        Err(AcceptError::Withdrawn { .. }) => Ok(None),
        sales => Ok(Some((position, sales?))),
    }
}

/// A line of the stream, with what would otherwise be made anew for each event.
struct Line {
    car: Car,
    /// The key of table `exotic_cars`, encoded.
    make: Vec<u8>,
    cents: u64,
    stamp: u64,
}

impl Line {
    fn all(stream: &Stream) -> Result<Vec<Self>, Failure> {
        let line = |sale: &Sale| {
            let mut make = Vec::new();
            MakeOfYear::encode_key(&sale.car.make_of_year(), &mut make)?;
            Ok(Self { car: sale.car.clone(), make, cents: sale.cents, stamp: sale.car.stamp() })
        };
        stream.lines().iter().map(line).collect()
    }
}

/// One ownership of table `sales`.
struct Count<'a> {
    stream: &'a Stream,
    lines: &'a [Line],
    exotic_cars: &'a Reader<[u8], Models>,
    /// What was read there last; the memory is used again for each event.
    models: Vec<u8>,
    notes: &'a Notes<SharedRegion>,
    logbook: Logbook<'a, SharedRegion>,
    sales: Sales,
}

impl Count<'_> {
    /// Counts from that position on, then gives the table back.
    fn from(mut self, position: u64) -> Result<(), Failure> {
        self.count_until_recalled(position)?;
        Ok(self.sales.release()?)
    }

    /// Counts from that position to the end of the stream, and keeps the table until somebody wants it.
    fn count_until_recalled(&mut self, mut position: u64) -> Result<(), Failure> {
        let Some(mut released) = self.released_beyond(position) else { return Ok(()) };
        self.notes.note_first_event(now_ns());
        for index in self.stream.from(position) {
            if position >= released {
                match self.released_beyond(position) {
                    Some(further) => released = further,
                    None => return Ok(()),
                }
            }
            position += 1;
            self.count(&self.lines[index], position)?;
        }
        self.notes.note_end_of_stream(now_ns());
        while !self.sales.is_recalled() {
            thread::sleep(WAIT);
        }
        Ok(())
    }

    /// Waits until the stream is released beyond `position`, and says how far; `None` when the table is wanted back.
    fn released_beyond(&self, position: u64) -> Option<u64> {
        loop {
            let released = self.notes.released();
            if self.sales.is_recalled() {
                return None;
            }
            if released > position {
                return Some(released);
            }
            thread::sleep(WAIT);
        }
    }

    /// Counts one event, if it is the sale of an exotic car; `position` is the one after it.
    fn count(&mut self, line: &Line, position: u64) -> Result<(), Failure> {
        self.models.clear();
        let exotic = self.exotic_cars.get_bytes(line.make.as_slice(), &mut self.models)?
            && has_model(&self.models, &line.car.model);
        if !exotic {
            return Ok(());
        }
        let mut transaction = self.sales.transaction();
        transaction.update(&line.car, |total| Some(total.unwrap_or_default().and(line.cents, line.stamp)))?;
        transaction.bequeath(&position)?;
        let version = transaction.commit()?;
        self.logbook.note_commit(version, position, now_ns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::account::{Account, Found};
    use super::super::cars::exotic_cars;
    use super::super::expectation::Expectation;
    use super::super::notes::bytes_for;
    use super::*;
    use crate::chaos::Shared;
    use heirloom_worker::testing::{self, Table};

    /// Two owners, one after the other, on a heap table: the second goes on where the first was told to stop.
    #[test]
    fn the_stream_is_counted_once_from_wherever_the_bequest_says() {
        let stream = Stream::standard(20_000);
        let expectation = Expectation::of(&stream);
        let (mut cars, exotic_cars_reader) = testing::table::<[u8], Models>(Table::set("exotic_cars"));
        for (make, models) in exotic_cars() {
            let mut key = Vec::new();
            make.encode_key(&mut key).expect("it can be a key");
            cars.insert(key.as_slice(), models.as_str()).expect("there is room");
        }
        let shared = Shared::create(bytes_for(4)).expect("memory is to be had");
        let notes = Notes::new(shared.map().expect("it can be mapped"));
        let (sales, reader) = testing::table::<Car, Total>(Table::set("sales"));
        let lines = Line::all(&stream).expect("they can be keys");
        notes.release_up_to(u64::MAX);
        let mut count = Count {
            stream: &stream,
            lines: &lines,
            exotic_cars: &exotic_cars_reader,
            models: Vec::new(),
            notes: &notes,
            logbook: notes.begin(1, 1, 0, 0).expect("there is room"),
            sales,
        };
        let first_half = Stream::standard(9_999);
        for (position, index) in (1..).zip(first_half.from(0)) {
            count.count(&lines[index], position).expect("nothing is in the way");
        }
        let told = reader.bequest::<u64>().expect("it is whole").expect("there is one");
        assert_eq!(told, 9_998, "the last exotic car of the first half; what comes after is looked at again");
        for (position, index) in (told + 1..).zip(stream.from(told)) {
            count.count(&lines[index], position).expect("nothing is in the way");
        }
        let found = Found {
            totals: reader.entries().expect("they are whole").into_iter().collect(),
            version: reader.version(),
            position: reader.bequest::<u64>().expect("it is whole").unwrap_or(0),
        };
        assert_eq!(Account::settle(&expectation, &notes.ownerships(), &found), Account::default());
    }
}
