//! The functions that are not served: BERT and DeBERTa classifiers, generative guards, multimodal embedders, detectors
//! of hallucinations, and the selector of models. Each fails in the form of its type.
//!
//! They are declared without parameters. In the C ABIs of x86-64 and aarch64 the caller puts arguments into registers
//! and its own stack frame, and removes them itself, so a function that reads none has the right signature for every
//! list of them. Only what it returns must be right: its type decides the register, or whether the caller passes a place
//! for it. Results behind a pointer stay as the caller made them, and are not read after a failing status.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use bigbatch_capi::{Embedding, unserved};

/// What an `int` function returns: failure.
const FAILURE: c_int = -1;

/// `ClassificationResult`. The label came after v0.3.0; before it the struct was returned in the first of the same two
/// registers.
#[repr(C)]
struct LabelledClass {
    class: c_int,
    confidence: f32,
    label: *mut c_char,
}

/// `ClassificationResultWithProbs` as failure, in both of its layouts: up to v0.3.0 24 bytes with the class first, later
/// 32 bytes with the confidence first. The class is -1 in both, and the pointers that lie in these 24 bytes are null.
#[repr(C)]
struct ClassOfAllFailed {
    class_or_confidence: c_int,
    confidence_or_class: c_int,
    probabilities_or_label: *mut c_void,
    count_or_probabilities: u64,
}

/// `ModernBertClassificationResultWithProbs`.
#[repr(C)]
struct ClassOfAll {
    class: c_int,
    confidence: f32,
    probabilities: *mut f32,
    num_classes: c_int,
}

/// `BertTokenClassificationResult`.
#[repr(C)]
struct Entities {
    entities: *mut c_void,
    num_entities: c_int,
}

/// `SimilarityResult`.
#[repr(C)]
struct MostSimilar {
    index: c_int,
    score: f32,
}

/// `TokenizationResult`.
#[repr(C)]
struct Tokenization {
    token_ids: *mut c_int,
    token_count: c_int,
    tokens: *mut *mut c_char,
    error: bool,
}

/// `TextWindowsResult`.
#[repr(C)]
struct TextWindows {
    offsets: *mut c_int,
    window_count: c_int,
    error: bool,
}

/// `HallucinationDetectionResult` and `EnhancedHallucinationDetectionResult`.
#[repr(C)]
struct Hallucinations {
    has_hallucination: bool,
    confidence: f32,
    spans: *mut c_void,
    num_spans: c_int,
    error: bool,
    error_message: *mut c_char,
}

/// `NLIResult`.
#[repr(C)]
struct Inference {
    label: c_int,
    confidence: f32,
    probabilities: [f32; 3],
    error: bool,
    error_message: *mut c_char,
}

/// `LoRABatchResult`; a batch of no texts is a failure.
#[repr(C)]
struct LoraBatch {
    results: [*mut c_void; 3],
    batch_size: c_int,
    avg_confidence: f32,
}

const fn labelled_class() -> LabelledClass {
    LabelledClass { class: -1, confidence: 0.0, label: null_mut() }
}

const fn entities() -> Entities {
    Entities { entities: null_mut(), num_entities: -1 }
}

