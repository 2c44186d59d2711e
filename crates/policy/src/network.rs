//! Which hosts a job may reach: rules by host and port, merged so that a lower layer can only narrow
//! what a higher one gave, and a decision that says which rule of which layer made it.
//!
//! A name is judged twice: [`Network::judge`] before it is resolved (a refused name must not even
//! reach DNS, which can carry data out), and [`Network::decide`] with the addresses it resolved to.
//! Whoever enforces must connect to one of [`Decision::addresses`] and to nothing else; resolving
//! again would let the answer change between the check and the use.

mod address;
mod destination;
mod rule;
mod sets;

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use self::{
    address::{Scope, canonical, scope},
    destination::{Destination, DestinationError},
    rule::{Host, Rule, RuleError},
};

/// Who wrote a rule, from the top down. A lower layer can narrow what a higher one allows, never
/// widen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Whoever runs the machine. The only layer that may name addresses.
    Operator,
    /// The organisation that owns the project.
    Organisation,
    /// The project.
    Project,
    /// The automation's file.
    Automation,
    /// The one job, for instance a limit given on the command line.
    Job,
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Operator => "operator",
            Self::Organisation => "organisation",
            Self::Project => "project",
            Self::Automation => "automation",
            Self::Job => "job",
        })
    }
}

/// What one layer says about the network, as written in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerText {
    /// The only destinations this layer allows; absent means that it leaves the choice to the
    /// layers above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Destinations this layer refuses, whatever another layer allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// One layer's rules, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LayerRules {
    layer: Layer,
    allow: Option<Vec<Rule>>,
    /// Operator rules that name addresses: exceptions beside `allow`, not part of the list.
    exceptions: Vec<Rule>,
    deny: Vec<Rule>,
}

/// The network rules in force for one job: every layer's, kept apart so that a refusal can say
/// whose it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    layers: Vec<LayerRules>,
}

/// Whether a destination may be reached, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// `allow` or `deny`.
    pub effect: Effect,
    /// The rule that decided, as it was written; empty when the absence of a rule decided.
    pub rule: String,
    /// Whose rule it was; absent when no layer said anything.
    pub layer: Option<Layer>,
    /// One sentence for a person.
    pub why: String,
    /// The checked addresses to connect to, in their canonical form; empty when refused, or when
    /// only the name was judged.
    pub addresses: Vec<IpAddr>,
}

/// The two outcomes of a network decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It may be reached.
    Allow,
    /// It may not.
    Deny,
}

impl Decision {
    /// True if the destination may be reached.
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow
    }

    fn deny(rule: Option<&Rule>, layer: Option<Layer>, why: String) -> Self {
        let rule = rule.map(ToString::to_string).unwrap_or_default();
        Self { effect: Effect::Deny, rule, layer, why, addresses: Vec::new() }
    }
}

/// A layer that cannot be taken into the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// A rule does not parse.
    #[error("the {layer} layer's network rule `{text}` is not valid: {source}")]
    Rule {
        /// Whose rule.
        layer: Layer,
        /// The rule as written.
        text: String,
        /// What is wrong with it.
        source: RuleError,
    },
    /// A layer below the operator named addresses.
    #[error(
        "the {layer} layer's network rule `{text}` names addresses, which only an operator rule may; \
         remove ` in ...` here and ask whoever runs this machine to add it to the operator's rules"
    )]
    AddressesBelowOperator {
        /// Whose rule.
        layer: Layer,
        /// The rule as written.
        text: String,
    },
    /// The same layer twice, or a layer above one that was already added.
    #[error(
        "the {layer} layer was added after the {after} layer; add layers from the top down, each once"
    )]
    Order {
        /// The layer that came too late.
        layer: Layer,
        /// The one already there.
        after: Layer,
    },
}

impl Network {
    /// Rules that allow nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds the next lower layer. Fails on the first rule that does not parse, on addresses below
    /// the operator's layer, and on layers out of order; the rules are then unchanged.
    pub fn with_layer(mut self, layer: Layer, text: &LayerText) -> Result<Self, LayerError> {
        if let Some(last) = self.layers.last()
            && last.layer >= layer
        {
            return Err(LayerError::Order { layer, after: last.layer });
        }
        let allow = text.allow.as_deref().map(|list| parse_all(layer, list)).transpose()?;
        let deny = parse_all(layer, &text.deny)?;
        let (exceptions, allow) = match allow {
            None => (Vec::new(), None),
            Some(rules) => {
                let (exceptions, plain): (Vec<_>, Vec<_>) =
                    rules.into_iter().partition(|rule| !rule.addresses.is_empty());
                // A list of nothing but exceptions says nothing about the rest of the world.
                let states_a_list = exceptions.is_empty() || !plain.is_empty();
                (exceptions, states_a_list.then_some(plain))
            }
        };
        self.layers.push(LayerRules { layer, allow, exceptions, deny });
        Ok(self)
    }

