//! The key on both sides: found by name, and carried only by operations that lose nothing.

use crate::change::node::nearest;
use crate::code::Code;
use crate::error::Problem;
use crate::mapping::Law;
use crate::mapping::program::Planned;
use crate::mapping::scope::Slot;
use crate::shape::Field;
use crate::side::Side;

/// Where a key field's value ends up, and the steps that carried it there.
pub(super) struct Image {
    register: usize,
    steps: Vec<usize>,
}

/// The places of the declared key fields.
pub(super) fn places(
    fields: &[Field],
    key: &[String],
    side: Side,
    problems: &mut Vec<Problem>,
) -> Vec<usize> {
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    if key.is_empty() {
        let message = format!("the {side} key has no fields");
        problems.push(Problem::error(Code::KEY_UNUSABLE, message).at(side));
    }
    let mut places = Vec::with_capacity(key.len());
    for name in key {
        match names.iter().position(|candidate| candidate == name) {
            Some(place) => places.push(place),
            None => {
                let message = format!("the key field `{name}` is not there");
                let problem = Problem::error(Code::FIELD_UNKNOWN, message).at(side);
                problems.push(match nearest(name, &names) {
                    Some(near) => problem.hint(format!("Did you mean `{near}`?")),
                    None => problem,
                });
            }
        }
    }
    places
}

/// Follows every old key field through the operations.
pub(super) fn images(
    planned: &[Planned],
    old_key: &[usize],
    fields: &[Field],
    problems: &mut Vec<Problem>,
) -> Vec<Image> {
    let mut images = Vec::with_capacity(old_key.len());
    for &place in old_key {
        let mut image = Image {
            register: place,
            steps: Vec::new(),
        };
        for (number, planned) in planned.iter().enumerate() {
            let reads = planned.reads.contains(&image.register);
            if !reads || planned.law == Law::Derived {
                continue;
            }
            match (
                planned.law,
                planned.reads.as_slice(),
                planned.writes.as_slice(),
            ) {
                (Law::Iso, [_], [write]) => {
                    image.register = *write;
                    image.steps.push(number);
                }
                _ => {
                    let name = &fields[place].name;
                    let message = format!(
                        "the key field `{name}` passes an operation that is {}, not iso",
                        planned.law.name()
                    );
                    let problem = Problem::error(Code::KEY_NOT_ISO, message).place(planned.place);
                    problems.push(problem.hint("Keys can only be renamed."));
                    break;
                }
            }
        }
        images.push(image);
    }
    images
}

/// The places of the new key's fields, and the steps on the way to them.
pub(super) fn new_places(
    arranged: &[Slot],
    new_key: Option<&[String]>,
    images: &[Image],
    problems: &mut Vec<Problem>,
) -> (Vec<usize>, Vec<usize>) {
    let mut steps: Vec<usize> = images
        .iter()
        .flat_map(|image| image.steps.clone())
        .collect();
    steps.sort_unstable();
    steps.dedup();
    let place_of = |register| arranged.iter().position(|slot| slot.register == register);
    let carried: Vec<usize> = images
        .iter()
        .filter_map(|image| place_of(image.register))
        .collect();
    let places = match new_key {
        Some(new_key) => {
            let fields: Vec<Field> = arranged.iter().map(|slot| slot.field.clone()).collect();
            places(&fields, new_key, Side::New, problems)
        }
        None => carried.clone(),
    };
    let mut sorted = [places.clone(), carried];
    sorted.iter_mut().for_each(|places| places.sort_unstable());
    if problems.is_empty() && (sorted[0] != sorted[1] || places.len() != images.len()) {
        let message = "the new key is not the image of the old key";
        let hint = "Each key field of one side must be a key field of the other, by whatever name.";
        problems.push(
            Problem::error(Code::KEY_NOT_ISO, message)
                .at(Side::New)
                .hint(hint),
        );
    }
    (places, steps)
}
