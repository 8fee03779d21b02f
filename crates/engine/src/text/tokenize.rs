//! Text to token ids, with the span of each token in the text.
//!
//! The `tokenizers` crate reads `tokenizer.json` and encodes what [`super::bpe`] does not. Truncation and padding that a `tokenizer.json` may ask for are
//! switched off: nothing is truncated unless the caller asks for it, and packed batches have no padding. It is given
//! long texts in [`super::pieces`]. Inputs of requests are [`super::encode`]'s, texts longer than the model
//! [`super::chunk`]'s.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use serde_json::Value;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{Decoder, Encoding, ModelWrapper, NormalizerWrapper, PostProcessorWrapper};

use crate::allocation::require_host_memory;
use crate::checkpoint::Checkpoint;
use crate::error::{LoadError, RequestError};
use crate::panics;
use crate::text::bpe::Bpe;
use crate::text::characters::Characters;
use crate::text::encoded::Encoded;
use crate::text::input::{SpecialTokens, Tokens};
use crate::text::pieces::{Piece, Pieces, Sizes};
use crate::text::special_tokens::PostProcess;

/// One token of a text, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPiece<'a> {
    /// Id in the vocabulary.
    pub id: u32,
    /// The characters it stands for; for a special token, its name.
    pub text: Cow<'a, str>,
    /// Whether the tokenizer added it to the text.
    pub special: bool,
    /// Range in characters of the text; `None` for special tokens.
    pub span: Option<Range<usize>>,
}

/// Upper limit on the memory that reading `tokenizer.json` takes per byte of it.
const MEMORY_PER_BYTE: usize = 32;

/// Words whose tokens the library keeps, those of up to 255 bytes that come first: per thread for BPE, at 32 bytes per
/// byte and until the thread ends; per tokenizer for Unigram.
const CACHED_WORDS: usize = 1024;

