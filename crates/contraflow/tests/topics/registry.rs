//! The registry of these tests, and a plain client of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;

use contraflow_testkit::registry::Registry;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// One registry for all tests of this process that leave it alone.
pub(super) fn shared() -> &'static Registry {
    static SHARED: OnceLock<(TempDir, Registry)> = OnceLock::new();
    let (_, registry) = SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Registry::start(folder.path());
        (folder, registry)
    });
    registry
}

/// Registers a schema under a subject. Says its number.
pub(super) fn register(url: &str, subject: &str, schema: &Json) -> u32 {
    register_text(url, subject, &schema.to_string())
}

/// As [`register`], as it is written.
pub(super) fn register_text(url: &str, subject: &str, schema: &str) -> u32 {
    let body = json!({ "schema": schema }).to_string();
    let (_, answer) = ask(url, "POST", &format!("subjects/{subject}/versions"), &body);
    let id = answer["id"].as_u64().expect("a number");
    u32::try_from(id).expect("a small one")
}

/// The number of the newest schema of a subject.
pub(super) fn newest(url: &str, subject: &str) -> Option<u32> {
    let path = format!("subjects/{subject}/versions/latest");
    let (status, answer) = ask(url, "GET", &path, "");
    let id = (status == 200).then(|| answer["id"].as_u64().expect("a number"));
    id.map(|id| u32::try_from(id).expect("a small one"))
}

/// One question, by hand.
fn ask(url: &str, verb: &str, path: &str, body: &str) -> (u16, Json) {
    let (host, base) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("an address with a path");
    let mut stream = TcpStream::connect(host).expect("the registry listens");
    let length = body.len();
    write!(
        stream,
        "{verb} /{base}/{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).expect("the registry says JSON");
    (status.expect("a status"), body)
}
