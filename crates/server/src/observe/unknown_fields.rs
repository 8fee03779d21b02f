//! The log of fields that requests have and their endpoints do not.
//!
//! Names are the clients' and may be anything, so their number is bounded. `wire/body` bounds their length, and
//! the log quotes them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Maximum fields that are logged over the life of the process.
const LOGGED_MAX: usize = 256;

/// The fields that were logged, each with its route.
#[derive(Debug, Default)]
pub(super) struct LoggedFields(Mutex<BTreeSet<(String, String)>>);

impl LoggedFields {
    /// Logs a field unless it was logged before.
    pub(super) fn log(&self, route: &str, name: &str) {
        let Some(count) = self.remember(route, name) else { return };
        tracing::warn!(
            route,
            field = ?name,
            "a request has a field that this endpoint does not read; it changes nothing \
             (--unknown-fields=refuse rejects such requests)"
        );
        if count == LOGGED_MAX {
            tracing::warn!(
                "{LOGGED_MAX} unknown fields were logged; further ones are only counted \
                 (bigbatch_unknown_fields_total)"
            );
        }
    }

    /// Returns the number of fields so far, if this one is new and there was room for it.
    fn remember(&self, route: &str, name: &str) -> Option<usize> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = logged.len() < LOGGED_MAX;
        (room && logged.insert((route.to_owned(), name.to_owned()))).then_some(logged.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_logged_once_per_route_and_not_without_end() {
        let logged = LoggedFields::default();
        assert_eq!(logged.remember("/embed", "a"), Some(1));
        assert_eq!(logged.remember("/embed", "a"), None);
        assert_eq!(logged.remember("/predict", "a"), Some(2));
        let more = (0..1000).filter(|n| logged.remember("/embed", &n.to_string()).is_some());
        assert_eq!(more.count(), LOGGED_MAX - 2);
        assert_eq!(logged.remember("/decode", "a"), None);
    }
}
