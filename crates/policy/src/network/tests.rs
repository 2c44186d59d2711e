//! Network decisions: tricks with hosts, kinds of addresses, layers.

use super::*;

fn destination(text: &str) -> Destination {
    Destination::parse(text).expect("a destination")
}

fn allow(rules: &[&str]) -> LayerText {
    LayerText { allow: Some(rules.iter().map(|&rule| rule.to_owned()).collect()), deny: Vec::new() }
}

fn network(operator: &[&str]) -> Network {
    Network::nothing().with_layer(Layer::Operator, &allow(operator)).expect("good rules")
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn hosts_that_programs_read_in_different_ways_are_refused() {
    let odd = [
        "2130706433:80",
        "0177.0.0.1:80",
        "0x7f.0.0.1:80",
        "0x7f000001:80",
        "127.1:80",
        "127.0.1:80",
        "127.0.0.1.2:80",
        "1.2.3.4.:80 ",
        "user@example.org:80",
        "example.org%00.evil:80",
        "exämple.org:80",
        "[fe80::1%25eth0]:80",
        "[::1:80",
        "::1%1:80",
        ":80",
        "example..org:80",
        "example.org:080000",
        "example.org:+80",
        "example.org:0",
        "example.org:65536",
        "example.org",
        "ex ample.org:80",
        ".:80",
        "example.org\t:80",
        "0x:80",
        "[127.0.0.1]:80",
        "example.org:80:90",
        "[::1]x:80",
    ];
    let taken: Vec<_> = odd.iter().filter(|text| Destination::parse(text).is_ok()).collect();
    assert_eq!(taken, Vec::<&&str>::new());
}

#[test]
fn hosts_are_brought_into_one_form() {
    assert_eq!(destination("EXAMPLE.org.:443").to_string(), "example.org:443");
    assert_eq!(destination("[::FFFF:127.0.0.1]:80").to_string(), "127.0.0.1:80");
    assert_eq!(destination("[2001:DB8:0::1]:80").to_string(), "[2001:db8::1]:80");
    assert_eq!(destination("127.0.0.1.:80").to_string(), "127.0.0.1:80");
}

#[test]
fn only_the_public_internet_is_global() {
    let refused = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "100.100.100.200",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:0808:0808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ];
    for text in refused {
        assert!(
            matches!(scope(text.parse().expect("an address")), Scope::Refused(_)),
            "{text} passed"
        );
    }
    let global = [
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860::8888",
        "2001:200::1",
        "2003::1",
    ];
    for text in global {
        assert_eq!(scope(text.parse().expect("an address")), Scope::Global, "{text}");
    }
}

#[test]
fn rules_read_back_as_they_mean() {
    let pairs = [
        ("Registry.npmjs.org", "registry.npmjs.org:443"),
        ("registry.npmjs.org:443", "registry.npmjs.org:443"),
        ("*.crates.io:443", "*.crates.io:443"),
        ("*:443", "*:443"),
        ("*:*", "*:*"),
        ("8.8.8.8:53", "8.8.8.8:53"),
        ("[2606:4700::1111]:443", "[2606:4700::1111]:443"),
        ("mirror.corp.example:8443 in 10.20.1.1/16", "mirror.corp.example:8443 in 10.20.0.0/16"),
        ("mirror:80 in 10.0.0.5,fd00:1::/32", "mirror:80 in 10.0.0.5, fd00:1::/32"),
    ];
    for (text, canonical) in pairs {
        assert_eq!(text.parse::<Rule>().expect(text).to_string(), canonical);
    }
}

#[test]
fn bad_rules_say_what_is_wrong() {
    let pairs = [
        ("", "it is empty; write host:port, such as registry.npmjs.org:443"),
        (
            "https://x.org",
            "it is a URL or has a path; write only host:port, such as registry.npmjs.org:443",
        ),
        (
            "x.org/path",
            "it is a URL or has a path; write only host:port, such as registry.npmjs.org:443",
        ),
        (
            "*.org:443",
            "`*` may stand only for the whole host or as `*.` before a name with a dot in it",
        ),
        (
            "a.*.org:443",
            "`*` may stand only for the whole host or as `*.` before a name with a dot in it",
        ),
        ("x.org:http", "`http` is not a port; a port is a number from 1 to 65535"),
        (
            "x.org in ten",
            "`ten` is not an address block; write CIDR, such as 10.20.0.0/16 or 10.20.0.5",
        ),
        (
            "x.org in 0.0.0.0/0",
            "`0.0.0.0/0` covers too much to be an exception; name the narrowest block that the host is in (/8 or longer, /16 for IPv6)",
        ),
        (
            "* in 10.0.0.0/8",
            "a rule that names addresses must name its host; `*` may not lead to private addresses",
        ),
    ];
    for (text, message) in pairs {
        assert_eq!(text.parse::<Rule>().expect_err(text).to_string(), message);
    }
    let layer = Network::nothing().with_layer(Layer::Project, &allow(&["x.org:443", "y.org:x"]));
    assert_eq!(
        layer.expect_err("a bad rule").to_string(),
        "the project layer's network rule `y.org:x` is not valid: `x` is not a port; a port is a number from 1 to 65535"
    );
}

#[test]
fn what_nobody_allows_is_refused() {
    let decision = Network::nothing().judge(&destination("example.org:443"));
    assert_eq!(
        decision,
        Decision {
            effect: Effect::Deny,
            rule: String::new(),
            layer: None,
            why: "no layer allows `example.org:443`, and what is not allowed is refused; it can be allowed by a \
                  network rule `example.org:443`"
                .to_owned(),
            addresses: Vec::new(),
        }
    );
}

