//! Classes of texts, and entities, by classifiers that the caller names.
//!
//! A classifier and a token classifier may have the same name, as in the binding.

use std::ffi::c_int;
use std::time::Instant;

use bigbatch_capi::{
    COutput, COutputs, CText, CTexts, CallError, Classification, Entity, Head, OwnedArray,
    OwnedText, classify, classify_all, entities, guarded, is_loaded, load, milliseconds, saturate,
};

const SUCCESS: c_int = 0;
const FAILURE: c_int = -1;

/// `ClassificationResultFFI`.
#[repr(C)]
struct Class {
    label: OwnedText,
    class_id: c_int,
    confidence: f32,
    num_classes: c_int,
    /// `num_classes` elements, by class.
    probabilities: OwnedArray<f32>,
    processing_time_ms: f32,
    error: bool,
}

/// `PIIEntityFFI`.
#[repr(C)]
struct PiiEntity {
    text: OwnedText,
    entity_type: OwnedText,
    /// First byte.
    start: c_int,
    /// The byte after the last one.
    end: c_int,
    confidence: f32,
}

/// `PIIResultFFI`.
#[repr(C)]
struct PiiEntities {
    /// `num_entities` elements, in order of their ranges; null for none.
    entities: OwnedArray<PiiEntity>,
    num_entities: c_int,
    processing_time_ms: f32,
    error: bool,
    /// Why the call failed, else null.
    error_message: OwnedText,
}

impl Class {
    const fn empty(error: bool) -> Class {
        Class {
            label: OwnedText::NULL,
            class_id: -1,
            confidence: 0.0,
            num_classes: 0,
            probabilities: OwnedArray::NULL,
            processing_time_ms: 0.0,
            error,
        }
    }

    fn new(found: Classification, began: Instant) -> Class {
        Class {
            label: OwnedText::new(&found.label),
            class_id: found.class,
            confidence: found.confidence,
            num_classes: saturate(found.probabilities.len()),
            probabilities: OwnedArray::new(found.probabilities),
            processing_time_ms: milliseconds(began),
            error: false,
        }
    }
}

impl PiiEntities {
    const fn empty() -> PiiEntities {
        PiiEntities {
            entities: OwnedArray::NULL,
            num_entities: 0,
            processing_time_ms: 0.0,
            error: false,
            error_message: OwnedText::NULL,
        }
    }

    fn new(found: Vec<Entity>, began: Instant) -> PiiEntities {
        let convert = |entity: Entity| PiiEntity {
            text: OwnedText::new(&entity.text),
            entity_type: OwnedText::new(&entity.label),
            start: entity.start,
            end: entity.end,
            confidence: entity.confidence,
        };
        PiiEntities {
            num_entities: saturate(found.len()),
            entities: OwnedArray::new(found.into_iter().map(convert).collect()),
            processing_time_ms: milliseconds(began),
            ..PiiEntities::empty()
        }
    }

    fn failed(error: &CallError) -> PiiEntities {
        let error_message = OwnedText::new(&error.to_string());
        PiiEntities { error: true, error_message, ..PiiEntities::empty() }
    }
}

fn slot(head: Head, name: &str) -> String {
    let kind = if head == Head::Token { "token classifier" } else { "classifier" };
    format!("{kind} {name}")
}

fn init(
    symbol: &'static str,
    head: Head,
    name: CText<'_>,
    model_path: CText<'_>,
    use_gpu: bool,
) -> bool {
    let body = || {
        let (name, path) = (name.read("name")?, model_path.read("model_path")?);
        load(&slot(head, name), head, path, !use_gpu).map(|()| true)
    };
    guarded(symbol, body, |_| false)
}

#[unsafe(no_mangle)]
extern "C" fn init_sequence_classifier(
    name: CText<'_>,
    model_path: CText<'_>,
    use_gpu: bool,
) -> bool {
    init("init_sequence_classifier", Head::Sequence, name, model_path, use_gpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_token_classifier(name: CText<'_>, model_path: CText<'_>, use_gpu: bool) -> bool {
    init("init_token_classifier", Head::Token, name, model_path, use_gpu)
}

#[unsafe(no_mangle)]
extern "C" fn is_classifier_loaded(name: CText<'_>) -> bool {
    let body = || {
        let name = name.read("name")?;
        Ok([Head::Sequence, Head::Token].iter().any(|&head| is_loaded(&slot(head, name))))
    };
    guarded("is_classifier_loaded", body, |_| false)
}

#[unsafe(no_mangle)]
extern "C" fn classify_text(
    classifier_name: CText<'_>,
    text: CText<'_>,
    result: COutput<'_, Class>,
) -> c_int {
    let began = Instant::now();
    let body = || {
        result.require("result")?;
        let name = classifier_name.read("classifier_name")?;
        let found = classify(&slot(Head::Sequence, name), text.read("text")?)?;
        result.put(|| Class::new(found, began));
        Ok(SUCCESS)
    };
    guarded("classify_text", body, |_| {
        result.put(|| Class::empty(true));
        FAILURE
    })
}

/// Answers the texts that can be read; the results of the others have `error`, and the status is that of failure if
/// there are any.
#[unsafe(no_mangle)]
extern "C" fn classify_batch(
    classifier_name: CText<'_>,
    texts: CTexts<'_>,
    num_texts: c_int,
    results: COutputs<'_, Class>,
) -> c_int {
    let (symbol, began) = ("classify_batch", Instant::now());
    let places = match results.places("results", num_texts) {
        Ok(places) => places,
        Err(error) => return guarded(symbol, || Err(error), |_| FAILURE),
    };
    places.iter().for_each(|place| place.put(|| Class::empty(true)));
    let body = || {
        let name = classifier_name.read("classifier_name")?;
        let texts = texts.read("texts", num_texts)?;
        let mut failed = None;
        for (place, found) in places.iter().zip(classify_all(&slot(Head::Sequence, name), &texts)?)
        {
            match found {
                Ok(found) => place.put(|| Class::new(found, began)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(SUCCESS), Err)
    };
    guarded(symbol, body, |_| FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn detect_pii(
    classifier_name: CText<'_>,
    text: CText<'_>,
    result: COutput<'_, PiiEntities>,
) -> c_int {
    let began = Instant::now();
    let body = || {
        result.require("result")?;
        let name = classifier_name.read("classifier_name")?;
        let found = entities(&slot(Head::Token, name), text.read("text")?)?;
        result.put(|| PiiEntities::new(found, began));
        Ok(SUCCESS)
    };
    guarded("detect_pii", body, |error| {
        result.put(|| PiiEntities::failed(error));
        FAILURE
    })
}

#[unsafe(no_mangle)]
extern "C" fn free_classification_result(result: COutput<'_, Class>) {
    if let Some(class) = result.take(Class::empty(false)) {
        class.label.free();
        class.probabilities.free();
    }
}

#[unsafe(no_mangle)]
extern "C" fn free_pii_result(result: COutput<'_, PiiEntities>) {
    let Some(found) = result.take(PiiEntities::empty()) else { return };
    for entity in found.entities.into_elements() {
        entity.text.free();
        entity.entity_type.free();
    }
    found.error_message.free();
}
