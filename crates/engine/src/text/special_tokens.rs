//! What becomes of the tokens of one text or two before a model reads them: special tokens around them.
//!
//! Most post-processors of a `tokenizer.json` do nothing else, whatever the text: what they add is read once, when the
//! tokenizer is loaded. The others, which trim spans or repeat texts, are given every text.

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

use super::encoded::Encoded;
use super::input::{SpecialTokens, Tokens};
use super::tokenize::{guarded, invalid};
use crate::error::RequestError;

/// The post-processor of a tokenizer.
pub(super) struct PostProcess {
    processor: Option<PostProcessorWrapper>,
    /// The special tokens around one text.
    frame: SpecialTokens,
    /// Those before, between and behind two texts, if it only adds such.
    pair: Option<[Vec<u32>; 3]>,
}

impl PostProcess {
    /// Reads what is added to texts. `bare` is an encoded text, ids are below `vocab_end`.
    ///
    /// # Errors
    /// The post-processor fails, or adds tokens that are not in the vocabulary: the library does not check what it reads.
    pub(super) fn new(
        processor: Option<PostProcessorWrapper>,
        bare: &Encoding,
        vocab_end: u32,
    ) -> Result<PostProcess, String> {
        let mut post_process =
            PostProcess { processor, frame: SpecialTokens::default(), pair: None };
        let process = |second: Option<Encoding>, what: &str| {
            let whole = post_process.run(bare.clone(), second, true);
            let whole =
                whole.map_err(|error| error.to_string()).and_then(|whole| check(whole, vocab_end));
            whole.map_err(|why| {
                format!("tokenizer.json: its post_processor fails on {what} ({why})")
            })
        };
        process(Some(bare.clone()), "two texts")?;
        let framed = process(None, "a text")?;
        let special = framed.get_special_tokens_mask();
        let before = special.iter().take_while(|&&mask| mask == 1).count();
        let after = special[before..].iter().rev().take_while(|&&mask| mask == 1).count();
        let ids = framed.get_ids();
        let (before, after) = (ids[..before].to_vec(), ids[ids.len() - after..].to_vec());
        post_process.frame = SpecialTokens { before, after };
        post_process.pair = post_process.read_pair();
        Ok(post_process)
    }

    /// Gives every text to the library.
    #[cfg(test)]
    pub(super) fn by_library(self) -> PostProcess {
        PostProcess { pair: None, ..self }
    }

    /// Returns the special tokens around one text.
    pub(super) fn frame(&self) -> &SpecialTokens {
        &self.frame
    }

    /// Returns whether it does nothing but add special tokens around texts.
    pub(super) fn only_adds(&self) -> bool {
        self.pair.is_some()
    }

    /// Returns the number of special tokens that are added to one text or to two.
    pub(super) fn added(&self, pair: bool) -> usize {
        self.processor.as_ref().map_or(0, |processor| processor.added_tokens(pair))
    }

    /// Returns whether a text without special tokens keeps as many tokens as there were. Then the post-processor works
    /// on each token alone, as those that trim offsets do.
    ///
    /// # Errors
    /// The post-processor fails.
    pub(super) fn keeps_tokens(&self, bare: Encoding) -> Result<bool, String> {
        let tokens = bare.len();
        let processed = self.run(bare, None, false).map_err(|error| error.to_string())?;
        Ok(processed.len() == tokens)
    }

    /// Trims the spans of a text that gets no special tokens, if the tokenizer asks for that.
    ///
    /// # Errors
    /// The post-processor fails.
    pub(super) fn trim(&self, encoded: Encoded) -> tokenizers::Result<Encoded> {
        if self.only_adds() {
            return Ok(encoded);
        }
        Ok(Encoded::new(&self.run(encoded.into_encoding(), None, false)?, false))
    }

    /// Puts special tokens around one text or two. The second of two is the one that spans count in.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] if the post-processor fails.
    pub(super) fn complete(
        &self,
        first: Encoded,
        second: Option<Encoded>,
    ) -> Result<Tokens, RequestError> {
        let Some([before, between, after]) = &self.pair else {
            return self.complete_by_library(first, second).map_err(invalid);
        };
        let mut tokens = match second {
            None => self.frame.around(first.into_tokens()),
            Some(second) => {
                let before = [before, &first.ids[..], between].concat();
                SpecialTokens { before, after: after.clone() }.around(second.into_tokens())
            }
        };
        if tokens.own.is_empty() {
            tokens.own = 0..0;
        }
        // They wait in a queue, and may be the few that are left of a piece.
        tokens.ids.shrink_to_fit();
        tokens.spans.shrink_to_fit();
        Ok(tokens)
    }

