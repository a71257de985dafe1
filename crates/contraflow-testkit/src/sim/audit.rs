//! The mirror must show exactly what the mapping makes of the authority.

use contraflow_core::lease::Ownership;
use contraflow_core::mapping::Mapped;
use contraflow_core::record::{Image, Key};
use contraflow_core::side::{Direction, Side};
use contraflow_engine::turn;

use super::process::Process;
use super::world::{Outside, TABLES, place};

/// After everything came to rest: nothing is left to do, and both sides agree.
pub(super) fn mirror(outside: &Outside, process: &Process) -> Result<(), String> {
    let Ok(Ownership::Held { by, .. }) = process.ownership() else {
        return Err("nobody has authority at the end".to_owned());
    };
    let direction = by.direction();
    let letters = turn::letters(&process.context, direction).map_err(|error| error.to_string())?;
    if letters > 0 {
        return Err(format!("{letters} letters are left"));
    }
    compared(outside, direction)
}

/// At the moment of a seal: what the other side goes on with is complete.
pub(super) fn sealed(outside: &Outside, process: &Process) -> Result<(), String> {
    let Ok(Ownership::Sealed { gaining, .. }) = process.ownership() else {
        return Err("a seal that no ownership shows".to_owned());
    };
    let compared = compared(outside, gaining.other().direction());
    compared.map_err(|what| format!("at the seal: {what}"))
}

fn compared(outside: &Outside, direction: Direction) -> Result<(), String> {
    let rows = |side: Side| outside.stores[place(side)].rows(TABLES[place(side)]);
    let source = rows(direction.source());
    let mut mirror = rows(direction.target());
    for (key, image) in source {
        let mapped = carried(outside, direction, image.clone())?;
        let Some(at) = mirror.iter().position(|(found, _)| *found == mapped.key) else {
            return Err(format!("the mirror lacks {}", named(&key)));
        };
        let (_, found) = mirror.swap_remove(at);
        if found.row != mapped.image.row {
            return Err(format!("the mirror shows another {}", named(&key)));
        }
        // The way back shows what was there, fields included that the mirror has no place for.
        let back = carried(outside, direction.opposite(), found)?;
        if back.image.row != image.row {
            return Err(format!("the way back loses a part of {}", named(&key)));
        }
    }
    match mirror.first() {
        Some((key, _)) => Err(format!("the mirror holds {} too many", named(key))),
        None => Ok(()),
    }
}

fn carried(outside: &Outside, direction: Direction, image: Image) -> Result<Mapped, String> {
    let mut mapped = Vec::new();
    let done = outside.mapping.map(direction, image, &mut mapped);
    done.map_err(|error| error.to_string())?;
    mapped
        .pop()
        .ok_or_else(|| "a row that maps to none".to_owned())
}

fn named(key: &Key) -> String {
    match key.0.first() {
        Some(contraflow_core::value::Value::Int(id)) => format!("row {id}"),
        _ => "a row".to_owned(),
    }
}
