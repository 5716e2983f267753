//! The patterns of a schema: in the syntax of ECMA-262, matched in time that is linear in the text. How large they are compiled
//! says how much time that is for a byte of it.

use std::collections::HashMap;

use jsonschema_regex::{Search, search_form, to_rust_regex};
use regex_automata::nfa::thompson::NFA;

use super::graph::Graph;
use super::{bounds, shortened};

/// The largest compiled pattern, in bytes. One class of all letters has 30,000.
pub(super) const MAX_SIZE: usize = 256 * 1024;
/// The number of different ones in a schema: each is compiled.
const MAX_COUNT: usize = 200;
/// The most that all patterns may have, each counted as often as it is applied.
const MAX_TOTAL: u64 = 2 * 1024 * 1024;
/// A character class with a count, which is no automaton.
const COUNTED_CLASS: u64 = 256;

/// The size of all patterns, each counted as often as it is applied.
///
/// # Errors
/// The text for people: which pattern is none, or too large.
pub(super) fn total_size(graph: &Graph<'_>) -> Result<u64, String> {
    let mut sizes = HashMap::<&str, u64>::new();
    let mut together = 0;
    for (index, node) in graph.nodes.iter().enumerate() {
        for pattern in node.patterns() {
            if sizes.contains_key(pattern) {
                continue;
            }
            if sizes.len() == MAX_COUNT {
                return Err(format!("has more than {MAX_COUNT} patterns"));
            }
            let size = size(pattern).map_err(|why| {
                let pattern = shortened(pattern);
                format!(
                    "has the pattern {pattern:?}, which {why} ({})",
                    graph.place(index)
                )
            })?;
            together += size;
            if together > MAX_TOTAL {
                return Err(too_large());
            }
            sizes.insert(pattern, size);
        }
    }
    let total = bounds::total(graph, |node| {
        node.patterns().map(|pattern| sizes[pattern]).sum()
    });
    if total > MAX_TOTAL {
        return Err(too_large());
    }
    Ok(total)
}

fn too_large() -> String {
    format!(
        "has patterns of more than {MAX_TOTAL} bytes when compiled, counted as often as they are applied"
    )
}

fn size(pattern: &str) -> Result<u64, &'static str> {
    let translated = to_rust_regex(pattern)
        .map_err(|()| "is no regular expression, or has look-around or back-references")?;
    let collapsed = match search_form(pattern, &translated) {
        Some(Search::RepeatedClass(_)) => return Ok(COUNTED_CLASS),
        Some(Search::Collapsed(collapsed)) => Some(collapsed),
        None => None,
    };
    let config = NFA::config().nfa_size_limit(Some(MAX_SIZE));
    let automaton = NFA::compiler()
        .configure(config)
        .build(collapsed.as_deref().unwrap_or(&translated));
    match automaton {
        Ok(automaton) => Ok(automaton.memory_usage() as u64),
        Err(error) if error.size_limit().is_some() => Err("is too large when compiled"),
        Err(_) => Err("is no regular expression, or has look-around or back-references"),
    }
}
