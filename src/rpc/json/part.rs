//! The serializer of what is text inside JSON: keys, and numbers or raw JSON handed over as text.

use serde::ser::{self, Impossible, Serialize};

use crate::rpc::error::RpcError;
use crate::rpc::json::float;
use crate::rpc::json::writer::{Writer, refused};

/// What a text is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The key of a member, quotes and all.
    Key,
    /// A number.
    Number,
    /// JSON that is written already.
    Raw,
}

/// Writes one text; only a key may be made of something else.
pub(super) struct Text<'w, 'a> {
    writer: &'w mut Writer<'a>,
    role: Role,
}

impl<'w, 'a> Text<'w, 'a> {
    pub(super) const fn new(writer: &'w mut Writer<'a>, role: Role) -> Self {
        Self { writer, role }
    }

    /// An integer as key keeps its digits and its sign.
    fn integer(self, integer: impl itoa::Integer) -> Result<(), RpcError> {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(integer);
        for part in ["\"", digits, "\""] {
            self.writer.out.extend_from_slice(part.as_bytes());
        }
        Ok(())
    }

    /// A key of another type: as Python's `str` where keys are rewritten, else as its `json` writes it.
    fn key(self, rewritten: &str, plain: &str) -> Result<(), RpcError> {
        let key = if self.writer.camel { rewritten } else { plain };
        self.writer.member_key(key);
        Ok(())
    }
}

impl ser::Serializer for Text<'_, '_> {
    type Ok = ();
    type Error = RpcError;
    type SerializeSeq = Impossible<(), RpcError>;
    type SerializeTuple = Impossible<(), RpcError>;
    type SerializeTupleStruct = Impossible<(), RpcError>;
    type SerializeTupleVariant = Impossible<(), RpcError>;
    type SerializeMap = Impossible<(), RpcError>;
    type SerializeStruct = Impossible<(), RpcError>;
    type SerializeStructVariant = Impossible<(), RpcError>;

    fn serialize_str(self, text: &str) -> Result<(), RpcError> {
        match self.role {
            Role::Key => self.writer.member_key(text),
            Role::Number => float::write_number(text, self.writer.out),
            Role::Raw => self.writer.out.extend_from_slice(text.as_bytes()),
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), RpcError> {
        if value {
            self.key("True", "true")
        } else {
            self.key("False", "false")
        }
    }

    fn serialize_i8(self, value: i8) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_i128(self, value: i128) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), RpcError> {
        self.integer(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), RpcError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), RpcError> {
        if value.is_nan() {
            return self.key("nan", "NaN");
        }
        if value.is_infinite() {
            return if value > 0.0 {
                self.key("inf", "Infinity")
            } else {
                self.key("-inf", "-Infinity")
            };
        }
        let mut text = Vec::new();
        float::write_f64(value, &mut text);
        let text = String::from_utf8_lossy(&text);
        self.key(&text, &text)
    }

    fn serialize_char(self, value: char) -> Result<(), RpcError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), RpcError> {
        Err(refused(KEY))
    }

    fn serialize_none(self) -> Result<(), RpcError> {
        self.key("", "null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), RpcError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), RpcError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), RpcError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), RpcError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), RpcError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), RpcError> {
        Err(refused(KEY))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Self::SerializeSeq, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleStruct, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStruct, RpcError> {
        Err(refused(KEY))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, RpcError> {
        Err(refused(KEY))
    }
}

const KEY: &str = "a key is neither text, number, boolean nor nothing";
