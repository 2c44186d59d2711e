//! Beside engines of other languages, which answer all cases in one process.
