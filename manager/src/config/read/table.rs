//! `[[table]]`.

use super::section::Section;
use super::value::{self, Value};
use super::{Context, gift, hydrate};
use crate::config::{Access, Durability, FindMe, Grant, HydrateWhen, TableConfig};
use heirloom_protocol::table::{Kind, MAX_BYTES, MIN_BYTES};
use std::time::Duration;

/// How long a find-me command may run, where nothing is said.
const DEFAULT_FIND_ME_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a snapshot may be held, where nothing is said.
pub(crate) const DEFAULT_SNAPSHOT_MAX_AGE: Duration = Duration::from_secs(60);

/// A healthy worker may have no turn for some ten milliseconds, and the manager looks eight times in a lease.
const MIN_LEASE: Duration = Duration::from_millis(100);

pub(super) fn table(mut section: Section<'_, '_>, cx: &mut Context<'_>) -> Option<TableConfig> {
    let id = section.required("id", "\"sales\"", cx, |value, cx| {
        let id = value::name(value, cx)?;
        cx.tables.push((id.clone(), value.span()));
        Some(id)
    });
    let kind = section.required("type", "\"set\"", cx, kind);
    let max_bytes = section.required("max_bytes", "\"64MiB\"", cx, max_bytes);
    let find_me = section.optional("find_me", cx, find_me);
    let gift_data = section.optional("gift_data", cx, gift::json);
    let durability = section.optional("durability", cx, durability).unwrap_or(Durability::Memory);
    // What a durable table has become is worth more than what it once began with.
    let when = if durability == Durability::Memory { HydrateWhen::Always } else { HydrateWhen::IfEmpty };
    let hydrate =
        section.optional("hydrate", cx, |value, cx| hydrate::hydrate(value, id.as_deref(), when, cx));
    let lease = section.optional("lease", cx, lease);
    let access = section.optional("access", cx, access);
    let snapshot_max_age = section.optional("snapshot_max_age", cx, value::positive_duration);
    let owner = section.optional("owner", cx, grant);
    let readers = section.optional("readers", cx, grant);
    section.finish(cx);
    Some(TableConfig {
        id: id?,
        kind: kind?,
        max_bytes: max_bytes?,
        find_me,
        gift_data: gift_data.unwrap_or_default(),
        hydrate,
        durability,
        lease,
        access: access.unwrap_or(Access::Protected),
        snapshot_max_age: snapshot_max_age.unwrap_or(DEFAULT_SNAPSHOT_MAX_AGE),
        owner: owner.unwrap_or_default(),
        readers: readers.unwrap_or_default(),
    })
}

