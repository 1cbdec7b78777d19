//! Random changes of manifests in random styles. Each change must be one piece of text, and nothing around it moves.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// The choices that make a text. Few and small numbers make a simple text, so proptest finds a simple failure.
struct Choices {
    numbers: Vec<u8>,
    next: usize,
}

impl Choices {
    fn pick(&mut self, choices: usize) -> usize {
        self.next += 1;
        usize::from(self.numbers.get(self.next - 1).copied().unwrap_or_default()) % choices
    }

    fn one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.pick(texts.len())]
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.pick(many) == many - 1
    }
}

/// A value in a text: its path, and the numbers of the comments that are on its lines.
struct Placed {
    path: Vec<String>,
    comments: Range<usize>,
}

/// A SealedSecret in a text, and what it means.
struct Model {
    document: usize,
    object: usize,
    value: Value,
    entries: Vec<Placed>,
}

/// The style in which the writer writes a SealedSecret.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Block,
    Flow,
    JsonInFlow,
    Json,
}

/// Writes a stream with SealedSecrets in a random style. All its line breaks are LF.
struct Writer {
    choices: Choices,
    text: String,
    step: usize,
    has_comments: bool,
    /// Whether a comment may be inside of braces.
    has_comments_in_flow: bool,
    /// Whether a line with more spaces would still be part of the block scalar above it.
    is_below_block_scalar: bool,
    comments: usize,
    names: usize,
    style: Style,
    entries: Vec<Placed>,
    models: Vec<Model>,
}

impl Writer {
    fn of(numbers: Vec<u8>) -> Self {
        Self {
            choices: Choices { numbers, next: 0 },
            text: String::new(),
            step: 2,
            has_comments: false,
            has_comments_in_flow: false,
            is_below_block_scalar: false,
            comments: 0,
            names: 0,
            style: Style::Block,
            entries: Vec::new(),
            models: Vec::new(),
        }
    }

