//! A machine for pickles that describe tensors, and for nothing else.
//!
//! A pickle is a program: it may name any function of Python and call it. This machine knows the opcodes that PyTorch writes for a dictionary
//! of tensors, and the few names in it; anything else is an error that says what was found. Calls are not calls: each known name
//! stands for a piece of data. Values are nodes that refer to one another by number, so that repeating one costs a number,
//! and nothing recurses.

use std::collections::HashMap;

/// Bytes of a description: a hundred times what the largest models have.
const MAX_LEN: usize = 16 << 20;

/// Values of a program and entries of its memo. A program of [`MAX_LEN`] bytes could ask for as many.
const MAX_NODES: usize = 2 << 20;

/// Dimensions of a tensor: more than any model has.
const MAX_DIMENSIONS: usize = 8;

/// A tensor as the program describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorRef<'p> {
    pub(super) storage: StorageRef<'p>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Values in the file that tensors share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StorageRef<'p> {
    pub(super) key: &'p str,
    pub(super) kind: Kind,
    /// How many values.
    pub(super) len: usize,
}

/// Type of a storage's values, by PyTorch's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Half,
    BFloat16,
    Double,
    Long,
    Int,
    Short,
    Char,
    Byte,
    Bool,
}

impl Kind {
    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Kind::Char | Kind::Byte | Kind::Bool => 1,
            Kind::Half | Kind::BFloat16 | Kind::Short => 2,
            Kind::Float | Kind::Int => 4,
            Kind::Double | Kind::Long => 8,
        }
    }
}

/// What a name that may occur stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// The class of the object that LibTorch's archives are.
    Module,
    Storage(Kind),
}

const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("__torch__", "Module", Global::Module),
    ("torch", "FloatStorage", Global::Storage(Kind::Float)),
    ("torch", "HalfStorage", Global::Storage(Kind::Half)),
    ("torch", "BFloat16Storage", Global::Storage(Kind::BFloat16)),
    ("torch", "DoubleStorage", Global::Storage(Kind::Double)),
    ("torch", "LongStorage", Global::Storage(Kind::Long)),
    ("torch", "IntStorage", Global::Storage(Kind::Int)),
    ("torch", "ShortStorage", Global::Storage(Kind::Short)),
    ("torch", "CharStorage", Global::Storage(Kind::Char)),
    ("torch", "ByteStorage", Global::Storage(Kind::Byte)),
    ("torch", "BoolStorage", Global::Storage(Kind::Bool)),
];

/// A value by its number.
type Id = u32;

#[derive(Clone, Debug, PartialEq)]
enum Node<'p> {
    /// `None`, a truth value, a float, or a number beyond 64 bits: nothing that a tensor needs.
    Other,
    Int(i64),
    Str(&'p str),
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An object of [`Global::Module`], and the dictionary of its attributes once it was given one.
    Module(Option<Id>),
    Global(Global),
    Storage(StorageRef<'p>),
    Tensor(TensorRef<'p>),
}

struct Machine<'p> {
    bytes: &'p [u8],
    at: usize,
    nodes: Vec<Node<'p>>,
    stack: Vec<Id>,
    /// Lengths of the stack where marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Entries of dictionaries that were made of lists.
    copied: usize,
}

/// What a pickle describes.
#[derive(Debug, PartialEq)]
pub(super) struct Described<'p> {
    /// The tensors by name.
    pub(super) tensors: Vec<Named<'p>>,
    /// Whether they are the attributes of a module rather than entries of a dictionary.
    pub(super) of_module: bool,
}

/// The tensors of a pickle that is a dictionary of them or a module that holds them; other entries are left out.
pub(super) fn tensors(bytes: &[u8]) -> Result<Described<'_>, String> {
    let (machine, result, end) = run(bytes)?;
    if end != bytes.len() {
        return Err(format!("the pickle ends at byte {end} of {}", bytes.len()));
    }
    let Node::Module(attributes) = machine.node(result) else {
        return Ok(Described { tensors: machine.tensors(result)?, of_module: false });
    };
    let attributes = attributes.ok_or("the module has no attributes")?;
    Ok(Described { tensors: machine.tensors(attributes)?, of_module: true })
}

/// A tensor by its name.
pub(super) type Named<'a> = (&'a str, TensorRef<'a>);

/// The tensors of the pickle that a longer text begins with, and where it ends.
pub(super) fn leading_tensors(bytes: &[u8]) -> Result<(Vec<Named<'_>>, usize), String> {
    let (machine, result, end) = run(bytes)?;
    Ok((machine.tensors(result)?, end))
}

