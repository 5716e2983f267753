//! Nothing but tests: see `it/`, which has a file per topic.
