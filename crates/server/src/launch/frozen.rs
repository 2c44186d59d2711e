//! What all jobs of a run have in common, frozen once, and the job of one target made of it. A fleet keeps it
//! beside its rows: an edit of the automation changes no job of a run that was started before.

use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_run::{
    Class, Labels, OrganisationId,
    actor::By,
    spec::{Action, InvalidSpec, Spec, Step, Target},
    template::Text,
};
use windlass_store::projects::Project;

use crate::{
    actions::runs,
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// What all jobs of a run have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Frozen {
    /// The automation's name, for titles.
    pub(crate) name: String,
    /// The class that it asks for; absent: each project's own.
    pub(crate) class: Option<String>,
    /// What a runner must have beside what the class needs.
    pub(crate) needs: Vec<String>,
    /// The branch that it asks for; absent: each project's own.
    pub(crate) base: Option<String>,
    /// The spec of one of the jobs. Those of the others differ in what [`Frozen::spec`] sets.
    pub(crate) spec: Spec,
}

/// What is of one job alone.
pub(crate) struct OfTarget<'a> {
    pub(crate) project: &'a Project,
    pub(crate) base: String,
    pub(crate) class: Option<Class>,
    pub(crate) runs_on: Labels,
    /// How many times the target was begun, this time included.
    pub(crate) attempt: u32,
    /// What the job is told beside its task.
    pub(crate) instruction: Option<&'a str>,
}

/// The target that a job is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) organisation_id: &'a OrganisationId,
    /// On whose behalf it goes on.
    pub(crate) by: &'a By,
    pub(crate) project: &'a Project,
    /// The branch, where it was said when the run was started.
    pub(crate) base: Option<&'a str>,
    pub(crate) attempt: u32,
    pub(crate) instruction: Option<&'a str>,
}

impl Frozen {
    /// The spec of a target's job with what belongs to its project as it is now: the branch, the class, the
    /// names of secrets. `notes` gets what a person should know.
    ///
    /// # Errors
    /// A repository that can't be read, a branch or class that is not there; the store's failures.
    pub(crate) async fn job(
        &self,
        app: &AppState,
        asked: Asked<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Spec, Problem> {
        let Asked { organisation_id, by, project, base, attempt, instruction } = asked;
        let base = runs::base(app, project, self.base.as_deref().or(base), notes).await?;
        let wants = views::projects::settings(project);
        let (class, runs_on) = views::classes::chosen(
            app,
            organisation_id,
            self.class.as_deref(),
            wants.class.as_deref(),
            &self.needs,
        )
        .await?;
        let of = OfTarget { project, base, class, runs_on, attempt, instruction };
        let spec = self.spec(of);
        let mut spec =
            spec.map_err(|error| Problem::new(Code::InvalidSpec, error.why).at(error.place))?;
        spec.sensitive = views::secrets::beside_agents(app, by, &spec).await?;
        Ok(spec)
    }

    /// The spec of the job of a target.
    ///
    /// # Errors
    /// What types can't say of a spec.
    pub(crate) fn spec(&self, of: OfTarget<'_>) -> Result<Spec, InvalidSpec> {
        let OfTarget { project, base, class, runs_on, attempt, instruction } = of;
        let mut spec = self.spec.clone();
        spec.context["target"] = json!({
            "repository": project.name,
            "project": project.id,
            "forge": project.forge,
            "base": base,
            "url": project.source,
            "attempt": attempt,
            "instruction": instruction.unwrap_or_default(),
        });
        spec.target = Target { project_id: project.id.clone(), base, commit: None };
        spec.class = class;
        spec.runs_on = runs_on;
        if let Some(instruction) = instruction.map(str::trim).filter(|text| !text.is_empty()) {
            for list in [&mut spec.steps, &mut spec.on_failure, &mut spec.finally] {
                tell(list, instruction);
            }
        }
        spec.check()?;
        Ok(spec)
    }

    /// The title of the job of a target.
    pub(crate) fn title(&self, project: &Project) -> String {
        format!("{} on {}", self.name, project.name)
    }
}

/// Tells the agents among these steps something beside their task.
fn tell(steps: &mut [Step], instruction: &str) {
    for step in steps {
        match &mut step.action {
            Action::Agent(agent) => agent.prompt = with(&agent.prompt, instruction),
            Action::Parallel { steps, .. }
            | Action::ForEach { steps, .. }
            | Action::Until { steps, .. }
            | Action::Block { steps, .. } => tell(steps, instruction),
            Action::Run { .. }
            | Action::PullRequest(_)
            | Action::Readiness(_)
            | Action::Report(_)
            | Action::End(_)
            | Action::Wait(_)
            | Action::Approve(_) => {}
        }
    }
}

/// A prompt with more behind it, which is text and never an expression.
fn with(prompt: &Text, instruction: &str) -> Text {
    let more = instruction.replace("${{", "${{ '${{' }}");
    match prompt {
        Text::Plain(task) => Text::Plain(format!("{task}\n\nBesides:\n{instruction}")),
        Text::Template(task) => {
            let text = format!("{}\n\nBesides:\n{more}", task.source());
            // What can't be read any more was too long: the task alone is better than none.
            Text::parse(&text).unwrap_or_else(|_| prompt.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_text_also_behind_a_template() {
        let prompt = Text::parse("Fix ${{ inputs.what }}").expect("a template");
        let Text::Template(told) = with(&prompt, "not ${{ inputs.secret }}") else {
            panic!("it stays a template");
        };
        assert_eq!(
            told.source(),
            "Fix ${{ inputs.what }}\n\nBesides:\nnot ${{ '${{' }} inputs.secret }}"
        );
        let plain = with(&Text::Plain("Fix it".to_owned()), "not ${{ x }}");
        assert_eq!(plain, Text::Plain("Fix it\n\nBesides:\nnot ${{ x }}".to_owned()));
    }
}
