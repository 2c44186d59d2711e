//! What the platform itself saw of a job in this lease, for the body of its pull request; and, kept
//! apart from it, what the agent says.

use std::time::Duration;

use windlass_run::{Time, actor::Actor, job::State};

/// What was seen.
pub(crate) struct Facts {
    began: Time,
    pub(crate) commands: Vec<Command>,
    pub(crate) verified: Vec<Command>,
    pub(crate) agent: Option<Agent>,
    pub(crate) notes: Vec<String>,
    /// The names of secrets that its agents could read.
    pub(crate) sensitive: Vec<String>,
    /// What of the environment is otherwise than the repository says.
    pub(crate) environment: Vec<String>,
    /// The report of a `readiness` step, as markdown.
    pub(crate) readiness: Option<String>,
}

/// A command that was run.
pub(crate) struct Command {
    pub(crate) command: String,
    /// In a few words.
    pub(crate) ended: String,
    pub(crate) took: Duration,
}

/// What an agent said at last. A claim.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) scripted: bool,
    pub(crate) summary: String,
}

/// What the body of a pull request also needs to know.
pub(crate) struct Change<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) run_id: &'a str,
    pub(crate) base: &'a str,
    pub(crate) base_commit: &'a str,
    pub(crate) files: usize,
    pub(crate) tokens: u64,
    pub(crate) now: Time,
}

/// The most bytes of an agent's summary that are quoted.
const SUMMARY: usize = 6_000;

/// How many words on the environment stand in it.
const FINDINGS: usize = 10;

impl Facts {
    /// Nothing was seen yet.
    pub(crate) fn new(began: Time) -> Self {
        Self {
            began,
            commands: Vec::new(),
            verified: Vec::new(),
            agent: None,
            notes: Vec::new(),
            sensitive: Vec::new(),
            environment: Vec::new(),
            readiness: None,
        }
    }

    /// The body of a pull request: facts first, the agent's words quoted and named.
    pub(crate) fn body(&self, change: &Change) -> String {
        let mut body = String::from("### What the platform saw\n\n");
        let files =
            if change.files == 1 { "1 file".to_owned() } else { format!("{} files", change.files) };
        body.push_str(&format!(
            "- Changed: {files}, on `{}` at `{}`\n",
            change.base,
            &change.base_commit[..change.base_commit.len().min(10)]
        ));
        for (title, commands) in [("Ran", &self.commands), ("Verified with", &self.verified)] {
            for command in commands.iter() {
                body.push_str(&format!(
                    "- {title} {}: {}, {}\n",
                    code(&command.command),
                    command.ended,
                    seconds(command.took)
                ));
            }
        }
        if change.tokens > 0 {
            body.push_str(&format!(
                "- Tokens, as the model door counted them: {}\n",
                change.tokens
            ));
        }
        body.push_str(&format!(
            "- Time on the runner: {}\n",
            seconds(change.now.since(self.began).to_std())
        ));
        for finding in self.environment.iter().take(FINDINGS) {
            body.push_str(&format!("- Environment: {}\n", code(finding)));
        }
        if !self.sensitive.is_empty() {
            let names: Vec<String> = self.sensitive.iter().map(|name| code(name)).collect();
            body.push_str(&format!(
                "- Sensitive: the agent could read {}. Look for what it may have written of it.\n",
                names.join(", ")
            ));
        }
        for note in &self.notes {
            body.push_str(&format!("- {}\n", note.replace('\n', " ")));
        }
        if let Some(readiness) = &self.readiness {
            body.push_str(&format!("\n{readiness}"));
        }
        if let Some(agent) = &self.agent {
            body.push_str(&format!("\n### What the agent says ({})\n\n", agent.name));
            if agent.scripted {
                body.push_str("*Scripted model session, written by us, no model was called.*\n\n");
            }
            let summary = shortened(agent.summary.trim(), SUMMARY);
            if summary.is_empty() {
                body.push_str("It said nothing at the end.\n");
            } else {
                let fence = fence_for(summary);
                body.push_str(&format!("{fence}text\n{summary}\n{fence}\n"));
            }
        }
        body.push_str(&format!(
            "\n---\nMade by Windlass: job `{}`, run `{}`.\n",
            change.job_id, change.run_id
        ));
        body
    }
}

/// The message of the platform's commit: the title, and trailers that say where it comes from.
pub(crate) fn commit_message(title: &str, job_id: &str, run_id: &str, state: &State) -> String {
    let requester = state.by.on_behalf_of.as_ref().unwrap_or(&state.by.actor);
    let requester = match requester {
        Actor::User(id) => id.to_string(),
        Actor::Token(id) => id.to_string(),
        Actor::Runner(id) => id.to_string(),
        Actor::System(name) => format!("windlass ({name})"),
    };
    format!(
        "{title}\n\nWindlass-Job: {job_id}\nWindlass-Run: {run_id}\nWindlass-Requested-By: {requester}\n"
    )
}

/// A title in one line of at most 120 characters, from whatever a person wrote.
pub(crate) fn title(text: &str) -> String {
    let first = text.trim().lines().next().unwrap_or_default();
    let clean: String = first.chars().filter(|c| !c.is_control()).collect();
    let clean = clean.trim();
    if clean.is_empty() {
        return "A change by Windlass".to_owned();
    }
    match clean.char_indices().nth(117) {
        Some((end, _)) if clean.chars().count() > 120 => format!("{}…", clean[..end].trim_end()),
        _ => clean.to_owned(),
    }
}

/// A command as inline code, in one line.
fn code(command: &str) -> String {
    let line = super::command::one_line(command).replace('`', "'");
    format!("`{line}`")
}

fn seconds(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        1..120 => format!("{:.1} s", span.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn shortened(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A fence that nothing inside can close: an agent's words stay a quotation, mention nobody and
/// hold no markup.
fn fence_for(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(3.max(longest + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_tells_facts_from_words_and_the_words_cannot_break_out() {
        let mut facts = Facts::new(Time::from_micros(0));
        facts.commands.push(Command {
            command: "make\nmore".to_owned(),
            ended: "passed".to_owned(),
            took: Duration::from_millis(1500),
        });
        facts.agent = Some(Agent {
            name: "builtin".to_owned(),
            scripted: true,
            summary: "```\n@everybody <b>done</b>".to_owned(),
        });
        let change = Change {
            job_id: "job_1",
            run_id: "run_1",
            base: "main",
            base_commit: "0123456789abcdef",
            files: 1,
            tokens: 12,
            now: Time::from_micros(61_000_000),
        };
        assert_eq!(
            facts.body(&change),
            "### What the platform saw\n\n- Changed: 1 file, on `main` at `0123456789`\n- Ran `make …`: passed, 1.5 s\n\
             - Tokens, as the model door counted them: 12\n- Time on the runner: 61.0 s\n\n\
             ### What the agent says (builtin)\n\n*Scripted model session, written by us, no model was called.*\n\n\
             ````text\n```\n@everybody <b>done</b>\n````\n\n---\nMade by Windlass: job `job_1`, run `run_1`.\n"
        );
    }

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(title("  Fix it\nnow"), "Fix it");
        assert_eq!(title(" \n"), "A change by Windlass");
        assert_eq!(title(&"é".repeat(200)).chars().count(), 118);
    }
}
