//! The circles of a graph.

/// The groups of nodes of which each reaches each other, of two nodes and more, the largest first. `edges` has the nodes
/// that each node leads to.
pub(crate) fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges,
        next: 0,
        order: vec![None; edges.len()],
        low: vec![0; edges.len()],
        open: Vec::new(),
        is_open: vec![false; edges.len()],
        found: Vec::new(),
    };
    for node in 0..edges.len() {
        if search.order[node].is_none() {
            search.visit(node);
        }
    }
    search.found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    search.found
}

/// Tarjan's search for strongly connected components.
struct Search<'a> {
    edges: &'a [Vec<usize>],
    next: usize,
    /// When each node was visited.
    order: Vec<Option<usize>>,
    /// The earliest node that each reaches.
    low: Vec<usize>,
    open: Vec<usize>,
    is_open: Vec<bool>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) {
        let order = self.next;
        self.next += 1;
        (self.order[node], self.low[node], self.is_open[node]) = (Some(order), order, true);
        self.open.push(node);
        for &to in &self.edges[node] {
            match self.order[to] {
                None => {
                    self.visit(to);
                    self.low[node] = self.low[node].min(self.low[to]);
                }
                Some(at) if self.is_open[to] => self.low[node] = self.low[node].min(at),
                Some(_) => {}
            }
        }
        if self.low[node] == order {
            let start = self.open.iter().rposition(|open| *open == node).unwrap_or(0);
            let mut circle = self.open.split_off(start);
            circle.iter().for_each(|node| self.is_open[*node] = false);
            circle.sort_unstable();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::circles;

    #[test]
    fn circles_are_found() {
        let cases = [
            ("none", vec![vec![1], vec![2], vec![]], vec![]),
            ("pair", vec![vec![1], vec![0]], vec![vec![0, 1]]),
            (
                "two, the larger first",
                vec![vec![1], vec![0], vec![3], vec![4], vec![2]],
                vec![vec![2, 3, 4], vec![0, 1]],
            ),
            ("joined", vec![vec![1], vec![2], vec![0, 3], vec![]], vec![vec![0, 1, 2]]),
        ];
        for (name, edges, expected) in cases {
            assert_eq!(circles(&edges), expected, "{name}");
        }
    }
}
