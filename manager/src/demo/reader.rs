//! The reader of the demonstration: a process that reads table `sales` without a pause, through every death of its
//! owner, and checks that each value it gets is one that was once written, whole.

use super::cars::{Car, Total};
use super::notes::{Notes, Reads};
use super::shared;
use heirloom_worker::{Client, Reader};
use std::error::Error;
use std::path::Path;

/// How many rounds go by between two looks at the notes.
const ROUNDS_PER_NOTE: u32 = 8;

/// Reads every one of these cars, over and over, until the notes say that it is enough.
pub(super) fn run(socket: &Path, cars: &[Car], notes: &Path) -> Result<(), Box<dyn Error>> {
    let notes = Notes::new(shared::open_writable(notes)?);
    let client = Client::connect(socket)?;
    let sales: Reader<Car, Total> = client.reader("sales")?;
    let mut watched: Vec<Watched> = cars.iter().map(Watched::new).collect();
    let mut reads = Reads::default();
    while !notes.stop_wanted() {
        for _ in 0..ROUNDS_PER_NOTE {
            // Both looks see the same dead owner, so it was dead and without heir during all reads between them.
            let before = notes.ownerless_since();
            let count = reads.reads;
            for car in &mut watched {
                car.read(&sales, &mut reads);
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

/// A car, and what was last read of it.
struct Watched {
    car: Car,
    stamp: u64,
    last: Total,
}

impl Watched {
    fn new(car: &Car) -> Self {
        Self { car: car.clone(), stamp: car.stamp(), last: Total::default() }
    }

    /// A value is torn when it is not whole, and also when it is older than one that was read before.
    fn read(&mut self, sales: &Reader<Car, Total>, reads: &mut Reads) {
        reads.reads += 1;
        match sales.get(&self.car) {
            Ok(Some(total)) if total.is_whole(self.stamp) && total.count >= self.last.count => {
                self.last = total
            }
            Ok(None) if self.last.count == 0 => {}
            Ok(_) => reads.torn += 1,
            Err(_) => reads.failed += 1,
        }
    }
}
