//! The words that the platform says to an agent: the task at first, feedback later. Text only; what
//! an agent does with it is seen in the work tree.

use crate::acp::VerifyResult;
use crate::clip;
use crate::give_up;

/// The most bytes of one command's output that go back to the agent.
const FEEDBACK_OUTPUT: usize = 8 * 1024;
/// The most bytes of all outputs together.
const FEEDBACK_TOTAL: usize = 32 * 1024;

/// What the first prompt of an agent step is made of.
#[derive(Clone, Debug, Default)]
pub struct Task<'a> {
    /// The task as the automation or the person wrote it.
    pub text: &'a str,
    /// What [`crate::instructions::gather`] found; empty for agents that read such files themselves
    /// ([`crate::known::Agent::reads_agents_md`]).
    pub instructions: &'a str,
    /// The `verify:` commands that will run when the agent ends its turn.
    pub verify: &'a [String],
}

/// The first prompt.
pub fn task(task: &Task) -> String {
    let mut prompt = task.text.trim_end().to_owned();
    if !task.instructions.is_empty() {
        prompt.push_str("\n\n# What this repository asks of agents\n\n");
        prompt.push_str(task.instructions.trim_end());
    }
    prompt.push_str("\n\n# How this works\n\n");
    prompt.push_str(
        "You work unattended: nobody answers questions. Leave your result in the work tree and do not commit or push; \
         the platform commits what you leave, and it looks only at the files.\n",
    );
    if !task.verify.is_empty() {
        prompt.push_str(
            "When you end your turn, these commands are run, and all of them must exit with 0:\n",
        );
        for command in task.verify {
            prompt.push_str(&format!("- `{command}`\n"));
        }
    }
    prompt.push_str(&give_up::request());
    prompt
}

/// What an agent is told when `verify:` commands failed after its turn. `turn` is the turn that this
/// begins, of at most `attempts`.
pub fn verify_feedback(results: &[VerifyResult], turn: u32, attempts: u32) -> String {
    let mut feedback =
        "The work is not accepted yet: after your turn, these commands did not exit with 0.\n"
            .to_owned();
    let mut left = FEEDBACK_TOTAL;
    for result in results.iter().filter(|result| !result.passed()) {
        let how = match result.exit_code {
            Some(code) => format!("exited with {code}"),
            None => "was ended by a signal or its time limit".to_owned(),
        };
        let output = clip::head_and_tail(result.output.trim_end(), FEEDBACK_OUTPUT.min(left));
        left = left.saturating_sub(output.len());
        let fence = fence_for(&output);
        feedback.push_str(&format!(
            "\n`{}` {how}. What it printed:\n{fence}\n{output}\n{fence}\n",
            result.command
        ));
    }
    let passed: Vec<&str> = results
        .iter()
        .filter(|result| result.passed())
        .map(|result| result.command.as_str())
        .collect();
    if !passed.is_empty() {
        feedback
            .push_str(&format!("\nThese passed and must stay so: `{}`.\n", passed.join("`, `")));
    }
    feedback.push_str(&format!("\nPlease correct the work. This is attempt {turn} of {attempts}."));
    feedback
}

/// A code fence that is longer than any run of backticks in `text`.
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

    fn result(command: &str, exit_code: Option<i32>, output: &str) -> VerifyResult {
        VerifyResult { command: command.to_owned(), exit_code, output: output.to_owned() }
    }

    #[test]
    fn feedback_names_what_failed_and_what_must_stay_green() {
        let feedback = verify_feedback(
            &[
                result("cargo test", Some(101), "1 failed\n"),
                result("cargo fmt", Some(0), ""),
                result("slow", None, ""),
            ],
            2,
            3,
        );
        assert_eq!(
            feedback,
            "The work is not accepted yet: after your turn, these commands did not exit with 0.\n\
             \n`cargo test` exited with 101. What it printed:\n```\n1 failed\n```\n\
             \n`slow` was ended by a signal or its time limit. What it printed:\n```\n\n```\n\
             \nThese passed and must stay so: `cargo fmt`.\n\
             \nPlease correct the work. This is attempt 2 of 3."
        );
    }

    #[test]
    fn feedback_is_bounded_and_its_fence_holds() {
        let noise = "x".repeat(1_000_000);
        let results: Vec<_> = (0..50).map(|n| result(&format!("c{n}"), Some(1), &noise)).collect();
        assert!(verify_feedback(&results, 2, 2).len() < 64 * 1024);
        assert!(
            verify_feedback(&[result("c", Some(1), "````\nend")], 2, 2)
                .contains("`````\n````\nend\n`````")
        );
    }

    #[test]
    fn the_task_carries_instructions_and_verifiers_only_where_there_are_some() {
        let bare = task(&Task { text: "Fix it.", ..Task::default() });
        assert!(bare.starts_with("Fix it.\n\n# How this works\n"), "{bare}");
        assert!(!bare.contains("exit with 0"));
        let verify = ["make check".to_owned()];
        let full = task(&Task { text: "Fix it.", instructions: "Use tabs.", verify: &verify });
        assert!(full.contains("Use tabs.") && full.contains("- `make check`"), "{full}");
    }
}
