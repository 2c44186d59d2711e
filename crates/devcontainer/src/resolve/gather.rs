//! The files that a configuration refers to: the Dockerfile, Compose files, local Features, the lock.

use crate::{
    compose::{self, Reading},
    dockerfile::{self, Dockerfile},
    feature::order::{self, Found, Manifests, Wanted},
};

use super::{
    Base, Build, Dockerfiles, Files, Findings, Missing, Place, Reference, Request, Resolved, lock,
    path, place_of, tree,
};

/// Follows what the container is made from, down to the image.
pub(super) fn base(
    resolved: &mut Resolved,
    request: &Request<'_>,
    files: &dyn Files,
    findings: &mut Findings,
) {
    let folder = folder(resolved, request);
    match resolved.definition.base.clone() {
        Base::Default => {}
        Base::Image(image) => resolved.base_image = Some(image),
        Base::Dockerfile(build) => {
            let key = if resolved.configuration.get("dockerFile").is_some() {
                "dockerFile"
            } else {
                "build"
            };
            let place = place_of(&resolved.configuration, key).clone();
            dockerfile(resolved, request, files, findings, &folder, &build, &place);
        }
        Base::Compose(choice) => {
            let place = place_of(&resolved.configuration, "dockerComposeFile").clone();
            let reading = Reading {
                files,
                folder: &folder,
                workspace: &request.workspace.folder,
                root: &request.workspace.root(),
                environment: request.local_environment,
            };
            let Some(project) = compose::read(&choice, &place, &reading, findings) else { return };
            if let Some(service) = project.services.get(&choice.service) {
                match service.build.clone() {
                    Some(build) => {
                        let place = service.place.clone();
                        let context = build.context.clone();
                        dockerfile(resolved, request, files, findings, &context, &build, &place);
                        resolved.build = None;
                    }
                    None => resolved.base_image.clone_from(&service.image),
                }
            }
            resolved.compose = Some(project);
        }
    }
    let Some(name) = &resolved.base_image else { return };
    match request.images.get(name) {
        Some(image) => {
            let user = Some(image.user.clone()).filter(|user| !user.is_empty());
            resolved.image_user = resolved.image_user.take().or(user);
        }
        None => resolved.missing.images.push(name.clone()),
    }
}

fn dockerfile(
    resolved: &mut Resolved,
    request: &Request<'_>,
    files: &dyn Files,
    findings: &mut Findings,
    folder: &str,
    build: &Build,
    place: &Place,
) {
    let root = request.workspace.root();
    let Some(path) = within(folder, &build.dockerfile, &root, place, findings) else { return };
    within(folder, &build.context, &root, place, findings);
    let Some(text) = referred(files, &path, place, findings) else { return };
    let dockerfile = match Dockerfile::parse(&path, &text) {
        Ok(dockerfile) => dockerfile,
        Err(finding) => {
            findings.refuse(&finding.place, finding.what);
            return;
        }
    };
    let images = |name: &str| {
        let image = request.images.get(name);
        image.map(|image| image.environment.clone()).unwrap_or_default()
    };
    let choice = dockerfile::Choice {
        arguments: &build.args,
        target: build.target.as_deref(),
        images: &images,
    };
    match dockerfile.origin(&choice, place) {
        Ok(origin) => {
            resolved.base_image = origin.image;
            resolved.image_user = origin.user;
        }
        Err(finding) => findings.refuse(&finding.place, finding.what),
    }
    let is_subset = request
        .capabilities
        .is_some_and(|capabilities| capabilities.bases.dockerfiles == Dockerfiles::Subset);
    if is_subset {
        resolved.build = dockerfile.plan(&choice, place, findings);
    }
}

