//! The functions that are not served: BERT and DeBERTa classifiers, generative guards, multimodal embedders, detectors
//! of hallucinations, and the selector of models. Each fails in the form of its type.
//!
//! They are declared without parameters. In the C ABIs of x86-64 and aarch64 the caller puts arguments into registers
//! and its own stack frame, and removes them itself, so a function that reads none has the right signature for every
//! list of them. Only what it returns must be right: the type decides the register, or that the caller passes a place.
//! Results behind a pointer stay as the caller made them; the Go package zeroes them, and frees nothing that is null.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

use bigbatch_capi::{Embedding, unserved};

use crate::failures::{
    AnyClassOfAll, ClassOfAll, Entities, Hallucinations, Inference, LabelledClass, LoraBatch,
    MostSimilar, TextWindows, Tokenization,
};

/// What an `int` function returns: failure.
const FAILURE: c_int = -1;

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
    unserved("classify_batch_with_lora", LoraBatch::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_bert_pii_tokens() -> Entities {
    unserved("classify_bert_pii_tokens", Entities::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_bert_text() -> LabelledClass {
    unserved("classify_bert_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_candle_bert_text() -> LabelledClass {
    unserved("classify_candle_bert_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_candle_bert_tokens_with_labels() -> Entities {
    unserved("classify_candle_bert_tokens_with_labels", Entities::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_deberta_jailbreak_text() -> LabelledClass {
    unserved("classify_deberta_jailbreak_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_jailbreak_text() -> LabelledClass {
    unserved("classify_jailbreak_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_jailbreak_text_with_probabilities() -> ClassOfAll {
    unserved("classify_jailbreak_text_with_probabilities", ClassOfAll::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_nli() -> Inference {
    unserved("classify_nli", Inference::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_pii_text() -> LabelledClass {
    unserved("classify_pii_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_qwen3_preference() -> LabelledClass {
    unserved("classify_qwen3_preference", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_text() -> LabelledClass {
    unserved("classify_text", LabelledClass::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn classify_text_with_probabilities() -> AnyClassOfAll {
    unserved("classify_text_with_probabilities", AnyClassOfAll::FAILED)
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
    unserved("detect_hallucinations", Hallucinations::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn detect_hallucinations_with_nli() -> Hallucinations {
    unserved("detect_hallucinations_with_nli", Hallucinations::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn find_most_similar() -> MostSimilar {
    unserved("find_most_similar", MostSimilar::FAILED)
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
    unserved("get_text_windows", TextWindows::FAILED)
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
    unserved("tokenize_text", Tokenization::FAILED)
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
