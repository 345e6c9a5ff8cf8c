//! Users and groups by name or number, from `/etc/passwd` and `/etc/group`.
//!
//! Only the files are read: asking the C library instead would need unsafe code, and may ask the network. Users
//! that another service knows are given by number.

use std::fs;

/// A name that this machine does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}` in {file}; give a number where another service knows it")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    file: &'static str,
}

/// A user, with the groups to take on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of its own group; that of a user who is known by number only is taken to be the same.
    pub gid: u32,
    /// The numbers of all its groups, its own included.
    pub groups: Vec<u32>,
    /// Name and home folder, where `/etc/passwd` has them.
    pub account: Option<Account>,
}

/// What `/etc/passwd` says of a user besides the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The home folder.
    pub home: String,
}

/// Looks a user up by name or number.
///
/// # Errors
/// [`UnknownName`] where it is neither a number nor in `/etc/passwd`.
pub fn user(name: &str) -> Result<User, UnknownName> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    find_user(name, &passwd, &group).ok_or_else(|| UnknownName {
        what: "user",
        name: name.to_owned(),
        file: "/etc/passwd",
    })
}

/// Looks the number of a group up, by name or number.
///
/// # Errors
/// [`UnknownName`] where it is neither a number nor in `/etc/group`.
pub fn group(name: &str) -> Result<u32, UnknownName> {
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    find_group(name, &group).ok_or_else(|| UnknownName {
        what: "group",
        name: name.to_owned(),
        file: "/etc/group",
    })
}

/// `/etc/passwd`: name, password, number, group, comment, home folder, shell.
fn find_user(name: &str, passwd: &str, group: &str) -> Option<User> {
    let number = name.parse::<u32>().ok();
    let found = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
        let uid: u32 = fields.get(2)?.parse().ok()?;
        (fields[0] == name || number == Some(uid)).then_some((fields, uid))
    });
    let Some((fields, uid)) = found else {
        return number.map(|uid| User { uid, gid: uid, groups: vec![uid], account: None });
    };
    let gid = fields.get(3)?.parse().ok()?;
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields_of_group: Vec<_> = line.split(':').collect();
        let members = fields_of_group.get(3).copied().unwrap_or_default();
        if members.split(',').any(|member| member == fields[0]) {
            groups.extend(fields_of_group[2].parse::<u32>().ok().filter(|group| *group != gid));
        }
    }
    let home = fields.get(5).copied().unwrap_or("/").to_owned();
    Some(User { uid, gid, groups, account: Some(Account { name: fields[0].to_owned(), home }) })
}

/// `/etc/group`: name, password, number, members.
fn find_group(name: &str, group: &str) -> Option<u32> {
    let named = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = named.filter(|fields| fields[0] == name).find_map(|fields| fields.get(2)?.parse().ok());
    named.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001:The app:/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:eve,app\nshort\napp:x:1001:app\n";

    #[test]
    fn finds_users_by_name_and_number_with_their_groups() {
        let app = find_user("app", PASSWD, GROUP).expect("app");
        assert_eq!((app.uid, app.gid, app.groups.as_slice()), (1000, 1001, &[1001, 50][..]));
        assert_eq!(find_user("1000", PASSWD, GROUP), Some(app));
        let unknown = find_user("4711", PASSWD, GROUP).expect("by number");
        assert_eq!((unknown.uid, unknown.gid, unknown.groups.as_slice()), (4711, 4711, &[4711][..]));
        assert_eq!(find_user("eve", PASSWD, GROUP), None);
        assert_eq!(find_user("broken", PASSWD, GROUP), None);
    }

    #[test]
    fn finds_groups_by_name_and_number() {
        assert_eq!(find_group("staff", GROUP), Some(50));
        assert_eq!(find_group("4711", GROUP), Some(4711));
        assert_eq!(find_group("wheel", GROUP), None);
        assert_eq!(find_group("short", GROUP), None);
    }
}
