//! What a step gives to the steps after it: read from where its author says, as the environment's user.
//! Whether a value is what was asked for is for the machine to judge.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use windlass_run::{
    job::StepResult,
    spec::{Source, Step},
};
use windlass_sandbox::{Exec, State};

use super::{
    environment::{Programs, Ran},
    services::tasks,
};
use crate::executor::Attempted;

/// The most bytes of a standard output that values are looked for in.
const PRINTED: usize = 1 << 20;
/// How long making a folder may take.
const FOLDER: Duration = Duration::from_secs(30);

/// Where the values of one attempt come from.
pub(super) struct Outputs<'a> {
    step: &'a Step,
    folder: Option<String>,
    printed: Vec<u8>,
    too_long: bool,
}

impl<'a> Outputs<'a> {
    /// Those of a step.
    pub(super) fn of(step: &'a Step) -> Self {
        Self { step, folder: None, printed: Vec::new(), too_long: false }
    }

    /// Makes the folder that the step's programs find in `WINDLASS_OUTPUTS`, if there are files to be
    /// written: a new and empty one, whatever an earlier program left.
    pub(super) async fn enter(
        &mut self,
        programs: &Programs,
        exec: &mut Exec,
    ) -> Result<(), Attempted> {
        let files = |source: &Source| matches!(source, Source::File { .. });
        if !self.step.outputs.values().any(|output| files(&output.source)) {
            return Ok(());
        }
        let folder =
            format!("/tmp/windlass-outputs/{}-{:016x}", exec.operation, rand::random::<u64>());
        let argv = ["mkdir", "-p", "--", &folder].map(Into::into).into();
        let made = programs
            .execs
            .exec("outputs", argv)
            .map_err(|error| Attempted::GiveBack(error.to_string()))?;
        let never = CancellationToken::new();
        let ran = programs.access.run(made, FOLDER, &never, |_| Ok(())).await;
        match ran {
            Ok(Ran::Ended(State::Exited { code: 0 })) => {}
            Ok(ran) => {
                let how = super::command::in_words(&ran);
                return Err(fails(format!("The folder for its outputs can't be made ({how}).")));
            }
            Err(error) => return Err(Attempted::GiveBack(error.to_string())),
        }
        exec.env.push((tasks::FOLDER.into(), folder.clone().into()));
        self.folder = Some(folder);
        Ok(())
    }

    /// Whether the step ends well whatever its command exits with.
    pub(super) fn takes_any_exit(&self) -> bool {
        self.step.outputs.values().any(|output| output.source == Source::ExitCode)
    }

    /// Takes what the command prints to its standard output.
    pub(super) fn printed(&mut self, bytes: &[u8]) {
        let wanted = |source: &Source| matches!(source, Source::Stdout { .. });
        if self.step.outputs.values().any(|output| wanted(&output.source)) {
            let room = PRINTED.saturating_sub(self.printed.len());
            self.too_long |= bytes.len() > room;
            self.printed.extend(&bytes[..bytes.len().min(room)]);
        }
    }

    /// The values.
    ///
    /// # Errors
    /// The first one that can't be had, as the end of the attempt.
    pub(super) async fn read(
        &self,
        programs: &Programs,
        exit_code: Option<i32>,
    ) -> Result<BTreeMap<String, Value>, Attempted> {
        let mut values = BTreeMap::new();
        for (name, output) in &self.step.outputs {
            let wrong = |why: String| fails(format!("Output `{name}` {why}."));
            let value = match &output.source {
                Source::File { path, .. } => {
                    let Some(folder) = &self.folder else { continue };
                    let path = format!("{folder}/{path}");
                    let read = tasks::read(&programs.access, &programs.execs, &path).await;
                    let text = read.map_err(|why| wrong(format!("can't be had: {why}")))?;
                    output.find(&text).map_err(wrong)?
                }
                Source::Stdout { .. } if self.too_long => {
                    let why = format!("was looked for in more than {PRINTED} bytes of output");
                    return Err(wrong(why));
                }
                Source::Stdout { .. } => {
                    let text = std::str::from_utf8(&self.printed).map_err(|_| {
                        wrong("was looked for in output that is not UTF-8".to_owned())
                    })?;
                    output.find(text).map_err(wrong)?
                }
                Source::ExitCode => Value::from(exit_code),
                Source::Ask { .. } => continue,
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

fn fails(reason: String) -> Attempted {
    Attempted::Ended(StepResult::Failed { code: "output".to_owned(), reason })
}
