//! What values are, as the text forms say it: a field `value_schema` with the name and the version of an entry's schema, as
//! in `price@3`, on each line or on none.

use heirloom_protocol::table::{Attributes, TableSchema};

/// The field.
pub(super) const FIELD: &str = "value_schema";

/// What the field says of an entry.
pub(super) fn field(schema: &TableSchema, attributes: Attributes) -> String {
    format!("{}@{}", schema.name, schema.version_of(attributes))
}

/// The fields of the lines read so far: the first says what all must.
#[derive(Debug, Default)]
pub(super) struct Fields(Option<Option<TableSchema>>);

impl Fields {
    /// One more line: the version that its entry has beside the schema's base, and with the first line that schema.
    pub(super) fn next(
        &mut self,
        field: Option<&str>,
    ) -> Result<(Option<u32>, Option<&TableSchema>), String> {
        let of_line = field.map(parse).transpose()?;
        let is_first = self.0.is_none();
        // That of the first entry is as good a base as any.
        let first = self.0.get_or_insert_with(|| {
            of_line.map(|(name, version)| TableSchema { name: name.to_owned(), base_version: version })
        });
        match (of_line, &*first) {
            (None, None) => Ok((None, None)),
            (Some((name, version)), Some(schema)) if name == schema.name => {
                Ok(((version != schema.base_version).then_some(version), is_first.then_some(schema)))
            }
            (Some((name, _)), Some(schema)) => {
                Err(format!("`{FIELD}` is of `{name}`, and of `{}` above", schema.name))
            }
            (Some(_), None) => Err(format!("a `{FIELD}`, and none above")),
            (None, Some(_)) => Err(format!("no `{FIELD}`, and one above")),
        }
    }
}

fn parse(field: &str) -> Result<(&str, u32), String> {
    let parts = field.rsplit_once('@').filter(|(name, _)| !name.is_empty());
    let parts = parts.and_then(|(name, version)| Some((name, version.parse().ok()?)));
    parts.ok_or_else(|| format!("`{FIELD}` must be a name and a version, as in `price@3`: {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_it_or_none_does() {
        let mut fields = Fields::default();
        let (version, schema) = fields.next(Some("a@b@3")).unwrap();
        assert_eq!(
            (version, schema.map(|schema| (&*schema.name, schema.base_version))),
            (None, Some(("a@b", 3)))
        );
        assert_eq!(fields.next(Some("a@b@4")), Ok((Some(4), None)));
        assert_eq!(fields.next(Some("a@b@3")), Ok((None, None)));
        assert!(fields.next(None).unwrap_err().contains("and one above"));
        assert!(fields.next(Some("c@3")).unwrap_err().contains("of `c`, and of `a@b` above"));
        for wrong in ["", "a", "@3", "a@", "a@-1", "a@4294967296"] {
            assert!(fields.next(Some(wrong)).unwrap_err().contains("as in `price@3`"), "{wrong}");
        }
        let mut fields = Fields::default();
        assert_eq!(fields.next(None), Ok((None, None)));
        assert!(fields.next(Some("a@3")).unwrap_err().contains("and none above"));
    }
}
