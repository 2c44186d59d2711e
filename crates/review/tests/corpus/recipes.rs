//! Four recipes, as they come out in many small repositories that differ in everything that repositories
//! differ in: names, versions, numbers of files and places, what stands around, lock files.

use std::fmt::Write as _;

/// Numbers that look random and are the same each time (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % most.max(1) as u64).expect("small")
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 24] = [
            "billing", "order", "user", "ledger", "stock", "parcel", "invoice", "route", "quote",
            "tenant", "audit", "mail", "photo", "ticket", "dealer", "cart", "search", "rating",
            "coupon", "shift", "meter", "badge", "voucher", "fleet",
        ];
        WORDS[self.below(WORDS.len())]
    }

    fn name(&mut self) -> String {
        format!("{}_{}", self.word(), self.word())
    }
}

/// A file of a diff, written line by line.
pub(crate) struct File {
    header: String,
    body: String,
    old: usize,
    new: usize,
    start: usize,
}

impl File {
    pub(crate) fn changed(path: &str, chance: &mut Chance) -> Self {
        let header = format!(
            "diff --git a/{path} b/{path}\nindex 11{:05x}..22{:05x} 100644\n--- a/{path}\n+++ b/{path}\n",
            chance.below(1 << 20),
            chance.below(1 << 20)
        );
        Self { header, body: String::new(), old: 0, new: 0, start: 1 + chance.below(400) }
    }

    pub(crate) fn deleted(path: &str) -> Self {
        let header = format!(
            "diff --git a/{path} b/{path}\ndeleted file mode 100644\nindex 1..0\n--- a/{path}\n+++ /dev/null\n"
        );
        Self { header, body: String::new(), old: 0, new: 0, start: 1 }
    }

    pub(crate) fn same(mut self, line: &str) -> Self {
        let _ = writeln!(self.body, " {line}");
        (self.old, self.new) = (self.old + 1, self.new + 1);
        self
    }

    pub(crate) fn minus(mut self, line: &str) -> Self {
        let _ = writeln!(self.body, "-{line}");
        self.old += 1;
        self
    }

    pub(crate) fn plus(mut self, line: &str) -> Self {
        let _ = writeln!(self.body, "+{line}");
        self.new += 1;
        self
    }

    pub(crate) fn text(self) -> String {
        format!(
            "{}@@ -{},{} +{},{} @@\n{}",
            self.header, self.start, self.old, self.start, self.new, self.body
        )
    }
}

/// Joins files in an order of their own.
pub(crate) fn diff(files: Vec<File>, chance: &mut Chance) -> String {
    let mut texts: Vec<String> = files.into_iter().map(File::text).collect();
    for place in (1..texts.len()).rev() {
        texts.swap(place, chance.below(place + 1));
    }
    texts.concat()
}

/// Python: another HTTP client.
pub(crate) fn client(chance: &mut Chance) -> Vec<File> {
    let mut files = Vec::new();
    for _ in 0..=chance.below(3) {
        let path = format!("{}/{}.py", chance.word(), chance.name());
        let mut file = File::changed(&path, chance).minus("import requests").plus("import httpx");
        for _ in 0..=chance.below(4) {
            let (to, from) = (chance.name(), chance.name());
            let indent = " ".repeat(4 * (1 + chance.below(2)));
            file = file
                .same(&format!("def {}({from}):", chance.name()))
                .minus(&format!("{indent}{to} = requests.get({from}, verify=True)"))
                .plus(&format!("{indent}{to} = httpx.get({from}, verify=True, timeout=10)"))
                .same(&format!("{indent}return {to}.json()"));
        }
        files.push(file);
    }
    let (before, after) = (chance.below(32), chance.below(28));
    files.push(
        File::changed("requirements.txt", chance)
            .same("flask==3.0.0")
            .minus(&format!("requests==2.{before}.0"))
            .plus(&format!("httpx==0.{after}.{}", chance.below(9))),
    );
    files
}

/// Rust: a dependency upgrade, with the lock file's noise.
pub(crate) fn upgrade(chance: &mut Chance) -> Vec<File> {
    let (old, new) = (20 + chance.below(15), 36 + chance.below(8));
    let features = ["\"rt\"", "\"rt\", \"macros\"", "\"full\""][chance.below(3)];
    let mut lock = File::changed("Cargo.lock", chance);
    for _ in 0..10 + chance.below(60) {
        let hash = |chance: &mut Chance| {
            (0..8).map(|_| format!("{:08x}", chance.below(1 << 32))).collect::<String>()
        };
        let (old, new) = (hash(chance), hash(chance));
        lock = lock
            .same(&format!("name = \"{}\"", chance.name()))
            .minus(&format!("checksum = \"{old}\""))
            .plus(&format!("checksum = \"{new}\""))
            .plus(&format!(" \"{}\",", chance.name()));
    }
    let manifest = ["Cargo.toml", "crates/app/Cargo.toml"][chance.below(2)];
    let manifest = File::changed(manifest, chance)
        .same("[dependencies]")
        .minus(&format!("tokio = {{ version = \"1.{old}.0\", features = [{features}] }}"))
        .plus(&format!(
            "tokio = {{ version = \"1.{new}.{}\", features = [{features}] }}",
            chance.below(5)
        ));
    vec![manifest, lock]
}

/// TypeScript: a constructor with another name and options.
pub(crate) fn constructor(chance: &mut Chance) -> Vec<File> {
    (0..=chance.below(3))
        .map(|_| {
            let path = format!("src/{}/{}.ts", chance.word(), chance.word());
            let kit = "@acme/client";
            let mut file = File::changed(&path, chance)
                .minus(&format!("import {{ createClient }} from '{kit}';"))
                .plus(&format!("import {{ newClient }} from '{kit}';"));
            for _ in 0..=chance.below(3) {
                let (it, with) = (chance.name(), chance.name());
                file = file
                    .same(&format!("// {}", chance.name()))
                    .minus(&format!("const {it} = createClient({with});"))
                    .plus(&format!("const {it} = newClient({{ ...{with}, retry: true }});"));
            }
            file
        })
        .collect()
}

/// CI of projects in all three languages: pinned actions.
pub(crate) fn pipeline(chance: &mut Chance) -> Vec<File> {
    let runs = ["cargo test", "pytest -q", "npm test"][chance.below(3)];
    (0..=chance.below(2))
        .map(|_| {
            let path = format!(".github/workflows/{}.yml", chance.word());
            let pin = format!("{:07x}a1{:07x}", chance.below(1 << 28), chance.below(1 << 28));
            let mut file = File::changed(&path, chance)
                .same(&format!("  {}:", chance.name()))
                .minus(&format!("      - uses: actions/checkout@v{}", 2 + chance.below(2)))
                .plus(&format!("      - uses: actions/checkout@{pin} # v4.{}.0", chance.below(3)))
                .same(&format!("      - run: {runs}"));
            if chance.below(3) == 0 {
                file = file
                    .minus("    permissions: write-all")
                    .plus("    permissions: { contents: read }");
            }
            file
        })
        .collect()
}
