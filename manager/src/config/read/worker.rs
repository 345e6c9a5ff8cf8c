//! `[[worker]]`.

use super::Context;
use super::section::Section;
use super::value::{self, Value};
use crate::config::{BackOff, ChildConfig, Restart, Shutdown, Start, WorkerConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// More processes of one worker are a slip of the finger.
const MAX_INSTANCES: u32 = 1000;

const DEFAULT_SHUTDOWN: Shutdown = Shutdown::After(Duration::from_secs(5));

const RESTARTS: [(&str, Restart); 3] =
    [("permanent", Restart::Permanent), ("transient", Restart::Transient), ("temporary", Restart::Temporary)];

/// The keys that say how a child is run: they make no sense where somebody else runs it.
const CHILD_KEYS: [&str; 7] = ["command", "instances", "restart", "shutdown", "back_off", "env", "folder"];

pub(super) fn worker(mut section: Section<'_, '_>, cx: &mut Context<'_>) -> Option<WorkerConfig> {
    let name = section.required("name", "\"sale_tracker\"", cx, |value, cx| {
        let name = value::name(value, cx)?;
        cx.workers.push((name.clone(), value.span()));
        Some(name)
    });
    let user = section.optional("user", cx, user);
    let external = section.optional("external", cx, value::boolean);
    let start = if external == Some(true) {
        refuse_child_keys(&mut section, cx);
        Some(Start::External)
    } else {
        child(&mut section, cx).map(Start::Child)
    };
    section.finish(cx);
    Some(WorkerConfig { name: name?, user, start: start? })
}

fn refuse_child_keys(section: &mut Section<'_, '_>, cx: &mut Context<'_>) {
    for key in CHILD_KEYS {
        if let Some(value) = section.get(key) {
            let message = format!("`{key}` is for workers that are started here; this one is external");
            cx.report.add_with(value.span(), message, Some(format!("remove `{key}` or `external`")));
        }
    }
}

fn child(section: &mut Section<'_, '_>, cx: &mut Context<'_>) -> Option<ChildConfig> {
    let command =
        section.required("command", "[\"/usr/bin/sale_tracker\"]`, or `external = true", cx, value::command);
    let instances = section.optional("instances", cx, |value, cx| value::number(value, 1, MAX_INSTANCES, cx));
    let restart = section.optional("restart", cx, |value, cx| value::one_of(value, &RESTARTS, cx));
    let shutdown = section.optional("shutdown", cx, shutdown);
    let back_off = section.optional("back_off", cx, back_off);
    let env = section.optional("env", cx, environment);
    let folder = section.optional("folder", cx, value::path);
    Some(ChildConfig {
        command: cx.resolve_program(command?),
        instances: instances.unwrap_or(1),
        restart: restart.unwrap_or(Restart::Permanent),
        shutdown: shutdown.unwrap_or(DEFAULT_SHUTDOWN),
        back_off: back_off.unwrap_or_default(),
        env: env.unwrap_or_default(),
        folder: folder.map_or_else(|| cx.folder.to_owned(), |folder| cx.resolve(folder)),
    })
}

/// A user by name, or by number, which may be written with or without quotes.
fn user(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<String> {
    match value.get().as_integer() {
        Some(_) => value::number(value, 0, u32::MAX - 1, cx).map(|uid| uid.to_string()),
        None => value::string(value, cx),
    }
}

fn shutdown(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Shutdown> {
    match value.get().as_str() {
        Some("brutal_kill") => Some(Shutdown::BrutalKill),
        _ => value::duration(value, cx).map(Shutdown::After),
    }
}

fn back_off(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<BackOff> {
    let Some(mut section) = Section::of("`back_off`", value.value) else {
        value.wrong_type("a table", cx, Some("such as { first = \"50ms\", most = \"10s\" }".to_owned()));
        return None;
    };
    let default = BackOff::default();
    let first = section.optional("first", cx, value::duration);
    let most = section.get("most");
    let most = most.and_then(|value| value::duration(value, cx).map(|most| (most, value)));
    section.finish(cx);
    let first = first.unwrap_or(default.first);
    match most {
        Some((most, value)) if most < first => {
            value.too_small(&format!("{first:?}, the first wait"), cx);
            None
        }
        Some((most, _)) => Some(BackOff { first, most }),
        None => Some(BackOff { first, most: default.most.max(first) }),
    }
}

fn environment(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<BTreeMap<String, String>> {
    let Some(table) = value.get().as_table() else {
        value.wrong_type("a table", cx, Some("such as { RUST_LOG = \"info\" }".to_owned()));
        return None;
    };
    let mut variables = BTreeMap::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if name.is_empty() || name.contains(['=', '\0']) {
            cx.report.add(key.span(), format!("{name:?} cannot be the name of an environment variable"));
        } else if name.starts_with("HEIRLOOM_") {
            let message = format!("`{name}` is set by the supervisor for every child");
            cx.report.add_with(key.span(), message, Some("remove it".to_owned()));
        }
        match value.get_ref().as_str() {
            Some(text) if !text.contains('\0') => {
                variables.insert(name.to_owned(), text.to_owned());
            }
            Some(_) => cx.report.add(value.span(), format!("`{name}` must not contain a zero byte")),
            None => Value { key: name, value }.wrong_type("text in quotes", cx, None),
        }
    }
    Some(variables)
}
