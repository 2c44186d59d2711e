//! Clusters of a generated corpus: four recipes in many repositories, and changes that went another way. Which
//! is which is known here, and must be found from the diffs alone.

#[path = "corpus/laws.rs"]
mod laws;
#[path = "corpus/recipes.rs"]
mod recipes;

use std::collections::{BTreeMap, BTreeSet};

use recipes::{Chance, File};
use windlass_review::{Change, Cluster, Clusters, Summary, cluster, sample, split::Split, summary};

type Recipe = fn(&mut Chance) -> Vec<File>;

const RECIPES: [(&str, Recipe); 4] = [
    ("client", recipes::client),
    ("upgrade", recipes::upgrade),
    ("constructor", recipes::constructor),
    ("pipeline", recipes::pipeline),
];

/// Changes by id, with what was read of them.
#[derive(Debug)]
struct Corpus(BTreeMap<String, Summary>);

impl Corpus {
    /// So many changes of each recipe.
    fn new(each: usize, seed: u64) -> Self {
        let mut corpus = Self(BTreeMap::new());
        for (name, recipe) in RECIPES {
            for n in 0..each {
                let mut chance = Chance::new(seed ^ (n as u64) << 8 ^ name.len() as u64);
                let files = recipe(&mut chance);
                corpus.add(&format!("{name}-{n:04}"), &recipes::diff(files, &mut chance));
            }
        }
        corpus
    }

    fn add(&mut self, id: &str, diff: &str) {
        self.0.insert(id.to_owned(), summary::read(diff));
    }

    /// Changes that went another way, each with the words that must stand in the reason.
    fn add_odd(&mut self, seed: u64) -> Vec<(&'static str, &'static str)> {
        let mut chance = Chance::new(seed ^ 0xabcd);
        let chance = &mut chance;
        let mut files = recipes::client(chance);
        files.push(
            File::changed(".github/workflows/ci.yml", chance)
                .minus("      - run: pytest -q --strict")
                .plus("      - run: pytest -q || true"),
        );
        self.add("odd-ci", &recipes::diff(files, chance));

        let mut files = recipes::constructor(chance);
        let gone = (0..30).fold(File::deleted("src/cart/cart.spec.ts"), |file, n| {
            file.minus(&format!("  it('does {n}', () => expect(total({n})).toBe({n}));"))
        });
        files.push(gone);
        self.add("odd-tests", &recipes::diff(files, chance));

        let mut files = recipes::upgrade(chance);
        files.push((0..80).fold(File::changed("src/billing.rs", chance), |file, n| {
            file.minus(&format!("    let total_{n} = sum(&rows[{n}..]);"))
                .plus(&format!("    let total_{n} = rows.iter().skip({n}).sum::<u64>();"))
        }));
        self.add("odd-large", &recipes::diff(files, chance));

        let mut text = recipes::diff(recipes::client(chance), chance);
        text.push_str("diff --git a/tool b/tool\nnew file mode 100755\nindex 0..1\nBinary files /dev/null and b/tool differ\n");
        self.add("odd-binary", &text);

        let prose = File::changed("README.md", chance)
            .minus("See the handbook.")
            .plus("Call us at any time, we are glad to help.");
        self.add("odd-other", &recipes::diff(vec![prose], chance));
        self.add("odd-empty", "");
        vec![
            ("odd-ci", "CI files"),
            ("odd-tests", "deletes 1 test file"),
            ("odd-large", "times as large"),
            ("odd-binary", "binary content"),
            ("odd-other", "is like no other"),
            ("odd-empty", "is like no other"),
        ]
    }

    fn changes(&self) -> Vec<Change<'_>> {
        self.0.iter().map(|(id, summary)| Change { id, summary }).collect()
    }

    fn cluster(&self) -> Clusters {
        cluster(&self.changes(), &[])
    }
}

fn ids(cluster: &Cluster) -> BTreeSet<&str> {
    cluster.members.iter().map(|member| member.id.as_str()).collect()
}

/// Of which recipe a change is, by its id.
fn recipe(id: &str) -> &str {
    id.split('-').next().expect("a name")
}

