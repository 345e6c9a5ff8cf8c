//! `gift_data`: any TOML value, handed on as JSON.

use super::Context;
use super::value::Value;
use heirloom_protocol::message::MAX_GIFT_BYTES;
use serde_json::Value as Json;
use toml::de::DeValue;

/// The gift as JSON text.
pub(super) fn json(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<String> {
    let text = convert(value, cx)?.to_string();
    if text.len() > MAX_GIFT_BYTES {
        let message =
            format!("`gift_data` is {} bytes long as JSON; at most {MAX_GIFT_BYTES} are allowed", text.len());
        cx.report.add_with(value.span(), message, Some("keep it in a table, and give its id".to_owned()));
        return None;
    }
    Some(text)
}

fn convert(value: Value<'_, '_>, cx: &mut Context<'_>) -> Option<Json> {
    let key = value.key;
    Some(match value.get() {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Boolean(boolean) => Json::from(*boolean),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Integer(integer) => {
            let Ok(number) = i64::from_str_radix(integer.as_str(), integer.radix()) else {
                cx.report.add(value.span(), format!("`{key}`: {integer} does not fit into 64 bits"));
                return None;
            };
            Json::from(number)
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            let Some(number) = number else {
                cx.report.add(value.span(), format!("`{key}`: JSON has no {float}"));
                return None;
            };
            Json::Number(number)
        }
        DeValue::Array(list) => {
            let items: Vec<_> = list.iter().map(|value| convert(Value { key, value }, cx)).collect();
            Json::Array(items.into_iter().collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let fields: Vec<_> = table
                .iter()
                .map(|(name, value)| {
                    let key = name.get_ref().as_ref();
                    convert(Value { key, value }, cx).map(|value| (key.to_owned(), value))
                })
                .collect();
            Json::Object(fields.into_iter().collect::<Option<_>>()?)
        }
    })
}