fn kind(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Kind> {
    let kinds = [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag];
    value::one_of(value, &kinds.map(|kind| (kind.name(), kind)), cx)
}

fn max_bytes(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<u64> {
    let bytes = value::bytes(value, cx)?;
    if bytes < MIN_BYTES {
        value.too_small(&format!("{}KiB", MIN_BYTES.div_ceil(1024)), cx);
        return None;
    }
    if bytes > MAX_BYTES {
        cx.report.add(value.span(), format!("`max_bytes` must be at most {}GiB", MAX_BYTES >> 30));
        return None;
    }
    Some(bytes)
}

fn find_me(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<FindMe> {
    let forms = "\"any\" or one of { name = .. }, { command = [..] }, { pid_file = .. }";
    if let Some(text) = value.get().as_str() {
        if text == "any" {
            return Some(FindMe::Any);
        }
        let message = format!("`find_me` must be {forms}");
        cx.report.add_with(value.span(), message, Some(format!("did you mean {{ name = {text:?} }}?")));
        return None;
    }
    let Some(mut section) = Section::of("`find_me`", value.value) else {
        value.wrong_type(forms, cx, None);
        return None;
    };
    let name = section.get("name");
    let command = section.get("command");
    let pid_file = section.get("pid_file");
    let timeout = section.get("timeout");
    if let (Some(timeout), None) = (timeout, command) {
        cx.report.add(timeout.span(), "`timeout` is for a `find_me` with a `command`");
    }
    let found = match (name, command, pid_file) {
        (Some(name), None, None) => find_by_name(name, cx),
        (None, Some(command), None) => find_by_command(command, timeout, cx),
        (None, None, Some(file)) => value::path(file, cx).map(|path| FindMe::PidFile(cx.resolve(path))),
        (None, None, None) if section.is_empty() => {
            cx.report.add(value.span(), format!("`find_me` must be {forms}"));
            None
        }
        // One misspelt key: it is told below.
        (None, None, None) => None,
        _ => {
            cx.report.add(value.span(), "`find_me` takes one of `name`, `command` and `pid_file`");
            None
        }
    };
    section.finish(cx);
    found
}

fn find_by_name(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<FindMe> {
    let name = value::name(value, cx)?;
    cx.sought.push((name.clone(), value.span()));
    Some(FindMe::Name(name))
}

fn find_by_command(
    command: Value<'_, '_>,
    timeout: Option<Value<'_, '_>>,
    cx: &mut Context<'_>,
) -> Option<FindMe> {
    let command = value::command(command, cx);
    let timeout = match timeout {
        Some(timeout) => value::positive_duration(timeout, cx)?,
        None => DEFAULT_FIND_ME_TIMEOUT,
    };
    Some(FindMe::Command { command: cx.resolve_program(command?), timeout })
}

fn durability(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Durability> {
    let modes = [("memory", Mode::Memory), ("interval", Mode::Interval), ("commit", Mode::Commit)];
    if value.get().is_str() {
        return match value::one_of(value, &modes, cx)? {
            Mode::Memory => Some(Durability::Memory),
            Mode::Commit => Some(Durability::Commit),
            Mode::Interval => {
                let example = "write { mode = \"interval\", every = \"1s\" }".to_owned();
                cx.report.add_with(value.span(), "the interval is not said", Some(example));
                None
            }
        };
    }
    let Some(mut section) = Section::of("`durability`", value.value) else {
        value.wrong_type("a table", cx, Some("such as { mode = \"interval\", every = \"1s\" }".to_owned()));
        return None;
    };
    let mode = section.required("mode", "\"interval\"", cx, |value, cx| value::one_of(value, &modes, cx));
    let durability = match mode {
        Some(Mode::Interval) => section
            .required("every", "\"1s\"", cx, value::positive_duration)
            .map(|every| Durability::Interval { every }),
        other => {
            if let Some(every) = section.get("every")
                && other.is_some()
            {
                cx.report.add(every.span(), "`every` is for the mode \"interval\"");
            }
            other.map(|mode| if mode == Mode::Commit { Durability::Commit } else { Durability::Memory })
        }
    };
    section.finish(cx);
    durability
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Memory,
    Interval,
    Commit,
}

fn lease(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Duration> {
    let lease = value::positive_duration(value, cx)?;
    if lease < MIN_LEASE {
        value.too_small("100ms", cx);
        return None;
    }
    Some(lease)
}

fn access(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Access> {
    if value.get().as_str() == Some("public") {
        let message = "tables that everybody writes are not there yet";
        cx.report.add_with(value.span(), message, Some("\"protected\" and \"private\" are".to_owned()));
        return None;
    }
    value::one_of(value, &[("protected", Access::Protected), ("private", Access::Private)], cx)
}

fn grant(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Grant> {
    if value.get().as_str() == Some("anyone") {
        return Some(Grant { anyone: true, ..Grant::default() });
    }
    let Some(mut section) = Section::of("a grant", value.value) else {
        let example = "such as { users = [\"app\"], groups = [\"staff\"] }".to_owned();
        value.wrong_type("\"anyone\" or a table", cx, Some(example));
        return None;
    };
    let users = section.optional("users", cx, value::strings).unwrap_or_default();
    let groups = section.optional("groups", cx, value::strings).unwrap_or_default();
    section.finish(cx);
    Some(Grant { anyone: false, users, groups })
}