#[test]
fn four_recipes_become_four_clusters_and_what_went_another_way_is_found() {
    for seed in 0..8 {
        let mut corpus = Corpus::new(40, seed);
        let odd = corpus.add_odd(seed);
        let clusters = corpus.cluster();
        let found: BTreeSet<BTreeSet<&str>> = clusters.clusters[..4]
            .iter()
            .map(|cluster| ids(cluster).into_iter().filter(|id| recipe(id) != "odd").collect())
            .collect();
        let wanted: BTreeSet<BTreeSet<&str>> = RECIPES
            .iter()
            .map(|(name, _)| {
                corpus.0.keys().map(String::as_str).filter(|id| recipe(id) == *name).collect()
            })
            .collect();
        assert_eq!(found, wanted, "seed {seed}");
        for (_, exemplar) in
            clusters.clusters[..4].iter().map(|cluster| (cluster, &cluster.exemplar))
        {
            assert_ne!(recipe(exemplar), "odd");
        }
        let outliers = clusters.outliers();
        let outliers: BTreeMap<&str, String> = outliers
            .iter()
            .map(|(_, outlier)| (outlier.id.as_str(), outlier.why.join("; ")))
            .collect();
        let names: BTreeSet<&str> = outliers.keys().copied().collect();
        let odd_names: BTreeSet<&str> = odd.iter().map(|(id, _)| *id).collect();
        assert_eq!(names, odd_names, "seed {seed}: {outliers:#?}");
        for (id, why) in odd {
            assert!(outliers[id].contains(why), "seed {seed}: {id}: {}", outliers[id]);
        }
    }
}

#[test]
fn the_spread_says_what_differs() {
    let clusters = Corpus::new(40, 1).cluster();
    let of = |name: &str| {
        let is = |cluster: &&Cluster| recipe(&cluster.exemplar) == name;
        clusters.clusters.iter().find(is).expect("its cluster").spread.join("; ")
    };
    let client = of("client");
    assert!(client.contains("2 to 4 files") && client.contains("versions"), "{client}");
    let upgrade = of("upgrade");
    assert!(upgrade.contains("versions, 1.36.") && !upgrade.contains("lines"), "{upgrade}");
}

#[test]
fn a_lock_file_does_not_count() {
    let with = |lock: &str| {
        let mut chance = Chance::new(7);
        let manifest =
            File::changed("Cargo.toml", &mut chance).minus("a = \"1.0.0\"").plus("a = \"1.1.0\"");
        let lock = lock.lines().fold(File::changed("Cargo.lock", &mut chance), File::plus);
        summary::read(&recipes::diff(vec![manifest, lock], &mut chance))
    };
    let (a, b) = (with("name = \"a\"\nname = \"b\""), with(&"name = \"z\"\n".repeat(500)));
    assert_eq!(a.digest, b.digest);
    assert_eq!((b.facts.lines(), b.facts.files), (2, 2));
}

#[test]
fn what_is_the_same_but_for_names_versions_places_and_blanks_has_one_digest() {
    let read = |path: &str, old: &str, new: &str| {
        let mut chance = Chance::new(old.len() as u64);
        summary::read(&File::changed(path, &mut chance).minus(old).plus(new).text()).digest
    };
    let first = read("src/a.rs", "let a = fetch(url, 3);", "let a = fetch_all(url, 3)?;");
    assert_eq!(
        read("lib/b/c.rs", "  let it =  fetch(there,3);", "let it = fetch_all(there, 3)?;"),
        first
    );
    assert_ne!(
        read("src/a.rs", "let a = fetch(url, 3);", "let a = fetch_all(url, 4)?;"),
        first,
        "a number that is no version counts"
    );
    assert_ne!(
        read("src/a.rs", "let a = fetch(url, 3);", "let a = fetch_any(url, 3)?;"),
        first,
        "what came counts"
    );
    assert_ne!(
        read("src/a.rs", "let a = fetch(a, b);", "let a = fetch_all(b, a)?;"),
        read("src/a.rs", "let a = fetch(a, b);", "let a = fetch_all(a, b)?;"),
        "so does the order of names"
    );
    assert_ne!(
        read("tests/a.rs", "let a = fetch(url, 3);", "let a = fetch_all(url, 3)?;"),
        first,
        "and what a file is for"
    );
    let pin =
        |version| read("package.json", "\"x\": \"^1.0.0\",", &format!("\"x\": \"^{version}\","));
    assert_eq!(pin("2.0.0"), pin("2.14.3-rc.1"));
}

