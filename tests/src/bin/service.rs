//! A service with its manager inside, and a supervisor that keeps its descriptors: what `tests/embedded_service.rs` kills.
//!
//! ```text
//! supervise FOLDER              our supervisor, which takes this same program for the manager that it starts
//! above FOLDER                  our supervisor in the place of systemd: what it starts is `heirloom run` (`tests/above.rs`)
//! exec-child WORD...            its way to hand descriptors down
//! manager --config FILE         the service: counts, one commit after the other, and notes what returned beside the file
//! ```
#![forbid(unsafe_code)]

use heirloom_manager::config::Config;
use heirloom_manager::manager::{Manager, embedded::Table};
use heirloom_manager::registry::Candidates;
use heirloom_manager::supervisor::{self, Options};
use heirloom_protocol::sys::notify::Notifier;
use heirloom_tests::ledger::Returned;
use heirloom_tests::role::{tell, transfers};
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::{env, process};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["supervise", folder] => supervise(Path::new(folder), None),
        ["above", folder] => supervise(Path::new(folder), Some(&Path::new(folder).join("below"))),
        ["exec-child", words @ ..] => {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Err(supervisor::exec_child(None, &words).into())
        }
        ["manager", "--config", file] => serve(&Path::new(file).with_file_name("returned")),
        _ => Err("usage: service supervise|above FOLDER".into()),
    }
}

/// Supervises this same program; or `heirloom run`, with what is in the other folder.
fn supervise(folder: &Path, below: Option<&Path>) -> Outcome {
    let file = folder.join("heirloom.toml");
    std::fs::write(&file, "")?;
    let config = Config::load(&file)?;
    let mut options = Options::new(&config)?;
    options.socket = Some(folder.join("socket"));
    if let Some(below) = below {
        let heirloom = env::current_exe()?.with_file_name("heirloom-under-test");
        let words = [heirloom.into(), "run".into(), below.join("heirloom.toml").into()];
        let socket = ["--socket".into(), below.join("socket").into()];
        options.manager = words.into_iter().chain(socket).collect();
    }
    tell("ready")?;
    Ok(supervisor::run(&config, &options)?)
}

fn serve(record: &Path) -> Outcome {
    let counts = Table::set("counts")
        .max_bytes(16 << 20)
        .find_me(|ready: &Candidates| ready.named("counter"))
        .hydrate_with(|load| load.insert("hydrated", &u64::from(process::id())));
    let house = Manager::embedded().descriptor_store_from_env().table(counts).start()?;
    if let Some(supervisor) = Notifier::from_env()? {
        supervisor.ready()?;
    }

    let worker = house.worker("counter")?;
    let transfer = transfers(&worker, "counts")?.next().ok_or("nothing was transferred")?;
    let returned = Returned::open(record)?;
    let (left, last) = (transfer.bequest::<u64>()?.unwrap_or(0), returned.last()?);
    let mut counts = transfer.accept::<str, u64>()?;
    assert!(left == last || left == last + 1, "commit {last} returned, and the table is of {left}");
    assert_eq!(counts.get("count")?.unwrap_or(0), left);
    let hydrated = counts.get("hydrated")?.ok_or("it was hydrated once")?;
    tell(&format!("{} {left} {hydrated} {}", process::id(), counts.epoch()))?;
    for count in left + 1.. {
        let mut transaction = counts.transaction();
        transaction.insert("count", &count)?;
        transaction.bequeath(&count)?;
        transaction.commit()?;
        returned.note(count)?;
    }
    Ok(())
}
