//! The frame of a chart: a plotting area with scales, grid lines, ticks and axis titles.

use std::fmt;

use crate::report::markup::Markup;

/// How values map to a length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    /// From zero, evenly.
    Linear { most: f64 },
    /// By ratio, from a least value above zero.
    Log { least: f64, most: f64 },
}

impl Scale {
    /// A linear scale from 0 that shows `most`.
    pub(super) fn linear(most: f64) -> Scale {
        Scale::Linear { most: if most > 0.0 { most } else { 1.0 } }
    }

    /// A logarithmic scale that shows `least` and `most` with a little room on both sides.
    pub(super) fn log(least: f64, most: f64) -> Scale {
        let least = if least > 0.0 { least } else { 1e-3 };
        Scale::Log { least: least / 1.15, most: most.max(least) * 1.15 }
    }

    /// Place of `value`, 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear { most } => value / most,
            Scale::Log { least, most } => (value / least).ln() / (most / least).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Round values at which to put a tick; a linear scale gets `about` so many.
    pub(super) fn ticks(self, about: u32) -> Vec<f64> {
        match self {
            Scale::Linear { most } => {
                let step = round_step(most / f64::from(about));
                (0..)
                    .map(|index| f64::from(index) * step)
                    .take_while(|&tick| tick <= most * 1.0001)
                    .collect()
            }
            Scale::Log { least, most } => log_ticks(least, most),
        }
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    factors.iter().map(|factor| factor * power).find(|&step| step >= raw * 0.9999).unwrap_or(raw)
}

/// Powers of ten, with 2 and 5 between them where there is room; even steps where there is no power.
fn log_ticks(least: f64, most: f64) -> Vec<f64> {
    if most / least < 2.5 {
        let step = round_step((most - least) / 4.0);
        let steps = (least / step).ceil() as i64..=(most / step).floor() as i64;
        return steps.map(|index| index as f64 * step).collect();
    }
    let factors: &[f64] = match (most / least).log10() {
        decades if decades < 1.0 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
        decades if decades < 2.5 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let powers = (least.log10().floor() as i32)..=(most.log10().ceil() as i32);
    let all = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
    all.filter(|tick| (least..=most).contains(tick)).collect()
}

/// Sizes in the chart's own units, which are CSS pixels at its natural width.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Size {
    pub(in super::super) width: f64,
    pub(in super::super) height: f64,
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// A coordinate, printed short.
pub(in super::super) struct At(pub(in super::super) f64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

/// An axis.
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) title: &'static str,
    pub(super) ticks: Vec<(f64, String)>,
}

/// A chart under construction.
pub(super) struct Frame {
    size: Size,
    x: Scale,
    y: Scale,
    out: Markup,
}

impl Frame {
    /// Draws the axes; `label` says what the chart shows to those who cannot see it.
    pub(super) fn new(size: Size, label: &str, x: Axis, y: Axis) -> Frame {
        let mut out = Markup::new();
        let view = format!("0 0 {} {}", size.width, size.height);
        let natural = format!("max-width:{}px", size.width * 1.25);
        out.open(
            "svg",
            &[("viewBox", &view), ("role", &"img"), ("aria-label", &label), ("style", &natural)],
        );
        let mut frame = Frame { size, x: x.scale, y: y.scale, out };
        frame.horizontal_axis(&x);
        frame.vertical_axis(&y);
        frame
    }

