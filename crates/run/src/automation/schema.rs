//! The file as JSON Schema, for editors. The reader says more and says it better: this is what can be said
//! while somebody types. A test holds the two together.

use serde_json::{Map, Value, json};

/// The address under which the schema knows itself.
const ID: &str = "urn:windlass:automation:1";

/// The schema of automation files (JSON Schema 2020-12).
pub fn schema() -> Value {
    let mut file = object(&[
        ("name", "The automation's name, unique within the organisation.", name()),
        ("description", "What it is for.", text()),
        ("enabled", "Whether it may run at all, by hand too. `true` if absent.", truth()),
        ("on", "What starts it, besides people who may.", one_or_more(reference("trigger"))),
        ("inputs", "What it is given when it starts.", inputs()),
        (
            "targets",
            "On what it works. Absent: the project that the event is of.",
            reference("targets"),
        ),
        ("rollout", "In which order, and how far it goes by itself.", reference("rollout")),
        ("limits", "Limits of each job and of the whole run.", reference("limits")),
        (
            "concurrency",
            "What keeps runs apart that would be at the same thing.",
            reference("concurrency"),
        ),
        ("environment", "The environment of its jobs.", reference("environment")),
        ("agent", "How agents work where their step does not say.", object(&agent_keys())),
        (
            "policy",
            "The policy that its jobs are under, besides the organisation's and the project's.",
            text(),
        ),
        ("steps", "What each job does, in order.", steps()),
        ("on_failure", "What is done once those have failed.", steps()),
        ("finally", "What is done last, however they ended.", steps()),
        (
            "outputs",
            "What it gives to those that call it: expressions over its steps.",
            map(expression()),
        ),
    ]);
    file["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    file["$id"] = json!(ID);
    file["title"] = json!("Windlass automation");
    file["required"] = json!(["name", "steps"]);
    file["$defs"] = json!({
        "trigger": trigger(),
        "input": input(),
        "targets": targets(),
        "rollout": rollout(),
        "limits": limits(),
        "concurrency": needing(object(&[
            ("key", "Of runs with the same text, one goes on at a time.", text()),
            ("when_busy", "What becomes of a newcomer.", words(&["queue", "skip", "cancel"])),
        ]), &["key"]),
        "environment": object(&[
            ("class", "The class of the environment.", text()),
            ("runs_on", "Labels that a runner must have.", one_or_more(text())),
            ("network", "Hosts that it may reach: `host:port` or `*.suffix:port`.", one_or_more(text())),
        ]),
        "step": step(),
        "output": output(),
        "retry": retry(),
        "schedule": { "type": "string", "description": "Five or six fields of cron, or @daily and the like." },
    });
    file
}

fn trigger() -> Value {
    let words_of = |words: &[&str]| one_or_more(self::words(words));
    let globs = || one_or_more(text());
    let kinds: Vec<(&str, &str, Value)> = vec![
        ("manual", "Somebody who asks.", or_nothing(object(&[]))),
        ("schedule", "A time.", reference("schedule")),
        (
            "push",
            "A branch that moved.",
            or_nothing(event(&[
                ("branches", "Which; absent: the project's default branch.", globs()),
                ("paths", "Only if one of these was touched.", globs()),
            ])),
        ),
        (
            "tag",
            "A tag that was made or moved.",
            or_nothing(event(&[("names", "Which.", globs())])),
        ),
        (
            "pull_request",
            "A pull request.",
            or_nothing(event(&[
                (
                    "actions",
                    "What was done: `opened`, `synchronize`, `merged`, ...",
                    one_or_more(text()),
                ),
                ("branches", "Into which branches.", globs()),
                ("labels", "Only with one of these labels.", one_or_more(text())),
                ("drafts", "Whether drafts count.", truth()),
            ])),
        ),
        (
            "review",
            "A review of a pull request.",
            or_nothing(event(&[(
                "verdicts",
                "Which.",
                words_of(&["approved", "changes_requested", "commented"]),
            )])),
        ),
        (
            "comment",
            "A comment.",
            any(&[
                text(),
                or_nothing(event(&[
                    ("command", "The word after the `/` of a line of its own.", text()),
                    ("under", "Under what.", words(&["any", "issue", "pull_request"])),
                ])),
            ]),
        ),
        (
            "issue",
            "An issue.",
            or_nothing(event(&[
                ("actions", "What was done: `opened`, `labeled`, ...", one_or_more(text())),
                ("labels", "Only with one of these labels.", one_or_more(text())),
            ])),
        ),
        (
            "check",
            "A check, a workflow or a commit status that ended.",
            or_nothing(event(&[
                ("outcomes", "How.", words_of(&["success", "failure", "neutral", "stopped"])),
                ("names", "Which.", globs()),
            ])),
        ),
        (
            "release",
            "A release.",
            or_nothing(event(&[(
                "actions",
                "What was done: `published`, ...",
                one_or_more(text()),
            )])),
        ),
        (
            "webhook",
            "A delivery at a hook.",
            any(&[text(), needing(event(&[("source", "The hook's name.", text())]), &["source"])]),
        ),
        (
            "automation",
            "The end of a run of another automation.",
            any(&[
                name(),
                needing(
                    event(&[
                        ("name", "Which.", name()),
                        (
                            "outcomes",
                            "How it ended.",
                            words_of(&["succeeded", "gave_up", "failed", "cancelled", "skipped"]),
                        ),
                    ]),
                    &["name"],
                ),
            ]),
        ),
        (
            "advisory",
            "A known weakness of something that a project depends on.",
            or_nothing(event(&[
                ("ecosystems", "Of which registries, as OSV names them.", one_or_more(text())),
                (
                    "severity",
                    "At least how bad: `>=high`.",
                    json!({ "type": "string", "pattern": "^(>=)?\\s*(low|medium|high|critical)$" }),
                ),
                ("packages", "Of which packages.", globs()),
            ])),
        ),
        (
            "drift",
            "A file of a project that is not as it should be.",
            needing(
                event(&[
                    ("path", "Which file.", text()),
                    (
                        "expect",
                        "What should hold, over `file.exists`, `file.text`, `file.sha256`.",
                        expression(),
                    ),
                    (
                        "schedule",
                        "When it is looked at, besides on every push.",
                        reference("schedule"),
                    ),
                    ("timezone", "The zone of the schedule.", text()),
                    ("jitter", "How far starts are spread.", duration()),
                    ("blackout", "When it is not looked at.", one_or_more(text())),
                    (
                        "missed",
                        "What becomes of times that were missed.",
                        words(&["skip", "once", "all"]),
                    ),
                ]),
                &["path", "expect"],
            ),
        ),
        (
            "watch",
            "What a cheap command says, if it changes.",
            needing(
                event(&[
                    ("command", "What prints what is compared with the last time.", text()),
                    ("schedule", "When it is looked at.", reference("schedule")),
                    ("timezone", "The zone of the schedule.", text()),
                    ("jitter", "How far starts are spread.", duration()),
                    ("blackout", "When it is not looked at.", one_or_more(text())),
                    (
                        "missed",
                        "What becomes of times that were missed.",
                        words(&["skip", "once", "all"]),
                    ),
                    ("timeout", "How long it may take.", duration()),
                ]),
                &["command", "schedule"],
            ),
        ),
    ];
    let names: Vec<&str> = kinds.iter().map(|(name, ..)| *name).collect();
    let shorts: Vec<&&str> = names
        .iter()
        .filter(|name| !["schedule", "webhook", "automation", "drift", "watch"].contains(name))
        .collect();
    let mut keys = kinds.clone();
    keys.extend(common());
    keys.extend([
        ("timezone", "The zone of the schedule, as the IANA names it. UTC if absent.", text()),
        ("jitter", "How far starts are spread.", duration()),
        (
            "blackout",
            "When it does not fire: `Fri 18:00 - Mon 06:00`, `2026-12-24`.",
            one_or_more(text()),
        ),
        (
            "missed",
            "What becomes of fires that were missed. `once` if absent.",
            words(&["skip", "once", "all"]),
        ),
    ]);
    let mut full = object(&keys);
    full["oneOf"] = names.iter().map(|name| json!({ "required": [name] })).collect();
    any(&[json!({ "enum": shorts }), full])
}

fn common() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("filter", "It starts something only if this holds of `event`.", expression()),
        (
            "trust",
            "How far the event's text must be trusted at least.",
            words(&["own", "member", "known", "public"]),
        ),
        ("dedup", "Events for which this text is the same are one.", text()),
        ("dedup_for", "For how long. A day if absent.", duration()),
        (
            "cooldown",
            "How long it pays no attention to the same subject after a start.",
            duration(),
        ),
        (
            "rate",
            "How often it starts something at most: `30/h`.",
            any(&[
                text(),
                needing(
                    object(&[
                        ("most", "How many.", count(1)),
                        ("per", "In which time.", duration()),
                    ]),
                    &["most", "per"],
                ),
            ]),
        ),
        ("inputs", "What the inputs are, from `event`.", map(json!(true))),
        ("run_as", "The user or service token on whose behalf it runs.", text()),
    ]
}

