//! What clients ask, one function for each question.
//!
//! Each answers at once, or keeps the ticket until the answer is due; none of them waits.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{
    Probe, ProbeKind, Supervisor, Ticket,
    environment::{Environment, Stage},
    operation::Operation,
};
use crate::{
    canary::Canary,
    error::{Error, Result},
    frame::Inbox,
    operation::Exec,
    plan::{EnvironmentId, OperationId, Plan},
    protocol::{Listed, Reply, Request, ToInit, ToKeeper, VERSION},
};

impl Supervisor {
    pub(super) fn take_request(&mut self, ticket: Ticket, request: Request) {
        let result = match request {
            Request::Hello { .. } => {
                Ok(Some(Reply::Hello { version: VERSION, pid: std::process::id() }))
            }
            Request::Create { plan } => self.create(ticket, &plan),
            Request::Adopt { id } => self.adopt(ticket, &id),
            Request::Exec { id, exec } => self.exec(ticket, &id, *exec),
            Request::Wait { id, operation } => self.await_end(ticket, &id, &operation),
            Request::Output { id, operation, after } => {
                self.await_output(ticket, &id, &operation, after)
            }
            Request::Status { id, operation } => self
                .operation(&id, &operation)
                .map(|operation| Some(Reply::Status(operation.status.clone()))),
            Request::Signal { id, operation, signal } => {
                self.operation(&id, &operation).map(|operation| {
                    operation.order(&ToKeeper::Signal(signal));
                    Some(Reply::Done)
                })
            }
            Request::Resize { id, operation, size } => {
                self.operation(&id, &operation).map(|operation| {
                    operation.order(&ToKeeper::Resize(size));
                    Some(Reply::Done)
                })
            }
            Request::Connect { id, port } => self.connect(ticket, &id, port),
            Request::Kill { id, operation } => self.kill(ticket, &id, &operation),
            Request::Forget { id, operation } => self.forget(&id, &operation),
            Request::Destroy { id } => self.destroy(ticket, &id),
            Request::List => Ok(Some(Reply::List(self.list()))),
            Request::Probe { id, canary } => self.probe(ticket, &id, canary),
            Request::Shutdown => {
                self.stop(Some(ticket));
                Ok(None)
            }
        };
        match result {
            Ok(Some(reply)) => self.answer(ticket, Ok(reply), Vec::new()),
            Ok(None) => {}
            Err(error) => self.answer(ticket, Err(error), Vec::new()),
        }
    }

    fn create(&mut self, ticket: Ticket, plan: &Plan) -> Result<Option<Reply>> {
        if self.stopping.is_some() {
            return Err(Error::Disconnected { why: "the supervisor is ending".to_owned() });
        }
        if let Some(environment) = self.environments.get_mut(&plan.id) {
            let conflict =
                |why: &str| Err(Error::Conflict { why: format!("environment {} {why}", plan.id) });
            return match environment.stage {
                _ if environment.plan != *plan => conflict("exists with another plan"),
                Stage::Ready => {
                    let (reply, sockets) = environment.describe()?;
                    self.answer(ticket, Ok(reply), sockets);
                    Ok(None)
                }
                Stage::Building => {
                    environment.creating.push(ticket);
                    Ok(None)
                }
                Stage::Dead => conflict("ended by itself; destroy it first"),
                Stage::Dying | Stage::Removing => conflict("is being destroyed; wait for that"),
            };
        }
        plan.check(self.state.path())?;
        self.refuse_shared_tree(plan)?;
        let taken =
            |id: u32| self.environments.values().any(|other| other.identity.outside_uid == id);
        let identity = self.host.power.identity(plan.id.as_str(), taken);
        let folder = self.state.environment(&plan.id);
        let mut environment = Environment::start(&self.host, plan, folder, identity)?;
        environment.creating.push(ticket);
        self.environments.insert(plan.id.clone(), environment);
        Ok(None)
    }

    fn adopt(&mut self, ticket: Ticket, id: &EnvironmentId) -> Result<Option<Reply>> {
        let (reply, sockets) = self.ready(id)?.describe()?;
        self.answer(ticket, Ok(reply), sockets);
        Ok(None)
    }

    fn exec(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        mut exec: Exec,
    ) -> Result<Option<Reply>> {
        let spool = self.state.spool(id, &exec.operation);
        if let Ok(known) = self.operation(id, &exec.operation) {
            return if known.is_same(&exec) {
                Ok(Some(Reply::Started { fresh: false, spool: known.spool.clone() }))
            } else {
                Err(Error::Conflict {
                    why: format!("operation {} was used for another program", exec.operation),
                })
            };
        }
        let environment = self.ready(id)?;
        let ends = Operation::open(&exec, spool, ticket.connection)?;
        let reply = Reply::Started { fresh: true, spool: ends.operation.spool.clone() };
        environment.operations.insert(exec.operation.clone(), ends.operation);
        environment.name_user(&mut exec);
        environment.order(&ToInit::Exec(Box::new(exec)), ends.inside);
        self.answer(ticket, Ok(reply), ends.outside);
        Ok(None)
    }

