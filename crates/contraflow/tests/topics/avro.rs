//! Avro on a real Kafka with a real registry. What should stand on each topic is written by an
//! implementation of Avro that shares no code with the program.

use std::ops::Range;

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use contraflow_testkit::registry::Registry;
use serde_json::{Value as Json, json};

use super::audit::{holds, read};
use super::broker::Written;
use super::registry::{newest, register, shared};
use super::stage::{Kind, PARTITIONS, Stage};
use crate::live::process::reached_in_time;

/// The schemas are those of two files, whatever else is registered.
pub(super) const MAPPED: &str = "    payload: {avro: {old: old.avsc, new: new.avsc}}
    mapping:
      - rename: {from: name, to: full_name}
      - convert: {field: age, to: text, on_fail: {down: letter}}
";

fn record(fields: &[Json]) -> Json {
    json!({"type": "record", "name": "Person", "fields": fields})
}

/// What the old producer writes.
pub(super) fn first() -> Json {
    let note = json!({"name": "note", "type": ["null", "string"], "default": null});
    record(&[
        json!({"name": "id", "type": "long"}),
        json!({"name": "name", "type": "string"}),
        json!({"name": "age", "type": "int"}),
        note,
    ])
}

/// What a newer one of the old topic writes: fields in another order, and one more.
pub(super) fn evolved() -> Json {
    let mut schema = first();
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.reverse();
    fields.push(json!({"name": "mail", "type": "string", "default": ""}));
    schema
}

/// What the new producer writes.
pub(super) fn second() -> Json {
    record(&[
        json!({"name": "full_name", "type": "string"}),
        json!({"name": "age", "type": "string"}),
        json!({"name": "id", "type": "long"}),
        json!({"name": "note", "type": ["null", "string"], "default": null}),
        json!({"name": "city", "type": "string", "default": "?"}),
    ])
}

fn with_active(mut schema: Json, ty: &str, default: &Json) -> Json {
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.push(json!({"name": "active", "type": ty, "default": default}));
    schema
}

/// How a producer writes: a schema, its number, and what is written for the new field.
pub(super) struct Form<'f> {
    schema: Json,
    id: u32,
    city: &'f str,
}

impl Form<'_> {
    fn value(&self, n: i64) -> Vec<u8> {
        let text = |text: String| Avro::String(text);
        let name = text(format!("Ada {n}"));
        let note = match n % 2 {
            0 => Avro::Union(0, Box::new(Avro::Null)),
            _ => Avro::Union(1, Box::new(text(format!("note {n}")))),
        };
        let years = i32::try_from(n % 90).expect("small");
        let fields = self.schema["fields"].as_array().expect("fields").iter();
        let member = |field: &Json| {
            let called = field["name"].as_str().expect("a name");
            let value = match called {
                "id" => Avro::Long(n),
                "name" | "full_name" => name.clone(),
                "age" if field["type"] == "int" => Avro::Int(years),
                "age" => text(years.to_string()),
                "note" => note.clone(),
                "mail" => text(format!("{n}@example.org")),
                _ => text(self.city.to_owned()),
            };
            (called.to_owned(), value)
        };
        let schema = apache_avro::Schema::parse(&self.schema).expect("a schema");
        let writer = GenericDatumWriter::builder(&schema).build();
        let value = Avro::Record(fields.map(member).collect());
        let bytes = writer.expect("a writer").write_value_to_vec(value);
        let mut framed = vec![0];
        framed.extend(self.id.to_be_bytes());
        framed.extend(bytes.expect("it fits"));
        framed
    }

    /// Records as of any producer, with values of this form.
    pub(super) fn records(&self, stage: &Stage, numbers: Range<i64>) -> Vec<Written> {
        let mut all = stage.records(numbers.clone(), "old");
        for (n, written) in numbers.zip(&mut all) {
            written.value = written.value.as_ref().map(|_| self.value(n));
        }
        all
    }
}

pub(super) fn old_form(id: u32) -> Form<'static> {
    let schema = first();
    Form {
        schema,
        id,
        city: "",
    }
}

pub(super) fn evolved_form(id: u32) -> Form<'static> {
    let schema = evolved();
    Form {
        schema,
        id,
        city: "",
    }
}

