//! `/classes`: what environments may use of their machines, and which runners can give that.

use axum::{
    extract::State,
    http::{Method, StatusCode},
    response::Response,
};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::class::Resource;
use windlass_wire::api::class::{ChangeClass, EnvironmentClass, NewClass};

use super::{
    frame::{Fields, Frame, filled, form_problem, go, number, page_with},
    text::Text,
    view::{
        Crumb, Section,
        classes::{ClassForm, ClassRow, Classes},
        home::FormProblem,
    },
};
use crate::{
    actions::classes as actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::Place,
    problem::{Code, Problem},
    state::AppState,
    views,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let manage = Access::Allows(Action::ManageRunner);
    vec![
        Endpoint::page(Method::GET, "/classes", Access::Allows(Action::View), show),
        Endpoint::page(Method::POST, "/classes", manage, create),
        Endpoint::page(Method::POST, "/classes/{class}/remove", manage, remove),
    ]
}

async fn show(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    classes(&app, &principal, &frame, ClassForm::default(), None, StatusCode::OK).await
}

async fn classes(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    form: ClassForm,
    problem: Option<FormProblem>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let found = views::classes::list(app, principal).await?;
    let may_manage = principal.may(Action::ManageRunner);
    let crumbs = vec![Crumb::to("Runners", "/runners"), Crumb::here("Classes")];
    let view = Classes {
        shell: frame.shell(Some(Section::Runners), "Environment classes", crumbs),
        rows: found.iter().map(row).collect(),
        form: may_manage.then_some(form),
        problem,
    };
    page_with(status, &view)
}

fn row(class: &EnvironmentClass) -> ClassRow {
    let amounts = [
        (Resource::Cpu, class.cpu_millis.map(u64::from)),
        (Resource::Memory, class.memory_mib.map(|mib| mib << 20)),
        (Resource::Disk, class.disk_mib.map(|mib| mib << 20)),
        (Resource::Processes, class.processes.map(u64::from)),
        (Resource::Gpu, class.gpu.then_some(1)),
    ];
    let gives = amounts.into_iter().filter_map(|(what, amount)| {
        let amount = what.amount(amount?);
        Some(match what {
            Resource::Memory => format!("{amount} of memory"),
            Resource::Disk => format!("{amount} of disk"),
            Resource::Cpu | Resource::Processes | Resource::Gpu => amount,
        })
    });
    ClassRow {
        name: Text::from(class.name.as_str()),
        gives: gives.collect(),
        needs: class.needs.iter().map(|need| Text::from(need.as_str())).collect(),
        runners: class.runners.iter().map(|name| Text::from(name.as_str())).collect(),
        waits: class.waits.as_deref().map(Text::from),
        remove: (!class.built_in).then(|| format!("/classes/{}/remove", class.name)),
    }
}

#[derive(Deserialize)]
struct NewOne {
    name: String,
    #[serde(default)]
    cpus: String,
    #[serde(default)]
    memory_mib: String,
    #[serde(default)]
    disk_mib: String,
    #[serde(default)]
    processes: String,
    #[serde(default)]
    backend: String,
    #[serde(default)]
    runs_on: String,
    #[serde(default)]
    gpu: String,
}

impl NewOne {
    fn wanted(&self) -> Result<NewClass, Problem> {
        let labels = self.runs_on.split(',').map(str::trim).filter(|label| !label.is_empty());
        let processes = number(&self.processes, "processes")?;
        let gives = ChangeClass {
            cpu_millis: filled(&self.cpus).map(|text| millis(&text)).transpose()?,
            memory_mib: number(&self.memory_mib, "memory_mib")?,
            disk_mib: number(&self.disk_mib, "disk_mib")?,
            processes: processes.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            gpu: Some(!self.gpu.is_empty()),
            backend: filled(&self.backend),
            runs_on: Some(labels.map(str::to_owned).collect()),
        };
        Ok(NewClass { name: self.name.trim().to_owned(), gives })
    }

    fn form(self) -> ClassForm {
        ClassForm {
            name: self.name.into(),
            cpus: self.cpus.into(),
            memory_mib: self.memory_mib.into(),
            disk_mib: self.disk_mib.into(),
            processes: self.processes.into(),
            runs_on: self.runs_on.into(),
            backend: self.backend,
            gpu: !self.gpu.is_empty(),
        }
    }
}

/// Processors, perhaps parts of one, in thousandths.
fn millis(text: &str) -> Result<u32, Problem> {
    let millis = text.parse::<f64>().ok().map(|cpus| (cpus * 1000.0).round());
    match millis {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between the two"
        )]
        Some(millis) if (0.0..=1_024_000.0).contains(&millis) => Ok(millis as u32),
        _ => {
            let why = "write processors as 2, 1.5 or 0.25";
            Err(Problem::new(Code::BadRequest, why).at("cpus"))
        }
    }
}

async fn create(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Fields(new): Fields<NewOne>,
) -> Result<Response, Problem> {
    let created = match new.wanted() {
        Ok(wanted) => actions::create(&app, &principal, wanted).await,
        Err(problem) => Err(problem),
    };
    match created {
        Ok(_) => Ok(go("/classes?said=class")),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            classes(&app, &principal, &frame, new.form(), Some(problem), status).await
        }
    }
}

async fn remove(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(class): Place<String>,
) -> Result<Response, Problem> {
    match actions::remove(&app, &principal, &class).await {
        Ok(()) => Ok(go("/classes?said=removed")),
        Err(problem) => {
            let (status, problem) = form_problem(problem)?;
            let form = ClassForm::default();
            classes(&app, &principal, &frame, form, Some(problem), status).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_written_as_people_do() {
        assert_eq!(
            ["2", "1.5", "0.25", "0"].map(|text| millis(text).ok()),
            [Some(2000), Some(1500), Some(250), Some(0)]
        );
        for wrong in ["two", "-1", "NaN", "1e9", "inf"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }
}
