use std::path::Path;
use std::process::Command;

use contraflow::config::ChangeFile;

/// Exit code, stdout and stderr of one command.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_contraflow"))
        .args(args)
        .current_dir(dir)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program runs");
    (
        done.status.code().expect("the program runs"),
        text(done.stdout),
        text(done.stderr),
    )
}

#[test]
fn init_writes_a_file_that_the_reader_accepts_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["init", "--change", "orders"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(
        err.starts_with("wrote contraflow.yaml and contraflow.schema.json\n"),
        "{err}"
    );
    let path = dir.path().join("contraflow.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=contraflow.schema.json\n"));
    let file = ChangeFile::read(&path).unwrap();
    let (change, warnings) = file.check().unwrap();
    assert_eq!((change.name().as_str(), warnings), ("orders", vec![]));

    let (code, out, err) = run(dir.path(), &["init"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.starts_with("error[CF0009]: `contraflow.yaml` is there already\n"),
        "{err}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(run(dir.path(), &["init", "second.yaml"]).0, 0);
}

#[test]
fn every_optional_setting_of_the_template_is_accepted_and_a_default() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["init"]);
    let path = dir.path().join("contraflow.yaml");
    let plain = ChangeFile::read(&path).unwrap();
    let mut lines = Vec::new();
    for line in plain.text.lines() {
        let setting = line.strip_prefix('#').filter(|rest| {
            rest.starts_with("  ") || rest.starts_with(|c: char| c.is_ascii_lowercase())
        });
        lines.push(setting.unwrap_or(line));
    }
    let full = ChangeFile {
        text: lines.join("\n"),
        path,
    };
    let (with, _) = full.check().unwrap();
    let (without, _) = plain.check().unwrap();
    assert_eq!(with.limits().rate_rows_per_s, Some(2_000));
    assert_eq!(with.gates(), without.gates());
    assert_eq!(with.limits().fence_max, without.limits().fence_max);
    assert_eq!(with.limits().letters_max, without.limits().letters_max);
    assert_eq!(with.ledger(), without.ledger());
}

#[test]
fn init_keeps_a_foreign_schema_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("contraflow.schema.json"), "{}").unwrap();
    let (code, _, err) = run(dir.path(), &["init"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("`contraflow.schema.json` is there already"),
        "{err}"
    );
    assert!(!dir.path().join("contraflow.yaml").exists());
}

#[test]
fn init_refuses_a_name_that_no_table_can_have() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run(dir.path(), &["init", "--change", "My Change"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("error[CF0005]"), "{err}");
}

#[test]
fn schema_prints_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["schema"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["title"], "Contraflow change file");
}

#[test]
fn explain_shows_a_page_however_the_code_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for code in ["cf31", "CF0031", "31"] {
        let (exit, out, err) = run(dir.path(), &["explain", code]);
        assert_eq!((exit, err.as_str()), (0, ""));
        assert!(out.starts_with("# CF0031: a mapping operation names a field that is not there\n"));
    }
    let (exit, out, _) = run(dir.path(), &["explain", "31", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, json["schema"].as_str()),
        (0, Some("contraflow.explain/1"))
    );
    assert_eq!(json["code"], "CF0031");
}

#[test]
fn explain_lists_all_codes_and_offers_near_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, _) = run(dir.path(), &["explain"]);
    assert_eq!(exit, 0);
    assert_eq!(out.lines().count(), contraflow_core::code::Code::ALL.len());
    let (exit, out, err) = run(dir.path(), &["explain", "CF0030"]);
    assert_eq!((exit, out.as_str()), (2, ""));
    assert!(
        err.starts_with("error: no error code `CF0030`\n hint: Did you mean CF0031 ("),
        "{err}"
    );
}

#[test]
fn a_wrong_use_is_exit_2() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["frobnicate"]).0, 2);
    assert_eq!(run(dir.path(), &[]).0, 2);
    assert_eq!(run(dir.path(), &["--version"]).0, 0);
}

#[test]
fn a_wrong_code_is_a_versioned_error_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, err) = run(dir.path(), &["--json", "explain", "nothing-like-it"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, err.as_str()), (2, ""));
    assert_eq!(json["schema"], "contraflow.error/1");
    assert_eq!(json["hint"], "`contraflow explain` lists all codes.");
}

#[test]
fn colour_is_asked_for_and_refused_by_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let styled = |settings: &[(&str, &str)]| {
        let done = Command::new(env!("CARGO_BIN_EXE_contraflow"))
            .args(["explain", "0"])
            .current_dir(dir.path())
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        done.stderr.contains(&0x1b)
    };
    assert!(!styled(&[]));
    assert!(styled(&[("CLICOLOR_FORCE", "1")]));
    assert!(!styled(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}
