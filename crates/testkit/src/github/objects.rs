//! The shapes of GitHub's answers, complete by its published description.

use serde_json::{Map, Value, json};

use super::{Pull, World};

/// A time as the API writes it.
pub(super) fn time(seconds: i64) -> String {
    // Days since the epoch to a date, by the usual arithmetic on eras of 400 years.
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

fn node(kind: &str, id: u64) -> String {
    format!("{kind}_{id:012x}")
}

/// An account in short.
pub(super) fn user(world: &World, login: &str) -> Value {
    let id = world.accounts.iter().position(|known| known == login).map_or(0, |at| at as u64 + 1);
    let (root, api) = (&world.root, format!("{}/api/v3/users/{login}", world.root));
    let mut user = json!({
        "login": login,
        "id": id,
        "node_id": node("U", id),
        "avatar_url": format!("{root}/avatars/{id}"),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{root}/{login}"),
        "type": "User",
        "site_admin": false,
        "user_view_type": "public",
    });
    for (key, suffix) in [
        ("followers_url", "/followers"),
        ("following_url", "/following{/other_user}"),
        ("gists_url", "/gists{/gist_id}"),
        ("starred_url", "/starred{/owner}{/repo}"),
        ("subscriptions_url", "/subscriptions"),
        ("organizations_url", "/orgs"),
        ("repos_url", "/repos"),
        ("events_url", "/events{/privacy}"),
        ("received_events_url", "/received_events"),
    ] {
        user[key] = format!("{api}{suffix}").into();
    }
    user
}

/// An account in full, as strangers see it.
pub(super) fn account(world: &World, login: &str) -> Value {
    let more = json!({
        "name": null,
        "company": null,
        "blog": "",
        "location": null,
        "email": null,
        "hireable": null,
        "bio": null,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0, "created_at": time(super::EPOCH), "updated_at": time(super::EPOCH),
    });
    merged(user(world, login), more)
}

/// A repository as it stands inside other answers.
pub(super) fn repository(world: &World, key: &str) -> Value {
    let repository = &world.repositories[key];
    let full_name = format!("{}/{}", repository.owner, repository.name);
    let (web, api) =
        (format!("{}/{full_name}", world.root), format!("{}/api/v3/repos/{full_name}", world.root));
    let open = repository.pulls.iter().filter(|pull| pull.open).count();
    let mut object = json!({
        "id": repository.id,
        "node_id": node("R", repository.id),
        "name": repository.name,
        "full_name": full_name,
        "owner": user(world, &repository.owner),
        "private": repository.private,
        "visibility": if repository.private { "private" } else { "public" },
        "html_url": web,
        "url": api,
        "clone_url": format!("{web}.git"),
        "git_url": format!("git://{}", &web[7..]),
        "ssh_url": format!("git@localhost:{full_name}.git"),
        "svn_url": web,
        "default_branch": "main",
        "open_issues": open,
        "open_issues_count": open,
        "topics": [],
        "size": 1,
    });
    for (value, keys) in [
        (Value::Null, &["description", "mirror_url", "homepage", "language", "license"][..]),
        (0.into(), &["forks", "forks_count", "stargazers_count", "watchers", "watchers_count"]),
        (
            true.into(),
            &["has_issues", "has_projects", "has_wiki", "has_downloads", "allow_forking"],
        ),
        (
            false.into(),
            &["fork", "is_template", "has_pages", "has_discussions", "archived", "disabled"],
        ),
        (false.into(), &["web_commit_signoff_required"]),
        (time(super::EPOCH).into(), &["pushed_at", "created_at", "updated_at"]),
    ] {
        for key in keys {
            object[*key] = value.clone();
        }
    }
    for (name, suffix) in [
        ("archive", "/{archive_format}{/ref}"),
        ("assignees", "/assignees{/user}"),
        ("blobs", "/git/blobs{/sha}"),
        ("branches", "/branches{/branch}"),
        ("collaborators", "/collaborators{/collaborator}"),
        ("comments", "/comments{/number}"),
        ("commits", "/commits{/sha}"),
        ("compare", "/compare/{base}...{head}"),
        ("contents", "/contents/{+path}"),
        ("contributors", "/contributors"),
        ("deployments", "/deployments"),
        ("downloads", "/downloads"),
        ("events", "/events"),
        ("forks", "/forks"),
        ("git_commits", "/git/commits{/sha}"),
        ("git_refs", "/git/refs{/sha}"),
        ("git_tags", "/git/tags{/sha}"),
        ("hooks", "/hooks"),
        ("issue_comment", "/issues/comments{/number}"),
        ("issue_events", "/issues/events{/number}"),
        ("issues", "/issues{/number}"),
        ("keys", "/keys{/key_id}"),
        ("labels", "/labels{/name}"),
        ("languages", "/languages"),
        ("merges", "/merges"),
        ("milestones", "/milestones{/number}"),
        ("notifications", "/notifications{?since,all,participating}"),
        ("pulls", "/pulls{/number}"),
        ("releases", "/releases{/id}"),
        ("stargazers", "/stargazers"),
        ("statuses", "/statuses/{sha}"),
        ("subscribers", "/subscribers"),
        ("subscription", "/subscription"),
        ("tags", "/tags"),
        ("teams", "/teams"),
        ("trees", "/git/trees{/sha}"),
    ] {
        object[format!("{name}_url")] = format!("{api}{suffix}").into();
    }
    object
}

/// A repository as asked for by itself.
pub(super) fn full_repository(world: &World, key: &str) -> Value {
    let more = json!({
        "network_count": 0, "subscribers_count": 0,
        "permissions": { "admin": false, "maintain": false, "push": true, "triage": true, "pull": true },
    });
    merged(repository(world, key), more)
}

/// What git knows of a pull request.
pub(super) struct Facts {
    pub(super) base_sha: String,
    pub(super) head_sha: String,
    pub(super) mergeable: Option<bool>,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    pub(super) files: u64,
    pub(super) commits: u64,
}

/// A pull request as a list has it.
pub(super) fn pull_simple(world: &World, key: &str, pull: &Pull, facts: &Facts) -> Value {
    let repository_object = repository(world, key);
    let owner = &world.repositories[key].owner;
    let api = format!("{}/pulls/{}", text(&repository_object, "url"), pull.number);
    let issue = format!("{}/issues/{}", text(&repository_object, "url"), pull.number);
    let web = format!("{}/pull/{}", text(&repository_object, "html_url"), pull.number);
    let statuses = format!("{}/statuses/{}", text(&repository_object, "url"), facts.head_sha);
    let end = |name: &str, sha: &str| {
        json!({
            "label": format!("{owner}:{name}"),
            "ref": name,
            "sha": sha,
            "user": user(world, owner),
            "repo": repository_object,
        })
    };
    let merged_at = pull.merged.as_ref().and(pull.closed).map(time);
    let labels: Vec<Value> =
        pull.labels.iter().map(|(id, name)| label(&repository_object, *id, name)).collect();
    let mut object = json!({
        "url": api,
        "id": pull.id,
        "node_id": node("PR", pull.id),
        "html_url": web,
        "number": pull.number,
        "state": if pull.open { "open" } else { "closed" },
        "locked": false,
        "title": pull.title,
        "user": user(world, &pull.author),
        "body": pull.body,
        "created_at": time(pull.created),
        "updated_at": time(pull.updated),
        "closed_at": pull.closed.map(time),
        "merged_at": merged_at,
        "merge_commit_sha": pull.merged.as_ref().map(|(sha, _)| sha.clone()),
        "labels": labels,
        "draft": pull.draft,
        "head": end(&pull.head, &facts.head_sha),
        "base": end(&pull.base, &facts.base_sha),
        "author_association": "CONTRIBUTOR",
        "_links": {},
    });
    for key in ["assignee", "milestone", "auto_merge"] {
        object[key] = Value::Null;
    }
    for key in ["assignees", "requested_reviewers", "requested_teams"] {
        object[key] = json!([]);
    }
    let line_comment = format!("{}/pulls/comments{{/number}}", text(&repository_object, "url"));
    for (link, key, address) in [
        ("self", "url", api.clone()),
        ("html", "html_url", web.clone()),
        ("issue", "issue_url", issue.clone()),
        ("comments", "comments_url", format!("{issue}/comments")),
        ("review_comments", "review_comments_url", format!("{api}/comments")),
        ("review_comment", "review_comment_url", line_comment),
        ("commits", "commits_url", format!("{api}/commits")),
        ("statuses", "statuses_url", statuses),
    ] {
        object["_links"][link] = json!({ "href": address });
        object[key] = address.into();
    }
    object["diff_url"] = format!("{web}.diff").into();
    object["patch_url"] = format!("{web}.patch").into();
    object
}

/// A pull request as asked for by itself.
pub(super) fn pull(world: &World, key: &str, pull: &Pull, facts: &Facts) -> Value {
    let state = match (pull.open, facts.mergeable) {
        (true, Some(true)) => "clean",
        (true, Some(false)) => "dirty",
        _ => "unknown",
    };
    let more = json!({
        "merged": pull.merged.is_some(),
        "mergeable": facts.mergeable,
        "rebaseable": facts.mergeable,
        "mergeable_state": state,
        "merged_by": pull.merged.as_ref().map(|(_, login)| user(world, login)),
        "comments": pull.comments.len(),
        "review_comments": 0,
        "maintainer_can_modify": false,
        "commits": facts.commits,
        "additions": facts.additions,
        "deletions": facts.deletions,
        "changed_files": facts.files,
    });
    merged(pull_simple(world, key, pull, facts), more)
}

pub(super) fn comment(
    world: &World,
    key: &str,
    number: u64,
    id: u64,
    login: &str,
    body: &str,
) -> Value {
    let repository = repository(world, key);
    json!({
        "id": id,
        "node_id": node("IC", id),
        "url": format!("{}/issues/comments/{id}", text(&repository, "url")),
        "html_url": format!("{}/pull/{number}#issuecomment-{id}", text(&repository, "html_url")),
        "body": body,
        "user": user(world, login),
        "created_at": time(world.now),
        "updated_at": time(world.now),
        "issue_url": format!("{}/issues/{number}", text(&repository, "url")),
        "author_association": "CONTRIBUTOR",
        "performed_via_github_app": null,
    })
}

/// What a review says.
pub(super) struct Said<'a> {
    pub(super) login: &'a str,
    pub(super) state: &'a str,
    pub(super) body: &'a str,
    pub(super) commit: &'a str,
}

