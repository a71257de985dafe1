//! Lanes of a change: each has partitions of its own and is fenced alone, and all of them together
//! when authority moves while their owner stands still.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::cluster::Cluster;
use contraflow_core::clock::Clock;
use contraflow_core::code::Code;
use contraflow_core::codec::payload::Raw;
use contraflow_core::end::{
    Apply, End, Feed, Letter, Part, Progress, Role, Start, StoredLetter, Switch, Table,
};
use contraflow_core::error::{Kind, Result};
use contraflow_core::lease::{Epoch, Gate, LaneId, Lease, Standing};
use contraflow_core::probe::Silent;
use contraflow_core::record::{Batch, Change, Event, Record};
use contraflow_core::shape::Shape;
use contraflow_core::side::{Direction, Side};
use contraflow_ends::kafka::{Kafka, Payloads};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::broker::{LIMIT, committed, shared, transactional};
use crate::clock::Real;

/// Both topics of a change that has begun.
struct Begun {
    end: Kafka,
    roles: [Arc<Role>; 2],
}

fn begun(change: &str, partitions: i32) -> Begun {
    let mut payloads = Payloads::default();
    let names = ["old", "new"].map(|side| format!("{change}-{side}"));
    for name in &names {
        super::topic(name, partitions);
        payloads.insert(name, Arc::new(Raw::new("value")), None);
    }
    let clock = Arc::new(Real::start());
    let end = Kafka::new(
        &Cluster::open(&shared().servers()),
        payloads,
        clock,
        Arc::new(Silent),
    );
    let role = |side: Side, name: &String| {
        let shape = shape(&end, name);
        Arc::new(Role {
            change: change.to_owned(),
            side,
            tables: vec![Table {
                name: name.clone(),
                native: vec![false; shape.fields.len()],
                declared: vec![None; shape.fields.len()],
                shape,
                created: false,
            }],
        })
    };
    let roles = [role(Side::Old, &names[0]), role(Side::New, &names[1])];
    for (role, gate) in [(&roles[1], Gate::Closed), (&roles[0], Gate::Open)] {
        let standing = Standing {
            gate,
            epoch: Epoch::FIRST,
            ledger: "l".to_owned(),
            mapping: "m".to_owned(),
        };
        end.structure(role).unwrap().expand(&standing).unwrap();
    }
    Begun { end, roles }
}

/// The shape of a topic, which is not known everywhere as soon as it is made.
fn shape(end: &Kafka, topic: &str) -> Shape {
    let clock = Real::start();
    loop {
        match end.inspect(topic, &[]) {
            Ok(Some(found)) => return found.shape,
            other => assert!(clock.elapsed() < LIMIT, "{:?}", other.err()),
        }
    }
}

impl Begun {
    fn switch(&self, side: Side) -> Box<dyn Switch> {
        let role = &self.roles[usize::from(side == Side::New)];
        self.end.switch(role).unwrap()
    }

    fn apply(&self, direction: Direction) -> Box<dyn Apply> {
        let role = &self.roles[usize::from(direction.target() == Side::New)];
        self.end.apply(role).unwrap()
    }
}

/// A lane that carries what is on the old topic, by hand.
struct Carrier {
    feed: Box<dyn Feed>,
    apply: Box<dyn Apply>,
    lease: Lease,
}

impl Carrier {
    fn claim(begun: &Begun, lane: LaneId) -> Carrier {
        let mut apply = begun.apply(Direction::Forward);
        let (lease, resume) = apply.claim(lane, Direction::Forward).unwrap();
        let mut feed = begun.end.feed(&begun.roles[0]).unwrap();
        feed.keep_to(Part::Lane(lane));
        let start = resume.position.map_or(Start::Earliest, Start::After);
        feed.open(&start).unwrap();
        Carrier { feed, apply, lease }
    }

    /// Writes what comes next, as this makes it.
    fn next(&mut self, make: impl FnOnce(Vec<Event>) -> (Vec<Record>, Vec<Letter>)) -> Result<()> {
        let Batch {
            events, through, ..
        } = self.feed.next(100).unwrap();
        let (records, letters) = make(events);
        let advance = Progress::Advance {
            through: &through,
            seen: &through,
        };
        let applied = self
            .apply
            .apply(&records, &letters, &advance, &mut self.lease)?;
        assert_eq!(applied.letters, letters.len() as u64);
        Ok(())
    }

