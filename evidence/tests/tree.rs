//! The SHA-256 tree against its definition in RFC 6962 and against an independent implementation.

use std::collections::HashMap;
use std::ops::Range;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use evidence::Hash;
use evidence::tree::*;
use proptest::prelude::*;

const EXHAUSTIVE: u64 = 130;

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

/// MTH of RFC 6962 section 2.1, word for word, remembering the subtrees.
#[derive(Default)]
struct Definition(HashMap<Range<u64>, Hash>);

impl Definition {
    fn hash(&mut self, range: Range<u64>) -> Hash {
        if let Some(hash) = self.0.get(&range) {
            return *hash;
        }
        let hash = match range.end - range.start {
            0 => empty_root(),
            1 => leaf(range.start),
            n => {
                let middle = range.start + n.next_power_of_two() / 2;
                node_hash(&self.hash(range.start..middle), &self.hash(middle..range.end))
            }
        };
        self.0.insert(range, hash);
        hash
    }

    fn root(&mut self, size: u64) -> Hash {
        self.hash(0..size)
    }

    /// What a prover gets when it folds each group of nodes.
    fn prove(&mut self, groups: Vec<Vec<Node>>) -> Vec<Hash> {
        groups.into_iter().map(|g| self.hash(g[0].range().start..g[g.len() - 1].range().end)).collect()
    }

    fn inclusion(&mut self, index: u64, size: u64) -> Vec<Hash> {
        self.prove(inclusion_nodes(index, size).expect("a leaf of the tree"))
    }

    fn consistency(&mut self, old: u64, new: u64) -> Vec<Hash> {
        self.prove(consistency_nodes(old, new).expect("older first"))
    }

    fn compact(&mut self, range: Range<u64>) -> Vec<Hash> {
        decompose(range).into_iter().map(|node| self.hash(node.range())).collect()
    }
}

fn oracle(size: u64) -> MemoryBackedTree<sha2::Sha256, [u8; 8]> {
    let mut tree = MemoryBackedTree::new();
    for index in 0..size {
        tree.push(index.to_be_bytes());
    }
    tree
}

#[test]
fn appending_reports_subtrees_and_the_defined_root() {
    let mut definition = Definition::default();
    let mut range = CompactRange::starting_at(0);
    let mut reported = Vec::new();
    for size in 0..=EXHAUSTIVE * 4 {
        assert_eq!(range.root(), definition.root(size), "size {size}");
        assert_eq!(range.end(), size);
        let hashes: Vec<Hash> = range.nodes().iter().map(|(_, hash)| *hash).collect();
        assert_eq!(hashes, definition.compact(0..size));
        assert_eq!(CompactRange::resume(0..size, &hashes), Ok(range.clone()));
        range.push_leaf_with(leaf(size), |node, hash| reported.push((node, hash)));
    }
    for (node, hash) in &reported {
        assert_eq!(*hash, definition.hash(node.range()));
    }
    let mut expected: Vec<Node> = (0..10)
        .flat_map(|level| (0..).map(move |index| Node { level, index }).take_while(|n| n.range().end <= range.end()))
        .collect();
    let mut found: Vec<Node> = reported.iter().map(|(node, _)| *node).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "each complete subtree once");
}

