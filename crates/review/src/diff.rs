//! Unified diffs as git prints them, read leniently: what is no diff is passed over, and nothing is refused.
//! Context lines are dropped; what is left are blocks of changed lines.

/// A diff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff<'a> {
    /// Its files, in the order in which they stand.
    pub files: Vec<File<'a>>,
}

/// One file of a diff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File<'a> {
    /// Its path before; empty if it was not there.
    pub old: String,
    /// Its path afterwards; empty if it is gone.
    pub new: String,
    /// Its mode afterwards where the diff says so: it was made with it or changed to it.
    pub mode: Option<&'a str>,
    /// Whether git showed no content.
    pub is_binary: bool,
    /// Runs of changed lines, without what is around them.
    pub blocks: Vec<Block<'a>>,
}

/// A run of changed lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// The lines that went.
    pub removed: Vec<&'a str>,
    /// The lines that came.
    pub added: Vec<&'a str>,
}

impl File<'_> {
    /// Its path afterwards, or before if it is gone.
    pub fn path(&self) -> &str {
        if self.new.is_empty() { &self.old } else { &self.new }
    }
}

/// How many lines of a hunk are still to come, before and after.
#[derive(Clone, Copy, Default)]
struct Left {
    old: u64,
    new: u64,
}

/// Reads a diff. Total: a text that is none has no files.
pub fn read(text: &str) -> Diff<'_> {
    let mut diff = Diff::default();
    let mut left = Left::default();
    let mut is_open = false;
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        if left.old + left.new > 0 {
            let file = diff.files.last_mut();
            is_open = in_hunk(file, line, &mut left, is_open);
            continue;
        }
        is_open = false;
        if let Some(rest) = line.strip_prefix("diff --git ") {
            diff.files.push(begin(rest));
        } else if line.starts_with("--- ")
            && diff.files.last().is_none_or(|file| !file.blocks.is_empty())
        {
            // A diff without git's own headers.
            diff.files.push(File { old: side(&line[4..]), ..File::default() });
        } else if let Some(hunk) = line.strip_prefix("@@ -") {
            left = sizes(hunk).unwrap_or_default();
        } else if let Some(file) = diff.files.last_mut() {
            header(file, line);
        }
    }
    diff
}

/// A line within a hunk; whether a block is open behind it.
fn in_hunk<'a>(file: Option<&mut File<'a>>, line: &'a str, left: &mut Left, is_open: bool) -> bool {
    let (sign, rest) = match line.chars().next() {
        Some(sign @ ('+' | '-' | ' ' | '\\')) => (sign, &line[1..]),
        // Some programs cut the blank of an empty context line.
        None => (' ', line),
        Some(_) => {
            *left = Left::default();
            return false;
        }
    };
    let Some(file) = file else { return false };
    if sign == '\\' {
        return is_open;
    }
    left.old = left.old.saturating_sub(u64::from(sign != '+'));
    left.new = left.new.saturating_sub(u64::from(sign != '-'));
    if sign == ' ' {
        return false;
    }
    if !is_open {
        file.blocks.push(Block::default());
    }
    if let Some(block) = file.blocks.last_mut() {
        let lines = if sign == '+' { &mut block.added } else { &mut block.removed };
        lines.push(rest);
    }
    true
}

/// A line between a file's first line and its first hunk.
fn header<'a>(file: &mut File<'a>, line: &'a str) {
    if let Some(path) = line.strip_prefix("--- ") {
        file.old = side(path);
    } else if let Some(path) = line.strip_prefix("+++ ") {
        file.new = side(path);
    } else if let Some(path) = line.strip_prefix("rename from ").or(line.strip_prefix("copy from "))
    {
        file.old = unquoted(path);
    } else if let Some(path) = line.strip_prefix("rename to ").or(line.strip_prefix("copy to ")) {
        file.new = unquoted(path);
    } else if let Some(mode) = line.strip_prefix("new file mode ") {
        file.mode = Some(mode);
        file.old.clear();
    } else if line.starts_with("deleted file mode ") {
        file.new.clear();
    } else if let Some(mode) = line.strip_prefix("new mode ") {
        file.mode = Some(mode);
    } else if line.starts_with("Binary files ") || line == "GIT binary patch" {
        file.is_binary = true;
    }
}

