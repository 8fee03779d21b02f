//! The functions on vectors that both bindings have, and the structs that they fill, as both declare them.
//!
//! The bindings differ in how a call names the model and its layer, which [`VectorOptions`] has.

use std::cmp::Ordering;
use std::ffi::c_int;
use std::time::Instant;

use bigbatch_engine::{Input, RequestError, Truncate};

use crate::answers::{Vector, embed_all, saturate};
use crate::border::{COutput, COutputs, CText, CTexts, OwnedArray, count};
use crate::call::guarded;
use crate::error::CallError;
use crate::slots;

/// The slot of the embedding model.
pub const EMBEDDER: &str = "mmbert";

/// What the functions return: success.
const SUCCESS: c_int = 0;
/// What the functions return: failure.
const FAILURE: c_int = -1;

/// The vector of a text.
#[repr(C)]
#[derive(Debug)]
pub struct Embedding {
    /// `length` elements; null on failure.
    pub data: OwnedArray<f32>,
    /// Dimensions.
    pub length: c_int,
    /// Whether the call failed.
    pub error: bool,
    /// The binding's number of the model's type; -1 on failure.
    pub model_type: c_int,
    /// Tokens of the text, special ones included.
    pub sequence_length: c_int,
    /// Milliseconds from the call to the answer.
    pub processing_time_ms: f32,
}

/// The similarity of two texts.
#[repr(C)]
#[derive(Debug)]
pub struct Similarity {
    /// Cosine of the angle between their vectors.
    pub similarity: f32,
    /// As in [`Embedding`].
    pub model_type: c_int,
    /// As in [`Embedding`].
    pub processing_time_ms: f32,
    /// Whether the call failed.
    pub error: bool,
}

/// A candidate, and its similarity to the query.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Index in the array of candidates.
    pub index: c_int,
    /// Cosine of the angle between the two vectors.
    pub similarity: f32,
}

/// The candidates that are most similar to a query.
#[repr(C)]
#[derive(Debug)]
pub struct Matches {
    /// `num_matches` elements, most similar first; null for none.
    pub matches: OwnedArray<Match>,
    /// Elements of `matches`.
    pub num_matches: c_int,
    /// As in [`Embedding`].
    pub model_type: c_int,
    /// As in [`Embedding`].
    pub processing_time_ms: f32,
    /// Whether the call failed.
    pub error: bool,
}

impl Embedding {
    /// The struct of a call that failed.
    pub const FAILED: Embedding = Embedding {
        data: OwnedArray::NULL,
        length: 0,
        error: true,
        model_type: -1,
        sequence_length: 0,
        processing_time_ms: 0.0,
    };

    fn new(vector: Vector, model_type: c_int, began: Instant) -> Embedding {
        let length = saturate(vector.values.len());
        Embedding {
            data: OwnedArray::new(vector.values),
            length,
            error: false,
            model_type,
            sequence_length: vector.tokens,
            processing_time_ms: milliseconds(began),
        }
    }
}

impl Similarity {
    const FAILED: Similarity =
        Similarity { similarity: -1.0, model_type: -1, processing_time_ms: 0.0, error: true };
}

impl Matches {
    const FAILED: Matches = Matches {
        matches: OwnedArray::NULL,
        num_matches: 0,
        model_type: -1,
        processing_time_ms: 0.0,
        error: true,
    };
}

/// How a call takes vectors.
#[derive(Debug, Clone, Copy)]
pub struct VectorOptions {
    /// The layer to take them from; 0 for the last.
    pub layer: c_int,
    /// First dimensions to keep; 0 for all.
    pub dimensions: c_int,
    /// The binding's number of the model's type.
    pub model_type: c_int,
}

impl VectorOptions {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, CallError> {
        embed_all(EMBEDDER, texts, self.layer, self.dimensions)
    }
}

/// Returns the time since `began`, as the answers of the contract state it.
pub fn milliseconds(began: Instant) -> f32 {
    began.elapsed().as_secs_f32() * 1e3
}

/// Embeds a text.
pub fn put_embedding(
    symbol: &'static str,
    text: CText<'_>,
    options: Result<VectorOptions, CallError>,
    result: COutput<'_, Embedding>,
) -> c_int {
    let began = Instant::now();
    let body = || {
        result.require("result")?;
        let (text, options) = (text.read("text")?, options?);
        let vector = options.embed(&[text])?.pop().expect("every text has a vector");
        result.put(|| Embedding::new(vector, options.model_type, began));
        Ok(SUCCESS)
    };
    guarded(symbol, body, |_| {
        result.put(|| Embedding::FAILED);
        FAILURE
    })
}

