//! The documentation for who knows ETS, against what Erlang's `ets` really exports.
#![allow(clippy::unwrap_used, reason = "it is a test, helpers included")]

use std::collections::BTreeSet;
use std::process::Command;

/// Documented already, and exported by newer releases only: by which on.
const NEWER: [(&str, u32); 6] = [
    ("lookup_element/4", 26),
    ("first_lookup/1", 27),
    ("last_lookup/1", 27),
    ("next_lookup/2", 27),
    ("prev_lookup/2", 27),
    ("update_element/4", 27),
];

/// What the tables of the documentation name in their first column: `` `lookup_element/3`, `/4` `` are two functions.
fn documented() -> BTreeSet<String> {
    let rows = include_str!("../src/ets.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut functions = BTreeSet::new();
    for row in rows {
        let first_column = row.split(" | ").next().unwrap();
        let mut name = "";
        for code in first_column.split('`').skip(1).step_by(2) {
            let Some((before, arity)) = code.rsplit_once('/') else { continue };
            if !before.is_empty() {
                name = before;
            }
            let known = functions.insert(format!("{name}/{arity}"));
            assert!(known || name == "insert", "{name}/{arity} is there twice");
        }
    }
    functions
}

/// Erlang's release, and what its `ets` exports; nothing where there is no Erlang.
fn exported() -> Option<(u32, BTreeSet<String>)> {
    const PROGRAM: &str = r#"io:format("~s~n", [erlang:system_info(otp_release)]),
        [io:format("~s/~b~n", [Name, Arity]) || {Name, Arity} <- ets:module_info(exports)], halt()."#;
    let output = Command::new("erl").args(["-noshell", "-eval", PROGRAM]).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (release, functions) = text.split_once('\n').unwrap();
    Some((release.parse().unwrap(), functions.lines().map(str::to_owned).collect()))
}

#[test]
fn every_function_of_ets_is_named() {
    let documented = documented();
    let Some((release, exported)) = exported() else {
        eprintln!("SKIPPED: there is no Erlang here (erl) to ask for what ETS has");
        return;
    };
    assert!(exported.contains("lookup/2") && exported.len() > 60, "{exported:?}");
    let unnamed: Vec<_> = exported.difference(&documented).collect();
    assert!(unnamed.is_empty(), "worker/src/ets.rs does not name {unnamed:?}");
    let newer = |name: &str| NEWER.iter().any(|(newer, since)| *newer == name && release < *since);
    let unknown: Vec<_> = documented.difference(&exported).filter(|name| !newer(name)).collect();
    assert!(unknown.is_empty(), "Erlang {release} knows no {unknown:?}");
}
