//! What frames every page: the title, the rail, the breadcrumb, who is looking, and the few parts that
//! all pages share: states with their shapes, ids, people.

use std::fmt;

use askama::{Template, filters::HtmlSafe};
use windlass_run::Time;
use windlass_wire::api::Who as ApiWho;

use super::Text;
use crate::pages::assets;

/// The frame of a page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shell {
    /// The page's name, for the window's title.
    pub(crate) title: String,
    /// Which entry of the rail is the current one.
    pub(crate) section: Option<Section>,
    /// Where the page is, outermost first; the last one is the page itself.
    pub(crate) crumbs: Vec<Crumb>,
    /// Who is looking; nobody on the sign-in page.
    pub(crate) viewer: Option<Viewer>,
    /// Which colours.
    pub(crate) theme: Theme,
    /// The path and query of this page: where a form that only changes how it looks comes back to.
    pub(crate) here: String,
    /// The time now.
    pub(crate) now: Time,
    /// What the person just did, in one sentence.
    pub(crate) notice: Option<&'static str>,
}

impl Shell {
    /// The address of an asset.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// The entries of the rail.
    pub(crate) fn rail(&self) -> &'static [Section] {
        Section::ALL
    }

    /// True if the page belongs to this entry of the rail.
    pub(crate) fn is_in(&self, section: &Section) -> bool {
        self.section.as_ref() == Some(section)
    }

    /// What forms carry to prove that they are ours.
    pub(crate) fn csrf(&self) -> &str {
        self.viewer.as_ref().map_or("", |viewer| viewer.csrf.as_str())
    }

    /// The icon of the switch of colours.
    pub(crate) fn theme_icon(&self) -> &'static str {
        match self.theme {
            Theme::System => "theme-system",
            Theme::Light => "theme-light",
            Theme::Dark => "theme-dark",
        }
    }

    /// What the person may do.
    pub(crate) fn may(&self) -> May {
        self.viewer.as_ref().map_or_else(May::default, |viewer| viewer.may)
    }
}

/// A hidden field with the proof that a form is ours, for templates that are shown on their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(source = "<input type=\"hidden\" name=\"csrf\" value=\"{{ value }}\">", ext = "html")]
pub(crate) struct Csrf {
    pub(crate) value: String,
}

impl HtmlSafe for Csrf {}

/// Who is looking.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Viewer {
    /// The name.
    pub(crate) name: Text,
    /// The role.
    pub(crate) role: &'static str,
    /// What forms carry to prove that they are ours.
    pub(crate) csrf: String,
    /// What the role allows.
    pub(crate) may: May,
}

impl Viewer {
    /// The first letter of the name, for the badge.
    pub(crate) fn initial(&self) -> Text {
        let first = self.name.raw().chars().find(|c| c.is_alphanumeric()).unwrap_or('?');
        Text::from(first.to_uppercase().to_string())
    }
}

/// What somebody's role allows: pages show only what will work. The guard decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct May {
    pub(crate) start: bool,
    pub(crate) cancel: bool,
    pub(crate) comment: bool,
    pub(crate) steer: bool,
    pub(crate) approve: bool,
    pub(crate) request_changes: bool,
    pub(crate) merge: bool,
    pub(crate) close: bool,
    pub(crate) see_settings: bool,
    pub(crate) manage_projects: bool,
    pub(crate) manage_tokens: bool,
    pub(crate) manage_users: bool,
    pub(crate) use_environments: bool,
}

/// Light, dark, or what the system prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    /// The theme of this name; the system's for any other.
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What the switch changes it to.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::System => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::System,
        }
    }
}

/// An entry of the rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Home,
    Review,
    Runs,
    Automations,
    Environments,
    Projects,
    Runners,
    Settings,
}

impl Section {
    const ALL: &'static [Self] = &[
        Self::Home,
        Self::Review,
        Self::Runs,
        Self::Automations,
        Self::Environments,
        Self::Projects,
        Self::Runners,
        Self::Settings,
    ];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Home => "Home",
            Self::Review => "Review",
            Self::Runs => "Runs",
            Self::Automations => "Automations",
            Self::Environments => "Environments",
            Self::Projects => "Projects",
            Self::Runners => "Runners",
            Self::Settings => "Settings",
        }
    }

    /// Its page.
    pub(crate) fn href(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Review => "/review",
            Self::Runs => "/runs",
            Self::Automations => "/automations",
            Self::Environments => "/environments",
            Self::Projects => "/projects",
            Self::Runners => "/runners",
            Self::Settings => "/settings",
        }
    }

    /// Its icon in the sheet of icons.
    pub(crate) fn icon(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Review => "review",
            Self::Runs => "runs",
            Self::Automations => "automations",
            Self::Environments => "tool-run",
            Self::Projects => "projects",
            Self::Runners => "runners",
            Self::Settings => "settings",
        }
    }

    /// The key after `g` that goes there.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Home => "h",
            Self::Review => "v",
            Self::Runs => "r",
            Self::Automations => "a",
            Self::Environments => "e",
            Self::Projects => "p",
            Self::Runners => "n",
            Self::Settings => "s",
        }
    }
}

