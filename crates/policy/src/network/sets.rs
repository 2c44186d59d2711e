//! Named sets of rules: hosts that nobody should have to list by hand. A set is written as `@name` where
//! a rule may stand, and `@name in CIDR` where an operator's exception may.

use super::rule::RuleError;

/// Where the usual package managers fetch from. Reading only is not enforced here: what is published is
/// published with a credential, and none is in an environment.
const REGISTRIES: &[&str] = &[
    "index.crates.io:443",
    "static.crates.io:443",
    "crates.io:443",
    "static.rust-lang.org:443",
    "registry.npmjs.org:443",
    "registry.yarnpkg.com:443",
    "nodejs.org:443",
    "pypi.org:443",
    "files.pythonhosted.org:443",
    "proxy.golang.org:443",
    "sum.golang.org:443",
    "rubygems.org:443",
    "index.rubygems.org:443",
    "repo.maven.apache.org:443",
    "repo1.maven.org:443",
    "plugins.gradle.org:443",
    "services.gradle.org:443",
    "repo.packagist.org:443",
    "packagist.org:443",
    "api.nuget.org:443",
    "cpan.metacpan.org:443",
    "www.cpan.org:443",
    "hex.pm:443",
    "repo.hex.pm:443",
    "deb.debian.org:80",
    "deb.debian.org:443",
];

/// The sets, by name.
const SETS: &[(&str, &[&str])] = &[("registries", REGISTRIES)];

/// The rules that a text stands for: those of a set, or the text itself.
///
/// # Errors
/// [`RuleError::UnknownSet`].
pub(super) fn expand(text: &str) -> Result<Vec<String>, RuleError> {
    let Some(rest) = text.trim().strip_prefix('@') else { return Ok(vec![text.to_owned()]) };
    let (name, blocks) = match rest.split_once(" in ") {
        Some((name, blocks)) => (name.trim(), format!(" in {}", blocks.trim())),
        None => (rest.trim(), String::new()),
    };
    let known = SETS.iter().find(|(known, _)| *known == name);
    let (_, rules) = known.ok_or_else(|| RuleError::UnknownSet(name.to_owned()))?;
    Ok(rules.iter().map(|rule| format!("{rule}{blocks}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Destination, Layer, LayerError, LayerText, Network};

    fn layer(rules: &[&str]) -> LayerText {
        LayerText {
            allow: Some(rules.iter().map(|rule| (*rule).to_owned()).collect()),
            deny: vec![],
        }
    }

    fn to(text: &str) -> Destination {
        let (host, port) = text.split_once(':').expect("a port");
        Destination::new(host, port.parse().expect("a number")).expect("a destination")
    }

    #[test]
    fn every_rule_of_every_set_is_a_rule_and_stands_once() {
        for (name, rules) in SETS {
            let mut seen = std::collections::BTreeSet::new();
            for rule in *rules {
                assert!(
                    rule.parse::<crate::network::Rule>().is_ok_and(|it| it.addresses.is_empty()),
                    "{rule}"
                );
                assert!(seen.insert(rule), "{rule} stands twice in {name}");
            }
        }
    }

    #[test]
    fn a_job_that_names_the_registries_reaches_these_and_nothing_else() {
        let network =
            Network::nothing().with_layer(Layer::Job, &layer(&["@registries"])).expect("rules");
        assert!(network.judge(&to("pypi.org:443")).is_allowed());
        assert!(!network.judge(&to("pypi.org:80")).is_allowed());
        assert!(!network.judge(&to("example.org:443")).is_allowed());
    }

    #[test]
    fn an_operator_may_say_where_mirrors_of_them_are_and_nobody_else() {
        let text = layer(&["@registries in 10.1.0.0/16"]);
        let network = Network::nothing()
            .with_layer(Layer::Operator, &text)
            .and_then(|network| network.with_layer(Layer::Job, &layer(&["@registries"])))
            .expect("rules");
        let inside = ["10.1.2.3".parse().expect("an address")];
        assert!(network.decide(&to("pypi.org:443"), &inside).is_allowed());
        let refused = Network::nothing().with_layer(Layer::Job, &text);
        assert!(matches!(refused, Err(LayerError::AddressesBelowOperator { .. })));
    }

    #[test]
    fn a_set_that_is_not_there_is_refused_by_name() {
        let refused = Network::nothing().with_layer(Layer::Job, &layer(&["@registry"]));
        let words = refused.expect_err("refused").to_string();
        assert!(words.contains("`registry`") && words.contains("@registries"), "{words}");
    }
}
