//! The client of schema registries, against a real one and against ones that misbehave.

mod faulty;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use contraflow_core::change::secret::Secret;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::codec::payload::{Avro, Names, Payload, SchemaId, Schemas, undeclared_of};
use contraflow_core::error::Kind;
use contraflow_core::side::Side;
use contraflow_core::value::Value;
use contraflow_ends::registry::{Part, Reference, Registry, Settings, Source, Verdict, subject};
use contraflow_testkit::clock::SimClock;
use contraflow_testkit::registry as server;
use tempfile::TempDir;

/// The registry of this binary. Its folder goes with the next cleaning of the system's own.
static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    server: server::Registry,
    _folder: TempDir,
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::Builder::new().prefix("cf-sr-").tempdir().unwrap();
        Server {
            server: server::Registry::start(folder.path()),
            _folder: folder,
        }
    }
}

/// A client, and the clock on which it waits.
fn client(url: &str, user_info: Option<&str>) -> (Registry, Arc<SimClock>) {
    let secret = |text: &str| Secret::new(text.to_owned(), "hidden");
    let settings = Settings {
        url: secret(url),
        user_info: user_info.map(secret),
        ca: None,
    };
    let clock = Arc::new(SimClock::default());
    let given = Arc::clone(&clock);
    (Registry::new(&settings, given).unwrap(), clock)
}

/// A client of the registry of all tests.
fn real() -> Registry {
    client(&SERVER.get_or_init(Server::start).server.url(), None).0
}

fn person(more: &str) -> Source {
    let name = r#"{"name":"name","type":"string"}"#;
    Source::new(format!(
        r#"{{"type":"record","name":"Person","fields":[{name}{more}]}}"#
    ))
}

const AGE: &str = r#",{"name":"age","type":["null","int"],"default":null}"#;
const NAMES: Names<'static> = Names {
    whole: "key",
    rest: "(undeclared of old)",
};

#[test]
fn a_schema_is_registered_once_and_found_by_subject_and_number() {
    let registry = real();
    let subject = subject("people/ä one", Part::Value);
    assert_eq!(subject, "people/ä one-value");
    assert_eq!(registry.latest(&subject).unwrap(), None);
    let first = registry.register(&subject, &person("")).unwrap();
    assert_eq!(registry.register(&subject, &person("")).unwrap(), first);
    let second = registry.register(&subject, &person(AGE)).unwrap();
    assert_ne!(first, second);
    let latest = registry.latest(&subject).unwrap().unwrap();
    assert_eq!((latest.id(), latest.version), (second, 2));
    assert_eq!(latest.source, person(AGE));
    assert_eq!(registry.by_id(first).unwrap().fields("").unwrap().len(), 1);
    assert_eq!(registry.by_id(second).unwrap().fields("").unwrap().len(), 2);
}

#[test]
fn payloads_are_read_with_the_schema_that_they_name() {
    let registry = Arc::new(real());
    let old = registry.register("seen-value", &person("")).unwrap();
    let new = registry.register("seen-value", &person(AGE)).unwrap();
    let schemas = || Arc::clone(&registry) as Arc<dyn Schemas>;
    let [reader, writer] = [old, new].map(|id| Avro::new(id, schemas(), NAMES).unwrap());
    let (mut payload, mut row) = (Vec::new(), Vec::new());
    let values = [Value::Text("Ada".into()), Value::Int(7), Value::Absent];
    writer.write(&values, &mut payload).unwrap();
    let context = reader.read(&payload, &mut row).unwrap();
    assert_eq!(context.schema, Some(new));
    let Value::Record(rest) = &row[1] else {
        panic!("nothing is undeclared")
    };
    assert!(rest.extras == [("age".to_owned(), Value::Int(7))]);
    assert_eq!(reader.fields()[1].name, undeclared_of(Side::Old));
}

