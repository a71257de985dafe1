//! PostgreSQL: the suite of all ends, and what only PostgreSQL has.

mod between;
mod carried;
mod corpus;
mod crossing;
mod cut;
mod guarded;
mod held;
mod large;
mod lost;
mod power;
mod server;
mod silent;
mod spelled;
mod visibility;
mod window;

use contraflow_testkit::conformance;

use server::{Databases, Server};

fn databases(text: &'static str) -> Databases {
    let server = Server::start();
    Databases { server, text }
}

#[test]
fn postgres_passes_the_suite() {
    conformance::run(&databases("text"), &[]);
}

/// The same through sockets of the network, at a server that asks for a password.
#[test]
fn postgres_passes_the_suite_over_tcp() {
    let server = Server::over_tcp();
    let text = "text";
    conformance::run(&Databases { server, text }, &[]);
}

/// Where keys have one order everywhere, the database digests its own rows.
#[test]
fn keys_in_the_order_of_their_bytes_pass_the_suite_of_reads() {
    let of_reads = |(name, _): &conformance::Check| {
        ["read", "range", "lookup", "digests"]
            .iter()
            .any(|word| name.contains(word))
    };
    let fixture = databases("text collate \"C\"");
    for (_, check) in conformance::checks().into_iter().filter(of_reads) {
        check(&fixture);
    }
}
