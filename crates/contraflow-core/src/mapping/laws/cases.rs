//! One row through all laws.

use crate::mapping::laws::sample::Generator;
use crate::mapping::laws::{Proof, away, may_fail};
use crate::mapping::{Law, MapError, Mapped, Mapping};
use crate::record::{Image, Key};
use crate::side::{Direction, Side};
use crate::value::Value;

/// Where and how a law failed.
pub(super) struct Failure {
    pub(super) path: String,
    pub(super) detail: String,
}

/// What came of one row.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) proofs: Vec<(Proof, Option<Failure>)>,
    pub(super) letter: bool,
    pub(super) complement: Option<usize>,
}

/// Tries every law on one row of one side.
pub(super) fn try_all(mapping: &Mapping, side: Side, image: &Image, seed: u64) -> Tried {
    let mut tried = Tried::default();
    let image = match settled(mapping, side, image) {
        Ok(image) => image,
        Err(error) => return tried.failed(mapping, &error),
    };
    let there = match carry(mapping, away(side), &image) {
        Ok(there) => there,
        Err(error) => return tried.failed(mapping, &error),
    };
    tried.proofs.push((Proof::Total, None));
    tried.complement = Some(there.image.complement.0.len());

    let key = Key(mapping.shape(side).key_of(&image.row.0));
    let kept = mapping.key(away(side), &key).as_ref() == Ok(&there.key);
    let moved = Failure {
        path: "key".into(),
        detail: "the key alone maps to another key than its row".into(),
    };
    tried
        .proofs
        .push((Proof::KeyKept, (!kept).then_some(moved)));

    let law = match side {
        Side::Old => Proof::OldComesBack,
        Side::New => Proof::NewComesBack,
    };
    let back = match carry(mapping, away(side.other()), &there.image) {
        Ok(back) => back,
        Err(error) => {
            tried.proofs.push((law, Some(Failure::from(&error))));
            return tried;
        }
    };
    let unequal = differs(mapping, side, &image.row.0, &back.image.row.0);
    tried.proofs.push((law, unequal));
    let again = match carry(mapping, away(side), &back.image) {
        Ok(again) => differs(
            mapping,
            side.other(),
            &there.image.row.0,
            &again.image.row.0,
        ),
        Err(error) => Some(Failure::from(&error)),
    };
    tried.proofs.push((Proof::Settled, again));
    edits(mapping, side, &there.image, &back.image, seed, &mut tried);
    tried
}

impl Tried {
    fn failed(mut self, mapping: &Mapping, error: &MapError) -> Tried {
        self.letter = true;
        let broken = (!may_fail(mapping)).then(|| Failure::from(error));
        self.proofs.push((Proof::Total, broken));
        self
    }
}

impl From<&MapError> for Failure {
    fn from(error: &MapError) -> Failure {
        Failure {
            path: error.path.clone(),
            detail: error.reason.to_string(),
        }
    }
}

/// Edits each field of the target in turn, looks which fields of the source change, and whether
/// the edit itself comes back.
fn edits(mapping: &Mapping, side: Side, there: &Image, back: &Image, seed: u64, tried: &mut Tried) {
    let mut generator = Generator::new(seed);
    let target = side.other();
    for (i, field) in mapping.shape(target).fields.iter().enumerate() {
        let mut edited = there.clone();
        edited.row.0[i] = generator.field(field);
        let Ok(carried) = carry(mapping, away(target), &edited) else {
            continue;
        };
        let stray = (0..back.row.0.len()).find(|&place| {
            !related(mapping, side, place, i)
                && !mapping.is_forgotten(side, place)
                && carried.image.row.0[place] != back.row.0[place]
        });
        let failure = stray.map(|place| Failure {
            path: mapping.shape(side).fields[place].name.clone(),
            detail: format!(
                "an edit of `{}` on the {target} side changes it",
                field.name
            ),
        });
        tried.proofs.push((Proof::Local, failure));
        if target == Side::New && computes_inside(mapping) {
            continue;
        }
        let failure = match carry(mapping, away(side), &carried.image) {
            Ok(again) => differs(mapping, target, &edited.row.0, &again.image.row.0),
            Err(error) => Some(Failure::from(&error)),
        };
        tried.proofs.push((Proof::EditKept, failure));
    }
}

/// Whether a field of one side is made from a field of the other.
fn related(mapping: &Mapping, side: Side, place: usize, other: usize) -> bool {
    match side {
        Side::Old => mapping.origins(other).contains(&place),
        Side::New => mapping.origins(place).contains(&other),
    }
}

fn carry(mapping: &Mapping, direction: Direction, image: &Image) -> Result<Mapped, MapError> {
    let mut out = Vec::with_capacity(1);
    mapping.map(direction, image.clone(), &mut out)?;
    out.pop()
        .ok_or_else(|| MapError::unmappable("row", "it mapped to no record"))
}

/// Whether fields inside lists or records are computed, so that edits of them do not count.
fn computes_inside(mapping: &Mapping) -> bool {
    let mut operations = mapping.operations().iter();
    operations.any(|operation| operation.name == "at" && operation.law >= Law::Derived)
}

/// A new row whose computed fields inside lists and records are what the mapping computes.
fn settled(mapping: &Mapping, side: Side, image: &Image) -> Result<Image, MapError> {
    if side == Side::Old || !computes_inside(mapping) {
        return Ok(image.clone());
    }
    let down = carry(mapping, Direction::Reverse, image)?;
    carry(mapping, Direction::Forward, &down.image).map(|up| up.image)
}

/// The first field that must be equal and is not.
fn differs(mapping: &Mapping, side: Side, was: &[Value], is: &[Value]) -> Option<Failure> {
    let shape = mapping.shape(side);
    let free = |i: &usize| mapping.is_derived(side, *i) || mapping.is_forgotten(side, *i);
    let at = (0..shape.fields.len()).find(|i| !free(i) && was[*i] != is[*i])?;
    Some(Failure {
        path: shape.fields[at].name.clone(),
        detail: format!("expected {}, found {}", was[at].kind(), is[at].kind()),
    })
}
