//! Tensors of PyTorch's files: what is said of them, and their numbers.

use super::pickle::{Place, Value, Values};
use candle_core::{Device, Tensor};

/// A value, or what is wrong.
type Result<T> = std::result::Result<T, String>;

/// Numbers that lie in one piece.
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    kind: Kind,
    pub(super) numbers: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 => 1,
        }
    }
}

impl<'a> Storage<'a> {
    /// The one that the file says is `id`.
    pub(super) fn new(values: &'a Values, id: Place) -> Result<Self> {
        let parts = match values.get(id) {
            Value::Tuple(parts) if parts.len() >= 5 => parts,
            _ => return Err("a storage that is not described".to_owned()),
        };
        let [class, key, numbers] = [1, 2, 4].map(|part| values.get(parts[part]));
        let (Value::Global(class), Value::Text(key), &Value::Int(numbers)) = (class, key, numbers) else {
            return Err("a storage that is not described".to_owned());
        };
        let kind = match class.rsplit('.').next().unwrap_or_default() {
            "DoubleStorage" => Kind::F64,
            "FloatStorage" => Kind::F32,
            "HalfStorage" => Kind::F16,
            "BFloat16Storage" => Kind::Bf16,
            "LongStorage" => Kind::I64,
            "IntStorage" => Kind::I32,
            "ShortStorage" => Kind::I16,
            "CharStorage" => Kind::I8,
            "ByteStorage" | "BoolStorage" => Kind::U8,
            other => return Err(format!("numbers of the kind {other}: save them as float32")),
        };
        // Views of storages went out of use with PyTorch 0.1.
        if parts.get(5).is_some_and(|&view| !matches!(values.get(view), Value::Other)) {
            return Err("a view of a storage: save it with a newer PyTorch".to_owned());
        }
        let numbers = u64::try_from(numbers).map_err(|_| "a storage of less than no numbers".to_owned())?;
        Ok(Self { key, kind, numbers })
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> Result<u64> {
        self.numbers.checked_mul(self.kind.size() as u64).ok_or_else(|| "a storage beyond all bounds".to_owned())
    }
}

/// The arguments of the call that would make a tensor of `place`.
fn rebuilt(values: &Values, mut place: Place) -> Option<&[Place]> {
    // A parameter is a tensor within; so is one of a class of its own.
    for _ in 0..3 {
        let Value::Call { of, args } = values.get(place) else { return None };
        let (Value::Global(of), Value::Tuple(args)) = (values.get(*of), values.get(*args)) else { return None };
        match of.as_str() {
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => return Some(args),
            "torch._utils._rebuild_parameter" => place = *args.first()?,
            "torch._tensor._rebuild_from_type_v2" => {
                let (Value::Global(of), Value::Tuple(args)) = (values.get(*args.first()?), values.get(*args.get(2)?))
                else {
                    return None;
                };
                return of.starts_with("torch._utils._rebuild_tensor").then_some(args.as_slice());
            }
            _ => return None,
        }
    }
    None
}

/// A tensor that is still to be read.
pub(super) struct Described<'a> {
    pub(super) storage: Storage<'a>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'a> Described<'a> {
    /// The one at `place`; none, if that is no tensor.
    pub(super) fn new(values: &'a Values, place: Place) -> Result<Option<Self>> {
        let damaged = || "a tensor that is not described".to_owned();
        let Some(args) = rebuilt(values, place) else { return Ok(None) };
        if args.len() < 4 {
            return Err(damaged());
        }
        let whole = |place: Place| match values.get(place) {
            Value::Int(number) => usize::try_from(*number).map_err(|_| damaged()),
            _ => Err(damaged()),
        };
        let wholes = |place: Place| match values.get(place) {
            Value::Tuple(places) => places.iter().map(|&place| whole(place)).collect::<Result<_>>(),
            _ => Err(damaged()),
        };
        let Value::Persistent(id) = values.get(args[0]) else { return Err(damaged()) };
        let (shape, strides): (Vec<usize>, Vec<usize>) = (wholes(args[2])?, wholes(args[3])?);
        if shape.len() != strides.len() {
            return Err(damaged());
        }
        Ok(Some(Self { storage: Storage::new(values, *id)?, offset: whole(args[1])?, shape, strides }))
    }

    /// The tensor, of a storage with these `bytes`.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Tensor> {
        let outside = || format!("{:?} numbers lie outside of their storage: bring the file anew", self.shape);
        let size = self.storage.kind.size();
        let there = bytes.len() / size;
        let count = self.shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n)).ok_or_else(outside)?;
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (&n, &stride)| {
            n.saturating_sub(1).checked_mul(stride).and_then(|step| last.checked_add(step))
        });
        // A number that stands for many would make a small file fill the memory.
        if count > there || (count > 0 && last.is_none_or(|last| last >= there)) {
            return Err(outside());
        }
        let mut numbers = Vec::with_capacity(count);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..count {
            let place = self.offset + index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum::<usize>();
            numbers.push(number(self.storage.kind, &bytes[place * size..]));
            for (i, &n) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
        Tensor::from_vec(numbers, self.shape.as_slice(), &Device::Cpu).map_err(|error| error.to_string())
    }
}

/// The number at the start of `bytes`.
fn number(kind: Kind, bytes: &[u8]) -> f32 {
    let half = || [bytes[0], bytes[1]];
    let word = || [bytes[0], bytes[1], bytes[2], bytes[3]];
    let long = || std::array::from_fn(|i| bytes[i]);
    match kind {
        Kind::F64 => f64::from_le_bytes(long()) as f32,
        Kind::F32 => f32::from_le_bytes(word()),
        Kind::F16 => half::f16::from_le_bytes(half()).to_f32(),
        Kind::Bf16 => half::bf16::from_le_bytes(half()).to_f32(),
        Kind::I64 => i64::from_le_bytes(long()) as f32,
        Kind::I32 => i32::from_le_bytes(word()) as f32,
        Kind::I16 => i16::from_le_bytes(half()).into(),
        Kind::I8 => i8::from_le_bytes([bytes[0]]).into(),
        Kind::U8 => bytes[0].into(),
    }
}