fn input() -> Value {
    let kinds = ["string", "integer", "number", "boolean", "json"];
    any(&[
        words(&kinds),
        object(&[
            ("type", "What it must be. `string` if absent.", words(&kinds)),
            ("default", "What it is if nobody says.", json!(true)),
            ("choices", "What it can be.", json!({ "type": "array" })),
            ("pattern", "What all of a string must match.", text()),
            ("min", "The least number.", json!({ "type": "number" })),
            ("max", "The largest number.", json!({ "type": "number" })),
            ("description", "What it is for.", text()),
        ]),
    ])
}

fn targets() -> Value {
    object(&[
        ("from", "The project that the event is of.", words(&["trigger"])),
        ("repositories", "Projects by name, or addresses of repositories.", one_or_more(text())),
        ("labels", "Projects with all of these labels.", one_or_more(text())),
        (
            "search",
            "What a search at a forge finds.",
            needing(
                object(&[
                    ("forge", "The forge. `github` if absent.", text()),
                    ("query", "The search, in the forge's own words.", text()),
                ]),
                &["query"],
            ),
        ),
        ("file", "Lines of a file of the control repository.", text()),
        ("command", "Lines that a command prints.", text()),
        ("except", "What is left out, by name.", one_or_more(text())),
        ("base", "The branch to begin from.", text()),
        (
            "select",
            "What decides which of them become jobs: a command that exits with 0 or 1.",
            any(&[
                text(),
                needing(
                    object(&[
                        ("run", "The command.", text()),
                        ("timeout", "How long it may take.", duration()),
                    ]),
                    &["run"],
                ),
            ]),
        ),
        ("most", "How many targets a run has at most.", count(1)),
    ])
}

