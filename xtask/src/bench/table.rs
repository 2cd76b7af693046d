//! What came of it, as a table and as JSON.

use serde_json::{Value, json};

use super::contest::Figures;
use super::rows::{Budget, Row};

/// One row with its figures.
pub(super) struct Line {
    row: &'static Row,
    /// Medians, and the spread of the ratios; or why there are none.
    measured: Result<Measured, String>,
}

struct Measured {
    ours: f64,
    peer: Option<f64>,
    /// Ours divided by the peer's, turn by turn: least, median, most.
    ratio: Option<[f64; 3]>,
    /// Processors that others used meanwhile.
    others: Option<f64>,
}

impl Line {
    /// A row that was measured.
    pub(super) fn of(row: &'static Row, figures: &Figures) -> Self {
        let pairs = figures.ours.iter().zip(&figures.peer);
        let mut ratios: Vec<f64> = pairs.map(|(ours, peer)| ours / peer).collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = match (ratios.first(), ratios.last()) {
            (Some(&least), Some(&most)) => Some([least, median(&ratios), most]),
            _ => None,
        };
        let measured = Measured {
            ours: median(&figures.ours),
            peer: (!figures.peer.is_empty()).then(|| median(&figures.peer)),
            ratio,
            others: (!figures.others.is_empty()).then(|| median(&figures.others)),
        };
        Self {
            row,
            measured: Ok(measured),
        }
    }

    /// A row that could not be measured.
    pub(super) fn without(row: &'static Row, why: &str) -> Self {
        Self {
            row,
            measured: Err(why.to_owned()),
        }
    }

    fn verdict(&self) -> &'static str {
        let Ok(measured) = &self.measured else {
            return "not measured";
        };
        let ratio = measured.ratio.map(|[_, median, _]| median);
        match (self.row.budget, ratio) {
            (Budget::AtLeast(wanted), Some(ratio)) if ratio >= wanted => "met",
            (Budget::AtMost(wanted), Some(ratio)) if ratio <= wanted => "met",
            (Budget::AtLeast(_), Some(ratio)) if ratio < 1.0 => "WORSE THAN THE PEER",
            (Budget::AtMost(_), Some(ratio)) if ratio > 1.0 => "WORSE THAN THE PEER",
            (Budget::Limit(most), _) if measured.ours <= most => "met",
            (Budget::Limit(_), _) => "MISSED",
            (Budget::None, _) => "-",
            _ => "missed",
        }
    }

    fn cells(&self) -> [String; 9] {
        let row = self.row;
        let budget = match row.budget {
            Budget::AtLeast(wanted) => format!(">= {}", short(wanted)),
            Budget::AtMost(wanted) => format!("<= {}", short(wanted)),
            Budget::Limit(most) => format!("<= {} {}", short(most), row.unit()),
            Budget::None => "-".into(),
        };
        let figure = |figure: f64| format!("{} {}", short(figure), row.unit());
        let dash = || "-".to_owned();
        let (ours, peer, ratio, others) = match &self.measured {
            Ok(measured) => (
                figure(measured.ours),
                measured.peer.map_or_else(dash, figure),
                measured.ratio.map_or_else(dash, |[least, median, most]| {
                    format!("{} ({}-{})", short(median), short(least), short(most))
                }),
                measured.others.map_or_else(dash, short),
            ),
            Err(why) => (why.clone(), dash(), dash(), dash()),
        };
        let against = if row.peer().is_empty() {
            "-"
        } else {
            row.peer()
        };
        [
            row.id.into(),
            row.title.into(),
            against.into(),
            ours,
            peer,
            ratio,
            others,
            budget,
            self.verdict().into(),
        ]
    }

    fn json(&self) -> Value {
        let row = self.row;
        let mut value = json!({
            "id": row.id,
            "title": row.title,
            "against": row.peer(),
            "unit": row.unit(),
            "verdict": self.verdict(),
        });
        let mut put = |key: &str, field: Value| {
            if let Some(map) = value.as_object_mut() {
                map.insert(key.into(), field);
            }
        };
        match row.budget {
            Budget::AtLeast(wanted) => put("at_least", json!(wanted)),
            Budget::AtMost(wanted) => put("at_most", json!(wanted)),
            Budget::Limit(most) => put("limit", json!(most)),
            Budget::None => {}
        }
        match &self.measured {
            Ok(measured) => {
                put("ours", json!(measured.ours));
                put("peer", json!(measured.peer));
                put("ratio", json!(measured.ratio.map(|[_, median, _]| median)));
                put("ratios", json!(measured.ratio));
                put("others", json!(measured.others));
            }
            Err(why) => put("why", json!(why)),
        }
        value
    }
}

/// A table in Markdown.
pub(super) fn text(lines: &[Line]) -> String {
    let head = [
        "row",
        "what",
        "against",
        "ours",
        "peer",
        "ratio",
        "others' CPUs",
        "budget",
        "verdict",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule = widths.iter().map(|&width| "-".repeat(width + 2));
    let rule = format!("|{}|", rule.collect::<Vec<_>>().join("|"));
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, &width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text: Vec<String> = rows.iter().map(line).collect();
    text.insert(1, rule);
    text.join("\n")
}

/// The same for programs.
pub(super) fn json(lines: &[Line]) -> Value {
    json!({ "rows": lines.iter().map(Line::json).collect::<Vec<_>>() })
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Three digits that count.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;

    fn verdict(id: &str, ours: &[f64], peer: &[f64]) -> &'static str {
        let row = rows::ALL.iter().find(|row| row.id == id).unwrap();
        let figures = Figures {
            ours: ours.to_vec(),
            peer: peer.to_vec(),
            others: Vec::new(),
        };
        Line::of(row, &figures).verdict()
    }

    #[test]
    fn verdicts_are_by_the_median_of_the_ratios() {
        assert_eq!(verdict("S2", &[1.0, 4.0, 9.0], &[2.0, 4.0, 1.0]), "met");
        assert_eq!(verdict("S2", &[0.9], &[1.0]), "WORSE THAN THE PEER");
        assert_eq!(verdict("S5", &[1.5], &[1.0]), "missed");
        assert_eq!(verdict("S1", &[0.8], &[1.0]), "met");
        assert_eq!(verdict("S1", &[0.9], &[1.0]), "missed");
        assert_eq!(verdict("S1", &[1.1], &[1.0]), "WORSE THAN THE PEER");
        assert_eq!(verdict("S34", &[80.0], &[]), "met");
        assert_eq!(verdict("S34", &[81.0], &[]), "MISSED");
    }

    #[test]
    fn rows_have_names_of_their_own() {
        for (index, row) in rows::ALL.iter().enumerate() {
            let others = rows::ALL.iter().skip(index + 1);
            assert!(others.clone().all(|other| other.id != row.id));
        }
    }
}