/// The list of texts of the pickle that a longer text begins with, and where it ends.
pub(super) fn leading_list(bytes: &[u8]) -> Result<(Vec<&str>, usize), String> {
    let (machine, result, end) = run(bytes)?;
    let Node::Sequence(items) = machine.node(result) else { return Err("expected a list of keys".into()) };
    let text = |&item: &Id| match machine.node(item) {
        Node::Str(text) => Ok(*text),
        other => Err(format!("expected a key, found {}", other.kind())),
    };
    Ok((items.iter().map(text).collect::<Result<_, _>>()?, end))
}

/// Runs the pickle that a longer text begins with, whatever it describes; gives where it ends.
pub(super) fn skip(bytes: &[u8]) -> Result<usize, String> {
    run(bytes).map(|(_, _, end)| end)
}

fn run(bytes: &[u8]) -> Result<(Machine<'_>, Id, usize), String> {
    let mut machine = Machine {
        bytes: &bytes[..bytes.len().min(MAX_LEN)],
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    loop {
        let at = machine.at;
        match machine.step().map_err(|what| format!("byte {at}: {what}"))? {
            None => {}
            Some(result) => {
                let end = machine.at;
                return Ok((machine, result, end));
            }
        }
    }
}

impl Node<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Node::Other => "something that isn't a part of a tensor",
            Node::Int(_) => "a number",
            Node::Str(_) => "a text",
            Node::Sequence(_) => "a list",
            Node::Dict(_) => "a dictionary",
            Node::Module(_) => "a module",
            Node::Global(_) => "a name",
            Node::Storage(_) => "a storage",
            Node::Tensor(_) => "a tensor",
        }
    }
}

