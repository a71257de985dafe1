use super::{Asked, Plan, interleave, median, summary};

#[test]
fn the_ratio_is_the_median_over_pairs() {
    // The machine slowed down: the rates fell, the ratios did not.
    let measure = summary(
        "a",
        "rows/s",
        &[(100.0, 200.0), (50.0, 100.0), (10.0, 25.0)],
    );
    assert!((measure.ratio - 0.5).abs() < 1e-9);
    assert!((measure.spread - 0.1).abs() < 1e-9);
    assert!((measure.ours - 50.0).abs() < 1e-9);
    assert_eq!(measure.runs, 3);
}

#[test]
fn the_first_pair_does_not_count_and_orders_alternate() {
    let order = std::cell::RefCell::new(String::new());
    let turn = |who: char| {
        order.borrow_mut().push(who);
        Ok(1.0)
    };
    let plan = Plan {
        runs: 2,
        records: None,
    };
    let measure = interleave("a", "rows/s", plan, || turn('o'), || turn('p')).unwrap();
    assert_eq!(measure.runs, 2);
    assert_eq!(*order.borrow(), "oppoop");
}

#[test]
fn medians_of_even_counts_lie_between() {
    assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
}

#[test]
fn json_has_every_figure() {
    let line = summary("a", "rows/s", &[(1.0, 2.0)]).json();
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    for key in [
        "version", "name", "ours", "peer", "unit", "ratio", "runs", "spread",
    ] {
        assert!(!value[key].is_null(), "{key}");
    }
}

#[test]
fn options_are_read_and_others_refused() {
    let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let asked = Asked::read(&args("mapping --json --runs=3")).unwrap();
    assert_eq!(asked.names, ["mapping"]);
    assert!(asked.json && asked.runs == Some(3));
    assert!(Asked::read(&args("--fast")).is_err());
    assert_eq!(Asked::read(&args("--records=7")).unwrap().records, Some(7));
    for refused in ["--runs=0", "--records", "--records=many"] {
        assert!(Asked::read(&args(refused)).is_err(), "{refused}");
    }
}
