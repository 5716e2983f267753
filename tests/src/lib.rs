//! Nothing but tests: see `it/`, whose folders mirror the URLs.
