//! A value that may hold a password: it is used, and never shown.

use std::fmt;

/// A value read from the change file, together with what may be shown of it.
///
/// `Debug` and `Display` print the text as typed, with `${env:NAME}` where the value was
/// interpolated, and never the value itself.
#[derive(Clone)]
pub struct Secret<T> {
    value: T,
    shown: String,
}

impl<T> Secret<T> {
    /// Wraps a value; `shown` is all that is ever printed of it.
    #[must_use]
    pub fn new(value: T, shown: impl Into<String>) -> Secret<T> {
        let shown = shown.into();
        Secret { value, shown }
    }

    /// The value, for the driver that needs it. Never format the result.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.value
    }

    /// The same secret in another form.
    #[must_use]
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Secret<U> {
        Secret {
            value: convert(self.value),
            shown: self.shown,
        }
    }
}

/// By the values: what is shown may be the same for different ones.
impl<T: PartialEq> PartialEq for Secret<T> {
    fn eq(&self, other: &Secret<T>) -> bool {
        self.value == other.value
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown)
    }
}
