//! What holds for any changes: the order does not count, what comes later parts nothing, and nothing that can
//! stand in a diff makes reading it fail.

use proptest::prelude::*;

use super::*;

/// Which changes were in which cluster.
fn places(clusters: &Clusters) -> BTreeMap<String, String> {
    let all = clusters.clusters.iter().flat_map(|cluster| {
        cluster.members.iter().map(|member| (member.id.clone(), cluster.id.clone()))
    });
    all.collect()
}

/// A corpus with odd ones, and the changes of it in some order.
fn corpora() -> impl Strategy<Value = (Corpus, Vec<String>)> {
    (1_usize..12, any::<u16>()).prop_flat_map(|(each, seed)| {
        let mut corpus = Corpus::new(each, u64::from(seed));
        corpus.add_odd(u64::from(seed));
        let ids: Vec<String> = corpus.0.keys().cloned().collect();
        let summaries = corpus.0;
        Just(ids).prop_shuffle().prop_map(move |ids| (Corpus(summaries.clone()), ids))
    })
}

fn changes<'a>(corpus: &'a Corpus, ids: &'a [String]) -> Vec<Change<'a>> {
    ids.iter().map(|id| Change { id, summary: &corpus.0[id] }).collect()
}

/// A diff, with some of its bytes replaced, and text that was never one.
fn garbage() -> impl Strategy<Value = String> {
    let spoilt = (
        any::<u64>(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
    );
    let spoilt = spoilt.prop_map(|(seed, spoils)| {
        let mut chance = Chance::new(seed);
        let mut bytes = recipes::diff(recipes::client(&mut chance), &mut chance).into_bytes();
        for (index, byte) in spoils {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let lines = prop_oneof![
        Just("diff --git a/x b/x".to_owned()),
        Just("diff --git \"a/\\303 b".to_owned()),
        Just("diff --git ".to_owned()),
        Just("rename from ".to_owned()),
        Just("new file mode 160000".to_owned()),
        Just("GIT binary patch".to_owned()),
        Just("@@ -0,0 +1,18446744073709551615 @@".to_owned()),
        Just("@@ -1,99999999999999999999 +1 @@".to_owned()),
        Just("--- /dev/null".to_owned()),
        Just("\\ No newline at end of file".to_owned()),
        "[-+ @\\\\]\\PC{0,40}",
        "\\PC{0,40}",
    ];
    let text = proptest::collection::vec(lines, 0..30).prop_map(|lines| lines.join("\n"));
    prop_oneof![spoilt, text, any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_changes_does_not_count((corpus, ids) in corpora()) {
        prop_assert_eq!(cluster(&changes(&corpus, &ids), &[]), corpus.cluster());
    }

    #[test]
    fn what_comes_later_parts_nothing_and_takes_no_name((corpus, ids) in corpora(), part in 0.0..1.0_f64) {
        let first = &ids[..(ids.len() as f64 * part) as usize];
        let before = cluster(&changes(&corpus, first), &[]);
        let names = places(&before);
        let after = corpus.cluster().named_as_before(&names);
        let now = places(&after);
        prop_assert_eq!(now.len(), ids.len());
        let unique: BTreeSet<&str> = after.clusters.iter().map(|cluster| cluster.id.as_str()).collect();
        prop_assert_eq!(unique.len(), after.clusters.len());
        for earlier in &before.clusters {
            let names: BTreeSet<&String> = earlier.members.iter().map(|member| &now[&member.id]).collect();
            prop_assert_eq!(names.len(), 1, "{} was parted", &earlier.id);
            let alone = before.clusters.iter().filter(|other| {
                now[&other.members[0].id] == now[&earlier.members[0].id]
            });
            if alone.count() == 1 {
                prop_assert_eq!(&now[&earlier.members[0].id], &earlier.id, "its name went elsewhere");
            }
        }
    }

    #[test]
    fn an_exemplar_and_all_outliers_are_members((corpus, ids) in corpora()) {
        let clusters = cluster(&changes(&corpus, &ids), &[]);
        for cluster in &clusters.clusters {
            let members = super::ids(cluster);
            prop_assert!(members.contains(cluster.exemplar.as_str()));
            prop_assert!(cluster.outliers.iter().all(|outlier| members.contains(outlier.id.as_str())));
            prop_assert!(cluster.outliers.iter().all(|outlier| !outlier.why.is_empty()));
        }
        prop_assert_eq!(places(&clusters).len(), ids.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_stand_in_a_diff_is_refused(texts in proptest::collection::vec(garbage(), 1..6)) {
        let summaries: Vec<(String, Summary)> =
            texts.iter().enumerate().map(|(n, text)| (n.to_string(), summary::read(text))).collect();
        let changes: Vec<Change<'_>> =
            summaries.iter().map(|(id, summary)| Change { id, summary }).collect();
        let clusters = cluster(&changes, &[]);
        prop_assert_eq!(places(&clusters).len(), texts.len());
        for cluster in &clusters.clusters {
            prop_assert_eq!(sample::choose(cluster, 3, "s").len(), cluster.members.len().min(3));
        }
    }
}

#[test]
fn a_huge_line_is_read_in_part() {
    let line = "x9".repeat(4 << 20);
    let text =
        format!("diff --git a/a.js b/a.js\n--- a/a.js\n+++ b/a.js\n@@ -0,0 +1 @@\n+{line}\n");
    assert_eq!(summary::read(&text).facts.added, 1);
    let name = format!("diff --git a/{0} b/{0}\n", "é ".repeat(20_000));
    assert_eq!(summary::read(&name).facts.files, 1);
}