/// A loaded tokenizer.
pub struct Tokenizer {
    /// Without its post-processor.
    inner: tokenizers::Tokenizer,
    /// Encodes what it can instead of `inner`.
    bpe: Option<Bpe>,
    /// Separate, because some trim offsets and must run once per text: every method that encodes applies it.
    post_process: PostProcess,
    /// Of the pieces that long texts are encoded in.
    sizes: Sizes,
    fingerprint: u64,
    mask_id: Option<u32>,
    unknown_id: Option<u32>,
    vocab_end: u32,
    token_bytes_max: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, for the mask and the unknown token, `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`LoadError::Source`] if `tokenizer.json` is missing, [`LoadError::Tokenizer`] if a file is damaged,
    /// [`LoadError::Io`] if it cannot be read.
    pub fn open(checkpoint: &Checkpoint) -> Result<Tokenizer, LoadError> {
        let bad = |reason: String| LoadError::Tokenizer { model: checkpoint.name().into(), reason };
        let json = checkpoint.require("tokenizer.json")?;
        require_host_memory(json.len() * MEMORY_PER_BYTE, "the tokenizer")?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(&json))
            .map_err(|e| bad(format!("tokenizer.json is not readable ({e})")))?;
        inner.with_truncation(None).map_err(|e| bad(e.to_string()))?;
        inner.with_padding(None);
        // Others keep none, and need not be copied.
        if let ModelWrapper::BPE(_) | ModelWrapper::Unigram(_) = inner.get_model() {
            let mut model = inner.get_model().clone();
            model.resize_cache(CACHED_WORDS);
            inner.with_model(model);
        }
        let processor = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let config: Value = match checkpoint.read("tokenizer_config.json")? {
            None => Value::Null,
            Some(json) => serde_json::from_slice(&json)
                .map_err(|e| bad(format!("tokenizer_config.json: {e}")))?,
        };
        let named = |key: &str| config[key].as_str().or(config[key]["content"].as_str());
        let candidates = named("mask_token").into_iter().chain(["[MASK]", "<mask>"]);
        let mask_id = candidates.filter_map(|token| inner.token_to_id(token)).next();
        let unknown_id = named("unk_token").and_then(|token| inner.token_to_id(token));
        let vocab = inner.get_vocab(true);
        let vocab_end = vocab.values().max().map_or(Some(0), |id| id.checked_add(1));
        let vocab_end =
            vocab_end.ok_or_else(|| bad(format!("tokenizer.json has the id {}", u32::MAX)))?;
        let token_bytes_max = vocab.keys().map(String::len).max().unwrap_or(0);
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let bare = guarded(|| inner.encode_char_offsets("a", false));
        let bare = bare.map_err(|error| bad(error.to_string()))?;
        let post_process = PostProcess::new(processor, &bare, vocab_end).map_err(bad)?;
        let sizes = match post_process.keeps_tokens(bare).map_err(bad)? {
            true => Sizes::CUT,
            false => Sizes::WHOLE,
        };
        let bpe = match post_process.only_adds() {
            true => guarded(|| Ok(Bpe::of(&inner))).unwrap_or_default(),
            false => None,
        };
        Ok(Tokenizer {
            inner,
            bpe,
            post_process,
            sizes,
            fingerprint: hasher.finish(),
            mask_id,
            unknown_id,
            vocab_end,
            token_bytes_max,
        })
    }

    /// Lower-cases texts before anything else, unless the tokenizer does it already. Added tokens are found first:
    /// `[MASK]` stays one.
    pub(crate) fn lower_case(&mut self) -> Result<(), String> {
        let lower = || NormalizerWrapper::Lowercase(Lowercase);
        let does =
            |normalizer: &NormalizerWrapper| matches!(normalizer, NormalizerWrapper::Lowercase(_));
        let steps = match self.inner.get_normalizer() {
            None => vec![lower()],
            Some(normalizer) if does(normalizer) => return Ok(()),
            Some(NormalizerWrapper::Sequence(steps)) if steps.as_ref().iter().any(does) => {
                return Ok(());
            }
            Some(other) => vec![lower(), other.clone()],
        };
        let normalizer = Some(Sequence::new(steps));
        guarded(|| self.inner.with_normalizer(normalizer).map(drop))
            .map_err(|error| error.to_string())?;
        self.bpe = None;
        self.fingerprint = !self.fingerprint;
        Ok(())
    }

    /// Counts the first tokens that pooling leaves out for this prompt, as sentence-transformers does: those of the
    /// prompt read alone and cut to `limit`, without the special token that ends it.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] if the tokenizer fails on the prompt.
    pub fn prompt_tokens(&self, prompt: &str, limit: usize) -> Result<usize, RequestError> {
        let tokens = self.frame().around(self.encode_pieces(prompt)?);
        let added = self.inner.get_added_tokens_decoder();
        let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        Ok(tokens.ids.len().min(limit) - usize::from(tokens.ids.last().is_some_and(special)))
    }

    /// Encodes a text with so many characters before it at once, without special tokens.
    pub(super) fn encode_alone(
        &self,
        text: &str,
        characters: usize,
    ) -> tokenizers::Result<Encoded> {
        if let Some(encoded) = self.bpe.as_ref().and_then(|bpe| bpe.encode(text, characters)) {
            return Ok(encoded);
        }
        let mut encoding = self.encode_by_library(text)?;
        for offsets in encoding.get_offsets_mut() {
            offsets.0 += characters;
            offsets.1 += characters;
        }
        Ok(Encoded::new(&encoding, !self.post_process.only_adds()))
    }

    /// Encodes a text at once, without special tokens, with offsets in characters.
    pub(super) fn encode_by_library(&self, text: &str) -> tokenizers::Result<Encoding> {
        guarded(|| self.inner.encode_char_offsets(text, false))
    }

    /// Encodes a whole text of any length, without special tokens, with offsets in characters.
    pub(super) fn encode_pieces(&self, text: &str) -> Result<Tokens, RequestError> {
        let mut all = Encoded::default();
        let mut pieces = Pieces::new(self, text);
        while let Some(Piece { encoded, own }) = pieces.next().map_err(invalid)? {
            all.append(self.post_process.trim(encoded).map_err(invalid)?, own);
        }
        Ok(all.into_tokens())
    }

    /// Returns how texts are completed.
    pub(super) fn post_process(&self) -> &PostProcess {
        &self.post_process
    }

    /// Returns whether all texts are encoded by the `tokenizers` crate, some ten times slower: the tokenizer is of a kind
    /// that the engine's own encoder does not reproduce.
    pub fn encodes_by_library(&self) -> bool {
        self.bpe.is_none()
    }

    /// Returns the encoder that takes most texts, if the tokenizer is of a kind that it knows.
    pub(super) fn bpe(&self) -> Option<&Bpe> {
        self.bpe.as_ref()
    }

    /// Returns the sizes of the pieces that long texts are encoded in.
    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Sets the sizes of pieces.
    #[cfg(test)]
    pub(super) fn with_sizes(self, sizes: Sizes) -> Tokenizer {
        Tokenizer { sizes, ..self }
    }

    /// Leaves all texts to the library, and their special tokens too.
    #[cfg(test)]
    pub(super) fn by_library(self) -> Tokenizer {
        Tokenizer { bpe: None, post_process: self.post_process.by_library(), ..self }
    }

    /// Returns whether the model is BPE.
    pub(super) fn is_bpe(&self) -> bool {
        matches!(self.inner.get_model(), ModelWrapper::BPE(_))
    }

    /// Returns a hash of `tokenizer.json` and of whether texts are lower-cased first. Two tokenizers with one fingerprint encode a text alike, so that it
    /// need not be encoded twice.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Returns the number of special tokens around one text.
    pub fn frame_tokens(&self) -> usize {
        self.frame().len()
    }

    /// Returns the special tokens around one text.
    pub(crate) fn frame(&self) -> &SpecialTokens {
        self.post_process.frame()
    }

    /// Tokenizes a whole text of any length without special tokens, for [`Tokenizer::wrap`].
    ///
    /// # Errors
    /// [`RequestError::Empty`], [`RequestError::Invalid`] if the tokenizer fails on the text.
    pub fn encode_bare(&self, text: &str) -> Result<Tokens, RequestError> {
        if text.is_empty() {
            return Err(RequestError::Empty);
        }
        self.encode_pieces(text)
    }

    /// Puts the special tokens around a range of a text's tokens, as a model expects them.
    pub fn wrap(&self, bare: &Tokens, range: Range<usize>) -> Tokens {
        self.frame().wrap(bare, range)
    }

    /// Tokenizes a whole text of any length, with or without special tokens around it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_bare`].
    pub fn tokens(&self, text: &str, special: bool) -> Result<Tokens, RequestError> {
        let bare = self.encode_bare(text)?;
        Ok(if special { self.frame().around(bare) } else { bare })
    }

    /// Iterates over the tokens of a text as people read them.
    pub fn pieces<'a>(
        &'a self,
        text: &'a str,
        tokens: &'a Tokens,
    ) -> impl Iterator<Item = TokenPiece<'a>> {
        let characters = Characters::new(text);
        tokens.ids.iter().zip(&tokens.spans).enumerate().map(move |(at, (&id, span))| {
            let special = !tokens.own.contains(&at);
            let text = match special {
                true => Cow::Owned(self.piece(id)),
                false => Cow::Borrowed(characters.slice(span)),
            };
            TokenPiece { id, text, special, span: (!special).then(|| span.clone()) }
        })
    }

    /// Decodes token ids to text, with or without special tokens.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] for an id that the tokenizer does not have.
    pub fn decode_all(&self, ids: &[u32], skip_special: bool) -> Result<String, RequestError> {
        if let Some(id) = ids.iter().find(|&&id| id >= self.vocab_end) {
            let end = self.vocab_end;
            return Err(RequestError::Invalid(format!("token id {id} is outside 0..{end}")));
        }
        let failed = |e| RequestError::Invalid(format!("cannot decode: {e}"));
        guarded(|| self.inner.decode(ids, skip_special)).map_err(failed)
    }

    /// Returns one more than the largest id.
    pub fn vocab_end(&self) -> u32 {
        self.vocab_end
    }

    /// Returns the bytes of the longest token as the vocabulary writes it; it stands for no longer a text.
    pub fn token_bytes_max(&self) -> usize {
        self.token_bytes_max
    }

    /// Checks that a model with this vocabulary has an embedding for every id.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] with the largest id.
    pub fn check(&self, vocab_size: usize, model: &str) -> Result<(), LoadError> {
        if self.vocab_end as usize <= vocab_size {
            return Ok(());
        }
        let largest = self.vocab_end - 1;
        Err(LoadError::Tokenizer {
            model: model.into(),
            reason: format!("it has ids up to {largest}, the model's vocab_size is {vocab_size}"),
        })
    }

    /// Returns the id of the mask token.
    pub fn mask_id(&self) -> Option<u32> {
        self.mask_id
    }

    /// Returns the mask token as it is written in a text.
    pub fn mask_token(&self) -> Option<String> {
        self.mask_id.and_then(|id| self.inner.id_to_token(id))
    }

    /// Decodes one token to text, without the marks of its vocabulary.
    pub fn decode(&self, id: u32) -> String {
        guarded(|| self.inner.decode(&[id], false)).unwrap_or_default()
    }

    /// Returns the id of the token for what the vocabulary does not know, if `tokenizer_config.json` names it.
    pub(crate) fn unknown_id(&self) -> Option<u32> {
        self.unknown_id
    }

    /// Returns a token as the vocabulary writes it; empty for an id that it does not have.
    pub fn piece(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_default()
    }

    /// Decodes tokens as the vocabulary writes them.
    pub(crate) fn decode_pieces(&self, pieces: Vec<String>) -> String {
        match self.inner.get_decoder() {
            Some(decoder) => guarded(|| decoder.decode(pieces)).unwrap_or_default(),
            None => pieces.join(" "),
        }
    }

    /// Returns whether the vocabulary marks the tokens that continue a word.
    pub(crate) fn marks_subwords(&self) -> bool {
        match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => !model.continuing_subword_prefix.is_empty(),
            ModelWrapper::BPE(model) => {
                model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty())
            }
            _ => false,
        }
    }

    /// Returns the byte spans of a text's tokens, without special ones: what a generator of texts of exact
    /// length cuts at.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] if the tokenizer fails on the text.
    pub fn byte_spans(&self, text: &str) -> Result<Vec<(usize, usize)>, RequestError> {
        let characters = Characters::new(text);
        let tokens = self.encode_pieces(text)?;
        let bytes = tokens.spans.iter().map(|span| characters.bytes(span));
        Ok(bytes.map(|bytes| (bytes.start, bytes.end)).collect())
    }

    /// Counts the tokens of a text, special ones included.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] if the tokenizer fails on the text.
    pub fn count(&self, text: &str) -> Result<usize, RequestError> {
        if self.bpe.is_some() || text.len() > self.sizes.piece {
            return Ok(self.encode_pieces(text)?.ids.len() + self.post_process.added(false));
        }
        let encoding = guarded(|| self.inner.encode_fast(text, false));
        encoding.and_then(|encoding| self.post_process.count(encoding)).map_err(invalid)
    }
}

/// Runs a call of the library, which panics where a `tokenizer.json` names what it does not define.
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    panics::catch_panic(call).unwrap_or_else(|message| Err(message.into()))
}

/// Returns the error for a text on which the library fails.
pub(super) fn invalid(error: tokenizers::Error) -> RequestError {
    RequestError::Invalid(format!("cannot tokenize: {error}"))
}
