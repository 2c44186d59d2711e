//! One project, read by the reference tool and by us.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use windlass_devcontainer::{Files, Request, resolve, resolve::Image, workspace::Workspace};

use crate::reference::Tool;

/// A project and what to ask about it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its files, by path.
    pub(crate) files: Vec<(String, String)>,
    /// The folder that is opened, below the project's root.
    pub(crate) folder: String,
    pub(crate) is_git: bool,
    pub(crate) ask: Ask,
    pub(crate) environment: BTreeMap<String, String>,
    /// Why the two are meant to differ.
    pub(crate) differs: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// The configuration as it is read.
    Configuration,
    /// Also what comes out with the label of an image.
    Merged { label: Option<String>, user: String, environment: BTreeMap<String, String> },
    /// The configuration of a running container with these variables.
    Container(BTreeMap<String, String>),
}

pub(crate) enum Verdict {
    Agree,
    BothRefuse,
    Differ(String),
}

impl Case {
    /// A project with nothing but a configuration.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: vec![(".devcontainer/devcontainer.json".to_owned(), text.to_owned())],
            folder: String::new(),
            is_git: false,
            ask: Ask::Configuration,
            environment: environment(),
            differs: None,
        }
    }

    /// The same with another file.
    pub(crate) fn with(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// The same, asking also for what comes out with an image.
    pub(crate) fn merged(mut self, label: Option<&str>) -> Self {
        let label = label.map(str::to_owned);
        self.ask = Ask::Merged { label, user: String::new(), environment: BTreeMap::new() };
        self
    }

    /// The same, read for a running container.
    pub(crate) fn running(mut self, environment: &[(&str, &str)]) -> Self {
        let owned = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        self.ask = Ask::Container(owned.collect());
        self
    }

    /// The same, but the two are meant to differ.
    pub(crate) fn differs(mut self, why: &'static str) -> Self {
        self.differs = Some(why);
        self
    }

    pub(crate) fn text(&self) -> String {
        let files = self.files.iter().map(|(path, text)| format!("--- {path}\n{text}"));
        let label = match &self.ask {
            Ask::Merged { label: Some(label), .. } => format!("\n--- label\n{label}"),
            Ask::Merged { .. } | Ask::Configuration | Ask::Container(_) => String::new(),
        };
        files.collect::<Vec<_>>().join("\n") + &label
    }

    pub(crate) fn compare(&self, tool: &Tool) -> Verdict {
        let stage = tempfile::tempdir().unwrap();
        // The name of the folder is part of the answers.
        let root = stage.path().canonicalize().unwrap().join("pro, ject");
        let answers = stage.path().join("answers");
        fs::create_dir_all(&answers).unwrap();
        for (path, text) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        if self.is_git {
            let status = Command::new("git").args(["init", "--quiet"]).arg(&root).status();
            assert!(status.unwrap().success());
        }
        let folder: PathBuf = root.join(&self.folder).components().collect();
        let theirs = self.theirs(tool, &folder, &answers);
        let ours = self.ours(&root, &folder);
        match (theirs, ours) {
            (Err(_), Err(_)) => Verdict::BothRefuse,
            (Err(theirs), Ok(_)) => Verdict::Differ(format!("they refuse, we don't: {theirs}")),
            (Ok(_), Err(ours)) => Verdict::Differ(format!("we refuse, they don't: {ours}")),
            (Ok(theirs), Ok(ours)) if theirs == ours => Verdict::Agree,
            (Ok(theirs), Ok(ours)) => {
                let mut lines = Vec::new();
                differences("", &theirs, &ours, &mut lines);
                Verdict::Differ(lines.join("\n"))
            }
        }
    }

    fn theirs(&self, tool: &Tool, folder: &Path, answers: &Path) -> Result<Value, String> {
        let mut arguments = Vec::new();
        fs::write(answers.join("ps"), "").unwrap();
        match &self.ask {
            Ask::Configuration => {}
            Ask::Merged { label, user, environment } => {
                arguments.push("--include-merged-configuration");
                let labels = match label {
                    Some(label) => json!({ "devcontainer.metadata": label }),
                    None => json!({}),
                };
                let image = json!([{ "Id": "sha256:0", "Config": {
                    "User": user, "Env": pairs(environment), "Labels": labels,
                    "Entrypoint": null, "Cmd": null,
                }}]);
                fs::write(answers.join("image.json"), image.to_string()).unwrap();
            }
            Ask::Container(environment) => {
                arguments.push("--include-merged-configuration");
                fs::write(answers.join("ps"), "abc\n").unwrap();
                let container = json!([{
                    "Id": "abc", "Created": "", "Name": "n", "State": { "Status": "running" },
                    "Config": {
                        "Image": "i", "User": "root", "Env": pairs(environment),
                        "Labels": { "devcontainer.config_file": "is there" },
                    },
                    "Mounts": [], "NetworkSettings": { "Ports": {} },
                }]);
                fs::write(answers.join("container.json"), container.to_string()).unwrap();
            }
        }
        let mut said = tool.read(folder, answers, &arguments, &self.environment)?;
        let take = |value: &mut Value, key: &str| value.get_mut(key).map(Value::take);
        let mut configuration = take(&mut said, "configuration").unwrap();
        remove(&mut configuration, "configFilePath");
        let mut merged = take(&mut said, "mergedConfiguration").unwrap_or(Value::Null);
        remove(&mut merged, "configFilePath");
        // The largest of no numbers, printed: an intended difference.
        if merged.pointer("/hostRequirements/memory") == Some(&json!("-Infinity")) {
            remove(&mut merged, "hostRequirements");
        }
        let mut workspace = take(&mut said, "workspace").unwrap();
        if workspace["workspaceMount"].is_null() {
            remove(&mut workspace, "workspaceMount");
        }
        let sets = said.pointer("/featuresConfiguration/featureSets").and_then(Value::as_array);
        let features = sets.into_iter().flatten().map(|set| {
            set.pointer("/sourceInformation/userFeatureId").cloned().unwrap_or(Value::Null)
        });
        let asked = fs::read_to_string(answers.join("asked")).unwrap_or_default();
        Ok(normal(json!({
            "configuration": configuration,
            "workspace": workspace,
            "merged": merged,
            "features": features.collect::<Vec<_>>(),
            "image": asked.lines().next(),
        })))
    }

    fn ours(&self, root: &Path, folder: &Path) -> Result<Value, String> {
        let disk = Disk;
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let workspace =
            Workspace { folder: text(folder), git_root: self.is_git.then(|| text(root)) };
        let file = windlass_devcontainer::find::find(&disk, &workspace.folder, None);
        let file = file.map_err(|finding| finding.to_string())?.unwrap_or_default();
        let labels = BTreeMap::from([
            ("devcontainer.local_folder".to_owned(), workspace.folder.clone()),
            ("devcontainer.config_file".to_owned(), file),
        ]);
        let mut request = Request {
            workspace,
            named: None,
            local_environment: &self.environment,
            id_labels: None,
            container_environment: None,
            images: &BTreeMap::new(),
            features: &BTreeMap::new(),
            capabilities: None,
        };
        let mut is_merged = true;
        let mut image = Image::default();
        match &self.ask {
            Ask::Configuration => is_merged = false,
            Ask::Merged { label, user, environment } => {
                image = Image {
                    label: label.clone(),
                    environment: environment.clone(),
                    user: user.clone(),
                };
            }
            Ask::Container(environment) => {
                request.id_labels = Some(&labels);
                request.container_environment = Some(environment);
            }
        }
        // Once to learn which image it is, once with what is known of it.
        let first = resolve(&request, &disk).map_err(|refused| refused.to_string())?;
        let images = first.base_image.iter().map(|name| (name.clone(), image.clone())).collect();
        let asks_image = matches!(self.ask, Ask::Merged { .. });
        if asks_image {
            request.images = &images;
        }
        let resolved = resolve(&request, &disk).map_err(|refused| refused.to_string())?;
        let features = if asks_image { resolved.features.as_slice() } else { &[] };
        let mut merged = Value::Null;
        if is_merged {
            merged = resolved.merged_configuration.to_json();
        }
        Ok(normal(json!({
            "configuration": resolved.configuration.to_json(),
            "workspace": resolved.workspace,
            "merged": merged,
            "features": features.iter().map(|feature| &feature.written).collect::<Vec<_>>(),
            "image": if asks_image { resolved.base_image.clone() } else { None },
        })))
    }
}

