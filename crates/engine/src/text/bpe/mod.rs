//! An encoder for byte-level BPE: ids and spans of the tokens of a text, the same as the library's, in one pass.
//!
//! It takes the tokenizers that [`Bpe::of`] lists, which are those of ModernBERT and of the models that this project
//! trains. Any other stays with the library, and so does a text that would have to be normalized first. A text is split
//! at [`added`] tokens, the rest into [`words`], each word into tokens by the [`vocabulary`]. What calls it, and reads a
//! long text piece by piece, is [`super::pieces`].

mod added;
mod classes;
mod vocabulary;
mod words;

use serde_json::{Value, json};
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};
use unicode_normalization_alignments::IsNormalized;
use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::is_nfc_quick;

use self::added::{Overlap, Set};
use self::classes::Classes;
use self::vocabulary::{Part, Vocabulary};
use self::words::Pattern;
use super::encoded::Encoded;

/// Bytes per token, about: what memory is reserved for.
const TOKEN_BYTES: usize = 4;

/// A text that shows differences between encoders: words and their endings, white space of each kind, digits, signs,
/// letters of one to four bytes, marks and joined characters, runs.
const PROBE: &str = "The rain's in Spain, it'll stay; I'd've  said   'twas\t\t2024 or 12,345.67\u{b2} \u{bd}!?...\n\n \
    \u{201c}Caf\u{e9}\u{201d} na\u{ef}ve\u{2014}d\u{e9}j\u{e0} vu\r\n\u{a0}\u{3000} \u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c} \
    \u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} \
    \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f3fd} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \u{1d7d8}x_y-z \
    <|a|>[b] {\"k\": [1, 2]}    indented\u{1}\u{7f}\u{2028}end ";

/// An encoder for one tokenizer.
pub(super) struct Bpe {
    pattern: Pattern,
    /// Whether texts have to be in NFC.
    nfc: bool,
    /// Those that the library looks for before and after it normalizes a text.
    added: [Set; 2],
    vocabulary: Vocabulary,
}

/// Where an encoder is in a text.
struct Writer<'a> {
    bpe: &'a Bpe,
    classes: &'static Classes,
    text: &'a str,
    /// Of the word before: memory that is used again.
    parts: Vec<Part>,
    /// Characters of the whole text before the next token.
    characters: usize,
    encoded: Encoded,
}

impl Bpe {
    /// Returns the encoder for a tokenizer whose answers it reproduces: BPE without options, `ByteLevel` words of a known
    /// expression, no normalizer or NFC. `None` for all others.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Option<Bpe> {
        let pattern = known_pattern(tokenizer.get_pre_tokenizer()?)?;
        let nfc = match tokenizer.get_normalizer() {
            None => false,
            Some(NormalizerWrapper::NFC(_)) => true,
            Some(_) => return None,
        };
        let ModelWrapper::BPE(model) = tokenizer.get_model() else { return None };
        let has = |option: &Option<String>| option.as_ref().is_some_and(|text| !text.is_empty());
        if model.dropout.is_some_and(|dropout| dropout > 0.0)
            || model.unk_token.is_some()
            || model.byte_fallback
            || has(&model.continuing_subword_prefix)
            || has(&model.end_of_word_suffix)
        {
            return None;
        }
        let tokens = tokenizer.get_added_tokens_decoder();
        let set = |normalized: bool| {
            let tokens = tokens.iter().filter(move |(_, token)| token.normalized == normalized);
            Set::new(tokens.map(|(&id, token)| (id, token)))
        };
        if nfc && tokens.values().any(|token| token.normalized && !is_nfc(&token.content)) {
            return None;
        }
        let model = serde_json::to_vec(tokenizer.get_model()).ok()?;
        let vocabulary = Vocabulary::new(serde_json::from_slice(&model).ok()?)?;
        let bpe = Bpe { pattern, nfc, added: [set(false), set(true)], vocabulary };
        let expected = Encoded::new(&tokenizer.encode_char_offsets(PROBE, false).ok()?, false);
        let encoded = bpe.encode(PROBE, 0)?;
        (encoded.ids == expected.ids && encoded.spans == expected.spans).then_some(bpe)
    }

    /// Encodes a text with so many characters before it. `None` if it takes the library: it may not be in NFC, or added
    /// tokens overlap.
    pub(super) fn encode(&self, text: &str, characters: usize) -> Option<Encoded> {
        if u32::try_from(text.len()).is_err() || self.nfc && !is_nfc(text) {
            return None;
        }
        let (classes, parts) = (Classes::get(), Vec::new());
        let mut encoded = Encoded::default();
        encoded.ids.reserve(text.len() / TOKEN_BYTES + 1);
        encoded.spans.reserve(text.len() / TOKEN_BYTES + 1);
        let mut writer = Writer { bpe: self, classes, text, parts, characters, encoded };
        let [before, after] = &self.added;
        let split = before.split(text, 0..text.len(), &mut |part, id| match id {
            Some(id) => writer.write_added(part.start, part.end, id),
            None => after.split(text, part, &mut |part, id| match id {
                Some(id) => writer.write_added(part.start, part.end, id),
                None => writer.write_words(part.start, part.end),
            }),
        });
        split.ok().map(|()| writer.encoded)
    }

    /// Returns the last byte where a text of which this is the beginning can be cut in two that have the tokens of the
    /// whole: between words that nothing around them joins, away from added tokens.
    pub(super) fn last_cut(&self, text: &str) -> Option<usize> {
        let classes = Classes::get();
        // An added token that is not in sight to its end cannot reach back to the cut.
        let longest = self.added.iter().map(Set::longest).max().unwrap_or(0);
        let mut end = text.len().checked_sub(longest.max(1))?;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let after = text[end..].chars().next()?;
        let mut after = (after, classes.of(after));
        for (at, before) in text[..end].char_indices().rev() {
            let class = classes.of(before);
            if Pattern::splits(class, after.1)
                && (!self.nfc || begins_nfc(after.0))
                && !self.added.iter().any(|set| set.touches(text.as_bytes(), end))
            {
                return Some(end);
            }
            (after, end) = ((before, class), at);
        }
        None
    }
}

