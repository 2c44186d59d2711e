//! Installing with an npm that is played, so that nothing is fetched.

use super::*;

/// An npm that leaves what a real one would, or fails.
struct Played {
    fails: Option<&'static str>,
    without_entry: bool,
    runs: u32,
}

impl Played {
    fn new() -> Self {
        Self { fails: None, without_entry: false, runs: 0 }
    }
}

impl Npm for Played {
    async fn run(&mut self, arguments: &[String], directory: &Path) -> Result<(), String> {
        self.runs += 1;
        assert!(arguments.contains(&"--ignore-scripts".to_owned()));
        let manifest: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(directory.join("package.json")).unwrap())
                .unwrap();
        if let Some(problem) = self.fails {
            return Err(problem.to_owned());
        }
        let mut packages = json!({"": {}});
        for (name, version) in manifest["dependencies"].as_object().unwrap() {
            let at = format!("node_modules/{name}");
            packages[&at] = json!({"version": version, "integrity": format!("sha512-{name}")});
        }
        let lock = json!({"lockfileVersion": 3, "packages": packages});
        std::fs::write(directory.join("package-lock.json"), lock.to_string()).unwrap();
        let modules = directory.join("node_modules");
        let script = modules.join("@agentclientprotocol/claude-agent-acp/dist/index.js");
        let node = modules.join(known::node_package()).join("bin/node");
        for path in [script, node] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !self.without_entry {
                std::fs::write(path, "x").unwrap();
            }
        }
        Ok(())
    }
}

fn claude(root: &Path) -> Plan {
    let (agent, version) = parse("claude-code").unwrap();
    plan(agent, &version, root).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

#[tokio::test]
async fn a_version_appears_whole_and_is_recorded() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let plan = claude(root.path());
    let mut npm = Played::new();
    let mut seen = Vec::new();
    let installed = carry_out(&plan, &mut npm, |step| seen.push(step.clone())).await.unwrap();

    assert_eq!(seen, plan.steps);
    assert_eq!((installed.name.as_str(), installed.version.as_str()), ("claude-code", "0.101.0"));
    assert!(installed.packages.contains(&Fetched {
        package: "@agentclientprotocol/claude-agent-acp".to_owned(),
        version: "0.101.0".to_owned(),
        integrity: "sha512-@agentclientprotocol/claude-agent-acp".to_owned(),
    }));
    assert_eq!(list(root.path()).unwrap(), vec![Listed::Installed(installed.clone())]);
    assert_eq!(names(&root.path().join("claude-code")), vec![".lock", "0.101.0"]);
    let mode = std::fs::metadata(&plan.target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);

    // A second time there is nothing to do.
    assert_eq!(carry_out(&plan, &mut npm, |_| {}).await.unwrap(), installed);
    assert_eq!(npm.runs, 1);
}

#[tokio::test]
async fn a_failed_install_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let plan = claude(root.path());
    let mut npm = Played { fails: Some("E404"), ..Played::new() };
    assert_eq!(
        carry_out(&plan, &mut npm, |_| {}).await.unwrap_err().to_string(),
        "npm failed: E404"
    );
    let mut npm = Played { without_entry: true, ..Played::new() };
    let error = carry_out(&plan, &mut npm, |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
    assert_eq!(names(&root.path().join("claude-code")), vec![".lock"]);
}

#[tokio::test]
async fn what_a_killed_install_left_is_removed_and_a_broken_version_replaced() {
    let root = tempfile::tempdir().unwrap();
    let plan = claude(root.path());
    std::fs::create_dir_all(root.path().join("claude-code/.installing-0.101.0-abc/node_modules"))
        .unwrap();
    std::fs::create_dir_all(plan.target.join("node_modules")).unwrap();
    assert!(matches!(list(root.path()).unwrap().as_slice(), [Listed::Broken { .. }]));
    carry_out(&plan, &mut Played::new(), |_| {}).await.unwrap();
    assert_eq!(names(&root.path().join("claude-code")), vec![".lock", "0.101.0"]);
    assert!(matches!(list(root.path()).unwrap().as_slice(), [Listed::Installed(_)]));
}

#[tokio::test]
async fn two_installs_of_one_agent_do_not_meet() {
    let root = tempfile::tempdir().unwrap();
    let plan = claude(root.path());
    std::fs::create_dir_all(root.path().join("claude-code")).unwrap();
    let _held = lock(&root.path().join("claude-code"), "claude-code").unwrap();
    let error = carry_out(&plan, &mut Played::new(), |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error}");
}

#[test]
fn only_exact_versions_of_known_agents_are_taken() {
    assert_eq!(parse("codex@2.6.0-rc.1").unwrap().1, "2.6.0-rc.1");
    assert!(matches!(parse("claud"), Err(Error::Unknown { .. })));
    assert!(matches!(parse("builtin"), Err(Error::NothingToInstall(_))));
    for bad in ["latest", "^1.2.3", "1.2", "1.2.3/..", "1.2.3-../x", "", "1.2.x", "1.2.3 "] {
        assert!(matches!(parse(&format!("codex@{bad}")), Err(Error::Version(_))), "{bad}");
    }
}

#[test]
fn nothing_installed_is_an_empty_list() {
    assert_eq!(list(Path::new("/does/not/exist")).unwrap(), vec![]);
}

#[test]
fn npm_gets_what_it_needs_of_the_hosts_variables_and_no_more() {
    let host = [
        "PATH",
        "NODE_EXTRA_CA_CERTS",
        "npm_config_registry",
        "AWS_SECRET_ACCESS_KEY",
        "ANTHROPIC_API_KEY",
    ];
    let host = host.map(|name| (name.to_owned(), "value".to_owned()));
    let names: Vec<String> = environment(host).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["PATH", "NODE_EXTRA_CA_CERTS", "npm_config_registry"]);
}

#[tokio::test]
async fn an_npm_that_is_not_there_or_fails_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let limit = std::time::Duration::from_secs(60);
    let mut npm = HostNpm { program: "/does/not/exist/npm".into(), environment: vec![], limit };
    let error = npm.run(&[], directory.path()).await.unwrap_err();
    assert!(error.contains("/does/not/exist/npm can't be started"), "{error}");
    let mut npm = HostNpm { program: "/bin/sh".into(), environment: vec![], limit };
    let arguments = ["-c", "echo \"$HOME is empty\" >&2; exit 3"].map(str::to_owned);
    let error = npm.run(&arguments, directory.path()).await.unwrap_err();
    assert_eq!(error, "exit status: 3; the end of what it said:\nis empty");
}
