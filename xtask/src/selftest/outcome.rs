//! What one run of the procedure came to, and what it must come to.

use anyhow::{Result, ensure};
use serde_json::Value;

/// What a run came to.
pub(super) struct Outcome {
    pub(super) status: i32,
    pub(super) report: Value,
    pub(super) replayed: usize,
    /// There was a remote leg too.
    pub(super) remote: bool,
}

impl Outcome {
    /// Nothing failed, and nothing was left open.
    pub(super) fn must_pass(&self) -> Result<()> {
        ensure!(
            self.status == 0,
            "the honest server did not pass (status {})",
            self.status
        );
        for leg in ["localhost", "remote"] {
            let failed = self.failed_on(leg);
            ensure!(failed.is_empty(), "on the {leg} leg failed: {failed:?}");
        }
        if self.remote {
            self.must_have_two_clients()
        } else {
            Ok(())
        }
    }

    /// The remote leg, and it alone, says that anyone may relay.
    pub(super) fn must_be_caught(&self) -> Result<()> {
        ensure!(
            self.status == 1,
            "the open relay was not caught (status {})",
            self.status
        );
        let (here, there) = (self.failed_on("localhost"), self.failed_on("remote"));
        ensure!(here.is_empty(), "the localhost leg failed too: {here:?}");
        ensure!(
            there.iter().any(|id| id == "relay-plain"),
            "relay-plain did not fail on the remote leg: {there:?}"
        );
        ensure!(
            there.iter().all(|id| id.starts_with("relay-")),
            "something else failed too: {there:?}"
        );
        self.must_have_two_clients()
    }

    /// The server saw each leg from another address, by its own Received lines.
    fn must_have_two_clients(&self) -> Result<()> {
        let (here, there) = (self.seen("localhost"), self.seen("remote"));
        ensure!(
            here.is_some() && there.is_some() && here != there,
            "the server saw the localhost leg from {here:?} and the remote leg from {there:?}"
        );
        Ok(())
    }

    fn legs(&self) -> &[Value] {
        self.report
            .get("legs")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn seen(&self, kind: &str) -> Option<&str> {
        let leg = self
            .legs()
            .iter()
            .find(|leg| leg.get("kind").and_then(Value::as_str) == Some(kind));
        leg?.get("client_seen")?.as_str()
    }

    /// The checks that failed on the legs of a kind.
    fn failed_on(&self, kind: &str) -> Vec<String> {
        let mut found = Vec::new();
        for row in self
            .report
            .get("rows")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let cells = row
                .get("cells")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for (cell, leg) in cells.zip(self.legs()) {
                let here = leg.get("kind").and_then(Value::as_str) == Some(kind);
                if here && cell.get("verdict").and_then(Value::as_str) == Some("fail") {
                    found.extend(row.get("id").and_then(Value::as_str).map(str::to_owned));
                }
            }
        }
        found
    }
}
