//! How a Kafka cluster is reached: the settings of Kafka's clients, by their names.

use std::path::PathBuf;

use super::interpolate;
use super::node::{Fields, Node, nearest};
use super::reading::Reading;
use super::secret::Secret;
use crate::code::Code;
use crate::error::Problem;

/// What `security.protocol` may be: with TLS or without, with a login or without.
const PROTOCOLS: [Protocol; 4] = [
    Protocol("PLAINTEXT", false, false),
    Protocol("SSL", true, false),
    Protocol("SASL_PLAINTEXT", false, true),
    Protocol("SASL_SSL", true, true),
];
/// What `sasl.mechanism` may be.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

#[derive(Clone, Copy)]
struct Protocol(&'static str, bool, bool);

/// A cluster, and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster<P = PathBuf> {
    /// `kafka`: its `bootstrap.servers`.
    pub servers: Secret<String>,
    /// `security.protocol`.
    pub protocol: &'static str,
    /// `sasl.*`: who this client is, when somebody must log in.
    pub login: Option<Login>,
    /// `ssl.ca.location`: a file of certificates that are trusted instead of the system's.
    pub ca: Option<Secret<P>>,
    /// `ssl.certificate.location` and `ssl.key.location`: what shows who this client is.
    pub identity: Option<Identity<P>>,
}

/// A user of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// `sasl.mechanism`.
    pub mechanism: &'static str,
    /// `sasl.username`.
    pub user: Secret<String>,
    /// `sasl.password`.
    pub password: Secret<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity<P = PathBuf> {
    /// The file of the certificate.
    pub certificate: Secret<P>,
    /// The file of its key.
    pub key: Secret<P>,
    /// `ssl.key.password`.
    pub password: Option<Secret<String>>,
}

impl<P> Cluster<P> {
    /// A cluster that takes everybody, in clear.
    #[must_use]
    pub fn open(servers: &str) -> Cluster<P> {
        Cluster {
            servers: Secret::new(servers.to_owned(), servers),
            protocol: PROTOCOLS[0].0,
            login: None,
            ca: None,
            identity: None,
        }
    }

    pub(super) fn map<Q>(self, convert: impl Fn(P) -> Q) -> Cluster<Q> {
        let identity = |identity: Identity<P>| Identity {
            certificate: identity.certificate.map(&convert),
            key: identity.key.map(&convert),
            password: identity.password,
        };
        Cluster {
            servers: self.servers,
            protocol: self.protocol,
            login: self.login,
            ca: self.ca.map(|file| file.map(&convert)),
            identity: self.identity.map(identity),
        }
    }
}

impl Reading<'_> {
    /// The keys beside `kafka`.
    pub(super) fn cluster(
        &mut self,
        fields: &mut Fields<'_>,
        servers: Option<Secret<String>>,
    ) -> Option<Cluster<String>> {
        let before = self.problems.len();
        let protocol = match fields.optional("security.protocol") {
            None => Some(PROTOCOLS[0]),
            Some(node) => {
                let names = PROTOCOLS.map(|protocol| protocol.0);
                let found = self.one_of("security.protocol", node, &names);
                found.map(|at| PROTOCOLS[at])
            }
        };
        let login = self.login(fields, protocol);
        let mut file = |key: &'static str| self.beside(fields, key, protocol.map(|it| (it, it.1)));
        let ca = file("ssl.ca.location");
        let certificate = file("ssl.certificate.location");
        let key = file("ssl.key.location");
        let password = file("ssl.key.password");
        let mut path = |node: Option<&Node>, what: &str| Some(self.setting(what, node?)?.value);
        let ca = path(ca, "`ssl.ca.location`");
        let names = path(certificate, "`ssl.certificate.location`");
        let opens = path(key, "`ssl.key.location`");
        let hidden = password.and_then(|node| self.hidden("ssl.key.password", node));
        if let Some(node) = certificate.or(key).or(password)
            && (certificate.is_none() || key.is_none())
        {
            let message = "`ssl.certificate.location` and `ssl.key.location` go together";
            self.invalid(node.place, message);
        }
        if self.problems.len() > before {
            return None;
        }
        Some(Cluster {
            servers: servers?,
            protocol: protocol?.0,
            login,
            ca,
            identity: names.zip(opens).map(|(certificate, key)| Identity {
                certificate,
                key,
                password: hidden,
            }),
        })
    }

    fn login(&mut self, fields: &mut Fields<'_>, protocol: Option<Protocol>) -> Option<Login> {
        let mut part = |key: &'static str| {
            let found = self.beside(fields, key, protocol.map(|it| (it, it.2)));
            if found.is_none() && protocol.is_some_and(|protocol| protocol.2) {
                let _: Option<&Node> = fields.required(key, &mut self.problems);
            }
            found
        };
        let mechanism = part("sasl.mechanism");
        let user = part("sasl.username");
        let password = part("sasl.password");
        let mechanism = mechanism.and_then(|node| self.one_of("sasl.mechanism", node, &MECHANISMS));
        let user = user.and_then(|node| self.setting("`sasl.username`", node));
        let password = password.and_then(|node| self.hidden("sasl.password", node));
        Some(Login {
            mechanism: MECHANISMS[mechanism?],
            user: user?.value,
            password: password?,
        })
    }

    /// A key that says something with some protocols only.
    fn beside<'n>(
        &mut self,
        fields: &mut Fields<'n>,
        key: &'static str,
        protocol: Option<(Protocol, bool)>,
    ) -> Option<&'n Node> {
        let node = fields.optional(key)?;
        if let Some((Protocol(name, ..), false)) = protocol {
            let message = format!("`{key}` says nothing here: `security.protocol` is {name}");
            self.invalid(node.place, message);
            return None;
        }
        Some(node)
    }

    /// Which of some words a key is.
    fn one_of(&mut self, key: &str, node: &Node, words: &[&str]) -> Option<usize> {
        let what = format!("`{key}`");
        let found = self.setting(&what, node)?.value;
        let at = words.iter().position(|word| word == found.expose());
        if at.is_none() {
            let message = format!("{what} cannot be `{found}`");
            let hint = match nearest(&found.to_string().to_uppercase(), words) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Known: {}.", words.join(", ")),
            };
            let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
            self.problems.push(problem.hint(hint));
        }
        at
    }

    /// What must not stand in the file, and is shown nowhere.
    fn hidden(&mut self, key: &str, node: &Node) -> Option<Secret<String>> {
        let what = format!("`{key}`");
        if interpolate::is_typed(self.text(&what, node)?, node.place) {
            let message = format!("{what} must not stand in the file");
            let hint = "Write `${env:NAME}` or `${file:path}`: files are shared and shown.";
            let problem = Problem::error(Code::VALUE_INVALID, message).place(Some(node.place));
            self.problems.push(problem.hint(hint));
            return None;
        }
        Some(self.setting(&what, node)?.value)
    }
}

#[cfg(test)]
mod tests;
