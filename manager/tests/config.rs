//! The configuration file: what is read, and that every mistake is found in one pass, where it stands.

use heirloom_manager::config::{
    Access, BackOff, Config, Durability, FindMe, HydrateFormat, HydrateSource, HydrateWhen, Mistakes,
    Restart, Shutdown, Start, Strategy,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/heirloom/h.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mistakes(text: &str) -> Mistakes {
    Config::parse(text, Path::new("h.toml")).expect_err("a mistake")
}

/// Checks that exactly one mistake is found, at this place, and that it and its suggestion hold these words.
#[track_caller]
fn one_mistake(text: &str, place: (usize, usize), words: &str, suggestion: Option<&str>) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{found}");
    assert_eq!((found[0].line, found[0].column), place, "{found}");
    assert!(found[0].message.contains(words), "{found}");
    match suggestion {
        Some(words) => assert!(found[0].suggestion.as_deref().is_some_and(|s| s.contains(words)), "{found}"),
        None => assert_eq!(found[0].suggestion, None, "{found}"),
    }
}

/// A table that is right, with one more line.
fn table_with(line: &str) -> String {
    format!("[[table]]\nid = \"t\"\ntype = \"set\"\nmax_bytes = \"1MiB\"\n{line}\n")
}

/// A worker that is right, with one more line.
fn worker_with(line: &str) -> String {
    format!("[[worker]]\nname = \"w\"\ncommand = [\"/bin/true\"]\n{line}\n")
}

