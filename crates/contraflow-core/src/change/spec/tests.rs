use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::{Change, Connection, SCHEMA};
use super::*;
use crate::change::format::Members;
use crate::log::Partitioner;
use crate::shape::Type;

pub(in crate::change) struct Fixed;

impl Secrets for Fixed {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "DB" => Some("hunter2.db".to_owned()),
            "FENCE" => Some("hunter2".to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

pub(in crate::change) const FILE: &str = "\
version: 1
change: phonebook
old: { sqlite: app.db }
new: { sqlite: app-v2.db }
pairs:
  - old: phonebook
    new: contacts_v2
    key: [id]
";

pub(in crate::change) fn checked(text: &str) -> Result<(Change, Vec<Problem>), Vec<Problem>> {
    ChangeSpec::read(text, &Fixed).check(Path::new("/srv/app"))
}

/// Code, line, column and message of every problem.
pub(in crate::change) fn seen(text: &str) -> Vec<String> {
    let show = |problem: Problem| {
        let place = problem
            .place
            .map_or(String::new(), |p| format!("{}:{}", p.line, p.column));
        let hint = problem
            .hint
            .map_or(String::new(), |hint| format!(" | {hint}"));
        format!("{} {place} {}{hint}", problem.code, problem.message)
    };
    checked(text).unwrap_err().into_iter().map(show).collect()
}

/// The problems of [`FILE`] with more lines at its end.
fn with(lines: &str) -> Vec<String> {
    seen(&format!("{FILE}{lines}"))
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "\
version: 1
change: Phone Book
old: { sqlit: app.db }
new: { sqlite: \"${env:NOPE}\" }
pairs:
  - old: phonebook
    new: [x]
    key: id
    maping: []
  - new: contacts_v2
    key: [a, a]
histroy: all
gates: { lag_max: 2s }
limits: { fence_max: 2, letters_max: 0 }
";
    assert_eq!(
        seen(text),
        [
            "CF0005 2:9 `Phone Book` cannot be the name of a change | Start with a lowercase \
             letter and use at most 40 of `a`-`z`, `0`-`9`, `-`, `_`.",
            "CF0003 3:8 `old` has no key `sqlit` | Did you mean `sqlite`?",
            "CF0006 4:16 variable `NOPE` is not set | Set `NOPE` in the environment of this \
             command.",
            "CF0005 7:10 the new table must be a single value, found a list",
            "CF0005 8:10 `key` must be a list of names, found a word or number | Write `[id]`.",
            "CF0003 9:5 a pair has no key `maping` | Did you mean `mapping`?",
            "CF0004 10:5 a pair lacks the key `old`",
            "CF0007 11:14 `key` names `a` twice",
            "CF0003 12:1 the change file has no key `histroy` | Did you mean `history`?",
            "CF0003 13:10 `gates` has no key `lag_max` | Known keys: lag_events_max, \
             writers_quiet, readers_gone.",
            "CF0005 14:22 `fence_max` must be a duration such as `500ms`, `5s`, `2m`, found `2`",
            "CF0005 14:38 `letters_max` must be from 1 to 10000000, found `0`",
        ]
    );
}

#[test]
fn a_foreign_version_is_the_only_problem() {
    let found = seen("version: 2\nends: []\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("CF0008 1:10 version `2` of the change file is not known"));
    assert!(seen("version: [1]\n")[0].starts_with("CF0008 1:10"));
    let missing = FILE.replace("version: 1\n", "");
    assert_eq!(
        seen(&missing),
        ["CF0004 1:1 the change file lacks the key `version`"]
    );
}

#[test]
fn keys_given_twice_are_reported() {
    assert_eq!(
        with("change: other\n"),
        ["CF0007 9:1 key `change` is given twice in the change file"]
    );
}

#[test]
fn wrong_forms_are_reported() {
    assert_eq!(
        seen("- a\n"),
        ["CF0005 1:1 the change file must be a map, found a list"]
    );
    assert!(seen("a: [\n")[0].starts_with("CF0002 2:1 the change file is not YAML"));
    let text = FILE.replace("{ sqlite: app.db }", "{}");
    assert!(seen(&text)[0].starts_with("CF0004 3:6 `old` names no connection"));
    let head = FILE.split("pairs:").next().unwrap();
    let none = format!("{head}pairs: []\n");
    assert_eq!(
        seen(&none),
        ["CF0005 5:8 `pairs` must hold at least one pair"]
    );
    let word = format!("{head}pairs: all\n");
    assert_eq!(
        seen(&word),
        ["CF0005 5:8 `pairs` must be a list, found a word or number"]
    );
}

#[test]
fn names_are_never_interpolated() {
    let text = FILE.replace("old: phonebook", "old: ${env:DB}");
    assert!(seen(&text)[0].starts_with("CF0006 6:10 the old table cannot be interpolated"));
}

#[test]
fn interpolated_values_are_never_shown() {
    let text = FILE.replace("app.db", "\"${env:DB}\"");
    let (change, _) = checked(&text).unwrap();
    let Connection::Sqlite { path } = change.connection(crate::side::Side::Old) else {
        panic!("a file");
    };
    assert_eq!(path.expose(), Path::new("/srv/app/hunter2.db"));
    let shown = format!("{change:?} {}", change.connection(crate::side::Side::Old));
    assert!(!shown.contains("hunter2"));
    let spec = ChangeSpec::read(&text, &Fixed);
    assert!(!format!("{spec:?}").contains("hunter2"));
    let found = with("limits: { fence_max: \"${env:FENCE}\" }\n");
    assert!(found[0].ends_with("found `${env:FENCE}`"), "{found:?}");
}

#[test]
fn history_is_all_none_or_since() {
    let (change, _) = checked(&format!(
        "{FILE}    history: {{since: {{field: created_at, value: \"2026-01-01\"}}}}
  - {{old: a, new: b, key: {{old: [x, y], new: [z]}}, mapping: [{{rename: {{x: \"${{y}}\"}}}}]}}
history: none
"
    ))
    .unwrap();
    let [first, second] = change.pairs() else {
        panic!("two pairs");
    };
    assert_eq!(
        first.history,
        History::Since {
            field: "created_at".into(),
            bound: Bound::Quoted("2026-01-01".into())
        }
    );
    assert_eq!(second.history, History::None);
    assert_eq!(second.key_old, ["x", "y"]);
    assert_eq!(second.key_new.as_deref(), Some(&["z".to_owned()][..]));
    assert!(second.mapping.is_some());
    assert!(first.mapping.is_none());
    assert_eq!(
        with("history: non\n"),
        ["CF0005 9:10 `history` cannot be `non` | Did you mean `none`?"]
    );
    assert_eq!(
        with("history: {since: {field: a}}\n"),
        ["CF0004 9:18 `since` lacks the key `value`"]
    );
}

#[test]
fn gates_and_limits_are_read_in_human_units() {
    let (change, warnings) = checked(&format!(
        "{FILE}gates: {{lag_events_max: 5_000, writers_quiet: 1s, readers_gone: 2d}}
limits:
  copy_share_percent: 25
  rate_rows_per_s: 2000
  fence_max: 10s
  letters_max: 10
"
    ))
    .unwrap();
    assert!(warnings.is_empty());
    assert_eq!(
        *change.gates(),
        Gates {
            lag_events_max: 5_000,
            writers_quiet: Duration::from_secs(1),
            readers_gone: Duration::from_secs(2 * 24 * 60 * 60),
        }
    );
    assert_eq!(
        *change.limits(),
        Limits {
            copy_share_percent: 25,
            rate_rows_per_s: Some(2_000),
            fence_max: Duration::from_secs(10),
            letters_max: 10,
        }
    );
    let (change, _) = checked(&format!("{FILE}gates:\nlimits:\n")).unwrap();
    assert_eq!(
        (change.gates(), change.limits()),
        (&Gates::default(), &Limits::default())
    );
}

#[test]
fn consumers_have_an_owner_and_a_deadline() {
    let topics = FILE.replace("sqlite: app.db", "kafka: a");
    let topics = topics.replace("sqlite: app-v2.db", "kafka: a");
    let topics = topics.replace("key: [id]", "payload: raw");
    let text = "consumers: [{group: billing, owner: team-a, deadline: 2026-12-31}, {group: b}]\n";
    let (change, _) = checked(&format!("{topics}{text}")).unwrap();
    let [billing, other] = change.consumers() else {
        panic!("two were declared")
    };
    assert_eq!(billing.owner.as_deref(), Some("team-a"));
    let deadline = billing.deadline.unwrap();
    assert_eq!(deadline.to_string(), "2026-12-31");
    assert_eq!(deadline.end_ms(), 1_798_761_600_000);
    assert_eq!((&other.owner, other.deadline), (&None, None));
    let text = "consumers: [{group: a, deadline: soon}, {group: b}, {group: b}, {owner: c}]\n";
    assert_eq!(
        seen(&format!("{topics}{text}")),
        [
            "CF0005 9:34 `deadline` must be a day such as `2026-12-31`, found `soon`",
            "CF0007 9:53 group `b` is declared twice",
            "CF0004 9:65 a consumer lacks the key `group`",
        ]
    );
    assert_eq!(
        with("consumers: []\n"),
        ["CF0005 9:12 `consumers` says nothing here: only topics have them"]
    );
}

/// The keys that the reader knows at one place of the file: it names them all when none is near.
fn known(text: &str) -> Vec<String> {
    let hint = ChangeSpec::read(text, &Fixed)
        .problems
        .into_iter()
        .filter_map(|problem| problem.hint)
        .find_map(|hint| {
            Some(
                hint.strip_prefix("Known keys: ")?
                    .trim_end_matches('.')
                    .to_owned(),
            )
        });
    let mut keys: Vec<String> = hint.unwrap().split(", ").map(str::to_owned).collect();
    keys.sort();
    keys
}

fn schema_keys(object: &Json) -> Vec<String> {
    assert_eq!(object["additionalProperties"], Json::Bool(false));
    object["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let defs = &schema["$defs"];
    let odd = "qqqqqqqqqqqqqqqq";
    let same = |object: &Json, text: &str| assert_eq!(schema_keys(object), known(text), "{text}");
    same(&schema, &format!("{FILE}{odd}: 1\n"));
    same(
        &defs["connection"],
        &FILE.replace("sqlite: app.db", &format!("kafka: a, {odd}: 1")),
    );
    same(&defs["pair"], &format!("{FILE}    {odd}: 1\n"));
    same(
        &defs["key"],
        &FILE.replace("[id]", &format!("{{old: [id], {odd}: 1}}")),
    );
    same(&defs["gates"], &format!("{FILE}gates: {{{odd}: 1}}\n"));
    same(&defs["limits"], &format!("{FILE}limits: {{{odd}: 1}}\n"));
    let registry = format!("{FILE}registry: {{{odd}: 1}}\n");
    same(&defs["registry"], &registry);
    let topics = FILE.replace("sqlite: app.db", "kafka: a");
    let payload = |text: &str| topics.replace("key: [id]", &format!("payload: {{{text}}}"));
    same(&defs["payload"], &payload(&format!("{odd}: 1")));
    same(&defs["avro"], &payload(&format!("avro: {{{odd}: 1}}")));
    let consumers = |text: &str| format!("{topics}consumers: [{{{text}}}]\n");
    same(&defs["consumer"], &consumers(&format!("{odd}: 1")));
    same(&defs["json"], &payload(&format!("json: {{{odd}: 1}}")));
    let key = topics.replace("key: [id]", &format!("payload: raw\n    key: {{{odd}: 1}}"));
    same(&defs["record_key"], &key);
    same(
        &defs["history"]["oneOf"][1],
        &format!("{FILE}history: {{{odd}: 1}}\n"),
    );
    same(
        &defs["since"],
        &format!("{FILE}history: {{since: {{{odd}: 1}}}}\n"),
    );
}

#[test]
fn keys_of_topics_are_formats_with_a_mapping_and_a_partitioner() {
    let topics = FILE.replace("sqlite: app.db", "kafka: a");
    let topics = topics.replace("sqlite: app-v2.db", "kafka: a");
    let pair = |key: &str| topics.replace("key: [id]", &format!("payload: raw\n    key: {key}"));
    let text = "{payload: {json: {old: int64, new: {id: int64}}}, mapping: [], \
                partitioner: consistent_random}";
    let (change, _) = checked(&pair(text)).unwrap();
    let key = change.pairs()[0].record_key.as_ref().unwrap();
    let Format::Json { old, new } = &key.format else {
        panic!("it is JSON")
    };
    assert!(matches!(old, Members::Value(Type::Int { .. })));
    assert!(matches!(new, Members::Object(members) if members.len() == 1));
    assert_eq!(key.partitioner, Some(Partitioner::Crc32));
    assert!(key.mapping.is_some());

    let refused = |key: &str| {
        let problems = checked(&pair(key)).unwrap_err();
        let hint = problems[0].hint.clone().unwrap_or_default();
        (problems[0].code, hint)
    };
    assert_eq!(refused("[id]").0, Code::VALUE_INVALID);
    assert_eq!(refused("{payload: avro}").0, Code::KEY_MISSING);
    let odd = "{payload: {json: {old: odd, new: text}}}";
    assert_eq!(refused(odd).0, Code::VALUE_INVALID);
    let (code, hint) = refused("{partitioner: murmur2}");
    assert_eq!(code, Code::VALUE_INVALID);
    assert!(hint.contains("murmur2_random"), "{hint}");
}

#[test]
fn payloads_of_avro_and_their_registry_belong_together() {
    let pair = |payload: &str| {
        let topics = FILE.replace("sqlite: app.db", "kafka: a");
        let topics = topics.replace("sqlite: app-v2.db", "kafka: a");
        topics.replace("key: [id]", &format!("payload: {payload}"))
    };
    let registry = "registry: {url: \"http://u:hunter2@r\", ca: ca.pem}\n";
    let text = format!("{}{registry}", pair("{avro: {new: v2/../new.avsc}}"));
    let (change, _) = checked(&text).unwrap();
    let Some(Format::Avro {
        new: Some(file), ..
    }) = &change.pairs()[0].format
    else {
        panic!("it is Avro with a file")
    };
    assert_eq!(file.expose(), Path::new("/srv/app/new.avsc"));
    let found = change.registry().unwrap();
    assert_eq!(found.url.expose(), "http://u:hunter2@r");
    let ca = found.ca.as_ref().unwrap();
    assert_eq!(ca.expose(), Path::new("/srv/app/ca.pem"));
    assert!(!format!("{change:?}").contains("hunter2"));

    let refused = |text: &str| checked(text).unwrap_err()[0].code;
    assert_eq!(refused(&pair("avro")), Code::KEY_MISSING);
    let idle = format!("{}{registry}", pair("raw"));
    assert_eq!(refused(&idle), Code::VALUE_INVALID);
}

#[test]
fn the_schema_and_the_reader_require_the_same_keys() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let required = |object: &Json| -> Vec<String> {
        let names = object["required"].as_array().unwrap().iter();
        names
            .map(|name| format!("lacks the key `{}`", name.as_str().unwrap()))
            .collect()
    };
    let lacking = |text: &str, what: &str| -> Vec<String> {
        let all = ChangeSpec::read(text, &Fixed).problems.into_iter();
        let messages = all.map(|problem| problem.message);
        messages
            .filter_map(|m| m.strip_prefix(what).map(|m| m.trim().to_owned()))
            .collect()
    };
    assert_eq!(lacking("{}", "the change file"), required(&schema));
    let text = FILE.replace("    key: [id]", "  - {}");
    let mut pair = required(&schema["$defs"]["pair"]);
    pair.push("lacks the key `key`".to_owned());
    assert!(lacking(&text, "a pair").ends_with(&pair));
}

#[test]
fn the_schema_states_the_defaults() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let mut text = FILE.to_owned();
    for part in ["gates", "limits"] {
        text.push_str(&format!("{part}:\n"));
        for (key, value) in schema["$defs"][part]["properties"].as_object().unwrap() {
            if let Some(default) = value.get("default") {
                text.push_str(&format!(
                    "  {key}: {}\n",
                    default.to_string().trim_matches('"')
                ));
            }
        }
    }
    let (change, _) = checked(&text).unwrap();
    assert_eq!(
        (change.gates(), change.limits()),
        (&Gates::default(), &Limits::default())
    );
    assert!(text.contains("letters_max: 1000") && text.contains("fence_max: 5s"));
}

proptest! {
    #[test]
    fn hostile_files_never_panic(
        at in 0usize..FILE.len(),
        odd in "[-a:{}\\[\\]&*!|>'\"#$ \n~é]{0,6}",
        cut in 0usize..20,
    ) {
        let end = (at + cut).min(FILE.len());
        let _ = checked(&format!("{}{odd}{}", &FILE[..at], &FILE[end..]));
    }
}

#[test]
fn large_hostile_files_are_refused() {
    let numbered = |form: fn(usize) -> String| (0..60_000).map(form).collect::<String>();
    for text in [
        numbered(|i| format!("k{i}: 1\n")),
        "a:\n".repeat(100_000),
        format!(
            "{FILE}{}",
            "  - {old: a, new: b, key: [c]}\n".repeat(20_000)
        ),
        FILE.replace("[id]", &format!("[{}]", "a, ".repeat(100_000))),
        FILE.replace("app.db", &format!("\"{}\"", "${env:X}".repeat(10_000))),
        "\n".repeat(500_000),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        "\"".repeat(100_001),
    ] {
        assert!(!seen(&text).is_empty());
    }
}
