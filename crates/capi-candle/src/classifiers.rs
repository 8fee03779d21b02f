//! Classes of texts.
//!
//! A class below 0 is a failure: the model is not loaded, or the text cannot be read, for instance because it is longer
//! than the model reads. It is never cut.

use std::ffi::c_int;

use bigbatch_capi::{CText, CallError, Head, OwnedArray, classify, guarded, saturate};

use crate::init;

// The slots, one per function that loads a classifier.
const INTENT: &str = "mmbert-32k intent";
const FACTCHECK: &str = "mmbert-32k factcheck";
const JAILBREAK: &str = "mmbert-32k jailbreak";
const FEEDBACK: &str = "mmbert-32k feedback";
const MODALITY: &str = "mmbert-32k modality";
const MODERNBERT: &str = "modernbert";
const MODERNBERT_PII: &str = "modernbert pii";
const MODERNBERT_JAILBREAK: &str = "modernbert jailbreak";
const FACT_CHECK_CLASSIFIER: &str = "fact check";
const FEEDBACK_DETECTOR: &str = "feedback";

/// `ModernBertClassificationResult`.
#[repr(C)]
struct Class {
    class: c_int,
    confidence: f32,
}

/// `ModernBertClassificationResultWithProbs`.
#[repr(C)]
struct ClassOfAll {
    class: c_int,
    confidence: f32,
    /// `num_classes` elements, by class.
    probabilities: OwnedArray<f32>,
    num_classes: c_int,
}

impl Class {
    const FAILED: Class = Class { class: -1, confidence: 0.0 };
}

impl ClassOfAll {
    const FAILED: ClassOfAll =
        ClassOfAll { class: -1, confidence: 0.0, probabilities: OwnedArray::NULL, num_classes: 0 };
}

fn class(symbol: &'static str, slot: &str, text: CText<'_>) -> Class {
    let body = || {
        let found = classify(slot, text.read("text")?)?;
        Ok(Class { class: found.class, confidence: found.confidence })
    };
    guarded(symbol, body, |_| Class::FAILED)
}

fn class_of_all(symbol: &'static str, slot: &str, text: CText<'_>) -> ClassOfAll {
    let body = || -> Result<ClassOfAll, CallError> {
        let found = classify(slot, text.read("text")?)?;
        Ok(ClassOfAll {
            class: found.class,
            confidence: found.confidence,
            num_classes: saturate(found.probabilities.len()),
            probabilities: OwnedArray::new(found.probabilities),
        })
    };
    guarded(symbol, body, |_| ClassOfAll::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_intent_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_intent_classifier", INTENT, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_factcheck_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_factcheck_classifier", FACTCHECK, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_jailbreak_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_jailbreak_classifier", JAILBREAK, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_feedback_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_feedback_classifier", FEEDBACK, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_modality_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_modality_classifier", MODALITY, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_modernbert_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_modernbert_classifier", MODERNBERT, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_modernbert_pii_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_modernbert_pii_classifier", MODERNBERT_PII, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_modernbert_jailbreak_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init(
        "init_modernbert_jailbreak_classifier",
        MODERNBERT_JAILBREAK,
        Head::Sequence,
        model_id,
        use_cpu,
    )
}

#[unsafe(no_mangle)]
extern "C" fn init_fact_check_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_fact_check_classifier", FACT_CHECK_CLASSIFIER, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_feedback_detector(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_feedback_detector", FEEDBACK_DETECTOR, Head::Sequence, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_intent(text: CText<'_>) -> Class {
    class("classify_mmbert_32k_intent", INTENT, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_factcheck(text: CText<'_>) -> Class {
    class("classify_mmbert_32k_factcheck", FACTCHECK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_jailbreak(text: CText<'_>) -> Class {
    class("classify_mmbert_32k_jailbreak", JAILBREAK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_feedback(text: CText<'_>) -> Class {
    class("classify_mmbert_32k_feedback", FEEDBACK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_modality(text: CText<'_>) -> Class {
    class("classify_mmbert_32k_modality", MODALITY, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_text(text: CText<'_>) -> Class {
    class("classify_modernbert_text", MODERNBERT, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_pii_text(text: CText<'_>) -> Class {
    class("classify_modernbert_pii_text", MODERNBERT_PII, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_jailbreak_text(text: CText<'_>) -> Class {
    class("classify_modernbert_jailbreak_text", MODERNBERT_JAILBREAK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_fact_check_text(text: CText<'_>) -> Class {
    class("classify_fact_check_text", FACT_CHECK_CLASSIFIER, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_feedback_text(text: CText<'_>) -> Class {
    class("classify_feedback_text", FEEDBACK_DETECTOR, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_jailbreak_with_probabilities(text: CText<'_>) -> ClassOfAll {
    class_of_all("classify_mmbert_32k_jailbreak_with_probabilities", JAILBREAK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_feedback_with_probabilities(text: CText<'_>) -> ClassOfAll {
    class_of_all("classify_mmbert_32k_feedback_with_probabilities", FEEDBACK, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_text_with_probabilities(text: CText<'_>) -> ClassOfAll {
    class_of_all("classify_modernbert_text_with_probabilities", MODERNBERT, text)
}

#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_jailbreak_text_with_probabilities(text: CText<'_>) -> ClassOfAll {
    class_of_all(
        "classify_modernbert_jailbreak_text_with_probabilities",
        MODERNBERT_JAILBREAK,
        text,
    )
}

#[unsafe(no_mangle)]
extern "C" fn classify_feedback_text_with_probabilities(text: CText<'_>) -> ClassOfAll {
    class_of_all("classify_feedback_text_with_probabilities", FEEDBACK_DETECTOR, text)
}

#[unsafe(no_mangle)]
extern "C" fn free_modernbert_probabilities(probabilities: OwnedArray<f32>, _num_classes: c_int) {
    probabilities.free();
}
