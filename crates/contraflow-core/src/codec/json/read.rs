//! Reading: one pass over the text, one value out.

use crate::codec::json::DEPTH_MAX;
use crate::codec::{Malformed, text};
use crate::shape::{Field, Type};
use crate::value::{Record, Value};

/// Reads one JSON text as a value of the given type.
pub fn from_json(json: &str, ty: &Type) -> Result<Value, Malformed> {
    let mut reader = Reader { json, at: 0 };
    reader.space();
    let value = reader.value(ty, DEPTH_MAX)?;
    reader.space();
    match reader.at == json.len() {
        true => Ok(value),
        false => Err(reader.fault("text follows the JSON value")),
    }
}

struct Reader<'j> {
    json: &'j str,
    at: usize,
}

impl<'j> Reader<'j> {
    fn fault(&self, reason: &'static str) -> Malformed {
        Malformed {
            reason,
            at: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.fault(reason));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.json[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, Malformed> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("the JSON text nests too deep"));
        };
        if self.word("null") {
            return Ok(Value::Null);
        }
        let start = self.at;
        let placed = |mut malformed: Malformed| {
            malformed.at = start;
            malformed
        };
        match (ty, self.peek()) {
            (Type::Json, _) => self.raw(depth).map(|raw| Value::Json(raw.to_owned())),
            (Type::Any, _) => self.any(depth),
            (Type::List(item), Some(b'[')) => {
                let mut items = Vec::new();
                self.items(|reader| {
                    items.push(reader.value(item, depth)?);
                    Ok(())
                })?;
                Ok(Value::List(items))
            }
            (Type::Map(key, item), _) => self.map(key, item, depth),
            (Type::Record(fields), Some(b'{')) => self.record(fields, depth),
            (Type::Union { branches }, Some(b'{')) => self.union(branches, depth),
            (Type::Bool, Some(b't')) if self.word("true") => Ok(Value::Bool(true)),
            (Type::Bool, Some(b'f')) if self.word("false") => Ok(Value::Bool(false)),
            (
                Type::Text
                | Type::Bytes
                | Type::Date
                | Type::Time
                | Type::Timestamp { .. }
                | Type::Uuid
                | Type::Enum { .. }
                | Type::Decimal { .. }
                | Type::Float { .. },
                Some(b'"'),
            ) => text::from_text(&self.string()?, ty).map_err(placed),
            (
                Type::Int { .. } | Type::Decimal { .. } | Type::Float { .. },
                Some(b'-' | b'0'..=b'9'),
            ) => text::from_text(self.number()?, ty).map_err(placed),
            _ => Err(self.fault(text::expected(ty))),
        }
    }

    /// Without a type, a whole number is an integer, another number a decimal, and an object is
    /// kept as its text.
    fn any(&mut self, depth: usize) -> Result<Value, Malformed> {
        Ok(match self.peek() {
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                match text::from_text(number, &Type::INT64) {
                    Ok(value) => value,
                    Err(_) => Value::Decimal(text::decimal(number)?),
                }
            }
            _ if self.word("true") => Value::Bool(true),
            _ if self.word("false") => Value::Bool(false),
            _ => Value::Json(self.raw(depth)?.to_owned()),
        })
    }

    fn items(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'[', "expected a list")?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                _ => return Err(self.fault("expected `,` or `]`")),
            }
        }
        Ok(())
    }

    fn entries(
        &mut self,
        mut entry: impl FnMut(&mut Self, String) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'{', "expected an object")?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.expect(b':', "expected `:`")?;
            self.space();
            entry(self, name)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                _ => return Err(self.fault("expected `,` or `}`")),
            }
        }
        Ok(())
    }

    fn map(&mut self, key: &Type, item: &Type, depth: usize) -> Result<Value, Malformed> {
        let mut entries = Vec::new();
        if *key == Type::Text {
            self.entries(|reader, name| {
                entries.push((Value::Text(name), reader.value(item, depth)?));
                Ok(())
            })?;
            return Ok(Value::Map(entries));
        }
        self.items(|reader| {
            let mut pair = Vec::new();
            reader.items(|reader| {
                let ty = if pair.is_empty() { key } else { item };
                pair.push(reader.value(ty, depth)?);
                Ok(())
            })?;
            let [key, value] =
                <[Value; 2]>::try_from(pair).map_err(|_| reader.fault("expected a pair"))?;
            entries.push((key, value));
            Ok(())
        })?;
        Ok(Value::Map(entries))
    }

    fn record(&mut self, fields: &[Field], depth: usize) -> Result<Value, Malformed> {
        let mut record = Record {
            fields: vec![Value::Absent; fields.len()],
            extras: Vec::new(),
        };
        self.entries(|reader, name| {
            match fields.iter().position(|field| field.name == name) {
                Some(i) if record.fields[i] == Value::Absent => {
                    record.fields[i] = reader.value(&fields[i].ty, depth)?;
                }
                None if record.extras.iter().all(|(earlier, _)| *earlier != name) => {
                    let raw = reader.raw(depth)?.to_owned();
                    record.extras.push((name, Value::Json(raw)));
                }
                _ => return Err(reader.fault("a key of the object comes twice")),
            }
            Ok(())
        })?;
        Ok(Value::Record(Box::new(record)))
    }

    fn union(&mut self, branches: &[(String, Type)], depth: usize) -> Result<Value, Malformed> {
        let mut found = None;
        self.entries(|reader, name| {
            let branch = branches.iter().find(|(tag, _)| *tag == name);
            let (Some((_, ty)), None) = (branch, &found) else {
                return Err(reader.fault("expected an object with one declared tag"));
            };
            found = Some(Value::Union(Box::new((name, reader.value(ty, depth)?))));
            Ok(())
        })?;
        found.ok_or(self.fault("expected an object with one declared tag"))
    }

    /// The text of any well-formed value, as it stands.
    fn raw(&mut self, depth: usize) -> Result<&'j str, Malformed> {
        let start = self.at;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.fault("the JSON text nests too deep"));
        };
        match self.peek() {
            Some(b'"') => drop(self.string()?),
            Some(b'[') => self.items(|reader| reader.raw(depth).map(|_| ()))?,
            Some(b'{') => self.entries(|reader, _| reader.raw(depth).map(|_| ()))?,
            Some(b'-' | b'0'..=b'9') => drop(self.number()?),
            _ if self.word("true") || self.word("false") || self.word("null") => {}
            _ => return Err(self.fault("expected a JSON value")),
        }
        Ok(&self.json[start..self.at])
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.fault("expected a digit")),
        }
    }

    fn number(&mut self) -> Result<&'j str, Malformed> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.json[start..self.at])
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.expect(b'"', "expected a text in quotes")?;
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            text.push_str(&self.json[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(self.fault("a text is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let byte = self.peek();
        self.at += 1;
        Ok(match byte {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => {
                self.at -= 1;
                return Err(self.fault("an escape is not known"));
            }
        })
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let mut units = [self.unit()?, 0];
        let mut count = 1;
        if (0xd800..0xdc00).contains(&units[0]) && self.word("\\u") {
            units[1] = self.unit()?;
            count = 2;
        }
        let mut decoded = char::decode_utf16(units[..count].iter().copied());
        match (decoded.next(), decoded.next()) {
            (Some(Ok(letter)), None) => Ok(letter),
            _ => Err(self.fault("half a surrogate pair is not a character")),
        }
    }

    fn unit(&mut self) -> Result<u16, Malformed> {
        let digits = self.json.as_bytes().get(self.at..self.at + 4);
        let unit = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or(self.fault("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }
}
