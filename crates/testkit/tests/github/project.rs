//! A repository on the model, with a branch to propose.

use std::path::Path;

use windlass_git::repository::Expected;
use windlass_git::snapshot::{NewCommit, WorkTree};
use windlass_git::{Git, Oid, RefName, Signature};
use windlass_testkit::github::{Access, GitHub};

pub(crate) const TOKEN: &str = "ghp_0123456789abcdef";

/// Starts the model with `acme/api`: `main`, and `work` with one commit more.
pub(crate) async fn start(dir: &Path) -> (GitHub, Oid) {
    let source = Git::default().init(&dir.join("source.git")).await.unwrap();
    let empty = Oid::parse("4b825dc642cb6eb9a060e54bf8d69288fbee4904").unwrap();
    let tree = WorkTree { path: dir.join("tree"), index: dir.join("index") };
    std::fs::create_dir(&tree.path).unwrap();
    let mut parents: Vec<Oid> = Vec::new();
    for (branch, text) in [("main", "one\n"), ("work", "one\ntwo\n")] {
        std::fs::write(tree.path.join("file"), text).unwrap();
        let snapshot = source.snapshot(&tree, &empty, &Default::default()).await.unwrap();
        let who = Signature { name: "W".into(), email: "w@localhost".into(), at: 0 };
        let commit = NewCommit {
            tree: snapshot.tree,
            parents: parents.clone(),
            author: who.clone(),
            committer: who,
            message: branch.into(),
        };
        let commit = source.commit(&commit).await.unwrap();
        source
            .update_reference(&RefName::branch(branch).unwrap(), &commit, Expected::Absent)
            .await
            .unwrap();
        parents = vec![commit];
    }
    let model = GitHub::start().await;
    model.add_token(TOKEN, "windlass-bot", Access::Write).await;
    model.add_token("ghp_reviewer", "reviewer", Access::Write).await;
    model.add_token("ghp_reader", "reader", Access::Read).await;
    model.add_repository("acme/api", source.dir(), true).await;
    (model, parents.remove(0))
}
