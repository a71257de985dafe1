//! What an operation promises about the way there and back.

use serde::Serialize;

/// The class of an operation, from the strongest promise to the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Both ways give back exactly what was there, from the row alone.
    Iso,
    /// Both ways give back exactly what was there, with the complement.
    Restorable,
    /// The new field is computed; what is written to it is not carried.
    Derived,
    /// Some values cannot be carried and become letters; all others are restorable.
    Partial,
    /// Something is lost on purpose.
    Opaque,
}

impl Law {
    /// The word for it in plans and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Law::Iso => "iso",
            Law::Restorable => "restorable",
            Law::Derived => "derived",
            Law::Partial => "partial",
            Law::Opaque => "opaque",
        }
    }
}