/// One part of the breadcrumb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Crumb {
    /// What it says.
    pub(crate) name: Text,
    /// Where it leads; the last one leads nowhere.
    pub(crate) href: Option<String>,
}

impl Crumb {
    /// A crumb that leads somewhere.
    pub(crate) fn to(name: impl Into<Text>, href: impl Into<String>) -> Self {
        Self { name: name.into(), href: Some(href.into()) }
    }

    /// The page itself.
    pub(crate) fn here(name: impl Into<Text>) -> Self {
        Self { name: name.into(), href: None }
    }
}

/// Where something stands: a word, a shape and a colour, always together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    Running,
    Waiting,
    Succeeded,
    GaveUp,
    Failed,
    Cancelled,
    Skipped,
    NotRun,
    Open,
    Merged,
    Closed,
    Unknown,
}

impl State {
    /// The state of this name in the API. A name that is not known here is shown as unknown.
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "queued" | "pending" | "staged" => Self::Queued,
            "running" | "granted" | "in_progress" => Self::Running,
            "backoff" | "resting" | "asked" | "decided" => Self::Waiting,
            "succeeded" | "done" | "completed" => Self::Succeeded,
            "gave_up" => Self::GaveUp,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "skipped" => Self::Skipped,
            "open" => Self::Open,
            "merged" => Self::Merged,
            "closed" => Self::Closed,
            _ => Self::Unknown,
        }
    }

    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::Succeeded => "Succeeded",
            Self::GaveUp => "Gave up",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Skipped => "Nothing to do",
            Self::NotRun => "Not run",
            Self::Open => "Open",
            Self::Merged => "Merged",
            Self::Closed => "Closed",
            Self::Unknown => "Unknown",
        }
    }

    /// The class of its colour and the name of its shape.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting | Self::Open | Self::Unknown => "waiting",
            Self::Succeeded => "succeeded",
            Self::GaveUp => "gave-up",
            Self::Failed => "failed",
            Self::Cancelled | Self::Closed => "cancelled",
            Self::Skipped | Self::NotRun => "skipped",
            Self::Merged => "merged",
        }
    }

    /// True if nothing more will happen.
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting | Self::Open)
    }

    /// Only the shape, with the word for those who can't see it.
    pub(crate) fn shape(self) -> Shape {
        Shape(self)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class();
        let sheet = assets::url("icons.svg");
        write!(
            f,
            "<span class=\"state s-{class}\"><svg aria-hidden=\"true\"><use href=\"{sheet}#s-{class}\"/></svg>{}</span>",
            self.word()
        )
    }
}

impl HtmlSafe for State {}

/// A state's shape alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape(State);

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.0.class();
        let sheet = assets::url("icons.svg");
        write!(
            f,
            "<svg class=\"shape s-{class}\" role=\"img\" aria-label=\"{}\"><use href=\"{sheet}#s-{class}\"/></svg>",
            self.0.word()
        )
    }
}

impl HtmlSafe for Shape {}

/// An icon of the sheet, for the eye only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icon(pub(crate) &'static str);

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sheet = assets::url("icons.svg");
        write!(
            f,
            "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"{sheet}#{}\"/></svg>",
            self.0
        )
    }
}

impl HtmlSafe for Icon {}

/// Makes an icon in a template.
pub(crate) fn icon(name: &'static str) -> Icon {
    Icon(name)
}

/// An id: short, with the whole one to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) String);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Text::from(self.0.as_str());
        let start = self.0.char_indices().rev().nth(7).map_or(0, |(at, _)| at);
        let short = Text::from(&self.0[start..]);
        write!(
            f,
            "<button type=\"button\" class=\"id\" data-copy=\"{whole}\" title=\"Copy {whole}\">{short}</button>"
        )
    }
}

impl HtmlSafe for Id {}

/// A commit: seven characters, with the whole one to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit(pub(crate) String);

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Text::from(self.0.as_str());
        let short = Text::from(self.0.chars().take(7).collect::<String>());
        write!(
            f,
            "<button type=\"button\" class=\"id\" data-copy=\"{whole}\" title=\"Copy {whole}\">{short}</button>"
        )
    }
}

impl HtmlSafe for Commit {}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// `user`, `token`, `runner` or `system`.
    pub(crate) kind: String,
    /// The name.
    pub(crate) name: Text,
}

impl From<&ApiWho> for Who {
    fn from(who: &ApiWho) -> Self {
        Self { kind: who.kind.clone(), name: Text::from(who.name.as_str()) }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind.as_str() {
            "user" => return write!(f, "<span class=\"who\">{}</span>", self.name),
            "token" => "token",
            "runner" => "runner",
            _ => "Windlass",
        };
        write!(f, "<span class=\"who\">{} <span class=\"kind\">{word}</span></span>", self.name)
    }
}

impl HtmlSafe for Who {}

/// A choice of a filter, as a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What it says.
    pub(crate) name: &'static str,
    /// Where it leads.
    pub(crate) href: String,
    /// True if it is the present one.
    pub(crate) is_current: bool,
}
