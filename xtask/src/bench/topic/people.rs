//! The records of the topics: people, each in the old form and in the new one.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::cluster::PARTITIONS;

/// How the records are written, and with it what the change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nobody looks into them: the topic gets another name.
    Raw,
    /// JSON: one member gets another name, another becomes text.
    Json,
    /// The same in Avro.
    Avro,
}

/// The schema of the old topic.
pub(super) const OLD_SCHEMA: &str = r#"{"type":"record","name":"Person","fields":[
{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"age","type":"int"},
{"name":"phone","type":"string"},{"name":"note","type":"string"}]}"#;
/// The schema of the new topic.
pub(super) const NEW_SCHEMA: &str = r#"{"type":"record","name":"Person","fields":[
{"name":"id","type":"long"},{"name":"full_name","type":"string"},{"name":"age","type":"string"},
{"name":"phone","type":"string"},{"name":"note","type":"string"}]}"#;
/// The files of both schemas.
pub(super) const OLD_FILE: &str = "old.avsc";
pub(super) const NEW_FILE: &str = "new.avsc";

const MAPPING: &str = "    mapping:
      - rename: {from: name, to: full_name}
      - convert: {field: age, to: text, on_fail: {down: letter}}
";
/// What notes are made of: so that they shrink about as texts do.
const WORDS: [&str; 16] = [
    "north", "river", "seven", "paper", "stone", "cloud", "ferry", "lamp", "wheel", "amber",
    "quiet", "orbit", "maple", "cargo", "tunnel", "signal",
];

/// The numbers of both schemas; nothing where there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    pub(super) old: u32,
    pub(super) new: u32,
}

impl Form {
    /// What a change file says of the pair beside its topics.
    pub(super) fn pair(self) -> String {
        match self {
            Form::Raw => "    payload: raw\n".to_owned(),
            Form::Json => format!(
                "    payload:
      json:
        old: {{id: int64, name: text, age: int32, phone: text, note: text}}
        new: {{id: int64, full_name: text, age: text, phone: text, note: text}}
{MAPPING}"
            ),
            Form::Avro => {
                format!("    payload: {{avro: {{old: {OLD_FILE}, new: {NEW_FILE}}}}}\n{MAPPING}")
            }
        }
    }
}

/// One record, as its producer writes it.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) key: String,
    pub(super) partition: i32,
    pub(super) old: Vec<u8>,
    pub(super) new: Vec<u8>,
    note: String,
}

impl Person {
    /// The person of a number, as a producer writes it in JSON.
    pub(super) fn of_number(n: u64, bytes: usize) -> Person {
        let mut person = Person::default();
        person.become_number(n, bytes, Form::Json, Ids::default());
        person
    }

    /// Becomes the record of that number, about so many bytes long.
    pub(super) fn become_number(&mut self, n: u64, bytes: usize, form: Form, ids: Ids) {
        self.key = format!("person-{n}");
        self.partition = i32::try_from(n % PARTITIONS.unsigned_abs() as u64).unwrap_or_default();
        self.write_note(n, bytes);
        let (age, note) = (n % 90, &self.note);
        let (name, phone) = (format!("Ada Lovelace {n}"), format!("+44-20-{n:09}"));
        self.old.clear();
        self.new.clear();
        match form {
            Form::Raw | Form::Json => {
                let rest = format!(r#""phone":"{phone}","note":"{note}"}}"#);
                let old = format!(r#"{{"id":{n},"name":"{name}","age":{age},{rest}"#);
                self.old.extend(old.bytes());
                if form == Form::Json {
                    let new = format!(r#"{{"id":{n},"full_name":"{name}","age":"{age}",{rest}"#);
                    self.new.extend(new.bytes());
                } else {
                    self.new.extend(&self.old);
                }
            }
            Form::Avro => {
                let age_text = age.to_string();
                begin(&mut self.old, ids.old, n, &name);
                long(&mut self.old, age);
                begin(&mut self.new, ids.new, n, &name);
                text(&mut self.new, &age_text);
                for out in [&mut self.old, &mut self.new] {
                    text(out, &phone);
                    text(out, note);
                }
            }
        }
    }

    fn write_note(&mut self, n: u64, bytes: usize) {
        /// What the other fields take.
        const OTHERS: usize = 90;
        self.note.clear();
        let mut random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while self.note.len() + OTHERS < bytes {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            self.note.push_str(WORDS[(random % 16) as usize]);
            self.note.push_str(&format!(" {:x} ", random >> 52));
        }
        self.note.truncate(bytes.saturating_sub(OTHERS));
    }
}

fn begin(out: &mut Vec<u8>, id: u32, n: u64, name: &str) {
    out.push(0);
    out.extend(id.to_be_bytes());
    long(out, n);
    text(out, name);
}

/// A number of Avro that is not negative.
fn long(out: &mut Vec<u8>, n: u64) {
    let mut rest = n << 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, text.len() as u64);
    out.extend(text.bytes());
}

/// What records come to, whatever the order of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) fn add(&mut self, partition: i32, key: &[u8], value: &[u8]) {
        let mut hasher = DefaultHasher::new();
        (partition, key, value).hash(&mut hasher);
        self.0 = self.0.wrapping_add(hasher.finish());
    }
}