fn rollout() -> Value {
    let share = || json!({ "type": "string", "pattern": "^(>=|>)?\\s*[0-9]+(\\.[0-9]+)?\\s*%$" });
    let amount = || any(&[count(1), share()]);
    let rule = object(&[
        ("failures", "The allowed rate of jobs that failed or gave up.", share()),
        ("rejections", "The allowed rate of changes that were sent back or closed.", share()),
        ("confidence", "How sure one must be. 95% if absent.", share()),
        (
            "over",
            "Over which observations: `ring`, `fleet`, or the newest so many.",
            any(&[count(1), words(&["ring", "fleet"])]),
        ),
        ("method", "How the bound is computed.", words(&["exact", "wilson"])),
        (
            "of",
            "Which kinds of trouble count.",
            one_or_more(words(&crate::fleet::Trouble::ALL.map(crate::fleet::Trouble::name))),
        ),
    ]);
    object(&[
        (
            "rings",
            "How far the fleet has come with each: `1`, `10%`, `rest`, `{ label: canary }`.",
            one_or_more(any(&[
                amount(),
                words(&["rest"]),
                needing(
                    object(&[
                        ("label", "The label of the canaries.", text()),
                        ("most", "At most so many.", count(1)),
                    ]),
                    &["label"],
                ),
            ])),
        ),
        (
            "advance_when",
            "What must be true of a ring before the next one.",
            object(&[
                ("success", "At least this part ended well.", share()),
                (
                    "verified",
                    "At least this part of the changes was verified.",
                    any(&[share(), json!({ "const": true })]),
                ),
                ("reviewed", "So many changes, or this part, were approved or merged.", amount()),
                ("after", "So long after the ring's last job.", duration()),
            ]),
        ),
        ("stop_when", "What stops the fleet, any of them.", one_or_more(rule)),
    ])
}

