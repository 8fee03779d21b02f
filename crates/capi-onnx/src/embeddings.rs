//! Vectors and similarities of texts, by one embedding model.

use std::ffi::c_int;

use bigbatch_capi::{
    COutput, COutputs, CText, CTexts, CallError, Candidates, EMBEDDER, Embedding, Head, Matches,
    OwnedArray, OwnedText, Similarity, VectorOptions, exceeds_window, free_matches, guarded,
    is_loaded, load, loaded, put_embedding, put_embeddings, put_matches, put_similarity, saturate,
};

/// The number of `mmbert` in the binding.
const MMBERT: c_int = 0;

/// `EmbeddingModelInfo`.
#[repr(C)]
struct ModelInfo {
    model_name: OwnedText,
    is_loaded: bool,
    /// Tokens, special ones included.
    max_sequence_length: c_int,
    default_dimension: c_int,
    model_path: OwnedText,
    supports_layer_exit: bool,
    /// Numbers with commas between them.
    available_layers: OwnedText,
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

const fn options(layer: c_int, dimensions: c_int) -> VectorOptions {
    VectorOptions { layer, dimensions, model_type: MMBERT }
}

#[unsafe(no_mangle)]
extern "C" fn init_mmbert_embedding_model(model_path: CText<'_>, use_cpu: bool) -> bool {
    let body =
        || load(EMBEDDER, Head::Embedding, model_path.read("model_path")?, use_cpu).map(|()| true);
    guarded("init_mmbert_embedding_model", body, |_| false)
}

#[unsafe(no_mangle)]
extern "C" fn is_mmbert_model_initialized() -> bool {
    guarded("is_mmbert_model_initialized", || Ok(is_loaded(EMBEDDER)), |_| false)
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding(text: CText<'_>, result: COutput<'_, Embedding>) -> c_int {
    put_embedding("get_embedding", text, Ok(options(0, 0)), result)
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_with_dim(
    text: CText<'_>,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    put_embedding("get_embedding_with_dim", text, Ok(options(0, target_dim)), result)
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_2d_matryoshka(
    text: CText<'_>,
    target_layer: c_int,
    target_dim: c_int,
    result: COutput<'_, Embedding>,
) -> c_int {
    let options = options(target_layer, target_dim);
    put_embedding("get_embedding_2d_matryoshka", text, Ok(options), result)
}

#[unsafe(no_mangle)]
extern "C" fn get_embeddings_batch(
    texts: CTexts<'_>,
    num_texts: c_int,
    target_layer: c_int,
    target_dim: c_int,
    results: COutputs<'_, Embedding>,
) -> c_int {
    let options = options(target_layer, target_dim);
    put_embeddings("get_embeddings_batch", (texts, num_texts), options, results)
}

#[unsafe(no_mangle)]
extern "C" fn calculate_embedding_similarity(
    text1: CText<'_>,
    text2: CText<'_>,
    target_layer: c_int,
    target_dim: c_int,
    result: COutput<'_, Similarity>,
) -> c_int {
    let options = options(target_layer, target_dim);
    put_similarity("calculate_embedding_similarity", [text1, text2], Ok(options), result)
}

#[unsafe(no_mangle)]
extern "C" fn calculate_similarity_batch(
    query: CText<'_>,
    candidates: CTexts<'_>,
    num_candidates: c_int,
    top_k: c_int,
    target_layer: c_int,
    target_dim: c_int,
    result: COutput<'_, Matches>,
) -> c_int {
    let candidates = Candidates { texts: candidates, count: num_candidates, top_k };
    let options = options(target_layer, target_dim);
    put_matches("calculate_similarity_batch", query, candidates, Ok(options), result)
}

/// The only model is asked, whatever the type: the Go package passes on what its callers ask of the other binding.
#[unsafe(no_mangle)]
extern "C" fn embedding_text_exceeds_window(text: CText<'_>, _model_type: CText<'_>) -> c_int {
    exceeds_window("embedding_text_exceeds_window", text, || Ok::<(), CallError>(()))
}

/// Joins the exits of a model by commas.
fn joined(layers: &[usize]) -> String {
    layers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[unsafe(no_mangle)]
extern "C" fn get_embedding_models_info(result: COutput<'_, ModelInfos>) -> c_int {
    let body = || {
        result.require("result")?;
        let model = loaded(EMBEDDER)?;
        let layers = &model.engine.model().exits.layers;
        let info = || ModelInfo {
            model_name: OwnedText::new(EMBEDDER),
            is_loaded: true,
            max_sequence_length: saturate(model.engine.max_tokens()),
            default_dimension: saturate(model.engine.model().embedding.width),
            model_path: OwnedText::new(&model.path),
            supports_layer_exit: layers.len() > 1,
            available_layers: OwnedText::new(&joined(layers)),
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
extern "C" fn free_embedding(data: OwnedArray<f32>, _length: c_int) {
    data.free();
}

#[unsafe(no_mangle)]
extern "C" fn free_batch_similarity_result(result: COutput<'_, Matches>) {
    free_matches(result);
}

#[unsafe(no_mangle)]
extern "C" fn free_embedding_models_info(result: COutput<'_, ModelInfos>) {
    let Some(infos) = result.take(ModelInfos::empty(false)) else { return };
    for info in infos.models.into_elements() {
        info.model_name.free();
        info.model_path.free();
        info.available_layers.free();
    }
}