    fn unique(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}Z", self.names)
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        let text = self.choices.one_of(&["", " note: it's \"here\" (x)", " - old; *a &b !c", "\tB: wax1.old"]);
        format!("#c{}#{text}", self.comments - 1)
    }

    /// Perhaps writes a comment beside what is on the line, and ends the line.
    fn end_line(&mut self) {
        if self.has_comments && self.choices.one_in(3) {
            let comment = self.comment();
            self.text.push_str(self.choices.one_of(&[" ", "  ", "\t"]));
            self.text.push_str(&comment);
        } else if self.choices.one_in(9) {
            self.text.push(' ');
        }
        self.text.push('\n');
    }

    /// Perhaps writes lines with comments, and blank lines.
    fn lines_between(&mut self, indent: usize) {
        while self.has_comments && self.choices.one_in(3) {
            let others = if self.is_below_block_scalar { [indent, 0] } else { [indent + 2, 1] };
            let indent = [indent, 0, others[0], others[1]][self.choices.pick(4)];
            let comment = self.comment();
            self.text.push_str(&format!("{:indent$}{comment}\n", ""));
        }
        if self.choices.one_in(6) {
            let blank = if self.is_below_block_scalar { "\n" } else { "  \n" };
            self.text.push_str(self.choices.one_of(&["\n", blank, "\n\n"]));
        }
    }

    fn scalar_in_block_style(&mut self, indent: usize, text: &str) {
        match self.choices.pick(9) {
            0..3 => self.text.push_str(&format!(" {text}")),
            3 => self.text.push_str(&format!("   {text}")),
            4 => self.text.push_str(&format!(" '{text}'")),
            5 => self.text.push_str(&format!(" \"{text}\"")),
            6 => {
                self.end_line();
                let inner = indent + 1 + self.choices.pick(4);
                let quote = self.choices.one_of(&["", "'", "\""]);
                self.text.push_str(&format!("{:inner$}{quote}{text}{quote}", ""));
            }
            _ => {
                let sign = self.choices.one_of(&["|-", ">-", "|2-"]);
                self.text.push_str(&format!(" {sign}"));
                self.end_line();
                let inner = indent + if sign == "|2-" { 2 } else { 1 + self.choices.pick(3) };
                self.text.push_str(&format!("{:inner$}{text}\n", ""));
                self.is_below_block_scalar = true;
                return;
            }
        }
        self.end_line();
    }

    fn block_key(&mut self, indent: usize, name: &str) {
        self.is_below_block_scalar = false;
        let quote = self.choices.one_of(&["", "", "\"", "'"]);
        let space = self.choices.one_of(&["", "", "", " "]);
        self.text.push_str(&format!("{:indent$}{quote}{name}{quote}{space}:", ""));
    }

    fn in_any_order<'v>(&mut self, map: &'v Value) -> Vec<(&'v String, &'v Value)> {
        let mut entries: Vec<_> = map.as_object().into_iter().flatten().collect();
        if self.choices.one_in(3) {
            entries.reverse();
        }
        entries
    }

    fn block(&mut self, indent: usize, value: &Value, path: &[String]) {
        for (name, value) in self.in_any_order(value) {
            self.lines_between(indent);
            self.block_entry(indent, name, value, path);
        }
    }

    fn block_entry(&mut self, indent: usize, name: &str, value: &Value, path: &[String]) {
        let path = [path, &[name.to_owned()]].concat();
        let first = self.comments;
        self.block_key(indent, name);
        let is_flow = self.choices.one_in(8);
        match value {
            Value::String(text) => self.scalar_in_block_style(indent, text),
            value if is_flow || value.as_object().is_some_and(Map::is_empty) => {
                self.text.push(' ');
                self.style = [Style::Flow, Style::JsonInFlow][self.choices.pick(2)];
                self.flow(indent, value, &path);
                self.style = Style::Block;
                self.end_line();
            }
            value => {
                self.end_line();
                self.block(indent + self.step, value, &path);
            }
        }
        self.entries.push(Placed { path, comments: first..self.comments });
    }

    /// Perhaps ends a line in braces, and writes the start of the next.
    fn flow_space(&mut self, is_pretty: bool, indent: usize, otherwise: &str) {
        if !is_pretty {
            return self.text.push_str(otherwise);
        }
        if self.has_comments_in_flow && self.choices.one_in(3) {
            let comment = self.comment();
            self.text.push_str(&format!(" {comment}"));
        }
        self.text.push('\n');
        if self.has_comments_in_flow && self.choices.one_in(4) {
            let comment = self.comment();
            self.text.push_str(&format!("{:indent$}{comment}\n", ""));
        }
        self.text.push_str(&" ".repeat(indent));
    }

    fn flow(&mut self, indent: usize, value: &Value, path: &[String]) {
        let is_json = matches!(self.style, Style::Json | Style::JsonInFlow);
        let Some(map) = value.as_object() else {
            let text = value.as_str().expect("a text");
            let quote = if is_json { "\"" } else { self.choices.one_of(&["", "'", "\""]) };
            return self.text.push_str(&format!("{quote}{text}{quote}"));
        };
        if map.is_empty() {
            return self.text.push_str("{}");
        }
        let is_pretty = self.choices.one_in(2);
        let comma = if is_json { self.choices.one_of(&["", " "]) } else { " " };
        let padding = self.choices.one_of(&["", " "]);
        self.text.push('{');
        self.flow_space(is_pretty, indent + self.step, padding);
        for (index, (name, value)) in self.in_any_order(value).into_iter().enumerate() {
            let path = [path, std::slice::from_ref(name)].concat();
            let first = self.comments;
            let quote = if is_json { "\"" } else { self.choices.one_of(&["", "'", "\""]) };
            let colon = if is_json { self.choices.one_of(&[":", ": "]) } else { ": " };
            self.text.push_str(&format!("{quote}{name}{quote}{colon}"));
            self.flow(indent + self.step, value, &path);
            let is_last = index + 1 == map.len();
            if !is_last || self.style == Style::Flow && self.choices.one_in(6) {
                self.text.push(',');
            }
            let beside = self.comments;
            let (indent, otherwise) = if is_last { (indent, padding) } else { (indent + self.step, comma) };
            self.flow_space(is_pretty, indent, otherwise);
            let last = self.comments.min(beside + 1);
            self.entries.push(Placed { path, comments: first..last });
        }
        self.text.push('}');
    }

    fn sealed_secret(&mut self) -> Value {
        let mut envelopes = Map::new();
        for _ in 0..self.choices.pick(4) {
            let mut wraps = Map::new();
            for _ in 0..1 + self.choices.pick(3) {
                wraps.insert(self.unique("k"), Value::from(self.unique("YWdl.")));
            }
            let bound_to = json!({"namespace": self.unique("n"), "name": self.unique("n")});
            let envelope = json!({"boundTo": bound_to, "commitment": self.unique("c"), "wraps": wraps});
            envelopes.insert(self.unique("e"), envelope);
        }
        let mut data = Map::new();
        for _ in 0..self.choices.pick(5) {
            let prefix = self.choices.one_of(&["A", "M", "tls.crt", "0", "a-b_c"]);
            data.insert(self.unique(prefix), Value::from(self.unique("wax1.e.")));
        }
        let (name, namespace) = (self.unique("db"), self.unique("shop"));
        let mut spec = json!({"scope": "Strict", "envelopes": envelopes, "encryptedData": data});
        for field in ["envelopes", "encryptedData"] {
            if spec[field].as_object().is_some_and(Map::is_empty) && self.choices.one_in(2) {
                spec.as_object_mut().expect("spec").remove(field);
            }
        }
        json!({
            "apiVersion": "waxseal.dev/v1alpha1",
            "kind": "SealedSecret",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    }

    fn begin_object(&mut self) {
        self.has_comments = self.style != Style::Json && self.choices.one_in(2);
        self.has_comments_in_flow = self.has_comments && self.choices.one_in(2);
        self.step = [2, 4, 1, 3][self.choices.pick(4)];
    }

    fn end_object(&mut self, document: usize, object: usize, value: Value) {
        let entries = std::mem::take(&mut self.entries);
        self.models.push(Model { document, object, value, entries });
    }

    fn document_with_object(&mut self, document: usize) {
        let value = self.sealed_secret();
        if self.style == Style::Block {
            self.block(0, &value, &[]);
            self.lines_between(0);
        } else {
            self.flow(0, &value, &[]);
            self.text.push('\n');
        }
        self.end_object(document, 0, value);
    }

    fn document_with_list(&mut self, document: usize) {
        let indent = self.choices.pick(3);
        self.text.push_str("apiVersion: v1\nkind: List\nitems: # all\n");
        let mut objects = 0;
        for _ in 0..1 + self.choices.pick(3) {
            self.lines_between(indent);
            if self.choices.one_in(3) {
                let other = "- kind: ConfigMap\n  apiVersion: v1\n  data: {a: &a x, b: *a, c: !!binary aGk=}\n";
                other.lines().for_each(|line| self.text.push_str(&format!("{:indent$}{line}\n", "")));
                continue;
            }
            let value = self.sealed_secret();
            let start = self.text.len();
            let mut fields = value.as_object().expect("an object").iter();
            let (name, first) = fields.next().expect("a field");
            self.block_entry(indent + 2, name, first, &[]);
            self.text.replace_range(start + indent..start + indent + 1, "-");
            for (name, field) in fields {
                self.lines_between(indent + 2);
                self.block_entry(indent + 2, name, field, &[]);
            }
            self.end_object(document, objects, value);
            objects += 1;
        }
        self.text.push_str("metadata:\n  x: &b [1, {y: z}] # end\n");
    }

    fn other_document(&mut self) {
        let other = [
            "a: &a\n  - x # y\nb: *a\nc: !mine |\n  text\n\n",
            "kind: ConfigMap\ndata: {A: x,B: y}\n",
            "# only this\n",
        ];
        self.text.push_str(other[self.choices.pick(3)]);
    }

    fn yaml(&mut self) {
        let documents = 1 + self.choices.pick(3);
        let mut number = 0;
        for document in 0..documents {
            if document > 0 || self.choices.one_in(2) {
                if document == 0 && self.choices.one_in(2) {
                    self.text.push_str("# yaml-language-server: $schema=x\n");
                    number += 1;
                }
                if document > 0 && self.choices.one_in(4) {
                    self.text.push_str(self.choices.one_of(&["...\n", "... # end\n"]));
                }
                self.text.push_str(self.choices.one_of(&["---\n", "--- # next\n", "---  \n"]));
            }
            self.style = [Style::Block, Style::Block, Style::Flow, Style::JsonInFlow][self.choices.pick(4)];
            self.begin_object();
            match self.choices.pick(4) {
                3 => self.other_document(),
                2 => {
                    self.style = Style::Block;
                    self.document_with_list(number);
                }
                _ => self.document_with_object(number),
            }
            number += 1;
        }
        if self.choices.one_in(5) {
            self.text.push_str("...\n");
        }
    }

    fn json(&mut self) {
        self.style = Style::Json;
        for document in 0..1 + self.choices.pick(2) {
            self.begin_object();
            self.document_with_object(document);
        }
    }

    /// Writes the stream, and returns it with a choice of line break and end.
    fn stream(&mut self) -> String {
        if self.choices.one_in(4) {
            self.json()
        } else {
            self.yaml()
        }
        let mut text = std::mem::take(&mut self.text);
        if self.choices.one_in(3) && !text.ends_with("|-\n") {
            text.truncate(text.trim_end_matches('\n').len());
        }
        if self.choices.one_in(3) {
            text = text.replace('\n', "\r\n");
        }
        if self.choices.one_in(6) { format!("\u{feff}{text}") } else { text }
    }

    /// Chooses a change of an object, and makes it in its model.
    fn change(&mut self, model: usize) -> Change {
        let text = |path: &[String]| path.join("/");
        let placed: Vec<_> = self.models[model].entries.iter().map(|entry| entry.path.clone()).collect();
        let envelopes: Vec<_> =
            placed.iter().filter(|path| path.len() == 3 && path[1] == "envelopes").map(|path| text(path)).collect();
        let values: Vec<_> =
            placed.iter().filter(|path| path.len() == 3 && path[1] == "encryptedData").map(|path| text(path)).collect();
        let wraps: Vec<_> =
            placed.iter().filter(|path| path.len() == 5 && path[3] == "wraps").map(|path| text(path)).collect();
        let old = |choices: &mut Choices, paths: &[String]| paths.get(choices.pick(paths.len().max(1))).cloned();
        let kind = self.choices.pick(8);
        let scalars = [&values[..], &wraps[..]].concat();
        let removable = [&values[..], &wraps[..], &envelopes[..]].concat();
        let change = match kind {
            0 | 1 => old(&mut self.choices, &scalars).map(|at| set(&at, &self.unique("new."))),
            2..5 => old(&mut self.choices, &removable).map(|at| remove(&at)),
            5 => old(&mut self.choices, &envelopes)
                .map(|at| set(&format!("{at}/wraps/{}", self.unique("k")), &self.unique("new."))),
            6 => {
                Some(Change { path: path(&format!("spec/envelopes/{}", self.unique("e"))), to: Some(self.envelope()) })
            }
            _ => None,
        };
        let prefix = self.choices.one_of(&["A", "M", "Z", "0", "tls."]);
        let change =
            change.unwrap_or_else(|| set(&format!("spec/encryptedData/{}", self.unique(prefix)), &self.unique("new.")));
        let model = &mut self.models[model];
        let entries = &mut model.entries;
        if change.to.is_none() {
            entries.retain(|entry| !entry.path.starts_with(&change.path));
            let parent = change.path[..change.path.len() - 1].join("/");
            let target = model.value.pointer_mut(&format!("/{parent}")).and_then(Value::as_object_mut);
            target.expect("a mapping").remove(&change.path[change.path.len() - 1]);
        } else {
            let parent = change.path[..change.path.len() - 1].iter();
            let target = parent.fold(&mut model.value, |value, name| {
                let map = value.as_object_mut().expect("a mapping");
                map.entry(name).or_insert_with(|| json!({}))
            });
            target[&change.path[change.path.len() - 1]] = json!(&change.to);
            entries.push(Placed { path: change.path.clone(), comments: 0..0 });
            if let Some(NewValue::Envelope(_)) = change.to {
                let wrap = [&change.path[..], &["wraps".to_owned(), "k1".to_owned()]].concat();
                entries.push(Placed { path: wrap, comments: 0..0 });
            }
        }
        change
    }

    fn envelope(&mut self) -> NewValue {
        let bound_to = json!({"namespace": self.unique("n"), "name": self.unique("n")});
        let bound_to = serde_json::from_value(bound_to).expect("boundTo");
        let wraps = [("k1".to_owned(), self.unique("new."))].into();
        NewValue::Envelope(EnvelopeSpec { bound_to, commitment: self.unique("c"), wraps })
    }
}

/// The numbers of the comments of a text, in their order.
fn comments(text: &str) -> Vec<usize> {
    text.split("#c").skip(1).filter_map(|rest| rest.split_once('#')?.0.parse().ok()).collect()
}

/// The names and values in a piece of a manifest, sorted; without comments, and in any style.
fn words(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_once("#c").map_or(line, |(before, _)| before));
    let words = lines.flat_map(|line| line.split([' ', '\t', ',', ':', '{', '}', '"', '\'']));
    let mut words: Vec<_> =
        words.filter(|word| !matches!(*word, "" | "|-" | ">-" | "|2-")).map(str::to_owned).collect();
    words.sort();
    words
}

