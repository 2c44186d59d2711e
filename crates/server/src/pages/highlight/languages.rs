//! What each language calls a comment, a text and a keyword. Only data: a language is added by adding
//! a row.

/// How a language is read.
#[derive(Debug)]
pub(crate) struct Language {
    /// Extensions and whole file names, in lower case.
    names: &'static [&'static str],
    pub(super) line_comments: &'static [&'static str],
    pub(super) block_comment: Option<(&'static str, &'static str)>,
    /// True if block comments nest.
    pub(super) nests: bool,
    /// Quotes of texts that end on their line.
    pub(super) quotes: &'static str,
    /// Openings and ends of texts that may span lines; tried before `quotes`.
    pub(super) long_texts: &'static [(&'static str, &'static str)],
    keywords: &'static [&'static str],
    constants: &'static [&'static str],
    types: &'static [&'static str],
    /// Characters that begin an attribute or annotation.
    pub(super) attribute_marks: &'static str,
    /// True if a word before `(` is a call.
    pub(super) calls: bool,
    /// True if a capitalised word is a type.
    pub(super) capital_types: bool,
    /// True if `'a` may be a lifetime.
    pub(super) has_lifetimes: bool,
    /// True if a quoted text before `:` is a key.
    pub(super) keys_before_colon: bool,
    /// What follows a key at the start of a line.
    pub(super) keys: Option<char>,
    pub(super) dashes_in_words: bool,
    pub(super) ignores_case: bool,
}

impl Language {
    /// The language of a file, by its name.
    pub(crate) fn of_path(path: &str) -> Option<&'static Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let by = |wanted: &str| LANGUAGES.iter().find(|language| language.names.contains(&wanted));
        by(&name).or_else(|| by(extension?))
    }

    pub(super) fn is_keyword(&self, word: &str) -> bool {
        self.keywords.contains(&word)
    }

    pub(super) fn is_type(&self, word: &str) -> bool {
        self.types.contains(&word)
    }

    pub(super) fn is_constant(&self, word: &str) -> bool {
        self.constants.contains(&word)
    }
}

/// A language like C, as the start for the others.
const C_LIKE: Language = Language {
    names: &[],
    line_comments: &["//"],
    block_comment: Some(("/*", "*/")),
    nests: false,
    quotes: "\"'",
    long_texts: &[],
    keywords: &[],
    constants: &["true", "false", "null"],
    types: &[],
    attribute_marks: "@",
    calls: true,
    capital_types: true,
    has_lifetimes: false,
    keys_before_colon: false,
    keys: None,
    dashes_in_words: false,
    ignores_case: false,
};

/// A language of settings, with `#` for comments.
const SETTINGS: Language = Language {
    line_comments: &["#"],
    block_comment: None,
    constants: &["true", "false", "null", "yes", "no", "on", "off"],
    attribute_marks: "",
    calls: false,
    capital_types: false,
    keys: Some(':'),
    dashes_in_words: true,
    ..C_LIKE
};

