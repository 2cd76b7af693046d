//! What was tried, and what was not.

/// What passed, and what was skipped and why. What failed is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) skipped: Vec<String>,
}