const fn hallucinations() -> Hallucinations {
    Hallucinations {
        has_hallucination: false,
        confidence: 0.0,
        spans: null_mut(),
        num_spans: 0,
        error: true,
        error_message: null_mut(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn calculate_similarity() -> f32 {
    unserved("calculate_similarity", -1.0)
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_from_json() -> *mut c_void {
    unserved("candle_mlp_from_json", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_from_json_with_device() -> *mut c_void {
    unserved("candle_mlp_from_json_with_device", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_from_json_with_device_and_dtype() -> *mut c_void {
    unserved("candle_mlp_from_json_with_device_and_dtype", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_is_trained() -> c_int {
    unserved("candle_mlp_is_trained", 0)
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_new() -> *mut c_void {
    unserved("candle_mlp_new", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_new_with_device() -> *mut c_void {
    unserved("candle_mlp_new_with_device", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_new_with_device_and_dtype() -> *mut c_void {
    unserved("candle_mlp_new_with_device_and_dtype", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_select() -> *mut c_char {
    unserved("candle_mlp_select", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_to_json() -> *mut c_char {
    unserved("candle_mlp_to_json", null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn classify_batch_with_lora() -> LoraBatch {
    unserved("classify_batch_with_lora", LoraBatch { results: [null_mut(); 3], batch_size: 0, avg_confidence: 0.0 })
}

#[unsafe(no_mangle)]
extern "C" fn classify_bert_pii_tokens() -> Entities {
    unserved("classify_bert_pii_tokens", entities())
}

#[unsafe(no_mangle)]
extern "C" fn classify_bert_text() -> LabelledClass {
    unserved("classify_bert_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_candle_bert_text() -> LabelledClass {
    unserved("classify_candle_bert_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_candle_bert_tokens_with_labels() -> Entities {
    unserved("classify_candle_bert_tokens_with_labels", entities())
}

#[unsafe(no_mangle)]
extern "C" fn classify_deberta_jailbreak_text() -> LabelledClass {
    unserved("classify_deberta_jailbreak_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_jailbreak_text() -> LabelledClass {
    unserved("classify_jailbreak_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_jailbreak_text_with_probabilities() -> ClassOfAll {
    unserved("classify_jailbreak_text_with_probabilities", ClassOfAll { class: -1, confidence: 0.0, probabilities: null_mut(), num_classes: 0 })
}

#[unsafe(no_mangle)]
extern "C" fn classify_nli() -> Inference {
    unserved("classify_nli", Inference { label: -1, confidence: 0.0, probabilities: [0.0; 3], error: true, error_message: null_mut() })
}

#[unsafe(no_mangle)]
extern "C" fn classify_pii_text() -> LabelledClass {
    unserved("classify_pii_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_qwen3_preference() -> LabelledClass {
    unserved("classify_qwen3_preference", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_text() -> LabelledClass {
    unserved("classify_text", labelled_class())
}

#[unsafe(no_mangle)]
extern "C" fn classify_text_with_probabilities() -> ClassOfAllFailed {
    unserved("classify_text_with_probabilities", ClassOfAllFailed { class_or_confidence: -1, confidence_or_class: -1, probabilities_or_label: null_mut(), count_or_probabilities: 0 })
}

#[unsafe(no_mangle)]
extern "C" fn classify_with_qwen3_adapter() -> c_int {
    unserved("classify_with_qwen3_adapter", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn classify_with_qwen3_guard() -> c_int {
    unserved("classify_with_qwen3_guard", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn classify_zero_shot_qwen3() -> c_int {
    unserved("classify_zero_shot_qwen3", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn detect_hallucinations() -> Hallucinations {
    unserved("detect_hallucinations", hallucinations())
}

#[unsafe(no_mangle)]
extern "C" fn detect_hallucinations_with_nli() -> Hallucinations {
    unserved("detect_hallucinations_with_nli", hallucinations())
}

#[unsafe(no_mangle)]
extern "C" fn find_most_similar() -> MostSimilar {
    unserved("find_most_similar", MostSimilar { index: -1, score: -1.0 })
}

#[unsafe(no_mangle)]
extern "C" fn get_qwen3_loaded_adapters() -> c_int {
    unserved("get_qwen3_loaded_adapters", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn get_text_embedding() -> Embedding {
    unserved("get_text_embedding", Embedding::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn get_text_windows() -> TextWindows {
    unserved("get_text_windows", TextWindows { offsets: null_mut(), window_count: 0, error: true })
}

#[unsafe(no_mangle)]
extern "C" fn init_bert_token_classifier() -> bool {
    unserved("init_bert_token_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_candle_bert_classifier() -> bool {
    unserved("init_candle_bert_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_candle_bert_token_classifier() -> bool {
    unserved("init_candle_bert_token_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_classifier() -> bool {
    unserved("init_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_deberta_jailbreak_classifier() -> bool {
    unserved("init_deberta_jailbreak_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_embedding_models_batched() -> bool {
    unserved("init_embedding_models_batched", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_generic_classifier() -> bool {
    unserved("init_generic_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_hallucination_model() -> bool {
    unserved("init_hallucination_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_jailbreak_classifier() -> bool {
    unserved("init_jailbreak_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_lora_unified_classifier() -> bool {
    unserved("init_lora_unified_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_classifier() -> bool {
    unserved("init_mmbert_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_classifier_auto() -> bool {
    unserved("init_mmbert_classifier_auto", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_token_classifier() -> bool {
    unserved("init_mmbert_token_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_multimodal_embedding_model() -> bool {
    unserved("init_multimodal_embedding_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_nli_model() -> bool {
    unserved("init_nli_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_pii_classifier() -> bool {
    unserved("init_pii_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_qwen3_guard() -> c_int {
    unserved("init_qwen3_guard", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn init_qwen3_multi_lora_classifier() -> c_int {
    unserved("init_qwen3_multi_lora_classifier", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn init_qwen3_preference_classifier() -> bool {
    unserved("init_qwen3_preference_classifier", false)
}

#[unsafe(no_mangle)]
extern "C" fn init_similarity_model() -> bool {
    unserved("init_similarity_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn is_mmbert_32k_model() -> bool {
    unserved("is_mmbert_32k_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn is_mmbert_model() -> bool {
    unserved("is_mmbert_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn is_nli_model_initialized() -> bool {
    unserved("is_nli_model_initialized", false)
}

#[unsafe(no_mangle)]
extern "C" fn is_qwen3_guard_initialized() -> c_int {
    unserved("is_qwen3_guard_initialized", 0)
}

#[unsafe(no_mangle)]
extern "C" fn is_qwen3_multi_lora_initialized() -> c_int {
    unserved("is_qwen3_multi_lora_initialized", 0)
}

#[unsafe(no_mangle)]
extern "C" fn is_similarity_model_initialized() -> bool {
    unserved("is_similarity_model_initialized", false)
}

#[unsafe(no_mangle)]
extern "C" fn load_qwen3_lora_adapter() -> c_int {
    unserved("load_qwen3_lora_adapter", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_audio() -> c_int {
    unserved("multimodal_encode_audio", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_image() -> c_int {
    unserved("multimodal_encode_image", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_image_from_bytes() -> c_int {
    unserved("multimodal_encode_image_from_bytes", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_text() -> c_int {
    unserved("multimodal_encode_text", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn tokenize_text() -> Tokenization {
    unserved("tokenize_text", Tokenization { token_ids: null_mut(), token_count: 0, tokens: null_mut(), error: true })
}

// Nothing is allocated by the functions above, so there is nothing to free.

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_free() {}

#[unsafe(no_mangle)]
extern "C" fn candle_mlp_free_string() {}

#[unsafe(no_mangle)]
extern "C" fn free_categories() {}

#[unsafe(no_mangle)]
extern "C" fn free_cstring() {}

#[unsafe(no_mangle)]
extern "C" fn free_enhanced_hallucination_detection_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_generative_classification_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_guard_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_hallucination_detection_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_lora_batch_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_multimodal_embedding() {}

#[unsafe(no_mangle)]
extern "C" fn free_nli_result() {}

#[unsafe(no_mangle)]
extern "C" fn free_probabilities() {}

#[unsafe(no_mangle)]
extern "C" fn free_text_windows() {}

#[unsafe(no_mangle)]
extern "C" fn free_tokenization_result() {}
