//! Features: references, options, order, what has to be fetched, the lock file.

use windlass_devcontainer::feature::{OciReference, Reference, lock::Lock, manifest::variable};

use crate::project::{Project, digest};

#[test]
fn references_of_all_kinds_are_read_and_others_refused() {
    let cases = [
        ("./a/b", Ok("./a/b")),
        ("ghcr.io/Owner/Repo/Go:1.2", Ok("ghcr.io/owner/repo/go:1.2")),
        ("ghcr.io/owner/go", Ok("ghcr.io/owner/go:latest")),
        ("localhost:5000/owner/go", Ok("localhost:5000/owner/go:latest")),
        ("ghcr.io/devcontainers-contrib/x/y", Ok("ghcr.io/devcontainers-extra/x/y:latest")),
        ("node", Ok("ghcr.io/devcontainers/features/node:1")),
        (
            "https://x.org/devcontainer-feature-go.tgz?a=b",
            Ok("https://x.org/devcontainer-feature-go.tgz?a=b"),
        ),
        (
            "fish",
            Err(
                "`fish` names no Feature: write registry/owner/name:version, or `./fish` for a folder beside the configuration",
            ),
        ),
        (
            "/a",
            Err(
                "`/a` is an absolute path: a local Feature lies beside the configuration, write `./...`",
            ),
        ),
        (
            "http://x/devcontainer-feature-go.tgz",
            Err("`http://x/devcontainer-feature-go.tgz` isn't fetched over HTTPS: use https://"),
        ),
        (
            "https://x/go.tgz",
            Err("the archive of `https://x/go.tgz` must be called devcontainer-feature-<id>.tgz"),
        ),
        ("ghcr.io/go", Err("`ghcr.io/go` isn't an artifact's name: write registry/owner/name")),
        (
            "owner/repository/go",
            Err(
                "`owner/repository/go` isn't an artifact's name: it must begin with a registry's host, such as ghcr.io; Features of GitHub releases aren't supported",
            ),
        ),
        (
            "ghcr.io/a/b@sha256:12",
            Err(
                "`ghcr.io/a/b@sha256:12` isn't an artifact's name: a digest is sha256: and 64 hexadecimal digits",
            ),
        ),
        (
            "ghcr.io/a/b:-",
            Err(
                "`ghcr.io/a/b:-` isn't an artifact's name: a tag is up to 128 letters, digits and `_.-`",
            ),
        ),
        (
            "ghcr.io/a/b..c",
            Err(
                "`ghcr.io/a/b..c` isn't an artifact's name: each part is letters and digits, joined by `.`, `_` or `-`",
            ),
        ),
    ];
    for (text, expected) in cases {
        let read = Reference::parse(text).map(|reference| reference.to_string());
        assert_eq!(
            read.as_deref().map_err(ToString::to_string),
            expected.map_err(str::to_owned),
            "{text}"
        );
    }
    let digest = "0123456789abcdef".repeat(4);
    let reference = OciReference::parse(&format!("ghcr.io/a/b/c@sha256:{digest}")).unwrap();
    let parts = (reference.resource(), reference.tag, reference.digest);
    assert_eq!(parts, ("ghcr.io/a/b/c".to_owned(), None, Some(format!("sha256:{digest}"))));
}

