//! The backend `process` with images: its supervisor makes every environment; here an image's folder is
//! found for it and kept while it is used.

use std::net::TcpStream;

use windlass_sandbox::{
    Backend, Base, Capabilities, Client, Created, EnvironmentId, Error, Exec, Image, Listed,
    OperationId, Plan, Prepared, Size, Started, Status,
    backend::{Answer, Output, Recipe, Serve, Tell},
};

use crate::{Store, making};

/// The supervisor of this host's environments, and the images that they may be made from.
#[derive(Clone, Debug)]
pub struct WithImages {
    client: Client,
    store: Store,
}

impl WithImages {
    /// Puts the two together.
    pub fn new(client: Client, store: Store) -> Self {
        Self { client, store }
    }

    fn backend(&self) -> &dyn Backend {
        &self.client
    }
}

impl Backend for WithImages {
    fn capabilities(&self) -> Capabilities {
        Capabilities { images: true, ..self.backend().capabilities() }
    }

    fn prepare<'a>(&'a self, base: &'a Base, tell: Tell<'a>) -> Answer<'a, Prepared> {
        Box::pin(async move {
            match base {
                Base::Host => Ok(Prepared::default()),
                Base::Image(Image::Named { reference, pull, login }) => {
                    let stored = self.store.get(reference, *pull, login.as_ref(), tell).await?;
                    let accounts = self.store.accounts(&stored.digest);
                    Ok(Prepared { name: stored.digest, settings: stored.settings, accounts })
                }
                Base::Empty => making::empty(&self.store),
                Base::Image(Image::Built { .. }) => Err(Error::InvalidPlan {
                    why:
                        "the backend `process` builds no Dockerfiles; name an image, or choose the \
                          backend `oci`"
                            .to_owned(),
                }),
            }
        })
    }

    fn extend<'a>(
        &'a self,
        below: &'a Prepared,
        recipe: &'a Recipe,
        serve: Serve<'a>,
        tell: Tell<'a>,
    ) -> Answer<'a, Prepared> {
        Box::pin(making::extend(&self.store, &self.client, below, recipe, serve, tell))
    }

    fn create<'a>(&'a self, plan: &'a Plan, prepared: &'a Prepared) -> Answer<'a, Created> {
        Box::pin(async move {
            if prepared.name.is_empty() {
                return self.client.create(plan).await;
            }
            let root = self.store.pin(&prepared.name, &plan.id)?;
            let plan = Plan { root: Some(root), ..plan.clone() };
            let created = self.client.create(&plan).await;
            // After a conflict there is an environment of this name, which may have the image.
            if created.as_ref().is_err_and(|error| !matches!(error, Error::Conflict { .. })) {
                self.store.unpin(&plan.id);
            }
            created
        })
    }

    fn adopt<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, Created> {
        self.backend().adopt(id)
    }

    fn exec<'a>(&'a self, id: &'a EnvironmentId, exec: &'a Exec) -> Answer<'a, Started> {
        self.backend().exec(id, exec)
    }

    fn wait<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, Status> {
        self.backend().wait(id, operation)
    }

    fn output<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        after: u64,
    ) -> Answer<'a, Output> {
        self.backend().output(id, operation, after)
    }

    fn status<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
    ) -> Answer<'a, Status> {
        self.backend().status(id, operation)
    }

    fn signal<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        signal: i32,
    ) -> Answer<'a, ()> {
        self.backend().signal(id, operation, signal)
    }

    fn resize<'a>(
        &'a self,
        id: &'a EnvironmentId,
        operation: &'a OperationId,
        size: Size,
    ) -> Answer<'a, ()> {
        self.backend().resize(id, operation, size)
    }

    fn dial<'a>(&'a self, id: &'a EnvironmentId, port: u16) -> Answer<'a, TcpStream> {
        self.backend().dial(id, port)
    }

    fn kill<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        self.backend().kill(id, operation)
    }

    fn forget<'a>(&'a self, id: &'a EnvironmentId, operation: &'a OperationId) -> Answer<'a, ()> {
        self.backend().forget(id, operation)
    }

    fn destroy<'a>(&'a self, id: &'a EnvironmentId) -> Answer<'a, ()> {
        Box::pin(async move {
            self.client.destroy(id).await?;
            self.store.unpin(id);
            Ok(())
        })
    }

    fn home(&self, id: &EnvironmentId) -> Option<std::path::PathBuf> {
        self.backend().home(id)
    }

    fn volume(&self, id: &EnvironmentId, index: usize) -> Option<std::path::PathBuf> {
        self.backend().volume(id, index)
    }

    fn list(&self) -> Answer<'_, Vec<Listed>> {
        self.backend().list()
    }

    fn sweep(&self) -> Answer<'_, usize> {
        self.backend().sweep()
    }
}