    /// Judges the name and port alone, before anything is resolved.
    pub fn judge(&self, destination: &Destination) -> Decision {
        for rules in &self.layers {
            if let Some(rule) = rules.deny.iter().find(|rule| rule.matches(destination)) {
                let why = format!("the {} layer denies `{rule}`", rules.layer);
                return Decision::deny(Some(rule), Some(rules.layer), why);
            }
        }
        let mut allowed_by: Option<(Layer, &Rule)> = None;
        for rules in &self.layers {
            let exception = rules.exceptions.iter().find(|rule| rule.matches(destination));
            let listed = rules.allow.iter().flatten().find(|rule| rule.matches(destination));
            match (&rules.allow, listed.or(exception)) {
                (_, Some(rule)) => allowed_by = Some((rules.layer, rule)),
                (None, None) => {}
                (Some(_), None) => {
                    let why = format!(
                        "no rule of the {} layer allows `{destination}`; it can be allowed by adding \
                         `{destination}` there",
                        rules.layer
                    );
                    return Decision::deny(None, Some(rules.layer), why);
                }
            }
        }
        match allowed_by {
            None => {
                let why = format!(
                    "no layer allows `{destination}`, and what is not allowed is refused; it can be \
                     allowed by a network rule `{destination}`"
                );
                Decision::deny(None, None, why)
            }
            Some((layer, rule)) => Decision {
                effect: Effect::Allow,
                rule: rule.to_string(),
                layer: Some(layer),
                why: format!("the {layer} layer allows `{rule}`"),
                addresses: Vec::new(),
            },
        }
    }

    /// Judges a destination with the addresses its name resolved to. All of them must be permitted:
    /// a name that resolves to a public and to a private address at once is refused whole, since
    /// that is what an attack on the check looks like.
    pub fn decide(&self, destination: &Destination, addresses: &[IpAddr]) -> Decision {
        let judged = self.judge(destination);
        if !judged.is_allowed() {
            return judged;
        }
        if addresses.is_empty() {
            let why = format!("`{}` resolved to no address", destination.host());
            return Decision { effect: Effect::Deny, why, ..judged };
        }
        let mut checked = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let address = canonical(address);
            if let Scope::Refused(what) = scope(address)
                && self.exception(destination, address).is_none()
            {
                let why = format!(
                    "`{}` resolved to {address}, which is {what}; an operator may allow it with the \
                     rule `{destination} in {address}`",
                    destination.host()
                );
                return Decision { effect: Effect::Deny, why, ..judged };
            }
            if !checked.contains(&address) {
                checked.push(address);
            }
        }
        Decision { addresses: checked, ..judged }
    }

    /// The operator's rule that names this destination and this address, where there is one.
    pub fn exception(&self, destination: &Destination, address: IpAddr) -> Option<&Rule> {
        let address = canonical(address);
        self.layers.iter().flat_map(|rules| &rules.exceptions).find(|rule| {
            rule.matches(destination) && rule.addresses.iter().any(|block| block.contains(&address))
        })
    }

    /// True if an operator's rule names this destination together with addresses, so that it is
    /// known to be inside the operator's own network.
    pub fn is_internal(&self, destination: &Destination) -> bool {
        self.layers.iter().flat_map(|rules| &rules.exceptions).any(|rule| rule.matches(destination))
    }
}

fn parse_all(layer: Layer, list: &[String]) -> Result<Vec<Rule>, LayerError> {
    let invalid = |text: &str, source| LayerError::Rule { layer, text: text.to_owned(), source };
    let parse = |text: &String| {
        let rule = text.parse::<Rule>().map_err(|source| invalid(text, source))?;
        if !rule.addresses.is_empty() && layer != Layer::Operator {
            return Err(LayerError::AddressesBelowOperator { layer, text: text.clone() });
        }
        Ok(rule)
    };
    let mut rules = Vec::with_capacity(list.len());
    for text in list {
        let texts = sets::expand(text).map_err(|source| invalid(text, source))?;
        rules.extend(texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
