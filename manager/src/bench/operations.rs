//! Single operations, transactions, ranges and scans, by the owner and from another process.

use super::stage::{FRESH, Stage};
use super::work::{Work, checksum, fill, nanoseconds_each};
use super::{Failure, PASSES, Report, median};
use heirloom_worker::{Order, Reader, Worker, Writer};
use std::hint::black_box;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// A table of ours, and who owns it.
type Ours = (Writer<u64, [u8]>, Worker);

/// How many writes a transaction has, how many entries a range, and how many keys are read together.
const TOGETHER: usize = 100;

pub(super) fn of_sets(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let ((mut writer, _worker), insert) = fill_from_empty(stage, work, "set")?;
    report.note("set_insert_ns", "set: insert from empty, growth included", insert);
    report.note(
        "bytes_per_entry",
        "set: memory for an entry, everything included",
        writer.info().used_bytes as f64 / work.len() as f64,
    );
    report.note("set_get_ns", "set: get, by the owner", gets(&writer, work)?);
    report.note(
        "set_get_many_ns",
        "set: get, by the owner, 100 keys at a time",
        gets_together(&writer, work)?,
    );
    report.note("set_overwrite_ns", "set: overwrite, a commit each", overwrites(&mut writer, work)?);
    report.note(
        "transaction_100_ns",
        "set: a transaction of 100 overwrites",
        transactions(&mut writer, work)?,
    );

    let mut reader = stage.reader("set_0")?;
    report.note_reader(reader.pid());
    let mut measured = || -> Result<f64, Failure> {
        reader.ask()?;
        Ok(reader.wait_for("ns")?.parse()?)
    };
    report.note("set_get_other_process_ns", "set: get, from another process", measured()?);
    let beside = while_writing(&mut writer, work, measured)?;
    report.note("set_get_while_writing_ns", "set: the same while the owner overwrites", beside);

    let reader: Reader<[u8], [u8]> = stage.client()?.reader("set_0")?;
    report.note("scan_entry_ns", "set: a scan of a snapshot, for an entry", scans(&reader, work)?);
    report.note("set_remove_ns", "set: remove, a commit each", removes(&mut writer, work)?);
    Ok(())
}

pub(super) fn of_counters(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let (mut counters, _worker): (Writer<u64, u64>, _) = stage.own("counters")?;
    let passes = (0..=PASSES)
        .map(|pass| work.time(pass, |key, _| counters.add(&key, 1).map(drop).map_err(Failure::from)))
        .collect::<Result<Vec<_>, _>>()?;
    // The first pass makes them.
    report.note("counter_add_ns", "set: add to a counter, a commit each", median(passes[1..].to_vec()));
    Ok(())
}

pub(super) fn of_ordered_sets(stage: &Stage, work: &Work, report: &mut Report) -> Result<(), Failure> {
    let ((mut writer, _worker), insert) = fill_from_empty(stage, work, "ordered_set")?;
    report.note("ordered_insert_ns", "ordered_set: insert from empty, in random order", insert);
    report.note("ordered_get_ns", "ordered_set: get, by the owner", gets(&writer, work)?);
    report.note(
        "ordered_overwrite_ns",
        "ordered_set: overwrite, a commit each",
        overwrites(&mut writer, work)?,
    );
    let reader: Reader<[u8], [u8]> = stage.client()?.reader("ordered_set_0")?;
    report.note("range_100_ns", "ordered_set: a range of 100 entries", ranges(&reader, work)?);
    report.note(
        "ordered_scan_entry_ns",
        "ordered_set: a scan of a snapshot, for an entry",
        scans(&reader, work)?,
    );
    report.note("ordered_remove_ns", "ordered_set: remove, a commit each", removes(&mut writer, work)?);
    Ok(())
}

