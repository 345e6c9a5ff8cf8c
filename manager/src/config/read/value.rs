//! Single values: each function takes a value of one type out of the document, or notes why it is not one.

use super::Context;
use super::units::{self, UnitError};
use heirloom_protocol::message::MAX_NAME_BYTES;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A value with the key it was given for, which the messages name.
#[derive(Clone, Copy)]
pub(super) struct Value<'d, 'i> {
    pub(super) key: &'d str,
    pub(super) value: &'d Spanned<DeValue<'i>>,
}

impl<'d, 'i> Value<'d, 'i> {
    pub(super) fn get(&self) -> &'d DeValue<'i> {
        self.value.get_ref()
    }

    pub(super) fn span(&self) -> std::ops::Range<usize> {
        self.value.span()
    }

    /// Notes that the value is of another type than `wanted`, which reads like `text` or `a whole number`.
    pub(super) fn wrong_type(&self, wanted: &str, cx: &mut Context<'_>, suggestion: Option<String>) {
        let found = match self.get() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        cx.report.add_with(self.span(), format!("`{}` must be {wanted}, not {found}", self.key), suggestion);
    }

    fn wrong_unit(&self, error: UnitError, cx: &mut Context<'_>) {
        cx.report.add_with(self.span(), format!("`{}`: {}", self.key, error.message), error.suggestion);
    }

    pub(super) fn too_small(&self, least: &str, cx: &mut Context<'_>) {
        cx.report.add(self.span(), format!("`{}` must be at least {least}", self.key));
    }
}

pub(super) fn text<'d>(value: Value<'d, '_>, cx: &mut Context<'_>) -> Option<&'d str> {
    let Some(text) = value.get().as_str() else {
        value.wrong_type("text in quotes", cx, None);
        return None;
    };
    if text.is_empty() || text.contains('\0') {
        let problem = if text.is_empty() { "be empty" } else { "contain a zero byte" };
        cx.report.add(value.span(), format!("`{}` must not {problem}", value.key));
        return None;
    }
    Some(text)
}

pub(super) fn string(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<String> {
    text(value, cx).map(str::to_owned)
}

/// A path, as it is written.
pub(super) fn path(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<PathBuf> {
    text(value, cx).map(PathBuf::from)
}

/// The name of a table or a worker.
pub(super) fn name(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<String> {
    let name = text(value, cx)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.len() > MAX_NAME_BYTES {
        let (length, key) = (name.len(), value.key);
        cx.report.add(
            value.span(),
            format!("`{key}` is {length} bytes long; at most {MAX_NAME_BYTES} are allowed"),
        );
        return None;
    }
    if !name.chars().all(allowed) || name.starts_with(['.', '-']) {
        let plain: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        let plain = plain.trim_start_matches(['.', '-']).to_owned();
        cx.report.add_with(
            value.span(),
            format!(
                "`{}` may hold ASCII letters, digits, `_`, `-` and `.`, and starts with none of the last two",
                value.key
            ),
            plain.chars().any(|c| c.is_ascii_alphanumeric()).then(|| format!("did you mean \"{plain}\"?")),
        );
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn boolean(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<bool> {
    let boolean = value.get().as_bool();
    if boolean.is_none() {
        let meant = match value.get().as_str() {
            Some(text @ ("true" | "false")) => Some(format!("write {text} without quotes")),
            _ => None,
        };
        value.wrong_type("true or false", cx, meant);
    }
    boolean
}

/// A whole number between `least` and `most`.
pub(super) fn number(value: Value<'_, '_>, least: u32, most: u32, cx: &mut Context<'_>) -> Option<u32> {
    let Some(integer) = value.get().as_integer() else {
        let meant = value.get().as_str().and_then(|text| text.parse::<u32>().ok());
        value.wrong_type("a whole number", cx, meant.map(|number| format!("write {number} without quotes")));
        return None;
    };
    let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
    let number = number.and_then(|number| u32::try_from(number).ok()).filter(|n| (least..=most).contains(n));
    if number.is_none() {
        cx.report.add(value.span(), format!("`{}` must be between {least} and {most}", value.key));
    }
    number
}

/// A size with its unit, in bytes.
pub(super) fn bytes(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<u64> {
    let text = unit_text(value, "a size in quotes, like \"64MiB\"", "B", cx)?;
    units::bytes(text).map_err(|error| value.wrong_unit(error, cx)).ok()
}

/// A duration with its unit, zero included.
pub(super) fn duration(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Duration> {
    let text = unit_text(value, "a duration in quotes, like \"250ms\"", "s", cx)?;
    units::duration(text).map_err(|error| value.wrong_unit(error, cx)).ok()
}

/// A duration with its unit, longer than zero.
pub(super) fn positive_duration(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Duration> {
    let duration = duration(value, cx)?;
    if duration.is_zero() {
        value.too_small("1us", cx);
        return None;
    }
    Some(duration)
}

/// A bare number is the most likely slip: it is shown with the unit that is most likely meant.
fn unit_text<'d>(value: Value<'d, '_>, wanted: &str, unit: &str, cx: &mut Context<'_>) -> Option<&'d str> {
    let text = value.get().as_str();
    if text.is_none() {
        let bare = value.get().as_integer().filter(|integer| integer.radix() == 10);
        value.wrong_type(wanted, cx, bare.map(|n| format!("did you mean \"{}{unit}\"?", n.as_str())));
    }
    text
}

/// A list of texts.
pub(super) fn strings(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    let Some(list) = value.get().as_array() else {
        let meant = value.get().as_str().map(|text| format!("did you mean [{text:?}]?"));
        value.wrong_type("a list of texts", cx, meant);
        return None;
    };
    let key = value.key;
    let mut whole = true;
    let mut strings = Vec::with_capacity(list.len());
    for value in list {
        let value = Value { key, value };
        match value.get().as_str() {
            Some(text) if !text.contains('\0') => strings.push(text.to_owned()),
            Some(_) => {
                cx.report.add(value.span(), format!("`{key}` must not contain a zero byte"));
                whole = false;
            }
            None => {
                value.wrong_type("a list of texts in quotes", cx, None);
                whole = false;
            }
        }
    }
    whole.then_some(strings)
}

/// A program and its arguments, as a list: no shell stands between, so nothing has to be quoted twice.
pub(super) fn command(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Vec<String>> {
    if let Some(line) = value.get().as_str() {
        let words: Vec<&str> = line.split_whitespace().collect();
        value.wrong_type(
            "a list of a program and its arguments",
            cx,
            Some(format!("did you mean {words:?}?")),
        );
        return None;
    }
    let command = strings(value, cx)?;
    if command.first().is_none_or(String::is_empty) {
        cx.report.add(value.span(), format!("`{}` must name a program", value.key));
        return None;
    }
    Some(command)
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(value: Value<'_, '_>, words: &[(&str, T)], cx: &mut Context<'_>) -> Option<T> {
    let all = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let Some(text) = value.get().as_str() else {
        value.wrong_type(&format!("one of {}", all()), cx, None);
        return None;
    };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let near = super::suggest::nearest(text, words.iter().map(|(word, _)| *word));
        cx.report.add_with(
            value.span(),
            format!("`{}` must be one of {}, not {text:?}", value.key, all()),
            near.map(|near| format!("did you mean \"{near}\"?")),
        );
    }
    found
}