/// Finds all Features and works out their order.
pub(super) fn features(
    resolved: &mut Resolved,
    request: &Request<'_>,
    files: &dyn Files,
    findings: &mut Findings,
) {
    if resolved.definition.features.is_empty() {
        return;
    }
    let folder = folder(resolved, request);
    let node = resolved.configuration.get("features");
    let place = |written: &str| {
        let member = node.and_then(|node| node.members().iter().find(|m| m.key == written));
        member.map_or(&resolved.configuration.place, |member| &member.place).clone()
    };
    let wanted = resolved.definition.features.iter().map(|(written, options)| Wanted {
        written: written.clone(),
        options: options.clone(),
        place: place(written),
    });
    let key = "overrideFeatureInstallOrder";
    let list = resolved.configuration.get(key).and_then(tree::Node::list).unwrap_or(&[]);
    let first: Vec<(String, Place)> = list
        .iter()
        .filter_map(|node| Some((node.text()?.to_owned(), node.place.clone())))
        .collect();
    let lock_path = resolved.file.as_deref().map(lock::path_of);
    let lock = lock_path.and_then(|path| Some((read(files, &path, findings)?, path)));
    let lock = lock.and_then(|(text, path)| match lock::Lock::parse(&path, &text) {
        Ok(lock) => Some(lock),
        Err(finding) => {
            findings.refuse(&finding.place, finding.what);
            None
        }
    });
    let mut shelf = Shelf {
        request,
        files,
        folder,
        lock: lock.unwrap_or_default(),
        missing: &mut resolved.missing,
    };
    resolved.features = order::plan(wanted.collect(), &first, &mut shelf, findings);
}

/// Where manifests come from: local ones from the files, others from what was fetched.
struct Shelf<'a> {
    request: &'a Request<'a>,
    files: &'a dyn Files,
    folder: String,
    lock: lock::Lock,
    missing: &'a mut Missing,
}

impl Manifests for Shelf<'_> {
    fn find(
        &mut self,
        wanted: &Wanted,
        reference: &Reference,
        findings: &mut Findings,
    ) -> Option<Found> {
        if let Reference::Local(written) = reference {
            let allowed = path::join(&self.request.workspace.folder, ".devcontainer");
            let folder = path::join(&self.folder, written);
            if !path::is_within(&folder, &allowed) {
                let what =
                    format!("the Feature `{written}` must lie in .devcontainer/: move it there");
                findings.refuse(&wanted.place, what);
                return None;
            }
            let file = format!("{folder}/devcontainer-feature.json");
            let text = referred(self.files, &file, &wanted.place, findings)?;
            let node = parse(&file, &text, findings)?;
            return Some(Found { node, folder: Some(folder), digest: None });
        }
        let locked = self.lock.get(&wanted.written).map(|locked| locked.integrity.clone());
        let Some(fetched) = self.request.features.get(&wanted.written) else {
            self.missing.features.insert(wanted.written.clone(), locked);
            return None;
        };
        if let Some(locked) = locked.filter(|locked| *locked != fetched.digest) {
            let what = format!(
                "the Feature `{}` is {}, the lock file demands {locked}: remove its entry there to \
                 take the new one",
                wanted.written, fetched.digest
            );
            findings.refuse(&wanted.place, what);
            return None;
        }
        let node = parse(&wanted.written, &fetched.manifest, findings)?;
        Some(Found { node, folder: None, digest: Some(fetched.digest.clone()) })
    }
}

fn parse(file: &str, text: &str, findings: &mut Findings) -> Option<tree::Node> {
    match tree::parse_jsonc(file, text, findings) {
        Ok(node) => Some(node),
        Err(finding) => {
            findings.refuse(&finding.place, finding.what);
            None
        }
    }
}

/// The folder of the configuration.
fn folder(resolved: &Resolved, request: &Request<'_>) -> String {
    match &resolved.file {
        Some(file) => path::parent(file).to_owned(),
        None => request.workspace.folder.clone(),
    }
}

/// Joins a path that a file refers to; one that leaves the project is refused.
pub(crate) fn within(
    folder: &str,
    written: &str,
    root: &str,
    place: &Place,
    findings: &mut Findings,
) -> Option<String> {
    let path = path::join(folder, written);
    if path::is_within(&path, root) {
        return Some(path);
    }
    findings.refuse(place, format!("`{written}` lies outside of the project: move it inside"));
    None
}

/// Reads a file that another refers to; one that isn't there is refused at the place that refers.
pub(crate) fn referred(
    files: &dyn Files,
    path: &str,
    place: &Place,
    findings: &mut Findings,
) -> Option<String> {
    match files.read(path) {
        Ok(Some(text)) => Some(text),
        Ok(None) => {
            findings
                .refuse(place, format!("the file {path} isn't there: add it or change the path"));
            None
        }
        Err(error) => {
            findings.refuse(place, format!("the file {path} can't be read: {error}"));
            None
        }
    }
}

/// Reads a file that may be absent.
pub(super) fn read(files: &dyn Files, path: &str, findings: &mut Findings) -> Option<String> {
    match files.read(path) {
        Ok(text) => text,
        Err(error) => {
            findings.refuse(&Place::whole(path), format!("it can't be read: {error}"));
            None
        }
    }
}
