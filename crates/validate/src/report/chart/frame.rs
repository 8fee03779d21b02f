//! The frame of a chart: a plotting area with scales, grid lines, ticks and axis titles, and the marks that
//! several charts draw into it.

use super::parts::WIDE;
use crate::report::markup::{Markup, Px};

/// A map from values to a share of the axis.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    /// Evenly from 0 to `most`.
    Linear { most: f64 },
    /// By ratio, from `least` above 0 to `most`.
    Log { least: f64, most: f64 },
}

impl Scale {
    /// Creates a linear scale from 0 to `most`.
    pub(super) fn linear(most: f64) -> Scale {
        Scale::Linear { most: if most > 0.0 { most } else { 1.0 } }
    }

    /// Creates a logarithmic scale from `least` to `most`, with a little room on both sides.
    pub(super) fn log(least: f64, most: f64) -> Scale {
        let least = if least > 0.0 { least } else { 1e-3 };
        Scale::Log { least: least / 1.15, most: most.max(least) * 1.15 }
    }

    /// Returns the position of `value` along the axis, 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear { most } => value / most,
            Scale::Log { least, most } => (value / least).ln() / (most / least).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Returns round values at which to put a tick, on a linear scale `about` as many.
    fn ticks(self, about: u32) -> Vec<f64> {
        match self {
            Scale::Linear { most } => {
                let step = round_step(most / f64::from(about));
                let ticks = (0..).map(|index| f64::from(index) * step);
                ticks.take_while(|&tick| tick <= most * 1.0001).collect()
            }
            Scale::Log { least, most } => log_ticks(least, most),
        }
    }
}

/// Returns the next larger of 1, 2, 2.5 and 5 times a power of ten.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    factors.iter().map(|factor| factor * power).find(|&step| step >= raw * 0.9999).unwrap_or(raw)
}

/// Returns powers of ten, with 2 and 5 between them where there is room; even steps where there is no power.
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

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Height of a frame beyond its plotting area.
pub(super) const MARGINS: f64 = TOP + BOTTOM;
/// A band narrower than this has its name only as a tooltip.
const NAMED_FROM_PX: f64 = 46.0;

/// An axis.
pub(super) struct Axis {
    scale: Scale,
    title: &'static str,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Creates an axis with `about` as many round ticks, each printed by `print`.
    pub(super) fn new(
        scale: Scale,
        title: &'static str,
        about: u32,
        print: impl Fn(f64) -> String,
    ) -> Axis {
        let ticks = scale.ticks(about).into_iter().map(|tick| (tick, print(tick))).collect();
        Axis { scale, title, ticks }
    }

    /// Creates an axis with ticks at these values.
    pub(super) fn with_ticks(
        scale: Scale,
        title: &'static str,
        ticks: impl IntoIterator<Item = (f64, String)>,
    ) -> Axis {
        Axis { scale, title, ticks: ticks.into_iter().collect() }
    }
}

/// A chart under construction.
pub(super) struct Frame {
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
    out: Markup,
}

impl Frame {
    /// Draws the axes of a chart of `width` by `height` pixels; `label` describes it to screen readers.
    pub(super) fn new((width, height): (f64, f64), label: &str, x: Axis, y: Axis) -> Frame {
        let mut frame = Frame { width, height, x: x.scale, y: y.scale, out: Markup::new() };
        frame.out.open_svg(width, height, label);
        let (left, right, bottom) = (LEFT, frame.right(), frame.bottom());
        for (value, name) in &x.ticks {
            let at = frame.x(*value);
            frame.out.segment("grid", (at, TOP), (at, bottom));
            frame.out.label("", "middle", (at, bottom + 16.0), name);
        }
        frame.out.label("axis", "middle", ((left + right) / 2.0, height - 8.0), x.title);
        for (value, name) in &y.ticks {
            let at = frame.y(*value);
            frame.out.segment("grid", (left, at), (right, at));
            frame.out.label("", "end", (left - 8.0, at + 3.5), name);
        }
        let turned = format!("translate(13 {}) rotate(-90)", Px((TOP + bottom) / 2.0));
        let attributes: [(&'static str, &dyn std::fmt::Display); 3] =
            [("class", &"axis"), ("transform", &turned), ("text-anchor", &"middle")];
        frame.out.element("text", &attributes, y.title);
        frame
    }

    /// Returns the horizontal position of a value, in pixels.
    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.right() - LEFT)
    }

    /// Returns the vertical position of a value, in pixels.
    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.share(value) * (self.bottom() - TOP)
    }

    pub(super) fn right(&self) -> f64 {
        self.width - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Returns the markup, for marks that only one chart has.
    pub(super) fn out(&mut self) -> &mut Markup {
        &mut self.out
    }

    /// Draws a line through points in units of the axes.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)], title: &str) {
        let point = |&(x, y): &(f64, f64)| format!("{},{}", Px(self.x(x)), Px(self.y(y)));
        let points: Vec<String> = points.iter().map(point).collect();
        let class = format!("line {class}");
        self.out.open("polyline", &[("class", &class), ("points", &points.join(" "))]);
        self.out.element("title", &[], title).close("polyline");
    }

    /// Draws a circle around a point in units of the axes.
    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64, title: &str) {
        let (cx, cy) = (Px(self.x(x)), Px(self.y(y)));
        self.out.open("circle", &[("class", &class), ("cx", &cx), ("cy", &cy), ("r", &radius)]);
        self.out.element("title", &[], title).close("circle");
    }

    /// Draws a horizontal line over the whole width, with its name at the right end.
    pub(super) fn horizontal(&mut self, value: f64, name: &str) {
        let (y, right) = (self.y(value), self.right());
        self.out.segment("rule", (LEFT, y), (right, y));
        self.out.label("note", "end", (right - 6.0, y + 13.0), name);
    }

    /// Draws a vertical line over the whole height, with its name at the foot.
    pub(super) fn vertical(&mut self, value: f64, name: &str) {
        let (x, bottom) = (self.x(value), self.bottom());
        self.out.segment("rule", (x, TOP), (x, bottom));
        let (at, anchor) = if x < self.width / 2.0 { (x + 5.0, "start") } else { (x - 5.0, "end") };
        self.out.label("note", anchor, (at, bottom - 8.0), name);
    }

    /// Shades a span of the horizontal axis, every second one darker, and names it where there is room.
    pub(super) fn band(&mut self, index: usize, (from, to): (f64, f64), name: &str, title: &str) {
        let (left, right, bottom) = (self.x(from), self.x(to), self.bottom());
        let class = if index.is_multiple_of(2) { "band" } else { "band odd" };
        self.out.rect(class, (left, TOP), ((right - left).max(0.5), bottom - TOP), title);
        if right - left >= NAMED_FROM_PX {
            self.out.label("note", "middle", ((left + right) / 2.0, TOP + 13.0), name);
        }
    }

    /// Returns the finished chart under `title`.
    pub(super) fn finish(mut self, title: impl Into<String>) -> super::Figure {
        self.out.close("svg");
        super::Figure { title: title.into(), wide: self.width >= WIDE, svg: self.out }
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
