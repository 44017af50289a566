//! One connection, without a socket.
