//! What was tried, and what was not.

/// What passed, and what was skipped and why. What failed is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) skipped: Vec<String>,
}

impl Tally {
    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped.extend(other.skipped);
    }

    /// Says both, at the end.
    pub(crate) fn print(&self) {
        println!("\npassed: {}", self.passed);
        println!("skipped: {}", self.skipped.len());
        for what in &self.skipped {
            println!("  {what}");
        }
    }
}