    fn complete_by_library(
        &self,
        first: Encoded,
        second: Option<Encoded>,
    ) -> tokenizers::Result<Tokens> {
        let answered = usize::from(second.is_some());
        let encoding = self.run(first.into_encoding(), second.map(Encoded::into_encoding), true)?;
        let is_own = |at: usize| {
            encoding.get_special_tokens_mask().get(at) != Some(&1)
                && encoding.token_to_sequence(at).unwrap_or(0) == answered
        };
        let start = (0..encoding.len()).find(|&at| is_own(at)).unwrap_or(0);
        let own = start..start + (start..encoding.len()).take_while(|&at| is_own(at)).count();
        let span = |(at, &(start, end)): (usize, &(usize, usize))| {
            if own.contains(&at) { start..end } else { 0..0 }
        };
        let spans = encoding.get_offsets().iter().enumerate().map(span).collect();
        let ids = encoding.get_ids().to_vec();
        Ok(Tokens { ids, spans, own, removed: 0, prompt: 0 })
    }

    /// Returns the number of tokens of a text with special ones.
    ///
    /// # Errors
    /// The post-processor fails.
    pub(super) fn count(&self, bare: Encoding) -> tokenizers::Result<usize> {
        Ok(self.run(bare, None, true)?.len())
    }

    /// Runs the post-processor.
    fn run(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        special: bool,
    ) -> tokenizers::Result<Encoding> {
        guarded(|| match &self.processor {
            Some(processor) => processor.process(first, second, special),
            None => {
                let encodings = std::iter::once(first).chain(second).collect();
                let mut merged = <dyn PostProcessor>::default_process(encodings, special)?;
                Ok(merged.pop().unwrap_or_default())
            }
        })
    }

    /// Reads what is added to two texts. `None` if more is done to them than that.
    fn read_pair(&self) -> Option<[Vec<u32>; 3]> {
        match &self.processor {
            None => return Some(Default::default()),
            Some(PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_)) => {}
            Some(_) => return None,
        }
        // Of different lengths, to tell which is which.
        let (first, second) = (sample(0, 2), sample(2, 3));
        let one = self.run(first.clone(), None, true).ok()?;
        let SpecialTokens { before, after } = &self.frame;
        if one.get_ids() != [before, first.get_ids(), after].concat() {
            return None;
        }
        let two = self.run(first.clone(), Some(second.clone()), true).ok()?;
        let is_own = |at: usize, sequence| {
            two.get_special_tokens_mask()[at] == 0 && two.token_to_sequence(at) == Some(sequence)
        };
        let at = |sequence| (0..two.len()).find(|&at| is_own(at, sequence));
        let (first_at, second_at) = (at(0)?, at(1)?);
        let ids = two.get_ids();
        let between = ids.get(first_at + first.len()..second_at)?.to_vec();
        let pair =
            [ids[..first_at].to_vec(), between, ids.get(second_at + second.len()..)?.to_vec()];
        let added = pair.iter().map(Vec::len).sum::<usize>();
        let expected = [&pair[0], first.get_ids(), &pair[1], second.get_ids(), &pair[2]].concat();
        let only =
            ids == expected && [self.frame.len(), added] == [self.added(false), self.added(true)];
        only.then_some(pair)
    }
}

/// Returns an encoding of so many tokens.
fn sample(first: u32, tokens: u32) -> Encoding {
    let token = |id: u32| (id, "a".to_owned(), (id as usize, id as usize + 1), Some(id), 0);
    (first..first + tokens).map(token).collect()
}

/// Checks the lists of an encoding, and that it has tokens of the vocabulary.
fn check(whole: Encoding, vocab_end: u32) -> Result<Encoding, String> {
    let tokens = whole.get_ids().len();
    let lengths = [
        whole.get_tokens().len(),
        whole.get_offsets().len(),
        whole.get_special_tokens_mask().len(),
    ];
    match whole.get_ids().iter().find(|&&id| id >= vocab_end) {
        Some(id) => Err(format!("it adds id {id}, the vocabulary ends before")),
        None if lengths != [tokens; 3] => {
            Err("a special token has not as many ids as tokens".into())
        }
        None => Ok(whole),
    }
}
