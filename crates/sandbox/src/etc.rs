//! What an environment sees as `/etc`: an allow-list of the host's, and a few files of its own.
//!
//! The host's `/etc` holds keys, tokens and passwords, some of them readable by everyone (`npmrc`,
//! `pip.conf`, `gitconfig`, `environment`, `wgetrc`). Only what programs need to run and cannot hold a
//! secret is named here; a plan binds more where a project needs it.

use crate::plan::Plan;

/// Files that are copied as they are, if everyone may read them.
pub(crate) const FILES: &[&str] = &[
    // The dynamic linker.
    "ld.so.cache",
    "ld.so.conf",
    // Shells.
    "bash.bashrc",
    "bashrc",
    "inputrc",
    "profile",
    "shells",
    // Which system this is.
    "alpine-release",
    "debian_version",
    "fedora-release",
    "lsb-release",
    "os-release",
    "redhat-release",
    // Time and language.
    "locale.alias",
    "localtime",
    "timezone",
    // Well-known names.
    "ethertypes",
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "protocols",
    "rpc",
    "services",
    // Address order of getaddrinfo.
    "gai.conf",
    "host.conf",
    // Limits that tools read about users.
    "login.defs",
    "mtab",
];

/// Folders (and files in folders) that are bound read-only.
pub(crate) const FOLDERS: &[&str] = &[
    // Which of several programs a name means: /usr/bin is full of links into it.
    "alternatives",
    // Public certificates; the private ones are in other folders, which are not named.
    "ca-certificates",
    "crypto-policies",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "ssl/certs",
    "ssl/openssl.cnf",
    // The dynamic linker.
    "ld.so.conf.d",
    // Shells.
    "profile.d",
    // Configuration that languages and tools do not run without.
    "ImageMagick-6",
    "ImageMagick-7",
    "chromium",
    "chromium.d",
    "dpkg/origins",
    "fonts",
    "perl",
    "postgresql-common",
    "python3",
    "sgml",
    "terminfo",
    "xml",
];

/// Prefixes of folders that carry a version in their name, such as `java-17-openjdk`.
pub(crate) const VERSIONED: &[&str] = &["java-", "python3."];

/// Names are looked up in files only: there is no name server.
pub(crate) const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n";

/// The accounts inside.
pub(crate) fn passwd(plan: &Plan, uid: u32, gid: u32) -> String {
    if uid == 0 {
        return "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n".to_owned();
    }
    let (name, home) = (plan.user_name(), plan.home().display());
    format!(
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n{name}:x:{uid}:{gid}:Windlass agent:{home}:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
}

/// The groups inside.
pub(crate) fn group(plan: &Plan, gid: u32) -> String {
    if gid == 0 {
        return "root:x:0:\nnogroup:x:65534:\n".to_owned();
    }
    format!("root:x:0:\n{}:x:{gid}:\nnogroup:x:65534:\n", plan.user_name())
}

/// The accounts of an image, with whoever works inside instead of those of the same name or number. A
/// user of the image keeps the shell that it has there.
pub(crate) fn passwd_of_image(image: &str, plan: &Plan, uid: u32, gid: u32, shell: &str) -> String {
    let (name, home) = (plan.user_name(), plan.home().display());
    let known = image.lines().find(|line| line.split(':').next() == Some(name));
    let own_shell = known.and_then(|line| line.split(':').nth(6)).filter(|shell| !shell.is_empty());
    let shell = own_shell.filter(|_| plan.user.is_some()).unwrap_or(shell);
    let mut text = without(image, name, uid);
    text.push_str(&format!("{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n"));
    text
}

/// The groups of an image, in the same way; a group of the image keeps its name.
pub(crate) fn group_of_image(image: &str, plan: &Plan, gid: u32) -> String {
    let is_known = image.lines().any(|line| line.split(':').nth(2) == Some(&gid.to_string()));
    if plan.user.is_some() && is_known {
        return image.lines().map(|line| format!("{line}\n")).collect();
    }
    let mut text = without(image, plan.user_name(), gid);
    text.push_str(&format!("{}:x:{gid}:\n", plan.user_name()));
    text
}

fn without(lines: &str, name: &str, id: u32) -> String {
    let other = |line: &&str| {
        let mut fields = line.split(':');
        let number = fields.clone().nth(2);
        fields.next() != Some(name) && number != Some(&id.to_string())
    };
    lines.lines().filter(other).map(|line| format!("{line}\n")).collect()
}

/// The host names inside. What runs beside the environment is in its network, so its names mean the same.
pub(crate) fn hosts(plan: &Plan) -> String {
    let own = crate::mounts::host_name(plan);
    let mut text = format!("127.0.0.1 localhost {own}\n::1 localhost ip6-localhost ip6-loopback\n");
    for name in &plan.names {
        text.push_str(&format!("127.0.0.1 {name}\n"));
    }
    text
}
