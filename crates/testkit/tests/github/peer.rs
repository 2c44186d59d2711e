//! GitHub's own JavaScript client talks to the model as it would to GitHub.

use std::path::Path;

use windlass_testkit::github::published;

use crate::project::{TOKEN, start};

/// What the client does, and prints as JSON.
const SCRIPT: &str = r#"
import { Octokit } from "@octokit/rest";
const [baseUrl, auth, reviewer] = process.argv.slice(2);
const repository = { owner: "acme", repo: "api" };
const octokit = new Octokit({ baseUrl, auth });
const out = {};
out.login = (await octokit.rest.users.getAuthenticated()).data.login;
out.branch = (await octokit.rest.repos.get(repository)).data.default_branch;
const pull = (await octokit.rest.pulls.create({ ...repository, base: "main", head: "work", title: "t" })).data;
out.created = [pull.number, pull.state, pull.changed_files];
const pull_number = pull.number;
for (let i = 0; i < 65; i++) {
  await octokit.rest.issues.createComment({ ...repository, issue_number: pull_number, body: `c${i}` });
}
const all = await octokit.paginate(octokit.rest.issues.listComments, { ...repository, issue_number: pull_number, per_page: 20 });
out.comments = all.map((comment) => comment.body).join(" ") === Array.from({ length: 65 }, (_, i) => `c${i}`).join(" ");
const other = new Octokit({ baseUrl, auth: reviewer });
out.review = (await other.rest.pulls.createReview({ ...repository, pull_number, event: "APPROVE" })).data.state;
out.status = (await octokit.rest.repos.createCommitStatus({ ...repository, sha: pull.head.sha, state: "success" })).data.state;
try {
  await octokit.rest.pulls.create({ ...repository, base: "main", head: "work", title: "again" });
} catch (error) {
  out.refused = [error.status, error.response.data.errors[0].message];
}
const merged = (await octokit.rest.pulls.merge({ ...repository, pull_number, merge_method: "squash", sha: pull.head.sha })).data;
out.merged = merged.merged;
const after = (await octokit.rest.pulls.get({ ...repository, pull_number })).data;
out.after = [after.state, after.merged, after.merge_commit_sha === merged.sha, after.merged_by.login];
console.log(JSON.stringify(out));
"#;

#[tokio::test(flavor = "multi_thread")]
async fn githubs_own_client_is_content_with_the_model() {
    let test = "githubs_own_client_is_content_with_the_model";
    let Some(place) = published::installed(
        test,
        &["@octokit/rest@22.0.1"],
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    ) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = start(dir.path()).await;
    let script = place.join(format!("peer-{}.mjs", std::process::id()));
    std::fs::write(&script, SCRIPT).unwrap();
    let mut node = tokio::process::Command::new("node");
    node.arg(&script).args([model.api_root().as_str(), TOKEN, "ghp_reviewer"]).kill_on_drop(true);
    let output = node.output().await.unwrap();
    std::fs::remove_file(&script).unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "login": "windlass-bot", "branch": "main", "created": [1, "open", 1], "comments": true, "review": "APPROVED", "status": "success",
        "refused": [422, "A pull request already exists for acme:work."], "merged": true, "after": ["closed", true, true, "windlass-bot"],
    });
    assert_eq!(said, expected);
}
