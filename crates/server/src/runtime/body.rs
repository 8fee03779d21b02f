//! Reads request bodies of the contract strictly: unknown fields are refused, `null` is absence, a value has the type that
//! the contract gives it.
//!
//! A body is read in two steps, because the contract orders its refusals: first the names of its fields, each value
//! still as written; then each value when its turn comes.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::wire::fields::NoEffect;

/// A field whose value is still as written; `None` if it is absent or null.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// Returns a body as one JSON value.
///
/// # Errors
/// [`Refusal::Syntax`] if it is not UTF-8, not JSON, or has a string that is not Unicode.
pub(super) fn parse(body: &[u8]) -> Result<&RawValue, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refusal::Syntax(format!("the body is not UTF-8: {error}")))?;
    // A raw value is not looked at until its turn comes; what is no text refuses the whole body.
    let syntax = |error: serde_json::Error| Refusal::Syntax(error.to_string());
    serde_json::from_str::<NoEffect>(text).map_err(syntax)?;
    serde_json::from_str(text).map_err(syntax)
}

/// Reads an object. `what` is its name in messages, such as `` `options` ``.
///
/// # Errors
/// [`Refusal::Shape`] if it is no object, or has an unknown field, a field twice or a value of another type.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue, what: &str) -> Result<T, Refusal> {
    // A list would be taken for the fields in the order of their declaration.
    if !raw.get().starts_with('{') {
        return Err(Refusal::Shape(format!("{what} must be an object")));
    }
    typed(raw, what)
}

/// Reads the value of a field.
///
/// # Errors
/// [`Refusal::Shape`] if it is of another type.
pub(super) fn field<'a, T: Deserialize<'a>>(
    raw: Raw<'a>,
    name: &str,
) -> Result<Option<T>, Refusal> {
    raw.map(|raw| typed(raw, &format!("`{name}`"))).transpose()
}

fn typed<'a, T: Deserialize<'a>>(raw: &'a RawValue, what: &str) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|error| {
        // Lines and columns would count from the value.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Refusal::Shape(format!("{what}: {message}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        input: Raw<'a>,
        #[serde(borrow)]
        options: Raw<'a>,
    }

    fn read(json: &str) -> Result<Body<'_>, Refusal> {
        object(parse(json.as_bytes())?, "the body")
    }

    #[test]
    fn a_field_that_is_null_is_absent() {
        let body = read(r#" {"input": null, "options": {"a": null}} "#).expect("it is an object");
        assert!(body.input.is_none());
        assert_eq!(body.options.map(RawValue::get), Some(r#"{"a": null}"#));
    }

    #[test]
    fn a_body_is_an_object_of_known_fields_each_once() {
        for shape in
            ["[]", "[1, 2]", "3", "null", r#"{"inputs": 1}"#, r#"{"input": 1, "input": 2}"#]
        {
            assert!(matches!(read(shape), Err(Refusal::Shape(_))), "{shape}");
        }
        for syntax in ["", "{", "{} {}", r#"{"input": 01}"#, r#"{"input": NaN}"#] {
            assert!(matches!(read(syntax), Err(Refusal::Syntax(_))), "{syntax}");
        }
        assert!(matches!(parse(b"{\"input\": \"\xff\"}"), Err(Refusal::Syntax(_))));
    }

    #[test]
    fn lone_surrogates_are_refused_and_pairs_are_read() {
        let text = |json| field::<String>(read(json)?.input, "input");
        for lone in [r#"{"input": "\ud83d"}"#, r#"{"options": {"a": ["\ude00"]}}"#] {
            assert!(matches!(parse(lone.as_bytes()), Err(Refusal::Syntax(_))), "{lone}");
        }
        let pair = text(r#"{"input": "\ud83d\ude00"}"#).expect("it is a pair");
        assert_eq!(pair.as_deref(), Some("\u{1f600}"));
    }
}
