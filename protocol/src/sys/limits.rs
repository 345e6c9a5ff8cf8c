//! How much may still be taken, before the kernel kills instead of refusing (rules H1, H2, H5).
//!
//! At the limit of a memory cgroup, and at the end of the machine's memory, every way to get a page ends in SIGKILL,
//! and the victim may be an innocent owner. So memory is asked for here first. The check races with everything else on
//! the machine; what it leaves untouched (the reserve) is there for that.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::cgroup;
use crate::region::OutOfMemory;

const MIB: u64 = 1024 * 1024;

/// Never more is granted on one look at the system's files, which costs some 50 µs.
const GRANTED_PER_LOOK_BYTES: u64 = 32 * MIB;

/// A look is not believed for longer.
const LOOK_LASTS: Duration = Duration::from_secs(1);

/// What may be taken now, and what stands in the way of more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headroom {
    /// Bytes, the reserve already taken off.
    pub bytes: u64,
    /// The limit that is nearest, in words.
    pub limit: String,
}

/// The smallest of what the own memory cgroup, its ancestors and the machine still have, less a reserve.
#[must_use]
pub fn headroom() -> Headroom {
    let groups = cgroup::memory_limits().into_iter().map(|group| Headroom {
        bytes: group.limit_bytes.saturating_sub(group.used_bytes).saturating_sub(reserve(group.limit_bytes)),
        limit: format!("the memory cgroup {} has a limit of {} MiB", group.name, group.limit_bytes / MIB),
    });
    groups
        .chain([machine_headroom()])
        .min_by_key(|headroom| headroom.bytes)
        .expect("the machine is always there")
}

/// The most that can ever be taken, whatever is free now: to compare the sum of all `max_bytes` with, at start.
#[must_use]
pub fn memory_limit() -> Headroom {
    let groups = cgroup::memory_limits().into_iter().map(|group| Headroom {
        bytes: group.limit_bytes.saturating_sub(reserve(group.limit_bytes)),
        limit: format!("the memory cgroup {} has a limit of {} MiB", group.name, group.limit_bytes / MIB),
    });
    let total = machine_memory("MemTotal");
    let machine = Headroom {
        bytes: total.saturating_sub(reserve(total)),
        limit: format!("this machine has {} MiB of memory", total / MIB),
    };
    groups.chain([machine]).min_by_key(|limit| limit.bytes).expect("the machine is always there")
}

/// Asks for memory that is about to be touched. Most calls cost a lock and a subtraction.
///
/// # Errors
/// [`OutOfMemory`] where taking it would come too near to a limit.
pub fn ask_for(bytes: u64) -> Result<(), OutOfMemory> {
    static GRANT: Mutex<Option<Grant>> = Mutex::new(None);
    let mut grant = GRANT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(grant) = grant.as_mut()
        && grant.rest_bytes >= bytes
        && grant.looked.elapsed() < LOOK_LASTS
    {
        grant.rest_bytes -= bytes;
        return Ok(());
    }
    let headroom = headroom();
    let Some(rest) = headroom.bytes.checked_sub(bytes) else {
        *grant = None;
        return Err(OutOfMemory::new(headroom.limit, bytes));
    };
    // Half of what is left: other processes grow at the same time, with a grant of their own.
    *grant = Some(Grant { rest_bytes: (rest / 2).min(GRANTED_PER_LOOK_BYTES), looked: Instant::now() });
    Ok(())
}

/// What may be taken without a further look.
struct Grant {
    rest_bytes: u64,
    looked: Instant,
}

/// Left untouched below a limit: for the races of this check, and for what else runs there.
fn reserve(limit_bytes: u64) -> u64 {
    (limit_bytes / 32).min(256 * MIB)
}

fn machine_headroom() -> Headroom {
    let total = machine_memory("MemTotal");
    let available = machine_memory("MemAvailable");
    Headroom {
        bytes: available.saturating_sub(reserve(total)),
        limit: format!(
            "this machine has {} MiB of memory, and {} MiB are available",
            total / MIB,
            available / MIB
        ),
    }
}

fn machine_memory(name: &str) -> u64 {
    // A machine that does not say is not held to anything: cgroups still are.
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return u64::MAX };
    cgroup::field(&text, name).map_or(u64::MAX, |kib| kib * 1024)
}

/// `RLIMIT_FSIZE` in bytes, where there is one: a memfd that is made longer ends in SIGXFSZ.
#[must_use]
pub fn file_size_limit() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

/// How many bytes of address space may still be mapped under `RLIMIT_AS`, where there is such a limit.
#[must_use]
pub fn address_space_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mapped = cgroup::field(&status, "VmSize").map_or(0, |kib| kib * 1024);
    Some(limit.saturating_sub(mapped))
}

/// Raises the number of descriptors that this process may hold to the most it may ask for; that number. Descriptors in
/// unread messages count against it too (rule H19).
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, the old limit stands.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_names_its_limit_and_stays_below_it() {
        let (now, ever) = (headroom(), memory_limit());
        assert!(now.bytes <= ever.bytes, "{now:?} {ever:?}");
        assert!(now.limit.contains("MiB"), "{now:?}");
    }

    #[test]
    fn asking_for_more_than_there_is_fails_and_says_so() {
        let error = ask_for(1 << 60).expect_err("no machine has that much");
        assert_eq!(error.needed_bytes, 1 << 60);
        assert!(ask_for(64 * 1024).is_ok(), "a small wish is not hurt by a large one");
    }
}
