use super::super::spec::tests::{FILE, checked, seen};
use super::*;

#[test]
fn a_change_is_checked_with_its_paths_resolved() {
    let (change, warnings) = checked(&FILE.replace("app-v2.db", "../other/./v2.db")).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(change.name().as_str(), "phonebook");
    let Connection::Sqlite { path } = change.connection(Side::New) else {
        panic!("a file");
    };
    assert_eq!(path.expose(), Path::new("/srv/other/v2.db"));
    assert_eq!(
        change.connection(Side::New).to_string(),
        "sqlite:../other/./v2.db"
    );
    assert_eq!(
        change.ledger(),
        Path::new("/srv/app/.contraflow/phonebook.db")
    );
    let [pair] = change.pairs() else {
        panic!("one pair");
    };
    assert_eq!((pair.id, pair.table(Side::Old)), (PairId(0), "phonebook"));
    assert_eq!(pair.table(Side::New), "contacts_v2");
}

#[test]
fn absolute_paths_stay() {
    let (change, _) = checked(&format!("{FILE}ledger: /var/lib/l.db\n")).unwrap();
    assert_eq!(change.ledger(), Path::new("/var/lib/l.db"));
}

#[test]
fn one_table_cannot_be_both_old_and_new() {
    let text = FILE
        .replace("app-v2.db", "./x/../app.db")
        .replace("contacts_v2", "PhoneBook");
    assert_eq!(
        seen(&text),
        [
            "CF0112 7:10 `PhoneBook` of `sqlite:app.db` is both an old and a new table | Give the \
          new table another name, or put it into another database."
        ]
    );
    assert!(checked(&FILE.replace("contacts_v2", "phonebook")).is_ok());
    assert!(checked(&FILE.replace("app-v2.db", "app.db")).is_ok());
    let swapped = FILE.replace("app-v2.db", "app.db") + "  - {old: a, new: phonebook, key: [b]}\n";
    assert!(seen(&swapped)[0].starts_with("CF0112 9:19"));
}

#[test]
fn a_table_belongs_to_one_pair() {
    let text = format!("{FILE}  - {{old: Phonebook, new: contacts_v2, key: [b]}}\n");
    assert_eq!(
        seen(&text),
        [
            "CF0007 9:11 table `Phonebook` is the old table of two pairs",
            "CF0007 9:27 table `contacts_v2` is the new table of two pairs",
        ]
    );
}

#[test]
fn reserved_tables_are_refused() {
    let text = FILE.replace("contacts_v2", "_Contraflow_letters");
    assert!(seen(&text)[0].starts_with("CF0005 7:10 table `_Contraflow_letters`"));
}

#[test]
fn databases_are_files_of_their_own() {
    for path in ["\":memory:\"", "\"file:a.db?mode=memory\"", "\"\""] {
        let found = seen(&FILE.replace("app.db", path));
        assert!(
            found[0].starts_with("CF0005 3:6 `sqlite` must be the path"),
            "{found:?}"
        );
    }
    assert_eq!(
        seen(&format!("{FILE}ledger: app.db\n")),
        [
            "CF0005 9:9 the ledger cannot be `sqlite:app.db`, an end of the change | Give the \
          ledger a file of its own, or leave `ledger` out."
        ]
    );
}

#[test]
fn names_of_changes_fit_into_names_of_tables() {
    let longest = "a".repeat(ChangeName::BYTES_MAX);
    for good in ["a", "a-b_c9", longest.as_str()] {
        assert!(ChangeName::new(good).is_some(), "{good}");
    }
    let longer = format!("{longest}a");
    for bad in [
        "",
        "A",
        "9a",
        "-a",
        "a b",
        "a.b",
        "ä",
        "aé",
        longer.as_str(),
    ] {
        assert!(ChangeName::new(bad).is_none(), "{bad}");
    }
}
