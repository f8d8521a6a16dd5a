//! `loquat ner`: labelled spans of texts.

use clap::{Args, ValueEnum};
use loquat::{AggregationStrategy, Entity, TokenClassification};
use serde::Serialize;

use crate::{
    failure::Failure,
    input::InputArgs,
    model::{PipelineArgs, TruncationReport, configured},
    output::{Output, OutputArgs},
};

const AFTER_HELP: &str = "\
With --json, a line per text: {\"entities\": [{\"entity_group\", \"score\", \"word\", \"start\", \"end\"}]}; start and end count
characters. With --aggregation-strategy none, the entities are tokens: {\"entity\", \"score\", \"index\", \"word\", \"start\", \"end\"}.

Examples:
  loquat ner --model DIR \"My name is Wolfgang and I live in Berlin\"
  loquat ner --model DIR --json --stride 64 --input documents.txt";

/// Find named entities in texts
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Ner {
    /// Texts [default: lines of --input or stdin]
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// How tokens become words and groups
    #[arg(long, value_enum, value_name = "STRATEGY", default_value = "simple")]
    aggregation_strategy: Strategy,

    /// Labels to leave out, separated by commas
    #[arg(long, value_name = "LABELS", default_value = "O", value_delimiter = ',')]
    ignore_labels: Vec<String>,

    #[command(flatten)]
    tagging: TaggingArgs,
}

/// The options of the commands that label tokens.
#[derive(Debug, Args)]
pub struct TaggingArgs {
    /// Read long texts in windows that share N tokens, instead of cutting them
    #[arg(long, value_name = "N")]
    stride: Option<usize>,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// How tokens become words and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// Each token is a result.
    None,
    /// Neighbours with one label are a group.
    Simple,
    /// Words have the label of their first token.
    First,
    /// Words have the label with the highest mean score.
    Average,
    /// Words have the label of the token that is surest.
    Max,
    /// Words have the label of their first token; IOB and IOBES tags say which are an entity.
    Entities,
}

/// A group as JSON.
#[derive(Serialize)]
struct Group<'a> {
    entity_group: &'a str,
    score: f32,
    word: &'a str,
    start: usize,
    end: usize,
}

/// A token as JSON.
#[derive(Serialize)]
struct Token<'a> {
    entity: &'a str,
    score: f32,
    index: usize,
    word: &'a str,
    start: usize,
    end: usize,
}

#[derive(Serialize)]
struct Line<T> {
    entities: Vec<T>,
}

impl Ner {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let strategy = match self.aggregation_strategy {
            Strategy::None => AggregationStrategy::None,
            Strategy::Simple => AggregationStrategy::Simple,
            Strategy::First => AggregationStrategy::First,
            Strategy::Average => AggregationStrategy::Average,
            Strategy::Max => AggregationStrategy::Max,
            Strategy::Entities => AggregationStrategy::Entities,
        };
        self.tagging.run(&self.texts, strategy, self.ignore_labels)
    }
}

impl TaggingArgs {
    /// Labels texts and prints what was found.
    pub fn run(
        self,
        texts: &[String],
        strategy: AggregationStrategy,
        ignore_labels: Vec<String>,
    ) -> Result<(), Failure> {
        let mut inputs = self.input.open(texts)?;
        let mut builder = configured!(TokenClassification::builder(), self.pipeline)
            .aggregation_strategy(strategy)
            .ignore_labels(ignore_labels);
        if let Some(stride) = self.stride {
            builder = builder.stride(stride);
        }
        let model = builder.build()?;
        let mut out = Output::stdout();
        let mut report = TruncationReport::default();
        while let Some((texts, places)) = inputs.next_texts()? {
            let results = model.predict(&texts).map_err(|error| Failure::of_texts(error, &places))?;
            report.note(texts.len(), results.truncated(), &places);
            for (text, entities) in texts.iter().zip(results.iter()) {
                if self.output.json {
                    json(&mut out, entities, strategy)?;
                } else {
                    print(&mut out, text, entities)?;
                }
            }
            out.flush()?;
        }
        report.print();
        Ok(())
    }
}

fn json(out: &mut Output, entities: &[Entity], strategy: AggregationStrategy) -> Result<(), Failure> {
    if strategy == AggregationStrategy::None {
        let tokens = entities.iter().map(|entity| Token {
            entity: &entity.label,
            score: entity.score,
            index: entity.index.unwrap_or_default(),
            word: &entity.word,
            start: entity.start,
            end: entity.end,
        });
        return out.json(&Line { entities: tokens.collect() });
    }
    let groups = entities.iter().map(|entity| Group {
        entity_group: &entity.label,
        score: entity.score,
        word: &entity.word,
        start: entity.start,
        end: entity.end,
    });
    out.json(&Line { entities: groups.collect() })
}

/// A line for each entity: label, score, place and text as it stands there.
fn print(out: &mut Output, text: &str, entities: &[Entity]) -> Result<(), Failure> {
    for entity in entities {
        let original = text.get(entity.bytes.0..entity.bytes.1).unwrap_or(&entity.word);
        out.line(format_args!("{}\t{:.6}\t{}..{}\t{original}", entity.label, entity.score, entity.start, entity.end))?;
    }
    out.line("")
}