fn limits() -> Value {
    object(&[
        ("duration", "How long a job may take. An hour if absent.", duration()),
        ("tokens", "How many tokens a job may use.", count(0)),
        ("requeues", "How often a job is begun again after its runner was lost.", count(0)),
        ("parallel", "Jobs at once.", count(1)),
        ("changes_per_hour", "Changes opened within any hour.", count(1)),
        ("open_changes", "Changes open at once.", count(1)),
        ("open_changes_per_repository", "The same in one repository.", count(1)),
        ("open_changes_per_owner", "Changes that wait for one owner's review at once.", count(1)),
        (
            "forges",
            "The pace of single forges, by their host.",
            map(needing(
                object(&[("changes_per_hour", "Changes opened there within any hour.", count(1))]),
                &["changes_per_hour"],
            )),
        ),
        ("total_tokens", "Tokens of all jobs together, after which no more are begun.", count(0)),
    ])
}

fn step() -> Value {
    let kinds: Vec<(&str, &str, Value)> = vec![
        ("run", "Runs a shell command in the environment.", text()),
        ("agent", "Lets an agent work: the task.", text()),
        (
            "pull_request",
            "Publishes the work tree's changes.",
            object(&[
                ("branch", "The branch, below `windlass/`.", text()),
                ("title", "One line.", text()),
                ("body", "Markdown.", text()),
                ("draft", "Opened as a draft.", truth()),
            ]),
        ),
        (
            "readiness",
            "Finds out how ready the repository is for agents.",
            object(&[(
                "propose",
                "Whether the files that it proposes become the change.",
                truth(),
            )]),
        ),
        (
            "report",
            "Says something of the job's work.",
            needing(
                object(&[
                    ("title", "One line.", text()),
                    ("body", "Markdown.", text()),
                    ("values", "Named values: the step's outputs.", map(json!(true))),
                ]),
                &["title"],
            ),
        ),
        (
            "approve",
            "Rests until somebody decides.",
            any(&[
                text(),
                needing(
                    object(&[
                        ("prompt", "What is to be decided.", text()),
                        (
                            "by",
                            "The least role that may decide.",
                            words(&["operator", "reviewer", "admin"]),
                        ),
                        ("timeout", "How long it waits.", duration()),
                        (
                            "on_timeout",
                            "What happens if nobody decides.",
                            words(&["fail", "approve", "decline"]),
                        ),
                    ]),
                    &["prompt"],
                ),
            ]),
        ),
        ("wait", "Rests.", duration()),
        ("end", "Ends the job here.", words(&["skipped", "succeeded"])),
        ("parallel", "Its steps at once, in one environment.", steps()),
        ("for_each", "Its steps for each element of a list: an expression.", expression()),
        ("until", "Its steps again until something holds: an expression.", expression()),
        ("call", "The steps of another automation.", name()),
    ];
    let names: Vec<&str> = kinds.iter().map(|(name, ..)| *name).collect();
    let mut keys = kinds.clone();
    keys.extend(agent_keys());
    keys.extend([
        (
            "id",
            "Its name, unique within the file.",
            json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$" }),
        ),
        ("if", "It is skipped unless this holds when it is due.", expression()),
        ("timeout", "How long one attempt may take. 30m if absent.", duration()),
        ("retry", "When and how often a failed attempt is repeated.", reference("retry")),
        ("continue_on_error", "Whether the job goes on when it has failed for good.", truth()),
        ("outputs", "The values that it gives. Of `run` and `agent`.", map(reference("output"))),
        ("reason", "Of `end`: why, for a person.", text()),
        ("limit", "Of `parallel` and `for_each`: how many at once at most.", count(1)),
        ("as", "Of `for_each`: what its steps call the element. `item` if absent.", text()),
        ("steps", "Of `for_each` and `until`: the steps of a round.", steps()),
        ("rounds", "Of `until`: how many at most.", count(1)),
        ("pause", "Of `until`: how long it rests between two rounds.", duration()),
        ("with", "Of `call`: the inputs.", map(json!(true))),
    ]);
    let mut step = object(&keys);
    step["oneOf"] = names.iter().map(|name| json!({ "required": [name] })).collect();
    step
}

