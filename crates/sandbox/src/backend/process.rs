//! The backend `process`: environments of the supervisor on this host.
//!
//! Adds nothing to [`Client`]. The host's own system folders are all that it can start from; an image is
//! refused rather than left out.

use std::net::TcpStream;

use super::{Answer, Backend, Base, Capabilities, Isolation, Output, Prepared, Tell, read_spool};
use crate::{
    client::{Client, Created, Started},
    error::Error,
    operation::{Exec, Size, Status},
    plan::{EnvironmentId, OperationId, Plan},
    protocol::Listed,
};

impl Backend for Client {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "process",
            isolation: Isolation::SharedKernel,
            doors: true,
            host_base: true,
            images: false,
            companions: false,
        }
    }

    fn prepare<'a>(&'a self, base: &'a Base, _: Tell<'a>) -> Answer<'a, Prepared> {
        Box::pin(async move {
            match base {
                Base::Host => Ok(Prepared::default()),
                Base::Image(_) | Base::Empty => Err(Error::invalid(
                    "the backend `process` starts from the host's own folders, not from an image; \
                     leave the image out or choose the backend `oci`",
                )),
            }
        })
    }

    fn create<'a>(&'a self, plan: &'a Plan, prepared: &'a Prepared) -> Answer<'a, Created> {
        Box::pin(async move {
            if !prepared.name.is_empty() {
                return Err(Error::invalid("an image was prepared by another backend"));
            }
            self.create(plan).await
        })
    }

    fn adopt<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, Created> {
        Box::pin(self.adopt(id))
    }

    fn exec<'a>(&'a self, id: &'a EnvironmentId, exec: &'a Exec) -> Answer<'a, Started> {
        Box::pin(self.exec(id, exec))
    }

    fn wait<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, Status> {
        Box::pin(self.wait(id, operation))
    }

    fn output<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        after: u64,
    ) -> Answer<'a, Output> {
        Box::pin(async move {
            let status = self.output(id, operation, after).await?;
            read_spool(&self.spool_path(id, operation)?, after, status)
        })
    }

    fn status<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
    ) -> Answer<'a, Status> {
        Box::pin(self.status(id, operation))
    }

    fn signal<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        signal: i32,
    ) -> Answer<'a, ()> {
        Box::pin(self.signal(id, operation, signal))
    }

    fn resize<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        size: Size,
    ) -> Answer<'a, ()> {
        Box::pin(self.resize(id, operation, size))
    }

    fn dial<'a>(&'a self, id: &'a EnvironmentId, port: u16) -> Answer<'a, TcpStream> {
        Box::pin(self.dial(id, port))
    }

    fn kill<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        Box::pin(self.kill(id, operation))
    }

    fn forget<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        Box::pin(self.forget(id, operation))
    }

    fn destroy<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, ()> {
        Box::pin(self.destroy(id))
    }

    fn home(&self, id: &EnvironmentId) -> Option<std::path::PathBuf> {
        Some(self.home(id))
    }

    fn volume(&self, id: &EnvironmentId, index: usize) -> Option<std::path::PathBuf> {
        Some(self.volume(id, index))
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        Box::pin(self.list())
    }

    /// Nothing: environments die with their supervisor, and the next one sweeps when it starts.
    fn sweep(&self) -> Answer<'_, usize> {
        Box::pin(async { Ok(0) })
    }
}
