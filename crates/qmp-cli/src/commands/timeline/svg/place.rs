//! Where things are in the picture, in pixels.

use crate::commands::timeline::lanes::Lanes;

/// The width of the picture.
pub(super) const WIDTH: f64 = 1_200.0;

/// The space at the edges.
pub(super) const MARGIN: f64 = 16.0;

/// Where the plot begins: names are at its left.
pub(super) const PLOT_LEFT: f64 = 176.0;

/// The width of the plot.
pub(super) const PLOT_WIDTH: f64 = WIDTH - PLOT_LEFT - MARGIN;

/// The horizontal position of a time, within the plot.
pub(super) fn x(lanes: &Lanes, at: i64) -> f64 {
    let span = lanes.until.saturating_sub(lanes.since).max(1);
    let part = at.saturating_sub(lanes.since) as f64 / span as f64;
    PLOT_LEFT + (part * PLOT_WIDTH).clamp(0.0, PLOT_WIDTH)
}
