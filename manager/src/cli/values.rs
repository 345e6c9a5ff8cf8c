//! Values as people read them.

use super::keys::Shown;
use heirloom_worker::Value;

const HEADING: &str = "Values (by default, text as it is)";

/// How values are shown.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[group(multiple = false)]
pub(super) struct ValueForm {
    /// Values are numbers, which a worker's code has as `u64`
    #[arg(long, help_heading = HEADING)]
    value_u64: bool,

    /// Values are numbers, which a worker's code has as `i64`
    #[arg(long, help_heading = HEADING)]
    value_i64: bool,
}

impl ValueForm {
    /// A value as JSON shows it. One that is no such number is shown as any other bytes.
    pub(super) fn show(self, value: &[u8]) -> Shown<'_> {
        let number = match self {
            Self { value_u64: true, .. } => u64::decode_value(value).ok().map(Shown::Unsigned),
            Self { value_i64: true, .. } => i64::decode_value(value).ok().map(Shown::Signed),
            _ => None,
        };
        number.unwrap_or(Shown::Bytes(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_what_they_are_and_the_rest_all_the_same() {
        let mut bytes = Vec::new();
        300_u64.encode_value(&mut bytes).unwrap();
        let unsigned = ValueForm { value_u64: true, value_i64: false };
        assert_eq!(unsigned.show(&bytes), Shown::Unsigned(300));
        assert_eq!(unsigned.show(b"text"), Shown::Bytes(b"text"));
        assert_eq!(ValueForm::default().show(&bytes), Shown::Bytes(&bytes));
        bytes.clear();
        (-7_i64).encode_value(&mut bytes).unwrap();
        assert_eq!(ValueForm { value_u64: false, value_i64: true }.show(&bytes), Shown::Signed(-7));
    }
}
