//! Tables in the layout of systemd's tools: columns a blank apart, no lines.

use crate::cli::settings::Legend;

/// Where a cell's text stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// A column's header and alignment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) align: Align,
}

impl Column {
    pub(crate) const fn left(title: &'static str) -> Self {
        Self {
            title,
            align: Align::Left,
        }
    }

    pub(crate) const fn center(title: &'static str) -> Self {
        Self {
            title,
            align: Align::Center,
        }
    }

    pub(crate) const fn right(title: &'static str) -> Self {
        Self {
            title,
            align: Align::Right,
        }
    }
}

/// Lays out rows, each with one cell per column. Every line ends without trailing blanks.
pub(crate) fn render(columns: &[Column], rows: &[Vec<String>], legend: Legend) -> String {
    let titles: Vec<String> = match legend {
        Legend::Shown => columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect(),
        Legend::Hidden => Vec::new(),
    };
    let lines: Vec<&Vec<String>> = std::iter::once(&titles)
        .filter(|titles| !titles.is_empty())
        .chain(rows)
        .collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            lines
                .iter()
                .map(|line| width(&line[index]))
                .max()
                .unwrap_or(0)
                .max(1)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let start = text.len();
        for (index, cell) in line.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            let space = widths[index] - width(cell);
            let before = match columns[index].align {
                Align::Left => 0,
                Align::Center => space / 2,
                Align::Right => space,
            };
            text.extend(std::iter::repeat_n(' ', before));
            text.push_str(&super::printable(cell));
            text.extend(std::iter::repeat_n(' ', space - before));
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }
    text
}

/// Columns on a terminal; all that is printed here is one wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::left(""),
        Column::left("VERSION"),
        Column::center("INSTALLED"),
        Column::center("AVAILABLE"),
        Column::left("ASSESSMENT"),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        vec![
            row(["↻", "2.0.0", "", "✓", "candidate"]),
            row(["●", "1.0.0", "✓", "✓", "current"]),
        ]
    }

    #[test]
    fn layout_is_that_of_the_original() {
        let expected = "  VERSION INSTALLED AVAILABLE ASSESSMENT\n\
                        ↻ 2.0.0                 ✓     candidate\n\
                        ● 1.0.0       ✓         ✓     current\n";
        assert_eq!(render(&COLUMNS, &rows(), Legend::Shown), expected);
    }

    #[test]
    fn without_legend_columns_are_as_wide_as_their_cells() {
        assert_eq!(
            render(&COLUMNS, &rows()[..1], Legend::Hidden),
            "↻ 2.0.0   ✓ candidate\n"
        );
    }
}