#[test]
fn options_become_variables_over_their_defaults() {
    let names = ["version", "install-zsh", "1st", "__x", "a b", "é😀"];
    let variables: Vec<String> = names.iter().map(|name| variable(name)).collect();
    assert_eq!(variables, ["VERSION", "INSTALL_ZSH", "_ST", "_X", "A_B", "_"]);

    let manifest = r#"{ "id": "f", "options": {
        "version": { "type": "string", "default": "latest" },
        "flag": { "type": "boolean", "default": true },
        "pick": { "type": "string", "enum": ["a", "b"], "default": "a" }
    } }"#;
    let environment = |options: &str| {
        let project = Project::new(&format!("{{ \"features\": {{ \"./f\": {options} }} }}"))
            .with(".devcontainer/f/devcontainer-feature.json", manifest);
        let said = project.said();
        let resolved = project.resolve().map(|resolved| {
            let pairs = resolved.features[0].environment.iter();
            pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        });
        (resolved.unwrap_or_default(), said)
    };
    let nothing = Vec::<String>::new;
    assert_eq!(environment("{}"), ("VERSION=latest FLAG=true PICK=a".to_owned(), nothing()));
    assert_eq!(environment("\"1.2\""), ("VERSION=1.2 FLAG=true PICK=a".to_owned(), nothing()));
    assert_eq!(
        environment("{ \"flag\": false, \"pick\": \"b\" }"),
        ("VERSION=latest FLAG=false PICK=b".to_owned(), nothing())
    );
    assert_eq!(
        environment("{ \"pik\": \"b\" }"),
        (
            "VERSION=latest FLAG=true PICK=a PIK=b".to_owned(),
            vec!["devcontainer.json:1:17: warning: the Feature `f` has no option `pik`: did you mean `pick`?".to_owned()]
        )
    );
    assert_eq!(
        environment("{ \"pick\": \"c\" }"),
        (
            String::new(),
            vec![
                "devcontainer.json:1:17: the option `pick` of `f` can't be `c`: use a, b"
                    .to_owned()
            ]
        )
    );
}

