//! The redb file that table `exotic_cars` is hydrated from.

use super::cars::{MakeOfYear, Models, exotic_cars};
use heirloom_worker::{Key, Value};
use redb::{Database, TableDefinition};
use std::error::Error;
use std::path::Path;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("exotic_cars");

/// Writes the file, with keys and values as a worker would write them into the table itself.
pub(super) fn write(file: &Path) -> Result<(), Box<dyn Error>> {
    let database = Database::create(file)?;
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for (make, models) in exotic_cars() {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            MakeOfYear::encode_key(&make, &mut key)?;
            Models::encode_value(&models, &mut value)?;
            table.insert(key.as_slice(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}
