//! Containers beside an environment: in its network and nowhere else, without rights, gone with it.

use std::{path::PathBuf, time::Duration};

use bollard::query_parameters::{InspectContainerOptions, KillContainerOptions};
use windlass_sandbox::{
    Backend, EnvironmentId, Error, Exec, OperationId, Plan, Prepared,
    backend::{
        Companion, Standing,
        companion::{Health, Healthy, OwnVolume, Shown, Test},
    },
};

use super::{
    stage::OciStage,
    suite::{Stage, wait_for},
};

pub fn all(stage: &OciStage<'_>) {
    a_companion_is_found_by_its_name_and_nobody_leaves_the_network(stage);
    a_companion_has_no_rights_and_sees_the_tree_read_only(stage);
    a_health_check_is_asked_by_the_engine(stage);
    a_companion_that_ended_is_started_again_and_tells_each_line_once(stage);
    volumes_are_the_environments_and_gone_with_it(stage);
    what_is_left_of_a_dead_environment_is_swept(stage);
    making_and_destroying_again_and_again_leaves_nothing(stage);
}

fn plan(stage: &OciStage<'_>, name: &str) -> Plan {
    let tree = stage.folder().join(format!("tree-of-{name}"));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("seed"), "from the tree\n").unwrap();
    let id = EnvironmentId::parse(name).unwrap();
    let mut plan = Plan::new(id, tree, "/workspace/tree");
    plan.names = vec!["db".to_owned(), "cache.test".to_owned()];
    plan
}

fn prepared(stage: &OciStage<'_>) -> Prepared {
    wait_for(stage.oci.prepare(&stage.base(), &mut |_| {})).unwrap()
}

fn create(stage: &OciStage<'_>, name: &str) -> EnvironmentId {
    let plan = plan(stage, name);
    wait_for(stage.oci.create(&plan, &prepared(stage))).unwrap();
    plan.id
}

fn companion(stage: &OciStage<'_>, name: &str, script: &str) -> Companion {
    Companion {
        name: name.to_owned(),
        image: prepared(stage),
        command: Some(["sh", "-c", script].map(str::to_owned).into()),
        ..Companion::default()
    }
}

/// Runs a companion to its end; answers how that was and what it said.
fn end_of(stage: &OciStage<'_>, id: &EnvironmentId, with: &Companion) -> (Standing, String) {
    wait_for(stage.oci.accompany(id, with)).unwrap();
    follow(stage, id, &with.name)
}

fn follow(stage: &OciStage<'_>, id: &EnvironmentId, name: &str) -> (Standing, String) {
    let mut said = Vec::new();
    let mut hear = |bytes: &[u8]| said.extend_from_slice(bytes);
    let ended = wait_for(stage.oci.follow_companion(id, name, &mut hear)).unwrap();
    (ended, String::from_utf8(said).unwrap())
}

/// What a program of the environment itself prints.
fn inside(stage: &OciStage<'_>, id: &EnvironmentId, name: &str, script: &str) -> String {
    let operation = OperationId::parse(name).unwrap();
    let exec = Exec::capture(operation.clone(), ["sh", "-c", script]);
    wait_for(stage.oci.exec(id, &exec)).unwrap();
    wait_for(stage.oci.wait(id, &operation)).unwrap();
    let output = wait_for(stage.oci.output(id, &operation, 0)).unwrap();
    let bytes: Vec<u8> = output.chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
    String::from_utf8(bytes).unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} was not so within 30 seconds");
}

/// The network of a container, as the kernel names it.
fn network_of(stage: &OciStage<'_>, ends_with: &str) -> PathBuf {
    let names = stage.engine.containers();
    let name = names.iter().find(|name| name.ends_with(ends_with)).unwrap();
    let name = name.trim_start_matches('/');
    let found =
        wait_for(stage.engine.api().inspect_container(name, None::<InspectContainerOptions>));
    let pid = found.unwrap().state.unwrap().pid.unwrap();
    std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
}

