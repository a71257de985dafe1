//! What is worth a try: a shortcut that failed is left out for a while, longer each time.

/// Statements without a shortcut after it has failed, doubled each time.
const PAUSE_FIRST: u32 = 4;
const PAUSE_MAX: u32 = 256;

/// What is known of the shortcuts to a table.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Worth {
    /// Whole ranges by COPY: most of their rows are not there yet.
    pub(super) copy: Pause,
    /// Rows by UPDATE: all of them are there already.
    pub(super) update: Pause,
    /// A value came that the server has to read itself: a COPY takes texts from then on.
    pub(super) texts: bool,
}

/// For how long a shortcut is left out.
#[derive(Debug, Default)]
pub(super) struct Pause {
    left_out: u32,
    pause: u32,
}

impl Pause {
    /// Whether it is to be tried now.
    pub(super) fn is_over(&mut self) -> bool {
        let over = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        over
    }

    /// Learns what came of a try.
    pub(super) fn learn(&mut self, done: bool) {
        self.pause = match done {
            true => 0,
            false => (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX),
        };
        self.left_out = self.pause;
    }
}

#[cfg(test)]
mod tests;
