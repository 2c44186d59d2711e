//! One change, read once: what makes it alike to others, and facts that a person asks for. Small, whatever
//! the size of the diff, so that it can be kept beside the change.
//!
//! Taken out: names and order of files, places of hunks, whitespace, versions, hashes, dates, and names that
//! stand as often in what went as in what came (they belong to the repository, not to the change). Those
//! are numbered in the order in which they appear. Of lock files and other generated ones only counts that
//! they were touched.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    diff::{self, Block, File},
    place::{Place, Role},
    token::{Token, tokens},
};

/// So many features of each sort are kept: those with the smallest hashes, so that two changes keep the
/// same ones.
const MOST_FEATURES: usize = 512;
/// So many versions are kept for people.
const MOST_VERSIONS: usize = 8;
/// So many tokens make one feature of the shape.
const SHINGLE: usize = 3;

/// One change, reduced to what it has in common with others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Changes with the same digest are the same but for what was taken out: SHA-256, hexadecimal.
    pub digest: String,
    /// Facts for people.
    pub facts: Facts,
    /// Hashes of runs of tokens, without names; sorted.
    pub(crate) shape: Vec<u64>,
    /// Hashes of the names that came or went; sorted.
    pub(crate) names: Vec<u64>,
}

/// What a person asks about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Files, generated ones included.
    pub files: u32,
    /// Lines that came, without those of generated files.
    pub added: u32,
    /// Lines that went, likewise.
    pub removed: u32,
    /// What was touched, sorted by place.
    pub places: Vec<(Place, Touched)>,
    /// Versions that came, the first ones in order; without those of generated files.
    pub versions: BTreeSet<String>,
    /// Test files that are gone.
    pub deleted_tests: u32,
    /// What a reviewer of text would not see: binary content, links, programs.
    pub odd: BTreeSet<String>,
}

/// How much was touched of one kind of file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Files.
    pub files: u32,
    /// Lines that came.
    pub added: u32,
    /// Lines that went.
    pub removed: u32,
}

impl Facts {
    /// Lines that came or went, without those of generated files.
    pub fn lines(&self) -> u32 {
        self.added.saturating_add(self.removed)
    }

    /// By how many lines the tests became shorter.
    pub fn lost_tests(&self) -> u32 {
        let tests = self.places.iter().filter(|(place, _)| place.role == Role::Test);
        let (added, removed) = tests.fold((0_u32, 0_u32), |(added, removed), (_, touched)| {
            (added.saturating_add(touched.added), removed.saturating_add(touched.removed))
        });
        removed.saturating_sub(added)
    }
}