/// Returns each piece whose removal from `more` leaves `less`. There can be several: removing `ab` or `ba` from `aba`
/// leaves `a`.
fn additions<'a>(less: &'a str, more: &'a str) -> impl Iterator<Item = &'a str> {
    let common = less.bytes().zip(more.bytes()).take_while(|(one, other)| one == other).count();
    let length = more.len().saturating_sub(less.len());
    let starts = if less.len() < more.len() { common.saturating_sub(length)..common + 1 } else { 0..0 };
    let is_only_addition = move |start: &usize| more.get(start + length..) == less.get(*start..);
    starts.filter(is_only_addition).map(move |start| &more[start..start + length])
}

/// The text, and the text without one of these signs.
fn without_one<'a>(text: &'a str, signs: &'a [&str]) -> impl Iterator<Item = String> {
    let cut = |(at, sign): (usize, &str)| [&text[..at], &text[at + sign.len()..]].concat();
    let places = signs.iter().flat_map(|sign| text.match_indices(sign));
    std::iter::once(text.to_owned()).chain(places.map(cut).collect::<Vec<_>>())
}

/// Whether one text is the other with one more piece that consists of these words.
fn is_addition(less: &str, more: &str, expected: &[String]) -> bool {
    additions(less, more).any(|piece| words(piece) == expected)
}

