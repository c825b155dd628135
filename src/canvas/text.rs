//! The text of a text node, split into title and description so that it can be put together again.

use super::{TITLE_CHARS_MAX, UNTITLED};

/// Separates title and description where nothing else was noted.
const GAP: &str = "\n\n";

/// A split text: `before` + title + `gap` + description, where a made-up title does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split<'a> {
    /// Heading marks.
    pub before: &'a str,
    /// `None` if the first line has none.
    pub title: Option<&'a str>,
    /// What separates the title from the description, or follows it where there is no description.
    pub gap: &'a str,
    /// What comes behind the first line and its blank lines.
    pub description: &'a str,
}

impl<'a> Split<'a> {
    /// Splits a text. The title is the first line without heading marks; what does not fit into a title goes on in
    /// the description.
    pub fn of(text: &'a str) -> Self {
        let line = text.split('\n').next().unwrap_or_default();
        let before = &line[..heading_marks(line)];
        let words = line[before.len()..].trim_end();
        let title = match words.char_indices().nth(TITLE_CHARS_MAX) {
            Some((end, _)) => &words[..end],
            None => words,
        };
        let rest = &text[before.len() + title.len()..];
        let description = without_blank_start(rest);
        Self {
            before,
            title: (!title.is_empty()).then_some(title),
            gap: &rest[..rest.len() - description.len()],
            description,
        }
    }

    /// Whether putting it together needs no notes.
    pub fn is_plain(&self) -> bool {
        self.before.is_empty() && self.title.is_some() && self.gap == if self.description.is_empty() { "" } else { GAP }
    }
}

/// Puts a text together again. `before` and `gap` are what was noted, if anything was; `made_up` is the title that
/// the text did not have.
pub(super) fn join(title: &str, description: &str, noted: Option<(&str, &str)>, made_up: Option<&str>) -> String {
    let (before, gap) = noted.unwrap_or(("", if description.is_empty() { "" } else { GAP }));
    let title = if made_up == Some(title) { "" } else { title };
    // A title that came later, where the gap is that of a text without one, still needs a line of its own.
    let gap = if !title.is_empty() && !description.is_empty() && made_up.is_some() && !gap.contains('\n') {
        GAP
    } else {
        gap
    };
    [before, title, gap, description].concat()
}

/// The title of a text.
pub(super) fn title_of<'a>(split: &Split<'a>) -> &'a str {
    split.title.unwrap_or(UNTITLED)
}

/// How many bytes of a line are indentation, heading marks and the white space behind them.
fn heading_marks(line: &str) -> usize {
    let marks = line.trim_start();
    let indent = line.len() - marks.len();
    let words = marks.trim_start_matches('#');
    let level = marks.len() - words.len();
    let is_heading = (1..=6).contains(&level) && (words.is_empty() || words.starts_with(char::is_whitespace));
    if is_heading { line.len() - words.trim_start().len() } else { indent }
}

/// The text from the first line on that is not blank, with that line's indentation. Right behind a title that was
/// cut off there is no line to skip.
fn without_blank_start(text: &str) -> &str {
    let words = text.trim_start();
    if words.is_empty() {
        return "";
    }
    let blank = &text[..text.len() - words.len()];
    match blank.rfind('\n') {
        Some(end) => &text[end + 1..],
        None => text,
    }
}
