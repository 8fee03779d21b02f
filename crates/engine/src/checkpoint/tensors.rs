//! Tensors of a checkpoint: safetensors files, one or sharded, read from disk tensor by tensor.
//!
//! Which tensors a model needs is its architecture's; converting them is a backend's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Metadata;
use serde::Deserialize;

use crate::allocation;
use crate::checkpoint::{Checkpoint, WeightsFile, hints};
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

/// One tensor: its element type, its shape, and where its bytes are.
#[derive(Clone)]
pub struct Tensor {
    /// Element type in the file.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    file: Arc<WeightsFile>,
    range: Range<u64>,
}

/// Bytes that are read from a file at once: few enough to stay in a processor's cache until they are converted.
const PIECE_BYTES: usize = 256 << 10;

impl Tensor {
    /// Returns the size in the file.
    pub fn stored_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Borrows the elements if they are in memory as aligned f32; those of a file on disk never are.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self.dtype {
            Dtype::F32 if cfg!(target_endian = "little") => {
                bytemuck::try_cast_slice(self.in_memory()?).ok()
            }
            _ => None,
        }
    }

    /// Returns the elements as they are stored, little-endian: borrowed from memory, or read from disk.
    ///
    /// # Errors
    /// [`LoadError::Io`] if they cannot be read or the file was written to since it was opened,
    /// [`LoadError::HostMemory`] if there is no room for them.
    pub fn read(&self) -> Result<Cow<'_, [u8]>, LoadError> {
        if let Some(bytes) = self.in_memory() {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut bytes = allocation::zeroed(self.stored_bytes() as usize, "a tensor")?;
        self.file.read_at(self.range.start, &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    /// Reads the elements and converts them to f32.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    pub fn to_f32(&self) -> Result<Vec<f32>, LoadError> {
        fn convert<const N: usize>(bytes: &[u8], to: &mut Vec<f32>, f: impl Fn([u8; N]) -> f32) {
            to.extend(bytes.as_chunks().0.iter().map(|&b| f(b)));
        }
        let elements = self.stored_bytes() as usize / self.dtype.size_bytes();
        let mut floats = allocation::reserve(elements, "the weights")?;
        self.for_each_piece(|bytes| match self.dtype {
            Dtype::F32 => convert(bytes, &mut floats, f32::from_le_bytes),
            Dtype::Bf16 => {
                convert(bytes, &mut floats, |b| half::bf16::from_le_bytes(b).to_f32());
            }
            Dtype::F16 => convert(bytes, &mut floats, |b| half::f16::from_le_bytes(b).to_f32()),
        })?;
        Ok(floats)
    }

    /// Whether another tensor has the same bytes.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    fn has_bytes_of(&self, other: &Tensor) -> Result<bool, LoadError> {
        if self.stored_bytes() != other.stored_bytes() {
            return Ok(false);
        }
        let (mut same, mut at, mut theirs) = (true, other.range.start, vec![0; PIECE_BYTES]);
        self.for_each_piece(|bytes| {
            let theirs = &mut theirs[..bytes.len()];
            same = same && other.file.read_at(at, theirs).is_ok() && bytes == theirs;
            at += bytes.len() as u64;
        })?;
        Ok(same)
    }

    fn in_memory(&self) -> Option<&[u8]> {
        self.file
            .in_memory()
            .map(|bytes| &bytes[self.range.start as usize..self.range.end as usize])
    }

    /// Passes the elements' bytes on in order, in pieces of whole elements.
    fn for_each_piece(&self, mut take: impl FnMut(&[u8])) -> Result<(), LoadError> {
        if let Some(bytes) = self.in_memory() {
            bytes.chunks(PIECE_BYTES).for_each(take);
            return Ok(());
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = self.range.start;
        while at < self.range.end {
            let bytes = &mut piece[..PIECE_BYTES.min((self.range.end - at) as usize)];
            self.file.read_at(at, bytes)?;
            take(bytes);
            at += bytes.len() as u64;
        }
        Ok(())
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
        if let Some(file) = checkpoint.open("model.safetensors")? {
            read_shard(&model, "model.safetensors", file, &mut tensors)?;
        } else if let Some(json) = checkpoint.read("model.safetensors.index.json")? {
            let index = ShardIndex::parse(&json)
                .map_err(|e| bad(format!("model.safetensors.index.json: {e}")))?;
            for shard in index.shards() {
                if shard.contains(['/', '\\']) {
                    return Err(bad(format!("the index names '{shard}', which is not beside it")));
                }
                let file = checkpoint.open(shard)?.ok_or_else(|| {
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
        let Some(bytes) = checkpoint.open(file)? else { return Ok(None) };
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
    ///
    /// # Errors
    /// As [`Tensor::read`].
    pub fn has_decoder_of_its_own(&self) -> Result<bool, LoadError> {
        match (
            self.tensors.get("decoder.weight"),
            self.tensors.get("embeddings.tok_embeddings.weight"),
        ) {
            (Some(decoder), Some(embedding)) => Ok(!decoder.has_bytes_of(embedding)?),
            (decoder, _) => Ok(decoder.is_some()),
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
    file: WeightsFile,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<(), LoadError> {
    let bad = |reason: String| LoadError::Weights { model: model.to_string(), reason };
    let header = read_header(&file)?;
    let metadata: Metadata = match header.get(8..).map(serde_json::from_slice) {
        Some(Ok(metadata)) => metadata,
        unreadable => {
            let why = match unreadable {
                Some(Err(error)) => format!("{error}"),
                _ => format!("{} bytes are too few", file.bytes()),
            };
            let what = hints::other_format(&header, file.bytes()).unwrap_or_else(|| {
                format!("is damaged, truncated or not safetensors ({why}); get it again")
            });
            return Err(bad(format!("{file_name} {what}")));
        }
    };
    let data_start = header.len() as u64;
    let described = data_start + metadata.data_len() as u64;
    if file.bytes() != described {
        return Err(bad(format!(
            "{file_name} has {} bytes, its header describes {described}: it is truncated or damaged; get it again",
            file.bytes(),
        )));
    }
    let file = Arc::new(file);
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
        let (start, end) = info.data_offsets;
        let range = data_start + start as u64..data_start + end as u64;
        let tensor = Tensor { dtype, shape: info.shape.clone(), file: file.clone(), range };
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(bad(format!("tensor {name} is in two shards")));
        }
    }
    Ok(())
}

/// Reads the header and the eight bytes of its length before it. Of a file that is shorter, or whose header is
/// longer than any that safetensors accepts, only the first bytes are read.
fn read_header(file: &WeightsFile) -> Result<Vec<u8>, LoadError> {
    const MAX_HEADER_BYTES: u64 = 100_000_000;
    const RECOGNISED_BYTES: u64 = 64;
    let mut length = [0; 8];
    if file.bytes() >= 8 {
        file.read_at(0, &mut length)?;
    }
    let whole = u64::from_le_bytes(length).saturating_add(8);
    let read = match whole <= file.bytes().min(8 + MAX_HEADER_BYTES) {
        true => whole,
        false => file.bytes().min(RECOGNISED_BYTES),
    };
    let mut header = allocation::zeroed(read as usize, "the header of the weights")?;
    file.read_at(0, &mut header)?;
    Ok(header)
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
