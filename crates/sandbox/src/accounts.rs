//! The accounts that an image has, as its `/etc/passwd` and `/etc/group` say. A stranger's text: what is no
//! account is left out.

use std::path::PathBuf;

use crate::plan::User;

/// Folders that some accounts of the system call their home: nobody's own may lie over them.
const SYSTEM: [&str; 16] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/opt",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/sbin",
    "/var",
];

/// Reads the accounts of a `passwd`.
pub fn parse(passwd: &str) -> Vec<User> {
    passwd.lines().filter_map(account).collect()
}

fn account(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
    let home = home.trim_end_matches('/');
    let is_own = home.starts_with('/') && !SYSTEM.contains(&home);
    let home = if is_own { home } else { "/nonexistent" };
    Some(User {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: PathBuf::from(home),
    })
}

/// The account that `user[:group]` names, as Dockerfiles and definitions write it: by name or by number. A
/// number that no account has is one without a home; a group that is a name must be in `group`.
pub fn find(accounts: &[User], group: &str, written: &str) -> Option<User> {
    let (user, named_group) = match written.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (written, None),
    };
    let by_name = accounts.iter().find(|account| account.name == user);
    let number = user.parse::<u32>().ok();
    let by_number = accounts.iter().find(|account| Some(account.uid) == number);
    let mut found = match (by_name.or(by_number), number) {
        (Some(found), _) => found.clone(),
        (None, Some(_)) if user == "0" => User::root(),
        (None, Some(uid)) => {
            User { name: user.to_owned(), uid, gid: 0, home: PathBuf::from("/nonexistent") }
        }
        (None, None) if user == "root" => User::root(),
        (None, None) => return None,
    };
    if let Some(named) = named_group {
        let by_name = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let known = by_name.filter(|fields| fields.first() == Some(&named));
        let known = known.filter_map(|fields| fields.get(2)?.parse().ok()).next();
        found.gid = known.or_else(|| named.parse().ok())?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/bash\n\
                          broken:x:one:1::/\nbin:x:2:2:bin:/bin:/x\nshort:x\nno-home:x:7:7:::\n";

    #[test]
    fn accounts_are_found_by_name_and_number_and_what_is_none_is_left_out() {
        let accounts = parse(PASSWD);
        let seen =
            ["node", "1000", "root", "0", "1234", "gone", "node:staff", "node:5", "node:gone"]
                .map(|written| find(&accounts, "staff:x:50:\n", written))
                .map(|user| user.map(|user| (user.name, user.uid, user.gid, user.home)));
        let some =
            |name: &str, uid, gid, home: &str| Some((name.to_owned(), uid, gid, home.into()));
        let expected = [
            some("node", 1000, 1000, "/home/node"),
            some("node", 1000, 1000, "/home/node"),
            some("root", 0, 0, "/root"),
            some("root", 0, 0, "/root"),
            some("1234", 1234, 0, "/nonexistent"),
            None,
            some("node", 1000, 50, "/home/node"),
            some("node", 1000, 5, "/home/node"),
            None,
        ];
        assert_eq!(seen, expected);
        assert_eq!(find(&accounts, "", "bin").unwrap().home, PathBuf::from("/nonexistent"));
        assert_eq!(accounts.len(), 4);
    }
}