fn expected_words(path: &[String], value: &Value, before: &Value) -> Vec<String> {
    // The mappings that are inserted together with the entry.
    let missing = (0..path.len()).find(|depth| before.pointer(&format!("/{}", path[..=*depth].join("/"))).is_none());
    let name = path[missing.unwrap_or(path.len() - 1)..].join(" ");
    words(&format!("{name} {value}"))
}

/// Checks a change with the two texts and the content of the SealedSecret, each before and after the change.
/// `own_comments` are the numbers of the comments on the lines of the entry: a removed entry may take them along.
fn is_only(change: &Change, own_comments: Option<Range<usize>>, texts: [&str; 2], values: [&Value; 2]) -> bool {
    let ([before, after], pointer) = (texts, format!("/{}", change.path.join("/")));
    let values = values.map(|value| (value, value.pointer(&pointer)));
    match values {
        [(_, Some(old)), (_, Some(new))] => {
            let (old, new) = (old.as_str().expect("a text"), new.as_str().expect("a text"));
            before.matches(old).count() == 1 && before.replace(old, new) == after
        }
        [(value, None), (_, Some(new))] => {
            let expected = expected_words(&change.path, new, value);
            let mut fewer = without_one(before, &[" {}", "{}"]);
            let after: Vec<_> = without_one(after, &[","]).collect();
            let is_piece = |before: String| after.iter().any(|after| is_addition(&before, after, &expected));
            comments(before) == comments(&after[0]) && fewer.any(is_piece)
        }
        [(_, Some(old)), (value, None)] => {
            let expected = expected_words(&change.path, old, value);
            let (own, left) = (own_comments.unwrap_or_default(), comments(after));
            let kept = comments(before).into_iter().filter(|comment| !own.contains(comment) || left.contains(comment));
            let is_piece = |before: &str, after: &str| is_addition(after, before, &expected);
            let before: Vec<_> = without_one(before, &[","]).collect();
            let after: Vec<_> = without_one(after, &[" {}"]).collect();
            kept.collect::<Vec<_>>() == left
                && before.iter().any(|before| after.iter().any(|after| is_piece(before, after)))
        }
        _ => false,
    }
}

