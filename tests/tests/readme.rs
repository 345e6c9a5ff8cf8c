//! The README's walk-through, as it stands there: the worker, the configuration, the kill.

use heirloom_tests::{House, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The first block of code in that language.
fn block(language: &str) -> String {
    let readme = readme();
    let start = format!("```{language}\n");
    let after = readme.split_once(&start).expect("the README has such a block").1;
    after.split_once("```").expect("the block ends").0.to_owned()
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(path).expect("there is a README")
}

#[test]
fn the_worker_in_the_readme_is_the_one_that_is_compiled() {
    let compiled = include_str!("../examples/word_counter.rs");
    let (_, compiled) =
        compiled.split_once("#![forbid(unsafe_code)]\n\n").expect("the example forbids unsafe code");
    assert_eq!(block("rust"), compiled, "the README and tests/examples/word_counter.rs differ");
}

#[test]
fn the_embedded_example_in_the_readme_is_the_one_that_is_compiled_and_works() {
    let compiled = include_str!("../examples/embedded.rs");
    let (_, compiled) =
        compiled.split_once("#![forbid(unsafe_code)]\n\n").expect("the example forbids unsafe code");
    assert!(
        readme().contains(&format!("```rust\n{compiled}```")),
        "the README and tests/examples/embedded.rs differ"
    );
    let output = Command::new(program("examples/embedded")).output().expect("it can be started");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one has died\nthe next has finished\n");
}

#[test]
fn the_walk_through_works() {
    let worker = program("examples/word_counter");
    let house = House::start(|_| {
        let configuration = block("toml");
        assert!(
            configuration.contains("target/release/examples/word_counter"),
            "the README names its example"
        );
        configuration
            .replace("target/release/examples/word_counter", worker.to_str().expect("a path in UTF-8"))
    });
    let client = house.client();
    let owner = eventually("the first owner", || {
        let table = house.table(&client, "words");
        table.owner.map(|owner| owner.pid).filter(|_| table.version > 10)
    });
    let wait_for_standby = |owner| {
        eventually("a standby", || {
            let workers = client.status().expect("the manager answers").workers;
            workers.iter().any(|worker| worker.ready && worker.pid != owner).then_some(())
        });
    };
    wait_for_standby(owner);
    let before = house.table(&client, "words").version;
    let victim = i32::try_from(owner).ok().and_then(Pid::from_raw).expect("this is a process id");
    kill_process(victim, Signal::KILL).expect("the owner can be killed");
    let heir = eventually("the heir", || {
        let table = house.table(&client, "words");
        table.owner.map(|heir| heir.pid).filter(|heir| *heir != owner && table.version > before + 10)
    });
    assert!(
        house.log().contains(&format!("process {heir} goes on at word ")),
        "the heir was told where to go on"
    );
    wait_for_standby(heir);
}
