use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use anstream::StripStream;

use super::*;

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        let mut plain = StripStream::new(Vec::new());
        plain.write_all(&self.0.borrow()).unwrap();
        String::from_utf8(plain.into_inner()).unwrap()
    }
}

fn printed(form: Form, act: impl FnOnce(&mut Output)) -> (String, String) {
    let (out, err) = (Sink::default(), Sink::default());
    act(&mut Output::to(
        form,
        Box::new(out.clone()),
        Box::new(err.clone()),
    ));
    (out.text(), err.text())
}

fn file(text: &str) -> ChangeFile {
    let path = PathBuf::from("contraflow.yaml");
    let text = text.to_owned();
    ChangeFile { path, text }
}

fn unknown_key() -> Problem {
    let place = contraflow_core::error::Place {
        line: 12,
        column: 5,
    };
    Problem::error(Code::KEY_UNKNOWN, "the change file has no key `mappings`")
        .place(Some(place))
        .hint("Did you mean `mapping`?")
}

#[test]
fn a_problem_shows_its_line() {
    let file = file(&format!("{}    mappings:\n", "\n".repeat(11)));
    let (out, err) = printed(Form::Human, |o| {
        o.problems(&file, &[unknown_key()]).unwrap();
    });
    assert_eq!(out, "");
    assert_eq!(
        err,
        "\
error[CF0003]: the change file has no key `mappings`
  --> contraflow.yaml:12:5
   |
12 |     mappings:
   |     ^
 hint: Did you mean `mapping`?

"
    );
}

#[test]
fn a_place_beyond_the_file_and_no_place_are_shown_too() {
    let (_, err) = printed(Form::Human, |o| {
        o.problems(&file("a"), &[unknown_key()]).unwrap();
    });
    assert!(err.contains("contraflow.yaml:12:5\n hint:"));
    let problem = Problem::warning(Code::END_SETTING, "odd").at(Side::Old);
    let (_, err) = printed(Form::Human, |o| o.problems(&file("a"), &[problem]).unwrap());
    assert_eq!(
        err,
        "warning[CF0110]: odd\n  --> contraflow.yaml (old end)\n hint: `contraflow explain \
         CF0110`\n\n"
    );
}

#[test]
fn a_password_in_the_line_is_hidden() {
    let file = file("old: { postgres: \"postgres://u:hunter2@h/db\", mod: 1 }\n");
    let place = contraflow_core::error::Place {
        line: 1,
        column: 46,
    };
    let problem = Problem::error(Code::KEY_UNKNOWN, "odd").place(Some(place));
    let (_, err) = printed(Form::Human, |o| o.problems(&file, &[problem]).unwrap());
    assert!(!err.contains("hunter2"), "{err}");
}

#[test]
fn problems_as_json_are_versioned_data() {
    let (out, err) = printed(Form::Json, |o| {
        o.problems(&file(""), &[unknown_key()]).unwrap();
    });
    assert_eq!(err, "");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schema"], "contraflow.problems/1");
    assert_eq!(json["problems"][0]["code"], "CF0003");
    assert_eq!(json["problems"][0]["place"]["line"], 12);
}

#[test]
fn a_failure_shows_code_detail_causes_and_the_next_step() {
    let error = Error::new(
        Kind::Ambiguous,
        Code::OWNERSHIP_AMBIGUOUS,
        "both ends are sealed",
    )
    .at(Side::New)
    .detail("Epochs 3 and 3.")
    .because(io::Error::other("torn page"));
    let error = anyhow::Error::from(error);
    let (_, err) = printed(Form::Human, |o| {
        assert_eq!(o.failed(&error), Exit::Ambiguous);
    });
    assert_eq!(
        err,
        "\
error[CF0305]: both ends are sealed
  end: new
  Epochs 3 and 3.
  because: torn page
 hint: find out which end the application writes to
"
    );
    let (out, _) = printed(Form::Json, |o| {
        assert_eq!(o.failed(&error), Exit::Ambiguous);
    });
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["schema"], "contraflow.error/1");
    assert_eq!(json["causes"][0], "torn page");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
    let (_, err) = printed(Form::Human, |o| assert_eq!(o.failed(&error), Exit::Yes));
    assert_eq!(err, "");
}
