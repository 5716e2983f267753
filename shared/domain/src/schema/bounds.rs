//! The work that a schema does on a value, known from its graph.
//!
//! Validation walks through the graph as through a tree: a subschema with two ways to it is applied twice. Where there is a
//! circle, each round has to go on to a part of the value, and no part may be reached in two ways; then a circle is walked once
//! for each part of the value, like any other subschema, and counts once.

use super::MAX_NODES;
use super::graph::{Applied, Edge, Graph, Node};

/// The number of subschemas that may be applied to one value one inside the other. Each is some frames on the stack, at every level of a
/// value.
const MAX_CHAIN: usize = 32;

/// Evaluating again what is in place: once for whether it holds, once for what it evaluates, once in that for whether it holds.
const EVALUATED_AGAIN: u64 = 3;

pub(super) fn check(graph: &Graph<'_>) -> Result<(), String> {
    check_chains(graph)?;
    let circles = Circles::of(graph);
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Some(why) = circles.fault(index, node) {
            return Err(format!("{why} ({})", graph.place(index)));
        }
    }
    if total(graph, |_| 1) > MAX_NODES {
        return Err(format!(
            "applies more than {MAX_NODES} subschemas, counted as often as they are applied"
        ));
    }
    Ok(())
}

/// The sum of `weight` over the tree that validation walks through, at most [`u64::MAX`]. Only of a graph whose circles are
/// without fault.
pub(super) fn total(graph: &Graph<'_>, weight: impl Fn(&Node<'_>) -> u64) -> u64 {
    let mut totals = vec![0_u64; graph.nodes.len()];
    let mut component_of = vec![usize::MAX; graph.nodes.len()];
    for (number, component) in components(graph, |_| true).into_iter().enumerate() {
        for index in &component {
            component_of[*index] = number;
        }
        let mut sum = 0_u64;
        for index in &component {
            let node = &graph.nodes[*index];
            let again = if node.evaluates_again() {
                EVALUATED_AGAIN
            } else {
                1
            };
            sum = sum.saturating_add(weight(node));
            for edge in node
                .edges
                .iter()
                .filter(|edge| component_of[edge.to] != number)
            {
                let times = if edge.applied.is_in_place() { again } else { 1 };
                sum = sum.saturating_add(totals[edge.to].saturating_mul(times));
            }
        }
        for index in component {
            totals[index] = sum;
        }
    }
    totals.first().copied().unwrap_or_default()
}

/// Checks that what is applied to one value ends, and soon.
fn check_chains(graph: &Graph<'_>) -> Result<(), String> {
    let mut chains = vec![0_usize; graph.nodes.len()];
    for component in components(graph, |edge| edge.applied.is_in_place()) {
        let index = component[0];
        let in_place = || {
            graph.nodes[index]
                .edges
                .iter()
                .filter(|edge| edge.applied.is_in_place())
        };
        if component.len() > 1 || in_place().any(|edge| edge.to == index) {
            return Err(format!(
                "leads back to itself without going into the value ({})",
                graph.place(index)
            ));
        }
        chains[index] = in_place()
            .map(|edge| 1 + chains[edge.to])
            .max()
            .unwrap_or(0);
        if chains[index] > MAX_CHAIN {
            return Err(format!(
                "applies more than {MAX_CHAIN} subschemas to one value, one inside the other ({})",
                graph.place(index)
            ));
        }
    }
    Ok(())
}

/// The nodes that lie on circles, and those that lead to some.
struct Circles {
    /// The number of the node's component.
    component: Vec<usize>,
    on_circle: Vec<bool>,
    leads_to_circle: Vec<bool>,
}

impl Circles {
    fn of(graph: &Graph<'_>) -> Self {
        let count = graph.nodes.len();
        let mut circles = Self {
            component: vec![usize::MAX; count],
            on_circle: vec![false; count],
            leads_to_circle: vec![false; count],
        };
        for (number, members) in components(graph, |_| true).into_iter().enumerate() {
            for index in &members {
                circles.component[*index] = number;
            }
            let targets = |index: &usize| graph.nodes[*index].edges.iter().map(|edge| edge.to);
            let is_circle = members.len() > 1
                || members
                    .iter()
                    .any(|index| targets(index).any(|to| to == *index));
            let leads = is_circle
                || members
                    .iter()
                    .any(|index| targets(index).any(|to| circles.leads_to_circle[to]));
            for index in members {
                circles.on_circle[index] = is_circle;
                circles.leads_to_circle[index] = leads;
            }
        }
        circles
    }

    /// The reason why a node may not be on the circle that it is on.
    fn fault(&self, index: usize, node: &Node<'_>) -> Option<&'static str> {
        if !self.on_circle[index] {
            return None;
        }
        let is_on_it = |edge: &&Edge| self.component[edge.to] == self.component[index];
        let mut on_it = node.edges.iter().filter(is_on_it);
        if on_it.any(|edge| edge.applied == Applied::Combined) {
            return Some(
                "has recursion under a combinator: the way back to a subschema may go through properties, items and $ref, not \
                 through anyOf, oneOf, allOf, not, if or dependencies",
            );
        }
        let recursive = node
            .edges
            .iter()
            .filter(|edge| self.leads_to_circle[edge.to]);
        let recursive: Vec<_> = recursive.map(|edge| edge.applied).collect();
        let is_apart = recursive.iter().all(|applied| *applied == Applied::Apart);
        let is_alone = recursive.len() == 1 && !node.evaluates_again();
        (!is_apart && !is_alone).then_some(
            "has recursion that may come to a part of a value in more than one way: by $ref, patternProperties, contains or \
             unevaluated… beside other recursion",
        )
    }
}

/// The strongly connected components of the graph that has only the edges that are `wanted`: those that others lead to come first.
///
/// This is Tarjan's algorithm with a stack of its own, since a chain of references may be as long as a schema.
fn components(graph: &Graph<'_>, wanted: impl Fn(&Edge) -> bool) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let count = graph.nodes.len();
    let mut components = Vec::new();
    let (mut order, mut lowest) = (vec![UNSEEN; count], vec![UNSEEN; count]);
    let mut is_open = vec![false; count];
    let mut open = Vec::new();
    let mut seen = 0;
    for root in 0..count {
        if order[root] != UNSEEN {
            continue;
        }
        // A node and the edge at which it goes on.
        let mut path = vec![(root, 0)];
        while let Some((index, next)) = path.pop() {
            if next == 0 {
                (order[index], lowest[index]) = (seen, seen);
                seen += 1;
                open.push(index);
                is_open[index] = true;
            }
            let edges = &graph.nodes[index].edges;
            if let Some(edge) = edges.get(next) {
                path.push((index, next + 1));
                if !wanted(edge) {
                    continue;
                }
                if order[edge.to] == UNSEEN {
                    path.push((edge.to, 0));
                } else if is_open[edge.to] {
                    lowest[index] = lowest[index].min(order[edge.to]);
                }
                continue;
            }
            if lowest[index] == order[index] {
                let start = open
                    .iter()
                    .rposition(|member| *member == index)
                    .unwrap_or(0);
                let component = open.split_off(start);
                for member in &component {
                    is_open[*member] = false;
                }
                components.push(component);
            }
            if let Some((parent, _)) = path.last() {
                lowest[*parent] = lowest[*parent].min(lowest[index]);
            }
        }
    }
    components
}