#[test]
fn a_wildcard_covers_what_is_below_and_nothing_else() {
    let network = network(&["*.example.org:443", "*:8443"]);
    let allowed = |text: &str| network.judge(&destination(text)).is_allowed();
    assert!(
        allowed("a.example.org:443") && allowed("a.b.example.org:443") && allowed("any.name:8443")
    );
    assert!(
        !allowed("example.org:443")
            && !allowed("badexample.org:443")
            && !allowed("a.example.org:80")
    );
    assert!(!allowed("a.example.org.evil.net:443") && !allowed("1.1.1.1:8443"));
}

#[test]
fn a_lower_layer_only_narrows_and_the_refusing_layer_is_named() {
    let network = Network::nothing()
        .with_layer(Layer::Organisation, &allow(&["*.example.org:443", "crates.io:443"]))
        .and_then(|network| {
            network.with_layer(Layer::Project, &allow(&["a.example.org:443", "evil.net:443"]))
        })
        .and_then(|network| {
            let deny = LayerText { allow: None, deny: vec!["a.example.org:*".to_owned()] };
            network.with_layer(Layer::Job, &deny)
        })
        .expect("good layers");
    let why = |text: &str| {
        let decision = network.judge(&destination(text));
        (decision.effect, decision.layer, decision.why)
    };
    assert_eq!(
        why("crates.io:443"),
        (
            Effect::Deny,
            Some(Layer::Project),
            "no rule of the project layer allows `crates.io:443`; it can be allowed by adding `crates.io:443` there"
                .to_owned()
        )
    );
    assert_eq!(
        why("evil.net:443"),
        (
            Effect::Deny,
            Some(Layer::Organisation),
            "no rule of the organisation layer allows `evil.net:443`; it can be allowed by adding `evil.net:443` there"
                .to_owned()
        )
    );
    assert_eq!(
        why("a.example.org:443"),
        (Effect::Deny, Some(Layer::Job), "the job layer denies `a.example.org:*`".to_owned())
    );
}

#[test]
fn layers_come_from_the_top_down_and_only_the_operator_names_addresses() {
    let twice = network(&["x.org:443"]).with_layer(Layer::Operator, &allow(&[]));
    assert_eq!(
        twice.expect_err("out of order").to_string(),
        "the operator layer was added after the operator layer; add layers from the top down, each once"
    );
    let below = Network::nothing().with_layer(Layer::Project, &allow(&["x.org:443 in 10.0.0.0/8"]));
    assert_eq!(
        below.expect_err("not the operator").to_string(),
        "the project layer's network rule `x.org:443 in 10.0.0.0/8` names addresses, which only an operator rule may; \
         remove ` in ...` here and ask whoever runs this machine to add it to the operator's rules"
    );
}

#[test]
fn private_addresses_need_an_operator_rule_with_this_host_port_and_block() {
    let network = network(&["*:443", "mirror.corp.example:8443 in 10.20.0.0/16"]);
    let decide = |text: &str, found: &[&str]| network.decide(&destination(text), &addresses(found));
    assert_eq!(
        decide("mirror.corp.example:8443", &["10.20.3.4"]),
        Decision {
            effect: Effect::Allow,
            rule: "mirror.corp.example:8443 in 10.20.0.0/16".to_owned(),
            layer: Some(Layer::Operator),
            why: "the operator layer allows `mirror.corp.example:8443 in 10.20.0.0/16`".to_owned(),
            addresses: addresses(&["10.20.3.4"]),
        }
    );
    for (text, found) in [
        ("mirror.corp.example:8443", vec!["10.21.0.1"]),
        ("mirror.corp.example:443", vec!["10.20.3.4"]),
        ("other.corp.example:443", vec!["10.20.3.4"]),
        ("rebind.example:443", vec!["1.1.1.1", "127.0.0.1"]),
        ("mapped.example:443", vec!["::ffff:169.254.169.254"]),
        ("void.example:443", vec![]),
    ] {
        let decision = decide(text, &found);
        assert!(!decision.is_allowed() && decision.addresses.is_empty(), "{text} {found:?} passed");
    }
    assert_eq!(
        decide("other.corp.example:443", &["10.20.3.4"]).why,
        "`other.corp.example` resolved to 10.20.3.4, which is a private address (10.0.0.0/8); an operator may allow \
         it with the rule `other.corp.example:443 in 10.20.3.4`"
    );
    assert_eq!(
        decide("x.org:443", &["::ffff:1.1.1.1", "1.1.1.1"]).addresses,
        addresses(&["1.1.1.1"])
    );
}

#[test]
fn an_exception_alone_does_not_close_the_rest_but_every_lower_list_still_counts() {
    let text = allow(&["mirror:80 in 10.0.0.0/8"]);
    let network = Network::nothing()
        .with_layer(Layer::Operator, &text)
        .and_then(|network| network.with_layer(Layer::Project, &allow(&["x.org:443"])))
        .expect("good layers");
    assert!(network.judge(&destination("x.org:443")).is_allowed());
    assert_eq!(network.judge(&destination("mirror:80")).layer, Some(Layer::Project));
    assert!(
        network.is_internal(&destination("mirror:80"))
            && !network.is_internal(&destination("x.org:443"))
    );
}
