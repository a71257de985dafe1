//! PostgreSQL: the suite of all ends, and what only PostgreSQL has.

mod carried;
mod corpus;
mod held;
mod server;
mod visibility;

use contraflow_testkit::conformance;

use server::Databases;

#[test]
fn postgres_passes_the_suite() {
    conformance::run(&Databases, &[]);
}
