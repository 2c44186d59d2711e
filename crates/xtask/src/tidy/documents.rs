//! Documents that name things which must exist: `ARCHITECTURE.md` names crates, files and items in
//! back quotes; relative links lead somewhere; a decision is numbered once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::Finding;

/// Checks the documents.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = architecture(root, files)?;
    findings.extend(links(root, files)?);
    findings.extend(decisions(files));
    Ok(findings)
}

/// Every name in back quotes that looks like a path of ours or an item of ours must exist.
fn architecture(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let file = PathBuf::from("ARCHITECTURE.md");
    let text = fs::read_to_string(root.join(&file))?;
    let mut sources = BTreeMap::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")) {
        if let (Ok(rest), Ok(text)) =
            (path.strip_prefix("crates"), fs::read_to_string(root.join(path)))
            && let Some(name) = rest.components().next()
        {
            let name = name.as_os_str().to_string_lossy().into_owned();
            sources.entry(name).or_insert_with(String::new).push_str(&text);
        }
    }
    let mut findings = Vec::new();
    for (i, line) in text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2) {
            if !exists(root, name, &sources) {
                findings.push(Finding {
                    file: file.clone(),
                    line: i + 1,
                    what: format!("`{name}` doesn't exist: name what is there"),
                });
            }
        }
    }
    Ok(findings)
}

fn exists(root: &Path, name: &str, sources: &BTreeMap<String, String>) -> bool {
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if let Some((crate_name, rest)) = name.split_once("::") {
        let Some(text) = sources.get(crate_name) else { return true };
        let item = rest.rsplit("::").next().unwrap_or(rest).trim_end_matches("()");
        return ["fn ", "struct ", "enum ", "trait ", "mod ", "type ", "const "]
            .iter()
            .any(|keyword| text.contains(&format!("{keyword}{item}")))
            || text.contains(&format!("    {item}"));
    }
    if name.contains('/') && name.split('/').all(is_word) && !name.starts_with('/') {
        return root.join(name).exists();
    }
    true
}

fn links(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "md")) {
        let folder = root.join(file.parent().unwrap_or(Path::new("")));
        for (i, line) in fs::read_to_string(root.join(file))?.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or("");
                if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                    continue;
                }
                if !folder.join(path).exists() {
                    findings.push(Finding {
                        file: file.clone(),
                        line: i + 1,
                        what: format!("the link to `{target}` leads nowhere"),
                    });
                }
            }
        }
    }
    Ok(findings)
}

fn decisions(files: &[PathBuf]) -> Vec<Finding> {
    let mut by_number = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.parent() == Some(Path::new("docs/decisions"))) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split('-').next().unwrap_or("").to_owned();
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            if name != "README.md" {
                findings.push(Finding {
                    file: file.clone(),
                    line: 0,
                    what: "name a decision `NNNN-what.md`".to_owned(),
                });
            }
        } else if let Some(other) = by_number.insert(number, name) {
            findings.push(Finding {
                file: file.clone(),
                line: 0,
                what: format!("another decision has this number: {other}"),
            });
        }
    }
    findings
}
