//! What a container is made from: an image, a Dockerfile, or services of a Compose file.

use indexmap::IndexMap;
use serde::Serialize;

use crate::{read::Fields, tree::Node};

/// What a container is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Base {
    /// Nothing is named: the backend's own default.
    #[default]
    Default,
    /// A ready image.
    Image(String),
    /// A Dockerfile to build.
    Dockerfile(Build),
    /// A service among others.
    Compose(ComposeChoice),
}

/// How to build from a Dockerfile. Paths are relative to the folder of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The Dockerfile.
    pub dockerfile: String,
    /// The folder whose files may be copied.
    pub context: String,
    /// Values for `ARG`.
    pub args: IndexMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Images to take layers from.
    pub cache_from: Vec<String>,
    /// Arguments for `docker build`.
    pub options: Vec<String>,
}

/// Which service of which Compose files. Paths are relative to the folder of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComposeChoice {
    /// The files; later ones add to earlier ones. None: the default names.
    pub files: Vec<String>,
    /// The service that is the environment.
    pub service: String,
    /// The services to start with it; none named means all.
    pub run_services: Vec<String>,
}

pub(super) fn read(node: &Node, fields: &mut Fields<'_, '_>) -> Base {
    let image = fields.text("image");
    let build_node = fields.get("build");
    let old_dockerfile = fields.text("dockerFile");
    let old_context = fields.text("context");
    let compose_node = fields.get("dockerComposeFile");
    let files = fields.text_or_texts("dockerComposeFile");
    let service = fields.text("service");
    let run_services = fields.texts("runServices");

    let mut build = Build { context: ".".to_owned(), ..Build::default() };
    let mut dockerfile = old_dockerfile;
    if let Some(build_node) = build_node
        && let Some(mut inner) = Fields::open(build_node, "build", fields.findings)
    {
        dockerfile = dockerfile.or(inner.text("dockerfile"));
        build.context = inner.text("context").unwrap_or(build.context);
        build.args = inner.text_map("args");
        build.target = inner.text("target");
        build.cache_from = inner.text_or_texts("cacheFrom");
        build.options = inner.texts("options");
        inner.finish();
    }
    if let Some(context) = old_context {
        build.context = context;
    }

    let bases = [image.is_some(), dockerfile.is_some(), compose_node.is_some()];
    if bases.iter().filter(|is_there| **is_there).count() > 1 {
        fields.findings.warn(
            &node.place,
            "more than one of `image`, `build.dockerfile` and `dockerComposeFile` is set: the \
             Dockerfile counts before the image, the image before Compose; remove the others",
        );
    }
    if let Some(dockerfile) = dockerfile {
        build.dockerfile = dockerfile;
        return Base::Dockerfile(build);
    }
    if let Some(image) = image {
        return Base::Image(image);
    }
    if let Some(build_node) = build_node {
        let what = "`build` names no `dockerfile`: add it, or use `image`";
        fields.findings.refuse(&build_node.place, what);
    }
    let Some(compose_node) = compose_node else { return Base::Default };
    let Some(service) = service else {
        fields.findings.refuse(
            &compose_node.place,
            "`dockerComposeFile` is set without `service`: name the service to work in",
        );
        return Base::Default;
    };
    Base::Compose(ComposeChoice { files, service, run_services })
}