fn a_companion_is_found_by_its_name_and_nobody_leaves_the_network(stage: &OciStage<'_>) {
    let before = stage.traces();
    let id = create(stage, "named");
    let serve = "mkdir /www && echo kept > /www/index.html && exec httpd -f -p 5432 -h /www";
    wait_for(stage.oci.accompany(&id, &companion(stage, "db", serve))).unwrap();
    // What runs is left as it is.
    wait_for(stage.oci.accompany(&id, &companion(stage, "db", "exit 9"))).unwrap();
    let ask = "for i in $(seq 100); do wget -qO- http://db:5432/ && exit; sleep 0.1; done";
    assert_eq!(inside(stage, &id, "ask", ask), "kept\n");
    let other = companion(stage, "other", "wget -qO- http://cache.test:5432/");
    let (ended, said) = end_of(stage, &id, &other);
    assert_eq!((ended.is_success(), said.as_str()), (true, "kept\n"));
    assert_eq!(network_of(stage, "-named.db"), network_of(stage, "-named"));
    let escape = "ls /sys/class/net; tail -n +2 /proc/net/route; \
                  wget -T 3 -qO- http://192.0.2.1/ 2>/dev/null || echo no way; \
                  nslookup example.com 127.0.0.11 >/dev/null 2>&1 || echo no names";
    let (_, said) = end_of(stage, &id, &companion(stage, "escape", escape));
    assert_eq!(said, "lo\nno way\nno names\n");
    let alone = Companion { alone: true, ..companion(stage, "alone", "sleep 600") };
    wait_for(stage.oci.accompany(&id, &alone)).unwrap();
    assert_ne!(network_of(stage, "-named.alone"), network_of(stage, "-named"));
    let listed = wait_for(stage.oci.list()).unwrap();
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&id]);
    wait_for(stage.oci.destroy(&id)).unwrap();
    assert_eq!(stage.traces(), before);
    let gone = wait_for(stage.oci.accompany(&id, &other)).unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

fn a_companion_has_no_rights_and_sees_the_tree_read_only(stage: &OciStage<'_>) {
    let id = create(stage, "rights");
    let look = "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; \
                cat /tree/seed /one; touch /tree/x 2>/dev/null || echo not to be written; \
                mknod /x b 8 0 2>/dev/null || echo no devices; \
                mount -t tmpfs none /tmp 2>/dev/null || echo no mounts; \
                ls /dev/sda /run/docker.sock /var/run/docker.sock 2>/dev/null; echo $KIND $MORE";
    let with = Companion {
        shown: vec![
            Shown { below: PathBuf::new(), inside: "/tree".into() },
            Shown { below: "seed".into(), inside: "/one".into() },
        ],
        variables: vec![("MORE".to_owned(), "of it".to_owned())],
        ..companion(stage, "look", look)
    };
    let (ended, said) = end_of(stage, &id, &with);
    // Six capabilities: chown, dac_override, fowner, kill, setgid, setuid.
    let expected = "0\nCapBnd:\t00000000000000eb\nCapEff:\t00000000000000eb\nNoNewPrivs:\t1\nSeccomp:\t2\n\
                    from the tree\nfrom the tree\nnot to be written\nno devices\nno mounts\nsmall of it\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&said), sorted(expected));
    assert!(ended.is_success(), "{ended:?}");
    let out = Companion {
        shown: vec![Shown { below: "gone".into(), inside: "/gone".into() }],
        ..companion(stage, "out", "true")
    };
    let why = wait_for(stage.oci.accompany(&id, &out)).unwrap_err().to_string();
    assert!(why.contains("show `gone` of the work tree"), "{why}");
    wait_for(stage.oci.destroy(&id)).unwrap();
}

fn a_health_check_is_asked_by_the_engine(stage: &OciStage<'_>) {
    let id = create(stage, "healthy");
    let check = |line: &str, retries| Health::Check {
        test: Test::Shell(line.to_owned()),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        retries,
        start: Duration::ZERO,
    };
    let well = Companion {
        health: Some(check("test -e /well", 100)),
        ..companion(stage, "well", "sleep 1; touch /well; sleep 600")
    };
    let ill =
        Companion { health: Some(check("exit 1", 1)), ..companion(stage, "ill", "sleep 600") };
    for with in [&well, &ill] {
        wait_for(stage.oci.accompany(&id, with)).unwrap();
    }
    let health = |name: &str| match wait_for(stage.oci.companion(&id, name)).unwrap() {
        Standing::Running { healthy } => healthy,
        Standing::Ended { .. } => None,
    };
    until("`well` is healthy", || health("well") == Some(Healthy::Yes));
    until("`ill` is not", || health("ill") == Some(Healthy::No));
    let unasked = companion(stage, "unasked", "sleep 600");
    wait_for(stage.oci.accompany(&id, &unasked)).unwrap();
    assert_eq!(health("unasked"), None);
    wait_for(stage.oci.destroy(&id)).unwrap();
}

fn a_companion_that_ended_is_started_again_and_tells_each_line_once(stage: &OciStage<'_>) {
    let id = create(stage, "again");
    let script =
        "n=$(cat /n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > /n; echo life $n; exit 3";
    let with = companion(stage, "again", script);
    let (first, said) = end_of(stage, &id, &with);
    assert_eq!(first, Standing::Ended { code: 3, out_of_memory: false });
    assert_eq!(said, "life 1\n");
    assert_eq!(end_of(stage, &id, &with).1, "life 2\n");
    let broken = Companion {
        entrypoint: Some(vec!["/no/such/program".to_owned()]),
        ..companion(stage, "broken", "true")
    };
    let why = wait_for(stage.oci.accompany(&id, &broken)).unwrap_err().to_string();
    assert!(why.contains("start the service broken"), "{why}");
    let gone = wait_for(stage.oci.companion(&id, "broken")).unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
    wait_for(stage.oci.destroy(&id)).unwrap();
}

