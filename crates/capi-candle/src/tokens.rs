//! Entities of texts, with their ranges in bytes.
//!
//! A negative number of entities is a failure, which the Go package checks: except after
//! `classify_mmbert_32k_pii_tokens`, where it takes the number for a length and would end the router's process. The
//! binding's own library returned no entities there, which reads as a text without personal data. Here such a text has
//! one entity over all of it, of the type [`UNSCANNED`], with the reason as its text.

use std::ffi::c_int;

use bigbatch_capi::{
    CText, CallError, Entity, Head, OwnedArray, OwnedText, entities, guarded, saturate,
};

use crate::init;

/// The type of the entity that a text has which could not be read. No policy can have allowed it.
const UNSCANNED: &str = "UNSCANNED";

const MMBERT_PII: &str = "mmbert-32k pii";
const MODERNBERT_PII_TOKENS: &str = "modernbert pii tokens";

/// `ModernBertTokenEntity` and `BertTokenEntity`.
#[repr(C)]
struct CEntity {
    entity_type: OwnedText,
    /// First byte.
    start: c_int,
    /// The byte after the last one.
    end: c_int,
    text: OwnedText,
    confidence: f32,
}

/// `ModernBertTokenClassificationResult` and `BertTokenClassificationResult`.
#[repr(C)]
struct CEntities {
    /// `num_entities` elements, in order of their ranges; null for none.
    entities: OwnedArray<CEntity>,
    num_entities: c_int,
}

impl CEntities {
    const FAILED: CEntities = CEntities { entities: OwnedArray::NULL, num_entities: -1 };

    fn new(entities: Vec<Entity>) -> CEntities {
        let convert = |entity: Entity| CEntity {
            entity_type: OwnedText::new(&entity.label),
            start: entity.start,
            end: entity.end,
            text: OwnedText::new(&entity.text),
            confidence: entity.confidence,
        };
        CEntities {
            num_entities: saturate(entities.len()),
            entities: OwnedArray::new(entities.into_iter().map(convert).collect()),
        }
    }

    /// The entities of a text that could not be read.
    fn unscanned(text: CText<'_>, reason: &CallError) -> CEntities {
        let length = text.read("text").map_or(0, str::len);
        CEntities::new(vec![Entity {
            label: UNSCANNED.into(),
            start: 0,
            end: saturate(length),
            text: reason.to_string(),
            confidence: 1.0,
        }])
    }

    fn free(self) {
        for entity in self.entities.into_elements() {
            entity.entity_type.free();
            entity.text.free();
        }
    }
}

fn tag(slot: &str, text: CText<'_>) -> Result<CEntities, CallError> {
    entities(slot, text.read("text")?).map(CEntities::new)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_32k_pii_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_32k_pii_classifier", MMBERT_PII, Head::Token, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_modernbert_pii_token_classifier(model_id: CText<'_>, use_cpu: bool) -> bool {
    let symbol = "init_modernbert_pii_token_classifier";
    init(symbol, MODERNBERT_PII_TOKENS, Head::Token, model_id, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn classify_mmbert_32k_pii_tokens(text: CText<'_>) -> CEntities {
    let symbol = "classify_mmbert_32k_pii_tokens";
    guarded(symbol, || tag(MMBERT_PII, text), |error| CEntities::unscanned(text, error))
}

/// The path of a `config.json` is not read: the labels are those of the model's own.
#[unsafe(no_mangle)]
extern "C" fn classify_modernbert_pii_tokens(text: CText<'_>, _config: CText<'_>) -> CEntities {
    let symbol = "classify_modernbert_pii_tokens";
    guarded(symbol, || tag(MODERNBERT_PII_TOKENS, text), |_| CEntities::FAILED)
}

/// Routers ask here for what they loaded by `init_modernbert_pii_token_classifier`, after
/// `init_candle_bert_token_classifier` failed.
#[unsafe(no_mangle)]
extern "C" fn classify_candle_bert_tokens(text: CText<'_>) -> CEntities {
    let symbol = "classify_candle_bert_tokens";
    guarded(symbol, || tag(MODERNBERT_PII_TOKENS, text), |_| CEntities::FAILED)
}

#[unsafe(no_mangle)]
extern "C" fn free_modernbert_token_result(result: CEntities) {
    result.free();
}

#[unsafe(no_mangle)]
extern "C" fn free_bert_token_classification_result(result: CEntities) {
    result.free();
}
