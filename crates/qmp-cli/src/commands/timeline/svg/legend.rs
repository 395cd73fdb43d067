//! The legend: a sample of each look.

use super::lane::{mark, pointer};
use super::place::MARGIN;
use super::text;
use super::xml::{Attributes, Px, Xml};

/// The width of a sample, with the space after it.
const SAMPLE: f64 = 26.0;

const BANDS: [(&str, &str); 7] = [
    ("running", "running"),
    ("stopped", "stopped"),
    ("trouble", "in trouble"),
    ("mixed", "short changes"),
    ("off", "off"),
    ("unknown", "unknown"),
    ("gap", "not watched"),
];

const MARKS: [&str; 5] = ["error", "warning", "lifecycle", "recovery", "other event"];

/// Draws the legend in one line.
pub(super) fn draw(xml: &mut Xml, middle: f64) {
    let mut left = MARGIN;
    xml.open("g", &[]);
    for (class, label) in BANDS {
        if class == "off" {
            let path = format!("M{} {}h22", Px(left), Px(middle));
            xml.empty("path", &[("class", &class), ("d", &path)]);
        } else {
            let band: Attributes<'_> = &[
                ("class", &class),
                ("x", &Px(left)),
                ("y", &Px(middle - 5.5)),
                ("width", &Px(22.0)),
                ("height", &Px(11.0)),
            ];
            xml.empty("rect", band);
        }
        left = put(xml, label, left, middle, SAMPLE);
    }
    for (severity, label) in MARKS.iter().enumerate() {
        let (class, path) = (format!("mark s{severity}"), mark(severity, left + 5.0, middle, 5.0));
        xml.empty("path", &[("class", &class), ("d", &path)]);
        left = put(xml, label, left, middle, 14.0);
    }
    xml.empty("path", &[("class", &"ink"), ("d", &pointer(left + 5.0, middle - 3.0, 5.0))]);
    put(xml, "finding", left, middle, 14.0);
    xml.close();
}

/// Writes a label, and returns where the next sample begins.
fn put(xml: &mut Xml, label: &str, left: f64, middle: f64, sample: f64) -> f64 {
    let place: Attributes<'_> = &[("class", &"soft"), ("x", &Px(left + sample)), ("y", &Px(middle + 4.0))];
    xml.text("text", place, label);
    left + sample + text::width(label, 11.0) + 10.0
}
