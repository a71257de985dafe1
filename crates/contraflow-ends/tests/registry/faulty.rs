//! Registries that answer what no registry should, and what only some do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use contraflow_core::code::Code;
use contraflow_core::codec::payload::{SchemaId, Schemas};
use contraflow_core::error::{Error, Kind};
use contraflow_ends::registry::{Registry, Source, Verdict};

use super::client;

const SCHEMA: &str = r#"{"schema":"\"int\""}"#;

/// Runs a client against a server that gives these answers, one for each question, and returns the
/// questions.
fn told<T>(
    answers: &[(u16, &str)],
    user_info: Option<&str>,
    ask: impl FnOnce(&Registry) -> T,
) -> (T, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let mut stream = BufReader::new(listener.accept().unwrap().0);
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let at = head.len();
                    stream.read_line(&mut head).unwrap();
                    let line = head[at..].to_ascii_lowercase();
                    if let Some(bytes) = line.strip_prefix("content-length:") {
                        length = bytes.trim().parse().unwrap();
                    }
                }
                let mut sent = vec![0; length];
                stream.read_exact(&mut sent).unwrap();
                asked.push(head + &String::from_utf8(sent).unwrap());
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let (registry, _clock) = client(&format!("http://{address}/base/"), user_info);
        let answer = ask(&registry);
        drop(registry);
        (answer, server.join().unwrap())
    })
}

fn by_id(registry: &Registry) -> Result<(), Error> {
    registry.by_id(SchemaId(7)).map(|_| ())
}

#[test]
fn questions_go_below_the_given_path_with_the_users_name() {
    for (user_info, expected) in [(Some("Aladdin:open sesame"), true), (None, false)] {
        let (answer, asked) = told(&[(200, SCHEMA)], user_info, by_id);
        answer.unwrap();
        assert!(asked[0].starts_with("GET /base/schemas/ids/7 HTTP/1.1\r\n"));
        let user = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert_eq!(asked[0].contains(user), expected);
        assert_eq!(asked[0].contains("authorization"), expected);
    }
}

#[test]
fn a_registry_that_is_busy_is_asked_again_but_not_for_ever() {
    let busy = [(503, ""), (429, ""), (200, SCHEMA)];
    told(&busy, None, by_id).0.unwrap();
    let error = told(&[(503, ""); 3], None, by_id).0.unwrap_err();
    assert_eq!(
        (error.code, error.kind),
        (Code::REGISTRY_UNREACHABLE, Kind::Hold)
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it answered with status 503, 3 times");
}

#[test]
fn a_schema_is_asked_for_once() {
    let (twice, asked) = told(&[(200, SCHEMA)], None, |registry| {
        by_id(registry).and_then(|()| by_id(registry))
    });
    twice.unwrap();
    assert_eq!(asked.len(), 1);
}

#[test]
fn answers_that_no_registry_gives_are_refused_with_their_code() {
    let unauthorised = r#"{"error_code":401,"message":"Unauthorized"}"#;
    for (status, body, code, kind) in [
        (
            401,
            unauthorised,
            Code::REGISTRY_REFUSED,
            Kind::Precondition,
        ),
        (400, "<html>", Code::REGISTRY_REFUSED, Kind::Precondition),
        (200, "<html>", Code::REGISTRY_REFUSED, Kind::Precondition),
        (200, "{}", Code::REGISTRY_REFUSED, Kind::Precondition),
        (404, "", Code::SCHEMA_UNKNOWN, Kind::Data),
        (
            200,
            r#"{"schema":"\"what\""}"#,
            Code::SCHEMA_UNUSABLE,
            Kind::Hold,
        ),
        (
            200,
            r#"{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}"#,
            Code::SCHEMA_UNUSABLE,
            Kind::Hold,
        ),
    ] {
        let error = told(&[(status, body)], None, by_id).0.unwrap_err();
        assert_eq!((error.code, error.kind), (code, kind), "{status} {body}");
        if body == unauthorised {
            assert_eq!(error.detail.as_deref(), Some("Unauthorized"));
            assert!(error.hint.unwrap().contains("basic.auth.user.info"));
        }
    }
}

#[test]
fn references_in_a_circle_come_to_an_end() {
    let circle = |version: u32| {
        format!(
            r#"{{"schema":"\"int\"","references":[{{"name":"a","subject":"s","version":{version}}}]}}"#
        )
    };
    let answers = [circle(1), circle(2), circle(1)];
    let answers: Vec<(u16, &str)> = answers.iter().map(|body| (200, body.as_str())).collect();
    told(&answers, None, by_id).0.unwrap();
}

#[test]
fn a_verdict_comes_with_the_registrys_reasons() {
    let body = r#"{"is_compatible":false,"messages":["READER_FIELD_MISSING_DEFAULT_VALUE"]}"#;
    let (verdict, asked) = told(&[(200, body)], None, |registry| {
        registry
            .compatible("a/b-value", &Source::new("\"int\""))
            .unwrap()
    });
    let reasons = vec!["READER_FIELD_MISSING_DEFAULT_VALUE".to_owned()];
    assert_eq!(verdict, Verdict::Incompatible(reasons));
    let path = "POST /base/compatibility/subjects/a%2Fb-value/versions/latest?verbose=true ";
    assert!(asked[0].starts_with(path) && asked[0].ends_with(r#"{"schema":"\"int\""}"#));
}
