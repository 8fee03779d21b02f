//! Types of optional fields, and fields that mean the same.
//!
//! Every optional field of a request is an `Option`: a `null` is an absent field, as clients mean it that write
//! out all fields of their own types. [`NoEffect`] and [`NotSupported`] declare the fields of a dialect that are not
//! computed, so that they are known: one takes any value, the other none that asks for something.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
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