    /// Parks everything that comes next.
    fn park(&mut self) {
        let letter = |event: Event| Letter {
            pair: event.pair,
            source_key: event.key,
            code: Code::VALUE_UNMAPPABLE,
            reason: "nobody can read it".to_owned(),
            retry_after: None,
        };
        let parked = |events: Vec<Event>| (Vec::new(), events.into_iter().map(letter).collect());
        self.next(parked).unwrap();
    }

    /// Carries what the lane has, until there is no more.
    fn carry(&mut self) -> Result<()> {
        let record = |event: Event| Record {
            pair: event.pair,
            key: event.key.clone(),
            source_key: event.key,
            change: Change::Put(event.image.unwrap()),
        };
        while self.feed.head().unwrap().1 > 0 {
            self.next(|events| (events.into_iter().map(record).collect(), Vec::new()))?;
        }
        Ok(())
    }
}

fn lanes(end: &Kafka) -> Vec<LaneId> {
    (0..end.lanes()).map(LaneId).collect()
}

/// Writes numbers to all partitions in turn.
fn write(topic: &str, numbers: Range<i32>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", shared().servers())
        .create()
        .unwrap();
    for number in numbers {
        let value = number.to_string();
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic)
            .partition(number % PARTITIONS)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// The offsets of a consumer group, by partition.
fn group(name: &str) -> Vec<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", shared().servers())
        .set("group.id", name)
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range("a-shared-change-old", 0, PARTITIONS - 1);
    let found = consumer.committed_offsets(asked, LIMIT).unwrap();
    let offsets = found.elements().into_iter().map(|of| of.offset().to_raw());
    offsets.map(|offset| offset.unwrap_or(-1)).collect()
}

const PARTITIONS: i32 = 6;

/// Both processes have some of the lanes; then one of them dies, and one of its lanes is taken over
/// while its other one was not missed yet.
#[test]
fn processes_share_the_lanes_of_a_change_and_each_lane_is_fenced_alone() {
    let begun = begun("a-shared-change", PARTITIONS);
    let lanes = lanes(&begun.end);
    assert!(lanes.len() > 1, "there is nothing to share");
    write("a-shared-change-old", 0..300);
    let claim = |lane: &LaneId| Carrier::claim(&begun, *lane);
    let mut carriers: Vec<Carrier> = lanes.iter().map(claim).collect();
    carriers.iter_mut().for_each(|lane| lane.carry().unwrap());
    write("a-shared-change-old", 300..420);
    // Whoever takes the first one over goes on where it was, and no other lane notices.
    let mut heir = Carrier::claim(&begun, LaneId(0));
    for carrier in &mut carriers[1..] {
        carrier.carry().unwrap();
    }
    assert_eq!(carriers[0].carry().unwrap_err().kind, Kind::Fenced);
    heir.carry().unwrap();
    for partition in 0..PARTITIONS {
        let expected: Vec<String> = (0..420)
            .filter(|number| number % PARTITIONS == partition)
            .map(|number| number.to_string())
            .collect();
        let found = committed("a-shared-change-new", partition);
        assert_eq!(found, expected, "of partition {partition}");
    }
    // Together the lanes have carried everything.
    let mut feed = begun.end.feed(&begun.roles[0]).unwrap();
    feed.open(&Start::Earliest).unwrap();
    let at = begun
        .apply(Direction::Forward)
        .checkpoint(Direction::Forward);
    let at = at.unwrap().unwrap();
    assert!(begun.end.reached(&at, &feed.head().unwrap().0));
    // The offsets of the group are a copy of that, though each lane writes its own.
    assert_eq!(group("contraflow-a-shared-change-forward"), [70; 6]);
}

