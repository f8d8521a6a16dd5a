//! Checks that a whole graph is consistent.

use super::{Graph, GraphError, Op, Shape};

impl Graph {
    /// Checks every node against its inputs and parameters, and the outputs against each other.
    ///
    /// # Errors
    /// The first thing that doesn't fit.
    pub fn verify(&self) -> Result<(), GraphError> {
        for (position, node) in self.nodes.iter().enumerate() {
            if let Some(input) = node.inputs.iter().find(|input| input.0 >= position) {
                return Err(GraphError::Order { node: node.name.clone(), input: input.0, position });
            }
            let error = |what| GraphError::Node { node: node.name.clone(), op: node.op.kind(), what };
            let shapes: Vec<Shape> = node.inputs.iter().map(|&input| self.node(input).shape).collect();
            let shape = node.op.infer(&shapes, &self.params).map_err(error)?;
            if shape != node.shape {
                return Err(error(format!("its shape is noted as {}, but it gives {shape}", node.shape)));
            }
        }
        self.verify_paddings()?;
        self.verify_leading()?;
        self.verify_outputs()
    }

    /// A run counts positions past one padding token at most.
    fn verify_paddings(&self) -> Result<(), GraphError> {
        let mut known = None;
        for node in &self.nodes {
            let Op::Embedding { lookups, .. } = &node.op else { continue };
            for padding in lookups.iter().filter_map(|lookup| lookup.index.padding()) {
                if *known.get_or_insert(padding) != padding {
                    let what = "positions past another padding token than elsewhere in the graph".to_owned();
                    return Err(GraphError::Node { node: node.name.clone(), op: node.op.kind(), what });
                }
            }
        }
        Ok(())
    }

    /// A run counts leading tokens in one way.
    fn verify_leading(&self) -> Result<(), GraphError> {
        let known = self.leading();
        match self.nodes.iter().find(|node| node.op.leading().is_some_and(|leading| Some(leading) != known)) {
            Some(node) => {
                let what = "other leading tokens than elsewhere in the graph".to_owned();
                Err(GraphError::Node { node: node.name.clone(), op: node.op.kind(), what })
            }
            None => Ok(()),
        }
    }

    fn verify_outputs(&self) -> Result<(), GraphError> {
        if self.outputs.is_empty() {
            return Err(GraphError::NoOutputs);
        }
        for (i, second) in self.outputs.iter().enumerate() {
            if second.node.0 >= self.nodes.len() {
                return Err(GraphError::Order {
                    node: second.name.clone(),
                    input: second.node.0,
                    position: self.nodes.len(),
                });
            }
            let clash = |first: &&super::Output| first.name == second.name || first.node == second.node;
            if let Some(first) = self.outputs[..i].iter().find(clash) {
                return Err(GraphError::DuplicateOutput { first: first.name.clone(), second: second.name.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GraphBuilder, GraphError, Index, Leading, NodeId, Rows, Table};

    fn words(builder: &mut GraphBuilder, width: usize) -> NodeId {
        let tables = [Table { name: "words", rows: 7, index: Index::TokenIds }];
        builder.embedding("words", &tables, width).unwrap()
    }

    #[test]
    fn values_of_different_shapes_are_not_added() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let first = builder.select_first(x).unwrap();
        let error = builder.add(x, first).unwrap_err();
        assert!(error.to_string().contains("[sequences, 4]"), "{error}");
    }

    #[test]
    fn a_name_stands_for_one_parameter() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let a = builder.linear(x, 4, "dense.weight", None).unwrap();
        let b = builder.linear(a, 4, "dense.weight", None).unwrap();
        assert_eq!(builder.graph.params.len(), 2);
        let error = builder.linear(b, 5, "dense.weight", None).unwrap_err();
        assert!(error.to_string().contains("dense.weight"), "{error}");
    }

    #[test]
    fn pooling_takes_tokens_only() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let first = builder.select_first(x).unwrap();
        assert!(matches!(builder.select_first(first), Err(GraphError::Node { op: "select", .. })));
    }

    #[test]
    fn widths_have_bounds() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        for width in [0, usize::MAX / 2] {
            let error = builder.linear(x, width, &format!("{width}.weight"), None).unwrap_err();
            assert!(error.to_string().contains("width of the result"), "{error}");
        }
    }

    #[test]
    fn columns_and_leading_rows_must_be_there() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        assert!(builder.columns(x, 1, 3).is_ok());
        assert!(builder.columns(x, 1, 4).is_err());
        assert!(builder.columns(x, usize::MAX, 2).is_err());
        let first = builder.select_first(x).unwrap();
        assert!(builder.fourier(first, "fourier").is_err(), "it has no tokens to mix");
        assert!(builder.lead(first, x, Leading::First).is_ok());
        assert!(builder.lead(x, x, Leading::First).is_err(), "one row for each sequence");
        assert!(builder.lead(first, x, Leading::Before(3)).is_err(), "one row for each token");
    }

    #[test]
    fn a_run_counts_leading_tokens_in_one_way() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let y = builder.lead(x, x, Leading::Before(3)).unwrap();
        let z = builder.lead(y, x, Leading::Before(4)).unwrap();
        builder.output("z", z);
        let error = builder.finish().unwrap_err();
        assert!(error.to_string().contains("other leading tokens"), "{error}");
    }

    #[test]
    fn a_weight_and_its_transpose_are_not_one() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        builder.linear(x, 4, "dense.weight", None).unwrap();
        let error = builder.linear_transposed(x, 4, "dense.weight", None).unwrap_err();
        assert!(error.to_string().contains("dense.weight"), "{error}");
    }

    #[test]
    fn outputs_differ_in_name_and_node() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        builder.output("a", x).output("b", x);
        assert!(matches!(builder.finish(), Err(GraphError::DuplicateOutput { .. })));
        assert_eq!(GraphBuilder::new("test").finish(), Err(GraphError::NoOutputs));
    }

    #[test]
    fn tampering_is_noticed() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let y = builder.linear(x, 6, "dense.weight", Some("dense.bias")).unwrap();
        builder.output("y", y);
        let graph = builder.finish().unwrap();

        let mut wrong = graph.clone();
        wrong.nodes[1].shape.width = 5;
        assert!(wrong.verify().is_err());
        let mut wrong = graph.clone();
        wrong.nodes[1].shape.rows = Rows::Sequences;
        assert!(wrong.verify().is_err());
        let mut wrong = graph.clone();
        wrong.nodes[1].inputs[0] = NodeId(1);
        assert!(matches!(wrong.verify(), Err(GraphError::Order { .. })));
        let mut wrong = graph.clone();
        wrong.outputs[0].node = NodeId(2);
        assert!(wrong.verify().is_err());
        let mut wrong = graph;
        wrong.params[1].width = Some(5);
        assert!(wrong.verify().is_err());
    }

    #[test]
    fn an_unknown_output_is_refused_with_the_known_ones() {
        let mut builder = GraphBuilder::new("test");
        let x = words(&mut builder, 4);
        let y = builder.linear(x, 6, "dense.weight", None).unwrap();
        builder.output("x", x).output("y", y);
        let graph = builder.finish().unwrap();
        assert_eq!(graph.with_outputs(&["x"]).unwrap().nodes().len(), 1);
        let error = graph.with_outputs(&["z"]).unwrap_err();
        assert!(error.to_string().contains("x, y"), "{error}");
    }
}
