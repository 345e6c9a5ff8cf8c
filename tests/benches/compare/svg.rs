//! What the charts have in common: a page of text and shapes, in the colours of a light and of a dark screen.

use std::fmt::Write;

/// Classes: text `t` and `m` (muted), `g` (grid), `a` to `d` (the colours of series).
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.m{fill:#59636e}.h{font-weight:600}\
    .p{fill:#fff}.g{stroke:#d1d9e0}.a{fill:#0969da}.b{fill:#82b9f5}.c{fill:#59636e}.d{fill:#b7bdc5}\
    .la{stroke:#0969da}.lb{stroke:#bc4c00}.lc{stroke:#59636e}.ld{stroke:#1a7f37}path{fill:none;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.p{fill:#0d1117}.g{stroke:#3d444d}\
    .a{fill:#58a6ff}.b{fill:#265a94}.c{fill:#9198a1}.d{fill:#4a515a}\
    .la{stroke:#58a6ff}.lb{stroke:#f0883e}.lc{stroke:#9198a1}.ld{stroke:#3fb950}}";

/// A picture, which grows shape by shape.
pub(crate) struct Svg {
    shapes: String,
    width: f64,
}

impl Svg {
    pub(crate) fn new(width: f64) -> Self {
        Self { shapes: String::new(), width }
    }

    /// Text that begins, has its middle, or ends there.
    pub(crate) fn text(&mut self, at: (f64, f64), anchor: &str, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('`', "");
        self.shape(format_args!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>",
            at.0, at.1
        ));
    }

    pub(crate) fn bar(&mut self, at: (f64, f64), size: (f64, f64), class: &str) {
        self.shape(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" class=\"{class}\"/>",
            at.0, at.1, size.0, size.1
        ));
    }

    /// A straight line of the grid.
    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.shape(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"g\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through some points.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            write!(path, "{step}{x:.1} {y:.1}").expect("memory takes it");
        }
        self.shape(format_args!("<path d=\"{path}\" class=\"{class}\"/>"));
    }

    /// The picture, with what it shows in words for who cannot see it.
    pub(crate) fn finish(self, height: f64, title: &str) -> String {
        let Self { shapes, width } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" class=\"p\"/>\n{shapes}</svg>\n"
        )
    }

    fn shape(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.shapes, "{shape}").expect("memory takes it");
    }
}

/// Where a figure lies between two others, from 0 to 1, on a scale on which each tenfold is as long.
pub(crate) fn logarithmic(figure: f64, least: f64, most: f64) -> f64 {
    ((figure / least).ln() / (most / least).ln()).clamp(0.0, 1.0)
}
