//! The first difference between two values that serialize, such as plans or targets, as a sentence.

use serde::Serialize;
use serde_json::Value;

/// Characters of a value that a message quotes.
const VALUE_CHARS_MAX: usize = 60;

/// Describes the first field in which two values differ: `plan.seed was 1, now it is 2`.
pub(crate) fn describe_first_difference<T: Serialize + PartialEq>(
    before: &T,
    now: &T,
) -> Option<String> {
    if before == now {
        return None;
    }
    let (Ok(before), Ok(now)) = (serde_json::to_value(before), serde_json::to_value(now)) else {
        return Some("one of the two does not serialize".into());
    };
    let (path, before, now) = first_difference(&before, &now)?;
    Some(format!("{} was {}, now it is {}", path.join("."), abbreviate(before), abbreviate(now)))
}

fn first_difference<'a>(
    before: &'a Value,
    now: &'a Value,
) -> Option<(Vec<String>, &'a Value, &'a Value)> {
    if let (Value::Object(one), Value::Object(other)) = (before, now) {
        let keys = one.keys().chain(other.keys().filter(|&key| !one.contains_key(key)));
        return keys.into_iter().find_map(|key| {
            let (before, now) =
                (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
            let (mut path, before, now) = first_difference(before, now)?;
            path.insert(0, key.clone());
            Some((path, before, now))
        });
    }
    (before != now).then(|| (Vec::new(), before, now))
}

/// Cuts a value's JSON to [`VALUE_CHARS_MAX`] characters.
fn abbreviate(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if value.is_null() => "absent".into(),
        None => text,
    }
}