fn has_one_kind_of_line_break(text: &str) -> bool {
    let (all, windows) = (text.matches('\n').count(), text.matches("\r\n").count());
    windows == text.matches('\r').count() && (windows == 0 || windows == all)
}

/// Whether an entry has a block scalar before it, and a comment behind it that is indented like this block scalar.
/// Without the entry, the comment would be a line of the block scalar.
fn keeps_a_comment_out_of_a_block_scalar(text: &str, model: &Model, path: &[String]) -> bool {
    let stream = split(text).expect("it is read");
    let document = &stream.documents[model.document];
    let (text, objects) = (document.text(), sealed_secrets_of(document.kind().expect("a kind")));
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let entry = objects[model.object].entry_span(&path).expect("it is there");
    let start = text[..entry.key.start].rfind('\n').map_or(0, |line_break| line_break + 1);
    let end = text[..entry.value.end].trim_end().len();

    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut before = text[..start].lines().rev().filter(|line| !line.trim().is_empty());
    let content = before.next().map_or(0, indent);
    let header = before.find(|line| indent(line) < content).unwrap_or_default();
    let behind = text[end..].lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default();
    let header = header.split("#c").next().unwrap_or_default().trim_end();
    let is_block_scalar = ["|-", ">-", "|2-"].iter().any(|sign| header.ends_with(sign));
    is_block_scalar && behind.trim_start().starts_with('#') && indent(behind) >= content
}

