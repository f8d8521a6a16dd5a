//! The one way in which passes change a graph: node by node into a new one.

use super::{Graph, Node, NodeId, Op, Param, ParamId, Shape};

/// A graph being rebuilt from another.
///
/// A pass visits the old nodes in order and says what each becomes. Nodes that end up unread are dropped at the end, so a pass that
/// folds a node into a later one just emits the combination in the later one's place.
pub(crate) struct Rewrite {
    old: Graph,
    new: Graph,
    uses: Vec<usize>,
    map: Vec<NodeId>,
}

impl Rewrite {
    /// Takes the graph apart.
    pub(crate) fn new(graph: &mut Graph) -> Rewrite {
        let new = Graph { nodes: Vec::with_capacity(graph.nodes.len()), ..graph.clone() };
        let old = std::mem::replace(
            graph,
            Graph {
                name: String::new(),
                prefixes: Vec::new(),
                params: Vec::new(),
                nodes: Vec::new(),
                outputs: Vec::new(),
                kept_high: Vec::new(),
            },
        );
        Rewrite { uses: old.uses(), map: Vec::with_capacity(old.nodes.len()), old, new }
    }

    /// Number of nodes to visit.
    pub(crate) fn len(&self) -> usize {
        self.old.nodes.len()
    }

    /// An old node.
    pub(crate) fn old(&self, id: NodeId) -> &Node {
        self.old.node(id)
    }

    /// How many nodes and outputs read an old node.
    pub(crate) fn uses(&self, old: NodeId) -> usize {
        self.uses[old.0]
    }

    /// What an old node has become.
    pub(crate) fn mapped(&self, old: NodeId) -> NodeId {
        self.map[old.0]
    }

    /// A new node.
    pub(crate) fn new_node(&self, id: NodeId) -> &Node {
        self.new.node(id)
    }

    /// A parameter that nodes of the new graph may use.
    pub(crate) fn param(&self, id: ParamId) -> &Param {
        self.new.param(id)
    }

    pub(crate) fn add_param(&mut self, param: Param) -> ParamId {
        self.new.params.push(param);
        ParamId(self.new.params.len() - 1)
    }

    /// Adds a node to the new graph.
    pub(crate) fn emit(&mut self, node: Node) -> NodeId {
        self.new.nodes.push(node);
        NodeId(self.new.nodes.len() - 1)
    }

    /// Adds a node that computes `op` in the place of the old node next in turn.
    pub(crate) fn replace(&mut self, op: Op, inputs: Vec<NodeId>, shape: Shape, name: String) {
        let id = self.emit(Node { op, inputs, shape, name });
        self.map.push(id);
    }

    /// Says that the old node next in turn has become `new`.
    pub(crate) fn map_to(&mut self, new: NodeId) {
        self.map.push(new);
    }

    /// Carries the old node next in turn over as it is.
    pub(crate) fn keep(&mut self) {
        let mut node = self.old.nodes[self.map.len()].clone();
        node.inputs.iter_mut().for_each(|input| *input = self.map[input.0]);
        let id = self.emit(node);
        self.map.push(id);
    }

    /// The new graph, once every old node has been visited.
    pub(crate) fn finish(self, graph: &mut Graph) {
        let mut new = self.new;
        new.outputs.iter_mut().for_each(|output| output.node = self.map[output.node.0]);
        new.remove_dead();
        *graph = new;
    }
}
