//! A writer of HTML and SVG that escapes by construction: element names and raw markup are `&'static str`,
//! and text known only at run time goes through [`Markup::text`] or an attribute's value.

use std::fmt::{Display, Write};

/// Attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// A fragment of HTML or SVG.
#[derive(Debug, Clone, Default)]
pub(super) struct Markup {
    out: String,
}

impl Markup {
    pub(super) fn new() -> Markup {
        Markup::default()
    }

    /// Appends markup as it is.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Appends text from any source, escaped.
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

    /// Appends an element that holds only text.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        text: impl Display,
    ) -> &mut Self {
        self.open(name, attributes).text(text).close(name)
    }

    /// Appends an SVG element without content.
    pub(super) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.start(name, attributes).raw("/>\n")
    }

    pub(super) fn add(&mut self, other: Markup) -> &mut Self {
        self.out.push_str(&other.out);
        self
    }

    /// Opens an image of this size; `label` describes it to screen readers.
    pub(super) fn open_svg(&mut self, width: f64, height: f64, label: &str) -> &mut Self {
        let view = format!("0 0 {width} {height}");
        let natural = format!("max-width:{}px", width * 1.25);
        let attributes: Attributes<'_> =
            &[("viewBox", &view), ("role", &"img"), ("aria-label", &label), ("style", &natural)];
        self.open("svg", attributes)
    }

    /// Appends a rectangle with a tooltip.
    pub(super) fn rect(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        title: impl Display,
    ) -> &mut Self {
        let (x, y, width, height) = (Px(x), Px(y), Px(width), Px(height));
        let place: Attributes<'_> =
            &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)];
        self.open("rect", place).element("title", &[], title).close("rect")
    }

    /// Appends a straight line.
    pub(super) fn segment(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) -> &mut Self {
        let (x1, y1, x2, y2) = (Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        let ends: Attributes<'_> =
            &[("class", &class), ("x1", &x1), ("y1", &y1), ("x2", &x2), ("y2", &y2)];
        self.empty("line", ends)
    }

    /// Appends text in an image; `anchor` is `start`, `middle` or `end`.
    pub(super) fn label(
        &mut self,
        class: &str,
        anchor: &str,
        (x, y): (f64, f64),
        text: impl Display,
    ) -> &mut Self {
        let (x, y) = (Px(x), Px(y));
        let place: Attributes<'_> =
            &[("class", &class), ("text-anchor", &anchor), ("x", &x), ("y", &y)];
        self.element("text", place, text)
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

/// A coordinate in pixels, printed to a tenth.
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", self.0)
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