fn is_read_as(text: &str, model: &Model) -> bool {
    let Ok(stream) = split(text) else { return false };
    let Ok(kind) = stream.documents[model.document].kind() else { return false };
    sealed_secrets_of(kind)[model.object].to_value().is_ok_and(|value| value == model.value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_change_is_one_piece_and_nothing_around_it_moves(numbers in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut writer = Writer::of(numbers);
        let first = writer.stream();
        let mut text = first.clone();
        let mut all: Vec<_> = writer.models.iter().map(|model| ObjectChanges {
            document: model.document, object: model.object, changes: Vec::new(),
        }).collect();
        for model in &writer.models {
            prop_assert!(is_read_as(&text, model), "{}", text);
        }
        for _ in 0..if all.is_empty() { 0 } else { 1 + writer.choices.pick(5) } {
            let number = writer.choices.pick(all.len());
            let (before, placed) = (writer.models[number].value.clone(), writer.models[number].entries.iter().map(|entry| (entry.path.clone(), entry.comments.clone())).collect::<Vec<_>>());
            let change = writer.change(number);
            let (model, path, to) = (&writer.models[number], change.path.clone(), change.to.clone());
            let one = ObjectChanges { document: model.document, object: model.object, changes: vec![Change { path, to }] };
            let next = apply("f", &text, &[one]);
            let Ok(next) = next else {
                let is_refusable = change.to.is_none() && keeps_a_comment_out_of_a_block_scalar(&text, model, &change.path);
                prop_assert!(is_refusable, "refused: {} to {}\n{text}", change.path.join("/"), json!(change.to));
                return Ok(());
            };
            let own = placed.into_iter().find(|(path, _)| *path == change.path).map(|(_, comments)| comments);
            let is_only = is_only(&change, own, [&text, &next], [&before, &model.value]);
            prop_assert!(is_only, "{} to {}\n{}\n=====\n{}", change.path.join("/"), json!(change.to), text, next);
            prop_assert!(has_one_kind_of_line_break(&next) && next.ends_with('\n') == text.ends_with('\n'), "{:?}", next);
            for model in &writer.models {
                prop_assert!(is_read_as(&next, model), "{}", next);
            }
            all[number].changes.push(change);
            text = next;
        }
        prop_assert_eq!(apply("f", &first, &all).ok(), Some(text));
    }
}
