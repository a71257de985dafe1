//! Questions over HTTP, asked again when nobody answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Result};
use serde::Serialize;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http};

use super::Settings;
use super::answer::Refusal;

/// How often a question is asked before the registry counts as down.
const TRIES: u32 = 3;
/// The wait before the second try; each further one is four times as long. Together with the
/// tries this stays below the time in which a group coordinator gives a consumer up.
const WAIT: Duration = Duration::from_millis(100);
/// How long one try may take.
const TRY_MAX: Duration = Duration::from_secs(5);
/// The longest answer: a schema of the largest size with every letter escaped.
const ANSWER_BYTES_MAX: u64 = 12 << 20;

const MEDIA: &str = "application/vnd.schemaregistry.v1+json";

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("{what}, {TRIES} times")]
pub(super) struct Shut {
    what: String,
}

/// What came back.
pub(super) enum Answer {
    Given(String),
    Refused(Refusal),
}

pub(super) struct Door {
    agent: Agent,
    /// Without a slash at the end, and without a password.
    base: String,
    authorization: Option<String>,
    clock: Arc<dyn Clock>,
}

impl Door {
    pub(super) fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Door> {
        let url = settings.url.expose();
        let wrong = || {
            let message = format!("`{}` is not the address of a registry", settings.url);
            Error::new(Kind::Config, Code::VALUE_INVALID, message)
                .hint("Write `http://host:port` or `https://host:port`.")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let path = rest.find('/').unwrap_or(rest.len());
        let (user, host) = match rest[..path].rsplit_once('@') {
            Some((user, host)) => (Some(unescaped(user).ok_or_else(wrong)?), host),
            None => (None, &rest[..path]),
        };
        if !matches!(scheme, "http" | "https") || host.is_empty() || rest.contains(['?', '#', ' '])
        {
            return Err(wrong());
        }
        let config = Agent::config_builder()
            .timeout_global(Some(TRY_MAX))
            .http_status_as_error(false)
            // Registries stand beside their brokers: they are reached directly.
            .proxy(None);
        let config = match scheme {
            "https" => config.tls_config(tls(settings)?),
            _ => config,
        };
        let given = settings
            .user_info
            .as_ref()
            .map(|user| user.expose().clone());
        let user = given.or(user);
        let path = rest[path..].trim_end_matches('/');
        Ok(Door {
            agent: config.build().into(),
            base: format!("{scheme}://{host}{path}"),
            authorization: user.map(|user| format!("Basic {}", BASE64.encode(user))),
            clock,
        })
    }

    pub(super) fn get(&self, path: &str) -> std::result::Result<Answer, Shut> {
        self.asked(|| {
            let request = self.agent.get(format!("{}/{path}", self.base));
            let request = request.header("accept", MEDIA);
            match &self.authorization {
                Some(user) => request.header("authorization", user).call(),
                None => request.call(),
            }
        })
    }

    /// Asks with a body. Asked twice, the questions of a registry have the same effect as once.
    pub(super) fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> std::result::Result<Answer, Shut> {
        let body = serde_json::to_string(body).expect("texts and numbers have a JSON form");
        self.asked(|| {
            let request = self.agent.post(format!("{}/{path}", self.base));
            let request = request.header("accept", MEDIA).content_type(MEDIA);
            match &self.authorization {
                Some(user) => request.header("authorization", user).send(&body),
                None => request.send(&body),
            }
        })
    }

    fn asked(
        &self,
        mut ask: impl FnMut() -> std::result::Result<http::Response<Body>, ureq::Error>,
    ) -> std::result::Result<Answer, Shut> {
        let mut wait = WAIT;
        let mut left = TRIES;
        loop {
            let what = match ask().and_then(heard) {
                Ok((status, text)) if (200..300).contains(&status) => {
                    return Ok(Answer::Given(text));
                }
                Ok((status, body)) if status < 500 && status != 429 => {
                    return Ok(Answer::Refused(Refusal { status, body }));
                }
                Ok((status, _)) => format!("it answered with status {status}"),
                Err(error) => said(&error),
            };
            left -= 1;
            if left == 0 {
                return Err(Shut { what });
            }
            self.clock.sleep(wait);
            wait *= 4;
        }
    }
}

fn heard(mut response: http::Response<Body>) -> std::result::Result<(u16, String), ureq::Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    Ok((status, body.read_to_string()?))
}

/// The client's words without the address, which the reader knows and which may hold a password.
fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        ureq::Error::HostNotFound => "its host was not found".to_owned(),
        ureq::Error::Io(cause) => match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(fault) => untrusted(fault),
            None => format!("it cannot be reached ({})", cause.kind()),
        },
        ureq::Error::ConnectionFailed => "it cannot be reached".to_owned(),
        ureq::Error::Rustls(fault) => untrusted(fault),
        ureq::Error::BodyExceedsLimit(_) => "its answer was too long".to_owned(),
        _ => "it does not speak HTTP".to_owned(),
    }
}

fn untrusted(fault: &rustls::Error) -> String {
    format!("its TLS was not taken ({fault})")
}

fn tls(settings: &Settings) -> Result<TlsConfig> {
    let roots: Vec<Certificate<'static>> = match &settings.ca {
        None => {
            let found = rustls_native_certs::load_native_certs().certs.into_iter();
            found
                .map(|der| Certificate::from_der(&der).to_owned())
                .collect()
        }
        Some(file) => {
            let shown = file.display();
            let pem = std::fs::read(file).map_err(|cause| {
                let message = format!("`{shown}` cannot be read");
                Error::new(Kind::Config, Code::FILE_UNREADABLE, message).because(cause)
            })?;
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            certificates.collect()
        }
    };
    if roots.is_empty() {
        let message = "there are no certificates to trust";
        let error = Error::new(Kind::Config, Code::VALUE_INVALID, message);
        return Err(error.hint("Give a PEM file as `schema.registry.ssl.ca.location`."));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// A name as a part of a path.
pub(super) fn escaped(name: &str) -> Escaped<'_> {
    Escaped(name)
}

pub(super) struct Escaped<'n>(&'n str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// The text that was escaped for an address.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