impl Writer<'_> {
    fn write(&mut self, id: u32, start: usize, end: usize) {
        self.encoded.ids.push(id);
        self.encoded.spans.push(start..end);
    }

    fn write_added(&mut self, start: usize, end: usize, id: u32) -> Result<(), Overlap> {
        let first = self.characters;
        self.characters += self.text[start..end].chars().count();
        self.write(id, first, self.characters);
        Ok(())
    }

    fn write_words(&mut self, start: usize, end: usize) -> Result<(), Overlap> {
        let (text, bpe) = (&self.text[..end], self.bpe);
        let mut at = start;
        while at < end {
            let word = bpe.pattern.word(self.classes, text, at);
            if let Some(id) = bpe.vocabulary.word(self.text.as_bytes(), at, word.end) {
                self.write(id, self.characters, self.characters + word.characters);
                self.characters += word.characters;
            } else {
                self.write_parts(&text.as_bytes()[at..word.end], word.characters);
            }
            at = word.end;
        }
        Ok(())
    }

    /// Writes the tokens of a word. The span of a token has every character that a byte of it belongs to.
    fn write_parts(&mut self, word: &[u8], characters: usize) {
        let mut parts = std::mem::take(&mut self.parts);
        self.bpe.vocabulary.merge(word, &mut parts);
        let (mut at, mut before) = (0, self.characters);
        for part in &parts {
            let bytes = &word[at..at + part.bytes as usize];
            let (start, end) = if characters == word.len() {
                (before, before + bytes.len())
            } else {
                let is_inner = |byte: u8| byte & 0xc0 == 0x80;
                let begun = bytes.iter().filter(|&&byte| !is_inner(byte)).count();
                (before - usize::from(is_inner(bytes[0])), before + begun)
            };
            self.write(part.id, start, end);
            (at, before) = (at + bytes.len(), end);
        }
        self.characters += characters;
        self.parts = parts;
    }
}

/// Returns whether a text is surely in NFC. ASCII is, and keeps what is around it apart.
fn is_nfc(text: &str) -> bool {
    let is_wide = |byte: &u8| !byte.is_ascii();
    let mut rest = text;
    loop {
        let skipped = rest.as_bytes().chunks(16).take_while(|chunk| chunk.is_ascii()).count() * 16;
        let behind = &rest.as_bytes()[skipped.min(rest.len())..];
        let Some(wide) = behind.iter().position(is_wide) else { return true };
        rest = &rest[skipped + wide..];
        let run = rest.bytes().position(|byte| byte.is_ascii()).unwrap_or(rest.len());
        if is_nfc_quick(rest[..run].chars()) != IsNormalized::Yes {
            return false;
        }
        rest = &rest[run..];
    }
}

/// Returns whether a character is in NFC and combines with nothing before it.
fn begins_nfc(character: char) -> bool {
    canonical_combining_class(character) == 0
        && is_nfc_quick(std::iter::once(character)) == IsNormalized::Yes
}

/// Returns the pattern that a pre-tokenizer splits a text by, and then writes its bytes as characters.
fn known_pattern(pre_tokenizer: &PreTokenizerWrapper) -> Option<Pattern> {
    let mut steps = serde_json::to_value(pre_tokenizer).ok()?;
    let is_byte_level = |step: &Value, own: bool| {
        step["type"] == "ByteLevel" && step["add_prefix_space"] == false && step["use_regex"] == own
    };
    if is_byte_level(&steps, true) {
        return Some(Pattern::Gpt2);
    }
    match steps["pretokenizers"].take() {
        Value::Array(steps) if steps.len() == 2 && is_byte_level(&steps[1], false) => {
            let expression = steps[0]["pattern"]["Regex"].as_str()?;
            let split = json!({"type": "Split", "pattern": {"Regex": expression},
                "behavior": "Isolated", "invert": false});
            Pattern::of(expression).filter(|_| steps[0] == split)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
