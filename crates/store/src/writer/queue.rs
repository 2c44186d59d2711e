//! The jobs of an organisation that wait for a runner, in the order in which they get one. Only the
//! head of a long queue is in memory.

use std::collections::BTreeSet;

use windlass_run::{JobId, Time};

/// How many waiting jobs of an organisation are in memory at most.
pub(crate) const WINDOW: usize = 10_000;

/// A job's place: first who is due first, then who was created first.
pub(crate) type Place = (Time, u64, JobId);

/// The head of a queue.
#[derive(Default)]
pub(crate) struct Queue {
    places: BTreeSet<Place>,
    /// True if no waiting job is missing.
    complete: bool,
}

impl Queue {
    /// A queue read from the database. `complete` says that there are no others.
    pub(crate) fn read(places: impl IntoIterator<Item = Place>, complete: bool) -> Self {
        Self { places: places.into_iter().collect(), complete }
    }

    /// A job waits from now on.
    pub(crate) fn add(&mut self, place: Place) {
        let fits = self.complete || self.places.last().is_some_and(|last| place < *last);
        if !fits {
            return;
        }
        self.places.insert(place);
        if self.places.len() > WINDOW {
            self.places.pop_last();
            self.complete = false;
        }
    }

    /// A job waits no longer.
    pub(crate) fn take(&mut self, place: &Place) {
        self.places.remove(place);
    }

    /// Who is first.
    pub(crate) fn first(&self) -> Option<&Place> {
        self.places.first()
    }

    /// True if the head is used up and there may be more in the database.
    pub(crate) fn is_worn(&self) -> bool {
        self.places.is_empty() && !self.complete
    }
}
