//! Reads the tagging scheme of a token classifier out of its labels: IOB, IOE, BIOES, BILOU, BMES.
//!
//! A label of a scheme is a tag and a type: `B-PER`, `b_per`, `PER-B`. One label cannot tell whether it is one:
//! `B-cell`, `I-95` and `S-Bahn` are names of their own. So the scheme is decided once per model, from all of
//! its labels. Joining labelled tokens is [`super::entities`]'s.

use std::collections::{HashMap, HashSet};

/// What a label says about the token's entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The token has none.
    Outside,
    /// The token begins one.
    Begin,
    /// The token continues one of its type, or else begins one. So do labels without a tag.
    Inside,
    /// The token is the last of one.
    End,
    /// The token is an entity.
    Single,
}

/// A label, read by the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) role: Role,
    /// The label without its tag, or all of it if it has none.
    pub(crate) name: String,
}

/// The labels of a model, read by their scheme.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TagScheme {
    tags: Vec<Tag>,
}

/// The tags that occur together. `M` and `W` are the Chinese corpora's letters for inside and single.
const FAMILIES: [&str; 4] = ["BIES", "BILU", "BMES", "BMEW"];

impl TagScheme {
    /// Reads the labels of a model, by id. A scheme holds if some type has the tag for inside and another one;
    /// its tags are those that such types have, and a label with another tag, or without one, is kept whole.
    pub(crate) fn read(labels: &[String]) -> TagScheme {
        let styles = Style::ALL.iter().flat_map(|style| FAMILIES.map(|family| (*style, family)));
        let found = styles.map(|(style, family)| (style, style.tags_in_use(family, labels)));
        let count = |(style, tags): &(Style, HashSet<char>)| {
            labels.iter().filter(|label| style.split(tags, label).is_some()).count()
        };
        // `max_by_key` takes the last of equals.
        let scheme = found.rev().filter(|found| count(found) > 0).max_by_key(count);
        let outside = |label: &str| {
            let zero = scheme.is_some() && label == "0";
            label.eq_ignore_ascii_case("O") || zero
        };
        let read = |label: &String| {
            if outside(label) {
                return Tag { role: Role::Outside, name: label.clone() };
            }
            let split = scheme.as_ref().and_then(|(style, tags)| style.split(tags, label));
            let (role, name) = match split {
                None => (Role::Inside, label.as_str()),
                Some(('B', name)) => (Role::Begin, name),
                Some(('E' | 'L', name)) => (Role::End, name),
                Some(('S' | 'U' | 'W', name)) => (Role::Single, name),
                Some((_, name)) => (Role::Inside, name),
            };
            Tag { role, name: name.to_owned() }
        };
        TagScheme { tags: labels.iter().map(read).collect() }
    }

    /// Returns the names that entities may have, each once, in the order of the labels.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for Tag { name, .. } in self.tags.iter().filter(|tag| tag.role != Role::Outside) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Returns the label of an id.
    ///
    /// # Panics
    /// If the model has fewer labels.
    pub(crate) fn tag(&self, id: usize) -> &Tag {
        &self.tags[id]
    }
}

/// Where the tag of a label stands, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Style {
    prefix: bool,
    separator: char,
    upper: bool,
}

impl Style {
    const ALL: [Style; 8] = [
        Style { prefix: true, separator: '-', upper: true },
        Style { prefix: true, separator: '_', upper: true },
        Style { prefix: true, separator: '-', upper: false },
        Style { prefix: true, separator: '_', upper: false },
        Style { prefix: false, separator: '-', upper: true },
        Style { prefix: false, separator: '_', upper: true },
        Style { prefix: false, separator: '-', upper: false },
        Style { prefix: false, separator: '_', upper: false },
    ];

