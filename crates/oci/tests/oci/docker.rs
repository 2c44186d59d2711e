//! The engine of this test, with what the tests ask it by its API.

use std::path::PathBuf;

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use windlass_testkit::docker;

use super::suite::wait_for;

pub use docker::group_folders;

/// The image that the test makes without a registry: a shell and small programs, nothing else.
pub const IMAGE: &str = "windlass-test/base:1";

/// A running engine. It ends with this value.
pub struct Engine(docker::Engine);

impl Engine {
    /// Starts it. Answers what is missing when it can't be.
    pub fn start() -> Result<Self, String> {
        docker::Engine::start().map(Self)
    }

    pub fn docker(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        self.0.docker(arguments, b"")
    }

    pub fn listen(&self) -> std::net::TcpListener {
        self.0.listen()
    }

    pub fn socket(&self) -> PathBuf {
        self.0.socket()
    }

    pub fn api(&self) -> Docker {
        let version = bollard::ClientVersion { major_version: 1, minor_version: 41 };
        Docker::connect_with_unix(self.socket().to_str().unwrap(), 120, &version).unwrap()
    }

    /// Gives the engine an image that is made of one static program.
    pub fn import_image(&self) {
        self.0.import(IMAGE, &["ENV KIND=small"]).unwrap();
    }

    /// The names of all containers.
    pub fn containers(&self) -> Vec<String> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = wait_for(self.api().list_containers(Some(options))).unwrap();
        found.into_iter().flat_map(|one| one.names.unwrap_or_default()).collect()
    }
}
