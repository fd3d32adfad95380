//! A serializer that writes a struct without the sections that nobody picked: they are never written, so that nothing has
//! to be read again. Which ones are picked is `fields.rs`.

use serde::ser::{Impossible, SerializeStruct};
use serde::{Serialize, Serializer};

use super::Fields;

/// Stands in front of `inner` for the outermost struct alone.
pub(super) struct Picked<'a, S> {
    pub(super) inner: S,
    pub(super) fields: &'a Fields,
}

/// The members of that struct.
pub(super) struct Members<'a, S> {
    inner: S,
    fields: &'a Fields,
}

impl<S: SerializeStruct> SerializeStruct for Members<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        if self.fields.shows(name) {
            self.inner.serialize_field(name, value)
        } else {
            Ok(())
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

/// Whatever is no struct has no sections to pick from.
fn no_struct<E: serde::ser::Error>() -> E {
    E::custom("sections were picked, and the answer is no struct")
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $made:ty;)+) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$made, S::Error> {
            Err(no_struct())
        })+
    };
}

impl<'a, S: Serializer> Serializer for Picked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Members<'a, S::SerializeStruct>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    /// JSON does not say how many there are.
    fn serialize_struct(
        self,
        name: &'static str,
        members: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Members {
            inner: self.inner.serialize_struct(name, members)?,
            fields: self.fields,
        })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        Err(no_struct())
    }

    refuse! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
