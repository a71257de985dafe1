use contraflow_core::change::cluster::Cluster;

use super::*;

#[test]
fn a_line_is_cut_down_to_its_reason() {
    let line = "[thrd:ssl://a:1/bootstrap]: ssl://a:1/bootstrap: Disconnected: closed (after 1ms \
                in state UP, 1 identical error(s) suppressed)";
    assert_eq!(reason(line), "Disconnected: closed");
    assert_eq!(reason("something else"), "something else");
}

/// A broker that is down refuses nobody.
#[test]
fn what_is_no_refusal_is_none() {
    let cluster = Cluster::open("a:1");
    for reason in [
        "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        "Failed to resolve",
    ] {
        assert!(refusal(reason, &cluster).is_none(), "{reason}");
    }
    let refused = refusal("SASL authentication error: x", &cluster).expect("a refusal");
    assert_eq!(refused.code, Code::END_REFUSED);
}
