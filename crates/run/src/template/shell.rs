//! Values in shell commands. A value never becomes text of a command: it is put into an environment
//! variable, and the command gets a reference to that where the `${{ }}` stood, in double quotes unless
//! it stands in such already. A shell does not look for commands in what a variable expands to.
//!
//! There are places where that is not enough, because the text is read as program once more: the
//! script of `sh -c`, arithmetic (`$(( ))`, `[[ 1 -eq x ]]`), `eval`. A value there is refused when the
//! file is read. What any other program does with its arguments is that program's: `sed "s/x/$value/"`
//! gives the value to sed as a part of its script.

use super::{LONGEST_VALUE, Part, Template, written};
use crate::expression::{NoValue, Scope};

/// A command and the variables that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command.
    pub text: String,
    /// Names and values.
    pub variables: Vec<(String, String)>,
}

/// A value stands where the shell or a program would read it as program text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct InvalidShell {
    /// Why, and what to do.
    pub why: String,
    /// The character of the text at which the `${{` stands, from 0.
    pub at: usize,
}

/// How a name of a variable begins; a number follows.
const PREFIX: &str = "WINDLASS_VALUE_";

/// Words after which the rest of a simple command is read as program text.
const EVALUATES: [&str; 9] =
    ["eval", "let", "declare", "typeset", "local", "readonly", "trap", "source", "."];
/// Words that a command may follow.
const BEFORE: [&str; 12] =
    ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "command", "builtin"];
/// Programs that read the argument after `-c`, `-e` or the like as program text.
const INTERPRETERS: [&str; 16] = [
    "sh", "bash", "dash", "zsh", "ksh", "busybox", "su", "runuser", "python", "python3", "perl",
    "ruby", "node", "php", "ssh", "xargs",
];

