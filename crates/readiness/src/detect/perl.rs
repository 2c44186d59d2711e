//! Perl: `Makefile.PL` or `Build.PL`.

use crate::{
    plan::{Command, Tool, Unit},
    tree::{Tree, folder_of, join, name_of},
};

pub(super) fn unit(tree: &Tree, path: &str) -> Option<Unit> {
    let folder = folder_of(path);
    let prove = Command::new("prove -b -l -r t", "the tests below t/", path);
    let (tools, build, mut test) = match name_of(path) {
        "Build.PL" => (
            vec!["perl"],
            Command::new("perl Build.PL && ./Build", "Module::Build", path),
            vec![Command::new("./Build test", "Module::Build's own tests", path)],
        ),
        _ => (
            vec!["perl", "make"],
            Command::new("perl Makefile.PL </dev/null && make", "MakeMaker", path)
                .needing(&["perl", "make"]),
            vec![Command::new("make test", "MakeMaker's own tests", path)],
        ),
    };
    if tree.has_folder(&join(folder, "t")) {
        test.push(prove);
    }
    Some(Unit {
        ecosystem: "perl",
        folder: folder.to_owned(),
        place: path.to_owned(),
        tools: tools.into_iter().map(Tool::any).collect(),
        install: Vec::new(),
        build: vec![build],
        test,
    })
}
