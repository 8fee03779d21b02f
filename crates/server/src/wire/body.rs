//! Reads a body as JSON: the request, and the names of the fields that its type does not have.
//!
//! What is done about such fields is the business of `routes/call`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;

use super::fields::NoEffect;
use crate::error::Refusal;

/// Names of unknown fields that are kept per request besides those that other endpoints have; more are only counted.
const KEPT: usize = 16;

/// Characters that are kept of the name of an unknown field.
const LONGEST_NAME: usize = 64;

/// Fields that change the answers of the endpoints that have them. The others refuse them, whatever
/// `--unknown-fields` says.
const OF_OTHER_ENDPOINTS: [&str; 13] = [
    "add_special_tokens",
    "aggregation_strategy",
    "candidate_labels",
    "dimensions",
    "hypothesis_template",
    "ignore_labels",
    "multi_label",
    "normalize",
    "prompt_name",
    "stride",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_activation",
];

/// Those of them that are flags and on by default.
const ON_BY_DEFAULT: [&str; 3] = ["add_special_tokens", "normalize", "use_activation"];

/// Fields that have their place beside `parameters`, and are refused in it.
const BESIDE_PARAMETERS: [&str; 2] = ["priority", "timeout_ms"];

/// The fields of a body that its request does not have.
#[derive(Debug, Default)]
pub(crate) struct UnknownFields {
    /// Number of fields, with repetitions.
    pub(crate) count: u64,
    /// Distinct names with those of the fields around them: `documents[].title`. The first 16 and those that other
    /// endpoints have, cut to 64 characters, because they are the client's and may be anything.
    pub(crate) names: Vec<String>,
}

/// Reads a body. serde_json bounds nesting at 128, rejects lone surrogates and NaN, and a repeated field of a
/// struct is an error.
///
/// # Errors
/// The body is not JSON, or not a request of this type; the latter names the field.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<(T, UnknownFields), Refusal> {
    // A list would be taken for the fields of the request in the order of their declaration.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(match check_syntax(body) {
            Ok(()) => Refusal::Shape("the body is a list; send an object".into()),
            Err(error) => Refusal::Syntax(error.to_string()),
        });
    }
    let mut unknown = UnknownFields::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let request = serde_ignored::deserialize(&mut json, |path| unknown.add(&path));
    match request.and_then(|request| json.end().map(|()| request)) {
        Ok(request) => Ok((request, unknown)),
        Err(error) => Err(refuse::<T>(body, &error)),
    }
}

/// Returns the refusal of a body that could not be read. It reads the body again: the path of a value is only
/// followed where it is needed.
fn refuse<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Refusal {
    if !error.is_data()
        && let Err(error) = check_syntax(body)
    {
        return Refusal::Syntax(error.to_string());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => error.path().to_string(),
        Ok(_) => String::new(),
    };
    Refusal::Shape(match path.as_str() {
        "" | "." => error.to_string(),
        // serde_json reports anything but a string where an enum is due as a syntax error.
        path if !error.is_data() => format!("`{path}` must be a string; /docs lists its values"),
        path => format!("`{path}`: {error}"),
    })
}

/// Returns the first error in the syntax of a body.
fn check_syntax(body: &[u8]) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    NoEffect::deserialize(&mut json)?;
    json.end()
}

impl UnknownFields {
    /// Returns the fields by which another endpoint changes its answer.
    fn of_other_endpoints(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| is_of_other_endpoint(name))
    }

    /// Returns whether [`UnknownFields::refuse_those_of_other_endpoints`] could refuse one.
    pub(crate) fn any_of_other_endpoints(&self) -> bool {
        self.of_other_endpoints().next().is_some()
    }

    /// Refuses a field by which another endpoint changes its answer: whoever sends it here expects that too. Reads the
    /// whole body again.
    pub(crate) fn refuse_those_of_other_endpoints(&self, body: &[u8]) -> Result<(), Refusal> {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let asks = |name: &&String| {
            let value = name.split('.').fold(&body, |value, key| &value[key]);
            match value {
                // Flags that are on by default.
                Value::Bool(on) if ON_BY_DEFAULT.contains(&name.as_str()) => !on,
                Value::Null | Value::Bool(false) => false,
                Value::String(text) => !text.is_empty(),
                Value::Array(items) => !items.is_empty(),
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::Bool(true) | Value::Object(_) => true,
            }
        };
        match self.of_other_endpoints().find(asks) {
            None => Ok(()),
            Some(name) if is_beside_parameters(name) => Err(Refusal::Invalid(format!(
                "`{name}` is not read there; put it beside `parameters`"
            ))),
            Some(name) => Err(Refusal::Invalid(format!(
                "`{name}` is no field of this endpoint, and would change the answer of those that have it (/docs); \
                 leave it out"
            ))),
        }
    }

    fn add(&mut self, path: &Path) {
        self.count += 1;
        let name: String = name(path).chars().take(LONGEST_NAME).collect();
        let kept = self.names.len() < KEPT || is_of_other_endpoint(&name);
        if kept && !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

fn is_of_other_endpoint(name: &str) -> bool {
    let last = name.strip_prefix("parameters.").unwrap_or(name);
    OF_OTHER_ENDPOINTS.contains(&last) || is_beside_parameters(name)
}

fn is_beside_parameters(name: &str) -> bool {
    name.strip_prefix("parameters.").is_some_and(|name| BESIDE_PARAMETERS.contains(&name))
}

/// Writes the path of a field, with `[]` for any element of an array.
fn name(path: &Path) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, .. } => format!("{}[]", name(parent)),
        Path::Map { parent, key } => match name(parent).as_str() {
            "" => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => name(parent),
    }
}
