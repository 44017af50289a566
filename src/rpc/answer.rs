//! What a service answers to the frames of a request, without a socket and without a thread.

use crate::rpc::command::ApiCommand;
use crate::rpc::dialect::Dialect;
use crate::rpc::request::{CommandRequest, decode_request};
use crate::rpc::response::{CommandResponse, encode_reply, encode_unusable_reply};
use crate::wire::DecodeError;

/// What a request may be at most, checked before it is parsed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The size of a request, in bytes; 1 MiB unless set.
    pub bytes: usize,
    /// Arrays and objects within each other; 64 unless set; more than
    /// [`DEPTH_CEILING`](crate::rpc::json::DEPTH_CEILING) (256) counts as that.
    pub depth: usize,
}

impl RequestLimits {
    /// Sets the largest size of a request, in bytes.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the deepest nesting of a request.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            depth: 64,
        }
    }
}

/// What became of a request, for the counters of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It could not be used; the reply says why.
    Unusable(DecodeError),
    /// It was NONE, which the service answers by itself.
    Alive,
    /// There is no delegate.
    NoDelegate,
    /// The delegate answered this command.
    Handled(ApiCommand),
}

/// Appends the reply to the frames of one request.
///
/// `delegate` is called at most once, on the calling thread; `None` means that none is registered. Turning a panic
/// into a response is the caller's, with [`panic_response`].
pub fn answer<F>(
    frames: &[impl AsRef<[u8]>],
    limits: RequestLimits,
    dialect: Dialect,
    delegate: Option<F>,
    out: &mut Vec<u8>,
) -> Answered
where
    F: FnOnce(&mut CommandRequest) -> CommandResponse,
{
    let mut request = match usable(frames, limits, dialect) {
        Ok(request) => request,
        Err(error) => {
            encode_unusable_reply(&error.to_string(), dialect, out);
            return Answered::Unusable(error);
        }
    };
    let command = request.command();
    let (response, answered) = match delegate {
        _ if command == ApiCommand::None => (CommandResponse::success(), Answered::Alive),
        None => (CommandResponse::unavailable(), Answered::NoDelegate),
        Some(delegate) => (delegate(&mut request), Answered::Handled(command)),
    };
    encode_reply(request.nonce(), command, &response, dialect, out);
    answered
}

/// The response to a delegate that panicked, from what `catch_unwind` gave.
pub fn panic_response(payload: &(dyn std::any::Any + Send)) -> CommandResponse {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the delegate panicked");
    CommandResponse::exception(text)
}

/// Reads the frames of a request.
pub(crate) fn usable(
    frames: &[impl AsRef<[u8]>],
    limits: RequestLimits,
    dialect: Dialect,
) -> Result<CommandRequest, DecodeError> {
    let [frame] = frames else {
        return Err(DecodeError::FrameCount {
            what: "request",
            expected: 1,
            found: frames.len(),
        });
    };
    let frame = frame.as_ref();
    if frame.len() > limits.bytes {
        return Err(DecodeError::Size {
            what: "request",
            limit: limits.bytes,
            found: frame.len(),
        });
    }
    decode_request(frame, limits.depth, dialect)
}
