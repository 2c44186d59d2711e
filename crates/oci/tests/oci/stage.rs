//! The backend `oci` on the suite's stage.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt as _;
use windlass_oci::{Oci, Options};
use windlass_sandbox::{Backend, Base, EnvironmentId, Image, backend::Pull};

use super::{
    docker::{Engine, IMAGE},
    suite::{Stage, wait_for},
};

pub struct OciStage<'a> {
    pub engine: &'a Engine,
    pub oci: Oci,
    base: tempfile::TempDir,
    trees: PathBuf,
}

impl<'a> OciStage<'a> {
    pub fn new(engine: &'a Engine) -> Self {
        let base = tempfile::Builder::new().prefix("wo").tempdir().unwrap();
        let trees = base.path().join("trees");
        std::fs::create_dir(&trees).unwrap();
        let oci = wait_for(Oci::connect(options(engine, base.path()))).unwrap();
        Self { engine, oci, base, trees }
    }
}

/// A container outlives its last caller by five seconds: long enough to come back, and to be waited for.
pub fn options(engine: &Engine, base: &Path) -> Options {
    Options {
        socket: engine.socket(),
        state_dir: base.join("state"),
        helper: env!("CARGO_BIN_EXE_windlass-first").into(),
        helper_arguments: Vec::new(),
        orphan_grace: Duration::from_secs(5),
        // What was asked for a moment ago stays all the same.
        image_bytes: 0,
    }
}

impl Stage for OciStage<'_> {
    fn backend(&self) -> &dyn Backend {
        &self.oci
    }

    fn another(&self) -> Box<dyn Backend> {
        Box::new(wait_for(Oci::connect(options(self.engine, self.base.path()))).unwrap())
    }

    fn base(&self) -> Base {
        Base::Image(Image::Named { reference: IMAGE.to_owned(), pull: Pull::Never, login: None })
    }

    fn folder(&self) -> &Path {
        &self.trees
    }

    fn traces(&self) -> Vec<String> {
        let mut traces = self.engine.containers();
        let entries = std::fs::read_dir(self.base.path().join("state")).unwrap();
        traces.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let roots = [self.base.path().to_path_buf(), self.engine.socket().with_file_name("data")];
        let of_ours = |line: &&str| roots.iter().any(|root| line.contains(root.to_str().unwrap()));
        traces.extend(mounts.lines().filter(of_ours).map(str::to_owned));
        traces.sort();
        traces
    }

    fn crash(&self, owner: Box<dyn Backend>, id: &EnvironmentId) -> Option<Box<dyn Backend>> {
        // Whoever holds the handle is the owner: without a caller the container ends by itself.
        let containers = self.engine.containers();
        let name = containers.iter().find(|name| name.ends_with(id.as_str())).unwrap();
        let api = self.engine.api();
        let mut end = api.wait_container(
            name.trim_start_matches('/'),
            None::<bollard::query_parameters::WaitContainerOptions>,
        );
        drop(owner);
        while wait_for(end.next()).is_some_and(|answer| answer.is_ok()) {}
        Some(self.another())
    }
}