/// What the lanes park at the same time has numbers of its own, and each lane finds its letters.
#[test]
fn letters_of_lanes_are_told_apart() {
    let begun = begun("lanes-with-letters", PARTITIONS);
    let claim = |lane: &LaneId| Carrier::claim(&begun, *lane);
    let mut carriers: Vec<Carrier> = lanes(&begun.end).iter().map(claim).collect();
    let mut open = None;
    for round in 0..2 {
        write("lanes-with-letters-old", round * 6..(round + 1) * 6);
        for carrier in &mut carriers {
            while carrier.feed.head().unwrap().1 > 0 {
                carrier.park();
            }
        }
        // From now on another lane has a transaction open.
        open.get_or_insert_with(|| {
            let producer = transactional("of-another-lane");
            producer.init_transactions(LIMIT).unwrap();
            producer.begin_transaction().unwrap();
            let letters = "__contraflow.lanes-with-letters.letters";
            let record: BaseRecord<'_, str, str> = BaseRecord::to(letters)
                .partition(0)
                .key("a letter")
                .payload("");
            producer.send(record).map_err(|(error, _)| error).unwrap();
            producer.flush(LIMIT).unwrap();
            producer
        });
    }
    // Whoever takes one over gives out none of them again.
    let mut heir = Carrier::claim(&begun, LaneId(1));
    let mine = heir.apply.letters().unwrap();
    let key = |letter: &StoredLetter| {
        begun
            .end
            .lane(letter.letter.pair, &letter.letter.source_key)
    };
    assert!(mine.iter().all(|letter| key(letter) == LaneId(1)));
    assert_eq!(mine.len(), 4, "letters were not seen");
    drop(carriers);
    open.unwrap().abort_transaction(LIMIT).unwrap();
    // What was decided becomes visible a little later.
    let letters = || begun.apply(Direction::Forward).letters().unwrap();
    let clock = Real::start();
    while letters().len() < 12 {
        assert!(clock.elapsed() < LIMIT, "{} letters", letters().len());
    }
    let all = letters();
    let numbers: BTreeSet<u64> = all.iter().map(|letter| letter.id).collect();
    assert_eq!((all.len(), numbers.len()), (12, 12));
    write("lanes-with-letters-old", 12..18);
    heir.park();
    let last = heir.apply.letters().unwrap();
    let new = last.iter().filter(|letter| !numbers.contains(&letter.id));
    assert_eq!(new.count(), last.len() - mine.len());
    assert!(last.len() > mine.len());
}

/// No claim comes between: what fences the lanes is the flip itself.
#[test]
fn a_lane_that_was_claimed_before_the_seal_writes_nothing_after_the_flip() {
    let begun = begun("a-lane-claimed-before", PARTITIONS);
    let lanes = lanes(&begun.end);
    let claim = |lane: &LaneId| Carrier::claim(&begun, *lane);
    let mut zombies: Vec<Carrier> = lanes.iter().map(claim).collect();
    let mut old = begun.switch(Side::Old);
    old.writers_stopped().unwrap();
    let limit = Duration::from_secs(30);
    let fence = old.fence(Epoch::FIRST, limit).unwrap();
    let advance = Progress::Advance {
        through: &fence,
        seen: &fence,
    };
    for Carrier { apply, lease, .. } in &mut zombies {
        apply.apply(&[], &[], &advance, lease).unwrap();
    }
    old.seal(Epoch::FIRST, &fence, &log_end(&begun)).unwrap();
    begun
        .switch(Side::New)
        .flip(Epoch::FIRST.next(), &[])
        .unwrap();
    // Each has to claim its lane anew, and neither it nor anybody else may.
    for (mut zombie, lane) in zombies.into_iter().zip(lanes) {
        let (apply, lease) = (&mut zombie.apply, &mut zombie.lease);
        apply.apply(&[], &[], &advance, lease).unwrap_err();
        for mut writer in [zombie.apply, begun.apply(Direction::Forward)] {
            let refused = writer.claim(lane, Direction::Forward).unwrap_err();
            assert_eq!(refused.kind, Kind::Fenced, "{refused}");
        }
    }
}

/// The end of the new topic.
fn log_end(begun: &Begun) -> contraflow_core::position::Position {
    let mut feed = begun.end.feed(&begun.roles[1]).unwrap();
    feed.open(&Start::Earliest).unwrap();
    feed.head().unwrap().0
}
