use super::line;

#[test]
fn twice_the_time_for_twice_the_rows_is_one() {
    let points = [1.0_f64, 10.0, 100.0].map(|rows| (rows.ln(), (rows / 7.0).ln()));
    let (slope, distance) = line(&points);
    assert!((slope - 1.0).abs() < 1e-9);
    assert!(distance < 1e-9);
}

#[test]
fn four_times_the_time_for_twice_the_rows_is_two() {
    let points = [1.0_f64, 2.0, 4.0].map(|rows| (rows.ln(), (rows * rows).ln()));
    assert!((line(&points).0 - 2.0).abs() < 1e-9);
}
