use super::Tally;

#[test]
fn results_of_all_binaries_add_up() {
    let mut tally = Tally::default();
    for line in [
        "running 3 tests",
        "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        "test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out",
        "the test result: is not at the start. 7 passed; 7 failed",
    ] {
        tally.add(line);
    }
    let line = "4 passed, 2 failed, 1 ignored in 2 binaries";
    assert_eq!(tally.line(), line);
}
