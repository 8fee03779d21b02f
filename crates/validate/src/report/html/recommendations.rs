//! Part three of the page: each recommendation on a card with the figures it rests on, and `recommended.toml`.

use crate::recommend::settings;
use crate::report::markup::Markup;
use crate::report::sentences;
use crate::results::Results;
use crate::results::recommendation::{Recommendation, Support};

use super::blocks;

pub(super) fn render(out: &mut Markup, results: &Results) {
    let lead = "Computed from the figures above and never extrapolated beyond them. A recommendation that the run \
                does not support names what is missing.";
    blocks::open_part(out, "recommendations", "Recommendations", lead);
    out.raw("<div class=\"advice\">\n");
    results.recommendations.iter().for_each(|recommendation| card(out, recommendation));
    out.raw("</div>\n<section id=\"settings\">").element("h3", &[], "Settings");
    let lead = "Settings for the server, as in recommended.toml beside this page.";
    out.element("p", &[("class", &"lead")], lead);
    out.raw("<div class=\"scroll\">").element("pre", &[], settings::toml(results));
    out.raw("</div>\n</section>\n</section>\n");
}

fn card(out: &mut Markup, recommendation: &Recommendation) {
    let (class, label) = match recommendation.support {
        Support::Shown => ("verdict pass", "shown"),
        Support::Partly => ("verdict open", "partly shown"),
        Support::Missing => ("verdict plain", "not shown"),
    };
    out.raw("<article>\n<h3>").text(sentences::advice_title(recommendation)).raw(" ");
    out.element("span", &[("class", &class)], label).close("h3");
    if let Some(figure) = &recommendation.figure {
        let (value, interval) = sentences::advice_figure(figure);
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
    out.close("article");
}