impl Template {
    pub(super) fn check_command(&self) -> Result<(), InvalidShell> {
        let mut scanner = Scanner::default();
        for part in self.parts.iter() {
            match part {
                Part::Text(text) => scanner.text(text),
                Part::Value { at, .. } => {
                    scanner.value().map_err(|why| InvalidShell { why, at: *at })?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn command(&self, scope: &Scope, first: usize) -> Result<Command, NoValue> {
        let mut scanner = Scanner::default();
        let mut command = Command { text: String::new(), variables: Vec::new() };
        for part in self.parts.iter() {
            match part {
                Part::Text(text) => {
                    scanner.text(text);
                    command.text.push_str(text);
                }
                Part::Value { expression, .. } => {
                    let fails =
                        |why: String| NoValue { expression: expression.source().to_owned(), why };
                    let quoted = scanner.value().map_err(fails)?;
                    let value = written(&expression.value(scope)?);
                    if value.contains('\0') {
                        return Err(fails("it holds a NUL, which no variable can".to_owned()));
                    }
                    if value.len() > LONGEST_VALUE {
                        return Err(fails(format!(
                            "it has {} bytes, and a variable holds at most {LONGEST_VALUE}",
                            value.len()
                        )));
                    }
                    let name = format!("{PREFIX}{}", first + command.variables.len());
                    match quoted {
                        Quoted::Already => command.text.push_str(&format!("${{{name}}}")),
                        Quoted::Not => command.text.push_str(&format!("\"${{{name}}}\"")),
                    }
                    command.variables.push((name, value));
                }
            }
        }
        Ok(command)
    }
}

/// Whether the place of a value is within double quotes.
enum Quoted {
    Already,
    Not,
}

/// Follows a command's quoting from its beginning. It need not understand all of a shell's grammar:
/// wherever it is wrong, a value is still only a reference to a variable.
#[derive(Default)]
struct Scanner {
    /// What the place is within, the outermost first; empty is the command itself.
    within: Vec<Within>,
    /// The words of the simple command so far, and the one that is being read.
    words: Vec<String>,
    word: String,
    /// The character before.
    last: Option<char>,
    /// Whether a backslash takes the next character.
    escaped: bool,
    /// Here-documents whose text begins after this line.
    pending: Vec<Here>,
}

#[derive(Clone, Debug, PartialEq)]
enum Within {
    Single,
    Double,
    Backtick,
    /// `$( … )`, with the words around it.
    Substitution(Vec<String>),
    /// `( … )`.
    Group,
    /// `$(( … ))` or `(( … ))`, and how many brackets are open in it.
    Arithmetic(usize),
    /// `${ … }`.
    Parameter,
    /// `[[ … ]]`.
    Test,
    Comment,
    Document {
        here: Here,
        line: String,
    },
    /// The word after `<<`.
    Delimiter(Here),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Here {
    word: String,
    /// Its text is taken as it is.
    literal: bool,
    /// Tabs before the word at the end are passed over.
    tabs: bool,
    quote: Option<char>,
}

impl Scanner {
    fn text(&mut self, text: &str) {
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            self.take(character, &mut rest);
            self.last = Some(character);
        }
    }

    /// What a value at this place needs.
    fn value(&mut self) -> Result<Quoted, String> {
        if self.escaped {
            return Err("a `\\` stands right before the value: remove it".to_owned());
        }
        if self.last == Some('$') {
            return Err("a `$` stands right before the value: remove it".to_owned());
        }
        let innermost = self.within.last().cloned();
        let quoted = match innermost {
            Some(Within::Single) => {
                return Err("nothing is put in within single quotes: use double quotes".to_owned());
            }
            Some(Within::Document { here, .. }) if here.literal => {
                return Err(format!(
                    "nothing is put in within a here-document whose end is quoted: write `<<{}`",
                    here.word
                ));
            }
            Some(Within::Arithmetic(_)) => return Err(program("arithmetic")),
            Some(Within::Test) => {
                return Err(
                    "within `[[ ]]` a value can be read as arithmetic: use `[ ]`".to_owned()
                );
            }
            Some(Within::Parameter) => {
                return Err(
                    "a value can't stand within `${ }`: set a variable to it before".to_owned()
                );
            }
            Some(Within::Backtick) => {
                return Err("a value can't stand within backticks: use `$( )`".to_owned());
            }
            Some(Within::Delimiter(_)) => {
                return Err("the end of a here-document must be a plain word".to_owned());
            }
            Some(Within::Double | Within::Document { .. } | Within::Comment) => Quoted::Already,
            Some(Within::Substitution(_) | Within::Group) | None => Quoted::Not,
        };
        if !matches!(innermost, Some(Within::Comment | Within::Document { .. }))
            && let Some(reader) = self.reader()
        {
            return Err(program(&format!("`{reader}`")));
        }
        self.word.push('x');
        self.last = Some('x');
        if let Some(Within::Document { line, .. }) = self.within.last_mut() {
            line.push('x');
        }
        Ok(quoted)
    }

    /// The word because of which this one would be read as program text.
    fn reader(&self) -> Option<String> {
        let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
        let mut words = self.words.iter();
        let found = words.by_ref().map(|word| base(word)).find(|word| {
            EVALUATES.contains(&word.as_str()) || INTERPRETERS.contains(&word.as_str())
        })?;
        if EVALUATES.contains(&found.as_str()) {
            // Only where it is the command itself: `echo source` is harmless.
            let before = |word: &&String| word.contains('=') || BEFORE.contains(&word.as_str());
            let command = self.words.iter().find(|word| !before(word)).map(|word| base(word));
            return (command.as_deref() == Some(found.as_str())).then_some(found);
        }
        if found == "ssh" {
            return Some(found);
        }
        let gives = |word: &String| {
            word.starts_with('-')
                && !word.starts_with("--")
                && word.chars().skip(1).any(|letter| matches!(letter, 'c' | 'e' | 'E' | 'r'))
        };
        words.any(gives).then_some(found)
    }

    fn take(&mut self, c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        if self.escaped {
            self.escaped = false;
            if !matches!(self.within.last(), Some(Within::Document { .. })) && c != '\n' {
                self.word.push(c);
            }
            return;
        }
        match self.within.last_mut() {
            Some(Within::Single) => match c {
                '\'' => self.leave(),
                _ => self.word.push(c),
            },
            Some(Within::Double) => match c {
                '"' => self.leave(),
                '\\' => self.escaped = true,
                _ if self.expansion(c, rest) => {}
                _ => self.word.push(c),
            },
            Some(Within::Comment) => {
                if c == '\n' {
                    self.leave();
                    self.end_of_line();
                }
            }
            Some(Within::Backtick) => match c {
                '`' => self.leave(),
                '\\' => self.escaped = true,
                _ => {}
            },
            Some(Within::Parameter) => match c {
                '}' => self.leave(),
                '\\' => self.escaped = true,
                '\'' => self.within.push(Within::Single),
                '"' => self.within.push(Within::Double),
                _ => {
                    self.expansion(c, rest);
                }
            },
            Some(Within::Arithmetic(open)) => match c {
                '(' => *open += 1,
                ')' if *open > 0 => *open -= 1,
                ')' => {
                    rest.next_if_eq(&')');
                    self.leave();
                }
                _ => {}
            },
            Some(Within::Delimiter(here)) => {
                let mut here = here.clone();
                if here.take(c) {
                    self.within.pop();
                    self.pending.push(here);
                    if c == '\n' { self.end_of_line() } else { self.plain(c, rest) }
                } else {
                    self.within.pop();
                    self.within.push(Within::Delimiter(here));
                }
            }
            Some(Within::Document { here, line }) => match c {
                '\n' => {
                    let given =
                        if here.tabs { line.trim_start_matches('\t') } else { line.as_str() };
                    let ends = given == here.word;
                    line.clear();
                    if ends {
                        self.leave();
                        self.begin_document();
                    }
                }
                '\\' if !here.literal => {
                    line.push(c);
                    self.escaped = true;
                }
                _ => {
                    line.push(c);
                    let literal = here.literal;
                    if !literal {
                        self.expansion(c, rest);
                    }
                }
            },
            Some(Within::Test) => {
                if c == ']' && self.last == Some(']') {
                    self.leave();
                } else {
                    match c {
                        '\'' => self.within.push(Within::Single),
                        '"' => self.within.push(Within::Double),
                        '\\' => self.escaped = true,
                        _ => {
                            self.expansion(c, rest);
                        }
                    }
                }
            }
            Some(Within::Substitution(_) | Within::Group) | None => self.plain(c, rest),
        }
    }

    /// A character of a command, outside of all quotes.
    fn plain(&mut self, c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        match c {
            '\\' => self.escaped = true,
            '\'' => self.within.push(Within::Single),
            '"' => self.within.push(Within::Double),
            '#' if self.word.is_empty() => self.within.push(Within::Comment),
            '<' if rest.peek() == Some(&'<') => {
                rest.next();
                self.end_of_word();
                // `<<<` gives one word and is no document.
                if rest.next_if_eq(&'<').is_none() {
                    let tabs = rest.next_if_eq(&'-').is_some();
                    self.within.push(Within::Delimiter(Here { tabs, ..Here::default() }));
                }
            }
            '(' if rest.peek() == Some(&'(') => {
                rest.next();
                self.within.push(Within::Arithmetic(0));
            }
            '(' => {
                self.end_of_command();
                self.within.push(Within::Group);
            }
            ')' => self.leave(),
            '[' if self.word == "[" => {
                self.word.clear();
                self.within.push(Within::Test);
            }
            '\n' => {
                self.end_of_command();
                self.end_of_line();
            }
            ';' | '&' | '|' => self.end_of_command(),
            _ if c.is_whitespace() => self.end_of_word(),
            _ if self.expansion(c, rest) => {}
            _ => self.word.push(c),
        }
    }

    /// Goes into what a `$` or a backtick opens. True if it was one.
    fn expansion(&mut self, c: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
        match (c, rest.peek()) {
            ('`', _) => self.within.push(Within::Backtick),
            ('$', Some('{')) => {
                rest.next();
                self.within.push(Within::Parameter);
            }
            ('$', Some('(')) => {
                rest.next();
                if rest.next_if_eq(&'(').is_some() {
                    self.within.push(Within::Arithmetic(0));
                } else {
                    let mut words = std::mem::take(&mut self.words);
                    words.push(std::mem::take(&mut self.word));
                    self.within.push(Within::Substitution(words));
                }
            }
            _ => return false,
        }
        true
    }

    fn leave(&mut self) {
        if let Some(Within::Substitution(words)) = self.within.pop() {
            self.words = words;
            self.word = self.words.pop().unwrap_or_default();
            // What it printed stands there.
            self.word.push('x');
        }
    }

    fn end_of_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn end_of_command(&mut self) {
        self.word.clear();
        self.words.clear();
    }

    fn end_of_line(&mut self) {
        self.end_of_command();
        self.begin_document();
    }

    fn begin_document(&mut self) {
        if !self.pending.is_empty() {
            let here = self.pending.remove(0);
            self.within.push(Within::Document { here, line: String::new() });
        }
    }
}

impl Here {
    /// Takes a character of the word; true if the word is over and the character is not of it.
    fn take(&mut self, c: char) -> bool {
        match (self.quote, c) {
            (Some(quote), _) if c == quote => self.quote = None,
            (Some(_), _) => self.word.push(c),
            (None, '\'' | '"') => {
                self.literal = true;
                self.quote = Some(c);
            }
            (None, '\\') => self.literal = true,
            (None, ' ' | '\t') if self.word.is_empty() => {}
            (None, ';' | '&' | '|' | '<' | '>' | '(' | ')') => return true,
            (None, _) if c.is_whitespace() => return true,
            (None, _) => self.word.push(c),
        }
        false
    }
}

fn program(what: &str) -> String {
    format!(
        "the value would be read as program text by {what}: give it as an argument or in a variable \
         (`export NAME=${{{{ ... }}}}` before)"
    )
}