    /// Splits a label into its tag, in upper case, and its type; `None` unless the tag is one of `tags`.
    fn split<'a>(self, tags: &HashSet<char>, label: &'a str) -> Option<(char, &'a str)> {
        let (tag, name) = if self.prefix {
            label.split_once(self.separator)?
        } else {
            label.rsplit_once(self.separator).map(|(name, tag)| (tag, name))?
        };
        let mut letters = tag.chars();
        let letter = letters.next().filter(|letter| letter.is_ascii_uppercase() == self.upper)?;
        let tag = letter.to_ascii_uppercase();
        (letters.next().is_none() && !name.is_empty() && tags.contains(&tag)).then_some((tag, name))
    }

    /// Returns the tags of a family that the labels use; none if they are of no such scheme.
    fn tags_in_use(self, family: &str, labels: &[String]) -> HashSet<char> {
        let all: HashSet<char> = family.chars().collect();
        let split = || labels.iter().filter_map(|label| self.split(&all, label));
        let mut of_type: HashMap<&str, HashSet<char>> = HashMap::new();
        for (tag, name) in split() {
            of_type.entry(name).or_default().insert(tag);
        }
        // Inside and one more. Two others prove nothing: there are vitamin-B and vitamin-E.
        let has_partners =
            |tags: &HashSet<char>| tags.len() > 1 && (tags.contains(&'I') || tags.contains(&'M'));
        let in_use: HashSet<char> = of_type.into_values().filter(has_partners).flatten().collect();
        if in_use.is_empty() && self.is_plain_iob(&all, labels) {
            return split().map(|(tag, _)| tag).collect();
        }
        in_use
    }

    /// Returns whether all labels but `O` have a prefix and a type in capitals. Some datasets have one tag per
    /// type: all inside, or entities of one token only.
    fn is_plain_iob(self, tags: &HashSet<char>, labels: &[String]) -> bool {
        let in_capitals = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && !name.contains(|c: char| c.is_ascii_lowercase())
        };
        let fits = |label: &String| {
            label == "O" || self.split(tags, label).is_some_and(|(_, name)| in_capitals(name))
        };
        self == Style::ALL[0] && labels.iter().any(|label| label == "O") && labels.iter().all(fits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(labels: &[&str]) -> Vec<(Role, String)> {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        TagScheme::read(&labels).tags.into_iter().map(|tag| (tag.role, tag.name)).collect()
    }

    fn expected(tags: &[(Role, &str)]) -> Vec<(Role, String)> {
        tags.iter().map(|&(role, name)| (role, name.to_owned())).collect()
    }

    #[test]
    fn an_entity_has_one_name_however_many_tags_it_has() {
        let labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER"].map(str::to_owned);
        assert_eq!(TagScheme::read(&labels).names(), ["PER", "LOC"]);
        assert_eq!(TagScheme::read(&["O", "B-cell"].map(str::to_owned)).names(), ["B-cell"]);
    }

    #[test]
    fn schemes_are_read_however_they_are_written() {
        use Role::{Begin, End, Inside, Outside, Single};
        for (labels, tags) in [
            (&["O", "B-PER", "I-PER"][..], &[(Outside, "O"), (Begin, "PER"), (Inside, "PER")][..]),
            (&["o", "b-per", "i-per"], &[(Outside, "o"), (Begin, "per"), (Inside, "per")]),
            (&["O", "B_PER", "I_PER"], &[(Outside, "O"), (Begin, "PER"), (Inside, "PER")]),
            (&["O", "PER-B", "PER-I"], &[(Outside, "O"), (Begin, "PER"), (Inside, "PER")]),
            (&["0", "per_b", "per_i"], &[(Outside, "0"), (Begin, "per"), (Inside, "per")]),
            (&["O", "I-PER", "E-PER"], &[(Outside, "O"), (Inside, "PER"), (End, "PER")]),
            (
                &["B-X", "I-X", "E-X", "S-X", "S-Y"],
                &[(Begin, "X"), (Inside, "X"), (End, "X"), (Single, "X"), (Single, "Y")],
            ),
            (
                &["B-X", "I-X", "L-X", "U-X"],
                &[(Begin, "X"), (Inside, "X"), (End, "X"), (Single, "X")],
            ),
            (
                &["B-X", "M-X", "E-X", "W-X"],
                &[(Begin, "X"), (Inside, "X"), (End, "X"), (Single, "X")],
            ),
            // Types with the separator in them, and a type of one tag among others.
            (
                &["O", "B-US-ID", "I-US-ID", "B-DATE"],
                &[(Outside, "O"), (Begin, "US-ID"), (Inside, "US-ID"), (Begin, "DATE")],
            ),
            (&["O", "I-PER", "I-LOC"], &[(Outside, "O"), (Inside, "PER"), (Inside, "LOC")]),
            (&["O", "B-PER"], &[(Outside, "O"), (Begin, "PER")]),
        ] {
            assert_eq!(read(labels), expected(tags), "{labels:?}");
        }
    }

    #[test]
    fn labels_of_no_scheme_are_kept_whole() {
        for labels in [
            &["B-cell", "T-cell"][..],
            &["O", "B-cell", "T-cell"],
            &["O", "B-cell"],
            &["O", "I-95", "I-80"],
            &["O", "S-Bahn", "U-Bahn"],
            &["O", "vitamin-B", "vitamin-E"],
            &["O", "VITAMIN_B", "VITAMIN_E"],
            &["O", "B-CELL", "T-CELL"],
            &["B", "I", "O"],
            &["-B", "-I"],
            &["grade-a", "grade-b"],
        ] {
            let whole = labels.iter().map(|&label| match label {
                "O" => (Role::Outside, label),
                _ => (Role::Inside, label),
            });
            assert_eq!(read(labels), expected(&whole.collect::<Vec<_>>()), "{labels:?}");
        }
        // A tag that no type has together with another is none, in a list with a scheme too.
        let mixed = read(&["O", "B-PER", "I-PER", "S-Bahn", "W-2", "T-cell"]);
        let names: Vec<&str> = mixed.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["O", "PER", "PER", "S-Bahn", "W-2", "T-cell"]);
    }

    proptest! {
        /// No label of a list without partners loses a letter; with them, each loses its tag and nothing else.
        #[test]
        fn a_label_loses_its_tag_only_beside_a_partner(
            labels in proptest::collection::vec("[BIESLUbies]?[-_]?[a-z0-9]{2,4}", 1..8),
        ) {
            let of_type = |name: &str| {
                let has = |label: &&String| label.len() > 2 && label[2..] == *name;
                labels.iter().filter(has).collect::<HashSet<_>>().len()
            };
            let partners = labels.iter().any(|label| label.len() > 2 && of_type(&label[2..]) > 1);
            let scheme = TagScheme::read(&labels);
            for (id, label) in labels.iter().enumerate() {
                let Tag { name, .. } = scheme.tag(id);
                prop_assert!(name == label || (partners && label[2..] == *name), "{labels:?}: {name}");
            }
        }
    }
}
