//! `heirloom bench`: what Heirloom costs on this machine, before anybody decides to use it.
//!
//! The real thing is measured: a supervisor, a manager and workers as processes of their own, tables in shared memory,
//! the handles that a user's program has. Keys are random, of 8 bytes, and each pass takes them in a random order of its
//! own; a value that is read is copied out, and its words are added up.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `work` | keys, their order in each pass, values, and the clock |
//! | `stage` | the temporary folder, the configuration, the processes, and their end |
//! | `operations` | single operations, transactions, scans; also from another process |
//! | `pauses` | the slowest writes while a table grows |
//! | `handoffs` | from a kill, a recall, a panic or the manager's death to the next commit |
//! | `whole` | filling a table from a file, and writing it to disk |
//! | `roles` | what the other processes do |
//! | `report` | the figures, for people and for programs |

mod handoffs;
mod operations;
mod pauses;
mod report;
mod roles;
mod stage;
mod whole;
mod work;

pub(crate) use report::Report;
pub(crate) use roles::{own, read};

use crate::chaos::Interrupt;
use stage::Stage;
use std::error::Error;
use std::time::Duration;
use work::Work;

pub(crate) type Failure = Box<dyn Error>;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Entries of each table.
    pub(crate) entries: usize,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often each figure is taken; the median counts.
const PASSES: usize = 5;

/// Measures everything; `say` hears what is being measured.
///
/// # Errors
/// Where it could not be carried out, or was interrupted.
pub(crate) fn run(options: Options, say: &dyn Fn(&str)) -> Result<Report, Failure> {
    let interrupt = Interrupt::watch()?;
    let going_on = |what: &str| {
        say(what);
        if interrupt.is_wanted() { Err(Failure::from("interrupted")) } else { Ok(()) }
    };
    let work = Work::new(options);
    let mut report = Report::new(options);
    let stage = Stage::start(options)?;
    let client = stage.client()?;

    going_on("set")?;
    operations::of_sets(&stage, &work, &mut report)?;
    going_on("counters")?;
    operations::of_counters(&stage, &work, &mut report)?;
    going_on("ordered_set")?;
    operations::of_ordered_sets(&stage, &work, &mut report)?;
    going_on("hydration")?;
    whole::hydration(&stage, &work, &mut report)?;
    going_on("checkpoints")?;
    whole::checkpoints(&stage, &work, &mut report)?;
    going_on("handoffs after kills")?;
    handoffs::after_kills(&stage, "small", 0, 20, &mut report)?;
    going_on("handoffs after kills, 1 GiB")?;
    handoffs::after_kills(&stage, "large", handoffs::LARGE_BYTES, 5, &mut report)?;
    going_on("live handoffs")?;
    handoffs::live(&stage, &client, &mut report)?;
    going_on("handoffs in one program")?;
    handoffs::embedded(&mut report)?;
    going_on("the manager's restart")?;
    handoffs::manager_restart(&stage, &client, &mut report)?;
    going_on("writes while a table grows")?;
    pauses::of_growth(&stage, &work, &mut report)?;
    Ok(report)
}

/// The middle of some measurements.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
