//! Instructions in our own words, without the text that they were read from.

use parse_dockerfile as syntax;

use crate::place::{Lines, Place};

use super::expand;

/// An instruction after `FROM`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Instruction {
    Arg(Vec<Argument>),
    Env(Vec<(String, String)>),
    Run {
        command: Form,
        flags: Vec<Flag>,
        has_heredoc: bool,
    },
    Copy {
        sources: Vec<String>,
        to: String,
        flags: Vec<Flag>,
        is_add: bool,
        has_heredoc: bool,
    },
    Workdir(String),
    User(String),
    Label(Vec<(String, String)>),
    Shell(Vec<String>),
    Entrypoint(Form),
    Cmd(Form),
    Expose(Vec<String>),
    /// It can be left out without harm; the text says what that means.
    Idle(&'static str, &'static str),
    /// It can't be done without an engine.
    Engine(&'static str),
}

/// An `ARG`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) default: Option<String>,
}

/// A `--name=value` of an instruction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flag {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) value: String,
}

/// A command line for a shell, or a program with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Shell(String),
    Exec(Vec<String>),
}

/// Translates an instruction; escapes in it are with `escape`, which becomes a backslash.
pub(super) fn convert(
    instruction: &syntax::Instruction<'_>,
    escape: char,
    lines: &Lines<'_>,
) -> (Place, Instruction) {
    use syntax::Instruction as Syntax;
    let at = |keyword: &syntax::Keyword| lines.at(keyword.span.start);
    let tidy = |text: &str| with_backslashes(text, escape);
    match instruction {
        Syntax::Arg(arg) => {
            let words = expand::split(&tidy(&arg.arguments.value));
            let arguments = words.iter().map(|word| match word.split_once('=') {
                Some((name, default)) => {
                    Argument { name: name.to_owned(), default: Some(default.to_owned()) }
                }
                None => Argument { name: word.clone(), default: None },
            });
            (at(&arg.arg), Instruction::Arg(arguments.collect()))
        }
        Syntax::Env(env) => {
            (at(&env.env), Instruction::Env(expand::pairs(&tidy(&env.arguments.value))))
        }
        Syntax::Label(label) => {
            (at(&label.label), Instruction::Label(expand::pairs(&tidy(&label.arguments.value))))
        }
        Syntax::Run(run) => {
            let instruction = Instruction::Run {
                command: form(&run.arguments, escape),
                flags: flags(&run.options, lines),
                has_heredoc: !run.here_docs.is_empty(),
            };
            (at(&run.run), instruction)
        }
        Syntax::Copy(copy) => {
            (at(&copy.copy), files(&copy.src, &copy.dest, &copy.options, false, escape, lines))
        }
        Syntax::Add(add) => {
            (at(&add.add), files(&add.src, &add.dest, &add.options, true, escape, lines))
        }
        Syntax::Workdir(workdir) => {
            (at(&workdir.workdir), Instruction::Workdir(tidy(&workdir.arguments.value)))
        }
        Syntax::User(user) => (at(&user.user), Instruction::User(tidy(&user.arguments.value))),
        Syntax::Shell(shell) => {
            let words = shell.arguments.iter().map(|word| word.value.to_string());
            (at(&shell.shell), Instruction::Shell(words.collect()))
        }
        Syntax::Entrypoint(entrypoint) => (
            at(&entrypoint.entrypoint),
            Instruction::Entrypoint(form(&entrypoint.arguments, escape)),
        ),
        Syntax::Cmd(cmd) => (at(&cmd.cmd), Instruction::Cmd(form(&cmd.arguments, escape))),
        Syntax::Expose(expose) => {
            let ports = expose.arguments.iter().map(|port| tidy(&port.value));
            (at(&expose.expose), Instruction::Expose(ports.collect()))
        }
        Syntax::Maintainer(maintainer) => {
            (at(&maintainer.maintainer), Instruction::Idle("MAINTAINER", "it is only a name"))
        }
        Syntax::Stopsignal(stop) => (
            at(&stop.stopsignal),
            Instruction::Idle("STOPSIGNAL", "the environment ends by its own rules"),
        ),
        Syntax::Healthcheck(check) => (
            at(&check.healthcheck),
            Instruction::Idle("HEALTHCHECK", "describe readiness in .windlass/environment.yaml"),
        ),
        Syntax::Volume(volume) => (
            at(&volume.volume),
            Instruction::Idle("VOLUME", "the folder is as private as everything else"),
        ),
        Syntax::Onbuild(onbuild) => (at(&onbuild.onbuild), Instruction::Engine("ONBUILD")),
        // `FROM` opens a stage and doesn't come here; what the parser learns later, we don't know.
        _ => (lines.at(0), Instruction::Engine("this instruction")),
    }
}

fn form(command: &syntax::Command<'_>, escape: char) -> Form {
    match command {
        syntax::Command::Exec(words) => {
            Form::Exec(words.value.iter().map(|word| word.value.to_string()).collect())
        }
        syntax::Command::Shell(line) => Form::Shell(without_continuations(line.value, escape)),
        // A form that the parser learns later: nothing that we could run.
        _ => Form::Exec(Vec::new()),
    }
}

fn flags(flags: &[syntax::Flag<'_>], lines: &Lines<'_>) -> Vec<Flag> {
    let convert = |flag: &syntax::Flag<'_>| Flag {
        place: lines.at(flag.span().start),
        name: flag.name.value.to_string(),
        value: flag.value.as_ref().map(|value| value.value.to_string()).unwrap_or_default(),
    };
    flags.iter().map(convert).collect()
}

fn files(
    sources: &[syntax::Source<'_>],
    to: &syntax::UnescapedString<'_>,
    options: &[syntax::Flag<'_>],
    is_add: bool,
    escape: char,
    lines: &Lines<'_>,
) -> Instruction {
    let mut has_heredoc = false;
    let mut paths = Vec::new();
    for source in sources {
        match source {
            syntax::Source::Path(path) => paths.push(with_backslashes(&path.value, escape)),
            _ => has_heredoc = true,
        }
    }
    Instruction::Copy {
        sources: paths,
        to: with_backslashes(&to.value, escape),
        flags: flags(options, lines),
        is_add,
        has_heredoc,
    }
}

fn with_backslashes(text: &str, escape: char) -> String {
    if escape == '\\' { text.to_owned() } else { text.replace(escape, "\\") }
}

/// A command line as the shell gets it: continued lines joined, comments between them left out.
fn without_continuations(line: &str, escape: char) -> String {
    let mut joined = String::with_capacity(line.len());
    for (i, part) in line.lines().enumerate() {
        if i > 0 && (part.trim_start().starts_with('#') || part.trim().is_empty()) {
            continue;
        }
        match part.trim_end().strip_suffix(escape) {
            Some(part) => joined.push_str(part),
            None => joined.push_str(part),
        }
    }
    joined
}