static LANGUAGES: &[Language] = &[
    Language {
        names: &["rs"],
        nests: true,
        quotes: "\"'",
        long_texts: &[("r#\"", "\"#"), ("r##\"", "\"##"), ("\"", "\"")],
        keywords: &[
            "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum",
            "extern", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut",
            "pub", "ref", "return", "self", "static", "struct", "super", "trait", "type", "unsafe",
            "use", "where", "while", "macro_rules",
        ],
        constants: &["true", "false", "None"],
        types: &[
            "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8",
            "u16", "u32", "u64", "u128", "usize",
        ],
        attribute_marks: "#",
        has_lifetimes: true,
        ..C_LIKE
    },
    Language {
        names: &["js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "cts", "vue", "svelte"],
        long_texts: &[("`", "`")],
        keywords: &[
            "abstract", "any", "as", "async", "await", "boolean", "break", "case", "catch", "class",
            "const", "continue", "debugger", "declare", "default", "delete", "do", "else", "enum",
            "export", "extends", "finally", "for", "from", "function", "get", "if", "implements",
            "import", "in", "infer", "instanceof", "interface", "is", "keyof", "let", "namespace",
            "never", "new", "number", "of", "private", "protected", "public", "readonly", "return",
            "satisfies", "set", "static", "string", "super", "switch", "this", "throw", "try", "type",
            "typeof", "unknown", "var", "void", "while", "with", "yield",
        ],
        constants: &["true", "false", "null", "undefined", "NaN", "Infinity"],
        ..C_LIKE
    },
    Language {
        names: &["py", "pyi", "bzl", "sconstruct"],
        line_comments: &["#"],
        block_comment: None,
        long_texts: &[("\"\"\"", "\"\"\""), ("'''", "'''")],
        keywords: &[
            "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
            "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
            "lambda", "match", "nonlocal", "not", "or", "pass", "raise", "return", "self", "try",
            "type", "while", "with", "yield",
        ],
        constants: &["True", "False", "None"],
        ..C_LIKE
    },
    Language {
        names: &["go", "go.mod"],
        long_texts: &[("`", "`")],
        keywords: &[
            "any", "bool", "break", "byte", "case", "chan", "const", "continue", "default", "defer",
            "else", "error", "fallthrough", "float64", "for", "func", "go", "goto", "if", "import",
            "int", "int64", "interface", "map", "module", "package", "range", "require", "return",
            "rune", "select", "string", "struct", "switch", "type", "uint", "uint64", "var",
        ],
        constants: &["true", "false", "nil", "iota"],
        ..C_LIKE
    },
    Language {
        names: &["c", "h", "cc", "cpp", "cxx", "hh", "hpp", "m", "mm", "ino", "proto"],
        keywords: &[
            "alignas", "auto", "bool", "break", "case", "catch", "char", "class", "const",
            "constexpr", "continue", "default", "delete", "do", "double", "else", "enum", "explicit",
            "extern", "float", "for", "friend", "goto", "if", "inline", "int", "long", "message",
            "mutable", "namespace", "new", "noexcept", "operator", "override", "private", "protected",
            "public", "register", "return", "short", "signed", "sizeof", "static", "struct", "switch",
            "template", "this", "throw", "try", "typedef", "typename", "union", "unsigned", "using",
            "virtual", "void", "volatile", "while", "define", "include", "ifdef", "ifndef", "endif",
            "pragma",
        ],
        constants: &["true", "false", "NULL", "nullptr"],
        attribute_marks: "",
        ..C_LIKE
    },
    Language {
        names: &["java", "kt", "kts", "scala", "groovy", "gradle", "cs", "swift", "dart", "php"],
        long_texts: &[("\"\"\"", "\"\"\"")],
        keywords: &[
            "abstract", "as", "async", "await", "base", "bool", "boolean", "break", "byte", "case",
            "catch", "char", "class", "const", "continue", "data", "default", "def", "defer", "do",
            "double", "echo", "else", "enum", "export", "extends", "extension", "final", "finally",
            "float", "for", "foreach", "fun", "func", "function", "get", "guard", "if", "implements",
            "import", "in", "init", "instanceof", "int", "interface", "internal", "is", "late", "lazy",
            "let", "long", "match", "namespace", "native", "new", "object", "open", "operator", "out",
            "override", "package", "partial", "private", "protected", "protocol", "public", "record",
            "readonly", "ref", "return", "sealed", "self", "set", "short", "static", "string",
            "struct", "super", "suspend", "switch", "synchronized", "this", "throw", "throws", "trait",
            "try", "typealias", "use", "using", "val", "var", "virtual", "void", "volatile", "when",
            "where", "while", "with", "yield",
        ],
        constants: &["true", "false", "null", "nil"],
        ..C_LIKE
    },
    Language {
        names: &["rb", "rake", "gemfile", "gemspec"],
        line_comments: &["#"],
        block_comment: Some(("=begin", "=end")),
        keywords: &[
            "alias", "and", "begin", "break", "case", "class", "def", "do", "else", "elsif", "end",
            "ensure", "for", "if", "in", "module", "next", "not", "or", "private", "raise", "redo",
            "require", "rescue", "retry", "return", "self", "super", "then", "undef", "unless",
            "until", "when", "while", "yield",
        ],
        constants: &["true", "false", "nil"],
        ..C_LIKE
    },
    Language {
        names: &["sh", "bash", "zsh", "fish", "dockerfile", "containerfile", "makefile", "mk", "justfile"],
        line_comments: &["#"],
        block_comment: None,
        keywords: &[
            "case", "cd", "do", "done", "echo", "elif", "else", "esac", "exit", "export", "fi", "for",
            "function", "if", "in", "local", "read", "return", "select", "set", "shift", "source",
            "then", "trap", "unset", "until", "while", "FROM", "RUN", "COPY", "ADD", "ENV", "ARG",
            "WORKDIR", "ENTRYPOINT", "CMD", "USER", "EXPOSE", "include", "ifeq", "endif",
        ],
        constants: &["true", "false"],
        calls: false,
        capital_types: false,
        attribute_marks: "",
        dashes_in_words: true,
        ..C_LIKE
    },
    Language { names: &["toml", "cargo.lock", "poetry.lock", "uv.lock"], long_texts: &[("\"\"\"", "\"\"\""), ("'''", "'''")], keys: Some('='), ..SETTINGS },
    Language { names: &["yaml", "yml", "yarn.lock"], ..SETTINGS },
    Language { names: &["ini", "cfg", "conf", "properties", "env", "editorconfig", "gitconfig"], line_comments: &["#", ";"], keys: Some('='), ..SETTINGS },
    Language { names: &["tf", "hcl", "nix"], line_comments: &["#", "//"], block_comment: Some(("/*", "*/")), keys: Some('='), keywords: &["resource", "variable", "module", "output", "provider", "data", "locals", "let", "in", "with", "rec", "inherit", "if", "then", "else"], ..SETTINGS },
    Language {
        names: &["json", "jsonc", "json5", "webmanifest", "ipynb", "code-workspace"],
        attribute_marks: "",
        calls: false,
        capital_types: false,
        keys_before_colon: true,
        ..C_LIKE
    },
    Language {
        names: &["css", "scss", "less"],
        line_comments: &[],
        keywords: &["important", "and", "not", "from", "to"],
        constants: &["none", "auto", "inherit", "initial", "unset"],
        attribute_marks: "@",
        capital_types: false,
        keys: Some(':'),
        dashes_in_words: true,
        ..C_LIKE
    },
    Language {
        names: &["sql"],
        line_comments: &["--"],
        keywords: &[
            "add", "all", "alter", "and", "as", "asc", "begin", "between", "by", "case", "cascade",
            "check", "column", "commit", "constraint", "create", "default", "delete", "desc",
            "distinct", "drop", "else", "end", "exists", "foreign", "from", "full", "group", "having",
            "if", "in", "index", "inner", "insert", "into", "is", "join", "key", "left", "like",
            "limit", "not", "offset", "on", "or", "order", "outer", "primary", "references",
            "returning", "right", "rollback", "select", "set", "table", "then", "trigger", "union",
            "unique", "update", "using", "values", "view", "when", "where", "with",
        ],
        attribute_marks: "",
        capital_types: false,
        ignores_case: true,
        ..C_LIKE
    },
    Language {
        names: &["lua"],
        line_comments: &["--"],
        block_comment: Some(("--[[", "]]")),
        keywords: &[
            "and", "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in",
            "local", "not", "or", "repeat", "return", "then", "until", "while",
        ],
        constants: &["true", "false", "nil"],
        ..C_LIKE
    },
    Language {
        names: &["html", "htm", "xml", "svg", "xhtml", "plist", "csproj", "pom"],
        line_comments: &[],
        block_comment: Some(("<!--", "-->")),
        quotes: "\"",
        keywords: &[],
        constants: &[],
        attribute_marks: "",
        calls: false,
        capital_types: false,
        dashes_in_words: true,
        ..C_LIKE
    },
    Language {
        names: &["md", "markdown", "mdx", "rst", "txt"],
        line_comments: &[],
        block_comment: Some(("<!--", "-->")),
        quotes: "`",
        long_texts: &[("```", "```")],
        keywords: &[],
        constants: &[],
        attribute_marks: "",
        calls: false,
        capital_types: false,
        ..C_LIKE
    },
];
