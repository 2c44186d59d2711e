//! Time, as a parameter: everything that decides by time asks the clock that the server was started
//! with, so that a test or a simulation can bring its own.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use windlass_run::Time;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The machine's own clock.
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}