#[test]
fn roots_and_proofs_match_an_independent_implementation() {
    let mut definition = Definition::default();
    for size in 1..=EXHAUSTIVE {
        let tree = oracle(size);
        assert_eq!(&definition.root(size).0, <&[u8; 32]>::try_from(tree.root().as_bytes().as_slice()).expect("32"));
        for index in 0..size {
            let expected = tree.prove_inclusion(index as usize);
            assert_eq!(bytes(&definition.inclusion(index, size)), expected.as_bytes(), "{index} in {size}");
        }
        for old in 1..size {
            let expected = tree.prove_consistency((size - old) as usize);
            assert_eq!(bytes(&definition.consistency(old, size)), expected.as_bytes(), "{old} to {size}");
        }
    }
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn inclusion_proof_binds_leaf_length_order_and_root() {
    let mut definition = Definition::default();
    for size in 1..=EXHAUSTIVE {
        let root = definition.root(size);
        for index in 0..size {
            let path = definition.inclusion(index, size);
            assert_eq!(verify_inclusion(&leaf(index), index, size, &path, &root), Ok(()));
            let verify = |path: &[Hash]| verify_inclusion(&leaf(index), index, size, path, &root);
            for changed in corruptions(&path) {
                assert!(verify(&changed).is_err(), "{index} in {size}: {changed:?}");
            }
            assert!(verify_inclusion(&leaf(index + 1), index, size, &path, &root).is_err());
            assert!(verify_inclusion(&leaf(index), index, size, &path, &definition.root(size + 1)).is_err());
        }
    }
}

#[test]
fn inclusion_proof_is_refused_for_another_index() {
    let mut definition = Definition::default();
    for size in 1..=EXHAUSTIVE {
        let root = definition.root(size);
        for index in 0..size {
            let path = definition.inclusion(index, size);
            for other in (0..size + 3).filter(|other| *other != index) {
                assert!(
                    verify_inclusion(&leaf(index), other, size, &path, &root).is_err(),
                    "{index} as {other} of {size}"
                );
            }
        }
    }
}

#[test]
fn consistency_proof_binds_both_roots() {
    let mut definition = Definition::default();
    for new in 0..=EXHAUSTIVE {
        for old in 0..=new {
            let (old_root, new_root) = (definition.root(old), definition.root(new));
            let path = definition.consistency(old, new);
            assert_eq!(verify_consistency(old, &old_root, new, &new_root, &path), Ok(()), "{old} to {new}");
            for changed in corruptions(&path) {
                assert!(verify_consistency(old, &old_root, new, &new_root, &changed).is_err(), "{old} to {new}");
            }
            let other = leaf(u64::MAX);
            assert!(verify_consistency(old, &other, new, &new_root, &path).is_err(), "{old} to {new}");
            // The empty tree begins every tree, so every root is consistent with it.
            assert_eq!(verify_consistency(old, &old_root, new, &other, &path).is_ok(), old == 0 && new > 0);
            assert!(verify_consistency(new, &new_root, old, &old_root, &path).is_err() || old == new);
        }
    }
}

#[test]
fn a_fork_is_not_consistent() {
    let mut honest = Definition::default();
    for new in 2..=EXHAUSTIVE {
        for old in 1..new {
            // A tree whose last old leaf differs, proven as well as it can be.
            let mut forged = Definition(HashMap::from([(old - 1..old, leaf(u64::MAX))]));
            let (root, path) = (forged.root(new), forged.consistency(old, new));
            assert_eq!(verify_consistency(old, &forged.root(old), new, &root, &path), Ok(()));
            assert!(verify_consistency(old, &honest.root(old), new, &root, &path).is_err(), "{old} to {new}");
        }
    }
}

/// One hash less or more at every place, every neighbouring pair swapped, every hash with a bit flipped.
fn corruptions(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for i in 0..path.len() {
        let mut shorter = path.to_vec();
        shorter.remove(i);
        all.push(shorter);
        let mut flipped = path.to_vec();
        flipped[i].0[31] ^= 1;
        all.push(flipped);
    }
    for i in 0..=path.len() {
        let mut longer = path.to_vec();
        longer.insert(i, *path.first().unwrap_or(&empty_root()));
        all.push(longer);
    }
    for i in 1..path.len() {
        let mut swapped = path.to_vec();
        swapped.swap(i - 1, i);
        all.push(swapped);
    }
    all
}

#[test]
fn claims_out_of_range_are_refused() {
    let root = empty_root();
    let out_of_range = |result: Result<(), TreeError>| matches!(result, Err(TreeError::OutOfRange { .. }));
    assert!(out_of_range(verify_inclusion(&root, 0, 0, &[], &root)));
    assert!(out_of_range(verify_inclusion(&root, 1, 1, &[], &root)));
    assert!(out_of_range(verify_inclusion(&root, u64::MAX, SIZE_MAX, &[root; 63], &root)));
    assert!(out_of_range(verify_inclusion(&root, 0, SIZE_MAX + 1, &[root; 64], &root)));
    assert!(out_of_range(verify_consistency(2, &root, 1, &root, &[])));
    assert!(out_of_range(verify_consistency(1, &root, SIZE_MAX + 1, &root, &[root; 64])));
    assert!(inclusion_nodes(0, 0).is_err());
    assert!(inclusion_nodes(0, u64::MAX).is_err());
    assert!(consistency_nodes(2, 1).is_err());
    assert!(consistency_nodes(0, u64::MAX).is_err());
    assert!(CompactRange::resume(0..u64::MAX, &[root; 64]).is_err());
}

#[test]
fn the_empty_tree_has_one_root() {
    let other = leaf(0);
    assert_eq!(verify_consistency(0, &empty_root(), 0, &empty_root(), &[]), Ok(()));
    assert!(verify_consistency(0, &other, 0, &other, &[]).is_err());
    assert!(verify_consistency(0, &other, 1, &other, &[]).is_err());
    assert!(verify_consistency(0, &empty_root(), 1, &other, &[other]).is_err());
}

#[test]
fn run_folds_between_the_nodes_beside_it() {
    let mut definition = Definition::default();
    for size in 1..=40 {
        let root = definition.root(size);
        for first in 0..size {
            for last in first..=size {
                let (left, right) = (definition.compact(0..first), definition.compact(last..size));
                let fold = |left: &[Hash], right: &[Hash], leaf: &dyn Fn(u64) -> Hash| {
                    let mut range = CompactRange::resume(0..first, left)?;
                    (first..last).for_each(|index| range.push_leaf(leaf(index)));
                    range.extend(size, right)?;
                    Ok::<_, TreeError>(range.root())
                };
                assert_eq!(fold(&left, &right, &leaf), Ok(root), "{first}..{last} of {size}");
                for at in first..last {
                    let altered = |index| if index == at { leaf(SIZE_MAX) } else { leaf(index) };
                    assert_ne!(fold(&left, &right, &altered), Ok(root), "{at} in {first}..{last} of {size}");
                }
                let surplus = |hashes: &[Hash]| [hashes, &[root]].concat();
                assert!(matches!(fold(&surplus(&left), &right, &leaf), Err(TreeError::WrongLength { .. })));
                assert!(matches!(fold(&left, &surplus(&right), &leaf), Err(TreeError::WrongLength { .. })));
            }
        }
    }
}

#[test]
fn ranges_join_only_where_they_meet() {
    let mut definition = Definition::default();
    for end in 0..=40 {
        for middle in 0..=end {
            for begin in 0..=middle {
                let part = |range: Range<u64>, definition: &mut Definition| {
                    CompactRange::resume(range.clone(), &definition.compact(range)).expect("its own nodes")
                };
                let mut joined = part(begin..middle, &mut definition);
                let right = part(middle..end, &mut definition);
                joined.append(&right).expect("they meet");
                assert_eq!(joined, part(begin..end, &mut definition));
                assert_eq!((joined.begin(), joined.end()), (begin, end));
                let before = joined.clone();
                assert!(joined.append(&right).is_err() || middle == end);
                assert_eq!(joined, before);
            }
        }
    }
}

#[test]
fn subtree_is_pushed_only_at_the_end() {
    let mut range = CompactRange::starting_at(0);
    let hash = leaf(0);
    range.push(Node { level: 3, index: 0 }, hash).expect("it follows");
    for node in [
        Node::leaf(7),
        Node::leaf(9),
        Node { level: 3, index: 0 },
        Node { level: 3, index: 2 },
        Node { level: 63, index: 0 },
        Node { level: 255, index: 0 },
        Node::leaf(u64::MAX),
    ] {
        assert!(range.push(node, hash).is_err(), "{node:?}");
        assert_eq!(range.end(), 8);
    }
    // The last subtree that a tree can have of a level is not at the end of the range. There is none after it.
    for level in [0, 4, 40] {
        let last = Node { level, index: (SIZE_MAX >> level) - 1 };
        assert!(matches!(range.push(last, hash), Err(TreeError::Gap { .. })), "level {level}");
        let none = Node { index: last.index + 1, ..last };
        assert!(matches!(range.push(none, hash), Err(TreeError::OutOfRange { .. })), "level {level}");
    }
    assert!(matches!(range.extend(7, &[]), Err(TreeError::OutOfRange { .. })), "backwards");
    assert!(matches!(range.extend(u64::MAX, &[hash; 61]), Err(TreeError::OutOfRange { .. })), "beyond every tree");
    assert_eq!(range.extend(8, &[]), Ok(()));
    range.push(Node { level: 3, index: 1 }, hash).expect("it follows");
    assert_eq!(range.nodes(), [(Node { level: 4, index: 0 }, node_hash(&hash, &hash))]);
}

/// A tree too large to build, in which all leaves are alike: a complete subtree has one hash for each height.
struct Uniform(Vec<Hash>);

impl Uniform {
    fn new() -> Self {
        let heights = std::iter::successors(Some(leaf(0)), |hash| Some(node_hash(hash, hash)));
        Self(heights.take(64).collect())
    }

    fn compact(&self, range: Range<u64>) -> Vec<Hash> {
        decompose(range).iter().map(|node| self.0[usize::from(node.level)]).collect()
    }

    fn hash(&self, nodes: &[Node]) -> Hash {
        let hashes = nodes.iter().map(|node| self.0[usize::from(node.level)]);
        hashes.rev().reduce(|right, left| node_hash(&left, &right)).expect("not empty")
    }

    fn root(&self, size: u64) -> Hash {
        CompactRange::resume(0..size, &self.compact(0..size)).expect("its own nodes").root()
    }

    fn prove(&self, groups: Vec<Vec<Node>>) -> Vec<Hash> {
        groups.iter().map(|group| self.hash(group)).collect()
    }
}

fn size_and_below() -> impl Strategy<Value = (u64, u64)> {
    (0..63_u32, any::<u64>(), any::<u64>()).prop_map(|(shift, size, below)| {
        let size = ((size & SIZE_MAX) >> shift).max(1);
        (size, below % size)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn proofs_in_large_trees_verify((size, below) in size_and_below()) {
        let uniform = Uniform::new();
        let root = uniform.root(size);
        let path = uniform.prove(inclusion_nodes(below, size).expect("a leaf"));
        prop_assert_eq!(verify_inclusion(&leaf(0), below, size, &path, &root), Ok(()));
        prop_assert!(verify_inclusion(&leaf(1), below, size, &path, &root).is_err());

        let path = uniform.prove(consistency_nodes(below, size).expect("older first"));
        let old_root = uniform.root(below);
        prop_assert_eq!(verify_consistency(below, &old_root, size, &root, &path), Ok(()));
        prop_assert!(verify_consistency(below, &leaf(1), size, &root, &path).is_err());

        let mut range = CompactRange::resume(0..below, &uniform.compact(0..below)).expect("its own nodes");
        range.push_leaf(leaf(0));
        range.extend(size, &uniform.compact(below + 1..size)).expect("its own nodes");
        prop_assert_eq!(range.root(), root);
    }
}
