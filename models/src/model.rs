//! What an architecture is to the rest: an encoder, and the heads that may stand on it.
//!
//! An architecture is a file of this crate with a type that implements [`Model`], and a line in the [registry](crate::ARCHITECTURES). It
//! says how its encoder and its heads are built, by the names that the reference implementation gives their tensors. Which head a graph
//! gets is the caller's choice of a [`Task`]; whether the checkpoint has it is for the tensors to say.

use loquat_runtime::{
    Activation, Weights,
    graph::{Graph, GraphBuilder, GraphError, NodeId, RowsOf},
};

use crate::{
    ModelError, Task,
    config::{Common, find},
};

/// A model of a known architecture, with its configuration checked.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// What is known of the model before its graph is made.
    fn facts(&self) -> Facts<'_>;

    /// What configurations of all architectures say.
    fn common(&self) -> &Common {
        self.facts().common
    }

    /// Width of the hidden states.
    fn hidden_size(&self) -> usize {
        self.facts().hidden_size
    }

    /// Tokens of the longest sequence that it takes.
    fn max_positions(&self) -> usize {
        self.facts().max_positions
    }

    /// Token ids are below this.
    fn vocab_size(&self) -> usize {
        self.facts().vocab_size
    }

    /// What checkpoints put before the names of the encoder's tensors, such as `bert.`; it may be left out.
    fn prefixes(&self) -> &'static [&'static str] {
        self.facts().prefixes
    }

    /// Adds the encoder to a graph, for a head to be put on.
    ///
    /// # Errors
    /// If the sizes make no consistent graph.
    fn encoder(&self, builder: &mut GraphBuilder) -> Result<Encoder, GraphError>;

    /// The same for a task, where that changes the encoder: which tokens see everything, for one.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder).
    fn encoder_for(&self, _task: Task, builder: &mut GraphBuilder) -> Result<Encoder, GraphError> {
        self.encoder(builder)
    }

    /// Puts a head on the encoder and names its outputs, as far as the weights have one: for
    /// [feature extraction](Task::FeatureExtraction), the pooler.
    ///
    /// # Errors
    /// If the checkpoint has no such head, or the sizes make no consistent graph.
    fn head(&self, task: Task, head: &mut HeadBuilder<'_>) -> Result<(), HeadError>;

    /// Checks the configuration against the weights, as far as one field can be blamed.
    ///
    /// # Errors
    /// The first contradiction.
    fn check_weights(&self, weights: &Weights) -> Result<(), ModelError>;

    /// The graph for a task, with the outputs that [`Task`] lists.
    ///
    /// # Errors
    /// [`ModelError::NoHead`] if the checkpoint has no head for the task; or if the sizes make no consistent graph.
    fn graph(&self, task: Task, weights: &Weights) -> Result<Graph, ModelError> {
        let common = self.common();
        let graph_error = |source| ModelError::Graph { file: common.file.clone(), source };
        let no_head = |what| ModelError::NoHead { weights: weights.files(), task, what };
        if let Some(class) = common.classes.iter().find(|class| task.contradicts(class)) {
            return Err(no_head(format!("{} says that it is a {class}", common.file)));
        }
        let mut builder = GraphBuilder::new(common.file.clone());
        let Encoder { last_hidden_state: hidden } = self.encoder_for(task, &mut builder).map_err(graph_error)?;
        if task == Task::FeatureExtraction {
            builder.output("last_hidden_state", hidden);
        }
        let mut head = HeadBuilder { builder: &mut builder, weights, prefixes: self.prefixes(), hidden };
        self.head(task, &mut head).map_err(|error| match error {
            HeadError::Graph(source) => graph_error(source),
            HeadError::Missing { tensor } => no_head(format!("it holds no {tensor}")),
            HeadError::Unknown => no_head("its architecture has none".to_owned()),
            HeadError::Rows { tensor, expected, found } => {
                no_head(format!("its {tensor} has {found} rows, expected {expected}"))
            }
        })?;
        builder.finish().map_err(graph_error)
    }
}