#[test]
fn reads_everything_that_can_be_said() {
    let config = parse(
        r#"
        [supervisor]
        strategy = "rest_for_one"
        intensity = 3
        period = "1min"
        crash_loop_retry = "never"
        socket = "run/heirloom.sock"

        [manager]
        grace = "2s"
        offer_timeout = "300ms"

        [[table]]
        id = "exotic_cars"
        type = "set"
        max_bytes = "64MiB"
        hydrate = { file = "exotic_cars.redb", when = "always" }
        readers = "anyone"

        [[table]]
        id = "sales"
        type = "set"
        max_bytes = "1GiB"
        find_me = { name = "sale_tracker" }
        gift_data = { currency = "USD", rounds = [1, 2.5], since = 2024-05-01 }
        durability = { mode = "interval", every = "1s" }
        access = "private"
        owner = { users = ["app", "1000"], groups = ["staff"] }

        [[worker]]
        name = "sale_tracker"
        command = ["bin/sale_tracker", "--fast"]
        instances = 2
        restart = "transient"
        shutdown = "brutal_kill"
        back_off = { first = "1ms", most = "20ms" }
        env = { RUST_LOG = "debug" }
        user = 1000

        [[worker]]
        name = "api"
        external = true
        user = "app"
        "#,
    );
    assert_eq!(config.folder, Path::new("/etc/heirloom"));
    assert_eq!(config.supervisor.strategy, Strategy::RestForOne);
    assert_eq!((config.supervisor.intensity, config.supervisor.period), (3, Duration::from_secs(60)));
    assert_eq!(config.supervisor.crash_loop_retry, None);
    assert_eq!(config.supervisor.socket, Some(PathBuf::from("/etc/heirloom/run/heirloom.sock")));
    assert_eq!(config.manager.grace, Duration::from_secs(2));
    assert_eq!(config.manager.offer_timeout, Duration::from_millis(300));

    let cars = config.table("exotic_cars").expect("declared");
    assert_eq!((cars.max_bytes, &cars.find_me, cars.gift_data.as_str()), (64 << 20, &None, ""));
    assert!(cars.readers.anyone && cars.owner.is_empty());
    let hydrate = cars.hydrate.as_ref().expect("declared");
    assert_eq!(hydrate.when, HydrateWhen::Always);
    let file = PathBuf::from("/etc/heirloom/exotic_cars.redb");
    let format = HydrateFormat::Redb { table: "exotic_cars".into() };
    assert_eq!(hydrate.source, HydrateSource::File { path: file, format });

    let sales = config.table("sales").expect("declared");
    assert_eq!(sales.find_me, Some(FindMe::Name("sale_tracker".into())));
    assert_eq!(sales.gift_data, r#"{"currency":"USD","rounds":[1,2.5],"since":"2024-05-01"}"#);
    assert_eq!(sales.durability, Durability::Interval { every: Duration::from_secs(1) });
    assert_eq!(sales.access, Access::Private);
    assert_eq!((sales.owner.users.len(), sales.owner.groups.as_slice()), (2, &["staff".to_owned()][..]));

    let worker = config.worker("sale_tracker").expect("declared");
    assert_eq!(worker.user.as_deref(), Some("1000"));
    let Start::Child(child) = &worker.start else { panic!("not external") };
    assert_eq!(child.command, ["/etc/heirloom/bin/sale_tracker", "--fast"]);
    assert_eq!(
        (child.instances, child.restart, child.shutdown),
        (2, Restart::Transient, Shutdown::BrutalKill)
    );
    let BackOff { first, most, .. } = child.back_off;
    assert_eq!((first, most), (Duration::from_millis(1), Duration::from_millis(20)));
    assert_eq!(child.env.get("RUST_LOG").map(String::as_str), Some("debug"));
    assert_eq!(config.worker("api").expect("declared").start, Start::External);
    assert!(config.concerns_other_users());
}

#[test]
fn an_empty_file_is_a_configuration_with_the_defaults() {
    let config = parse("");
    assert_eq!(config.supervisor, Default::default());
    assert!(config.tables.is_empty() && config.workers.is_empty());
    assert!(!config.concerns_other_users());
}

#[test]
fn reads_each_form_of_find_me() {
    let find_me = |form: &str| {
        let text = table_with(&format!("find_me = {form}"));
        parse(&text).tables.remove(0).find_me.expect("given")
    };
    assert_eq!(find_me("\"any\""), FindMe::Any);
    assert_eq!(find_me("{ pid_file = \"w.pid\" }"), FindMe::PidFile("/etc/heirloom/w.pid".into()));
    assert_eq!(
        find_me("{ command = [\"./find\", \"w\"], timeout = \"3s\" }"),
        FindMe::Command {
            command: vec!["/etc/heirloom/./find".into(), "w".into()],
            timeout: Duration::from_secs(3)
        }
    );
    let FindMe::Command { command, timeout } = find_me("{ command = [\"find-w\"] }") else {
        panic!("a command")
    };
    assert_eq!((command, timeout), (vec!["find-w".to_owned()], Duration::from_secs(1)));
}

#[test]
fn reads_each_source_of_hydration() {
    let hydrate = |form: &str| {
        let text = table_with(&format!("hydrate = {form}"));
        parse(&text).tables.remove(0).hydrate.expect("given").source
    };
    let format = |form: &str| match hydrate(form) {
        HydrateSource::File { format, .. } | HydrateSource::Command { format, .. } => format,
        other => panic!("{other:?}"),
    };
    assert_eq!(format("{ file = \"x.redb\", table = \"old\" }"), HydrateFormat::Redb { table: "old".into() });
    assert_eq!(format("{ file = \"x.csv\" }"), HydrateFormat::Csv { key: None, value: None });
    let columns = HydrateFormat::Csv { key: Some("a".into()), value: Some("b".into()) };
    assert_eq!(format("{ file = \"x.txt\", format = \"csv\", key = \"a\", value = \"b\" }"), columns);
    let fields = HydrateFormat::JsonLines { key: "key".into(), value: "value".into() };
    assert_eq!(format("{ file = \"x.jsonl\" }"), fields);
    assert_eq!(format("{ file = \"x.dump\" }"), HydrateFormat::Dump);
    assert_eq!(format("{ command = [\"./export\"] }"), HydrateFormat::Csv { key: None, value: None });
}

#[test]
fn unknown_keys_are_mistakes_with_what_was_meant() {
    one_mistake("[[tabel]]\nid = \"t\"\n", (1, 3), "`tabel`", Some("did you mean `table`?"));
    one_mistake("[supervisor]\nstratgy = \"one_for_one\"\n", (2, 1), "`stratgy`", Some("`strategy`"));
    one_mistake(&table_with("findme = \"any\""), (5, 1), "`findme`", Some("`find_me`"));
    one_mistake(&worker_with("colour = 1"), (4, 1), "`colour`", Some("`instances`"));
    // The key that is missing under its right name is not told as well.
    one_mistake(
        "[[table]]\nid = \"t\"\ntype = \"set\"\nmax_byte = \"1MiB\"\n",
        (4, 1),
        "",
        Some("`max_bytes`"),
    );
}

#[test]
fn wrong_types_say_what_is_wanted() {
    one_mistake("supervisor = 1\n", (1, 14), "must be a table", Some("[supervisor]"));
    one_mistake("[table]\nid = \"t\"\n", (1, 1), "a list of tables", Some("[[table]]"));
    one_mistake("[supervisor]\nintensity = \"5\"\n", (2, 13), "a whole number", Some("5 without quotes"));
    one_mistake("[supervisor]\nintensity = -1\n", (2, 13), "between 0 and", None);
    one_mistake(&table_with("find_me = 7"), (5, 11), "not a whole number", None);
    one_mistake(&worker_with("external = \"true\""), (4, 12), "true or false", Some("without quotes"));
    one_mistake(&worker_with("env = { A = 1 }"), (4, 13), "`A` must be text", None);
    let command = "[[worker]]\nname = \"w\"\ncommand = \"sleep 5\"\n";
    one_mistake(command, (3, 11), "a list", Some(r#"["sleep", "5"]"#));
}

#[test]
fn missing_keys_are_told_at_their_table() {
    let found = mistakes("\n[[table]]\n\n[[worker]]\n");
    let told: Vec<_> = found.iter().map(|m| (m.line, m.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "[[table]] needs `id`"),
            (2, "[[table]] needs `type`"),
            (2, "[[table]] needs `max_bytes`"),
            (4, "[[worker]] needs `name`"),
            (4, "[[worker]] needs `command`"),
        ]
    );
}

#[test]
fn sizes_and_durations_need_units_and_sense() {
    let size = |value: &str| format!("[[table]]\nid = \"t\"\ntype = \"set\"\nmax_bytes = {value}\n");
    one_mistake(&size("67108864"), (4, 13), "a size in quotes", Some("\"67108864B\""));
    one_mistake(&size("\"64MB\""), (4, 13), "`MB` is not a unit", Some("\"64MiB\""));
    one_mistake(&size("\"64\""), (4, 13), "no unit", None);
    one_mistake(&size("\"4KiB\""), (4, 13), "at least 256KiB", None);
    one_mistake(&size("\"1TiB\""), (4, 13), "at most 64GiB", None);
    one_mistake("[supervisor]\nperiod = 5\n", (2, 10), "a duration in quotes", Some("\"5s\""));
    one_mistake("[supervisor]\nperiod = \"0s\"\n", (2, 10), "at least 1us", None);
    one_mistake(&table_with("lease = \"10ms\""), (5, 9), "at least 100ms", None);
    let back_off = worker_with("back_off = { first = \"5s\", most = \"1s\" }");
    one_mistake(&back_off, (4, 35), "at least 5s", None);
}

#[test]
fn names_are_unique_short_and_plain() {
    let two = "[[worker]]\nname = \"w\"\nexternal = true\n[[worker]]\nname = \"w\"\nexternal = true\n";
    one_mistake(two, (5, 8), "`w` is already declared in line 2", None);
    let tables = format!("{}{}", table_with(""), table_with(""));
    one_mistake(&tables, (7, 6), "table `t` is already declared in line 2", None);
    let odd = "[[worker]]\nname = \"sale tracker\"\nexternal = true\n";
    one_mistake(odd, (2, 8), "ASCII letters", Some("\"sale_tracker\""));
    let long = format!("[[worker]]\nname = \"{}\"\nexternal = true\n", "x".repeat(129));
    one_mistake(&long, (2, 8), "129 bytes long", None);
    one_mistake("[[worker]]\nname = \"\"\nexternal = true\n", (2, 8), "must not be empty", None);
}

#[test]
fn find_me_must_name_a_worker_that_is_declared() {
    let find = |declared: &str| {
        format!(
            "{}[[worker]]\nname = \"{declared}\"\nexternal = true\n",
            table_with("find_me = { name = \"tracker\" }")
        )
    };
    parse(&find("tracker"));
    one_mistake(&find("traker"), (5, 20), "no [[worker]] has the name `tracker`", Some("\"traker\""));
    one_mistake(&find("x"), (5, 20), "`tracker`", Some("external = true"));
    let both = table_with("find_me = { name = \"w\", pid_file = \"p\" }");
    one_mistake(&both, (5, 11), "one of `name`, `command` and `pid_file`", None);
    one_mistake(&table_with("find_me = {}"), (5, 11), "\"any\"", None);
    one_mistake(&table_with("find_me = \"w\""), (5, 11), "\"any\"", Some("{ name = \"w\" }"));
    one_mistake(&table_with("find_me = { nam = \"w\" }"), (5, 13), "`nam`", Some("`name`"));
}

#[test]
fn words_out_of_a_few_are_checked() {
    one_mistake("[supervisor]\nstrategy = \"one_for_al\"\n", (2, 12), "one of", Some("\"one_for_all\""));
    one_mistake(&worker_with("restart = \"always\""), (4, 11), "\"permanent\"", None);
    one_mistake(
        &worker_with("shutdown = \"brutal\""),
        (4, 12),
        "not a whole number with a unit",
        Some("250ms"),
    );
    for kind in ["set", "ordered_set", "bag", "duplicate_bag"] {
        let text = format!("[[table]]\nid = \"t\"\ntype = \"{kind}\"\nmax_bytes = \"1MiB\"\n");
        let config = Config::parse(&text, Path::new("/etc/h.toml")).unwrap();
        assert_eq!(config.tables[0].kind.name(), kind);
    }
    let misspelt = "[[table]]\nid = \"t\"\ntype = \"orderd_set\"\nmax_bytes = \"1MiB\"\n";
    one_mistake(misspelt, (3, 8), "one of", Some("\"ordered_set\""));
    one_mistake(&table_with("snapshot_max_age = \"0s\""), (5, 20), "", None);
    one_mistake(&table_with("durability = \"interval\""), (5, 14), "interval", Some("every"));
    one_mistake(&table_with("durability = { mode = \"commit\", every = \"1s\" }"), (5, 41), "`every`", None);
    one_mistake(&table_with("access = \"public\""), (5, 10), "not there yet", Some("protected"));
}

#[test]
fn hydration_must_be_told_in_full() {
    one_mistake(&table_with("hydrate = { file = \"x.dat\" }"), (5, 20), "x.dat", Some(".redb"));
    one_mistake(&table_with("hydrate = \"x.redb\""), (5, 11), "a table", Some("{ file = \"x.redb\" }"));
    one_mistake(&table_with("hydrate = { file = \"x\", format = \"xml\" }"), (5, 34), "\"jsonl\"", None);
    one_mistake(
        &table_with("hydrate = { file = \"x.csv\", table = \"t\" }"),
        (5, 37),
        "`table` is for redb",
        None,
    );
    let redb = table_with("hydrate = { command = [\"x\"], format = \"redb\" }");
    one_mistake(&redb, (5, 23), "cannot print a redb", Some("jsonl"));
    one_mistake(&table_with("hydrate = { file = \"x.csv\", command = [\"x\"] }"), (5, 11), "either", None);
}

#[test]
fn gifts_are_bounded_and_fit_into_json() {
    let large = table_with(&format!("gift_data = \"{}\"", "x".repeat(64 * 1024)));
    one_mistake(&large, (5, 13), "65538 bytes", Some("table"));
    one_mistake(&table_with("gift_data = { a = nan }"), (5, 19), "JSON has no nan", None);
}

#[test]
fn what_is_run_elsewhere_is_not_told_how() {
    let both = worker_with("external = true");
    one_mistake(&both, (3, 11), "`command` is for workers that are started here", Some("remove"));
    one_mistake(
        &worker_with("env = { HEIRLOOM_SOCKET = \"x\" }"),
        (4, 9),
        "set by the supervisor",
        Some("remove"),
    );
    let long = format!("[supervisor]\nsocket = \"/{}\"\n", "x".repeat(120));
    one_mistake(&long, (2, 10), "at most 100", None);
}

#[test]
fn all_mistakes_of_a_file_are_found_at_once_syntax_errors_too() {
    let found = mistakes(
        "[supervisor]\nperiod = 5\nstrategy = \n\n[[table]]\nid = \"t\"\ntype = \"sett\"\nmax_bytes = 1\nfind_me = { nam = \"w\" }\n",
    );
    assert_eq!(found.iter().map(|m| m.line).collect::<Vec<_>>(), [2, 3, 7, 8, 9], "{found}");
    let text = found.to_string();
    assert!(text.starts_with("h.toml:2:10: `period` must be"), "{text}");
}

const WHOLE: &str = r#"
[supervisor]
strategy = "rest_for_one"
period = "1min"
[manager]
grace = "2s"
[[table]]
id = "sales"
type = "set"
max_bytes = "1GiB"
hydrate = { file = "x.csv", when = "always", key = "a" }
find_me = { name = "w" }
gift_data = { currency = "USD", rounds = [1, 2.5] }
durability = { mode = "interval", every = "1s" }
owner = { users = ["app"] }
[[worker]]
name = "w"
command = ["/bin/w", "--fast"]
back_off = { first = "1ms", most = "20ms" }
env = { A = "b" }
"#;

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_has_mistakes_inside_it(
        damages in prop::collection::vec((any::<prop::sample::Index>(), "[a-z0-9=\"'{}\\[\\],.\n#ä -]{0,6}"), 1..6),
    ) {
        let mut characters: Vec<char> = WHOLE.chars().collect();
        for (place, damage) in damages {
            let place = place.index(characters.len());
            let end = (place + damage.len()).min(characters.len());
            characters.splice(place..end, damage.chars());
        }
        let text: String = characters.into_iter().collect();
        if let Err(found) = Config::parse(&text, Path::new("h.toml")) {
            prop_assert!(!found.is_empty());
            for mistake in found.iter() {
                let line = text.split('\n').nth(mistake.line - 1);
                prop_assert!(line.is_some_and(|line| mistake.column <= line.chars().count() + 1), "{mistake}\n{text}");
            }
        }
    }
}

#[test]
fn garbage_is_mistakes_and_nothing_else() {
    for text in
        ["\u{feff}", "=", "[[[", "\"", "a = [", "]]", "[a.b", "\u{0}", "a = 1\na = 2", "[[table]]\n[table]"]
    {
        let result = Config::parse(text, Path::new("h.toml"));
        assert!(result.is_err() || text == "\u{feff}", "{text:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    let found = Config::load(Path::new("/nowhere/h.toml")).expect_err("no file");
    assert_eq!((found.len(), found[0].line), (1, 0));
    assert!(found.to_string().starts_with("/nowhere/h.toml: the file cannot be read:"), "{found}");
}

#[test]
fn warns_of_what_is_accepted_but_not_active() {
    let text = format!(
        "{}[[worker]]\nname = \"w\"\ncommand = [\"no-such-program\"]\nuser = \"no-such-user\"\n",
        table_with(
            "durability = \"commit\"\nhydrate = { command = [\"/bin/true\"], when = \"always\" }\nreaders = { groups = [\"no-such-group\"] }"
        ),
    );
    let warnings = parse(&text).warnings();
    for words in ["what is on disk of it is never read", "no-such-group", "no-such-user", "no-such-program"] {
        assert_eq!(warnings.iter().filter(|w| w.contains(words)).count(), 1, "{words}: {warnings:?}");
    }
    assert!(parse("").warnings().is_empty());
}
