//! A bounded memory: a young and an old generation. What was not asked for during one generation's
//! life is forgotten with it.

use std::{collections::HashMap, hash::Hash};

/// A map that forgets what was not used lately.
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    capacity: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Generations<K, V> {
    /// Keeps between half of `capacity` and `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity: capacity.max(2) }
    }

    /// The value, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.young.insert(key.clone(), value.clone());
        Some(value)
    }

    /// Keeps a value.
    pub(crate) fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets a value, and gives it.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (young, old) = (self.young.remove(key), self.old.remove(key));
        young.or(old)
    }

    /// Forgets the old generation if there is too much; those that `stay` never go.
    pub(crate) fn shrink(&mut self, stay: impl Fn(&V) -> bool) {
        if self.young.len() < self.capacity / 2 {
            return;
        }
        let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        self.old.extend(forgotten.into_iter().filter(|(_, value)| stay(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_must_stay_survives_and_the_rest_is_forgotten() {
        let mut map = Generations::new(4);
        for n in 0..100 {
            map.put(n, n);
            assert_eq!(map.get(&0), Some(0));
            map.shrink(|value| *value == 7);
        }
        assert_eq!((map.get(&0), map.get(&7), map.get(&50)), (Some(0), Some(7), None));
        assert!(map.young.len() + map.old.len() <= 6);
    }
}
