//! Which users may do what (contract 8): decided by the kernel's word on who is at the other end, and nothing else.

use crate::config::users::{self, UnknownName};
use crate::config::{Config, Grant};
use heirloom_protocol::sys::{Credentials, Process};
use std::collections::HashMap;

use super::ManagerError;
use super::chatter::By;

/// A client as far as access goes.
#[derive(Debug, Clone)]
pub(super) struct Person {
    uid: u32,
    groups: Vec<u32>,
}

impl Person {
    pub(super) fn new(credentials: Credentials, process: &Process) -> Self {
        let mut groups = supplementary_groups(credentials.pid);
        // Then the number may be somebody else's by now, and so may be the groups.
        if process.has_exited() {
            groups.clear();
        }
        groups.push(credentials.gid);
        Self { uid: credentials.uid, groups }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Root, and the user that the manager runs as, may do everything: they could in any case (rule H9).
    pub(super) fn is_ours(&self) -> bool {
        is_ours(self.uid)
    }

    /// Whose doing something of theirs is, for the log.
    pub(super) fn by(&self) -> By {
        By::of(self.uid)
    }
}

/// Whether a user is root, or the one that the manager runs as.
pub(super) fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// The groups beside the first one, as the kernel shows them; none where it does not.
fn supplementary_groups(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_ascii_whitespace().filter_map(|group| group.parse().ok()).collect()
}

/// The users to whom something is granted, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    anyone: bool,
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Allowed {
    pub(super) fn new(grant: &Grant) -> Result<Self, UnknownName> {
        Ok(Self {
            anyone: grant.anyone,
            users: grant.users.iter().map(|name| Ok(users::user(name)?.uid)).collect::<Result<_, _>>()?,
            groups: grant.groups.iter().map(|name| users::group(name)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn admits(&self, person: &Person) -> bool {
        person.is_ours()
            || self.anyone
            || self.users.contains(&person.uid)
            || self.groups.iter().any(|group| person.groups.contains(group))
    }
}

/// The names that workers may register under, and as which user where that is fixed.
#[derive(Debug)]
pub(super) struct WorkerNames(Option<HashMap<String, Option<u32>>>);

/// Why a worker may not register.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotRegistered {
    Unknown,
    OtherUser,
}

impl WorkerNames {
    pub(super) fn new(config: &Config) -> Result<Self, ManagerError> {
        let names = config.workers.iter().map(|worker| {
            let uid = worker.user.as_deref().map(users::user).transpose();
            let uid = uid.map_err(|error| ManagerError::WorkerUser { worker: worker.name.clone(), error })?;
            Ok((worker.name.clone(), uid.map(|user| user.uid)))
        });
        Ok(Self(Some(names.collect::<Result<_, ManagerError>>()?)))
    }

    /// All names, where the workers are of this process.
    pub(super) fn any() -> Self {
        Self(None)
    }

    pub(super) fn check(&self, name: &str, person: &Person) -> Result<(), NotRegistered> {
        let Some(names) = &self.0 else { return Ok(()) };
        match names.get(name) {
            None => Err(NotRegistered::Unknown),
            Some(Some(uid)) if person.uid != *uid && person.uid != 0 => Err(NotRegistered::OtherUser),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(uid: u32, groups: &[u32]) -> Person {
        Person { uid, groups: groups.to_vec() }
    }

    #[test]
    fn users_and_groups_and_nobody_else() {
        // Not the manager's own user, whoever runs this test.
        let other = rustix::process::geteuid().as_raw().wrapping_add(7).max(1);
        let allowed = Allowed { anyone: false, users: vec![other], groups: vec![50] };
        assert!(allowed.admits(&person(other, &[])));
        assert!(allowed.admits(&person(other + 1, &[3, 50])));
        assert!(!allowed.admits(&person(other + 1, &[3])));
        assert!(allowed.admits(&person(0, &[])));
        assert!(!Allowed::default().admits(&person(other, &[50])));
        assert!(Allowed { anyone: true, ..Allowed::default() }.admits(&person(other, &[])));
    }

    #[test]
    fn a_worker_registers_under_a_known_name_as_its_user() {
        let names = WorkerNames(Some([("w".to_owned(), Some(7)), ("any".to_owned(), None)].into()));
        assert_eq!(names.check("w", &person(7, &[])), Ok(()));
        assert_eq!(names.check("w", &person(0, &[])), Ok(()));
        assert_eq!(names.check("w", &person(8, &[])), Err(NotRegistered::OtherUser));
        assert_eq!(names.check("any", &person(8, &[])), Ok(()));
        assert_eq!(names.check("x", &person(0, &[])), Err(NotRegistered::Unknown));
    }

    #[test]
    fn the_groups_of_a_process_are_known() {
        let groups = supplementary_groups(std::process::id());
        let ours: Vec<_> = rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(groups, ours);
    }

    #[test]
    fn the_groups_of_a_process_that_has_ended_are_not_looked_up_by_its_number() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        child.wait().unwrap();
        // As if its number had been given to us.
        let credentials = Credentials { pid: std::process::id(), uid: 7, gid: 8 };
        assert_eq!(Person::new(credentials, &process).groups, [8]);
        let mut ours = supplementary_groups(std::process::id());
        ours.push(8);
        assert_eq!(Person::new(credentials, &Process::current().unwrap()).groups, ours);
    }
}
