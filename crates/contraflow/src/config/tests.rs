use std::fs;

use super::*;

const FILE: &str = "\
version: 1
change: phonebook
old: { sqlite: \"${file:secret}\" }
new: { sqlite: b.db }
pairs:
  - { old: a, new: b, key: [id] }
";

#[test]
fn a_file_is_found_by_path_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("phonebook.yaml");
    fs::write(&path, FILE).unwrap();
    for named in [path.clone(), dir.path().join("phonebook")] {
        assert_eq!(ChangeFile::find(Some(&named)).unwrap().path, path);
    }
}

#[test]
fn files_are_interpolated_relative_to_the_change_file_without_their_line_break() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    fs::write(&path, FILE).unwrap();
    let file = ChangeFile::read(&path).unwrap();
    let problems = file.check().unwrap_err();
    assert_eq!(problems[0].code, Code::INTERPOLATION_FAILED);
    fs::write(dir.path().join("secret"), "a.db\r\n").unwrap();
    let (change, _) = file.check().unwrap();
    let shown = format!("{change:?}");
    assert!(!shown.contains("a.db"), "{shown}");
    assert!(change.ledger().starts_with(dir.path()));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = ChangeFile::read(&dir.path().join("none.yaml")).unwrap_err();
    assert_eq!(missing.code, Code::FILE_UNREADABLE);
    assert!(missing.hint.unwrap().contains("contraflow init"));
    let path = dir.path().join("large.yaml");
    fs::write(&path, "#".repeat(FILE_BYTES_MAX + 1)).unwrap();
    let large = ChangeFile::read(&path).unwrap_err();
    let cause = std::error::Error::source(&large).unwrap().to_string();
    assert!(cause.contains("larger"), "{cause}");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(
        ChangeFile::read(&path).unwrap_err().code,
        Code::FILE_UNREADABLE
    );
}
