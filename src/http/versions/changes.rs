//! What differs between two versions of a node, in a form that people can read.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};
use utoipa::ToSchema;

/// What every version has of its own.
const UNTOLD: [&str; 2] = ["version", "updatedAt"];
/// Longest text that is compared word by word, bytes; longer ones are compared line by line.
const WORDS_BYTES_MAX: usize = 20_000;
/// How long the comparison of one text may take; what is not compared by then is told as replaced.
const DEADLINE: Duration = Duration::from_millis(200);

/// A field that differs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// Its name.
    #[schema(example = "title")]
    field: String,
    /// What it was; absent where there was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    /// What it is; absent where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
    /// For texts that people write: the pieces of both, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    diff: Option<Vec<Piece>>,
}

/// A piece of a text.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Piece {
    op: Op,
    text: String,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It stayed.
    Equal,
    /// It went.
    Delete,
    /// It came.
    Insert,
}

/// The fields in which two snapshots differ, by name.
pub fn between(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<Change> {
    let fields: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    fields
        .into_iter()
        .filter(|field| !UNTOLD.contains(&field.as_str()))
        .filter(|field| from.get(*field) != to.get(*field))
        .map(|field| {
            let (from, to) = (from.get(field), to.get(field));
            let is_prose = matches!(field.as_str(), "title" | "description");
            Change {
                field: field.clone(),
                from: from.cloned(),
                to: to.cloned(),
                diff: is_prose.then(|| pieces(text(from), text(to))),
            }
        })
        .collect()
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn pieces(from: &str, to: &str) -> Vec<Piece> {
    let mut config = TextDiff::configure();
    config.timeout(DEADLINE);
    let diff = match from.len().max(to.len()) > WORDS_BYTES_MAX {
        true => config.diff_lines(from, to),
        false => config.diff_words(from, to),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for change in diff.iter_all_changes() {
        let op = match change.tag() {
            ChangeTag::Equal => Op::Equal,
            ChangeTag::Delete => Op::Delete,
            ChangeTag::Insert => Op::Insert,
        };
        match pieces.last_mut() {
            Some(last) if last.op == op => last.text.push_str(change.value()),
            _ => pieces.push(Piece { op, text: change.value().to_owned() }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn fields_that_differ_are_told_and_texts_piece_by_piece() {
        let from =
            map(json!({ "version": 1, "updatedAt": "a", "title": "Find a supplier", "status": "draft", "x": 1 }));
        let to =
            map(json!({ "version": 2, "updatedAt": "b", "title": "Find the supplier", "status": "draft", "y": null }));
        let changes = serde_json::to_value(between(&from, &to)).expect("JSON");
        let expected = json!([
            { "field": "title", "from": "Find a supplier", "to": "Find the supplier", "diff": [
                { "op": "equal", "text": "Find " },
                { "op": "delete", "text": "a" },
                { "op": "insert", "text": "the" },
                { "op": "equal", "text": " supplier" },
            ] },
            { "field": "x", "from": 1 },
            { "field": "y", "to": null },
        ]);
        assert_eq!(changes, expected);
    }

    #[test]
    fn the_pieces_make_up_both_texts_however_long_they_are() {
        let line = |i: usize| format!("line {} of many\n", i * 7919 % 5000);
        let from: String = (0..5000).map(line).collect();
        let to: String = (0..5000).rev().map(line).collect();
        let pieces = pieces(&from, &to);
        let without = |op: Op| pieces.iter().filter(|p| p.op != op).map(|p| p.text.as_str()).collect::<String>();
        assert!(without(Op::Insert) == from && without(Op::Delete) == to);
    }
}
