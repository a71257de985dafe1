//! `contraflow verify`: a full pass over both ends, and what differs.

use std::path::PathBuf;

use contraflow_core::ledger::Answer;
use contraflow_core::phase::Ask;
use contraflow_engine::runner::requests::Verified;

use crate::Exit;
use crate::cmd::ask;
use crate::output::Output;

/// Compare both ends through the mapping, whole.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// Name the keys that differ, as `diff` and `repair` take them. Keys are row values: they are
    /// kept in the ledger with the answer.
    #[arg(long)]
    pub keys: bool,
}

/// Compares. Exit 0 when everything was compared and nothing differs.
///
/// # Errors
/// When the change cannot be opened or the answer cannot be had.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let ask = Ask::Verify { keys: args.keys };
    ask::run_showing("verify", args.change.as_ref(), &ask, out, show)
}

fn show(answer: &Answer, out: &mut Output) -> anyhow::Result<()> {
    let Some(data) = &answer.data else {
        return Ok(());
    };
    let verified: Verified = serde_json::from_str(data)?;
    let total = verified.diverged + verified.unproven;
    for finding in &verified.findings {
        let key = finding.key.as_ref().map(|key| key.join(","));
        let key = key.map_or(String::new(), |key| format!("  key {key}"));
        let fields = finding.fields.join(", ");
        out.human(&format!(
            "{:<20} {:<10}{key}  {fields}",
            finding.table, finding.kind
        ))?;
    }
    let named = verified.findings.len() as u64;
    if total > named {
        out.human(&format!("and {} more", total - named))?;
    }
    Ok(())
}
