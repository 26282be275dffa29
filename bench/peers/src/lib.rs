//! Nothing: the versions stand in `Cargo.toml`.
