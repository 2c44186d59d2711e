//! Conditions and other expressions of automations: the Common Expression Language
//! (<https://github.com/google/cel-spec>), read and evaluated by the crate `cel`. An expression ends
//! always and touches nothing: it has no loops but over lists that it is given, no clock, no chance.

mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, OnceLock},
};

use cel::{
    Context, Env, ExecutionError, Program,
    common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// The longest expression, in bytes.
pub const LONGEST: usize = 4_096;
/// The deepest nesting: each level takes stack where it is read and where it is evaluated.
const DEEPEST: usize = 48;

/// An expression that was read. Two are equal if their texts are.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<Program>,
}

/// A text that is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{source_text}` is no CEL expression: {why}")]
pub struct InvalidExpression {
    source_text: String,
    /// What is wrong and what to do.
    pub why: String,
    /// Which character of the text it is, from 0, where that is known.
    pub at: Option<usize>,
}

/// Why an expression has no value for what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("`{expression}` has no value: {why}")]
pub struct NoValue {
    /// The expression's text.
    pub expression: String,
    /// Why.
    pub why: String,
}

/// What an expression can speak of: names with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope(BTreeMap<String, Value>);

/// Something that an expression reads: a name and the fields below it, as far as they are written out.
/// `steps.audit.outputs["n"] > 0` reads `steps.audit.outputs.n`.
pub type Path = Vec<String>;

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn parse(source: &str) -> Result<Self, InvalidExpression> {
        let shown: String = source.chars().take(80).collect();
        let refuse = |why: String, at: Option<usize>| InvalidExpression {
            source_text: shown.clone(),
            why,
            at,
        };
        if source.trim().is_empty() {
            return Err(refuse("it is empty".to_owned(), None));
        }
        if source.len() > LONGEST {
            return Err(refuse(format!("it is longer than {LONGEST} bytes"), None));
        }
        if let Some(at) = too_deep(source) {
            return Err(refuse(format!("it is nested deeper than {DEEPEST}"), Some(at)));
        }
        let program = library().compile(source).map_err(|errors| {
            let first = errors.errors.first();
            let why = first.map_or_else(|| errors.to_string(), |error| error.msg.clone());
            refuse(plain(&why), first.and_then(|error| offset(source, error.pos)))
        })?;
        Ok(Self { source: source.into(), program: Arc::new(program) })
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it reads, each once, in order.
    pub fn reads(&self) -> Vec<Path> {
        let mut reads = BTreeSet::new();
        walk(self.program.expression(), &mut Vec::new(), &mut reads);
        reads.into_iter().collect()
    }

    /// Its value.
    ///
    /// # Errors
    /// A name, field or function that is not there, or kinds of values that don't go together.
    pub fn value(&self, scope: &Scope) -> Result<Value, NoValue> {
        let mut context = Context::with_env(library().clone());
        for (name, value) in &scope.0 {
            context.add_variable_from_value(name.as_str(), values::to_cel(value));
        }
        let value = self.program.execute(&context).map_err(|error| self.fails(explain(&error)))?;
        values::from_cel(&value).map_err(|why| self.fails(why))
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// As [`value`](Self::value); and if it is neither true nor false.
    pub fn holds(&self, scope: &Scope) -> Result<bool, NoValue> {
        match self.value(scope)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(self.fails(format!(
                "it is {}, and a condition must be true or false",
                values::kind(&other)
            ))),
        }
    }

    fn fails(&self, why: String) -> NoValue {
        NoValue { expression: self.source.chars().take(200).collect(), why }
    }
}

impl Scope {
    /// Sets what a name means.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// The same with one name more.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.set(name, value);
        self
    }

    /// What a name means.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

fn library() -> &'static Arc<Env> {
    static LIBRARY: OnceLock<Arc<Env>> = OnceLock::new();
    LIBRARY.get_or_init(|| Arc::new(Env::stdlib()))
}

/// The first character at which brackets and signs are nested too deeply for the reader's stack.
fn too_deep(source: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut signs = 0usize;
    for (at, character) in source.chars().enumerate() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = if matches!(character, '!' | '-' | '?') { signs + 1 } else { signs };
        if depth > DEEPEST || signs > 4 * DEEPEST {
            return Some(at);
        }
    }
    None
}

/// The reader counts lines from 1 and columns from 0 or 1, by its own reckoning.
fn offset(source: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.saturating_sub(1);
    let before: usize = source.lines().take(line).map(|line| line.chars().count() + 1).sum();
    Some((before + column).min(source.chars().count()))
}

/// The first line of a message, without what only the reader's authors can use.
fn plain(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message);
    line.trim().trim_start_matches("Syntax error: ").to_owned()
}

fn explain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("nothing is called `{name}`"),
        ExecutionError::IndexOutOfBounds(at) => {
            let at = values::from_cel(at).map_or_else(|_| "this".to_owned(), |at| at.to_string());
            format!("the list has no element {at}")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        // The others tell in debug notation what values they met: those may be long, or private.
        ExecutionError::NoSuchOverload(overload) => format!(
            "`{}` can't be used with {}",
            overload.function(),
            overload.argument_types().join(" and ")
        ),
        ExecutionError::Overflow(operator, ..) => {
            format!("the result of `{operator}` is too large")
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("`{function}` can't be used with what it was given")
        }
        _ => "the kinds of its values don't go together".to_owned(),
    }
}