pub(super) fn new_form(id: u32, city: &'static str) -> Form<'static> {
    let schema = second();
    Form { schema, id, city }
}

/// Two topics, and a change that registers the new schema.
pub(super) fn stage(registry: &Registry) -> Stage {
    let stage = Stage::new(Kind::Avro);
    let url = registry.url();
    stage.declare(MAPPED, &format!("registry: {{url: \"{url}\"}}\n"));
    for (name, schema) in [("old.avsc", first()), ("new.avsc", second())] {
        std::fs::write(stage.dir.path().join(name), schema.to_string()).expect("a file");
    }
    stage
}

pub(super) fn of(topic: &str) -> String {
    format!("{topic}-value")
}

fn plain(value: Vec<u8>) -> Written {
    Written {
        partition: 0,
        timestamp: 5,
        key: None,
        value: Some(value),
        headers: Vec::new(),
    }
}

#[test]
fn a_topic_gets_another_avro_schema() {
    let url = shared().url();
    let stage = stage(shared());
    let old = old_form(register(&url, &of(&stage.old), &first()));
    stage.write(&stage.old, &old.records(&stage, 1..500));
    stage.says(&["check", "--laws"], 0, &["nothing is in the way"]);
    stage.says(&["plan"], 0, &["register the new schema under subject"]);
    assert_eq!(newest(&url, &of(&stage.new)), None, "a question wrote");
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    let id = newest(&url, &of(&stage.new)).expect("it was registered");
    let copied = new_form(id, "?");
    // A schema that nobody knew when the change began.
    let late = evolved_form(register(&url, &of(&stage.old), &evolved()));
    stage.write(&stage.old, &late.records(&stage, 500..700));
    stage.verified();
    stage.says(&["producer", "stopped"], 0, &[]);
    stage.says(&["wait", "--for", "lag"], 0, &[]);
    stage.says(&["cutover"], 0, &["reverse"]);
    let written = new_form(id, "Paris");
    stage.write(&stage.new, &written.records(&stage, 700..900));
    stage.verified();
    let on_old = [
        (old.records(&stage, 1..500), false),
        (late.records(&stage, 500..700), false),
        (old.records(&stage, 700..900), true),
    ];
    holds(&stage.servers, &stage.old, &on_old, PARTITIONS);
    let on_new = [
        (copied.records(&stage, 1..700), true),
        (written.records(&stage, 700..900), false),
    ];
    holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    stage.says(&["contract", "--yes"], 0, &[]);
    assert_eq!(run.wait(), Some(0), "{}", run.err());
}

/// The registry compares texts. A file with other spaces is the same schema, and one that only has
/// other fields in the end is not.
#[test]
fn a_schema_file_may_be_written_otherwise_than_it_was_registered() {
    let url = shared().url();
    let stage = stage(shared());
    let old = register(&url, &of(&stage.old), &first());
    let file = stage.dir.path().join("old.avsc");
    let pretty = serde_json::to_string_pretty(&first()).expect("JSON");
    assert_ne!(pretty, first().to_string());
    std::fs::write(&file, pretty).expect("a file");
    stage.says(&["check"], 0, &["nothing is in the way"]);
    assert_eq!(
        newest(&url, &of(&stage.old)),
        Some(old),
        "it was registered again"
    );
    let other = with_active(first(), "boolean", &json!(false));
    std::fs::write(&file, other.to_string()).expect("a file");
    stage.says(&["check"], 2, &["CF0515", "old.avsc"]);
}

#[test]
fn schemas_that_are_missing_or_do_not_fit_are_found_before_anything_is_written() {
    let url = shared().url();
    let stage = stage(shared());
    let nothing = [&*of(&stage.old), "CF0515"];
    stage.says(&["check"], 2, &nothing);
    stage.says(&["run"], 2, &nothing);
    register(
        &url,
        &of(&stage.old),
        &with_active(first(), "boolean", &json!(false)),
    );
    let more = format!("registry: {{url: \"{url}\"}}\n");
    stage.says(&["check"], 2, &["CF0515", "old.avsc"]);
    stage.declare("    payload: avro\n", &more);
    stage.says(&["check"], 2, &["CF0515", &of(&stage.new)]);
    stage.declare("    payload: avro\n", "");
    stage.says(&["check"], 2, &["CF0004", "`registry` is missing"]);
    let newest_old = MAPPED.replace("old: old.avsc, ", "");
    stage.declare(&newest_old, &more);
    stage.says(&["check"], 0, &["nothing is in the way"]);
    // Tables would take it.
    let file = stage.dir.path().join("new.avsc");
    std::fs::write(&file, with_active(second(), "int", &json!(0)).to_string()).expect("a file");
    stage.says(&["check"], 2, &["CF0035", "`active`"]);
    std::fs::write(&file, "{}").expect("a file");
    stage.says(&["check"], 2, &["CF0511", &of(&stage.new)]);
    std::fs::remove_file(&file).expect("a file");
    stage.says(&["check"], 2, &["CF0001", "new.avsc"]);
    stage.declare(&newest_old, "registry: {url: \"http://127.0.0.1:1\"}\n");
    stage.says(&["check"], 2, &["CF0513"]);
    assert_eq!(newest(&url, &of(&stage.new)), None, "something was written");
}

#[test]
fn a_payload_without_a_schema_stops_its_partition() {
    let url = shared().url();
    let stage = stage(shared());
    let id = register(&url, &of(&stage.old), &first());
    let mut wrong = old_form(id).value(1);
    wrong[0] = 1;
    stage.write(&stage.old, &[plain(wrong)]);
    let mut run = stage.start(&["run"], &[]);
    stage.stops(504);
    stage.says(
        &["status"],
        1,
        &["partition 0 of", "stopped at record 0", "CF0504"],
    );
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
    assert!(!run.err().contains("Ada"), "a value: {}", run.err());
    holds(&stage.servers, &stage.new, &[], PARTITIONS);
}

/// What is known flows on without the registry; what is not holds, and flows on once it is told.
#[test]
fn what_the_registry_does_not_tell_holds_until_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut registry = Registry::start(folder.path());
    let url = registry.url();
    let stage = stage(&registry);
    let told = |registry: &Registry| {
        let url = registry.url();
        let old = register(&url, &of(&stage.old), &first());
        (old, register(&url, &of(&stage.new), &second()))
    };
    let (old, new) = told(&registry);
    let (known, copied) = (old_form(old), new_form(new, "?"));
    let carried = |until: i64| {
        let wanted = usize::try_from(until - 1).expect("few");
        let count = || {
            read(&stage.servers, &stage.new)
                .iter()
                .map(Vec::len)
                .sum::<usize>()
        };
        assert!(reached_in_time(|| wanted == count()), "{until}");
        let on_new = [(copied.records(&stage, 1..until), true)];
        holds(&stage.servers, &stage.new, &on_new, PARTITIONS);
    };
    stage.write(&stage.old, &known.records(&stage, 1..100));
    let mut run = stage.start(&["run"], &[]);
    stage.reaches("follow");
    carried(100);

    // Nobody has registered the next number yet.
    let next = new + 1;
    let unknown = evolved_form(next);
    stage.write(&stage.old, &unknown.records(&stage, 100..150));
    stage.stops(512);
    stage.write(&stage.old, &known.records(&stage, 150..200));
    assert_eq!(register(&url, &of(&stage.old), &evolved()), next);
    stage.says(&["resume"], 0, &[]);
    carried(200);

    // Both are known now; a third one is not.
    registry.kill();
    stage.write(&stage.old, &known.records(&stage, 200..250));
    stage.write(&stage.old, &unknown.records(&stage, 250..300));
    carried(300);
    let mut third = evolved_form(next + 1);
    third.schema["doc"] = json!("the third");
    stage.write(&stage.old, &third.records(&stage, 300..350));
    stage.holds(513);
    registry.start_again();
    assert_eq!(told(&registry), (old, new));
    assert_eq!(register(&url, &of(&stage.old), &evolved()), next);
    let id = register(&url, &of(&stage.old), &third.schema);
    assert_eq!(id, third.id);
    stage.says(&["resume"], 0, &[]);
    carried(350);
    stage.verified();
    assert_eq!(run.terminate(), Some(0), "{}", run.err());
}
