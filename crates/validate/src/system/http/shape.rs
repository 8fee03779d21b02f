//! Types that check the shape of a reply and keep none of its numbers.
//!
//! A reply is parsed to its end and its numbers must be numbers, but nothing is stored: a generator that
//! stores vectors would measure itself. JSON has no NaN and no infinity; servers write `null` for them,
//! which is not a number, and the parser rejects numbers that overflow a double.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// A non-empty array of numbers, not all of which are 0.
pub(super) struct Numbers;

/// Non-empty arrays of numbers, nested to any depth.
pub(super) struct NestedNumbers;

struct NumbersVisitor;
struct NestedNumbersVisitor;

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(NumbersVisitor)
    }
}

impl<'de> Deserialize<'de> for NestedNumbers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NestedNumbersVisitor)
    }
}

impl<'de> Visitor<'de> for NumbersVisitor {
    type Value = Numbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Numbers, A::Error> {
        let (mut count, mut zeros) = (0usize, 0usize);
        while let Some(number) = seq.next_element::<f64>()? {
            count += 1;
            zeros += usize::from(number == 0.0);
        }
        match count {
            0 => Err(A::Error::custom("an array is empty")),
            // No model maps a text to the origin; a device that lost its results does.
            2.. if zeros == count => Err(A::Error::custom("every number of the vector is 0")),
            _ => Ok(Numbers),
        }
    }
}

impl<'de> Visitor<'de> for NestedNumbersVisitor {
    type Value = NestedNumbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or arrays of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NestedNumbers, A::Error> {
        require_elements::<NestedNumbers, A>(&mut seq)?;
        Ok(NestedNumbers)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<NestedNumbers, E> {
        Ok(NestedNumbers)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<NestedNumbers, E> {
        Ok(NestedNumbers)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<NestedNumbers, E> {
        Ok(NestedNumbers)
    }
}

/// Reads all elements; an empty array is an error.
fn require_elements<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
) -> Result<(), A::Error> {
    let mut count = 0usize;
    while seq.next_element::<T>()?.is_some() {
        count += 1;
    }
    if count == 0 { Err(A::Error::custom("an array is empty")) } else { Ok(()) }
}

/// An array of exactly one item, since a request has one text.
pub(super) struct SingleItem<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SingleItem<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(SingleItemVisitor(std::marker::PhantomData)).map(SingleItem)
    }
}

struct SingleItemVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SingleItemVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of one item")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let item = seq.next_element()?.ok_or_else(|| A::Error::custom("there is no item"))?;
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("there are several items for one text"));
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: for<'de> Deserialize<'de>>(json: &str) -> Option<String> {
        serde_json::from_str::<T>(json).err().map(|error| error.to_string())
    }

    #[test]
    fn numbers_are_numbers_and_finite() {
        for good in ["[1]", "[0.5, -3, 1e-40]"] {
            assert_eq!(error::<Numbers>(good), None, "{good}");
        }
        for bad in [
            "[0, 0.0, -0]",
            "[]",
            "[null]",
            "[NaN]",
            "[1e999]",
            "[\"1\"]",
            "[[1]]",
            "{}",
            "[1",
            "1",
        ] {
            assert!(error::<Numbers>(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn nested_numbers_have_any_depth_and_no_holes() {
        for good in ["[1]", "[[1, 2], [3, 4]]", "[[[0.5]]]"] {
            assert_eq!(error::<NestedNumbers>(good), None, "{good}");
        }
        for bad in ["[]", "[[]]", "[[1], null]", "[[1], {}]", "\"AAAA\""] {
            assert!(error::<NestedNumbers>(bad).is_some(), "{bad}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(error::<NestedNumbers>(&deep).is_some(), "refused, and the stack holds");
    }

    #[test]
    fn one_text_has_one_answer() {
        assert_eq!(error::<SingleItem<Numbers>>("[[1, 2]]"), None);
        assert!(error::<SingleItem<Numbers>>("[]").is_some_and(|e| e.contains("no item")));
        assert!(
            error::<SingleItem<Numbers>>("[[1], [2]]").is_some_and(|e| e.contains("several items"))
        );
    }
}
