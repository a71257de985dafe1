use super::{Keyed, Partitioner, Probed, crc32, fnv1a, murmur2, probe};

/// The vectors of librdkafka's own tests, which it took from Java's and Go's implementations.
#[test]
fn hashes_are_those_of_the_field() {
    let preamble = "PreAmbleWillBeRemoved,ThePrePartThatIs";
    let cases: [(&str, u32, u32); 11] = [
        ("kafka", 0xd067_cf64, 0x0d33_c4e1),
        ("giberish123456789", 0x8f55_2b0c, 0x77a5_8295),
        ("1234", 0x9fc9_7b14, 0x023b_dd03),
        ("234", 0xe7c0_09ca, 0x2dea_3cd2),
        ("34", 0x8739_30da, 0x740f_a83e),
        ("4", 0x5a4b_5ca1, 0x310c_a263),
        (preamble, 0x7842_4f1c, 0x65cb_d69c),
        (&preamble[1..], 0x4a62_b377, 0x6e49_c79a),
        (&preamble[2..], 0xe0e4_e09e, 0x69ee_d356),
        (&preamble[3..], 0x62b8_b43f, 0x6abc_c023),
        ("", 0x106e_08d9, 0x7ee3_623b),
    ];
    for (key, murmur, fnv) in cases {
        assert_eq!(murmur2(key.as_bytes()), murmur, "{key}");
        assert_eq!(fnv1a(key.as_bytes()), fnv, "{key}");
    }
    // The check values of the catalogue of CRCs.
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(b""), 0);
}

/// Keys where a partitioner puts them.
fn sample(way: Partitioner, partitions: i32) -> Vec<Keyed> {
    let count = u32::try_from(partitions).unwrap();
    let keys = (0..100).map(|n| format!("user-{n}").into_bytes());
    let at = |key: Vec<u8>| {
        let lies = |p: &i32| way.agrees(&key, *p, count) == Some(true);
        let partition = (0..partitions).find(lies).unwrap();
        Keyed { partition, key }
    };
    keys.map(at).collect()
}

fn probed(sample: &[Keyed], partitions: usize, declared: Option<Partitioner>) -> Probed {
    let same = |key: &[u8]| Ok(Some(key.to_vec()));
    probe(sample.to_vec(), partitions, declared, same).unwrap()
}

#[test]
fn the_partitioner_that_put_keys_there_explains_them() {
    for way in [Partitioner::Murmur2, Partitioner::Crc32, Partitioner::Fnv1a] {
        let mut keys = sample(way, 12);
        keys.extend(keys.clone());
        let found = probed(&keys, 12, None);
        assert_eq!(
            found,
            Probed {
                keys: 100,
                explain: vec![way],
                moved: 0
            }
        );
        assert_eq!(Partitioner::of(way.name()), Some(way));
    }
    let nothing = probed(&[], 12, None);
    assert_eq!((nothing.keys, nothing.explain.len()), (0, 0));
    assert_eq!(
        probed(&sample(Partitioner::Crc32, 1), 1, None)
            .explain
            .len(),
        3
    );
}

/// One key elsewhere, or in two places, is explained by nothing; then nothing is known to move,
/// unless somebody said how partitions are chosen.
#[test]
fn what_none_explains_is_custom() {
    let mut keys = sample(Partitioner::Murmur2, 12);
    let mut twice = keys[0].clone();
    twice.partition = (twice.partition + 1) % 12;
    keys.push(twice);
    let found = probed(&keys, 12, None);
    assert_eq!((found.keys, found.explain.len(), found.moved), (101, 0, 0));
    assert_eq!(probed(&keys, 12, Some(Partitioner::Murmur2)).moved, 1);
    assert_eq!(probed(&keys, 12, Some(Partitioner::Custom)).moved, 0);
}

#[test]
fn a_mapped_key_must_stay_where_its_record_is() {
    let keys = sample(Partitioner::Murmur2, 12);
    let longer = |key: &[u8]| Ok(Some([key, b"/v2"].concat()));
    let found = probe(keys.clone(), 12, None, longer).unwrap();
    assert!(found.moved > 80 && found.moved < 100, "{found:?}");
    // Of those that have no copy nothing is known.
    let found = probe(keys.clone(), 12, None, |_| Ok(None)).unwrap();
    assert_eq!((found.keys, found.moved), (100, 0));
    let found = probe(keys, 12, Some(Partitioner::Custom), longer).unwrap();
    assert_eq!(found.moved, 0);
}

/// The one client takes an empty key for none, the others do not.
#[test]
fn an_empty_key_is_a_key_for_most() {
    let at = |partition| Keyed {
        partition,
        key: Vec::new(),
    };
    let murmur = (0x106e_08d9 & 0x7fff_ffff) % 12;
    let explain = probed(&[at(murmur)], 12, None).explain;
    assert!(explain.contains(&Partitioner::Murmur2) && explain.contains(&Partitioner::Crc32));
    let explain = probed(&[at((murmur + 1) % 12)], 12, None).explain;
    assert!(!explain.contains(&Partitioner::Murmur2) && explain.contains(&Partitioner::Crc32));
}