    /// Horizontal place of a value.
    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.size.width - LEFT - RIGHT)
    }

    /// Vertical place of a value.
    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.share(value) * (self.bottom() - TOP)
    }

    pub(super) fn right(&self) -> f64 {
        self.size.width - RIGHT
    }

    pub(super) fn top(&self) -> f64 {
        TOP
    }

    pub(super) fn bottom(&self) -> f64 {
        self.size.height - BOTTOM
    }

    /// The markup, for marks of the chart's own.
    pub(super) fn out(&mut self) -> &mut Markup {
        &mut self.out
    }

    /// A line through points in units of the axes.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)], title: &str) {
        let places: Vec<String> =
            points.iter().map(|&(x, y)| format!("{},{}", At(self.x(x)), At(self.y(y)))).collect();
        let class = format!("line {class}");
        self.out.open("polyline", &[("class", &class), ("points", &places.join(" "))]);
        self.out.element("title", &[], title).close("polyline");
    }

    /// A dot at a point in units of the axes.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), title: &str) {
        let (cx, cy, class) = (At(self.x(x)), At(self.y(y)), format!("dot {class}"));
        self.out.open("circle", &[("class", &class), ("cx", &cx), ("cy", &cy), ("r", &"3.5")]);
        self.out.element("title", &[], title).close("circle");
    }

    /// A horizontal line over the whole width, with its name at the left end.
    pub(super) fn rule(&mut self, value: f64, name: &str) {
        let (y, below) = (At(self.y(value)), At(self.y(value) + 13.0));
        let (left, right, start) = (At(LEFT), At(self.right()), At(LEFT + 6.0));
        self.out.empty(
            "line",
            &[("class", &"rule"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)],
        );
        let place: &[(&'static str, &dyn fmt::Display)] =
            &[("class", &"note"), ("x", &start), ("y", &below)];
        self.out.element("text", place, name);
    }

    /// The finished chart.
    pub(super) fn finish(mut self) -> Markup {
        self.out.close("svg");
        self.out
    }

    fn horizontal_axis(&mut self, axis: &Axis) {
        let (top, bottom) = (At(self.top()), At(self.bottom()));
        let below = At(self.bottom() + 16.0);
        for (value, label) in &axis.ticks {
            let x = At(self.x(*value));
            self.out.empty(
                "line",
                &[("class", &"grid"), ("x1", &x), ("x2", &x), ("y1", &top), ("y2", &bottom)],
            );
            self.out.element(
                "text",
                &[("x", &x), ("y", &below), ("text-anchor", &"middle")],
                label,
            );
        }
        let (x, y) = (At((LEFT + self.right()) / 2.0), At(self.size.height - 8.0));
        self.out.element(
            "text",
            &[("class", &"axis"), ("x", &x), ("y", &y), ("text-anchor", &"middle")],
            axis.title,
        );
    }

    fn vertical_axis(&mut self, axis: &Axis) {
        let (left, right, before) = (At(LEFT), At(self.right()), At(LEFT - 8.0));
        for (value, label) in &axis.ticks {
            let (y, middle) = (At(self.y(*value)), At(self.y(*value) + 3.5));
            self.out.empty(
                "line",
                &[("class", &"grid"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)],
            );
            self.out.element(
                "text",
                &[("x", &before), ("y", &middle), ("text-anchor", &"end")],
                label,
            );
        }
        let turned =
            format!("translate(13 {}) rotate(-90)", At((self.top() + self.bottom()) / 2.0));
        self.out.element(
            "text",
            &[("class", &"axis"), ("transform", &turned), ("text-anchor", &"middle")],
            axis.title,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear(970.0).ticks(4), [0.0, 250.0, 500.0, 750.0]);
        assert_eq!(Scale::linear(1.0).ticks(4), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(log_ticks(4.0, 130.0), [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(0.5, 90_000.0), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(log_ticks(20.0, 29.0), [20.0, 22.5, 25.0, 27.5]);
    }

    #[test]
    fn scales_map_their_ends_to_the_frame() {
        let scale = Scale::Log { least: 1.0, most: 100.0 };
        assert_eq!((scale.share(1.0), scale.share(10.0), scale.share(100.0)), (0.0, 0.5, 1.0));
        assert_eq!(scale.share(1e9), 1.0);
        assert_eq!(Scale::linear(0.0).share(0.5), 0.5);
    }
}
