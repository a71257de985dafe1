//! The same change through a socket of the machine and over TCP.

use contraflow_core::probe::Point;

use super::bank::BANK;
use super::live;
use super::servers::Server;
use super::stage::{Layout, Stage};

/// A whole life, and the addresses that our sessions of every kind come from while it copies.
fn lives(server: &'static Server, address: &str) {
    let stage = Stage::on([server, server], BANK, Layout::TwoDatabases);
    let at = format!("{}:1", Point::CHUNK_READ.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    run.until_stopped();
    let seen = "select distinct application_name || ' ' || coalesce(host(client_addr), 'local')
        from pg_stat_activity where application_name like 'contraflow%'
          and datname = current_database() order by 1";
    let kinds = ["contraflow scan", "contraflow feed", "contraflow"];
    let mut named = kinds.map(|kind| format!("{kind} {address}\n"));
    named.sort();
    assert_eq!(stage.sql("old", seen), named.concat());
    run.signal("-CONT");
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    live(&stage, None);
}

#[test]
fn a_change_lives_over_the_socket_of_the_machine() {
    lives(Server::own(), "local");
}

#[test]
fn a_change_lives_over_tcp_with_a_password() {
    let server = Server::over_tcp();
    lives(server, "127.0.0.1");
    let stage = Stage::on([server, server], BANK, Layout::TwoDatabases);
    let url = stage.url("old").replace("password=hush", "password=wrong");
    stage.declare(&url);
    let said = stage.says(&["check"], 2, &["CF0101", "password authentication failed"]);
    assert!(!said.contains("wrong"), "{said}");
}