/// What both may see of the host.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap();
    [
        ("PATH", path.as_str()),
        ("HOME", "/nonexistent"),
        ("GIT_CEILING_DIRECTORIES", "/"),
        ("FULL", "full value"),
        ("EMPTY", ""),
        ("DOLLAR", "$& ${FULL} $1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn pairs(environment: &BTreeMap<String, String>) -> Vec<String> {
    environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn remove(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(key);
    }
}

/// JavaScript prints `1.0` as `1`.
fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) => json!(float),
            None => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        other => other,
    }
}

/// The places at which two values differ.
fn differences(path: &str, theirs: &Value, ours: &Value, lines: &mut Vec<String>) {
    let (Value::Object(a), Value::Object(b)) = (theirs, ours) else {
        if theirs != ours {
            lines.push(format!("{path}: theirs {theirs}, ours {ours}"));
        }
        return;
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let at = format!("{path}/{key}");
        match (a.get(key), b.get(key)) {
            (Some(theirs), Some(ours)) => differences(&at, theirs, ours, lines),
            (Some(theirs), None) => lines.push(format!("{at}: theirs {theirs}, ours absent")),
            (None, ours) => lines.push(format!("{at}: theirs absent, ours {ours:?}")),
        }
    }
}

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Option<String>, String> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(PathBuf::from(path)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}
