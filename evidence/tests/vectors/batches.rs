//! Batch trees: roots, inclusion paths.

use evidence::tree::TreeError;
use evidence::{Hash, batch};
use serde::Serialize;

use crate::form::{Text, numbered_leaves, texts, tree_sizes};

#[derive(Serialize)]
pub(crate) struct Vectors {
    empty_root: Text,
    roots: Vec<Root>,
    inclusion: Vec<Inclusion>,
    refused_inclusion: Vec<RefusedInclusion>,
}

#[derive(Serialize)]
pub(crate) struct Root {
    pub(crate) size: Text,
    pub(crate) root: Text,
}

/// A claim that a leaf is in a tree, with its path.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) leaf: Hash,
    pub(crate) index: u64,
    pub(crate) size: u64,
    pub(crate) path: Vec<Hash>,
    pub(crate) root: Hash,
}

#[derive(Serialize)]
pub(crate) struct Inclusion {
    leaf: Text,
    index: Text,
    size: Text,
    path: Vec<Text>,
    root: Text,
}

#[derive(Serialize)]
pub(crate) struct RefusedInclusion {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) inclusion: Inclusion,
    pub(crate) code: &'static str,
}

impl From<&Claim> for Inclusion {
    fn from(Claim { leaf, index, size, path, root }: &Claim) -> Self {
        Self { leaf: leaf.into(), index: index.into(), size: size.into(), path: texts(path), root: root.into() }
    }
}

pub(crate) fn tree_code(error: &TreeError) -> &'static str {
    match error {
        TreeError::OutOfRange { .. } => "out-of-range",
        TreeError::WrongLength { .. } => "wrong-length",
        TreeError::WrongRoot { .. } => "wrong-root",
        TreeError::Gap { .. } => unreachable!("proofs are not made of ranges"),
    }
}

pub(crate) fn vectors() -> Vectors {
    let leaves = numbered_leaves(tree_sizes().max().expect("some sizes"));
    let roots = tree_sizes()
        .map(|size| Root { size: size.into(), root: batch::root(&leaves[..size as usize]).into() })
        .collect();
    let claims: Vec<Claim> = inclusion_cases().map(|(index, size)| claim(&leaves, index, size)).collect();
    for Claim { leaf, index, size, path, root } in &claims {
        assert_eq!(batch::verify(leaf, *index, *size, path, root), Ok(()));
    }
    let refused = bad_claims(&claim(&leaves, 4, 7), &leaves)
        .into_iter()
        .map(|(name, claim, code)| {
            let Claim { leaf, index, size, path, root } = &claim;
            let error = batch::verify(leaf, *index, *size, path, root).expect_err(name);
            assert_eq!(tree_code(&error), code, "{name}");
            RefusedInclusion { name, inclusion: (&claim).into(), code }
        })
        .collect();
    Vectors {
        empty_root: batch::empty_root().into(),
        roots,
        inclusion: claims.iter().map(Inclusion::from).collect(),
        refused_inclusion: refused,
    }
}

fn claim(leaves: &[Hash], index: u64, size: u64) -> Claim {
    let leaves = &leaves[..size as usize];
    let path = batch::prove(leaves, index as usize);
    Claim { leaf: leaves[index as usize], index, size, path, root: batch::root(leaves) }
}

/// Every leaf of small trees, and the edges of larger ones.
pub(crate) fn inclusion_cases() -> impl Iterator<Item = (u64, u64)> {
    let small = (1..=9).flat_map(|size| (0..size).map(move |index| (index, size)));
    let edges = [63, 64, 65, 130, 1023, 1024, 1025]
        .into_iter()
        .flat_map(|size| [0, 1, size / 2, size - 2, size - 1].map(|index| (index, size)));
    small.chain(edges)
}

/// What must not verify, made from a good claim for leaf 4 of 7.
pub(crate) fn bad_claims(good: &Claim, leaves: &[Hash]) -> Vec<(&'static str, Claim, &'static str)> {
    assert_eq!((good.index, good.size, good.path.len()), (4, 7, 3));
    let changed = |change: &dyn Fn(&mut Claim)| {
        let mut claim = good.clone();
        change(&mut claim);
        claim
    };
    vec![
        ("another leaf", changed(&|c| c.leaf = leaves[5]), "wrong-root"),
        ("another root", changed(&|c| c.root = leaves[5]), "wrong-root"),
        ("another index with a path as long", changed(&|c| c.index = 5), "wrong-root"),
        ("another index with a shorter path", changed(&|c| c.index = 6), "wrong-length"),
        ("another size with a longer path", changed(&|c| c.size = 9), "wrong-length"),
        ("an index beyond the size", changed(&|c| c.index = 7), "out-of-range"),
        ("a tree without leaves", changed(&|c| (c.index, c.size) = (0, 0)), "out-of-range"),
        ("a hash missing at the leaf", changed(&|c| c.path = c.path[1..].to_vec()), "wrong-length"),
        ("a hash missing at the root", changed(&|c| c.path.truncate(2)), "wrong-length"),
        ("a hash too many at the root", changed(&|c| c.path.push(c.path[0])), "wrong-length"),
        ("a hash too many at the leaf", changed(&|c| c.path.insert(0, c.leaf)), "wrong-length"),
        ("two hashes swapped", changed(&|c| c.path.swap(0, 1)), "wrong-root"),
        ("a changed hash", changed(&|c| c.path[2].0[31] ^= 1), "wrong-root"),
        (
            "the root as the leaf of a tree of one",
            changed(&|c| (c.leaf, c.index, c.size) = (c.root, 0, 1)),
            "wrong-length",
        ),
    ]
}
