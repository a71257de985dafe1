//! Gives a field another name. Adjacent renames take effect together, so two fields can swap.
//!
//! ```yaml
//! - rename: {from: surname, to: family_name}
//! ```

use std::sync::Arc;

use crate::mapping::ops::Operation;
use crate::mapping::program::Planned;
use crate::mapping::scope::Scope;
use crate::mapping::spec::Settings;

#[derive(Debug)]
struct Rename {
    from: String,
    to: String,
}

pub(super) fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Operation>> {
    let (from, to) = (settings.text("from"), settings.text("to"));
    Some(Arc::new(Rename {
        from: from?,
        to: to?,
    }))
}

impl Operation for Rename {
    fn plan(&self, scope: &mut Scope<'_>) -> Option<Planned> {
        scope.rename(&self.from, &self.to);
        Some(Planned::named())
    }

    fn describe(&self) -> String {
        format!("renames `{}` to `{}`", self.from, self.to)
    }

    fn simultaneous(&self) -> bool {
        true
    }
}
