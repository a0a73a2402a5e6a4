//! Plots of a case's measurements, as SVG.

use std::fmt::Debug;
use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measurement::figure;
use crate::statistics::{median, range};
use crate::{CaseResults, Measurement};

const WIDTH: u32 = 900;
/// Width for the names of measurements.
const NAMES_WIDTH: u32 = 230;
const ROW_HEIGHT: u32 = 34;
const FONT: (&str, u32) = ("sans-serif", 13);
const OURS: RGBColor = RGBColor(0x1b, 0x6c, 0xa8);
const BASELINE: RGBColor = RGBColor(0x99, 0x99, 0x99);
/// Number of colours of percentile curves.
const CURVES: [RGBColor; 5] = [
    OURS,
    RGBColor(0xc0, 0x39, 0x2b),
    RGBColor(0x27, 0x80, 0x4b),
    RGBColor(0x8e, 0x44, 0xad),
    RGBColor(0xb9, 0x77, 0x0e),
];

/// The plots of a case, by name: all samples, and percentiles if there are any.
pub(crate) fn plots(case: &CaseResults) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut plots = vec![("samples", draw(samples_height(case), |area| samples(area, case))?)];
    if case.measurements.iter().any(|measured| !measured.percentiles.is_empty()) {
        plots.push(("percentiles", draw(420, |area| percentiles(area, case))?));
    }
    Ok(plots)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(height: u32, plot: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        plot(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// The error for a range that cannot be drawn. A backend that writes to a string does not fail.
fn failed(error: impl Debug) -> anyhow::Error {
    anyhow!("cannot draw: {error:?}")
}

fn samples_height(case: &CaseResults) -> u32 {
    let units = units(case).len() as u32;
    units * 70 + case.measurements.len() as u32 * ROW_HEIGHT
}

/// The units of a case, in order of appearance.
fn units(case: &CaseResults) -> Vec<&str> {
    let mut units: Vec<&str> = Vec::new();
    for measured in &case.measurements {
        if !units.contains(&measured.unit.as_str()) {
            units.push(&measured.unit);
        }
    }
    units
}

/// One chart per unit: a row per measurement, with a dot per sample and a line at the median.
fn samples(area: &Area<'_>, case: &CaseResults) -> anyhow::Result<()> {
    let mut rest = area.clone();
    for unit in units(case) {
        let rows: Vec<_> = case.measurements.iter().filter(|measured| measured.unit == unit).collect();
        let (upper, lower) = rest.split_vertically(70 + rows.len() as u32 * ROW_HEIGHT);
        rest = lower;
        chart(&upper, &format!("{}, {unit}", case.case), &rows)?;
    }
    Ok(())
}

fn chart(area: &Area<'_>, title: &str, rows: &[&Measurement]) -> anyhow::Result<()> {
    let count = rows.len();
    let name = |place: &f64| {
        let is_row = (place.fract() - 0.5).abs() < 0.01 && *place > 0.0;
        rows.iter().rev().nth(*place as usize).filter(|_| is_row).map_or_else(String::new, |row| row.name.clone())
    };
    let mut builder = ChartBuilder::on(area);
    builder.caption(title, FONT).margin(8).margin_right(30).x_label_area_size(28).y_label_area_size(NAMES_WIDTH);
    let mut chart = builder.build_cartesian_2d(all_samples(rows).log_scale(), 0.0..count as f64).map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .x_label_formatter(&|value| figure(*value))
        // Two positions per row; the middle of a row has its name.
        .y_labels(2 * count + 1)
        .y_label_formatter(&name)
        .label_style(FONT)
        .draw()
        .map_err(failed)?;
    for (place, row) in rows.iter().rev().enumerate() {
        let place = place as f64;
        let baseline = row.baseline.as_ref().map(|baseline| (baseline.samples.as_slice(), 0.35, BASELINE));
        for (samples, height, colour) in [Some((row.samples.as_slice(), 0.65, OURS)), baseline].into_iter().flatten() {
            let dots = samples.iter().map(|value| Circle::new((*value, place + height), 4, colour.mix(0.6).filled()));
            chart.draw_series(dots).map_err(failed)?;
            let (at, line) = (median(samples), colour.stroke_width(3));
            let line = PathElement::new(vec![(at, place + height - 0.14), (at, place + height + 0.14)], line);
            chart.draw_series([line]).map_err(failed)?;
        }
    }
    Ok(())
}

/// The range of all samples, wide enough that noise does not look large.
fn all_samples(rows: &[&Measurement]) -> Range<f64> {
    let baselines = rows.iter().filter_map(|row| row.baseline.as_ref()).flat_map(|baseline| &baseline.samples);
    let values: Vec<f64> = rows.iter().flat_map(|row| &row.samples).chain(baselines).copied().collect();
    let (low, high) = range(&values);
    let low = low.max(f64::MIN_POSITIVE);
    low / 1.5..high.max(low) * 1.5
}

/// A curve per measurement with percentiles. Rare values get as much space as frequent ones.
fn percentiles(area: &Area<'_>, case: &CaseResults) -> anyhow::Result<()> {
    let curves: Vec<_> = case.measurements.iter().filter(|measured| !measured.percentiles.is_empty()).collect();
    let all: Vec<f64> = curves.iter().flat_map(|curve| curve.percentiles.iter().map(|(_, value)| *value)).collect();
    let nines = curves.iter().flat_map(|curve| &curve.percentiles).map(|(at, _)| rarity(*at)).fold(1.0, f64::max);
    let (low, high) = range(&all);
    let low = low.max(f64::MIN_POSITIVE);
    let mut builder = ChartBuilder::on(area);
    let caption = format!("{}: {}", case.case, curves.first().map_or("", |curve| &curve.unit));
    builder.caption(caption, FONT).margin(8).margin_right(30).x_label_area_size(28).y_label_area_size(60);
    let mut chart =
        builder.build_cartesian_2d(0.0..nines, (low / 1.2..high.max(low) * 1.2).log_scale()).map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(nines as usize + 1)
        .x_label_formatter(&|nines| {
            format!("p{:.*}", (*nines - 2.0).max(0.0) as usize, 100.0 - 100.0 / 10f64.powf(*nines))
        })
        .y_label_formatter(&|value| figure(*value))
        .label_style(FONT)
        .draw()
        .map_err(failed)?;
    for (curve, colour) in curves.iter().zip(CURVES.into_iter().cycle()) {
        let points = curve.percentiles.iter().map(|(at, value)| (rarity(*at), *value));
        let line = LineSeries::new(points, colour.stroke_width(2));
        chart
            .draw_series(line)
            .map_err(failed)?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(FONT)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(failed)
}

/// The rarity of values above a percentile: 0 for p0, 1 for p90, 2 for p99. p100 counts as one in 100,000.
fn rarity(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-5).log10()
}
