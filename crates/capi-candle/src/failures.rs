//! What the functions that are not served return: one struct per type of result, as failure.
//!
//! Layouts are those of the Go package's declarations. Nothing in them is owned.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

/// `ClassificationResult`. The label came after v0.3.0; before it the struct was returned in the first of the same two
/// registers.
#[repr(C)]
pub(crate) struct LabelledClass {
    class: c_int,
    confidence: f32,
    label: *mut c_char,
}

/// `ClassificationResultWithProbs` as failure, in both of its layouts: up to v0.3.0 24 bytes with the class first,
/// later 32 bytes with the confidence first. The class is -1 in both, and the pointers within the 24 bytes are null.
#[repr(C)]
pub(crate) struct AnyClassOfAll {
    class_or_confidence: c_int,
    confidence_or_class: c_int,
    probabilities_or_label: *mut c_void,
    count_or_probabilities: u64,
}

/// `ModernBertClassificationResultWithProbs`.
#[repr(C)]
pub(crate) struct ClassOfAll {
    class: c_int,
    confidence: f32,
    probabilities: *mut f32,
    num_classes: c_int,
}

/// `BertTokenClassificationResult`.
#[repr(C)]
pub(crate) struct Entities {
    entities: *mut c_void,
    num_entities: c_int,
}

/// `SimilarityResult`.
#[repr(C)]
pub(crate) struct MostSimilar {
    index: c_int,
    score: f32,
}

/// `TokenizationResult`.
#[repr(C)]
pub(crate) struct Tokenization {
    token_ids: *mut c_int,
    token_count: c_int,
    tokens: *mut *mut c_char,
    error: bool,
}

/// `TextWindowsResult`.
#[repr(C)]
pub(crate) struct TextWindows {
    offsets: *mut c_int,
    window_count: c_int,
    error: bool,
}

/// `HallucinationDetectionResult` and `EnhancedHallucinationDetectionResult`.
#[repr(C)]
pub(crate) struct Hallucinations {
    has_hallucination: bool,
    confidence: f32,
    spans: *mut c_void,
    num_spans: c_int,
    error: bool,
    error_message: *mut c_char,
}

/// `NLIResult`.
#[repr(C)]
pub(crate) struct Inference {
    label: c_int,
    confidence: f32,
    probabilities: [f32; 3],
    error: bool,
    error_message: *mut c_char,
}

/// `LoRABatchResult`; a batch of no texts is a failure.
#[repr(C)]
pub(crate) struct LoraBatch {
    results: [*mut c_void; 3],
    batch_size: c_int,
    avg_confidence: f32,
}

impl LabelledClass {
    pub(crate) const FAILED: LabelledClass =
        LabelledClass { class: -1, confidence: 0.0, label: null_mut() };
}

impl AnyClassOfAll {
    pub(crate) const FAILED: AnyClassOfAll = AnyClassOfAll {
        class_or_confidence: -1,
        confidence_or_class: -1,
        probabilities_or_label: null_mut(),
        count_or_probabilities: 0,
    };
}

impl ClassOfAll {
    pub(crate) const FAILED: ClassOfAll =
        ClassOfAll { class: -1, confidence: 0.0, probabilities: null_mut(), num_classes: 0 };
}

impl Entities {
    pub(crate) const FAILED: Entities = Entities { entities: null_mut(), num_entities: -1 };
}

impl MostSimilar {
    pub(crate) const FAILED: MostSimilar = MostSimilar { index: -1, score: -1.0 };
}

impl Tokenization {
    pub(crate) const FAILED: Tokenization =
        Tokenization { token_ids: null_mut(), token_count: 0, tokens: null_mut(), error: true };
}

impl TextWindows {
    pub(crate) const FAILED: TextWindows =
        TextWindows { offsets: null_mut(), window_count: 0, error: true };
}

impl Hallucinations {
    pub(crate) const FAILED: Hallucinations = Hallucinations {
        has_hallucination: false,
        confidence: 0.0,
        spans: null_mut(),
        num_spans: 0,
        error: true,
        error_message: null_mut(),
    };
}

impl Inference {
    pub(crate) const FAILED: Inference = Inference {
        label: -1,
        confidence: 0.0,
        probabilities: [0.0; 3],
        error: true,
        error_message: null_mut(),
    };
}

impl LoraBatch {
    pub(crate) const FAILED: LoraBatch =
        LoraBatch { results: [null_mut(); 3], batch_size: 0, avg_confidence: 0.0 };
}
