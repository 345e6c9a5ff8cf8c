//! The memory cgroups that this process is in, v1 and v2, from its own up to the outermost that can be seen (rule H5).

use std::path::{Path, PathBuf};

/// One memory cgroup with a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    /// Where it stands, for messages.
    pub(crate) name: String,
    /// What its processes may take together, in bytes.
    pub(crate) limit_bytes: u64,
    /// What is taken and cannot be had back by dropping cached files, in bytes.
    pub(crate) used_bytes: u64,
}

/// The names of the files that differ between the two versions.
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// Line of `memory.stat` for file pages that can be dropped. Shared memory is not among them.
    droppable: &'static str,
}

const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    droppable: "total_inactive_file",
};
const V2: Names = Names { limit: "memory.max", usage: "memory.current", droppable: "inactive_file" };

/// A v1 cgroup without a limit shows a huge number instead.
const NO_LIMIT_FROM: u64 = 1 << 60;

/// All memory cgroups above this process that have a limit, its own first.
pub(crate) fn memory_limits() -> Vec<MemoryLimit> {
    let (Ok(membership), Ok(mounts)) =
        (std::fs::read_to_string("/proc/self/cgroup"), std::fs::read_to_string("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    hierarchies(&membership, &mounts)
        .into_iter()
        .flat_map(|(root, own, names)| limits_upward(&root, &own, names))
        .collect()
}

/// Mount point, own folder below it, and file names of each hierarchy that may count memory.
fn hierarchies(membership: &str, mounts: &str) -> Vec<(PathBuf, PathBuf, &'static Names)> {
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (names, file_system) = match controllers {
            "" => (&V2, "cgroup2"),
            list if list.split(',').any(|controller| controller == "memory") => (&V1, "cgroup"),
            _ => continue,
        };
        if let Some((root, mount_point)) = mount_of(mounts, file_system, names) {
            // In a container the mount may show only a part of the tree, from `root` on.
            let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
            found.push((mount_point.clone(), mount_point.join(below), names));
        }
    }
    found
}

/// Root within the hierarchy, and mount point, of a cgroup file system.
fn mount_of(mounts: &str, file_system: &str, names: &Names) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, mount_point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let counts_memory = std::ptr::eq(names, &V2) || options.split(',').any(|option| option == "memory");
        (kind == file_system && counts_memory).then(|| (PathBuf::from(root), PathBuf::from(mount_point)))
    })
}

fn limits_upward(root: &Path, own: &Path, names: &Names) -> Vec<MemoryLimit> {
    let inside = own.ancestors().take_while(|folder| folder.starts_with(root));
    inside.filter_map(|folder| limit_of(folder, names)).collect()
}

fn limit_of(folder: &Path, names: &Names) -> Option<MemoryLimit> {
    let number = |file: &str| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    // `max` in v2 is no number, so it ends here too.
    let limit_bytes = number(names.limit).filter(|limit| *limit < NO_LIMIT_FROM)?;
    let usage = number(names.usage)?;
    let statistics = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let droppable = field(&statistics, names.droppable).unwrap_or(0);
    let name = folder.display().to_string();
    Some(MemoryLimit { name, limit_bytes, used_bytes: usage.saturating_sub(droppable) })
}

/// The number behind a name in a file of `name number` lines.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()?.trim_end_matches(':') == name).then(|| words.next())??.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies_of_both_versions() {
        let membership = "9:name=systemd:/\n4:cpu,memory:/docker/abc/inner\n0::/user.slice\n";
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found: Vec<_> = hierarchies(membership, mounts)
            .into_iter()
            .map(|(root, own, names)| (root, own, names.limit))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "/sys/fs/cgroup/memory".into(),
                    "/sys/fs/cgroup/memory/inner".into(),
                    "memory.limit_in_bytes"
                ),
                ("/sys/fs/cgroup/unified".into(), "/sys/fs/cgroup/unified/user.slice".into(), "memory.max"),
            ]
        );
    }

    #[test]
    fn reads_own_group_and_ancestors_and_forgets_droppable_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = folder.path().join("a/b");
        std::fs::create_dir_all(&own).expect("folders");
        let write = |folder: &Path, limit: &str, usage: &str| {
            std::fs::write(folder.join("memory.max"), limit).expect("written");
            std::fs::write(folder.join("memory.current"), usage).expect("written");
        };
        write(&own, "1000\n", "700\n");
        write(&folder.path().join("a"), "max\n", "800\n");
        write(folder.path(), "5000\n", "900\n");
        std::fs::write(own.join("memory.stat"), "anon 5\ninactive_file 300\n").expect("written");

        let found = limits_upward(folder.path(), &own, &V2);
        let numbers: Vec<_> = found.iter().map(|limit| (limit.limit_bytes, limit.used_bytes)).collect();
        assert_eq!(numbers, [(1000, 400), (5000, 900)]);
    }
}
