//! Single values of the serialiser.

use acqbus::eventer::sbs::{Reader, Writer};
use acqbus::wire::DecodeError;
use serde_json::{Value, json};

use crate::Report;
use crate::common::{items, text, unhex};

pub(crate) fn run_sbs_primitives(vectors: &Value, report: &mut Report) {
    for (number, case) in items(vectors, "cases").iter().enumerate() {
        report.ran();
        let name = format!("sbs_primitives {number} {case}");
        let (kind, bytes) = (Kind::of(text(case, "type")), unhex(text(case, "hex")));
        let mut written = Vec::new();
        kind.write(&case["value"], &mut Writer::new(&mut written));
        report.check(&name, &written, &bytes);
        let mut reader = Reader::new(&bytes);
        let read = kind.read(&mut reader);
        report.check(&name, read, Ok(without_repr(&case["value"])));
        report.check(&name, reader.rest(), &[]);
        for end in 0..bytes.len() {
            if kind.read(&mut Reader::new(&bytes[..end])).is_ok() {
                report.wrong(&name, &format!("its first {end} bytes are read"));
            }
        }
    }
}

/// A type of the recording.
enum Kind {
    None,
    Boolean,
    Integer,
    Float,
    String,
    Bytes,
    Array(Box<Self>),
    Optional(Box<Self>),
    Record(Vec<(&'static str, Self)>),
    Choice(Vec<(&'static str, Self)>),
}

impl Kind {
    fn of(name: &str) -> Self {
        let record = || {
            Self::Record(vec![
                ("a", Self::Integer),
                ("b", Self::String),
                ("c", Self::Boolean),
                ("d", Self::None),
            ])
        };
        match name {
            "None1" | "None" => Self::None,
            "Boolean1" => Self::Boolean,
            "Integer1" | "Integer" => Self::Integer,
            "Float1" => Self::Float,
            "String1" | "String" => Self::String,
            "Bytes1" => Self::Bytes,
            "Rec" => record(),
            "Cho" => Self::Choice(vec![
                ("x", Self::Integer),
                ("y", record()),
                ("z", Self::None),
            ]),
            _ => match (name.strip_prefix("Array"), name.strip_prefix("Optional")) {
                (Some(item), _) => Self::Array(Box::new(Self::of(item))),
                (_, Some(value)) => Self::Optional(Box::new(Self::of(value))),
                _ => panic!("{name} is no type of the recording"),
            },
        }
    }

    fn min_bytes(&self) -> usize {
        usize::from(!matches!(self, Self::None))
    }

    fn write(&self, value: &Value, writer: &mut Writer<'_>) {
        match self {
            Self::None => writer.none(),
            Self::Boolean => writer.boolean(value.as_bool().unwrap()),
            Self::Integer => writer.integer(value.as_i64().unwrap()),
            Self::Float => {
                let bits = u64::from_str_radix(text(value, "bits"), 16).unwrap();
                writer.float(f64::from_bits(bits));
            }
            Self::String => writer.string(value.as_str().unwrap()),
            Self::Bytes => writer.bytes(&unhex(text(value, "hex"))),
            Self::Array(item) => {
                let items = value.as_array().unwrap();
                writer.count(items.len());
                for value in items {
                    item.write(value, writer);
                }
            }
            Self::Optional(inner) => {
                let is_some = value["choice"] == "value";
                writer.optional(is_some);
                if is_some {
                    inner.write(&value["value"], writer);
                }
            }
            Self::Record(fields) => {
                for (name, kind) in fields {
                    kind.write(&value[*name], writer);
                }
            }
            Self::Choice(alternatives) => {
                let mut places = alternatives.iter();
                let place = places
                    .position(|(name, _)| value["choice"] == *name)
                    .unwrap();
                writer.choice(place);
                alternatives[place].1.write(&value["value"], writer);
            }
        }
    }

    fn read(&self, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        let what = "the value";
        Ok(match self {
            Self::None => {
                reader.none(what)?;
                Value::Null
            }
            Self::Boolean => reader.boolean(what)?.into(),
            Self::Integer => reader.integer(what)?.into(),
            Self::Float => {
                json!({"bits": format!("{:016x}", reader.float(what)?.to_bits())})
            }
            Self::String => reader.string(what)?.into(),
            Self::Bytes => {
                let bytes = reader.bytes(what)?.iter();
                json!({"hex": bytes.map(|byte| format!("{byte:02x}")).collect::<String>()})
            }
            Self::Array(item) => {
                let count = reader.count(item.min_bytes(), what)?;
                let items: Result<_, _> = (0..count).map(|_| item.read(reader)).collect();
                Value::Array(items?)
            }
            Self::Optional(inner) => match reader.optional(what)? {
                false => json!({"choice": "none", "value": null}),
                true => json!({"choice": "value", "value": inner.read(reader)?}),
            },
            Self::Record(fields) => {
                let fields = fields.iter();
                let fields: Result<_, _> = fields
                    .map(|(name, kind)| Ok(((*name).to_owned(), kind.read(reader)?)))
                    .collect();
                Value::Object(fields?)
            }
            Self::Choice(alternatives) => {
                let (name, kind) = &alternatives[reader.choice(alternatives.len(), what)?];
                json!({"choice": name, "value": kind.read(reader)?})
            }
        })
    }
}

/// A float has its digits only for reading.
fn without_repr(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(members) = value.as_object_mut() {
        members.remove("repr");
    }
    value
}