fn volumes(stage: &OciStage<'_>) -> Vec<String> {
    let listed = stage.engine.docker(&["volume", "ls", "--quiet"]).unwrap();
    String::from_utf8(listed).unwrap().lines().map(str::to_owned).collect()
}

fn volumes_are_the_environments_and_gone_with_it(stage: &OciStage<'_>) {
    let (one, two) = (create(stage, "one"), create(stage, "two"));
    let data =
        || vec![OwnVolume { name: "data".to_owned(), inside: "/data".into(), read_only: false }];
    let write =
        Companion { volumes: data(), ..companion(stage, "write", "echo mine > /data/file") };
    let read = Companion {
        volumes: data(),
        read_only: true,
        memory: vec!["/mem".into()],
        shared_memory: Some(8 << 20),
        ..companion(
            stage,
            "read",
            "cat /data/file; touch /x 2>/dev/null || echo read-only; touch /mem/x; \
             df -k /dev/shm | tail -n 1 | awk '{ print $2 }'",
        )
    };
    assert!(end_of(stage, &one, &write).0.is_success());
    assert_eq!(end_of(stage, &one, &read).1, "mine\nread-only\n8192\n");
    let (ended, said) = end_of(stage, &two, &read);
    // What it prints and what it complains of come by two ways.
    assert!(ended.is_success() && said.contains("cat: can't open"), "{said}");
    assert_eq!(volumes(stage).len(), 2);
    wait_for(stage.oci.destroy(&one)).unwrap();
    assert_eq!(volumes(stage).len(), 1);
    wait_for(stage.oci.destroy(&two)).unwrap();
    assert_eq!(volumes(stage), Vec::<String>::new());
}

fn what_is_left_of_a_dead_environment_is_swept(stage: &OciStage<'_>) {
    let before = stage.traces();
    let (dead, alive) = (create(stage, "dead"), create(stage, "alive"));
    let with = Companion {
        volumes: vec![OwnVolume { name: "v".to_owned(), inside: "/v".into(), read_only: false }],
        ..companion(stage, "db", "sleep 600")
    };
    for id in [&dead, &alive] {
        wait_for(stage.oci.accompany(id, &with)).unwrap();
    }
    let names = stage.engine.containers();
    let name = names.iter().find(|name| name.ends_with("-dead")).unwrap();
    let name = name.trim_start_matches('/');
    wait_for(stage.engine.api().kill_container(name, None::<KillContainerOptions>)).unwrap();
    // A crash between a container's removal and that of what was beside it leaves the rest alone.
    stage.engine.docker(&["rm", "--force", name]).unwrap();
    assert!(wait_for(stage.oci.sweep()).unwrap() >= 2);
    let left = stage.engine.containers();
    assert_eq!(left.iter().filter(|name| name.contains("-dead")).count(), 0, "{left:?}");
    assert_eq!(left.iter().filter(|name| name.contains("-alive")).count(), 2, "{left:?}");
    assert_eq!(volumes(stage).len(), 1);
    wait_for(stage.oci.destroy(&alive)).unwrap();
    assert_eq!((stage.traces(), volumes(stage)), (before, Vec::new()));
}

/// What could leak: containers, folders, mounts, volumes and control groups.
fn held(stage: &OciStage<'_>) -> (Vec<String>, Vec<String>, usize) {
    let below = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let groups = super::docker::group_folders().into_iter().flat_map(below);
    let groups = groups.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count();
    (stage.traces(), volumes(stage), groups)
}

fn making_and_destroying_again_and_again_leaves_nothing(stage: &OciStage<'_>) {
    let cycles = if std::env::var_os("WINDLASS_TEST_SOAK").is_some() { 1000 } else { 10 };
    let before = held(stage);
    let began = std::time::Instant::now();
    for n in 0..cycles {
        let id = create(stage, &format!("cycle-{n}"));
        if n % 10 == 0 {
            let volume = OwnVolume { name: "v".to_owned(), inside: "/v".into(), read_only: false };
            let with = Companion {
                volumes: vec![volume],
                ..companion(stage, "db", "echo kept > /v/file; sleep 600")
            };
            wait_for(stage.oci.accompany(&id, &with)).unwrap();
        }
        wait_for(stage.oci.destroy(&id)).unwrap();
        std::fs::remove_dir_all(stage.folder().join(format!("tree-of-cycle-{n}"))).unwrap();
    }
    eprintln!("{cycles} cycles in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(held(stage), before);
}