#[test]
fn what_is_remote_is_asked_for_and_then_ordered_and_locked() {
    let text = r#"{ "features": { "ghcr.io/a/f/z:1": {}, "ghcr.io/a/f/b:2": {}, "./local": {} } }"#;
    let project = Project::new(text).with(
        ".devcontainer/local/devcontainer-feature.json",
        r#"{ "id": "local", "installsAfter": ["./gone"] }"#,
    );
    let missing = project.resolve().unwrap().missing;
    assert_eq!(missing.features.keys().collect::<Vec<_>>(), ["ghcr.io/a/f/b:2", "ghcr.io/a/f/z:1"]);

    // What depends on something else sends the caller for that too.
    let project = project
        .fetched("ghcr.io/a/f/z:1", r#"{ "id": "z", "version": "1.0.3" }"#)
        .fetched("ghcr.io/a/f/b:2", r#"{ "id": "b", "version": "2.1.0", "dependsOn": { "ghcr.io/x/y/dep": {} }, "installsAfter": ["ghcr.io/a/f/z"] }"#);
    let missing = project.resolve().unwrap().missing;
    assert_eq!(missing.features.keys().collect::<Vec<_>>(), ["ghcr.io/x/y/dep"]);

    let project = project.fetched("ghcr.io/x/y/dep", r#"{ "id": "dep", "version": "0.1.0" }"#);
    let resolved = project.resolve().unwrap();
    let environment = resolved.install_environment(&resolved.features[0]);
    let users: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(users, [("_CONTAINER_USER", "root"), ("_REMOTE_USER", "root")]);
    let order: Vec<&str> =
        resolved.features.iter().map(|feature| feature.written.as_str()).collect();
    assert_eq!(order, ["./local", "ghcr.io/a/f/z:1", "ghcr.io/x/y/dep", "ghcr.io/a/f/b:2"]);
    assert!(resolved.missing.is_empty());

    let lock = Lock::of(&resolved.features);
    let text = lock.text();
    assert_eq!(Lock::parse("lock", &text).unwrap(), lock);
    let [b, z, dep] = ["ghcr.io/a/f/b:2", "ghcr.io/a/f/z:1", "ghcr.io/x/y/dep"].map(digest);
    assert_eq!(
        text,
        format!(
            r#"{{
  "features": {{
    "ghcr.io/a/f/b:2": {{
      "version": "2.1.0",
      "resolved": "ghcr.io/a/f/b@{b}",
      "integrity": "{b}",
      "dependsOn": [
        "ghcr.io/x/y/dep"
      ]
    }},
    "ghcr.io/a/f/z:1": {{
      "version": "1.0.3",
      "resolved": "ghcr.io/a/f/z@{z}",
      "integrity": "{z}"
    }},
    "ghcr.io/x/y/dep": {{
      "version": "0.1.0",
      "resolved": "ghcr.io/x/y/dep@{dep}",
      "integrity": "{dep}"
    }}
  }}
}}
"#
        )
    );
}

#[test]
fn the_lock_file_says_what_to_fetch_and_refuses_anything_else() {
    let lock = r#"{ "features": { "ghcr.io/A/f/z:1": { "version": "1", "resolved": "r", "integrity": "sha256:x" } } }"#;
    let project = Project::new(r#"{ "features": { "ghcr.io/a/f/z:1": {} } }"#)
        .with(".devcontainer/devcontainer-lock.json", lock);
    let missing = project.resolve().unwrap().missing;
    assert_eq!(missing.features["ghcr.io/a/f/z:1"].as_deref(), Some("sha256:x"));

    let project = project.fetched("ghcr.io/a/f/z:1", r#"{ "id": "z" }"#);
    let digest = digest("ghcr.io/a/f/z:1");
    assert_eq!(
        project.said(),
        [format!(
            "devcontainer.json:1:17: the Feature `ghcr.io/a/f/z:1` is {digest}, the lock file demands sha256:x: remove its entry there to take the new one"
        )]
    );
    let broken = Project::new(r#"{ "features": { "ghcr.io/a/f/z:1": {} } }"#)
        .with(".devcontainer/devcontainer-lock.json", "{ \"features\": 1 }");
    assert_eq!(
        broken.said(),
        [
            "devcontainer-lock.json:1:15: it is no lock file: invalid type: integer `1`, expected a map at line 1 column 15; remove it to lock anew"
        ]
    );
}

#[test]
fn features_that_wait_for_each_other_are_refused_by_name() {
    let project = Project::new(r#"{ "features": { "./a": {}, "./ok": {} } }"#)
        .with(".devcontainer/ok/devcontainer-feature.json", r#"{ "id": "ok" }"#)
        .with(
            ".devcontainer/a/devcontainer-feature.json",
            r#"{ "id": "a", "dependsOn": { "./b": {} } }"#,
        )
        .with(
            ".devcontainer/b/devcontainer-feature.json",
            r#"{ "id": "b", "installsAfter": ["./a"] }"#,
        );
    assert_eq!(
        project.said(),
        [
            "devcontainer.json:1:17: these Features wait for each other: ./a, ./b; remove one from `features`, or a `dependsOn` or `installsAfter` of theirs"
        ]
    );
}

#[test]
fn a_feature_is_meant_by_its_names_of_old_too() {
    let text = r#"{ "features": { "ghcr.io/a/f/zeta": {}, "ghcr.io/a/f/nodejs": {}, "ghcr.io/a/f/beta": {} },
        "overrideFeatureInstallOrder": ["ghcr.io/a/f/node"] }"#;
    let project = Project::new(text)
        .fetched("ghcr.io/a/f/zeta", r#"{ "id": "zeta" }"#)
        .fetched(
            "ghcr.io/a/f/nodejs",
            r#"{ "id": "nodejs", "currentId": "node", "legacyIds": ["nodejs"] }"#,
        )
        .fetched("ghcr.io/a/f/beta", r#"{ "id": "beta", "installsAfter": ["ghcr.io/a/f/zeta"] }"#);
    let resolved = project.resolve().unwrap();
    let order: Vec<&str> = resolved.features.iter().map(|feature| feature.reference.id()).collect();
    assert_eq!(order, ["nodejs", "zeta", "beta"]);
}

#[test]
fn short_names_of_old_are_options_of_others_today() {
    let text = r#"{ "features": { "maven": {}, "ghcr.io/devcontainers/features/java:1": "17" } }"#;
    let project = Project::new(text).fetched(
        "ghcr.io/devcontainers/features/java:1",
        r#"{ "id": "java", "options": { "version": { "type": "string", "default": "latest" }, "installMaven": { "type": "boolean", "default": false } } }"#,
    );
    let resolved = project.resolve().unwrap();
    let features: Vec<_> =
        resolved.features.iter().map(|feature| (&feature.written, &feature.environment)).collect();
    assert_eq!(
        serde_json::to_value(features).unwrap(),
        serde_json::json!([["ghcr.io/devcontainers/features/java:1", { "VERSION": "17", "INSTALLMAVEN": "true" }]])
    );
}
