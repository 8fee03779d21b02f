//! Part three: what to do, each advice with the figures it rests on.

use crate::format::tokens;
use crate::recommend::settings;
use crate::report::markup::Markup;
use crate::report::words;
use crate::results::Results;
use crate::results::recommendation::{Recommendation, Support};

use super::write::{end, part, section};

pub(super) fn render(out: &mut Markup, results: &Results) {
    let lead = "Computed from the figures above. Nothing is extrapolated beyond what was measured; where \
                the run does not support an advice, it says what is missing.";
    part(out, "recommendations", "Recommendations", lead);
    out.raw("<div class=\"advice\">\n");
    for recommendation in &results.recommendations {
        card(out, recommendation);
    }
    out.raw("</div>\n");
    section(
        out,
        "settings",
        "Settings",
        "recommended.toml, beside this page, holds what the server can be told.",
    );
    out.raw("<div class=\"scroll\">").element("pre", &[], settings::toml(results)).raw("</div>\n");
    end(out);
    end(out);
}

fn card(out: &mut Markup, recommendation: &Recommendation) {
    let (class, label) = match recommendation.support {
        Support::Shown => ("verdict pass", "shown"),
        Support::Partly => ("verdict open", "partly shown"),
        Support::Missing => ("verdict plain", "not shown"),
    };
    out.raw("<article>\n<h3>").text(recommendation.topic.label());
    if let Some(length) = recommendation.tokens {
        out.text(format!(", {} tokens", tokens(length)));
    }
    out.raw(" ").element("span", &[("class", &class)], label).raw("</h3>\n");
    if let Some(figure) = &recommendation.figure {
        let (value, interval) = words::advised(figure);
        out.open("p", &[("class", &"figure")]).element("b", &[], value);
        out.element("span", &[], interval).close("p");
    }
    if recommendation.support != Support::Missing {
        out.element("p", &[], &recommendation.advice);
    }
    if !recommendation.evidence.is_empty() {
        out.raw("<ul>\n");
        for sentence in &recommendation.evidence {
            out.element("li", &[], sentence);
        }
        out.raw("</ul>\n");
    }
    if let Some(missing) = &recommendation.missing {
        out.raw("<p class=\"missing\">").element("b", &[], "Missing: ").text(missing).raw("</p>\n");
    }
    out.raw("</article>\n");
}
