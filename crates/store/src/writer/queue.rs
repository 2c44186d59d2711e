//! The jobs of an organisation that wait for a runner, in the order in which they get one. Only the
//! head of a long queue is in memory. There is a queue for each set of labels that jobs need, so that
//! what nobody there can take stands in nobody's way.

use std::collections::{BTreeMap, BTreeSet};

use windlass_run::{JobId, Labels, Time};

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

/// The queues of an organisation, by the labels that their jobs need. Every set of labels that a waiting
/// job needs has one.
#[derive(Default)]
pub(crate) struct Queues(BTreeMap<Labels, Queue>);

impl Queues {
    /// Queues whose heads are still to be read.
    pub(crate) fn unread(needed: impl IntoIterator<Item = Labels>) -> Self {
        Self(needed.into_iter().map(|labels| (labels, Queue::default())).collect())
    }

    /// A job waits from now on.
    pub(crate) fn add(&mut self, needs: &Labels, place: Place) {
        match self.0.get_mut(needs) {
            Some(queue) => queue.add(place),
            None => {
                self.0.insert(needs.clone(), Queue::read([place], true));
            }
        }
    }

    /// A job waits no longer.
    pub(crate) fn take(&mut self, needs: &Labels, place: &Place) {
        let Some(queue) = self.0.get_mut(needs) else { return };
        queue.take(place);
        if queue.complete && queue.places.is_empty() {
            self.0.remove(needs);
        }
    }

    /// A queue whose head must be read before it is known who is first, for a runner with these labels.
    pub(crate) fn worn(&self, labels: &Labels) -> Option<Labels> {
        let mut of_it = self.0.iter().filter(|(needs, _)| needs.are_all_in(labels));
        of_it.find(|(_, queue)| queue.is_worn()).map(|(needs, _)| needs.clone())
    }

    /// The head of a queue was read.
    pub(crate) fn put(&mut self, needs: Labels, queue: Queue) {
        match queue.complete && queue.places.is_empty() {
            true => self.0.remove(&needs),
            false => self.0.insert(needs, queue),
        };
    }

    /// Who is first among the jobs that a runner with these labels can take.
    pub(crate) fn first(&self, labels: &Labels) -> Option<&Place> {
        let of_it = self.0.iter().filter(|(needs, _)| needs.are_all_in(labels));
        of_it.filter_map(|(_, queue)| queue.first()).min()
    }
}
