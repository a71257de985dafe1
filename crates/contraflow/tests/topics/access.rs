//! A cluster that looks at who comes: by certificate, by login, with TLS and without.

use std::path::PathBuf;
use std::sync::OnceLock;

use contraflow_testkit::kafka::{Door, Kafka};
use tempfile::TempDir;

use super::stage::{Kind, Stage};
use super::story::whole_life;

/// One guarded broker for all tests of this process.
pub(super) struct Guarded {
    folder: TempDir,
    pub(super) broker: Kafka,
}

impl Guarded {
    pub(super) fn shared() -> &'static Guarded {
        static SHARED: OnceLock<Guarded> = OnceLock::new();
        SHARED.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let broker = Kafka::with(folder.path(), &["--guarded"]);
            Guarded { folder, broker }
        })
    }

    /// A file that the broker's certificates were made with.
    fn tls(&self, name: &str) -> PathBuf {
        self.folder.path().join("server/tls").join(name)
    }

    /// A change whose program comes by this door and says this beside `kafka`.
    pub(super) fn stage(&self, door: Door, keys: &str) -> Stage {
        let mut stage = Stage::at(&self.broker.servers(), Kind::Raw);
        stage.reach = format!("kafka: \"{}\", {keys}", self.broker.at(door));
        stage.declare("    payload: raw\n", "");
        stage
    }

    fn login(&self, protocol: &str, mechanism: &str, user: &str) -> String {
        let ca = self.tls("ca.pem");
        let trust = format!("ssl.ca.location: {}, ", ca.display());
        let trust = if protocol == "SASL_SSL" { &trust } else { "" };
        format!(
            "security.protocol: {protocol}, sasl.mechanism: {mechanism}, {trust}\
             sasl.username: {user}, sasl.password: \"${{file:password}}\""
        )
    }

    /// What a user says who logs in with TLS.
    pub(super) fn user(&self, user: &str) -> Stage {
        let stage = self.stage(Door::Login, &self.login("SASL_SSL", "SCRAM-SHA-512", user));
        password(&stage, &format!("{user}-secret"));
        stage
    }
}

fn password(stage: &Stage, password: &str) {
    std::fs::write(stage.dir.path().join("password"), password).expect("a file");
}

impl Guarded {
    /// What whoever has a certificate says.
    fn certified(&self) -> Stage {
        let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|it| self.tls(it));
        let keys = format!(
            "security.protocol: SSL, ssl.ca.location: {}, ssl.certificate.location: {}, \
             ssl.key.location: {}, ssl.key.password: \"${{file:password}}\"",
            ca.display(),
            certificate.display(),
            key.display()
        );
        let stage = self.stage(Door::Certificate, &keys);
        password(&stage, "client-secret");
        stage
    }
}

#[test]
fn a_change_comes_with_a_certificate() {
    let stage = Guarded::shared().certified();
    stage.make_topics();
    whole_life(&stage);
}

#[test]
fn a_change_logs_in() {
    let stage = Guarded::shared().user("mirror");
    stage.make_topics();
    whole_life(&stage);
}

#[test]
fn every_mechanism_logs_in() {
    let guarded = Guarded::shared();
    let ways = [
        (Door::Login, "SASL_SSL", "PLAIN"),
        (Door::Login, "SASL_SSL", "SCRAM-SHA-256"),
        (Door::LoginInClear, "SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ];
    for (door, protocol, mechanism) in ways {
        let stage = guarded.stage(door, &guarded.login(protocol, mechanism, "mirror"));
        password(&stage, "mirror-secret");
        stage.make_topics();
        stage.says(&["doctor"], 0, &["nothing is in the way"]);
    }
}

/// Each says, before anybody loses patience, what is wrong, and nothing of the password.
#[test]
fn whoever_is_not_let_in_is_told_why() {
    let guarded = Guarded::shared();
    let login = guarded.login("SASL_SSL", "SCRAM-SHA-512", "mirror");
    let clear = guarded.login("SASL_PLAINTEXT", "PLAIN", "mirror");
    let [ca, other] = ["ca.pem", "client.pem"].map(|it| guarded.tls(it).display().to_string());
    let tls = format!("security.protocol: SSL, ssl.ca.location: {ca}");
    let ways = [
        (Door::Login, login.clone(), "`mirror` is not logged in"),
        (
            Door::LoginInClear,
            clear.clone(),
            "Correct `sasl.username` and `sasl.password`",
        ),
        (
            Door::Login,
            login.replace(&ca, &other),
            "signed it: `ssl.ca.location`",
        ),
        (Door::Open, login, "Compare `security.protocol`"),
        (Door::Open, clear, "Compare `security.protocol`"),
        (Door::Login, String::new(), "Compare `security.protocol`"),
        (
            Door::LoginInClear,
            String::new(),
            "Compare `security.protocol`",
        ),
        (Door::Login, tls.clone(), "Compare `security.protocol`"),
        (
            Door::Certificate,
            tls,
            "`ssl.certificate.location`, `ssl.key.location`",
        ),
    ];
    std::thread::scope(|scope| {
        for (door, keys, words) in &ways {
            scope.spawn(move || {
                let stage = guarded.stage(*door, keys);
                password(&stage, "hunter2");
                let said = stage.says(&["check"], 2, &["CF0116", words]);
                assert!(!said.contains("hunter2"), "{said}");
            });
        }
    });
}
