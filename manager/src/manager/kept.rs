//! What outlives the manager: descriptors in its supervisor's store, and the names that say what they are.
//!
//! | name | descriptor | stored | forgotten |
//! | --- | --- | --- | --- |
//! | `table.ID` | the table's memory | once it is hydrated, before it is offered | never |
//! | `house.PID` | the pidfd of a program with its manager inside | before it has any table | once it has died |
//! | `owner.EPOCH.PID.CLIENT.ID` | the pidfd of an owner | before the epoch is in the header, and that before the grant (rule H13) | once the table is recovered |
//!
//! So the next manager finds for the epoch in the header whoever may own the table, also where this one died before the
//! grant had left it. An ownership whose pidfd could not be stored is not lost either: the kernel says as long as
//! somebody can write, and the owner is told, when it comes back, that its ownership is over.

use heirloom_protocol::sys::inherit::NamedDescriptor;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;

/// What an earlier manager left to this one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By table.
    pub(super) segments: BTreeMap<String, OwnedFd>,
    pub(super) owners: Vec<(OwnerName, OwnedFd)>,
    /// Programs that had the manager inside them.
    pub(super) houses: Vec<(u32, OwnedFd)>,
}

/// The name of an owner's pidfd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnerName {
    pub(super) epoch: u64,
    pub(super) pid: u32,
    /// Which client of that process.
    pub(super) client: u64,
    pub(super) table: String,
}

impl Kept {
    /// Sorts out what came back. What has another name is nothing of ours, and is closed.
    pub(super) fn sort(received: Vec<NamedDescriptor>) -> Self {
        let mut kept = Self::default();
        for NamedDescriptor { name, descriptor } in received {
            if let Some(table) = name.strip_prefix("table.") {
                kept.segments.insert(table.to_owned(), descriptor);
            } else if let Some(pid) = name.strip_prefix("house.").and_then(|pid| pid.parse().ok()) {
                kept.houses.push((pid, descriptor));
            } else if let Some(owner) = OwnerName::parse(&name) {
                kept.owners.push((owner, descriptor));
            } else {
                tracing::warn!(name, "a descriptor that is not known here came back from the supervisor");
            }
        }
        kept
    }

    /// Takes the pidfd of whoever may own the table in that epoch.
    pub(super) fn take_owner(&mut self, table: &str, epoch: u64) -> Option<(OwnerName, OwnedFd)> {
        let at = self.owners.iter().position(|(name, _)| name.table == table && name.epoch == epoch)?;
        Some(self.owners.swap_remove(at))
    }
}

/// The name of the pidfd of a program with its manager inside.
pub(super) fn house_name(pid: u32) -> String {
    format!("house.{pid}")
}

/// The name of a table's memory.
pub(super) fn table_name(table: &str) -> String {
    format!("table.{table}")
}

impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, pid, client, table } = self;
        write!(f, "owner.{epoch}.{pid}.{client}.{table}")
    }
}

impl OwnerName {
    fn parse(name: &str) -> Option<Self> {
        // A table's id may hold dots, so it comes last.
        let mut parts = name.strip_prefix("owner.")?.splitn(4, '.');
        let mut next = || parts.next();
        let (epoch, pid) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Self { epoch, pid, client: next()?.parse().ok()?, table: next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> OwnedFd {
        tempfile::tempfile().expect("a file").into()
    }

    #[test]
    fn what_was_stored_is_known_again() {
        let owner = |epoch, table: &str| OwnerName { epoch, pid: 4711, client: 3, table: table.to_owned() };
        let names = [
            table_name("sales"),
            table_name("a.b"),
            owner(7, "sales").to_string(),
            owner(8, "sales").to_string(),
            owner(1, "a.b").to_string(),
            "owner.x.1.1.sales".to_owned(),
            "stored".to_owned(),
        ];
        let received = names.map(|name| NamedDescriptor { name, descriptor: descriptor() });
        let mut kept = Kept::sort(received.into());
        assert_eq!(kept.segments.keys().collect::<Vec<_>>(), ["a.b", "sales"]);
        assert_eq!(kept.take_owner("sales", 8).map(|(name, _)| name), Some(owner(8, "sales")));
        assert!(kept.take_owner("sales", 8).is_none());
        assert_eq!(kept.take_owner("a.b", 1).map(|(name, _)| name), Some(owner(1, "a.b")));
        assert_eq!(kept.owners.len(), 1, "that of epoch 7, which the header does not say any more");
    }
}