#[test]
fn replacements_of_different_things_are_not_together_though_they_look_alike() {
    let mut corpus = Corpus(BTreeMap::new());
    for (n, (old, new)) in [("warn", "warning"), ("getcwdu", "getcwd")].into_iter().enumerate() {
        for repository in 0..5 {
            let mut chance = Chance::new(n as u64 * 10 + repository);
            let it = format!("it_{}", chance.below(100));
            let file = File::changed("src/a.py", &mut chance)
                .minus(&format!("    {it}.{old}(\"done\")"))
                .plus(&format!("    {it}.{new}(\"done\")"));
            corpus.add(&format!("{old}-{repository}"), &file.text());
        }
    }
    let clusters = corpus.cluster();
    let recipes = clusters.clusters.iter().map(|cluster| recipe(&cluster.exemplar));
    assert_eq!(recipes.collect::<BTreeSet<_>>(), BTreeSet::from(["getcwdu", "warn"]));
    assert_eq!(clusters.clusters.len(), 2);
}

#[test]
fn thousand_changes_take_few_comparisons() {
    let corpus = Corpus::new(250, 3);
    let clusters = corpus.cluster();
    assert_eq!(clusters.clusters.len(), 4);
    // All pairs would be 499,500.
    assert!(clusters.comparisons < 10_000, "{}", clusters.comparisons);
}

#[test]
fn what_somebody_split_off_stays_apart_when_more_comes() {
    let small = Corpus::new(20, 5);
    let all = small.cluster();
    let apart: BTreeSet<String> =
        all.clusters[0].members.iter().take(5).map(|member| member.id.clone()).collect();
    let split = Split { id: "by ann".to_owned(), changes: apart.clone() };
    for corpus in [&small, &Corpus::new(30, 5)] {
        let clusters = cluster(&corpus.changes(), std::slice::from_ref(&split));
        let own: Vec<&Cluster> =
            clusters.clusters.iter().filter(|cluster| cluster.by_hand).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(
            (own[0].id.as_str(), ids(own[0])),
            ("by ann", apart.iter().map(String::as_str).collect())
        );
        let elsewhere = clusters.clusters.iter().filter(|cluster| !cluster.by_hand);
        assert_eq!(
            elsewhere.map(|cluster| cluster.members.len()).sum::<usize>(),
            corpus.0.len() - 5
        );
    }
}

#[test]
fn a_sample_is_spread_over_the_cluster_and_chosen_by_its_seed() {
    let clusters = Corpus::new(60, 2).cluster();
    let cluster = &clusters.clusters[0];
    let count = sample::size(60, 0.1, 0.95).expect("parts");
    let chosen = sample::choose(cluster, count, "seed");
    assert_eq!(
        (chosen.len(), chosen.iter().collect::<BTreeSet<_>>().len()),
        (count as usize, count as usize)
    );
    assert_eq!(sample::choose(cluster, count, "seed"), chosen);
    assert_ne!(sample::choose(cluster, count, "another"), chosen);
    assert_eq!(sample::choose(cluster, 1_000, "seed").len(), 60);
    assert!(sample::choose(cluster, 0, "seed").is_empty());
    let mut alike: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for member in &cluster.members {
        let (all, looked_at) = alike.entry(format!("{:.6}", member.distance)).or_default();
        *all += 1;
        *looked_at += usize::from(chosen.contains(&member.id.as_str()));
    }
    for (all, looked_at) in alike.values() {
        let share = all * chosen.len() / 60;
        assert!(share.abs_diff(*looked_at) <= 1, "{alike:?}");
    }
}

#[test]
fn a_summary_is_small_and_survives_being_kept() {
    let mut chance = Chance::new(1);
    let huge = (0..5_000).fold(File::changed("a.rs", &mut chance), |file, n| {
        file.plus(&format!("let value_{n} = compute_{n}(input_{n});"))
    });
    let summary = summary::read(&huge.text());
    let json = serde_json::to_string(&summary).expect("JSON");
    assert!(json.len() < 64 << 10, "{}", json.len());
    assert_eq!(serde_json::from_str::<Summary>(&json).expect("a summary"), summary);
}