fn agent_keys() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("harness", "`builtin`, a known agent, or `custom: COMMAND`.", text()),
        ("model", "The model to ask for.", text()),
        ("mode", "How much the agent may do without asking.", words(&["ask", "auto", "full"])),
        (
            "verify",
            "Commands that must all succeed before the agent can end well.",
            one_or_more(text()),
        ),
        ("attempts", "How often the agent may try to make them succeed.", count(1)),
        ("replay", "The name of a session file that answers instead of a model.", text()),
    ]
}

fn output() -> Value {
    object(&[
        ("from", "A file below `$WINDLASS_OUTPUTS`, `stdout` (if absent) or `exit_code`.", text()),
        ("pointer", "The part of it, read as JSON: a JSON pointer.", text()),
        ("regex", "The first group of the first match.", text()),
        (
            "type",
            "What it must be. `string` if absent.",
            words(&["string", "integer", "number", "boolean", "json"]),
        ),
        ("accept", "It is taken only if this holds of `value`.", expression()),
    ])
}

fn retry() -> Value {
    let classes = ["exit", "timeout", "environment", "agent", "output", "template"];
    any(&[
        count(1),
        object(&[
            ("attempts", "Attempts in all. 2 if absent.", count(1)),
            ("backoff", "The pause before the second attempt. Doubles from then on.", duration()),
            ("backoff_cap", "The longest pause.", duration()),
            ("on", "Which failures are repeated.", one_or_more(words(&classes))),
        ]),
    ])
}

/// An object with these keys and no others, each with what it is for.
fn object(keys: &[(&str, &str, Value)]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|(name, description, schema)| {
            let mut schema = schema.clone();
            if let Value::Object(members) = &mut schema {
                members.insert("description".to_owned(), json!(description));
            }
            ((*name).to_owned(), any(&[schema, json!({ "type": "null" })]))
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// What an event's map can have: its own keys, and those of all triggers.
fn event(own: &[(&str, &str, Value)]) -> Value {
    let keys: Vec<(&str, &str, Value)> = own.iter().cloned().chain(common()).collect();
    object(&keys)
}

fn needing(mut object: Value, keys: &[&str]) -> Value {
    object["required"] = json!(keys);
    object
}

fn or_nothing(schema: Value) -> Value {
    any(&[schema, json!({ "type": "null" })])
}

fn any(schemas: &[Value]) -> Value {
    json!({ "anyOf": schemas })
}

fn one_or_more(schema: Value) -> Value {
    any(&[schema.clone(), json!({ "type": "array", "items": schema })])
}

fn map(schema: Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn steps() -> Value {
    json!({ "type": "array", "minItems": 1, "items": reference("step") })
}

fn text() -> Value {
    json!({ "type": "string" })
}

/// Names that expressions can say.
fn inputs() -> Value {
    let mut inputs = map(reference("input"));
    inputs["propertyNames"] = json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" });
    inputs
}

/// `if: true` is an expression too.
fn expression() -> Value {
    json!({ "type": ["string", "boolean", "number"] })
}

fn truth() -> Value {
    json!({ "type": "boolean" })
}

fn count(least: u32) -> Value {
    json!({ "type": "integer", "minimum": least })
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$" })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" })
}
