//! The serializer that writes JSON text straight into a buffer.

use serde::ser::{self, Serialize};

use crate::rpc::case;
use crate::rpc::error::RpcError;
use crate::rpc::json::object::{Keys, SEPARATOR};
use crate::rpc::json::part::{Role, Text};
use crate::rpc::json::{float, text};

/// Writes one value.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) camel: bool,
    depth: usize,
    reserved: bool,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>, camel: bool) -> Self {
        Self {
            out,
            camel,
            depth: 0,
            reserved: false,
        }
    }

    /// Whether the top level has had a member called `epoch` or `sequence`.
    pub(super) const fn has_reserved(&self) -> bool {
        self.reserved
    }

    fn integer(&mut self, integer: impl itoa::Integer) {
        self.out
            .extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    }

    fn array(&mut self) -> Array<'_, 'a> {
        self.out.push(b'[');
        self.depth += 1;
        Array {
            writer: self,
            empty: true,
            close: b"]",
        }
    }

    fn object(&mut self) -> Object<'_, 'a> {
        self.out.push(b'{');
        self.depth += 1;
        Object {
            writer: self,
            empty: true,
            keys: Keys::new(),
        }
    }

    /// Starts `{"variant": `, the outside of an enum's value.
    fn variant(&mut self, variant: &str) {
        self.out.push(b'{');
        self.depth += 1;
        self.member_key(variant);
        self.out.extend_from_slice(b": ");
    }

    /// Writes the key of a member.
    #[inline]
    pub(super) fn member_key(&mut self, key: &str) {
        let start = self.out.len();
        self.out.push(b'"');
        let class = case::class_of(key.as_bytes());
        if class.is_word() {
            if !self.camel || class.is_camel() {
                self.out.extend_from_slice(key.as_bytes());
            } else {
                case::camelize_word(key.as_bytes(), class, self.out);
            }
        } else if self.camel {
            text::write_escaped(&case::camelize(key), self.out);
        } else {
            text::write_escaped(key, self.out);
        }
        self.out.push(b'"');
        if self.depth == 1 {
            self.reserved |= matches!(&self.out[start..], br#""epoch""# | br#""sequence""#);
        }
    }
}

impl<'w, 'a> ser::Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = RpcError;
    type SerializeSeq = Array<'w, 'a>;
    type SerializeTuple = Array<'w, 'a>;
    type SerializeTupleStruct = Array<'w, 'a>;
    type SerializeTupleVariant = Array<'w, 'a>;
    type SerializeMap = Object<'w, 'a>;
    type SerializeStruct = Structure<'w, 'a>;
    type SerializeStructVariant = VariantObject<'w, 'a>;

    fn serialize_bool(self, value: bool) -> Result<(), RpcError> {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_i16(self, value: i16) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), RpcError> {
        self.integer(value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), RpcError> {
        float::write_f32(value, self.out);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), RpcError> {
        float::write_f64(value, self.out);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), RpcError> {
        text::write_string(value.encode_utf8(&mut [0; 4]), self.out);
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), RpcError> {
        text::write_string(value, self.out);
        Ok(())
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), RpcError> {
        Err(refused("bytes have no JSON form"))
    }

    fn serialize_none(self) -> Result<(), RpcError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), RpcError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), RpcError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), RpcError> {
        self.serialize_unit()
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
        variant: &'static str,
        value: &T,
    ) -> Result<(), RpcError> {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.depth -= 1;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Array<'w, 'a>, RpcError> {
        Ok(self.array())
    }

    fn serialize_tuple(self, _length: usize) -> Result<Array<'w, 'a>, RpcError> {
        Ok(self.array())
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Array<'w, 'a>, RpcError> {
        Ok(self.array())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Array<'w, 'a>, RpcError> {
        self.variant(variant);
        self.out.push(b'[');
        Ok(Array {
            writer: self,
            empty: true,
            close: b"]}",
        })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Object<'w, 'a>, RpcError> {
        Ok(self.object())
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _length: usize,
    ) -> Result<Structure<'w, 'a>, RpcError> {
        Ok(match name {
            NUMBER => Structure::Number(self),
            RAW_VALUE => Structure::Raw(self),
            _ => Structure::Object(self.object()),
        })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<VariantObject<'w, 'a>, RpcError> {
        self.variant(variant);
        Ok(VariantObject(self.object()))
    }
}

/// Writes the items of an array.
pub(super) struct Array<'w, 'a> {
    writer: &'w mut Writer<'a>,
    empty: bool,
    close: &'static [u8],
}

impl Array<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        if !self.empty {
            self.writer.out.extend_from_slice(SEPARATOR);
        }
        self.empty = false;
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        self.writer.depth -= 1;
        self.writer.out.extend_from_slice(self.close);
    }
}

impl ser::SerializeSeq for Array<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        self.item(value)
    }

    fn end(self) -> Result<(), RpcError> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTuple for Array<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        self.item(value)
    }

    fn end(self) -> Result<(), RpcError> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Array<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        self.item(value)
    }

    fn end(self) -> Result<(), RpcError> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleVariant for Array<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        self.item(value)
    }

    fn end(self) -> Result<(), RpcError> {
        self.close();
        Ok(())
    }
}

