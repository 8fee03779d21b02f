//! Vectors and similarities of texts, by one embedding model: `mmbert`.
//!
//! The binding had two more types, `qwen3` and `gemma`. Both are other families of models: to load one fails, and so
//! does a call that asks for it. Calls that leave the choice to the library get `mmbert`.

use std::ffi::c_int;

use bigbatch_capi::{
    COutput, CText, CTexts, CallError, Candidates, EMBEDDER, Embedding, Head, Matches, OwnedArray,
    OwnedText, Similarity, VectorOptions, exceeds_window, free_matches, guarded, load, loaded,
    put_embedding, put_matches, put_similarity, saturate,
};

use crate::init;

/// The number of `mmbert` in the binding.
const MMBERT: c_int = 2;

/// `EmbeddingModelInfo`.
#[repr(C)]
struct ModelInfo {
    model_name: OwnedText,
    is_loaded: bool,
    /// Tokens, special ones included.
    max_sequence_length: c_int,
    default_dimension: c_int,
    model_path: OwnedText,
}

/// `EmbeddingModelsInfoResult`.
#[repr(C)]
struct ModelInfos {
    /// `num_models` elements.
    models: OwnedArray<ModelInfo>,
    num_models: c_int,
    error: bool,
}

impl ModelInfos {
    const fn empty(error: bool) -> ModelInfos {
        ModelInfos { models: OwnedArray::NULL, num_models: 0, error }
    }
}

/// Rejects a type of models that is not served; `auto` is the caller's word for any.
fn check_type(given: CText<'_>) -> Result<(), CallError> {
    match given.read("model_type")? {
        EMBEDDER | "auto" => Ok(()),
        other => Err(CallError::ModelType { given: other.into() }),
    }
}

fn options(
    model_type: CText<'_>,
    layer: c_int,
    dimensions: c_int,
) -> Result<VectorOptions, CallError> {
    check_type(model_type)?;
    Ok(VectorOptions { layer, dimensions, model_type: MMBERT })
}

/// Loads the embedding model, if none of the types that are not served is asked for.
fn init_models(
    symbol: &'static str,
    [qwen3, gemma]: [CText<'_>; 2],
    mmbert: Option<CText<'_>>,
    use_cpu: bool,
) -> bool {
    let body = || {
        for (path, given) in [(qwen3, "qwen3"), (gemma, "gemma")] {
            if path.read_optional("model_path")?.is_some() {
                return Err(CallError::ModelType { given: given.into() });
            }
        }
        let mmbert = mmbert.map(|path| path.read_optional("mmbert_model_path")).transpose()?;
        let path = mmbert.flatten().ok_or(CallError::Null { argument: "mmbert_model_path" })?;
        load(EMBEDDER, Head::Embedding, path, use_cpu).map(|()| true)
    };
    guarded(symbol, body, |_| false)
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_embedding_model(model_path: CText<'_>, use_cpu: bool) -> bool {
    init("init_mmbert_embedding_model", EMBEDDER, Head::Embedding, model_path, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_embedding_models_with_mmbert(
    qwen3: CText<'_>,
    gemma: CText<'_>,
    mmbert: CText<'_>,
    use_cpu: bool,
) -> bool {
    init_models("init_embedding_models_with_mmbert", [qwen3, gemma], Some(mmbert), use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn init_embedding_models(qwen3: CText<'_>, gemma: CText<'_>, use_cpu: bool) -> bool {
    init_models("init_embedding_models", [qwen3, gemma], None, use_cpu)
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_2d_matryoshka(
    text: CText<'_>,
    model_type: CText<'_>,
    target_layer: c_int,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    let options = options(model_type, target_layer, target_dim);
    put_embedding("get_embedding_2d_matryoshka", text, options, result)
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_with_model_type(
    text: CText<'_>,
    model_type: CText<'_>,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    put_embedding("get_embedding_with_model_type", text, options(model_type, 0, target_dim), result)
}

/// The engine batches every call, so this one is like the others.
#[unsafe(no_mangle)]
extern "C" fn get_embedding_batched(
    text: CText<'_>,
    model_type: CText<'_>,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    put_embedding("get_embedding_batched", text, options(model_type, 0, target_dim), result)
}

/// The priorities choose between models, of which there is one.
#[unsafe(no_mangle)]
extern "C" fn get_embedding_with_dim(
    text: CText<'_>,
    _quality_priority: f32,
    _latency_priority: f32,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    let options = VectorOptions { layer: 0, dimensions: target_dim, model_type: MMBERT };
    put_embedding("get_embedding_with_dim", text, Ok(options), result)
}

/// As [`get_embedding_with_dim`], in all dimensions.
#[unsafe(no_mangle)]
extern "C" fn get_embedding_smart(
    text: CText<'_>,
    _quality_priority: f32,
    _latency_priority: f32,
    result: COutput<'_, Embedding>,
) -> c_int {
    let options = VectorOptions { layer: 0, dimensions: 0, model_type: MMBERT };
    put_embedding("get_embedding_smart", text, Ok(options), result)
}

#[unsafe(no_mangle)]
extern "C" fn calculate_embedding_similarity(
    text1: CText<'_>,
    text2: CText<'_>,
    model_type: CText<'_>,
    target_dim: c_int,
    result: COutput<'_, Similarity>,
) -> c_int {
    let options = options(model_type, 0, target_dim);
    put_similarity("calculate_embedding_similarity", [text1, text2], options, result)
}

#[unsafe(no_mangle)]
extern "C" fn calculate_similarity_batch(
    query: CText<'_>,
    candidates: CTexts<'_>,
    num_candidates: c_int,
    top_k: c_int,
    model_type: CText<'_>,
    target_dim: c_int,
    result: COutput<'_, Matches>,
) -> c_int {
    let candidates = Candidates { texts: candidates, count: num_candidates, top_k };
    let options = options(model_type, 0, target_dim);
    put_matches("calculate_similarity_batch", query, candidates, options, result)
}

#[unsafe(no_mangle)]
extern "C" fn free_batch_similarity_result(result: COutput<'_, Matches>) {
    free_matches(result);
}

#[unsafe(no_mangle)]
extern "C" fn embedding_text_exceeds_window(text: CText<'_>, model_type: CText<'_>) -> c_int {
    exceeds_window("embedding_text_exceeds_window", text, || check_type(model_type))
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_models_info(result: COutput<'_, ModelInfos>) -> c_int {
    let body = || {
        result.require("result")?;
        let model = loaded(EMBEDDER)?;
        let info = || ModelInfo {
            model_name: OwnedText::new(EMBEDDER),
            is_loaded: true,
            max_sequence_length: saturate(model.engine.max_tokens()),
            default_dimension: saturate(model.engine.model().embedding.width),
            model_path: OwnedText::new(&model.path),
        };
        result.put(|| ModelInfos {
            models: OwnedArray::new(vec![info()]),
            num_models: 1,
            error: false,
        });
        Ok(0)
    };
    guarded("get_embedding_models_info", body, |_| {
        result.put(|| ModelInfos::empty(true));
        -1
    })
}

#[unsafe(no_mangle)]
extern "C" fn free_embedding_models_info(result: COutput<'_, ModelInfos>) {
    let Some(infos) = result.take(ModelInfos::empty(false)) else { return };
    for info in infos.models.into_elements() {
        info.model_name.free();
        info.model_path.free();
    }
}

#[unsafe(no_mangle)]
extern "C" fn free_embedding(data: OwnedArray<f32>, _length: c_int) {
    data.free();
}
