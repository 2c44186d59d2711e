//! What is due when, over all schedules. A schedule that isn't due costs nothing: to find out that none is
//! due, one number is looked at, however many there are.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use crate::Time;

/// The next time of each key, in order.
#[derive(Clone, Debug)]
pub struct Agenda<K> {
    times: HashMap<K, Time>,
    order: BTreeSet<(Time, K)>,
    /// The first of `order`.
    next: Option<Time>,
}

impl<K: Clone + Eq + Hash + Ord> Agenda<K> {
    /// An agenda with nothing on it.
    pub fn new() -> Self {
        Self { times: HashMap::new(), order: BTreeSet::new(), next: None }
    }

    /// Puts a key on the agenda, or moves it to another time. Answers the time it had before.
    pub fn insert(&mut self, key: K, at: Time) -> Option<Time> {
        let before = self.times.insert(key.clone(), at);
        if let Some(before) = before {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((at, key));
        self.note_next();
        before
    }

    /// Takes a key off the agenda. Answers the time it had.
    pub fn remove(&mut self, key: &K) -> Option<Time> {
        let at = self.times.remove(key)?;
        self.order.remove(&(at, key.clone()));
        self.note_next();
        Some(at)
    }

    /// When something is due next: until then there is nothing to do. Costs nothing.
    pub fn next_due(&self) -> Option<Time> {
        self.next
    }

    /// Takes off the key that has been due longest, if one is. Costs nothing if none is.
    pub fn pop_due(&mut self, now: Time) -> Option<(Time, K)> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let (at, key) = self.order.pop_first()?;
        self.times.remove(&key);
        self.note_next();
        Some((at, key))
    }

    /// When this key is due.
    pub fn get(&self, key: &K) -> Option<Time> {
        self.times.get(key).copied()
    }

    /// How many keys are on it.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether nothing is on it.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    fn note_next(&mut self) {
        self.next = self.order.first().map(|(at, _)| *at);
    }
}

impl<K: Clone + Eq + Hash + Ord> Default for Agenda<K> {
    fn default() -> Self {
        Self::new()
    }
}
