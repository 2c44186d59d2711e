//! Published ports: the section of an environment's page, and the page on the way to a port.

use askama::Template;

use super::{Shell, Text, shell::State};

/// The ports of an environment, as a section of its page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PortsSection {
    pub(crate) rows: Vec<PortRow>,
    /// Ports that the repository names and that are not published.
    pub(crate) offered: Vec<OfferedRow>,
    /// Where the forms go, if this person may use the environment.
    pub(crate) action: Option<String>,
    /// Whom a port can be published for at this server, the narrowest first.
    pub(crate) admissions: Vec<&'static str>,
    /// Why no port can be reached at this server.
    pub(crate) unreachable: Option<Text>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PortRow {
    pub(crate) port: u16,
    pub(crate) name: Option<Text>,
    /// Where it is reached.
    pub(crate) url: Option<String>,
    pub(crate) admission: &'static str,
    /// Why nobody is let in.
    pub(crate) shut: Option<Text>,
}

/// A port that could be published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferedRow {
    pub(crate) port: u16,
    pub(crate) name: Option<Text>,
}

/// What somebody sees on the way to a port.
#[derive(Clone, Debug, PartialEq, Template)]
#[template(path = "port_enter.html")]
pub(crate) struct PortEnter {
    pub(crate) shell: Shell,
    pub(crate) port: u16,
    /// The environment's name.
    pub(crate) name: Text,
    /// Its page.
    pub(crate) href: String,
    pub(crate) stands: Stands,
}

/// How it goes on from there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stands {
    /// To the port.
    Open {
        /// Where its host lets this browser in, once.
        to: String,
    },
    /// The environment does not run.
    Down {
        /// The phase.
        word: String,
        /// Its shape.
        state: State,
        /// The port's address, to try again.
        again: String,
        /// Where the form goes that starts it, if it can be started by this person.
        start: Option<String>,
    },
    /// Nobody is let in, and this person may change that.
    Shut {
        /// Why.
        why: Text,
    },
}
