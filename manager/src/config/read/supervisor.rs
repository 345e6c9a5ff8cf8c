//! `[supervisor]` and `[manager]`.

use super::Context;
use super::section::Section;
use super::value::{self, Value};
use crate::config::MAX_SOCKET_PATH_BYTES;
use crate::config::{ManagerConfig, Strategy, SupervisorConfig};
use std::path::PathBuf;
use std::time::Duration;

const STRATEGIES: [(&str, Strategy); 3] = [
    ("one_for_one", Strategy::OneForOne),
    ("rest_for_one", Strategy::RestForOne),
    ("one_for_all", Strategy::OneForAll),
];

pub(super) fn supervisor(mut section: Section<'_, '_>, cx: &mut Context<'_>) -> SupervisorConfig {
    let default = SupervisorConfig::default();
    let config = SupervisorConfig {
        strategy: section
            .optional("strategy", cx, |value, cx| value::one_of(value, &STRATEGIES, cx))
            .unwrap_or(default.strategy),
        intensity: section
            .optional("intensity", cx, |value, cx| value::number(value, 0, 1_000_000, cx))
            .unwrap_or(default.intensity),
        period: section.optional("period", cx, value::positive_duration).unwrap_or(default.period),
        crash_loop_retry: section
            .optional("crash_loop_retry", cx, crash_loop_retry)
            .unwrap_or(default.crash_loop_retry),
        socket: section.optional("socket", cx, socket),
    };
    section.finish(cx);
    config
}

pub(super) fn manager(mut section: Section<'_, '_>, cx: &mut Context<'_>) -> ManagerConfig {
    let default = ManagerConfig::default();
    let config = ManagerConfig {
        grace: section.optional("grace", cx, value::duration).unwrap_or(default.grace),
        offer_timeout: section
            .optional("offer_timeout", cx, value::positive_duration)
            .unwrap_or(default.offer_timeout),
        recall_timeout: section
            .optional("recall_timeout", cx, value::positive_duration)
            .unwrap_or(default.recall_timeout),
        shutdown: section.optional("shutdown", cx, value::positive_duration).unwrap_or(default.shutdown),
        watchdog: section.optional("watchdog", cx, watchdog).unwrap_or(default.watchdog),
        store: section.optional("store", cx, |value, cx| value::path(value, cx).map(|path| cx.resolve(path))),
    };
    section.finish(cx);
    config
}

fn crash_loop_retry(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Option<Duration>> {
    or_word(value, "never", cx)
}

fn watchdog(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Option<Duration>> {
    or_word(value, "off", cx)
}

/// A time, or the word that says that there is none.
fn or_word(value: Value<'_, '_>, none: &str, cx: &mut Context<'_>) -> Option<Option<Duration>> {
    if value.get().as_str() == Some(none) {
        return Some(None);
    }
    value::positive_duration(value, cx).map(Some)
}

fn socket(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    let path = value::path(value, cx)?;
    let path = cx.resolve(path);
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH_BYTES {
        let message = format!(
            "`{}` is {length} bytes long, folder included; at most {MAX_SOCKET_PATH_BYTES} are possible",
            value.key
        );
        cx.report.add(value.span(), message);
        return None;
    }
    Some(path)
}
