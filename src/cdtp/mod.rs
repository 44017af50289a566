//! The data plane: run data between begin-of-run and end-of-run, on the wire of Constellation (CDTP2).
//!
//! A run begins with one BOR message, goes on with DATA messages of numbered records, and ends with one EOR message. A message is
//! one ZeroMQ frame on PUSH/PULL, made of MessagePack objects:
//!
//! | object | is |
//! |---|---|
//! | protocol | the text `CDTP` and the byte 2 |
//! | sender | the name of who sends, `Type.name` |
//! | type | DATA 0, BOR 1, EOR 2 |
//! | records | an array of `[sequence number, tags, [block, …]]` |
//!
//! ```
//! use acqbus::cdtp::{DataRecord, DecodeLimits, Encoding, MessageKind, MessageView, encode_message};
//!
//! let record = DataRecord::new(1).with_block(b"abc");
//! let frame = encode_message("Sputnik.One", MessageKind::Data, &[record], Encoding::Compact)?;
//! let message = MessageView::decode(&frame, &DecodeLimits::default())?;
//! let first = message.records().next().expect("one record");
//! assert_eq!((message.sender(), first.sequence()), ("Sputnik.One", 1));
//! assert_eq!(first.blocks().next(), Some(&b"abc"[..]));
//! # Ok::<(), acqbus::cdtp::CdtpError>(())
//! ```
//!
//! | file | job |
//! |---|---|
//! | `value`, `timestamp`, `tags` | what a tag can hold |
//! | `bridge` | tags from a `serde` type and back |
//! | `encoding`, `cxx` | how messages are written, and which tags a C++ receiver can hold |
//! | `msgpack` | MessagePack on bytes, as far as CDTP2 uses it |
//! | `record`, `fit` | what goes out, and how large a part of it may be |
//! | `message`, `view`, `limits` | what comes in: one message, checked whole, read without a copy |
//! | `run` | the condition of a run, its metadata, the state of a transmitter |
//! | `name` | the name of a sender |
//! | `receiver` | the receiving end: runs of many senders |
//! | `transmitter` | the sending end |
//! | `error` | what can go wrong |

mod bridge;
mod cxx;
mod encoding;
mod error;
mod fit;
mod limits;
mod message;
mod msgpack;
mod name;
mod receiver;
mod record;
mod run;
mod tags;
mod timestamp;
mod transmitter;
mod value;
mod view;

pub use cxx::CxxTags;
pub use encoding::Encoding;
pub use error::CdtpError;
pub use limits::DecodeLimits;
pub use message::{MessageKind, MessageView, Records};
pub use name::SenderName;
pub(crate) use receiver::MessageRecords;
pub use receiver::{
    Arrival, Bor, DataReceiver, Eor, Fault, FaultKind, Lost, NoEvent, PeerId, ReceiveThreads,
    ReceiverOptions, ReceiverState, ReceiverStats, Record, RunCounts, RunEvent, RunEvents,
};
pub use record::{DataRecord, MessageHead, encode_bor, encode_eor, encode_message, write_record};
pub use run::{RunCondition, RunMetadata, TransmitterState, TransmitterStateSeq};
pub use tags::Tags;
pub use timestamp::Timestamp;
pub use transmitter::{
    DataTransmitter, FailureCallback, RefusedRecord, Run, RunStart, RunSummary, TransmitterOptions,
    TransmitterStats,
};
pub use value::Value;
pub use view::{Blocks, RecordView};