/// Writes the members of an object.
pub(super) struct Object<'w, 'a> {
    writer: &'w mut Writer<'a>,
    empty: bool,
    keys: Keys,
}

impl Object<'_, '_> {
    #[inline]
    fn separate(&mut self) {
        if !self.empty {
            self.writer.out.extend_from_slice(SEPARATOR);
        }
        self.empty = false;
    }

    #[inline]
    fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), RpcError> {
        self.separate();
        let start = self.writer.out.len();
        self.writer.member_key(key);
        self.keys.add(start, self.writer.out);
        self.writer.out.extend_from_slice(b": ");
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn close(mut self) {
        self.keys.finish(self.writer.out);
        self.writer.depth -= 1;
        self.writer.out.push(b'}');
    }
}

impl ser::SerializeMap for Object<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RpcError> {
        self.separate();
        let start = self.writer.out.len();
        key.serialize(Text::new(self.writer, Role::Key))?;
        self.keys.add(start, self.writer.out);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RpcError> {
        self.writer.out.extend_from_slice(b": ");
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), RpcError> {
        self.close();
        Ok(())
    }
}

/// Writes a struct: an object, or one of the two that `serde_json` uses to hand over text.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one object; a box would cost an allocation for each"
)]
pub(super) enum Structure<'w, 'a> {
    Object(Object<'w, 'a>),
    Number(&'w mut Writer<'a>),
    Raw(&'w mut Writer<'a>),
}

impl ser::SerializeStruct for Structure<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), RpcError> {
        match self {
            Self::Object(object) => object.member(key, value),
            Self::Number(writer) => value.serialize(Text::new(writer, Role::Number)),
            Self::Raw(writer) => value.serialize(Text::new(writer, Role::Raw)),
        }
    }

    #[inline]
    fn end(self) -> Result<(), RpcError> {
        if let Self::Object(object) = self {
            object.close();
        }
        Ok(())
    }
}

/// Writes the members of a struct variant.
pub(super) struct VariantObject<'w, 'a>(Object<'w, 'a>);

impl ser::SerializeStructVariant for VariantObject<'_, '_> {
    type Ok = ();
    type Error = RpcError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), RpcError> {
        self.0.member(key, value)
    }

    fn end(mut self) -> Result<(), RpcError> {
        self.0.keys.finish(self.0.writer.out);
        self.0.writer.depth -= 2;
        self.0.writer.out.extend_from_slice(b"}}");
        Ok(())
    }
}

pub(super) fn refused(reason: &str) -> RpcError {
    RpcError::Serialize {
        reason: reason.to_owned(),
    }
}

/// The name under which `serde_json` hands over a number as text.
const NUMBER: &str = "$serde_json::private::Number";
/// The name under which `serde_json` hands over text that is JSON already.
const RAW_VALUE: &str = "$serde_json::private::RawValue";
