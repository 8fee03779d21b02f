//! Part three of the page: a card per subject with its recommendations and the figures they rest on, and
//! `recommended.toml`.

use crate::recommend::settings;
use crate::report::markup::Markup;
use crate::report::sentences;
use crate::results::Results;
use crate::results::recommendation::{Recommendation, Support};

use super::blocks;

/// The part's id and title, for the contents.
pub(super) const PART: (&str, &str) = ("recommendations", "Recommendations");
/// The id and title of its section.
pub(super) const SETTINGS: (&str, &str) = ("settings", "Settings");

pub(super) fn render(out: &mut Markup, results: &Results) {
    let lead = "Computed from the figures above and never extrapolated beyond them. A recommendation that the run \
                does not support names what is missing.";
    blocks::open_part(out, PART.0, PART.1, lead);
    out.raw("<div class=\"advice\">\n");
    for of_topic in results.recommendations.chunk_by(|one, next| one.topic == next.topic) {
        card(out, of_topic);
    }
    out.close("div").open("section", &[("id", &SETTINGS.0)]).element("h3", &[], SETTINGS.1);
    let lead = "Settings for the server, as in recommended.toml beside this page.";
    out.element("p", &[("class", &"lead")], lead);
    blocks::open_scrolling(out, "div", "scroll", SETTINGS.1);
    out.element("pre", &[], settings::toml(results));
    out.raw("</div>\n</section>\n</section>\n");
}

/// Renders the recommendations on one subject.
fn card(out: &mut Markup, of_topic: &[Recommendation]) {
    let Some(first) = of_topic.first() else { return };
    out.raw("<article>\n").element("h3", &[], first.topic.label());
    of_topic.iter().for_each(|recommendation| item(out, recommendation));
    out.close("article");
}

fn item(out: &mut Markup, recommendation: &Recommendation) {
    let (class, label) = match recommendation.support {
        Support::Shown => ("verdict pass", "shown"),
        Support::Partly => ("verdict open", "partly shown"),
        Support::Missing => ("verdict plain", "not shown"),
    };
    out.raw("<section class=\"item\">\n<p class=\"state\">");
    out.element("span", &[("class", &class)], label);
    out.text(sentences::advice_length(recommendation)).close("p");
    if let Some(figure) = &recommendation.figure {
        let (value, interval) = sentences::advice_figure(recommendation, figure);
        out.raw("<p class=\"figure\">").element("b", &[], value);
        out.element("span", &[], interval).close("p");
    }
    if recommendation.support != Support::Missing {
        out.element("p", &[], &recommendation.advice);
    }
    if !recommendation.evidence.is_empty() {
        blocks::list(out, &recommendation.evidence);
    }
    if let Some(missing) = &recommendation.missing {
        out.raw("<p class=\"missing\">").element("b", &[], "Missing: ").text(missing).close("p");
    }
    out.close("section");
}
