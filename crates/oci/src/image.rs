//! Images: found, pulled, built once for each definition, and pruned.

use std::collections::{BTreeMap, HashMap};

use bollard::{
    Docker,
    auth::DockerCredentials,
    models::ImageSummary,
    query_parameters::{
        BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder,
        RemoveImageOptions,
    },
};
use futures::StreamExt as _;
use windlass_sandbox::{
    Error, Image, ImageSettings, Prepared, Progress, Result,
    backend::{Login, Pull, Tell},
};

use crate::{
    context,
    engine::{self, failed},
};

/// Has an image, or gets it.
pub(crate) async fn prepare(docker: &Docker, image: &Image, tell: Tell<'_>) -> Result<Prepared> {
    let name = match image {
        Image::Named { reference, pull: Pull::Missing, login: Some(login) }
            if !login.realm.is_empty() =>
        {
            fetch_for(docker, reference, login, tell).await?
        }
        Image::Named { reference, pull, login } => match (find(docker, reference).await?, pull) {
            (Some(id), _) => id,
            (None, Pull::Never) => {
                return Err(Error::Build {
                    step: format!("use the image `{reference}`"),
                    why: format!(
                        "it is not there and must not be pulled; run `docker pull {reference}` or allow it"
                    ),
                });
            }
            (None, Pull::Missing) => fetch(docker, reference, login.as_ref(), tell).await?,
        },
        Image::Built { .. } => build(docker, image, tell).await?,
    };
    inspected(docker, &name).await
}

/// What an image says about itself.
pub(crate) async fn inspected(docker: &Docker, name: &str) -> Result<Prepared> {
    let found = docker.inspect_image(name).await;
    let config = found.map_err(|error| failed("look at an image", &error))?.config;
    let config = config.unwrap_or_default();
    let variables = config.env.unwrap_or_default();
    let settings = ImageSettings::new(
        variables.iter().map(String::as_str),
        config.labels.unwrap_or_default().into_iter().collect(),
        &config.user.unwrap_or_default(),
    )
    .in_folder(&config.working_dir.unwrap_or_default());
    Ok(Prepared { name: name.to_owned(), settings, accounts: Vec::new() })
}

/// Removes images of ours, the oldest first, until the rest takes `bytes` at most: but those to keep, by
/// their definitions or ids, and those in use. Answers how many.
pub(crate) async fn prune(docker: &Docker, bytes: u64, keep: &[String]) -> Result<usize> {
    let mut all = images(docker, None).await?;
    all.sort_by_key(|image| image.created);
    let size = |image: &ImageSummary| u64::try_from(image.size).unwrap_or(0);
    let mut total: u64 = all.iter().map(size).sum();
    let mut pruned = 0;
    for image in all {
        if total <= bytes {
            break;
        }
        let digest = image.labels.get(engine::DEFINITION);
        if keep.contains(&image.id) || digest.is_some_and(|digest| keep.contains(digest)) {
            continue;
        }
        match docker.remove_image(&image.id, None::<RemoveImageOptions>, None).await {
            Ok(_) => {
                pruned += 1;
                total = total.saturating_sub(size(&image));
            }
            // Another one is made from it, or a container uses it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => {}
            Err(error) if engine::is_not_found(&error) => {}
            Err(error) => return Err(failed("remove an image", &error)),
        }
    }
    Ok(pruned)
}

async fn find(docker: &Docker, reference: &str) -> Result<Option<String>> {
    match docker.inspect_image(reference).await {
        Ok(found) => Ok(found.id),
        Err(error) if engine::is_not_found(&error) => Ok(None),
        Err(error) => Err(failed("look for an image", &error)),
    }
}

/// Gets an image for those only who have the login. The engine keeps images for everybody, so its
/// registry is asked each time whether these may have it, and it is pulled by its digest, which leaves no
/// name by which others would find it.
async fn fetch_for(
    docker: &Docker,
    reference: &str,
    login: &Login,
    tell: Tell<'_>,
) -> Result<String> {
    let step = format!("pull the image `{reference}`");
    let whole = complete(reference);
    let found = docker.inspect_registry_image(&whole, Some(credentials(reference, login))).await;
    let digest = found.map_err(|error| failed(&step, &error))?.descriptor.digest;
    let digest = digest.ok_or_else(|| Error::Build {
        step: step.clone(),
        why: "its registry names no digest of it".to_owned(),
    })?;
    let repository = whole.split_once('@').map_or(&*whole, |(before, _)| before);
    let repository = match repository.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => repository,
    };
    let exact = format!("{repository}@{digest}");
    match find(docker, &exact).await? {
        Some(id) => Ok(id),
        None => fetch(docker, &exact, Some(login), tell).await,
    }
}

fn credentials(reference: &str, login: &Login) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.user.clone()),
        password: Some(login.password.clone()),
        serveraddress: Some(registry(reference).to_owned()),
        ..DockerCredentials::default()
    }
}