#[test]
fn schemas_use_others_that_use_others() {
    let registry = real();
    let reference = |name: &str| Reference {
        name: name.to_owned(),
        subject: format!("ref-{name}"),
        version: 1,
    };
    let zip = Source::new(r#"{"type":"fixed","name":"geo.Zip","size":2}"#);
    let home = r#"{"type":"record","name":"geo.Home","fields":[{"name":"zip","type":"Zip"}]}"#;
    let home = Source::new(home).using(vec![reference("geo.Zip")]);
    let person = r#"{"type":"record","name":"P","fields":[
        {"name":"home","type":"geo.Home"},{"name":"zip","type":"geo.Zip"}]}"#;
    let uses = vec![reference("geo.Home"), reference("geo.Zip")];
    let person = Source::new(person).using(uses);
    registry.register("ref-geo.Zip", &zip).unwrap();
    registry.register("ref-geo.Home", &home).unwrap();
    let id = registry.register("ref-value", &person).unwrap();
    let fields = registry.by_id(id).unwrap().fields("").unwrap();
    assert_eq!(fields[0].ty.name(), "record");
    assert_eq!(fields[1].ty.name(), "bytes");
}

#[test]
fn a_number_that_nobody_gave_is_a_fault_of_the_record() {
    let error = real().by_id(SchemaId(4_000_000)).unwrap_err();
    assert_eq!((error.code, error.kind), (Code::SCHEMA_UNKNOWN, Kind::Data));
}

#[test]
fn other_formats_and_broken_schemas_are_named() {
    let registry = real();
    let error = registry
        .register("broken-value", &Source::new("{"))
        .unwrap_err();
    assert_eq!(error.code, Code::REGISTRY_REFUSED);
    let id = registry
        .register(
            "loop-value",
            &Source::new(
                r#"{"type":"record","name":"T","fields":[{"name":"t","type":["null","T"]}]}"#,
            ),
        )
        .unwrap();
    let error = Avro::new(id, Arc::new(registry), NAMES).unwrap_err();
    assert_eq!(error.code, Code::SCHEMA_UNUSABLE);
}

#[test]
fn the_registrys_own_rule_is_asked() {
    let registry = real();
    assert_eq!(
        registry.compatible("fresh-value", &person("")).unwrap(),
        Verdict::Compatible
    );
    registry.register("rule-value", &person("")).unwrap();
    let verdict = registry.compatible("rule-value", &person(AGE)).unwrap();
    assert_eq!(verdict, Verdict::Compatible);
}

#[test]
fn when_the_registry_is_down_known_schemas_flow_on_and_others_hold() {
    let mut server = Server::start();
    let (registry, clock) = client(&server.server.url(), None);
    let known = registry.register("down-value", &person("")).unwrap();
    let other = registry.register("down-value", &person(AGE)).unwrap();
    let registry = Arc::new(registry);
    let schemas = Arc::clone(&registry) as Arc<dyn Schemas>;
    let avro = Avro::new(known, schemas, NAMES).unwrap();
    let (mut payload, mut row) = (Vec::new(), Vec::new());
    let values = [Value::Text("Ada".into()), Value::Absent];
    avro.write(&values, &mut payload).unwrap();

    server.server.kill();
    avro.read(&payload, &mut row).unwrap();
    assert!(row == values && clock.elapsed() == Duration::ZERO);
    payload[1..5].copy_from_slice(&other.0.to_be_bytes());
    payload.push(0);
    let error = avro.read(&payload, &mut row).unwrap_err();
    let held = (Code::REGISTRY_UNREACHABLE, Kind::Hold);
    assert_eq!((error.code, error.kind), held);
    assert_eq!(clock.elapsed(), Duration::from_millis(500));
    let error = registry.latest("down-value").unwrap_err();
    assert_eq!(error.code, Code::REGISTRY_UNREACHABLE);

    server.server.start_again();
    registry.register("down-value", &person("")).unwrap();
    registry.register("down-value", &person(AGE)).unwrap();
    row.clear();
    avro.read(&payload, &mut row).unwrap();
    let Value::Record(rest) = &row[1] else {
        panic!("nothing is undeclared")
    };
    assert!(rest.extras == [("age".to_owned(), Value::Null)]);
}