pub(super) fn review(world: &World, key: &str, number: u64, id: u64, said: &Said<'_>) -> Value {
    let repository = repository(world, key);
    let web = format!("{}/pull/{number}#pullrequestreview-{id}", text(&repository, "html_url"));
    let api = format!("{}/pulls/{number}", text(&repository, "url"));
    json!({
        "id": id,
        "node_id": node("PRR", id),
        "user": user(world, said.login),
        "body": said.body,
        "state": said.state,
        "html_url": web,
        "pull_request_url": api,
        "submitted_at": time(world.now),
        "commit_id": said.commit,
        "author_association": "CONTRIBUTOR",
        "_links": { "html": { "href": web }, "pull_request": { "href": api } },
    })
}

pub(super) fn label(repository: &Value, id: u64, name: &str) -> Value {
    json!({
        "id": id,
        "node_id": node("LA", id),
        "url": format!("{}/labels/{id}", text(repository, "url")),
        "name": name,
        "description": "",
        "color": "ededed",
        "default": false,
    })
}

pub(super) fn status(
    world: &World,
    key: &str,
    id: u64,
    login: &str,
    commit: &str,
    asked: &Value,
) -> Value {
    let repository = repository(world, key);
    json!({
        "url": format!("{}/statuses/{commit}", text(&repository, "url")),
        "avatar_url": format!("{}/avatars/1", world.root),
        "id": id,
        "node_id": node("SC", id),
        "state": asked["state"],
        "description": asked["description"],
        "target_url": asked["target_url"],
        "context": asked.get("context").cloned().unwrap_or("default".into()),
        "created_at": time(world.now), "updated_at": time(world.now), "creator": user(world, login),
    })
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

fn merged(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        let more: Map<String, Value> = more;
        object.extend(more);
    }
    object
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        assert_eq!(super::time(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(super::time(1_790_000_000), "2026-09-21T14:13:20Z");
    }
}
