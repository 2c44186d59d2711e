//! Clients: each asks for its task, again and again, until it is told that it was accepted.

use super::{
    random::Random,
    world::{Call, Event, World},
};

/// The tasks that clients want.
pub(super) struct Clients {
    pub tasks: Vec<Task>,
}

/// One task.
pub(super) struct Task {
    /// How many steps it has, the last one a pull request if `publishes`.
    pub steps: u64,
    /// True if it ends in a pull request.
    pub publishes: bool,
    /// True if steps of all shapes come before those.
    pub is_tree: bool,
    /// True once the client knows that it was accepted.
    pub is_accepted: bool,
}

impl Clients {
    pub(super) fn new(random: &mut Random) -> Self {
        let tasks = (0..random.between(2, 7)).map(|_| Task {
            steps: random.number() % 3 + 1,
            publishes: !random.one_in(3),
            is_tree: random.one_in(3),
            is_accepted: false,
        });
        Self { tasks: tasks.collect() }
    }

    pub(super) fn all_accepted(&self) -> bool {
        self.tasks.iter().all(|task| task.is_accepted)
    }
}

impl World {
    /// A client asks, and asks again later if it hears nothing.
    pub(super) fn ask(&mut self, task: usize) {
        if self.clients.tasks[task].is_accepted {
            return;
        }
        self.send(Event::Call(Call::Create { task }));
        let patience = self.random.between(2_000, 8_000);
        self.after(patience, Event::Ask { task });
    }

    /// A client learns that its task was accepted.
    pub(super) fn accepted(&mut self, task: usize) {
        self.clients.tasks[task].is_accepted = true;
    }
}
