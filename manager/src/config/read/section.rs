//! One table of the document, taken apart key by key; what nobody asked for is a mistake.

use super::Context;
use super::suggest::nearest;
use super::value::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of the document whose keys are being read.
pub(super) struct Section<'d, 'i> {
    /// What messages call it: "[[table]]", "`find_me`".
    what: &'d str,
    span: Range<usize>,
    table: &'d DeTable<'i>,
    /// Every key that was asked for: the known ones.
    known: Vec<&'static str>,
}

impl<'d, 'i> Section<'d, 'i> {
    pub(super) fn new(what: &'d str, span: Range<usize>, table: &'d DeTable<'i>) -> Self {
        Self { what, span, table, known: Vec::new() }
    }

    /// The section that a value is, if it is a table.
    pub(super) fn of(what: &'d str, value: &'d Spanned<DeValue<'i>>) -> Option<Self> {
        value.get_ref().as_table().map(|table| Self::new(what, value.span(), table))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, where it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'d, 'i>> {
        self.known.push(key);
        self.table.get(key).map(|value| Value { key, value })
    }

    /// Reads a key that may be left out. `None` also where it is wrong, which `read` has noted then.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        cx: &mut Context<'_>,
        read: impl FnOnce(Value<'d, 'i>, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|value| read(value, cx))
    }

    /// Reads a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        cx: &mut Context<'_>,
        read: impl FnOnce(Value<'d, 'i>, &mut Context<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key);
        if value.is_none() {
            // A misspelt key is told as such; that it is missing under its right name is the same mistake.
            let misspelt = self.table.keys().any(|found| nearest(found.get_ref(), [key]).is_some());
            if !misspelt {
                let message = format!("{} needs `{key}`", self.what);
                cx.report.add_absence(self.span(), message, Some(format!("such as `{key} = {example}`")));
            }
        }
        value.and_then(|value| read(value, cx))
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self, cx: &mut Context<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let near = nearest(name, self.known.iter().copied());
                let suggestion = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_else(|| {
                    let known: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
                    format!("it knows {}", known.join(", "))
                });
                cx.report.add_with(
                    key.span(),
                    format!("{} knows no key `{name}`", self.what),
                    Some(suggestion),
                );
            }
        }
    }
}
