//! SQLite: the suite of all ends, and what only SQLite has.

mod batches;
mod compares;
mod files;
mod guard;
mod load;
mod peculiar;
mod places;
mod runs;
mod sim;
mod touched;

use contraflow_testkit::conformance;

use files::Files;

#[test]
fn sqlite_passes_the_suite() {
    conformance::run(&Files::with(files::ROWID_TABLE), &[]);
}

#[test]
fn sqlite_passes_the_suite_without_rowid() {
    conformance::run(&Files::with(files::WITHOUT_ROWID_TABLE), &[]);
}

#[test]
fn sqlite_passes_the_suite_beside_another_change() {
    let script = format!("{}; {}", files::ROWID_TABLE, files::NEIGHBOUR);
    conformance::run(&Files::with(&script), &[]);
}