    fn await_end(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        name: &OperationId,
    ) -> Result<Option<Reply>> {
        let operation = self.operation(id, name)?;
        if operation.status.state.has_ended() {
            return Ok(Some(Reply::Status(operation.status.clone())));
        }
        operation.waiting.push(ticket);
        Ok(None)
    }

    fn await_output(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        name: &OperationId,
        after: u64,
    ) -> Result<Option<Reply>> {
        let operation = self.operation(id, name)?;
        if operation.status.state.has_ended() || operation.status.spool_bytes > after {
            return Ok(Some(Reply::Status(operation.status.clone())));
        }
        operation.following.push((ticket, after));
        Ok(None)
    }

    fn kill(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        name: &OperationId,
    ) -> Result<Option<Reply>> {
        let operation = self.operation(id, name)?;
        if operation.channel.is_none() {
            return Ok(Some(Reply::Done));
        }
        operation.killing.push(ticket);
        operation.order(&ToKeeper::Kill);
        Ok(None)
    }

    fn forget(&mut self, id: &EnvironmentId, name: &OperationId) -> Result<Option<Reply>> {
        let operation = self.operation(id, name)?;
        if !operation.status.state.has_ended() {
            return Err(Error::Conflict {
                why: format!("operation {name} still runs; kill it or wait for it first"),
            });
        }
        if let Some(spool) = &operation.spool {
            // Without the file nothing is left to remove.
            let _removed = std::fs::remove_file(spool);
        }
        if let Some(environment) = self.environments.get_mut(id)
            && let Some(operation) = environment.operations.remove(name)
            && operation.channel.is_some()
        {
            environment.background.push(operation);
        }
        Ok(Some(Reply::Done))
    }

    fn destroy(&mut self, ticket: Ticket, id: &EnvironmentId) -> Result<Option<Reply>> {
        let Some(environment) = self.environments.get_mut(id) else {
            return Ok(Some(Reply::Done));
        };
        environment.destroying.push(ticket);
        match environment.stage {
            Stage::Building | Stage::Ready => environment.kill(),
            Stage::Dead => self.remove_files(id),
            Stage::Dying | Stage::Removing => {}
        }
        Ok(None)
    }

    fn list(&self) -> Vec<Listed> {
        self.environments
            .iter()
            .map(|(id, environment)| Listed {
                id: id.clone(),
                ready: environment.stage == Stage::Ready,
                report: environment.report.clone(),
                operations: environment
                    .operations
                    .iter()
                    .map(|(name, operation)| (name.clone(), operation.status.clone()))
                    .collect(),
                pid: u32::try_from(environment.pid).unwrap_or(0),
            })
            .collect()
    }

    fn probe(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        canary: Canary,
    ) -> Result<Option<Reply>> {
        self.try_inside(ticket, id, ProbeKind::Canary, &ToInit::Probe(canary))
    }

    fn connect(&mut self, ticket: Ticket, id: &EnvironmentId, port: u16) -> Result<Option<Reply>> {
        self.try_inside(ticket, id, ProbeKind::Connection { port }, &ToInit::Connect(port))
    }

    /// Has the first process try something, in a process that tells what came of it.
    fn try_inside(
        &mut self,
        ticket: Ticket,
        id: &EnvironmentId,
        kind: ProbeKind,
        order: &ToInit,
    ) -> Result<Option<Reply>> {
        let environment = self.ready(id)?;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| Error::io("make a channel", error))?;
        environment.order(order, vec![theirs]);
        self.probes.push(Probe { ticket, kind, socket, inbox: Inbox::default() });
        Ok(None)
    }

    /// Two environments with one work tree would, as root, take its files from each other.
    fn refuse_shared_tree(&self, plan: &Plan) -> Result<()> {
        let real = |path: &std::path::Path| path.canonicalize().unwrap_or_else(|_| path.into());
        let wanted = real(&plan.work_tree.host);
        let holder = self.environments.values().find(|other| {
            let held = real(&other.plan.work_tree.host);
            held.starts_with(&wanted) || wanted.starts_with(&held)
        });
        match holder {
            None => Ok(()),
            Some(holder) => Err(Error::Conflict {
                why: format!(
                    "the work tree {} is that of environment {}; destroy it first",
                    wanted.display(),
                    holder.plan.id
                ),
            }),
        }
    }

    fn ready(&mut self, id: &EnvironmentId) -> Result<&mut Environment> {
        match self.environments.get_mut(id) {
            Some(environment) if environment.stage == Stage::Ready => Ok(environment),
            Some(environment) => Err(Error::NotFound {
                what: format!(
                    "ready environment {id}: it {}",
                    match environment.stage {
                        Stage::Building => "is being built",
                        Stage::Dead => "ended by itself",
                        Stage::Ready | Stage::Dying | Stage::Removing => "is being destroyed",
                    }
                ),
            }),
            None => Err(Error::NotFound { what: format!("environment {id}") }),
        }
    }

    fn operation(&mut self, id: &EnvironmentId, name: &OperationId) -> Result<&mut Operation> {
        let environment = self
            .environments
            .get_mut(id)
            .ok_or_else(|| Error::NotFound { what: format!("environment {id}") })?;
        environment.operations.get_mut(name).ok_or_else(|| Error::NotFound {
            what: format!("operation {name} in environment {id}"),
        })
    }
}