/// Fills fresh tables of a kind, one after the other; the first, and nanoseconds per insert.
fn fill_from_empty(stage: &Stage, work: &Work, kind: &str) -> Result<(Ours, f64), Failure> {
    let mut times = Vec::new();
    let mut first = None;
    for number in 0..FRESH {
        let (mut writer, worker) = stage.own::<u64, [u8]>(&format!("{kind}_{number}"))?;
        times.push(work.time(number, |key, value| Ok(writer.insert(&key, value).map(drop)?))?);
        match first {
            None => first = Some((writer, worker)),
            // Its memory goes back to the machine.
            Some(_) => drop(writer.clear()?),
        }
    }
    Ok((first.expect("there is at least one"), median(times)))
}

fn gets(writer: &Writer<u64, [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| work.time_gets(pass, |key, value| Ok(writer.get_bytes(&key, value)?)))
}

fn gets_together(writer: &Writer<u64, [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| {
        let (order, mut value, mut sum, mut missing) = (work.order(pass), work.value(), 0, 0);
        let start = Instant::now();
        for keys in order.chunks(TOGETHER) {
            writer.get_many_bytes(keys, |found| match found {
                Some(found) => {
                    value.copy_from_slice(found);
                    sum = checksum(sum, &value);
                }
                None => missing += 1,
            })?;
        }
        let time = nanoseconds_each(start, order.len());
        black_box(sum);
        if missing > 0 { Err(format!("{missing} keys have no value").into()) } else { Ok(time) }
    })
}

fn overwrites(writer: &mut Writer<u64, [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| work.time(pass, |key, value| Ok(writer.insert(&key, value).map(drop)?)))
}

/// Removes everything, and inserts it again for the next pass.
fn removes(writer: &mut Writer<u64, [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| {
        let time = work.time(pass, |key, _| Ok(writer.remove(&key).map(drop)?));
        work.time(pass, |key, value| Ok(writer.insert(&key, value).map(drop)?))?;
        time
    })
}

fn transactions(writer: &mut Writer<u64, [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| {
        let (order, mut value) = (work.order(pass), work.value());
        let start = Instant::now();
        for keys in order.chunks(TOGETHER) {
            let mut transaction = writer.transaction();
            for key in keys {
                fill(&mut value, *key, pass as u64);
                transaction.insert(key, &value)?;
            }
            transaction.commit()?;
        }
        Ok(nanoseconds_each(start, order.len().div_ceil(TOGETHER)))
    })
}

/// Measures something while the owner overwrites entry after entry.
fn while_writing(
    writer: &mut Writer<u64, [u8]>,
    work: &Work,
    measure: impl FnOnce() -> Result<f64, Failure>,
) -> Result<f64, Failure> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (order, mut value) = (work.order(PASSES), work.value());
            for key in order.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                fill(&mut value, *key, 7);
                writer.insert(key, &value).map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        writing.join().expect("the writer does not panic")?;
        measured
    })
}

fn ranges(reader: &Reader<[u8], [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|pass| {
        let starts: Vec<_> = work.order(pass).into_iter().take(10_000).collect();
        let (mut sum, start) = (0, Instant::now());
        for from in &starts {
            let (from, mut left) = (from.to_be_bytes(), TOGETHER);
            let each = &mut |_: &[u8], value: &[u8], _| {
                sum = checksum(sum, value);
                left -= 1;
                left > 0
            };
            reader.visit_range(Bound::Included(&from), Bound::Unbounded, Order::Ascending, each)?;
        }
        black_box(sum);
        Ok(nanoseconds_each(start, starts.len()))
    })
}

fn scans(reader: &Reader<[u8], [u8]>, work: &Work) -> Result<f64, Failure> {
    passes(|_| {
        let (mut sum, mut seen, start) = (0, 0, Instant::now());
        reader.snapshot()?.visit(&mut |_, value, _| {
            (sum, seen) = (checksum(sum, value), seen + 1);
            true
        })?;
        black_box(sum);
        if seen != work.len() {
            return Err(format!("a scan saw {seen} entries of {}", work.len()).into());
        }
        Ok(nanoseconds_each(start, seen))
    })
}

/// The middle of some passes.
fn passes(measure: impl FnMut(usize) -> Result<f64, Failure>) -> Result<f64, Failure> {
    Ok(median((0..PASSES).map(measure).collect::<Result<_, _>>()?))
}
