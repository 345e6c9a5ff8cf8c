//! The configuration file: what it says, as plain types, and every mistake in it, found in one pass.
//!
//! ```toml
#![doc = include_str!("every_key.toml")]
//! ```
//!
//! [`Config::load`] gives either a configuration that makes sense as a whole or all the [`Mistakes`], each with
//! line, column and, where one is near, a suggestion. Nothing is created, started or looked up here; relative paths
//! are made absolute against the file's own folder.

mod mistake;
mod read;
mod supervisor;
mod table;
pub mod users;
mod warning;
mod worker;

pub use mistake::{Mistake, Mistakes};
pub(crate) use read::{bytes, duration};
pub use supervisor::{MAX_SOCKET_PATH_BYTES, ManagerConfig, Strategy, SupervisorConfig};
pub use table::{
    Access, Durability, FindMe, Grant, Hydrate, HydrateFormat, HydrateSource, HydrateWhen, TableConfig,
};
pub use worker::{BackOff, ChildConfig, Restart, Shutdown, Start, WorkerConfig};

use std::path::{Path, PathBuf};

/// A whole configuration, free of mistakes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The file it was read from, as an absolute path.
    pub path: PathBuf,
    /// The folder that relative paths are resolved against: that of the file.
    pub folder: PathBuf,
    /// `[supervisor]`: how children are started and restarted.
    pub supervisor: SupervisorConfig,
    /// `[manager]`: how long the manager waits for others.
    pub manager: ManagerConfig,
    /// `[[table]]`, in the order of the file.
    pub tables: Vec<TableConfig>,
    /// `[[worker]]`, in the order of the file, external ones included.
    pub workers: Vec<WorkerConfig>,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// All [`Mistakes`] of the file; where it cannot be read at all, one that says why.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Mistakes::unreadable(path, &format!("the file cannot be read: {error}")))?;
        Self::parse(&text, path)
    }

    /// Checks `text` as if it stood in the file at `path`.
    ///
    /// # Errors
    /// All [`Mistakes`] of the text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Mistakes> {
        read::config(text, path)
    }

    /// What is accepted but does not work as it is written: files, programs and users that this machine does not have now. Looks them up.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        warning::warnings(self)
    }

    /// Whether somebody else than the supervisor's own user and root may have business with the manager: then the
    /// control socket lets every user connect, and the manager decides by credentials.
    #[must_use]
    pub fn concerns_other_users(&self) -> bool {
        self.workers.iter().any(|worker| worker.user.is_some())
            || self.tables.iter().any(|table| !table.owner.is_empty() || !table.readers.is_empty())
    }

    /// The table of that id.
    #[must_use]
    pub fn table(&self, id: &str) -> Option<&TableConfig> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// The worker of that name.
    #[must_use]
    pub fn worker(&self, name: &str) -> Option<&WorkerConfig> {
        self.workers.iter().find(|worker| worker.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the documentation shows is right, and its defaults are.
    #[test]
    fn the_file_with_every_key_is_read_and_says_the_defaults() {
        let text = include_str!("every_key.toml");
        let shown =
            Config::parse(text, Path::new("/etc/h.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let bare = "[[table]]\nid = \"sales\"\ntype = \"set\"\nmax_bytes = \"1GiB\"\n\
                    [[worker]]\nname = \"sale_tracker\"\ncommand = [\"sale_tracker\", \"--fast\"]\n";
        let bare =
            Config::parse(bare, Path::new("/etc/h.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let socket = shown.supervisor.socket.clone();
        assert_eq!(shown.supervisor, SupervisorConfig { socket, ..bare.supervisor.clone() });
        let store = shown.manager.store.clone();
        assert_eq!(shown.manager, ManagerConfig { store, ..bare.manager.clone() });
        let (shown_table, bare_table) = (&shown.tables[0], &bare.tables[0]);
        assert_eq!(shown_table.durability, bare_table.durability);
        assert_eq!(shown_table.access, bare_table.access);
        assert_eq!(shown_table.snapshot_max_age, bare_table.snapshot_max_age);
        let (Start::Child(shown_child), Start::Child(bare_child)) =
            (&shown.workers[0].start, &bare.workers[0].start)
        else {
            panic!("neither is external")
        };
        assert_eq!(shown_child.folder.components().as_path(), bare_child.folder);
        let comparable = |child: &ChildConfig| ChildConfig {
            env: Default::default(),
            folder: PathBuf::new(),
            ..child.clone()
        };
        assert_eq!(comparable(shown_child), comparable(bare_child));
    }
}
