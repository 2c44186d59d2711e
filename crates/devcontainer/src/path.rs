//! Paths as text with `/`: the rules of POSIX on every machine, because they speak of Linux inside.

/// Joins and tidies: an absolute `next` replaces `base`; `.` and `..` are worked out.
pub(crate) fn join(base: &str, next: &str) -> String {
    if next.starts_with('/') { tidy(next) } else { tidy(&format!("{base}/{next}")) }
}

/// Works out `.`, `..` and doubled slashes. A `..` above the root stays at the root; above a relative
/// start it stays.
pub(crate) fn tidy(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
                None if absolute => {}
                None => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The folder that holds it.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(end) => &path[..end],
        None => ".",
    }
}

/// The last part, without trailing slashes; empty for the root.
pub(crate) fn name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// True if `path` is `folder` or lies below it; both tidied.
pub(crate) fn is_within(path: &str, folder: &str) -> bool {
    folder == "/"
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The way from `folder` down to `path`, empty if they are the same; `None` if it isn't below.
pub(crate) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = if folder == "/" { path } else { path.strip_prefix(folder)? };
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}
