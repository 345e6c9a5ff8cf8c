//! What a person should know about a configuration that is free of mistakes.

use super::{Config, Durability, Grant, HydrateSource, HydrateWhen, Start, TableConfig, WorkerConfig, users};
use std::path::Path;

pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for table in &config.tables {
        table_warnings(table, &mut warnings);
    }
    for worker in &config.workers {
        worker_warnings(worker, &mut warnings);
    }
    warnings
}

fn table_warnings(table: &TableConfig, warnings: &mut Vec<String>) {
    let id = &table.id;
    if let Some(hydrate) = &table.hydrate {
        if hydrate.when == HydrateWhen::Always && table.durability != Durability::Memory {
            warnings.push(format!(
                "table `{id}`: `when = \"always\"` fills it from its source each time it is created, so what is on disk of it \
                 is never read; \"if_empty\" begins with that, where it is there"
            ));
        }
        match &hydrate.source {
            HydrateSource::File { path, .. } if !path.exists() => warnings
                .push(format!("table `{id}`: the file to hydrate it from, {}, is not there", path.display())),
            HydrateSource::Command { command, .. } => {
                program_warning(&format!("table `{id}`"), command, warnings);
            }
            HydrateSource::File { .. } => {}
        }
    }
    if let Some(super::FindMe::Command { command, .. }) = &table.find_me {
        program_warning(&format!("table `{id}`"), command, warnings);
    }
    grant_warnings(id, "owner", &table.owner, warnings);
    grant_warnings(id, "readers", &table.readers, warnings);
}

fn worker_warnings(worker: &WorkerConfig, warnings: &mut Vec<String>) {
    let whose = format!("worker `{}`", worker.name);
    if let Some(error) = worker.user.as_deref().and_then(|user| users::user(user).err()) {
        warnings.push(format!("{whose}: {error}"));
    }
    if let Start::Child(child) = &worker.start {
        program_warning(&whose, &child.command, warnings);
        if !child.folder.is_dir() {
            warnings.push(format!("{whose}: its folder, {}, is not there", child.folder.display()));
        }
    }
}

fn grant_warnings(id: &str, key: &str, grant: &Grant, warnings: &mut Vec<String>) {
    let users = grant.users.iter().filter_map(|user| users::user(user).err());
    let groups = grant.groups.iter().filter_map(|group| users::group(group).err());
    warnings.extend(users.chain(groups).map(|error| format!("table `{id}`: `{key}`: {error}")));
}

fn program_warning(whose: &str, command: &[String], warnings: &mut Vec<String>) {
    let program = Path::new(&command[0]);
    let found = if command[0].contains('/') {
        program.exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    };
    if !found {
        warnings.push(format!("{whose}: there is no program `{}`", program.display()));
    }
}
