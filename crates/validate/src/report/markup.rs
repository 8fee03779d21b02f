//! A writer of HTML and SVG that cannot forget to escape: markup of its own is `&'static str`, and
//! whatever is known only at run time goes through [`Markup::text`] or an attribute's value.

use std::fmt::{Display, Write};

/// Attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A piece of markup.
#[derive(Debug, Clone, Default)]
pub(super) struct Markup {
    out: String,
}

impl Markup {
    pub(super) fn new() -> Markup {
        Markup::default()
    }

    /// Markup written by us.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Text from anywhere.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(Escaping(&mut self.out), "{text}");
        self
    }

    pub(super) fn open(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.start(name, attributes).raw(">")
    }

    pub(super) fn close(&mut self, name: &'static str) -> &mut Self {
        self.raw("</").raw(name).raw(">\n")
    }

    /// An element that holds only text.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        text: impl Display,
    ) -> &mut Self {
        self.open(name, attributes).text(text).close(name)
    }

    /// An SVG element without content.
    pub(super) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.start(name, attributes).raw("/>\n")
    }

    pub(super) fn add(&mut self, other: Markup) -> &mut Self {
        self.out.push_str(&other.out);
        self
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }

    fn start(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.raw("<").raw(name);
        for (key, value) in attributes {
            self.raw(" ").raw(key).raw("=\"").text(value).raw("\"");
        }
        self
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Browsers drop or mangle these; a report shows that they were there.
                '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => self.0.push('\u{fffd}'),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let mut markup = Markup::new();
        markup.element("td", &[("title", &"\" onclick='x'")], "<b>&\0");
        assert_eq!(
            markup.into_string(),
            "<td title=\"&quot; onclick=&#39;x&#39;\">&lt;b&gt;&amp;\u{fffd}</td>\n"
        );
    }
}
