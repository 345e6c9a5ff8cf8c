//! What the fuzzer kept (`tests/fuzz/seeds`): inputs that reach far, and those that once showed a mistake.

use heirloom_tests::garbage::{TARGETS, try_on};
use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_ends_in_an_answer_or_an_error() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (target, _) in TARGETS {
        let folder = seeds.join(target);
        let inputs: Vec<_> = fs::read_dir(&folder).expect("a folder for each target").collect();
        assert!(inputs.len() >= 5, "{} inputs in {}", inputs.len(), folder.display());
        for input in inputs {
            let path = input.expect("the folder can be read").path();
            println!("{}", path.display());
            try_on(target, &fs::read(&path).expect("the input can be read"));
        }
    }
}
