//! Tensors of a checkpoint: safetensors files, one or sharded, mapped from disk.
//!
//! Which tensors a model needs is its architecture's; converting them is a backend's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::Deserialize;

use crate::checkpoint::{Checkpoint, FileBytes, hints};
use crate::dtype::Dtype;
use crate::error::LoadError;

/// All tensors of a checkpoint by name, without the prefixes that only some checkpoints have: `model.`, and those
/// of wrappers such as `torch.compile`'s.
pub struct Weights {
    model: String,
    tensors: BTreeMap<String, Tensor>,
}

/// Name and shape of a tensor that a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Without prefixes.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One tensor: its element type, its shape, and its bytes in a mapped file.
#[derive(Clone)]
pub struct Tensor {
    /// Element type in the file.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    file: Arc<FileBytes>,
    range: Range<usize>,
}

impl Tensor {
    /// Returns the elements as they are stored, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// Borrows the elements if they are stored as aligned f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self.dtype {
            Dtype::F32 if cfg!(target_endian = "little") => {
                bytemuck::try_cast_slice(self.bytes()).ok()
            }
            _ => None,
        }
    }

    /// Converts the elements to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        fn convert<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|&b| f(b)).collect()
        }
        match self.dtype {
            Dtype::F32 => convert(self.bytes(), f32::from_le_bytes),
            Dtype::Bf16 => convert(self.bytes(), |b| half::bf16::from_le_bytes(b).to_f32()),
            Dtype::F16 => convert(self.bytes(), |b| half::f16::from_le_bytes(b).to_f32()),
        }
    }
}

/// `model.safetensors.index.json`: which file each tensor is in.
#[derive(Deserialize)]
pub(super) struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    pub(super) fn parse(json: &[u8]) -> Result<ShardIndex, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Returns the name of each file once, in order.
    pub(super) fn shards(&self) -> BTreeSet<&String> {
        self.weight_map.values().collect()
    }
}

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`LoadError::Weights`] for a missing, damaged or truncated file, an element type other than f32,
    /// f16 and bf16, an index that disagrees with its shards, or two tensors that are one in the model.
    pub fn open(checkpoint: &Checkpoint) -> Result<Weights, LoadError> {
        let model = checkpoint.name().to_string();
        let bad = |reason: String| LoadError::Weights { model: model.clone(), reason };
        let mut tensors = BTreeMap::new();
        if let Some(file) = checkpoint.map("model.safetensors")? {
            read_shard(&model, "model.safetensors", file, &mut tensors)?;
        } else if let Some(json) = checkpoint.read("model.safetensors.index.json")? {
            let index = ShardIndex::parse(&json)
                .map_err(|e| bad(format!("model.safetensors.index.json: {e}")))?;
            for shard in index.shards() {
                if shard.contains(['/', '\\']) {
                    return Err(bad(format!("the index names '{shard}', which is not beside it")));
                }
                let file = checkpoint.map(shard)?.ok_or_else(|| {
                    bad(format!("the index names {shard}, which is missing: get that file too"))
                })?;
                read_shard(&model, shard, file, &mut tensors)?;
            }
            if let Some(name) = index.weight_map.keys().find(|name| !tensors.contains_key(*name)) {
                return Err(bad(format!("the index names tensor {name}, which no shard has")));
            }
        } else {
            return Err(bad(checkpoint.explain_absence("model.safetensors")));
        }
        Ok(Weights { tensors: without_prefixes(tensors).map_err(bad)?, model })
    }

    /// Opens one safetensors file, such as that of a module beside the model; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn open_file(checkpoint: &Checkpoint, file: &str) -> Result<Option<Weights>, LoadError> {
        let Some(bytes) = checkpoint.map(file)? else { return Ok(None) };
        let model = format!("{} in {file}", checkpoint.name());
        let mut tensors = BTreeMap::new();
        read_shard(&model, file, bytes, &mut tensors)?;
        Ok(Some(Weights { model, tensors }))
    }

    /// Returns the tensor of this name, which must have exactly this shape.
    ///
    /// # Errors
    /// [`LoadError::Weights`] if it is missing or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, LoadError> {
        let bad = |reason: String| LoadError::Weights { model: self.model.clone(), reason };
        let tensor =
            self.tensors.get(name).ok_or_else(|| bad(format!("tensor {name} is missing")))?;
        if tensor.shape != shape {
            return Err(bad(format!(
                "tensor {name} has shape {:?}, the config asks for {shape:?}",
                tensor.shape
            )));
        }
        Ok(tensor)
    }

    /// Returns the outermost dimension of a tensor: of the classifier, the number of labels.
    pub fn rows_of(&self, name: &str) -> Option<usize> {
        self.tensors.get(name).and_then(|tensor| tensor.shape.first().copied())
    }

    /// Whether there is a decoder that is not a copy of the embedding.
    pub fn has_decoder_of_its_own(&self) -> bool {
        match (
            self.tensors.get("decoder.weight"),
            self.tensors.get("embeddings.tok_embeddings.weight"),
        ) {
            (Some(decoder), Some(embedding)) => decoder.bytes() != embedding.bytes(),
            (decoder, _) => decoder.is_some(),
        }
    }

    /// Iterates over all tensors in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

fn read_shard(
    model: &str,
    file_name: &str,
    file: FileBytes,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<(), LoadError> {
    let bad = |reason: String| LoadError::Weights { model: model.to_string(), reason };
    let file = Arc::new(file);
    let (header_bytes, metadata) = SafeTensors::read_metadata(&file).map_err(|e| {
        let what = hints::other_format(&file).unwrap_or_else(|| {
            format!("is damaged, truncated or not safetensors ({e:?}); get it again")
        });
        bad(format!("{file_name} {what}"))
    })?;
    let data_start = header_bytes + size_of::<u64>();
    let data_bytes = metadata.data_len();
    if file.len() != data_start + data_bytes {
        return Err(bad(format!(
            "{file_name} has {} bytes, its header describes {}: it is truncated or damaged; get it again",
            file.len(),
            data_start + data_bytes
        )));
    }
    for (name, info) in metadata.tensors() {
        let dtype = match info.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            safetensors::Dtype::F16 => Dtype::F16,
            other => {
                return Err(bad(format!(
                    "tensor {name} in {file_name} is {other:?}; known are F32, F16 and BF16, so get \
                     the model in one of these"
                )));
            }
        };
        let range = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
        let tensor = Tensor { dtype, shape: info.shape.clone(), file: file.clone(), range };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(bad(format!("tensor {name} is in two shards")));
        }
    }
    Ok(())
}

/// Names each tensor as the model does. Beside `model.`, which `transformers` adds and removes as it needs, that
/// takes off the names of modules that training wraps around the model or around parts of it.
fn without_prefixes(tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>, String> {
    const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
    let bare = |name: &str| {
        let parts = name.split('.').filter(|part| !WRAPPERS.contains(part));
        parts.skip_while(|part| ["model", "module"].contains(part)).collect::<Vec<_>>().join(".")
    };
    let mut named = BTreeMap::new();
    let mut stored = BTreeMap::new();
    for (name, tensor) in tensors {
        let bare = bare(&name);
        if let Some(other) = stored.insert(bare.clone(), name.clone()) {
            return Err(format!(
                "tensors {other} and {name} are both {bare} of the model; remove one"
            ));
        }
        named.insert(bare, tensor);
    }
    Ok(named)
}
