//! Ecosystems whose one tool knows everything: Go, Maven, Gradle, Ruby, PHP, .NET.

use serde_json::Value;

use crate::{
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, join, name_of},
};

pub(super) fn go(tree: &Tree, path: &str) -> Option<Unit> {
    let version = tree.text(path).and_then(|text| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix("go "))
            .map(|version| version.trim().to_owned())
    });
    let tool =
        version.map_or(Tool::any("go"), |version| Tool::of("go", &format!(">={version}"), path));
    Some(Unit {
        tools: vec![tool],
        install: vec![Command::new("go mod download", "the modules that go.mod names", path)],
        build: vec![Command::new("go build ./...", "all packages", path)],
        test: vec![Command::new("go test -v ./...", "all packages", path)],
        ..empty("go", path)
    })
}

pub(super) fn maven(tree: &Tree, path: &str) -> Option<Unit> {
    let program = if tree.has(&join(folder_of(path), "mvnw")) { "sh ./mvnw" } else { "mvn" };
    let needs: &[&str] = if program == "mvn" { &["mvn", "java"] } else { &["java"] };
    let maven = |goal: &str, why: &str| {
        Command::new(format!("{program} -B -ntp {goal}"), why, path).needing(needs)
    };
    Some(Unit {
        tools: needs.iter().map(|name| Tool::any(name)).collect(),
        install: vec![],
        build: vec![maven("test-compile", "compiles the sources and the tests")],
        test: vec![
            maven("test", "Maven's own phase"),
            maven(
                "test -Dcheckstyle.skip -Drat.skip -Denforcer.skip",
                "the tests without other checks",
            ),
        ],
        ..empty("java", path)
    })
}

pub(super) fn gradle(tree: &Tree, path: &str) -> Option<Unit> {
    let program =
        if tree.has(&join(folder_of(path), "gradlew")) { "sh ./gradlew" } else { "gradle" };
    let needs: &[&str] = if program == "gradle" { &["gradle", "java"] } else { &["java"] };
    let gradle = |task: &str, why: &str| {
        Command::new(format!("{program} --no-daemon --console=plain {task}"), why, path)
            .needing(needs)
    };
    Some(Unit {
        tools: needs.iter().map(|name| Tool::any(name)).collect(),
        build: vec![gradle("testClasses", "compiles the sources and the tests")],
        test: vec![gradle("test -i", "Gradle's own task")],
        ..empty("java", path)
    })
}

pub(super) fn ruby(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let has = |name: &str| tree.has(&join(folder, name));
    let has_folder = |name: &str| tree.has_folder(&join(folder, name));
    let bundled = has("Gemfile");
    let mut test = Vec::new();
    let each = "ruby -Ilib -Itest -e 'Dir[\"test/**/{test_*,*_test}.rb\"].sort.each { |file| require \"./\" + file }'";
    for (there, line, why) in [
        (has_folder("spec"), "rspec", "there is a folder spec/"),
        (has("Rakefile"), "rake test", "Rake's usual task"),
        (has_folder("test"), each, "the files below test/"),
    ] {
        if there && bundled {
            test.push(Command::new(format!("bundle exec {line}"), why, path));
        }
        if there {
            test.push(Command::new(line, format!("{why}, with the gems that are there"), path));
        }
    }
    if test.is_empty() && name_of(path) == "Rakefile" {
        return None;
    }
    let bundle = Command::new("bundle install", "the gems that the Gemfile names", path);
    Some(Unit {
        tools: if bundled {
            vec![Tool::any("ruby"), Tool::any("bundle")]
        } else {
            vec![Tool::any("ruby")]
        },
        install: if bundled { vec![bundle] } else { Vec::new() },
        test,
        ..empty("ruby", path)
    })
}

pub(super) fn php(tree: &Tree, path: &str) -> Option<Unit> {
    let manifest: Value = serde_json::from_str(tree.text(path)?).ok()?;
    let mut test = Vec::new();
    if !manifest["scripts"]["test"].is_null() {
        test.push(Command::new("composer test", "the script `test`", path));
    }
    test.push(Command::new("vendor/bin/phpunit", "PHPUnit, as installed", path).needing(&["php"]));
    test.push(Command::new("phpunit", "PHPUnit of the machine", path));
    Some(Unit {
        tools: vec![Tool::any("php"), Tool::any("composer")],
        install: vec![Command::new(
            "composer install --no-interaction",
            "what composer.json names",
            path,
        )],
        test,
        ..empty("php", path)
    })
}

pub(super) fn dotnet(tree: &Tree, path: &str) -> Option<Unit> {
    let pinned = join(folder_of(path), "global.json");
    let version = tree.text(&pinned).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let version = version.and_then(|value| value["sdk"]["version"].as_str().map(str::to_owned));
    let tool = version.map_or(Tool::any("dotnet"), |version| {
        Tool::of("dotnet", &format!(">={version}"), &pinned)
    });
    Some(Unit {
        tools: vec![tool],
        install: vec![Command::new("dotnet restore", "the packages that the projects name", path)],
        build: vec![Command::new("dotnet build --no-restore", "all projects", path)],
        test: vec![Command::new("dotnet test --no-build", "all projects with tests", path)],
        ..empty("dotnet", path)
    })
}

fn empty(ecosystem: &'static str, path: &str) -> Unit {
    Unit {
        ecosystem,
        folder: folder_of(path).to_owned(),
        place: path.to_owned(),
        tools: Vec::new(),
        install: Vec::new(),
        build: Vec::new(),
        test: Vec::new(),
    }
}