/// The paths in `diff --git a/OLD b/NEW`: without quotes they can't always be told apart, but where they
/// are the same name, which is then known, they can.
fn begin<'a>(rest: &str) -> File<'a> {
    let (old, new) = if let Some(quoted) = rest.strip_prefix('"') {
        let end = quoted.find("\" ").map_or(quoted.len(), |end| end + 1);
        (format!("\"{}", &quoted[..end]), quoted[end..].trim_start().to_owned())
    } else {
        let same = (0..rest.len()).filter(|at| rest.as_bytes()[*at] == b' ').find(|at| {
            rest.is_char_boundary(*at)
                && without_prefix(&rest[..*at]) == without_prefix(&rest[*at + 1..])
        });
        let (old, new) = match same.or_else(|| rest.find(" b/")) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, rest),
        };
        (old.to_owned(), new.to_owned())
    };
    File { old: side(&old), new: side(&new), ..File::default() }
}

/// A path behind `---` or `+++`; empty for `/dev/null`.
fn side(path: &str) -> String {
    let path = path.split('\t').next().unwrap_or(path);
    match path {
        "/dev/null" => String::new(),
        path => without_prefix(&unquoted(path)).to_owned(),
    }
}

fn without_prefix(path: &str) -> &str {
    path.strip_prefix("a/").or_else(|| path.strip_prefix("b/")).unwrap_or(path)
}

/// A path as git quotes it where it has special characters. What they were exactly does not matter here.
fn unquoted(path: &str) -> String {
    match path.strip_prefix('"') {
        Some(inner) => {
            inner.strip_suffix('"').unwrap_or(inner).replace("\\\"", "\"").replace("\\\\", "\\")
        }
        None => path.to_owned(),
    }
}

/// `OLD[,N] +NEW[,N] @@ ...`
fn sizes(hunk: &str) -> Option<Left> {
    let (old, rest) = hunk.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let size = |range: &str| match range.split_once(',') {
        Some((_, size)) => size.parse().ok(),
        None => Some(1),
    };
    Some(Left { old: size(old)?, new: size(new)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_read_into_blocks_of_changed_lines() {
        let text = "diff --git a/src/a b.rs b/src/a b.rs\nindex 1..2 100644\n--- a/src/a b.rs\n\
                    +++ b/src/a b.rs\n@@ -1,3 +1,3 @@ fn x() {\n-old\n+new\n context\n--- not a header\n\
                    +++ neither\n\\ No newline at end of file\n";
        let block = |removed, added| Block { removed: vec![removed], added: vec![added] };
        let file = File {
            old: "src/a b.rs".into(),
            new: "src/a b.rs".into(),
            blocks: vec![block("old", "new"), block("-- not a header", "++ neither")],
            ..File::default()
        };
        assert_eq!(read(text), Diff { files: vec![file] });
    }

    #[test]
    fn renames_modes_binaries_and_what_came_or_went_are_told() {
        let text = "diff --git a/old.py b/new.py\nsimilarity index 100%\nrename from old.py\nrename to new.py\n\
                    diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n\
                    diff --git a/logo.png b/logo.png\nnew file mode 100644\nBinary files /dev/null and b/logo.png differ\n\
                    diff --git \"a/t\\303\\244st.py\" \"b/t\\303\\244st.py\"\ndeleted file mode 100644\n\
                    --- \"a/t\\303\\244st.py\"\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
        let read = read(text);
        let seen: Vec<_> = read
            .files
            .iter()
            .map(|file| (file.old.as_str(), file.new.as_str(), file.mode, file.is_binary))
            .collect();
        assert_eq!(
            seen,
            [
                ("old.py", "new.py", None, false),
                ("run.sh", "run.sh", Some("100755"), false),
                ("", "logo.png", Some("100644"), true),
                ("t\\303\\244st.py", "", None, false),
            ]
        );
        assert_eq!(read.files[3].blocks.len(), 1);
    }

    #[test]
    fn what_is_no_diff_has_no_files() {
        for text in
            ["", "hello", "@@ -1,99 +1,99 @@\n+x", "+++ b/x\n", "@@ -x +y @@", "\n\n@@ -", "diff"]
        {
            assert_eq!(read(text), Diff::default(), "{text}");
        }
        assert_eq!(read("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n").files.len(), 1);
    }
}
