//! Python's pickles, as far as files of PyTorch need them: values are built, nothing is called.
//!
//! After CPython's `Lib/pickletools.py`, which says what each code does. candle's own reader prints what it does not understand,
//! and some damaged files make it panic. Values lie in one vector and name each other by place, so that no file, however deeply
//! it nests, makes a recursion.

use std::collections::HashMap;
use std::io::Read;

/// The place of a value.
pub(super) type Place = usize;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    Dict(Vec<(Place, Place)>),
    /// A class or function, e.g. `torch.FloatStorage`.
    Global(String),
    /// What a call would give.
    Call {
        of: Place,
        args: Place,
    },
    /// What lies elsewhere in the file.
    Persistent(Place),
    /// Nothing that weights need: no value, yes and no, numbers with a point, bytes.
    Other,
}

type Result<T> = std::result::Result<T, String>;

/// All values of pickles that were read.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<Value>);

impl Values {
    pub(super) fn get(&self, place: Place) -> &Value {
        // Places come from `add` only, and nothing is taken away.
        &self.0[place]
    }

    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    fn add(&mut self, value: Value) -> Place {
        self.0.push(value);
        self.0.len() - 1
    }

    /// Reads one pickle, to its end and no further.
    pub(super) fn read(&mut self, from: &mut impl Read) -> Result<Place> {
        let mut machine = Machine { values: self, from, stack: vec![], marks: vec![], memo: HashMap::new() };
        loop {
            if let Some(result) = machine.step()? {
                return Ok(result);
            }
        }
    }
}

struct Machine<'a, R> {
    values: &'a mut Values,
    from: &'a mut R,
    stack: Vec<Place>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Place>,
}

impl<R: Read> Machine<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|error| format!("a pickle that breaks off: {error}"))?;
        Ok(bytes)
    }

    /// A number of `N` bytes, without a sign.
    fn count<const N: usize>(&mut self) -> Result<u64> {
        let bytes: [u8; N] = self.bytes()?;
        Ok(bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// So many bytes. What a damaged file promises is not reserved before it is there.
    fn many(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        let read = self.from.by_ref().take(count).read_to_end(&mut bytes);
        if read.map_err(|error| error.to_string())? as u64 != count {
            return Err("a pickle that breaks off".to_owned());
        }
        Ok(bytes)
    }

    fn text(&mut self, count: u64) -> Result<Value> {
        Ok(Value::Text(String::from_utf8_lossy(&self.many(count)?).into_owned()))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = vec![];
        loop {
            match self.bytes::<1>()?[0] {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                byte => line.push(byte),
            }
        }
    }

    /// A whole number of so many bytes with a sign; of longer ones the low end, which nothing here asks for.
    fn long(&mut self, count: u64) -> Result<Value> {
        let bytes = self.many(count)?;
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole.iter_mut().zip(&bytes).for_each(|(to, &byte)| *to = byte);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn push(&mut self, value: Value) {
        let place = self.values.add(value);
        self.stack.push(place);
    }

    fn pop(&mut self) -> Result<Place> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("a pickle that takes what is not there".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a pickle that takes what is not there".to_owned())
    }

    fn pop_some(&mut self, count: usize) -> Result<Vec<Place>> {
        let mut some = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        some.reverse();
        Ok(some)
    }

    /// What is above the last mark.
    fn pop_marked(&mut self) -> Result<Vec<Place>> {
        let mark = self.marks.pop().ok_or("a pickle without its mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&self) -> Result<Place> {
        self.stack.last().copied().ok_or_else(|| "a pickle that asks what is not there".to_owned())
    }

    /// Adds to the list or table on top; into objects of other kinds nothing is put, for nothing asks them.
    fn extend(&mut self, items: Vec<Place>) -> Result<()> {
        let top = self.top()?;
        match &mut self.values.0[top] {
            Value::List(list) => list.extend(items),
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let args = self.pop()?;
        let of = self.pop()?;
        let is_dict = matches!(self.values.get(of), Value::Global(name) if name == "collections.OrderedDict"
            || name == "collections.defaultdict");
        self.push(if is_dict { Value::Dict(vec![]) } else { Value::Call { of, args } });
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let place = *self.memo.get(&key).ok_or("a pickle that recalls what it has not kept")?;
        self.stack.push(place);
        Ok(())
    }

    fn keep(&mut self, key: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    /// One code; the result at the end.
    fn step(&mut self) -> Result<Option<Place>> {
        match self.bytes::<1>()?[0] {
            0x80 => drop(self.bytes::<1>()?),
            0x95 => drop(self.bytes::<8>()?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => {
                self.bytes::<8>()?;
                self.push(Value::Other);
            }
            b'J' => {
                let number = i32::from_le_bytes(self.bytes()?);
                self.push(Value::Int(number.into()));
            }
            code @ (b'K' | b'M') => {
                let number = if code == b'K' { self.count::<1>()? } else { self.count::<2>()? };
                self.push(Value::Int(number as i64));
            }
            code @ (0x8a | 0x8b) => {
                let count = if code == 0x8a { self.count::<1>()? } else { self.count::<4>()? };
                let number = self.long(count)?;
                self.push(number);
            }
            code @ (b'X' | b'T' | 0x8c | b'U' | 0x8d) => {
                let count = match code {
                    b'X' | b'T' => self.count::<4>()?,
                    0x8d => self.count::<8>()?,
                    _ => self.count::<1>()?,
                };
                let text = self.text(count)?;
                self.push(text);
            }
            code @ (b'B' | b'C') => {
                let count = if code == b'B' { self.count::<4>()? } else { self.count::<1>()? };
                self.many(count)?;
                self.push(Value::Other);
            }
            b')' => self.push(Value::Tuple(vec![])),
            b't' => {
                let items = self.pop_marked()?;
                self.push(Value::Tuple(items));
            }
            code @ 0x85..=0x87 => {
                let items = self.pop_some(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b']' | 0x8f => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            code @ (b'l' | b'd' | 0x91) => {
                let items = self.pop_marked()?;
                self.push(if code == b'd' { Value::Dict(vec![]) } else { Value::List(vec![]) });
                self.extend(items)?;
            }
            b'a' => {
                let items = self.pop_some(1)?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.pop_some(2)?;
                self.extend(items)?;
            }
            b'e' | b'u' | 0x90 => {
                let items = self.pop_marked()?;
                self.extend(items)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push(Value::Global(name));
            }
            0x93 => {
                let parts = self.pop_some(2)?;
                let name = match [self.values.get(parts[0]), self.values.get(parts[1])] {
                    [Value::Text(module), Value::Text(name)] => format!("{module}.{name}"),
                    _ => return Err("a pickle with a class without a name".to_owned()),
                };
                self.push(Value::Global(name));
            }
            b'R' | 0x81 => self.call()?,
            0x92 => {
                self.pop()?;
                self.call()?;
            }
            // The state of an object: tables of weights have their versions there.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let of = self.pop()?;
                self.push(Value::Persistent(of));
            }
            b'h' => {
                let key = self.count::<1>()?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.count::<4>()?;
                self.recall(key)?;
            }
            b'q' => {
                let key = self.count::<1>()?;
                self.keep(key)?;
            }
            b'r' => {
                let key = self.count::<4>()?;
                self.keep(key)?;
            }
            0x94 => self.keep(self.memo.len() as u64)?,
            code => return Err(format!("a pickle with the code {code:#x}, which files of weights do not have")),
        }
        Ok(None)
    }
}
