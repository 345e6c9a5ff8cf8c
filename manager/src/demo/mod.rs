//! The demonstration: a table is handed on while its owners are killed one after the other, with real processes, and
//! at the end everything is counted once more.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `stage` | the temporary folder, the configuration, the processes, and their end |
//! | `director` | who waits for whom, when the owner is killed, and what is measured |
//! | `plan` | the random moments to kill at |
//! | `victims` | whether each kill was one, by the word of the parent |
//! | `worker`, `reader` | what the processes do: count the stream, and read the table |
//! | `cars`, `stream`, `events_file`, `exotic_file` | the data |
//! | `notes` | what the processes note, beside Heirloom |
//! | `expectation`, `account` | what must be in the table, and what is wrong with what is |
//! | `story`, `report`, `picture` | what is told on the way, and at the end |

mod account;
mod cars;
mod director;
mod events_file;
mod exotic_file;
mod expectation;
mod notes;
mod picture;
mod plan;
mod reader;
mod report;
mod stage;
mod story;
mod stream;
mod victims;
mod worker;

use crate::chaos::{Interrupt, Shared};
use expectation::Expectation;
use notes::Notes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::error::Error;
use std::path::{Path, PathBuf};
use stream::Stream;

type Failure = Box<dyn Error>;

/// The name of the workers that own table `sales` in turn.
const WORKER: &str = "sale_tracker";

/// No stream is longer, so that no sum of prices overflows.
pub(crate) const MAX_EVENTS: u64 = 100_000_000;

/// The events of the standard stream, where nothing else is asked for.
const DEFAULT_EVENTS: u64 = 1_000_000;

/// Which stream of events it is.
#[derive(Debug)]
pub(crate) struct StreamOptions {
    /// How many events; by default a million, or as many as the file has lines.
    pub(crate) events: Option<u64>,
    /// The file to read them from, instead of the standard ten sales.
    pub(crate) events_file: Option<PathBuf>,
}

/// What the demonstration shall be like.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) stream: StreamOptions,
    /// How often the owner is killed.
    pub(crate) kills: u64,
    /// Whether the manager is killed too, now and then.
    pub(crate) chaos: bool,
    /// Chooses the moments.
    pub(crate) seed: Option<u64>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// As one line of JSON.
    pub(crate) json: String,
    /// As a page for people.
    pub(crate) page: String,
    /// What went wrong with the table, if anything.
    pub(crate) failure: Option<String>,
}

/// Runs the demonstration.
///
/// # Errors
/// Where it could not be carried out: what happened, for a person. What it found wrong is in the [`Outcome`].
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::watch()?;
    let stream = stream(&options.stream)?;
    let expectation = Expectation::of(&stream);
    let seed = options.seed.unwrap_or_else(rand::random);
    let mut rng = StdRng::seed_from_u64(seed);
    let rounds = plan::rounds(&expectation, options.kills, &mut rng).map_err(|most| {
        format!(
            "{} kills are too many: these events have room for {most} between their commits",
            options.kills
        )
    })?;

    // Every kill makes an ownership; a few more may come from candidates that did not make it.
    let shared = Shared::create(notes::bytes_for(options.kills * 2 + 100))?;
    let mut stage = stage::Stage::build(
        shared.path(),
        stream.events(),
        options.stream.events_file.as_deref(),
        options.kills,
    )?;
    let mut story = story::Story::begin(stream.events(), options.kills);
    story.tell(&format!("{} events, {} kills, seed {seed}", stream.events(), options.kills));
    let mut director = director::Director {
        stage: &mut stage,
        notes: Notes::new(shared.map()?),
        interrupt: &interrupt,
        story: &mut story,
        expectation: &expectation,
        events: stream.events(),
        chaos: options.chaos,
    };
    let report = director.play(&rounds, &mut rng)?;
    drop(story);
    drop(stage);
    Ok(Outcome { json: report.json(), page: report.page(), failure: report.failure() })
}

/// Runs as one of the workers.
///
/// # Errors
/// What ended it, for a person.
pub(crate) fn run_worker(options: &StreamOptions, notes: &Path) -> Result<(), Failure> {
    worker::run(WORKER, &stream(options)?, notes)
}

/// Runs as the reader.
///
/// # Errors
/// What ended it, for a person.
pub(crate) fn run_reader(socket: &Path, notes: &Path) -> Result<(), Failure> {
    reader::run(socket, notes)
}

fn stream(options: &StreamOptions) -> Result<Stream, Failure> {
    Ok(match &options.events_file {
        Some(file) => Stream::of_lines(events_file::read(file)?, options.events),
        None => Stream::standard(options.events.unwrap_or(DEFAULT_EVENTS)),
    })
}