/// What is known of a model before its graph is made; [`Model`] says what each is.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// [`Model::common`].
    pub common: &'a Common,
    /// [`Model::hidden_size`].
    pub hidden_size: usize,
    /// [`Model::max_positions`].
    pub max_positions: usize,
    /// [`Model::vocab_size`].
    pub vocab_size: usize,
    /// [`Model::prefixes`].
    pub prefixes: &'static [&'static str],
}

/// What an encoder gives to heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// `[tokens, hidden_size]`.
    pub last_hidden_state: NodeId,
}

/// Why an encoder has no head.
#[derive(Debug)]
#[non_exhaustive]
pub enum HeadError {
    /// The architecture has no such head.
    Unknown,
    /// A tensor of the head isn't there.
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of the head has another first dimension than the head needs.
    Rows {
        /// The tensor.
        tensor: String,
        /// What the head needs.
        expected: usize,
        /// What the tensor has.
        found: usize,
    },
    /// The sizes make no consistent graph.
    Graph(GraphError),
}

impl From<GraphError> for HeadError {
    fn from(error: GraphError) -> Self {
        HeadError::Graph(error)
    }
}

/// An encoder to put a head on, and the checkpoint that the head is in.
#[derive(Debug)]
pub struct HeadBuilder<'a> {
    pub(crate) builder: &'a mut GraphBuilder,
    weights: &'a Weights,
    prefixes: &'static [&'static str],
    /// `last_hidden_state`.
    pub(crate) hidden: NodeId,
}