impl<'p> Machine<'p> {
    fn node(&self, id: Id) -> &Node<'p> {
        &self.nodes[id as usize]
    }

    fn tensors(&self, result: Id) -> Result<Vec<(&'p str, TensorRef<'p>)>, String> {
        let Node::Dict(entries) = self.node(result) else {
            let found = self.node(result).kind();
            return Err(format!("expected a dictionary of tensors, found {found}"));
        };
        let tensor = |&(key, value): &(Id, Id)| match (self.node(key), self.node(value)) {
            (Node::Str(name), Node::Tensor(tensor)) => Some((*name, tensor.clone())),
            _ => None,
        };
        Ok(entries.iter().filter_map(tensor).collect())
    }

    /// One opcode. Gives the result at the end.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.take(1)?[0] {
            // PROTO, FRAME: what follows is told by its opcodes.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'.' => return self.pop().map(Some),
            b'N' | 0x88 | 0x89 => self.push(Node::Other)?,
            b'G' => {
                self.take(8)?;
                self.push(Node::Other)?;
            }
            b'K' => self.integer(1, false)?,
            b'M' => self.integer(2, false)?,
            b'J' => self.integer(4, true)?,
            0x8a => {
                let len = self.length(1)?;
                self.integer(len, true)?;
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b'T' => self.text(4)?,
            b'U' => self.text(1)?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b']' | b')' => self.push(Node::Sequence(Vec::new()))?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Sequence(items))?;
            }
            count @ 0x85..=0x87 => {
                let items = self.pop_many(usize::from(count - 0x84))?;
                self.push(Node::Sequence(items))?;
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let key = self.length(1)?;
                self.remember(key as u32)?;
            }
            b'r' => {
                let key = self.length(4)?;
                self.remember(key as u32)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let key = self.length(1)?;
                self.recall(key as u32)?;
            }
            b'j' => {
                let key = self.length(4)?;
                self.recall(key as u32)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                match (self.node(names[0]).clone(), self.node(names[1]).clone()) {
                    (Node::Str(module), Node::Str(name)) => self.global(module, name)?,
                    _ => return Err("a name that isn't a text".into()),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Node::Storage(storage))?;
            }
            b'R' => {
                let call = self.pop_many(2)?;
                self.reduce(call[0], call[1])?;
            }
            0x81 => {
                let call = self.pop_many(2)?;
                self.new_object(call[0], call[1])?;
            }
            b'b' => {
                let state = self.pop()?;
                // The attributes of anything else, such as a dictionary's `_metadata`, are no tensors.
                if let Node::Module(attributes) = self.top()? {
                    *attributes = Some(state);
                }
            }
            opcode => return Err(format!("opcode {opcode:#04x}, which no description of tensors needs")),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'p [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return Err(format!("the pickle goes beyond byte {}", self.bytes.len())) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// An unsigned number of up to four bytes.
    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    fn integer(&mut self, bytes: usize, signed: bool) -> Result<(), String> {
        let digits = self.take(bytes)?;
        let negative = signed && digits.last().is_some_and(|last| last & 0x80 != 0);
        let node = if digits.len() > 8 {
            Node::Other
        } else {
            let start = if negative { -1 } else { 0 };
            Node::Int(digits.iter().rev().fold(start, |value: i64, &byte| value << 8 | i64::from(byte)))
        };
        self.push(node)
    }

    fn text(&mut self, bytes: usize) -> Result<(), String> {
        let len = self.length(bytes)?;
        match std::str::from_utf8(self.take(len)?) {
            Ok(text) => self.push(Node::Str(text)),
            Err(_) => Err("a text that isn't UTF-8".into()),
        }
    }

    fn line(&mut self) -> Result<&'p str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("a name without end")?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a name that isn't UTF-8")?;
        self.at += end + 1;
        Ok(line)
    }

    fn push(&mut self, node: Node<'p>) -> Result<(), String> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.nodes.push(node);
        self.push_id(self.nodes.len() as Id - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        if self.stack.len() >= MAX_NODES {
            return Err(format!("a stack of more than {MAX_NODES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        Ok(self.pop_many(1)?[0])
    }

    /// The topmost values, the topmost last; none from below the last mark.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|&start| start >= floor) {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err("the stack is empty".into()),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        match self.marks.pop() {
            Some(start) if start <= self.stack.len() => Ok(self.stack.split_off(start)),
            _ => Err("no mark was set".into()),
        }
    }

    fn top(&mut self) -> Result<&mut Node<'p>, String> {
        match self.stack.last() {
            Some(&id) => Ok(&mut self.nodes[id as usize]),
            None => Err("the stack is empty".into()),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Node::Sequence(list) => {
                list.extend(items);
                Ok(())
            }
            other => Err(format!("expected a list, found {}", other.kind())),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let pairs = items.as_chunks::<2>();
        if !pairs.1.is_empty() {
            return Err("a key without a value".into());
        }
        match self.top()? {
            Node::Dict(entries) => {
                entries.extend(pairs.0.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            other => Err(format!("expected a dictionary, found {}", other.kind())),
        }
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        if self.memo.len() >= MAX_NODES {
            return Err(format!("a memo of more than {MAX_NODES} values"));
        }
        let id = *self.stack.last().ok_or("the stack is empty")?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        match self.memo.get(&key) {
            Some(&id) => self.push_id(id),
            None => Err(format!("the memo has no value {key}")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let known = GLOBALS.iter().find(|(known_module, known, _)| (*known_module, *known) == (module, name));
        match known {
            Some((_, _, global)) => self.push(Node::Global(*global)),
            None => Err(format!(
                "it names {module:?} {name:?}, which no description of tensors needs: the file may be made to run code, or hold more than tensors"
            )),
        }
    }

    fn items(&self, id: Id, what: &str) -> Result<&[Id], String> {
        match self.node(id) {
            Node::Sequence(items) => Ok(items),
            other => Err(format!("{what}: expected a tuple, found {}", other.kind())),
        }
    }

    fn size(&self, id: Id, what: &str) -> Result<usize, String> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).map_err(|_| format!("{what}: expected a size, found {value}")),
            other => Err(format!("{what}: expected a number, found {}", other.kind())),
        }
    }

    /// `('storage', type, key, place, length)`, and in old files what it is a view of.
    fn storage(&self, id: Id) -> Result<StorageRef<'p>, String> {
        let items = self.items(id, "a storage")?;
        let [tag, kind, key, _, len, view @ ..] = items else {
            return Err(format!("a storage of {} parts, expected 5", items.len()));
        };
        let is_view = view.first().is_some_and(|view| *self.node(*view) != Node::Other);
        match (self.node(*tag), self.node(*kind), self.node(*key)) {
            (Node::Str("storage"), Node::Global(Global::Storage(kind)), Node::Str(key)) if !is_view => {
                Ok(StorageRef { key, kind: *kind, len: self.size(*len, "the length of a storage")? })
            }
            _ => Err("a reference that isn't to a storage of numbers".into()),
        }
    }

    fn new_object(&mut self, class: Id, arguments: Id) -> Result<(), String> {
        match (self.node(class), self.items(arguments, "arguments")?) {
            (Node::Global(Global::Module), []) => self.push(Node::Module(None)),
            (Node::Global(class), arguments) => {
                Err(format!("a new object of {class:?} with {} arguments", arguments.len()))
            }
            (class, _) => Err(format!("a new object of {}", class.kind())),
        }
    }

    fn reduce(&mut self, function: Id, arguments: Id) -> Result<(), String> {
        let Node::Global(function) = self.node(function) else {
            return Err(format!("a call of {}", self.node(function).kind()));
        };
        let function = *function;
        let arguments = self.items(arguments, "arguments")?.to_vec();
        match (function, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push(Node::Dict(Vec::new())),
            (Global::OrderedDict, [pairs]) => {
                // A list that is used again would be copied for a few bytes each time.
                self.copied += self.items(*pairs, "the entries of a dictionary")?.len();
                if self.copied > MAX_NODES {
                    return Err(format!("dictionaries with more than {MAX_NODES} entries"));
                }
                let pairs = self.items(*pairs, "the entries of a dictionary")?.iter().map(|&pair| {
                    match self.items(pair, "an entry of a dictionary")? {
                        [key, value] => Ok((*key, *value)),
                        other => Err(format!("an entry of a dictionary of {} parts", other.len())),
                    }
                });
                let entries = pairs.collect::<Result<Vec<_>, String>>()?;
                self.push(Node::Dict(entries))
            }
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let Node::Storage(storage) = self.node(*storage) else {
                    return Err(format!("a tensor in {}", self.node(*storage).kind()));
                };
                let sizes = |id: Id, what| {
                    let items = self.items(id, what)?;
                    if items.len() > MAX_DIMENSIONS {
                        return Err(format!("{what}: {} dimensions, expected at most {MAX_DIMENSIONS}", items.len()));
                    }
                    items.iter().map(|&item| self.size(item, what)).collect::<Result<Vec<usize>, String>>()
                };
                let tensor = TensorRef {
                    storage: *storage,
                    offset: self.size(*offset, "the offset of a tensor")?,
                    shape: sizes(*shape, "the shape of a tensor")?,
                    strides: sizes(*strides, "the strides of a tensor")?,
                };
                self.push(Node::Tensor(tensor))
            }
            (Global::RebuildParameter, [tensor, ..]) if matches!(self.node(*tensor), Node::Tensor(_)) => {
                self.push_id(*tensor)
            }
            _ => Err(format!("a call of {function:?} with {} arguments", arguments.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> String {
        tensors(bytes).expect_err("it should be refused")
    }

    #[test]
    fn what_is_not_data_is_refused_by_name() {
        let cases: [(&[u8], &str); 14] = [
            (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "\"os\" \"system\""),
            (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "\"builtins\" \"eval\""),
            (b"cbuiltins\ngetattr\n.", "\"builtins\" \"getattr\""),
            (b"ctorch\nload\n.", "\"torch\" \"load\""),
            (b"(i__main__\nX\n.", "opcode 0x69"),
            (b"})\x81.", "a new object of a dictionary"),
            (b"ccollections\nOrderedDict\n)\x81.", "a new object of OrderedDict"),
            (b"c__torch__\nModule\n)R.", "a call of Module"),
            (b"c__torch__\nModule\n}q\x00\x85\x81.", "a new object of Module with 1 arguments"),
            (b"c__torch__\nOther\n)\x81}b.", "\"__torch__\" \"Other\""),
            (b"c__torch__.___torch_mangle_0\nModule\n)\x81}b.", "torch_mangle"),
            (b"}q\x00h\x01.", "the memo has no value 1"),
            (b"X\xff\xff\xff\x7fabc.", "goes beyond byte"),
            (b"K\x01K\x02R.", "a call of a number"),
        ];
        for (bytes, expected) in cases {
            let found = fault(bytes);
            assert!(found.contains(expected) && found.starts_with("byte "), "{expected}: {found}");
        }
        assert!(fault(b"K\x01.").contains("expected a dictionary of tensors, found a number"));
        assert!(fault(b"c__torch__\nModule\n)\x81.").contains("no attributes"));
        assert!(
            fault(b"c__torch__\nModule\n)\x81K\x01b.").contains("expected a dictionary of tensors, found a number")
        );
        assert!(fault(b"}.}").contains("ends at byte 2 of 3"));
        assert!(fault(b"").contains("beyond byte 0"));
    }

    #[test]
    fn values_that_repeat_themselves_cost_a_number_each() {
        // Each tuple holds the one before twice: written out, the last would have 2^200 entries.
        let mut bytes = b")q\x00".to_vec();
        for _ in 0..200 {
            bytes.extend(b"h\x00h\x00\x86q\x00");
        }
        bytes.extend(b"}.");
        assert_eq!(tensors(&bytes), Ok(Described { tensors: Vec::new(), of_module: false }));
    }

    #[test]
    fn shapes_that_no_tensor_has_are_refused() {
        let mut bytes = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n".to_vec();
        bytes.extend(b"X\x01\x00\x00\x000NK\x01tQK\x00(");
        bytes.extend(b"K\x01".repeat(9));
        bytes.extend(b"t)tR.");
        let found = fault(&bytes);
        assert!(found.contains("9 dimensions"), "{found}");
    }

    #[test]
    fn nothing_is_taken_from_below_a_mark() {
        assert!(fault(b"}K\x01(s.").contains("the stack is empty"));
        assert!(fault(b"t.").contains("no mark was set"));
    }
}