/// Reads a change. Total: a diff that is none is an empty change.
pub fn read(diff: &str) -> Summary {
    let mut reader = Reader::default();
    for file in &diff::read(diff).files {
        reader.file(file);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    facts: Facts,
    places: BTreeMap<Place, Touched>,
    /// Texts of blocks and other traits that together are the digest. A set: how often and where does not
    /// count.
    traits: BTreeSet<String>,
    shape: BTreeSet<u64>,
    names: BTreeSet<u64>,
}

impl Reader {
    fn file(&mut self, file: &File<'_>) {
        let place = Place::of(file.path());
        let count = |lines: fn(&Block<'_>) -> usize| {
            u32::try_from(file.blocks.iter().map(lines).sum::<usize>()).unwrap_or(u32::MAX)
        };
        let (added, removed) =
            (count(|block| block.added.len()), count(|block| block.removed.len()));
        let touched = self.places.entry(place.clone()).or_default();
        touched.files += 1;
        touched.added = touched.added.saturating_add(added);
        touched.removed = touched.removed.saturating_add(removed);
        self.facts.files += 1;
        self.is(&format!("touched {:?} {}", place.role, place.kind));
        self.oddities(file);
        if file.new.is_empty() {
            self.facts.deleted_tests += u32::from(place.role == Role::Test);
            self.is(&format!("deleted {:?} {}", place.role, place.kind));
        } else if file.old.is_empty() {
            self.is(&format!("created {:?} {}", place.role, place.kind));
        } else if file.old != file.new {
            self.is(&format!("renamed {:?} {}", place.role, place.kind));
        }
        if place.role != Role::Generated {
            self.facts.added = self.facts.added.saturating_add(added);
            self.facts.removed = self.facts.removed.saturating_add(removed);
            self.content(file, &place);
        }
    }

    /// Something that is so of the change as a whole.
    fn is(&mut self, text: &str) {
        self.shape.insert(hash(text));
        self.traits.insert(text.to_owned());
    }

    fn oddities(&mut self, file: &File<'_>) {
        let mode = match file.mode {
            Some("120000") => Some("a symbolic link"),
            Some("160000") => Some("a submodule"),
            Some("100755") => Some("a file that can be executed"),
            Some(_) | None => None,
        };
        for odd in mode.into_iter().chain(file.is_binary.then_some("binary content")) {
            self.is(odd);
            self.facts.odd.insert(odd.to_owned());
        }
    }

    fn content(&mut self, file: &File<'_>, place: &Place) {
        let versions = place.role.holds_versions();
        let blocks: Vec<[Vec<Token<'_>>; 2]> = file
            .blocks
            .iter()
            .map(|block| {
                [&block.removed, &block.added]
                    .map(|lines| lines.iter().flat_map(|line| tokens(line, versions)).collect())
            })
            // Only whitespace changed.
            .filter(|[removed, added]: &[Vec<Token<'_>>; 2]| removed != added)
            .collect();
        let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
        for [removed, added] in &blocks {
            for (tokens, step) in [(removed, -1), (added, 1)] {
                for token in tokens {
                    if let Token::Name(name) = token {
                        *balance.entry(name).or_default() += step;
                    }
                }
            }
        }
        for [removed, added] in &blocks {
            let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
            let mut text = format!("{:?} {}", place.role, place.kind);
            for (tokens, sign) in [(removed, '-'), (added, '+')] {
                text.push(sign);
                for token in tokens {
                    text.push(' ');
                    match token {
                        Token::Name(name) if balance.get(name) == Some(&0) => {
                            let next = numbers.len();
                            let number = numbers.entry(name).or_insert(next);
                            text.push_str(&format!("${number}"));
                        }
                        Token::Name(name) => {
                            self.names.insert(hash(&format!("{sign}{name}")));
                            text.push_str(name);
                        }
                        token => text.push_str(&plain(token)),
                    }
                    if let (Token::Version(version), '+') = (token, sign)
                        && self.facts.versions.len() < MOST_VERSIONS
                    {
                        self.facts.versions.insert(version.chars().take(40).collect());
                    }
                }
                self.shape(place, sign, tokens);
            }
            self.traits.insert(text);
        }
    }

    fn shape(&mut self, place: &Place, sign: char, tokens: &[Token<'_>]) {
        let texts: Vec<String> = tokens.iter().map(plain).collect();
        for shingle in texts.windows(SHINGLE.min(texts.len()).max(1)) {
            self.shape.insert(hash(&format!("{:?}{sign}{}", place.role, shingle.join(" "))));
        }
    }

    fn finish(self) -> Summary {
        let mut digest = Sha256::new();
        for text in &self.traits {
            digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(text);
        }
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let facts = Facts { places: self.places.into_iter().collect(), ..self.facts };
        let smallest = |features: BTreeSet<u64>| features.into_iter().take(MOST_FEATURES).collect();
        Summary { digest, facts, shape: smallest(self.shape), names: smallest(self.names) }
    }
}

/// A token without what belongs to one repository only.
fn plain(token: &Token<'_>) -> String {
    match token {
        Token::Name(_) => "$".to_owned(),
        Token::Keyword(word) => word.to_lowercase(),
        Token::Number(number) => (*number).to_owned(),
        Token::Version(_) => "<version>".to_owned(),
        Token::Hash => "<hash>".to_owned(),
        Token::Date => "<date>".to_owned(),
        Token::Mark(mark) => mark.to_string(),
    }
}

/// The first eight bytes of SHA-256: nobody writes a change that seems to be another one by collision, and
/// what is kept stays true in later versions.
fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