/// Embeds texts, all of them or none.
pub fn put_embeddings(
    symbol: &'static str,
    (texts, elements): (CTexts<'_>, c_int),
    options: VectorOptions,
    results: COutputs<'_, Embedding>,
) -> c_int {
    let began = Instant::now();
    let places = results.places("results", elements);
    let places = match places {
        Ok(places) => places,
        Err(error) => return guarded(symbol, || Err(error), |_| FAILURE),
    };
    let body = || {
        let vectors = options.embed(&texts.read("texts", elements)?)?;
        for (place, vector) in places.iter().zip(vectors) {
            place.put(|| Embedding::new(vector, options.model_type, began));
        }
        Ok(SUCCESS)
    };
    guarded(symbol, body, |_| {
        places.iter().for_each(|place| place.put(|| Embedding::FAILED));
        FAILURE
    })
}

/// Compares two texts.
pub fn put_similarity(
    symbol: &'static str,
    texts: [CText<'_>; 2],
    options: Result<VectorOptions, CallError>,
    result: COutput<'_, Similarity>,
) -> c_int {
    let began = Instant::now();
    let body = || {
        result.require("result")?;
        let texts = [texts[0].read("text1")?, texts[1].read("text2")?];
        let options = options?;
        let vectors = options.embed(&texts)?;
        result.put(|| Similarity {
            similarity: cosine(&vectors[0], &vectors[1]),
            model_type: options.model_type,
            processing_time_ms: milliseconds(began),
            error: false,
        });
        Ok(SUCCESS)
    };
    guarded(symbol, body, |_| {
        result.put(|| Similarity::FAILED);
        FAILURE
    })
}

/// The texts that a query is compared with, and how many of them are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// The texts.
    pub texts: CTexts<'a>,
    /// Elements of `texts`.
    pub count: c_int,
    /// The most similar ones to return; 0 for all.
    pub top_k: c_int,
}

/// Finds the candidates that are most similar to a query.
pub fn put_matches(
    symbol: &'static str,
    query: CText<'_>,
    candidates: Candidates<'_>,
    options: Result<VectorOptions, CallError>,
    result: COutput<'_, Matches>,
) -> c_int {
    let began = Instant::now();
    let body = || {
        result.require("result")?;
        let mut texts = vec![query.read("query")?];
        texts.extend(candidates.texts.read("candidates", candidates.count)?);
        let options = options?;
        let vectors = options.embed(&texts)?;
        let matches = most_similar(&vectors[0], &vectors[1..], candidates.top_k);
        result.put(|| Matches {
            num_matches: saturate(matches.len()),
            matches: OwnedArray::new(matches),
            model_type: options.model_type,
            processing_time_ms: milliseconds(began),
            error: false,
        });
        Ok(SUCCESS)
    };
    guarded(symbol, body, |_| {
        result.put(|| Matches::FAILED);
        FAILURE
    })
}

/// Frees what [`put_matches`] put into a struct.
pub fn free_matches(result: COutput<'_, Matches>) {
    if let Some(matches) = result.take(Matches { error: false, ..Matches::FAILED }) {
        matches.matches.free();
    }
}

/// Returns 1 if the embedding model would reject the text for its length, 0 if it would read it, -1 on failure.
pub fn exceeds_window(
    symbol: &'static str,
    text: CText<'_>,
    check_model: impl FnOnce() -> Result<(), CallError>,
) -> c_int {
    let body = || {
        let text = text.read("text")?;
        check_model()?;
        let engine = slots::loaded(EMBEDDER)?.engine;
        let input = Input::Text(text.to_owned());
        let tokenizer = &engine.model().tokenizer;
        match tokenizer.encode(&input, engine.max_tokens(), Truncate::No) {
            Ok(_) | Err(RequestError::Empty) => Ok(0),
            Err(RequestError::TooLong { .. }) => Ok(1),
            Err(error) => Err(error.into()),
        }
    };
    guarded(symbol, body, |_| FAILURE)
}

/// Returns the candidates by falling similarity, those of one similarity by index.
fn most_similar(query: &Vector, candidates: &[Vector], top_k: c_int) -> Vec<Match> {
    let similarity = |(candidate, index)| Match { index, similarity: cosine(query, candidate) };
    let mut matches: Vec<Match> = candidates.iter().zip(0..).map(similarity).collect();
    let by_similarity = |a: &Match, b: &Match| -> Ordering {
        b.similarity.total_cmp(&a.similarity).then(a.index.cmp(&b.index))
    };
    matches.sort_unstable_by(by_similarity);
    match count("top_k", top_k) {
        Ok(top_k) if top_k > 0 => matches.truncate(top_k),
        _ => {}
    }
    matches
}

/// Returns the cosine of the angle between two vectors of unit length.
fn cosine(a: &Vector, b: &Vector) -> f32 {
    let products = a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_come_first_and_no_more_than_asked_for() {
        let vector = |values: [f32; 2]| Vector { values: values.into(), tokens: 1 };
        let candidates = [[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0]].map(vector);
        let found = |top_k| {
            let found = most_similar(&vector([1.0, 0.0]), &candidates, top_k);
            found.iter().map(|one| (one.index, one.similarity)).collect::<Vec<_>>()
        };
        assert_eq!(found(3), [(1, 1.0), (3, 1.0), (2, 0.6)]);
        assert_eq!(found(0).len(), 4);
        assert_eq!(found(-1).len(), 4);
        assert_eq!(found(9).len(), 4);
    }
}