impl HeadBuilder<'_> {
    /// Whether the checkpoint holds a tensor, with or without a prefix.
    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.stored(tensor).is_some()
    }

    /// A tensor as it is, or its integers where quantised weights store them packed, under a name of their own: rows are rows in both.
    fn stored(&self, tensor: &str) -> Option<loquat_runtime::weights::TensorView<'_>> {
        let find = |name: &str| find(self.weights, self.prefixes, name);
        find(tensor).or_else(|| find(&format!("{tensor}_packed")))
    }

    /// The first dimension of a tensor.
    pub(crate) fn rows(&self, tensor: &str) -> Result<usize, HeadError> {
        match self.stored(tensor) {
            // A scalar has no rows, and is refused by name when the weights are loaded.
            Some(found) => Ok(found.shape.first().copied().unwrap_or(1)),
            None => Err(HeadError::Missing { tensor: tensor.to_owned() }),
        }
    }

    fn check_rows(&self, tensor: &str, expected: usize) -> Result<(), HeadError> {
        match self.rows(tensor)? {
            found if found == expected => Ok(()),
            found => Err(HeadError::Rows { tensor: tensor.to_owned(), expected, found }),
        }
    }

    /// The row of each sequence's first token.
    pub(crate) fn first(&mut self) -> Result<NodeId, HeadError> {
        Ok(self.builder.select_first(self.hidden)?)
    }

    /// The row of each sequence's first token through a linear layer and an activation.
    pub(crate) fn pooled(&mut self, pooler: Pooler<'_>) -> Result<NodeId, HeadError> {
        let first = self.first()?;
        self.dense(first, pooler.dense, Some(pooler.activation))
    }

    /// `pooler_output`, if the checkpoint has a pooler.
    pub(crate) fn pooler_output(&mut self, pooler: Pooler<'_>) -> Result<(), HeadError> {
        if self.has(&format!("{}.weight", pooler.dense)) {
            let pooled = self.pooled(pooler)?;
            self.builder.output("pooler_output", pooled);
        }
        Ok(())
    }

    /// `logits` from a linear layer on what a pooler gives. Of the two, the linear layer is missed first.
    pub(crate) fn pooled_logits(&mut self, pooler: Pooler<'_>, module: &str) -> Result<(), HeadError> {
        self.rows(&format!("{module}.weight"))?;
        let pooled = self.pooled(pooler)?;
        self.logits(pooled, module)
    }

    /// The same with so many outputs.
    pub(crate) fn pooled_logits_of(
        &mut self,
        pooler: Pooler<'_>,
        module: &str,
        outputs: usize,
    ) -> Result<(), HeadError> {
        self.check_rows(&format!("{module}.weight"), outputs)?;
        self.pooled_logits(pooler, module)
    }

    /// A linear layer as wide as its tensors, and an activation.
    pub(crate) fn dense(
        &mut self,
        x: NodeId,
        module: &str,
        activation: Option<Activation>,
    ) -> Result<NodeId, HeadError> {
        let width = self.rows(&format!("{module}.weight"))?;
        let y = self.builder.linear(x, width, &format!("{module}.weight"), Some(&format!("{module}.bias")))?;
        match activation {
            Some(activation) => Ok(self.builder.activation(y, activation)?),
            None => Ok(y),
        }
    }

    /// `logits` from a linear layer.
    pub(crate) fn logits(&mut self, x: NodeId, module: &str) -> Result<(), HeadError> {
        let logits = self.dense(x, module, None)?;
        self.builder.output("logits", logits);
        Ok(())
    }

    /// `logits` from a linear layer with so many outputs.
    pub(crate) fn logits_of(&mut self, x: NodeId, module: &str, outputs: usize) -> Result<(), HeadError> {
        self.check_rows(&format!("{module}.weight"), outputs)?;
        self.logits(x, module)
    }

    /// `start_logits` and `end_logits` from one linear layer with two outputs.
    pub(crate) fn question_answering(&mut self, module: &str) -> Result<(), HeadError> {
        let (weight, bias) = (format!("{module}.weight"), format!("{module}.bias"));
        self.check_rows(&weight, 2)?;
        for (first, output) in ["start_logits", "end_logits"].into_iter().enumerate() {
            let row = |name| RowsOf { name, first, rows: 1, of: 2 };
            let logits = self.builder.linear_rows(self.hidden, row(&weight), Some(row(&bias)))?;
            self.builder.output(output, logits);
        }
        Ok(())
    }

    /// `logits` over the vocabulary.
    pub(crate) fn masked_lm(&mut self, lm: &MaskedLm<'_>) -> Result<(), HeadError> {
        let mut x = self.dense(self.hidden, lm.dense, Some(lm.activation))?;
        let norm = |part: &str| format!("{}.{part}", lm.norm);
        x = self.builder.layer_norm(x, &norm("weight"), &norm("bias"), lm.eps)?;
        let [weight, own_bias] = ["weight", "bias"].map(|part| format!("{}.{part}", lm.decoder));
        // A tied decoder has its bias under two names, and files hold either; an untied one may have another bias than the head.
        let (decoder, biases) = match lm.tied {
            true => (lm.embeddings, [lm.bias, &own_bias]),
            false => (weight.as_str(), [own_bias.as_str(), lm.bias]),
        };
        let vocab = self.rows(decoder)?;
        let bias = if self.has(biases[0]) { biases[0] } else { biases[1] };
        let logits = self.builder.linear(x, vocab, decoder, Some(bias))?;
        self.builder.output("logits", logits);
        Ok(())
    }
}

/// What makes one vector of a sequence: a linear layer and an activation, on the row of its first token.
#[derive(Clone, Copy)]
pub(crate) struct Pooler<'a> {
    pub(crate) dense: &'a str,
    pub(crate) activation: Activation,
}

/// A masked language model's head: a linear layer, an activation, a norm, and a product with the table of words.
pub(crate) struct MaskedLm<'a> {
    pub(crate) dense: &'a str,
    pub(crate) activation: Activation,
    pub(crate) norm: &'a str,
    pub(crate) eps: f32,
    /// The table of words, which is the decoder's weight where the two are tied.
    pub(crate) embeddings: &'a str,
    pub(crate) tied: bool,
    /// The decoder, a linear layer.
    pub(crate) decoder: &'a str,
    /// Another name of the decoder's bias.
    pub(crate) bias: &'a str,
}
