use std::path::Path;

use super::super::spec::tests::{checked, seen};
use super::super::{Change, Connection};
use crate::side::Side;

/// A change of topics whose ends say this beside `kafka`.
fn with(keys: &str) -> String {
    format!(
        "version: 1
change: people
old: {{ kafka: \"a:9092\", {keys} }}
new: {{ kafka: \"a:9092\", {keys} }}
pairs:
  - {{ old: v1, new: v2, payload: raw }}
"
    )
}

fn change(keys: &str) -> Change {
    checked(&with(keys)).expect("nothing is wrong").0
}

/// What is wrong with the old end.
fn wrong(keys: &str) -> Vec<String> {
    let mut all = seen(&with(keys));
    all.retain(|problem| problem.contains(" 3:"));
    all
}

const LOGIN: &str = "security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, \
                     sasl.username: ada, sasl.password: \"${env:FENCE}\"";

#[test]
fn a_cluster_is_reached_as_it_says() {
    let change = change(&format!(
        "{LOGIN}, ssl.ca.location: ca.pem, ssl.certificate.location: me.pem, \
         ssl.key.location: /keys/me.key, ssl.key.password: \"${{env:DB}}\""
    ));
    let Connection::Kafka(cluster) = change.connection(Side::Old) else {
        panic!("{:?}", change.connection(Side::Old));
    };
    assert_eq!(cluster.protocol, "SASL_SSL");
    let login = cluster.login.as_ref().expect("a login");
    assert_eq!(
        (login.mechanism, login.user.expose().as_str()),
        ("SCRAM-SHA-512", "ada")
    );
    assert_eq!(login.password.expose(), "hunter2");
    let ca = cluster.ca.as_ref().expect("a file");
    assert_eq!(ca.expose(), Path::new("/srv/app/ca.pem"));
    let identity = cluster.identity.as_ref().expect("a certificate");
    assert_eq!(identity.certificate.expose(), Path::new("/srv/app/me.pem"));
    assert_eq!(identity.key.expose(), Path::new("/keys/me.key"));
    let password = identity.password.as_ref().expect("a password");
    assert_eq!(password.expose(), "hunter2.db");
    assert!(!format!("{change:?}").contains("hunter2"));
}

#[test]
fn without_a_word_it_takes_everybody_in_clear() {
    let change = change("");
    let Connection::Kafka(cluster) = change.connection(Side::Old) else {
        panic!("{:?}", change.connection(Side::Old));
    };
    assert_eq!(**cluster, super::Cluster::open("a:9092"));
}

#[test]
fn what_does_not_go_together_is_told_all_at_once() {
    assert_eq!(
        wrong("security.protocol: ssl, sasl.mechanism: GSSAPI"),
        [
            "CF0005 3:44 `security.protocol` cannot be `ssl` | Did you mean `SSL`?",
            "CF0005 3:65 `sasl.mechanism` cannot be `GSSAPI` | Known: PLAIN, SCRAM-SHA-256, \
             SCRAM-SHA-512.",
        ]
    );
    assert_eq!(
        wrong("sasl.username: ada, ssl.ca.location: ca.pem"),
        [
            "CF0005 3:40 `sasl.username` says nothing here: `security.protocol` is PLAINTEXT",
            "CF0005 3:62 `ssl.ca.location` says nothing here: `security.protocol` is PLAINTEXT",
        ]
    );
    assert_eq!(
        wrong("security.protocol: SASL_PLAINTEXT, sasl.username: ada"),
        [
            "CF0004 3:6 `old` lacks the key `sasl.mechanism`",
            "CF0004 3:6 `old` lacks the key `sasl.password`",
        ]
    );
    let both = "`ssl.certificate.location` and `ssl.key.location` go together";
    let alone = "security.protocol: SSL, ssl.certificate.location: me.pem";
    assert_eq!(wrong(alone), [format!("CF0005 3:75 {both}")]);
    let alone = "security.protocol: SSL, ssl.key.password: \"${env:DB}\"";
    assert_eq!(wrong(alone), [format!("CF0005 3:67 {both}")]);
}

/// Change files are shared, printed and kept in version control.
#[test]
fn passwords_do_not_stand_in_the_file() {
    for typed in ["hunter2", "\"\"", "\"x${env:FENCE}\"", "\"$${env:FENCE}\""] {
        let found = wrong(&LOGIN.replace("\"${env:FENCE}\"", typed));
        assert_eq!(found.len(), 1, "{typed}: {found:?}");
        assert!(found[0].contains("`sasl.password` must not stand in the file"));
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

/// One client writes to both topics.
#[test]
fn both_ends_are_reached_in_the_same_way() {
    let text = with(LOGIN).replacen("sasl.username: ada", "sasl.username: eve", 1);
    let found = seen(&text);
    assert!(
        found[0].contains("the topics are in two clusters"),
        "{found:?}"
    );
}

#[test]
fn other_ends_do_not_have_these_keys() {
    let text = with("").replace("kafka: \"a:9092\"", "sqlite: a.db, sasl.username: ada");
    assert!(
        seen(&text)
            .iter()
            .any(|problem| problem.contains("has no key `sasl.username`"))
    );
}
