//! Inputs of requests to tokens: one text or two, with their special tokens, cut to a limit.
//!
//! A text that is too long is refused once that is certain, without reading the rest. One that is cut is read to its end
//! all the same, so that the answer can say how much of it was given. [`super::pieces`] reads it, [`super::tokenize`] holds the tokenizer.

use crate::error::RequestError;
use crate::text::input::{Input, SpecialTokens, Tokens, Truncate};
use crate::text::pieces::Reader;
use crate::text::tokenize::{Tokenizer, invalid};

/// Which of two texts a truncation cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutText {
    /// The longer one; both to half of the limit if both are longer than that.
    Longer,
    /// The first one.
    First,
}

impl Tokenizer {
    /// Tokenizes one input. With `truncate`, cuts it to `limit` tokens or to its own limit: the longer
    /// text of a pair first, of a text in context the context.
    ///
    /// # Errors
    /// [`RequestError::Empty`]; [`RequestError::TooLong`]; [`RequestError::Invalid`] if the tokenizer fails on
    /// the text or the special tokens leave no room for it.
    pub fn encode(
        &self,
        input: &Input,
        limit: usize,
        truncate: Truncate,
    ) -> Result<Tokens, RequestError> {
        let limit = truncate.limit(limit);
        let tokens = match input {
            Input::Text(text) => self.encode_texts(None, text, limit, truncate, CutText::Longer)?,
            Input::Prompted(prompt, text) => {
                let text = format!("{prompt}{text}");
                self.encode_texts(None, &text, limit, truncate, CutText::Longer)?
            }
            Input::Pair(first, text) => {
                self.encode_texts(Some(first), text, limit, truncate, CutText::Longer)?
            }
            Input::InContext { context, text } => {
                self.encode_texts(Some(context), text, limit, truncate, CutText::First)?
            }
            Input::Bare(text) => self.encode_unframed(text, limit, truncate)?,
            Input::Ids(ids) => {
                let kept = truncate.kept(ids.len(), limit);
                let (removed, spans) = (ids.len() - kept.len(), vec![0..0; kept.len()]);
                Tokens { ids: ids[kept].to_vec(), spans, own: 0..0, removed, prompt: 0 }
            }
            Input::Tokens(_, tokens) => tokens.clone(),
        };
        match tokens.ids.len() {
            0 => Err(RequestError::Empty),
            n if n > limit => Err(RequestError::TooLong { tokens: n, at_least: false, limit }),
            _ => Ok(tokens),
        }
    }

    fn encode_unframed(
        &self,
        text: &str,
        limit: usize,
        truncate: Truncate,
    ) -> Result<Tokens, RequestError> {
        if text.is_empty() {
            return Err(RequestError::Empty);
        }
        let mut reader = Reader::new(self, text, limit, truncate.cut_end());
        reader.read_past(limit)?;
        refuse_unread(&[&reader], 0, limit, truncate)?;
        reader.read_past(usize::MAX)?;
        let given = reader.tokens();
        let bare = self.post_process().trim(reader.into_kept()).map_err(invalid)?.into_tokens();
        let kept = truncate.kept(bare.ids.len(), limit);
        let removed = given - kept.len();
        Ok(Tokens { removed, ..SpecialTokens::default().wrap(&bare, kept) })
    }

    fn encode_texts(
        &self,
        before: Option<&str>,
        text: &str,
        limit: usize,
        truncate: Truncate,
        cut_text: CutText,
    ) -> Result<Tokens, RequestError> {
        if text.is_empty() || before.is_some_and(str::is_empty) {
            return Err(RequestError::Empty);
        }
        let cut_end = truncate.cut_end();
        let special = self.post_process().added(before.is_some());
        let mut first = Reader::new(self, before.unwrap_or(text), limit, cut_end);
        first.read_past(limit)?;
        refuse_unread(&[&first], special, limit, truncate)?;
        let mut second = before.map(|_| Reader::new(self, text, limit, cut_end));
        if let Some(second) = &mut second {
            second.read_past(limit)?;
            refuse_unread(&[&first, second], special, limit, truncate)?;
        }
        let tokens = first.tokens() + second.as_ref().map_or(0, Reader::tokens);
        let truncated = cut_end.filter(|_| tokens + special > limit);
        let kept = match truncated {
            None => None,
            Some(_) => Some(kept_tokens(&mut first, second.as_mut(), limit, special, cut_text)?),
        };
        if truncated.is_some() {
            first.read_past(usize::MAX)?;
            second.iter_mut().try_for_each(|second| second.read_past(usize::MAX))?;
        }
        let given = special + first.tokens() + second.as_ref().map_or(0, Reader::tokens);
        let (mut first, mut second) = (first.into_kept(), second.map(Reader::into_kept));
        if let (Some(end), Some(kept)) = (truncated, kept) {
            first.truncate(kept.0, end);
            if let Some(second) = &mut second {
                second.truncate(kept.1, end);
            }
        }
        let tokens = self.post_process().complete(first, second)?;
        let removed = truncated.map_or(0, |_| given.saturating_sub(tokens.ids.len()));
        Ok(Tokens { removed, ..tokens })
    }
}

/// Refuses texts that are not to be cut and of which one was not read to its end: there is no room for the rest.
fn refuse_unread(
    texts: &[&Reader<'_>],
    special: usize,
    limit: usize,
    truncate: Truncate,
) -> Result<(), RequestError> {
    if truncate.cut_end().is_some() || texts.iter().all(|text| text.complete()) {
        return Ok(());
    }
    let tokens = special + texts.iter().map(|text| text.tokens()).sum::<usize>();
    Err(RequestError::TooLong { tokens, at_least: true, limit })
}

/// Returns how many tokens of each text are left after a truncation to `limit` tokens, `special` of them special.
fn kept_tokens(
    first: &mut Reader<'_>,
    second: Option<&mut Reader<'_>>,
    limit: usize,
    special: usize,
    cut_text: CutText,
) -> Result<(usize, usize), RequestError> {
    let room = limit.checked_sub(special).filter(|&room| room > 0).ok_or_else(|| {
        RequestError::Invalid(format!("a limit of {limit} tokens leaves no room for text"))
    })?;
    let Some(second) = second else { return Ok((room, 0)) };
    if cut_text == CutText::Longer {
        let first_is_longer = first.is_longer_than(second)?;
        let shorter = first.tokens().min(second.tokens()).min(room / 2);
        let longer = room - shorter;
        return Ok(if first_is_longer { (longer, shorter) } else { (shorter, longer) });
    }
    let own = second.tokens();
    if own >= room {
        let at_least = if second.complete() { "" } else { "at least " };
        return Err(RequestError::Invalid(format!(
            "the second text has {at_least}{own} tokens and is not cut, with {special} special ones and a context \
             the limit is {limit}; shorten the second text"
        )));
    }
    Ok((room - own, own))
}
