//! What a scripted agent is told to do, as data that tests write in Rust or in JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The protocol version to answer with.
    pub protocol_version: u64,
    /// The modes to offer; none if empty.
    pub modes: Vec<String>,
    /// The mode a session starts in; the first if absent. Holds what the client set later.
    pub mode: Option<String>,
    /// The models to offer; none if empty.
    pub models: Vec<String>,
    /// The model a session starts with; the first if absent. Holds what the client set later.
    pub model: Option<String>,
    /// True to answer `session/new` with "authentication required".
    pub sign_in: bool,
    /// Played before the answer to `initialize`.
    pub at_start: Vec<Step>,
    /// One list of steps for each prompt.
    pub turns: Vec<Vec<Step>>,
    /// What `session/cancel` does.
    pub on_cancel: OnCancel,
    /// The exit code when the client closes our standard input; 0 if absent.
    pub exit_code_at_close: Option<i32>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            protocol_version: 1,
            modes: Vec::new(),
            mode: None,
            models: Vec::new(),
            model: None,
            sign_in: false,
            at_start: Vec::new(),
            turns: Vec::new(),
            on_cancel: OnCancel::End,
            exit_code_at_close: None,
        }
    }
}

impl Script {
    /// A script with these turns and nothing special.
    pub fn turns(turns: Vec<Vec<Step>>) -> Self {
        Self { turns, ..Self::default() }
    }

    /// The script as the JSON that the binary reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a script holds only what JSON can say")
    }
}

/// What `session/cancel` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCancel {
    /// The turn ends with `cancelled` and its commands are killed.
    #[default]
    End,
    /// Nothing.
    Ignore,
    /// The process exits with 143, as some agents do on SIGTERM.
    Exit,
}

/// One thing to do in a turn. A turn whose steps are over ends with `end_turn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Says a text, in one piece.
    Say {
        /// The text.
        text: String,
    },
    /// Says a text in pieces of this many characters.
    SayInPieces {
        /// The text.
        text: String,
        /// The length of a piece.
        piece: usize,
    },
    /// Shows reasoning.
    Think {
        /// The text.
        text: String,
    },
    /// Shows a plan of `[text, status]` pairs.
    Plan {
        /// Its entries.
        entries: Vec<(String, String)>,
    },
    /// Writes a file, as a tool call with a diff.
    Edit {
        /// Relative to the session's directory.
        path: String,
        /// Its whole new text.
        text: String,
    },
    /// Runs a shell command in the session's directory, as a tool call with its output.
    Run {
        /// The command.
        command: String,
    },
    /// Asks for permission, and goes on according to the answer.
    Ask {
        /// The title of the tool call.
        title: String,
        /// The kinds of the options offered, such as `allow_once`.
        #[serde(default = "usual_options")]
        options: Vec<String>,
        /// The tool's input.
        #[serde(default)]
        input: Value,
        /// Played if an option that allows was chosen.
        #[serde(default)]
        allowed: Vec<Step>,
        /// Played otherwise.
        #[serde(default)]
        denied: Vec<Step>,
    },
    /// Waits until a file exists, so that a test can hold a turn.
    WaitForFile {
        /// Relative to the session's directory.
        path: String,
    },
    /// Says the value of an environment variable.
    Leak {
        /// Its name.
        variable: String,
    },
    /// Sends any session update.
    Update {
        /// The update, with its `sessionUpdate`.
        update: Value,
    },
    /// Prints a line that is no message.
    Print {
        /// The line, without its end.
        line: String,
    },
    /// Prints bytes as they are.
    PrintBytes {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Prints to standard error.
    Complain {
        /// The line, without its end.
        line: String,
    },
    /// Sends the same update many times.
    Flood {
        /// The update, with its `sessionUpdate`.
        update: Value,
        /// How often.
        times: u64,
    },
    /// Fails the turn unless the prompt holds this text.
    ExpectPrompt {
        /// The text.
        holds: String,
    },
    /// Starts a process that outlives the turn and the agent, and writes its id to a file.
    Orphan {
        /// The command, for `sh -c`.
        command: String,
        /// Where its process id goes, relative to the session's directory.
        pid_file: String,
    },
    /// Gives up in the form that an external agent uses: a fenced block in the message.
    GiveUp {
        /// The JSON of the report, or any other text.
        report: String,
    },
    /// Does nothing for ever.
    Hang,
    /// Exits with this code, at once and without an answer.
    Exit {
        /// The code.
        code: i32,
    },
    /// Kills itself with SIGKILL.
    Kill,
    /// Answers the prompt with a JSON-RPC error.
    Fail {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// Ends the turn.
    End {
        /// ACP's stop reason.
        reason: String,
        /// The `_meta` of the answer.
        #[serde(default)]
        meta: Option<Value>,
    },
}

fn usual_options() -> Vec<String> {
    ["allow_once", "allow_always", "reject_once"].map(str::to_owned).to_vec()
}
