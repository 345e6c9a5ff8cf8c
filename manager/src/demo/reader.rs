//! The reader of the demonstration: a process that reads both tables without a pause, through every death of the owner of
//! one of them, and checks that each value it gets is one that was once written, whole.

use super::cars::{Car, MakeOfYear, Models, Total, every_exotic_car, has_model};
use super::notes::{Notes, Reads};
use super::stage::FOLDER_PREFIX;
use crate::chaos;
use heirloom_protocol::sys::{Connection, Process, Signal};
use heirloom_worker::{Client, Reader};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How many rounds go by between two looks at the notes.
const ROUNDS_PER_NOTE: u32 = 8;

/// How long the supervisor may take to stop everything, when nobody else waits for it.
const TIME_TO_STOP: Duration = Duration::from_secs(30);

/// Reads every car that could be in the table, over and over, until the notes say that it is enough.
pub(super) fn run(socket: &Path, notes: &Path) -> Result<(), Box<dyn Error>> {
    let notes = Notes::new(chaos::open_writable(notes)?);
    let client = Client::connect(socket)?;
    let tables = Tables { sales: client.reader("sales")?, exotic_cars: client.reader("exotic_cars")? };
    let mut watched: Vec<Watched> = every_exotic_car().map(Watched::new).collect();
    let mut reads = Reads::default();
    let director = Process::open(std::os::unix::process::parent_id())?;
    while !notes.stop_wanted() {
        if director.has_exited() {
            return clean_up_after_the_director(socket);
        }
        for _ in 0..ROUNDS_PER_NOTE {
            // Both looks see the same dead owner, so it was dead and without heir during all reads between them.
            let before = notes.ownerless_since();
            let count = reads.reads;
            for car in &mut watched {
                car.read(&tables, &mut reads);
                // Where processors are few, those who are being watched go first.
                thread::yield_now();
            }
            if before.is_some() && before == notes.ownerless_since() {
                reads.ownerless += reads.reads - count;
            }
        }
        notes.note_reads(reads);
    }
    notes.note_reads(reads);
    Ok(())
}

/// Somebody has killed the director with SIGKILL: nobody else is left to end the rest.
fn clean_up_after_the_director(socket: &Path) -> Result<(), Box<dyn Error>> {
    let supervisor = Connection::connect(socket)?.peer()?.process;
    supervisor.kill(Signal::TERM)?;
    let is_ours = |folder: &&Path| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX))
    };
    let folder = socket.parent().filter(is_ours);
    match folder.filter(|_| supervisor.wait_exit(TIME_TO_STOP)) {
        Some(folder) => Ok(fs::remove_dir_all(folder)?),
        None => Ok(()),
    }
}

struct Tables {
    sales: Reader<Car, Total>,
    exotic_cars: Reader<MakeOfYear, Models>,
}

/// A car, and what was last read of it.
struct Watched {
    car: Car,
    make: MakeOfYear,
    last: Total,
    /// What was read last of its make; the memory is used again for each read.
    models: Vec<u8>,
}

impl Watched {
    fn new(car: Car) -> Self {
        Self { make: car.make_of_year(), car, last: Total::default(), models: Vec::new() }
    }

    fn read(&mut self, tables: &Tables, reads: &mut Reads) {
        self.read_sales(&tables.sales, reads);
        self.read_make(&tables.exotic_cars, reads);
    }

    /// A total is torn when it is not whole, and also when it is older than one that was read before.
    fn read_sales(&mut self, sales: &Reader<Car, Total>, reads: &mut Reads) {
        reads.reads += 1;
        match sales.get(&self.car) {
            Ok(Some(total)) if total.is_whole(self.car.stamp()) && total.count >= self.last.count => {
                self.last = total
            }
            Ok(None) if self.last.count == 0 => {}
            Ok(_) => reads.torn += 1,
            Err(_) => reads.failed += 1,
        }
    }

    /// The models of a make never change.
    fn read_make(&mut self, exotic_cars: &Reader<MakeOfYear, Models>, reads: &mut Reads) {
        reads.reads += 1;
        self.models.clear();
        match exotic_cars.get_bytes(&self.make, &mut self.models) {
            Ok(true) if has_model(&self.models, &self.car.model) => {}
            Ok(_) => reads.torn += 1,
            Err(_) => reads.failed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_worker::testing::{self, Table};

    #[test]
    fn a_value_that_is_not_whole_or_older_than_one_before_is_torn() {
        let (mut writer, sales) = testing::table::<Car, Total>(Table::set("sales"));
        let zonda = Car::new(2022, "Pagani", "Zonda");
        let (mut watched, mut reads) = (Watched::new(zonda.clone()), Reads::default());
        let one = Total::default().and(418_100_000, zonda.stamp());
        let two = one.and(418_100_000, zonda.stamp());
        let of_another_car = two.and(418_100_000, 0);
        let mut read = |total: Option<Total>| {
            match total {
                Some(total) => drop(writer.insert(&zonda, &total).expect("there is room")),
                None => drop(writer.remove(&zonda).expect("removing works")),
            }
            watched.read_sales(&sales, &mut reads);
            reads.torn
        };
        assert_eq!([read(None), read(Some(one)), read(Some(two)), read(Some(two))], [0; 4]);
        assert_eq!(read(Some(of_another_car)), 1);
        assert_eq!(read(Some(one)), 2, "an older value");
        assert_eq!(read(None), 3, "a value that was there before");
        assert_eq!((reads.reads, reads.failed), (7, 0));
    }
}