async fn fetch(
    docker: &Docker,
    reference: &str,
    login: Option<&Login>,
    tell: Tell<'_>,
) -> Result<String> {
    let step = format!("pull the image `{reference}`");
    let credentials = login.map(|login| credentials(reference, login));
    let options = CreateImageOptionsBuilder::default().from_image(&complete(reference)).build();
    let mut answers = docker.create_image(Some(options), None, credentials);
    while let Some(answer) = answers.next().await {
        let part = answer.map_err(|error| failed(&step, &error))?;
        let text = [part.id, part.status].into_iter().flatten().collect::<Vec<_>>().join(" ");
        tell(Progress::Pulling { text });
    }
    find(docker, reference).await?.ok_or_else(|| Error::Build {
        step,
        why: "the engine said it has it, and has not".to_owned(),
    })
}

/// Without a tag an engine would pull all of them.
fn complete(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

/// The registry of a reference, as engines call it.
fn registry(reference: &str) -> &str {
    match windlass_sandbox::backend::registry(reference) {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

async fn build(docker: &Docker, image: &Image, tell: Tell<'_>) -> Result<String> {
    let Image::Built { context, dockerfile, arguments, target, digest } = image else {
        return Err(Error::InvalidPlan { why: "only a definition can be built".to_owned() });
    };
    if let Some((id, _)) = built(docker, Some(digest)).await?.into_iter().next() {
        return Ok(id);
    }
    let step = format!("build {}", context.join(dockerfile).display());
    let (folder, file) = (context.clone(), dockerfile.clone());
    let archive = crate::blocking(move || context::pack(&folder, &file)).await?;
    let build = Build { step, dockerfile, arguments, target: target.as_deref(), digest };
    build_archive(docker, &build, archive, tell).await
}

/// How an archive is built.
pub(crate) struct Build<'a> {
    /// What messages call it.
    pub(crate) step: String,
    pub(crate) dockerfile: &'a str,
    pub(crate) arguments: &'a BTreeMap<String, String>,
    pub(crate) target: Option<&'a str>,
    /// What names everything that it depends on.
    pub(crate) digest: &'a str,
}

/// Builds what is in an archive; answers the image's id.
pub(crate) async fn build_archive(
    docker: &Docker,
    build: &Build<'_>,
    archive: Vec<u8>,
    tell: Tell<'_>,
) -> Result<String> {
    /// How many lines of the output an error repeats.
    const LINES: usize = 20;
    let arguments: HashMap<String, String> =
        build.arguments.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let labels = HashMap::from([(engine::DEFINITION.to_owned(), build.digest.to_owned())]);
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(build.dockerfile)
        .buildargs(&arguments)
        .labels(&labels)
        .rm(true)
        .forcerm(true);
    if let Some(target) = build.target {
        options = options.target(target);
    }
    let mut answers =
        docker.build_image(options.build(), None, Some(bollard::body_full(archive.into())));
    let (mut id, mut said) = (None, String::new());
    while let Some(answer) = answers.next().await {
        let part = answer.map_err(|error| match failed(&build.step, &error) {
            Error::Build { step, why } if !said.trim().is_empty() => {
                let lines: Vec<&str> = said.trim_end().lines().collect();
                let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
                Error::Build { step, why: format!("{why} The end of its output:\n{last}") }
            }
            other => other,
        })?;
        if let Some(text) = part.stream {
            said.push_str(&text);
            tell(Progress::Building { text });
        }
        id = part.aux.and_then(|made| made.id).or(id);
    }
    id.ok_or_else(|| Error::Build {
        step: build.step.clone(),
        why: "the engine ended without an image".to_owned(),
    })
}

/// Images that were built here: their ids and the digests of their definitions.
pub(crate) async fn built(docker: &Docker, digest: Option<&str>) -> Result<Vec<(String, String)>> {
    let images = images(docker, digest).await?.into_iter();
    Ok(images
        .filter_map(|mut image| Some((image.id, image.labels.remove(engine::DEFINITION)?)))
        .collect())
}

async fn images(docker: &Docker, digest: Option<&str>) -> Result<Vec<ImageSummary>> {
    let label = match digest {
        Some(digest) => format!("{}={digest}", engine::DEFINITION),
        None => engine::DEFINITION.to_owned(),
    };
    let filters = HashMap::from([("label", vec![label])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    docker.list_images(Some(options)).await.map_err(|error| failed("list images", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_the_latest() {
        let seen = ["debian", "debian:12", "host:5000/a/b", "a/b@sha256:00"].map(complete);
        assert_eq!(seen, ["debian:latest", "debian:12", "host:5000/a/b:latest", "a/b@sha256:00"]);
    }

    #[test]
    fn credentials_go_to_the_registry_that_is_named() {
        let seen =
            ["debian", "user/debian", "host.example/a", "host:5000/a", "localhost/a"].map(registry);
        let hub = "https://index.docker.io/v1/";
        assert_eq!(seen, [hub, hub, "host.example", "host:5000", "localhost"]);
    }
}