/// Collects what an expression reads. `bound` are names that a macro such as `all` brings itself.
fn walk(at: &IdedExpr, bound: &mut Vec<String>, reads: &mut BTreeSet<Path>) {
    if let Some(path) = path(at) {
        if !bound.contains(&path[0]) {
            reads.insert(path);
        }
        return;
    }
    match &at.expr {
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        Expr::Select(select) => walk(&select.operand, bound, reads),
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                walk(part, bound, reads);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|part| walk(part, bound, reads)),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entries(&entry.expr, bound, reads)),
        Expr::Struct(of) => of.entries.iter().for_each(|entry| entries(&entry.expr, bound, reads)),
        Expr::Comprehension(over) => {
            walk(&over.iter_range, bound, reads);
            walk(&over.accu_init, bound, reads);
            let before = bound.len();
            bound.extend([over.iter_var.clone(), over.accu_var.clone()]);
            bound.extend(over.iter_var2.clone());
            for part in [&over.loop_cond, &over.loop_step, &over.result] {
                walk(part, bound, reads);
            }
            bound.truncate(before);
        }
    }
}

fn entries(entry: &EntryExpr, bound: &mut Vec<String>, reads: &mut BTreeSet<Path>) {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, bound, reads),
        EntryExpr::MapEntry(entry) => {
            walk(&entry.key, bound, reads);
            walk(&entry.value, bound, reads);
        }
    }
}

/// A name with fields, if that is all it is.
fn path(at: &IdedExpr) -> Option<Path> {
    match &at.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(CallExpr { func_name, target: None, args })
            if func_name == operators::INDEX && args.len() == 2 =>
        {
            let mut path = path(&args[0])?;
            path.push(values::literal_key(&args[1])?);
            Some(path)
        }
        _ => None,
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Expression({:?})", self.source)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        Self::parse(&source).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        Scope::default()
            .with(
                "steps",
                json!({ "audit": { "outputs": { "n": 3, "ratio": 0.5, "names": ["b", "a"] } } }),
            )
            .with("event", json!({ "data": { "level": "critical", "nothing": null } }))
    }

    fn value(source: &str) -> Value {
        Expression::parse(source).expect("an expression").value(&scope()).expect("a value")
    }

    #[test]
    fn whole_numbers_are_of_one_kind_wherever_they_come_from() {
        assert_eq!(value("steps.audit.outputs.n + 1"), json!(4));
        assert_eq!(
            value("steps.audit.outputs.n > 2 && steps.audit.outputs.ratio < 1.0"),
            json!(true)
        );
        assert_eq!(value("size(steps.audit.outputs.names) == 2"), json!(true));
    }

    #[test]
    fn values_of_every_kind_come_out_as_json() {
        assert_eq!(
            value("{'z': [1, 2.5, 'x', true, null], 'a': 1}"),
            json!({ "a": 1, "z": [1, 2.5, "x", true, null] })
        );
        let keys: Vec<String> = value("{'z': 1, 'a': 2, 'm': 3}")
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, ["a", "m", "z"]);
    }

    #[test]
    fn what_it_reads_is_told_without_what_it_binds_itself() {
        let expression = Expression::parse(
            "steps.audit.outputs['n'] > 0 && event.data.items.all(i, i.level != target.name) || has(inputs.x)",
        )
        .expect("an expression");
        let reads: Vec<String> = expression.reads().iter().map(|path| path.join(".")).collect();
        assert_eq!(reads, ["event.data.items", "inputs.x", "steps.audit.outputs.n", "target.name"]);
    }

    #[test]
    fn what_is_not_there_is_told_by_name() {
        let fails = |source: &str| {
            let expression = Expression::parse(source).expect("an expression");
            expression.holds(&scope()).expect_err("no value").to_string()
        };
        assert_eq!(
            fails("steps.audit.outputs.m > 0"),
            "`steps.audit.outputs.m > 0` has no value: there is no `m`"
        );
        assert_eq!(fails("nobody == 1"), "`nobody == 1` has no value: nothing is called `nobody`");
        assert_eq!(
            fails("event.data.level"),
            "`event.data.level` has no value: it is a string, and a condition must be true or false"
        );
        assert!(fails("event.data.level > 1").contains("can't be used with string and int"));
        assert_eq!(fails("1 / 0 == 1"), "`1 / 0 == 1` has no value: it divides by zero");
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        let refused = Expression::parse("a == ").expect_err("refused");
        assert!(refused.at.is_some(), "{refused:?}");
        for (source, at) in [("a = 1", 2), ("a ==\n  )", 7)] {
            assert_eq!(Expression::parse(source).expect_err("refused").at, Some(at), "{source}");
        }
        for source in [
            "",
            "  ",
            &"(".repeat(5_000),
            &"!".repeat(3_000),
            &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
        ] {
            assert!(Expression::parse(source).is_err());
        }
    }

    #[test]
    fn an_expression_survives_a_round_trip() {
        let expression = Expression::parse("a.b > 1").expect("an expression");
        let json = serde_json::to_string(&expression).expect("json");
        assert_eq!(serde_json::from_str::<Expression>(&json).expect("read"), expression);
        assert!(serde_json::from_str::<Expression>("\"a >\"").is_err());
    }
}
