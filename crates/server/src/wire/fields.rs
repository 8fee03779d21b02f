//! Types of optional fields, and fields that mean the same.
//!
//! Every optional field of a request is an `Option`: a `null` is an absent field, as clients mean it that write
//! out all fields of their own types. [`NoEffect`] and [`NotSupported`] declare the fields of a dialect that are not
//! computed, so that they are known: one takes any value, the other none that asks for something.

use std::fmt;
use std::time::Duration;

use bigbatch_engine::Priority;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::error::Refusal;

/// The value of a field that cannot change the answer: anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoEffect;

/// The value of a field that would change the answer in a way that is not computed: only one that asks for nothing,
/// which is `false`, zero or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSupported;

impl<'de> Deserialize<'de> for NoEffect {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<NoEffect, D::Error> {
        AnyValue.deserialize(from).map(|_| NoEffect)
    }
}

impl<'de> Deserialize<'de> for NotSupported {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<NotSupported, D::Error> {
        match AnyValue.deserialize(from)? {
            true => Ok(NotSupported),
            false => Err(D::Error::custom("not supported; leave it out")),
        }
    }
}

/// Reads any value whole and returns whether it is false, zero, empty or null. Unlike `IgnoredAny` it also checks
/// that strings are Unicode.
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = bool;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any value")
    }

    fn visit_bool<E>(self, on: bool) -> Result<bool, E> {
        Ok(!on)
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        Ok(number == 0)
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        Ok(number == 0)
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        Ok(number == 0.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text.is_empty())
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut empty = true;
        while items.next_element_seed(AnyValue)?.is_some() {
            empty = false;
        }
        Ok(empty)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let mut empty = true;
        while fields.next_key_seed(AnyValue)?.is_some() {
            fields.next_value_seed(AnyValue)?;
            empty = false;
        }
        Ok(empty)
    }
}

impl PartialSchema for NoEffect {
    fn schema() -> RefOr<Schema> {
        <serde_json::Value as PartialSchema>::schema()
    }
}

impl ToSchema for NoEffect {}

impl PartialSchema for NotSupported {
    fn schema() -> RefOr<Schema> {
        <serde_json::Value as PartialSchema>::schema()
    }
}

impl ToSchema for NotSupported {}

/// Checks a threshold, which a request may leave out.
pub(crate) fn check_threshold(name: &str, threshold: Option<f32>) -> Result<(), Refusal> {
    match threshold {
        Some(threshold) if !(0.0..=1.0).contains(&threshold) => {
            Err(Refusal::Invalid(format!("`{name}` is {threshold}; it must lie between 0 and 1")))
        }
        _ => Ok(()),
    }
}

/// What a time limit must be.
pub(crate) const TIMEOUTS: &str = "a whole number of milliseconds from 1 to 86400000";

/// The longest time limit: a day. More is a mistake in the unit.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// A time limit in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeoutMs(u64);

impl TimeoutMs {
    fn new(millis: u64) -> Option<TimeoutMs> {
        (1..=TIMEOUT_MS_MAX).contains(&millis).then_some(TimeoutMs(millis))
    }

    /// Reads the value of a header.
    pub(crate) fn parse(text: &str) -> Option<TimeoutMs> {
        TimeoutMs::new(text.parse().ok()?)
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<'de> Deserialize<'de> for TimeoutMs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TimeoutMs, D::Error> {
        struct TimeoutVisitor;

        impl Visitor<'_> for TimeoutVisitor {
            type Value = TimeoutMs;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(TIMEOUTS)
            }

            fn visit_u64<E: Error>(self, millis: u64) -> Result<TimeoutMs, E> {
                let invalid = || E::invalid_value(Unexpected::Unsigned(millis), &self);
                TimeoutMs::new(millis).ok_or_else(invalid)
            }
        }

        from.deserialize_any(TimeoutVisitor)
    }
}

/// What a priority must be.
pub(crate) const PRIORITIES: &str =
    "`interactive`, `batch`, or vLLM's integer: more than 0 is `batch`";

/// A priority: a name, or the integer of vLLM and Cohere, of which a lower one is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected `interactive`, `batch`, or vLLM's integer: more than 0 is `batch`"
)]
pub(crate) enum PriorityField {
    Level(i64),
    Name(PriorityName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PriorityName {
    Interactive,
    Batch,
}

impl PriorityField {
    pub(crate) fn priority(self) -> Priority {
        match self {
            PriorityField::Level(..=0) | PriorityField::Name(PriorityName::Interactive) => {
                Priority::Interactive
            }
            PriorityField::Level(_) | PriorityField::Name(PriorityName::Batch) => Priority::Batch,
        }
    }
}

/// Reads the value of a header.
pub(crate) fn parse_priority(text: &str) -> Option<Priority> {
    let field = match text {
        "interactive" => PriorityField::Name(PriorityName::Interactive),
        "batch" => PriorityField::Name(PriorityName::Batch),
        level => PriorityField::Level(level.parse().ok()?),
    };
    Some(field.priority())
}

/// Returns the value of fields that have one meaning, each with its name.
///
/// # Errors
/// Two of them differ.
pub(crate) fn agreed<T: Copy + PartialEq>(
    fields: &[(&str, Option<T>)],
) -> Result<Option<T>, Refusal> {
    let mut given = fields.iter().filter_map(|&(name, value)| Some((name, value?)));
    let Some((first, value)) = given.next() else { return Ok(None) };
    match given.find(|&(_, other)| other != value) {
        Some((other, _)) => Err(contradiction(first, other)),
        None => Ok(Some(value)),
    }
}

/// The refusal of two fields that contradict each other.
pub(crate) fn contradiction(first: &str, second: &str) -> Refusal {
    Refusal::Invalid(format!("`{first}` and `{second}` contradict each other; give one of them"))
}

/// Returns the value of a required field that has several names.
///
/// # Errors
/// None of them is given, or more than one.
pub(crate) fn exactly_one<T, const N: usize>(fields: [(&str, Option<T>); N]) -> Result<T, Refusal> {
    let names = fields.each_ref().map(|(name, _)| format!("`{name}`"));
    let mut given = fields.into_iter().filter_map(|(_, value)| value);
    match (given.next(), given.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Refusal::Shape(format!("missing field {}", names.join(" or ")))),
        (Some(_), Some(_)) => Err(Refusal::Shape(format!(
            "{} are names of one field; give one of them",
            names.join(", ")
        ))),
    }
}
