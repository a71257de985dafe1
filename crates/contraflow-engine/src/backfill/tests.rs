use super::*;

#[test]
fn a_reader_reads_for_its_share_of_the_time() {
    let took = Duration::from_millis(30);
    for share in 1..=100 {
        let whole = took + rest(took, share);
        let read = took.as_secs_f64() / whole.as_secs_f64() * 100.0;
        assert!((read - share as f64).abs() < 0.01, "{share} %: {read}");
    }
}
