//! Versions of the Rust peers, for those that don't tell themselves.

/// The version of a crate in the workspace's lock file; empty if it isn't there.
pub fn locked(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or_else(String::new, |(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!(super::locked("loquat-benches"), env!("CARGO_PKG_VERSION"));
        assert_eq!(super::locked("no-such-crate"), "");
    }
}
